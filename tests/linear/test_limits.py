"""Limits of time, the iterate that is returned at a limit, starts, and choices that no clock makes."""

import time

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, cg

import nnla
from nnla.errors import NonFiniteError, OptionError
from nnla.linear.estimates import Estimates
from nnla.linear.speeds import THIS_MACHINE


@pytest.fixture(scope="module")
def stiff():
    P = nnla.problems.poisson2d(24)
    return P @ P, np.random.default_rng(0).standard_normal(576)


# -- the best iterate ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cg", "jacobi", "ic", "fcg", "autospec"])
@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_the_best_iterate_is_returned(stiff, method, form):
    """The residuals of CG rise and fall: at a limit the smallest so far counts, in native CG and in NumPy's."""
    A, b = stiff
    if form == "dense" and method == "ic":
        pytest.skip("incomplete Cholesky is for sparse matrices")
    given = A if form == "sparse" else A.toarray()
    for maxiter in (3, 7, 12, 20, 33):
        seen = [np.linalg.norm(b)]
        x, report = nnla.solve(
            given, b, method=method, maxiter=maxiter, rtol=1e-12,
            callback=lambda v, seen=seen: seen.append(np.linalg.norm(b - A @ v)),
        )  # fmt: skip
        assert report.status == "maxiter"
        assert np.linalg.norm(b - A @ x) <= min(seen) * (1 + 1e-6)
        assert report.relative_residual == pytest.approx(np.linalg.norm(b - A @ x) / np.linalg.norm(b), rel=1e-6)


def test_the_best_of_each_column(stiff):
    A, b = stiff
    B = np.stack([b, A @ np.ones(b.size), b[::-1]], axis=1)
    seen = [np.linalg.norm(B, axis=0)]
    x, _ = nnla.solve(
        A, B, method="cg", maxiter=15, rtol=1e-12, callback=lambda v: seen.append(np.linalg.norm(B - A @ v, axis=0))
    )
    assert np.all(np.linalg.norm(B - A @ x, axis=0) <= np.min(seen, axis=0) * (1 + 1e-6))


# -- starts -------------------------------------------------------------------------------------------------------


def test_a_start_is_judged_in_the_norm_of_cg():
    """The solution and some noise: a larger residual than zero's, a tenth of its error."""
    A = nnla.problems.poisson2d(60)
    rng = np.random.default_rng(0)
    s = rng.standard_normal(3600)
    for _ in range(200):
        s = s - A @ s / 8.0
    s /= np.abs(s).max()
    b, x0 = A @ s, s + 0.004 * rng.standard_normal(3600)
    assert np.linalg.norm(b - A @ x0) > np.linalg.norm(b)
    count = [0]
    cg(A, b, x0=x0, rtol=1e-6, callback=lambda _: count.__setitem__(0, count[0] + 1))
    for start in (x0, x0[:, None]):
        report = nnla.solve(A, b.reshape(start.shape), x0=start, method="cg", rtol=1e-6).report
        assert report.converged
        assert report.iterations <= count[0] + 2


def test_a_start_worse_than_zero_costs_nothing():
    A, b = nnla.problems.poisson2d(30), np.ones(900)
    cold = nnla.solve(A, b, method="jacobi").report.iterations
    for x0 in (1e6 * b, -b, np.full(900, 1e300)):
        assert nnla.solve(A, b, x0=x0, method="jacobi").report.iterations == cold


# -- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cg", "jacobi", "fcg", "autospec", "auto"])
def test_a_solve_ends_at_its_limit_of_time(method):
    P = nnla.problems.poisson2d(150)
    A, b = P @ P @ P, np.ones(22500)
    nnla.solve(P, b, method=method, maxiter=1)  # what is imported when it is first needed
    limit = 0.3
    options = {"maxiter": 10**6} if method == "auto" else {}
    began = time.perf_counter()
    x, report = nnla.solve(A, b, method=method, rtol=1e-14, timeout=limit, **options)
    spent = time.perf_counter() - began
    if report.status in ("converged", "rounding"):  # of a direct solution
        return
    assert report.status == "timeout"
    assert spent < limit + (10.0 if method == "auto" else 1.0)  # a tenth of a second on an idle machine
    assert np.linalg.norm(b - A @ x) <= np.linalg.norm(b)
    assert report.relative_residual == pytest.approx(np.linalg.norm(b - A @ x) / np.linalg.norm(b), rel=1e-6)


def test_no_time_at_all():
    A, b = nnla.problems.poisson2d(20), np.ones(400)
    slow = LinearOperator(A.shape, matvec=lambda v: A @ v, dtype=float)
    for given, method in ((A, "cg"), (A, "direct"), (A, "ic"), (A, "auto"), (slow, "cg")):
        x, report = nnla.solve(given, b, method=method, timeout=0)
        assert np.isfinite(x).all()
        assert report.status in ("timeout", "converged")
        P = nnla.prepare(given, method=method)
        assert P.solve(b, timeout=0).report.status in ("timeout", "converged")
        assert P.solve(b, timeout=60).report.converged


@pytest.mark.parametrize("timeout", [-1, np.nan, "1", True])
def test_limits_that_make_no_sense(timeout):
    with pytest.raises(OptionError, match="timeout"):
        nnla.solve(np.eye(3), np.ones(3), timeout=timeout)


# -- clocks -------------------------------------------------------------------------------------------------------


def test_no_clock_decides_where_that_is_asked_for(monkeypatch):
    """On machines of any speed the same choice, in the same words."""
    A, b = nnla.problems.poisson3d(24), np.random.default_rng(0).standard_normal(24**3)
    chosen = set()
    real = Estimates.observe
    for factor in (0.01, 1.0, 100.0):
        monkeypatch.setattr(Estimates, "observe", lambda self, s, k, f=factor: real(self, s * f, k))
        for _ in range(20):
            THIS_MACHINE.learn("factor", measured=factor, predicted=1.0)
        report = nnla.solve(A, b, deterministic=True).report
        assert report.deterministic
        chosen.add((report.method, report.iterations, report.chosen_because))
        assert nnla.prepare(A, deterministic=True).report.predicted_seconds == pytest.approx(
            nnla.prepare(A, deterministic=True).report.predicted_seconds
        )
    THIS_MACHINE.forget()
    assert len(chosen) == 1
    assert "from counts alone" in report.chosen_because
    with pytest.raises(OptionError, match="deterministic"):
        nnla.solve(A, b, deterministic="yes")


# -- preconditioners and callbacks that misbehave -------------------------------------------------------------------


class Failing:
    """Says that it is SPD, and returns NaN after some applications."""

    kind = "linear-spd"

    def __init__(self, good):
        self.left = good

    def __call__(self, r):
        self.left -= 1
        return r * (1.0 if self.left >= 0 else np.nan)


def test_a_preconditioner_that_fails_midway_is_left_by_auto():
    A, b = nnla.problems.poisson2d(20), np.ones(400)
    assert nnla.solve(A, b, M=Failing(10)).report.converged
    assert nnla.prepare(A, M=Failing(10)).solve(b).report.converged
    report = nnla.solve(A, b, M=Failing(10), method="cg").report
    assert report.status == "breakdown"


def test_a_preconditioner_that_returns_nan_is_called_that():
    with pytest.raises(NonFiniteError, match="M r contains NaN"):
        nnla.solve(np.eye(3), np.ones(3), M=lambda r: r * np.nan, method="cg")


@pytest.mark.parametrize("method", ["cg", "autospec", "ic", "fcg"])
def test_a_callback_cannot_reach_the_iterate(method):
    A, b = nnla.problems.poisson2d(20), np.ones(400)
    x, report = nnla.solve(A, b, method=method, callback=lambda v: v.fill(np.nan))
    y, _ = nnla.solve(A, b, method=method)
    assert report.converged
    assert np.array_equal(x, y)
