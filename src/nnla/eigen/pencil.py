"""A x = lambda M x, or M = I: products with blocks of rows, Rayleigh-Ritz, residuals."""

from __future__ import annotations

import numpy as np

from nnla.eigen.ritz import RitzPairs, rayleigh_ritz
from nnla.operators.arrays import to_numpy
from nnla.operators.operator import Operator

__all__ = ["Pencil", "RitzPairs", "times"]


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
        M = self.M
        return rayleigh_ritz(lambda V: times(self.A, V), None if M is None else lambda V: times(M, V), rows)
