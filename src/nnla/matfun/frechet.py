"""Derivatives of f(A): L(A, E), by divided differences at eigenvalues, or by a block triangular matrix."""

from __future__ import annotations

import numpy as np

from nnla.matfun.exact import exact
from nnla.matfun.options import read_batch, transposed

__all__ = ["divided_differences", "frechet"]


def frechet(A: np.ndarray, E: np.ndarray, f: str) -> np.ndarray:
    """L(A, E) (B, n, n), the derivative of f at A in the direction E; NaN where f(A) does not exist.

    Parameters
    ----------
    A, E : (B, n, n) float64

    Notes
    -----
    Cost: symmetric A a batched eigendecomposition and four products; others f of a matrix of size 2 n.

    References
    ----------
    Daleckii, Krein (1965), as theorem 3.11 of Higham, Functions of Matrices (2008); Mathias, SIAM J. Matrix Anal. Appl.
    17 (1996) 610-620 (block triangular matrix).
    """
    n = A.shape[-1]
    out = np.full(A.shape, np.nan)
    symmetric = read_batch(A, f).symmetric
    if symmetric.any():
        S = A[symmetric]
        w, Q = np.linalg.eigh((S + transposed(S)) / 2)
        turned = transposed(Q) @ E[symmetric] @ Q
        with np.errstate(invalid="ignore"):  # there is no derivative at 0: NaN
            out[symmetric] = Q @ (divided_differences(f, w) * turned) @ transposed(Q)
    general = np.flatnonzero(~symmetric)
    if general.size:
        # the derivative is linear in E: a size near that of A keeps the block matrix balanced
        unit = np.abs(E[general]).max(axis=(1, 2)) / np.maximum(
            np.abs(A[general]).max(axis=(1, 2)), np.finfo(float).tiny
        )
        unit = np.ldexp(1.0, np.clip(np.frexp(unit)[1], -1000, 1000))[:, None, None]
        block = np.zeros((general.size, 2 * n, 2 * n))
        block[:, :n, :n] = block[:, n:, n:] = A[general]
        block[:, :n, n:] = E[general] / unit
        out[general] = exact(read_batch(block, f), f)[0][:, :n, n:] * unit
    return out


def divided_differences(f: str, w: np.ndarray) -> np.ndarray:
    """f[w_i, w_j] (B, n, n), the derivative on the diagonal and at equal numbers; in forms that do not cancel.

    Parameters
    ----------
    w : (B, n) eigenvalues

    Examples
    --------
    >>> divided_differences("sqrt", np.array([[1.0, 9.0]])).tolist()
    [[[0.5, 0.25], [0.25, 0.16666666666666666]]]
    """
    a, b = w[:, :, None], w[:, None, :]
    half, middle = (a - b) / 2, (a + b) / 2
    with np.errstate(all="ignore"):
        if f == "exp":
            small = np.abs(half) < 1e-3
            ratio = np.where(small, 1 + half**2 / 6, np.sinh(half) / np.where(small, 1.0, half))
            # where sinh would overflow, the larger exponential rules
            far = np.exp(np.maximum(a, b)) * -np.expm1(-2 * np.abs(half)) / np.where(small, 1.0, 2 * np.abs(half))
            return np.where(np.abs(half) > 1.0, far, np.exp(middle) * ratio)
        if f == "sqrt":
            root = np.sqrt(np.maximum(w, 0.0))
            return 1.0 / (root[:, :, None] + root[:, None, :])
        if f == "inv_sqrt":
            root = np.sqrt(w)
            a, b = root[:, :, None], root[:, None, :]
            return -1.0 / (a * b * (a + b))
        if f == "log":
            z = half / middle
            small = np.abs(z) < 1e-4
            ratio = np.where(small, 1 + z**2 / 3, np.arctanh(z) / np.where(small, 1.0, z))
            ratio = np.where(np.abs(z) < 0.9, ratio, np.log(a / b) / np.where(z == 0, 1.0, 2 * z))
            return ratio / middle
        if f == "sign":
            s = np.sign(w)
            change = s[:, :, None] - s[:, None, :]
            return np.where(change == 0, 0.0, change / np.where(change == 0, 1.0, 2 * half))
        sinc = np.sinc(half / np.pi)
        return (np.cos(middle) if f == "sin" else -np.sin(middle)) * sinc
