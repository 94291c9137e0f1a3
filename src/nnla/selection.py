"""``method="auto"``: start as CG, look at what it saw, take the cheapest way to the end, say why."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from nnla._arrays import zeros_like
from nnla.approximations import choose_scaling
from nnla.design import EFFICIENCY, learned_engine
from nnla.errors import NNLAError, WeightsError
from nnla.guards import check_probe
from nnla.phases import apply_polynomial, go_on_without, learned_outlook, probe_by_cg, run_direct
from nnla.run import Run
from nnla.scalings import Scaling, bind_scaling
from nnla.simulated_choice import dos_interval
from nnla.types import SpectralProbe, Status

__all__ = ["predict_costs", "predict_iterations", "solve_auto"]

_SMALL = 1500  # unknowns up to which factoring takes milliseconds
_SMALL_DENSITY = 60  # ... at so many entries a row
_RESCUE = 50_000  # unknowns up to which a failed iteration is worth a factorisation
# Medians over the generated suite, printed by benchmarks/selection_constants.py: vector updates' worth of
# one recurrence step beside its product; IC(0) against Jacobi: iterations, one solve in products with A,
# set-up in seconds per stored entry.
_STEP_VECTORS = 3.4
_IC_ITERATIONS, _IC_SOLVE, _IC_SETUP = 0.3, 5.7, 2.3e-7


def solve_auto(run: Run, degree: int, steps: int | None, engine: Any = None) -> None:
    """Choose among direct, plain, Jacobi, IC, the polynomial over each; keep the iterate when switching."""
    op = run.op
    factorable = op.csr is not None or (op.nnz is not None and op.n <= 4000)
    if factorable and op.n <= _SMALL and (op.csr is None or op.csr.nnz <= _SMALL_DENSITY * op.n):
        run.because = f"n = {op.n} is small: factoring is faster than iterating"
        run_direct(run)
        return

    base = bind_scaling(op, choose_scaling(op))
    plain = "jacobi" if base.name == "jacobi" else "cg"
    run.method, run.scaling = plain, base.name
    probe = probe_by_cg(run, base, steps, learned_outlook(run, degree, engine))
    if run.finished:
        run.because = f"easy: the first {run.probe_iterations} {plain} steps solved it"
        return
    if probe is None or run.status in (Status.INDEFINITE, Status.BREAKDOWN):
        run.because = f"{plain}-CG ended in {run.status.value} during the probe"
    elif not check_probe(probe).ok:
        run.because = "the probe found a negative Ritz value"
        run.status = Status.INDEFINITE
    else:
        polynomial, outer = predict_iterations(run, probe, degree, engine)
        costs, remaining = predict_costs(run, base, polynomial, outer, degree)
        choice = min(costs, key=lambda name: costs[name])
        ordered = sorted(costs.items(), key=lambda item: item[1])
        listed = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in ordered)
        run.because = f"predicted {listed} for about {remaining:.0f} more CG iterations"
        if choice in ("ic", f"{polynomial}+ic"):
            try:
                base = bind_scaling(op, "ic")
                run.seconds["setup"] += base.seconds
                run.scaling = "ic"
            except NNLAError as error:
                choice = plain if choice == "ic" else polynomial
                run.give_up(f"ic: {error}; {choice} over {base.name} scaling instead")
        if choice == polynomial:
            apply_polynomial(run, base, probe, polynomial, degree, engine)
        elif choice == f"{polynomial}+ic" and (again := probe_by_cg(run, base, 20)) is not None:
            apply_polynomial(run, base, again, polynomial, degree, engine)
        elif not run.finished:
            run.method = choice if choice == "ic" else plain
            run.iterate(base)
        if run.status is Status.BREAKDOWN and base.name == "ic":
            go_on_without(run, bind_scaling(op, choose_scaling(op)), "CG over IC broke down")
    if not run.finished and factorable and op.n <= _RESCUE and run.maxiter is None:
        run.give_up(f"{run.method} ended in {run.status.value}; direct instead")
        run.design = run.degree = None
        run_direct(run)


def predict_iterations(run: Run, probe: SpectralProbe, degree: int, engine: Any = None) -> tuple[str, float]:
    """The polynomial to use, "autospec" unless its weights fail, and the outer iterations expected of it."""
    rtol = run.rtol_left
    try:
        choice = learned_engine(engine, "autospec").choose(probe, degree=degree, rtol=rtol)
        return "autospec", choice.predicted_iterations
    except WeightsError as error:
        if engine is not None:  # the user's own weights: they want to know
            raise
        run.give_up(f"autospec: {error}; Chebyshev on [theta_min, b] instead")
    outer = dos_interval(probe, degree, rtol)[2]
    if not np.isfinite(outer):  # beyond what is simulated: the classical bound
        condition = probe.upper_bound / max(probe.lambda_min, 1e-15 * probe.upper_bound)
        outer = 0.5 * np.sqrt(condition) * np.log(2 / rtol) / (degree + 1)
    return "chebyshev", float(outer)


def predict_costs(
    run: Run, base: Scaling, polynomial: str, outer: float, degree: int
) -> tuple[dict[str, float], float]:
    """Predicted seconds of each way to finish, and the plain CG iterations expected to remain.

    The probe's own steps, two products (counted) and a vector update are timed on this machine.
    """
    op = run.op
    m = degree + 1
    remaining = max(1.0, outer * m * EFFICIENCY)
    step = run.seconds["probe"] / max(1, run.probe_iterations)
    vector, product = _time_vector_update(run.x), _time_product(run)
    overhead = max(step - product, 0.0)  # inner products, updates and the interpreter, once an iteration
    plain = "jacobi" if base.name == "jacobi" else "cg"
    costs = {
        plain: remaining * step,
        polynomial: outer * (m * product + degree * _STEP_VECTORS * vector + overhead),
    }
    if op.csr is not None and op.csr.nnz > op.n:
        solve = _IC_SOLVE * product
        set_up = _IC_SETUP * op.csr.nnz
        costs["ic"] = set_up + _IC_ITERATIONS * remaining * (step + solve)
        inner_steps = _IC_ITERATIONS * remaining / EFFICIENCY
        costs[f"{polynomial}+ic"] = set_up + inner_steps * (product + solve + _STEP_VECTORS * vector)
    return costs, remaining


def _time_product(run: Run) -> float:
    """Seconds of one product with A: the better of two."""
    best = np.inf
    for _ in range(2):
        started = time.perf_counter()
        run.op.matvec(run.x)
        best = min(best, time.perf_counter() - started)
    return float(best)


def _time_vector_update(x: object) -> float:
    """Seconds of one y += a x on vectors like x: the best of three."""
    y, z = zeros_like(x), zeros_like(x)
    best = np.inf
    for _ in range(3):
        started = time.perf_counter()
        y += 0.5 * z
        best = min(best, time.perf_counter() - started)
    return float(best)
