"""The same matrix or vector as users hold it: formats, types, strides, byte orders, operators, tensors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

__all__ = ["MATRIX_FORMS", "TORCH_FORMS", "VECTOR_FORMS", "Duck", "arrays_of", "as_form", "as_vector_form"]

SPARSE = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")
MATRIX_FORMS = (
    *SPARSE, "csr_matrix", "coo_duplicates", "int64", "strided_indices", "readonly", "big_endian", "unsorted",
    "stored_zeros", "dense", "fortran", "strided", "list", "operator", "duck",
)  # fmt: skip
TORCH_FORMS = ("torch", "torch_csr", "torch_coo")
VECTOR_FORMS = ("plain", "list", "readonly", "strided", "reversed", "big_endian", "fortran")


class Duck:
    """``shape``, ``dtype`` and ``@``: enough to be an operator."""

    def __init__(self, A: Any) -> None:
        self.A, self.shape, self.dtype = A, A.shape, A.dtype

    def __matmul__(self, x: Any) -> Any:
        return self.A @ x


def as_form(A: Any, form: str, rng: np.random.Generator) -> Any:
    """A CSR matrix in another form, of the same values."""
    if form in SPARSE:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SciPy finds some too full for their format
            return A.asformat(form) if form != "bsr" else A.tobsr(blocksize=(1, 1))
    if form == "csr_matrix":
        return sp.csr_matrix(A)
    if form == "coo_duplicates":
        C = A.tocoo()
        halves = np.concatenate([C.data / 2, C.data / 2])  # exact but for subnormal numbers
        i, j = (np.concatenate([c, c]) for c in C.coords)
        order = rng.permutation(halves.size)
        return sp.coo_array((halves[order], (i[order], j[order])), shape=A.shape)
    if form in ("int64", "strided_indices", "readonly", "big_endian", "unsorted", "stored_zeros"):
        return _csr_form(A.copy(), form)
    if form == "dense":
        return A.toarray()
    if form == "fortran":
        return np.asfortranarray(A.toarray())
    if form == "strided":
        n = A.shape[0]
        wide = np.full((2 * n, 3 * n), np.nan)
        wide[::2, ::3] = A.toarray()
        return wide[::2, ::3]
    if form == "list":
        return A.toarray().tolist()
    if form == "operator":
        return LinearOperator(A.shape, matvec=lambda v: A @ v, matmat=lambda V: A @ V, dtype=np.float64)
    if form == "duck":
        return Duck(A)
    return _tensor(A, form)


def _csr_form(A: Any, form: str) -> Any:
    if form == "int64":
        A.indices, A.indptr = A.indices.astype(np.int64), A.indptr.astype(np.int64)
    elif form == "strided_indices":
        A.indices = np.repeat(A.indices, 2)[::2]
        A.indptr = np.repeat(A.indptr, 3)[::3]
        A.data = np.repeat(A.data, 2)[::2]
    elif form == "readonly":
        for array in (A.data, A.indices, A.indptr):
            array.flags.writeable = False
    elif form == "big_endian":
        A.data = A.data.astype(">f8")
    elif form == "unsorted":
        for start, end in zip(A.indptr, A.indptr[1:], strict=False):
            A.indices[start:end] = A.indices[start:end][::-1].copy()
            A.data[start:end] = A.data[start:end][::-1].copy()
        A.has_sorted_indices = False
    else:  # zeros stored where the other triangle has no entry
        C, n = A.tocoo(), A.shape[0]
        i, j = np.append(C.coords[0], np.zeros(n, int)), np.append(C.coords[1], np.arange(n))
        A = sp.csr_array((np.append(C.data, np.zeros(n)), (i, j)), shape=A.shape)
    return A


def _tensor(A: Any, form: str) -> Any:
    import torch

    dense = torch.from_numpy(A.toarray())
    if form == "torch":
        return dense
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch announces that its CSR layout is in beta
        return dense.to_sparse_csr() if form == "torch_csr" else dense.to_sparse_coo()


def as_vector_form(b: np.ndarray, form: str) -> Any:
    """A vector or block in another form, of the same values."""
    if form == "list":
        return b.tolist()
    if form == "readonly":
        b = b.copy()
        b.flags.writeable = False
    elif form == "strided":
        b = np.repeat(b, 3, axis=0)[::3]
    elif form == "reversed":
        b = b[::-1].copy()[::-1]
    elif form == "big_endian":
        b = b.astype(b.dtype.newbyteorder(">"))
    elif form == "fortran":
        b = np.asfortranarray(b)
    return b


def arrays_of(*values: Any) -> list[np.ndarray]:
    """The arrays behind arguments, which no call may change."""
    out: list[np.ndarray] = []
    for value in values:
        if isinstance(value, np.ndarray):
            out.append(value)
        elif sp.issparse(value) and value.format in ("csr", "csc", "bsr"):
            out += [value.data, value.indices, value.indptr]
        elif sp.issparse(value) and value.format == "coo":
            out += [value.data, *value.coords]
        elif sp.issparse(value) and value.format == "dia":
            out += [value.data, value.offsets]
    return out
