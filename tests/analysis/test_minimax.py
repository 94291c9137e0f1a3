"""Minimax gap and equioscillation: exact for Chebyshev, large for others, independent of scale and window."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnla.analysis import chebyshev_fit, equioscillation, leading_coefficient, minimax_gap, random_recurrence
from nnla.errors import OptionError
from nnla.polynomials.classical import gmres_polynomial, neumann
from nnla.polynomials.recurrence import Recurrence
from nnla.training.autospec_paper import chebyshev_layers


def chebyshev_T(degree: int, a: float, b: float, factor: float = 1.0) -> Recurrence:
    return Recurrence.from_chebyshev(factor * np.eye(degree + 1)[degree], a, b)


def monomial(recurrence: Recurrence) -> float:
    """Leading coefficient by interpolation at low degree."""
    d = recurrence.degree
    x = np.cos(np.pi * (np.arange(d + 1) + 0.5) / (d + 1))
    return float(np.polynomial.polynomial.Polynomial.fit(x, recurrence(x), d, domain=[-1, 1]).coef[-1])


@pytest.mark.parametrize(
    "recurrence",
    [
        random_recurrence(6, 1),
        Recurrence.chebyshev(0.3, 1.0, 7),
        Recurrence.from_roots([0.2, 0.5, 0.9, 1.4]),
        Recurrence.from_roots([2.0]),
        Recurrence.from_chebyshev([1.0, -2.0], 0.0, 3.0),
        Recurrence.from_chebyshev([1.0, -2.0, 0.5], 0.0, 3.0),
        neumann(1.0, 5),
        gmres_polynomial(np.array([1.0, 0.8, 1.1, 0.9]), np.array([0.3, 0.2, 0.3, 0.1]), 3),
        random_recurrence(5, 3).scaled(-2.5),
        Recurrence([0.3, 0.1], [1.0, 2.0], [0.5, 0.1], [1.0, 2.0], [0.0, 0.0]),  # degree 1, from accumulated X
    ],
)
def test_leading_coefficient_is_that_of_the_polynomial(recurrence):
    degree, sign, log = leading_coefficient(recurrence)
    assert degree <= recurrence.degree
    assert sign * math.exp(log) == pytest.approx(monomial(recurrence), rel=1e-6)


def test_leading_coefficient_does_not_overflow():
    degree, sign, log = leading_coefficient(chebyshev_T(500, 0.0, 1e-4))
    assert (degree, sign) == (500, 1.0)
    assert log == pytest.approx(499 * math.log(2) + 500 * math.log(2e4), rel=1e-12)


@pytest.mark.parametrize(("degree", "a", "b"), [(2, -1.0, 1.0), (11, 0.2, 3.0), (21, 0.0, 0.97), (40, 5.0, 9.0)])
def test_gap_of_chebyshev_is_zero_whatever_interval_and_scale(degree, a, b):
    gap = minimax_gap(chebyshev_T(degree, a, b, -1e30))
    assert gap.bound == 2.0 ** (1 - degree)
    assert abs(gap.gap) < 1e-5
    np.testing.assert_allclose(gap.window, (a, b), atol=1e-4 * (b - a))


def test_gap_of_others_is_large():
    power = minimax_gap(Recurrence.from_function(lambda x: x**21, 0.0, 1.0, 21))
    assert power.gap > 1e4
    gaps = [minimax_gap(random_recurrence(21, seed)).L for seed in (0, 3)]
    assert min(gaps) > 1e-4  # the paper's random baseline: 0.95; the bound: 9.5e-7
    assert max(gaps) <= 1 + 1e-9  # wide windows only see the monomial


def test_gap_without_the_constant_is_not_the_gap():
    """Near-Chebyshev is near zero and grows with the distance."""
    gaps = [
        minimax_gap(Recurrence.from_chebyshev(np.eye(13)[12] + e * np.eye(13)[9], 0, 1)).gap for e in (0, 0.01, 0.1)
    ]
    assert gaps[0] < 1e-6 < gaps[1] < gaps[2] < 1


def test_coarse_uniform_sampling_falls_below_the_bound():
    """Why the paper's Table 1 has figures that no polynomial of degree 21 can reach."""
    gap = minimax_gap(chebyshev_T(21, 0, 1), points=np.linspace(-1, 1, 30))
    assert -0.2 < gap.gap < -0.01


def test_constants_have_no_gap():
    with pytest.raises(OptionError, match="constant"):
        minimax_gap(Recurrence([0.0], [2.0], [0.0], [0.0], [0.0]))
    with pytest.raises(OptionError, match="leading"):
        leading_coefficient(Recurrence([0.0], [0.0], [0.0], [0.0], [0.0]))


def test_equioscillation_of_chebyshev_and_of_a_preconditioner():
    e = equioscillation(chebyshev_T(21, 0.1, 0.9))
    assert e.alternations == 22
    assert e.flatness == pytest.approx(1.0, abs=1e-4)
    assert np.all(np.abs(e.value) <= 1)
    np.testing.assert_allclose(e.window, (0.1, 0.9), atol=1e-4)
    # 1 - x P(x) of the Chebyshev preconditioner alternates on its interval; P itself does not
    P = Recurrence.chebyshev(0.05, 1.0, 11)
    R = Recurrence.from_function(P.residual, 0.0, 1.0, 12)
    assert equioscillation(R, window=(0.05, 1.0)).alternations == 13
    assert equioscillation(P, window=(0.05, 1.0)).alternations < 5
    assert equioscillation(Recurrence.from_function(lambda x: x**5, 0.0, 1.0, 5), window=(0.5, 1.0)).alternations == 1
    with pytest.raises(OptionError, match="low < high"):
        equioscillation(P, window=(1.0, 0.0))


def test_affine_copies_are_recognised():
    T = chebyshev_T(11, 0.3, 5.0)
    copy = Recurrence.from_chebyshev(np.r_[7.0, np.zeros(10), -3.0], 0.3, 5.0)
    for P in (T, copy):
        fit = chebyshev_fit(P)
        assert fit.error < 1e-4
        assert abs(fit.b) == pytest.approx(2.35, rel=1e-3)
        assert fit.c == pytest.approx(2.65, rel=1e-3)
        np.testing.assert_allclose(fit.fitted, fit.a * P(fit.b * fit.x + fit.c) + fit.d, rtol=1e-9)
    assert chebyshev_fit(Recurrence(*chebyshev_layers(0.01, 1, 10).T)).error > 0.1
