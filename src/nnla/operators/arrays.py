"""Helpers that work alike for NumPy arrays and torch tensors, without ever importing torch.

A solver that uses these few functions and the array operators runs on both kinds. Scalars come back to the
host: a ``float`` for vectors, a float64 NumPy array with one entry per column for blocks.
"""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any

import numpy as np

from nnla.kernels import native

__all__ = ["as_row", "inner", "is_torch", "namespace", "norm", "segment_sum", "to_numpy", "zeros_like"]

# Squares outside of these bounds have lost digits to underflow or overflow.
_SQUARE_MIN, _SQUARE_MAX = 1e-280, 1e300


def is_torch(x: Any) -> bool:
    """Whether `x` is a torch tensor (of any subclass); torch is looked up, never imported.

    >>> is_torch(np.ones(2))
    False
    """
    # A tensor can only exist once torch is loaded, so `sys.modules` answers without the import.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def namespace(x: Any) -> ModuleType:
    """The module whose functions take `x`: ``torch`` for tensors and ``numpy`` for everything else.

    >>> namespace(np.ones(2)).__name__
    'numpy'
    """
    return sys.modules["torch"] if is_torch(x) else np


def to_numpy(x: Any) -> np.ndarray:
    """`x` as a NumPy array on the host (shared memory where the kind of array allows it).

    >>> to_numpy([1.0, 2.0])
    array([1., 2.])
    """
    if is_torch(x):
        return x.detach().cpu().numpy()
    return np.asarray(x)


def zeros_like(x: Any) -> Any:
    """A new C-contiguous array of zeros with the shape, dtype and device of `x`.

    >>> zeros_like(np.ones((2, 1)))
    array([[0.],
           [0.]])
    """
    if is_torch(x):
        torch = sys.modules["torch"]
        return torch.zeros(x.shape, dtype=x.dtype, device=x.device)
    return np.zeros(np.shape(x), dtype=np.asarray(x).dtype)


def inner(x: Any, y: Any) -> Any:
    """Dot product of two vectors, or of two blocks column by column.

    Parameters
    ----------
    x, y
        Arrays of one kind, both (n,) or both (n, k).

    Returns
    -------
    float, or float64 NumPy array (k,) on the host.

    Cost: one pass over `x` and `y`; for tensors one synchronisation with the device.

    >>> inner(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    11.0
    >>> inner(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([1., 4.])
    """
    if is_torch(x):
        if x.ndim == 1:
            return float(x @ y)
        return (x * y).sum(dim=0).cpu().numpy().astype(np.float64, copy=False)
    if x.ndim == 1:
        # Not BLAS: its threads would fight with those of the kernels, and its sums depend on their number.
        if native is not None and x.dtype == y.dtype == np.float64 and x.flags.c_contiguous and y.flags.c_contiguous:
            return native.dot(x, y)
        return float(np.dot(x, y))
    return np.einsum("ij,ij->j", x, y, dtype=np.float64)


def norm(x: Any) -> Any:
    """Euclidean norm of a vector, or of each column of a block; safe from overflow and underflow.

    Parameters
    ----------
    x
        Array (n,) or (n, k).

    Returns
    -------
    float, or float64 NumPy array (k,) on the host.

    Cost: one pass over `x`; three where the squares leave the range of float64.

    >>> norm(np.array([3.0, 4.0]))
    5.0
    >>> norm(np.array([3e-200, 4e-200])) > 0
    True
    """
    if native is not None and type(x) is np.ndarray and x.ndim == 1 and x.dtype == np.float64 and x.flags.c_contiguous:
        square: Any = native.dot(x, x)
    else:
        square = inner(x, x) if is_torch(x) else _quiet_square(x)
    if x.ndim == 1:
        if _SQUARE_MIN < square < _SQUARE_MAX:
            return math.sqrt(square)
        largest = float(abs(x).max()) if x.shape[0] else 0.0
        if not 0.0 < largest < math.inf:  # zero, Inf or NaN: nothing to rescale
            return largest
        scaled = x / largest
        return largest * math.sqrt(inner(scaled, scaled))
    result = np.sqrt(square)
    for j in np.flatnonzero(~((square > _SQUARE_MIN) & (square < _SQUARE_MAX))):
        result[j] = norm(x[:, j])
    return result


def _quiet_square(x: np.ndarray) -> Any:
    # An overflow here is dealt with by the caller, and must not warn.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return inner(x, x)


def as_row(values: np.ndarray, like: Any) -> Any:
    """Per-column numbers in a form that broadcasts over (n,) or (n, k) arrays of like's kind."""
    if like.ndim == 1:
        return float(values[0])
    return like.new_tensor(values) if is_torch(like) else np.asarray(values)


def segment_sum(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sums over the rows of each graph, (n, ...) -> (G, ...); every graph has at least one row."""
    return np.add.reduceat(values, starts[:-1], axis=0)
