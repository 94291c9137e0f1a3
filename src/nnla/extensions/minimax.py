"""Odd polynomials x c(x^2) that are close to 1 on [l, 1]: one transition of a polar iteration, and sequences of them.

A transition of degree 3, 5 or 9 takes singular values in [l, u] into [1 - E, 1 + E] with the smallest possible E. It
costs 2, 3 or 4 products of matrices: the Gram matrix, what c(G) needs beyond it, and the product with X. Degree 9 is
no dearer than 7 (Paterson and Stockmeyer), and for its 4 products the best there is: two cubics, also 4 products and
degree 9 together, contract less.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from nnla.errors import OptionError, WeightsError
from nnla.tasks import engine_for

__all__ = [
    "CUSHION",
    "LEARNED",
    "PARAMETERS",
    "PRODUCTS",
    "Stage",
    "degrees_for",
    "learned_stage",
    "odd_minimax",
    "plan",
    "polar_express",
    "stage",
]

# degree -> products of matrices: G = X'X, powers of G beyond the first, and X c(G)
PRODUCTS = {3: 2, 5: 3, 9: 4, 17: 5}
LEARNED, PARAMETERS = 17, 11  # the transition whose coefficients come from a table that was trained
_TAYLOR = {3: (1.5, -0.5), 5: (1.875, -1.25, 0.375), 9: (315 / 128, -420 / 128, 378 / 128, -180 / 128, 35 / 128)}
# Beyond this ratio the Taylor polynomial of x^-1/2 at 1 is the minimax one up to rounding
_FLAT = {3: 1 - 1e-7, 5: 1 - 1e-5, 9: 1 - 3e-3}
_BEYOND = 1.02  # singular values that a transition must not send to the other sign
_STEPS = 24  # of the planner's grid of ratios per factor of ten
CUSHION = 0.02407327424182761  # Polar Express, section 4.4: smallest ratio that its polynomials are made for


class Stage(tuple[float, ...]):
    """Coefficients (c_0, ..., c_k) of x c(x^2); `error` is E, `low` and `high` the image of [ratio, 1].

    For the learned transition of degree 17 the eleven parameters of its program, see `learned_stage`.
    """

    error: float
    low: float
    high: float
    cushioned: bool

    def __new__(
        cls, coefficients: Iterable[float], error: float, low: float, high: float, cushioned: bool = False
    ) -> Stage:
        self = super().__new__(cls, tuple(float(c) for c in coefficients))
        self.error, self.low, self.high, self.cushioned = float(error), float(low), float(high), cushioned
        return self

    @property
    def products(self) -> int:
        return PRODUCTS[self.degree]

    @property
    def degree(self) -> int:
        return LEARNED if len(self) == PARAMETERS else 2 * len(self) - 1

    def __call__(self, x: Any) -> Any:
        """The polynomial at singular values x (those of the interval scaled to [ratio, 1])."""
        x = np.asarray(x, dtype=np.float64)
        if self.degree != LEARNED:
            return x * np.polynomial.polynomial.polyval(x * x, self)
        a1, a2, b1, b2, b3, b4, c0, c1, c2, c3, c4 = self
        y = x * x
        B2 = y * y
        B4 = (B2 + a1 * y) * (B2 + a2 * y)
        B8 = (B4 + b1 * B2 + b2 * y) * (B4 + b3 * B2 + b4 * y)
        return x * (c0 + c1 * y + c2 * B2 + c3 * B4 + c4 * B8)


@functools.lru_cache(maxsize=4096)
def odd_minimax(degree: int, ratio: float) -> Stage:
    """The odd polynomial of `degree` with the smallest max |p(x) - 1| on [ratio, 1], by Remez exchange.

    Parameters
    ----------
    degree : 3, 5 or 9
    ratio : l in (0, 1]

    Returns
    -------
    Stage

    Notes
    -----
    Cost: at most 50 systems of (degree + 3) / 2 unknowns, about 1 ms; kept for the next call.

    References
    ----------
    Polar Express, arXiv:2505.16932, section 3 and theorem 3.3: the best composition of such polynomials is the greedy
    one. Remez (1934).

    Examples
    --------
    >>> p = odd_minimax(5, 0.5)
    >>> round(p.error, 4), bool(abs(p(0.5) - 1 + p.error) < 1e-12)
    (0.024, True)
    """
    if degree not in _TAYLOR:
        raise OptionError(f"minimax transitions have degree {', '.join(map(str, _TAYLOR))}, not {degree!r}")
    if not 0 < ratio <= 1:
        raise OptionError(f"the ratio of an interval of singular values is in (0, 1], not {ratio!r}")
    if ratio > _FLAT[degree]:
        return _taylor(degree, ratio)
    k = (degree - 1) // 2
    odd = 2 * np.arange(k + 1) + 1
    angle = np.pi / 2 * (1 - np.arange(1, k + 2) / (k + 1))
    x = (1 + ratio) / 2 - (1 - ratio) / 2 * np.cos(np.pi * np.arange(k + 2) / (k + 1))
    if ratio < 0.01:  # the extremes are those of a Chebyshev polynomial of the whole of [-1, 1]
        x = np.concatenate([[ratio], np.cos(angle)])
    sign = (-1.0) ** np.arange(1, k + 3)
    for _ in range(50):
        solution = np.linalg.solve(np.column_stack([x[:, None] ** odd, -sign]), np.ones(k + 2))
        c, level = solution[:-1], abs(solution[-1])
        y = np.roots((odd * c)[::-1])  # p'(x) = 0 in y = x^2
        y = np.sort(y.real[np.abs(y.imag) < 1e-6 * np.abs(y)])
        y = y[(y > ratio**2) & (y < 1)]
        if y.size != k:  # rounding joins the extremes: the interval is nearly a point
            return _taylor(degree, ratio)
        x = np.concatenate([[ratio], np.sqrt(y), [1.0]])
        worst = float(np.abs(x[:, None] ** odd @ c - 1).max())
        if worst <= level * (1 + 1e-9) + 4e-16:
            break
    return Stage(c, worst, 1 - worst, 1 + worst)


def _taylor(degree: int, ratio: float) -> Stage:
    # expanded where the interval's middle is 1
    middle = 0.5 * (1 + ratio)
    c = np.array(_TAYLOR[degree]) / middle ** (2 * np.arange((degree + 1) // 2) + 1)
    ends = np.array([ratio, 1.0])
    values = ends * np.polynomial.polynomial.polyval(ends**2, c)
    error = max(float(np.abs(values - 1).max()), 2e-16)
    return Stage(c, error, 1 - error, 1 + error)


@functools.lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ratios, parameters, errors) of the learned transitions; empty where the weights cannot be read."""
    try:
        return engine_for(None, "polar factors and inverse roots", "autospec").table()
    except WeightsError:  # the other degrees do without
        return np.zeros(0), np.zeros((0, PARAMETERS)), np.zeros(0)


@functools.lru_cache(maxsize=4096)
def learned_stage(ratio: float) -> Stage | None:
    """The learned transition of degree 17 and five products for [ratio, 1]; None where none was learned.

    With B2 = G^2, B4 = (B2 + a1 G)(B2 + a2 G), B8 = (B4 + b1 B2 + b2 G)(B4 + b3 B2 + b4 G) it is
    X (c0 + c1 G + c2 B2 + c3 B4 + c4 B8), trained for a grid of ratios; the next smaller one is taken.

    Cost: a search in a table that is read once.

    References
    ----------
    AutoSpec (arXiv:2602.09530), appendix A.1, equation (10), for transitions of this kind; the table is this package's.
    """
    ratios, parameters, errors = _table()
    index = int(np.searchsorted(ratios, ratio * (1 + 1e-12), side="right")) - 1
    if index < 0:
        return None
    error = float(errors[index])
    return Stage(parameters[index], error, 1 - error, 1 + error)


def stage(degree: int, ratio: float, eps: float = 2.0**-53) -> Stage:
    """The transition to use on [ratio, 1] where products round to relative accuracy `eps`.

    The minimax polynomial of a tiny ratio is as small as 1 - E between its maxima, which rounding of size
    eps * max |c_i| would drown; and a singular value with the wrong sign never comes back. The polynomial is
    therefore made for the smallest ratio whose minima stand clear of the rounding.

    Cost: that of `odd_minimax`.

    References
    ----------
    As `odd_minimax`.

    Examples
    --------
    >>> p = stage(9, 1e-3, eps=2.0**-9)
    >>> p.cushioned, p.low < 0.05
    (True, True)
    """
    if degree == LEARNED:
        p = learned_stage(ratio)
        if p is not None and not _drowns(p, eps):
            return p
        return Stage((0.0,) * PARAMETERS, 1.0, 0.0, 2.0, True)  # of no use
    p = odd_minimax(degree, ratio)
    if _drowns(p, eps):
        p = odd_minimax(degree, max(ratio, _smallest_ratio(degree, eps)))
        return Stage(p, p.error, min(float(p(ratio)), p.low), p.high, True)
    return p


def _drowns(p: Stage, eps: float) -> bool:
    # Rounding relative to the minima is what the backward error of the factor grows by: in double it costs products
    # beyond condition 1e8 only to keep it tiny, in single precision it has to stay small; bfloat16 has no digits to be
    # choosy with. The second condition: a cubic for a tiny ratio falls to zero right behind 1, where a probed bound may
    # be a little short.
    share = 1e-6 if eps < 1e-12 else 0.003 if eps < 1e-4 else 0.3
    return eps * max(abs(c) for c in p) > share * p.low or float(p(_BEYOND)) < 0.3 * p.low


@functools.lru_cache(maxsize=64)
def _smallest_ratio(degree: int, eps: float) -> float:
    low, high = 1e-16, 1.0
    while high / low > 1.05:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _drowns(odd_minimax(degree, middle), eps) else (low, middle)
    return high


def degrees_for(eps: float) -> tuple[int, ...]:
    """Degrees worth taking: in bfloat16 and half the coefficients of 9 and 17 cost more digits than they save."""
    return tuple(PRODUCTS) if eps < 1e-4 else (3, 5)


def plan(
    ratio: float, tol: float, *, eps: float = 2.0**-53, degrees: tuple[int, ...] | None = None, extra: int = 0
) -> list[int]:
    """Degrees of the transitions that take [ratio, 1] to within `tol` of 1 in the fewest products.

    Parameters
    ----------
    ratio : smallest over largest singular value
    tol : wanted max |1 - sigma|
    eps : rounding of the products
    degrees : those to choose from, by default `degrees_for` the rounding
    extra : products of every transition beyond those of `PRODUCTS`: 1 where two matrices are updated

    Returns
    -------
    list of degrees, empty where nothing is to do

    Notes
    -----
    Cost: about 0.2 s for the first plan of a kind, microseconds for one made before.

    Shortest path over a grid of ratios (rounded down: what is planned suffices). For one and the same interval the
    sequence of greedy minimax steps is the best composition of its degrees; what is left is the choice of degrees.

    References
    ----------
    Polar Express, arXiv:2505.16932, theorem 3.3 (greedy steps are the best composition); the choice of degrees is this
    package's.

    Examples
    --------
    >>> steps = plan(1e-3, 1e-10)
    >>> sum(PRODUCTS[d] for d in steps) < sum(PRODUCTS[5] for _ in plan(1e-3, 1e-10, degrees=(5,)))
    True
    """
    if not 0 < ratio <= 1 or not tol > 0:
        raise OptionError(f"plan needs a ratio in (0, 1] and a positive tolerance, not {ratio!r} and {tol!r}")
    return list(_cheapest(_rounded(ratio), max(tol, 4e-16), eps, degrees or degrees_for(eps), extra)[1])


def _rounded(ratio: float) -> float:
    """Down to a grid that is even in log l for small l, and in log (1 - l) for l near 1."""
    if ratio < 0.5:
        return 10.0 ** (math.floor(math.log10(ratio) * _STEPS) / _STEPS)
    gap = max(1 - ratio, 1e-16)
    return 1 - min(10.0 ** (math.ceil(math.log10(gap) * _STEPS) / _STEPS), 0.52)


@functools.lru_cache(maxsize=65536)
def _cheapest(
    ratio: float, tol: float, eps: float, degrees: tuple[int, ...], extra: int
) -> tuple[float, tuple[int, ...]]:
    if 1 - ratio <= (1 + ratio) * tol:
        return 0.0, ()
    best: tuple[float, tuple[int, ...]] = (math.inf, ())
    for degree in degrees:
        p = stage(degree, ratio, eps)
        if p.error + eps * max(map(abs, p)) <= tol and not p.cushioned:
            cost, rest = 0.0, ()
        else:
            image = _rounded(max(p.low, 1e-300) / p.high)
            if image <= ratio:
                continue
            cost, rest = _cheapest(image, tol, eps, degrees, extra)
        if (total := cost + p.products + extra) < best[0]:
            best = (total, (degree, *rest))
    return best


def polar_express(steps: int, lower: float = 1e-3, *, degree: int = 5, cushion: float = CUSHION) -> list[Stage]:
    """The schedule of Polar Express for singular values in [lower, 1]: greedy minimax steps, recentred.

    Parameters
    ----------
    steps : transitions wanted
    lower : smallest singular value expected
    degree : 3 or 5 (or 9)
    cushion : smallest ratio that a polynomial is made for; 0 for the pure minimax composition

    Returns
    -------
    list of Stage, on the singular values as they come (not rescaled between the steps)

    Notes
    -----
    Cost: ``steps`` times `odd_minimax`; the schedule takes 2 or 3 products of matrices a step of degree 3 or 5.

    References
    ----------
    arXiv:2505.16932, algorithm 1 and section 4.4, whose table these numbers reproduce.

    Examples
    --------
    >>> [round(c, 4) for c in polar_express(1)[0]]
    [8.2872, -23.5959, 17.3004]
    """
    if not 0 < lower <= 1:
        raise OptionError(f"lower is a singular value in (0, 1], not {lower!r}")
    odd = 2 * np.arange((degree + 1) // 2) + 1
    low, high = lower, 1.0
    result: list[Stage] = []
    for _ in range(steps):
        p = odd_minimax(degree, min(max(low / high, cushion), 1.0))
        ends = p(np.array([low / high, 1.0])) if degree in (5, 9) else np.array([float(p(low / high)), p.high])
        scale = 2 / float(ends.sum())
        low, high = scale * float(ends[0]), 2 - scale * float(ends[0])
        result.append(Stage(scale * np.array(p) / (1e-300 + _previous(result)) ** odd, 1 - low, low, high))
    return result


def _previous(stages: list[Stage]) -> float:
    """Upper end of the interval that the next transition starts from."""
    return stages[-1].high if stages else 1.0
