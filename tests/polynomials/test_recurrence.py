"""The recurrence against polynomials known by other means: Chebyshev sums, roots, eigenvectors."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import nnla
from nnla.errors import FileFormatError, NonFiniteError, OptionError, ShapeError
from nnla.polynomials.recurrence import Recurrence

numbers = st.floats(-2, 2, allow_nan=False, allow_subnormal=False)


@given(
    st.integers(1, 30).flatmap(lambda k: arrays(float, k, elements=numbers)),
    st.floats(-1, 3),
    st.floats(0.1, 5),
)
@settings(max_examples=150, deadline=None)
def test_chebyshev_coefficients_round_trip(c, a, width):
    r = Recurrence.from_chebyshev(c, a, a + width)
    x = np.linspace(a, a + width, 57)
    reference = np.polynomial.chebyshev.chebval(2 * (x - a) / width - 1, c)
    # The map to [-1, 1] loses (|a| + |b|) / width units in the last place, and T_k has slopes of up to k^2.
    lost = 1e-12 + 4 * np.finfo(float).eps * c.size**2 * (abs(a) + abs(a + width)) / width
    scale = (np.abs(c).sum() + 1e-300) * lost
    assert np.max(np.abs(r(x) - reference)) <= scale
    back = r.to_chebyshev()
    assert np.max(np.abs(np.pad(back, (0, c.size - back.size)) - c)) <= scale


@given(st.lists(st.floats(0.2, 5), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_from_roots_is_the_product(roots):
    r = Recurrence.from_roots(roots)
    x = np.linspace(0.05, 4, 31)
    product = np.prod([1 - x / z for z in roots], axis=0)
    scale = np.prod([1 + x / z for z in roots], axis=0)
    assert r.degree == len(roots) - 1
    assert np.all(np.abs(r.residual(x) - product) <= 1e-12 * scale)


def random_recurrence(rng, depth):
    return Recurrence(*rng.standard_normal((5, depth)), domain=(0, 8), shift=0.3, scale=6.0)


@pytest.mark.parametrize("depth", [1, 2, 5, 9])
def test_apply_is_the_scalar_polynomial_on_eigenvectors(rng, depth):
    A = nnla.problems.poisson2d(9)
    lam, V = np.linalg.eigh(A.toarray())
    r = random_recurrence(rng, depth)
    for z in (rng.standard_normal(81), rng.standard_normal((81, 3))):
        kept = z.copy()
        weights = r(lam) if z.ndim == 1 else r(lam)[:, None]
        expected = V @ (weights * (V.T @ z))
        got = r.apply(A, z)
        assert np.array_equal(z, kept)
        assert np.max(np.abs(got - expected)) <= 1e-12 * np.max(np.abs(expected))


def test_equation_5_literally(rng):
    """The paper's state recurrence, written as in the paper."""
    r = random_recurrence(rng, 6)
    X = lambda v: (A @ v - r.shift * v) / r.scale  # noqa: E731
    A = nnla.problems.poisson1d(20).toarray()
    z = rng.standard_normal(20)
    a, b, c = z, z, X(z)
    for k in range(5):
        a, b, c = (
            a + r.rho[k] * c,
            c,
            r.gamma[k] * a + r.eta[k] * b + r.alpha[k] * c + r.beta[k] * X(c),
        )
    expected = r.gamma[5] * a + r.eta[5] * b + r.alpha[5] * c + r.beta[5] * X(c)
    assert np.allclose(r.apply(A, z), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 2, 11, 32])
def test_products_are_what_is_promised(degree, rng):
    r = Recurrence.chebyshev(0.1, 8.0, degree)
    A = nnla.problems.poisson2d(6)
    count = 0

    def matvec(v):
        nonlocal count
        count += 1
        return A @ v

    r.apply(matvec, rng.standard_normal(36))
    assert count == r.products == r.degree == degree


def test_torch_gives_the_same(rng):
    torch = pytest.importorskip("torch")
    r = random_recurrence(rng, 7)
    A = nnla.problems.poisson2d(5).toarray()
    z = rng.standard_normal(25)
    got = r.apply(torch.from_numpy(A), torch.from_numpy(z))
    assert np.allclose(got.numpy(), r.apply(A, z), rtol=1e-13, atol=1e-13)
    assert np.allclose(r(torch.from_numpy(z)).numpy(), r(z), rtol=1e-13)


def test_json_round_trip_is_exact(rng):
    r = random_recurrence(rng, 4)
    again = Recurrence.from_json(r.to_json())
    assert again == r
    assert hash(again) == hash(r)
    assert json.loads(r.to_json())["format"] == "nnla-recurrence"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '"x"',
        "null",
        '{"format": "nnla-recurrence", "version": 2}',
        '{"format": "nnla-recurrence"',
    ],
)
def test_malformed_json(text):
    with pytest.raises(FileFormatError):
        Recurrence.from_json(text)


def test_bad_coefficients():
    with pytest.raises(ShapeError):
        Recurrence([0.0], [1.0, 2.0], [0.0], [0.0], [0.0])
    with pytest.raises(NonFiniteError):
        Recurrence([0.0], [np.nan], [0.0], [0.0], [0.0])
    with pytest.raises(OptionError):
        Recurrence([0.0], [1.0], [0.0], [0.0], [0.0], scale=0.0)
    with pytest.raises(OptionError):
        Recurrence.from_chebyshev([1.0], 2.0, 1.0)
    with pytest.raises(OptionError):
        Recurrence.from_roots([1.0, 0.0])


def test_immutable_and_scaled():
    r = Recurrence.chebyshev(0.1, 2.0, 5)
    with pytest.raises(ValueError, match="read-only"):
        r.beta[0] = 1
    x = np.linspace(0.1, 2, 9)
    assert np.allclose(r.scaled(3.0)(x), 3 * r(x))
