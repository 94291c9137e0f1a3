"""Any symmetric positive definite matrix as one `Operator`: converted, validated, and counted.

`as_operator` is the only door by which matrices enter nnla. Behind it, a solver sees float64, one product
method, and a counter of products that the report can trust.
"""

from __future__ import annotations

import copy
import sys
import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from nnla.errors import DTypeError, NonFiniteError, ShapeError
from nnla.kernels.limits import INDEX_MAX, index_type
from nnla.operators.arrays import is_torch, to_numpy
from nnla.operators.structure import Structure, structure_of, verified_structure
from nnla.operators.validation import (
    asarray,
    check_csr,
    check_dense,
    check_products,
    check_torch,
    dtype_error,
    require_real,
    require_square,
    symmetry_rtol,
    torch_coordinates,
    torch_diagonal,
)

__all__ = ["Operator", "as_operator"]


class Operator:
    """A square float64 operator that multiplies and counts; make one with `as_operator`.

    Attributes
    ----------
    shape : (n, n)
    n : int
    dtype : ``np.float64``, or ``torch.float64`` for torch operators
    xp : ``"numpy"`` or ``"torch"``, the kind of its vectors
    device : the torch device, None for NumPy
    csr : float64 ``csr_array`` with sorted, unique, int32 indices (int64 if needed), None unless sparse NumPy
    nnz : stored entries (n * n if dense), None when the entries are not known
    products : products with A so far; a block of k vectors counts k
    """

    def __init__(self, matrix: Any, kind: str, nnz: int | None = None, structure: Structure | None = None) -> None:
        # kind: "csr", "dense", "linear" (LinearOperator), "duck" (anything else with @) or "torch".
        self._matrix = matrix
        self._kind = kind
        self._blocks = kind != "linear" or _has_matmat(matrix)
        self.n = int(matrix.shape[0])
        self.shape = (self.n, self.n)
        self.nnz = nnz
        self.xp = "torch" if kind == "torch" else "numpy"
        self.device = matrix.device if kind == "torch" else None
        self.dtype: Any = matrix.dtype if kind == "torch" else np.float64
        self.csr: sp.csr_array | None = matrix if kind == "csr" else None
        self.products = 0
        self._structure = structure
        self.native_forms: Any = None  # of nnla.kernels.system

    def __repr__(self) -> str:
        where = "" if self.device is None else f" on {self.device}"
        known = "" if self.nnz is None else f", nnz={self.nnz}"
        return f"<Operator {self.n}x{self.n} {self._kind}{where}{known}, products={self.products}>"

    def matvec(self, x: Any) -> Any:
        """``A @ x`` as a new array of the shape of `x`.

        Parameters
        ----------
        x
            Array (n,) or (n, k) of the operator's own kind (`as_vector` converts).

        Cost: 1 or k products, added to `products`.
        """
        if self._kind != "torch":
            x = np.asarray(x)
        if x.ndim not in (1, 2) or x.shape[0] != self.n:
            raise ShapeError(f"cannot multiply a {self.n}x{self.n} operator by an array of shape {tuple(x.shape)}")
        self.products += 1 if x.ndim == 1 else int(x.shape[1])
        if self._kind in ("csr", "dense", "torch"):
            return self._matrix @ x
        return self._call(x)

    def __matmul__(self, x: Any) -> Any:
        return self.matvec(x)

    def _call(self, x: np.ndarray) -> np.ndarray:
        # LinearOperators and duck objects. The result is copied: a matvec may well return its own work
        # buffer, or x itself, and would then change earlier vectors of a Krylov method behind its back.
        if x.ndim == 2 and not self._blocks:
            result = np.empty(x.shape)
            for j in range(x.shape[1]):
                result[:, j] = self._call(np.ascontiguousarray(x[:, j]))
            return result
        if self._kind == "linear":
            y = self._matrix.matvec(x) if x.ndim == 1 else self._matrix.matmat(x)
        else:
            y = self._matrix @ x
        y = np.asarray(y)
        if y.dtype.kind not in "iuf":
            raise DTypeError(f"A @ x has dtype {y.dtype} for a real vector x; nnla needs real numbers")
        if y.shape != x.shape and not (x.ndim == 1 and y.shape == (self.n, 1)):
            raise ShapeError(f"A @ x has shape {y.shape} for x of shape {x.shape}; it must keep the shape")
        return np.array(y, dtype=np.float64, order="C").reshape(x.shape)

    @property
    def structure(self) -> Structure | None:
        """What the stored entries look like; None unless `csr` is there.

        Cost: none after a validation in native code, else about a product, once.
        """
        if self._structure is None and self.csr is not None:
            self._structure = structure_of(self.csr)
        return self._structure

    def entries(self) -> sp.csr_array | None:
        """The entries as a ``csr_array``: `csr`, or a dense NumPy matrix converted; None for everything else."""
        return sp.csr_array(self._matrix) if self._kind == "dense" else self.csr

    def diagonal(self) -> Any:
        """The diagonal, a new float64 vector (n,) of the operator's kind; None if only products are known."""
        if self._structure is not None:
            return self._structure.diagonal.copy()
        if self._kind in ("csr", "dense"):
            return np.array(self._matrix.diagonal(), dtype=np.float64)
        return torch_diagonal(self._matrix) if self._kind == "torch" else None

    def reset_count(self) -> None:
        """Set `products` back to 0."""
        self.products = 0

    def as_vector(self, b: Any, name: str = "b") -> Any:
        """`b` as a new C-contiguous float64 array of the operator's kind, shape preserved.

        Parameters
        ----------
        b
            (n,), (n, 1) or (n, k): array, list, SciPy sparse (densified) or tensor, of any real dtype.
        name
            What error messages call it.

        Raises
        ------
        ShapeError, DTypeError, NonFiniteError
        """
        tensor = is_torch(b)
        given: Any = b.detach() if tensor else b if sp.issparse(b) else asarray(b, name)
        if given.is_complex() if tensor else given.dtype.kind not in "biuf":
            raise DTypeError(f"{name} has dtype {given.dtype}; nnla needs real numbers")
        self._check_vector_shape(tuple(given.shape), name)  # before a sparse `b` of the wrong size is densified
        if tensor:
            torch = sys.modules["torch"]
            x: Any = given.to_dense() if given.layout != torch.strided else given
            x = x.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
        else:
            with np.errstate(over="ignore"):
                x = np.array(given.toarray() if sp.issparse(given) else given, dtype=np.float64, order="C")
        if self._kind == "torch":
            torch = sys.modules["torch"]
            x = (x if tensor else torch.from_numpy(x)).to(self.device)
            all_finite = bool(torch.isfinite(x).all())
        else:
            x = to_numpy(x)
            all_finite = bool(np.isfinite(x).all())
        if not all_finite:
            host = to_numpy(x)
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
            index = where[0] if len(where) == 1 else where
            raise NonFiniteError(f"{name} contains {float(host[where])} at index {index}; repair it before solving")
        return x

    def _check_vector_shape(self, shape: tuple[int, ...], name: str) -> None:
        n = self.n
        if len(shape) not in (1, 2) or shape[0] != n:
            hint = f"; pass {name}.T" if len(shape) == 2 and shape[1] == n else ""
            raise ShapeError(
                f"{name} has shape {shape} but A is {n}x{n}: {name} must have shape ({n},) or ({n}, k){hint}"
            )
        if len(shape) == 2 and shape[1] == 0:
            raise ShapeError(f"{name} has shape {shape} but A is {n}x{n}: there is no column in {name}")


def as_operator(A: Any, *, check: bool = True, definite: bool = True) -> Operator:
    """Any matrix or operator as an `Operator`, with its symmetry and positive diagonal verified.

    Parameters
    ----------
    A
        SciPy sparse array or matrix of any format, NumPy array (or list), ``LinearOperator``, torch tensor
        (strided or sparse, any device: all vectors then stay there), `Operator` (returned as is), or any
        object with ``shape``, ``dtype`` and ``@``. Never modified. Float64 CSR arrays in canonical form and
        float64 C-ordered arrays are shared, not copied: do not change them while the operator is in use.
    check
        False skips everything that looks at values (finite, symmetric, positive diagonal); shape and type
        are always checked.
    definite
        False also takes what is not positive definite, for eigenproblems and matrix functions: the diagonal may
        have any sign then.

    Returns
    -------
    Operator

    Raises
    ------
    ShapeError
        Not two-dimensional, not square, or empty.
    DTypeError
        Bool, complex, object or text entries, or not a matrix at all.
    NonFiniteError
        NaN or Inf, with the first position.
    NotSymmetricError
        With the largest difference and its position.
    NotPositiveDefiniteError
        A diagonal entry, or z'Az for a random z, is not positive.

    Cost: a few passes over the entries. Two products for operators known only by products, counted.

    Validity: explicit matrices are checked entry by entry, with differences up to
    ``1e-10 sqrt(a_ii a_jj)`` taken for rounding (more for float32 input), so bad scaling neither raises a
    false alarm nor hides an asymmetry in a small block. Operators known only by products are checked with
    two random vectors, which find any but a contrived asymmetry. A positive diagonal is necessary, not
    sufficient: indefiniteness beyond it is found by the solver.

    Examples
    --------
    >>> op = as_operator([[2, -1], [-1, 2]])
    >>> op @ np.array([1.0, 1.0]), op.products
    (array([1., 1.]), 1)
    """
    if isinstance(A, Operator):
        return A
    if is_torch(A):
        return _from_torch(A, check, definite)
    if not sp.issparse(A) and hasattr(A, "tocsr"):  # sparse matrices of other libraries
        A = A.tocsr()
    if sp.issparse(A):
        return _from_sparse(A, check, definite)
    if isinstance(A, LinearOperator) or (
        not hasattr(A, "__array__")  # arrays of other libraries are matrices, not black boxes
        and all(hasattr(A, name) for name in ("shape", "dtype", "__matmul__"))
    ):
        return _from_products(A, check, definite)
    return _from_dense(A, check, definite)


# --------------------------------------------------------------------------------------------------------
# Conversion, one function per kind of input


def _from_sparse(A: Any, check: bool, definite: bool) -> Operator:
    require_real(A.dtype)
    require_square(A.shape)
    eps = _eps(A.dtype)
    if A.dtype != np.float64:
        with np.errstate(over="ignore"):  # longdouble; what overflows is reported as Inf
            A = A.astype(np.float64)
    rtol = symmetry_rtol(eps) if check else None
    if A.format == "csc" and check:
        op = _without_objection(A, rtol)  # before the conversion, which it may spare
        if op is not None:
            return op
    A = A.tocsr()  # A itself when it is CSR
    op = _without_objection(A, rtol)
    if op is not None:
        return op
    csr = _canonical_csr(A)
    if check:
        check_csr(csr, eps, definite)
    return Operator(csr, "csr", int(csr.nnz))


def _without_objection(A: Any, rtol: float | None) -> Operator | None:
    """The operator of a CSR or CSC matrix that passes all checks in one pass of native code; else None.

    `rtol` is the tolerance of the symmetry check; None leaves the values unchecked.
    """
    n = A.shape[0]
    data, indices, indptr = A.data, A.indices, A.indptr
    if len(indptr) != n + 1:
        return None
    structure = verified_structure(indptr, indices, data, rtol)
    # The arrays of CSC are those of the transposed matrix: the same one only if not a bit differs.
    if structure is None or (A.format == "csc" and not structure.exactly_symmetric):
        return None
    nnz = structure.nnz
    narrow = index_type(n, nnz)
    if type(A) is sp.csr_array and indices.dtype == narrow and len(data) == len(indices) == nnz:
        csr = copy.copy(A)  # a new object around the same arrays, without SciPy's checks of them
    else:
        parts = (data[:nnz], *(part.astype(narrow, copy=False) for part in (indices[:nnz], indptr)))
        csr = sp.csr_array(parts, shape=(n, n))
    csr.has_canonical_format = True
    return Operator(csr, "csr", nnz, structure)


def _canonical_csr(csr: Any) -> sp.csr_array:
    n, data, indices, indptr = csr.shape[0], csr.data, csr.indices, csr.indptr
    # Compiled products trust these arrays: what they would read out of bounds is refused here.
    if len(indptr) != n + 1 or indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise ShapeError("A is not a valid CSR matrix (indptr must start at 0 and not decrease); rebuild it")
    nnz = int(indptr[-1])
    data, indices = np.ascontiguousarray(data[:nnz]), indices[:nnz]  # SciPy allows spare room at the end
    if min(len(data), len(indices)) < nnz or (nnz and (indices.min() < 0 or indices.max() >= n)):
        raise ShapeError("A is not a valid CSR matrix (indices or indptr out of range); rebuild it")
    narrow = index_type(n, nnz)
    indices, indptr = indices.astype(narrow, copy=False), indptr.astype(narrow, copy=False)
    result = sp.csr_array((data, indices, indptr), shape=(n, n))
    if not result.has_canonical_format:
        result = result.copy()  # sum_duplicates works in place, on arrays that may be A's
        result.sum_duplicates()
    return result


def _from_dense(A: Any, check: bool, definite: bool) -> Operator:
    given = asarray(A, "A")
    require_real(given.dtype)
    require_square(given.shape)
    with np.errstate(over="ignore"):
        dense = np.ascontiguousarray(given, dtype=np.float64)
    if check:
        check_dense(dense, _eps(given.dtype), definite)
    return Operator(dense, "dense", dense.size)


def _from_products(A: Any, check: bool, definite: bool) -> Operator:
    try:
        dtype = np.dtype(np.float64 if A.dtype is None else A.dtype)
    except TypeError:  # a dtype of another library: the products will tell
        dtype = np.dtype(np.float64)
    require_real(dtype)
    n = require_square(A.shape)
    op = Operator(A, "linear" if isinstance(A, LinearOperator) else "duck")
    if check:
        check_products(op.matvec, n, _eps(dtype), definite)
    return op


def _from_torch(A: Any, check: bool, definite: bool) -> Operator:
    torch = sys.modules["torch"]
    if A.is_complex() or A.dtype == torch.bool or A.is_quantized:
        raise dtype_error(A.dtype)
    require_square(tuple(A.shape))
    if A.device.type in ("mps", "meta"):
        raise DTypeError(f"A is on device {A.device}, which has no float64; pass A.cpu()")
    A = A.detach()
    eps = torch.finfo(A.dtype).eps if A.dtype.is_floating_point else 0.0
    # PyTorch announces on first use that its CSR layout is in beta; that is not the user's concern.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if A.layout == torch.strided:
            matrix, nnz = A.to(torch.float64).contiguous(), A.numel()
        else:
            matrix = _torch_csr(A)
            nnz = matrix.values().numel()
        if check:
            check_torch(matrix, eps, definite)
    return Operator(matrix, "torch", nnz)


def _torch_csr(A: Any) -> Any:
    torch = sys.modules["torch"]
    if A.values().ndim != 1 if A.layout == torch.sparse_csr else A.layout == torch.sparse_coo and A.dense_dim():
        raise ShapeError("A is a hybrid sparse tensor (its entries are blocks); pass scalar entries")
    csr = A
    if A.layout != torch.sparse_csr or not _rows_are_sorted(A):
        # Through COO whatever the layout: its coalesce() is what sorts, and sums duplicates.
        if A.layout == torch.sparse_csr:
            coo = torch.sparse_coo_tensor(torch.stack(torch_coordinates(A)), A.values(), tuple(A.shape))
        else:
            coo = A if A.layout == torch.sparse_coo else A.to_sparse_coo()
        csr = coo.to(torch.float64).coalesce().to_sparse_csr()
    # 32-bit indices halve the index traffic and spare MKL a conversion in every product (measured: 2.8x).
    narrow = torch.int32 if max(*A.shape, csr.values().numel()) <= INDEX_MAX else torch.int64
    crow, columns = csr.crow_indices().to(narrow), csr.col_indices().to(narrow)
    return torch.sparse_csr_tensor(crow, columns, csr.values().to(torch.float64), tuple(A.shape))


def _rows_are_sorted(A: Any) -> bool:
    rows, columns = torch_coordinates(A)
    return bool(((rows * A.shape[1] + columns).diff() > 0).all())


def _eps(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0


def _has_matmat(A: LinearOperator) -> bool:
    # SciPy's own fallback hands columns of shape (n, 1) to a matvec that may only know (n,); ours does not.
    if type(A)._matmat is LinearOperator._matmat:
        return False
    return getattr(A, "_CustomLinearOperator__matmat_impl", A) is not None
