"""Classical polynomials against their textbook formulas, in high precision where it matters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnla
from nnla import classical
from nnla.errors import OptionError


def chebyshev_residual(x, a, b, m):
    """T_m((a + b - 2 x) / (b - a)) / T_m((a + b) / (b - a)) by the three-term recurrence."""
    t, t0 = (a + b - 2 * x) / (b - a), (a + b) / (b - a)
    p, q, p0, q0 = np.ones_like(x), t, 1.0, t0
    for _ in range(m - 1):
        p, q, p0, q0 = q, 2 * t * q - p, q0, 2 * t0 * q0 - p0
    return q / q0


@pytest.mark.parametrize("m", [2, 3, 12, 33])
@pytest.mark.parametrize("ratio", [0.5, 1e-2, 1e-5, 1e-9])
def test_chebyshev_is_the_formula(m, ratio):
    a, b = ratio * 7, 7.0
    r = classical.chebyshev(a, b, m - 1)
    x = np.geomspace(a / 50, b, 400)
    expected = chebyshev_residual(x, a, b, m)
    assert r.degree == m - 1
    assert np.max(np.abs(r.residual(x) - expected)) < 1e-10


@given(st.floats(-12, -0.05), st.integers(1, 33))
@settings(max_examples=200, deadline=None)
def test_chebyshev_is_positive_where_promised(log_ratio, degree):
    a, b = 10.0**log_ratio, 1.0
    r = classical.chebyshev(a, b, degree)
    top = min(a + b, 1.05 * b) if (degree + 1) % 2 == 0 else 1.05 * b
    x = np.concatenate([np.geomspace(1e-14, 1, 300), np.linspace(0, top, 400)[1:-1]])
    x = x[x < top * (1 - 1e-12)]
    assert np.all(r(x) > 0)


def test_chebyshev4_is_bounded_and_positive():
    for degree in (0, 1, 5, 11, 32):
        m = degree + 1
        r = classical.chebyshev4(3.0, degree)
        theta = np.linspace(1e-3, np.pi, 300)
        x = 1.5 * (1 - np.cos(theta))
        w = np.sin((m + 0.5) * theta) / np.sin(theta / 2) / (2 * m + 1)
        assert np.max(np.abs(r.residual(x) - w)) < 1e-11
        assert np.all(r(x) > 0)


def test_richardson_and_neumann():
    x = np.linspace(0, 2, 11)
    assert np.allclose(classical.richardson(2.0, 4).residual(x), (1 - x / 2) ** 5, atol=1e-14)
    assert np.allclose(classical.richardson(2.0, 4, a=0.5).residual(x), (1 - x / 1.25) ** 5, atol=1e-13)
    series = sum((1 - x / 2) ** k for k in range(5)) / 2
    assert np.allclose(classical.neumann(2.0, 4)(x), series, atol=1e-13)


def test_least_squares_is_smallest_in_its_norm(rng):
    t, w = np.polynomial.legendre.leggauss(40)
    x = 0.5 + 0.5 * t

    def size(r):
        return np.sum(w * r.residual(x) ** 2)

    best = classical.least_squares(0.0, 1.0, 7)
    assert size(best) < 0.999 * size(classical.chebyshev(0.01, 1.0, 7))
    assert size(best) < 0.999 * size(classical.chebyshev4(1.0, 7))
    c = best.to_chebyshev(0.0, 1.0)
    for _ in range(5):
        other = nnla.Recurrence.from_chebyshev(c + 1e-3 * rng.standard_normal(8), 0.0, 1.0)
        assert size(best) < size(other)


def test_gmres_polynomial_solves_in_its_degree(rng):
    """With m distinct eigenvalues, the polynomial of degree m - 1 is the inverse on the Krylov space."""
    lam = np.array([1.0, 2.0, 5.0, 9.0, 20.0])
    A = np.diag(np.repeat(lam, 6))
    b = rng.standard_normal(30)
    probe = nnla.probe(A, 4, start=b)
    r = classical.gmres_polynomial(probe.alpha, probe.beta, 3)
    # minimal residual over the Krylov space of dimension 4
    K = np.stack([np.linalg.matrix_power(A, k) @ b for k in range(1, 5)], axis=1)
    best = np.linalg.norm(b - K @ np.linalg.lstsq(K, b, rcond=None)[0])
    got = np.linalg.norm(b - A @ r.apply(A, b))
    assert got == pytest.approx(best, rel=1e-6)


def test_leja_order_is_a_permutation(rng):
    z = rng.uniform(1, 2, 20)
    ordered = classical.leja_order(z)
    assert np.array_equal(np.sort(ordered), np.sort(z))
    assert ordered[0] == z.max()


@pytest.mark.parametrize(("a", "b", "degree"), [(0.0, 1.0, 3), (2.0, 1.0, 3), (0.1, np.inf, 3), (0.1, 1.0, -1)])
def test_bad_intervals(a, b, degree):
    with pytest.raises(OptionError):
        classical.chebyshev(a, b, degree)
