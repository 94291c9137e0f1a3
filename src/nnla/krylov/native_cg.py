"""The conjugate gradients of `nnla.krylov.cg` for one right-hand side, run by the native kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnla.kernels import native
from nnla.kernels.system import NativeSystem
from nnla.krylov.cg import CGResult, ended_by
from nnla.operators.arrays import norm
from nnla.types import Status

__all__ = ["native_conjugate_gradients"]

_REACHED, _ITERATIONS, _NOT_FINITE, _CURVATURE, _PRECONDITIONER, _STALLED = range(6)
# Iterations after which a matrix of runs is brought into slices, for plain CG and with a preconditioner: an easy
# system is solved by then, and laying out costs four products.
_PATIENCE = (16, 6)


def native_conjugate_gradients(
    system: NativeSystem,
    true_residual: Callable[[np.ndarray], np.ndarray],
    *,
    x: np.ndarray,
    residual: np.ndarray,
    target: float,
    size: float,
    maxiter: int,
    M: Any = None,
    inverse: np.ndarray | None = None,
    one_reduction: bool = False,
    stall: int | None = None,
    callback: Callable[[Any], None] | None = None,
    extend: Callable[[CGResult], int] | None = None,
    probing: bool = False,
) -> tuple[CGResult, int, int]:
    """`nnla.krylov.cg.conjugate_gradients` for a vector, with the same decisions and the same result.

    Parameters
    ----------
    system : the matrix
    true_residual : x -> b - A x
    M : native preconditioner, or None
    inverse : (n,) inverse diagonal, for Jacobi's preconditioner; not beside M
    probing : the last Lanczos coefficient is wanted too
    The others are those of `nnla.krylov.cg.conjugate_gradients`.

    Returns
    -------
    CGResult, and the products with A and applications of M that it took
    """
    result = CGResult(x, residual)
    cg = native.ConjugateGradients(system.product(), M, inverse)
    last_true, restart, done = np.inf, True, 0
    status = Status.CONVERGED
    patience = _PATIENCE[0 if M is None else 1]
    undecided = True  # whether to go over to slices
    while True:
        limit = maxiter - done
        if callback is not None:
            limit = min(limit, 1)
        elif undecided:
            limit = min(limit, max(patience - done, 1))
        ending = cg.run(x, residual, target, limit, stall or 0, one_reduction, restart)
        restart = False
        ran = cg.iterations - done
        done = cg.iterations
        if callback is not None and ran:
            callback(x)
        if ending == _ITERATIONS and done < maxiter:
            if undecided and done >= patience:
                undecided = False
                if system.worth_slicing:
                    cg.use(system.product(sliced=True))
            continue
        if ending == _ITERATIONS and extend is not None:
            _collect(result, cg, size)
            maxiter = max(maxiter, extend(result))
            if done < maxiter:
                continue
        if ending == _REACHED:
            true = true_residual(x)
            size_now = float(norm(true))
            result.reductions += 1
            residual[:] = true
            if size_now <= target:
                break
            if not size_now < 0.5 * last_true:
                status = Status.STAGNATION
                break
            last_true, restart = size_now, True
            continue
        if ending == _ITERATIONS:
            status = Status.MAXITER
        elif ending == _NOT_FINITE:
            status = Status.BREAKDOWN
        elif ending == _STALLED:
            status = Status.STAGNATION
        else:
            status = ended_by(cg.failed_value, Status.INDEFINITE if ending == _CURVATURE else Status.BREAKDOWN)
        break
    _collect(result, cg, size)
    result.status = status
    if probing and status is Status.MAXITER and result.alpha:  # costs an application of M
        result.last_beta = cg.next_beta()
    result.reductions += cg.reductions
    return result, cg.products, cg.applies


def _collect(result: CGResult, cg: Any, size: float) -> None:
    result.iterations = cg.iterations
    result.alpha, result.beta, result.first = cg.alphas, cg.betas[1:], cg.norms
    result.history = [norm / size for norm in result.first]
