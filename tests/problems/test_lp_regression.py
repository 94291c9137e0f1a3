"""l_p regression: derivatives, units, the basis, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from nnla.problems.lp_regression import lp_regression, lp_terms


@pytest.fixture
def data(rng):
    return rng.random((40, 5)), rng.random(40)


@pytest.mark.parametrize("p", [1.01, 1.3, 1.5, 2.0, 2.5, 4.0])
@pytest.mark.parametrize("smoothing", [1e-3, 1.0])
def test_derivatives_are_those_of_finite_differences(data, rng, p, smoothing):
    problem = lp_regression(*data, p, smoothing=smoothing)
    x, d = rng.standard_normal(5), rng.standard_normal(5)
    h = 1e-6
    slope = (problem.value(x + h * d) - problem.value(x - h * d)) / (2 * h)
    assert problem.gradient(x) @ d == pytest.approx(slope, rel=2e-6)
    bend = (problem.gradient(x + h * d) - problem.gradient(x - h * d)) / (2 * h)
    np.testing.assert_allclose(problem.hessian(x) @ d, bend, rtol=1e-3 if p < 1.2 else 2e-5, atol=1e-6)


@pytest.mark.parametrize("p", [1.2, 1.5, 3.0])
def test_the_objective_is_the_sum_of_powers(data, rng, p):
    A, b = data
    problem = lp_regression(A, b, p)
    x, eps = rng.standard_normal(5), 1e-3 * np.sqrt(np.mean(b**2))
    r = A @ x - b
    assert problem.value(x) == pytest.approx(np.sum((r**2 + eps**2) ** (p / 2)), rel=1e-12)
    w = p * (r**2 + eps**2) ** (p / 2 - 2) * ((p - 1) * r**2 + eps**2)
    np.testing.assert_allclose(problem.hessian(x), A.T @ (w[:, None] * A), rtol=1e-10)


@pytest.mark.parametrize("p", [1.3, 1.5, 2.0, 3.0])
def test_with_hardly_any_smoothing_the_terms_are_the_papers(p):
    r = np.array([1.5, -0.2, 3.0])
    value, s, w = lp_terms(r, p, 1e-12)
    assert value == pytest.approx(np.sum(np.abs(r) ** p))
    np.testing.assert_allclose(s, p * np.abs(r) ** (p - 2) * r)
    np.testing.assert_allclose(w, p * (p - 1) * np.abs(r) ** (p - 2))


@pytest.mark.parametrize("c", [1e-100, 1e-30, 1e100])
@pytest.mark.parametrize("d", [1e-100, 1.0, 1e100])
def test_units_scale_value_and_derivatives(data, rng, c, d):
    A, b = data
    one, other = lp_regression(A, b), lp_regression(c * A, d * b)
    x = rng.standard_normal(5)
    assert other.value(x / c * d) == pytest.approx(d**1.5 * one.value(x), rel=1e-9)
    np.testing.assert_allclose(other.gradient(x / c * d), d**0.5 * c * one.gradient(x), rtol=1e-9)
    np.testing.assert_allclose(other.unscaled(other.coefficients(other.scaled(x / c * d))), x / c * d, rtol=1e-12)


def test_units_of_columns(data, rng):
    A, b = data
    units = np.array([1e-200, 1e-5, 1.0, 1e90, 1e200])
    one, other = lp_regression(A, b), lp_regression(A * units, b)
    x = rng.standard_normal(5)
    assert other.value(x / units) == pytest.approx(one.value(x), rel=1e-12)
    np.testing.assert_allclose(other.design.columns, one.design.columns, rtol=1e-14)
    np.testing.assert_allclose(other.unscaled(one.coefficients(one.scaled(x))), x / units, rtol=1e-12)
    with pytest.raises(NonFiniteError, match="range of float64"):
        other.hessian(x / units)


def test_numbers_beyond_float64_are_named():
    A = np.ones((2, 1))
    with pytest.raises(NonFiniteError, match="rescale"):
        lp_regression(A, [1e200, 1e200], 3.0).value([1.0])
    with pytest.raises(NonFiniteError, match="range of float64"):
        lp_regression(1e-200 * A, [1e200, 1e200]).unscaled(np.ones(1))
    with pytest.raises(NonFiniteError, match="start nearer"):
        lp_regression(1e200 * A, [1e-200, 1e-200]).value([1.0])
    with pytest.raises(NonFiniteError, match="1e-290"):
        lp_regression(1e-300 * A, [1.0, 1.0])


def test_bad_input_is_refused(data):
    A, b = data
    for p in (1.0, 0.5, -1, 33, np.nan, np.inf, "2", None):
        with pytest.raises(OptionError):
            lp_regression(A, b, p)
    for smoothing in (0.0, 2.0, np.nan, "a"):
        with pytest.raises(OptionError, match="smoothing"):
            lp_regression(A, b, smoothing=smoothing)
    for odd in (A[0], A.T, A[:, :0], A[None], 3.0, [[1.0], [2.0, 3.0]]):
        with pytest.raises(ShapeError):
            lp_regression(odd, b)
    with pytest.raises(ShapeError, match="b has shape"):
        lp_regression(A, b[:-1])
    for value in (np.nan, np.inf):
        holes, gap = A.copy(), b.copy()
        holes[3, 2] = gap[3] = value
        with pytest.raises(NonFiniteError, match="A contains"):
            lp_regression(holes, b)
        with pytest.raises(NonFiniteError, match="b contains"):
            lp_regression(A, gap)
        with pytest.raises(NonFiniteError, match="x contains"):
            lp_regression(A, b).value([value] * 5)
    for odd in (A + 1j, A > 0, "text", None):
        with pytest.raises((DTypeError, ShapeError)):
            lp_regression(odd, b)
    with pytest.raises(DTypeError, match="b has dtype"):
        lp_regression(A, b + 1j)


def test_integers_sparse_and_single_precision_are_taken(data):
    from scipy.sparse import csr_array

    A, b = np.round(9 * data[0]).astype(np.int8), np.round(9 * data[1]).astype(np.int64)
    value = lp_regression(A, b).value(np.ones(5))
    kept = A.copy()
    for same in (csr_array(A), A.astype(np.float32), A.tolist(), np.asfortranarray(A)):
        assert lp_regression(same, b).value(np.ones(5)) == pytest.approx(value)
    np.testing.assert_array_equal(A, kept)


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e7, 1e12])
def test_the_basis_is_orthonormal(rng, condition):
    U, V = np.linalg.qr(rng.standard_normal((60, 5)))[0], np.linalg.qr(rng.standard_normal((5, 5)))[0]
    d = lp_regression((U * np.geomspace(1, 1 / condition, 5)) @ V, rng.random(60)).design
    np.testing.assert_allclose(d.basis.T @ d.basis, np.eye(5), atol=1e-13)
    np.testing.assert_allclose(d.basis @ d.triangle, d.columns, atol=1e-13)
    np.testing.assert_array_equal(np.tril(d.triangle[:, d.kept], -1), 0.0)


def test_dependent_columns_are_left_out(data):
    A, b = data
    double = lp_regression(np.column_stack([A, A[:, 0], np.zeros(40)]), b)
    assert double.design.basis.shape == (40, 5)
    np.testing.assert_allclose(double.design.basis @ double.design.triangle, double.design.columns, atol=1e-14)
    y = double.coefficients(double.start)
    assert np.sum(y == 0) == 2
    x, *_ = np.linalg.lstsq(A, b, rcond=None)
    np.testing.assert_allclose(double.residual(y) * double.unit, A @ x - b, atol=1e-12)
    zero = lp_regression(np.zeros((3, 2)), [1.0, 2.0, 3.0])
    assert zero.design.basis.shape == (3, 0)
    assert zero.unscaled(zero.coefficients(zero.start)).tolist() == [0.0, 0.0]
