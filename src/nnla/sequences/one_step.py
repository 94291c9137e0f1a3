"""One system of a sequence under way: with what is kept, set up anew, or from nothing; what it leaves is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import NNLAError, TimeLimitError
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.interruption import time_limit
from nnla.kernels.machine import memory_limit
from nnla.krylov.deflated_cg import Harvest
from nnla.krylov.solution_space import SolutionSpace
from nnla.linear.direct import Factor, factorise
from nnla.linear.options import Options
from nnla.linear.preconditioner import PolynomialPreconditioner, quick_dtype
from nnla.linear.prepare import Prepared, in_units
from nnla.linear.quick import QUICK_METHODS, solve_quickly
from nnla.linear.state import Run
from nnla.preconditioners.scalings import Scaling, bind_amg, bind_scaling
from nnla.sequences.changes import Change
from nnla.sequences.costs import counted
from nnla.sequences.direct_steps import DirectAnswer, direct_report, solve_repeatedly, solve_with_factor
from nnla.sequences.expectations import Expectations, analysed, drift_of
from nnla.sequences.iterative_steps import best_start, iterate, take_to_the_end
from nnla.sequences.kept import Kept, SetUp, bytes_of
from nnla.sequences.patterns import in_one_pattern
from nnla.sequences.policy import Plan
from nnla.sequences.systems import System
from nnla.types import Solution

__all__ = ["OneStep", "Wanted"]

_MOST_FLOPS = 1e13  # of a factorisation: minutes


@dataclass(frozen=True, eq=False)
class Wanted:
    """A right-hand side, and how it is to be solved for.

    Attributes
    ----------
    b : (n,) or (n, k), as `Operator.as_vector` returns it
    x0, rtol, atol, maxiter, callback, timeout : as in `nnla.solve`
    started : `time.perf_counter` when it was asked for
    """

    b: Any
    x0: Any
    rtol: float
    atol: float
    maxiter: int | None
    callback: Callable[[Any], None] | None
    timeout: float | None
    started: float

    @property
    def columns(self) -> int:
        """Right-hand sides."""
        return 1 if self.b.ndim == 1 else int(self.b.shape[1])


class OneStep:
    """One system under way.

    Parameters
    ----------
    system, change, wanted : what is to be solved
    plan : what to do
    number : of the solve
    options : as `nnla.solve` was asked
    kept, expected : of the sequence, which learn
    clock : seconds

    Attributes
    ----------
    guessed : logarithm of what the guess made of the residual, by that of the reduction asked for; None without
    """

    def __init__(
        self, system: System, change: Change, wanted: Wanted, plan: Plan, number: int, *, options: Options, kept: Kept,
        expected: Expectations, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.system, self.change, self.wanted, self.plan, self.number = system, change, wanted, plan, number
        self.options, self.kept, self.expected, self.clock = options, kept, expected, clock
        self.products = system.op.products
        self.guessed: float | None = None

    # -- what is kept ----------------------------------------------------------------------------------------------

    def keep(self, alternative: float) -> Solution | None:
        """Solve with what is kept; None where it does not serve. CG is left for an alternative of so many seconds."""
        set_up = self.kept.set_up
        if set_up is None:
            return None
        if set_up.method == "direct" and set_up.number == self.system.number:
            return self._substitute(set_up, "the factor was kept")
        return self._iterate(set_up, alternative)

    def refresh(self, method: str, alternative: float) -> Solution | None:
        """Set a method up for this matrix, and solve; None where that does not lead to a solution.

        CG is left where the rest promises to take longer than an alternative of so many seconds.
        """
        began = self.clock()
        kept, system = self.kept, self.system
        if method == "jacobi" and self._may_be_quick() and not (self.plan.guess or self.plan.deflation):
            solution = self._quickly("jacobi")
            if solution is not None:
                self._learn_quick(solution, self.clock() - began)
                return solution
        try:
            with time_limit(self.wanted.timeout):
                if method != "direct":
                    set_up = self._set_up(method)
                elif system.op.csr is not None and Cholesky.available():
                    return self._factor_sparse()
                else:
                    set_up = self._factor_dense()
        except (NNLAError, RuntimeError, MemoryError, np.linalg.LinAlgError) as error:
            if isinstance(error, TimeLimitError) and self.wanted.timeout is None:
                raise  # the caller's own limit
            kept.set_up = None
            return None
        if set_up is None:
            return None
        set_up.seconds = self.clock() - began
        kept.set_up = set_up
        if method == "direct":
            return self._substitute(set_up, "factored anew")
        self.expected.learn_part(f"setup.{method}", system, set_up.seconds)
        return self._iterate(set_up, alternative if self.options.method == "auto" else math.inf)

    # -- factors -----------------------------------------------------------------------------------------------------

    def _factor_sparse(self) -> Solution | None:
        """By the native call, with the analysis of the pattern, or of one that contains it."""
        system, kept, expected = self.system, self.kept, self.expected
        began = self.clock()
        matrix, words = self._in_kept_pattern()
        repeated = kept.repeated
        if repeated is None or not repeated.complete or repeated.nbytes > memory_limit():
            return None
        if not analysed(kept, system):
            expected.learn_fill(repeated.flops, repeated.nnz, system)
        kept.set_up = None  # so that its factor's memory may be used again
        answer = solve_repeatedly(repeated, matrix, self.wanted.b, self.wanted.rtol, self.wanted.atol)
        if isinstance(answer, int):
            return None
        self._learn_direct(answer, repeated.flops, repeated.nnz)
        set_up = SetUp("direct", system.number, system.diagonal)
        set_up.seconds = self.clock() - began
        system.matrix, kept.set_up = matrix, set_up
        return self._answer(answer, words)

    def _in_kept_pattern(self) -> tuple[Any, str]:
        """The matrix in a pattern that an analysis is kept of, made anew where there is none."""
        system, kept = self.system, self.kept
        csr = system.op.csr
        if analysed(kept, system):
            return csr, "factored with the kept analysis"
        other = kept.matrix_of_places(system.n)
        merged = None if other is None else in_one_pattern(csr, other)
        began = self.clock()
        if merged is None:
            kept.analyse(csr, system.pattern)
            matrix, words = csr, "analysed and factored"
        else:
            matrix, contained = merged
            if contained:
                return matrix, "factored with the analysis of a pattern that contains this one"
            kept.analyse(matrix, ())
            words = "analysed with entries of earlier matrices, and factored"
        self.expected.learn_part("order", system, self.clock() - began)
        return matrix, words

    def _factor_dense(self) -> SetUp | None:
        """Cholesky of a dense matrix, or SuperLU without the native kernels; None unless it is definite."""
        system, expected = self.system, self.expected
        began = self.clock()
        factor = factorise(system.op)
        if not factor.definite or factor.null is not None:
            return None
        flops, entries = expected.fill(system, self.kept)
        known = counted("factor", system.n, system.nnz, flops=flops, entries=entries)
        expected.costs.learn("factor", measured=self.clock() - began, counted=known)
        return self.direct(factor, 8 * system.n**2)

    def direct(self, factor: Factor, nbytes: int) -> SetUp:
        """A factor as a set-up."""
        M = Scaling("direct", factor.solve, cost=1.0)
        return SetUp("direct", self.system.number, self.system.diagonal, M, factor=factor, nbytes=nbytes)

    def _substitute(self, set_up: SetUp, words: str) -> Solution | None:
        """By the factor of this matrix."""
        wanted, system = self.wanted, self.system
        answer: DirectAnswer | int | None
        try:
            with time_limit(wanted.timeout):
                if set_up.factor is not None:
                    solve = set_up.factor.solve
                    answer = solve_with_factor(system.op, solve, wanted.b, wanted.rtol, wanted.atol, self.clock)
                elif self.kept.repeated is None or system.matrix is None:
                    return None
                else:
                    answer = solve_repeatedly(self.kept.repeated, system.matrix, wanted.b, wanted.rtol, wanted.atol)
        except TimeLimitError:
            if wanted.timeout is None:
                raise
            return None
        if answer is None or isinstance(answer, int):
            return None
        _, entries = self.expected.fill(system, self.kept)
        known = counted("substitution", system.n, system.nnz, entries=entries, columns=wanted.columns)
        self.expected.costs.learn("substitution", measured=answer.seconds - answer.setup, counted=known)
        return self._answer(answer, words)

    def _answer(self, answer: DirectAnswer, words: str) -> Solution:
        system, wanted = self.system, self.wanted
        return direct_report(
            system.n, system.nnz, answer, wanted.rtol, wanted.started, words, self.options.deterministic
        )

    def _learn_direct(self, answer: DirectAnswer, flops: float, entries: float) -> None:
        n, nnz, costs = self.system.n, self.system.nnz, self.expected.costs
        known = counted("factor", n, nnz, flops=flops, entries=entries)
        costs.learn("factor", measured=answer.setup, counted=known)
        known = counted("substitution", n, nnz, entries=entries, columns=self.wanted.columns)
        costs.learn("substitution", measured=answer.seconds - answer.setup, counted=known)

    # -- iterations --------------------------------------------------------------------------------------------------

    def _set_up(self, method: str) -> SetUp | None:
        """A preconditioner of this matrix, in the order of the one before."""
        system, before = self.system, self.kept.set_up
        order = None if before is None or before.diagonal.size != system.n else before.order
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

    def _iterate(self, set_up: SetUp, alternative: float) -> Solution | None:
        """CG with a set-up, of this matrix or of an earlier one."""
        system, expected, wanted = self.system, self.expected, self.wanted
        _, inner, rows, null = system.with_null_space()
        if null is not None or rows is not None:
            return None
        method = set_up.method
        if set_up.M is None:
            native = None if self.kept.repeated is None else self.kept.repeated.preconditioner()
            if native is None or system.op.native is None or wanted.columns > 1:
                return None
            set_up.M = Scaling("direct", _no_solve, cost=1.0, native=native)
        drift = drift_of(set_up, system)
        x0, renewed = self._guess()
        step = expected.step(method, system, self.kept, wanted.columns)
        run = self._run(inner)
        age = system.number - set_up.number
        reason = "set up for this matrix" if drift is None else f"set up {age} matrices ago"
        began = self.clock()

        def work(run: Run) -> None:
            self._deflate(run, set_up)
            iterate(run, set_up, system, step, alternative, reason)
            run.deflation = None

        solution = take_to_the_end(run, x0, self.options, wanted.timeout, work)
        self._keep_harvest(run)
        self._learn_iteration(run, method, drift, self.clock() - began, renewed)
        self._remember(run, solution)
        return solution

    def _learn_iteration(self, run: Run, method: str, drift: float | None, seconds: float, renewed: float) -> None:
        system, expected = self.system, self.expected
        first = next((phase for phase in run.ran if phase.method == method), None)
        if first is None or not first.iterations or not run.history:
            return
        count = first.iterations
        start = float(np.max(run.guess_norms / np.where(run.size > 0, run.size, 1.0)))
        ends = max(run.history[min(count, len(run.history)) - 1], 1e-300)
        done = math.log(max(start / ends, 1.0 + 1e-9)) / expected.digits
        expected.learn_iterations(method, drift, count, done)
        if len(run.ran) == 1:
            expected.learn_step(method, system, self.kept, self.wanted.columns, first.seconds / count)
            expected.learn_part("around", system, max(seconds - first.seconds, 1e-6))
        if self.guessed is not None:
            whole = expected.iterations(method, drift) * expected.step(method, system, self.kept, self.wanted.columns)
            vectors = 0 if self.kept.space is None else len(self.kept.space)
            expected.learn_guess(self.guessed, self.guessed * whole - renewed, self.number, vectors)

    def _run(self, inner: Any) -> Run:
        wanted, options = self.wanted, self.options
        return Run(
            inner, wanted.b, wanted.rtol, wanted.atol, wanted.maxiter, wanted.callback, options.method, self.products,
            wanted.started, options.precision,
        )  # fmt: skip

    # -- old solutions -----------------------------------------------------------------------------------------------

    def _guess(self) -> tuple[Any, float]:
        """Where to start, with the old solutions brought to this matrix, and the seconds that this took."""
        space, system, wanted = self.kept.space, self.system, self.wanted
        if not self.plan.guess or space is None or space.n != system.n or not len(space) or wanted.b.ndim != 1:
            return wanted.x0, 0.0
        began = self.clock()
        if self.kept.space_number != system.number:
            space.renew(system.op)
            self.kept.space_number = system.number
        x0 = best_start(system, wanted.b, wanted.x0, space)
        r = wanted.b - system.op.matvec(x0)
        size, left = float(np.linalg.norm(wanted.b)), float(np.linalg.norm(r))
        if 0.0 < left < math.inf and size > 0.0:
            self.guessed = math.log(size / left) / self.expected.digits
        seconds = self.clock() - began
        self.expected.learn_part("renew", system, seconds, times=len(space))
        return x0, seconds

    def _remember(self, run: Run, solution: Solution) -> None:
        """Keep a solution for later guesses."""
        system, kept, most = self.system, self.kept, self.plan.guess
        if self.wanted.b.ndim != 1 or not solution.report.converged or run.units.rows is not None or not most:
            return
        if kept.space is None or kept.space.n != system.n:
            kept.space, kept.space_number = SolutionSpace(system.n, most), system.number
        if kept.space_number != system.number:
            return
        image = (run.b - run.residual) * math.ldexp(1.0, int(run.units.columns[0]))
        kept.space.add(np.array(solution.x), image)

    # -- deflation ---------------------------------------------------------------------------------------------------

    def _deflate(self, run: Run, set_up: SetUp) -> None:
        """Deflate by what was harvested, brought to this matrix; harvest where there is nothing yet."""
        kept, system = self.kept, self.system
        if not self.plan.deflation or self.wanted.columns > 1 or set_up.order is not None:
            return
        if kept.basis is None or kept.basis.n != system.n:
            run.harvest = Harvest(system.n, self.plan.deflation)
            return
        if kept.basis_number != system.number:
            kept.basis.renew(system.op)
            kept.basis_number = system.number
        run.deflation = kept.basis

    def _keep_harvest(self, run: Run) -> None:
        found = None if run.harvest is None else run.harvest.basis(self.system.op)
        if found is not None and found.rank:
            self.kept.basis, self.kept.basis_number = found, self.system.number

    # -- from nothing ------------------------------------------------------------------------------------------------

    def cold(self, usable: bool) -> Solution:
        """As `nnla.solve`; what it has set up is kept."""
        system, options, wanted = self.system, self.options, self.wanted
        if usable and options.method in QUICK_METHODS and self._may_be_quick():
            solution = self._quickly(options.method)
            if solution is not None:
                self.expected.begin(solution.report.method, solution.report.predicted_seconds)
                self._learn_quick(solution, 0.0)
                return solution
        op, inner, rows, null = system.with_null_space()
        run = self._run(inner)
        prepared = Prepared(op, in_units(inner, options, rows), None, inner, rows, null)
        solution = prepared.carry_out(run, wanted.x0, None, wanted.timeout)
        if usable and null is None and rows is None:
            self._keep_from(run)
            self._remember(run, solution)
        return solution

    def _may_be_quick(self) -> bool:
        """Whether nothing was asked for that the native call for small systems does not know."""
        wanted = self.wanted
        asked = (wanted.x0, wanted.maxiter, wanted.callback, wanted.timeout)
        return all(option is None for option in asked) and wanted.columns == 1 and not self.options.deterministic

    def _quickly(self, method: str) -> Solution | None:
        """By the native call for small systems; None where it declines."""
        csr, wanted = self.system.op.csr, self.wanted
        if csr is None:
            return None
        found = solve_quickly(csr, wanted.b, wanted.rtol, wanted.atol, wanted.started, method)
        return found if isinstance(found, Solution) else None

    def _learn_quick(self, solution: Solution, seconds: float) -> None:
        """What such a call tells of iterations."""
        report, system, expected = solution.report, self.system, self.expected
        if report.method != "jacobi" or not report.iterations:
            return
        done = math.log(1.0 / max(report.relative_residual, 1e-300)) / expected.digits
        expected.learn_iterations("jacobi", None, report.iterations, done)
        solve = report.seconds["solve"]
        expected.learn_step("jacobi", system, self.kept, 1, solve / report.iterations)
        if seconds > solve:
            expected.learn_part("around", system, seconds - solve)

    def _keep_from(self, run: Run) -> None:
        """What a solve from nothing has set up."""
        system, kept, expected = self.system, self.kept, self.expected
        ran = [phase for phase in run.ran if not phase.probing] or run.ran
        if not run.finished or not ran:
            return
        method, last = ran[-1].method, ran[-1]
        if method == "direct":
            factor = run.factor
            if not isinstance(factor, Factor) or not factor.definite or factor.null is not None:
                return
            if factor.sparse is None:
                kept.set_up = self.direct(factor, 8 * system.n**2)
            else:
                repeated = kept.analyse(system.op.csr, system.pattern, factor.sparse)
                expected.learn_fill(repeated.flops, repeated.nnz, system)
                if not repeated.factored:
                    expected.begin(method, run.predicted_seconds)
                    return
                system.matrix = system.op.csr
                kept.set_up = SetUp("direct", system.number, system.diagonal)
            kept.set_up.seconds, kept.set_up.solves = last.seconds + last.setup, 1
        elif run.preconditioner is not None and not last.probing:
            M, order, _ = run.preconditioner
            size = bytes_of(method, M, system.n, system.nnz)
            kept.set_up = SetUp(method, system.number, system.diagonal, M, order, nbytes=size)
            kept.set_up.seconds, kept.set_up.solves = last.seconds + last.setup, 1
        expected.begin(method, run.predicted_seconds)
        if last.iterations and method != "direct":
            expected.learn_iterations(method, None, sum(phase.iterations for phase in run.ran), 1.0)
            expected.learn_step(method, system, kept, self.wanted.columns, last.seconds / last.iterations)


def _no_solve(_: Any) -> Any:
    raise AssertionError("a kept factor preconditions in the native kernels")
