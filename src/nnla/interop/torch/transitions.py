"""Transitions of degree 3, 5, 9 and 17 as programs that lose few digits, made on the host in float64.

One step takes singular values x in [l, u] to x c(x^2), near 1. `nnla.extensions.minimax` holds the minimax polynomials
of degree 3, 5 and 9 in powers of T = X'X, whose coefficients reach 600: too much for half precision. Here c is written
in W = 2 T / u^2 - I, whose spectrum fills [-1, 1], where the same coefficients are some thirty times smaller; and that
lets the minimax polynomial of degree 17 in, of which c has degree 8 and takes three products.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev, polynomial

from nnla.errors import OptionError
from nnla.extensions.minimax import odd_minimax

__all__ = ["DEGREES", "LARGEST_RATIO_17", "PRODUCTS", "Transition", "from_powers", "transition"]

PRODUCTS = {3: 0, 5: 1, 9: 2, 17: 3}  # degree -> products of n x n matrices that c(T) takes
DEGREES = tuple(PRODUCTS)
# Beyond it the error of degree 17, 1e-12, drowns in the rounding of its coefficients
LARGEST_RATIO_17 = 0.9
_SAMPLES = 3000


@dataclass(frozen=True)
class Transition:
    """x -> x c(x^2) on [lower, upper], as a program in W = 2 T / upper^2 - I.

    Attributes
    ----------
    degree : of x c(x^2), 3, 5, 9 or 17
    upper : largest singular value it is made for
    program : for degrees 3, 5 and 9 the coefficients of c in powers of W, constant first; for 17 the nine numbers
        (q4, q3, d2, d1, e2, e0, f2, f1, f0) of
        y = W^2 (q4 W^2 + q3 W),  c = (y + d2 W^2 + d1 W) (y + e2 W^2) + e0 y + f2 W^2 + f1 W + f0
    low, high : image of the interval
    amplification : largest sum of the magnitudes that c is added up from: rounding is about this times the unit
        roundoff
    at_zero : c(0), what singular values near 0 are multiplied by
    """

    degree: int
    upper: float
    program: tuple[float, ...]
    low: float
    high: float
    amplification: float
    at_zero: float

    @property
    def products(self) -> int:
        """Products of n x n matrices that c(T) takes."""
        return PRODUCTS[self.degree]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The transition at singular values x."""
        x = np.asarray(x, dtype=np.float64)
        return x * _values(self.program, 2 * (x / self.upper) ** 2 - 1)


def _values(program: Sequence[float], w: np.ndarray) -> np.ndarray:
    if len(program) < 9:
        return polynomial.polyval(w, np.asarray(program))
    q4, q3, d2, d1, e2, e0, f2, f1, f0 = program
    y = w * w * (q4 * w * w + q3 * w)
    return (y + d2 * w * w + d1 * w) * (y + e2 * w * w) + e0 * y + f2 * w * w + f1 * w + f0


def _magnitude(program: Sequence[float]) -> float:
    w = np.linspace(-1, 1, 513)
    if len(program) < 9:
        return float(polynomial.polyval(np.abs(w), np.abs(program)).max())
    q4, q3, d2, d1, e2, e0, f2, f1, f0 = (abs(value) for value in program)
    square, size = w * w, np.abs(w)
    y = square * (q4 * square + q3 * size)
    left, right = y + d2 * square + d1 * size, y + e2 * square
    factors = np.abs(_values((*program[:4], 0.0, 0.0, 0.0, 0.0, 0.0), w)), right
    return float((left * factors[1] + e0 * y + f2 * square + f1 * size + f0).max())


def transition(degree: int, lower: float, upper: float = 1.0) -> Transition:
    """The odd polynomial of a degree that brings [lower, upper] closest to 1, as a program.

    Parameters
    ----------
    degree : 3, 5, 9 or 17
    lower, upper : ends of the interval of singular values, 0 < lower <= upper

    Returns
    -------
    Transition

    Raises
    ------
    OptionError

    Notes
    -----
    Cost: some milliseconds; kept for the next call. Used, c(T) takes 0, 1, 2 or 3 products of n x n matrices.

    References
    ----------
    Polar Express, arXiv:2505.16932, theorem 3.3. Remez (1934). The evaluation of degree 8 in three products: Sastre,
    Efficient evaluation of matrix polynomials (2018), here in the variable W.

    Examples
    --------
    >>> step = transition(17, 0.1)
    >>> round(step.low, 3), step.products
    (0.906, 3)
    """
    if degree not in PRODUCTS:
        raise OptionError(f"transitions have degree {', '.join(map(str, PRODUCTS))}, not {degree!r}")
    if not 0 < lower <= upper < math.inf:
        raise OptionError(f"an interval of singular values has 0 < lower <= upper, not [{lower!r}, {upper!r}]")
    unit = _unit_transition(degree, lower / upper)
    program = tuple(c / upper for c in unit.program) if degree < 17 else _divided(unit.program, upper)
    return _made(degree, upper, program, unit.low, unit.high)


def _made(degree: int, upper: float, program: tuple[float, ...], low: float, high: float) -> Transition:
    at_zero = float(_values(program, np.array([-1.0]))[0])
    return Transition(degree, upper, program, low, high, _magnitude(program), at_zero)


def _divided(program: tuple[float, ...], by: float) -> tuple[float, ...]:
    # y and both factors take the square root, the rest what is left
    q4, q3, d2, d1, e2, e0, f2, f1, f0 = program
    root = math.sqrt(by)
    return (q4 / root, q3 / root, d2 / root, d1 / root, e2 / root, e0 / root, f2 / by, f1 / by, f0 / by)


@functools.lru_cache(maxsize=4096)
def _unit_transition(degree: int, ratio: float) -> Transition:
    if degree < 17:
        best = odd_minimax(degree, ratio)
        program = _in_w(best)
        return _made(degree, 1.0, program, best.low, best.high)
    if ratio > LARGEST_RATIO_17:
        raise OptionError(f"degree 17 is for ratios up to {LARGEST_RATIO_17}, not {ratio:.3g}; take degree 9")
    coefficients, error = _minimax_chebyshev(17, ratio)
    programs = _three_products(chebyshev.cheb2poly(coefficients))
    if not programs:
        raise OptionError(f"degree 17 has no real program at the ratio {ratio:.3g}; take degree 9")
    program = min(programs, key=_magnitude)
    return _made(17, 1.0, program, 1 - error, 1 + error)


def _in_w(powers: Sequence[float]) -> tuple[float, ...]:
    """Coefficients in powers of T on [0, 1] as those in W = 2 T - 1."""
    out = np.zeros(1)
    for c in reversed(powers):
        out = polynomial.polyadd(polynomial.polymul(out, [0.5, 0.5]), [float(c)])
    return tuple(float(v) for v in np.concatenate([out, np.zeros(len(powers))])[: len(powers)])


def from_powers(coefficients: Sequence[float], lower: float, upper: float) -> Transition:
    """A transition given as (c_0, c_1, ...) of x c(x^2), as they are published.

    Parameters
    ----------
    coefficients : 2, 3 or 5 numbers
    lower, upper : interval of singular values that it gets

    Returns
    -------
    Transition

    Raises
    ------
    OptionError

    Notes
    -----
    Cost: microseconds.

    References
    ----------
    None: Horner's rule.

    Examples
    --------
    >>> muon = from_powers((3.4445, -4.775, 2.0315), 0.1, 1.0)
    >>> round(float(muon(0.5)), 3)
    1.189
    """
    degree = 2 * len(coefficients) - 1
    if degree not in PRODUCTS or degree == 17 or not np.isfinite(coefficients).all():
        raise OptionError(f"coefficients are 2, 3 or 5 finite numbers c_0, c_1, ... of x c(x^2), not {coefficients!r}")
    if not 0 <= lower <= upper < math.inf:
        raise OptionError(f"an interval of singular values has 0 <= lower <= upper, not [{lower!r}, {upper!r}]")
    scaled = [float(c) * upper ** (2 * k) for k, c in enumerate(coefficients)]
    program = _in_w(scaled)
    x = np.concatenate([np.geomspace(max(lower, 1e-12 * upper), upper, _SAMPLES), np.linspace(lower, upper, _SAMPLES)])
    values = x * _values(program, 2 * (x / upper) ** 2 - 1)
    return _made(degree, upper, program, float(values.min()), float(values.max()))


def _minimax_chebyshev(degree: int, ratio: float) -> tuple[np.ndarray, float]:
    """(coefficients of c in Chebyshev polynomials of W, error), by exchange on a grid.

    In powers of T the systems of degree 17 lose all digits; in Chebyshev polynomials of W they do not.
    """
    k = (degree - 1) // 2
    angle = np.linspace(0, np.pi, _SAMPLES)
    x = np.concatenate([np.geomspace(ratio, 1, _SAMPLES), 0.5 * (1 + ratio) - 0.5 * (1 - ratio) * np.cos(angle)])
    x = np.unique(np.clip(x, ratio, 1.0))
    basis = x[:, None] * chebyshev.chebvander(2 * x * x - 1, k)
    # start: ends of the pieces of a Chebyshev polynomial of the interval, in the variable that sees small x
    middle = np.sqrt(0.5 * (1 + ratio**2) - 0.5 * (1 - ratio**2) * np.cos(np.pi * np.arange(k + 2) / (k + 1)))
    chosen = np.searchsorted(x, middle).clip(0, len(x) - 1)
    sign = (-1.0) ** np.arange(1, k + 3)
    coefficients, error = np.zeros(k + 1), math.inf
    for _ in range(60):
        system = np.column_stack([basis[chosen], -sign])
        solution = np.linalg.solve(system, np.ones(k + 2))
        coefficients, level = solution[:-1], abs(float(solution[-1]))
        off = basis @ coefficients - 1
        error = float(np.abs(off).max())
        if error <= level * (1 + 1e-7) + 1e-15:
            break
        chosen = _alternating(off, k + 2)
    return coefficients, error * (1 + 5e-6)


def _alternating(off: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` extremes of alternating sign that hold the largest."""
    breaks = np.flatnonzero(np.diff(np.sign(off)) != 0) + 1
    pieces = np.split(np.arange(len(off)), breaks)
    best = [piece[np.abs(off[piece]).argmax()] for piece in pieces]
    while len(best) > count:  # the ends go first, the smaller one
        best = best[1:] if abs(off[best[0]]) < abs(off[best[-1]]) else best[:-1]
    if len(best) < count:  # the exchange lost an extreme: fill up evenly
        extra = np.linspace(0, len(off) - 1, count).astype(int)
        best = sorted({*best, *extra})[:count]
    return np.array(best)


def _three_products(c: np.ndarray) -> list[tuple[float, ...]]:
    """The real programs of a polynomial of degree 8 with positive leading coefficient."""
    if c[8] <= 0:
        return []
    q4 = math.sqrt(c[8])
    q3 = c[7] / (2 * q4)
    both = (c[6] - q3 * q3) / q4  # d2 + e2
    d1 = (c[5] - q3 * both) / q4
    a, b = q3 / q4, d1 - q3 / q4 * both
    rest = q3 / q4 * (c[4] - d1 * q3) - c[3]
    roots = np.roots([a, b, rest])
    found = []
    for e2 in roots[np.abs(roots.imag) <= 1e-12 * np.abs(roots)].real:
        d2 = both - e2
        e0 = (c[4] - d1 * q3 - d2 * e2) / q4
        found.append(tuple(float(v) for v in (q4, q3, d2, d1, e2, e0, c[2], c[1], c[0])))
    return found
