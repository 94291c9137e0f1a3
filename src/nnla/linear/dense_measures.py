"""How wrong answers to dense systems are: residuals and backward errors of every right-hand side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.linear.dense_systems import DenseBatch, column_norms
from nnla.operators.arrays import namespace, to_numpy

__all__ = ["Measures", "measured"]

_EPS = float(np.finfo(np.float64).eps)
_ROUNDINGS = 10.0  # as of `nnla.linear.criterion.rounding_only`


@dataclass(frozen=True, eq=False)
class Measures:
    """Errors of answers, (B, k) on the host; Inf for answers that are not finite.

    Attributes
    ----------
    residual : ||b - A x|| / ||b||
    row : the largest |b - A x|_i / (||a_i|| ||x|| + |b_i|)
    backward : ||b - A x|| / (||A|| ||x|| + ||b||), with the largest row norm and ||A x|| / ||x|| for ||A||: never too
        small
    rounded : ``row`` is rounding, as that of a null vector of a singular A is, too
    """

    residual: np.ndarray
    row: np.ndarray
    backward: np.ndarray
    rounded: np.ndarray

    def met(self, rtol: float) -> np.ndarray:
        """(B, k) where the tolerance is met by the whole and by every row."""
        return (self.residual <= rtol) & (self.row <= rtol)


def measured(systems: DenseBatch, y: Any) -> Measures:
    """The errors of y, in the units of the batch.

    Notes
    -----
    Cost: a product for each column, and three passes over A.

    References
    ----------
    Rigal, Gaches, J. ACM 14 (1967) 543-548 (the normwise error). Higham, Accuracy and Stability of Numerical
    Algorithms, 2nd ed., section 7.2 (row-wise backward errors).

    Examples
    --------
    >>> systems = DenseBatch.of(np.diag([1.0, 1e-200])[None], np.array([[[1.0], [1e-200]]]))
    >>> found = measured(systems, np.array([[[1.0], [0.0]]]))
    >>> bool(found.residual <= 1e-10), bool(found.met(1e-10))
    (True, False)
    """
    xp, n = namespace(y), systems.A.shape[-1]
    with np.errstate(all="ignore"):
        r, b = systems.residual(y), systems.b
        length, whole = column_norms(y), column_norms(systems.in_user_rows(b))
        entries = xp.sqrt((systems.A * systems.A).sum(2))  # row norms, of rows in [1, 2)
        scale = entries[:, :, None] * length[:, None, :] + xp.abs(b)
        by_row = xp.amax(_ratio(xp.abs(r), scale), 1)
        largest = xp.amax(systems.in_user_rows(entries[:, :, None]), 1)
        left, image = column_norms(systems.in_user_rows(r)), column_norms(systems.in_user_rows(b - r))
        size = xp.maximum(largest, _ratio(image, length))
        normwise = _ratio(left, size * length + whole)
        level = (_ROUNDINGS + math.sqrt(n)) * _EPS
        rounded = by_row <= level
        finite = to_numpy(xp.isfinite(y).all(1))
    parts = (_ratio(left, whole), by_row, normwise)
    host = [np.where(finite, np.nan_to_num(to_numpy(part), nan=math.inf), math.inf) for part in parts]
    return Measures(*host, rounded=to_numpy(rounded) & finite)


def _ratio(a: Any, b: Any) -> Any:
    """a / b, 0 where both are 0."""
    xp = namespace(a)
    return xp.where(a == 0, xp.zeros_like(a), a / b)
