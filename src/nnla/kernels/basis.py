"""The vector work of Lanczos on a basis of rows: inner products, projections, combinations, the step as a whole.

Native where the kernels are there, else by NumPy. Vectors are rows (m, n), contiguous and float64; blocks have few of
them. Results are bitwise the same in every run.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nnla.kernels import native

__all__ = ["Extension", "combine", "extend", "products", "project", "squares", "transposed"]

_WIDEST = 8  # vectors of a native block


class Extension(NamedTuple):
    """X' = H' V + L Q: how the columns X of a block lie to the basis, and what is left of them.

    Attributes
    ----------
    H : (m, b), V X
    L : (b, b) lower triangular; None where the vectors that are left are (nearly) dependent, or nothing is left: no Q
        has been made then, and W is what is left, as rows
    before : (b,) norms of the columns of X; NaN where something is not finite
    """

    H: np.ndarray
    L: np.ndarray | None
    before: np.ndarray


def products(V: np.ndarray, W: np.ndarray) -> np.ndarray:
    """V W', (m, b).

    Cost: 2 m b n operations, V read once.

    Examples
    --------
    >>> products(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[2.0, 3.0]])).tolist()
    [[2.0], [5.0]]
    """
    if native is None:
        return V @ W.T
    H = np.empty((V.shape[0], W.shape[0]))
    native.basis_products(V, W, H)
    return H


def project(V: np.ndarray, W: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """Take H' V away from W in place, H = V Z'; returns H, (m, b).

    Z is M W where the rows of V are orthonormal in an M, else W itself.

    Cost: 4 m b n operations, V read twice.

    Examples
    --------
    >>> W = np.array([[2.0, 3.0]])
    >>> project(np.array([[1.0, 0.0]]), W, W).tolist(), W.tolist()
    ([[2.0]], [[0.0, 3.0]])
    """
    H = products(V, Z)
    if native is None:
        W -= H.T @ V
    else:
        native.basis_subtract(V, H, W)
    return H


def combine(V: np.ndarray, C: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The rows C' V, (p, n) for C (m, p), chunk by chunk: ``out`` may be rows of V.

    Cost: 2 m p n operations; nothing stored beside the result.

    Examples
    --------
    >>> V = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> combine(V, np.array([[1.0], [2.0]]), out=V[:1]).tolist()
    [[1.0, 2.0]]
    """
    if native is None:
        if out is None:
            return C.T @ V
        out[:] = C.T @ V
        return out
    if out is None:
        out = np.empty((C.shape[1], V.shape[1]))
    native.basis_combine(V, np.ascontiguousarray(C), out)
    return out


def extend(
    V: np.ndarray, end: int, low: int, X: np.ndarray, W: np.ndarray, scale: float, negligible: float
) -> Extension | None:
    """Make the columns of X orthogonal to ``V[:end]``; an orthonormal basis of what is left goes into ``V[end:]``.

    Parameters
    ----------
    V : (rows, n), the first ``end`` of them orthonormal
    low : the first of the rows that X has something to do with but for rounding: it is made orthogonal to those from
        here on first, and to all then
    X, W : (n, b), and room for its columns as rows, (b, n)
    scale, negligible : vectors shorter than ``negligible`` times the larger of ``scale`` and the norms of X are nothing

    Returns
    -------
    Extension of the rows X'; None where it is not for these kernels: there are none, b is not 1 to 8, X is no
    contiguous float64 array, or there is no room.

    Notes
    -----
    The block is orthonormalised by Cholesky's factor of its Gram matrix, twice where rounding shows, and made
    orthogonal to the basis once more where most of it was in its span.

    Cost: V read twice, three times with ``low == 0``: the products that come after a difference are made of the same
    columns at once.

    References
    ----------
    Yamamoto, Nakatsukasa, Yanagisawa, Fukaya, Roundoff error analysis of the CholeskyQR2 algorithm, ETNA 44 (2015).

    Examples
    --------
    >>> V = np.eye(3)
    >>> extension = extend(V, 1, 0, np.array([[3.0], [4.0], [0.0]]), np.empty((1, 3)), 0.0, 1e-15)
    >>> extension is None or (extension.H.tolist(), extension.L.tolist())  # None without the native kernels
    ([[3.0]], [[4.0]])
    """
    b = W.shape[0]
    if native is None or not 0 < b <= _WIDEST or end + b > V.shape[0] or not _plain(X):
        return None
    H, L, before = np.empty((end, b)), np.empty((b, b)), np.empty(b)
    state = native.basis_extend(V, end, low, X, W, scale, negligible, H, L, before)
    if state == 2:
        before[:] = np.nan
    return Extension(H, L if state == 0 else None, before)


def squares(X: np.ndarray, factors: np.ndarray | None = None, Y: np.ndarray | None = None) -> np.ndarray:
    """Squared norms of the rows of X, or of X less ``factors`` times those of Y.

    Cost: X and Y read once.

    Examples
    --------
    >>> squares(np.array([[3.0, 4.0]]), np.array([1.0]), np.array([[0.0, 4.0]])).tolist()
    [9.0]
    """
    if native is None:
        R = X if factors is None else X - factors[:, None] * Y
        return np.einsum("ij,ij->i", R, R)
    out = np.empty(X.shape[0])
    native.basis_squares(X, np.zeros(X.shape[0]) if factors is None else factors, X if Y is None else Y, out)
    return out


def transposed(X: np.ndarray) -> np.ndarray:
    """X' as a new contiguous array: rows of vectors to columns, and back.

    Examples
    --------
    >>> transposed(np.array([[1.0, 2.0]])).tolist()
    [[1.0], [2.0]]
    """
    if native is None or not _plain(X):
        return np.array(X.T, dtype=np.float64, order="C")
    out = np.empty(X.shape[::-1])
    native.transpose(X, out)
    return out


def _plain(X: np.ndarray) -> bool:
    return X.dtype == np.float64 and X.dtype.isnative and X.flags.c_contiguous and X.flags.aligned
