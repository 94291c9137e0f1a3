"""The phases of a solve: the probe that CG's first steps are, the polynomial, and what is left when one fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nnla._arrays import as_row, norm
from nnla.approximations import PolynomialPreconditioner, quick_dtype
from nnla.design import EFFICIENCY, design_polynomial, learned_engine
from nnla.direct import solve_direct
from nnla.errors import WeightsError
from nnla.guards import check_probe
from nnla.krylov import CGResult, lanczos_from_cg
from nnla.run import Run
from nnla.scalings import Scaling
from nnla.types import SpectralProbe, Status

__all__ = [
    "apply_polynomial",
    "go_on_without",
    "learned_outlook",
    "probe_by_cg",
    "probe_length",
    "run_direct",
    "run_polynomial",
]

PROBE_STEPS = 50
_LOST = (Status.BREAKDOWN, Status.STAGNATION, Status.INDEFINITE)
_LONGEST_PROBE = 100  # where many iterations are ahead, a better choice is worth more CG steps
_PROBE_SHARE = 16  # ... one in so many of the plain CG iterations expected
_ILL_CONDITIONED = 1e6  # probed condition; bcsstk16 (5e6): 61 outer iterations with two reductions, 91 with one


def probe_length(ahead: float) -> int:
    """CG steps that a probe is worth where so many plain CG iterations are ahead."""
    return int(min(ahead / _PROBE_SHARE, _LONGEST_PROBE))


def learned_outlook(run: Run, degree: int, engine: Any) -> Callable[[SpectralProbe], float] | None:
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
    run: Run,
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
        return min(probe_length(outlook(seen)), run.op.n)

    limit = min(PROBE_STEPS if steps is None else steps, run.op.n)
    later = extend if steps is None else None
    result = run.iterate(base, limit=limit, one_reduction=True, probing=True, extend=later)
    run.products_probe += run.products - before
    return None if run.finished or not result.alpha else probe_of(result)


def apply_polynomial(
    run: Run, base: Scaling, probe: SpectralProbe, method: str, degree: int, engine: Any = None
) -> None:
    """Second phase: design the polynomial from the probe and run CG with it, guarded."""
    verdict = check_probe(probe)
    if not verdict.ok:
        go_on_without(run, base, verdict.reason)
        return
    started = time.perf_counter()
    # what is left to gain is relative to the residual that the probe left
    design = design_polynomial(probe, method=method, degree=degree, rtol=run.rtol_left, engine=engine)
    M = PolynomialPreconditioner(run.op, base, design, probe, dtype=run.dtype or quick_dtype(run.op, base))
    run.seconds["setup"] += time.perf_counter() - started
    run_polynomial(run, M)


def run_polynomial(run: Run, M: PolynomialPreconditioner) -> None:
    run.design, run.degree = M.design, M.recurrence.degree
    if M.design.fallback is not None:
        run.give_up(M.design.fallback)
    run.method = M.design.method
    _iterate(run, M)
    if M.precision != "float64" and run.dtype is None and run.status in _LOST and not run.finished:
        # What stops in low precision may go on in high: rounding makes the polynomial of an ill-conditioned
        # matrix indefinite, or no longer the same from one application to the next.
        run.give_up(f"CG with the polynomial in {M.precision} ended in {run.status.value}; float64 instead")
        _iterate(run, M.in_precision("float64"))
    if run.status in (Status.BREAKDOWN, Status.STAGNATION) and not run.finished:
        go_on_without(run, M.base, f"CG with the polynomial ended in {run.status.value}")


def _iterate(run: Run, M: PolynomialPreconditioner) -> None:
    applies = M.applies
    run.precision = M.precision
    # Chronopoulos and Gear's form also suffers most from a polynomial rounded to float32: nos6 takes 24 outer
    # iterations instead of 18, bcsstk28 845 instead of 584.
    one_reduction = M.precision == "float64" and not _ill_conditioned(M.probe)
    run.iterate(M, products_each=M.recurrence.products + 1, one_reduction=one_reduction)
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


def run_direct(run: Run) -> None:
    run.method, run.because = "direct", run.because or "asked for"
    started = time.perf_counter()
    correction, run.status, run.iterations = solve_direct(run.op, run.residual, run.targets)
    residual = run.residual - run.op.matvec(correction)
    better = np.atleast_1d(norm(residual)) < np.atleast_1d(norm(run.residual))
    keep = as_row(better.astype(float), run.x)
    run.x = run.x + keep * correction
    run.residual = run.b - run.op.matvec(run.x)
    run.verified = True
    run.seconds["solve"] += time.perf_counter() - started
