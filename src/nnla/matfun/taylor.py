"""exp of a batch of matrices by Taylor's series with scaling and squaring: what answers are checked against."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["nonnegative_exponential", "squared", "taylor_exponential", "with_rounding"]

_TERMS = 20  # beyond the constant one; 1 / 21! is 2e-20
_COEFFICIENTS = tuple(1 / math.factorial(k) for k in range(_TERMS + 1))
_EPS = float(np.finfo(float).eps)
_SMALL = 1.0  # norm from which matrices are halved
_MOST = 1100  # halvings; float64 has no matrix that needs more


def taylor_exponential(A: np.ndarray) -> np.ndarray:
    """e^A (B, n, n) of real or complex matrices; Inf or NaN where it leaves the range of float64.

    Notes
    -----
    Cost: 7 products of matrices and log2 ||A|| more, the norm being the smaller of the 1-norm and the infinity norm.

    References
    ----------
    Higham, Functions of Matrices (2008), section 10.3 (scaling and squaring). Paterson, Stockmeyer, SIAM J. Comput. 2
    (1973) (fewer products).
    """
    small, halvings = _halved(A)
    return squared(_series(small), halvings)


def with_rounding(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`taylor_exponential`, and an estimate (B,) of its relative error by rounding in the squarings.

    A square has twice the relative error of its root, and what rounding adds, times ||X||^2 / ||X^2||: that is where
    matrices far from normal lose digits, by any method.

    References
    ----------
    Higham, Functions of Matrices (2008), section 10.3.1 (rounding in the squaring phase).
    """
    small, halvings = _halved(A)
    X = _series(small)
    error = np.full(len(A), _EPS)
    for step in range(int(halvings.max(initial=0))):
        left = np.flatnonzero(halvings > step)
        before = np.abs(X[left]).max(axis=(1, 2))
        X[left] = X[left] @ X[left]
        growth = before * (before / np.abs(X[left]).max(axis=(1, 2)))
        error[left] = (2 * error[left] + _EPS) * np.maximum(growth, 1.0)
    return X, error


def _halved(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matrices 2^-s A of norm at most 1, and s (B,)."""
    size = np.minimum(np.abs(A).sum(1).max(-1, initial=0.0), np.abs(A).sum(2).max(-1, initial=0.0))
    halvings = np.clip(np.frexp(size / _SMALL)[1], 0, _MOST)
    down = -halvings[:, None, None]
    small = np.ldexp(A, down) if A.dtype.kind == "f" else np.ldexp(np.real(A), down) + 1j * np.ldexp(np.imag(A), down)
    return small, halvings


def _series(A: np.ndarray) -> np.ndarray:
    """Taylor's polynomial of degree 20, by powers up to the fourth: 7 products."""
    eye = np.eye(A.shape[-1])
    A2 = A @ A
    powers = (eye, A, A2, A2 @ A, A2 @ A2)
    total: np.ndarray | None = None
    for top in range(_TERMS - 4, -1, -4):
        block = sum(_COEFFICIENTS[top + j] * powers[j] for j in range(4))
        total = block + (_COEFFICIENTS[_TERMS] * powers[4] if total is None else total @ powers[4])
    assert total is not None
    return total


def squared(X: np.ndarray, times: np.ndarray) -> np.ndarray:
    """X^(2^times), matrix by matrix.

    Cost: as many products as the largest of ``times``, of those matrices that still want them.
    """
    order = np.argsort(-times, kind="stable")
    X, counts = X[order], times[order]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for step in range(int(counts[0]) if counts.size else 0):
            left = int(np.searchsorted(-counts, -step))  # those with more than `step` to go
            X[:left] = X[:left] @ X[:left]
    out = np.empty_like(X)
    out[order] = X
    return out


def nonnegative_exponential(Q: np.ndarray) -> np.ndarray:
    """e^Q (B, n, n) of matrices without negative entries off the diagonal, each entry to small relative error.

    The diagonal is shifted off: the series, and the squares, are sums of non-negative numbers, which lose no digits.

    Notes
    -----
    Cost: 7 products and log2 of the spread of the diagonal more. Relative error of an entry: some n eps 2^s after s
    squarings. No entry is negative; row sums of a rate matrix are 1 to that error, and nothing is renormalised.

    References
    ----------
    Xue, Ye, Math. Comp. 82 (2013) 1577-1596 (each entry of e^Q is well determined). Shao, Gao, Xue, SIAM J. Matrix
    Anal. Appl. 35 (2014) 317-338 (shifted Taylor series for such matrices).
    """
    n = Q.shape[-1]
    diagonal = np.arange(n)
    low = Q[:, diagonal, diagonal].min(-1)
    shifted = Q.copy()
    shifted[:, diagonal, diagonal] -= low[:, None]
    size = np.minimum(shifted.sum(1).max(-1), shifted.sum(2).max(-1))
    halvings = np.clip(np.frexp(np.maximum(size, -low) / _SMALL)[1], 0, _MOST)
    X = _series(np.ldexp(shifted, -halvings[:, None, None])) * np.exp(np.ldexp(low, -halvings))[:, None, None]
    return squared(X, halvings)
