"""Batches of dense systems by LU, told when A is singular to rounding: what answers of a model fall back on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nnla.linear.dense_systems import DenseBatch, exponents_of, shifted
from nnla.operators.arrays import namespace, on_device, to_numpy

__all__ = ["DirectResult", "direct_solutions", "singular"]

_EPS = float(np.finfo(np.float64).eps)
_PROBES = 2  # random right-hand sides that ask how near to singular A is
_MISSED = 1e-3  # a random vector has less of a given direction than this, times 1 / sqrt(n), with this probability


@dataclass(frozen=True, eq=False)
class DirectResult:
    """Solutions by LU.

    Attributes
    ----------
    y : (B, n, k) in the units of the batch; the least squares solution of least norm where A is singular. Perhaps not
        finite
    singular : (B,) whether A has not full rank in float64, its rows and columns scaled to one size
    """

    y: Any
    singular: np.ndarray


def direct_solutions(systems: DenseBatch) -> DirectResult:
    """LU with partial pivoting of A with scaled rows, and a step of refinement.

    Notes
    -----
    Two random right-hand sides show where |A^-1| may exceed 1 / eps; there the singular values decide. Missed with
    probability 1e-6.

    Cost: two LU factorisations of every matrix, 4/3 n^3 operations; singular values where A is nearly singular.

    References
    ----------
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., theorem 12.3 (one step of refinement makes the
    row-wise backward error small). Dixon, Estimating extremal eigenvalues and condition numbers of matrices, SIAM J.
    Numer. Anal. 20 (1983): random vectors.

    Examples
    --------
    >>> A = np.array([np.eye(2), [[1.0, 2.0], [2.0, 4.0]]])
    >>> found = direct_solutions(DenseBatch.of(A, np.array([[[3.0], [1.0]], [[1.0], [2.0]]])))
    >>> found.singular.tolist()
    [False, True]
    """
    xp = namespace(systems.A)
    with np.errstate(all="ignore"):
        y, suspects = _solved(systems.A, systems.b, probed=True)
        lost = np.zeros(len(systems), dtype=bool)
        lost[suspects] = _deficient(systems.A[suspects]) if len(suspects) else False
        r = systems.residual(y)
        change, _ = _solved(systems.A, xp.where(xp.isfinite(r), r, xp.zeros_like(r)), probed=False)
        y = xp.where(xp.isfinite(change), y + change, y)
        which = np.flatnonzero(lost)
        if len(which):
            y[which] = _least_squares(systems[which])
    return DirectResult(y, lost)


def singular(systems: DenseBatch) -> np.ndarray:
    """(B,) whether A is singular to rounding, as `direct_solutions` finds out.

    Cost: an LU factorisation of every matrix.

    >>> singular(DenseBatch.of(np.ones((1, 2, 2)), np.ones((1, 2, 1)))).tolist()
    [True]
    """
    with np.errstate(all="ignore"):
        _, suspects = _solved(systems.A, systems.b[:, :, :0], probed=True)
        lost = np.zeros(len(systems), dtype=bool)
        lost[suspects] = _deficient(systems.A[suspects]) if len(suspects) else False
    return lost


def _solved(A: Any, b: Any, *, probed: bool) -> tuple[Any, np.ndarray]:
    """A^-1 b, and, if ``probed``, the numbers of the matrices that may be singular."""
    if not probed:
        return _lu(A, b), np.array([], dtype=int)
    xp, n, k = namespace(A), A.shape[-1], b.shape[-1]
    w = on_device(_random_vectors(n), A)
    z = _lu(A, xp.concatenate([b, xp.broadcast_to(w, (len(A), *w.shape))], -1))
    # LU does not depend on the units of the columns, and neither is singularity to
    columns = exponents_of(xp.amax(xp.abs(A), 1))
    growth = shifted(z[:, :, k:], columns[:, :, None])
    largest = to_numpy(xp.amax(xp.abs(growth).reshape(len(A), -1), 1))
    limit = _MISSED / (2 * n**2.5 * _EPS)  # sigma_max <= 2 n, and the largest entry is 1 / sqrt(n) of the norm or more
    return z[:, :, :k], np.flatnonzero(~(largest < limit))


def _lu(A: Any, b: Any) -> Any:
    """A^-1 b with NaN or Inf where a pivot is zero."""
    xp = namespace(A)
    if xp is not np:
        return xp.linalg.solve_ex(A, b)[0]
    try:
        return np.linalg.solve(A, b)
    except np.linalg.LinAlgError:  # of one of them
        out = np.full(b.shape, np.nan)
        for index in range(len(A)):
            with contextlib.suppress(np.linalg.LinAlgError):
                out[index] = np.linalg.solve(A[index], b[index])
        return out


def _deficient(A: Any) -> np.ndarray:
    """(B,) whether the columns, scaled to one size, have a singular value that is zero to rounding."""
    xp = namespace(A)
    columns = exponents_of(xp.amax(xp.abs(A), 1))
    values = to_numpy(xp.linalg.svd(shifted(A, -columns[:, None, :]), full_matrices=False)[1])
    return ~(values[:, -1] > A.shape[-1] * _EPS * values[:, 0])


def _least_squares(systems: DenseBatch) -> Any:
    """The least squares solutions of least norm, in the norm of the user's rows."""
    xp = namespace(systems.A)
    U, s, Vh = xp.linalg.svd(systems.matrices(), full_matrices=False)
    used = s > systems.A.shape[-1] * _EPS * s[:, :1]
    inverse = xp.where(used, 1 / xp.where(used, s, xp.ones_like(s)), xp.zeros_like(s))
    b = systems.in_user_rows(systems.b)
    return xp.einsum("bji,bjk->bik", Vh, inverse[:, :, None] * xp.einsum("bji,bjk->bik", U, b))


@lru_cache(maxsize=64)
def _random_vectors(n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, _PROBES))
