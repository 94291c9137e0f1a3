"""Index arrays from untrusted files: bounds first, conversion after, SciPy last.

SciPy's converters follow indices without a look at them, into memory that is not theirs.
"""

from __future__ import annotations

import numpy as np

from nnla.errors import DTypeError, FileFormatError

__all__ = ["as_real", "checked_coordinates", "compressed"]


def as_real(values: np.ndarray) -> np.ndarray:
    """Numbers as float64 in native order and aligned; the same array where it is so.

    Raises
    ------
    DTypeError
        Complex or non-numeric entries.
    """
    if values.dtype.kind == "c":
        raise DTypeError("holds complex numbers; nnla computes with real matrices only")
    if values.dtype.kind not in "biuf":
        raise DTypeError(f"holds {values.dtype} entries; save real numbers")
    return np.require(values, dtype=np.float64, requirements=["A", "W"])


def checked_coordinates(values: np.ndarray, size: int, *, base: int = 0) -> np.ndarray:
    """Indices from ``base`` on as those from 0 on, all of them below ``size``, in 32 bits where that fits.

    Raises
    ------
    FileFormatError
        Not whole numbers, or one outside.

    Examples
    --------
    >>> checked_coordinates(np.array([1.0, 3.0]), 3, base=1).tolist()
    [0, 2]
    """
    if values.dtype.kind not in "iuf":
        raise FileFormatError("has indices that are not integers; save it again")
    if values.size and not base <= values.min() <= values.max() < size + base:  # NaN fails, too
        raise FileFormatError(f"has an index outside {base} .. {size + base - 1}; get the file again")
    if values.dtype.kind == "f" and np.any(np.floor(values) != values):
        raise FileFormatError("has indices that are not integers; save it again")
    found = values.astype(np.int32 if size < 2**31 else np.int64)
    found -= base
    return found


def compressed(
    values: np.ndarray, indices: np.ndarray, starts: np.ndarray, *, major: int, minor: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data, indices and pointers of a compressed matrix, as SciPy's classes take them.

    Parameters
    ----------
    values : (m, ...) at least as many as the last pointer says
    indices : (m,) at least as many
    starts : (major + 1,)
    major, minor : rows and columns of CSR, columns and rows of CSC, in blocks of BSR

    Raises
    ------
    FileFormatError
        Arrays that do not fit each other, or an index outside.

    Examples
    --------
    >>> compressed(np.ones(2), np.array([0, 1]), np.array([0, 1, 2]), major=2, minor=2)[1].tolist()
    [0, 1]
    """
    if indices.ndim != 1 or starts.ndim != 1 or values.ndim < 1 or starts.dtype.kind not in "iu":
        raise FileFormatError("has sparse arrays of other shapes or types than they should be; save it again")
    if starts.size != major + 1:
        raise FileFormatError(f"has {starts.size} pointers for {major} rows or columns; get the file again")
    stored = int(starts[-1])
    # compared before converted: unsigned numbers would wrap around
    if starts[0] != 0 or np.any(starts[1:] < starts[:-1]) or not stored <= min(indices.size, len(values)):
        raise FileFormatError("has row or column pointers that do not fit its entries; get the file again")
    if indices.dtype.kind == "f":
        raise FileFormatError("has indices that are not integers; save it again")
    kept = checked_coordinates(indices[:stored], minor)
    kind = np.int32 if stored < 2**31 and kept.dtype == np.int32 else np.int64
    return as_real(values[:stored]), kept.astype(kind, copy=False), starts.astype(kind)
