"""The loop with exact products bound to a matrix, or to its diagonal blocks: preconditioners that are not linear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnla.errors import NotPositiveDefiniteError, OptionError
from nnla.models.nlaformer_exact import ExactLoop, ExactLoopConfig
from nnla.models.nlaformer_exact_guard import family_test
from nnla.operators.bound_polynomial import CallableOperator
from nnla.operators.operator import Operator
from nnla.types import Kind

__all__ = ["BlockLoops", "LoopPreconditioner"]

_LARGEST = 512  # unknowns of a block
_MEMORY = 2**28  # bytes of all blocks


class _Loops(CallableOperator):
    """r -> M r by columns, for a loop over some systems at once.

    Attributes
    ----------
    kind : `Kind.NONLINEAR`
    applies, products : so far; products with A, or with its blocks taken together
    """

    kind = Kind.NONLINEAR

    def __init__(
        self, parameters: Mapping[str, Any], config: ExactLoopConfig, op: Operator, loops: int, guard: bool
    ) -> None:
        self.parameters, self.config = parameters, config
        self.operator, self.loops, self.guard = op, loops, guard
        self.applies = self.products = 0
        super().__init__(dtype=np.dtype(np.float64), shape=op.shape)

    def __call__(self, r: Any) -> Any:
        """M r for (n,) or (n, k)."""
        op = self.operator
        own = op.space.host(op.as_vector(r))
        columns = own.reshape(op.n, -1)
        out = np.zeros_like(columns)
        with np.errstate(all="ignore"):
            for j in range(columns.shape[1]):
                self.applies += 1
                self.products += self.loops * self.config.channels
                size = float(np.abs(columns[:, j]).max(initial=0.0))
                if size > 0:
                    exponent = int(np.frexp(size)[1])
                    z = self._about_inverse(np.ldexp(columns[:, j], -exponent))
                    out[:, j] = np.ldexp(np.where(np.isfinite(z), z, 0.0), exponent)
        return op.space.own(out.reshape(own.shape))

    def _about_inverse(self, r: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _run(self, product: Any, column: Any, diagonal: np.ndarray, b: np.ndarray) -> np.ndarray:
        test = family_test(column, diagonal, b)
        test = test if self.guard else test.taken()
        loop = ExactLoop(self.parameters, self.config, product, diagonal, b, ~test.inside, test.directions())
        for _ in range(self.loops):
            loop.advance()
        return loop.answer()


class LoopPreconditioner(_Loops):
    """r -> about A^-1 r, by some loops with products with A.

    Parameters
    ----------
    parameters, config : of `nnla.models.nlaformer_exact.ExactLoop`
    op : A, with a diagonal
    loops : of an application
    guard : whether matrices unlike those of the training start as conjugate gradients

    Raises
    ------
    OptionError
        The operator does not know its diagonal.
    """

    def __init__(
        self, parameters: Mapping[str, Any], config: ExactLoopConfig, op: Operator, loops: int, guard: bool
    ) -> None:
        super().__init__(parameters, config, op, loops, guard)
        diagonal = op.scaling_diagonal()
        if diagonal is None:
            raise OptionError("the loop reads the diagonal of A, which this operator does not offer; pass its entries")
        diagonal = op.space.host(diagonal)
        if not np.all(diagonal > 0):
            raise NotPositiveDefiniteError("a diagonal entry of A is not positive; the loop is for definite A")
        # a power of two between A and numbers of moderate size
        self._exponent = int(np.frexp(diagonal.max())[1])
        self._diagonal = np.ldexp(diagonal, -self._exponent)[None]

    def _about_inverse(self, r: np.ndarray) -> np.ndarray:
        op = self.operator

        def product(V: np.ndarray) -> np.ndarray:
            images = op.space.host(op.matvec(op.space.own(np.ascontiguousarray(V[0]))))
            return np.ldexp(images, -self._exponent)[None]

        z = self._run(product, self._column, self._diagonal, r[None])[0]
        return np.ldexp(z, -self._exponent)

    def _column(self, systems: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Columns of A: read where its entries are known, else products with unit vectors, which count."""
        op = self.operator
        unit = np.zeros((op.n, len(columns)))
        unit[columns, np.arange(len(columns))] = 1.0
        matrix = op.matrix if isinstance(op.matrix, np.ndarray) else op.csr
        found = op.space.host(op.matvec(op.space.own(unit))) if matrix is None else matrix @ unit
        return np.ldexp(found, -self._exponent).T


class BlockLoops(_Loops):
    """r -> the diagonal blocks' inverses, about, times r: each by some loops, all blocks at once.

    Parameters
    ----------
    parameters, config, op, loops, guard : as of `LoopPreconditioner`; the guard is asked for every block
    size : unknowns of a block; the last one may be smaller, and is filled up with the identity

    Raises
    ------
    OptionError
        A has no entries, or the blocks are too large.
    NotPositiveDefiniteError
        A diagonal entry is not positive.
    """

    def __init__(
        self, parameters: Mapping[str, Any], config: ExactLoopConfig, op: Operator, size: int, loops: int, guard: bool
    ) -> None:
        super().__init__(parameters, config, op, loops, guard)
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not 1 <= size <= _LARGEST:
            raise OptionError(f"size must be a whole number from 1 to {_LARGEST}, got {size!r}")
        A, size = op.entries(), min(int(size), op.n)
        if A is None:
            raise OptionError("block-Jacobi needs the entries of A; pass a NumPy or SciPy matrix")
        count = -(-op.n // size)
        if 8 * count * size * size > _MEMORY:
            raise OptionError(f"{count} blocks of {size} unknowns take more than 256 MB; take a smaller size")
        exponents = np.frexp(np.maximum(A.diagonal(), 0))[1]
        self._exponent = int(exponents.max())
        blocks = np.zeros((count * size, size))
        rows = np.repeat(np.arange(op.n), np.diff(A.indptr))
        same = rows // size == A.indices // size
        blocks[rows[same], A.indices[same] % size] = np.ldexp(A.data[same], -self._exponent)
        filled = np.arange(op.n, count * size)
        blocks[filled, filled % size] = 1.0
        self.blocks = blocks.reshape(count, size, size)
        self._diagonal = np.einsum("bii->bi", self.blocks)
        if not np.all(self._diagonal > 0):
            raise NotPositiveDefiniteError("a diagonal entry of A is not positive; the loop is for definite A")

    def _about_inverse(self, r: np.ndarray) -> np.ndarray:
        count, size, _ = self.blocks.shape
        b = np.zeros(count * size)
        b[: len(r)] = r
        b = b.reshape(count, size)
        z = self._run(lambda V: self.blocks @ V, lambda s, j: self.blocks[s, :, j], self._diagonal, b)
        return np.ldexp(z.reshape(-1)[: len(r)], -self._exponent)
