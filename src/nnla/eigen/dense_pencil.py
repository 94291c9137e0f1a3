"""All eigenpairs of a small or dense pencil by LAPACK, a singular mass matrix included."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from nnla.eigen.dense import DENSE_LIMIT
from nnla.eigen.pencil import Pencil
from nnla.errors import NotPositiveDefiniteError, OptionError

__all__ = ["all_pairs", "refined"]

_EPS = float(np.finfo(np.float64).eps)
_STEPS = 3  # of inverse iteration
_TOGETHER = 1e-3  # relative distance of eigenvalues that are refined as one group


def all_pairs(pencil: Pencil) -> tuple[np.ndarray, np.ndarray]:
    """The finite eigenvalues of a pencil, increasing, and their vectors (n, m), orthonormal in the mass matrix.

    Raises
    ------
    OptionError
        n is too large, or every number is an eigenvalue.
    NotPositiveDefiniteError
        An indefinite mass matrix.

    Notes
    -----
    Cost: some 9 n^3 operations, a few n x n arrays; n products where the entries are not known.

    References
    ----------
    Golub & Van Loan, Matrix Computations, 4th ed., sections 8.3 and 8.7.
    """
    if pencil.op.n > DENSE_LIMIT:
        raise OptionError(f"method='dense' is for n up to {DENSE_LIMIT}; n = {pencil.op.n} is too large, use 'auto'")
    A = _symmetric(pencil.op.dense())
    if pencil.mass is None:
        return scipy.linalg.eigh(A, check_finite=False, driver="evd")
    M = _symmetric(pencil.mass.dense())
    # unit diagonals, so that the units of the unknowns do not matter
    d = M.diagonal()
    scale = 1.0 / np.sqrt(np.where(d > 0, d, 1.0))
    A, M = A * scale[:, None] * scale, M * scale[:, None] * scale
    m, Q = scipy.linalg.eigh(M, check_finite=False, driver="evd")
    least = 4 * M.shape[0] * _EPS * max(float(m[-1]), 1.0)
    if m[0] < -least:
        raise NotPositiveDefiniteError(pencil.indefinite)
    if m[0] > least:
        w, V = scipy.linalg.eigh(A, M, check_finite=False)
    else:
        w, V = _of_range(A, m, Q, m > least)
    return w, scale[:, None] * V


def refined(pencil: Pencil, x: np.ndarray, V: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs with those that are ``bad``, a mask, made accurate by inverse iteration in groups.

    An ill-conditioned mass matrix leaves all eigenvalues the error of the largest; a factorisation next to each does
    not.

    Cost: a factorisation for each group, n^3 operations.

    References
    ----------
    Parlett, The Symmetric Eigenvalue Problem (1998), section 15.9.
    """
    assert pencil.mass is not None
    A, M = _symmetric(pencil.op.dense()), _symmetric(pencil.mass.dense())
    x, V = x.copy(), V.copy()
    unknown = 64 * _EPS * float(np.abs(x).max(initial=0.0))
    left = bad.copy()
    while left.any():
        first = int(np.argmax(left))
        group = np.abs(x - x[first]) <= max(_TOGETHER * abs(x[first]), unknown)
        left &= ~group
        with np.errstate(all="ignore"):
            better = _iterated(A, M, x[group], V[:, group])
        if better is not None:
            x[group], V[:, group] = better
    order = np.argsort(x, kind="stable")
    return x[order], V[:, order]


def _iterated(A: np.ndarray, M: np.ndarray, x: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Inverse iteration with the Rayleigh quotients of a group; None where it breaks down."""
    for _ in range(_STEPS):
        shift = float(np.mean(x))
        B = A - shift * M
        B.flat[:: B.shape[0] + 1] += _EPS * np.abs(B).max(axis=1)  # no pivot may be zero
        factor = scipy.linalg.lu_factor(B, check_finite=False)
        Y = scipy.linalg.lu_solve(factor, M @ V, check_finite=False)
        if not np.all(np.isfinite(Y)):
            return None
        Y = np.linalg.qr(Y)[0]
        try:
            x, S = scipy.linalg.eigh(_symmetric(Y.T @ A @ Y), _symmetric(Y.T @ M @ Y))
        except np.linalg.LinAlgError:
            return None
        V = Y @ S
    return x, V


def _of_range(A: np.ndarray, m: np.ndarray, Q: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The finite pairs of a pencil with a singular semidefinite M = Q diag(m) Q'.

    On the null space N of M, v = R y + N z obeys N'A (R y + N z) = 0, which gives z: what is left is a definite pencil.
    """
    R, N = Q[:, kept] / np.sqrt(m[kept]), Q[:, ~kept]
    inner, coupled = N.T @ A @ N, N.T @ A @ R
    pivots, U = scipy.linalg.eigh(_symmetric(inner), check_finite=False)
    if np.abs(pivots).min(initial=np.inf) <= 4 * A.shape[0] * _EPS * np.abs(A).max(initial=0.0):
        raise OptionError("A and M are singular on one vector: every number is an eigenvalue; remove that null vector")
    z = -U @ ((U.T @ coupled) / pivots[:, None])
    w, Y = scipy.linalg.eigh(_symmetric(R.T @ A @ R + coupled.T @ z), check_finite=False, driver="evd")
    return w, R @ Y + N @ (z @ Y)


def _symmetric(C: np.ndarray) -> np.ndarray:
    return 0.5 * (C + C.T)
