"""Spectral filters: polynomials that are large on the wanted end of a spectrum and small on the rest.

A filter is a `Recurrence` in the user's own operator; a `BoundPolynomial` applies it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnla.errors import NonFiniteError, OptionError, ShapeError
from nnla.operators.bound_polynomial import BoundPolynomial
from nnla.polynomials.recurrence import Recurrence

__all__ = ["BoundFilter", "chebyshev_filter", "cut_of_strength", "filter_quality", "power_filter", "strength"]

BoundFilter = BoundPolynomial  # its name where it filters


def chebyshev_filter(cut: float, far: float, degree: int) -> Recurrence:
    """The Chebyshev polynomial T_d of the interval between ``cut`` and ``far``, positive beyond the cut.

    Parameters
    ----------
    cut : end of the damped interval on the wanted side
    far : its other end, ``far > cut`` where the smallest eigenvalues are wanted, else ``far < cut``
    degree : d, at least 1

    Returns
    -------
    Recurrence of ``degree`` products, of modulus at most 1 on the interval and monotone beyond the cut.

    Notes
    -----
    Cost: none to make; ``degree`` products an application.

    References
    ----------
    Zhou, Saad, A Chebyshev-Davidson algorithm for large symmetric eigenproblems, SIAM J. Matrix Anal. Appl. 29
    (2007); AutoSpec appendix E.

    Examples
    --------
    >>> P = chebyshev_filter(1.0, 10.0, 21)
    >>> bool(P(0.5) > 5), bool(max(abs(P(np.linspace(1, 10, 99)))) <= 1 + 1e-12)
    (True, True)
    """
    if not (math.isfinite(cut) and math.isfinite(far)) or cut == far:
        raise OptionError(f"a filter needs an interval, got [{cut}, {far}]")
    coefficients = np.zeros(degree + 1)
    coefficients[degree] = -1.0 if far > cut and degree % 2 else 1.0
    return Recurrence.from_chebyshev(coefficients, min(cut, far), max(cut, far))


def power_filter(edge: float, far: float, degree: int) -> Recurrence:
    """X^d with X = (A - far) / (edge - far): the power method's filter, AutoSpec's baseline.

    Notes
    -----
    Cost: none to make; ``degree`` products an application.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equation (15). Golub & Van Loan, Matrix Computations, 4th ed., section 7.3 (power
    method).

    Examples
    --------
    >>> P = power_filter(0.0, 10.0, 3)
    >>> float(P(0.0)), round(float(P(5.0)), 12), P.products
    (1.0, 0.125, 3)
    """
    depth = max(degree - 1, 1)
    zeros, ones = np.zeros(depth), np.ones(depth)
    maps: dict[str, Any] = {"domain": (min(edge, far), max(edge, far)), "shift": far, "scale": edge - far}
    if degree == 1:
        return Recurrence(zeros, zeros, zeros, ones, zeros, **maps)
    return Recurrence(zeros, zeros, zeros, zeros, ones, **maps)


def strength(cut: float, edge: float, far: float, degree: int) -> float:
    """d^2 (cut - edge) / (far - cut): all that the value of T_d at the edge of the spectrum depends on.

    T_d there is about cosh(2 sqrt(strength)): below 1 the filter is as steep as it can be for its degree, far above
    it the wanted eigenvalues differ less from each other, relative to their size, than a lower cut would make them.

    Cost: none.

    References
    ----------
    The bound behind it: Saad, Numerical Methods for Large Eigenvalue Problems, 2nd ed. (2011), section 4.4 (T_d beyond
    the interval).
    """
    return degree**2 * (cut - edge) / (far - cut) if far != cut else math.inf


def cut_of_strength(value: float, edge: float, far: float, degree: int) -> float:
    """The cut of a given `strength`.

    Examples
    --------
    >>> round(strength(cut_of_strength(0.7, 1.0, 9.0, 21), 1.0, 9.0, 21), 12)
    0.7
    """
    share = value / degree**2
    return (edge + share * far) / (1.0 + share)


def check_window(values: Any, residuals: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    values, residuals = np.asarray(values, dtype=np.float64), np.asarray(residuals, dtype=np.float64)
    if values.ndim != 1 or residuals.shape != values.shape:
        raise ShapeError(
            f"a window needs Ritz values and residuals of one length, got shapes {values.shape} and {residuals.shape}"
        )
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k < values.size:
        raise OptionError(f"k must be an integer from 1 to {values.size - 1} (fewer than there are values), got {k!r}")
    if not (np.all(np.isfinite(values)) and np.all(np.isfinite(residuals))):
        raise NonFiniteError("the window has NaN or Inf among its Ritz values or residuals; check the probe")
    if np.any(np.diff(values) > 0):
        raise OptionError("the Ritz values must be in descending order, wanted ones first; reverse them")
    return values, residuals


def filter_quality(recurrence: Recurrence, values: Any, residuals: Any, k: int, *, cut: int | None = None) -> float:
    """How far a filter separates the wanted eigenvalues from those beyond the cut: r of (14), from Ritz values.

    Parameters
    ----------
    recurrence : a filter P in x, learned or classical
    values, residuals, k : as `EigPaperEngine.recurrence` takes them
    cut : number of eigenvalues that may be amplified; default ``ceil(1.5 k)``, the paper's boundary (section 5.2),
        and at most ``l - 1``

    Returns
    -------
    float
        min over the wanted Ritz values of |P| / max of |P| over [0, theta_(cut + 1)], with the interval widened by
        that Ritz value's residual as far as the k-th one's lower bound allows. Above 1 the filter amplifies what is
        wanted; (theta_k / theta_(cut+1))^degree is what the power method reaches; 0 where P is not finite.

    Notes
    -----
    The (14) of the paper takes the l-th largest |P| over all eigenvalues. Those are unknown in use, so the maximum
    over the whole interval that holds them stands in: it is an upper bound, and equal where P decreases towards the
    unwanted end. As a guard, compare with a Chebyshev filter at the same cut; with ``cut = l // 2`` that is
    "engine, guarded" of the model card.

    Cost: 64 evaluations of P on scalars per degree, no products.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equation (14) and section 5.2.

    Examples
    --------
    >>> theta = np.linspace(1, 0, 21)
    >>> P = Recurrence.from_chebyshev(np.eye(22)[21], 0.0, 0.7)  # T_21, cut at 0.7
    >>> round(filter_quality(P, theta, 0 * theta, 4) / P(0.85))
    1
    """
    values, residuals = check_window(values, residuals, k)
    cut = math.ceil(1.5 * k) if cut is None else cut
    cut = min(max(cut, k), values.size - 1)
    sure = float(values[k - 1] - residuals[k - 1])  # the k-th eigenvalue may be as low as that
    edge = min(float(values[cut] + residuals[cut]), max(sure, float(values[cut])))
    edge = max(edge, 1e-12)
    grid = edge * (1 - np.cos(np.linspace(0, np.pi, 64 * recurrence.degree))) / 2  # as dense as its extrema
    with np.errstate(all="ignore"):
        wanted = float(np.abs(recurrence(values[:k])).min())
        rest = float(np.abs(recurrence(grid)).max())
    if not (math.isfinite(wanted) and math.isfinite(rest)):
        return 0.0
    return wanted / rest if rest > 0 else math.inf
