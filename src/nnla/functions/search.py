"""Probe and polynomial by turns, and what a polynomial does where the probe's vector shows nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nnla.functions.christoffel import Measure, gap_points, tail_points
from nnla.functions.design import MAX_DEGREE, FunctionDesign, design_function
from nnla.functions.hull import Hull
from nnla.functions.lanczos import Tridiagonals, near
from nnla.functions.polynomials import interpolant
from nnla.functions.scalars import ScalarFunction, balanced, rms
from nnla.operators.arrays import norm
from nnla.operators.operator import Operator
from nnla.polynomials.recurrence import Recurrence
from nnla.types import SpectralProbe

__all__ = ["Search", "polynomial_error", "widened"]

_EPS = float(np.finfo(float).eps)

_LEAST = 8  # steps of a probe


class Search:
    """Probe and polynomial by turns: a longer probe where the degree exceeds its steps."""

    def __init__(
        self,
        op: Operator,
        start: Any,
        f: ScalarFunction,
        rtol: float,
        degree: int | None,
        method: str,
        engine: Any,
        seed: int | None,
        steps: int,
    ) -> None:
        if not float(norm(start)) > 0:  # columns that cancel
            start = op.as_vector(np.random.default_rng(0).standard_normal(op.n))
        self.op, self.f, self.rtol, self.degree = op, f, rtol, degree
        self.method, self.engine, self.seed, self.steps = method, engine, seed, steps
        self.run_of = Tridiagonals(op.matvec, start, keep=0)

    def run(self) -> tuple[SpectralProbe, FunctionDesign]:
        """The probe and the polynomial for it.

        Cost: the probe's products, as many as the degree where that is to be found.
        """
        steps = max(self.steps, _LEAST)  # of a step or two nothing can be said
        while True:
            probe = self.probe(steps)
            design = design_function(
                probe, self.f, method=self.method, rtol=self.rtol, degree=self.degree, engine=self.engine
            )
            if self.degree is not None or probe.exhausted or design.recurrence.degree <= probe.steps:
                return probe, design
            if probe.steps >= MAX_DEGREE:
                return probe, design
            steps = min(max(design.recurrence.degree, int(1.3 * probe.steps)), int(1.7 * probe.steps) + 2, MAX_DEGREE)

    def probe(self, steps: int) -> SpectralProbe:
        """The probe after so many steps, or after those that have been done.

        Cost: a product for each new step.
        """
        run = self.run_of
        while run.steps < steps and not run.exhausted:
            run.advance()
        alpha, beta = (np.array([row[0] for row in rows]) for rows in (run.alpha, run.beta))
        return SpectralProbe(alpha, beta, self.op.n, "none", self.seed, run.steps)


@np.errstate(all="ignore")
def polynomial_error(P: Recurrence, probe: SpectralProbe, f: ScalarFunction, hull: Hull, rtol: float) -> float:
    """Relative error of P(A) v by what the probe of v leaves open, and by P where v shows no spectrum but A has some.

    Parameters
    ----------
    P : Recurrence
    probe : SpectralProbe of v
    f : ScalarFunction
    hull : of A, refined where the error is not within ``rtol`` and that may help
    rtol : tolerance

    Notes
    -----
    Cost: P and f at some points of every gap of the probe; at most as many products as the probe or P has.
    Validity: rounding puts components of some eps ||v|| into every eigenvector: P may not be large at any of them.
    """
    beta = float(probe.beta[-1])
    last = probe.ritz_residuals / beta if beta > 0 else np.zeros(probe.steps)
    theta = probe.ritz_values
    measure = Measure(probe.alpha, probe.beta, theta, last)
    exact, unit = balanced(*f.parts(theta, float(np.abs(theta).max())))
    size = rms(probe.ritz_weights, exact)
    if not size > 0:
        return np.inf

    def scaled(x: np.ndarray) -> np.ndarray:
        return np.ldexp(P(x), -unit)

    x, gap = gap_points(theta, measure.radii)
    worst = np.zeros(max(theta.size - 1, 1))
    np.maximum.at(worst, gap, measure.errors(x, f, unit, values=scaled(x)))
    inner = float(np.linalg.norm(worst))
    low = near(measure, f)[0]
    while True:
        ends = hull.ends()
        first, radii = float(theta[0]), measure.radii
        below = tail_points(first, radii[0], max(ends[0], low) if f.definite else ends[0])
        x = np.concatenate([below, tail_points(float(theta[-1]), radii[-1], ends[1])])
        outer = measure.errors(x, f, unit, values=scaled(x)).max(initial=0.0)
        whole = np.concatenate([x, tail_points(first, radii[0], min(ends[0], first))])
        noise = _EPS * np.nan_to_num(np.abs(scaled(whole)), nan=np.inf).max(initial=0.0)
        error = float(np.hypot(inner, outer) + noise) / size
        most = max(probe.steps, P.degree)
        if error <= rtol or hull.exhausted or hull.steps >= most or inner > rtol * size:
            return error
        hull.refine(most)


def widened(design: FunctionDesign, probe: SpectralProbe, f: ScalarFunction, hull: Hull, degree: int) -> FunctionDesign:
    """Interpolation of the degree on all of the hull: for a vector that shows only a part of the spectrum."""
    a, b = design.recurrence.domain
    low, high = hull.ends()
    if f.definite and f.zero:
        low = max(low, 0.0)
    if np.isfinite(low) and (low > 0 or f.zero or not f.definite):
        a = min(a, low)
    b = max(b, high) if np.isfinite(high) else b
    why = "V shows only a part of the spectrum: interpolation over all of it"
    return replace(design, recurrence=interpolant(f, a, b, degree), method="chebyshev", fallback=why, weights=None)
