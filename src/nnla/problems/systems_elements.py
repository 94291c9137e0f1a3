"""Element matrices and their assembly for generated systems: simplices of order 1 and 2, bricks of a box, plates.

Assembly sums whole blocks, so that a node pair is looked up once for all its unknowns: 3-D elasticity of 10^5 unknowns
takes a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from scipy.sparse import bsr_array, csr_array

__all__ = [
    "Entry",
    "assemble_blocks",
    "box_cells",
    "brick_matrix",
    "diffusion",
    "elasticity",
    "gradients",
    "isotropic",
    "lame",
    "quadratic_cells",
    "repeated",
    "total",
]

Entry = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]


def assemble_blocks(cells: np.ndarray, entry: Entry, c: int, nodes: int) -> csr_array:
    """Sum element matrices by blocks of the unknowns of two nodes.

    Parameters
    ----------
    cells : integer array (e, k)
    entry : of corners a, b (both arrays of the k (k + 1) / 2 pairs with a >= b) and unknowns p, q < c: the (e, pairs)
        entries between unknown p of corner a and unknown q of corner b; symmetric
    c : unknowns a node; the result numbers them node by node
    nodes : how many there are
    """
    a, b = np.tril_indices(cells.shape[1])
    i, j = cells[:, a].ravel().astype(np.int64), cells[:, b].ravel().astype(np.int64)
    keys, place = np.unique(np.maximum(i, j) * nodes + np.minimum(i, j), return_inverse=True)
    turned = i < j
    data = np.empty((keys.size, c, c))
    for p in range(c):
        data[:, p, p] = np.bincount(place, entry(a, b, p, p).ravel(), keys.size)
        for q in range(p):
            one, other = entry(a, b, p, q).ravel(), entry(a, b, q, p).ravel()
            data[:, p, q] = np.bincount(place, np.where(turned, other, one), keys.size)
            data[:, q, p] = np.bincount(place, np.where(turned, one, other), keys.size)
    row, col = keys // nodes, keys % nodes
    strict = row > col
    data[~strict] = 0.5 * (data[~strict] + data[~strict].transpose(0, 2, 1))
    rows, cols = np.concatenate([row, col[strict]]), np.concatenate([col, row[strict]])
    order = np.argsort(rows * nodes + cols)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=nodes))]).astype(np.int32)
    full = np.concatenate([data, data[strict].transpose(0, 2, 1)])[order]
    A = bsr_array((full, cols[order].astype(np.int32), indptr), shape=(c * nodes, c * nodes)).tocsr()
    A.sort_indices()
    return csr_array(A)


def lame(young: Any, poisson: float) -> tuple[Any, Any]:
    """Lame's constants of three-dimensional elasticity and of plane strain."""
    return young * poisson / ((1.0 + poisson) * (1.0 - 2.0 * poisson)), 0.5 * young / (1.0 + poisson)


def gradients(points: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Volumes (e,) of simplices and the gradients (e, d + 1, d) of their barycentric coordinates."""
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    inner = np.linalg.inv(edges).transpose(0, 2, 1)
    factorial = 2.0 if points.shape[1] == 2 else 6.0
    return np.abs(np.linalg.det(edges)) / factorial, np.concatenate([-inner.sum(axis=1, keepdims=True), inner], axis=1)


def diffusion(G: np.ndarray, weight: np.ndarray) -> Entry:
    """weight grad . grad, from gradients (e, k, d) and weights (e,)."""
    return lambda a, b, p, q: weight[:, None] * np.einsum("exd,exd->ex", G[:, a], G[:, b])


def isotropic(G: np.ndarray, lam: np.ndarray, mu: np.ndarray) -> Entry:
    """Linear elasticity from gradients (e, k, d) at one point; lam and mu (e,) times its weight."""

    def entry(a: np.ndarray, b: np.ndarray, p: int, q: int) -> np.ndarray:
        value = lam[:, None] * G[:, a, p] * G[:, b, q]
        value += mu[:, None] * G[:, b, p] * G[:, a, q]
        if p == q:
            value += mu[:, None] * np.einsum("exd,exd->ex", G[:, a], G[:, b])
        return value

    return entry


def total(parts: Sequence[Entry]) -> Entry:
    """The sum of several."""
    return lambda a, b, p, q: sum((part(a, b, p, q) for part in parts[1:]), parts[0](a, b, p, q))


def repeated(block: np.ndarray, factor: np.ndarray) -> Entry:
    """One element matrix (k, k, c, c) times a factor (e,) for each element."""
    return lambda a, b, p, q: factor[:, None] * block[a, b, p, q]


def quadratic_cells(points: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and simplices with a node in the middle of every edge, after the corners."""
    a, b = np.triu_indices(cells.shape[1], 1)
    n = len(points)
    ends = np.sort(cells[:, np.stack([a, b], axis=1)].reshape(-1, 2).astype(np.int64), axis=1)
    keys, place = np.unique(ends[:, 0] * n + ends[:, 1], return_inverse=True)
    middle = 0.5 * (points[keys // n] + points[keys % n])
    return np.concatenate([points, middle]), np.concatenate([cells, n + place.reshape(len(cells), a.size)], axis=1)


def elasticity(
    points: np.ndarray, cells: np.ndarray, lam: np.ndarray, mu: np.ndarray, *, quadratic: bool = False
) -> Entry:
    """Linear elasticity on straight simplices, linear or with nodes in the middles of their edges."""
    d = points.shape[1]
    volume, G = gradients(points, cells[:, : d + 1])
    if not quadratic:
        return isotropic(G, volume * lam, volume * mu)
    a, b = np.triu_indices(d + 1, 1)
    s = 1.0 / 6.0 if d == 2 else (5.0 - 5.0**0.5) / 20.0
    parts: list[Entry] = []
    for k in range(d + 1):  # the quadrature that is exact for squares
        x = np.full(d + 1, s)
        x[k] = 1.0 - d * s
        corner = (4.0 * x - 1.0)[None, :, None] * G
        middle = 4.0 * (x[a][None, :, None] * G[:, b] + x[b][None, :, None] * G[:, a])
        weight = volume / (d + 1)
        parts.append(isotropic(np.concatenate([corner, middle], axis=1), weight * lam, weight * mu))
    return total(parts)


def brick_matrix(sides: np.ndarray, poisson: float, degree: int = 1) -> np.ndarray:
    """(k, k, d, d) of an element of a box with Young's modulus 1; k = (degree + 1)^d nodes, the last axis fastest."""
    d = len(sides)
    places = np.linspace(0.0, 1.0, degree + 1)
    x, w = np.polynomial.legendre.leggauss(degree + 1)
    x, w = 0.5 * (x + 1.0), 0.5 * w
    inverse = np.linalg.inv(np.vander(places, increasing=True))  # coefficients of the nodal polynomials, by columns
    value = np.vander(x, degree + 1, increasing=True) @ inverse
    slope = np.stack([m * x ** max(m - 1, 0) for m in range(degree + 1)], axis=1) @ inverse
    lam, mu = lame(1.0, poisson)
    K = np.zeros(((degree + 1) ** d, (degree + 1) ** d, d, d))
    for gauss in product(range(degree + 1), repeat=d):
        G = np.empty(((degree + 1) ** d, d))
        for axis in range(d):
            part = np.ones(1)
            for other in range(d):
                part = np.kron(part, (slope if other == axis else value)[gauss[other]])
            G[:, axis] = part / sides[axis]
        weight = np.prod([w[g] for g in gauss]) * np.prod(sides)
        outer = np.einsum("ap,bq->abpq", G, G)
        K += weight * (lam * outer + mu * outer.transpose(0, 1, 3, 2))
        K += weight * mu * (G @ G.T)[:, :, None, None] * np.eye(d)
    return K


def box_cells(shape: tuple[int, ...], degree: int = 1) -> tuple[np.ndarray, tuple[int, ...]]:
    """Cells (e, (degree + 1)^d) of a box of that many elements along each axis, and its nodes along each axis."""
    nodes = tuple(degree * m + 1 for m in shape)
    number = np.arange(int(np.prod(nodes)), dtype=np.int64).reshape(nodes)
    steps = product(range(degree + 1), repeat=len(shape))
    cells = [
        number[tuple(slice(o, o + degree * m, degree) for o, m in zip(step, shape, strict=True))].ravel()
        for step in steps
    ]
    return np.stack(cells, axis=-1), nodes
