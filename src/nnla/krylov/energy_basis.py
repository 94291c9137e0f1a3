"""Few vectors that are orthonormal in the inner product of A, kept with their images: rows, natively worked on."""

from __future__ import annotations

import numpy as np

from nnla.kernels import native
from nnla.kernels.arrays import plain
from nnla.kernels.basis import combine, products
from nnla.operators.operator import Operator

__all__ = ["EnergyBasis", "images"]

_DEPENDENT = 1e-7  # of the A-norm of a vector: what is left of it beside the others, below which it adds nothing
_CANCELLED = 0.1  # of the A-norm: less is left, so that it is made orthogonal once more
_NEARLY = 1e-3  # from here on a second orthonormalisation leaves nothing to do


class EnergyBasis:
    """V with V A V' = 1, and A V, as rows: at most ``most`` of them.

    Parameters
    ----------
    n : order of A
    most : vectors that there is room for

    Attributes
    ----------
    V, AV : (count, n) views; whoever writes into them breaks the basis

    Notes
    -----
    All is in float64, and in units of its own: A and the vectors may have any size whose products are within range.

    Examples
    --------
    >>> basis = EnergyBasis(2, 4)
    >>> basis.append(np.array([2.0, 0.0]), np.array([8.0, 0.0])), len(basis)
    (True, 1)
    >>> basis.V.tolist(), basis.append(np.array([-3.0, 0.0]), np.array([-12.0, 0.0]))
    ([[0.5, 0.0]], False)
    """

    def __init__(self, n: int, most: int) -> None:
        self.n, self.most, self._count = n, max(most, 0), 0
        self._V = np.empty((0, n))
        self._AV = np.empty((0, n))

    def __len__(self) -> int:
        return self._count

    @property
    def V(self) -> np.ndarray:
        return self._V[: self._count]

    @property
    def AV(self) -> np.ndarray:
        return self._AV[: self._count]

    @property
    def nbytes(self) -> int:
        """Memory of the vectors, those to come included."""
        return self._V.nbytes + self._AV.nbytes

    def append(self, x: np.ndarray, Ax: np.ndarray) -> bool:
        """Add what x has beside the others; whether that is anything. There must be room.

        Cost: three passes over V and A V, six where x lies nearly in their span.
        """
        if self._count >= self.most:
            return False
        with np.errstate(all="ignore"):
            largest = float(np.max(np.abs(x), initial=0.0))
            if not 0.0 < largest < np.inf:
                return False
            unit = 2.0 ** -np.frexp(largest)[1] if largest > 1e-300 else 2.0**1000
            W, AW = (plain(v, np.float64).reshape(1, -1) * unit for v in (x, Ax))
            size = before = float(W[0] @ AW[0])
            if not 0.0 < size < np.inf:
                return False
            for turn in range(3):
                if self._count:
                    c = products(self.AV, W)  # V A x
                    _subtract(self.V, c, W)
                    _subtract(self.AV, c, AW)
                left = float(W[0] @ AW[0])
                if not _DEPENDENT**2 * size < left < np.inf:
                    return False
                if left > _CANCELLED**2 * before or turn == 2:
                    break
                before = left
            scale = left**-0.5
            if not 0.0 < scale < np.inf:
                return False
            self._make_room()
            np.multiply(W[0], scale, out=self._V[self._count])
            np.multiply(AW[0], scale, out=self._AV[self._count])
        if not (np.isfinite(self._V[self._count, 0]) and np.isfinite(self._AV[self._count].sum())):
            return False
        self._count += 1
        return True

    def fill(self, W: np.ndarray) -> None:
        """Take these rows as they are, to be renewed."""
        self._count = len(W)
        self._V, self._AV = np.array(W, dtype=np.float64, order="C"), np.empty(W.shape)

    def remove(self, k: int) -> None:
        """Take one vector out. Cost: a copy of the vectors behind it."""
        for rows in (self._V, self._AV):
            rows[k : self._count - 1] = rows[k + 1 : self._count]
        self._count -= 1

    def clear(self) -> None:
        """Forget all vectors, and release their memory."""
        self._V, self._AV, self._count = np.empty((0, self.n)), np.empty((0, self.n)), 0

    def renew(self, op: Operator) -> bool:
        """Orthonormal in the inner product of another A, each vector as near to what it was as can be.

        Parameters
        ----------
        op : Operator of order n; where it is not positive definite on the vectors, all are forgotten

        Returns
        -------
        bool : whether the vectors have remained, each in its place; else those that depended on others are gone

        Notes
        -----
        Cost: a product for every vector, as a block, and 6 count^2 n operations.

        References
        ----------
        Löwdin, J. Chem. Phys. 18 (1950) 365-375: of all orthonormal bases V' (V A V')^(-1/2) is the nearest.
        """
        if not self._count:
            return True
        count = self._count
        self._AV[:count] = images(op, self.V)
        for _ in range(2):
            G = products(self.V, self.AV)
            G = (G + G.T) / 2
            diagonal = G.diagonal()
            if not (np.all(np.isfinite(G)) and diagonal.min() > 0.0):
                self.clear()
                return False
            scale = diagonal**-0.5
            values, Q = np.linalg.eigh(G * scale * scale[:, None])
            if values[0] < -(_DEPENDENT**2) * values[-1]:
                self.clear()
                return False
            keep = values > 1e4 * _DEPENDENT**2 * values[-1]
            Q = Q[:, keep]
            C = Q / np.sqrt(values[keep])
            if keep.all():
                C = C @ Q.T
            C *= scale[:, None]
            rank = C.shape[1]
            for rows in (self._V, self._AV):
                combine(rows[: self._count], C, out=rows[:rank])
            self._count = rank
            if values[keep][0] > _NEARLY * values[-1]:
                break
        return self._count == count

    def coordinates(self, b: np.ndarray) -> np.ndarray:
        """V b, (count,) or (count, k): those of the best approximation to A^-1 b, in the A-norm."""
        if b.ndim == 1:
            return products(self.V, plain(b, np.float64).reshape(1, -1))[:, 0]
        return products(self.V, np.ascontiguousarray(b.T, np.float64))

    def combined(self, c: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """V' c for what `coordinates` returns; (A V)' c with ``rows`` = `AV`."""
        rows = self.V if rows is None else rows
        if c.ndim == 1:
            return combine(rows, c.reshape(-1, 1))[0]
        return combine(rows, c).T

    def _make_room(self) -> None:
        if self._count < len(self._V):
            return
        size = min(self.most, max(4, 2 * len(self._V)))
        for name in ("_V", "_AV"):
            rows = np.empty((size, self.n))
            rows[: self._count] = getattr(self, name)[: self._count]
            setattr(self, name, rows)


def images(op: Operator, V: np.ndarray) -> np.ndarray:
    """A V for rows V (k, n), counted. Cost: k products, the matrix read once for eight of them in native code."""
    system = op.native if native is not None else None
    if system is None or not len(V):
        host = op.space.host(op.matvec(op.space.own(np.ascontiguousarray(V.T))))
        return np.ascontiguousarray(host.T)
    out = np.empty(V.shape)
    system.blocks().product(plain(V), out)
    op.count(len(V))
    return out


def _subtract(V: np.ndarray, c: np.ndarray, W: np.ndarray) -> None:
    """W -= c' V."""
    if native is None:
        W -= c.T @ V
    else:
        native.basis_subtract(V, c, W)
