"""Conjugate gradients that check themselves: true residuals, restarts, breakdowns, blocks, one reduction, resumable.

One loop serves plain, Jacobi, incomplete-Cholesky and polynomial preconditioning, several right-hand sides at once,
NumPy and torch, and flexible CG (`nnla.krylov.fcg`). It is also the probe: its coefficients are Lanczos coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.kernels.interruption import remaining
from nnla.operators.arrays import space_of
from nnla.operators.spaces import Space
from nnla.types import Status

__all__ = ["CGResult", "ConjugateGradients", "conjugate_gradients", "ended_by", "lanczos_from_cg"]

_SEVERITY = (
    Status.CONVERGED, Status.MAXITER, Status.TIMEOUT, Status.STAGNATION, Status.BREAKDOWN, Status.INDEFINITE,
)  # fmt: skip


@dataclass
class CGResult:
    """State of a CG run: enough to report, to probe, or to go on from.

    Attributes
    ----------
    x, residual : iterate and recursive residual, of b's shape
    status : the worst `Status` over the columns; MAXITER means that the run can go on
    iterations, reductions : counts of this run
    history : residual norm after each iteration, relative to ``sizes`` (largest over the columns)
    best, best_norms : iterate with the smallest residual norm before the last one, of b's shape, and (k,) those
        norms, by recurrence; None where that was not asked for
    lead : the column whose coefficients are kept: the first that needed a step
    alpha, beta : its CG coefficients while it was active
    first : its residual norms, one per step
    last_beta : r_k'z_k / r_{k-1}'z_{k-1} after its last step; None when it left before the others, or not asked for
    """

    x: Any
    residual: Any
    status: Status = Status.CONVERGED
    iterations: int = 0
    reductions: int = 0
    history: list[float] = field(default_factory=list[float])
    alpha: list[float] = field(default_factory=list[float])
    beta: list[float] = field(default_factory=list[float])
    first: list[float] = field(default_factory=list[float])
    last_beta: float | None = None
    lead: int = 0
    best: Any = None
    best_norms: np.ndarray | None = None


class ConjugateGradients:
    """Preconditioned CG on A x = b from a given iterate, advanced by as many iterations as one likes at a time.

    Parameters
    ----------
    A : callable v -> A v
    b : (n,) or (n, k)
    x, residual : iterate and its residual b - A x, both overwritten; `result` has what has become of them
    targets : absolute residual norms to reach, one per column
    M : callable r -> M r, symmetric positive definite; None for the identity
    one_reduction : Chronopoulos and Gear's form, one synchronisation an iteration instead of two; it rounds a little
        worse, which matters only for bad conditioning
    stall : give up on a column when its residual has not fallen by 10 % in so many iterations
    sizes : norms that the history is relative to, one per column
    callback : called with the iterate after each iteration
    space : of the vectors; by default that of NumPy, or of torch for tensors
    judge : called with the residuals of some columns and the numbers of these: norms that have to meet the targets,
        too, asked where the 2-norms do; by default there are no others
    best : copy of x, overwritten: keeps the iterate with the smallest residual norm, see `CGResult`

    Attributes
    ----------
    result : CGResult

    Notes
    -----
    Before a column counts as converged, b - A x is recomputed; where the recursive residual was too optimistic CG
    starts anew from the true one, and a column whose true residual no longer halves between two such checks has
    reached the limit of its precision (`Status.STAGNATION`).

    Cost per iteration and column: one product, one application of M. Memory beside x, residual and b: four arrays of
    b's shape at the peak, and what M needs; up to three more while some columns of a block have converged and others
    have not.

    References
    ----------
    Hestenes, Stiefel (1952); Chronopoulos, Gear, s-step iterative methods for symmetric linear systems, J. Comput.
    Appl. Math. 25 (1989).

    Examples
    --------
    >>> A, b = np.diag([1.0, 2.0, 3.0]), np.ones(3)
    >>> cg = ConjugateGradients(lambda v: A @ v, b, x=np.zeros(3), residual=b.copy(), targets=1e-12)
    >>> cg.advance(1).status.value, cg.advance(5).status.value, cg.result.iterations
    ('maxiter', 'converged', 3)
    """

    def __init__(
        self,
        A: Callable[[Any], Any],
        b: Any,
        *,
        x: Any,
        residual: Any,
        targets: Any,
        M: Callable[[Any], Any] | None = None,
        one_reduction: bool = False,
        stall: int | None = None,
        sizes: Any = 1.0,
        callback: Callable[[Any], None] | None = None,
        space: Space | None = None,
        judge: Callable[[Any, np.ndarray], Any] | None = None,
        best: Any = None,
    ) -> None:
        self.result = CGResult(x, residual, best=best)
        self._space = space_of(b) if space is None else space
        self._A, self._M, self._b = A, M, b
        self._one_reduction, self._stall, self._sizes, self._callback = one_reduction, stall, sizes, callback
        self._targets = np.atleast_1d(np.asarray(targets, dtype=float))
        self._block = b.ndim == 2
        self._columns = np.arange(b.shape[1] if self._block else 1)  # the ones still at work
        self._latest = np.atleast_1d(self._space.norm(residual))  # residual norms of all columns
        self._judge = judge
        if best is not None:
            self.result.best_norms = np.array(self._latest)
        self._x, self._r = x, residual
        self._p, self._s = None, None
        count = self._columns.size
        self._gamma = self._alpha = np.ones(count)
        self._last_true, self._best = np.full(count, np.inf), np.full(count, np.inf)
        self._best_at = np.zeros(count, dtype=int)
        self._fresh, self._failed = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
        self._ended = Status.CONVERGED  # the worst of the columns that have left

    # -- advancing ---------------------------------------------------------------------------------------------

    def advance(self, iterations: int) -> CGResult:
        """Go on until everything has ended, or for so many more iterations: status MAXITER then, and it can go on."""
        result, done = self.result, 0
        result.last_beta = None
        while True:
            if self._columns.size == 0 or self._leave():
                result.status = self._ended
                return result
            if done >= iterations:
                break
            if remaining() <= 0:
                self._note(Status.TIMEOUT)
                break
            done += 1
            if self._direction():
                self._step()
        if self._block:
            self._write_back()
        result.status = max(self._ended, Status.MAXITER, key=_SEVERITY.index)
        return result

    def give_up_after(self, stall: int | None) -> None:
        """From now on end where the residual has not fallen by a tenth in so many iterations."""
        self._stall = stall

    def couple(self) -> CGResult:
        """Find ``last_beta``, which the last Lanczos coefficient needs. Cost: an application of M."""
        result = self.result
        lead = self._columns.size > 0 and self._columns[0] == result.lead and not self._failed[0]
        if result.status is Status.MAXITER and result.alpha and lead:
            last = np.atleast_1d(self._space.inner(self._r, self._r if self._M is None else self._M(self._r)))
            result.last_beta = float(last[0] / self._gamma[0])
        return result

    def _note(self, status: Status) -> None:
        self._ended = max(self._ended, status, key=_SEVERITY.index)

    def _leave(self) -> bool:
        """Let columns leave that have converged, stagnated or broken down; whether all have."""
        columns, latest = self._columns, self._latest
        rr = latest[columns]
        done = self._failed.copy()
        reached = ~done & (rr <= self._targets)
        if self._judge is not None and reached.any():
            reached &= np.atleast_1d(self._judge(self._r, columns)) <= self._targets
        if reached.any():  # ask the true residual
            true = self._b - self._A(self._x)
            true_norm = latest_norm = np.atleast_1d(self._space.norm(true))
            if self._judge is not None:
                true_norm = np.atleast_1d(self._judge(true, columns))
            self.result.reductions += 1
            self._replace_residual(true, reached)
            rr = latest[columns] = np.where(reached, latest_norm, rr)
            met = reached & (true_norm <= self._targets)
            stuck = reached & ~met & ~(true_norm < 0.5 * self._last_true)
            if stuck.any():
                self._note(Status.STAGNATION)
            self._last_true = np.where(reached, true_norm, self._last_true)
            self._fresh = self._fresh | reached
            done |= met | stuck
        if not np.all(np.isfinite(rr)):
            self._note(Status.BREAKDOWN)
            done |= ~np.isfinite(rr)
        k = self.result.iterations
        improved = rr < 0.9 * self._best
        self._best, self._best_at = np.where(improved, rr, self._best), np.where(improved, k, self._best_at)
        if self._stall is not None and np.any(~done & (k - self._best_at > self._stall)):
            self._note(Status.STAGNATION)
            done |= k - self._best_at > self._stall
        return bool(done.any()) and self._remove(done)

    def _remove(self, done: np.ndarray) -> bool:
        columns = self._columns
        if self._block:
            self._space.assign(self.result.x, columns[done], self._x, done)
            self._space.assign(self.result.residual, columns[done], self._r, done)
        keep = ~done
        self._columns = columns[keep]
        if self._columns.size:
            self._keep(keep)
        return self._columns.size == 0

    def _keep(self, keep: np.ndarray) -> None:
        """Go on with these of the columns."""
        self._x, self._r, self._b = (self._space.take(v, keep) for v in (self._x, self._r, self._b))
        self._p, self._s = (None if v is None else self._space.take(v, keep) for v in (self._p, self._s))
        self._targets, self._gamma, self._alpha = self._targets[keep], self._gamma[keep], self._alpha[keep]
        self._last_true, self._best = self._last_true[keep], self._best[keep]
        self._best_at, self._fresh, self._failed = self._best_at[keep], self._fresh[keep], self._failed[keep]

    def _write_back(self) -> None:
        everything = np.ones(self._columns.size, dtype=bool)
        self._space.assign(self.result.x, self._columns, self._x, everything)
        self._space.assign(self.result.residual, self._columns, self._r, everything)

    # -- one iteration: algorithm 9.1 of Saad, Iterative Methods, 2nd ed.; with one reduction Chronopoulos and Gear ----

    def _direction(self) -> bool:
        """p, s = A p and the step lengths; False where no column can step."""
        result = self.result
        u = self._r if self._M is None else self._M(self._r)  # z_j = M r_j
        gamma = np.atleast_1d(self._space.inner(self._r, u))  # (r_j, z_j)
        failed = ~(gamma > 0)  # r'Mr <= 0: M is not positive definite; NaN counts
        if failed.any():
            self._note(ended_by(gamma[failed], Status.BREAKDOWN))
        beta = np.where(self._fresh | failed, 0.0, gamma / self._gamma)
        self._keep_beta(beta)
        if self._p is None:
            self._p = self._space.zeros_like(self._b)
        self._p = self._scaled_sum(beta, self._p, u)  # p_j = z_j + beta_j p_{j-1}
        if self._one_reduction:
            w = self._A(u)
            if self._s is None:
                self._s = self._space.zeros_like(w)
            self._s = self._scaled_sum(beta, self._s, w)
            curvature = np.atleast_1d(self._space.inner(u, w)) - np.where(self._fresh, 0.0, beta * gamma / self._alpha)
            if np.any(~failed & ~(curvature > 0)):  # cancellation, or an indefinite A: ask directly
                self._s = self._A(self._p)
                curvature = np.atleast_1d(self._space.inner(self._p, self._s))
                result.reductions += 1
        else:
            self._s = self._A(self._p)
            curvature = np.atleast_1d(self._space.inner(self._p, self._s))  # (A p_j, p_j)
        result.reductions += 1 if self._one_reduction else 2
        return self._lengths(gamma, gamma, curvature, failed)

    def _scaled_sum(self, beta: np.ndarray, p: Any, u: Any) -> Any:
        """beta p + u, columnwise, in place where vectors can."""
        p *= self._space.row(beta, p)
        p += u
        return p

    def _replace_residual(self, true: Any, reached: np.ndarray) -> None:
        if self._block:
            self._space.assign(self._r, reached, true)
        else:
            self._r = self.result.residual = true

    def _keep_beta(self, beta: np.ndarray) -> None:
        result = self.result
        if not result.iterations and not result.alpha:
            result.lead = int(self._columns[0])
        if self._columns[0] == result.lead and result.alpha:
            result.beta.append(float(beta[0]))

    def _lengths(self, gamma: np.ndarray, along: np.ndarray, curvature: np.ndarray, failed: np.ndarray) -> bool:
        """alpha = along / curvature where A shows itself definite; False where no column can step."""
        flat = ~failed & ~(curvature > 0)  # p'Ap <= 0: A is not positive definite
        if flat.any():
            self._note(ended_by(curvature[flat], Status.INDEFINITE))
        failed = failed | flat
        self._failed = failed
        if failed.all():
            return False
        if failed.any():
            self._space.clear(self._p, failed)
            self._space.clear(self._s, failed)
        self._gamma = gamma
        self._alpha = np.where(failed, 0.0, along / np.where(failed, 1.0, curvature))
        self._fresh = np.zeros_like(self._fresh)
        return True

    def _step(self) -> None:
        result, columns, alpha = self.result, self._columns, self._alpha
        row = self._space.row
        before = None if result.best_norms is None else self._latest[columns]
        self._x += row(alpha, self._p) * self._p  # x_{j+1} = x_j + alpha_j p_j
        self._r += row(-alpha, self._s) * self._s  # r_{j+1} = r_j - alpha_j A p_j
        if not self._block:  # the same where vectors change in place
            result.x, result.residual = self._x, self._r
        self._latest[columns] = np.atleast_1d(self._space.norm(self._r))
        if before is not None:
            self._keep_best(before)
        result.iterations += 1
        result.history.append(float(np.max(self._latest / self._sizes)))
        if columns[0] == result.lead and not self._failed[0]:
            result.alpha.append(float(alpha[0]))
            result.first.append(float(self._latest[result.lead]))
        if self._callback is not None:
            if self._block:
                self._space.assign(result.x, columns, self._x, np.ones(columns.size, dtype=bool))
            self._callback(result.x)

    def _keep_best(self, before: np.ndarray) -> None:
        """Step back, for the record, where the residual was smaller than ever and has grown with this step.

        Cost: nothing while residuals fall.
        """
        result, columns = self.result, self._columns
        assert result.best_norms is not None
        if before.size == 1 and not before[0] < self._latest[columns[0]]:
            return
        after = self._latest[columns]
        grown = (before < result.best_norms[columns]) & (after > before) & (after < np.inf)
        if not grown.any():
            return
        result.best_norms[columns[grown]] = before[grown]
        x = self._x - self._space.row(self._alpha, self._p) * self._p
        self._space.assign(result.best, columns[grown], x, grown)


def conjugate_gradients(A: Callable[[Any], Any], b: Any, *, maxiter: int, **options: Any) -> CGResult:
    """`ConjugateGradients` in one go: at most ``maxiter`` iterations, ``last_beta`` included.

    Parameters
    ----------
    A, b, options : as `ConjugateGradients` takes them
    maxiter : iterations

    Returns
    -------
    CGResult

    Notes
    -----
    Cost: a product and an application of M an iteration, one more application at the end and a product for each time
    that the target seems reached; the vectors of `ConjugateGradients`.

    References
    ----------
    Hestenes, Stiefel, J. Res. Nat. Bur. Standards 49 (1952) 409-436. Saad, Iterative Methods for Sparse Linear Systems,
    2nd ed., algorithm 9.1.
    """
    cg = ConjugateGradients(A, b, **options)
    cg.advance(maxiter)
    return cg.couple()


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

    Notes
    -----
    Cost: some operations on k numbers; no products.

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
