"""Random matrices by kind, for fuzzing: what a user may hand over, the hopeless cases included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from nnla.errors import OptionError
from nnla.problems.assembly import graph_laplacian, symmetric_csr, triplets

__all__ = ["KINDS", "SPD_KINDS", "random_matrix"]


def _edges(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random connected graph: a random tree plus about 2 n edges (none if n = 1)."""
    i = np.arange(1, n)
    j = (rng.random(n - 1) * i).astype(np.int64)
    if n > 1:
        a, b = rng.integers(0, n, (2, 2 * n))
        i, j = np.concatenate([i, a[a != b]]), np.concatenate([j, b[a != b]])
    return i, j, rng.lognormal(0.0, 1.0, i.size)


def _graph_laplacian_shifted(n: int, rng: np.random.Generator) -> csr_array:
    return graph_laplacian(*_edges(n, rng), np.full(n, 10.0 ** rng.uniform(-4, 0)))


def _spd_sparse(n: int, rng: np.random.Generator) -> csr_array:
    # Couplings of either sign; diagonal dominance keeps it definite.
    i, j, w = _edges(n, rng)
    signs = rng.choice([-1.0, 1.0], i.size)
    diagonal = np.bincount(i, w, n) + np.bincount(j, w, n) + rng.uniform(0.01, 1.0, n)
    nodes = np.arange(n)
    return symmetric_csr(
        np.concatenate([np.maximum(i, j), nodes]),
        np.concatenate([np.minimum(i, j), nodes]),
        np.concatenate([signs * w, diagonal]),
        n,
    )


def _with_spectrum(eigenvalues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = eigenvalues.size
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    A = (Q * eigenvalues) @ Q.T
    return 0.5 * (A + A.T)


def _spd_dense(n: int, rng: np.random.Generator) -> np.ndarray:
    return _with_spectrum(np.logspace(0, rng.uniform(0, 6), n), rng)


def _scale(A: csr_array, d: np.ndarray) -> csr_array:
    """D A D with the product of the two factors formed once, so that symmetry stays exact."""
    i, j, data = triplets(A.tocoo())
    return symmetric_csr(i, j, data * (d[i] * d[j]), d.size)


def _indefinite(n: int, rng: np.random.Generator) -> csr_array:
    # A diagonal entry of each sign proves it; for n = 1 the matrix is just negative.
    A = _spd_sparse(n, rng)
    flip = np.zeros(n)
    k = int(rng.integers(n))
    flip[k] = -2.0 * A[k, k]
    i, j, data = triplets(A.tocoo())
    nodes = np.arange(n)
    return symmetric_csr(np.append(i, nodes), np.append(j, nodes), np.append(data, flip), n)


def _semidefinite(n: int, rng: np.random.Generator) -> csr_array:
    return graph_laplacian(*_edges(n, rng), np.zeros(n))


def _asymmetric(n: int, rng: np.random.Generator) -> csr_array:
    i, j, data = triplets(_spd_sparse(n, rng).tocoo())
    return csr_array((np.where(i > j, 0.25, 1.0) * data, (i, j)), shape=(n, n))


def _nearly_singular(n: int, rng: np.random.Generator) -> csr_array:
    return graph_laplacian(*_edges(n, rng), np.full(n, 1e-13))


def _block_diagonal(n: int, rng: np.random.Generator) -> csr_array:
    cuts: Any = np.sort(rng.choice(np.arange(1, n), min(3, n - 1), replace=False)) if n > 1 else []
    sizes = np.diff(np.concatenate([[0], cuts, [n]]))
    blocks = [_spd_sparse(int(m), rng).tocoo() for m in sizes]
    starts = np.cumsum(sizes) - sizes
    rows, columns = (
        np.concatenate([block.coords[axis] + start for block, start in zip(blocks, starts, strict=True)])
        for axis in (0, 1)
    )
    A = csr_array((np.concatenate([block.data for block in blocks]), (rows, columns)), shape=(n, n))
    A.sort_indices()
    return A


def _nan(n: int, rng: np.random.Generator) -> csr_array:
    A = _spd_sparse(n, rng)
    A.data[rng.integers(A.nnz)] = np.nan
    return A


_BUILDERS: dict[str, Callable[[int, np.random.Generator], Any]] = {
    "spd_sparse": _spd_sparse,
    "spd_dense": _spd_dense,
    "graph_laplacian_shifted": _graph_laplacian_shifted,
    "diagonal": lambda n, rng: csr_array(diags_array(rng.lognormal(0.0, 2.0, n), format="csr")),
    "indefinite": _indefinite,
    "semidefinite": _semidefinite,
    "asymmetric": _asymmetric,
    "badly_scaled_spd": lambda n, rng: _scale(_spd_sparse(n, rng), 10.0 ** rng.uniform(-6, 6, n)),
    "tiny_scale": lambda n, rng: _spd_sparse(n, rng) * 1e-12,
    "huge_scale": lambda n, rng: _spd_sparse(n, rng) * 1e12,
    "zero": lambda n, rng: csr_array((n, n)),
    "negative_definite": lambda n, rng: -_spd_sparse(n, rng),
    "nearly_singular": _nearly_singular,
    "one_by_one": lambda n, rng: csr_array([[float(rng.lognormal())]]),
    "block_diagonal": _block_diagonal,
    "nan": _nan,
}

#: All kinds that `random_matrix` knows.
KINDS: tuple[str, ...] = tuple(_BUILDERS)

#: Those that are symmetric positive definite (in exact arithmetic, and well enough for Cholesky).
SPD_KINDS: tuple[str, ...] = (
    "spd_sparse",
    "spd_dense",
    "graph_laplacian_shifted",
    "diagonal",
    "badly_scaled_spd",
    "tiny_scale",
    "huge_scale",
    "one_by_one",
    "block_diagonal",
)


def random_matrix(kind: str, n: int, rng: Any = 0) -> csr_array | np.ndarray:
    """Draw a matrix of a kind.

    Parameters
    ----------
    kind : str
        One of `KINDS`. ``semidefinite`` is a connected graph Laplacian: its null space are the constants, so
        ``b = A @ z`` is consistent. ``badly_scaled_spd`` is D A D with D log-uniform in 1e-6..1e6: entries
        spread over 1e-12..1e12. ``nearly_singular`` has lambda_min = 1e-13. ``indefinite`` has a negative
        diagonal entry. ``nan`` has one NaN (its mirror entry is not touched).
    n : int
        Dimension (``one_by_one`` ignores it).
    rng : numpy Generator or seed
        Source of randomness.

    Returns
    -------
    csr_array (n, n), or ndarray (n, n) for "spd_dense"
        float64; all kinds but "asymmetric" and "nan" are exactly symmetric.

    Examples
    --------
    >>> random_matrix("spd_sparse", 5, 0).shape
    (5, 5)
    """
    if kind not in _BUILDERS:
        raise OptionError(f"unknown kind {kind!r}: use one of {', '.join(KINDS)}")
    if n < 1:
        raise OptionError(f"n must be at least 1, got {n}")
    return _BUILDERS[kind](int(n), np.random.default_rng(rng))
