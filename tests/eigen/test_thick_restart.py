"""The subspace: Lanczos relation, restarts, locking, ends of Krylov spaces."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.eigen.thick_restart import ThickRestart
from nnla.errors import NonFiniteError
from nnla.kernels import basis as basis_kernels


def diagonal(d, size, start=None, seed=0, locked=None):
    return ThickRestart(lambda v: d * v, d.size, size, start, np.random.default_rng(seed), locked=locked)


def basis(space):
    return space._V[: space.size]


def test_ritz_values_and_residuals_are_those_of_the_subspace(rng):
    d = np.sort(rng.standard_normal(300))
    space = diagonal(d, 20)
    space.extend()
    V = basis(space)
    np.testing.assert_allclose(V @ V.T, np.eye(20), atol=1e-14)
    np.testing.assert_allclose(space.theta, np.linalg.eigvalsh((V * d) @ V.T)[::-1], atol=1e-13)
    for i in (0, 5, 19):
        y = space.vector(i)
        assert np.linalg.norm(d * y - space.theta[i] * y) == pytest.approx(space.residuals[i], abs=1e-12)


def test_restarts_keep_the_leading_ritz_values_and_converge(rng):
    d = np.sort(rng.uniform(0, 1, 500)) ** 0.5
    space = diagonal(d, 24)
    before = -np.inf
    for _ in range(60):
        space.extend()
        assert space.theta[0] >= before - 1e-12  # never worse
        before = space.theta[0]
        V = basis(space)
        np.testing.assert_allclose(V @ V.T, np.eye(24), atol=1e-12)
        space.restart(9)
    np.testing.assert_allclose(before, d[-1], rtol=1e-10)
    assert space.steps == 24 + 59 * 15


def test_locked_vectors_stay_and_are_deflated(rng):
    d = np.arange(100.0)
    space = diagonal(d, 20)
    for _ in range(30):
        space.extend()
        space.restart(8)
    space.lock(2)
    locked = space.locked_vectors().copy()
    np.testing.assert_allclose(np.abs(locked[:, -2:]), np.eye(2)[::-1], atol=1e-6)
    for _ in range(20):
        space.extend()
        space.restart(8)
    np.testing.assert_array_equal(space.locked_vectors(), locked)
    assert space.theta[0] == pytest.approx(97.0, abs=1e-8)


def test_known_vectors_can_be_given():
    d = np.arange(50.0)
    space = diagonal(d, 20, locked=np.eye(50)[[49, 48]])
    for _ in range(20):
        space.extend()
        space.restart(8)
    assert space.theta[0] == pytest.approx(47.0, abs=1e-8)


@pytest.mark.parametrize("d", [np.zeros(30), np.full(30, 3.0), np.repeat([1.0, 2.0, 5.0], 10)])
def test_a_krylov_space_that_ends_goes_on_with_random_vectors(d):
    space = diagonal(d, 30)
    space.extend()
    np.testing.assert_allclose(np.sort(space.theta), np.sort(d), atol=1e-12)
    assert np.all(space.residuals == 0)


def test_a_start_that_is_an_eigenvector():
    d = np.arange(40.0)
    space = diagonal(d, 20, start=np.eye(40)[3])
    space.extend()
    assert space.theta.size == 20
    V = basis(space)
    np.testing.assert_allclose(V @ V.T, np.eye(20), atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny(n):
    d = np.arange(1.0, n + 1)
    for size in range(1, n + 1):
        space = diagonal(d, size)
        space.extend()
        space.restart(1)
        if size == n:
            np.testing.assert_allclose(space.theta, d[::-1], atol=1e-14)


def test_beginning_anew_brings_in_a_missing_copy():
    d = np.repeat(np.arange(60.0), 2)  # every eigenvalue twice
    start = np.zeros(120)
    start[::2] = 1.0  # of which this start contains one copy only
    space = diagonal(d, 30, start=start)
    for _ in range(15):
        space.extend()
        space.restart(10)
    np.testing.assert_allclose(space.theta[:2], [59.0, 58.0], atol=1e-8)
    space.lock(1)
    space.renew()
    for _ in range(15):
        space.extend()
        space.restart(10)
    np.testing.assert_allclose(space.theta[:1], 59.0, atol=1e-8)


def test_overflow_has_a_name():
    space = ThickRestart(lambda v: v * np.inf, 5, 3, None, np.random.default_rng(0))
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="rescale"):
        space.extend()


SPECTRA = {
    "separated": lambda n: np.r_[10.0 ** np.arange(12), np.linspace(0, 1, n - 12)],
    "inverse": lambda n: 1 / np.arange(1.0, n + 1) ** 2,
    "multiples": lambda n: np.repeat(np.arange(1.0, n // 8 + 2), 8)[:n],
    "zero": np.zeros,
    "rank 5": lambda n: np.r_[np.arange(1.0, 6), np.zeros(n - 5)],
    "huge range": lambda n: 10.0 ** np.linspace(-200, 100, n),
    "tiny": lambda n: 1e-130 * np.linspace(0, 1, n) ** 2,
    "two ends": lambda n: np.r_[-1e8, 1e8, np.linspace(-1, 1, n - 2)],
    "cluster": lambda n: np.r_[5 + 1e-12 * np.arange(20), np.linspace(0, 1, n - 20)],
}


@pytest.mark.parametrize("mass", [False, True])
@pytest.mark.parametrize("kernels", ["native", "NumPy"])
@pytest.mark.parametrize("block", [1, 4, 8])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_basis_stays_orthogonal_to_working_precision(name, block, kernels, mass, monkeypatch, rng):
    if kernels == "NumPy":
        monkeypatch.setattr(basis_kernels, "native", None)
    n, size = 1000, 60
    d = SPECTRA[name](n)
    m = rng.uniform(0.5, 2, n) if mass else np.ones(n)

    def times(x):  # F M^-1 where there is an M: F = diag(d) then, too
        return lambda V: (x if V.ndim == 1 else x[:, None]) * V

    space = ThickRestart(
        times(d / m), n, size, None, np.random.default_rng(1), block=block, mass=times(m) if mass else None
    )
    for step in range(9):
        if step % 2 == 0:
            space.extend()
        else:
            space.restart(20)
        V = space._V[: space._filled + space._pending]
        assert np.abs((V * m) @ V.T - np.eye(len(V))).max() <= 1e-14 * len(V) ** 0.5
    y = space.vectors(3)
    np.testing.assert_allclose(space.images(3), d * y, atol=4 * space.residuals[:3].max() + 1e-13 * np.abs(d).max())
