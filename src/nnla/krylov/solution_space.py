"""Old solutions as a space to project on: the best approximation in the A-norm that they hold."""

from __future__ import annotations

import numpy as np

from nnla.krylov.energy_basis import EnergyBasis
from nnla.operators.operator import Operator

__all__ = ["SolutionSpace"]


class SolutionSpace:
    """The last solutions, A-orthonormal: V' V b is the best approximation to A^-1 b in their span, in the A-norm.

    Parameters
    ----------
    n : order of A
    most : solutions kept; the oldest goes first

    Attributes
    ----------
    n, most : as given

    Notes
    -----
    Memory: two vectors for each that is kept.

    References
    ----------
    Fischer, Projection techniques for iterative solution of Ax = b with successive right-hand sides, Comput. Methods
    Appl. Mech. Engrg. 163 (1998) 193-204.

    Examples
    --------
    >>> space = SolutionSpace(2, 4)
    >>> space.add(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    True
    >>> x, energy = space.guess(np.array([4.0, 0.0]))
    >>> np.round(x, 12) + 0.0, round(energy, 12)
    (array([2., 0.]), 8.0)
    """

    def __init__(self, n: int, most: int) -> None:
        self.n, self.most = n, most
        self._basis = EnergyBasis(n, most)

    def __len__(self) -> int:
        return len(self._basis)

    def __repr__(self) -> str:
        return f"<SolutionSpace n={self.n}, {len(self)} of {self.most} vectors>"

    @property
    def nbytes(self) -> int:
        """Memory of the vectors, those to come included."""
        return self._basis.nbytes

    def guess(self, b: np.ndarray) -> tuple[np.ndarray, float]:
        """The best approximation x to A^-1 b in the A-norm, and the energy b'x of it, which is its squared A-norm.

        Parameters
        ----------
        b : (n,) or (n, k)

        Returns
        -------
        x, energy
            Of b's shape, and summed over the columns; zero where there is nothing, or nothing finite.

        Notes
        -----
        Cost: two passes over V.

        Validity: nearer to A^-1 b than zero, by this energy, for the A that the space was made or renewed for.
        """
        if not len(self):
            return np.zeros(b.shape), 0.0
        with np.errstate(all="ignore"):
            c = self._basis.coordinates(b)
            energy = float(np.sum(c * c))
            x = self._basis.combined(c)
        if not 0.0 < energy < np.inf or not np.isfinite(x.sum()):
            return np.zeros(b.shape), 0.0
        return x, energy

    def add(self, x: np.ndarray, Ax: np.ndarray) -> bool:
        """Keep a solution, with its image; whether it adds anything to those that there are.

        Cost: three passes over V and A V, six where x lies nearly in their span, and 4 most^2 n operations.
        """
        return self._basis.push(x, Ax)

    def renew(self, op: Operator) -> None:
        """The same space for another A.

        Cost: a product for each vector, as one block, and an orthonormalisation.
        """
        self._basis.renew(op)

    def drop(self, count: int = 1) -> None:
        """Forget the oldest solutions."""
        self._basis.drop(count)
