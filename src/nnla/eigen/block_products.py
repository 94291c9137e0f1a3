"""Products and Chebyshev filters of blocks of vectors, one vector a row: native where the operator has such a form."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.eigen.iteration import multiply
from nnla.errors import NonFiniteError
from nnla.kernels.arrays import plain
from nnla.operators.operator import Operator

__all__ = ["BlockProducts", "correction_coefficients", "filter_coefficients"]

_AT_A_TIME = 32  # vectors that an operator without a native form gets: bounds what it may need for itself


class BlockProducts:
    """s A for blocks of vectors, counted by the operator.

    Parameters
    ----------
    op : Operator, A
    sign : s, 1.0 or -1.0

    Attributes
    ----------
    native : whether the kernels do the work
    single : whether filters may run in float32

    Notes
    -----
    Cost: a copy of the values in float32 for the native form, made once for a matrix.
    """

    def __init__(self, op: Operator, sign: float = 1.0) -> None:
        self._op, self._sign = op, sign
        forms = op.native
        self._blocks: Any = None if forms is None else forms.blocks()
        self.native = self._blocks is not None
        self.single = forms is not None and forms.holds("float32", scaled=False)

    def product(self, X: np.ndarray, out: np.ndarray) -> np.ndarray:
        """s A x for each row x of X (b, n), into `out` (b, n). Cost: b products in float64."""
        if self._blocks is not None:
            self._op.count(X.shape[0])
            self._blocks.product(plain(X, np.float64), out)
        else:
            for first in range(0, X.shape[0], _AT_A_TIME):
                out[first : first + _AT_A_TIME] = self._times(X[first : first + _AT_A_TIME].T).T
        if self._sign < 0:
            np.negative(out, out=out)
        return out

    def filtered(
        self,
        R: np.ndarray,
        scale: np.ndarray,
        gamma: np.ndarray,
        interval: tuple[float, float],
        out: np.ndarray,
        *,
        single: bool = False,
    ) -> np.ndarray:
        """The sum of gamma_j U_(d-1-j)(S) over j = 0 ... d - 1, for each row of R times its scale, into `out`.

        Parameters
        ----------
        R : (b, n)
        scale : (b,)
        gamma : (d, b), a coefficient for each vector
        interval : (cut, far) of s A, mapped to 1 and -1 by S
        out : (b, n)
        single : in float32, which operators without a native form leave out; where that overflows, in float64, and
            ``single`` is False from then on

        Raises
        ------
        NonFiniteError
            The values leave the range of float64.

        Notes
        -----
        U_i is the Chebyshev polynomial of the second kind, the sum is made by ``z <- 2 S z - z' + gamma_j r``.
        Cost: (d - 1) b products.
        """
        cut, far = interval
        centre, half = (cut + far) / 2, (far - cut) / 2
        if self._blocks is not None:
            self._op.count((gamma.shape[0] - 1) * R.shape[0])
            # S is (centre - s A) / half, and the kernels know A
            s = self._sign
            self._blocks.filter(R, plain(scale), plain(gamma), s * centre, s * half, out, single)
            if single and not np.isfinite(out).all():
                self.single = False
                return self.filtered(R, scale, gamma, interval, out)
        else:
            self._filtered_by_products(R, scale, gamma, centre, half, out)
        if not np.isfinite(out).all():
            raise NonFiniteError("a product with A overflowed in a filter; rescale A")
        return out

    def _filtered_by_products(
        self, R: np.ndarray, scale: np.ndarray, gamma: np.ndarray, centre: float, half: float, out: np.ndarray
    ) -> None:
        for first in range(0, R.shape[0], _AT_A_TIME):
            rows = slice(first, first + _AT_A_TIME)
            r = np.ascontiguousarray((scale[rows, None] * R[rows]).T)
            before, z = np.zeros_like(r), gamma[0, rows] * r
            for g in gamma[1:, rows]:
                after = (2 / half) * (centre * z - self._sign * self._times(z)) - before + g * r
                before, z = z, after
            out[rows] = z.T

    def _times(self, X: np.ndarray) -> np.ndarray:
        return multiply(self._op, np.ascontiguousarray(X))


def filter_coefficients(degree: int, vectors: int) -> np.ndarray:
    """(degree + 1, vectors): with these `BlockProducts.filtered` is T_degree(S), the same for every vector.

    Since ``T_d = (U_d - U_(d-2)) / 2``.

    Examples
    --------
    >>> filter_coefficients(3, 1).T
    array([[ 0.5,  0. , -0.5,  0. ]])
    """
    gamma = np.zeros((degree + 1, vectors))
    gamma[0], gamma[2:3] = 0.5, -0.5
    return gamma


def correction_coefficients(t: np.ndarray, half: float, degree: int) -> np.ndarray:
    """(degree, vectors): with these `BlockProducts.filtered` corrects Ritz vectors, given their residuals.

    Parameters
    ----------
    t : (vectors,) Ritz values as the filter sees them, (centre - theta) / half, above 1
    half : half the length of the damped interval
    degree : d, at least 1

    Returns
    -------
    Of q in ``T_d(S) x / T_d(t) = x + q(A) r`` with ``r = A x - theta x``: all numbers are at most 2 / half.

    Notes
    -----
    ``T_d(S) - T_d(t)`` is ``(S - t)`` times a polynomial, and ``(S - t) x = -r / half``. The difference z_j of
    ``T_j(S) x`` and ``T_j(t) x`` obeys ``z_(j+1) = 2 S z_j - z_(j-1) - (2 / half) T_j(t) r``, z_0 = 0.

    References
    ----------
    Kodali, Ramakrishnan, Motamarri, Residual-based Chebyshev filtered subspace iteration for Hermitian eigenvalue
    problems tolerant to inexact matrix-vector products, arXiv:2503.22652 (2025): the recurrence on residuals.
    """
    rate = np.arccosh(np.maximum(t, 1.0))
    j = np.arange(degree)[:, None]
    # the logarithm of 2 T_j(t)
    size, last = rate * j + np.log1p(np.exp(-2 * rate * j)), rate * degree + np.log1p(np.exp(-2 * rate * degree))
    gamma = -(2 / half) * np.exp(size - last)
    gamma[0] /= 2
    return gamma
