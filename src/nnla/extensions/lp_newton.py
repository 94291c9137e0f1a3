"""Newton's method for l_p regression: smoothed, damped, with directions of another making inside a safeguard.

The full Newton step cycles at p = 1.5 and diverges below; with Armijo's rule it converges from anywhere, as the
smoothed objective is strictly convex. A proposed direction, learned or not, is taken where it descends and passes the
same rule; else the exact step is, so that whatever is proposed the run ends in the same minimum.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from nnla.errors import NonFiniteError, OptionError, ShapeError
from nnla.extensions.lp_report import LpMinimum, LpReport, Trajectory
from nnla.extensions.lp_steps import STEPS, ExactHessian, NewtonState, Step
from nnla.problems.lp_regression import LpRegression, lp_terms
from nnla.registry import load
from nnla.report import Status, library_versions
from nnla.tasks import TASKS
from nnla.types import real_number

__all__ = ["newton_lp", "newton_trajectories"]

_ARMIJO = 1e-4
_TRIALS = 3  # lengths 1, 1/2, 1/4 of a proposal; an exact step is worth fifteen of them
_HALVINGS = 60
_PATIENCE = 3  # proposals that together have to halve the gradient
_ROUNDING = 1e-13
_LARGEST = 1e140  # of an objective relative to b's: its square is a number
# Below this exponent the smoothing is approached from above: fewer evaluations on generated problems, p 1.01 to 1.3
_HARD_P, _STAGE, _STAGE_RTOL = 1.35, 0.3, 1e-3


def newton_lp(
    problem: LpRegression,
    x0: Any = None,
    *,
    step: str | Step = "exact",
    gtol: float = 1e-6,
    maxiter: int = 500,
    trajectory: bool = False,
) -> LpMinimum:
    """The minimiser of a smoothed l_p regression by damped Newton steps, exact or proposed.

    Parameters
    ----------
    problem : from `nnla.problems.lp_regression.lp_regression`
    x0 : (n,) start; None for the least squares solution
    step : "exact"; "kept" (factor of the first Hessian), "partial" (a Hessian exact in n rows), "lbfgs"
        (preconditioned by the factor of A'A); "learned" (the shipped model); or a function of a
        `nnla.extensions.lp_steps.NewtonState` that returns a direction (k,) in its coordinates, or None for the exact
        step. A loaded model is such a function
    gtol : wanted ||Q's|| / ||s||, see `LpReport`; 1e-12 at least
    maxiter : steps at most
    trajectory : whether to return what is needed to learn from the run

    Returns
    -------
    LpMinimum

    Raises
    ------
    OptionError, ShapeError, DTypeError, NonFiniteError, WeightsError

    Notes
    -----
    Cost: a step takes a product with Q and one with Q', and where it is exact m n^2 multiplications more, see
    `ExactHessian`; start and last check take two products each. The basis is made once a `Design`.

    Validity: converged says that the gradient at x, computed anew, is within gtol (or that A x = b to rounding). The
    objective is convex: with A of full column rank that is the one minimum, whatever proposed the steps. A
    proposal is taken at lengths 1, 1/2 or 1/4, if it descends and passes Armijo's rule; where three in a row have not
    halved the gradient an exact step comes between.

    References
    ----------
    Algebraformer, section 6 and appendix G (the objective, and learned directions without a safeguard). Armijo,
    Pacific J. Math. 16 (1966) 1-3.

    Examples
    --------
    >>> from nnla.problems.lp_families import lp_problems
    >>> (problem,) = lp_problems(1, m=200, n=10)
    >>> x, report = newton_lp(problem)
    >>> report.converged, report.exact_steps == report.iterations
    (True, True)
    """
    if type(problem) is not LpRegression:
        raise OptionError("problem must come from nnla.problems.lp_regression.lp_regression(A, b, p)")
    if not 1e-12 <= real_number(gtol, "gtol") < 1:
        raise OptionError(f"gtol must be from 1e-12 to 1, got {gtol!r}")
    if isinstance(maxiter, bool) or not isinstance(maxiter, (int, np.integer)) or maxiter < 0:
        raise OptionError(f"maxiter must be an integer, not negative, got {str(maxiter)[:60]}")
    name, propose = _proposer(step)
    started = time.perf_counter()
    start = problem.start if x0 is None else problem.scaled(x0)
    run = _Run(problem, start, propose, float(gtol), int(maxiter), started, trajectory)
    run.minimise()
    x = problem.unscaled(run.y)
    visited, slopes, moves, smoothings = map(np.array, (run.visited, run.slopes, run.moves, run.smoothings))
    steps = Trajectory(visited, slopes, moves, run.z, smoothings) if trajectory else None
    return LpMinimum(x, run.report(name), steps)


def newton_trajectories(problems: Iterable[LpRegression], *, gtol: float = 1e-6) -> Iterator[Trajectory]:
    """Exact runs on problems, from their least squares solutions: what learned steps are trained on.

    Raises
    ------
    OptionError
        gtol is none.

    Notes
    -----
    Cost: that of `newton_lp`, 2 to 5 ms each at m = 1000, n = 64, p = 1.5.

    References
    ----------
    Algebraformer, section 6: 1,250 trajectories to a tolerance of 1e-6 for training, 125 for the test.

    Examples
    --------
    >>> from nnla.problems.lp_families import lp_problems
    >>> [t.z.shape[1] for t in newton_trajectories(lp_problems(2, m=40, n=3))]
    [3, 3]
    """
    for problem in problems:
        found = newton_lp(problem, gtol=gtol, trajectory=True).trajectory
        assert found is not None
        yield found


def _proposer(step: Any) -> tuple[str, Step | None]:
    """A name for reports and what proposes directions."""
    if isinstance(step, str):
        if step == "exact":
            return step, None
        if step == "learned":
            model = load(str(TASKS["newton steps"].weights))
            return model.title, model.direction
        if step in STEPS:
            return step, STEPS[step]()
    elif callable(step):
        return str(getattr(step, "title", getattr(step, "__name__", type(step).__name__))), step
    names = ", ".join(("exact", *STEPS, "learned"))
    raise OptionError(f"step must be one of {names}, or a function of a NewtonState, not {str(step)[:60]}")


class _Run:
    """The iterate with all that is known of it."""

    def __init__(
        self,
        problem: LpRegression,
        z: np.ndarray,
        propose: Step | None,
        gtol: float,
        maxiter: int,
        started: float,
        keep: bool,
    ) -> None:
        self.problem, self.propose, self.gtol, self.maxiter = problem, propose, gtol, maxiter
        self.started, self.keep = started, keep
        self.hessian = ExactHessian()
        self.basis = problem.design.basis
        self.z, self.eps = z, problem.eps
        self.exact = self.learned = self.rejected = self.evaluations = self.hessians = 0
        self.values: list[float] = []
        self.sizes: list[float] = []
        self.times: list[float] = []
        self.visited: list[np.ndarray] = []
        self.slopes: list[np.ndarray] = []
        self.moves: list[np.ndarray] = []
        self.smoothings: list[float] = []
        self.move: np.ndarray | None = None
        self.change: np.ndarray | None = None
        self.status = Status.MAXITER
        self.anew()

    @property
    def iterations(self) -> int:
        return self.exact + self.learned

    def state(self) -> NewtonState:
        return NewtonState(
            self.problem, self.z, self.r, self.s, self.w, self.gradient, self.value, self.size, self.eps,
            self.iterations, self.move, self.change,
        )  # fmt: skip

    def anew(self) -> None:
        """Residuals, value and gradient from what is returned: the coefficients of A's columns."""
        self.y = self.problem.coefficients(self.z)
        self.r = self.problem.residual(self.y)
        self.evaluations += 1
        self.value, self.s, self.w = lp_terms(self.r, self.problem.p, self.eps)
        if not self.value < _LARGEST:
            raise NonFiniteError("x0 is so far that the objective leaves float64; start nearer, or leave x0 out")
        self.gradient = self.basis.T @ self.s
        self.fresh = True
        self.measure()

    def measure(self) -> None:
        """How far the gradient is from none."""
        size = math.sqrt(float(self.s @ self.s))
        self.size = math.sqrt(float(self.gradient @ self.gradient)) / size if size > 0 else 0.0

    def solved(self, gtol: float) -> bool:
        """Whether the gradient is within gtol, or the residuals are rounding."""
        if self.size <= gtol:
            return True
        smooth = self.r.size * self.eps**self.problem.p
        if self.value > 1.001 * smooth:
            return False
        return float(np.abs(self.r).max()) <= _ROUNDING * (1 + float(np.abs(self.y).max(initial=0.0)))

    def minimise(self) -> None:
        """Down to the smoothing asked for, in stages where p is near 1."""
        final = self.problem.eps
        if self.problem.p < _HARD_P:
            eps = _STAGE * math.sqrt(float(self.r @ self.r) / self.r.size)
            while eps > final / math.sqrt(_STAGE):
                self.eps, self.move, self.change = eps, None, None
                self.anew()
                self.stage(_STAGE_RTOL)
                eps *= _STAGE
        if self.eps != final:
            self.eps, self.move, self.change = final, None, None
            self.anew()
        while True:
            self.stage(self.gtol)
            if self.fresh or self.status != Status.CONVERGED:
                break
            self.anew()
        self.record()

    def record(self) -> None:
        self.values.append(self.value)
        self.sizes.append(self.size)
        self.times.append(time.perf_counter() - self.started)

    def stage(self, gtol: float) -> None:
        """Steps until the gradient is within gtol."""
        slow, mark = 0, self.size
        while True:
            if self.solved(gtol):
                self.status = Status.CONVERGED
                return
            if self.iterations >= self.maxiter:
                self.status = Status.MAXITER
                return
            self.record()
            if self.propose is not None and slow < _PATIENCE and self.proposed():
                slow, mark = (0, self.size) if self.size <= 0.5 * mark else (slow + 1, mark)
                continue
            slow = 0
            if not self.newton():
                self.status = Status.STAGNATION
                return
            mark = self.size

    def proposed(self) -> bool:
        """Take a proposed step, if it is one."""
        assert self.propose is not None
        d = self.propose(self.state())
        if d is None:
            return False
        d = np.asarray(d)
        if d.shape != self.z.shape or d.dtype.kind != "f":
            raise ShapeError(f"step returned {d.dtype} of shape {d.shape}; it must be real numbers {self.z.shape}")
        slope = float(self.gradient @ d)
        if slope < 0 and slope > -math.inf and self.search(d, slope, _TRIALS):
            self.learned += 1
            return True
        self.rejected += 1
        return False

    def newton(self) -> bool:
        """An exact step; False where rounding allows none."""
        self.hessians += 1
        d = self.hessian(self.state())
        slope = float(self.gradient @ d)
        if not (slope < 0 and np.all(np.isfinite(d)) and self.search(d, slope, _HALVINGS)):
            return False
        self.exact += 1
        return True

    def search(self, d: np.ndarray, slope: float, trials: int) -> bool:
        """Go along d as far as Armijo's rule allows; whether anywhere."""
        with np.errstate(over="ignore", invalid="ignore"):
            along = self.basis @ d
        t, floor = 1.0, _ROUNDING * self.value
        for _ in range(trials):
            r = self.r + along if t == 1 else self.r + t * along
            value, s, w = lp_terms(r, self.problem.p, self.eps)
            self.evaluations += 1
            if value <= self.value + _ARMIJO * t * slope:
                return self.go(t * d, r, value, s, w)
            # what is to be gained is below rounding: the gradient, which is more accurate, decides
            if -t * slope <= floor and abs(value - self.value) <= floor:
                gradient = self.basis.T @ s
                if float(gradient @ gradient) < 0.5 * float(self.gradient @ self.gradient):
                    return self.go(t * d, r, value, s, w)
            t *= 0.5
        return False

    def go(self, move: np.ndarray, r: np.ndarray, value: float, s: np.ndarray, w: np.ndarray) -> bool:
        gradient = self.basis.T @ s
        if self.keep:
            self.visited.append(self.z)
            self.slopes.append(self.gradient)
            self.moves.append(move)
            self.smoothings.append(self.eps)
        self.move, self.change = move, gradient - self.gradient
        self.z, self.r, self.value, self.s, self.w, self.gradient = self.z + move, r, value, s, w, gradient
        self.fresh = False
        self.measure()
        return True

    def report(self, name: str) -> LpReport:
        p, unit = self.problem.p, self.problem.unit
        norm = unit * self.value ** (1 / p)
        with np.errstate(over="ignore", under="ignore"):
            value = float(np.float64(norm) ** p)
        first = self.values[0] or 1.0
        return LpReport(
            self.status, self.status == Status.CONVERGED, name, p, self.problem.eps * unit, value, norm, self.size,
            self.gtol, self.iterations, self.exact, self.learned, self.rejected, self.evaluations, self.hessians,
            [v / first for v in self.values], self.sizes, self.times, {"total": time.perf_counter() - self.started},
            library_versions(),
        )  # fmt: skip
