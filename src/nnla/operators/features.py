"""What a sparse symmetric matrix looks like, as the numbers that a model of solver costs reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.kernels import native
from nnla.kernels.arrays import csr_arrays, plain

__all__ = ["GRAPH_FEATURES", "STRUCTURE_FEATURES", "VALUE_FEATURES", "structure_features"]

# Logarithms are natural; "share" is of the rows. The order is that of native/features.hpp.
VALUE_FEATURES = (
    "log n",
    "log mean row",  # stored entries
    "log longest by mean row",
    "log spread of rows",
    "share of leaves",  # at most one neighbour
    "share of chains",  # two neighbours
    "log bandwidth by n",
    "profile",  # mean log distance to the first entry, by log n
    "positive share",  # of the scaled entries off the diagonal
    "log slack",  # mean of the diagonal dominance, where positive
    "ungrounded share",  # rows that are not strictly dominant
    "log row sums",  # mean |sum of a row| by its diagonal entry
    "log constant vector",  # 1'A1 by the trace
    "log radius",  # largest row sum of the scaled entries off the diagonal
    "mean log weight",  # of the scaled entries off the diagonal
    "spread of log weights",
    "log gap of pairs",  # 1 - the largest of them
    "log anisotropy",  # mean of the largest by the mean of a row
    "log diagonal range",
    "spread of log diagonal",
    "share of merged rows",  # with the columns of the row before: several unknowns a node
    "share of runs",  # entries that the sliced format keeps in runs
)
GRAPH_FEATURES = (
    "share of the 2-core",
    "share of the 3-core",
    "share of the 5-core",
    "log largest core",
    "mean log core",
    "log levels",
    "log cubed width",  # see nnla.kernels.cholesky.level_structure
    "log components",
    "log rows of balls",  # breadth-first searches of some thousand rows
    "log radius of balls",
    "growth of balls",  # log rows over log radius: the dimension, on a mesh
    "late growth of balls",
    "clustering",
    "log fill of a small ball",  # operations a row; NaN below some thousand rows
    "log fill of a large ball",
    "growth of fill",
)
STRUCTURE_FEATURES = VALUE_FEATURES + GRAPH_FEATURES


def structure_features(csr: Any, diagonal: Any, *, graph: bool = True) -> np.ndarray | None:
    """(F,) float64, one number for each of `STRUCTURE_FEATURES`; None without the native kernels.

    Parameters
    ----------
    csr : ``csr_array`` (n, n), canonical, of a symmetric pattern
    diagonal : (n,) its diagonal, positive
    graph : False leaves the features of the graph NaN, for matrices that a look at their graph is too long for

    Notes
    -----
    Cost: about two products with the matrix; rows beyond some thousands are sampled for their values. In no unit:
    the features of A, s A and, but for those of dominance, of D A D are the same.

    References
    ----------
    Batagelj, Zaversnik, An O(m) algorithm for cores decomposition of networks, arXiv:cs/0310049. George, Liu,
    Computer Solution of Large Sparse Positive Definite Systems (1981), chapter 4 (levels).

    Examples
    --------
    >>> from nnla.problems import poisson2d
    >>> A = poisson2d(20)
    >>> known = structure_features(A, A.diagonal())
    >>> known is None or round(float(np.exp(known[STRUCTURE_FEATURES.index("log n")]))) == 400
    True
    """
    if native is None:
        return None
    return native.structure_features(*csr_arrays(csr), plain(diagonal, np.float64), graph)
