"""Conjugate gradients that checks itself: true residuals, restarts, breakdowns, blocks, one reduction.

One loop serves plain, Jacobi, incomplete-Cholesky and polynomial preconditioning, several right-hand
sides at once, NumPy and torch. It is also the probe: its coefficients are Lanczos coefficients.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.operators.arrays import inner, is_torch, norm, zeros_like
from nnla.types import Status

__all__ = ["CGResult", "conjugate_gradients", "ended_by", "lanczos_from_cg"]


@dataclass
class CGResult:
    """State at the end of a CG run: enough to report, to probe, or to go on from.

    Attributes
    ----------
    x, residual : iterate and recursive residual, of b's shape
    status : the worst `Status` over the columns
    iterations, reductions : counts of this run
    history : residual norm after each iteration, relative to ``sizes`` (largest over the columns)
    lead : the column whose coefficients are kept: the first that needed a step
    alpha, beta : its CG coefficients while it was active
    first : its residual norms, one per step
    last_beta : r_k'z_k / r_{k-1}'z_{k-1} after its last step; None when it left before the others
    """

    x: Any
    residual: Any
    status: Status = Status.CONVERGED
    iterations: int = 0
    reductions: int = 0
    history: list[float] = field(default_factory=list)
    alpha: list[float] = field(default_factory=list)
    beta: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    last_beta: float | None = None
    lead: int = 0


def conjugate_gradients(
    A: Callable[[Any], Any],
    b: Any,
    *,
    x: Any,
    residual: Any,
    targets: Any,
    maxiter: int,
    M: Callable[[Any], Any] | None = None,
    one_reduction: bool = False,
    stall: int | None = None,
    sizes: Any = 1.0,
    callback: Callable[[Any], None] | None = None,
    extend: Callable[[CGResult], int] | None = None,
) -> CGResult:
    """Preconditioned CG on A x = b from a given iterate.

    Parameters
    ----------
    A : callable v -> A v
    b : (n,) or (n, k)
    x, residual : iterate and its residual b - A x, both overwritten
    targets : absolute residual norms to reach, one per column
    maxiter : iterations
    M : callable r -> M r, symmetric positive definite; None for the identity
    one_reduction : Chronopoulos and Gear's form, one synchronisation an iteration instead of two; it
        rounds a little worse, which matters only for bad conditioning
    stall : give up on a column when its residual has not fallen by 10 % in so many iterations
    sizes : norms that the history is relative to, one per column
    callback : called with the iterate after each iteration
    extend : called when ``maxiter`` is reached, with the result so far; returns the iterations to do in all, and
        is asked again there, so that a probe can go on where it has not seen enough, without a restart

    Returns
    -------
    CGResult

    Notes
    -----
    Before a column counts as converged, b - A x is recomputed; where the recursive residual was too
    optimistic CG starts anew from the true one, and a column whose true residual no longer halves
    between two such checks has reached the limit of its precision (`Status.STAGNATION`).

    Cost per iteration and column: one product, one application of M. Memory beside x, residual and b: four
    arrays of b's shape at the peak (one more with one_reduction, one more with M, and what M needs); up to
    three more while some columns of a block have converged and others have not.

    References
    ----------
    Hestenes, Stiefel (1952); Chronopoulos, Gear, s-step iterative methods for symmetric linear
    systems, J. Comput. Appl. Math. 25 (1989).
    """
    result = CGResult(x, residual)
    targets = np.atleast_1d(np.asarray(targets, dtype=float))
    block = b.ndim == 2
    columns = np.arange(b.shape[1] if block else 1)  # the ones still at work
    latest = np.atleast_1d(norm(residual))  # residual norms of all columns
    r, p, s = residual, zeros_like(b), None
    gamma = alpha = np.ones(columns.size)
    last_true, best = np.full(columns.size, np.inf), np.full(columns.size, np.inf)
    best_at = np.zeros(columns.size, dtype=int)
    fresh, failed = np.ones(columns.size, dtype=bool), np.zeros(columns.size, dtype=bool)

    def note(status: Status) -> None:
        result.status = max(result.status, status, key=_SEVERITY.index)

    for k in itertools.count():
        rr = latest[columns]
        done = failed.copy()

        # -- converged? ask the true residual ----------------------------------------------------
        reached = ~done & (rr <= targets)
        if reached.any():
            true = b - A(x)
            true_norm = np.atleast_1d(norm(true))
            result.reductions += 1
            _assign(r, true, reached)
            rr = latest[columns] = np.where(reached, true_norm, rr)
            met = reached & (true_norm <= targets)
            stuck = reached & ~met & ~(true_norm < 0.5 * last_true)
            if stuck.any():
                note(Status.STAGNATION)
            last_true = np.where(reached, true_norm, last_true)
            fresh |= reached
            done |= met | stuck

        # -- hopeless? ---------------------------------------------------------------------------
        if not np.all(np.isfinite(rr)):
            note(Status.BREAKDOWN)
            done |= ~np.isfinite(rr)
        improved = rr < 0.9 * best
        best, best_at = np.where(improved, rr, best), np.where(improved, k, best_at)
        if stall is not None and np.any(~done & (k - best_at > stall)):
            note(Status.STAGNATION)
            done |= k - best_at > stall

        # -- columns that are done leave --------------------------------------------------------
        if done.any():
            if block:
                _assign_columns(result.x, columns[done], x, done)
                _assign_columns(result.residual, columns[done], r, done)
            keep = ~done
            columns = columns[keep]
            if columns.size == 0:
                return result
            x, r, b, p = (_take(v, keep) for v in (x, r, b, p))
            s = None if s is None else _take(s, keep)
            targets, gamma, alpha, fresh = targets[keep], gamma[keep], alpha[keep], fresh[keep]
            last_true, best, best_at = last_true[keep], best[keep], best_at[keep]
        if k == maxiter and extend is not None:
            maxiter = max(maxiter, extend(result))
        if k == maxiter:
            note(Status.MAXITER)
            break

        # -- direction -----------------------------------------------------------------------------
        u = r if M is None else M(r)
        new_gamma = np.atleast_1d(inner(r, u))
        failed = ~(new_gamma > 0)  # r'Mr <= 0: M is not positive definite; NaN counts
        if failed.any():
            note(ended_by(new_gamma[failed], Status.BREAKDOWN))
        beta = np.where(fresh | failed, 0.0, new_gamma / gamma)
        if k == 0:
            result.lead = int(columns[0])
        if columns[0] == result.lead and result.alpha:
            result.beta.append(float(beta[0]))
        _scale_and_add(p, beta, u)
        if one_reduction:
            w = A(u)
            if s is None:
                s = zeros_like(w)
            _scale_and_add(s, beta, w)
            curvature = np.atleast_1d(inner(u, w)) - np.where(fresh, 0.0, beta * new_gamma / alpha)
            if np.any(~failed & ~(curvature > 0)):  # cancellation, or an indefinite A: ask directly
                s = A(p)
                curvature = np.atleast_1d(inner(p, s))
                result.reductions += 1
        else:
            s = A(p)
            curvature = np.atleast_1d(inner(p, s))
        result.reductions += 1 if one_reduction else 2
        flat = ~failed & ~(curvature > 0)  # p'Ap <= 0: A is not positive definite
        if flat.any():
            note(ended_by(curvature[flat], Status.INDEFINITE))
        failed |= flat
        if failed.all():
            continue
        if failed.any():
            _clear(p, failed)
            _clear(s, failed)
        gamma = new_gamma
        alpha = np.where(failed, 0.0, gamma / np.where(failed, 1.0, curvature))
        fresh[:] = False

        # -- step ----------------------------------------------------------------------------------
        _add(x, alpha, p)
        _add(r, -alpha, s)
        latest[columns] = np.atleast_1d(norm(r))
        result.iterations += 1
        result.history.append(float(np.max(latest / sizes)))
        if columns[0] == result.lead and not failed[0]:
            result.alpha.append(float(alpha[0]))
            result.first.append(float(latest[result.lead]))
        if callback is not None:
            if block:
                _assign_columns(result.x, columns, x, np.ones(columns.size, dtype=bool))
            callback(result.x)

    if block:
        everything = np.ones(columns.size, dtype=bool)
        _assign_columns(result.x, columns, x, everything)
        _assign_columns(result.residual, columns, r, everything)
    if columns[0] == result.lead and result.alpha and not failed[0]:
        last = np.atleast_1d(inner(r, r if M is None else M(r)))
        result.last_beta = float(last[0] / gamma[0])
    return result


def lanczos_from_cg(alpha: list[float], beta: list[float], last_beta: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Lanczos coefficients from CG's: T_jj = 1/a_j + b_{j-1}/a_{j-1}, T_{j,j+1} = sqrt(b_j)/a_j.

    Parameters
    ----------
    alpha : k step lengths
    beta : k - 1 (or more) direction coefficients
    last_beta : r_k'z_k / r_{k-1}'z_{k-1} after the last step. None if unknown: the last step is then left
        out, as a coupling of zero would declare the Krylov space exhausted

    Returns
    -------
    (alpha, beta) of Lanczos, both (k,) or (k - 1,)

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 6.7.3.
    """
    a = np.array(alpha)
    if last_beta is None and a.size > 1:
        a, last_beta = a[:-1], beta[a.size - 2]
    b = np.append(np.array(beta)[: a.size - 1], max(last_beta or 0.0, 0.0))
    diagonal = 1 / a
    diagonal[1:] += b[:-1] / a[:-1]
    return diagonal, np.sqrt(b) / a


def ended_by(values: Any, negative: Status) -> Status:
    """What an inner product that should be positive says: NaN, a negative value, or underflow to zero."""
    if not np.all(np.isfinite(values)):
        return Status.BREAKDOWN
    return negative if np.any(values < 0) else Status.STAGNATION


# -- columns of blocks, NumPy or torch ----------------------------------------------------------------

_SEVERITY = (Status.CONVERGED, Status.MAXITER, Status.STAGNATION, Status.BREAKDOWN, Status.INDEFINITE)


def _coefficients(values: np.ndarray, like: Any) -> Any:
    if like.ndim == 1:
        return float(values[0])
    return like.new_tensor(values) if is_torch(like) else values


def _add(x: Any, alpha: np.ndarray, p: Any) -> None:
    """x += alpha p, columnwise, in place."""
    x += _coefficients(alpha, p) * p


def _scale_and_add(p: Any, beta: np.ndarray, u: Any) -> None:
    """p = beta p + u, columnwise, in place."""
    p *= _coefficients(beta, p)
    p += u


def _take(v: Any, keep: np.ndarray) -> Any:
    if keep.all():
        return v
    index = np.flatnonzero(keep).tolist()
    return v[:, index].contiguous() if is_torch(v) else np.ascontiguousarray(v[:, index])


def _assign(r: Any, values: Any, mask: np.ndarray) -> None:
    """r = values in the columns of the mask, in place."""
    if r.ndim == 1:
        r[:] = values
    else:
        _assign_columns(r, np.flatnonzero(mask), values, mask)


def _assign_columns(target: Any, columns: np.ndarray, values: Any, mask: np.ndarray) -> None:
    target[:, columns.tolist()] = values[:, np.flatnonzero(mask).tolist()]


def _clear(v: Any, mask: np.ndarray) -> None:
    """Zero in the columns of the mask (NaN too, which a product with zero would keep)."""
    if v.ndim == 2:
        v[:, np.flatnonzero(mask).tolist()] = 0.0
