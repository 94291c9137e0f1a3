"""The cache-blocked traversal against the plain one, bitwise: any number of sweeps and threads; and blocks."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.kernels import native
from nnla.kernels.system import native_layers
from nnla.polynomials.classical import leja_order
from nnla.polynomials.recurrence import Recurrence, chebyshev

pytestmark = pytest.mark.usefixtures("native_kernels")

KINDS = {"float64": "64", "float32": "32", "bfloat16": "16"}
N = 20_000
BANDED = ("banded", "grid")


def roots(degree):
    """A recurrence with rho != 0: a fourth vector."""
    t = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    return Recurrence.from_roots(leja_order(0.535 + 0.485 * t))


RECURRENCES = {"chebyshev": lambda d: chebyshev(0.05, 1.02, d), "roots": roots}


@pytest.fixture(scope="module")
def matrices(pattern_matrix):
    return {pattern: pattern_matrix(pattern, N, 1) for pattern in BANDED}


@pytest.fixture(scope="module")
def long_matrix(pattern_matrix):
    return pattern_matrix("banded", 100_000, 1)


def polynomial(A, recurrence, dtype, near, far, scale=None):
    matrix = getattr(native, f"Matrix{KINDS[dtype]}")(A.indptr, A.indices, A.data, scale)
    return getattr(native, f"Polynomial{KINDS[dtype]}")(matrix, *native_layers(recurrence), scale, near, far)


def apply(M, r):
    z = np.full_like(r, np.nan)
    (M.apply if r.ndim == 1 else M.apply_block)(r, z)
    return z


def largest_reach(A):
    rows = np.repeat(np.arange(A.shape[0]), np.diff(A.indptr))
    return np.abs(A.indices - rows).max()


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("kind", RECURRENCES)
@pytest.mark.parametrize("pattern", BANDED)
@pytest.mark.parametrize("degree", [3, 4, 11, 12, 31])
def test_blocked_sweeps_give_the_same_bits(matrices, pattern, kind, dtype, degree, rng):
    A = matrices[pattern]
    assert largest_reach(A) < 256  # else no chunk would be small enough
    recurrence = RECURRENCES[kind](degree)
    scale = rng.uniform(0.5, 1.0, N)
    r = rng.standard_normal(N)
    plain = polynomial(A, recurrence, dtype, 0, 0, scale)
    assert plain.traversal == (0, 0, 0)
    expected = apply(plain, r)
    once = polynomial(A, recurrence, dtype, 1 << 20, 1 << 20, scale)  # all steps in one sweep where it fits
    small = {"float64": 200_000, "float32": 100_000, "bfloat16": 80_000}[dtype]
    often = polynomial(A, recurrence, dtype, small, small, scale)
    sweeps = set()
    for M in (once, often):
        chunks, steps, window = M.traversal
        if steps == 0:
            continue
        assert chunks >= 4
        assert steps >= 3
        assert 0 < window <= 1 << 20
        sweeps.add(-(-(degree + 1) // steps))
        for threads in (1, 2, 3, 7):
            native.set_threads(threads)
            assert np.array_equal(apply(M, r), expected)
            assert np.array_equal(apply(plain, r), expected)
        native.set_threads(0)
    assert sweeps
    if degree >= 11:
        assert max(sweeps) > 1


@pytest.mark.parametrize("kind", RECURRENCES)
def test_trapezoids_of_two_threads_and_their_triangles(long_matrix, kind, rng):
    """As many chunks as several threads need to have a trapezoid each, in one sweep and in several."""
    A = long_matrix
    r = rng.standard_normal(A.shape[0])
    for degree, far in ((3, 1 << 18), (7, 1 << 18), (11, 120_000)):
        recurrence = RECURRENCES[kind](degree)
        M = polynomial(A, recurrence, "float32", far, far)
        chunks, steps, _ = M.traversal
        assert steps >= 3
        assert chunks >= 2 * 3 * steps  # below which the sweep stays with one thread
        expected = apply(polynomial(A, recurrence, "float32", 0, 0), r)
        for threads in (2, 3, 4, 16):
            native.set_threads(threads)
            assert np.array_equal(apply(M, r), expected)


def test_threads_take_turns_hundreds_of_times(long_matrix, rng):
    """A race would show sometimes only."""
    A, r = long_matrix, rng.standard_normal(long_matrix.shape[0])
    recurrence = chebyshev(0.05, 1.02, 5)
    M = polynomial(A, recurrence, "float32", 1 << 18, 1 << 18)
    assert M.traversal[0] >= 3 * 3 * M.traversal[1] > 0
    expected = apply(M, r)
    native.set_threads(3)
    for _ in range(300):
        assert np.array_equal(apply(M, r), expected)


def test_a_matrix_whose_rows_reach_everywhere_is_not_blocked(pattern_matrix, rng):
    A = pattern_matrix("random", 5000, 0)
    recurrence = chebyshev(0.05, 1.02, 11)
    M = polynomial(A, recurrence, "float64", 1 << 16, 1 << 17)
    assert M.traversal == (0, 0, 0)
    r = rng.standard_normal(5000)
    assert np.linalg.norm(apply(M, r) - recurrence.apply(A, r)) <= 1e-13 * np.linalg.norm(r) * 20


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("columns", range(1, 12))
@pytest.mark.parametrize("pattern", ["banded", "power law", "empty rows", "dense rows"])
def test_blocks_are_their_columns(pattern_matrix, pattern, columns, dtype, rng):
    n = 777
    A = pattern_matrix(pattern, n, 2)
    scale = rng.uniform(0.5, 1.0, n)
    R = rng.standard_normal((n, columns))
    M = polynomial(A, roots(9), dtype, 1 << 20, 8 << 20, scale)
    Z = apply(M, R)
    tolerance = {"float64": 1e-13, "float32": 1e-5, "bfloat16": 1e-5}[dtype]  # the arithmetic is float32's
    for j in range(columns):
        z = apply(M, np.ascontiguousarray(R[:, j]))
        assert np.linalg.norm(Z[:, j] - z) <= tolerance * np.linalg.norm(z)
    assert np.array_equal(apply(M, R), Z)


@pytest.mark.parametrize("columns", [2, 5])
def test_blocks_in_blocked_sweeps(matrices, columns, rng):
    A = matrices["banded"]
    R = rng.standard_normal((N, columns))
    blocked = polynomial(A, roots(8), "float64", 1 << 20, 1 << 20)
    expected = apply(polynomial(A, roots(8), "float64", 0, 0), R)
    for threads in (1, 3):
        native.set_threads(threads)
        assert np.array_equal(apply(blocked, R), expected)


def test_an_overflow_is_not_hidden(pattern_matrix):
    A = pattern_matrix("banded", 100, 0)
    M = polynomial(A, chebyshev(0.05, 1.02, 11), "float32", 0, 0)
    assert not np.all(np.isfinite(apply(M, np.full(100, 1e300))))


def test_refusals(pattern_matrix):
    A = pattern_matrix("banded", 10, 0)
    matrix = native.Matrix64(A.indptr, A.indices, A.data, None)
    with pytest.raises(ValueError, match="equal length"):
        native.Polynomial64(matrix, [[0.0], [0.0], [0.0], [0.0, 1.0], [0.0]], 0.0, 1.0, None, 0, 0)
    with pytest.raises(ValueError, match="equal length"):
        native.Polynomial64(matrix, [[], [], [], [], []], 0.0, 1.0, None, 0, 0)
