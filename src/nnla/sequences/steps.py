"""The steps of a sequence: asks a policy what to do, does it, keeps what may serve later, and learns from it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from nnla.errors import NNLAError, NotPositiveDefiniteError, OptionError, TimeLimitError
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.interruption import time_limit
from nnla.kernels.machine import memory_limit
from nnla.linear.direct import Factor, factorise
from nnla.linear.inertia import lost_pivots
from nnla.linear.options import Options
from nnla.linear.preconditioner import PolynomialPreconditioner, quick_dtype
from nnla.linear.prepare import BoundPreconditioner, Prepared, in_units
from nnla.linear.quick import QUICK_METHODS, solve_quickly
from nnla.linear.state import Run
from nnla.preconditioners.scalings import Scaling, bind_amg, bind_scaling
from nnla.sequences.changes import Change
from nnla.sequences.direct_steps import direct_report, solve_with_factor
from nnla.sequences.expectations import Expectations, analysed, drift_of
from nnla.sequences.guess import SolutionSpace
from nnla.sequences.iterative_steps import best_start, iterate, take_to_the_end
from nnla.sequences.kept import Kept, SetUp, bytes_of
from nnla.sequences.policy import Action, Plan, Policy
from nnla.sequences.report import Account, SolverReport, Step
from nnla.sequences.systems import System
from nnla.types import Solution, Status

__all__ = ["Steps"]


class Steps:
    """The state of a `nnla.Solver` between its solves.

    Parameters
    ----------
    options : as `nnla.solve` was asked
    rtol, atol : of the solves
    policy : what decides
    learn : whether seconds have a say
    plain : no option asks for anything that is not kept
    max_bytes : that may be kept
    """

    def __init__(
        self, options: Options, *, rtol: float, atol: float, policy: Policy, learn: bool, plain: bool, max_bytes: float
    ) -> None:
        self.options, self.rtol, self.atol, self.policy = options, rtol, atol, policy
        self.plain, self.max_bytes = plain, max_bytes
        self.account = Account()
        self.kept = Kept()
        self.expected = Expectations(rtol, learn)
        self.clock: Callable[[], float] = time.thread_time

    # -- one step ------------------------------------------------------------------------------------------------------

    def solve(
        self,
        system: System,
        change: Change,
        b: Any,
        x0: Any,
        maxiter: int | None,
        callback: Callable[[Any], None] | None,
        timeout: float | None,
        started: float,
        began: float,
    ) -> Solution:
        """Solve with one right-hand side or block, already converted."""
        expected, kept, account = self.expected, self.kept, self.account
        columns = 1 if b.ndim == 1 else int(b.shape[1])
        usable = self.plain and system.plain
        if usable:
            now = expected.situation(system, change, kept, columns, account.owed, account.cold, account.solves)
            plan = self.policy.choose(now) if expected.family is not None else Plan(Action.COLD, reason="the first")
            cold = now.cold
        else:
            plan, cold, now = Plan(Action.COLD, reason="of a kind that nothing is kept of"), math.inf, None
        step = _Step(self, system, change, b, columns, x0, maxiter, callback, timeout, started, plan)
        solution: Solution | None = None
        action = plan.action
        if action is not Action.COLD:
            assert now is not None
            other = [s for s in (now.refresh, now.cold) if s is not None]
            solution = step.keep(min(other)) if action is Action.KEEP else step.refresh()
        if solution is None:
            action, solution = Action.COLD, step.cold(usable)
        seconds = self.clock() - began
        report = solution.report
        if action is Action.COLD and usable and expected.family is not None:
            expected.costs.learn(
                f"cold.{expected.family}", measured=seconds, counted=expected.counted_cold(system, kept, columns)
            )
            cold = min(cold, expected.cold(system, kept, columns))
        if not math.isfinite(cold):
            cold = seconds
        if kept.set_up is not None and action is not Action.COLD:
            kept.set_up.seconds += seconds
            kept.set_up.solves += 1
        kept.within(self.max_bytes)
        account.add(
            Step(
                account.solves, change.value, action.value, report.method, report.converged, report.iterations,
                seconds, cold, step.guessed, plan.reason,
            ),
            report.status,
        )  # fmt: skip
        return solution

    def report(self) -> SolverReport:
        """What was done."""
        kept, words = self.kept, list[str]()
        if kept.analysis is not None:
            words.append("analysis")
        if kept.set_up is not None:
            words.append(f"{kept.set_up.method} of matrix {kept.set_up.number}")
        if kept.space is not None and len(kept.space):
            words.append(f"{len(kept.space)} solutions")
        return self.account.report(words, kept.nbytes)

    def aspreconditioner(self, system: System | None) -> LinearOperator | None:
        """What is kept as a LinearOperator; None without."""
        set_up = self.kept.set_up
        if set_up is None or system is None or set_up.diagonal.size != system.n:
            return None
        if set_up.method == "direct":
            self.kept.set_up = None  # the factor is the caller's now, and is not overwritten
            self.kept.analysis, self.kept.pattern = None, ()
        return BoundPreconditioner(system.op.space, set_up.M, system.op.shape, set_up.order)


class _Step:
    """One system under way."""

    def __init__(
        self,
        steps: Steps,
        system: System,
        change: Change,
        b: Any,
        columns: int,
        x0: Any,
        maxiter: int | None,
        callback: Callable[[Any], None] | None,
        timeout: float | None,
        started: float,
        plan: Plan,
    ) -> None:
        self.steps, self.system, self.change, self.b, self.columns, self.x0 = steps, system, change, b, columns, x0
        self.maxiter, self.callback, self.timeout, self.started, self.plan = maxiter, callback, timeout, started, plan
        self.kept, self.expected, self.clock = steps.kept, steps.expected, steps.clock
        self.products = system.op.products
        self.guessed: float | None = None

    # -- what is kept ----------------------------------------------------------------------------------------------

    def keep(self, alternative: float) -> Solution | None:
        """Solve with what is kept."""
        set_up = self.kept.set_up
        if set_up is None:
            return None
        if set_up.method == "direct" and set_up.number == self.system.number:
            return self._substitute(set_up, 0.0)
        return self._iterate(set_up, alternative)

    def refresh(self) -> Solution | None:
        """Set up for this matrix what the sequence works with, and solve."""
        method = self.expected.family
        began = self.clock()
        try:
            with time_limit(self.timeout):
                set_up = self._factored() if method == "direct" else self._set_up(method or "jacobi")
        except (NNLAError, RuntimeError, MemoryError, np.linalg.LinAlgError) as error:
            if isinstance(error, TimeLimitError) and self.timeout is None:
                raise
            self.kept.set_up = None
            return None
        if set_up is None:
            return None
        seconds = self.clock() - began
        set_up.seconds = seconds
        self.kept.set_up = set_up
        if method == "direct":
            return self._substitute(set_up, seconds)
        self.expected.learn_part(f"setup.{method}", self.system, seconds)
        return self._iterate(set_up, math.inf)

    def _factored(self) -> SetUp | None:
        """A factor of this matrix; None where it is not definite beyond doubt."""
        system, kept, expected = self.system, self.kept, self.expected
        if system.op.csr is None or not Cholesky.available():
            began = self.clock()
            factor = factorise(system.op)
            if not factor.definite or factor.null is not None:
                return None
            known = expected.fill(system, kept)
            self._learn_factor(self.clock() - began, *known)
            return self._direct(factor, 8 * system.n**2)
        csr = system.op.csr
        analysis = kept.analysis
        if analysis is None or not analysed(kept, system):
            began = self.clock()
            analysis = Cholesky(csr)
            kept.set_up = None if kept.set_up is not None and kept.set_up.sparse is kept.analysis else kept.set_up
            kept.analysis, kept.pattern = analysis, system.pattern
            expected.learn_part("order", system, self.clock() - began)
            expected.learn_fill(analysis.flops, analysis.nnz, system)
        kept.set_up = None  # its factor is overwritten
        began = self.clock()
        analysis.factor(csr.data, max_bytes=memory_limit())
        if lost_pivots(analysis.pivots, system.diagonal):
            return None
        self._learn_factor(self.clock() - began, analysis.flops, analysis.nnz)
        return self._direct(Factor("cholesky", analysis.solve, sparse=analysis), analysis.nbytes)

    def _learn_factor(self, seconds: float, flops: float, entries: float) -> None:
        from nnla.sequences.costs import counted

        n, nnz = self.system.n, self.system.nnz
        self.expected.costs.learn(
            "factor", measured=seconds, counted=counted("factor", n, nnz, flops=flops, entries=entries)
        )

    def _direct(self, factor: Factor, nbytes: int) -> SetUp:
        system = self.system
        M = Scaling("direct", factor.solve, cost=1.0)
        return SetUp("direct", system.number, system.diagonal, M, sparse=factor.sparse, nbytes=nbytes)

    def _set_up(self, method: str) -> SetUp | None:
        system, before = self.system, self.kept.set_up
        order = None if before is None else before.order
        op = system.op if order is None else system.permuted(order)
        M: Any
        if method == "amg":
            M = bind_amg(op)
        elif method in ("ic", "jacobi", "cg"):
            M = bind_scaling(op, "none" if method == "cg" else method)
        elif before is not None and isinstance(before.M, PolynomialPreconditioner):
            base = bind_scaling(op, before.M.base.name)
            M = PolynomialPreconditioner(op, base, before.M.design, before.M.probe, dtype=quick_dtype(op, base))
        else:
            return None
        size = bytes_of(method, M, system.n, system.nnz)
        return SetUp(method, system.number, system.diagonal, M, order, nbytes=size)

    # -- solving ---------------------------------------------------------------------------------------------------

    def _substitute(self, set_up: SetUp, setup: float) -> Solution | None:
        steps, system = self.steps, self.system
        try:
            with time_limit(self.timeout):
                answer = solve_with_factor(system.op, set_up.M.solve, self.b, steps.rtol, steps.atol, self.clock)
        except TimeLimitError:
            if self.timeout is None:
                raise
            return None
        if answer is None:
            return None
        why = "factored with the kept analysis" if setup else "the factor was kept"
        return direct_report(system.op, answer, steps.rtol, self.started, setup, why, steps.options.deterministic)

    def _iterate(self, set_up: SetUp, alternative: float) -> Solution | None:
        steps, system, expected = self.steps, self.system, self.expected
        op, inner, rows, null = system.with_null_space()
        if null is not None or rows is not None:
            return None
        method = set_up.method
        drift = drift_of(set_up, system)
        x0, renewed = self._guess(), 0.0
        if method == "direct":
            step = expected.substitution(system, self.kept, self.columns) + 1.5 * expected.part("product", system)
        else:
            step = expected.part(f"step.{method}", system, self.columns)
        run = self._run(inner)
        began = self.clock()
        reason = "set up for this matrix" if drift is None else f"set up {system.number - set_up.number} matrices ago"
        solution = take_to_the_end(
            run, x0, steps.options, self.timeout,
            lambda run: iterate(run, set_up, system, step, alternative, reason),
        )  # fmt: skip
        seconds = self.clock() - began
        first = next((phase for phase in run.ran if phase.method == method), None)
        if first is not None and first.iterations and run.history:
            count = first.iterations
            start = self._start_of(run)
            ends = max(run.history[count - 1], 1e-300) if count <= len(run.history) else run.history[-1]
            done = math.log(max(start / ends, 1.0 + 1e-9)) / expected.digits
            expected.learn_iterations(method, drift, count, done)
            if len(run.ran) == 1 and method != "direct":
                expected.learn_part(f"step.{method}", system, seconds, self.columns, count)
        if self.guessed is not None:
            whole = expected.iterations(method, drift) * step
            expected.learn_guess(self.guessed, self.guessed * whole - renewed, steps.account.solves)
        self._remember(run, solution)
        return solution

    def _start_of(self, run: Run) -> float:
        """Norm of the first residual by that of b."""
        return float(np.max(run.guess_norms / np.where(run.size > 0, run.size, 1.0)))

    def _run(self, inner: Any) -> Run:
        steps, options = self.steps, self.steps.options
        return Run(
            inner, self.b, steps.rtol, steps.atol, self.maxiter, self.callback, options.method, self.products,
            self.started, options.precision,
        )  # fmt: skip

    # -- old solutions ---------------------------------------------------------------------------------------------

    def _guess(self) -> Any:
        """Where to start, with the old solutions brought to this matrix."""
        space = self.kept.space
        if not self.plan.guess or space is None or space.n != self.system.n or not len(space) or self.b.ndim != 1:
            return self.x0
        if self.kept.space_number != self.system.number:
            began = self.clock()
            space.renew(self.system.op)
            self.kept.space_number = self.system.number
            self.expected.learn_part("product", self.system, self.clock() - began, times=1.5 * max(len(space), 1))
        x0 = best_start(self.system, self.b, self.x0, space)
        r = self.b - self.system.op.matvec(x0)
        size, left = float(np.linalg.norm(self.b)), float(np.linalg.norm(r))
        if 0.0 < left < math.inf and size > 0.0:
            self.guessed = math.log(size / left) / self.expected.digits
        return x0

    def _remember(self, run: Run, solution: Solution) -> None:
        """Keep a solution for later guesses."""
        system, kept, plan = self.system, self.kept, self.plan
        most = plan.guess
        if self.b.ndim != 1 or not solution.report.converged or run.units.rows is not None or not most:
            return
        if kept.space is None or kept.space.n != system.n:
            kept.space, kept.space_number = SolutionSpace(system.n, most), system.number
        if kept.space_number != system.number:
            return
        image = (run.b - run.residual) * math.ldexp(1.0, int(run.units.columns[0]))
        kept.space.add(np.array(solution.x), image)

    # -- from nothing ------------------------------------------------------------------------------------------------

    def cold(self, usable: bool) -> Solution:
        """As `nnla.solve`; what it has set up is kept."""
        steps, system = self.steps, self.system
        options = steps.options
        quick = (
            usable and options.method in QUICK_METHODS and self.x0 is None and self.maxiter is None
            and self.callback is None and self.timeout is None and not options.deterministic
        )  # fmt: skip
        solution = None
        if quick:
            solution = solve_quickly(system.A, self.b, steps.rtol, steps.atol, self.started, options.method)
        if solution is not None:
            self.expected.family = solution.report.method
            return solution
        op, inner, rows, null = system.with_null_space()
        run = self._run(inner)
        prepared = Prepared(op, in_units(inner, options, rows), None, inner, rows, null)
        solution = prepared.carry_out(run, self.x0, None, self.timeout)
        if usable and null is None and rows is None:
            self._keep_from(run)
            if self.plan.guess or self.steps.account.solves == 0:
                self._remember(run, solution)
        return solution

    def _keep_from(self, run: Run) -> None:
        """What a solve from nothing has set up."""
        system, kept, expected = self.system, self.kept, self.expected
        ran = [phase for phase in run.ran if not phase.probing]
        if not run.finished or not ran:
            if ran or run.ran:
                expected.family = expected.family or "jacobi"
            return
        method = ran[-1].method
        expected.family = method
        if method == "direct" and isinstance(run.factor, Factor):
            factor = run.factor
            if not factor.definite or factor.null is not None:
                expected.family = None
                return
            if factor.sparse is not None:
                kept.analysis, kept.pattern = factor.sparse, system.pattern
                expected.learn_fill(factor.sparse.flops, factor.sparse.nnz, system)
            kept.set_up = self._direct(factor, 8 * system.n if factor.sparse is None else factor.sparse.nbytes)
        elif run.preconditioner is not None:
            M, order, _ = run.preconditioner
            last = ran[-1]
            size = bytes_of(method, M, system.n, system.nnz)
            kept.set_up = SetUp(method, system.number, system.diagonal, M, order, nbytes=size)
            kept.set_up.seconds, kept.set_up.solves = last.seconds + last.setup, 1
            if last.iterations:
                done = 1.0  # all of the reduction, the first steps' part included
                expected.learn_iterations(method, None, sum(p.iterations for p in run.ran), done)
                expected.learn_part(f"step.{method}", system, last.seconds, self.columns, last.iterations)
