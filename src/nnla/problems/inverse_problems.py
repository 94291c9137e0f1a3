"""Hansen's test problems for regularisation: those of the midpoint rule, and all of them by name.

`nnla.problems.integral_equations` says what they share, `nnla.problems.galerkin_problems` has the others.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnla.errors import OptionError
from nnla.problems.galerkin_problems import baart, deriv2, phillips
from nnla.problems.integral_equations import InverseProblem, by_midpoints, cells, require_example
from nnla.types import real_number

__all__ = [
    "INVERSE_PROBLEMS",
    "InverseProblem",
    "baart",
    "deriv2",
    "foxgood",
    "gravity",
    "heat",
    "inverse_problem",
    "phillips",
    "shaw",
]


def shaw(n: int) -> InverseProblem:
    """One-dimensional image restoration through a slit: severely ill-posed.

    K(s, t) = (cos s + cos t)^2 (sin u / u)^2, u = pi (sin s + sin t), on [-pi/2, pi/2], and
    f(t) = 2 exp(-6 (t - 0.8)^2) + exp(-2 (t + 0.5)^2); midpoint rule, b = A x.

    Parameters
    ----------
    n : size

    Returns
    -------
    InverseProblem

    Raises
    ------
    OptionError

    Notes
    -----
    Cost: O(n^2).

    References
    ----------
    Shaw, Improvement of the resolution of an instrument by numerical solution of an integral equation, J. Math. Anal.
    Appl. 37 (1972) 83-112; Hansen, Regularization Tools, Numer. Algorithms 6 (1994) 1-35.

    Examples
    --------
    >>> bool(np.linalg.cond(shaw(20).A) > 1e13)
    True
    """
    n, h, _, t = cells(n, -math.pi / 2, math.pi / 2)

    def kernel(s: ArrayLike, t: ArrayLike) -> Any:
        return ((np.cos(s) + np.cos(t)) * np.sinc(np.sin(s) + np.sin(t))) ** 2

    def solution(t: ArrayLike) -> Any:
        t = np.asarray(t)
        return 2.0 * np.exp(-6.0 * (t - 0.8) ** 2) + np.exp(-2.0 * (t + 0.5) ** 2)

    return by_midpoints("shaw", kernel, solution, t, t, h, (-math.pi / 2, math.pi / 2))


def gravity(n: int, example: int = 1, depth: float = 0.25) -> InverseProblem:
    """Gravity surveying: the vertical field at the surface of masses in a given depth; severely ill-posed.

    K(s, t) = depth (depth^2 + (s - t)^2)^(-3/2) on [0, 1]; midpoint rule, b = A x. Singular values fall like
    exp(-pi depth i): the deeper, the worse.

    Parameters
    ----------
    n : size
    example : 1, f = sin(pi t) + sin(2 pi t) / 2; 2, f piecewise linear through (0, 0), (1/3, 2), (7/8, 1), (1, 0);
        3, f = 2 up to 1/3 and 1 beyond
    depth : positive

    Returns
    -------
    InverseProblem
        x is f at the midpoints (Regularization Tools round the break points of examples 2 and 3 to the grid).

    Raises
    ------
    OptionError
        Also for a depth whose kernel leaves the range of float64.

    Notes
    -----
    Cost: O(n^2).

    References
    ----------
    Wing & Zahrt, A Primer on Integral Equations of the First Kind, 1991, p. 17; Hansen, Discrete Inverse Problems,
    2010, section 2.1.

    Examples
    --------
    >>> p = gravity(32, example=3)
    >>> p.x[[0, -1]]
    array([2., 1.])
    """
    n, h, _, t = cells(n, 0.0, 1.0)
    require_example(example)
    depth = real_number(depth, "depth")
    if depth <= 0:
        raise OptionError(f"depth must be positive, got {depth}")

    def kernel(s: ArrayLike, t: ArrayLike) -> Any:
        r = np.hypot(depth, np.subtract(s, t))
        return depth / r / r / r

    return by_midpoints(f"gravity({example})", kernel, _GRAVITY[example - 1], t, t, h, (0.0, 1.0))


def heat(n: int, kappa: float = 1.0) -> InverseProblem:
    """The inverse heat equation, a Volterra equation: A is lower triangular.

    K(s, t) = k(s - t) with k(r) = r^(-3/2) exp(-1 / (4 kappa^2 r)) / (2 kappa sqrt(pi)) for r > 0, on [0, 1];
    collocation at the ends of the cells with the midpoint rule, b = A x. f rises, peaks and decays, and is zero beyond
    t = 1/2.

    Parameters
    ----------
    n : size
    kappa : 1 is ill-conditioned, 5 well-conditioned

    Returns
    -------
    InverseProblem
        x is f at the midpoints (Regularization Tools take it at the ends of the cells).

    Raises
    ------
    OptionError
        Also for a kappa whose kernel leaves the range of float64.

    Notes
    -----
    Cost: O(n^2).

    References
    ----------
    Carasso, Determining surface temperatures from interior observations, SIAM J. Appl. Math. 42 (1982) 558-574; Elden,
    The numerical solution of a non-characteristic Cauchy problem for a parabolic equation, 1983; Hansen, Regularization
    Tools, Numer. Algorithms 6 (1994) 1-35.

    Examples
    --------
    >>> bool(np.linalg.cond(heat(64, 5.0).A) < 1e3), bool(np.linalg.cond(heat(64, 1.0).A) > 1e8)
    (True, True)
    """
    n, h, edges, t = cells(n, 0.0, 1.0)
    kappa = real_number(kappa, "kappa")
    if kappa <= 0:
        raise OptionError(f"kappa must be positive, got {kappa}")
    half = np.float64(0.5) / kappa

    def kernel(s: ArrayLike, t: ArrayLike) -> Any:
        r = np.subtract(s, t)
        past = np.where(r > 0, r, 1.0)
        with np.errstate(over="ignore", under="ignore"):
            return np.where(r > 0, half / math.sqrt(math.pi) * past**-1.5 * np.exp(-half * half / past), 0.0)

    return by_midpoints("heat", kernel, _heat_solution, edges[1:], t, h, (0.0, 1.0))


def foxgood(n: int) -> InverseProblem:
    """Fox and Goodwin's problem: severely ill-posed; its data break the discrete Picard condition early.

    K(s, t) = sqrt(s^2 + t^2) on [0, 1], f = t, g = ((1 + s^2)^(3/2) - s^3) / 3; midpoint rule.

    Parameters
    ----------
    n : size

    Returns
    -------
    InverseProblem
        b is g at the midpoints.

    Raises
    ------
    OptionError

    Notes
    -----
    Cost: O(n^2).

    References
    ----------
    Fox & Goodwin, The numerical solution of non-singular linear integral equations, Phil. Trans. R. Soc. A 245 (1953)
    501-534; Hansen, Regularization Tools, Numer. Algorithms 6 (1994) 1-35.

    Examples
    --------
    >>> p = foxgood(32)
    >>> bool(np.abs(p.A @ p.x - p.b).max() < 1e-3)
    True
    """
    n, h, _, t = cells(n, 0.0, 1.0)

    def data(s: ArrayLike) -> Any:
        s = np.asarray(s)
        return ((1.0 + s * s) ** 1.5 - s**3) / 3.0

    return by_midpoints("foxgood", np.hypot, lambda t: np.asarray(t) * 1.0, t, t, h, (0.0, 1.0), data)


#: All problems by name.
INVERSE_PROBLEMS: dict[str, Callable[..., InverseProblem]] = {
    "baart": baart,
    "deriv2": deriv2,
    "foxgood": foxgood,
    "gravity": gravity,
    "heat": heat,
    "phillips": phillips,
    "shaw": shaw,
}


def inverse_problem(name: str, n: int, **options: Any) -> InverseProblem:
    """A problem of `INVERSE_PROBLEMS` by name.

    Parameters
    ----------
    name : str
    n : size
    options : of the problem's own function (``example``, ``depth``, ``kappa``)

    Returns
    -------
    InverseProblem

    Raises
    ------
    OptionError

    Notes
    -----
    Cost: O(n^2).

    References
    ----------
    Hansen, Test matrices for regularization methods, SIAM J. Sci. Comput. 16 (1995) 506-512.

    Examples
    --------
    >>> inverse_problem("gravity", 16, depth=0.5).A.shape
    (16, 16)
    """
    function = INVERSE_PROBLEMS.get(name) if isinstance(name, str) else None
    if function is None:
        raise OptionError(f"unknown inverse problem {str(name)[:60]!r}: use one of {', '.join(INVERSE_PROBLEMS)}")
    known = [option for option in inspect.signature(function).parameters if option != "n"]
    if unknown := sorted(options.keys() - set(known)):
        raise OptionError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    return function(n, **options)


# ------------------------------------------------------------------------------------------------------
# Solutions


def _piecewise_linear(t: Any) -> Any:
    return np.interp(t, [0.0, 1.0 / 3.0, 7.0 / 8.0, 1.0], [0.0, 2.0, 1.0, 0.0])


_GRAVITY: tuple[Callable[[Any], Any], ...] = (
    lambda t: np.sin(math.pi * np.asarray(t)) + 0.5 * np.sin(2.0 * math.pi * np.asarray(t)),
    _piecewise_linear,
    lambda t: np.where(np.asarray(t) < 1.0 / 3.0, 2.0, 1.0),
)


def _heat_solution(t: ArrayLike) -> Any:
    u = 20.0 * np.asarray(t)
    late = 0.75 * np.exp(-2.0 * (np.maximum(u, 3.0) - 3.0))
    rise = np.where(u < 2.0, 0.75 * u * u / 4.0, np.where(u < 3.0, 0.75 + (u - 2.0) * (3.0 - u), late))
    return np.where(u <= 10.0, rise, 0.0)
