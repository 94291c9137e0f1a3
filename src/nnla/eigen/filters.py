"""Spectral filters: polynomials that are large on the wanted end of a spectrum and small on the rest.

A filter is a `Recurrence` in the user's own operator; `BoundFilter` applies it, natively where that is possible.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnla._arrays import to_numpy
from nnla.errors import OptionError
from nnla.kernels.system import native_system
from nnla.operators import Operator
from nnla.recurrences import Recurrence

__all__ = ["BoundFilter", "chebyshev_filter", "cut_of_strength", "power_filter", "strength"]


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


class BoundFilter:
    """A filter bound to an operator: ``F(v)`` is P(A) v, and products are counted.

    Parameters
    ----------
    op : Operator
    recurrence : Recurrence, P

    Notes
    -----
    Cost of an application: ``recurrence.products`` products with A. In the fused native kernels where the operator
    has stored entries, in float64.
    """

    def __init__(self, op: Operator, recurrence: Recurrence) -> None:
        self._op, self.recurrence = op, recurrence
        system = native_system(op)
        self._native = None if system is None else system.polynomial(recurrence, "float64", scaled=False)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        if self._native is not None:
            out = np.empty_like(v)
            self._native.apply(np.ascontiguousarray(v), out)
            self._op.products += self.recurrence.products
            return out
        if self._op.xp == "torch":
            return to_numpy(self.recurrence.apply(self._op, self._op.as_vector(v)))
        return self.recurrence.apply(self._op, v)
