"""Which matrices the native kernels can take: those whose indices fit 32 bits.

32-bit indices halve the traffic of a product, so that is all that the kernels are compiled for. Larger matrices
keep 64-bit indices and SciPy's products; nothing is ever truncated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla import kernels

__all__ = ["INDEX_MAX", "index_type", "why_not_native"]

INDEX_MAX = int(np.iinfo(np.int32).max)


def index_type(n: int, nnz: int) -> Any:
    """The index type of a matrix with n rows and nnz entries: ``np.int32`` where it is enough, else ``np.int64``.

    >>> index_type(10, 2**31).__name__
    'int64'
    """
    return np.int32 if max(n, nnz) <= INDEX_MAX else np.int64


def why_not_native(csr: Any) -> str | None:
    """None if the native kernels can be called with the arrays of this CSR matrix, else the reason.

    Parameters
    ----------
    csr : ``Operator.csr``, or None for operators without stored entries

    Notes
    -----
    Cost: none: sizes and types are looked at, not entries.

    Every caller of a native kernel asks first; what it refuses stays with SciPy.
    """
    if kernels.native is None:
        return f"the native kernels are not there ({kernels.why_not})"
    if csr is None:
        return "the native kernels need stored entries in NumPy arrays"
    n, nnz = csr.shape[0], len(csr.indices)
    if max(n, nnz) > INDEX_MAX or csr.indices.dtype != np.int32 or csr.indptr.dtype != np.int32:
        return f"A has {n} rows and {nnz} entries: too large for the native kernels' 32-bit indices"
    return None
