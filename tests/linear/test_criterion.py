"""What "converged" promises where heavy rows dominate b, and what is said where float64 ends."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, spsolve

import nnla
from nnla.linear.criterion import criterion_of
from nnla.operators.operator import as_operator

METHODS = ("auto", "autospec", "chebyshev", "jacobi", "ic", "fcg", "direct")


def penalised(k, penalty, scale=None):
    """Poisson's equation with the values on two edges prescribed by a penalty; A, b and x by elimination."""
    T = sp.diags_array([-np.ones(k - 1), np.r_[1, np.full(k - 2, 2.0), 1], -np.ones(k - 1)], offsets=[-1, 0, 1])
    A = sp.csr_array(sp.kron(T, sp.eye_array(k)) + sp.kron(sp.eye_array(k), T))
    n = k * k
    edge = np.flatnonzero((np.arange(n) % k == 0) | (np.arange(n) < k))
    free = np.setdiff1d(np.arange(n), edge)
    given, f = np.linspace(1, 2, edge.size), np.full(n, 1e-3)
    x = np.zeros(n)
    x[edge] = given
    x[free] = spsolve(sp.csc_array(A[free][:, free]), f[free] - A[free][:, edge] @ given)
    heavy = np.zeros(n)
    heavy[edge] = penalty
    b = f.copy()
    b[edge] = penalty * given
    A = sp.csr_array(A + sp.diags_array(heavy))
    return A, b, x


def error(x, right):
    return np.linalg.norm(x - right) / np.linalg.norm(right)


@pytest.mark.parametrize("penalty", [1e8, 1e12, 1e30])
@pytest.mark.parametrize("method", METHODS)
def test_values_prescribed_by_a_penalty(method, penalty):
    A, b, right = penalised(16, penalty)
    x, report = nnla.solve(A, b, method=method)
    assert report.converged
    assert error(x, right) < 1e-5
    assert report.equilibrated_residual <= 1e-8
    d = A.diagonal()
    for power in (-0.5, -1.0):
        assert np.linalg.norm(d**power * (b - A @ x)) <= 1e-8 * np.linalg.norm(d**power * b)
    x, report = nnla.prepare(A, method=method).solve(b)
    assert report.converged
    assert error(x, right) < 1e-5


def test_a_large_one_goes_on_until_the_light_rows_are_solved():
    """Native CG, reordering and auto's predictions on the way."""
    A, b, right = penalised(130, 1e10)
    for method in ("auto", "ic"):
        x, report = nnla.solve(A, b, method=method)
        assert report.converged
        assert error(x, right) < 1e-5


@pytest.mark.parametrize("penalty", [1e120, 1e200])
def test_penalties_beyond_all_measure(penalty):
    A, b, right = penalised(12, penalty)
    for method in ("auto", "jacobi", "direct"):
        x, report = nnla.solve(A, b, method=method)
        assert not report.converged or error(x, right) < 1e-5


def test_a_block_is_judged_column_by_column():
    A, b, right = penalised(16, 1e12)
    B = np.stack([b, np.ones(b.size), 0 * b], axis=1)
    x, report = nnla.solve(A, B, method="jacobi")
    assert report.converged
    assert error(x[:, 0], right) < 1e-5
    assert np.linalg.norm(B[:, 1] - A @ x[:, 1]) <= 1e-8 * np.linalg.norm(B[:, 1])


def test_an_operator_known_by_products_is_not_called_solved():
    A, b, right = penalised(16, 1e10)
    op = LinearOperator(A.shape, matvec=lambda v: A @ v, dtype=float)
    x, report = nnla.solve(op, b, method="cg", maxiter=500)
    assert not report.converged or error(x, right) < 1e-3


def test_a_users_preconditioner_and_dense_matrices():
    A, b, right = penalised(12, 1e10)
    d = A.diagonal()
    for method in ("cg", "auto"):
        x, report = nnla.solve(A.toarray(), b, method=method, M=lambda r: r / d)
        assert report.converged
        assert error(x, right) < 1e-5


@pytest.mark.parametrize("b", ["ones", "random", "point"])
def test_ordinary_systems_are_judged_by_the_residual_alone(b):
    """Uniform right-hand sides, and loads on light rows, whatever the diagonal."""
    rng = np.random.default_rng(0)
    n = 400
    d = 10.0 ** rng.uniform(-6, 6, n)
    A = as_operator(sp.diags_array(d) @ nnla.problems.poisson2d(20) @ sp.diags_array(d))
    rhs = {"ones": np.ones(n), "random": rng.standard_normal(n), "point": np.eye(1, n, int(np.argmin(d)))[0]}[b]
    assert criterion_of(A, rhs, np.array([np.linalg.norm(rhs)]), None).plain


def test_backward_error_is_that_of_the_definition():
    A = nnla.problems.poisson2d(20)
    b = np.random.default_rng(0).standard_normal(400)
    x, report = nnla.solve(A, b, method="cg", rtol=1e-3)
    norm = np.linalg.norm(A.toarray(), 2)
    exact = np.linalg.norm(b - A @ x) / (norm * np.linalg.norm(x) + np.linalg.norm(b))
    assert exact <= report.backward_error * (1 + 1e-9)
    assert report.backward_error < 3 * exact


@pytest.mark.parametrize("method", ["auto", "direct"])
def test_stiff_couplings_are_as_good_as_float64_can(method):
    """Two chains coupled by springs of 1e12: the residual cannot be had, the backward error is rounding."""
    n = 40
    T = sp.diags_array([-np.ones(n - 1), np.full(n, 2.0), -np.ones(n - 1)], offsets=[-1, 0, 1])
    K = 1e12 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    A = sp.csr_array(sp.kron(np.eye(2), T) + sp.kron(K, sp.eye_array(n)))
    _, report = nnla.solve(A, np.random.default_rng(0).standard_normal(2 * n), method=method)
    assert not report.converged
    assert report.status == "rounding"
    assert report.backward_error < 1e-14


def test_a_light_row_left_unsolved_is_no_rounding():
    """Backward errors look at norms: 1e-16 beside an interior that is 100 % wrong."""
    A, b, _ = penalised(16, 1e16)
    report = nnla.solve(A, b, method="jacobi", maxiter=3).report
    assert report.backward_error < 1e-14
    assert report.status == "maxiter"


def test_singular_is_no_rounding():
    A = np.ones((2, 2)) + np.diag([0.0, 1e-17])
    report = nnla.solve(A, np.array([2.0, 1.0]), method="direct").report
    assert not report.converged
    assert report.status != "rounding"
