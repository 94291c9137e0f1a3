"""What a call of `nnla.matfun` may ask for, and the matrices as it computes with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from nnla.operators.arrays import is_torch
from nnla.operators.validation import asarray, dtype_error
from nnla.types import real_number

__all__ = [
    "FUNCTIONS",
    "LEARNED",
    "LN4",
    "METHODS",
    "Batch",
    "check_options",
    "parts",
    "read_batch",
    "rounding_unit",
    "transposed",
]

FUNCTIONS = ("exp", "log", "sqrt", "sign", "sin", "cos", "inv_sqrt")
LEARNED = ("equivariant", "transformer")
METHODS = ("auto", "schur", "polynomial", *LEARNED, "relu")
LN4 = float(np.log(4.0))
_FAR = 100  # exponent of 2 from which matrices are brought near 1 before their squares are formed
_COVARIANT = ("sign", "sqrt", "inv_sqrt", "log")  # whose units can be taken off and put back
_PART = 1 << 21  # entries that one call works on: they stay in the cache, and Ctrl-C waits for no more
_SYMMETRIC = 8  # roundings of float64, relative to the largest entry, that a symmetric matrix may be off by


@dataclass(frozen=True, eq=False)
class Batch:
    """Matrices as float64, with what their answers go back to.

    Attributes
    ----------
    A : (B, n, n) float64, 4^-k times what was given; exactly symmetric where `symmetric` says so
    k : (B,) integers; 0 but for matrices in extreme units
    symmetric : (B,) whether the matrix is symmetric, to rounding in float64
    shape : of what was given
    dtype : NumPy's name of the dtype of the answer
    eps : rounding unit of the entries that were given
    """

    A: np.ndarray
    k: np.ndarray
    symmetric: np.ndarray
    shape: tuple[int, ...]
    dtype: str
    eps: float

    @property
    def n(self) -> int:
        return self.A.shape[-1]

    def restored(self, X: np.ndarray, f: str) -> np.ndarray:
        """f of what was given (B, n, n), from f of ``A``."""
        k = self.k[:, None, None]
        if f == "log":
            return X + k * LN4 * np.eye(self.n)
        if f in ("sqrt", "inv_sqrt"):
            return np.ldexp(X, k if f == "sqrt" else -k)
        return X

    def place(self, index: int) -> str:
        """What error messages call a matrix."""
        if len(self.shape) == 2:
            return "A"
        where = np.unravel_index(index, self.shape[:-2])
        return f"A[{', '.join(str(int(i)) for i in where)}]"


def check_options(method: Any, rtol: Any, fallback: Any, undefined: Any, engine: Any) -> float:
    """The tolerance, after all options have been looked at.

    Raises
    ------
    OptionError
    """
    if not isinstance(method, str) or method not in METHODS:
        raise OptionError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
    tolerance = real_number(rtol, "rtol")
    if not 0 < tolerance < 1:
        raise OptionError(f"rtol must be between 0 and 1, got {tolerance:g}")
    if not isinstance(fallback, (bool, np.bool_)):
        raise OptionError(f"fallback must be True or False, got {fallback!r}")
    if not isinstance(undefined, str) or undefined not in ("raise", "nan"):
        raise OptionError(f"undefined must be 'raise' or 'nan', got {undefined!r}")
    if engine is not None and method not in LEARNED:
        raise OptionError(f"engine= has no effect on method={method!r}; use {' or '.join(map(repr, LEARNED))}")
    return tolerance


def read_batch(A: Any, f: str) -> Batch:
    """Matrices (..., n, n) of any kind as a `Batch`.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError

    Notes
    -----
    Cost: some passes over the entries.
    """
    if is_torch(A) and str(A.dtype).removeprefix("torch.") in ("float16", "bfloat16", "float32", "float64"):
        dtype = str(A.dtype).removeprefix("torch.")
        given = asarray(A.detach(), "A")
        eps = rounding_unit(dtype)
    else:
        given = asarray(A.detach() if is_torch(A) else A, "A")
        if given.dtype.kind not in "iuf":
            raise (
                dtype_error(given.dtype)
                if given.dtype.kind in "cb"
                else DTypeError(f"A has dtype {given.dtype}; pass an array of real numbers")
            )
        dtype = str(given.dtype) if given.dtype.kind == "f" else "float64"
        eps = float(np.finfo(dtype).eps)
    if given.ndim < 2 or given.shape[-1] != given.shape[-2]:
        raise ShapeError(f"A has shape {given.shape}; pass square matrices (..., n, n)")
    n = given.shape[-1]
    if n == 0:
        raise ShapeError(f"A has shape {given.shape}: its matrices are empty; pass n >= 1")
    M = np.array(given, dtype=np.float64).reshape((-1, n, n))
    finite = np.isfinite(M).all(axis=(1, 2))
    if not finite.all():
        index = int(np.argmin(finite))
        name = Batch(M, M, M, given.shape, dtype, eps).place(index)
        i, j = np.argwhere(~np.isfinite(M[index]))[0]
        raise NonFiniteError(f"{name} has {M[index, i, j]} at row {i}, column {j}; f(A) needs finite entries")
    largest = np.abs(M).max(axis=(1, 2), initial=0.0)
    exponent = np.frexp(largest)[1]
    k = np.zeros(len(M), dtype=np.int64)
    if f in _COVARIANT:
        far = (np.abs(exponent) > _FAR) & (largest > 0)
        k[far] = exponent[far] // 2
        M[far] = np.ldexp(M[far], -2 * k[far, None, None])
        largest = np.where(far, np.ldexp(largest, -2 * k), largest)
    skew = np.abs(M - transposed(M)).max(axis=(1, 2), initial=0.0)
    symmetric = skew <= _SYMMETRIC * np.finfo(float).eps * largest  # of float64, whatever the entries came in
    inexact = symmetric & (skew > 0)
    M[inexact] += (transposed(M[inexact]) - M[inexact]) / 2
    return Batch(M, k, symmetric, tuple(map(int, given.shape)), dtype, eps)


def parts(where: np.ndarray, n: int, share: int = 1) -> list[np.ndarray]:
    """Positions of matrices n x n as runs of a size that is worked on at a time; of a ``share`` of it for slow work.

    >>> [part.tolist() for part in parts(np.arange(3), 1024)]
    [[0, 1], [2]]
    """
    step = max(1, _PART // (share * n**2))
    return [where[start : start + step] for start in range(0, len(where), step)]


def rounding_unit(dtype: str) -> float:
    """Rounding unit of a floating type of torch.

    >>> rounding_unit("bfloat16")
    0.0078125
    """
    return 2.0**-7 if dtype == "bfloat16" else float(np.finfo(dtype).eps)


def transposed(M: np.ndarray) -> np.ndarray:
    """The transposes of matrices (..., n, n): a view."""
    return np.swapaxes(M, -1, -2)
