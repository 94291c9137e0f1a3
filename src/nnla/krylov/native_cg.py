"""The conjugate gradients of `nnla.krylov.cg` for one right-hand side, run by the native kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.errors import TimeLimitError
from nnla.kernels import native
from nnla.kernels.system import NativeSystem
from nnla.krylov.cg import CGResult, ended_by
from nnla.krylov.deflated_cg import Harvest
from nnla.operators.arrays import norm
from nnla.types import Status

__all__ = ["NativeConjugateGradients"]

_REACHED, _ITERATIONS, _NOT_FINITE, _CURVATURE, _PRECONDITIONER, _STALLED = range(6)
# Iterations after which a matrix of runs is brought into slices, for plain CG and with a preconditioner: an easy
# system is solved by then, and laying out costs four products.
_PATIENCE = (16, 6)

_LOOK = 25  # iterations between looks at other norms than the 2-norm, where only those are left to reach


class NativeConjugateGradients:
    """`nnla.krylov.cg.ConjugateGradients` for a vector, with the same decisions and the same result.

    Parameters
    ----------
    system : the matrix
    true_residual : x -> b - A x
    x, residual : (n,) iterate and its residual, both overwritten
    target : absolute residual norm to reach
    size : norm that the history is relative to
    M : native preconditioner, or None
    inverse : (n,) inverse diagonal, for Jacobi's preconditioner; not beside M
    count : called with the products with A and the applications of M that were done since it was called last
    one_reduction, stall, callback, judge, best : as there, judge without the numbers of columns
    harvest : given the Lanczos vectors

    Raises
    ------
    TimeLimitError, and what handlers of signals raise
        Out of `advance`; `result` is that of the last whole iteration, and the next `advance` restarts from there.

    Attributes
    ----------
    result : CGResult
    """

    def __init__(
        self,
        system: NativeSystem,
        true_residual: Callable[[np.ndarray], np.ndarray],
        *,
        x: np.ndarray,
        residual: np.ndarray,
        target: float,
        size: float,
        M: Any = None,
        inverse: np.ndarray | None = None,
        count: Callable[[int, int], None] | None = None,
        one_reduction: bool = False,
        stall: int | None = None,
        callback: Callable[[Any], None] | None = None,
        judge: Callable[[np.ndarray], float] | None = None,
        best: np.ndarray | None = None,
        harvest: Harvest | None = None,
    ) -> None:
        self.result = CGResult(x, residual, best=best)
        self._cg: Any = native.ConjugateGradients(system.product(), M, inverse)
        self._system, self._true_residual, self._target, self._size = system, true_residual, target, size
        self._one_reduction, self._stall, self._callback, self._count = one_reduction, stall or 0, callback, count
        self._patience = _PATIENCE[0 if M is None else 1]
        self._undecided = True  # whether to go over to slices
        self._judge, self._others = judge or norm, judge is not None
        self._reach = target  # the 2-norm to reach next
        if best is not None:
            self._cg.best_norm = float(norm(residual))
        self._restart, self._last_true, self._checks = True, np.inf, 0
        self._counted = (0, 0)
        self._harvest = harvest
        if harvest is not None:
            harvest.attach(self._cg)

    def advance(self, iterations: int) -> CGResult:
        """Go on until everything has ended, or for so many more iterations: status MAXITER then, and it can go on."""
        result, most = self.result, self._cg.iterations + iterations
        result.last_beta = None
        try:
            result.status = self._advance(most)
        finally:
            self._collect()
            if self._harvest is not None:
                self._harvest.take(self._cg, goes_on=False)
        return result

    def give_up_after(self, stall: int | None) -> None:
        """From now on end where the residual has not fallen by a tenth in so many iterations."""
        self._stall = stall or 0

    def couple(self) -> CGResult:
        """Find ``last_beta``, which the last Lanczos coefficient needs. Cost: an application of M."""
        if self.result.status is Status.MAXITER and self.result.alpha:
            self.result.last_beta = self._cg.next_beta()
            self._collect()
        return self.result

    def _advance(self, most: int) -> Status:
        cg, x, residual, best = self._cg, self.result.x, self.result.residual, self.result.best
        while True:
            done = cg.iterations
            limit = most - done
            if self._callback is not None:
                limit = min(limit, 1)
            elif self._undecided:
                limit = min(limit, max(self._patience - done, 1))
            if self._reach < self._target:
                limit = min(limit, _LOOK)
            try:
                if self._harvest is not None:
                    self._harvest.take(cg)
                    limit = min(limit, self._harvest.room)
                ending = cg.run(x, residual, self._reach, limit, self._stall, self._one_reduction, self._restart, best)
            except TimeLimitError:
                return Status.TIMEOUT
            self._restart = False
            if self._callback is not None and cg.iterations > done:
                self._callback(x.copy())  # which may keep it, or write into it
            if ending == _ITERATIONS:
                if self._reach < self._target and float(self._judge(residual)) <= self._target:
                    self._reach = np.inf  # reached, whatever the 2-norm says: let the true residual be asked
                    continue
                if cg.iterations >= most:
                    return Status.MAXITER
                if self._undecided and cg.iterations >= self._patience:
                    self._undecided = False
                    if self._system.worth_slicing:
                        cg.use(self._system.product(sliced=True))
            elif ending == _REACHED:
                if self._others and self._reach > 0 and not self._judge(residual) <= self._target:
                    self._reach = 0.1 * min(self._reach, cg.norms[-1]) if cg.iterations else 0.1 * self._reach
                    if cg.iterations >= most:
                        return Status.MAXITER
                    continue
                true = self._true_residual(x)
                size = float(self._judge(true))
                self._checks += 1
                residual[:] = true
                if size <= self._target:
                    return Status.CONVERGED
                if not size < 0.5 * self._last_true:
                    return Status.STAGNATION
                self._last_true, self._restart, self._reach = size, True, self._target
            elif ending == _NOT_FINITE:
                return Status.BREAKDOWN
            elif ending == _STALLED:
                return Status.STAGNATION
            else:
                return ended_by(cg.failed_value, Status.INDEFINITE if ending == _CURVATURE else Status.BREAKDOWN)

    def _collect(self) -> None:
        cg, result = self._cg, self.result
        result.iterations = cg.iterations
        if result.best is not None:
            result.best_norms = np.array([cg.best_norm])
        result.alpha, result.beta, result.first = cg.alphas, cg.betas[1:], cg.norms
        result.history = [norm / self._size for norm in result.first]
        result.reductions = cg.reductions + self._checks
        if self._count is not None:
            products, applies = self._counted
            self._counted = (cg.products, cg.applies)
            self._count(cg.products - products, cg.applies - applies)
