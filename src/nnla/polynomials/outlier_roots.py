"""Residual polynomials with roots on outlying eigenvalues, and what a probe knows of the outliers.

A few eigenvalues far above the others make a Chebyshev interval waste its roots on the gaps between them. Here
some roots of R = 1 - x P are prescribed, on the outliers, and the others are placed so that R equioscillates on the
interval of the remaining spectrum: a root at z outside [a, f] then costs only sqrt(1 - f / z) of a degree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nnla.errors import OptionError
from nnla.polynomials.classical import leja_order
from nnla.polynomials.guards import Verdict, check_polynomial
from nnla.polynomials.recurrence import Recurrence
from nnla.types import SpectralProbe

__all__ = [
    "SpectralTail",
    "check_with_tail",
    "effective_degree",
    "equiripple_roots",
    "residual_at",
    "spectral_tail",
    "steepness",
    "tail_polynomial",
]

_SAME = 1e-5  # Ritz values closer than this, relative to the largest, are copies of one eigenvalue
_GHOST = 1e-7  # ... and one of less than this share of an average weight is a copy still on its way
_CERTAIN = 1e-3  # residual of an outlier, relative to the gap below it, up to which it is known
_WINDOW = 1e-7  # smallest half width, relative to b, of the window around an outlier where P has to be positive


@dataclass(frozen=True)
class SpectralTail:
    """The largest eigenvalues, as far as a probe has resolved them.

    Attributes
    ----------
    values : (t,) decreasing, relative to the probe's upper bound; every one an eigenvalue
    residuals : (t,) how far from it, relative to the same
    weights : (t,) share of the start vector
    rest : top of the spectrum below them, with the residual added

    Notes
    -----
    "An eigenvalue" is guaranteed within the residual. That there is no other between them is not: it is what a
    start with a component in every eigenvector shows, and CG from the same right-hand side does not see others.
    """

    values: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray
    rest: float


def spectral_tail(probe: SpectralProbe, most: int = 16) -> SpectralTail:
    """Converged Ritz values at the top of a probe, copies merged.

    Parameters
    ----------
    probe : SpectralProbe, definite
    most : outliers at most

    Notes
    -----
    Cost: none beside the probe's own eigenproblem. Lanczos without reorthogonalisation repeats what has converged;
    copies that are still on their way sit anywhere, with next to no weight, and are left out.

    References
    ----------
    Parlett, The Symmetric Eigenvalue Problem (1998), chapter 13 (copies, residual norms).
    """
    b = probe.upper_bound
    theta, weight, residual = (v[::-1] for v in (probe.ritz_values / b, probe.ritz_weights, probe.ritz_residuals / b))
    real = weight > _GHOST / probe.n
    theta, weight, residual = theta[real], weight[real], residual[real]
    first = np.append(True, -np.diff(theta) > _SAME)
    group = np.cumsum(first) - 1
    weight = np.bincount(group, weights=weight)
    best = np.full(weight.size, np.inf)
    np.minimum.at(best, group, residual)
    values, residual = theta[first], best
    gap = values - np.append(values[1:] + residual[1:], 0.0)
    open_ = np.flatnonzero(residual > _CERTAIN * np.maximum(gap, 0.0))
    t = min(int(open_[0]) if open_.size else values.size, most, values.size - 1)
    rest = float(min(values[t] + residual[t], 1.0))
    if t:
        rest = min(rest, float(values[t - 1]))
    return SpectralTail(values[:t].copy(), residual[:t].copy(), weight[:t].copy(), rest)


def effective_degree(roots: np.ndarray, f: float, m: int) -> float:
    """Degree of the Chebyshev polynomial on [0, f] that grows below it as R of degree m with these outer roots does.

    Examples
    --------
    >>> effective_degree(np.array([1.0]), 0.75, 12)
    11.5
    """
    return m - float(np.sum(np.sqrt(np.maximum(1 - f / np.asarray(roots), 0.0))))


def equiripple_roots(a: float, f: float, outer: np.ndarray, m: int) -> np.ndarray:
    """The m roots of a polynomial that vanishes at ``outer`` and equioscillates on [a, f] but for that.

    Parameters
    ----------
    a, f : interval, 0 < a < f
    outer : (j,) prescribed roots above f, j < m
    m : degree

    Returns
    -------
    (m,) roots, the prescribed ones last

    Raises
    ------
    OptionError
        Interval or roots out of order, or a root so close to f that no such polynomial exists.

    Notes
    -----
    Cost: at most 60 Newton steps for m - j angles, each with j terms; below 1 ms.

    With x = (a + f) / 2 + (f - a) / 2 cos(phi), R is close to cos(Phi), Phi the phase of z^m times the Blaschke factors
    of the prescribed roots on the unit circle. Its zeros Phi = (k - 1/2) pi are roots of R up to beta^(2 (m - j)),
    where beta < 1 is the image of the nearest prescribed root inside the circle. Without prescribed roots: Chebyshev's.

    References
    ----------
    N. Achieser, Theory of Approximation (1956), appendix (extremal polynomials with weight).

    Examples
    --------
    >>> np.round(equiripple_roots(1.0, 3.0, np.array([9.0]), 3), 3)
    array([2.666, 1.261, 9.   ])
    """
    outer = np.asarray(outer, dtype=np.float64)
    free = m - outer.size
    if not 0 < a < f or free < 1 or np.any(outer <= f):
        raise OptionError(f"roots above {f:.4g} and 0 < a < f are needed, and fewer of them than {m}")
    centre, half = (f + a) / 2, (f - a) / 2
    tau = (outer - centre) / half
    beta = 1 / (tau + np.sqrt(tau**2 - 1))
    if free - 2 * np.sum(beta / (1 - beta)) <= 0:
        raise OptionError(f"a prescribed root is too close to the interval's upper end {f:.4g}")
    target = (np.arange(free) + 0.5) * np.pi
    low, high = np.zeros(free), np.full(free, np.pi)
    phi = target / free
    for _ in range(60):  # safeguarded Newton: Phi is monotone, from 0 at 0 to free * pi at pi
        sin, cos = np.sin(phi)[:, None], np.cos(phi)[:, None]
        error = free * phi - 2 * np.arctan2(beta * sin, 1 - beta * cos).sum(axis=1) - target
        if np.max(np.abs(error)) < 1e-13 * free:
            break
        slope = free - 2 * ((beta * cos - beta**2) / (1 - 2 * beta * cos + beta**2)).sum(axis=1)
        low, high = np.where(error < 0, phi, low), np.where(error > 0, phi, high)
        phi = phi - error / np.maximum(slope, 1e-3)
        phi = np.where((phi > low) & (phi < high), phi, (low + high) / 2)
    return np.concatenate([centre + half * np.cos(phi), outer])


def residual_at(lam: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """R(lam) = prod_i (1 - lam / roots_i) for several polynomials: (K,), (C, m) -> (C, K).

    Cost: m passes over C x K numbers.
    """
    out = np.ones((roots.shape[0], lam.size))
    for column in roots.T:  # twelve passes over C x K instead of one array of C x K x m
        out *= 1 - lam / column[:, None]
    return out


def tail_polynomial(a: float, f: float, outer: np.ndarray, degree: int) -> Recurrence:
    """P of `equiripple_roots`, as a recurrence: products in Leja order.

    Parameters
    ----------
    a, f : interval of the bulk
    outer : (j,) prescribed roots above f
    degree : degree of P; m = degree + 1

    Notes
    -----
    Cost: below 1 ms to make; ``degree`` products an application.

    Positive only where R < 1: to be checked by `check_with_tail`.

    References
    ----------
    That of `equiripple_roots`; `nnla.polynomials.classical.leja_order`.
    """
    roots = equiripple_roots(a, f, outer, degree + 1)
    return Recurrence.from_roots(leja_order(roots), (a, float(max(f, *outer)) if len(outer) else f))


def steepness(outer: np.ndarray, f: float, m: int) -> float:
    """Largest |d R / d log x| at the simple ones among the outer roots, of `equiripple_roots` for small a.

    What rounding of unit size in P(A) z is multiplied by in the eigenvectors of the outliers: about 1e7 is too much for
    float32. Inf where there is no such polynomial.

    Notes
    -----
    Cost: j^2 numbers for j outer roots.

    Examples
    --------
    >>> 1e7 < steepness(np.array([1.0]), 0.55, 12) < 1e8
    True
    >>> steepness(np.array([1.0, 1.0]), 0.55, 12)  # a double root is flat
    0.0
    """
    tau = 2 * outer / f - 1
    beta = 1 / (tau + np.sqrt(np.maximum(tau**2 - 1, 0.0)))
    if not np.all(beta < 1) or m - outer.size <= 2 * np.sum(beta / (1 - beta)):
        return float("inf")
    z = 1 / beta
    factor = np.abs(1 - beta[:, None] / beta) / np.abs(z - beta[:, None])  # Blaschke factors: [root, place]
    np.fill_diagonal(factor, beta / (z - beta))
    with np.errstate(over="ignore", invalid="ignore"):
        steep = float(np.max(2 * outer / f * z**m * np.prod(factor, axis=0) / (1 - beta**2)))
    return float("inf") if math.isnan(steep) else steep


def check_with_tail(recurrence: Recurrence, tail: SpectralTail, f: float, b: float) -> Verdict:
    """Whether P > 0 wherever the probe leaves room for eigenvalues.

    Parameters
    ----------
    recurrence : P
    tail : SpectralTail of the probe
    f : upper end, relative to b, of the interval that P was made for
    b : upper bound of the spectrum

    Notes
    -----
    Cost: that of `check_polynomial`, and nine evaluations of P for each outlier.
    Guaranteed: P > 0 on (0, 1.005 rest b] and within ten residuals (at least 1e-7 b) of each outlier above. In the
    gaps between outliers P may be negative: an eigenvalue there, of which the right-hand side has nothing, would
    be met by rounding only, and CG notices (r'Mr <= 0) and goes on with an interval.
    """
    inside = [v for v in tail.values if v <= f * (1 + 1e-9)]
    reach = max([tail.rest, *inside])
    verdict = check_polynomial(recurrence, reach * b, margin=1.005 if reach < 1 else 1.0)
    if not verdict.ok:
        return verdict
    width = np.maximum(10 * tail.residuals, _WINDOW)
    window = tail.values[:, None] + width[:, None] * np.linspace(-1.0, 1.0, 9)
    values = recurrence(b * window)
    if not np.all(np.isfinite(values)) or not np.all(values > 0):
        worst = tail.values[int(np.argmin(values.min(axis=1)))]
        return Verdict(False, f"the polynomial is not positive around the outlier at {worst:.4g} of the upper bound")
    return Verdict(True)
