"""Null vectors that can be read off the entries of a matrix: isolated unknowns, constants on components, signs.

A graph Laplacian, a Neumann problem or the normal equations of a network are singular, and their null vectors need no
eigensolver: ones on every connected component, or one of its two relatives. All of them have disjoint supports, so any
number is kept in two arrays.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order, connected_components

from nnla.kernels import native
from nnla.kernels.arrays import csr_arrays
from nnla.operators.kinds import to_numpy
from nnla.operators.operator import Operator
from nnla.operators.validation import torch_coordinates

__all__ = ["NullVectors", "null_vectors", "null_vectors_of_rows"]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class NullVectors:
    """Null vectors of disjoint supports.

    Attributes
    ----------
    labels : (n,) number of the vector that an unknown belongs to, -1 where it belongs to none
    values : (n,) the entries of the vectors, each of norm 1; 0 where there is none
    count : how many
    isolated : unknowns whose row is zero, each a vector of its own
    """

    labels: np.ndarray
    values: np.ndarray
    count: int
    isolated: np.ndarray

    def normalised(self, values: np.ndarray) -> np.ndarray:
        """Other values on the same supports, each vector of norm 1; 0 where there is no vector."""
        on = self.labels >= 0
        norms = np.sqrt(np.bincount(self.labels[on], values[on] ** 2, minlength=self.count))
        out = np.zeros(values.shape)
        out[on] = values[on] / norms[self.labels[on]]
        return out

    def coefficients(self, v: np.ndarray) -> np.ndarray:
        """Inner products with the vectors, (count,) or (count, k). Cost: a pass over v."""
        on = self.labels >= 0
        labels, values = self.labels[on], self.values[on]
        if v.ndim == 1:
            return np.bincount(labels, values * v[on], minlength=self.count)
        columns = [np.bincount(labels, values * v[on, j], minlength=self.count) for j in range(v.shape[1])]
        return np.stack(columns, axis=1)

    def combine(self, coefficients: np.ndarray) -> np.ndarray:
        """The linear combination with these coefficients. Cost: a pass over the result."""
        values = self.values if coefficients.ndim == 1 else self.values[:, None]
        return values * coefficients[self.labels]  # where there is no vector the value is 0


def null_vectors(op: Operator) -> NullVectors | None:
    """What `null_vectors_of_rows` finds in the entries of an operator; None where they are not known.

    Cost: as there for a sparse matrix; one or two passes over a dense one; for torch a product, which is not counted.
    """
    if op.csr is not None:
        return null_vectors_of_rows(op.csr)
    if op.nnz is None:
        return None
    if op.space.name == "torch":
        return _of_tensor(op)
    A = op.dense()
    return null_vectors_of_rows(sp.csr_array(A)) if _may_be_singular(A) else None


def null_vectors_of_rows(csr: Any) -> NullVectors | None:
    """Null vectors of a symmetric matrix that lie on whole connected components of its graph.

    On each component three vectors are tried: ones; ones with the signs that make all entries off the diagonal negative
    (a network with some unknowns turned round); and the roots of the degrees (the normalised Laplacian of a graph
    without weights). One counts where it cancels in every row to rounding, |A v| <= 2 k eps |A| |v| for k entries.

    Parameters
    ----------
    csr : canonical, symmetric

    Returns
    -------
    NullVectors, or None where there are none

    Notes
    -----
    Cost: a pass over the indices, and some operations a row: every component has a row without neighbours of smaller
    number, and only where one of these cancels all entries are looked at. Where there is something to find, or without
    the native kernels, the time of a few products.

    References
    ----------
    Chung, Spectral Graph Theory (1997), chapter 1. Zaslavsky, Signed graphs, Discrete Appl. Math. 4 (1982) 47-74
    (balanced ones are Laplacians but for signs).
    """
    narrow = csr.indices.dtype == csr.indptr.dtype == np.int32
    if native is not None and narrow and not native.may_have_null_vectors(*csr_arrays(csr)):
        return None
    n = csr.shape[0]
    parts, labels = _components(csr)
    rows = _Rows(csr)
    values, found = np.zeros(n), np.zeros(parts, dtype=bool)
    for trial in (_ones, _signs, _degrees):
        v = None if found.all() else trial(csr, rows, labels, ~found)
        if v is None:
            continue
        new = ~found & (np.bincount(labels, ~rows.cancels(v), minlength=parts) == 0)
        values = np.where(new[labels], v, values)
        found |= new
    if not found.any():
        return None
    count = int(np.count_nonzero(found))
    number = np.full(parts, -1)
    number[found] = np.arange(count)
    labels = number[labels]
    found_vectors = NullVectors(labels, values, count, np.flatnonzero(rows.absolute == 0))
    return replace(found_vectors, values=found_vectors.normalised(values))


class _Rows:
    """A matrix and the sums of its rows' magnitudes."""

    def __init__(self, csr: Any) -> None:
        self.csr, self.lengths = csr, np.diff(csr.indptr)
        self.magnitudes = sp.csr_array((np.abs(csr.data), csr.indices, csr.indptr), shape=csr.shape)
        self.absolute = self.magnitudes @ np.ones(csr.shape[0])

    def cancels(self, v: np.ndarray) -> np.ndarray:
        """The rows in which A v is zero to rounding."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.abs(self.csr @ v) <= 2 * self.lengths * _EPS * (self.magnitudes @ np.abs(v))


def _components(csr: Any) -> tuple[int, np.ndarray]:
    """Number of connected components, and that of each row."""
    if not np.all(csr.data):  # what is stored as zero is no edge, but SciPy takes it for one
        csr = csr.copy()
        csr.eliminate_zeros()
    if native is not None and csr.indices.dtype == np.int32 and native.level_structure(csr.indptr, csr.indices)[0] == 1:
        return 1, np.zeros(csr.shape[0], dtype=np.int64)
    parts, labels = connected_components(csr, directed=False)
    return int(parts), labels.astype(np.int64)


def _ones(csr: Any, rows: _Rows, labels: np.ndarray, open_: np.ndarray) -> np.ndarray | None:
    return np.ones(csr.shape[0])


def _signs(csr: Any, rows: _Rows, labels: np.ndarray, open_: np.ndarray) -> np.ndarray | None:
    """Signs along a spanning tree of each component whose diagonal is the sum of the other magnitudes."""
    lacking = np.abs(2 * csr.diagonal() - rows.absolute) > 2 * rows.lengths * _EPS * rows.absolute
    hopeful = open_ & (np.bincount(labels, lacking, minlength=open_.size) == 0)
    if not hopeful.any():
        return None
    n = csr.shape[0]
    first = np.full(open_.size, -1)
    first[labels[::-1]] = np.arange(n)[::-1]
    roots, entries = first[hopeful], csr.tocoo()
    there = entries.data != 0
    edges = (np.append(entries.row[there], np.full(roots.size, n)), np.append(entries.col[there], roots))
    ones = np.ones(edges[0].size, dtype=np.int8)
    order, before = breadth_first_order(sp.csr_array((ones, edges), shape=(n + 1, n + 1)), n)  # n: above all roots
    below = order[1 + roots.size :]
    parents, before = before[below], np.arange(n)
    v = np.ones(n)
    v[below] = np.where(np.asarray(csr[below, parents]).ravel() < 0, 1.0, -1.0)
    before[below] = parents
    while True:  # signs relative to the parent, to its parent's parent, ... to the root
        further = before[before]
        if np.array_equal(further, before):
            return v
        v, before = v * v[before], further


def _degrees(csr: Any, rows: _Rows, labels: np.ndarray, open_: np.ndarray) -> np.ndarray | None:
    v = np.sqrt(np.maximum(rows.lengths - 1.0, 0.0))
    return np.where(v > 0, v, 1.0)


def _may_be_singular(A: np.ndarray) -> bool:
    """Whether some row of a dense matrix cancels with ones, or with signs."""
    d = A.diagonal()
    if not d.all():
        return True
    n = A.shape[0]
    with np.errstate(over="ignore", invalid="ignore"):
        if np.any(np.abs(A.sum(axis=1)) <= 4 * n * _EPS * n * d):  # a sum of magnitudes is at most n times the largest
            return True
        size = np.abs(A).sum(axis=1)
        if np.any(np.abs(2 * d - size) <= 4 * n * _EPS * size):
            return True
        return bool(np.all(np.abs(d - d[0]) <= 4 * _EPS * d[0])) and bool(np.any(A == 0))


def _of_tensor(op: Operator) -> NullVectors | None:
    """The same for torch, where all rows cancel; one component that does among others that do not is not looked for."""
    space = op.space
    d = to_numpy(op.diagonal())
    ones = space.own(op.as_vector(np.ones(op.n)))
    sums = np.abs(space.host(space.product(op.matrix, ones)))
    if not np.all(sums <= 1e-12 * d):
        return None
    if op.matrix.layout == sys.modules["torch"].strided:
        return null_vectors_of_rows(sp.csr_array(op.dense()))
    rows, columns = (to_numpy(part) for part in torch_coordinates(op.matrix))
    entries: Any = sp.coo_array((to_numpy(op.matrix.values()), (rows, columns)), shape=op.shape)
    return null_vectors_of_rows(entries.tocsr())
