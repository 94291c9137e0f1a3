"""Classical polynomial preconditioners, as `Recurrence`s: the baselines of every comparison.

All functions return P of degree m - 1 with R(x) = 1 - x P(x) of degree m, so that the methods of one
table cost the same products.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.polynomials.recurrence import Recurrence, chebyshev, check_top

__all__ = [
    "chebyshev",
    "chebyshev4",
    "chebyshev4_optimised",
    "gmres_polynomial",
    "least_squares",
    "leja_order",
    "neumann",
    "richardson",
]


def chebyshev4(b: float, degree: int) -> Recurrence:
    """Fourth-kind Chebyshev preconditioner on (0, b]: needs no lower bound.

    R(x) = W_m(1 - 2 x / b) / (2 m + 1) with W_m(cos t) = sin((m + 1/2) t) / sin(t / 2).

    Notes
    -----
    Cost: m values of R and an interpolation, below 1 ms; ``degree`` products an application.
    Validity: P > 0 on (0, b] always (|R| < 1 there).

    References
    ----------
    J. Lottes, Optimal polynomial smoothers for multigrid V-cycles, Numer. Lin. Alg. Appl. 2023.

    Examples
    --------
    >>> r = chebyshev4(1.0, 0)
    >>> round(1 - 0.75 * r(0.75), 12)   # R = 1 - 4 x / (3 b) vanishes at 3 b / 4
    0.0
    """
    check_top(b, degree)
    m = degree + 1

    def values(x: np.ndarray) -> np.ndarray:
        theta = np.arccos(np.clip(1 - 2 * x / b, -1, 1))
        return (1 - np.sin((m + 0.5) * theta) / np.sin(theta / 2) / (2 * m + 1)) / x

    return Recurrence.from_function(values, 0.0, b, degree)


def chebyshev4_optimised(b: float, degree: int) -> Recurrence:
    """Fourth-kind Chebyshev smoother on (0, b] with Lottes' optimised weights.

    R of degree m = degree + 1 minimises sup x R(x)^2 / (1 - R(x)^2) over (0, b]: the number in the bound
    ``C / (C + 1 / sup)`` of a symmetric V-cycle with m smoothing steps before and after.

    Notes
    -----
    Cost: below 1 ms once the weights are known; ``degree`` products an application.
    Validity: P > 0 on (0, b] (|R| < 1 there).

    References
    ----------
    J. Lottes, Optimal polynomial smoothers for multigrid V-cycles, Numer. Lin. Alg. Appl. 2023, section 5;
    M. Phillips, P. Fischer, Optimal Chebyshev smoothers and one-sided V-cycles, arXiv:2210.03179.

    Examples
    --------
    >>> round(chebyshev4_optimised(1.0, 0)(0.5), 9)  # 1.125 times the weight 4/3 of `chebyshev4`
    1.5
    """
    check_top(b, degree)
    coefficients = _optimised_residual(degree + 1)[0]
    residual = np.polynomial.chebyshev.Chebyshev(coefficients, domain=[0.0, b])
    return Recurrence.from_function(lambda x: (1.0 - residual(x)) / x, 0.0, b, degree)


def _root(f: Callable[[float], float], low: float, high: float, xtol: float) -> float:
    from scipy.optimize import brentq  # importing it takes longer than all of nnla

    return float(brentq(f, low, high, xtol=xtol))  # type: ignore[arg-type]


def _turning(R: Any, gamma: float) -> Callable[[Any], Any]:
    slope = R.deriv()
    return lambda x: 2 * slope(x) * (1 + gamma * x) + gamma * R(x)


@lru_cache(maxsize=64)
def _optimised_residual(m: int) -> tuple[np.ndarray, float]:
    """R on [0, 1] as a Chebyshev series, and gamma = 1 / sup x R^2 / (1 - R^2).

    At the optimum f = R(x) sqrt(1 + gamma x) is 1 with slope 0 at x = 0, and takes the values +-1 in turn at m more
    points, extrema of f except for the last, x = 1. So: for given points R follows from gamma by interpolation,
    gamma from the slope at 0, and the points move to the extrema of f (Remez).
    """
    signs = (-1.0) ** np.arange(m + 1)
    points = np.sin(np.pi * np.arange(m + 1) / (2 * m + 1)) ** 2  # extrema of the fourth-kind polynomial
    points[-1] = 1.0
    guess = 4 / np.pi**2 * (2 * m + 1) ** 2 - 2 / 3
    # f is smooth in s = sqrt(x), where its extrema are evenly spread.
    grid = np.linspace(0.0, 1.0, 64 * m + 1)[1:]

    def series(gamma: float) -> np.polynomial.chebyshev.Chebyshev:
        basis = np.polynomial.chebyshev.chebvander(2 * points - 1, m)
        coefficients = np.linalg.solve(basis, signs / np.sqrt(1 + gamma * points))
        return np.polynomial.chebyshev.Chebyshev(coefficients, domain=[0.0, 1.0])

    gamma = guess
    R = series(gamma)
    for _ in range(100):
        gamma = _root(lambda g: float(series(g).deriv()(0.0)) + g / 2, 0.5 * guess, 2.0 * guess, xtol=1e-14 * guess)
        R = series(gamma)
        # (f^2)' = R (2 R' (1 + gamma x) + gamma R), of which the second factor vanishes at the extrema
        turning = _turning(R, gamma)
        g = turning(grid**2)
        crossing = np.flatnonzero(g[:-1] * g[1:] < 0)
        moved = points.copy()
        if len(crossing) != m - 1:
            raise OptionError(f"the optimised weights of degree {m - 1} could not be computed; use chebyshev4")
        for k, at in enumerate(crossing):
            moved[k + 1] = _root(turning, grid[at] ** 2, grid[at + 1] ** 2, xtol=1e-15)
        change = np.max(np.abs(moved - points))
        points = moved
        if change < 1e-13:
            break
    R.coef.flags.writeable = False
    return R.coef, gamma


def richardson(b: float, degree: int, a: float = 0.0) -> Recurrence:
    """m damped Richardson steps: R = (1 - omega x)^m, omega = 2 / (a + b) (1 / b when a = 0).

    Notes
    -----
    Cost: none to make; ``degree`` products an application.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., example 4.1. AutoSpec (arXiv:2602.09530), equation (21).

    Examples
    --------
    >>> round(richardson(2.0, 1)(1.0), 12)
    0.75
    """
    check_top(b, degree, a)
    omega = 2 / (a + b) if a > 0 else 1 / b
    return Recurrence.from_roots(np.full(degree + 1, 1 / omega), (a, b))


def neumann(b: float, degree: int) -> Recurrence:
    """Truncated Neumann series of A^{-1} around b: P = (1/b) sum_{k <= degree} (1 - x/b)^k.

    The same polynomial as Richardson with omega = 1 / b, under the name under which it is
    quoted; built as Scenario II (basis (1 - x/b)^k and all expansion weights 1).

    Cost: none to make; ``degree`` products an application.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 12.3.1. AutoSpec (arXiv:2602.09530), Proposition
    3.2.
    """
    return richardson(b, degree)


def least_squares(a: float, b: float, degree: int) -> Recurrence:
    """P that minimises the integral of R(x)^2 over [a, b] (Legendre weight).

    With the Chebyshev weight on [0, b] instead, the answer is `chebyshev4`.

    Notes
    -----
    Cost: one least-squares problem of m + 2 points by m unknowns. Positive on (0, b] for a = 0;
    otherwise to be checked by `nnla.polynomials.guards`.

    References
    ----------
    Y. Saad, Practical use of polynomial preconditionings for the conjugate gradient method,
    SIAM J. Sci. Stat. Comput. 6 (1985).
    """
    check_top(b, degree, a)
    m = degree + 1
    points, quadrature = np.polynomial.legendre.leggauss(m + 2)  # exact for R^2
    x = (a + b) / 2 + (b - a) / 2 * points
    root = np.sqrt(quadrature)
    basis = np.polynomial.chebyshev.chebvander(points, degree) * (root * x)[:, None]
    c = np.linalg.lstsq(basis, root, rcond=None)[0]
    return Recurrence.from_chebyshev(c, a, b)


def leja_order(points: Any) -> np.ndarray:
    """Leja ordering: each next point is farthest from those before it, so that products stay tame.

    Cost: k passes over the k points.

    References
    ----------
    Reichel, Newton interpolation at Leja points, BIT 30 (1990) 332-346.
    """
    z = np.array(points, dtype=np.float64)
    order = [int(np.argmax(np.abs(z)))]
    log_distance = np.zeros(z.size)
    remaining = np.ones(z.size, dtype=bool)
    remaining[order[0]] = False
    tiny = np.finfo(float).tiny
    while remaining.any():
        log_distance += np.log(np.maximum(np.abs(z - z[order[-1]]), tiny))
        pick = int(np.argmax(np.where(remaining, log_distance, -np.inf)))
        remaining[pick] = False
        order.append(pick)
    return z[order]


def gmres_polynomial(alpha: Any, beta: Any, degree: int) -> Recurrence:
    """The GMRES (minimal residual) polynomial of the probe's right-hand side.

    The roots of R are the harmonic Ritz values of the m-step Lanczos tridiagonal matrix T:
    eigenvalues of T + beta_m^2 T^{-1} e_m e_m'. Applied in Leja order.

    Parameters
    ----------
    alpha, beta : array_like, shape (>= m,)
        Lanczos coefficients of a probe, m = degree + 1; beta[m - 1] couples to step m + 1.

    Notes
    -----
    Cost: the eigenvalues of an m x m matrix, no products beyond the probe's; ``degree`` products an application.
    Validity: optimal for that right-hand side only; may be indefinite on the spectrum and has to be
    checked by `nnla.polynomials.guards`.

    References
    ----------
    Q. Liu, R. Morgan, W. Wilcox, Polynomial preconditioned GMRES and GMRES-DR, SIAM J. Sci. Comput.
    37 (2015); J. Loe, R. Morgan, Toward efficient polynomial preconditioning for GMRES, 2022.
    """
    m = degree + 1
    alpha, beta = np.asarray(alpha, dtype=float), np.asarray(beta, dtype=float)
    if alpha.size < m or beta.size < m:
        raise OptionError(f"a GMRES polynomial of degree {degree} needs a probe of {m} steps, got {alpha.size}")
    T = np.diag(alpha[:m]) + np.diag(beta[: m - 1], 1) + np.diag(beta[: m - 1], -1)
    last = np.zeros(m)
    last[-1] = 1.0
    try:
        column = np.linalg.solve(T, last)
    except np.linalg.LinAlgError:
        raise OptionError("a Ritz value of the probe is zero; the operator is not definite") from None
    T[:, -1] += beta[m - 1] * (beta[m - 1] * column)  # in this order nothing overflows
    roots = np.linalg.eigvals(T)
    if np.max(np.abs(roots.imag)) > 1e-8 * np.max(np.abs(roots)) or np.any(roots.real == 0):
        raise OptionError("the probe's harmonic Ritz values are not real; the operator is not definite")
    return Recurrence.from_roots(leja_order(roots.real))
