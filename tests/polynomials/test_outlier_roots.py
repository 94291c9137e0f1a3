"""Roots on outliers: the closed form against its definition, the tail of a probe, and positivity where it matters."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnla.errors import OptionError
from nnla.kernels.system import native_layers
from nnla.operators.operator import as_operator
from nnla.polynomials.classical import leja_order
from nnla.polynomials.outlier_roots import (
    check_with_tail,
    effective_degree,
    equiripple_roots,
    residual_at,
    spectral_tail,
    steepness,
    tail_polynomial,
)
from nnla.polynomials.recurrence import Recurrence, chebyshev
from nnla.problems import diffusion3d, lognormal_field
from nnla.spectra.simulated_cg import simulate_probe
from nnla.types import SpectralProbe


def probe_of(lam, steps=40, n=None, seed=0):
    weight = np.random.default_rng(seed).chisquare(1, lam.size) + 1e-3
    alpha, beta, users = simulate_probe(lam, weight, weight, steps)
    return SpectralProbe(alpha, beta, n or lam.size, reductions=users)


BULK = np.linspace(0.001, 0.3, 300)


# -- the polynomial -----------------------------------------------------------------------------------


def test_without_outer_roots_it_is_chebyshev():
    roots = equiripple_roots(0.01, 2.0, np.array([]), 9)
    x = np.linspace(0.001, 2.0, 300)
    np.testing.assert_allclose(residual_at(x, roots[None])[0], chebyshev(0.01, 2.0, 8).residual(x), atol=1e-11)


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 24), st.lists(st.floats(1.25, 10.0), min_size=1, max_size=2), st.floats(1e-4, 0.1))
def test_equioscillates_on_the_interval(m, outer, a):
    roots = equiripple_roots(a, 1.0, np.array(outer), m)
    inner = np.sort(roots[: m - len(outer)])
    assert a < inner[0]
    assert inner[-1] < 1.0
    edges = np.concatenate([[a], inner, [1.0]])
    peaks = [np.abs(residual_at(np.linspace(p, q, 400), roots[None])).max() for p, q in itertools.pairwise(edges)]
    # the closed form is exact up to beta^(2 (m - j)), beta the image of the nearest outer root in the circle
    tau = 2 * min(outer) - 1
    beta = tau - np.sqrt(tau**2 - 1)
    assert max(peaks) / min(peaks) < 1.02 + 20 * beta ** (2 * (m - len(outer) - 1))


def test_grows_below_the_interval_as_its_effective_degree_says():
    m, f, outer, x = 16, 1.0, np.array([1.5, 2.5]), 1e-5
    roots = equiripple_roots(x, f, outer, m)
    sup = np.abs(residual_at(np.linspace(x, f, 20_000), roots[None])).max()
    # cosh(d * 2 sqrt(x / f)) for effective degree d
    assert np.arccosh(1 / sup) / (2 * np.sqrt(x / f)) == pytest.approx(effective_degree(outer, f, m), rel=0.01)


@pytest.mark.parametrize(
    ("a", "f", "outer", "m"),
    [
        (0.0, 1.0, [2.0], 5),
        (1.0, 0.5, [2.0], 5),
        (0.1, 1.0, [0.9], 5),
        (0.1, 1.0, [2.0, 3.0], 2),
        (0.1, 1.0, [1.001], 5),
    ],
)
def test_impossible_requests(a, f, outer, m):
    with pytest.raises(OptionError):
        equiripple_roots(a, f, np.array(outer), m)


def test_recurrence_is_the_product_of_the_roots():
    outer = np.array([1.0, 1.0, 0.6])
    P = tail_polynomial(1e-3, 0.3, outer, 11)
    roots = equiripple_roots(1e-3, 0.3, outer, 12)
    same = Recurrence.from_roots(leja_order(roots), P.domain)
    assert same == P
    assert P.degree == 11
    x = np.concatenate([np.linspace(1e-6, 0.3, 200), [0.6, 1.0]])
    np.testing.assert_allclose(P.residual(x), residual_at(x, roots[None])[0], atol=1e-9)
    assert Recurrence.from_json(P.to_json()) == P


@pytest.mark.parametrize("outer", [[1.0], [1.0, 0.7], [1.0, 1.0, 0.7]])
def test_steepness_is_the_slope_at_simple_roots(outer):
    outer = np.array(outer)
    roots = equiripple_roots(1e-6, 0.5, outer, 12)
    simple = np.array([v for v in outer if np.sum(outer == v) == 1])
    step = 1e-10
    slope = np.abs(residual_at(simple * (1 + step), roots[None])[0] / step)
    assert steepness(outer, 0.5, 12) == pytest.approx(slope.max(), rel=0.02)


def test_no_steepness_where_there_is_no_polynomial():
    assert steepness(np.array([0.5001]), 0.5, 6) == np.inf


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-3)])
def test_native_kernel_agrees(dtype, tolerance):
    A = diffusion3d(lognormal_field((12,) * 3, s=1.5, correlation=0.001, seed=1))
    system = as_operator(A).native
    if system is None:
        pytest.skip("the native kernels are not built")
    probe = _probe_matrix(A)
    b, tail = probe.upper_bound, spectral_tail(probe)
    P = tail_polynomial(1e-3 * b, 1.003 * tail.values[1] * b, tail.values[:1] * b, 11)
    assert native_layers(P) is not None
    z = np.random.default_rng(2).standard_normal(A.shape[0])
    out = np.empty_like(z)
    system.polynomial(P, dtype, scaled=False).apply(z, out)
    exact = P.apply(A, z)
    assert np.linalg.norm(out - exact) <= tolerance * np.linalg.norm(exact)


def _probe_matrix(A, steps=50):
    import nnla

    return nnla.probe(A, steps, start=np.random.default_rng(0).standard_normal(A.shape[0]))


# -- the tail -----------------------------------------------------------------------------------------


def test_finds_the_outliers_and_merges_copies():
    lam = np.concatenate([BULK, [0.5, 0.8, 1.0]])
    probe = probe_of(lam, steps=80)  # long enough for copies of converged values
    assert np.sum(probe.ritz_values > 0.999) > 1
    tail = spectral_tail(probe)
    np.testing.assert_allclose(tail.values[:3] * probe.upper_bound, [1.0, 0.8, 0.5], atol=1e-9)
    assert tail.rest < tail.values[-1]
    assert tail.rest * probe.upper_bound >= 0.29


def test_no_outlier_where_nothing_has_converged():
    tail = spectral_tail(probe_of(np.linspace(0.001, 1.0, 3000), steps=8))
    assert tail.values.size == 0
    assert tail.rest > 0.9


# -- the guard ----------------------------------------------------------------------------------------


def test_guard_accepts_roots_on_outliers():
    lam = np.concatenate([BULK, [0.5, 0.8, 1.0]])
    probe = probe_of(lam)
    b, tail = probe.upper_bound, spectral_tail(probe)
    f = 1.003 * tail.rest
    once = tail_polynomial(2e-3 * b, f * b, tail.values[:3] * b, 11)
    assert not check_with_tail(once, tail, f, b).ok  # steep: a difference in the seventh digit would matter
    P = tail_polynomial(2e-3 * b, f * b, tail.values[[0, 0, 1, 2]] * b, 11)
    assert check_with_tail(P, tail, f, b).ok
    assert np.all(P(lam) > 0)


def test_guard_refuses_a_missed_outlier():
    lam = np.concatenate([BULK, [0.5, 0.8, 1.0]])
    probe = probe_of(lam)
    b, tail = probe.upper_bound, spectral_tail(probe)
    f = 1.003 * tail.rest
    outer = tail.values[[0, 0, 2]]  # 0.8 has none
    P = tail_polynomial(2e-3 * b, f * b, outer * b, 11)
    assert P(0.8) < 0
    verdict = check_with_tail(P, tail, f, b)
    assert not verdict.ok
    assert "outlier" in verdict.reason


def test_guard_refuses_an_interval_that_ends_below_the_bulk():
    lam = np.concatenate([BULK, [1.0]])
    probe = probe_of(lam)
    b, tail = probe.upper_bound, spectral_tail(probe)
    P = tail_polynomial(2e-3 * b, 0.2 * b, np.array([b * tail.values[0]] * 2), 11)
    assert not check_with_tail(P, tail, 0.2, b).ok


def test_guard_refuses_a_root_beside_its_outlier():
    """So steep that the outlier's own uncertainty makes P negative."""
    lam = np.concatenate([BULK, [1.0]])
    probe = probe_of(lam)
    b, tail = probe.upper_bound, spectral_tail(probe)
    f = 1.003 * np.append(tail.values, tail.rest)[1]
    P = tail_polynomial(2e-3 * b, f * b, np.array([1.001 * tail.values[0] * b]), 12)
    Q = tail_polynomial(2e-3 * b, f * b, np.array([0.999 * tail.values[0] * b]), 12)
    assert not (check_with_tail(P, tail, f, b).ok and check_with_tail(Q, tail, f, b).ok)
