"""Rate matrices of Markov chains: how they are recognised, and their transition matrices e^(tQ)."""

from __future__ import annotations

import numpy as np

from nnla.matfun.options import Batch, parts
from nnla.matfun.taylor import nonnegative_exponential

__all__ = ["rate_matrices", "row_sum_error", "transition_matrices"]


def rate_matrices(batch: Batch) -> np.ndarray:
    """(B,) Which matrices are rate matrices: no negative entry off the diagonal, and rows that sum to zero.

    To rounding of the precision that the entries came in. A diagonal matrix is none, but for 1 x 1.
    """
    n = batch.n
    A = batch.A
    diagonal = np.arange(n)
    off = A.copy()
    off[:, diagonal, diagonal] = 0.0
    largest = np.abs(A).max(axis=(1, 2), initial=0.0)
    sums = np.abs(A.sum(-1)).max(-1, initial=0.0)
    tolerance = 4 * n * max(batch.eps, float(np.finfo(float).eps)) * largest
    return (off >= 0).all(axis=(1, 2)) & (off > 0).any(axis=(1, 2)) & (sums <= tolerance)


def transition_matrices(Q: np.ndarray) -> np.ndarray:
    """e^Q (B, n, n) of rate matrices: `nnla.matfun.taylor.nonnegative_exponential`."""
    P = np.empty_like(Q)
    for part in parts(np.arange(len(Q)), Q.shape[-1]):
        P[part] = nonnegative_exponential(Q[part])
    return P


def row_sum_error(P: np.ndarray) -> np.ndarray:
    """(B,) largest |row sum - 1|."""
    return np.abs(P.sum(-1) - 1.0).max(-1, initial=0.0)
