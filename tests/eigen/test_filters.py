"""Filters: where they damp, how much they amplify, native and not."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.eigen.filters import BoundFilter, chebyshev_filter, cut_of_strength, power_filter, strength
from nnla.errors import OptionError
from nnla.operators.operator import as_operator


@pytest.mark.parametrize("degree", [1, 2, 3, 10, 21, 50])
@pytest.mark.parametrize("flip", [False, True])
def test_chebyshev_damps_its_interval_and_is_positive_and_monotone_beyond(degree, flip):
    sign = -1.0 if flip else 1.0
    P = chebyshev_filter(sign * 1.0, sign * 9.0, degree)
    inside = P(sign * np.linspace(1, 9, 500))
    beyond = P(sign * np.linspace(-1, 1, 50))
    assert np.abs(inside).max() <= 1 + 1e-11
    assert np.all(np.diff(beyond) < 0)
    assert beyond[-1] == pytest.approx(1.0)
    assert P.products == degree
    t = 1.25
    assert P(sign * 0.0) == pytest.approx(np.cosh(degree * np.arccosh(t)), rel=1e-11)


def test_a_strength_fixes_the_value_at_the_edge():
    for degree in (11, 21, 101):
        cut = cut_of_strength(0.8, 2.0, 700.0, degree)
        assert strength(cut, 2.0, 700.0, degree) == pytest.approx(0.8)
        assert chebyshev_filter(cut, 700.0, degree)(2.0) == pytest.approx(np.cosh(2 * np.sqrt(0.8)), rel=0.02)


def test_power():
    P = power_filter(1.0, 5.0, 7)
    lam = np.linspace(1, 5, 9)
    np.testing.assert_allclose(P(lam), ((5 - lam) / 4) ** 7, atol=1e-14)
    for degree in (1, 2):
        np.testing.assert_allclose(power_filter(1.0, 5.0, degree)(lam), ((5 - lam) / 4) ** degree, atol=1e-14)


def test_an_empty_interval_is_refused():
    with pytest.raises(OptionError, match="interval"):
        chebyshev_filter(1.0, 1.0, 5)
    with pytest.raises(OptionError, match="interval"):
        chebyshev_filter(1.0, np.nan, 5)


def test_a_bound_filter_applies_its_polynomial_and_counts(rng):
    A = nnla.problems.poisson2d(15)
    P = chebyshev_filter(0.5, 8.0, 21)
    v = rng.standard_normal(A.shape[0])
    w, V = np.linalg.eigh(A.toarray())
    expected = V @ (P(w) * (V.T @ v))
    for form in (A, A.toarray(), nnla.as_operator(A)):
        op = as_operator(form)
        before = op.products
        np.testing.assert_allclose(BoundFilter(op, P)(v), expected, rtol=1e-10, atol=1e-10 * abs(expected).max())
        assert op.products - before == 21
