"""One solve under way: the iterate, what is left to do, and what it has cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nnla.errors import ShapeError
from nnla.kernels.reordering import better_order
from nnla.kernels.system import native_system
from nnla.krylov.cg import CGResult, conjugate_gradients
from nnla.krylov.native_cg import native_conjugate_gradients
from nnla.operators.arrays import as_row, inner, norm, zeros_like
from nnla.operators.operator import Operator
from nnla.polynomials.design import Design
from nnla.preconditioners.deflation import DeflatedPreconditioner, DeflationSpace
from nnla.types import Report, Solution, Status, library_versions

if TYPE_CHECKING:
    from nnla.guesses.guess import Guess

__all__ = ["Run"]


@dataclass
class Run:
    """One solve under way: the iterate, what is left to do, and what it has cost."""

    op: Operator
    b: Any
    rtol: float
    atol: float
    maxiter: int | None
    callback: Callable[[Any], None] | None
    products_before: int
    started: float
    x: Any = None
    residual: Any = None
    guess: Any = None  # where the run started, None for zero
    # Right-hand sides are scaled by powers of two to norms in [1, 2): nothing under- or overflows, and the
    # residual that was checked is, to the last bit, that of the x which the user gets.
    unit: Any = None
    size: Any = None  # their norms then, 0 for a zero column
    targets: Any = None
    method: str = ""
    scaling: str = "none"
    because: str = ""
    status: Status = Status.CONVERGED
    verified: bool = False  # residual is b - A x, computed, not updated
    fallback: str | None = None
    design: Design | None = None
    space: DeflationSpace | None = None  # that CG is deflated by
    warm_start: dict[str, Any] | None = None  # the report on the guess
    seed: int | None = None
    dtype: str | None = None  # that the user asked for inside a polynomial
    precision: str | None = None  # and that it got
    order: Any = None  # of the rows, where they were reordered: old numbers
    original: tuple[Any, Any, Any] | None = None  # operator, right-hand side and guess in the user's order
    predicted_seconds: dict[str, float] | None = None
    degree: int | None = None
    iterations: int = 0
    probe_iterations: int = 0
    products_probe: int = 0
    applies: int = 0
    reductions: int = 0
    history: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"probe": 0.0, "setup": 0.0, "solve": 0.0})

    @property
    def products(self) -> int:
        return self.op.products - self.products_before

    @property
    def finished(self) -> bool:
        return bool(np.all(np.atleast_1d(norm(self.residual)) <= self.targets))

    @property
    def rtol_left(self) -> float:
        """Reduction still to come, relative to where the run stands."""
        left = np.atleast_1d(norm(self.residual)) / np.maximum(self.targets, 1e-300)
        return min(max(1.0 / max(float(np.max(left)), 1e-300), 1e-15), 0.5)

    def give_up(self, what: str) -> None:
        """Note what was given up and why, after what was given up before."""
        self.fallback = what if self.fallback is None else f"{self.fallback}; {what}"

    def reorder(self) -> bool:
        """Go on with rows and columns in an order that products are faster in, where there is one that pays.

        Scalings and polynomials made before are of the old order. `solution` turns everything back.
        """
        if self.order is not None or self.op.csr is None or self.b.ndim != 1 or self.space is not None:
            return False
        started = time.perf_counter()
        found = better_order(self.op.csr)
        if found is not None:
            order, matrix = found
            permuted = self.op.permuted(order, matrix)
            self.order, self.original = order, (self.op, self.b, self.guess)
            self.op, self.b, self.x, self.residual = permuted, self.b[order], self.x[order], self.residual[order]
            self.guess = None if self.guess is None else self.guess[order]
            self.because += "; reordered by reverse Cuthill-McKee"
        self.seconds["setup"] += time.perf_counter() - started
        return found is not None

    def in_users_order(self, x: np.ndarray) -> np.ndarray:
        """A vector of the run, as the user numbers it."""
        if self.order is None:
            return x
        out = np.empty_like(x)
        out[self.order] = x
        return out

    def _restore_order(self) -> None:
        assert self.original is not None
        op, self.b, self.guess = self.original
        self.x = self.in_users_order(self.x)
        self.op, self.order, self.verified = op, None, False

    def start(self, x0: Any) -> None:
        """Scale the right-hand sides, take x0 where it helps, and set the targets."""
        size = np.atleast_1d(norm(self.b))
        self.unit = np.where(size > 0, np.ldexp(1.0, np.frexp(size)[1] - 1), 1.0)
        self.size = size / self.unit
        self.b /= as_row(self.unit, self.b)  # a copy of the user's
        with np.errstate(over="ignore"):
            absolute = np.minimum(self.atol / self.unit, 1e300)
        # the norms of the user may be summed in another order
        self.targets = np.maximum(self.rtol * self.size, absolute) * (1 - 1e-12)
        self.x, self.residual = zeros_like(self.b), self.b * 1.0
        if x0 is not None:
            guess = self.op.as_vector(x0, "x0")
            if tuple(guess.shape) != tuple(self.b.shape):
                raise ShapeError(f"x0 has shape {tuple(guess.shape)} but b has {tuple(self.b.shape)}")
            guess = guess / as_row(self.unit, self.b)
            residual = self.b - self.op.matvec(guess)
            better = np.atleast_1d(norm(residual)) < np.atleast_1d(norm(self.residual))
            keep = as_row(better.astype(float), self.b)
            self.x, self.residual = keep * guess, keep * residual + (1 - keep) * self.residual
        self.verified = True
        self.guess = None if x0 is None else self.x * 1.0

    def begin_at(self, guess: Guess) -> None:
        """Take a network's guess, each column at its best length in the A-norm, and its space to deflate by."""
        if guess.report.fallback is not None:
            self.give_up(guess.report.fallback)
        self.warm_start = json.loads(guess.report.to_json())
        if not guess.report.used:
            return
        unit = as_row(self.unit, self.b)
        if guess.x.shape == self.b.shape and np.any(guess.x):
            x = guess.x / unit
            Ax = self.op.matvec(x)
            along, curvature = np.atleast_1d(inner(self.b, x)), np.atleast_1d(inner(x, Ax))
            fits = (along > 0) & (curvature > 0) & np.isfinite(curvature)
            length = as_row(np.divide(along, curvature, out=np.zeros_like(along), where=fits), self.b)
            self.x, self.residual = length * x, self.b - length * Ax
        if guess.space is not None and guess.space.rank:
            self.space = guess.space
            self._solve_in_space()
        self.verified = False
        if self.finished:  # by recurrences so far
            self.residual = self.b - self.op.matvec(self.x)
            self.verified = True

    def _solve_in_space(self) -> None:
        """Make the residual orthogonal to the subspace, as deflated CG needs it."""
        assert self.space is not None
        self.x = self.x + self.space.solve(self.residual)
        self.residual = self.residual - self.space.image(self.residual)

    def iterate(
        self,
        M: Any,
        *,
        limit: int | None = None,
        products_each: int = 1,
        one_reduction: bool = False,
        probing: bool = False,
        extend: Callable[[CGResult], int] | None = None,
    ) -> CGResult:
        """CG from where the run stands; updates iterate, costs and status.

        M is a `Scaling` or a polynomial preconditioner; what both the matrix and M have a native form for runs
        in the native kernels.
        """
        started = time.perf_counter()
        if self.space is not None and not probing:  # a probe is to see the whole spectrum: the polynomial acts on it
            self._solve_in_space()
            M = DeflatedPreconditioner(M, self.space)
        total = 10 * self.op.n + 100 if self.maxiter is None else self.maxiter
        if limit is None:
            limit = -(-total // products_each) if self.maxiter is None else max(0, total - self.iterations)
        stall = None if probing else -(-max(300, min(2 * self.op.n, 20_000)) // products_each) + 20
        callback = given = self.callback
        if given is not None:
            callback = lambda x: given(x * as_row(self.unit, x))  # noqa: E731
        saved_x, saved_norm = self.x * 1.0, np.atleast_1d(norm(self.residual))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            common: dict[str, Any] = {
                "maxiter": limit,
                "one_reduction": one_reduction,
                "stall": stall,
                "callback": callback,
                "extend": extend,
            }
            result = self._natively(M, common, probing) or conjugate_gradients(
                self.op.matvec,
                self.b,
                x=self.x,
                residual=self.residual,
                M=None if M.name == "none" else M,
                targets=self.targets,
                sizes=np.where(self.size > 0, self.size, 1.0),
                **common,
            )
            self.x, self.residual = result.x, result.residual
            self.verified = result.status is Status.CONVERGED
            if not self.verified and not (probing and result.status is Status.MAXITER):
                self.residual = self.b - self.op.matvec(self.x)
                worse = ~(np.atleast_1d(norm(self.residual)) <= saved_norm)  # NaN counts as worse
                if worse.any():
                    self.x = _where(worse, saved_x, self.x)
                    self.residual = self.b - self.op.matvec(self.x)
                self.verified = True
        self.status = result.status
        self.reductions += result.reductions
        self.history += result.history
        if probing:
            self.probe_iterations += result.iterations
        else:
            self.iterations += result.iterations
        self.seconds["probe" if probing else "solve"] += time.perf_counter() - started
        return result

    def _natively(self, M: Any, common: dict[str, Any], probing: bool) -> CGResult | None:
        """The same by the native kernels, or None where matrix, right-hand side or M has no native form."""
        system = native_system(self.op)
        if system is None or self.b.size != self.op.n:
            return None
        native, inverse = M.native, M.inverse
        if native is None and inverse is None and M.name != "none":
            return None
        x, residual, b = (v.reshape(-1) for v in (self.x, self.residual, self.b))
        callback = common["callback"]
        if callback is not None:

            def call(x: np.ndarray) -> None:
                callback(self.in_users_order(x).reshape(self.b.shape))

            common = common | {"callback": call}
        result, products, applies = native_conjugate_gradients(
            system,
            lambda x: b - self.op.matvec(x),
            x=x,
            residual=residual,
            target=float(self.targets[0]),
            size=float(self.size[0]) or 1.0,
            M=native,
            inverse=inverse,
            probing=probing,
            **common,
        )
        self.op.count(products)
        M.count(applies)
        result.x, result.residual = self.x, self.residual
        return result

    def solution(self) -> Solution:
        """Final check and report."""
        if self.order is not None:
            self._restore_order()
        if not self.verified:
            self.residual = self.b - self.op.matvec(self.x)
        size = np.atleast_1d(norm(self.residual))
        lost = ~(size <= self.size)
        if lost.any():  # a run that led nowhere must not be worse than not having tried
            self.x = _where(lost, zeros_like(self.x) if self.guess is None else self.guess, self.x)
            self.residual = self.b - self.op.matvec(self.x)
            size = np.atleast_1d(norm(self.residual))
        met = bool(np.all(size <= self.targets * (1 + 2e-12)))
        status = Status.CONVERGED if met else self.status
        if not met and status is Status.CONVERGED:
            status = Status.STAGNATION
        total = time.perf_counter() - self.started
        setup = self.seconds["setup"] or max(0.0, total - self.seconds["probe"] - self.seconds["solve"])
        columns = 1 if self.b.ndim == 1 else self.b.shape[1]
        d = self.design
        report = Report(
            status=status.value,
            converged=met,
            method=self.method,
            n=self.op.n,
            nnz=self.op.nnz,
            rtol=float(self.rtol),
            relative_residual=float(np.max(size / np.where(self.size > 0, self.size, 1.0))),
            iterations=self.iterations,
            probe_iterations=self.probe_iterations,
            degree=self.degree,
            precision=self.precision,
            scaling=self.scaling,
            products=self.products,
            products_probe=self.products_probe,
            preconditioner_applies=self.applies,
            reductions=self.reductions,
            seconds={
                "probe": self.seconds["probe"],
                "setup": setup,
                "solve": self.seconds["solve"],
                "total": total,
            },
            fallback=self.fallback,
            chosen_because=self.because or f"asked for, {columns} right-hand side(s)",
            weights=None if d is None else d.weights,
            seed=self.seed,
            residual_history=self.history,
            interval=None if d is None else d.interval,
            predicted_seconds=self.predicted_seconds,
            predicted_iterations=None if d is None else d.predicted_iterations,
            warm_start=self.warm_start,
            versions=library_versions(),
        )
        return Solution(self.x * as_row(self.unit, self.x), report)


def _where(mask: np.ndarray, yes: Any, no: Any) -> Any:
    """Columns of ``yes`` where mask, else of ``no``."""
    if no.ndim == 1:
        return yes if mask[0] else no
    out = no * 1.0
    index = np.flatnonzero(mask).tolist()
    out[:, index] = yes[:, index]
    return out
