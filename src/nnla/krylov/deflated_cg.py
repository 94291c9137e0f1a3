"""Deflated CG by what CG's own Lanczos vectors have told of an earlier matrix: the space, and its harvest."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.kernels import native
from nnla.kernels.arrays import plain
from nnla.kernels.basis import combine
from nnla.krylov.energy_basis import EnergyBasis, images
from nnla.operators.operator import Operator

__all__ = ["DeflationBasis", "Harvest"]

_LEAST = 4  # rows of the window that a cycle fills, at least


class DeflationBasis:
    """Rows W with W A W' = 1 that CG on A is kept orthogonal to, natively: Galerkin's method solves in their span.

    Parameters
    ----------
    op : Operator, A
    W : (k, n) rows; those that depend on others are left out
    most : rows that there is room for, by default as many as there are

    Attributes
    ----------
    rank : rows

    Notes
    -----
    It takes the place of `nnla.preconditioners.deflation.DeflationSpace`, for dense vectors.

    Cost: a product for each row, as a block, and 6 k^2 n operations. Memory: 2 k vectors.

    References
    ----------
    Saad, Yeung, Erhel, Guyomarc'h, A deflated version of the conjugate gradient algorithm, SIAM J. Sci. Comput. 21
    (2000) 1909-1926. Tang, Nabben, Vuik, Erlangga, J. Sci. Comput. 39 (2009), section 2.3.

    Examples
    --------
    >>> from nnla import as_operator
    >>> space = DeflationBasis(as_operator(np.diag([1e-3, 1.0, 2.0])), np.array([[1.0, 0.0, 0.0]]))
    >>> np.round(space.solve(np.ones(3)), 9) + 0.0
    array([1000.,    0.,    0.])
    """

    def __init__(self, op: Operator, W: np.ndarray, most: int | None = None) -> None:
        W = plain(W, np.float64)
        self.n = op.n
        self._basis = EnergyBasis(op.n, max(len(W), most or 0))
        largest = np.max(np.abs(W), axis=1, initial=0.0)
        used = (largest > 0.0) & np.isfinite(largest)
        self._basis.fill(W[used] / largest[used, None])
        self._basis.renew(op)

    def __repr__(self) -> str:
        return f"<DeflationBasis n={self.n}, rank={self.rank}>"

    @property
    def rank(self) -> int:
        return len(self._basis)

    @property
    def W(self) -> np.ndarray:
        """(rank, n)"""
        return self._basis.V

    @property
    def nbytes(self) -> int:
        """Memory of the vectors."""
        return self._basis.nbytes

    def renew(self, op: Operator) -> None:
        """The same space for another A. Cost: as that of making it."""
        self._basis.renew(op)

    def solve(self, r: np.ndarray) -> np.ndarray:
        """W' W r for (n,) or (n, m): the best approximation to A^-1 r in the subspace, in the A-norm."""
        return self._basis.combined(self._basis.coordinates(r))

    def image(self, r: np.ndarray) -> np.ndarray:
        """A times `solve` of r, without a product with A."""
        return self._basis.combined(self._basis.coordinates(r), self._basis.AV)

    def precondition(self, r: np.ndarray, z: np.ndarray) -> np.ndarray:
        """z + W' W (r - A z): a preconditioned residual z, corrected in the subspace."""
        along = self._basis.coordinates(r)
        flat = plain(z, np.float64)
        back = self._basis.AV @ flat
        return z + self._basis.combined(along - back)

    def native(self, base: Any) -> Any:
        """The native preconditioner that corrects this base, a scaling or a polynomial; None where there is none.

        Notes
        -----
        Cost: copies of W and A W in float32, in which they deflate as well; an application reads them once each, and W
        once more over a base that is not diagonal.
        """
        if native is None or not self.rank:
            return None
        own, inverse = getattr(base, "native", None), getattr(base, "inverse", None)
        if own is None and inverse is None and base.name != "none":
            return None
        if own is not None:
            inverse = None
        elif inverse is not None:
            inverse = plain(inverse, np.float64)
        return native.Deflation(self._basis.V, self._basis.AV, own, inverse)


class Harvest:
    """Approximations to the eigenvectors of M A of the smallest eigenvalues, from the Lanczos vectors of a CG run.

    Parameters
    ----------
    n : order of A
    keep : vectors wanted
    window : Lanczos vectors that are looked at together, at least ``2 keep + 4``; where there are more of them, the
        best that they hold is kept, in the manner of eigCG

    Notes
    -----
    To be given to `nnla.krylov.start.start_cg`, which runs natively then or leaves it empty. Rows that CG restarts
    after are another sequence: they are not looked at.

    Cost: a vector written in every iteration, and 4 keep window n operations whenever the window is full. Memory:
    ``window`` vectors.

    References
    ----------
    Stathopoulos, Orginos, Computing and deflating eigenvalues while solving multiple right-hand side linear systems in
    quantum chromodynamics, SIAM J. Sci. Comput. 32 (2010) 439-462.
    """

    def __init__(self, n: int, keep: int = 12, window: int = 64) -> None:
        self.n, self.keep, self.window = n, keep, max(window, 2 * keep + _LEAST)
        self._V: np.ndarray | None = None
        self._T = np.zeros((self.window, self.window))
        self._kept = 0  # rows that earlier cycles have left
        self._link = np.zeros(0)  # of these rows to the next Lanczos vector
        self._first = 0  # iteration of the first Lanczos vector of the cycle
        self._rows = 0  # of which T is known
        self._ended = False

    @property
    def nbytes(self) -> int:
        """Memory of the window."""
        return 0 if self._V is None else self._V.nbytes

    def attach(self, cg: Any) -> None:
        """Record what a native CG does from now on."""
        self._V = np.empty((self.window, self.n))
        self._kept = self._rows = 0
        self._first = int(cg.iterations)
        self._ended = False
        cg.record(self._V, 0)

    @property
    def room(self) -> int:
        """Iterations until the window is full."""
        return self.window if self._ended else max(self.window - self._rows, 1)

    def take(self, cg: Any, *, goes_on: bool = True) -> None:
        """Look at what was done since the last time; where it goes on, make room if there is none.

        Cost: copies of coefficients; 4 keep window n operations where room is made.
        """
        if self._ended or self._V is None:
            return
        alpha, beta = cg.alphas, cg.betas
        done = len(alpha)
        T = self._T
        while self._rows < self.window:
            j = self._first + self._rows - self._kept  # the iteration that row belongs to
            if j >= done:
                break
            if j > 0 and beta[j] == 0.0 and self._rows > 0:  # CG has restarted
                self._end(cg)
                return
            i = self._rows
            T[i, :] = T[:, i] = 0.0
            T[i, i] = 1.0 / alpha[j] + (beta[j] / alpha[j - 1] if j > 0 else 0.0)
            if i > 0 and j > 0:
                off = -np.sqrt(beta[j]) / alpha[j - 1]
                if i == self._kept:
                    T[i, :i] = T[:i, i] = off * self._link
                else:
                    T[i, i - 1] = T[i - 1, i] = off
            self._rows += 1
        if not np.all(np.isfinite(T[: self._rows, : self._rows])):
            self._rows = 0
            self._end(cg)
            return
        if self._rows == self.window and goes_on:
            self._restart(cg)

    def _end(self, cg: Any) -> None:
        self._ended = True
        cg.record(None, 0)

    def _restart(self, cg: Any) -> None:
        """Keep the Ritz vectors of the smallest values of the whole window, and of all of it but the last row."""
        assert self._V is not None
        m = self.window
        T = self._T
        Y = np.linalg.eigh(T)[1][:, : self.keep]
        Z = np.zeros((m, self.keep))
        Z[:-1] = np.linalg.eigh(T[:-1, :-1])[1][:, : self.keep]
        Q = np.linalg.qr(np.hstack([Y, Z]))[0]
        values, U = np.linalg.eigh(Q.T @ T @ Q)
        C = Q @ U
        p = C.shape[1]
        self._rows, self._ended = 0, True  # should a signal end it half way
        combine(self._V, C, out=self._V[:p])
        self._ended = False
        T[:] = 0.0
        T[np.arange(p), np.arange(p)] = values
        self._first += m - self._kept
        self._link, self._kept, self._rows = C[-1].copy(), p, p
        cg.record(self._V, p)

    def ritz(self) -> tuple[np.ndarray, np.ndarray]:
        """(W, theta): rows (k, n) with ``w' A w = theta``, ``w' M^-1 w = 1``, theta ascending, k <= keep.

        Cost: 2 keep rows n operations.
        """
        if self._V is None or not self._rows:
            return np.empty((0, self.n)), np.empty(0)
        values, Y = np.linalg.eigh(self._T[: self._rows, : self._rows])
        good = np.flatnonzero(values > 0.0)[: self.keep]
        return combine(self._V[: self._rows], Y[:, good]), values[good]

    def basis(self, op: Operator, old: DeflationBasis | None = None, most: int | None = None) -> DeflationBasis | None:
        """The space to deflate by from now on; None where nothing was recorded.

        Parameters
        ----------
        op : Operator, A
        old : the space that the run was deflated by, whose vectors the Lanczos vectors lack: the smallest Ritz values
            of both together are kept
        most : vectors kept, by default ``keep``

        Notes
        -----
        Cost: a product for each vector, as a block, and 6 k^2 n operations for k of them.
        """
        W, _ = self.ritz()
        rows = W if old is None or not old.rank else np.vstack([W, old.W])
        if not len(rows):
            return None
        most = self.keep if most is None else most
        if len(rows) > most:
            rows = _smallest(op, rows, most)
        return DeflationBasis(op, rows)


def _smallest(op: Operator, rows: np.ndarray, most: int) -> np.ndarray:
    """Of the span of rows, that of the smallest Rayleigh quotients w' A w / w' D w, D the diagonal of A."""
    diagonal = op.scaling_diagonal()
    scale = np.ones(op.n) if diagonal is None else np.asarray(op.space.host(diagonal), dtype=np.float64)
    scale = scale / np.max(scale)
    largest = np.max(np.abs(rows), axis=1, keepdims=True)
    rows = rows / np.where((largest > 0.0) & np.isfinite(largest), largest, np.inf)
    G, K = rows @ images(op, rows).T, (rows * scale) @ rows.T
    values, Q = np.linalg.eigh((K + K.T) / 2)
    keep = values > 1e-10 * values[-1]
    C = Q[:, keep] / np.sqrt(values[keep])
    _, U = np.linalg.eigh(C.T @ ((G + G.T) / 2) @ C)
    return combine(plain(rows), np.ascontiguousarray((C @ U)[:, :most]))
