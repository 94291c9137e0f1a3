"""Flexible conjugate gradients: for preconditioners that are not linear, not symmetric, or change as they go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.krylov.cg import CGResult, ConjugateGradients
from nnla.operators.arrays import as_row, inner
from nnla.types import Status

__all__ = ["MEMORY", "FlexibleConjugateGradients"]

MEMORY = 8  # directions that a new one is made A-orthogonal to


class FlexibleConjugateGradients(ConjugateGradients):
    """CG whose directions are made A-orthogonal to the last few explicitly, whatever M is.

    Parameters
    ----------
    A, b, options : as `nnla.krylov.cg.ConjugateGradients` takes them, without ``one_reduction``
    M : callable r -> M r, any function of r
    memory : directions that a new one is made orthogonal to

    Notes
    -----
    Guaranteed for symmetric positive definite A, in exact arithmetic: the A-norm of the error falls with every step,
    by at least the factor sin(angle) of steepest descent along M r, where the angle is that between M r and the error
    in the A-inner product; with an M that is linear and SPD it is CG. A step that is orthogonal to the residual ends
    in `Status.BREAKDOWN`. Its coefficients are no Lanczos coefficients: it does not serve as a probe.

    Cost per iteration and column: one product, one application of M, ``memory`` + 2 inner products in two groups.
    Memory: 2 ``memory`` arrays of b's shape beside those of CG.

    References
    ----------
    Notay, Flexible conjugate gradients, SIAM J. Sci. Comput. 22 (2000), algorithm FCG(m) and theorem 2.1; Golub, Ye,
    Inexact preconditioned conjugate gradient method with inner-outer iteration, SIAM J. Sci. Comput. 21 (1999).

    Examples
    --------
    >>> A, b, rng = np.diag([1.0, 2.0, 3.0]), np.ones(3), np.random.default_rng(0)
    >>> M = lambda r: rng.uniform(0.5, 1.5) * r
    >>> cg = FlexibleConjugateGradients(lambda v: A @ v, b, x=np.zeros(3), residual=b.copy(), targets=1e-12, M=M)
    >>> cg.advance(5).status.value, cg.result.iterations
    ('converged', 3)
    """

    def __init__(self, A: Callable[[Any], Any], b: Any, *, memory: int = MEMORY, **options: Any) -> None:
        super().__init__(A, b, **options)
        self._last: deque[tuple[Any, Any, np.ndarray]] = deque(maxlen=memory)  # p_i, A p_i, (A p_i, p_i)

    def couple(self) -> CGResult:
        """Without an effect: there are no Lanczos coefficients here."""
        return self.result

    def _direction(self) -> bool:
        p = self._r * 1.0 if self._M is None else self._M(self._r) * 1.0
        projections = [np.atleast_1d(inner(p, s)) / curvature for _, s, curvature in self._last]
        for (direction, _, _), beta in zip(self._last, projections, strict=True):
            p -= as_row(beta, p) * direction  # p_k = z_k - sum_i (z_k, A p_i) / (p_i, A p_i) p_i
        self._p, self._s = p, self._A(p)
        curvature, along = np.atleast_1d(inner(p, self._s)), np.atleast_1d(inner(p, self._r))
        self.result.reductions += 2
        failed = ~np.isfinite(along) | (along == 0)
        if failed.any():
            self._note(Status.BREAKDOWN)
        if not self._lengths(along, along, curvature, failed):
            return False
        self._last.append((self._p, self._s, np.where(self._failed, 1.0, curvature)))
        return True

    def _keep(self, keep: np.ndarray) -> None:
        super()._keep(keep)
        if not keep.all():
            index = np.flatnonzero(keep).tolist()
            kept = [(p[:, index] * 1.0, s[:, index] * 1.0, curvature[keep]) for p, s, curvature in self._last]
            self._last = deque(kept, maxlen=self._last.maxlen)
