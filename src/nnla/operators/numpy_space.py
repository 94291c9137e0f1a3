"""Vectors of NumPy on the host, in the native kernels where those can take them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from nnla.errors import DTypeError, OptionError, ShapeError
from nnla.kernels import native
from nnla.kernels.arrays import plain
from nnla.kernels.limits import why_not_native
from nnla.kernels.system import NativeSystem
from nnla.operators.gradients import refuse_gradient
from nnla.operators.kinds import to_numpy
from nnla.operators.spaces import Apply, ScalingLike, Space, over_scaling
from nnla.operators.validation import asarray
from nnla.polynomials.recurrence import Recurrence

__all__ = ["NUMPY", "NumpySpace", "Products"]

_NATIVE_SCALINGS = ("none", "jacobi")  # that the native polynomial works on top of


class NumpySpace(Space):
    """NumPy arrays; matrices are a ``csr_array``, a dense array, or `Products`.

    >>> NUMPY.inner(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([1., 4.])
    >>> NUMPY.norm(np.array([3e-200, 4e-200])) > 0
    True
    """

    name = "numpy"

    def inner(self, x: Any, y: Any) -> Any:
        if x.ndim == 1:
            # Not BLAS: its threads would fight with those of the kernels, and its sums depend on their number.
            if (
                native is not None
                and x.dtype == y.dtype == np.float64
                and x.flags.c_contiguous
                and y.flags.c_contiguous
            ):
                return native.dot(x, y)
            return float(np.dot(x, y))
        return np.einsum("ij,ij->j", x, y, dtype=np.float64)

    def _square(self, x: Any) -> Any:
        if native is not None and x.ndim == 1 and x.dtype == np.float64 and x.flags.c_contiguous:
            return native.dot(x, x)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            return self.inner(x, x)

    def finite(self, x: Any) -> bool:
        return bool(np.isfinite(x).all())

    def zeros_like(self, x: Any) -> np.ndarray:
        return np.zeros(np.shape(x), dtype=np.asarray(x).dtype)

    def row(self, values: np.ndarray, like: Any) -> Any:
        return float(values[0]) if like.ndim == 1 else np.asarray(values)

    def host(self, x: Any) -> np.ndarray:
        return np.asarray(x)

    def own(self, x: Any) -> np.ndarray:
        if type(x) is not np.ndarray:
            refuse_gradient(x, "the vector")
            x = to_numpy(x)
        if x.dtype == np.float64:
            return x
        if x.dtype.kind not in "biuf":
            raise DTypeError(f"an array has dtype {x.dtype}; nnla needs real numbers")
        return x.astype(np.float64)

    def _contiguous(self, x: Any) -> np.ndarray:
        return np.ascontiguousarray(x)

    def diagonal(self, matrix: Any) -> np.ndarray | None:
        return None if isinstance(matrix, Products) else np.array(matrix.diagonal(), dtype=np.float64)

    def dense(self, matrix: Any) -> np.ndarray | None:
        if isinstance(matrix, Products):
            return None
        return matrix.toarray() if sp.issparse(matrix) else matrix

    def scaled(self, matrix: Any, exponents: np.ndarray) -> Any:
        if isinstance(matrix, Products):
            return _ScaledProducts(matrix, exponents)
        if not sp.issparse(matrix):
            return np.ldexp(matrix, exponents[:, None] + exponents)
        powers = np.repeat(exponents, np.diff(matrix.indptr)) + exponents[matrix.indices]
        scaled = sp.csr_array((np.ldexp(matrix.data, powers), matrix.indices, matrix.indptr), shape=matrix.shape)
        scaled.has_canonical_format = True
        return scaled

    def rounding(self, matrix: Any, x: Any) -> np.ndarray | None:
        return None if isinstance(matrix, Products) else abs(matrix) @ np.abs(x)

    def native(self, matrix: Any, diagonal: Callable[[], Any]) -> NativeSystem | None:
        if not sp.issparse(matrix) or why_not_native(matrix) is not None:
            return None
        return NativeSystem(matrix, diagonal())

    def quickest_precision(self, forms: NativeSystem | None, scaling: ScalingLike) -> str:
        """float32 where the native kernels can use it, at half the memory traffic."""
        if forms is None or scaling.name not in _NATIVE_SCALINGS:
            return "float64"
        return "float32" if forms.holds("float32", scaled=scaling.name == "jacobi") else "float64"

    def polynomial(
        self,
        matrix: Any,
        forms: NativeSystem | None,
        recurrence: Recurrence,
        scaling: ScalingLike | None,
        precision: str,
    ) -> tuple[Apply, Any]:
        name = "none" if scaling is None else scaling.name
        scaled = name == "jacobi"
        if forms is not None and name in _NATIVE_SCALINGS and forms.holds(precision, scaled=scaled):
            made = forms.polynomial(recurrence, precision, scaled=scaled)
            if made is not None:
                return partial(_natively, made), made
        if precision != "float32" or not sp.issparse(matrix):
            return super().polynomial(matrix, forms, recurrence, scaling, precision)
        return _in_single(matrix, recurrence, None if scaling is None else scaling.solve), None


NUMPY = NumpySpace()


def _natively(polynomial: Any, z: Any) -> np.ndarray:
    z = plain(z, np.float64)
    out = np.empty_like(z)
    if z.ndim == 1 or z.shape[1] == 1:
        polynomial.apply(z.reshape(-1), out.reshape(-1))
    else:
        polynomial.apply_block(z, out)
    return out


def _in_single(matrix: Any, recurrence: Recurrence, solve: Apply | None) -> Apply:
    """The polynomial over a float32 copy of a sparse matrix."""
    largest = float(np.abs(matrix.data).max())
    if not 1e-30 < largest < 1e30:
        raise OptionError("the entries of A leave the range of float32; rescale A or use dtype=None")
    single = matrix.astype(np.float32)
    given: Apply = (lambda v: v) if solve is None else solve
    step = over_scaling(recurrence, lambda v: given(single @ v).astype(np.float32, copy=False), None)
    return lambda z: step(np.asarray(given(z)).astype(np.float32)).astype(np.float64)


class Products:
    """An operator known only by its products, made safe: a ``LinearOperator``, or any object with ``@``.

    The result is copied: a matvec may well return its own work buffer, or x itself, and would then change earlier
    vectors of a Krylov method behind its back.
    """

    def __init__(self, given: Any, n: int, name: str = "A") -> None:
        self._given, self.shape, self._name = given, (n, n), name
        self._linear = isinstance(given, LinearOperator)
        self._blocks = not self._linear or _has_matmat(given)

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        if x.ndim == 2 and not self._blocks:
            result = np.empty(x.shape)
            for j in range(x.shape[1]):
                result[:, j] = self @ np.ascontiguousarray(x[:, j])
            return result
        if not self._linear:
            y = self._given @ x
        elif x.ndim == 1:
            y = self._given.matvec(x)
        else:
            y = self._given.matmat(x)
        y = asarray(y, f"{self._name} @ x")
        if y.dtype.kind not in "iuf":
            raise DTypeError(f"{self._name} @ x has dtype {y.dtype} for a real vector x; nnla needs real numbers")
        if y.shape != x.shape and not (x.ndim == 1 and y.shape == (self.shape[0], 1)):
            raise ShapeError(f"{self._name} @ x has shape {y.shape} for x of shape {x.shape}; it must keep the shape")
        return np.array(y, dtype=np.float64, order="C").reshape(x.shape)


class _ScaledProducts(Products):
    """S A S by products, with S = diag(2^exponents)."""

    def __init__(self, matrix: Products, exponents: np.ndarray) -> None:
        self._matrix, self._exponents, self.shape = matrix, exponents, matrix.shape

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        powers = self._exponents if x.ndim == 1 else self._exponents[:, None]
        return np.ldexp(self._matrix @ np.ldexp(x, powers), powers)


def _has_matmat(A: LinearOperator) -> bool:
    # SciPy's own fallback hands columns of shape (n, 1) to a matvec that may only know (n,); ours does not.
    if type(A)._matmat is LinearOperator._matmat:
        return False
    return getattr(A, "_CustomLinearOperator__matmat_impl", A) is not None
