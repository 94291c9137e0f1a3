"""Gradients of torch: they reach A and b through a solve, and nothing else takes them without a word."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.errors import GradientError
from nnla.extensions import inverse_root, polar, rational_function

torch = pytest.importorskip("torch")
N = 36
A = nnla.problems.poisson2d(6)


def matrix(layout="strided", dtype=torch.float64):
    dense = torch.tensor(A.toarray(), dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's CSR is in beta
        return {"strided": dense, "coo": dense.to_sparse(), "csr": dense.to_sparse_csr()}[layout].requires_grad_()


def vector(*shape, dtype=torch.float64):
    return torch.tensor(np.random.default_rng(0).standard_normal(shape or N), dtype=dtype, requires_grad=True)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("layout", ["strided", "coo", "csr"])
@pytest.mark.parametrize("method", ["cg", "auto", "direct"])
@pytest.mark.parametrize("shape", [(N,), (N, 2)])
def test_a_solve_gives_the_gradients_of_a_dense_one(layout, method, shape):
    M, b, weight = matrix(layout), vector(*shape), torch.ones(shape, dtype=torch.float64)
    x, report = nnla.solve(M, b, method=method, rtol=1e-12)
    assert report.converged
    (x.sin() * weight).sum().backward()
    exact_M, exact_b = matrix(), vector(*shape)
    (torch.linalg.solve(exact_M, exact_b).sin() * weight).sum().backward()
    torch.testing.assert_close(b.grad, exact_b.grad, rtol=1e-9, atol=1e-9)
    assert M.grad.layout == M.layout
    stored = M.detach().to_dense() != 0 if layout != "strided" else torch.ones(N, N, dtype=torch.bool)
    torch.testing.assert_close(M.grad.to_dense(), exact_M.grad * stored, rtol=1e-9, atol=1e-9)


def test_gradients_of_gradients():
    def f(M, b):
        return nnla.solve(0.5 * (M + M.T), b, method="direct", rtol=1e-13).x

    assert torch.autograd.gradcheck(f, (matrix(), vector()), fast_mode=True)
    assert torch.autograd.gradgradcheck(f, (matrix(), vector()), fast_mode=True)


def test_a_gradient_has_the_dtype_of_its_variable():
    M, b = matrix(dtype=torch.float32), vector(dtype=torch.float32)
    nnla.solve(M, b).x.sum().backward()
    assert M.grad.dtype == b.grad.dtype == torch.float32


def test_prepared_and_operator():
    exact = torch.linalg.solve(matrix().detach(), torch.ones(N, dtype=torch.float64))
    for P in (nnla.prepare(matrix().detach(), "direct"), nnla.prepare(matrix().detach(), "autospec")):
        b = vector()
        P.solve(b, rtol=1e-10).x.sum().backward()
        torch.testing.assert_close(b.grad, exact, rtol=1e-8, atol=1e-8)
    b = vector()
    nnla.solve(nnla.as_operator(matrix().detach()), b).x.sum().backward()
    assert b.grad is not None


def test_an_adjoint_that_does_not_converge_gives_no_gradient():
    b = torch.zeros(N, dtype=torch.float64, requires_grad=True)  # solved at once, which its adjoint is not
    x, report = nnla.solve(matrix(), b, method="cg", maxiter=1)
    assert report.converged
    with pytest.raises(GradientError, match="adjoint"):
        (x * torch.arange(N)).sum().backward()


REFUSED = {
    "x0": lambda: nnla.solve(matrix().detach(), torch.ones(N), x0=vector()),
    "M": lambda: nnla.solve(matrix().detach(), torch.ones(N), M=matrix(), method="cg"),
    "callable M": lambda: nnla.solve(matrix().detach(), torch.ones(N), M=lambda r: matrix() @ r, method="fcg"),
    "A of SciPy": lambda: nnla.solve(A, vector()),
    "M beside SciPy": lambda: nnla.solve(A, np.ones(N), M=matrix(), method="cg"),
    "prepare": lambda: nnla.prepare(matrix()),
    "prepared SciPy": lambda: nnla.prepare(A).solve(vector()),
    "applied": lambda: nnla.prepare(matrix().detach(), "direct").aspreconditioner()(vector()),
    "preconditioner": lambda: nnla.preconditioner(matrix()),
    "applied SciPy": lambda: nnla.preconditioner(A)(vector()),
    "probe": lambda: nnla.probe(matrix()),
    "start": lambda: nnla.probe(A, start=vector()),
    "funm A": lambda: nnla.funm_multiply(matrix(), torch.ones(N)),
    "funm V": lambda: nnla.funm_multiply(matrix().detach(), vector()),
    "matfun": lambda: nnla.matfun(matrix()),
    "matrix_function": lambda: nnla.matrix_function(A)(vector()),
    "v0": lambda: nnla.eigsh(A, 2, v0=vector()),
    "guess": lambda: nnla.initial_guess(A, vector()),
    "as_operator": lambda: nnla.as_operator(matrix()),
    "polar": lambda: polar(matrix()),
    "inverse_root": lambda: inverse_root(matrix()),
    "rational_function": lambda: rational_function(matrix(), "inv"),
    "minimise": lambda: nnla.extensions.minimise(lambda x: (0.0, 0 * x), vector()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_raises(name):
    with pytest.raises(GradientError, match="detach"):
        REFUSED[name]()


def test_without_recording_nothing_is_refused():
    with torch.no_grad():
        x, report = nnla.solve(matrix(), vector(), x0=vector(), method="cg", M=matrix())
        assert report.converged
        assert not x.requires_grad
        assert nnla.funm_multiply(matrix(), vector()).report.converged
        assert nnla.prepare(matrix()).solve(vector()).report.converged
    assert not nnla.solve(matrix().detach(), torch.ones(N)).x.requires_grad


def test_eigenvectors_say_so_when_they_are_asked():
    w, V, report = nnla.eigsh(matrix(), 2, return_report=True)
    assert report.converged
    assert isinstance(w, np.ndarray)
    np.testing.assert_allclose(w, np.linalg.eigvalsh(A.toarray())[:2], atol=1e-8)
    with pytest.raises(GradientError, match="eigsh"):
        V.sum().backward()
    # Hellmann and Feynman
    M, v = matrix(), V.detach()
    ((M @ v) * v).sum().backward()
    torch.testing.assert_close(M.grad, v @ v.T)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("method", ["cg", "chebyshev", "auto", "fcg"])
def test_an_M_of_the_other_library(method):
    eye = sp.eye_array(N).tocsr()
    given = {
        "array": np.eye(N),
        "float32": np.eye(N, dtype=np.float32),
        "CSR": eye,
        "LinearOperator": sp.linalg.aslinearoperator(eye),
        "tensor": torch.eye(N, dtype=torch.bfloat16),
        "sparse tensor": torch.eye(N).to_sparse(),
        "preconditioner": nnla.preconditioner(A),
        "prepared": nnla.prepare(A, "ic").aspreconditioner(),
        "callable": lambda r: np.asarray(r),
    }
    for name, M in given.items():
        for matrix_ in (A, torch.from_numpy(A.toarray())):
            assert nnla.solve(matrix_, np.ones((N, 2)), method=method, M=M).report.converged, name


@pytest.mark.parametrize("numpy", [True, False])
def test_an_M_that_is_none(numpy):
    matrix_ = A if numpy else torch.from_numpy(A.toarray())
    complex_tensor = torch.eye(N, dtype=torch.complex128)
    for M in (np.full((N, N), "a"), np.eye(N) * 1j, complex_tensor, lambda r: None, lambda r: "x", lambda r: r * 1j):
        with pytest.raises(nnla.errors.DTypeError):
            nnla.solve(matrix_, np.ones(N), method="cg", M=M)
    for M in (np.full((N, N), np.nan), torch.full((N, N), torch.inf)):
        with pytest.raises(nnla.errors.NonFiniteError, match="M contains"):
            nnla.solve(matrix_, np.ones(N), method="cg", M=M)
