"""Gradient-driven transitions: smooth convex minimisation with a learned momentum schedule (appendix A.1).

A short Lanczos run on differences of gradients says what the Hessian looks like from the gradient's point of view; a
network turns it into the interval of a Chebyshev semi-iteration, whose coefficients are the schedule. Where the
Hessian changes on the way the schedule is made anew, and where the function is not what the schedule was made for,
Nesterov's method with backtracking takes over, and the report says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.errors import NonFiniteError, OptionError, ShapeError, WeightsError
from nnla.extensions.momentum import Coefficients, chebyshev_schedule, choose_lower, heavy_ball, nesterov
from nnla.operators.numpy_space import NUMPY
from nnla.operators.validation import asarray, require_real
from nnla.report import ReportBase, Status, library_versions
from nnla.spectra.lanczos import lanczos, tridiagonal
from nnla.types import SpectralProbe, number_pair, real_array, real_number

__all__ = ["METHODS", "Minimum", "MinimumReport", "minimise"]

METHODS = ("autospec", "chebyshev", "gradient-descent", "heavy-ball", "nesterov", "nesterov-convex", "nesterov-safe")
# A schedule is made anew once the gradient has fallen so far: a gradient without its fast parts shows the slow ones
_EPOCHS = (0.1, 0.01)
_LIMIT = 1.5  # of the gradient's norm relative to where the schedule started: theory allows 1 on a quadratic
_FAILURES, _STALLS = 3, 8
_KNOWN = 1e-3  # residual over Ritz value of a lower end that counts as found

Gradient = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True, repr=False)
class MinimumReport(ReportBase):
    """What a minimisation did.

    Attributes
    ----------
    status : "converged", "maxiter", "stagnation" or "breakdown"
    converged : the last gradient is within gtol
    method : what ran in the end
    value, gradient_norm : at the result
    gtol : what was asked for, as an absolute norm
    iterations : transitions
    evaluations : of f and its gradient, those of the probes included
    probe_evaluations : of the probes
    intervals : [a, b] of the Hessian behind each schedule
    restarts : why each schedule after the first was made
    fallback : None, or why Nesterov's method with backtracking took over
    history : gradient norm at every evaluation of an iterate
    seconds : {"total"}
    versions : versions of the libraries
    """

    _line = (
        ("method", "{}"),
        ("iterations", "{} iterations"),
        ("evaluations", "{} evaluations"),
        ("gradient_norm", "gradient {:.2g}"),
    )
    _table = ("value", "gtol", "intervals", "restarts", *ReportBase._table)

    status: Status
    converged: bool
    method: str
    value: float
    gradient_norm: float
    gtol: float
    iterations: int
    evaluations: int
    probe_evaluations: int
    intervals: list[tuple[float, float]]
    restarts: list[str]
    fallback: str | None
    history: list[float]
    seconds: dict[str, float] = field(default_factory=dict[str, float], compare=False)
    versions: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, eq=False)
class Minimum:
    """`x` (the iterate with the smallest gradient) and the `report`; unpacks as ``x, report = minimise(...)``."""

    x: np.ndarray
    report: MinimumReport

    def __iter__(self) -> Iterator[Any]:
        yield self.x
        yield self.report


class _Run:
    """f with its evaluations counted, and the best iterate so far."""

    def __init__(self, f_grad: Gradient, x0: np.ndarray, maxiter: int) -> None:
        self.f_grad, self.maxiter, self.started = f_grad, maxiter, time.perf_counter()
        self.evaluations = self.probes = self.iterations = 0
        self.history: list[float] = []
        self.intervals: list[tuple[float, float]] = []
        self.restarts: list[str] = []
        self.fallback: str | None = None
        self.best = (math.inf, math.inf, x0)  # gradient norm, value, x
        self.gtol = 0.0

    def at(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """f and gradient at any point; (inf, ...) where not finite."""
        self.evaluations += 1
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.f_grad(x)
        if not isinstance(found, (tuple, list)) or len(found) != 2 or real_array(found[0], "f").size != 1:
            raise ShapeError("f_grad must return (f, gradient), one number and a vector")
        value, gradient = found
        value, gradient = float(real_array(value, "f")[0]), real_array(gradient, "the gradient")
        if gradient.shape != x.shape:
            raise ShapeError(f"the gradient has shape {gradient.shape}, x has {x.shape}; f_grad returns (f, gradient)")
        if not (math.isfinite(value) and np.all(np.isfinite(gradient))):
            return math.inf, np.full(x.shape, np.inf)
        return value, gradient

    def visit(self, x: np.ndarray) -> tuple[float, np.ndarray, float]:
        """The same at an iterate, recorded."""
        value, gradient = self.at(x)
        size = float(NUMPY.norm(gradient)) if math.isfinite(value) else math.inf
        self.history.append(size)
        if size < self.best[0]:
            self.best = (size, value, x.copy())
        return value, gradient, size

    @property
    def done(self) -> bool:
        return self.best[0] <= self.gtol or self.iterations >= self.maxiter


def minimise(
    f_grad: Gradient,
    x0: Any,
    *,
    gtol: float = 1e-6,
    relative: bool = True,
    method: str = "autospec",
    interval: tuple[float, float] | None = None,
    probe_steps: int = 12,
    maxiter: int = 10_000,
) -> Minimum:
    """A minimum of a smooth convex function from its gradients, by momentum whose schedule is learned.

    Parameters
    ----------
    f_grad : x -> (f(x), gradient at x)
    x0 : (n,) start
    gtol : wanted norm of the gradient, times that at x0 if `relative`
    method : "autospec" (learned), or a baseline: "chebyshev" (the semi-iteration on the probed interval),
        "gradient-descent", "heavy-ball", "nesterov" (strongly convex), "nesterov-convex", "nesterov-safe"
        (backtracking and restarts, needs no constants)
    interval : (a, b) with the Hessian's eigenvalues in it, instead of the probe; what the baselines' theory assumes
    probe_steps : Lanczos steps of a probe, one gradient each
    maxiter : transitions at most

    Returns
    -------
    Minimum

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, OptionError

    Notes
    -----
    Cost: one gradient per transition, `probe_steps` per probe: at the start, once more after a tenfold reduction, and
    after every restart.

    Validity: what is returned as converged has the gradient asked for; nothing else is certified. On quadratics
    conjugate gradients take fewer gradients, always, and on many other functions so does L-BFGS
    (`scipy.optimize.minimize`): this is for where inner products of iterates are dear (each transition needs none but
    the guard's norm) and for the comparison.

    References
    ----------
    AutoSpec, appendix A.1. Polyak (1964); Nesterov (1983); Golub, Varga (1961) for the semi-iteration; O'Donoghue,
    Candes (2015) for restarts.

    Examples
    --------
    >>> d = np.geomspace(1e-3, 1, 50)
    >>> x, report = minimise(lambda x: (0.5 * x @ (d * x) - x.sum(), d * x - 1), np.zeros(50))
    >>> report.converged, bool(np.abs(d * x - 1).max() < 1e-4)
    (True, True)
    """
    if not callable(f_grad):
        raise OptionError("f_grad must be a function that returns (f(x), gradient)")
    x = asarray(x0, "x0")
    require_real(x.dtype)
    if x.ndim != 1 or x.size == 0:
        raise ShapeError(f"x0 has shape {x.shape}; it must be a non-empty vector")
    x = x.astype(np.float64)
    if not np.all(np.isfinite(x)):
        raise NonFiniteError("x0 contains NaN or Inf")
    if not isinstance(method, str) or method not in METHODS:
        raise OptionError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if not real_number(gtol, "gtol") > 0:
        raise OptionError(f"gtol must be positive, got {gtol!r}")
    for name, value in (("maxiter", maxiter), ("probe_steps", probe_steps)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise OptionError(f"{name} must be a positive integer, got {value!r}")
    if interval is not None:
        interval = number_pair(interval, "interval")
        if not 0 < interval[0] <= interval[1]:
            raise OptionError(f"interval must be 0 < a <= b, got {interval!r}")
    run = _Run(f_grad, x, int(maxiter))
    value, gradient, size = run.visit(x)
    if not math.isfinite(value):
        raise NonFiniteError("f or its gradient is not finite at x0; start somewhere else")
    if size and not 1e-140 < size < 1e140:  # inner products square it
        raise NonFiniteError(f"the gradient at x0 has norm {size:.3g}, whose square leaves float64; rescale f or x")
    run.gtol = gtol * size if relative else gtol
    if not run.done:
        if method == "nesterov-safe":
            _safe_nesterov(run, x, value, gradient)
        elif method in ("autospec", "chebyshev"):
            _scheduled(run, x, value, gradient, method, interval, probe_steps)
        else:
            bounds = interval or _ends(_probe(run, x, gradient, probe_steps))
            run.intervals.append(bounds)
            _follow(run, x, gradient, _fixed(method, bounds))
    return Minimum(run.best[2], _report(run, method))


def _report(run: _Run, method: str) -> MinimumReport:
    size, value, _ = run.best
    status = Status.CONVERGED if size <= run.gtol else Status.MAXITER
    if status != Status.CONVERGED and run.iterations < run.maxiter:
        status = Status.STAGNATION if math.isfinite(run.history[-1]) else Status.BREAKDOWN
    return MinimumReport(
        status, status == Status.CONVERGED, "nesterov-safe" if run.fallback else method, value, size, run.gtol,
        run.iterations, run.evaluations, run.probes, run.intervals, run.restarts, run.fallback, run.history,
        {"total": time.perf_counter() - run.started}, library_versions(),
    )  # fmt: skip


def _probe(run: _Run, x: np.ndarray, gradient: np.ndarray, steps: int) -> SpectralProbe:
    """Lanczos on the Hessian at x by forward differences of gradients, from the gradient; reorthogonalised."""
    steps = min(steps, x.size)
    h = 1.5e-8 * max(1.0, float(np.linalg.norm(x)))
    before = run.evaluations

    def hessian(v: np.ndarray) -> np.ndarray:
        w = (run.at(x + h * v)[1] - gradient) / h
        if not np.all(np.isfinite(w)):
            raise NonFiniteError("the gradient is not finite next to an iterate; rescale the function")
        return w

    process = lanczos(hessian, gradient / float(np.linalg.norm(gradient)), NUMPY, basis=np.zeros((steps, x.size)))
    alpha, beta = tridiagonal(process, steps, exhausted=1e-6)  # below, differences of gradients are rounding
    run.probes += run.evaluations - before
    return SpectralProbe(alpha, beta, x.size, products=alpha.size)


def _ends(p: SpectralProbe) -> tuple[float, float]:
    b = p.upper_bound
    return max(p.lambda_min, 1e-8 * b), b


def _fixed(method: str, bounds: tuple[float, float]) -> Iterator[Coefficients]:
    a, b = bounds
    if method == "gradient-descent":
        return iter(lambda: (1 / b, 0.0, 0.0), None)  # without end
    if method == "heavy-ball":
        return heavy_ball(a, b)
    return nesterov(a if method == "nesterov" else 0.0, b)


def _follow(run: _Run, x: np.ndarray, gradient: np.ndarray, schedule: Iterator[Coefficients]) -> None:
    """Transitions of an unguarded baseline, until the gradient is small, or overflows."""
    m = np.zeros_like(x)
    while not run.done:
        alpha, beta, gamma = next(schedule)
        if gamma:
            gradient = run.visit(x + gamma * m)[1]
        m = beta * m - alpha * gradient
        x = x + m
        run.iterations += 1
        if not gamma:
            gradient = run.visit(x)[1]
        if not math.isfinite(run.history[-1]) or run.history[-1] > 1e12 * run.history[0]:
            return


def _scheduled(
    run: _Run, x: np.ndarray, value: float, gradient: np.ndarray, method: str, given: Any, steps: int
) -> None:
    """Chebyshev semi-iterations, guarded, each from where the last one got to."""
    failures = stalls = epochs = 0
    while not run.done:
        size = float(np.linalg.norm(gradient))
        wanted = max(run.gtol / size, _EPOCHS[min(epochs, len(_EPOCHS) - 1)])
        if given is not None:
            a, b = given
            wanted = run.gtol / size
        else:
            p = _probe(run, x, gradient, steps)
            if p.lambda_max <= 0 or p.lambda_min < -1e-4 * p.lambda_max:
                run.fallback = f"the function is not convex along the probe (curvature {p.lambda_min:.3g})"
                break
            a, b = _ends(p)
            if p.ritz_residuals[0] < _KNOWN * p.lambda_min:  # both ends are known: no second look is worth its cost
                wanted = run.gtol / size
            if method == "autospec":
                try:
                    # Later probes see the low end themselves, and what a schedule misses the next one mends: the
                    # engine, trained for a single schedule, is too careful there. Half the Ritz value: chosen on
                    # 14 generated quadratics (0.92 of the evaluations of "chebyshev"; 0.97 without).
                    a = max(choose_lower(p, wanted), 0.5 * p.lambda_min if epochs else 0.0)
                except WeightsError as error:
                    run.fallback = f"the schedule's weights cannot be read ({error})"
                    break
            b *= 1 + 0.5 * failures  # the Hessian grows from here on: the last failure said so
        run.intervals.append((a, b))
        x, value, gradient, why = _epoch(run, x, value, gradient, (a, b), wanted * size)
        epochs += 1
        if run.done:
            return
        run.restarts.append(why)
        if why == "no progress":  # what is left is slower than the schedule expected; the next probe starts from it
            stalls += 1
        elif why != "closer":
            failures += 1
        if failures >= _FAILURES or stalls >= _STALLS:
            run.fallback = f"{failures + stalls} schedules broke off ({why})"
            break
    if run.fallback:
        _safe_nesterov(run, x, value, gradient)


def _epoch(
    run: _Run, x: np.ndarray, value: float, gradient: np.ndarray, bounds: tuple[float, float], stop_at: float
) -> tuple[np.ndarray, float, np.ndarray, str]:
    """One schedule. Ends at the best point it met, with the reason."""
    schedule, patience = chebyshev_schedule(*bounds), 50 + 3 * math.sqrt(bounds[1] / bounds[0])
    start_value, start_size = value, float(np.linalg.norm(gradient))
    best = (start_size, x, value, gradient)
    m = np.zeros_like(x)
    since = 0
    while not run.done:
        alpha, beta, _ = next(schedule)
        m = beta * m - alpha * gradient
        x = x + m
        run.iterations += 1
        value, gradient, size = run.visit(x)
        if size < best[0]:
            since, best = (0 if size < 0.98 * best[0] else since), (size, x, value, gradient)
        since += 1
        slack = 1e-12 * abs(start_value)
        if not math.isfinite(size) or size > _LIMIT * start_size or value > start_value + slack + 1e-300:
            return *best[1:], "f or the gradient rose beyond what a quadratic allows"
        if size <= stop_at:
            return *best[1:], "closer"
        if since > patience:
            return *best[1:], "no progress"
    return *best[1:], "done"


def _safe_nesterov(run: _Run, x: np.ndarray, value: float, gradient: np.ndarray) -> None:
    """Nesterov's method with backtracking on the step and restarts where f rises; needs no constants."""
    size = float(np.linalg.norm(gradient))
    b = run.intervals[-1][1] if run.intervals and math.isfinite(run.intervals[-1][1]) else 0.0
    b = b or max(size / max(float(np.linalg.norm(x)), 1.0), 1e-12)
    y, t, old_value = x, 1.0, value
    y_value, y_gradient = value, gradient
    while not run.done:
        for _ in range(60):
            new = y - y_gradient / b
            new_value, new_gradient, _ = run.visit(new)
            bound = y_value - 0.5 / b * float(y_gradient @ y_gradient)
            if new_value <= bound + 1e-14 * abs(y_value):
                break
            b *= 2
        else:
            return  # rounding: no step makes f smaller
        run.iterations += 1
        if new_value > old_value and t > 1:
            t, y, y_value, y_gradient = 1.0, x, *run.at(x)
            continue
        t_new = 0.5 * (1 + math.sqrt(1 + 4 * t * t))
        y, x, t, old_value = new + (t - 1) / t_new * (new - x), new, t_new, new_value
        y_value, y_gradient = (new_value, new_gradient) if t <= 1 else run.visit(y)[:2]
        b *= 0.98  # the curvature may be smaller here
