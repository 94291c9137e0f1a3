"""Rational functions of matrices: against the eigendecomposition, with honest errors and counts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from nnla.errors import NonFiniteError, NotPositiveDefiniteError, OptionError, ShapeError
from nnla.extensions import rational_function
from nnla.extensions.rational_fits import zolotarev_inv_sqrt
from nnla.problems import poisson2d

FUNCTIONS = {
    "inv_sqrt": lambda x: x**-0.5,
    "sqrt": np.sqrt,
    "inv": lambda x: 1 / x,
    "log": np.log,
    "exp": np.exp,
}


def chain(n):
    return sp.diags_array([np.full(n - 1, -1.0), np.full(n, 2.0), np.full(n - 1, -1.0)], offsets=[-1, 0, 1]).tocsr()


def exact(A, f, v):
    w, V = np.linalg.eigh(A.toarray() if sp.issparse(A) else A)
    return V @ (f(w) * (V.T @ v))


def aaa_available():
    import scipy.interpolate

    return hasattr(scipy.interpolate, "AAA")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_against_the_eigendecomposition(name, kind, rng):
    if name in ("log", "exp") and not aaa_available():
        pytest.skip("AAA needs SciPy 1.15")
    A = chain(300) if kind == "sparse" else poisson2d(9).toarray()
    v = rng.standard_normal(A.shape[0])
    R = rational_function(A, name, rtol=1e-9)
    y = exact(A, FUNCTIONS[name], v)
    error = np.linalg.norm(R @ v - y) / np.linalg.norm(y)
    assert error < 1e-8
    assert R.report.error < 1e-7
    assert R.report.fit_error < 2e-9


def test_condition_1e6_takes_two_dozen_solves(rng):
    A = chain(1500)
    R = rational_function(A, "inv_sqrt", rtol=1e-10)
    assert R.report.solves_per_apply <= 24
    assert R.report.error < 1e-8
    a, b = R.report.interval
    k = np.arange(1, 1501)
    w = 2 - 2 * np.cos(np.pi * k / 1501)
    assert 0.9 * w.min() < a <= w.min()
    assert w.max() <= b < 1.1 * w.max()


def test_zolotarev_equioscillates_and_converges_geometrically():
    errors = [zolotarev_inv_sqrt(1e-6, 1.0, d).error for d in (5, 10, 15)]
    rate = np.exp(-2 * np.pi**2 * 5 / (np.log(1e6) + 3))
    assert errors[1] / errors[0] < 3 * rate
    assert errors[2] / errors[1] < 3 * rate
    x = np.geomspace(1e-6, 1, 20001)
    e = zolotarev_inv_sqrt(1e-6, 1.0, 5)(x) * np.sqrt(x) - 1
    assert abs(e.max() + e.min()) < 0.02 * e.max()


def test_the_sign_of_an_indefinite_matrix(rng):
    A = chain(200) - 0.97 * sp.eye_array(200)
    v = rng.standard_normal(200)
    R = rational_function(A, "sign")
    np.testing.assert_allclose(R @ v, exact(A, np.sign, v), atol=1e-6)
    assert np.all(R.poles.real == 0)
    assert R.report.degree == 2 * R.report.solves_per_apply


def test_callables_poles_and_blocks(rng):
    A = poisson2d(8)
    V = rng.standard_normal((64, 3))
    f = lambda x: 1 / (1 + x)  # noqa: E731
    R = rational_function(A, f, poles=[-1.0, -0.1])
    np.testing.assert_allclose(R @ V, np.stack([exact(A, f, v) for v in V.T], axis=1), atol=1e-9)
    assert R.report.fit_error < 1e-10
    np.testing.assert_allclose(R.T @ V[:, 0], R @ V[:, 0])
    np.testing.assert_allclose(R.scalar([1.0, 2.0]), [0.5, 1 / 3])


def test_a_users_solve_is_all_that_is_needed(rng):
    A = chain(120)
    calls = []

    def solve(shift, v):
        calls.append(shift)
        return np.linalg.solve(A.toarray() + shift * np.eye(120), v)

    blind = LinearOperator(A.shape, matvec=lambda v: A @ v, dtype=np.float64)
    R = rational_function(blind, "inv_sqrt", solve=solve)
    assert R.report.solves == len(calls)
    assert R.report.factorisations == 0
    before = len(calls)
    v = rng.standard_normal(120)
    np.testing.assert_allclose(R @ v, exact(A, FUNCTIONS["inv_sqrt"], v), atol=1e-6)
    assert len(calls) - before == R.report.solves_per_apply
    assert min(calls) >= 0  # real symmetric shifts
    with pytest.raises(OptionError, match="solve="):
        rational_function(blind, "inv_sqrt")
    with pytest.raises(ShapeError, match="shape"):
        rational_function(blind, "inv_sqrt", solve=lambda shift, v: v[:-1])
    with pytest.raises(NonFiniteError, match="NaN"):
        rational_function(blind, "inv_sqrt", solve=lambda shift, v: v * np.nan)


def test_factors_are_kept_per_shift(rng):
    R = rational_function(poisson2d(8), "inv_sqrt", degree=6)
    made = R.report.factorisations
    v = rng.standard_normal(64)
    assert np.array_equal(R @ v, R @ v)
    assert R.report.factorisations == made == 7  # six poles and the inverse probe


def test_multiples_of_the_identity():
    R = rational_function(4.0 * sp.eye_array(10).tocsr(), "inv_sqrt")
    np.testing.assert_allclose(R @ np.ones(10), 0.5, rtol=1e-7)


def test_errors():
    A = poisson2d(5)
    with pytest.raises(OptionError, match="f must be"):
        rational_function(A, "tan")
    with pytest.raises(OptionError, match="f must be"):
        rational_function(A, 3)
    with pytest.raises(OptionError, match="degree"):
        rational_function(A, "inv_sqrt", degree=0)
    with pytest.raises(OptionError, match="rtol"):
        rational_function(A, "inv_sqrt", rtol=2)
    with pytest.raises(OptionError, match="interval"):
        rational_function(A, "inv_sqrt", interval=(-1.0, 2.0))
    with pytest.raises(OptionError, match="pole"):
        rational_function(A, "log", poles=[1.0])
    with pytest.raises(OptionError, match="conjugate"):
        rational_function(A, "exp", poles=[1j])
    with pytest.raises(NotPositiveDefiniteError):
        rational_function(A - 3.0 * sp.eye_array(25), "sqrt")
    with pytest.raises(NonFiniteError, match="must be finite"):
        rational_function(A, lambda x: np.log(x - 1), poles=[-1.0])
