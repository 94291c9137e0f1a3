"""Rayleigh-Ritz on rows: against LAPACK, with and without an M, for rows that depend."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh

from nnla.eigen.ritz import rayleigh_ritz
from nnla.errors import NotPositiveDefiniteError
from nnla.kernels import basis


@pytest.fixture(params=["native", "NumPy"])
def kernels(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(basis, "native", None)


def symmetric(rng, n):
    A = rng.standard_normal((n, n))
    return A + A.T


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("mass", [False, True])
@pytest.mark.parametrize("j", [1, 7, 8, 21])
def test_pairs_are_those_of_the_span(j, mass, rng):
    n = 200
    A, rows = symmetric(rng, n), rng.standard_normal((j, n)) * 10.0 ** rng.uniform(-30, 30, (j, 1))
    M = np.diag(rng.uniform(1, 3, n)) if mass else np.eye(n)
    given = rows.copy()
    pairs = rayleigh_ritz(lambda V: A @ V, (lambda V: M @ V) if mass else None, rows)
    assert np.array_equal(rows, given)
    Q = np.linalg.qr((rows / np.linalg.norm(rows, axis=1, keepdims=True)).T)[0]
    np.testing.assert_allclose(pairs.values, eigh(Q.T @ A @ Q, Q.T @ M @ Q, eigvals_only=True), atol=1e-11)
    V = pairs.vectors
    np.testing.assert_allclose(V @ M @ V.T, np.eye(j), atol=1e-13)
    lengths = np.linalg.norm(V, axis=1)
    R = V @ A - pairs.values[:, None] * (V @ M)
    np.testing.assert_allclose(pairs.residuals, np.linalg.norm(R, axis=1) / lengths, rtol=1e-10)
    np.testing.assert_allclose(pairs.sizes, np.sum((V @ M) * V, axis=1) / lengths**2, rtol=1e-12)


@pytest.mark.usefixtures("kernels")
def test_rows_that_depend_give_fewer_pairs(rng):
    d, X = np.arange(100.0), rng.standard_normal((4, 100))
    rows = np.concatenate([X, X[:2] + X[2:], 1e-3 * X])
    pairs = rayleigh_ritz(lambda V: d[:, None] * V, None, rows)
    assert pairs.values.size == 4
    np.testing.assert_allclose(pairs.vectors @ pairs.vectors.T, np.eye(4), atol=1e-13)


@pytest.mark.usefixtures("kernels")
def test_nearly_dependent_rows_are_orthonormal_in_the_end(rng):
    d, X = np.arange(100.0), rng.standard_normal((6, 100))
    rows = X[:1] + 1e-5 * X
    pairs = rayleigh_ritz(lambda V: d[:, None] * V, None, rows)
    np.testing.assert_allclose(pairs.vectors @ pairs.vectors.T, np.eye(pairs.values.size), atol=1e-13)


def test_an_indefinite_mass_is_refused(rng):
    m = np.where(np.arange(50) % 2, 1.0, -1.0)
    with pytest.raises(NotPositiveDefiniteError, match="M is not positive definite"):
        rayleigh_ritz(lambda V: V, lambda V: m[:, None] * V, rng.standard_normal((5, 50)))
