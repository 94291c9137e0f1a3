"""A bounded subspace that grows by blocks of vectors, with its products and its Rayleigh-Ritz pairs."""

from __future__ import annotations

import numpy as np

from nnla.eigen.block_products import BlockProducts
from nnla.errors import NonFiniteError
from nnla.kernels.basis import combine, products

__all__ = ["RitzBasis"]

_DEPENDENT = 1e-13  # eigenvalue of a Gram matrix of unit vectors, and share of a vector, that is lost to rounding


class RitzBasis:
    """Orthonormal rows V, their products with B, and the eigenpairs of the projected problem, the smallest first.

    Parameters
    ----------
    products : BlockProducts of B
    n : length of the vectors
    size : vectors at most, 1 to n

    Attributes
    ----------
    size
    filled : vectors so far
    theta : (filled,) Ritz values, increasing
    flops : spent on orthogonality and Ritz vectors

    Notes
    -----
    Storage: ``2 size`` vectors and those of `pairs`. The basis is rotated to Ritz vectors only where it is full.
    """

    def __init__(self, products: BlockProducts, n: int, size: int) -> None:
        self._products = products
        self._V, self._BV = np.empty((size, n)), np.empty((size, n))
        self._H = np.zeros((size, size))
        self._S = np.empty((0, 0))
        self._work: dict[str, np.ndarray] = {}
        self.theta = np.empty(0)
        self.size, self.filled, self.flops = size, 0, 0.0

    @property
    def n(self) -> int:
        """Length of the vectors."""
        return self._V.shape[1]

    @property
    def complete(self) -> bool:
        """Whether the subspace is the whole space."""
        return self.filled == self.n

    def extend(self, W: np.ndarray, keep: int = 0) -> int:
        """Add the span of the rows of W (b, n), which is overwritten; how many vectors that were.

        Where they do not fit, the subspace is cut down to its ``keep`` leading Ritz vectors first.

        Cost: a product a vector, and some ``8 n b (filled + b)`` operations.
        """
        if self.filled + len(W) > self.size:
            self._restart(min(keep, self.size - len(W)))
        W = self._orthonormal(W)
        m, end = self.filled, self.filled + len(W)
        self._V[m:end] = W
        new = self._products.product(self._V[m:end], self._BV[m:end])
        if not np.isfinite(new).all():
            raise NonFiniteError("a product with A overflowed; rescale A")
        self.filled = end
        self._project(m)
        return end - m

    def refresh(self) -> None:
        """Make the products anew. Cost: one for each vector."""
        m = self.filled
        self._products.product(self._V[:m], self._BV[:m])
        self._project(0)

    def pairs(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Ritz vectors x, B x, ``B x - theta x`` and its norms: (last - first, n) each, valid until the next call.

        Cost: ``4 n (last - first) filled`` operations.
        """
        m, n, count = self.filled, self.n, last - first
        S = np.ascontiguousarray(self._S[:, first:last].T)
        X = np.matmul(S, self._V[:m], out=self._buffer("X", count))
        BX = np.matmul(S, self._BV[:m], out=self._buffer("BX", count))
        R = np.multiply(X, -self.theta[first:last, None], out=self._buffer("R", count))
        R += BX
        self.flops += 4.0 * n * count * m
        return X, BX, R, np.sqrt(np.einsum("ij,ij->i", R, R))

    def _buffer(self, name: str, count: int) -> np.ndarray:
        held = self._work.get(name)
        if held is None or len(held) < count:
            held = self._work[name] = np.empty((count, self.n))
        return held[:count]

    def _project(self, first: int) -> None:
        """The projected problem, whose rows before ``first`` are known."""
        m = self.filled
        new = products(self._BV[first:m], self._V[:m])
        self.flops += 2.0 * self.n * (m - first) * m
        self._H[first:m, :m] = new
        self._H[:first, first:m] = new[:, :first].T
        corner = self._H[first:m, first:m]
        corner[:] = (corner + corner.T) / 2
        self.theta, self._S = np.linalg.eigh(self._H[:m, :m])

    def _restart(self, keep: int) -> None:
        m = self.filled
        keep = min(keep, m)
        for rows in (self._V, self._BV):
            combine(rows[:m], self._S[:, :keep], rows[:keep])
        self.flops += 4.0 * self.n * keep * m
        self.filled = keep
        self._H[:keep, :keep] = np.diag(self.theta[:keep])
        self.theta, self._S = self.theta[:keep], np.eye(keep)

    def _orthonormal(self, W: np.ndarray) -> np.ndarray:
        """An orthonormal basis of what the rows of W have beyond the subspace, but for directions lost to rounding.

        Twice at least: what is left of a cancellation is not orthogonal to working precision.
        """
        V = self._V[: self.filled]
        for turn in range(4):
            if len(W) == 0:
                break
            before = np.sqrt(np.einsum("ij,ij->i", W, W))
            if len(V):
                W -= np.matmul(W @ V.T, V, out=self._buffer("W", len(W)))
            gram = W @ W.T
            self.flops += 4.0 * self.n * len(W) * (len(V) + len(W))
            lengths = np.sqrt(np.diag(gram))
            new = lengths > _DEPENDENT * before  # what is left is not only rounding
            lengths[~new] = np.inf
            sizes, U = np.linalg.eigh(gram / lengths / lengths[:, None])
            good = sizes > _DEPENDENT * len(W)
            apart = bool(good.all()) and sizes[0] > 0.25 * sizes[-1]
            W = (U[:, good] / np.sqrt(sizes[good]) / lengths[:, None]).T @ W
            if turn and apart:
                break
        return W
