"""What a reader found as what was asked for: a square CSR matrix, or a dense vector or block."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from nnla.errors import ShapeError
from nnla.problems.assembly import with_int32_indices
from nnla.problems.limits import check_need, matrix_bytes
from nnla.problems.sparse_parts import as_real

__all__ = ["as_matrix", "as_vector"]

_CHUNK = 2**20  # entries that are looked at together
_FREE, _FILL = 2**24, 16  # entries of a dense block made from a sparse one, and its zeros for each stored entry


def as_matrix(value: Any, size: int | None = None) -> csr_array:
    """A square matrix (n, n) in CSR: float64, sorted, duplicates summed.

    Parameters
    ----------
    value : array or sparse
    size : bytes of the file that it comes from; None for one that needs no backing

    Raises
    ------
    ShapeError
        Not square, or 0 x 0.
    DTypeError
        Complex or non-numeric entries.
    FileFormatError
        More entries than a file of that size warrants.

    Notes
    -----
    Cost: from a dense array no more memory than the matrix, twice, and some megabytes.
    """
    if value.ndim != 2 or value.shape[0] != value.shape[1]:
        raise ShapeError(f"holds an array of shape {value.shape}; give a square matrix")
    if value.shape[0] == 0:
        raise ShapeError("holds an empty 0 x 0 matrix; give one with entries")
    if not issparse(value):
        return _from_dense(value, size)
    A = csr_array(value, dtype=as_real(value.data[:0]).dtype)
    A.sum_duplicates()
    return with_int32_indices(A) if A.nnz < 2**31 else A


def _from_dense(value: np.ndarray, size: int | None) -> csr_array:
    """The non-zeros of an array, some rows at a time: SciPy's own way takes several copies of it."""
    as_real(value[:0])
    n = int(value.shape[0])
    step = max(1, _CHUNK // n)
    counts = np.concatenate([np.count_nonzero(value[i : i + step], axis=1) for i in range(0, n, step)])
    starts = np.concatenate([[0], np.cumsum(counts)])
    if size is not None:
        check_need(matrix_bytes(n, int(starts[-1])), size)
    kind = np.int32 if starts[-1] < 2**31 else np.int64
    indices, data = np.empty(starts[-1], dtype=kind), np.empty(starts[-1])
    for i in range(0, n, step):
        block = value[i : i + step]
        rows, cols = np.nonzero(block)
        part = slice(starts[i], starts[min(i + step, n)])
        indices[part], data[part] = cols, as_real(block[rows, cols])
    return csr_array((data, indices, starts.astype(kind)), shape=(n, n))


def as_vector(value: Any, size: int) -> np.ndarray:
    """A dense float64 array (n,) or (n, k), contiguous and writable.

    Parameters
    ----------
    value : array or sparse, of one or two axes
    size : bytes of the file that it comes from

    Raises
    ------
    ShapeError
        Another number of axes, no entries, or a sparse one of far more zeros than entries.
    DTypeError, FileFormatError
        As `as_matrix`.
    """
    if value.ndim not in (1, 2) or 0 in value.shape:
        raise ShapeError(f"holds an array of shape {value.shape}; give (n,) or (n, k)")
    entries = int(np.prod(value.shape, dtype=object))
    if issparse(value):
        if entries > max(_FREE, _FILL * value.nnz):
            raise ShapeError(f"holds a sparse {value.shape} array, too large as a dense block; give (n, k)")
        value = value.toarray()
    else:
        check_need(8 * entries, size)
    value = np.ascontiguousarray(as_real(value))
    return value.ravel() if value.ndim == 2 and 1 in value.shape else value
