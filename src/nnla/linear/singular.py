"""A solve beside the null space of A: b without its part there, x of least norm, and what the report says of it.

A x = b with b orthogonal to the null space N has solutions, and one of least norm. CG finds it as it finds any other,
once what rounding or modelling has left of N in b is gone; in the end x is made orthogonal to N.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nnla.errors import NNLAError, NotPositiveDefiniteError, TimeLimitError
from nnla.linear.estimates import direct_seconds
from nnla.linear.inertia import null_basis
from nnla.linear.nullspace import NullSpace, found_null_space
from nnla.linear.polynomial import begin_instead
from nnla.linear.preconditioner import choose_scaling
from nnla.linear.report import solution_of
from nnla.linear.state import Run
from nnla.preconditioners.scalings import bind_scaling
from nnla.types import Phase, Solution, Status

__all__ = ["Beside", "look_for_null_vectors"]

_ROUNDING = 64 * float(np.finfo(np.float64).eps)  # of a projection, relative
_ROUNDS = 3  # in which x is made shorter
_AFFORDABLE = 2.0  # seconds of a factorisation that a failed solve is worth
_FAILED = (Status.INDEFINITE, Status.BREAKDOWN, Status.STAGNATION, Status.MAXITER)


class Beside:
    """A run beside the null space: what it has of b is set aside until the end.

    Parameters
    ----------
    run : that has started
    null : NullSpace of its operator, in the user's order of the rows

    Attributes
    ----------
    left : (k,) norms of what the right-hand sides have of the null space
    inconsistent : (k,) where that is more than the tolerance allows
    least : the solution is made to be of least norm; False where rounding does not let that be

    Raises
    ------
    NotPositiveDefiniteError
        An isolated unknown has a load.
    """

    def __init__(self, run: Run, null: NullSpace) -> None:
        self._run, self.null, self.least = run, null, True
        self._b, self._targets = run.b, run.targets
        space = run.space
        part = null.part(space.host(run.b))
        self._require_no_load(part)
        run.b = run.b - space.own(part)
        run.residual = run.residual - space.own(null.part(space.host(run.residual)))
        self.left = np.atleast_1d(np.linalg.norm(part, axis=0))
        size, rest = np.where(run.size > 0, run.size, 1.0), np.atleast_1d(space.norm(run.b))
        judged = np.atleast_1d(run.criterion.norms(space.own(part)))
        self.inconsistent = judged > run.targets
        with np.errstate(over="ignore", invalid="ignore"):  # targets may be as large as an atol
            spare = np.sqrt(np.fmax(run.targets**2 - judged**2, 0.0))
        # of what no x reaches, the least squares solution, as closely as the tolerance says
        reachable = np.maximum(spare, 0.1 * run.targets)
        run.targets = np.where(self.inconsistent, np.maximum(run.rtol * rest, _ROUNDING * size), reachable)

    def solution(self) -> Solution:
        """What the run has come to, with b as it was given, x of least norm, and the null space in the report."""
        self._end()
        solution, run = solution_of(self._run), self._run
        worst = float(np.max(self.left / np.where(run.size > 0, run.size, 1.0)))
        what = "solution of least norm" if self.least else "a solution"
        said = f"{solution.report.chosen_because}; A is singular ({self.null.words}): {what}"
        facts: dict[str, Any] = {"null_space": self.null.dimension, "inconsistent": worst, "chosen_because": said}
        return Solution(solution.x, replace(solution.report, **facts))

    def _end(self) -> None:
        run, null = self._run, self.null
        run.restore_order()
        met, longer = run.finished, run.space.copy(run.x)
        for _ in range(_ROUNDS):
            run.x = run.x - run.space.own(null.part(run.space.host(run.x)))
            run.check()
            if not met or run.finished:
                break
            # Large numbers have been rounded anew, which large entries of A show: what is left is solved for again.
            begin_instead(run, bind_scaling(run.op, choose_scaling(run.op))).finish()
        if met and not run.finished:
            run.x = longer
            self.least = False
        run.b, run.targets, run.best = self._b, self._targets, None
        run.check()
        if self.inconsistent.any():
            self._say_singular(met)

    def undo(self) -> None:
        """Give b back what it had of the null space, and nothing else."""
        self._run.restore_order()
        self._run.b, self._run.targets = self._b, self._targets
        self._run.check()

    def _say_singular(self, met: bool) -> None:
        run = self._run
        share = float(np.max(self.left / np.where(run.size > 0, run.size, 1.0)))
        text = (
            f"A is singular ({self.null.words}), and {share:.2g} of b, relative to its norm, is in the null space, "
            "which no x reaches"
        ) + ("; this is the least squares solution of least norm" if met else "")
        status = Status.SINGULAR
        if share <= _ROUNDING:  # only light rows see it, beside heavy ones that it is the rounding of
            status, text = Status.ROUNDING, "what rounding has left of the null space in b outweighs its light rows"
        ran = [k for k, phase in enumerate(run.phases) if not phase.declined]
        if ran:
            last = run.phases[ran[-1]]
            failure = "; ".join(s for s in (last.failure, text) if s)
            run.phases[ran[-1]] = replace(last, status=status, failure=failure)
        else:
            run.record(Phase(run.asked, status=status, failure=text))

    def _require_no_load(self, part: np.ndarray) -> None:
        run, known = self._run, self.null.known
        if known is None or not known.isolated.size:
            return
        loads = np.abs(part[known.isolated].reshape(known.isolated.size, -1))
        if np.all(np.linalg.norm(loads, axis=0) <= run.targets):
            return
        index, column = np.unravel_index(int(np.argmax(loads)), loads.shape)
        row, load = int(known.isolated[index]), float(loads[index, column])
        exponent = int(run.units.columns[column]) - (0 if run.units.rows is None else int(run.units.rows[row]))
        load = float(np.ldexp(load, exponent))
        raise NotPositiveDefiniteError(
            f"A is singular: unknown {row} (from 0) is isolated, its row of A is zero, but its load is {load:.6g} in "
            "magnitude; tie it to something, or take it out of the system"
        )


def look_for_null_vectors(run: Run, beside: Beside | None) -> Beside | None:
    """Where a solve has failed: null vectors by a factorisation, and what can be solved beside them.

    Parameters
    ----------
    run : at its end
    beside : the null space that was known before, or None

    Returns
    -------
    The null space that is known now, or None

    Notes
    -----
    Cost: none unless the solve failed, without a limit of the caller's, and a factorisation is cheap; then that of
    `nnla.linear.inertia.null_basis`, and CG.
    """
    if run.finished or run.maxiter is not None or run.status not in _FAILED or run.op.nnz is None:
        return beside
    if not direct_seconds(run.op) < _AFFORDABLE:
        return beside
    run.restore_order()
    try:
        basis = null_basis(run.op)
    except (NNLAError, MemoryError):
        return beside
    known = 0 if beside is None else beside.null.dimension
    if basis is None or basis.shape[1] <= known:
        return beside
    if beside is not None:
        beside.undo()
    op, null = found_null_space(run.op, basis)
    run.op = op
    run.give_up(f"{run.method} ended in {run.status.value}, and A is singular ({null.words}); CG beside them instead")
    run.x, run.deflation = run.space.zeros_like(run.b), None
    run.check()
    found = Beside(run, null)
    try:
        if not run.finished:
            begin_instead(run, bind_scaling(op, choose_scaling(op))).finish()
    except TimeLimitError:
        found.undo()
        raise
    return found
