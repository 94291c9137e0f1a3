"""From a probe to a polynomial for f(A): method, degree, guard, and the error that the probe lets one expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import WeightsError
from nnla.functions.polynomials import (
    RULE_MARGINS,
    Margins,
    adapted,
    chebyshev_coefficients,
    check_points,
    deviation,
    interpolant,
    neumann_series,
    zones_of,
)
from nnla.functions.scalars import ScalarFunction, rms
from nnla.polynomials.recurrence import Recurrence
from nnla.tasks import engine_for
from nnla.types import SpectralProbe

__all__ = ["MAX_DEGREE", "POLYNOMIALS", "FunctionDesign", "design_function", "expected_error", "mean_square"]

POLYNOMIALS = ("autospec", "chebyshev", "neumann")
MAX_DEGREE = 1024
_HALF = 0.5  # share of the tolerance that a design may use up
_CAUTIOUS = Margins(low=1.0, spread=1.0, gap=1.0)  # the zones on which a polynomial is judged
_PROBED = Margins(low=0.0, spread=1.0, gap=1.0)  # ... and on which two of them are compared
_LARGEST_FIT = 96  # degree beyond which a fit costs more than the products that it saves


@dataclass(frozen=True)
class FunctionDesign:
    """A polynomial for f(A).

    Attributes
    ----------
    recurrence : Recurrence
    method : the method that made it, after a fallback the classical one
    expected : error expected on the probed zones, see `nnla.functions.polynomials.deviation`
    fallback : None, or what was given up and why
    weights : name of the learned weights, or None
    """

    recurrence: Recurrence
    method: str
    expected: float
    fallback: str | None = None
    weights: str | None = None


def mean_square(probe: SpectralProbe, f: ScalarFunction) -> float:
    """||f(A) v|| / ||v|| for the start v of the probe, by its Gauss rule.

    Cost: f at the Ritz values; no products.

    References
    ----------
    Golub, Meurant, Matrices, Moments and Quadrature with Applications (2010), chapter 7.
    """
    largest = float(np.abs(probe.ritz_values).max())
    return rms(probe.ritz_weights, f.on_spectrum(probe.ritz_values, largest))


@np.errstate(all="ignore")  # a polynomial or an f that overflows is judged by what comes out
def expected_error(P: Recurrence, probe: SpectralProbe, f: ScalarFunction, scale: float) -> float:
    """Error of P where the probe says that eigenvalues are or may be, and on the probe's own measure.

    The second part is ||(P - f)(A) v|| / ||f(A) v|| by the Gauss rule, exact in P once the probe has more steps than
    P's degree: what the zones overlook, this sees.

    Cost: P and f at some hundred points of the zones and at the Ritz values; no products.

    References
    ----------
    Golub, Meurant, Matrices, Moments and Quadrature with Applications (2010), chapter 7.
    """
    x = check_points(zones_of(probe, f, _CAUTIOUS), P.degree)
    if f.definite and not f.zero:
        x = x[x > 0]
    worst = deviation(P, f, x, scale)
    theta, weight = probe.ritz_values, probe.ritz_weights
    exact = f.on_spectrum(theta, float(np.abs(theta).max()))
    size = rms(weight, exact)
    seen = rms(weight, P(theta) - exact) / size if size > 0 else 0.0
    return max(worst, seen) if np.isfinite(seen) else np.inf


@np.errstate(all="ignore")
def design_function(
    probe: SpectralProbe,
    f: ScalarFunction,
    *,
    method: str,
    rtol: float,
    degree: int | None = None,
    engine: Any = None,
    scale: float | None = None,
) -> FunctionDesign:
    """The polynomial of a method for a probe: of the degree given, or of the least that reaches ``rtol``.

    Parameters
    ----------
    probe : SpectralProbe
    f : ScalarFunction
    method : one of `POLYNOMIALS`
    rtol : tolerance
    degree : None for the least degree, at most `MAX_DEGREE`, whose expected error is half of ``rtol``
    engine : trained engine, or the path of its weights, instead of the shipped one
    scale : ||f(A) v|| / ||v|| of the vectors that it is for; default the probe's

    Raises
    ------
    NotPositiveDefiniteError
        The probe has a Ritz value outside the domain of f.
    OptionError
        A series for a function that has none here.

    Notes
    -----
    Cost: no products. About 1 ms for an interpolant, 10-20 ms for "autospec".
    Guaranteed: never worse, on the probed zones, than Chebyshev interpolation of the same degree. The fit is taken
    where it is better there, and ``fallback`` says so where it is not.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 5.4. Trefethen, Approximation Theory and Approximation Practice (2013),
    chapters 3 and 8.
    """
    scale = mean_square(probe, f) if scale is None else scale
    whole = zones_of(probe, f, _CAUTIOUS)
    a, b = whole.hull

    def judged(P: Recurrence) -> float:
        return expected_error(P, probe, f, scale)

    def build(d: int) -> Recurrence:
        return neumann_series(f, (a + b) / 2, b, d) if method == "neumann" else interpolant(f, a, b, d)

    if degree is not None:
        P = build(degree)
        expected = judged(P)
    elif method == "neumann":
        P, expected = _least(build, judged, rtol, MAX_DEGREE)
    else:
        P, expected = _by_tail(build, judged, f, (a, b), rtol, scale)
    classical = FunctionDesign(P, "chebyshev" if method == "autospec" else method, expected)
    if method != "autospec":
        return classical
    if degree is None and len(whole.ends) == 1:
        return _given_up(classical, "the probe sees no gap in the spectrum: a fit would not pay")
    margins, weights, why = _margins(probe, f, degree, engine)
    fit, verdict = classical.recurrence, ""
    # narrow zones that lose where the probe is unclear get a second chance with the full residuals
    for chosen in (margins, Margins(margins.low, max(margins.spread, _PROBED.spread), margins.gap)):
        if degree is None:
            fit, expected = _least_fit(probe, f, chosen, classical, rtol, scale, judged)
        else:
            fit = adapted(f, zones_of(probe, f, chosen), degree, chosen.gap, scale=scale)
            expected = judged(fit)
        verdict = _compared(fit, classical.recurrence, probe, f, scale, rtol, by_degree=degree is None)
        if not verdict or degree is None:
            break
    if verdict:
        return _given_up(classical, verdict)
    return FunctionDesign(fit, "autospec", expected, why or None, weights or None)


def _by_tail(
    build: Callable[[int], Recurrence],
    judged: Callable[[Recurrence], float],
    f: ScalarFunction,
    hull: tuple[float, float],
    rtol: float,
    scale: float,
) -> tuple[Recurrence, float]:
    """Interpolation of the degree that the decay of f's Chebyshev coefficients asks for, or a little more."""
    a, b = hull
    if b - a <= 1e-14 * max(abs(a), abs(b)):
        return build(1), judged(build(1))
    c = np.abs(chebyshev_coefficients(f, a, b, 2 * MAX_DEGREE))
    tail = np.cumsum(c[::-1])[::-1]
    unit = float(np.abs(f(np.array([a, b]))).min()) if f.nonzero else 0.0
    enough = np.flatnonzero(tail[1:] <= _HALF * rtol * max(scale, unit))
    degree = min(int(enough[0]) if enough.size else MAX_DEGREE, MAX_DEGREE)
    while True:
        P = build(max(degree, 1))
        expected = judged(P)
        if expected <= _HALF * rtol or degree >= MAX_DEGREE:
            return P, expected
        degree = min(int(1.15 * degree) + 1, MAX_DEGREE)


def _least(
    build: Callable[[int], Recurrence], judged: Callable[[Recurrence], float], rtol: float, top: int
) -> tuple[Recurrence, float]:
    """The smallest degree within half the tolerance, to 10 %: doubled until it is reached, then bisected.

    None is found by ``top``: that one.
    """
    low, high = 0, min(4, top)
    best = build(high)
    error = judged(best)
    while error > _HALF * rtol and high < top:
        low, high = high, min(2 * high, top)
        best = build(high)
        error = judged(best)
    while error <= _HALF * rtol and high - low > max(1, high // 10):
        middle = (low + high) // 2
        P = build(middle)
        found = judged(P)
        if found <= _HALF * rtol:
            high, best, error = middle, P, found
        else:
            low = middle
    return best, error


def _least_fit(
    probe: SpectralProbe,
    f: ScalarFunction,
    margins: Margins,
    classical: FunctionDesign,
    rtol: float,
    scale: float,
    judged: Callable[[Recurrence], float],
) -> tuple[Recurrence, float]:
    """The fit of smallest degree, on zones that are no smaller than those that it is judged on."""
    wide = Margins(
        max(margins.low, _CAUTIOUS.low), max(margins.spread, _CAUTIOUS.spread), min(margins.gap, 1e-3 * rtol)
    )
    zones = zones_of(probe, f, wide)
    top = min(classical.recurrence.degree, _LARGEST_FIT)

    def build(d: int) -> Recurrence:
        return adapted(f, zones, d, wide.gap, scale=scale)

    most = build(max(top, 2))
    error = judged(most)
    return _least(build, judged, rtol, max(top, 2)) if error <= _HALF * rtol else (most, error)


def _compared(
    fit: Recurrence,
    classical: Recurrence,
    probe: SpectralProbe,
    f: ScalarFunction,
    scale: float,
    rtol: float,
    *,
    by_degree: bool,
) -> str:
    """Why the classical polynomial is the better one, or "".

    Of two that reach the tolerance, the one of smaller degree; else the one of smaller error on the probed spectrum,
    unless the fit gives up more than it gains where the smallest eigenvalue may be.
    """
    errors: list[list[float]] = []
    for margins in (_PROBED, _CAUTIOUS):
        x = check_points(zones_of(probe, f, margins), max(fit.degree, classical.degree))
        x = x[x > 0] if f.definite and not f.zero else x
        errors.append([deviation(P, f, x, scale) for P in (fit, classical)])
    (own, other), (own_wide, other_wide) = errors
    if not np.isfinite(own_wide):
        return "the fit is not finite on the spectrum"
    if by_degree and max(own_wide, other_wide) <= rtol:
        return "" if fit.degree < classical.degree else "a fit of lower degree does not reach the tolerance"
    if own > other:
        return "on the probed spectrum the fit is no better"
    return "the fit loses where the smallest eigenvalue may be" if own_wide > 3 * other_wide else ""


def _given_up(classical: FunctionDesign, why: str) -> FunctionDesign:
    return FunctionDesign(
        classical.recurrence, "chebyshev", classical.expected, f"autospec: {why}; Chebyshev interpolation instead"
    )


def _margins(probe: SpectralProbe, f: ScalarFunction, degree: int | None, engine: Any) -> tuple[Margins, str, str]:
    """Margins, the name of the weights, and why the engine was not followed, or ""."""
    try:
        learned = engine_for(engine, "matrix functions", "autospec")
    except WeightsError as error:
        if engine is not None:  # the user's own weights: they want to know
            raise
        return RULE_MARGINS, "", f"autospec: {error}; margins by rule"
    choice = learned.margins(probe, degree=21 if degree is None else degree)
    return choice.margins, learned.card.get("name", learned.name), "" if choice.inside else choice.reason
