"""Random symmetric matrices by family, small enough for LAPACK, with what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

__all__ = ["FAMILIES", "Matrix", "draw_matrix", "draw_size", "orthogonal"]

_EPS = float(np.finfo(float).eps)


@dataclass(eq=False)
class Matrix:
    """A symmetric matrix with its class.

    Attributes
    ----------
    family : name
    A : (n, n) csr_array of float64, exactly symmetric
    kind : "spd", "semi" (positive semidefinite and singular) or "indefinite"
    null : (n, d) orthonormal basis of the null space where that is known in closed form
    graded : entries so far apart that eigenvalues of the matrix as it is mean nothing
    """

    family: str
    A: Any
    kind: str = "spd"
    null: np.ndarray | None = None
    graded: bool = False

    @property
    def n(self) -> int:
        return self.A.shape[0]

    @cached_property
    def dense(self) -> np.ndarray:
        return self.A.toarray()

    @cached_property
    def eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, increasing, and orthonormal vectors; the scale of the entries taken out and put back."""
        size = float(abs(self.dense).max()) or 1.0
        unit = float(2.0 ** np.floor(np.log2(size)))
        w, Q = np.linalg.eigh(self.dense / unit)
        with np.errstate(over="ignore", under="ignore"):
            return w * unit, Q

    @cached_property
    def norm(self) -> float:
        w = self.eigen[0]
        return float(max(abs(w[0]), abs(w[-1])))

    @cached_property
    def condition(self) -> float:
        """Of D^-1/2 A D^-1/2 with the diagonal D, where that is positive; else of A."""
        d = self.dense.diagonal()
        if np.all(d > 0):
            with np.errstate(all="ignore"):
                s = np.sqrt(d)
                E = self.dense / s[:, None] / s[None, :]
            w = np.linalg.eigvalsh(E) if np.all(np.isfinite(E)) else np.array([0.0, 1.0])
        else:
            w = self.eigen[0]
        low = float(abs(w).min())
        return float(abs(w).max()) / low if low > 0 else np.inf


def draw_size(rng: np.random.Generator, largest: int = 60) -> int:
    return int(np.exp(rng.uniform(0.0, np.log(largest + 0.999))))


def orthogonal(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def draw_matrix(rng: np.random.Generator, family: str | None = None, n: int | None = None) -> Matrix:
    """A matrix of a family, of about n rows; either drawn where not given."""
    family = str(rng.choice(list(FAMILIES))) if family is None else family
    return FAMILIES[family](draw_size(rng) if n is None else n, rng)


def _symmetric(A: Any) -> Any:
    """Exactly symmetric CSR: the upper triangle mirrored."""
    A = sp.csr_array(A)
    upper = sp.triu(A, 1)
    full = sp.csr_array(upper + upper.T + sp.diags_array(A.diagonal()))
    full.sort_indices()
    return full


def _blocks(parts: list[Any]) -> Any:
    """A block-diagonal matrix of sparse or dense blocks."""
    parts = [sp.coo_array(part if np.ndim(part) != 1 else np.reshape(part, (-1, 1))) for part in parts]
    heights, widths = ([0, *np.cumsum([part.shape[axis] for part in parts])] for axis in (0, 1))
    rows = np.concatenate([part.coords[0] + top for part, top in zip(parts, heights, strict=False)])
    columns = np.concatenate([part.coords[1] + left for part, left in zip(parts, widths, strict=False)])
    data = np.concatenate([part.data for part in parts])
    return sp.csr_array((data, (rows, columns)), shape=(heights[-1], widths[-1]))


def laplacian(n: int, i: np.ndarray, j: np.ndarray, weights: np.ndarray | None = None) -> Any:
    keep = i != j
    w = np.ones(i.size) if weights is None else weights
    upper = sp.coo_array((w[keep], (np.minimum(i, j)[keep], np.maximum(i, j)[keep])), shape=(n, n)).tocsr()
    W = upper + upper.T
    return sp.csr_array(sp.diags_array(np.asarray(W.sum(axis=0)).ravel()) - W)


def random_edges(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random tree and some more edges."""
    i = np.arange(1, n)
    j = (rng.random(max(n - 1, 0)) * i).astype(int)
    more = rng.integers(0, n, (2, int(rng.integers(0, 2 * n + 1))))
    return np.concatenate([i, more[0]]), np.concatenate([j, more[1]])


def path(n: int) -> Any:
    return laplacian(n, np.arange(n - 1), np.arange(1, n))


def ring(n: int) -> Any:
    return laplacian(n, np.arange(n), (np.arange(n) + 1) % n) if n > 2 else path(n)


def _ones(n: int) -> np.ndarray:
    return np.full((n, 1), n**-0.5)


# -- families ----------------------------------------------------------------------------------------------


def _spectrum(n: int, rng: np.random.Generator) -> Matrix:
    shape = int(rng.integers(5))
    if shape == 0:
        w = np.logspace(0, -rng.uniform(0, 12), n)
    elif shape == 1:
        w = rng.choice(10.0 ** rng.uniform(-6, 0, 3), n)  # few distinct, multiple
    elif shape == 2:
        w = np.concatenate([rng.uniform(0.5, 1.0, n - n // 8), 10.0 ** rng.uniform(1, 8, n // 8)])  # outliers
    elif shape == 3:
        w = 1.0 + rng.random(n) * 10.0 ** -rng.uniform(1, 12)  # one cluster
    else:
        w = rng.lognormal(0, 2, n)
    Q = orthogonal(n, rng)
    return Matrix(f"spectrum{shape}", _symmetric((Q * w) @ Q.T))


def _sparse(n: int, rng: np.random.Generator) -> Matrix:
    i, j = random_edges(n, rng)
    L = laplacian(n, i, j, rng.lognormal(0, 1, i.size))
    signs = sp.diags_array(rng.choice([-1.0, 1.0], n))
    return Matrix("sparse", _symmetric(signs @ L @ signs + sp.diags_array(10.0 ** rng.uniform(-6, 0, n))))


def _grid(n: int, rng: np.random.Generator) -> Matrix:
    dims = int(rng.integers(1, 4))
    k = max(1, round(n ** (1 / dims)))
    T = sp.diags_array([-np.ones(k - 1), np.full(k, 2.0), -np.ones(k - 1)], offsets=[-1, 0, 1], shape=(k, k))
    A: Any = T
    for _ in range(dims - 1):
        A = sp.kronsum(A, T)
    return Matrix(f"grid{dims}d", _symmetric(A))


def _shifted_laplacian(n: int, rng: np.random.Generator) -> Matrix:
    i, j = random_edges(n, rng)
    return Matrix("shifted laplacian", _symmetric(laplacian(n, i, j) + 10.0 ** -rng.uniform(0, 10) * sp.eye_array(n)))


def _diagonal(n: int, rng: np.random.Generator) -> Matrix:
    which = int(rng.integers(4))
    d = np.ones(n) * rng.uniform(0.1, 10)
    if which == 1:
        d = rng.choice([1.0, 30.0, 500.0], n)
    elif which == 2:
        d = rng.lognormal(0, 3, n)
    elif which == 3:
        d = np.arange(1.0, n + 1)
    return Matrix("diagonal", sp.csr_array(sp.diags_array(d)))


def _complete(n: int, rng: np.random.Generator) -> Matrix:
    shift = 10.0 ** rng.uniform(-6, 1)
    return Matrix("complete graph", sp.csr_array(n * np.eye(n) - np.ones((n, n)) + shift * np.eye(n)))


def _arrow(n: int, rng: np.random.Generator) -> Matrix:
    L = laplacian(n, np.zeros(n - 1, int), np.arange(1, n), rng.lognormal(0, 1, n - 1))
    return Matrix("arrow", _symmetric(L + rng.uniform(1e-3, 1) * sp.eye_array(n)))


def _symmetric_graph(n: int, rng: np.random.Generator) -> Matrix:
    """Graphs with multiple eigenvalues: rings, tubes, hypercubes, copies of one path, stars."""
    which = int(rng.integers(5))
    if which == 0:
        L = ring(n)
    elif which == 1:
        k = max(1, n // 4)
        L = sp.kronsum(ring(4), path(k))
    elif which == 2:
        L = path(2)
        for _ in range(max(0, int(np.log2(n)) - 1)):
            L = sp.kronsum(L, path(2))
    elif which == 3:
        L = _blocks([path(max(1, n // 3))] * 3)
    else:
        L = laplacian(n, np.zeros(n - 1, int), np.arange(1, n))
    n = L.shape[0]
    shift = float(rng.choice([0.0, 0.0, 1e-3, 1.0]))
    A = _symmetric(sp.csr_array(L) + shift * sp.eye_array(n))
    if shift:
        return Matrix(f"symmetric graph {which}", A)
    null = _ones(n) if which != 3 else np.kron(np.eye(3), _ones(n // 3))
    return Matrix(f"symmetric graph {which}", A, "semi", null)


def _laplacian(n: int, rng: np.random.Generator) -> Matrix:
    """Components, each connected; some single nodes, whose rows are zero."""
    sizes = [draw_size(rng, max(1, n)) for _ in range(int(rng.integers(1, 4)))]
    if rng.random() < 0.3:
        sizes.append(1)
    blocks, null = [], []
    for size in sizes:
        i, j = random_edges(size, rng)
        weights = rng.lognormal(0, 1, i.size) if rng.random() < 0.5 else None
        blocks.append(laplacian(size, i, j, weights))
        null.append(_ones(size))
    order = rng.permutation(sum(sizes))
    A = sp.csr_array(_blocks(blocks))[order][:, order]
    N = _blocks(null).toarray()[order]
    return Matrix("laplacian", _symmetric(A), "semi", N)


def _isolated(n: int, rng: np.random.Generator) -> Matrix:
    """Definite but for some zero rows."""
    M = _sparse(n, rng)
    gone = rng.choice(n, int(rng.integers(1, max(2, n // 4))), replace=False)
    keep = np.ones(n)
    keep[gone] = 0.0
    A = sp.csr_array(sp.diags_array(keep) @ M.A @ sp.diags_array(keep))
    A.eliminate_zeros()
    return Matrix("isolated", A, "semi", np.eye(n)[:, gone])


def _gram(n: int, rng: np.random.Generator) -> Matrix:
    rank = int(rng.integers(0, n)) if n > 1 else 0
    B = rng.standard_normal((n, rank))
    full = Matrix("gram", _symmetric(B @ B.T), "semi")
    full.null = np.linalg.qr(np.hstack([B, rng.standard_normal((n, n - rank))]))[0][:, rank:]
    return full


def _penalty(n: int, rng: np.random.Generator) -> Matrix:
    M = _grid(max(n, 4), rng)
    d = np.zeros(M.n)
    d[rng.choice(M.n, int(rng.integers(1, max(2, M.n // 4))), replace=False)] = 10.0 ** rng.uniform(6, 30)
    return Matrix("penalty", _symmetric(M.A + sp.diags_array(d)), graded=True)


def _stiff(n: int, rng: np.random.Generator) -> Matrix:
    i, j = random_edges(n, rng)
    weights = np.where(rng.random(i.size) < 0.3, 10.0 ** rng.uniform(6, 12), 1.0)
    return Matrix("stiff", _symmetric(laplacian(n, i, j, weights) + sp.eye_array(n)), graded=True)


def _graded(n: int, rng: np.random.Generator) -> Matrix:
    M = _sparse(n, rng)
    d = (
        10.0 ** rng.uniform(-1, 1, M.n) ** 1
        if rng.random() < 0.3
        else 10.0 ** (rng.uniform(-1, 1, M.n) * rng.choice([6, 30, 100]))
    )
    C = sp.triu(M.A).tocoo()
    i, j = C.coords
    upper = sp.coo_array((C.data * (d[i] * d[j]), (i, j)), shape=M.A.shape)
    return Matrix("graded", _symmetric(upper.tocsr()), graded=True)


def _nearly_singular(n: int, rng: np.random.Generator) -> Matrix:
    i, j = random_edges(n, rng)
    return Matrix("nearly singular", _symmetric(laplacian(n, i, j) + 10.0 ** -rng.uniform(12, 15) * sp.eye_array(n)))


def _indefinite(n: int, rng: np.random.Generator) -> Matrix:
    which = int(rng.integers(4))
    if which == 0:  # a negative diagonal entry
        A = _sparse(n, rng).A
        d = np.zeros(n)
        d[int(rng.integers(n))] = -2.0 * abs(A).max() - 1.0
        return Matrix("indefinite diagonal", _symmetric(A + sp.diags_array(d)), "indefinite")
    n = max(n, 2)
    if which == 1:  # a positive diagonal all the same
        w = np.where(rng.random(n) < 0.3, -1.0, 1.0) * rng.lognormal(0, 1, n)
        w[0], w[-1] = -abs(w[0]), abs(w[-1])
        S = 2.0 * rng.random((n, n)) - 1.0
        A = 0.5 * (S + S.T) * float(np.abs(w).max())
        np.fill_diagonal(A, 0.02 * np.abs(A).sum(axis=1) + 1e-3)
        if np.linalg.eigvalsh(A)[0] >= -1e-8:
            A = np.array([[1.0, 2.0], [2.0, 1.0]])
        return Matrix("indefinite hidden", _symmetric(A), "indefinite")
    if which == 2:  # a network with some negative reactances
        i, j = random_edges(n, rng)
        weights = rng.lognormal(0, 1, i.size) * np.where(rng.random(i.size) < 0.15, -1.0, 1.0)
        A = _symmetric(laplacian(n, i, j, weights) + 1e-2 * sp.eye_array(n))
        w = np.linalg.eigvalsh(A.toarray())
        if w[0] >= -1e-8 * abs(w).max():
            return Matrix("indefinite negative", sp.csr_array(-np.eye(n)), "indefinite")
        return Matrix("indefinite network", A, "indefinite")
    M = _grid(n, rng)
    w = np.linalg.eigvalsh(M.A.toarray())
    at = int(rng.integers(1, M.n)) if M.n > 1 else 0
    shift = 0.5 * (w[at - 1] + w[at]) if M.n > 1 else 3.0
    A = _symmetric(M.A - shift * sp.eye_array(M.n))
    low = float(np.linalg.eigvalsh(A.toarray())[0])
    return (
        Matrix("helmholtz", A, "indefinite")
        if low < -1e-8
        else Matrix("indefinite negative", sp.csr_array(-np.eye(n)), "indefinite")
    )


FAMILIES: dict[str, Callable[[int, np.random.Generator], Matrix]] = {
    "spectrum": _spectrum,
    "sparse": _sparse,
    "grid": _grid,
    "shifted laplacian": _shifted_laplacian,
    "diagonal": _diagonal,
    "complete graph": _complete,
    "arrow": _arrow,
    "symmetric graph": _symmetric_graph,
    "laplacian": _laplacian,
    "isolated": _isolated,
    "gram": _gram,
    "penalty": _penalty,
    "stiff": _stiff,
    "graded": _graded,
    "nearly singular": _nearly_singular,
    "indefinite": _indefinite,
}
