"""Thick-restart Lanczos with locking: the largest eigenvalues of a symmetric operator in a bounded subspace."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnla.errors import NonFiniteError

__all__ = ["ThickRestart"]

_EPS = float(np.finfo(np.float64).eps)


class ThickRestart:
    """A Krylov subspace of bounded size that is extended, restarted and locked, for the largest eigenvalues of F.

    Parameters
    ----------
    apply : callable, (n,) -> (n,)
        A product with the symmetric operator F; it must not keep or change its argument.
    n : int
    size : int
        Vectors of the subspace, locked ones included, 1 <= size <= n.
    start : (n,) array or None
        Start vector; a random one if None or zero.
    rng : numpy.random.Generator
        Of the vectors that continue where the Krylov space ends.
    locked : (j, n) orthonormal rows, j < size, or None
        Known eigenvectors of F.

    Attributes
    ----------
    locked : vectors that are taken for eigenvectors of F: they stay as they are, and everything else is kept
        orthogonal to them
    steps : products with F so far
    theta : (j,) Ritz values of F on the active part of the subspace, decreasing
    residuals : (j,) their residual norms in F

    Notes
    -----
    `extend` fills the subspace, `restart` shrinks it to the leading Ritz vectors, `lock` sets the first of them
    aside, `renew` begins anew. The basis is orthogonalised in full, twice where needed. Where the Krylov space ends
    (an invariant subspace, a multiple eigenvalue, F = 0) it goes on with a random vector, so that a subspace of n
    vectors always holds every eigenpair. In exact arithmetic a Krylov space holds one copy of a multiple eigenvalue;
    the caller has to look for further ones from a fresh vector (`renew`).

    Storage: (size + 1) n numbers. Cost of a restart with p kept vectors: size - p products with F, some
    4 n size (size - p) operations for orthogonality, 2 n size p for the Ritz vectors.

    References
    ----------
    Wu, Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems, SIAM J. Matrix Anal. Appl. 22
    (2000), Algorithm 3; Stewart, A Krylov-Schur algorithm, ibid. 23 (2001).

    Examples
    --------
    >>> d = np.arange(50.0)
    >>> space = ThickRestart(lambda v: d * v, 50, 50, None, np.random.default_rng(0))
    >>> space.extend()
    >>> bool(np.allclose(space.theta[:2], [49.0, 48.0]))
    True
    """

    def __init__(
        self,
        apply: Callable[[np.ndarray], np.ndarray],
        n: int,
        size: int,
        start: np.ndarray | None,
        rng: np.random.Generator,
        locked: np.ndarray | None = None,
    ) -> None:
        self._apply, self._rng = apply, rng
        self.size = size
        self._V = np.empty((min(size + 1, n), n))
        self._T = np.zeros((size, size))
        self.locked = 0 if locked is None else locked.shape[0]
        if locked is not None:
            self._V[: self.locked] = locked
        self._filled = self.locked  # vectors whose row of T is known; the next one is V[_filled]
        self._beta = 0.0
        self.steps = 0
        self.work = 0.0
        self._scale = 0.0  # largest entry of T met so far
        self.theta = self.residuals = np.empty(0)
        self._S = np.empty((0, 0))
        self._place(self.locked, start)

    @property
    def n(self) -> int:
        """Length of the vectors."""
        return self._V.shape[1]

    @property
    def active(self) -> int:
        """Vectors of the subspace that are not locked."""
        return self.size - self.locked

    def extend(self) -> None:
        """Fill the subspace, then solve the projected problem: sets `theta` and `residuals`."""
        n = self._V.shape[1]
        for j in range(self._filled, self.size):
            v = self._V[j]
            w = np.array(self._apply(v), dtype=np.float64)
            self.steps += 1
            before = float(np.linalg.norm(w))
            basis = self._V[: j + 1]
            h = basis @ w
            w -= h @ basis
            again = basis @ w
            w -= again @ basis
            self.work += 8.0 * n * (j + 1)
            h += again
            self._T[j, : j + 1] = self._T[: j + 1, j] = h
            self._scale = max(self._scale, abs(self._T[j, j]), before)
            beta = float(np.linalg.norm(w))
            if j + 1 == self._V.shape[0]:  # the subspace is the whole space
                self._beta = 0.0
                break
            if not np.isfinite(beta):
                raise NonFiniteError("a product with A overflowed in the Lanczos process; rescale A")
            if beta <= 8 * _EPS * max(self._scale, np.finfo(np.float64).tiny):
                beta = 0.0
                self._place(j + 1, None)
            else:
                w /= beta
                if beta < 1e-3 * before:  # what is left of a cancellation is not orthogonal to working precision
                    w -= (basis @ w) @ basis
                    w /= np.linalg.norm(w)
                self._V[j + 1] = w
            self._beta = beta
        self._filled = self.size
        active = self._T[self.locked :, self.locked :]
        theta, S = np.linalg.eigh(active)
        self.theta, self._S = theta[::-1], S[:, ::-1]
        self.residuals = np.abs(self._beta * self._S[-1])

    def vectors(self, count: int) -> np.ndarray:
        """The leading Ritz vectors of the active part as rows, (count, n), a new array."""
        self.work += 2.0 * count * self.active * self._V.shape[1]
        return self._S[:, :count].T @ self._V[self.locked : self.size]

    def vector(self, i: int) -> np.ndarray:
        """The i-th Ritz vector of the active part, (n,), a new array."""
        self.work += 2.0 * self.active * self._V.shape[1]
        return self._S[:, i] @ self._V[self.locked : self.size]

    def kept_vectors(self, count: int) -> np.ndarray:
        """The first ``count`` vectors of the active part after `restart`, as rows, a view."""
        return self._V[self.locked : min(self.locked + count, self._filled)]

    def locked_vectors(self) -> np.ndarray:
        """The locked vectors as rows, (locked, n), a view."""
        return self._V[: self.locked]

    def restart(self, keep: int) -> None:
        """Shrink the active part to its ``keep`` leading Ritz vectors and the residual's direction."""
        q, m = self.locked, self.size
        keep = min(keep, m - q - 1) if self._V.shape[0] > m else min(keep, m - q)
        self._V[q : q + keep] = self.vectors(keep)
        if self._V.shape[0] > m and q + keep < m:
            self._V[q + keep] = self._V[m]
        self._T[q:, :] = self._T[:, q:] = 0.0
        places = np.arange(q, q + keep)
        self._T[places, places] = self.theta[:keep]
        self._filled = q + keep

    def lock(self, count: int) -> None:
        """Set the first ``count`` vectors of the active part aside, after `restart`: their coupling is dropped."""
        q = self.locked + count
        self._T[:q, :] = self._T[:, :q] = 0.0
        self.locked = q
        self.theta, self.residuals = self.theta[count:], self.residuals[count:]

    def make_room(self, size: int) -> None:
        """Let the subspace have ``size`` vectors, if it has fewer; to be called before `renew`, which it needs."""
        n = self._V.shape[1]
        size = min(size, n)
        if size <= self.size:
            return
        kept = self.locked_vectors()
        self._V = np.empty((min(size + 1, n), n))
        self._V[: self.locked] = kept
        self._T = np.zeros((size, size))
        self.size = size

    def renew(self) -> None:
        """Forget the active part and begin again from a random vector orthogonal to the locked ones.

        A copy of a multiple eigenvalue that the Krylov space so far could not hold may come in.
        """
        self._filled = self.locked
        self._T[self.locked :, :] = 0.0
        self._T[:, self.locked :] = 0.0
        if self.locked < self._V.shape[0]:
            self._place(self.locked, None)

    def _place(self, j: int, start: np.ndarray | None) -> None:
        """Make V[j] a unit vector orthogonal to those before it: from ``start``, else random."""
        n = self._V.shape[1]
        basis = self._V[:j]
        v = np.zeros(n) if start is None else np.array(start, dtype=np.float64)
        for _ in range(20):
            length = float(np.linalg.norm(v))
            if length > 0:
                v /= length
                for _ in range(3):
                    before = float(np.linalg.norm(v))
                    v -= (basis @ v) @ basis
                    after = float(np.linalg.norm(v))
                    if after > 0.7 * before:
                        break
                if after > 100 * _EPS:
                    v /= after
                    v -= (basis @ v) @ basis
                    self._V[j] = v / np.linalg.norm(v)
                    return
            v = self._rng.standard_normal(n)
        raise AssertionError("unreachable: fewer than n orthonormal vectors leave room for another")
