"""`nnla.prepare`: made once, it serves every right-hand side as `nnla.solve` would, and is a preconditioner."""

import dataclasses
import inspect

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator, cg

import nnla
from nnla.errors import NNLAError, NotPositiveDefiniteError, OptionError
from nnla.kernels.reordering import permute
from nnla.linear import setup
from nnla.linear.prepare import Prepared

METHODS = ("auto", "autospec", "chebyshev", "cg", "fcg", "jacobi", "ic", "amg", "direct")


@pytest.fixture(scope="module")
def system():
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((40, 40), s=1.0))
    return A, np.random.default_rng(5).standard_normal((A.shape[0], 3))


def relative(A, x, b):
    return np.max(np.linalg.norm(b - A @ x, axis=0) / np.linalg.norm(b, axis=0))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_serves_one_right_hand_side_after_the_other(system, method):
    if method == "amg":
        pytest.importorskip("pyamg")
    A, B = system
    P = nnla.prepare(A, method)
    for j in range(3):
        x, report = P.solve(B[:, j])
        assert report.converged
        assert relative(A, x, B[:, j]) <= 1e-8
        assert report.probe_iterations == 0  # of the set-up
    x, report = P.solve(B, rtol=1e-10)
    assert report.converged
    assert relative(A, x, B) <= 1e-10
    assert report.method == P.report.method
    assert P.report.seconds["total"] > 0
    assert (P.report.products > 0) == (method in ("autospec", "chebyshev")) or method == "auto"


@pytest.mark.parametrize("method", METHODS)
def test_it_is_a_preconditioner_for_scipy(system, method):
    if method == "amg":
        pytest.importorskip("pyamg")
    A, B = system
    M = nnla.prepare(A, method).aspreconditioner()
    assert M.kind is nnla.Kind.LINEAR_SPD
    b, steps = B[:, 0], []
    x, info = cg(A, b, M=M, rtol=1e-8, callback=lambda x: steps.append(1))
    assert info == 0
    assert relative(A, x, b) <= 1e-7
    if method == "direct":
        assert len(steps) <= 2
    u, v = B[:, 1], B[:, 2]
    assert u @ (M @ v) == pytest.approx(v @ (M @ u), rel=1e-5, abs=1e-5 * abs(u @ (M @ u)))
    assert u @ (M @ u) > 0
    block = M @ B
    assert block[:, 1] == pytest.approx(M @ B[:, 1], rel=1e-5, abs=1e-6 * np.abs(block).max())


def test_the_factorisation_is_not_repeated(system, monkeypatch):
    A, B = system
    P = nnla.prepare(A, "direct")

    def again(*args, **kwargs):
        raise AssertionError("factored again")

    monkeypatch.setattr("nnla.linear.direct.factorise", again)
    assert P.solve(B).report.converged


def test_solve_is_prepare_and_solve(system):
    """Classical methods need nothing of b: the same iterates to the last bit."""
    A, B = system
    for method in ("cg", "jacobi", "ic"):
        ours, theirs = nnla.prepare(A, method).solve(B[:, 0]), nnla.solve(A, B[:, 0], method=method)
        assert np.array_equal(ours.x, theirs.x)
        assert ours.report.iterations == theirs.report.iterations


def test_rows_in_random_order_are_put_in_order_once(rng):
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((260, 260), s=1.0)).tocsr()
    order = rng.permutation(A.shape[0])
    A = sp.csr_array(A[order][:, order])
    b = rng.standard_normal(A.shape[0])
    P = nnla.prepare(A, "ic")
    if not P.report.reordered:
        pytest.skip("needs the native kernels, and a cache that the vector does not fit into")
    seen = []
    x0 = np.ones_like(b)
    x, report = P.solve(b, x0=x0, callback=lambda x: seen.append(np.linalg.norm(b - A @ x) / np.linalg.norm(b)))
    assert report.converged
    assert relative(A, x, b) <= 1e-8
    assert seen == pytest.approx(report.residual_history, rel=1e-4)
    M = P.aspreconditioner()
    _, info = cg(A, b, M=M, rtol=1e-8, maxiter=2 * report.iterations)
    assert info == 0


@pytest.mark.parametrize("method", ["ic", "autospec"])
def test_products_are_counted_where_rows_are_reordered(method, monkeypatch):
    """They were counted by an operator of their own, which neither report asked."""
    A = nnla.problems.poisson2d(40)
    order = np.random.default_rng(0).permutation(A.shape[0])
    monkeypatch.setattr(setup, "better_order", lambda csr: (order, permute(csr, order)))
    P = nnla.prepare(A, method)
    assert P.report.reordered
    assert P.report.products == (50 if method == "autospec" else 0)
    b = np.ones(A.shape[0])
    for _ in range(2):
        before = P.operator.products
        x, report = P.solve(b)
        assert relative(A, x, b) <= 1e-8
        assert report.products == P.operator.products - before > report.iterations


def test_auto_weighs_the_set_up_against_the_solves(system):
    """For one right-hand side what iterates without a set-up, for a million of them a factor."""
    A, _ = system
    P = nnla.prepare(A, solves=37)
    assert P.report.predicted_seconds
    assert P.report.predicted_spread.keys() == P.report.predicted_seconds.keys()
    assert min(P.report.predicted_seconds, key=P.report.predicted_seconds.get) == P.report.method
    assert "37 right-hand side(s)" in P.report.chosen_because
    many = nnla.prepare(A, solves=10**6, deterministic=True).report
    assert many.method == "direct"
    assert many.predicted_seconds["direct"] < 0.5 * many.predicted_seconds["ic"]


def test_products_before_and_after_are_not_the_set_ups(system):
    A, B = system
    op = nnla.as_operator(A)
    op.count(1000)
    P = nnla.prepare(op, "chebyshev")
    assert P.report.products == 50
    first, second = P.solve(B[:, 0]).report, P.solve(B[:, 1]).report
    for report in (first, second):
        assert report.products == 12 * report.iterations + 1
    assert op.products == 1050 + first.products + second.products


def test_auto_probes_once(prices):
    """The probe that the choice was made from serves the polynomial, too."""
    prices(autospec=1.0)
    A = nnla.problems.poisson2d(40)
    P = nnla.prepare(A)
    assert P.report.method == "autospec"
    assert P.report.products == 50
    assert P.solve(np.ones(1600)).report.converged


def test_tolerances_are_those_of_solve():
    for function in (nnla.prepare, Prepared.solve):
        assert inspect.signature(function).parameters["rtol"].default == 1e-8
    assert inspect.signature(Prepared.solve).parameters["atol"].default == 0.0


def test_it_is_immutable_and_says_what_it_is(system):
    A, _ = system
    P = nnla.prepare(A, "jacobi")
    assert repr(P) == "<Prepared jacobi for n = 1600>"
    unmade = Prepared(P.operator, P.options)  # as `nnla.solve` has it
    assert repr(unmade) == "<Prepared jacobi for n = 1600>"
    with pytest.raises(OptionError, match="prepare"):
        unmade.aspreconditioner()
    with pytest.raises(dataclasses.FrozenInstanceError):
        P.setup = None


def test_a_failed_iteration_of_auto_is_rescued():
    Q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((150, 150)))
    C = (Q * np.append([-1.0, -0.3], np.linspace(1, 2, 148))) @ Q.T
    C = (C + C.T) / 2
    b = np.ones(150)
    x, report = nnla.prepare(C).solve(b)
    assert report.converged == (np.linalg.norm(b - C @ x) <= 1.0001e-8 * np.linalg.norm(b))


def test_operators_and_tensors(system):
    torch = pytest.importorskip("torch")
    A, B = system
    for matrix in (aslinearoperator(A), A.toarray()):
        assert nnla.prepare(matrix, "autospec").solve(B[:, 0]).report.converged
    tensor = torch.tensor(A.toarray())
    P = nnla.prepare(tensor, "autospec")
    x, report = P.solve(torch.tensor(B[:, 0]))
    assert report.converged
    assert isinstance(x, torch.Tensor)
    assert isinstance(P.aspreconditioner() @ torch.tensor(B[:, 0]), torch.Tensor)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"method": "magic"}, OptionError),
        ({"method": "cg", "degree": 7}, OptionError),
        ({"solves": 0}, OptionError),
        ({"solves": True}, OptionError),
        ({"rtol": -1}, OptionError),
        ({"method": "autospec", "M": lambda r: np.tanh(r)}, OptionError),
    ],
)
def test_bad_options_are_named(system, options, error):
    with pytest.raises(error):
        nnla.prepare(system[0], **options)


def test_an_indefinite_matrix_is_named_where_the_set_up_sees_it():
    A = np.diag(np.append(np.linspace(1, 2, 200), 1.0))
    A[0, 200] = A[200, 0] = 1.4  # one negative eigenvalue behind a positive diagonal
    with pytest.raises(NotPositiveDefiniteError):
        nnla.prepare(A, "autospec", probe_steps=60)
    with pytest.raises(NNLAError):
        nnla.prepare(A, "ic")


def test_a_singular_matrix_is_factored_beside_its_null_vector():
    """It was SciPy's RuntimeError, for "auto" as well, and then a refusal."""
    n = 60
    L = sp.diags_array([-np.ones(n - 1), np.r_[1, 2 * np.ones(n - 2), 1], -np.ones(n - 1)], offsets=[-1, 0, 1]).tocsr()
    b = np.arange(n) - (n - 1) / 2
    for method in ("direct", "auto"):
        x, report = nnla.prepare(L, method).solve(b)
        assert report.converged
        assert report.method == "direct"
        assert report.null_space == 1
        assert abs(x.sum()) < 1e-12 * np.abs(x).sum()


def test_a_preconditioner_says_what_it_may_be_used_for(system):
    """It called everything SPD: flexible CG's M, the LU of an indefinite matrix."""
    A, B = system
    b = B[:, 0]
    bent = nnla.prepare(A, "fcg", M=lambda r: r * (1.5 + np.tanh(r / np.linalg.norm(r)))).aspreconditioner()
    assert bent.kind is nnla.Kind.NONLINEAR
    with pytest.raises(OptionError, match="not linear"):
        nnla.solve(A, b, method="cg", M=bent)
    assert nnla.solve(A, b, M=bent).report.converged
    shifted = sp.csr_array(nnla.problems.poisson2d(12) - 1.5 * sp.eye_array(144))
    assert nnla.prepare(shifted, "direct").aspreconditioner().kind is nnla.Kind.LINEAR


@pytest.mark.parametrize("method", ["cg", "jacobi", "direct", "autospec"])
def test_a_preconditioner_takes_arrays_of_either_library(system, method):
    torch = pytest.importorskip("torch")
    A, B = system
    for matrix in (A, torch.tensor(A.toarray())):
        M = nnla.prepare(matrix, method).aspreconditioner()
        for b in (B[:, 0], B):
            here, there = M @ b, M @ torch.tensor(b)
            assert isinstance(here, np.ndarray)
            assert isinstance(there, torch.Tensor)
            assert there.numpy() == pytest.approx(here, rel=1e-6, abs=1e-9)
        assert cg(A, B[:, 0], M=M, rtol=1e-8)[1] == 0
