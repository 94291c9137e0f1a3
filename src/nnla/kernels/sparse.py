"""Sparse matrices made safe before anything compiled follows their indices.

SciPy's conversions, products and transposes trust the arrays of a matrix: an index out of range is read or written
through. Arrays that a caller has set by hand, read from a file, or laid out in an unusual way are looked at here first.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from nnla.errors import DTypeError, ShapeError
from nnla.kernels.arrays import plain

__all__ = ["sound"]


def sound(A: Any, name: str = "A") -> Any:
    """A SciPy sparse matrix of any format whose arrays are in range, plain, and fit together.

    Parameters
    ----------
    A : sparse array or matrix of two dimensions; not changed
    name : what messages call it

    Returns
    -------
    `A` itself where nothing had to be made contiguous, aligned or of the machine's byte order, else a new object of the
    same format; COO for DOK and for formats that are not SciPy's.

    Raises
    ------
    ShapeError
        Indices out of range, indptr that decreases, arrays of lengths that do not fit, or no two dimensions.
    DTypeError
        Indices that are no integers.

    Notes
    -----
    Cost: a pass over the indices.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> A = sp.eye_array(3, format="csc")
    >>> sound(A) is A
    True
    >>> A.indices[1] = 2**30
    >>> sound(A)
    Traceback (most recent call last):
        ...
    nnla.errors.ShapeError: A is not a valid CSC matrix: an index lies outside of 0 ... 2; rebuild it
    """
    if len(A.shape) != 2:
        raise ShapeError(f"{name} has shape {tuple(A.shape)}; a matrix with two dimensions is needed")
    check = _CHECKS.get(A.format)
    if check is None:
        return sound(_as_coo(A, name), name)
    try:
        return check(A)
    except _UnsoundError as error:
        raise ShapeError(f"{name} is not a valid {A.format.upper()} matrix: {error}; rebuild it") from None
    except (AttributeError, TypeError, ValueError, IndexError) as error:  # arrays that are no arrays
        raise ShapeError(f"{name} is not a valid {A.format.upper()} matrix ({error}); rebuild it") from error


class _UnsoundError(Exception):
    """What is wrong with the arrays."""


def _require(holds: Any, what: str) -> None:
    if not holds:
        raise _UnsoundError(what)


def _integers(part: Any, what: str) -> np.ndarray:
    array = np.asarray(part)
    _require(array.ndim == 1, f"{what} has {array.ndim} dimensions")
    if array.dtype.kind not in "iu":
        raise DTypeError(f"{what} of a sparse matrix has dtype {array.dtype}; integers are needed")
    if array.dtype.kind == "u":  # which SciPy's conversions warn of
        _require(array.max(initial=0) <= np.iinfo(np.int64).max, f"{what} is out of range")
        return plain(array, np.int64)
    return plain(array)


def _in_range(indices: np.ndarray, size: int) -> None:
    if indices.size:
        _require(indices.min() >= 0 and indices.max() < size, f"an index lies outside of 0 ... {size - 1}")


def _compressed(A: Any) -> Any:
    """CSR, CSC and BSR: rows (or columns) of entries (or blocks) behind one another."""
    data = plain(A.data)
    height, width = data.shape[1:] if A.format == "bsr" else (1, 1)
    _require(data.ndim == (3 if A.format == "bsr" else 1), f"data has {data.ndim} dimensions")
    _require(height and width and A.shape[0] % height == 0 and A.shape[1] % width == 0, "blocks do not fit the shape")
    outer, inner = A.shape[0] // height, A.shape[1] // width
    if A.format == "csc":
        outer, inner = inner, outer
    indptr, indices = _integers(A.indptr, "indptr"), _integers(A.indices, "indices")
    _require(len(indptr) == outer + 1, f"indptr has {len(indptr)} entries, not {outer + 1}")
    _require(indptr[0] == 0 and not (indptr[1:] < indptr[:-1]).any(), "indptr must start at 0 and not decrease")
    nnz = int(indptr[-1])
    _require(nnz <= min(len(indices), len(data)), "indptr goes beyond the entries")
    _in_range(indices[:nnz], inner)
    return _around(A, data=data, indices=indices, indptr=indptr)


def _coordinates(A: Any) -> Any:
    data = plain(A.data)
    row, column = (_integers(part, "a coordinate") for part in (A.row, A.col))
    _require(data.ndim == 1 and len(row) == len(column) == len(data), "its arrays have different lengths")
    _in_range(row, A.shape[0])
    _in_range(column, A.shape[1])
    return _around(A, data=data, row=row, col=column)


def _diagonals(A: Any) -> Any:
    data, offsets = plain(A.data), _integers(A.offsets, "offsets")
    _require(data.ndim == 2 and len(data) == len(offsets), "there is not one row of data for every offset")
    _require(len(np.unique(offsets)) == len(offsets), "an offset occurs twice")
    # Diagonals outside of the matrix are empty; SciPy's arithmetic on them is not to overflow.
    inside = (offsets.astype(float) > -A.shape[0]) & (offsets.astype(float) < A.shape[1])
    if not inside.all():
        data, offsets = data[inside], offsets[inside]
    return _around(A, data=data, offsets=offsets)


def _lists(A: Any) -> Any:
    rows, data = A.rows, A.data
    _require(len(rows) == len(data) == A.shape[0], "there is not one list for every row")
    for indices, values in zip(rows, data, strict=True):
        _require(type(indices) is list and type(values) is list, "a row is no list")
        _require(len(indices) == len(values), "a row has not as many indices as values")
        if indices:
            _in_range(_integers(indices, "a row"), A.shape[1])
    return A


_CHECKS = {
    "csr": _compressed,
    "csc": _compressed,
    "bsr": _compressed,
    "coo": _coordinates,
    "dia": _diagonals,
    "lil": _lists,
}


def _as_coo(A: Any, name: str) -> Any:
    """A dictionary of keys, or a format of another library: its own conversion runs in Python."""
    try:
        return A.tocoo()
    except (OverflowError, TypeError, ValueError, IndexError) as error:
        raise ShapeError(f"{name} is not a valid sparse matrix ({error}); rebuild it") from error


def _around(A: Any, **parts: np.ndarray) -> Any:
    """`A`, or a copy of the object where these of its arrays are others."""
    if all(getattr(A, name) is part for name, part in parts.items()):
        return A
    new = copy.copy(A)
    if "row" in parts:  # not by `row` and `col`, which change the tuple that the copy shares
        new.coords = (parts.pop("row"), parts.pop("col"))
    for name, part in parts.items():
        setattr(new, name, part)
    return new
