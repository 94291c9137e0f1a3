"""Polynomials P with P(A) close to f(A): interpolation, Taylor series, and the one fitted to a probed spectrum.

Interpolation treats every point between the ends of the spectrum alike. A Lanczos probe knows more: Ritz values come
with residuals, converged ones are eigenvalues, and between them and the rest there is nothing. `adapted` spends the
degree where eigenvalues can be: a weighted minimax fit over the zones that the probe leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import lstsq

from nnla.errors import OptionError
from nnla.functions.scalars import FUNCTIONS, ScalarFunction
from nnla.kernels.blas import one_blas_thread
from nnla.polynomials.recurrence import Recurrence
from nnla.types import SpectralProbe

__all__ = [
    "RULE_MARGINS",
    "Margins",
    "Zones",
    "adapted",
    "chebyshev_coefficients",
    "check_points",
    "deviation",
    "interpolant",
    "neumann_series",
    "zones_of",
]

_GHOST = 1e-17  # Gauss weight of a Ritz value that only rounding has made: a copy on its way to a converged one
_SMALLEST = 1e-16  # a / b of an interval of a definite function at least


@dataclass(frozen=True)
class Margins:
    """How far to trust a probe: what the engine chooses.

    Attributes
    ----------
    low : the smallest Ritz value t with residual r becomes the lower end t / (1 + low r / t)
    spread : radius of a zone around a Ritz value, in residuals
    gap : weight of the error between the zones, relative to that in them; 1 makes no difference between them
    """

    low: float = 1.0
    spread: float = 1.0
    gap: float = 0.03


@dataclass(frozen=True)
class Zones:
    """Where eigenvalues can be.

    Attributes
    ----------
    ends : (m, 2) disjoint closed intervals, increasing
    """

    ends: np.ndarray

    @property
    def hull(self) -> tuple[float, float]:
        """Smallest interval around all."""
        return float(self.ends[0, 0]), float(self.ends[-1, 1])

    def contain(self, x: np.ndarray) -> np.ndarray:
        """Which points are in a zone."""
        index = np.searchsorted(self.ends[:, 0], x, side="right") - 1
        return (index >= 0) & (x <= self.ends[np.maximum(index, 0), 1])


def zones_of(probe: SpectralProbe, f: ScalarFunction, margins: Margins) -> Zones:
    """The zones of a probe.

    Notes
    -----
    Cost: some operations on each Ritz value; no products.

    An interval of ``spread`` residuals around every Ritz value. Neighbours that have both not converged are joined:
    there may well be eigenvalues between them. For functions on positive numbers the lower end stays positive, or
    0 where f is defined there.

    References
    ----------
    Parlett, The Symmetric Eigenvalue Problem (1998), section 4.5: an eigenvalue lies within the residual norm of a Ritz
    value.
    """
    real = probe.ritz_weights > _GHOST
    theta, residual = probe.ritz_values[real], probe.ritz_residuals[real]
    size = float(np.abs(theta).max())
    tiny = 1e-13 * size
    radius = margins.spread * residual + tiny
    low, high = theta - radius, theta + radius
    # no further than to the neighbours: a residual larger than that says that rounding made the Ritz value
    low[1:], high[:-1] = np.maximum(low[1:], theta[:-1]), np.minimum(high[:-1], theta[1:])
    if not probe.exhausted:
        # the top that the start hardly contains, see SpectralProbe.upper_bound; a little at most
        high[-1] = theta[-1] + min(max(margins.spread, 1.0) * residual[-1] + 0.002 * size, 0.05 * size)
        if not f.definite:
            low[0] = theta[0] - min(max(margins.spread, 1.0) * residual[0] + 0.002 * size, 0.05 * size)
    if f.definite:
        first = max(float(theta[0]), _SMALLEST * size)
        low[0] = 0.0 if f.zero and theta[0] <= tiny else first / (1.0 + margins.low * float(residual[0]) / first)
        low[0] = low[0] if probe.exhausted or f.zero else min(low[0], first * (1 - 1e-6))
        low = np.maximum(low, low[0])
        high = np.maximum(high, low)
    merged = [[float(low[0]), float(high[0])]]
    for k in range(1, theta.size):
        between = theta[k] - theta[k - 1]
        open_ = min(residual[k - 1], residual[k]) > 0.01 * between
        if open_ or low[k] <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], float(high[k]))
            merged[-1][0] = min(merged[-1][0], float(low[k]))
        else:
            merged.append([float(low[k]), float(high[k])])
    return Zones(np.array(merged))


def check_points(zones: Zones, degree: int) -> np.ndarray:
    """Points of the zones, dense enough for polynomials of the degree: (N,) increasing.

    Cost: some points for each degree, and 13 a zone.
    """
    a, b = zones.hull
    whole = _chebyshev_points(a, b, degree)
    inside = whole[zones.contain(whole)]
    local = np.cos(np.linspace(np.pi, 0, 13)) / 2 + 0.5
    return np.unique(np.concatenate([inside, (zones.ends[:, :1] + np.diff(zones.ends, axis=1) * local).ravel()]))


def deviation(P: Any, f: ScalarFunction, x: np.ndarray, scale: float) -> float:
    """Largest error of P at the points: relative to f(x), or absolute by ``scale``, whichever is smaller.

    Either bounds the relative error of P(A) v: the first for every v, the second for those of ||f(A) v|| =
    scale ||v||.

    Cost: P and f at the points.
    """
    with np.errstate(all="ignore"):
        exact = f(x)
        error = np.abs(P(x) - exact)
        absolute = float(error.max()) / scale if scale > 0 else np.inf
        relative = float((error / np.abs(exact)).max()) if f.nonzero else np.inf
    found = min(absolute, relative)
    return found if np.isfinite(found) else np.inf


def interpolant(f: ScalarFunction, a: float, b: float, degree: int) -> Recurrence:
    """Chebyshev interpolation of f on [a, b]: the classical answer.

    Cost: f at degree + 1 points and a cosine transform; ``degree`` products an application.

    References
    ----------
    Trefethen, Approximation Theory and Approximation Practice (2013), chapters 2 and 8.
    """
    if b - a <= 1e-14 * max(abs(a), abs(b)):
        return replace(Recurrence.from_chebyshev([float(f(np.array([(a + b) / 2]))[0])], -1.0, 1.0), domain=(a, b))
    return Recurrence.from_function(f, a, b, degree)


def chebyshev_coefficients(f: ScalarFunction, a: float, b: float, degree: int) -> np.ndarray:
    """Coefficients of the interpolant of f on [a, b], (degree + 1,).

    Cost: f at degree + 1 points and a fast cosine transform.

    References
    ----------
    Trefethen, Approximation Theory and Approximation Practice (2013), chapter 3.
    """
    t = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    from scipy.fft import dct

    c = np.asarray(dct(f((a + b) / 2 + (b - a) / 2 * t), type=2)) / (degree + 1)
    c[0] /= 2
    return c


def neumann_series(f: ScalarFunction, centre: float, b: float, degree: int) -> Recurrence:
    """Truncated Taylor series of x^(-1/2) or 1/x around ``centre``: the paper's baseline (its centre is b).

    Converges on (0, 2 centre), like ((centre - x) / centre)^degree.

    Raises
    ------
    OptionError
        Another function.

    Notes
    -----
    Cost: degree + 1 coefficients; ``degree`` products an application.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equation (24). Higham, Functions of Matrices (2008), section 4.3.
    """
    k = np.arange(1, degree + 1)
    if f == FUNCTIONS["inv_sqrt"]:
        ratio, power = (2 * k - 1) / (2 * k), 0.5
    elif f == FUNCTIONS["inv"]:
        ratio, power = np.ones(degree), 1.0
    else:
        raise OptionError(f"method='neumann' is a series for inv_sqrt and inv, not for {f.name}; use chebyshev")
    c = np.concatenate([[1.0], np.cumprod(ratio)]) / centre**power

    def horner(x: np.ndarray) -> np.ndarray:
        y, total = 1 - x / centre, np.zeros_like(x)
        for value in c[::-1]:
            total = total * y + value
        return total

    return Recurrence.from_function(horner, 0.0, b, degree)


@one_blas_thread()
def adapted(f: ScalarFunction, zones: Zones, degree: int, gap: float, *, scale: float = 1.0) -> Recurrence:
    """Weighted minimax fit: the error relative to f (or to ``scale``) is small in the zones, tame between them.

    Parameters
    ----------
    f : ScalarFunction
    zones : Zones
    degree : degree of P
    gap : weight of the error outside of the zones
    scale : unit of the error where f has zeros

    Notes
    -----
    Lawson's iteratively reweighted least squares in an orthonormal basis of the weighted points; the best iterate is
    taken, so it need not converge. A positive f is fitted from both sides alike in ratio, not in difference: P is
    scaled by 1 / sqrt(1 + e^2) for the error e, which is what P A P = I asks of the inverse square root.

    Cost: 30 small least-squares problems, 2-10 ms for degree 21; no products.

    References
    ----------
    C. Lawson, Contributions to the theory of linear least maximum approximations, 1961.
    """
    a, b = zones.hull
    if b - a <= 1e-14 * max(abs(a), abs(b)):
        return interpolant(f, a, b, degree)
    x = np.unique(np.concatenate([check_points(zones, degree), _between(zones, degree, gap)]))
    unit = np.abs(f(x)) if f.nonzero else np.full(x.size, scale if scale > 0 else 1.0)
    w = np.where(zones.contain(x), 1.0, gap) / unit
    basis = np.polynomial.chebyshev.chebvander((2 * x - a - b) / (b - a), degree) * w[:, None]
    target = f(x) * w
    if not (np.isfinite(basis).all() and np.isfinite(target).all()):  # f has a pole here: nothing to be fitted
        return interpolant(f, a, b, degree)
    U, s, Vt = np.linalg.svd(basis, full_matrices=False)
    keep = s > 1e-15 * s[0] * np.sqrt(x.size)
    U, back = U[:, keep], Vt[keep].T / s[keep]
    weight = np.full(x.size, 1.0 / x.size)
    best, found = np.inf, np.zeros(degree + 1)
    last = np.inf
    for count in range(30 if degree <= 48 else 6):
        root = np.sqrt(weight)[:, None]
        solved: Any = lstsq(U * root, target * root[:, 0], lapack_driver="gelsy", check_finite=False)
        y = solved[0]
        error = np.abs(U @ y - target)
        worst = float(error.max())
        if worst < best:
            best, found = worst, back @ y
        if worst <= 1e-15 or (worst > 0.995 * last and worst > 0.9 * best and count > 12):
            break
        last = worst
        weight = weight * (error + 1e-3 * worst)
        weight /= weight.sum()
    if f == FUNCTIONS["inv_sqrt"]:
        found = found / np.sqrt(1.0 + best * best)
    return Recurrence.from_chebyshev(found, a, b)


def _between(zones: Zones, degree: int, gap: float) -> np.ndarray:
    """Points outside of the zones, where the error is only kept tame; none for a weight of zero."""
    a, b = zones.hull
    if gap <= 0 or len(zones.ends) == 1:
        return np.zeros(0)
    x = _chebyshev_points(a, b, degree)
    return x[~zones.contain(x)]


def _chebyshev_points(a: float, b: float, degree: int) -> np.ndarray:
    """Points of [a, b] that a polynomial of the degree has no room to escape between."""
    count = (10 if degree <= 48 else 5) * (degree + 2)
    return (a + b) / 2 + (b - a) / 2 * np.cos(np.linspace(np.pi, 0, count))


RULE_MARGINS = Margins(low=0.25, spread=1.0, gap=1e-5)  # without weights, or where they do not apply
