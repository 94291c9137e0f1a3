"""The door by which arrays go into the native kernels: as those take them, and the same object where it is so already.

The native module takes arrays of exactly its type and byte order, contiguous and aligned, and refuses all others: it
never copies one behind the back of whoever has to keep it. It checks indices and lengths itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["csr_arrays", "plain"]


def plain(array: Any, dtype: Any = None) -> np.ndarray:
    """`array` contiguous, aligned and in the machine's byte order; a copy only where it is not so.

    Parameters
    ----------
    array : of any number of dimensions
    dtype : to convert to, by default its own type in the machine's byte order

    Cost: none, or one pass.

    Examples
    --------
    >>> pairs = np.arange(6, dtype=">i4").reshape(3, 2)
    >>> plain(pairs[:, 0]).flags.c_contiguous, plain(pairs).dtype.isnative
    (True, True)
    >>> x = np.ones(3)
    >>> plain(x) is x
    True
    """
    given = np.asarray(array)
    wanted = given.dtype.newbyteorder("=") if dtype is None else np.dtype(dtype)
    if given.dtype == wanted and given.flags.c_contiguous and given.flags.aligned:
        return given
    return np.require(given, wanted, ["C", "A"])


def csr_arrays(csr: Any, *, values: bool = True) -> tuple[np.ndarray, ...]:
    """(indptr, indices, data) of a CSR matrix for the native kernels: int32, int32, float64.

    Parameters
    ----------
    csr : whose indices fit 32 bits, see `nnla.kernels.limits.why_not_native`
    values : False leaves the data out

    Cost: none for a matrix of `nnla.as_operator`, else a pass.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> [part.dtype.name for part in csr_arrays(sp.eye_array(3, format="csr"))]
    ['int32', 'int32', 'float64']
    """
    nnz = int(csr.indptr[-1])  # SciPy allows spare room at the end
    parts = plain(csr.indptr, np.int32), plain(csr.indices[:nnz], np.int32)
    return (*parts, plain(csr.data[:nnz], np.float64)) if values else parts
