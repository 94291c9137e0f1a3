"""`nnla.solve`: probe, engine, polynomial, conjugate gradients, report, in one call."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy

from nnla import __version__
from nnla._arrays import is_torch, norm, zeros_like
from nnla.approximations import DEFAULT_DEGREE, PolynomialPreconditioner, choose_scaling
from nnla.design import EFFICIENCY, POLYNOMIAL_METHODS, Design, design_polynomial, learned_engine
from nnla.direct import solve_direct
from nnla.errors import MissingDependencyError, NNLAError, OptionError, ShapeError, WeightsError
from nnla.guards import check_probe
from nnla.krylov import CGResult, conjugate_gradients, lanczos_from_cg
from nnla.operators import Operator, as_operator
from nnla.options import METHODS, check_numbers, check_usable
from nnla.registry import load
from nnla.scalings import Scaling, bind_scaling
from nnla.types import Report, Solution, SpectralProbe, Status

__all__ = ["METHODS", "solve"]

PROBE_STEPS = 50
LONGEST_PROBE = 100  # where many iterations are ahead, a better choice is worth more CG steps
PROBE_SHARE = 12  # ... one in so many of the plain CG iterations expected


def solve(
    A: Any,
    b: Any,
    *,
    x0: Any = None,
    rtol: float = 1e-8,
    atol: float = 0.0,
    maxiter: int | None = None,
    method: str = "auto",
    M: Any = None,
    warm_start: Any = None,
    callback: Callable[[Any], None] | None = None,
    degree: int | None = None,
    scaling: Any = "auto",
    probe_steps: int | None = None,
    engine: Any = None,
) -> Solution:
    """Solve A x = b for symmetric positive definite A, and say what it took.

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes, (n, n), symmetric positive definite; never modified
    b : (n,) or (n, k), right-hand side or several
    x0 : initial guess of b's shape; used only where it has a smaller residual than zero has
    rtol, atol : success when ||b - A x||_2 <= max(rtol ||b||_2, atol) for every right-hand side,
        recomputed in float64
    maxiter : outer iterations at most, the probe's not counted; default 10 n products' worth
    method : "auto" chooses and says why. "autospec" is the learned polynomial; "autospec-paper",
        "chebyshev", "chebyshev4", "rule", "dos", "least-squares", "gmres", "richardson", "neumann" are
        its opponents; "cg" is plain, "jacobi" and "ic" are classical, "amg" needs PyAMG, "direct" factors
    M : SPD preconditioner for "auto", "cg" and polynomials. A `nnla.preconditioner` is used as it is,
        without a new probe; any other takes the place of the scaling
    warm_start : reserved for learned initial guesses; None
    callback : called with the current iterate after each iteration
    degree : degree of the polynomial, 1 to 512, default 11; ``degree + 1`` products an outer iteration
    scaling : "auto" (Jacobi where the diagonal varies), "none", "jacobi" or "ic": what a polynomial works
        on top of
    probe_steps : CG steps that double as the probe; default 50, and up to 100 where the engine expects many
        iterations
    engine : trained engine (`nnla.load`), or the path of its weights, instead of the shipped one

    Returns
    -------
    Solution
        ``x`` of b's shape and ``report``; unpacks as ``x, report``. Non-convergence is not an exception:
        look at ``report.converged`` and ``report.status``; the best iterate is returned.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, NotSymmetricError, NotPositiveDefiniteError, OptionError
        Bad input, with the remedy in the message. An option that the method would ignore (``degree`` and
        ``scaling`` for "cg", say) is an OptionError too.
    WeightsError
        The engine given cannot be read. Where the shipped weights cannot be, "autospec" and "auto" go on
        with a classical interval, and ``report.fallback`` says so.

    Notes
    -----
    Cost: the products in ``report.products``, everything included.

    Memory, beside A, b and x0: at most v arrays of b's shape and d vectors of length n, with (v, d) =

    * (8, 0) for "cg", (9, 1) for "jacobi",
    * (13, 0) for a polynomial of any degree, (15, 1) for one over Jacobi scaling,

    v + 1 with x0, and v + 3 while some columns of a block have converged and others have not. "ic", "amg" and
    "direct" add their factors.

    Guaranteed: ``converged`` means that
    the true residual meets the tolerance; a polynomial that turns out indefinite is given up for plain
    CG from the current iterate, and ``report.fallback`` says so.

    References
    ----------
    AutoSpec (arXiv:2602.09530), sections 3 and 5.3.

    Examples
    --------
    >>> import numpy as np, nnla
    >>> A = nnla.problems.poisson2d(60)
    >>> x, report = nnla.solve(A, np.ones(A.shape[0]), method="autospec")
    >>> report.converged, bool(report.relative_residual <= 1e-8)
    (True, True)
    """
    started = time.perf_counter()
    if isinstance(engine, (str, os.PathLike)):
        engine = load(engine)  # the user's own weights: a bad file is an error, needed or not
    check_numbers(rtol, atol, maxiter)
    given: dict[str, Any] = {
        "degree": degree,
        "scaling": scaling,
        "probe_steps": probe_steps,
        "engine": engine,
    }
    check_usable(method, **given, M=M, made=isinstance(M, PolynomialPreconditioner))
    if warm_start is not None:
        raise OptionError(f"warm_start={warm_start!r} is not available in this version; pass x0")
    degree = DEFAULT_DEGREE if degree is None else int(degree)
    steps = None if probe_steps is None else int(probe_steps)
    op = as_operator(A)
    before = op.products if op is A else 0
    run = _Run(op, op.as_vector(b), rtol, atol, maxiter, callback, before, started)
    run.start(x0)
    if run.finished:
        run.method, run.because = method, "the initial guess meets the tolerance"
    elif isinstance(M, PolynomialPreconditioner):
        _with_polynomial(run, M)
    elif method == "auto" and M is None:
        from nnla.selection import solve_auto

        solve_auto(run, degree, steps, engine)
    elif method in POLYNOMIAL_METHODS:
        base = _base(op, scaling if M is None else M)
        _polynomial(run, base, method, degree, steps, engine)
    elif method == "direct":
        _direct(run)
    else:
        names = {"cg": "none", "auto": "none", "jacobi": "jacobi", "ic": "ic"}
        base = _amg(op) if method == "amg" else bind_scaling(op, names[method] if M is None else M)
        run.method, run.scaling = ("cg" if method == "auto" else method), base.name
        run.because = run.because or "asked for"
        run.seconds["setup"] += base.seconds
        run.iterate(base.solve if base.name != "none" else None)
    return run.solution()


def _base(op: Operator, scaling: Any) -> Scaling:
    return bind_scaling(op, choose_scaling(op) if isinstance(scaling, str) and scaling == "auto" else scaling)


@dataclass
class _Run:
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
    seed: int | None = None
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

    def start(self, x0: Any) -> None:
        """Scale the right-hand sides, take x0 where it helps, and set the targets."""
        size = np.atleast_1d(norm(self.b))
        self.unit = np.where(size > 0, np.ldexp(1.0, np.frexp(size)[1] - 1), 1.0)
        self.size = size / self.unit
        self.b /= _row(self.unit, self.b)  # a copy of the user's
        with np.errstate(over="ignore"):
            absolute = np.minimum(self.atol / self.unit, 1e300)
        # the norms of the user may be summed in another order
        self.targets = np.maximum(self.rtol * self.size, absolute) * (1 - 1e-12)
        self.x, self.residual = zeros_like(self.b), self.b * 1.0
        if x0 is not None:
            guess = self.op.as_vector(x0, "x0")
            if tuple(guess.shape) != tuple(self.b.shape):
                raise ShapeError(f"x0 has shape {tuple(guess.shape)} but b has {tuple(self.b.shape)}")
            guess = guess / _row(self.unit, self.b)
            residual = self.b - self.op.matvec(guess)
            better = np.atleast_1d(norm(residual)) < np.atleast_1d(norm(self.residual))
            keep = _row(better.astype(float), self.b)
            self.x, self.residual = keep * guess, keep * residual + (1 - keep) * self.residual
        self.verified = True
        self.guess = None if x0 is None else self.x * 1.0

    def iterate(
        self,
        M: Callable[[Any], Any] | None,
        *,
        limit: int | None = None,
        products_each: int = 1,
        one_reduction: bool = False,
        probing: bool = False,
        extend: Callable[[CGResult], int] | None = None,
    ) -> CGResult:
        """CG from where the run stands; updates iterate, costs and status."""
        started = time.perf_counter()
        total = 10 * self.op.n + 100 if self.maxiter is None else self.maxiter
        if limit is None:
            limit = -(-total // products_each) if self.maxiter is None else max(0, total - self.iterations)
        stall = None if probing else -(-max(300, min(2 * self.op.n, 20_000)) // products_each) + 20
        callback = given = self.callback
        if given is not None:
            callback = lambda x: given(x * _row(self.unit, x))  # noqa: E731
        saved_x, saved_norm = self.x * 1.0, np.atleast_1d(norm(self.residual))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            result = conjugate_gradients(
                self.op.matvec,
                self.b,
                x=self.x,
                residual=self.residual,
                M=M,
                targets=self.targets,
                maxiter=limit,
                one_reduction=one_reduction,
                stall=stall,
                sizes=np.where(self.size > 0, self.size, 1.0),
                callback=callback,
                extend=extend,
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

    def solution(self) -> Solution:
        """Final check and report."""
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
            predicted_iterations=None if d is None else d.predicted_iterations,
            versions={
                "nnla": __version__,
                "numpy": np.__version__,
                "scipy": scipy.__version__,
                "python": platform.python_version(),
            },
        )
        return Solution(self.x * _row(self.unit, self.x), report)


def learned_outlook(run: _Run, degree: int, engine: Any) -> Callable[[SpectralProbe], float] | None:
    """What the engine expects of a probe: plain CG iterations left. None where its weights fail."""
    try:
        trained = learned_engine(engine, "autospec")
    except WeightsError:  # reported where the polynomial is designed
        return None

    def outlook(probe: SpectralProbe) -> float:
        choice = trained.choose(probe, degree=degree, rtol=run.rtol_left)
        return choice.predicted_iterations * (degree + 1) * EFFICIENCY

    return outlook


def probe_by_cg(
    run: _Run,
    base: Scaling,
    steps: int | None = None,
    outlook: Callable[[SpectralProbe], float] | None = None,
) -> SpectralProbe | None:
    """The first CG steps of a solve, and the probe they amount to; None when nothing is left to do.

    Parameters
    ----------
    steps : CG steps; by default `PROBE_STEPS`, and more where ``outlook`` expects many iterations
    outlook : predicts from a first probe how many plain CG iterations are left
    """
    before = run.products
    start = np.atleast_1d(norm(run.residual))

    def probe_of(result: CGResult) -> SpectralProbe:
        alpha, beta = lanczos_from_cg(result.alpha, result.beta, result.last_beta)
        users = np.array(result.first)[: alpha.size] / start[result.lead]
        return SpectralProbe(alpha, beta, run.op.n, base.name, None, run.products - before, users)

    def extend(result: CGResult) -> int:
        if outlook is None or len(result.alpha) < 3 or not check_probe(seen := probe_of(result)).ok:
            return 0
        return int(min(outlook(seen) / PROBE_SHARE, LONGEST_PROBE, run.op.n))

    M = base.solve if base.name != "none" else None
    limit = min(PROBE_STEPS if steps is None else steps, run.op.n)
    later = extend if steps is None else None
    result = run.iterate(M, limit=limit, one_reduction=True, probing=True, extend=later)
    run.products_probe += run.products - before
    return None if run.finished or not result.alpha else probe_of(result)


def _polynomial(run: _Run, base: Scaling, method: str, degree: int, steps: int | None, engine: Any) -> None:
    run.method, run.scaling = method, base.name
    run.because = run.because or "asked for"
    run.seconds["setup"] += base.seconds
    outlook = learned_outlook(run, degree, engine) if method == "autospec" else None
    probe = probe_by_cg(run, base, steps, outlook)
    if probe is None:
        run.because += "; the probe's own CG steps solved the system" if run.finished else ""
        return
    if run.status in (Status.INDEFINITE, Status.BREAKDOWN):
        return
    apply_polynomial(run, base, probe, method, degree, engine)


def apply_polynomial(
    run: _Run, base: Scaling, probe: SpectralProbe, method: str, degree: int, engine: Any = None
) -> None:
    """Second phase: design the polynomial from the probe and run CG with it, guarded."""
    verdict = check_probe(probe)
    if not verdict.ok:
        _go_on_without(run, base, verdict.reason)
        return
    started = time.perf_counter()
    # what is left to gain is relative to the residual that the probe left
    design = design_polynomial(probe, method=method, degree=degree, rtol=run.rtol_left, engine=engine)
    M = PolynomialPreconditioner(run.op, base, design, probe)
    run.seconds["setup"] += time.perf_counter() - started
    _run_polynomial(run, M)


def _run_polynomial(run: _Run, M: PolynomialPreconditioner) -> None:
    run.design, run.degree = M.design, M.recurrence.degree
    if M.design.fallback is not None:
        run.give_up(M.design.fallback)
    run.method = M.design.method
    applies = M.applies
    run.iterate(M, products_each=M.recurrence.products + 1, one_reduction=True)
    run.applies += M.applies - applies
    if run.status in (Status.BREAKDOWN, Status.STAGNATION) and not run.finished:
        _go_on_without(run, M.base, f"CG with the polynomial ended in {run.status.value}")


def _with_polynomial(run: _Run, M: PolynomialPreconditioner) -> None:
    if M.operator.n != run.op.n:
        raise ShapeError(f"M is for an operator of size {M.operator.n}, A has size {run.op.n}")
    run.scaling, run.because, run.seed = M.scaling, "preconditioner given", M.probe.seed
    counted = M.operator.products
    _run_polynomial(run, M)
    if M.operator is not run.op:
        run.products_before -= M.operator.products - counted


def _go_on_without(run: _Run, base: Scaling, why: str) -> None:
    """Plain CG (over the same scaling) from the current iterate."""
    name = {"none": "cg", "jacobi": "jacobi", "ic": "ic"}.get(base.name, "cg")
    run.give_up(f"{why}; {name} from the current iterate instead")
    run.method = name
    run.iterate(base.solve if base.name != "none" else None)


def _direct(run: _Run) -> None:
    run.method, run.because = "direct", run.because or "asked for"
    started = time.perf_counter()
    correction, run.status, run.iterations = solve_direct(run.op, run.residual, run.targets)
    residual = run.residual - run.op.matvec(correction)
    better = np.atleast_1d(norm(residual)) < np.atleast_1d(norm(run.residual))
    keep = _row(better.astype(float), run.x)
    run.x = run.x + keep * correction
    run.residual = run.b - run.op.matvec(run.x)
    run.verified = True
    run.seconds["solve"] += time.perf_counter() - started


def _amg(op: Operator) -> Scaling:
    try:
        import pyamg
    except ImportError as error:
        raise MissingDependencyError("method='amg' needs PyAMG; install it with: pip install 'nnla[amg]'") from error
    if op.csr is None:
        raise OptionError("method='amg' needs a SciPy sparse matrix")
    started = time.perf_counter()
    try:
        hierarchy = pyamg.smoothed_aggregation_solver(op.csr.copy())
        cycle = hierarchy.aspreconditioner()
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise NNLAError(f"PyAMG could not build a hierarchy for this matrix ({error}); use method='auto'") from error

    def apply(r: Any) -> Any:
        return cycle @ r if r.ndim == 1 else np.stack([cycle @ column for column in r.T], axis=1)

    return Scaling("amg", apply, time.perf_counter() - started, 6.0)


def _row(values: np.ndarray, like: Any) -> Any:
    """Per-column numbers in a form that broadcasts over (n,) or (n, k) arrays of like's kind."""
    if like.ndim == 1:
        return float(values[0])
    return like.new_tensor(values) if is_torch(like) else np.asarray(values)


def _where(mask: np.ndarray, yes: Any, no: Any) -> Any:
    """Columns of ``yes`` where mask, else of ``no``."""
    if no.ndim == 1:
        return yes if mask[0] else no
    out = no * 1.0
    index = np.flatnonzero(mask).tolist()
    out[:, index] = yes[:, index]
    return out
