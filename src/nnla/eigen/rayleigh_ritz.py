"""Rayleigh-Ritz for A x = lambda M x in the span of some vectors, with true residuals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nnla.eigen.iteration import multiply
from nnla.errors import NotPositiveDefiniteError
from nnla.operators.operator import Operator

__all__ = ["RitzPairs", "rayleigh_ritz"]


class RitzPairs(NamedTuple):
    """Pairs as rows: values (j,), vectors (j, n), ||A v - lambda M v|| / ||v|| (j,), and v'Mv / v'v (j,)."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    sizes: np.ndarray

    def take(self, places: np.ndarray) -> RitzPairs:
        """Some of them, in that order."""
        return RitzPairs(self.values[places], self.vectors[places], self.residuals[places], self.sizes[places])


def rayleigh_ritz(A: Operator, M: Operator | None, rows: np.ndarray) -> RitzPairs:
    """Ritz pairs of A x = lambda M x in the span of the rows (j, n), by increasing value; fewer where they depend.

    Parameters
    ----------
    A, M : symmetric, M positive definite or None for the identity
    rows : (j, n)

    Raises
    ------
    NotPositiveDefiniteError
        M is not, as far as these vectors tell.

    Cost: 2 j products with A and 3 j with M, some 8 n j^2 operations.
    """

    def mass_times(X: np.ndarray) -> np.ndarray:
        return X if M is None else multiply(M, X)

    V = np.ascontiguousarray((rows / np.linalg.norm(rows, axis=1, keepdims=True)).T)
    Q = V
    for _ in range(2):  # the second time for orthogonality to working precision
        MQ = mass_times(Q)
        gram = Q.T @ MQ
        d, U = np.linalg.eigh((gram + gram.T) / 2)
        if not d[-1] > 0 or d[0] < -1e-8 * d[-1]:
            raise NotPositiveDefiniteError(
                "M is not positive definite: x' M x <= 0 was met; an indefinite M may stand in A's place"
            )
        kept = d > 1e-13 * d[-1]
        Q = Q @ (U[:, kept] / np.sqrt(d[kept]))
        if d[0] > 0.01 * d[-1]:
            break
    AQ = multiply(A, Q)
    H = Q.T @ AQ
    w, S = np.linalg.eigh((H + H.T) / 2)
    V = np.ascontiguousarray(Q @ S)
    AV, MV = multiply(A, V), mass_times(V)  # anew: a combination of products is not quite the product
    lengths = np.linalg.norm(V, axis=0)
    residuals = np.linalg.norm(AV - MV * w, axis=0) / lengths
    return RitzPairs(w, np.ascontiguousarray(V.T), residuals, 1.0 / lengths**2)
