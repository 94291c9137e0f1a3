"""Integral equations of the first kind on n equal cells: the discretised problem, and how it is made.

Each is  integral of K(s, t) f(t) dt = g(s)  with known f. Galerkin's method here has the orthonormal box functions
h^(-1/2) on n equal cells as trial and test functions, so that x_i = h^(-1/2) * integral of f over cell i is about
sqrt(h) f(t_i); the midpoint rule has x_i = f(t_i). Integrals without a closed form are Gauss's, exact to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import OptionError

__all__ = ["NODES", "WEIGHTS", "InverseProblem", "by_midpoints", "cells", "projection", "require_example"]

_LARGEST = 16384  # 2 GB of matrix
#: Gauss's rule on [-1, 1] for one cell.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


@dataclass(frozen=True, eq=False)
class InverseProblem:
    """A discretised integral equation of the first kind with everything that is known of it.

    Attributes
    ----------
    name : of the problem, its example or parameter included
    A : (n, n) float64
    b : (n,) exact data: A x where `consistent`, else the given g, discretised like the equation
    x : (n,) the given f, discretised
    kernel : K(s, t), elementwise
    solution : f(t), elementwise
    data : g(s), elementwise; None where there is no closed form
    s, t : (n,) midpoints of the cells; of the data (for `heat` the ends of the cells), and of the solution
    s_range, t_range : the intervals of s and t
    galerkin : Galerkin's method with orthonormal box functions, else a quadrature rule at the points s and t
    consistent : b = A x to rounding, else to the error of the discretisation
    """

    name: str
    A: np.ndarray
    b: np.ndarray
    x: np.ndarray
    kernel: Callable[[Any, Any], Any]
    solution: Callable[[Any], Any]
    data: Callable[[Any], Any] | None
    s: np.ndarray
    t: np.ndarray
    s_range: tuple[float, float]
    t_range: tuple[float, float]
    galerkin: bool
    consistent: bool


def cells(n: Any, low: float, high: float, multiple: int = 1) -> tuple[int, float, np.ndarray, np.ndarray]:
    """n checked, the width of n equal cells, their ends (n + 1,) and midpoints (n,)."""
    whole = isinstance(n, (int, np.integer)) and not isinstance(n, bool)
    if not whole or n < multiple or n > _LARGEST or n % multiple:
        kind = "an integer" if multiple == 1 else f"a multiple of {multiple}"
        raise OptionError(f"n must be {kind} from {multiple} to {_LARGEST}, got {str(n)[:60]}")
    n = int(n)
    h = (high - low) / n
    return n, h, low + h * np.arange(n + 1), low + h * (np.arange(n) + 0.5)


def require_example(example: Any) -> None:
    if not isinstance(example, (int, np.integer)) or isinstance(example, bool) or example not in (1, 2, 3):
        raise OptionError(f"example must be 1, 2 or 3, got {str(example)[:60]}")


def projection(f: Callable[[Any], Any], edges: np.ndarray) -> np.ndarray:
    """Inner products of f with the orthonormal box functions; f is smooth within each cell."""
    h = np.diff(edges)
    points = 0.5 * (edges[:-1] + edges[1:])[:, None] + 0.5 * h[:, None] * NODES
    return 0.5 * np.sqrt(h) * (f(points) @ WEIGHTS)


def by_midpoints(
    name: str,
    kernel: Callable[[Any, Any], Any],
    solution: Callable[[Any], Any],
    s: np.ndarray,
    t: np.ndarray,
    h: float,
    interval: tuple[float, float],
    data: Callable[[Any], Any] | None = None,
) -> InverseProblem:
    """Collocation at s with the midpoint rule at t; b = A x unless the data are given."""
    with np.errstate(over="ignore", under="ignore"):
        A = h * kernel(s[:, None], t)
    if not np.all(np.isfinite(A)) or not A.any():
        raise OptionError(f"the kernel of {name} leaves the range of float64 with this parameter; take one nearer to 1")
    x = solution(t)
    b = A @ x if data is None else data(s)
    return InverseProblem(
        name, A, b, x, kernel, solution, data, s, t, interval, interval, galerkin=False, consistent=data is None
    )
