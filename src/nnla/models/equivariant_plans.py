"""What the equivariant surrogate applies to a matrix: for each class of spectra, a program.

A class is an integer that stands for an interval of eigenvalues, rounded so that nothing is left out. Its program is
the one of fewest products that reaches the tolerance on the interval, found by trial on a grid of points; made once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.extensions.minimax import PRODUCTS, plan, stage

__all__ = [
    "COSINE_TERMS",
    "DEGREES",
    "TOLERANCE",
    "Program",
    "cosine_program",
    "exponential_program",
    "log_program",
    "radius_class",
    "radius_of",
    "ratio_class",
    "stage_program",
]

TOLERANCE = 1e-7
_RATIOS = 4  # classes of a ratio per factor of ten
_RADII = 12  # classes of a radius per factor of two
_DEGREE_PER_RADIUS = 2.0  # beyond it no polynomial is good: more squarings are tried at once
DEGREES = {5: 3, 8: 4, 12: 5, 16: 6, 20: 7, 24: 8}  # of a polynomial in A -> products, A^2 and A^4 among them
COSINE_TERMS = {2: 2, 4: 3, 6: 4, 8: 5}  # degree in A^2 of an even polynomial -> products, A^2 and A^4 among them
_DEGREES = (3, 5, 9)  # of transitions; 17 saves no seconds: more passes over the entries
_MOST_SQUARES = 40
_POINTS = np.cos(np.linspace(0.0, np.pi, 257))
_SMALLEST_RATIO = 1e-12


@dataclass(frozen=True)
class Program:
    """Kind and coefficients of what is applied to a matrix of a class.

    Attributes
    ----------
    kind : matrices of one kind are worked on together: degrees of transitions, or degree and number of squares
    coefficients : as the kind says
    products : of matrices, those for powers that the invariants have needed included
    """

    kind: tuple[int, ...]
    coefficients: tuple[float, ...]
    products: int


def ratio_class(ratio: np.ndarray) -> np.ndarray:
    """Classes of ratios in (0, 1], rounded down: the interval of class j begins at 10^(-j / 4)."""
    return np.ceil(-np.log10(np.clip(ratio, _SMALLEST_RATIO, 1.0)) * _RATIOS - 1e-9).astype(np.int64)


def radius_class(radius: np.ndarray) -> np.ndarray:
    """Classes of radii, rounded up: those of class j reach to 2^(j / 12)."""
    return np.ceil(np.log2(np.maximum(radius, 2.0**-40)) * _RADII - 1e-9).astype(np.int64)


def radius_of(index: np.ndarray) -> np.ndarray:
    """The radius that a class reaches to."""
    return 2.0 ** (index / _RADII)


@functools.cache
def stage_program(index: int, pairs: bool) -> Program:
    """Transitions that take numbers of [10^(-index / 4), 1] to 1.

    Parameters
    ----------
    pairs : whether two matrices are updated in each, as for roots

    Returns
    -------
    Program
        kind: degrees of the transitions; coefficients: those of one after the other.

    Notes
    -----
    Cost: `nnla.extensions.minimax.plan`.
    """
    low, high = 10.0 ** (-index / _RATIOS), 1.0
    degrees = plan(low, TOLERANCE, degrees=_DEGREES, extra=int(pairs)) or [3]
    coefficients: list[float] = []
    for number, degree in enumerate(degrees):
        p = stage(degree, min(low / high, 1.0))
        last = number + 1 == len(degrees)
        scale = 1.0 if last else 1.0 / p.high
        coefficients += [scale * c for c in p]
        low, high = max(p.low, 1e-300) / p.high, 1.0
    products = sum(PRODUCTS[d] + int(pairs) for d in degrees)
    return Program(tuple(degrees), tuple(coefficients), products)


@functools.cache
def exponential_program(index: int, slack: int) -> Program:
    """e^(r (x - 1)) on [-1, 1], to the tolerance times e^-slack: a polynomial, and squares of it.

    Parameters
    ----------
    index : class of the radius r
    slack : how far below r the largest eigenvalue may lie, where the answer has to be right

    Returns
    -------
    Program
        kind: degree, squarings; coefficients: of powers of x.
    """
    radius, tolerance = 2.0 ** (index / _RADII), TOLERANCE * math.exp(-slack)
    exact = np.exp(radius * (_POINTS - 1.0))
    found: list[tuple[int, int, int, np.ndarray]] = []
    for degree, products in DEGREES.items():
        fewest = max(0, math.ceil(math.log2(max(_DEGREE_PER_RADIUS * radius / degree, 1e-9))) - 1)
        for squares in range(fewest, _MOST_SQUARES):
            c = _interpolant(lambda x, h=radius / 2.0**squares: np.exp(h * (x - 1.0)), degree)
            with np.errstate(all="ignore"):
                value = np.polynomial.polynomial.polyval(_POINTS, c) ** (2.0**squares)
            if float(np.max(np.abs(value - exact))) <= max(tolerance, 1e-14 * 2.0**squares):
                found.append((products + squares, squares, degree, c))
                break
    products, squares, degree, c = min(found, key=lambda item: item[:2])
    return Program((degree, squares), tuple(c.tolist()), products)


@functools.cache
def cosine_program(index: int) -> Program:
    """cos(r x) on [-1, 1]: a polynomial in x^2, and double angles.

    Parameters
    ----------
    index : class of the radius r

    Returns
    -------
    Program
        kind: degree in x^2, doublings; coefficients: of powers of x^2.
    """
    radius = 2.0 ** (index / _RADII)
    exact = np.cos(radius * _POINTS)
    found: list[tuple[int, int, int, np.ndarray]] = []
    for terms, products in COSINE_TERMS.items():
        fewest = max(0, math.ceil(math.log2(max(radius / terms, 1e-9))) - 2)
        for doublings in range(fewest, _MOST_SQUARES):
            h = radius / 2.0**doublings
            c = _interpolant(lambda y, h=h: np.cos(h * np.sqrt((y + 1) / 2)), terms, shifted=True)
            value = np.polynomial.polynomial.polyval(_POINTS**2, c)
            for _ in range(doublings):
                value = 2 * value * value - 1
            if float(np.max(np.abs(value - exact))) <= max(TOLERANCE, 1e-15 * 4.0**doublings):
                found.append((products + doublings, doublings, terms, c))
                break
    products, doublings, terms, c = min(found, key=lambda item: item[:2])
    return Program((terms, doublings), tuple(c.tolist()), products)


@functools.cache
def log_program(index: int) -> Program:
    """log(y) for y of [10^(-index / 4), 1], by a polynomial in x = (2 y - 1 - a) / (1 - a).

    Returns
    -------
    Program
        kind: degree; coefficients: of powers of x, then a.
    """
    a = min(10.0 ** (-index / _RATIOS), 0.99)
    exact = np.log((1 + a + (1 - a) * _POINTS) / 2)
    best: tuple[int, np.ndarray] | None = None
    for degree in DEGREES:
        c = _interpolant(lambda x: np.log((1 + a + (1 - a) * x) / 2), degree)
        best = (degree, c)
        if float(np.max(np.abs(np.polynomial.polynomial.polyval(_POINTS, c) - exact))) <= TOLERANCE:
            break
    assert best is not None
    return Program((best[0],), (*best[1].tolist(), a), DEGREES[best[0]])


def _interpolant(f: Callable[[np.ndarray], Any], degree: int, *, shifted: bool = False) -> np.ndarray:
    """Powers of x (of (x + 1) / 2, where shifted) in the Chebyshev interpolant of f on [-1, 1]."""
    return np.polynomial.chebyshev.chebinterpolate(f, degree) @ _powers(degree, shifted)


@functools.cache
def _powers(degree: int, shifted: bool) -> np.ndarray:
    """Chebyshev polynomials in powers, a row for each."""
    out = np.zeros((degree + 1, degree + 1))
    for k, row in enumerate(out):
        power = np.polynomial.Polynomial(np.polynomial.chebyshev.cheb2poly(np.eye(k + 1)[k]))
        power = power(np.polynomial.Polynomial([-1.0, 2.0])) if shifted else power
        row[: k + 1] = power.coef
    return out
