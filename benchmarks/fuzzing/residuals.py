"""Residuals in extended precision: they neither round nor overflow where those of float64 would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["EXTENDED", "Residual", "columns", "norms", "product", "residual"]

Long = np.longdouble
EXTENDED = bool(np.finfo(Long).maxexp > 2000)  # where it is no more than float64, extreme units cannot be judged
_EPS = float(np.finfo(float).eps)


@dataclass
class Residual:
    """b - A X by columns: norms of it, of b, and what rounding in float64 may change.

    Attributes
    ----------
    size, target : (k,) ||r||, ||b||
    rounding : (k,) bound of what summing in float64 does to ||r||
    scaled, scaled_target, scaled_rounding : the same of D^-1/2 r and D^-1/2 b, None where a diagonal entry is <= 0
    dominance : (k,) ||b|| / (sqrt(n) d ||D^-1 b||) with the d that a tenth of the diagonal is not above, at most about
        3 for b uniform over the rows, large where heavy rows dominate it
    backward : (k,) ||r|| / || |A| |x| + |b| ||, the componentwise-weighted backward error
    """

    size: np.ndarray
    target: np.ndarray
    rounding: np.ndarray
    backward: np.ndarray
    scaled: np.ndarray | None = None
    scaled_target: np.ndarray | None = None
    scaled_rounding: np.ndarray | None = None
    dominance: np.ndarray | None = None

    @property
    def relative(self) -> np.ndarray:
        return (self.size / np.where(self.target > 0, self.target, 1)).astype(float)


def columns(v: Any, n: int) -> np.ndarray:
    """(n, k) in extended precision."""
    if hasattr(v, "detach"):
        v = v.detach().cpu().numpy()
    return np.reshape(np.asarray(v, dtype=Long), (n, -1))


def norms(V: np.ndarray) -> np.ndarray:
    return np.sqrt((V * V).sum(axis=0))


def product(A: Any, X: np.ndarray, absolute: bool = False) -> np.ndarray:
    """A X, or |A| X, of a CSR matrix in extended precision."""
    data = np.asarray(A.data, dtype=Long)
    terms = (np.abs(data) if absolute else data)[:, None] * X[A.indices]
    out = np.zeros((A.shape[0], X.shape[1]), dtype=Long)
    filled = np.flatnonzero(np.diff(A.indptr))
    if filled.size:
        out[filled] = np.add.reduceat(terms, A.indptr[filled], axis=0)
    return out


def residual(A: Any, x: Any, b: Any) -> Residual:
    """The true residual of x, by columns."""
    n = A.shape[0]
    X, B = columns(x, n), columns(b, n)
    R = B - product(A, X)
    size = product(A, np.abs(X), absolute=True) + np.abs(B)
    longest = int(np.diff(A.indptr).max(initial=0)) + 2
    unit = longest * _EPS
    weight = norms(size)
    out = Residual(norms(R), norms(B), unit * weight, norms(R) / np.where(weight > 0, weight, 1))
    d = A.diagonal()
    if np.all(d > 0):
        s = np.sqrt(d.astype(Long))[:, None]
        out.scaled, out.scaled_target, out.scaled_rounding = norms(R / s), norms(B / s), unit * norms(size / s)
        light = np.sqrt(Long(n)) * np.quantile(d, 0.1, method="higher") * norms(B / s**2)
        out.dominance = out.target / np.where(light > 0, light, 1)
    return out
