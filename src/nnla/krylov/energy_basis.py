"""Few vectors that are orthonormal in the inner product of A, kept with their images: rows, natively worked on."""

from __future__ import annotations

import numpy as np

from nnla.kernels import native
from nnla.kernels.arrays import plain
from nnla.kernels.basis import combine, products
from nnla.operators.operator import Operator

__all__ = ["EnergyBasis", "images"]

_DEPENDENT = 1e-9  # of the A-norm of a vector: what is left of it beside the others, below which it adds nothing
_CANCELLED = 0.1  # of the A-norm: less is left, so that it is made orthogonal once more
_LOST = 1e-10  # pivot of a Gram matrix of unit diagonal, below which a vector depends on those before it
_NEARLY = 1e-3  # pivot from which on a second orthonormalisation leaves nothing to do


class EnergyBasis:
    """V with V A V' = 1, and A V, as rows: the last vectors given, the newest first.

    The first k rows span the k newest vectors, so that nothing of these is lost when the last row goes.

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

    Memory: 2 (most + 1) vectors, made when they are needed.

    References
    ----------
    Golub & Van Loan, Matrix Computations, 4th ed., section 6.5.2 (a column appended to a QR factorisation).

    Examples
    --------
    >>> basis = EnergyBasis(2, 4)
    >>> basis.push(np.array([2.0, 0.0]), np.array([8.0, 0.0])), len(basis)
    (True, 1)
    >>> basis.V.tolist(), basis.push(np.array([-3.0, 0.0]), np.array([-12.0, 0.0]))
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

    def push(self, x: np.ndarray, Ax: np.ndarray) -> bool:
        """Take a vector in as the newest; whether it adds anything to the others. Without room the last row goes.

        Cost: three passes over V and A V, six where x lies nearly in their span, and 4 count^2 n operations.
        """
        if self.most < 1:
            return False
        with np.errstate(all="ignore"):
            largest = float(np.max(np.abs(x), initial=0.0))
            if not 0.0 < largest < np.inf:
                return False
            unit = 2.0 ** -np.frexp(largest)[1] if largest > 1e-300 else 2.0**1000
            W, AW = (plain(v, np.float64).reshape(1, -1) * unit for v in (x, Ax))
            size = left = float(W[0] @ AW[0])
            if not 0.0 < size < np.inf:
                return False
            along = np.zeros(self._count)  # V A x
            for _ in range(3 if self._count else 0):
                before = left
                c = products(self.AV, W)
                _subtract(self.V, c, W)
                _subtract(self.AV, c, AW)
                along += c[:, 0]
                left = float(W[0] @ AW[0])
                if left > _CANCELLED**2 * before or not left > _DEPENDENT**2 * size:
                    break
            if not (np.isfinite(along).all() and left < np.inf):
                return False
            adds = left > _DEPENDENT**2 * size
            if adds:
                scale = left**-0.5
                if not (0.0 < scale < np.inf and np.isfinite(scale * (np.abs(W).max() + np.abs(AW).max()))):
                    return False
                self._make_room()
                np.multiply(W[0], scale, out=self._V[self._count])
                np.multiply(AW[0], scale, out=self._AV[self._count])
                self._count += 1
                along = np.append(along, left**0.5)
        self._turn(_to_first(along))
        return adds

    def drop(self, count: int) -> None:
        """Forget the last rows; all their memory where none is left."""
        self._count = max(self._count - count, 0)
        if not self._count:
            self.clear()

    def fill(self, W: np.ndarray) -> None:
        """Take these rows as they are, to be renewed."""
        self._count = len(W)
        self._V, self._AV = np.array(W, dtype=np.float64, order="C"), np.empty(W.shape)

    def clear(self) -> None:
        """Forget all vectors, and release their memory."""
        self._V, self._AV, self._count = np.empty((0, self.n)), np.empty((0, self.n)), 0

    def renew(self, op: Operator) -> None:
        """Orthonormal in the inner product of another A, the first rows spanning what they did.

        Parameters
        ----------
        op : Operator of order n; where it is not positive definite on the vectors, all are forgotten, and where vectors
            depend on those before them, these

        Notes
        -----
        Cost: a product for every vector, as a block, and 6 count^2 n operations.
        """
        if self._count:
            try:
                self._renew(op)
            except BaseException:  # a signal, or a limit of time: some rows would be of another A
                self.clear()
                raise

    def _renew(self, op: Operator) -> None:
        self._AV[: self._count] = images(op, self.V)
        for _ in range(2):
            G = products(self.V, self.AV)
            diagonal = G.diagonal()
            if not (np.all(np.isfinite(G)) and diagonal.min() > 0.0):
                self.clear()
                return
            scale = diagonal**-0.5
            made = _triangular(((G + G.T) / 2) * scale * scale[:, None])
            if made is None:
                self.clear()
                return
            C, least = made
            self._turn(C * scale[:, None])
            if least > _NEARLY:
                return

    def _turn(self, C: np.ndarray) -> None:
        """V <- C' V, as many rows as there is room for."""
        C = np.ascontiguousarray(C[:, : self.most])
        count, self._count = self._count, 0  # should a signal come between the two, nothing is left
        for rows in (self._V, self._AV):
            combine(rows[:count], C, out=rows[: C.shape[1]])
        self._count = C.shape[1]

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
        size = min(self.most + 1, max(4, 2 * len(self._V)))
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


def _to_first(h: np.ndarray) -> np.ndarray:
    """Orthogonal Q with Q' h = |h| e_1, by rotations from the last entry up: Q' is lower Hessenberg."""
    h, Qt = h.copy(), np.eye(h.size)
    for i in range(h.size - 1, 0, -1):
        r = float(np.hypot(h[i - 1], h[i]))
        if r > 0.0:
            c, s = h[i - 1] / r, h[i] / r
            Qt[i - 1 : i + 1] = np.array([[c, s], [-s, c]]) @ Qt[i - 1 : i + 1]
            h[i - 1] = r
    return Qt.T


def _triangular(G: np.ndarray) -> tuple[np.ndarray, float] | None:
    """(C, least pivot) with C' G C = 1, C upper triangular; vectors that depend on those before them are left out.

    G has a unit diagonal. None where it is indefinite.
    """
    count = len(G)
    columns: list[np.ndarray] = []
    least = 1.0
    for k in range(count):
        c = np.zeros(count)
        c[k] = 1.0
        for _ in range(2):  # what cancels is taken away once more
            for other in columns:
                c -= float(other @ G @ c) * other
        pivot = float(c @ G @ c)
        if pivot < -_LOST:
            return None
        if pivot > _LOST:
            columns.append(c / pivot**0.5)
            least = min(least, pivot)
    return np.stack(columns, axis=1), least


def _subtract(V: np.ndarray, c: np.ndarray, W: np.ndarray) -> None:
    """W -= c' V."""
    if native is None:
        W -= c.T @ V
    else:
        native.basis_subtract(V, c, W)
