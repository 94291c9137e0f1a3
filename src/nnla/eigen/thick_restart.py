"""Thick-restart block Lanczos with locking: eigenvalues of a symmetric operator in a subspace of bounded size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnla.errors import NonFiniteError
from nnla.kernels import basis

__all__ = ["ThickRestart"]

_EPS = float(np.finfo(np.float64).eps)
_NEGLIGIBLE = 8 * _EPS  # of the largest image: what is left of one is rounding


class ThickRestart:
    """A Krylov subspace of bounded size that is extended, restarted and locked, for the leading eigenvalues of F.

    Parameters
    ----------
    apply : callable, (n,) -> (n,), with blocks (n, b) -> (n, b)
        A product with the symmetric operator F; it must not keep or change its argument.
    n : int
    size : int
        Vectors of the subspace, locked ones included, 1 <= size <= n.
    start : (n,) or (j, n) array of rows, or None
        Start vectors; random ones for those that are missing or zero.
    rng : numpy.random.Generator
        Of the vectors that continue where the Krylov space ends.
    locked : (j, n) orthonormal rows, j < size, or None
        Known eigenvectors of F.
    block : int
        Vectors that F is applied to together.
    mass : callable, (n, b) -> (n, b), or None
        A product with a positive definite M: F is then symmetric in x' M y, and the basis orthonormal in it. `apply`
        is handed M V in place of V: it is F M^-1.
    key : callable, (j,) -> (j,), or None
        Of Ritz values: those with the largest keys lead. By default the values themselves.

    Attributes
    ----------
    locked : vectors that are taken for eigenvectors of F: they stay as they are, and everything else is kept
        orthogonal to them
    steps : products with F so far
    theta : (j,) Ritz values of F on the active part of the subspace, leading ones first
    residuals : (j,) their residual norms in F

    Notes
    -----
    `extend` fills the subspace, `restart` shrinks it to the leading Ritz vectors, `lock` sets the first of them
    aside, `renew` begins anew. The basis is orthogonalised in full, twice where needed. Where the Krylov space ends
    (an invariant subspace, a multiple eigenvalue, F = 0) it goes on with a random vector, so that a subspace of n
    vectors always holds every eigenpair. In exact arithmetic a Krylov space from b random vectors holds at most b
    copies of a multiple eigenvalue; the caller has to look for further ones from fresh vectors (`renew`).

    Storage: (size + 2 block) n numbers. Cost of a restart with p kept vectors: size - p products with F, some
    2 n size (size - p) operations for orthogonality, 2 n size p for the Ritz vectors; blocks read the basis once for
    all their vectors.

    References
    ----------
    Wu, Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems, SIAM J. Matrix Anal. Appl. 22
    (2000), Algorithm 3; Stewart, A Krylov-Schur algorithm, ibid. 23 (2001). Grimes, Lewis, Simon, A shifted block
    Lanczos algorithm, ibid. 15 (1994).

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
        *,
        block: int = 1,
        mass: Callable[[np.ndarray], np.ndarray] | None = None,
        key: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._apply, self._mass, self._key, self._rng = apply, mass, key, rng
        self.size, self._block = size, block
        rows = min(size + block, n)
        self._V = np.empty((rows, n))
        self._W = np.empty((min(block, n), n))  # the images of a block
        self._T = np.zeros((rows, rows))  # F on the vectors whose image is known, its rows to the others included
        self.locked = 0 if locked is None else locked.shape[0]
        if locked is not None:
            self._V[: self.locked] = locked
        self._filled = self.locked  # vectors whose image is known; the `_pending` next ones follow
        self._pending = 0
        self._image = np.empty((0, n))  # M times the pending ones, where there is an M
        self._fresh = True  # the pending vectors are coupled to all of the basis, as after a restart
        self.steps = 0
        self.work = 0.0
        self._scale = 0.0  # largest entry of T met so far
        self.theta = self.residuals = np.empty(0)
        self._S = np.empty((0, 0))
        self._begin(start)

    @property
    def n(self) -> int:
        """Length of the vectors."""
        return self._V.shape[1]

    @property
    def block(self) -> int:
        """Vectors that F is applied to together."""
        return self._block

    @property
    def active(self) -> int:
        """Vectors of the subspace that are not locked."""
        return self.size - self.locked

    def extend(self, enough: Callable[[], bool] | None = None, least: int = 0) -> None:
        """Fill the subspace, then solve the projected problem: sets `theta` and `residuals`.

        ``enough``, if given, is asked after each block, with those two set: filling ends where it says so. With fewer
        than ``least`` active vectors it is not asked, unless their span is invariant: a small problem costs as much as
        a block of a matrix of some thousand rows.
        """
        while self._pending > 0 and self._filled < self.size:
            self._step(min(self._pending, self.size - self._filled))
            if enough is not None and (self._filled - self.locked >= least or not self._coupling.any()):
                self._project()
                if enough():
                    return
        self._project()

    def _project(self) -> None:
        q, m = self.locked, self._filled
        theta, S = np.linalg.eigh(self._T[q:m, q:m])
        order = np.argsort(-(theta if self._key is None else self._key(theta)), kind="stable")
        if self._key is None:
            order = np.arange(theta.size)[::-1]
        self.theta, self._S = theta[order], S[:, order]
        self.residuals = np.linalg.norm(self._coupling @ self._S, axis=0)

    @property
    def _coupling(self) -> np.ndarray:
        """F's rows from the active part to the pending vectors."""
        return self._T[self._filled : self._filled + self._pending, self.locked : self._filled]

    def _step(self, width: int) -> None:
        """The images of the next ``width`` vectors, made orthogonal to the basis, and what is left of them added."""
        j, end = self._filled, self._filled + self._pending
        X = self._product(j, width)
        self.steps += width
        # Lanczos: but after a restart it is the block before that counts, and the rest is a matter of rounding
        low = 0 if self._fresh else max(j - width, self.locked)
        self._fresh = False
        self.work += 4.0 * self.n * width * (2 * end - low)
        Z = W = self._W[:width]
        done = basis.extend(self._V, end, low, X, W, self._scale, _NEGLIGIBLE) if self._mass is None else None
        if done is None:
            W[:] = X.T
            Z, h, before = self._orthogonal(W, end, low)
        else:
            h, before = done.H, done.before
        if not np.all(np.isfinite(before)):
            raise NonFiniteError("a product with A overflowed in the Lanczos process; rescale A")
        self._T[:end, j : j + width] = h
        own = h[j : j + width]
        self._T[j : j + width, j : j + width] = (own + own.T) / 2
        self._T[j : j + width, :j] = h[:j].T
        self._T[j : j + width, j + width : end] = h[j + width :].T
        self._scale = max(self._scale, float(np.abs(np.diag(own)).max()), float(before.max()))
        self._filled += width
        self._pending -= width
        if done is not None and done.L is not None:
            self._T[end : end + width, j : j + width] = done.L.T
            self._pending += width
            return
        self._image = self._image[width:]
        if self._mass is None or not self._add_together(W, Z, before, j):
            self._add(W, Z, before, j)

    def _orthogonal(self, W: np.ndarray, end: int, low: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """W made orthogonal to the basis in place: M W, the products with the basis, and the norms before."""
        before = np.linalg.norm(W, axis=1)
        Z = W if self._mass is None else self._times_mass(W)
        h = np.zeros((end, W.shape[0]))
        for first in (low, 0):
            h[first:] += basis.project(self._V[first:end], W, Z)
            Z = W if self._mass is None else self._times_mass(W)
        return Z, h, before

    def _add_together(self, W: np.ndarray, Z: np.ndarray, before: np.ndarray, j: int) -> bool:
        """Orthonormal vectors for what is left of the images of V[j:] by Cholesky factors of its Gram matrix.

        False, and nothing is done, where the vectors are nearly dependent or there is no room for all.
        """
        first, width = self._filled + self._pending, W.shape[0]
        if first + width > self._V.shape[0]:
            return False
        couplings = np.eye(width)
        least = _NEGLIGIBLE * max(self._scale, np.finfo(np.float64).tiny)
        for turn in range(3):
            gram = basis.products(W, Z)
            if not np.all(np.isfinite(gram)):
                return False
            try:
                L = np.linalg.cholesky((gram + gram.T) / 2)
            except np.linalg.LinAlgError:
                return False
            d = np.diag(L)
            if turn == 0 and not d.min() > max(1e-4 * d.max(), least):
                return False
            couplings = couplings @ L
            W[:] = basis.combine(W, np.linalg.inv(L).T)
            Z = self._times_mass(W)
            # what is left of a cancellation is not orthogonal to working precision, nor is a block that was nearly flat
            if turn > 0 and np.abs(L - np.eye(width)).max() < 0.1:
                break
            if turn == 0 and d.min() > 0.3 * d.max() and np.all(d >= before / 4):
                break
            basis.project(self._V[:first], W, Z)
            Z = self._times_mass(W)
        self._V[first : first + width] = W
        self._T[first : first + width, j : j + width] = couplings.T
        self._pending += width
        self._image = np.concatenate([self._image, Z])
        return True

    def _add(self, W: np.ndarray, Z: np.ndarray, before: np.ndarray, j: int) -> None:
        """Orthonormal vectors for those that are left of the images of V[j:], as far as there is room."""
        first, images = self._filled + self._pending, []
        negligible = _NEGLIGIBLE * max(self._scale, np.finfo(np.float64).tiny)
        for i in range(W.shape[0]):
            place = first + len(images)
            if place == self._V.shape[0]:  # the subspace is the whole space
                break
            w, z = W[i], Z[i]
            if images:
                near = self._V[first:place]
                for _ in range(2):
                    h = near @ z
                    self._T[first:place, j + i] += h
                    w -= h @ near
                    z = w if self._mass is None else z - h @ np.array(images)
            square = float(w @ z)
            beta = float(np.sqrt(max(square, 0.0))) if not np.isnan(square) else np.nan
            if not np.isfinite(beta):
                raise NonFiniteError("a product with A overflowed in the Lanczos process; rescale A")
            if beta <= negligible:
                beta, z = 0.0, self._place(place, None)
            else:
                w /= beta
                z = w if self._mass is None else z / beta
                if beta < before[i] / 32:  # what is left of a cancellation is not orthogonal to working precision
                    for _ in range(2):
                        z = self._unit(w)[1]
                        w -= (self._V[:place] @ z) @ self._V[:place]
                    z = self._unit(w)[1]
                self._V[place] = w
            self._T[place, j + i] = beta
            images.append(z)
        self._pending += len(images)
        if self._mass is not None:
            self._image = np.concatenate([self._image, np.array(images).reshape(-1, self.n)])

    def vectors(self, count: int) -> np.ndarray:
        """The leading Ritz vectors of the active part as rows, (count, n), a new array."""
        self.work += 2.0 * count * self._S.shape[0] * self.n
        return basis.combine(self._V[self.locked : self._filled], self._S[:, :count])

    def vector(self, i: int) -> np.ndarray:
        """The i-th Ritz vector of the active part, (n,), a new array."""
        self.work += 2.0 * self._S.shape[0] * self.n
        return self._S[:, i] @ self._V[self.locked : self._filled]

    def images(self, count: int) -> np.ndarray:
        """F times the leading Ritz vectors, as rows, (count, n): no product is needed for it."""
        S = self._S[:, :count]
        C = np.concatenate([self.theta[:count] * S, self._coupling @ S])
        self.work += 2.0 * C.size * self.n
        return basis.combine(self._V[self.locked : self._filled + self._pending], C)

    def kept_vectors(self, count: int) -> np.ndarray:
        """The first ``count`` vectors of the active part after `restart`, as rows, a view."""
        return self._V[self.locked : min(self.locked + count, self._filled)]

    def locked_vectors(self) -> np.ndarray:
        """The locked vectors as rows, (locked, n), a view."""
        return self._V[: self.locked]

    def restart(self, keep: int) -> None:
        """Shrink the active part to its ``keep`` leading Ritz vectors and the residuals' directions."""
        q, m, pending = self.locked, self._filled, self._pending
        # where nothing is pending, the subspace is the whole space; else there must be room for a step
        keep = min(keep, m - q if pending == 0 else max(self.size - q - pending, 0), m - q)
        coupling = self._coupling @ self._S[:, :keep]
        self.work += 2.0 * keep * (m - q) * self.n
        basis.combine(self._V[q:m], self._S[:, :keep], self._V[q : q + keep])
        if pending:
            self._V[q + keep : q + keep + pending] = self._V[m : m + pending].copy()
        self._T[q:, :] = self._T[:, q:] = 0.0
        places = np.arange(q, q + keep)
        self._T[places, places] = self.theta[:keep]
        self._T[q + keep : q + keep + pending, q : q + keep] = coupling
        self._filled = q + keep
        self._fresh = True

    def lock(self, count: int) -> None:
        """Set the first ``count`` vectors of the active part aside, after `restart`: their coupling is dropped."""
        q = self.locked + count
        self._T[:q, :] = self._T[:, :q] = 0.0
        self.locked = q
        self.theta, self.residuals = self.theta[count:], self.residuals[count:]

    def make_room(self, size: int) -> None:
        """Let the subspace have ``size`` vectors, if it has fewer; to be called before `renew`, which it needs."""
        size = min(size, self.n)
        if size <= self.size:
            return
        kept = self.locked_vectors()
        rows = min(size + self._block, self.n)
        self._V = np.empty((rows, self.n))
        self._V[: self.locked] = kept
        self._T = np.zeros((rows, rows))
        self.size = size

    def renew(self) -> None:
        """Forget the active part and begin again from random vectors orthogonal to the locked ones.

        A copy of a multiple eigenvalue that the Krylov space so far could not hold may come in.
        """
        self._filled, self._pending = self.locked, 0
        self._T[self.locked :, :] = 0.0
        self._T[:, self.locked :] = 0.0
        self._begin(None)

    # -- vectors to begin with ---------------------------------------------------------------------------------

    def _begin(self, start: np.ndarray | None) -> None:
        """A block of unit vectors behind the locked ones: from ``start``, the others random."""
        given = np.empty((0, self.n)) if start is None else np.atleast_2d(start)
        images = []
        for i in range(min(self._block, self._V.shape[0] - self.locked)):
            images.append(self._place(self.locked + i, given[i] if i < len(given) else None))
        self._pending, self._fresh = len(images), True
        self._image = np.array(images).reshape(-1, self.n) if self._mass is not None else self._image

    def _place(self, j: int, start: np.ndarray | None) -> np.ndarray:
        """Make V[j] a unit vector orthogonal to those before it, from ``start``, else random; M times it."""
        basis = self._V[:j]
        v = np.zeros(self.n) if start is None else np.array(start, dtype=np.float64)
        for _ in range(20):
            length, z = self._unit(v)
            for _ in range(4 if length > 0 else 0):
                v -= (basis @ z) @ basis
                length, z = self._unit(v)
                if length > 0.7:  # orthogonal to working precision
                    self._V[j] = v
                    return z
                if length <= 100 * _EPS:
                    break
            v = self._rng.standard_normal(self.n)
        raise NonFiniteError("no vector of length 1 is left beside the basis; M must be positive definite and finite")

    def _unit(self, v: np.ndarray) -> tuple[float, np.ndarray]:
        """Scale v to length 1 in place: its length before, and M times it after."""
        z = v if self._mass is None else self._times_mass(v[None])[0]
        length = float(np.sqrt(max(float(v @ z), 0.0)))
        if not length > 0 or not np.isfinite(length):
            return 0.0, z
        v /= length
        return length, v if self._mass is None else z / length

    # -- products ----------------------------------------------------------------------------------------------

    def _product(self, j: int, width: int) -> np.ndarray:
        """F V[j : j + width], as columns."""
        V = self._V[j : j + width] if self._mass is None else self._image[:width]
        X = self._apply(V[0])[:, None] if self._block == 1 else self._apply(basis.transposed(V))
        return np.asarray(X, dtype=np.float64)

    def _times_mass(self, W: np.ndarray) -> np.ndarray:
        assert self._mass is not None
        return basis.transposed(self._mass(basis.transposed(W)))
