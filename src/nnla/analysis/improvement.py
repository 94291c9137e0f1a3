"""How much a polynomial improves on the paper's baselines, from eigenvalues: the y-axes of Figures 5 and 11-14.

All are ratios of logarithms of (11)-(13), learned over baseline of the same degree, so that 1 is the baseline (power
method, Richardson iteration, Taylor series) and larger is better; a polynomial that fails counts as 0 or less.
"""

from __future__ import annotations

import math

import numpy as np

from nnla.polynomials.recurrence import Recurrence

__all__ = ["condition_improvement", "gap_improvement", "inverse_root_improvement"]

_LEAST = 1e-14  # errors are not told apart below rounding


def gap_improvement(P: Recurrence, x: np.ndarray, k: int, cut: int) -> float:
    """log r(P) / log r(x^d), with r of (11): least |P| of the k wanted over the ``cut``-th largest |P|.

    Parameters
    ----------
    P : filter of degree d
    x : (n,) eigenvalues in [0, 1], descending, the first k wanted
    cut : the paper's l, dimension of the search space (Figure 11), or 1.5 k (Figures 2, 5)

    Notes
    -----
    Cost: n evaluations of P and a selection.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equation (11); Figures 5 and 11.

    Examples
    --------
    >>> x = np.linspace(1, 0, 101)
    >>> power = Recurrence.from_function(lambda t: t**21, 0, 1, 21)
    >>> round(gap_improvement(power, x, 10, 40), 6)
    1.0
    """
    size = np.abs(P(np.asarray(x, dtype=np.float64)))
    wanted, rest = float(size[:k].min()), float(np.partition(size, size.size - cut)[size.size - cut])
    if not (wanted > 0 and rest > 0 and math.isfinite(wanted + rest)):
        return 0.0
    return math.log(wanted / rest) / (P.degree * math.log(x[k - 1] / x[cut - 1]))


def condition_improvement(P: Recurrence, lam: np.ndarray) -> float:
    """log r(P) / (d log r_Richardson), (20) over (21): convergence rates of iterations with P A and with A.

    Parameters
    ----------
    P : preconditioner of degree d
    lam : (n,) positive eigenvalues

    Notes
    -----
    Cost: n evaluations of P.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (20) and (21).

    Examples
    --------
    >>> lam = np.linspace(0.01, 1, 200)
    >>> round(condition_improvement(Recurrence.chebyshev(0.01, 1, 11), lam), 2)
    10.8
    """
    lam = np.asarray(lam, dtype=np.float64)
    PX = lam * P(lam)
    if not (np.all(np.isfinite(PX)) and PX.min() > 0):
        return 0.0
    rate = -math.log1p(-min(float(PX.min() / PX.max()), 1 - _LEAST))
    return rate / (P.degree * -math.log1p(-float(lam.min() / lam.max())))


def inverse_root_improvement(P: Recurrence, lam: np.ndarray) -> float:
    """log r(P) / log r_Neumann, (23) over (24): worst relative errors of x^(-1/2).

    Parameters
    ----------
    P : approximation of x^(-1/2), of degree d
    lam : (n,) positive eigenvalues; the Taylor series is about the largest

    Notes
    -----
    Cost: n evaluations of P and of a Taylor polynomial.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (23) and (24); Figure 14.

    Examples
    --------
    >>> lam = np.linspace(0.01, 1, 200)
    >>> P = Recurrence.from_function(lambda x: x**-0.5, 0.01, 1, 21)
    >>> round(inverse_root_improvement(P, lam), 1)
    7.1
    """
    lam = np.asarray(lam, dtype=np.float64)
    error = float(np.abs(1 - P(lam) * np.sqrt(lam)).max())
    y = lam / lam.max()
    term, series = np.ones_like(y), np.ones_like(y)
    for j in range(1, P.degree + 1):
        term = term * (2 * j - 1) / (2 * j) * (1 - y)
        series = series + term
    neumann = float(np.abs(1 - series * np.sqrt(y)).max())
    if not 0 <= error < 1:
        return 0.0
    return math.log(max(error, _LEAST)) / math.log(max(neumann, _LEAST))
