"""How a batch of small matrices lies in memory: matrix by matrix, or entry by entry where matrices are tiny.

A product of 3 x 3 matrices takes a library longer to call than to compute. With the batch as the last axis the same
products are a few operations on long rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.operators.arrays import is_torch, namespace

__all__ = ["ENTRIES", "MATRICES", "Entries", "Matrices", "layout_of"]

_TINY = 6  # rows up to which entries go by rows; measured on one core with AVX2


class Matrices:
    """(B, n, n): NumPy arrays and torch tensors.

    Attributes
    ----------
    at_a_time : entries of matrices that are worked on at a time, so that they stay in the cache
    """

    at_a_time = 1 << 15

    def into(self, A: Any) -> Any:
        """Matrices (B, n, n) in this layout."""
        return A

    def back(self, M: Any) -> Any:
        """Matrices of this layout as (B, n, n)."""
        return M

    def size(self, M: Any) -> int:
        """n."""
        return int(M.shape[-1])

    def count(self, M: Any) -> int:
        """B."""
        return int(M.shape[0])

    def each(self, v: Any) -> Any:
        """Numbers (B,), or one, as factors of matrices."""
        return v[:, None, None] if getattr(v, "ndim", 0) else v

    def product(self, M: Any, N: Any) -> Any:
        """M N."""
        return M @ N

    def dot(self, M: Any, N: Any) -> Any:
        """Traces of M' N, (B,)."""
        if is_torch(M):
            return (M * N).sum((-2, -1))
        return np.einsum("bk,bk->b", M.reshape(len(M), -1), N.reshape(len(N), -1))

    def trace(self, M: Any) -> Any:
        """(B,)"""
        return namespace(M).einsum("bii->b", M)

    def largest(self, M: Any) -> Any:
        """Largest entries by size, (B,)."""
        flat = namespace(M).abs(M).reshape(M.shape[0], -1)
        return flat.amax(1) if is_torch(M) else flat.max(1)

    def add_identity(self, M: Any, c: Any) -> Any:
        """M + c I in place, c a number or (B,)."""
        c = c[:, None] if getattr(c, "ndim", 0) else c
        if is_torch(M):
            M.diagonal(dim1=-2, dim2=-1).add_(c)
        else:
            diagonal = np.einsum("bii->bi", M)  # a view
            diagonal += c
        return M

    def take(self, M: Any, i: Any) -> Any:
        """Some of the matrices: a copy, or all of them as they are."""
        return M if i is None else M[i]

    def put(self, M: Any, i: Any, values: Any) -> None:
        """Replace them in place."""
        M[slice(None) if i is None else i] = values

    def weighted(self, c: list[Any], M: list[Any]) -> Any:
        """c_0 I + c_1 M_1 + ..., c numbers (B,) each."""
        total = self.each(c[1]) * M[0]
        for one, N in zip(c[2:], M[1:], strict=True):
            total += self.each(one) * N
        return total if c[0] is None else self.add_identity(total, c[0])


class Entries(Matrices):
    """(n, n, B): NumPy arrays alone."""

    at_a_time = 1 << 17

    def into(self, A: Any) -> Any:
        return np.ascontiguousarray(np.moveaxis(A, 0, -1))

    def back(self, M: Any) -> Any:
        return np.ascontiguousarray(np.moveaxis(M, -1, 0))

    def size(self, M: Any) -> int:
        return len(M)

    def count(self, M: Any) -> int:
        return int(M.shape[-1])

    def each(self, v: Any) -> Any:
        return v

    def product(self, M: Any, N: Any) -> Any:
        total = M[:, 0, None] * N[0]
        part = np.empty_like(total)
        for j in range(1, len(M)):
            total += np.multiply(M[:, j, None], N[j], out=part)
        return total

    def dot(self, M: Any, N: Any) -> Any:
        n = len(M)
        return np.einsum("kb,kb->b", M.reshape(n * n, -1), N.reshape(n * n, -1))

    def trace(self, M: Any) -> Any:
        return sum(M[k, k] for k in range(1, len(M))) + M[0, 0]

    def largest(self, M: Any) -> Any:
        return np.abs(M).max((0, 1))

    def add_identity(self, M: Any, c: Any) -> Any:
        for k in range(len(M)):
            M[k, k] += c
        return M

    def take(self, M: Any, i: Any) -> Any:
        return M if i is None else M[..., i]

    def put(self, M: Any, i: Any, values: Any) -> None:
        M[..., slice(None) if i is None else i] = values


MATRICES, ENTRIES = Matrices(), Entries()


def layout_of(A: Any) -> Matrices:
    """The layout for a batch (B, n, n)."""
    return ENTRIES if not is_torch(A) and A.shape[-1] <= _TINY else MATRICES
