"""The steps of a sequence: asks a policy what to do, has it done, and keeps the account."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from scipy.sparse.linalg import LinearOperator

from nnla.linear.options import Options
from nnla.linear.prepare import BoundPreconditioner, prepare
from nnla.sequences.changes import Change
from nnla.sequences.expectations import Expectations
from nnla.sequences.kept import Kept
from nnla.sequences.one_step import OneStep, Wanted
from nnla.sequences.policy import Action, Fresh, Learned, Plan, Policy
from nnla.sequences.quick_steps import QuickSteps
from nnla.sequences.report import Account, SolverReport, Step
from nnla.sequences.systems import System
from nnla.types import Solution

__all__ = ["Steps"]

_REMEMBERED = 8  # solutions, before a policy has said how many


class Steps:
    """The state of a `nnla.Solver` between its solves.

    Parameters
    ----------
    options : as `nnla.solve` was asked
    rtol, atol : of the solves
    policy : what decides
    learn : whether seconds have a say
    plain : no option asks for anything that nothing is kept for
    max_bytes : that may be kept
    """

    def __init__(
        self, options: Options, *, rtol: float, atol: float, policy: Policy, learn: bool, plain: bool, max_bytes: float
    ) -> None:
        self.options, self.rtol, self.atol, self.policy = options, rtol, atol, policy
        self.plain, self.max_bytes = plain, max_bytes
        self.account = Account()
        self.kept = Kept()
        self.expected = Expectations(rtol, learn, options.method == "auto")
        self.clock: Callable[[], float] = time.thread_time
        self.number = 0  # of the matrix
        self._refreshes = isinstance(policy, (Fresh, Learned))  # where that is cheap, without being asked
        self._cold_seconds = 0.0  # of a system like those that the native calls solve
        self.quick = QuickSteps(self.kept, rtol, atol, options.method, options.deterministic)
        self.quick.small = self.quick.small and plain and self._refreshes and max_bytes == math.inf

    def solve_quickly(self, A: Any, b: Any, started: float) -> Solution | None:
        """By one native call, where that is possible and no policy has a say; else None."""
        began = self.clock()
        found = self.quick.solve(A, b, started)
        if found is None:
            return None
        solution, change, action, reason = found
        seconds = self.clock() - began
        account = self.account
        if action is Action.COLD:
            cold = self._cold_seconds = seconds
            self.expected.begin(solution.report.method, solution.report.predicted_seconds)
        else:
            cold = self._cold_seconds
        if action is not Action.KEEP:
            self.number += 1
        report = solution.report
        self.kept.set_up = None
        if not account.solves:
            change = Change.FIRST
        account.add(
            Step(
                account.solves, change.value, action.value, report.method, True, report.iterations, seconds, cold,
                None, reason,
            ),
            report.status,
        )  # fmt: skip
        return solution

    # -- one step --------------------------------------------------------------------------------------------------

    def solve(self, system: System, change: Change, wanted: Wanted, began: float) -> Solution:
        """Solve with one right-hand side or block, already converted."""
        expected, kept, account = self.expected, self.kept, self.account
        usable = self.plain and system.plain
        plan, cold, now = Plan(Action.COLD, reason="of a kind that nothing is kept of"), math.inf, None
        if usable:
            plan = Plan(Action.COLD, guess=_REMEMBERED, reason="the first")
            now = expected.situation(system, change, kept, wanted.columns, account.owed, account.cold, account.solves)
            if expected.family is not None:
                plan, cold = self.policy.choose(now), now.cold
        step = OneStep(
            system, change, wanted, plan, account.solves, options=self.options, kept=kept, expected=expected,
            clock=self.clock,
        )  # fmt: skip
        solution: Solution | None = None
        action = plan.action
        if now is not None and action is Action.KEEP:
            solution = step.keep(now.cold if now.refresh is None else min(now.refresh, now.cold))
        elif now is not None and action is Action.REFRESH and expected.family is not None:
            method, before = plan.method or expected.family, kept.set_up
            others = [seconds for seconds in (now.factored, now.cold) if seconds is not None]
            solution = step.refresh(method, min(others))
            if solution is not None and method != expected.family:
                other = min(seconds for seconds in (now.keep, now.refresh, now.cold) if seconds is not None)
                if not expected.settle(method, system, change, kept, wanted.columns, other):
                    kept.set_up = before
        if solution is None:
            action, solution = Action.COLD, step.cold(usable)
        seconds = self.clock() - began
        if usable and expected.family is not None:
            if action is Action.COLD:
                expected.learn_cold(system, kept, wanted.columns, seconds)
                cold = min(cold, expected.cold(system, kept, wanted.columns))
            elif kept.set_up is not None:
                kept.set_up.seconds += seconds if action is Action.KEEP else max(seconds - kept.set_up.seconds, 0.0)
                kept.set_up.solves += 1
            self.quick.repeats = self._refreshes and expected.always_factored(system, kept)
            self._cold_seconds = cold
        kept.within(self.max_bytes)
        report = solution.report
        account.add(
            Step(
                account.solves, change.value, action.value, report.method, report.converged, report.iterations,
                seconds, cold if math.isfinite(cold) else seconds, step.guessed, plan.reason,
            ),
            report.status,
        )  # fmt: skip
        return solution

    # -- what there is to tell -------------------------------------------------------------------------------------

    def report(self) -> SolverReport:
        """What was done."""
        kept, words = self.kept, list[str]()
        if kept.repeated is not None:
            words.append("analysis and factor" if kept.repeated.factored else "analysis")
        if kept.set_up is not None:
            words.append(f"{kept.set_up.method} of matrix {kept.set_up.number}")
        if kept.space is not None and len(kept.space):
            words.append(f"{len(kept.space)} solutions")
        return self.account.report(words, kept.nbytes)

    def aspreconditioner(self, system: System | None) -> LinearOperator | None:
        """What is kept, or a factor made for it, as a LinearOperator; None without a matrix."""
        if system is None:
            return None
        set_up = self.kept.set_up
        if set_up is None or set_up.M is None or set_up.diagonal.size != system.n or set_up.method == "direct":
            method = self.expected.family or "direct"
            return prepare(
                system.op, method if method in ("direct", "ic", "amg", "jacobi") else "ic"
            ).aspreconditioner()
        return BoundPreconditioner(system.op.space, set_up.M, system.op.shape, set_up.order)
