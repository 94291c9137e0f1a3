"""Regression in the p-norm, min ||A x - b||_p^p for p > 1, smoothed so that Newton's method may be used.

The objective is F(x) = sum_i (r_i^2 + eps^2)^(p/2), r = A x - b. What a solver works with is scaled: the columns of A
to unit norm, b to a largest entry of one; the units of A and b then change no iterate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import get_blas_funcs, get_lapack_funcs, qr, solve_triangular

from nnla.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from nnla.operators.validation import asarray
from nnla.types import real_number

__all__ = ["Design", "LpRegression", "lp_regression", "lp_terms", "make_design"]

(_potrf,) = get_lapack_funcs(("potrf",), dtype=np.float64)
(_trsm,) = get_blas_funcs(("trsm",), dtype=np.float64)
_LARGEST_P = 32.0
_FAR = "A x is beyond b by more than float64 holds; start nearer, or rescale A or b"


def lp_terms(r: np.ndarray, p: float, eps: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Value, first and second derivatives by the residuals of sum_i (r_i^2 + eps^2)^(p/2).

    Parameters
    ----------
    r : (m,) residuals
    p, eps : exponent > 1, smoothing > 0, whose square is a number

    Returns
    -------
    F, s (m,), w (m,) : the gradient is A's, the Hessian A' diag(w) A; w > 0

    Notes
    -----
    Cost: some ten operations on m numbers, and a power of them.

    References
    ----------
    Algebraformer, appendix G, without smoothing; there w is p (p - 1) |r|^(p - 2).

    Examples
    --------
    >>> value, s, w = lp_terms(np.array([3.0, -4.0]), 2.0, 1e-9)
    >>> value, s.tolist(), w.tolist()
    (25.0, [6.0, -8.0], [2.0, 2.0])
    """
    with np.errstate(over="ignore", invalid="ignore"):  # far away: Inf says so
        square = r * r
        q = square + eps * eps
        if p == 2:
            return float(q.sum()), 2 * r, np.full(r.shape, 2.0)
        # at p = 1.5 by roots: the power takes as long as a product with A
        u = 1 / np.sqrt(np.sqrt(q)) if p == 1.5 else q ** (p / 2 - 1)
        value = float(u @ q)
        u *= p
        s = u * r
        square *= (p - 2) / q
        square += 1
        square *= u
    return value, s, square


@dataclass(frozen=True, eq=False)
class Design:
    """The matrix of a family of regressions with an orthonormal basis of its range; made once where b alone changes.

    In the basis the Hessian A' diag(w) A is Q' diag(w) Q, a mean of weights: its condition is that of w, not of A.

    Attributes
    ----------
    columns : (m, n) float64, A with columns of unit norm (zero columns stay)
    basis : (m, k), Q with orthonormal columns; k is the rank
    triangle : (k, n), Q' columns; upper triangular in the columns ``kept``
    kept : (k,) columns of A; those that depend on these, numerically, get the coefficient 0
    largest, norms : (n,) largest entries of the columns of A and their norms relative to these
    """

    columns: np.ndarray
    basis: np.ndarray
    triangle: np.ndarray
    kept: np.ndarray
    largest: np.ndarray
    norms: np.ndarray

    @cached_property
    def inverses(self) -> np.ndarray:
        """(n,) reciprocals of the norms of the columns of A."""
        return 1 / self.norms / self.largest

    @cached_property
    def moderate(self) -> bool:
        """Whether the scales of the columns are far from the ends of float64."""
        return bool(self.largest.min() > 1e-100 and self.largest.max() < 1e100)


@dataclass(frozen=True, eq=False)
class LpRegression:
    """min over x of sum_i ((A x - b)_i^2 + eps^2)^(p/2), as `lp_regression` makes it.

    Attributes
    ----------
    design : the matrix, shared by the problems of a family
    target : (m,) b, the largest entry scaled to one
    unit : the largest entry of b; 1 where b is zero
    p : exponent, > 1
    eps : smoothing in the units of ``target``

    Notes
    -----
    Solvers work with z (k,), the coefficients of ``design.basis`` for ``target``.
    """

    design: Design
    target: np.ndarray = field(repr=False)
    unit: float
    p: float
    eps: float

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n) of A."""
        return self.design.basis.shape[0], self.design.norms.size

    @property
    def start(self) -> np.ndarray:
        """z (k,) of the least squares solution; a product with Q'."""
        return self.design.basis.T @ self.target

    def value(self, x: Any) -> float:
        """The objective at x, in the units of b to the power p.

        Raises
        ------
        ShapeError, DTypeError
            x is no real vector (n,).
        NonFiniteError
            x is not finite, or the value has no number in float64.

        Notes
        -----
        Cost: a product with A.
        """
        return self._in_units(lp_terms(self._residual(x), self.p, self.eps)[0], self.p)

    def gradient(self, x: Any) -> np.ndarray:
        """The gradient (n,) at x, in the units of A and b; raises as `value`.

        Cost: a product with A and one with A'.
        """
        s = lp_terms(self._residual(x), self.p, self.eps)[1]
        d = self.design
        return self._in_units(self.design.columns.T @ s, self.p - 1, d.norms, d.largest)

    def hessian(self, x: Any) -> np.ndarray:
        """The Hessian (n, n) at x, in the units of A and b; raises as `value`.

        Cost: a product of matrices, m n^2 multiplications.
        """
        w = lp_terms(self._residual(x), self.p, self.eps)[2]
        d = self.design
        half = np.sqrt(w)[:, None] * d.columns
        H = self._in_units(half.T @ half, self.p - 2, d.norms, d.largest)
        return self._in_units(H.T, 0.0, d.norms, d.largest).T

    def scaled(self, x: Any) -> np.ndarray:
        """The coefficients z (k,) of the basis for x (n,); raises as `value`."""
        y = self._scaled(_vector(x, "x", self.shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):
            z = self.design.triangle @ y
        if not np.all(np.isfinite(z)):
            raise NonFiniteError(_FAR)
        return z

    def coefficients(self, z: np.ndarray) -> np.ndarray:
        """Coefficients y (n,) of ``design.columns`` for those of the basis: Q z = columns y."""
        d = self.design
        y = np.zeros(self.shape[1])
        y[d.kept] = solve_triangular(d.triangle[:, d.kept], z, check_finite=False)
        return y

    def unscaled(self, y: np.ndarray) -> np.ndarray:
        """x (n,) for coefficients y (n,) of ``design.columns``.

        Raises
        ------
        NonFiniteError
            x has no numbers in float64.
        """
        d = self.design
        if d.moderate and 1e-100 < self.unit < 1e100:
            return y * d.inverses * self.unit
        with np.errstate(over="ignore", under="ignore"):
            big = np.maximum(self.unit, 1 / d.largest)  # in the order that leaves the range last
            small = np.minimum(self.unit, 1 / d.largest)
            x = y / d.norms * small * big
        lost = ~np.isfinite(x) | ((y != 0) & (np.abs(x) < 1e-300))
        lost &= np.abs(y) > 1e-16 * float(np.abs(y).max(initial=0.0))
        if np.any(lost):
            raise NonFiniteError("x leaves the range of float64; rescale A or b")
        return x

    def residual(self, y: np.ndarray) -> np.ndarray:
        """columns y - target, (m,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.design.columns @ y - self.target

    def _residual(self, x: Any) -> np.ndarray:
        return self.residual(self._scaled(_vector(x, "x", self.shape[1])))

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        """Coefficients y (n,) of the columns for x (n,)."""
        d = self.design
        with np.errstate(over="ignore", invalid="ignore"):
            y = (x / self.unit * d.largest) * d.norms
            if not np.all(np.isfinite(y)):
                y = (x * d.largest) / self.unit * d.norms
        if not np.all(np.isfinite(y)):
            raise NonFiniteError(_FAR)
        return y

    def _in_units(self, value: Any, power: float, *columns: np.ndarray) -> Any:
        """value times unit^power and, row by row, the scales of the columns; refused where it leaves float64."""
        factors = np.log(self.unit) * power + sum((np.log(c) for c in columns), np.zeros(()))
        factors = factors.reshape(factors.shape + (1,) * (np.ndim(value) - factors.ndim))
        with np.errstate(over="ignore", under="ignore"):
            half = np.exp(0.5 * factors)
            found = (value * half) * half
        if not np.all(np.isfinite(found)) or np.any((value != 0) & (found == 0)):
            raise NonFiniteError("the objective or a derivative leaves the range of float64; rescale A or b")
        return found if columns else float(found)


def lp_regression(A: Any, b: Any, p: float = 1.5, *, smoothing: float = 1e-3) -> LpRegression:
    """The problem min ||A x - b||_p^p, smoothed.

    Parameters
    ----------
    A : (m, n), m >= n, dense; or the `Design` of an earlier problem, whose basis is used again
    b : (m,)
    p : exponent, 1 < p <= 32
    smoothing : eps over the root mean square of b, 1e-12 to 1; what is minimised is the sum of
        (r_i^2 + eps^2)^(p/2)

    Returns
    -------
    LpRegression

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, OptionError

    Notes
    -----
    Cost: 2 m n^2 to 4 m n^2 multiplications for a new A, nothing for a `Design`. Stored: two arrays of the size of A,
    which is not modified.

    References
    ----------
    Algebraformer, section 6 and appendix G, which names the need of smoothing and no eps.

    Examples
    --------
    >>> problem = lp_regression(np.array([[1.0], [1.0], [1.0]]), np.array([0.0, 0.0, 9.0]), 2.0)
    >>> problem.gradient([3.0]).round(12).tolist()
    [0.0]
    """
    p, smoothing = real_number(p, "p"), real_number(smoothing, "smoothing")
    if not 1 < p <= _LARGEST_P:
        raise OptionError(f"p must be above 1 and at most {_LARGEST_P:g}, got {p:g}; for p = 1 use linear programming")
    if not 1e-12 <= smoothing <= 1:
        raise OptionError(f"smoothing must be from 1e-12 to 1, got {smoothing:g}")
    design = A if type(A) is Design else make_design(A)
    b = _vector(b, "b", design.columns.shape[0])
    unit = float(np.abs(b).max()) or 1.0
    target = b / unit
    eps = smoothing * (math.sqrt(float(target @ target) / target.size) or 1.0)
    return LpRegression(design, target, unit, p, eps)


def make_design(A: Any) -> Design:
    """The `Design` of a matrix (m, n) for `lp_regression`, which raises the same errors and says what it costs."""
    if hasattr(A, "toarray"):
        A = A.toarray()
    array = asarray(A, "A")
    if array.dtype.kind not in "iuf":
        raise DTypeError(f"A has dtype {array.dtype}; pass real numbers")
    if array.ndim != 2 or 0 in array.shape or array.shape[0] < array.shape[1]:
        raise ShapeError(f"A has shape {array.shape}; regression needs (m, n) with m >= n >= 1")
    array = array.astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise NonFiniteError("A contains NaN or Inf (or numbers beyond float64); repair it first")
    largest = np.abs(array).max(axis=0)
    largest[largest == 0] = 1.0
    if largest.min() < 1e-290:
        raise NonFiniteError("a column of A has no entry above 1e-290; rescale A")
    array /= largest
    norms = np.sqrt(np.einsum("ij,ij->j", array, array))
    norms[norms == 0] = 1.0
    array /= norms
    columns = np.ascontiguousarray(array)
    return Design(columns, *_basis(columns), largest, norms)


def _basis(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q, Q' columns and the columns kept: by Cholesky's factor of the Gram matrix where that does, else Householder's.

    Twice Cholesky is as good as Householder up to a condition of some 1e8 (Yamamoto et al., ETNA 44 (2015) 306-326).
    """
    n = columns.shape[1]
    Q, R = columns, np.eye(n)
    for _ in range(3):
        G = Q.T @ Q
        defect = float(np.abs(G - np.eye(n)).max(initial=0.0))
        if defect < 1e-14 * (n + 10):
            return np.ascontiguousarray(Q), R, np.arange(n)
        if Q is not columns and defect > 0.1:
            break
        U, info = _potrf(G)
        if info:
            break
        Q, R = _trsm(1.0, U, Q.T, trans_a=1).T, np.triu(U) @ R
    factors: Any = qr(columns, mode="economic", pivoting=True)
    Q, R, order = factors
    size = np.abs(np.diag(R))
    rank = int(np.sum(size > 4 * np.finfo(float).eps * columns.shape[0] * size[0])) if size[0] > 0 else 0
    triangle = np.empty((rank, n))
    triangle[:, order] = R[:rank]
    return np.ascontiguousarray(Q[:, :rank]), triangle, order[:rank]


def _vector(x: Any, name: str, n: int) -> np.ndarray:
    x = asarray(x, name)
    if x.dtype.kind not in "iuf":
        raise DTypeError(f"{name} has dtype {x.dtype}; pass real numbers")
    if x.shape != (n,):
        raise ShapeError(f"{name} has shape {x.shape}; it must be ({n},)")
    x = x.astype(np.float64)
    if not np.all(np.isfinite(x)):
        raise NonFiniteError(f"{name} contains NaN or Inf; repair it first")
    return x
