"""Vectorised assembly of exactly symmetric sparse matrices.

Floating-point sums depend on their order, so a matrix assembled entry by entry is symmetric only to
rounding. Everything here sums the lower triangle once and mirrors it: ``A - A.T`` is zero, not small.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csr_array

__all__ = ["assemble", "graph_laplacian", "symmetric_csr", "triplets", "with_int32_indices"]


def triplets(A: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and value of every stored entry of a `coo_array`."""
    return A.coords[0], A.coords[1], A.data


def with_int32_indices(A: Any) -> csr_array:
    """The same array, its indices replaced by 32-bit ones where they are not."""
    if A.indices.dtype != np.int32:
        A.indices, A.indptr = A.indices.astype(np.int32), A.indptr.astype(np.int32)
    return A


def symmetric_csr(rows: ArrayLike, cols: ArrayLike, values: ArrayLike, n: int) -> csr_array:
    """Sum entries of the lower triangle and mirror them.

    Parameters
    ----------
    rows, cols : integer arrays (m,)
        Positions. Entries above the diagonal are ignored: give both triangles or the lower one alone.
    values : float array (m,)
        Entries; those at one position are summed. Zeros that result stay stored.
    n : int
        Dimension.

    Returns
    -------
    csr_array (n, n)
        float64, exactly symmetric, sorted int32 indices, no duplicates.

    Notes
    -----
    Cost: two conversions from triplets, linear in m; some 40 bytes a triplet.

    Examples
    --------
    >>> symmetric_csr([0, 1, 1, 1], [0, 0, 1, 1], [2.0, -1.0, 1.0, 1.0], 2).toarray()
    array([[ 2., -1.],
           [-1.,  2.]])
    """
    rows = np.asarray(rows, dtype=np.int32).ravel()
    cols = np.asarray(cols, dtype=np.int32).ravel()
    values = np.asarray(values, dtype=np.float64).ravel()
    lower = rows >= cols
    half = coo_array((values[lower], (rows[lower], cols[lower])), shape=(n, n)).tocsr().tocoo()
    i, j, data = triplets(half)
    strict = i > j
    # Adding half + half.T would drop stored zeros; joining the triplets keeps the pattern.
    A = coo_array(
        (
            np.concatenate([data, data[strict]]),
            (np.concatenate([i, j[strict]]), np.concatenate([j, i[strict]])),
        ),
        shape=(n, n),
    ).tocsr()
    A.sort_indices()
    return with_int32_indices(A)


def graph_laplacian(i: ArrayLike, j: ArrayLike, weights: ArrayLike, ground: ArrayLike) -> csr_array:
    """Weighted graph Laplacian plus a diagonal: the nodal matrix of a resistor network.

    Parameters
    ----------
    i, j : integer arrays (m,)
        Ends of each edge, `i != j`.
    weights : float array (m,)
        Conductances, positive.
    ground : float array (n,)
        Conductance from each node to a node of known potential (eliminated), >= 0.

    Returns
    -------
    csr_array (n, n)
        Positive definite if the graph is connected and some ``ground`` is positive.

    Notes
    -----
    Cost: that of `symmetric_csr` for m + n triplets.

    References
    ----------
    Strang, Introduction to Applied Mathematics (1986), section 2.3 (electrical networks).

    Examples
    --------
    >>> graph_laplacian([0, 1], [1, 2], [1.0, 3.0], [1.0, 0.0, 0.0]).toarray()
    array([[ 2., -1.,  0.],
           [-1.,  4., -3.],
           [ 0., -3.,  3.]])
    """
    i = np.asarray(i, dtype=np.int32)
    j = np.asarray(j, dtype=np.int32)
    weights = np.asarray(weights, dtype=np.float64)
    ground = np.asarray(ground, dtype=np.float64)
    n = ground.size
    diagonal = ground + np.bincount(i, weights, n) + np.bincount(j, weights, n)
    nodes = np.arange(n, dtype=np.int32)
    return symmetric_csr(
        np.concatenate([np.maximum(i, j), nodes]),
        np.concatenate([np.minimum(i, j), nodes]),
        np.concatenate([-weights, diagonal]),
        n,
    )


def assemble(dofs: ArrayLike, element_matrices: ArrayLike, n: int) -> csr_array:
    """Sum symmetric element matrices into a global matrix.

    Parameters
    ----------
    dofs : integer array (ne, k)
        Global number of each local unknown.
    element_matrices : float array (ne, k, k)
        Symmetric matrices; of each pair of local unknowns one entry is read.
    n : int
        Number of global unknowns.

    Returns
    -------
    csr_array (n, n)
        Exactly symmetric; the stored pattern is that of the mesh, zeros included.

    Notes
    -----
    Cost: about ``ne k (k + 1) / 2`` triplets of 16 bytes.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 2.3.

    Examples
    --------
    >>> bar = [[1.0, -1.0], [-1.0, 1.0]]
    >>> assemble([[0, 1], [1, 2]], [bar, bar], 3).diagonal()
    array([1., 2., 1.])
    """
    dofs = np.asarray(dofs, dtype=np.int32)
    element_matrices = np.asarray(element_matrices, dtype=np.float64)
    a, b = np.tril_indices(dofs.shape[1])
    i, j = dofs[:, a], dofs[:, b]
    return symmetric_csr(np.maximum(i, j), np.minimum(i, j), element_matrices[:, a, b], n)
