"""What a factorisation that failed, or nearly did, says of A: singular, with which null vectors, or indefinite."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from nnla.errors import NotPositiveDefiniteError
from nnla.kernels.cholesky import Cholesky
from nnla.operators.operator import Operator

__all__ = ["lost_pivots", "negative_count", "null_basis"]

_EPS = float(np.finfo(np.float64).eps)
_SMALL = 300  # unknowns up to which an eigendecomposition is quicker than thinking
_FIRST, _MOST = 6, 48  # vectors of the inverse iteration
_STEPS = 4
_NULL = 256 * _EPS  # |A v| of a null vector v of norm 1, for a unit diagonal


def lost_pivots(pivots: np.ndarray, diagonal: np.ndarray) -> bool:
    """Whether a pivot of a Cholesky factorisation is so small that rounding may have made it of zero.

    The error of a pivot of a positive semidefinite matrix is at most 4 n eps times its diagonal entry, whatever the
    units of the unknowns, since nothing grows on the way.

    References
    ----------
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., theorem 10.3.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return not bool(np.min(pivots / diagonal) > 4 * pivots.size * _EPS)


def negative_count(pivots: np.ndarray, diagonal: np.ndarray) -> int:
    """Negative ones among the pivots of a symmetric factorisation; 0 where none is more than rounding.

    >>> negative_count(np.array([2.0, -1e-16]), np.array([2.0, 1.0])), negative_count(np.array([2.0, -1.0]), np.ones(2))
    (0, 1)
    """
    negative = pivots < 0
    beyond = pivots < -4 * pivots.size * _EPS * np.abs(diagonal)
    return int(np.count_nonzero(negative)) if beyond.any() else 0


def null_basis(op: Operator, analysed: Cholesky | None = None) -> np.ndarray | None:
    """An orthonormal basis of the null space of a positive semidefinite A, by inverse iteration.

    Parameters
    ----------
    op : Operator with entries and a diagonal that is nowhere negative
    analysed : the Cholesky analysis of its pattern, where there is one

    Returns
    -------
    (n, m), m = 0 where A is not singular to rounding; None where A is indefinite, or so singular that 48 vectors do
    not span its null space

    Notes
    -----
    Cost: an eigendecomposition up to 300 unknowns; else another factorisation and some 30 solutions.

    A is scaled to a unit diagonal, so that units do not matter, and shifted by what rounding amounts to.

    References
    ----------
    Parlett, The Symmetric Eigenvalue Problem (1998), section 4.2 (inverse iteration) and chapter 14 (blocks of it).
    """
    d = op.space.host(op.diagonal())
    if not np.all(d >= 0):
        return None
    scale = 1.0 / np.sqrt(np.where(d > 0, d, 1.0))  # a row of zeros is a null vector of its own
    if op.n <= _SMALL:
        unit = (op.dense() if op.csr is None else op.csr.toarray()) * scale[:, None] * scale
        theta, V = np.linalg.eigh((unit + unit.T) / 2)
        slack = op.n * _EPS * max(theta[-1], 1.0)
        if theta[0] < -4 * slack:
            return None
        null = V[:, theta <= slack]
    else:
        found = _by_iteration(op, scale, analysed)
        if found is None:
            return None
        null = found
    null = _within_rounding_of_entries(op, scale, null)
    if not null.shape[1]:
        return null
    turned = scale[:, None] * null
    return np.linalg.qr(turned / np.max(np.abs(turned)))[0]


def _within_rounding_of_entries(op: Operator, scale: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Those combinations of V (n, m) that a matrix with the same entries to rounding maps to zero.

    A factorisation in float64 cannot tell them from others whose eigenvalue is up to n eps, such as soft modes beside
    stiff couplings. Their Rayleigh quotients can: an error of the vectors counts with its square, and products in
    extended precision are exact beside it.
    """
    if not V.shape[1]:
        return V
    A = op.dense() if op.csr is None else op.csr
    turned = (scale[:, None] * V).astype(np.longdouble)
    theta, W = np.linalg.eigh((turned.T @ (A.astype(np.longdouble) @ turned)).astype(np.float64))
    V = V @ W
    turned = np.abs(scale[:, None] * V)
    size = np.sum(turned * (abs(A) @ turned), axis=0)  # rounding changes the quotient by eps times that
    return V[:, theta <= 4 * _EPS * np.maximum(size, _EPS)]


def _by_iteration(op: Operator, scale: np.ndarray, analysed: Cholesky | None) -> np.ndarray | None:
    n = op.n
    shift = max(4 * n * _EPS, 1e-13)
    unit, solve = _shifted(op, scale, shift, analysed)
    if solve is None:
        return None
    count = _FIRST
    while count <= _MOST:
        X = np.random.default_rng(0).standard_normal((n, count))
        for _ in range(_STEPS):
            X = np.linalg.qr(solve(X))[0]
        _, U = np.linalg.eigh(X.T @ (unit @ X))
        X = X @ U
        null = np.linalg.norm(unit @ X, axis=0) <= _NULL
        if not null.all():
            return X[:, null]
        count *= 2
    return None


def _shifted(op: Operator, scale: np.ndarray, shift: float, analysed: Cholesky | None) -> tuple[Any, Any]:
    """A with a unit diagonal, and solutions with that plus the shift; None for them where it is not definite."""
    if op.csr is None:
        unit = op.dense() * scale[:, None] * scale
        try:
            factor = scipy.linalg.cho_factor(unit + shift * np.eye(op.n), lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return unit, None
        return unit, lambda X: scipy.linalg.cho_solve(factor, X, check_finite=False)
    csr = op.csr
    rows = np.repeat(np.arange(op.n), np.diff(csr.indptr))
    data = csr.data * scale[rows] * scale[csr.indices]
    unit = sp.csr_array((data, csr.indices, csr.indptr), shape=csr.shape)
    if not Cholesky.available():
        return unit, None
    try:
        cholesky = analysed or Cholesky(csr)
        return unit, cholesky.factor(np.where(rows == csr.indices, data + shift, data)).solve
    except NotPositiveDefiniteError:
        return unit, None
