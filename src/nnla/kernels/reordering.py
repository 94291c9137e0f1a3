"""Orders that bring neighbours together, so that a product finds its vector in the cache.

Each function runs in native code where that is there and the indices fit, else in NumPy and SciPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla import kernels
from nnla.errors import ShapeError
from nnla.kernels.arrays import csr_arrays, plain
from nnla.kernels.limits import why_not_native
from nnla.kernels.machine import cache_sizes

__all__ = ["Locality", "better_order", "locality", "permute", "reverse_cuthill_mckee"]

_ROWS = 16  # of a slice
_LINE = 64  # bytes of a cache line
_SCATTERED = 0.35  # cache lines of the vector per stored entry, from where on an order is called bad


@dataclass(frozen=True)
class Locality:
    """How far a product reaches into its vector.

    Attributes
    ----------
    bandwidth : largest \\|i - j\\| of a stored entry
    span : mean distance from the first to the last column of a slice of 16 rows
    lines : mean number of cache lines of the vector that a slice touches
    """

    bandwidth: int
    span: float
    lines: float


def reverse_cuthill_mckee(csr: Any) -> np.ndarray:
    """The reverse Cuthill-McKee order of a canonical CSR matrix of symmetric pattern.

    Parameters
    ----------
    csr : ``Operator.csr``

    Returns
    -------
    int32 (n,) (int64 beyond 2^31 - 1 rows): old numbers in the new order, for `permute`

    Notes
    -----
    Cost: linear in the entries; some ten products. The same in every run. Patterns that are not symmetric give
    a permutation, if not a good one.

    References
    ----------
    A. George, J. Liu, An implementation of a pseudoperipheral node finder, ACM TOMS 5 (1979).

    Examples
    --------
    >>> A = sp.csr_array([[2, 0, 1], [0, 2, 1], [1, 1, 2]])  # a path, 0 - 2 - 1
    >>> order = reverse_cuthill_mckee(A)
    >>> locality(permute(A.astype(float), order)).bandwidth
    1
    """
    _check(csr)
    if why_not_native(csr) is None:
        return kernels.native.reverse_cuthill_mckee(*csr_arrays(csr, values=False))
    return np.asarray(sp.csgraph.reverse_cuthill_mckee(sp.csr_array(csr), symmetric_mode=True))


def permute(csr: Any, order: Any, dtype: Any = np.float64) -> sp.csr_array:
    """``A[order][:, order]`` as a canonical CSR matrix, the values float64 or float32.

    Parameters
    ----------
    csr : ``Operator.csr``
    order : (n,), a permutation of 0 ... n - 1
    dtype : ``np.float64`` or ``np.float32``

    Cost: about four products.
    """
    _check(csr)
    n = csr.shape[0]
    order = np.asarray(order)
    seen = np.zeros(n, dtype=bool)
    if order.shape != (n,) or order.dtype.kind not in "iu" or (n and not (order.min() >= 0 and order.max() < n)):
        raise ShapeError(f"order must be a permutation of the {n} rows")
    seen[order] = True
    if not seen.all():
        raise ShapeError(f"order must be a permutation of the {n} rows, each once")
    single = np.dtype(dtype) == np.float32
    if why_not_native(csr) is None and csr.data.dtype == np.float64:
        permuted = kernels.native.permute32 if single else kernels.native.permute64
        parts = permuted(*csr_arrays(csr), plain(order, np.int32))
        result = sp.csr_array(parts, shape=(n, n))
    else:
        result = sp.csr_array(csr)[order][:, order]
        result.sort_indices()
        with np.errstate(over="ignore"):
            result = result.astype(np.float32 if single else np.float64, copy=False)
    result.has_canonical_format = True
    return result


def locality(csr: Any, itemsize: int = 8) -> Locality:
    """What the order of a canonical CSR matrix is worth; span and lines from a sample of the slices.

    Parameters
    ----------
    csr : ``Operator.csr``
    itemsize : bytes of an entry of the vector, 8 or 4

    Cost: below one product.

    Examples
    --------
    >>> locality(sp.eye_array(32, format="csr"))
    Locality(bandwidth=0, span=16.0, lines=2.0)
    """
    _check(csr)
    per_line = _LINE // itemsize
    if why_not_native(csr) is None:
        span, lines, bandwidth = kernels.native.locality(*csr_arrays(csr, values=False), per_line)
        return Locality(bandwidth, span, lines)
    n, indptr, indices = csr.shape[0], csr.indptr, csr.indices
    bandwidth = int(np.abs(indices - np.repeat(np.arange(n), np.diff(indptr))).max(initial=0))
    starts = np.arange(0, n, _ROWS)[:: max(1, -(-n // _ROWS) // 2048)]
    slices = [indices[indptr[i] : indptr[min(i + _ROWS, n)]] for i in starts]
    spans = [int(s.max()) - int(s.min()) + 1 if s.size else 0 for s in slices]
    lines = [np.unique(s // per_line).size for s in slices]
    return Locality(bandwidth, float(np.mean(spans or [0])), float(np.mean(lines or [0])))


def better_order(csr: Any) -> tuple[np.ndarray, sp.csr_array] | None:
    """Reverse Cuthill-McKee where it pays: the order and the permuted matrix. Else None.

    It pays where the vector fills a good part of the second-level cache, products scatter over it, and the new order
    at least halves the cache lines that they touch.

    Cost: a product's time to find that it does not pay; some twenty to reorder.

    References
    ----------
    Cuthill, McKee, Reducing the bandwidth of sparse symmetric matrices, Proc. 24th ACM National Conference (1969)
    157-172; in reverse: George, Liu, Computer Solution of Large Sparse Positive Definite Systems (1981), chapter 4.
    """
    if why_not_native(csr) is not None or csr.shape[0] * 32 < cache_sizes().get(2, 1 << 20):
        return None
    before = locality(csr).lines
    if before < _SCATTERED * csr.nnz / csr.shape[0] * _ROWS:
        return None
    order = reverse_cuthill_mckee(csr)
    permuted = permute(csr, order)
    return (order, permuted) if locality(permuted).lines < 0.5 * before else None


def _check(csr: Any) -> None:
    if not csr.has_canonical_format or csr.shape[0] != csr.shape[1]:
        raise ShapeError("reordering needs a square CSR matrix in canonical form; pass nnla.as_operator(A).csr")
