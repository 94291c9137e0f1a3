"""Minimax optimality: how close a polynomial comes to the least maximum that its leading coefficient allows.

The measure (26) of the AutoSpec paper. Among polynomials of degree d with leading coefficient K, the scaled Chebyshev
polynomial has the least maximum on [-1, 1], |K| 2^(1 - d); (26) is the maximum over the leading coefficient on the best
window, so that it lies between 2^(1 - d) (a Chebyshev polynomial) and 1 (a monomial), whatever the scale of P.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.polynomials.recurrence import Recurrence

__all__ = ["MinimaxGap", "leading_coefficient", "minimax_gap", "random_recurrence"]

_PER_DEGREE = 24  # sampling points of a window per degree; extrema are refined by parabolas
_WIDTHS, _CENTRES = 25, 25  # of the windows that the search starts from


@dataclass(frozen=True)
class MinimaxGap:
    """Result of `minimax_gap`.

    Attributes
    ----------
    L : float, (26): max |P| on the window over the leading coefficient there
    bound : float, 2^(1 - degree), the least L that any polynomial of that degree has
    gap : float, ``L / bound - 1``, the optimality gap without the degree's scale; 0 for Chebyshev
    window : (low, high) in the variable of P
    degree : int
    """

    L: float
    bound: float
    gap: float
    window: tuple[float, float]
    degree: int


def leading_coefficient(recurrence: Recurrence) -> tuple[int, float, float]:
    """Degree, sign and natural logarithm of |leading coefficient| of P, from the scalars of the recurrence.

    Every state of (5) is followed by its degree and leading coefficient, in logarithms, so that nothing overflows
    at any degree. With no beta 0 that comes to the paper's product of the betas.

    Raises
    ------
    OptionError
        P is zero, or leading terms of equal degree cancel exactly.

    Notes
    -----
    Cost: five operations on pairs of numbers for each layer.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equation (5); equation (26) needs it.

    Examples
    --------
    >>> T5 = Recurrence.from_chebyshev([0, 0, 0, 0, 0, 1], -1, 1)
    >>> degree, sign, log = leading_coefficient(T5)
    >>> degree, sign, round(math.exp(log), 9)
    (5, 1.0, 16.0)
    """
    acc: _Lead = (0, 1.0, 0.0)
    old, new = acc, acc
    if recurrence.starts_with_product:
        new = _times_x(acc, 1.0, recurrence.scale)
    layers = list(zip(*(getattr(recurrence, f) for f in ("rho", "gamma", "eta", "alpha", "beta")), strict=True))
    for index, (rho, gamma, eta, alpha, beta) in enumerate(layers):
        terms = [_times(acc, gamma), _times(old, eta), _times(new, alpha), _times_x(new, beta, recurrence.scale)]
        following = _add(terms)
        if index < len(layers) - 1:
            acc, old = _add([acc, _times(new, rho)]), new
        new = following
    degree, sign, log = new
    if sign == 0:
        raise OptionError("the polynomial has no leading coefficient: it is zero, or its leading terms cancel")
    return degree, sign, log


_Lead = tuple[int, float, float]  # degree, sign (0 for the zero polynomial), log |leading coefficient|


def _times(lead: _Lead, factor: float) -> _Lead:
    if factor == 0 or lead[1] == 0:
        return (0, 0.0, -math.inf)
    return (lead[0], math.copysign(lead[1], lead[1] * factor), lead[2] + math.log(abs(factor)))


def _times_x(lead: _Lead, factor: float, scale: float) -> _Lead:
    degree, sign, log = _times(lead, factor / scale)
    return (degree + (sign != 0), sign, log)


def _add(terms: list[_Lead]) -> _Lead:
    """Leading term of a sum: terms of the highest degree, added with their largest factored out."""
    present = [t for t in terms if t[1] != 0]
    if not present:
        return (0, 0.0, -math.inf)
    degree = max(t[0] for t in present)
    top = [t for t in present if t[0] == degree]
    largest = max(t[2] for t in top)
    total = sum(sign * math.exp(log - largest) for _, sign, log in top)
    if total == 0:
        return (degree, 0.0, -math.inf)
    return (degree, math.copysign(1.0, total), largest + math.log(abs(total)))


def minimax_gap(
    recurrence: Recurrence,
    *,
    points: np.ndarray | None = None,
    search: tuple[float, float] | None = None,
) -> MinimaxGap:
    """The optimality gap (26) of a polynomial: least max |P| / leading coefficient over all windows.

    Parameters
    ----------
    recurrence : the polynomial; for a preconditioner pass ``residual_recurrence`` of it to judge 1 - x P(x)
    points : sampling points in [-1, 1] of a window; by default enough Chebyshev points, with refinement, to have
        the maximum to five digits. A coarse uniform grid misses the extrema next to the ends and gives values
        below the bound, as the paper's are.
    search : (low, high) that windows are searched about; default the recurrence's domain

    Returns
    -------
    MinimaxGap

    Notes
    -----
    Cost: some 2000 evaluations of P on a thousand scalars.

    A grid of windows, then Nelder-Mead from the best five.
    The window found is a local minimum; polynomials with many levels may have a lower one elsewhere.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Appendix G, equation (26), Table 1.

    Examples
    --------
    >>> gap = minimax_gap(Recurrence.from_chebyshev([0] * 8 + [3.0], 0.2, 1.5))
    >>> round(gap.gap, 6) + 0.0, [round(w, 4) for w in gap.window]
    (0.0, [0.2, 1.5])
    """
    degree, _, log_lead = leading_coefficient(recurrence)
    if degree < 1:
        raise OptionError("a constant has no minimax gap; pass a polynomial of degree 1 or more")
    sample = _maximum(recurrence, degree, points)

    def log_L(window: np.ndarray) -> float:
        centre, width = float(window[0]), float(np.exp(window[1]))
        return sample(centre, width) - log_lead - degree * math.log(width)

    low, high = recurrence.domain if search is None else search
    half = (high - low) / 2
    starts = [
        (log_L(np.array([centre, log_width])), centre, log_width)
        for log_width in np.log(half * np.geomspace(0.02, 30.0, _WIDTHS))
        for centre in low + half * np.linspace(-1.0, 3.0, _CENTRES)
    ]
    wide = (low + half, math.log(1e6 * half))  # there any polynomial is its leading monomial, and L is 1
    tried: list[tuple[float, np.ndarray]] = []
    for _, centre, log_width in [*sorted(starts)[:5], (0.0, *wide)]:
        step = np.exp(log_width)
        simplex = np.array([[centre, log_width], [centre + 0.1 * step, log_width], [centre, log_width + 0.1]])
        tried.append(nelder_mead(log_L, simplex, xatol=1e-9, fatol=1e-10, maxiter=600))
    least, window = min(tried, key=lambda one: one[0])
    centre, width = float(window[0]), float(np.exp(window[1]))
    L, bound = math.exp(least), 2.0 ** (1 - degree)
    return MinimaxGap(L, bound, L / bound - 1, (centre - width, centre + width), degree)


def nelder_mead(f: Callable[[np.ndarray], float], simplex: np.ndarray, **options: Any) -> tuple[float, np.ndarray]:
    """The least value of f that the search from a simplex finds, and where."""
    from scipy.optimize import minimize

    found: Any = minimize(f, simplex[0], method="Nelder-Mead", options={"initial_simplex": simplex, **options})
    return found.fun, found.x


def _maximum(P: Recurrence, degree: int, points: np.ndarray | None) -> Callable[[float, float], float]:
    """log max |P| over a window, as a function of its centre and half-width."""
    fine = points is None
    t = np.cos(np.pi * np.linspace(0, 1, _PER_DEGREE * degree + 1)) if points is None else np.asarray(points, float)

    def sample(centre: float, width: float) -> float:
        with np.errstate(all="ignore"):
            value = np.abs(P(centre + width * t))
        if not np.all(np.isfinite(value)):
            return 1e3
        i = int(np.argmax(value))
        top = float(value[i])
        if fine and 0 < i < t.size - 1:  # a parabola through the largest sample, in the angle
            a, b = value[i - 1] - top, value[i + 1] - top
            if a + b < 0:
                top -= (a - b) ** 2 / (8 * (a + b))
        return math.log(max(top, 1e-300))

    return sample


def random_recurrence(degree: int, seed: int = 0) -> Recurrence:
    """A polynomial with standard normal recurrence coefficients on [-1, 1]: Table 1's "Random" baseline.

    Notes
    -----
    Cost: none to speak of: 5 (degree - 1) random numbers.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Table 1.

    Examples
    --------
    >>> random_recurrence(21).degree
    21
    """
    coefficients = np.random.default_rng(seed).standard_normal((5, degree - 1))
    return Recurrence(*coefficients)
