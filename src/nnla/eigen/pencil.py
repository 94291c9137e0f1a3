"""A x = lambda M x, or M = I: products with blocks of rows, Rayleigh-Ritz, residuals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nnla.errors import NotPositiveDefiniteError
from nnla.operators.arrays import to_numpy
from nnla.operators.operator import Operator

__all__ = ["Pencil", "RitzPairs", "times"]


class RitzPairs(NamedTuple):
    """Pairs as rows: values (j,), vectors (j, n), ||A v - lambda M v|| / ||v|| (j,), and ||M v|| / ||v|| (j,)."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    sizes: np.ndarray

    def take(self, places: np.ndarray) -> RitzPairs:
        """Some of them, in that order."""
        return RitzPairs(self.values[places], self.vectors[places], self.residuals[places], self.sizes[places])


def times(op: Operator, V: np.ndarray) -> np.ndarray:
    """The operator's products with the columns of V, (n, b), as a NumPy array; counted.

    Cost: b products.
    """
    return op.matvec(V) if op.xp == "numpy" else to_numpy(op.matvec(op.as_vector(V)))


class Pencil:
    """A and M of A x = lambda M x.

    Parameters
    ----------
    A : Operator, symmetric
    M : Operator, symmetric positive definite, or None for the identity
    """

    def __init__(self, A: Operator, M: Operator | None) -> None:
        self.A, self.M = A, M

    def times_mass(self, V: np.ndarray) -> np.ndarray:
        """M V for columns, (n, b)."""
        return V if self.M is None else times(self.M, V)

    def rayleigh_ritz(self, rows: np.ndarray) -> RitzPairs:
        """Ritz pairs of the pencil in the span of the rows (j, n), by increasing value; fewer where they depend.

        Raises
        ------
        NotPositiveDefiniteError
            M is not, as far as these vectors tell.

        Cost: 2 j products with A and 3 j with M, some 8 n j^2 operations.
        """
        V = np.ascontiguousarray((rows / np.linalg.norm(rows, axis=1, keepdims=True)).T)
        Q = V
        for _ in range(2):  # the second time for orthogonality to working precision
            MQ = self.times_mass(Q)
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
        AQ = times(self.A, Q)
        H = Q.T @ AQ
        w, S = np.linalg.eigh((H + H.T) / 2)
        V = np.ascontiguousarray(Q @ S)
        AV, MV = times(self.A, V), self.times_mass(V)  # anew: a combination of products is not quite the product
        lengths = np.linalg.norm(V, axis=0)
        residuals = np.linalg.norm(AV - MV * w, axis=0) / lengths
        return RitzPairs(w, np.ascontiguousarray(V.T), residuals, np.linalg.norm(MV, axis=0) / lengths)
