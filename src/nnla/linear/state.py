"""One solve under way: the iterate, what is left to do, and the phases so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nnla.errors import ShapeError, TimeLimitError
from nnla.kernels.reordering import better_order
from nnla.krylov.cg import CGResult
from nnla.krylov.deflated_cg import DeflationBasis, Harvest
from nnla.krylov.start import start_cg
from nnla.linear.criterion import criterion_of
from nnla.linear.units import Units
from nnla.operators.operator import Operator
from nnla.operators.spaces import Space
from nnla.preconditioners.deflation import DeflatedPreconditioner, DeflationSpace
from nnla.types import Phase, Status

__all__ = ["Run", "Stretch", "quiet", "within"]


@dataclass
class Run:
    """One solve under way: the iterate, what is left to do, and the phases so far.

    Attributes
    ----------
    op, b : the system, in units that are powers of two and in which the right-hand sides have norms in [1, 2): nothing
        under- or overflows, and the residual that was checked is, to the last bit, that of the x which the user gets
    rtol, atol, maxiter, callback : as in `nnla.solve`
    asked : the method asked for
    products_before : products of the operator when the solve began
    started : `time.perf_counter` then
    dtype : asked for inside a polynomial, None for the best
    x, residual : iterate, and b - A x, true if `verified`, else updated
    guess, guess_norms : where the run started, None for zero; norms of its residuals
    units : the user's, `Units`
    size, targets : (k,) norms of the right-hand sides, 0 for a zero column; residual norms to reach
    criterion : the norms that are to reach them
    best : an iterate in the user's order and the norms of its residuals by recurrence, smaller than what came after it
        in the probe; None where there is none
    timed_out : the limit of time has ended it
    rounded : the iterate is a backward stable solution, whose residual is rounding alone
    deterministic : no clock may have a say in what runs
    deflation : that CG is deflated by, None without
    harvest : given the Lanczos vectors of CG, None without
    warm_start : the report on a network's guess, None without
    seed : of anything random
    order, original : of the rows where they were reordered (old numbers); operator, right-hand side and guess before
    more_flops : operations that a factorisation has turned out to take more of; 0 where none was tried
    share : of the seconds of the solve that the clock of the predictions has counted
    predicted_seconds, predicted_spread, reason : of the choice that "auto" made
    cheapest : method -> seconds that each would have taken alone, as known at the end
    factor : of the last direct solution, which may be kept
    preconditioner : M of the last CG that was no probe, the order of its rows, and the operator in it
    phases : what has run
    history : relative residual after each iteration
    """

    op: Operator
    b: Any
    rtol: float
    atol: float
    maxiter: int | None
    callback: Callable[[Any], None] | None
    asked: str
    products_before: int
    started: float
    dtype: str | None = None
    x: Any = None
    residual: Any = None
    verified: bool = False
    guess: Any = None
    guess_norms: Any = None
    units: Any = None
    size: Any = None
    targets: Any = None
    criterion: Any = None
    best: tuple[Any, np.ndarray] | None = None
    timed_out: bool = False
    rounded: bool = False
    deterministic: bool = False
    deflation: DeflationSpace | DeflationBasis | None = None
    harvest: Harvest | None = None
    warm_start: dict[str, Any] | None = None
    seed: int | None = None
    order: Any = None
    original: tuple[Any, Any, Any] | None = None
    reordered: bool = False
    more_flops: float = 0.0
    share: float = 1.0
    predicted_seconds: dict[str, float] | None = None
    predicted_spread: dict[str, float] | None = None
    cheapest: dict[str, float] = field(default_factory=dict[str, float])
    factor: Any = None
    preconditioner: tuple[Any, Any, Operator] | None = None
    reason: str = ""
    setup: float = 0.0  # seconds that belong to the next phase
    phases: list[Phase] = field(default_factory=list[Phase])
    history: list[float] = field(default_factory=list[float])

    @property
    def space(self) -> Space:
        """Of the vectors."""
        return self.op.space

    # -- where it stands -------------------------------------------------------------------------------------------

    @property
    def products(self) -> int:
        """Products with A so far."""
        return self.op.products - self.products_before

    @property
    def finished(self) -> bool:
        """Whether every residual meets its target, in all norms that it is judged by."""
        return within(self.criterion.norms(self.residual), self.targets)

    @property
    def status(self) -> Status:
        """How the last phase ended."""
        ran = self.ran
        return ran[-1].status if ran else Status.CONVERGED

    @property
    def method(self) -> str:
        """What ran last, or is to run."""
        ran = self.ran
        return ran[-1].method if ran else self.asked

    @property
    def ran(self) -> list[Phase]:
        """Phases that were not declined."""
        return [phase for phase in self.phases if not phase.declined]

    @property
    def iterations(self) -> int:
        """Of all phases but the probes."""
        return sum(phase.iterations for phase in self.phases if not phase.probing)

    @property
    def iterations_left(self) -> int | None:
        """Iterations that ``maxiter`` leaves, None without a limit."""
        return None if self.maxiter is None else max(0, self.maxiter - self.iterations)

    @property
    def rtol_left(self) -> float:
        """Reduction still to come, relative to where the run stands."""
        norms = np.atleast_1d(self.criterion.norms(self.residual))
        if len(norms) == 1:
            left = float(norms[0]) / max(float(self.targets[0]), 1e-300)
        else:
            with quiet():  # a target may be zero
                left = float(np.max(norms / np.maximum(self.targets, 1e-300)))
        return min(max(1.0 / max(left, 1e-300), 1e-15), 0.5)

    # -- phases ------------------------------------------------------------------------------------------------------

    def record(self, phase: Phase) -> None:
        """Add a phase, with the set-up that was waiting for it."""
        self.phases.append(replace(phase, setup=phase.setup + self.setup) if self.setup else phase)
        self.setup = 0.0

    def give_up(self, failure: str) -> None:
        """Say why what ran last is left for another method; after what has been said of it."""
        ran = [k for k, phase in enumerate(self.phases) if not phase.declined]
        index = ([k for k in ran if not self.phases[k].probing] or ran)[-1]
        last = self.phases[index]
        self.phases[index] = replace(last, failure="; ".join(s for s in (last.failure, failure) if s))

    def settle(self) -> None:
        """Add the products between and after the phases (of x0, of the last check) to the last that was not a probe."""
        rest = self.products - sum(phase.products for phase in self.phases)
        if not rest:
            return
        if not self.phases:
            self.record(Phase(self.asked, reason="the initial guess meets the tolerance"))
        indices = range(len(self.phases))
        index = max(indices, key=lambda k: (not self.phases[k].declined, not self.phases[k].probing, k))
        self.phases[index] = replace(self.phases[index], products=self.phases[index].products + rest)

    def decline(self, method: str, failure: str) -> None:
        """A method that cannot begin."""
        self.record(Phase(method, declined=True, status=Status.BREAKDOWN, failure=failure))

    def time_out(self) -> None:
        """The limit of time has ended what was running: CG, whose phase is there, or a set-up, which is one now."""
        self.timed_out = True
        if self.status is not Status.TIMEOUT:
            self.record(Phase(self.asked, status=Status.TIMEOUT, failure="the limit of time came first"))

    def mark(self, status: Status) -> None:
        """What the last phase really ended in."""
        self.phases[-1] = replace(self.phases[-1], status=status)

    def begin(self, M: Any, method: str, **options: Any) -> Stretch:
        """CG with M from where the run stands, to be advanced and ended; options as `Stretch` takes them."""
        return Stretch(self, M, method, **options)

    def iterate(self, M: Any, method: str, **options: Any) -> Phase:
        """CG with M from where the run stands, to its end."""
        return Stretch(self, M, method, **options).finish()

    # -- order of the rows --------------------------------------------------------------------------------------------

    def reorder(self) -> bool:
        """Go on with rows and columns in an order that products are faster in, where there is one that pays.

        Scalings and polynomials made before are of the old order. `restore_order` turns everything back.
        """
        found = self.find_order()
        if found is not None:
            started = time.perf_counter()
            order, matrix = found
            self.enter_order(order, self.op.permuted(order, matrix))
            self.setup += time.perf_counter() - started
        return found is not None

    def find_order(self) -> tuple[np.ndarray, Any] | None:
        """An order of the rows that products are faster in, and the matrix in it; None where none pays."""
        if self.reordered or self.op.csr is None or self.b.ndim != 1 or self.deflation is not None:
            return None
        started = time.perf_counter()
        found = better_order(self.op.csr)
        self.setup += time.perf_counter() - started
        return found

    def enter_order(self, order: np.ndarray, permuted: Operator) -> None:
        """Go on with the rows in this order (old numbers), and the operator that has them so."""
        self.order, self.original, self.reordered = order, (self.op, self.b, self.guess), True
        self.op, self.b, self.x, self.residual = permuted, self.b[order], self.x[order], self.residual[order]
        self.guess = None if self.guess is None else self.guess[order]
        self.criterion = self.criterion.reorder(order)

    def in_users_order(self, x: np.ndarray) -> np.ndarray:
        """A vector of the run, as the user numbers it."""
        if self.order is None:
            return x
        out = np.empty_like(x)
        out[self.order] = x
        return out

    def restore_order(self) -> None:
        """Go back to the user's order for good."""
        if self.order is None:
            return
        assert self.original is not None
        op, self.b, self.guess = self.original
        self.x = self.in_users_order(self.x)
        self.criterion = self.criterion.reorder(np.argsort(self.order))
        self.op, self.order, self.verified = op, None, False

    # -- where it starts ---------------------------------------------------------------------------------------------

    def start(self, x0: Any, rows: np.ndarray | None = None) -> None:
        """Scale the right-hand sides, set the targets, and take x0; ``op`` is scaled by 2^rows already."""
        self.units, self.b, self.size = Units.of(self.space, self.b, rows)  # a copy of the user's
        self.criterion = criterion_of(self.op, self.b, self.size, rows)
        absolute = self._absolute() if self.atol else 0.0
        # the norms of the user may be summed in another order
        self.targets = np.maximum(self.rtol * self.size, absolute) * (1 - 1e-12)
        self.x, self.residual = self.space.zeros_like(self.b), self.space.copy(self.b)
        if x0 is not None:
            guess = self.op.as_vector(x0, "x0")
            if tuple(guess.shape) != tuple(self.b.shape):
                raise ShapeError(f"x0 has shape {tuple(guess.shape)} but b has {tuple(self.b.shape)}")
            with quiet():  # a guess beyond what A can multiply is worse than zero
                self._start_near(self.units.enter_solution(guess))
        self.verified = True
        self.guess = None if x0 is None else self.space.copy(self.x)
        self.guess_norms = self.size if x0 is None else np.atleast_1d(self.criterion.norms(self.residual))

    def _absolute(self) -> np.ndarray:
        """The user's absolute tolerance as a norm in the units of the run."""
        rows, columns = self.units.rows, self.units.columns
        with np.errstate(over="ignore", under="ignore"):
            if rows is None or not np.ptp(rows):
                return np.minimum(np.ldexp(float(self.atol), (0 if rows is None else int(rows[0])) - columns), 1e300)
            norms = self.criterion.users_norms(self.b)
            share = np.divide(np.ldexp(float(self.atol), -columns), norms, out=np.ones_like(norms), where=norms > 0)
            return np.minimum(share, 1e300) * np.where(self.size > 0, self.size, 1.0)

    def _start_near(self, guess: Any) -> None:
        """Start at a guess in the columns where it is nearer to the solution than zero in the A-norm.

        The squared A-norm of the error is that of zero plus x0'A x0 - 2 b'x0.
        """
        space = self.space
        image = self.op.matvec(guess)
        along, curvature = np.atleast_1d(space.inner(self.b, guess)), np.atleast_1d(space.inner(guess, image))
        left = self.b - image
        size = np.atleast_1d(self.criterion.norms(left))
        nearer = (along > 0.5 * curvature) & (curvature >= 0) & np.isfinite(curvature) & np.isfinite(size)
        nearer = (nearer | (size <= self.targets)) & (self.size > 0)  # of A x = 0 the solution is 0
        self.x, self.residual = space.choose(nearer, guess, self.x), space.choose(nearer, left, self.residual)

    def begin_at(self, x: Any, space: DeflationSpace | DeflationBasis | None) -> None:
        """Take a guess in the user's units, each column at its best length in the A-norm, and a space to deflate by."""
        if x.shape == self.b.shape and np.any(x):
            x = self.units.enter_solution(x)
            Ax = self.op.matvec(x)
            along, curvature = np.atleast_1d(self.space.inner(self.b, x)), np.atleast_1d(self.space.inner(x, Ax))
            fits = (along > 0) & (curvature > 0) & np.isfinite(curvature)
            length = self.space.row(np.divide(along, curvature, out=np.zeros_like(along), where=fits), self.b)
            with quiet():
                left = self.b - length * Ax
            sound = np.isfinite(np.atleast_1d(self.space.norm(left)))  # else an overflow: 0 inf is no residual
            self.x = self.space.choose(sound, length * x, self.x)
            self.residual = self.space.choose(sound, left, self.residual)
        if space is not None and space.rank:
            self.deflation = space
            self.solve_in_space()
        self.verified = False
        if self.finished:  # by recurrences so far
            self.check()

    def solve_in_space(self) -> None:
        """Make the residual orthogonal to the subspace, as deflated CG needs it."""
        assert self.deflation is not None
        self.x = self.x + self.deflation.solve(self.residual)
        self.residual = self.residual - self.deflation.image(self.residual)

    def check(self) -> None:
        """Compute the true residual. Cost: a product for each column."""
        self.residual = self.b - self.op.matvec(self.x)
        self.verified = True

    def fall_back_to(self, mask: np.ndarray, x: Any) -> None:
        """Take the columns of the mask from another iterate."""
        if mask.any():
            self.x = self.space.choose(mask, x, self.x)
            self.check()

    def take_better(self, x: Any, norms: np.ndarray) -> None:
        """Take the columns of an earlier iterate whose true residuals are smaller; ``norms`` are by recurrence.

        Cost: a product, where an earlier one promises to be better. The residual has to be the true one.
        """
        hopeful = ~(np.atleast_1d(self.space.norm(self.residual)) <= norms)  # NaN: worse
        if not hopeful.any():
            return
        last, residual = self.x, self.residual
        size = np.atleast_1d(self.criterion.norms(residual))
        self.fall_back_to(hopeful, x)
        worse = ~(np.atleast_1d(self.criterion.norms(self.residual)) <= size) & np.isfinite(size)
        if worse.any():
            self.x = self.space.choose(worse, last, self.x)
            self.residual = self.space.choose(worse, residual, self.residual)

    def remember(self, x: Any, norms: np.ndarray) -> None:
        """Keep an iterate for the end, where CG goes on from a later one with a larger residual."""
        if not np.any(norms < np.atleast_1d(self.space.norm(self.residual))):
            return
        x = self.in_users_order(x)
        if self.best is not None:
            kept, before = self.best
            x, norms = self.space.choose(norms < before, x, kept), np.minimum(norms, before)
        self.best = x, norms


class Stretch:
    """CG under way with one preconditioner: `advance` it, look at `result`, `end` it.

    Parameters
    ----------
    run : whose iterate moves
    M : a bound scaling or a polynomial preconditioner
    method : on whose behalf
    products_each : products with A of an iteration, which the limits are shared out by
    one_reduction, flexible : as `nnla.krylov.start.start_cg` takes them
    probing : these are the first steps of something else, whose limit is the caller's
    facts : fields of the `Phase` to be
    """

    def __init__(
        self,
        run: Run,
        M: Any,
        method: str,
        *,
        products_each: int = 1,
        one_reduction: bool = False,
        flexible: bool = False,
        probing: bool = False,
        **facts: Any,
    ) -> None:
        self._run, self._clock, self._products = run, time.perf_counter(), run.op.products
        # a polynomial made before may multiply by an operator of its own
        self._elsewhere: Operator | None = getattr(M, "operator", None)
        if self._elsewhere is run.op:
            self._elsewhere = None
        self._products_elsewhere = 0 if self._elsewhere is None else self._elsewhere.products
        self._applies = getattr(M, "applies", 0)
        self._polynomial = M
        if not probing:
            run.preconditioner = M, run.order, run.op
        self._method, self._probing, self._facts = method, probing, facts
        # a probe is to see the whole spectrum: the polynomial acts on it
        if run.deflation is not None and not probing:
            run.solve_in_space()
            M = DeflatedPreconditioner(M, run.deflation)
        self._products_each = products_each
        self._before = 0, 0  # iterations and reductions that are in another phase
        self.limit = self._most()
        stall = None if probing else self._stall()
        self.started = float(np.max(np.atleast_1d(run.criterion.norms(run.residual))))  # norm of the residual then
        self._saved, self._saved_norms = run.space.copy(run.x), np.atleast_1d(run.space.norm(run.residual))
        with quiet():
            self._cg: Any = start_cg(
                run.op,
                run.b,
                x=run.x,
                residual=run.residual,
                targets=run.targets,
                sizes=run.size,
                M=M,
                flexible=flexible,
                one_reduction=one_reduction,
                stall=stall,
                callback=None if run.callback is None else self._call,
                judge=None if run.criterion.plain else run.criterion.norms,
                best=self._saved,
                harvest=None if probing else run.harvest,
            )
        self.result: CGResult = self._cg.result

    def _most(self) -> int:
        left = self._run.iterations_left
        return -(-(10 * self._run.op.n + 100) // self._products_each) if left is None else left

    def _stall(self) -> int:
        return -(-max(300, min(2 * self._run.op.n, 20_000)) // self._products_each) + 20

    def becomes(self, method: str) -> None:
        """Go on with the steps of a probe as the method itself: those done are recorded as the probe that they were.

        The iteration is the same one, so nothing of its Krylov space is lost.
        """
        self._run.record(self._phase())
        self._before = self.result.iterations, self.result.reductions
        self._clock, self._products = time.perf_counter(), self._run.op.products
        self._method, self._probing = method, False
        self._run.preconditioner = self._polynomial, self._run.order, self._run.op
        self._facts = {**self._facts, "reason": ""}
        self.limit = self.result.iterations + self._most()
        self._cg.give_up_after(self._stall())

    @property
    def replaces(self) -> bool:
        """Whether it runs in the place of a phase that failed."""
        return bool(self._facts.get("instead", False))

    @property
    def goes_on(self) -> bool:
        """Whether CG has neither converged nor failed, and may do more iterations."""
        return self.result.status is Status.MAXITER and (self._probing or self.result.iterations < self.limit)

    @property
    def exhausted(self) -> bool:
        """Whether a limit has ended it that the caller of the solve did not set."""
        return self._run.maxiter is None and self.result.status is Status.MAXITER and not self.goes_on

    def advance(self, iterations: int | None = None) -> CGResult:
        """So many iterations more, as far as the limit allows; by default to the end."""
        left = self.limit - self.result.iterations
        if iterations is None or not self._probing:
            iterations = left if iterations is None else min(iterations, left)
        with quiet():
            result = self._cg.advance(max(iterations, 0))
        if result.status is Status.TIMEOUT:
            self.end()
            raise TimeLimitError("the limit of time is over")
        return result

    def couple(self) -> CGResult:
        """The last Lanczos coefficient as well. Cost: an application of M."""
        with quiet():
            return self._cg.couple()

    def end(self) -> Phase:
        """Check the residual where that is needed, go back where nothing was gained, and record the phase."""
        run, result = self._run, self.result
        self._cg = None  # its vectors are not needed for what follows
        if result.x.shape == run.x.shape:  # else the kernels have worked in place, on flat views
            run.x, run.residual = result.x, result.residual
        with quiet():
            if result.best_norms is None:  # nothing has run
                result.best_norms = self._saved_norms
            run.verified = result.status is Status.CONVERGED
            if not run.verified and not (self._probing and result.status is Status.MAXITER):
                run.check()
                run.take_better(self._saved, result.best_norms)
            elif not run.verified:
                run.remember(self._saved, result.best_norms)
        run.history += result.history
        elsewhere = 0 if self._elsewhere is None else self._elsewhere.products - self._products_elsewhere
        run.products_before -= elsewhere
        run.record(self._phase(elsewhere))
        return run.phases[-1]

    def _phase(self, elsewhere: int = 0) -> Phase:
        """What has run since the last one was recorded."""
        result, (iterations, reductions) = self.result, self._before
        return Phase(
            self._method,
            probing=self._probing,
            iterations=result.iterations - iterations,
            products=self._run.op.products - self._products + elsewhere,
            applies=getattr(self._polynomial, "applies", 0) - self._applies,
            reductions=result.reductions - reductions,
            seconds=time.perf_counter() - self._clock,
            status=result.status,
            **self._facts,
        )

    def finish(self) -> Phase:
        """Advance to the end, and record the phase."""
        self.advance()
        return self.end()

    def _call(self, x: Any) -> None:
        run = self._run
        assert run.callback is not None
        with quiet():
            run.callback(run.units.leave(run.in_users_order(x)))


def within(norms: Any, targets: np.ndarray) -> bool:
    """Whether every norm, a number or one for each column, is at most its target; NaN is not."""
    if isinstance(norms, float):  # NumPy's functions would cost more than a small product
        return norms <= float(targets[0])
    return bool(np.all(norms <= targets))


def quiet() -> Any:
    """What overflows shows in the statuses."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore")
