"""Equioscillation: the extrema of a polynomial on its window, and its best affine copy of a Chebyshev polynomial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnla.analysis.minimax import minimax_gap, nelder_mead
from nnla.errors import OptionError
from nnla.polynomials.recurrence import Recurrence

__all__ = ["ChebyshevFit", "Equioscillation", "chebyshev_fit", "equioscillation"]


@dataclass(frozen=True)
class Equioscillation:
    """Result of `equioscillation`.

    Attributes
    ----------
    window : (low, high)
    x, value : extrema of P on the window, both ends included, and P there over the largest |P|
    alternations : length of the longest run of extrema of alternating sign that reach ``level``; degree + 1 for a
        Chebyshev polynomial (Chebyshev's alternation theorem)
    level : smallest |value| that counts
    flatness : smallest |value| of all extrema of the window, 1 for a Chebyshev polynomial
    degree : int
    """

    window: tuple[float, float]
    x: np.ndarray
    value: np.ndarray
    alternations: int
    level: float
    flatness: float
    degree: int


def equioscillation(
    recurrence: Recurrence, *, window: tuple[float, float] | None = None, level: float = 0.9
) -> Equioscillation:
    """Extrema of a polynomial on a window, and how many alternate at nearly the same height.

    Parameters
    ----------
    recurrence : the polynomial
    window : (low, high); default the one of `minimax_gap`
    level : share of the largest |P| that an extremum must reach to count

    Returns
    -------
    Equioscillation

    Notes
    -----
    Cost: the roots of a polynomial of the degree, below 1 ms; without a ``window`` also `minimax_gap`, 2 s.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 6. Trefethen, Approximation Theory and Approximation Practice (2013), chapter
    10.

    Examples
    --------
    >>> e = equioscillation(Recurrence.from_chebyshev([0] * 8 + [3.0], 0.2, 1.5))
    >>> e.alternations, round(e.flatness, 6)
    (9, 1.0)
    """
    if window is None:
        window = minimax_gap(recurrence).window
    if not window[0] < window[1]:
        raise OptionError(f"the window needs low < high, got {window}")
    degree = max(recurrence.degree, 1)
    angle = np.linspace(0.0, np.pi, 200 * degree + 1)
    x = (window[0] + window[1]) / 2 - (window[1] - window[0]) / 2 * np.cos(angle)
    value = recurrence(x)
    turn = np.flatnonzero((value[1:-1] - value[:-2]) * (value[2:] - value[1:-1]) <= 0) + 1
    extrema = np.unique(np.concatenate([[0], turn, [x.size - 1]]))
    top = float(np.abs(value[extrema]).max())
    heights = value[extrema] / (top or 1.0)
    return Equioscillation(
        (float(window[0]), float(window[1])),
        x[extrema],
        heights,
        _longest_alternation(heights[np.abs(heights) >= level]),
        level,
        float(np.abs(heights).min()),
        degree,
    )


def _longest_alternation(heights: np.ndarray) -> int:
    """Extrema left when neighbours of one sign count once."""
    return int(np.count_nonzero(np.diff(np.sign(heights)))) + (heights.size > 0)


@dataclass(frozen=True)
class ChebyshevFit:
    """a P(b x + c) + d, as near as possible to the Chebyshev polynomial of P's degree; see `chebyshev_fit`.

    Attributes
    ----------
    a, b, c, d : float
    error : largest |a P(b x + c) + d - T(x)| / max(1, |T(x)|) on [-2, 2]
    inside : the largest difference on [-1, 1]
    x, fitted, chebyshev : (points,) for a plot
    """

    a: float
    b: float
    c: float
    d: float
    error: float
    inside: float
    x: np.ndarray
    fitted: np.ndarray
    chebyshev: np.ndarray


def chebyshev_fit(recurrence: Recurrence, *, reach: float = 2.0) -> ChebyshevFit:
    """The affine copy P -> a P(b x + c) + d that is nearest to a Chebyshev polynomial on [-reach, reach].

    Nearest by least squares of the difference over max(1, |T|), so that the oscillations and the growth beside them
    count alike. a and d follow from b and c by linear least squares; those from the extrema of `minimax_gap`
    and from a grid, by Nelder-Mead.

    Notes
    -----
    Cost: some thousand evaluations of P on scalars and `minimax_gap`; 2 s for degree 21.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Figure 6.

    Examples
    --------
    >>> fit = chebyshev_fit(Recurrence.from_chebyshev([2.0] + [0] * 7 + [3.0], 0.2, 1.5))
    >>> bool(fit.error < 1e-5), round(fit.b, 4), round(fit.c, 4)
    (True, 0.65, 0.85)
    """
    degree = recurrence.degree
    x = np.unique(np.concatenate([np.cos(np.linspace(0, np.pi, 12 * degree)), np.linspace(-reach, reach, 400)]))
    T = np.polynomial.chebyshev.Chebyshev.basis(degree)(x)
    weight = 1 / np.maximum(1.0, np.abs(T))

    def solve(b: float, c: float) -> tuple[float, float, np.ndarray]:
        with np.errstate(all="ignore"):
            value = recurrence(b * x + c)
        if not np.all(np.isfinite(value)):
            return 0.0, 0.0, np.full(x.size, 1e3)
        size = float(np.abs(value * weight).max()) or 1.0
        columns = np.stack([value / size * weight, weight], axis=1)
        (a, d), *_ = np.linalg.lstsq(columns, T * weight, rcond=None)
        return float(a) / size, float(d), columns @ (a, d) - T * weight

    def misfit(p: np.ndarray) -> float:
        return float(np.mean(solve(float(np.exp(p[0])), float(p[1]))[2] ** 2))

    low, high = recurrence.domain
    span = (high - low) / 2
    starts = [(low + span * u, span * v) for u in np.linspace(0.6, 1.4, 9) for v in np.linspace(0.5, 1.4, 10)]
    window = minimax_gap(recurrence).window
    starts.append(((window[0] + window[1]) / 2, (window[1] - window[0]) / 2))
    ranked = sorted((misfit(np.array([np.log(b), c])), c, b) for c, b in starts)
    tried: list[tuple[float, np.ndarray]] = []
    for _, c, b in ranked[:4]:
        simplex = np.array([[np.log(b), c], [np.log(b) + 0.05, c], [np.log(b), c + 0.05 * b]])
        tried.append(nelder_mead(misfit, simplex, xatol=1e-10, fatol=1e-14, maxiter=800))
    _, best = min(tried, key=lambda one: one[0])
    b, c = float(np.exp(best[0])), float(best[1])
    a, d, difference = solve(b, c)
    fitted = a * recurrence(b * x + c) + d
    inside = float(np.abs(fitted - T)[np.abs(x) <= 1].max())
    return ChebyshevFit(a, b, c, d, float(np.abs(difference).max()), inside, x, fitted, T)
