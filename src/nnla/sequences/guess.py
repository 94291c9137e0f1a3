"""Old solutions as a space to project on: the best approximation in the A-norm that they hold."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["SolutionSpace"]

_DEPENDENT = 1e-7  # of the A-norm of a solution: what is left of it beside the others, below which it adds nothing


class SolutionSpace:
    """A-orthonormal solutions V with A V: V V' b is the best approximation to A^-1 b in their span, in the A-norm.

    Parameters
    ----------
    n : order of A
    most : vectors kept; the oldest goes first

    References
    ----------
    Fischer, Projection techniques for iterative solution of Ax = b with successive right-hand sides, Comput. Methods
    Appl. Mech. Engrg. 163 (1998) 193-204.

    Examples
    --------
    >>> space = SolutionSpace(2, 4)
    >>> space.add(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    True
    >>> x, share = space.guess(np.array([4.0, 0.0]))
    >>> np.round(x, 12) + 0.0
    array([2., 0.])
    """

    def __init__(self, n: int, most: int) -> None:
        self.n, self.most = n, most
        self._V = np.empty((n, 0))
        self._AV = np.empty((n, 0))

    def __len__(self) -> int:
        return int(self._V.shape[1])

    @property
    def nbytes(self) -> int:
        """Memory of the vectors."""
        return 2 * self._V.nbytes

    def guess(self, b: np.ndarray) -> tuple[np.ndarray, float]:
        """The best approximation to A^-1 b, and the energy b'x of it. Cost: two passes over V."""
        c = self._V.T @ b
        return self._V @ c, float(np.sum(c * c))

    def add(self, x: np.ndarray, Ax: np.ndarray) -> bool:
        """Keep a solution and its image; whether it adds anything. Cost: four passes over V."""
        if len(self) >= self.most:
            self._V, self._AV = self._V[:, 1:], self._AV[:, 1:]
        size = float(x @ Ax)
        if not 0.0 < size < np.inf:
            return False
        for _ in range(2):
            c = self._AV.T @ x
            x, Ax = x - self._V @ c, Ax - self._AV @ c
        left = float(x @ Ax)
        if not left > _DEPENDENT**2 * size:
            return False
        self._V = np.column_stack([self._V, x * left**-0.5])
        self._AV = np.column_stack([self._AV, Ax * left**-0.5])
        return True

    def renew(self, op: Any) -> None:
        """The same vectors for another A. Cost: a product for each, and an orthonormalisation."""
        V, AV = self._V, op.matvec(np.ascontiguousarray(self._V))
        self._V, self._AV = np.empty((self.n, 0)), np.empty((self.n, 0))
        for k in range(V.shape[1]):
            self.add(V[:, k], AV[:, k])

    def drop(self, count: int = 1) -> None:
        """Forget the oldest vectors."""
        self._V, self._AV = self._V[:, count:], self._AV[:, count:]
