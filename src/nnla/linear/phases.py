"""The phases of a solve: the probe that CG's first steps are, the polynomial, and what is left when one fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from nnla.errors import WeightsError
from nnla.krylov.cg import CGResult, lanczos_from_cg
from nnla.linear.direct import solve_direct
from nnla.linear.preconditioner import PolynomialPreconditioner, quick_dtype
from nnla.linear.state import Run
from nnla.operators.arrays import as_row, norm
from nnla.polynomials.design import EFFICIENCY, design_polynomial, learned_engine
from nnla.polynomials.guards import check_probe
from nnla.polynomials.recurrence import chebyshev
from nnla.preconditioners.scalings import Scaling
from nnla.types import SpectralProbe, Status

__all__ = [
    "apply_polynomial",
    "go_on_without",
    "longer_where_hard",
    "probe_by_cg",
    "probe_length",
    "run_direct",
    "run_polynomial",
]

PROBE_STEPS = 50
_SECOND_LOOK = 15  # CG steps
_LOST = (Status.BREAKDOWN, Status.STAGNATION, Status.INDEFINITE)
_LONGEST_PROBE = 100  # where many iterations are ahead, a better choice is worth more CG steps
_PROBE_SHARE = 16  # ... one in so many of the plain CG iterations expected
_ILL_CONDITIONED = 1e6  # probed condition; bcsstk16 (5e6): 61 outer iterations with two reductions, 91 with one


def probe_length(ahead: float) -> int:
    """CG steps that a probe is worth where so many plain CG iterations are ahead."""
    return int(min(ahead / _PROBE_SHARE, _LONGEST_PROBE))


def longer_where_hard(
    run: Run, degree: int, engine: Any
) -> Callable[[CGResult, Callable[[CGResult], SpectralProbe]], int] | None:
    """Extends a probe where the engine expects many iterations. None where its weights fail."""
    try:
        trained = learned_engine(engine, "autospec")
    except WeightsError:  # reported where the polynomial is designed
        return None

    def extend(result: CGResult, make_probe: Callable[[CGResult], SpectralProbe]) -> int:
        if len(result.alpha) < 3 or len(result.alpha) > PROBE_STEPS or not check_probe(probe := make_probe(result)).ok:
            return 0
        choice = trained.choose(probe, degree=degree, rtol=run.rtol_left)
        return probe_length(choice.predicted_iterations * (degree + 1) * EFFICIENCY)

    return extend


def probe_by_cg(
    run: Run,
    base: Scaling,
    steps: int | None = None,
    extend: Callable[[CGResult, Callable[[CGResult], SpectralProbe]], int] | None = None,
) -> SpectralProbe | None:
    """The first CG steps of a solve, and the probe they amount to; None when nothing is left to do.

    Parameters
    ----------
    steps : CG steps, `PROBE_STEPS` by default
    extend : is asked after them, with the result and a function that makes a probe of it, how many steps to do in
        all, and again after those
    """
    before = run.products
    start = np.atleast_1d(norm(run.residual))

    def probe_of(result: CGResult) -> SpectralProbe:
        alpha, beta = lanczos_from_cg(result.alpha, result.beta, result.last_beta)
        users = np.array(result.first)[: alpha.size] / start[result.lead]
        return SpectralProbe(alpha, beta, run.op.n, base.name, None, run.products - before, users)

    limit = min(PROBE_STEPS if steps is None else steps, run.op.n)
    later = None if extend is None else lambda result: min(extend(result, probe_of), run.op.n)
    result = run.iterate(base, limit=limit, one_reduction=True, probing=True, extend=later)
    run.products_probe += run.products - before
    return None if run.finished or not result.alpha else probe_of(result)


def apply_polynomial(
    run: Run, base: Scaling, probe: SpectralProbe, method: str, degree: int, engine: Any = None, **watch: Any
) -> None:
    """Second phase: design the polynomial from the probe and run CG with it, guarded.

    watch : ``limit`` and ``extend`` of `Run.iterate`, for a caller who may want to stop it
    """
    verdict = check_probe(probe)
    if not verdict.ok:
        go_on_without(run, base, verdict.reason)
        return
    started = time.perf_counter()
    # what is left to gain is relative to the residual that the probe left
    design = design_polynomial(probe, method=method, degree=degree, rtol=run.rtol_left, engine=engine)
    M = PolynomialPreconditioner(run.op, base, design, probe, dtype=run.dtype or quick_dtype(run.op, base))
    run.seconds["setup"] += time.perf_counter() - started
    run_polynomial(run, M, **watch)


def run_polynomial(run: Run, M: PolynomialPreconditioner, **watch: Any) -> None:
    run.design, run.degree = M.design, M.recurrence.degree
    if M.design.fallback is not None:
        run.give_up(M.design.fallback)
    run.method = M.design.method
    run.because += f"; {M.design.note}" if M.design.note else ""
    _iterate(run, M, **watch)
    if run.status is Status.BREAKDOWN and M.design.outliers and not run.finished:
        M = _interval_instead(run, M)
        _iterate(run, M, **watch)
    if run.status is Status.BREAKDOWN and not run.finished:
        wider = _wider(run, M)
        if wider is not None:
            M = wider
            _iterate(run, M, **watch)
    if M.precision != "float64" and run.dtype is None and run.status in _LOST and not run.finished:
        # What stops in low precision may go on in high: rounding makes the polynomial of an ill-conditioned
        # matrix indefinite, or no longer the same from one application to the next.
        run.give_up(f"CG with the polynomial in {M.precision} ended in {run.status.value}; float64 instead")
        _iterate(run, M.in_precision("float64"), **watch)
    if run.status in (Status.BREAKDOWN, Status.STAGNATION) and not run.finished:
        go_on_without(run, M.base, f"CG with the polynomial ended in {run.status.value}")


def _interval_instead(run: Run, M: PolynomialPreconditioner) -> PolynomialPreconditioner:
    """The polynomial on the interval: an eigenvalue between outliers, which the probe's start did not contain."""
    a, b = M.design.interval
    run.give_up(f"{M.design.method}: the spectrum has more than the probe's outliers; Chebyshev on [a, b] instead")
    recurrence = chebyshev(a, b, M.recurrence.degree)
    design = replace(M.design, recurrence=recurrence, outliers=(), note="", fallback=None)
    run.design = design
    return PolynomialPreconditioner(run.op, M.base, design, M.probe, dtype=M.precision)


def _wider(run: Run, M: PolynomialPreconditioner) -> PolynomialPreconditioner | None:
    """The polynomial on a longer interval, where a few CG steps find eigenvalues above it; else None.

    An eigenvector that the start hardly contained is what a polynomial negative there blows up: it is in plain
    sight then.
    """
    a, b = M.design.interval
    if not 0 < a < b:  # of polynomials that have no lower end
        return None
    top = probe_by_cg(run, M.base, _SECOND_LOOK)
    if top is None or not check_probe(top).ok or top.upper_bound <= b:
        if run.status is Status.MAXITER:  # the second look came to its end; what the polynomial ended in stands
            run.status = Status.BREAKDOWN
        return None
    run.give_up(f"{M.design.method}: the spectrum goes on above {b:.4g}; Chebyshev up to {top.upper_bound:.4g} instead")
    recurrence = chebyshev(a, 1.01 * top.upper_bound, M.recurrence.degree)
    design = replace(M.design, recurrence=recurrence, interval=(a, 1.01 * top.upper_bound), fallback=None)
    run.design = design
    return PolynomialPreconditioner(run.op, M.base, design, M.probe, dtype=M.precision)


def _iterate(run: Run, M: PolynomialPreconditioner, **watch: Any) -> None:
    applies = M.applies
    run.precision = M.precision
    # Chronopoulos and Gear's form also suffers most from a polynomial rounded to float32: nos6 takes 24 outer
    # iterations instead of 18, bcsstk28 845 instead of 584.
    one_reduction = M.precision == "float64" and not _ill_conditioned(M.probe)
    run.iterate(M, products_each=M.recurrence.products + 1, one_reduction=one_reduction, **watch)
    run.applies += M.applies - applies


def _ill_conditioned(probe: SpectralProbe) -> bool:
    """Whether one reduction an iteration rounds so badly that it costs more than it saves."""
    return probe.lambda_max > _ILL_CONDITIONED * probe.lambda_min


def go_on_without(run: Run, base: Scaling, why: str) -> None:
    """Plain CG (over the same scaling) from the current iterate."""
    name = {"none": "cg", "jacobi": "jacobi", "ic": "ic"}.get(base.name, "cg")
    run.give_up(f"{why}; {name} from the current iterate instead")
    run.method = name
    run.iterate(base)


def run_direct(run: Run, factor: Any = None) -> None:
    """Direct solution of what is left; ``factor`` is an analysis made before."""
    run.method, run.because = "direct", run.because or "asked for"
    started = time.perf_counter()
    correction, run.status, run.iterations = solve_direct(run.op, run.residual, run.targets, factor)
    residual = run.residual - run.op.matvec(correction)
    better = np.atleast_1d(norm(residual)) < np.atleast_1d(norm(run.residual))
    keep = as_row(better.astype(float), run.x)
    run.x = run.x + keep * correction
    run.residual = run.b - run.op.matvec(run.x)
    run.verified = True
    run.seconds["solve"] += time.perf_counter() - started
