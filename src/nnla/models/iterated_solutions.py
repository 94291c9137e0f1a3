"""What models that answer small definite systems iteration by iteration share: one size, and their last answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.models.dense_solutions import DenseSystemEngine
from nnla.models.engine_base import whole
from nnla.operators.arrays import namespace

__all__ = ["IteratedEngine", "possible_sizes", "where_symmetric"]

_ROUNDING = 1e-6  # of entries that are meant to be equal, A in float32 too


def possible_sizes(config: Any) -> bool:
    """Whether ``n`` and ``loops`` of a config make sense."""
    return whole(config.n, config.loops) and 2 <= config.n <= 256 and config.loops <= 1000


def where_symmetric(A: Any, x: Any) -> Any:
    """x (B, n, k) where A (B, n, n) is symmetric but for rounding and its diagonal is positive, else NaN.

    Examples
    --------
    >>> where_symmetric(np.array([[[1.0, 0.5], [0.0, 1.0]]]), np.ones((1, 2, 1)))[0, :, 0].tolist()
    [nan, nan]
    """
    xp = namespace(A)
    apart = xp.abs(A - A.swapaxes(-1, -2)).sum((-1, -2)) <= _ROUNDING * xp.abs(A).sum((-1, -2))
    fits = apart & (A.diagonal(0, -2, -1) > 0).all(-1)
    return xp.where(fits[:, None, None], x, xp.full_like(x, np.nan))


class IteratedEngine(DenseSystemEngine):
    """A model whose config has one size ``n`` and a number of ``loops``; it brings ``path``, the answers of all."""

    task = "iterated solutions"

    @property
    def sizes(self) -> tuple[int, ...]:
        """The one size that it was trained on."""
        return (self.config.n,)

    @property
    def loops(self) -> int:
        """Iterations of the training."""
        return self.config.loops

    def path(self, A: Any, b: Any) -> list[Any]:
        """x_t (B, n), t = 0, ..., loops, for matrices (B, n, n) and right-hand sides (B, n) in any unit."""
        raise NotImplementedError

    def last(self, A: Any, b: Any) -> Any:
        """x_T (B, n) alone."""
        return self.path(A, b)[-1]

    def answer(self, A: Any, b: Any) -> Any:
        """x (B, n, k) for matrices (B, n, n) and right-hand sides (B, n, k); NaN where A is not symmetric."""
        x = namespace(A).stack([self.last(A, b[..., j]) for j in range(b.shape[-1])], -1)
        return where_symmetric(A, x)
