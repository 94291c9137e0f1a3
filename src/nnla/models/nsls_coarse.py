"""Coarse graphs for a graph network: aggregates around a maximal set of nodes three steps apart.

Everything depends on the matrix alone and not on the order of its rows, up to ties between nodes that the
matrix cannot tell apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

__all__ = ["MAX_PARTS", "aggregate", "coarse_levels", "node_keys", "partition"]

MAX_PARTS = 64  # each costs a search of the graph, and outputs of its own in the coarse matrix

# An entry ties two nodes if it has half the size of the largest beside either diagonal (and a rounding less). In
# frames that parts aggregates by kind of unknown: floors along x, along y, columns, rotations.
_STRONG = 0.5 - 1e-9


def node_keys(A: Any, sweeps: int = 6) -> Any:
    """A number for every node that a permutation of the matrix permutes: what its neighbourhood looks like.

    Rounded to nine digits, so that sums in another order give the same number.

    Notes
    -----
    Cost: ``sweeps`` + 1 products with |A|.

    References
    ----------
    In the manner of colour refinement: Weisfeiler, Leman (1968).

    Examples
    --------
    >>> A = csr_array(np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.1], [0.0, 0.1, 1.0]]))
    >>> np.argsort(node_keys(A)).tolist()
    [2, 0, 1]
    """
    W = csr_array((np.abs(A.data), A.indices, A.indptr), shape=A.shape)
    key: Any = W @ np.ones(A.indptr.size - 1)
    for _ in range(sweeps):
        key = W @ np.sqrt(1.0 + key)  # the root keeps nodes with large entries from drowning the others
        key /= max(float(key.max()), 1e-300)
    return np.round(key, 9)


def _neighbour_max(A: Any, values: np.ndarray) -> np.ndarray:
    """The largest value among a node and its neighbours; every row of A has its diagonal."""
    return np.maximum.reduceat(values[A.indices], A.indptr[:-1])


def aggregate(A: Any) -> np.ndarray:
    """The aggregate of each node, (n,), numbered from 0.

    Parameters
    ----------
    A : csr_array (n, n), symmetric, with a full diagonal

    Notes
    -----
    Cost: `node_keys`, two sorts of n keys, and four passes over the entries a round.

    Roots are a maximal independent set of distance two: in each round the nodes with the largest key within
    two steps become roots, and what lies within two steps of them is out (Bell, Dalton & Olson, 2012). Every
    other node joins the root that it is tied to most strongly, directly or by way of one neighbour.

    References
    ----------
    Bell, Dalton, Olson, Exposing fine-grained parallelism in algebraic multigrid methods, SIAM J. Sci. Comput. 34
    (2012) C123-C152.

    Examples
    --------
    >>> ties = np.array([0.5, 0.4, 0.3, 0.3, 0.4, 0.6])
    >>> path = csr_array(np.eye(7) + np.diag(ties, 1) + np.diag(ties, -1))
    >>> aggregate(path).tolist()
    [0, 0, 0, 0, 1, 1, 1]
    """
    n = A.indptr.size - 1
    order = np.argsort(np.argsort(node_keys(A), kind="stable"), kind="stable") + 1  # 1 .. n, distinct
    state = order.copy()  # 0 for out, n + 1 for roots
    while np.any((state > 0) & (state <= n)):
        best = _neighbour_max(A, _neighbour_max(A, state))
        root = (best == state) & (state > 0) & (state <= n)
        near = best == n + 1
        state[near & (state <= n)] = 0
        state[root & (state > 0)] = n + 1
    # the number of a root is its rank in the order that the matrix gives, not its row
    roots = np.nonzero(state == n + 1)[0]
    roots = roots[np.argsort(order[roots])]
    home = np.full(n, -1)
    home[roots] = np.arange(roots.size)
    rows = np.repeat(np.arange(n), np.diff(A.indptr))
    strength = np.abs(A.data)
    for _ in range(n):
        lonely = home < 0
        if not np.any(lonely):
            break
        edge = np.nonzero(lonely[rows] & (home[A.indices] >= 0))[0]
        if not edge.size:
            break
        # of several equal ties the one to the aggregate that comes first
        pick = edge[np.lexsort((home[A.indices[edge]], -np.round(strength[edge], 12), rows[edge]))]
        first = np.concatenate([[True], np.diff(rows[pick]) > 0])
        home[rows[pick[first]]] = home[A.indices[pick[first]]]
    return home


def _strong(A: Any) -> csr_array:
    """A with the entries that are not small beside the largest of their row or column, and the diagonal."""
    n = A.indptr.size - 1
    rows = np.repeat(np.arange(n), np.diff(A.indptr))
    off = np.where(rows == A.indices, 0.0, np.abs(A.data))
    largest = np.maximum.reduceat(off, A.indptr[:-1])
    keep = (off >= _STRONG * np.minimum(largest[rows], largest[A.indices])) | (rows == A.indices)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows[keep], minlength=n))])
    return csr_array((A.data[keep], A.indices[keep], starts.astype(np.int32)), shape=A.shape)


def coarse_levels(A: Any, count: int) -> list[tuple[Any, Any, Any]]:
    """Restriction (means), prolongation (copies) and graph of each coarse level, finest first.

    Parameters
    ----------
    A : csr_array (n, n), symmetric, unit diagonal
    count : number of levels

    Returns
    -------
    For each level R (n_c, n), P (n, n_c), and A_c (n_c, n_c): P' A P scaled to a unit diagonal; float32.

    Notes
    -----
    Cost: `aggregate` and a triple product R A P for each level.

    References
    ----------
    That of `aggregate`.
    """
    out: list[tuple[Any, Any, Any]] = []
    graph = A
    for _ in range(count):
        P = _prolongation(aggregate(_strong(graph)))
        mean = P.T.tocsr()
        graph = (mean @ graph @ P).tocsr()
        graph.sort_indices()
        scale = 1.0 / np.sqrt(np.maximum(graph.diagonal(), 1e-6))
        graph.data *= np.repeat(scale, np.diff(graph.indptr)) * scale[graph.indices]
        lengths = np.diff(mean.indptr)
        mean.data = 1.0 / np.repeat(lengths, lengths)
        out.append((mean.astype(np.float32), P.astype(np.float32), graph.astype(np.float32)))
    return out


def _prolongation(home: np.ndarray) -> Any:
    """P (n, n_c), which copies the value of each aggregate to its nodes."""
    n = home.size
    parts = (np.ones(n), home.astype(np.int32), np.arange(n + 1, dtype=np.int32))
    return csr_array(parts, shape=(n, int(home.max()) + 1))


def partition(A: Any, unknowns: int) -> np.ndarray:
    """Parts of about ``unknowns`` neighbouring rows each: (n,) numbers from 0; all in part 0 for ``unknowns=0``.

    Parameters
    ----------
    A : csr_array (n, n), symmetric
    unknowns : wanted size of the parts; there are at most `MAX_PARTS`

    Notes
    -----
    Centres are chosen one by one, each as many edges as possible from those before it, and every row goes to the
    centre that is nearest (Gonzalez, 1985). Ties are broken by `node_keys`, which permute with the matrix.
    Cost: a breadth-first search for each part.

    References
    ----------
    Gonzalez, Clustering to minimize the maximum intercluster distance, Theor. Comput. Sci. 38 (1985) 293-306.

    Examples
    --------
    >>> path = csr_array(np.eye(6) + 0.1 * (np.eye(6, k=1) + np.eye(6, k=-1)))
    >>> partition(path, 3).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    n = A.indptr.size - 1
    count = min(max(1, round(n / unknowns)), MAX_PARTS) if unknowns else 1
    home = np.zeros(n, dtype=np.int32)
    if count == 1:
        return home
    edges = csr_array((np.ones(A.nnz), A.indices, A.indptr), shape=A.shape)
    keys = node_keys(A)

    def hops(root: int) -> np.ndarray:
        return dijkstra(edges, unweighted=True, indices=root)

    def farthest(distance: np.ndarray) -> int:
        return int(np.lexsort((-keys, distance))[-1])

    start = hops(farthest(np.zeros(n)))
    nearest = np.full(n, np.inf)
    for k in range(count):
        distance = hops(farthest(nearest if k else np.where(np.isinf(start), -1.0, start)))
        closer = distance < nearest
        home[closer], nearest[closer] = k, distance[closer]
    return home
