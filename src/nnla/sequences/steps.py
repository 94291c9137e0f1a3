"""The steps of a sequence: asks a policy what to do, has it done, and keeps the account."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from nnla.linear.options import Options
from nnla.linear.prepare import BoundPreconditioner, prepare
from nnla.sequences.changes import Change
from nnla.sequences.direct_steps import DirectAnswer, direct_report
from nnla.sequences.expectations import Expectations
from nnla.sequences.kept import Kept
from nnla.sequences.one_step import OneStep, Wanted
from nnla.sequences.policy import Action, Fresh, Learned, Plan, Policy
from nnla.sequences.report import Account, SolverReport, Step
from nnla.sequences.systems import System
from nnla.types import Solution

__all__ = ["Steps"]

_MATRICES = (sp.csr_array, sp.csr_matrix)
_VALUE = np.dtype(np.float64)
_NEW, _SAME = "factored with the kept analysis", "the factor was kept"


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
        self._factors_always = False
        self._cold_seconds = 0.0  # of such a system

    # -- the shortest way ------------------------------------------------------------------------------------------

    def solve_directly(self, A: Any, b: Any, started: float) -> Solution | None:
        """The native call for a matrix of the pattern that is kept, where factors are always right; else None.

        Cost: some ten microseconds beside the call, in which all is looked at, solved and verified.
        """
        if not self._factors_always or type(A) not in _MATRICES or type(b) is not np.ndarray:
            return None
        repeated = self.kept.repeated
        if repeated is None or b.dtype != _VALUE or b.ndim != 1 or A.data.dtype != _VALUE or A.shape[0] != b.size:
            return None
        began = self.clock()
        found = repeated.solve(A, b, self.rtol, self.atol)
        if type(found) is int:
            return None
        x, relative, backward, equilibrated, factored, products, factoring, solving = found
        answer = DirectAnswer(
            x, relative, None if equilibrated < 0 else equilibrated, backward, products - 1, products,
            factoring + solving, factoring,
        )  # fmt: skip
        why, change, action = (_NEW, "values", "refresh") if factored else (_SAME, "same", "keep")
        solution = direct_report(b.size, A.indices.size, answer, self.rtol, started, why, self.options.deterministic)
        self.number += factored
        self.kept.set_up = None
        account = self.account
        account.add(
            Step(
                account.solves, change, action, "direct", True, products - 1, self.clock() - began,
                self._cold_seconds, None, why,
            ),
            solution.report.status,
        )  # fmt: skip
        return solution

    # -- one step --------------------------------------------------------------------------------------------------

    def solve(self, system: System, change: Change, wanted: Wanted, began: float) -> Solution:
        """Solve with one right-hand side or block, already converted."""
        expected, kept, account = self.expected, self.kept, self.account
        usable = self.plain and system.plain
        plan, cold, now = Plan(Action.COLD, reason="of a kind that nothing is kept of"), math.inf, None
        if usable:
            plan = Plan(Action.COLD, guess=1, reason="the first")
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
        elif action is Action.REFRESH and expected.family is not None:
            method = plan.method or expected.family
            solution = step.refresh(method)
            if solution is not None:
                expected.family = method
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
            self._factors_always = isinstance(self.policy, (Fresh, Learned)) and expected.always_factored(system, kept)
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
