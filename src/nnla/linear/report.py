"""The report on a solve, computed from its phases; prose last."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np

from nnla.linear.criterion import backward_error, rounding_only
from nnla.linear.state import Run, quiet, within
from nnla.types import Phase, Report, Solution, Status, library_versions

__all__ = ["solution_of"]

_SLACK = 1 + 2e-12  # of the targets, which are a little less than what was asked for

_HOPELESS = 1e-10  # backward error that no rounding explains
_NO_POLYNOMIAL = Phase("")


def solution_of(run: Run) -> Solution:
    """Final check and report.

    Cost: a product for each column, unless the residual has been checked already.
    """
    run.restore_order()
    with quiet():
        if not run.verified:
            run.check()
        met = run.finished
        if not met and not run.rounded:
            _choose_iterate(run)
        x, stands_for = run.units.solution(run.x)
        exact = stands_for is run.x
        if not exact:  # what underflowed on the way out counts
            run.x = stands_for
            run.check()
        run.settle()
        met = (met and exact) or within(run.criterion.norms(run.residual), run.targets * _SLACK)
        error = backward_error(run.op, run.b, run.x, run.residual)
        status = Status.CONVERGED if met else _ended(run, exact, error)
        relative, equilibrated = run.criterion.relative(run.residual)
    seconds = _seconds(run)
    polynomial = _polynomial([phase for phase in run.ran if not phase.probing])
    report = Report(
        status=status,
        converged=met,
        method=run.method,
        n=run.op.n,
        nnz=run.op.nnz,
        rtol=float(run.rtol),
        relative_residual=relative,
        equilibrated_residual=equilibrated,
        backward_error=error,
        deterministic=run.deterministic,
        iterations=run.iterations,
        probe_iterations=sum(phase.iterations for phase in run.phases if phase.probing),
        degree=polynomial.degree,
        precision=polynomial.precision,
        scaling=run.ran[-1].scaling if run.ran else "none",
        products=run.products,
        products_probe=sum(phase.products for phase in run.phases if phase.probing),
        preconditioner_applies=sum(phase.applies for phase in run.phases),
        reductions=sum(phase.reductions for phase in run.phases),
        seconds=seconds,
        fallback="; ".join(phase.failure for phase in run.phases if phase.failure) or None,
        chosen_because=_prose(run, equilibrated, seconds["total"]),
        weights=polynomial.weights,
        seed=run.seed,
        residual_history=run.history,
        interval=polynomial.interval,
        predicted_seconds=run.predicted_seconds,
        predicted_spread=run.predicted_spread,
        regret=_regret(run, run.share * seconds["total"]),
        predicted_iterations=polynomial.predicted_iterations,
        warm_start=run.warm_start,
        negative_pivots=max((p.negative_pivots for p in run.phases if p.negative_pivots is not None), default=None),
        phases=tuple(run.phases),
        versions=library_versions(),
    )
    return Solution(x, report)


def _choose_iterate(run: Run) -> None:
    """The best of what there was: where the target is missed, or nothing good came of it."""
    if run.best is not None:
        run.take_better(*run.best)
    lost = ~(np.atleast_1d(run.criterion.norms(run.residual)) <= run.guess_norms)
    if lost.any():  # must not be worse than not having tried
        run.fall_back_to(lost, run.space.zeros_like(run.x) if run.guess is None else run.guess)


def _ended(run: Run, exact: bool, error: float) -> Status:
    """Why the target was missed."""
    if run.timed_out:
        return Status.TIMEOUT
    ended = Status.STAGNATION if run.status is Status.CONVERGED else run.status
    if not exact:
        return Status.ROUNDING
    if ended not in (Status.STAGNATION, Status.MAXITER) or error > _HOPELESS:
        return ended
    rounding = rounding_only(run.op, run.criterion, run.b, run.x, run.residual, run.targets)
    return Status.ROUNDING if rounding else ended


def _polynomial(phases: list[Phase]) -> Phase:
    """The phase whose polynomial the report tells of: the last one, or the one that it runs in the place of."""
    for phase in reversed(phases):
        if phase.degree is not None:
            return phase
        if not phase.instead:
            break
    return _NO_POLYNOMIAL


def _seconds(run: Run) -> dict[str, float]:
    total = time.perf_counter() - run.started
    probe = sum(phase.seconds for phase in run.phases if phase.probing)
    solve = sum(phase.seconds for phase in run.phases if not phase.probing)
    setup = sum(phase.setup for phase in run.phases) + run.setup
    return {"probe": probe, "setup": setup or max(0.0, total - probe - solve), "solve": solve, "total": total}


def _regret(run: Run, total: float) -> float | None:
    """Seconds of the solve by those of the cheapest way, as far as that is known at the end."""
    least = min(run.cheapest.values(), default=0.0)
    return total / least if 0.0 < least < np.inf else None


def _prose(run: Run, equilibrated: float | None, total: float) -> str:
    """Why what ran did run, in words."""
    said = [run.reason or next((phase.reason for phase in run.phases if phase.reason), "")]
    if not run.phases and not said[0]:
        said = ["the initial guess meets the tolerance"]
    if run.reordered:
        said.append("reordered by reverse Cuthill-McKee")
    said += list(dict.fromkeys(phase.note for phase in run.ran if phase.note))
    if run.asked == "auto":
        worked = [phase for phase in run.ran if not phase.probing]
        for before, after in pairwise(worked):
            if before.iterations and before.method != after.method:
                said.append(f"switched from {before.method} to {after.method}")
    elif run.ran and all(phase.probing for phase in run.ran) and run.finished:
        said.append("the probe's own CG steps solved the system")
    if run.predicted_seconds and not run.deterministic:
        said.append(f"it took {total:.2g} s")
    watched = run.criterion.watched is not None and equilibrated is not None and equilibrated > run.rtol
    said.append(f"heavy rows dominate b, and a few light ones have a residual of {equilibrated:.1g}" if watched else "")
    return "; ".join(text for text in said if text) or "asked for"
