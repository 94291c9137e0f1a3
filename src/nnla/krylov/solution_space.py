"""Old solutions as a space to project on: the best approximation in the A-norm that they hold."""

from __future__ import annotations

import numpy as np

from nnla.krylov.energy_basis import EnergyBasis
from nnla.operators.operator import Operator

__all__ = ["SolutionSpace"]

_MEMORY = 0.8  # of how much a vector was used, from one guess to the next


class SolutionSpace:
    """Solutions made orthonormal in the inner product of A: V' V b is the best approximation to A^-1 b in their span.

    Parameters
    ----------
    n : order of A
    most : vectors kept; where there is no room, the one that guesses have used least makes it

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
        self._use: list[float] = []  # share of the energy of guesses, less for older ones

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
            parts = np.sum(c.reshape(len(self), -1) ** 2, axis=1)
            energy = float(parts.sum())
            x = self._basis.combined(c)
        if not 0.0 < energy < np.inf or not np.isfinite(x.sum()):
            return np.zeros(b.shape), 0.0
        shares = parts / energy
        self._use = [_MEMORY * old + (1 - _MEMORY) * float(new) for old, new in zip(self._use, shares, strict=True)]
        return x, energy

    def add(self, x: np.ndarray, Ax: np.ndarray) -> bool:
        """Keep a solution, with its image; whether it adds anything to those that there are.

        Cost: three passes over V and A V, six where x lies nearly in their span.
        """
        if self.most < 1:
            return False
        if len(self) >= self.most:
            self.drop()
        if not self._basis.append(x, Ax):
            return False
        self._use.append(1.0)  # not to go first
        return True

    def renew(self, op: Operator) -> None:
        """The same space for another A.

        Cost: a product for each vector, as one block, and an orthonormalisation.
        """
        if not self._basis.renew(op):
            self._use = [1.0] * len(self)

    def drop(self, count: int = 1) -> None:
        """Forget the vectors that guesses have used least; all where there are no more."""
        if count >= len(self):
            self._basis.clear()
            self._use = []
        for _ in range(min(count, len(self))):
            k = int(np.argmin(self._use))
            self._basis.remove(k)
            del self._use[k]
