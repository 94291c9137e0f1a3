"""Any symmetric positive definite matrix as one `Operator`: converted, validated, and counted.

`as_operator` is the only door by which matrices enter nnla. Behind it, a solver sees float64, one product
method, and a counter of products that the report can trust.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from nnla.errors import DTypeError, ShapeError
from nnla.kernels.arrays import plain
from nnla.kernels.limits import INDEX_MAX, index_type
from nnla.kernels.reordering import permute
from nnla.kernels.sparse import sound
from nnla.kernels.system import NativeSystem
from nnla.operators.counter import Counter
from nnla.operators.gradients import refuse_gradient
from nnla.operators.kinds import is_torch, quiet_csr
from nnla.operators.numpy_space import NUMPY, Products
from nnla.operators.spaces import Space
from nnla.operators.structure import Structure, structure_of, verified_structure
from nnla.operators.torch_space import TorchSpace
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
)

__all__ = ["Operator", "as_operator"]


class Operator:
    """A square float64 operator that multiplies and counts; make one with `as_operator`.

    Parameters
    ----------
    matrix : what `space` multiplies by, checked
    nnz : stored entries (n * n if dense), None when the entries are not known
    structure : of a sparse NumPy matrix, where it is known already
    space : `Space` of its vectors, that of NumPy by default

    Attributes
    ----------
    matrix, nnz, space
    shape : (n, n)
    n : int
    dtype : ``np.float64``, or ``torch.float64`` for torch operators
    xp : ``"numpy"`` or ``"torch"``, the name of the space
    device : the torch device, None for NumPy
    csr : float64 ``csr_array`` with sorted, unique, int32 indices (int64 if needed), None unless sparse NumPy
    products : products with A so far, of the thread that asks; a block of k vectors counts k
    ground : (rows, amounts) to add to the diagonal of a singular A so that factors of it exist; None as a rule
    """

    ground: tuple[np.ndarray, np.ndarray] | None = None

    def __init__(
        self, matrix: Any, nnz: int | None = None, structure: Structure | None = None, space: Space = NUMPY
    ) -> None:
        self.matrix, self.nnz, self.space = matrix, nnz, space
        self.n = int(matrix.shape[0])
        self.shape = (self.n, self.n)
        self.xp, self.device, self.dtype = space.name, space.device, space.dtype
        self.csr: sp.csr_array | None = matrix if isinstance(matrix, sp.csr_array) else None
        self._structure = structure
        self._counter = Counter()  # shared by operators that are one matrix in two orders
        self._forms: NativeSystem | None = None
        self._diagonal_range: tuple[float, float] | None = None
        self._row_sizes: np.ndarray | None = None

    def __repr__(self) -> str:
        kind = "sparse" if self.csr is not None else "known by products" if self.nnz is None else "of known entries"
        where = "" if self.device is None else f" on {self.device}"
        known = "" if self.nnz is None else f", nnz={self.nnz}"
        return f"<Operator {self.n}x{self.n} {kind}{where}{known}, products={self.products}>"

    # -- products ----------------------------------------------------------------------------------------

    def matvec(self, x: Any) -> Any:
        """``A @ x`` as a new array of the shape of `x`.

        Parameters
        ----------
        x
            Array (n,) or (n, k) of the operator's own kind (`as_vector` converts).

        Cost: 1 or k products, added to `products`.
        """
        x = self.space.own(x)
        if x.ndim not in (1, 2) or x.shape[0] != self.n:
            raise ShapeError(f"cannot multiply a {self.n}x{self.n} operator by an array of shape {tuple(x.shape)}")
        self._counter.add(1 if x.ndim == 1 else int(x.shape[1]))
        return self.space.product(self.matrix, x)

    def __matmul__(self, x: Any) -> Any:
        return self.matvec(x)

    @property
    def products(self) -> int:
        """Products with A so far: `matvec` counts its own, `count` what was done elsewhere.

        Every thread counts for itself: those of other threads with the same operator are not in it.
        """
        return self._counter.value

    def count(self, products: int) -> None:
        """Add products that were not done by `matvec`: by the native kernels, or by a network."""
        self._counter.add(products)

    def reset_count(self) -> None:
        """Set `products` back to 0."""
        self._counter.reset()

    # -- entries -----------------------------------------------------------------------------------------

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
        return sp.csr_array(self.matrix) if isinstance(self.matrix, np.ndarray) else self.csr

    def dense(self) -> np.ndarray:
        """All entries as a NumPy array (n, n), perhaps that of the matrix itself: do not change it.

        Cost: no products where the entries are known, else n, counted. Whoever needs entries asks here, so that
        reading them costs the same everywhere.
        """
        known = self.space.dense(self.matrix)
        return self.space.host(self.matvec(self.as_vector(np.eye(self.n)))) if known is None else known

    def grounded(self, rows: np.ndarray, amounts: np.ndarray) -> Operator:
        """The same operator, counting into the same number, that is known to be singular; see `definite`.

        Parameters
        ----------
        rows, amounts : what to add to the diagonal, a row for each null vector
        """
        other = copy.copy(self)
        other.ground = (rows, amounts)
        return other

    def definite(self) -> Any:
        """The entries, `csr` or `dense`, with `ground` on the diagonal: what incomplete and complete factors are of.

        Where b is orthogonal to the null vectors, A x = b is solved by the same x with that and without.

        Cost: none for an A that is not known to be singular, else a copy.
        """
        if self.ground is None:
            return self.dense() if self.csr is None else self.csr
        rows, amounts = self.ground
        if self.csr is None:
            dense = self.dense().copy()
            dense[rows, rows] += amounts
            return dense
        added = sp.csr_array((amounts, (rows, rows)), shape=self.shape)
        result = sp.csr_array(self.csr + added)
        narrow = self.csr.indices.dtype
        result.indices, result.indptr = result.indices.astype(narrow), result.indptr.astype(narrow)
        result.has_canonical_format = True
        return result

    def diagonal(self) -> Any:
        """The diagonal, a new float64 vector (n,) of the operator's kind; None if only products are known."""
        return self.space.diagonal(self.matrix) if self._structure is None else self._structure.diagonal.copy()

    def scaling_diagonal(self) -> Any:
        """`diagonal`, with its largest entry in the place of zeros, those of isolated unknowns: any number will do."""
        diagonal = self.diagonal()
        if diagonal is None or float(diagonal.min()) != 0:
            return diagonal
        host = self.space.host(diagonal)
        return self.space.own(np.where(host != 0, host, np.max(host)))

    @property
    def diagonal_range(self) -> tuple[float, float] | None:
        """The smallest and the largest diagonal entry, zeros left out; None if only products are known.

        Cost: a pass over the diagonal, once.
        """
        if self._diagonal_range is None:
            diagonal = self.diagonal() if self._structure is None else self._structure.diagonal
            if diagonal is None:
                return None
            host = self.space.host(diagonal)
            if not host.all():
                host = host[host != 0]
            self._diagonal_range = float(host.min()), float(host.max())
        return self._diagonal_range

    @property
    def row_sizes(self) -> np.ndarray | None:
        """The size of each row (n,) of an operator known by products, roughly; None where the diagonal says more.

        What the two random products of its validation showed: independent normal numbers as wide as the 2-norms of
        the rows. None without a validation.
        """
        return self._row_sizes

    def scaled(self, exponents: np.ndarray) -> Operator | None:
        """S A S with S = diag(2^exponents), exact but for entries that underflow; both count into one number.

        Parameters
        ----------
        exponents : integers, (n,)

        Returns
        -------
        Operator, or None where the space has no such matrices.

        Cost: a copy of the entries; none for an operator known by products.
        """
        matrix = self.space.scaled(self.matrix, exponents)
        if matrix is None:
            return None
        other = Operator(matrix, self.nnz, space=self.space)
        other._counter = self._counter
        if self._row_sizes is not None:
            other._row_sizes = np.ldexp(self._row_sizes, 2 * exponents)
        return other

    def without_stored_zeros(self) -> Operator:
        """The same operator without the zeros that a sparse matrix stores, itself if there are none; both count as one.

        Cost: a pass over the entries, and a copy of them where some are zero.
        """
        if self.csr is None or np.count_nonzero(self.csr.data) == self.csr.nnz:
            return self
        clean = self.csr.copy()
        clean.eliminate_zeros()
        other = Operator(clean, int(clean.nnz))
        other._counter = self._counter
        return other

    def rounding(self, x: Any) -> Any:
        """``|A| @ |x|``, which says what ``A @ x`` may lose to rounding; None if only products are known.

        Cost: about a product and a copy of the entries, not counted.
        """
        return self.space.rounding(self.matrix, x)

    def permuted(self, order: np.ndarray, matrix: sp.csr_array | None = None) -> Operator:
        """The same operator with rows and columns in another order; both count into one number.

        Parameters
        ----------
        order : (n,), old numbers in the new order
        matrix : ``permute(csr, order)`` where that has been made already

        Cost: four products' time, none counted; nothing with `matrix`.
        """
        assert self.csr is not None
        csr = permute(self.csr, order) if matrix is None else matrix
        other = Operator(csr, int(csr.nnz), space=self.space)
        other._counter = self._counter
        if self.ground is not None:
            rows, amounts = self.ground
            other.ground = (np.argsort(order)[rows], amounts)
        return other

    @property
    def native(self) -> NativeSystem | None:
        """The matrix for the native kernels, each form made when it is asked for; None where they cannot take it."""
        if self._forms is None:
            self._forms = self.space.native(self.matrix, self.scaling_diagonal)
        return self._forms

    # -- vectors -----------------------------------------------------------------------------------------

    def as_vector(self, b: Any, name: str = "b") -> Any:
        """`b` as a new C-contiguous float64 array of the operator's kind, shape preserved; see `Space.as_vector`.

        Raises
        ------
        ShapeError, DTypeError, NonFiniteError
        """
        return self.space.as_vector(b, self.n, name)


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
    GradientError
        A tensor that requires a gradient, outside of ``torch.no_grad()``.
    NotPositiveDefiniteError
        A diagonal entry, or z'Az for a random z, is not positive.

    Cost: a few passes over the entries. Two products for operators known only by products, counted.

    Validity: explicit matrices are checked entry by entry, with differences up to
    ``1e-10 sqrt(a_ii a_jj)`` taken for rounding (more for float32 input), so bad scaling neither raises a
    false alarm nor hides an asymmetry in a small block. Operators known only by products are checked with
    two random vectors, which find any but a contrived asymmetry. A positive diagonal is necessary, not
    sufficient: indefiniteness beyond it is found by the solver.

    References
    ----------
    Golub & Van Loan, Matrix Computations, 4th ed., section 4.2: a positive definite A has a_ii > 0 and |a_ij| <=
    sqrt(a_ii a_jj).

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
    rtol = symmetry_rtol(eps) if check else None
    op = _without_objection(A, rtol)  # before any conversion, which it may spare
    if op is not None:
        return op
    A = sound(A)  # SciPy's conversions follow indices without looking at them
    with np.errstate(over="ignore"):  # longdouble; what overflows is reported as Inf
        csr = A.astype(np.float64, copy=False).tocsr()  # A itself when it is CSR in float64
    op = None if csr is A else _without_objection(csr, rtol)
    if op is not None:
        return op
    csr = _canonical_csr(csr)
    if check:
        check_csr(csr, eps, definite)
    return Operator(csr, int(csr.nnz))


def _without_objection(A: Any, rtol: float | None) -> Operator | None:
    """The operator of a CSR or CSC matrix that passes all checks in one pass of native code; else None.

    `rtol` is the tolerance of the symmetry check; None leaves the values unchecked.
    """
    if A.format not in ("csr", "csc") or (A.format == "csc" and rtol is None) or A.dtype != np.float64:
        return None
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
    return Operator(csr, nnz, structure)


def _canonical_csr(csr: Any) -> sp.csr_array:
    """A sound CSR matrix in float64 with sorted and unique indices of the narrow type, around plain arrays."""
    n, nnz = csr.shape[0], int(csr.indptr[-1])
    data = plain(csr.data[:nnz], np.float64)  # SciPy allows spare room at the end
    indices, indptr = (plain(part, index_type(n, nnz)) for part in (csr.indices[:nnz], csr.indptr))
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
    return Operator(dense, dense.size)


def _from_products(A: Any, check: bool, definite: bool) -> Operator:
    try:
        dtype = np.dtype(np.float64 if A.dtype is None else A.dtype)
    except TypeError:  # a dtype of another library: the products will tell
        dtype = np.dtype(np.float64)
    require_real(dtype)
    n = require_square(A.shape)
    op = Operator(Products(A, n))
    if check:
        op._row_sizes = check_products(op.matvec, n, _eps(dtype), definite)
    return op


def _from_torch(A: Any, check: bool, definite: bool) -> Operator:
    torch = sys.modules["torch"]
    if A.is_complex() or A.dtype == torch.bool or A.is_quantized:
        raise dtype_error(A.dtype)
    require_square(tuple(A.shape))
    if A.device.type in ("mps", "meta"):
        raise DTypeError(f"A is on device {A.device}, which has no float64; pass A.cpu()")
    refuse_gradient(A, "A")
    A = A.detach()
    eps = torch.finfo(A.dtype).eps if A.dtype.is_floating_point else 0.0
    if A.layout == torch.strided:
        matrix, nnz = A.to(torch.float64).contiguous(), A.numel()
    else:
        quiet_csr()
        matrix = _torch_csr(A)
        nnz = matrix.values().numel()
    if check:
        check_torch(matrix, eps, definite)
    return Operator(matrix, nnz, space=TorchSpace(matrix.device))


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
