"""Batches of dense systems as users give them: checked, brought to one shape, and into units in which a model of such
systems, and everything that checks its answers, can compute. NumPy arrays and torch tensors alike.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from nnla.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from nnla.operators.arrays import is_torch, namespace, to_numpy
from nnla.operators.gradients import refuse_gradient
from nnla.operators.validation import asarray, dtype_error, require_square

__all__ = ["DenseBatch", "DenseInput", "check_batch", "column_norms", "dense_input", "exponents_of", "shifted"]


@dataclass(frozen=True, eq=False)
class DenseInput:
    """Systems as they were given, checked; nothing is copied that need not be.

    Attributes
    ----------
    A : (B, n, n) finite real floats, NumPy or torch; perhaps a broadcast view
    b : (B, n, k) of the same library and device
    shape : of x
    dtype : name of the dtype of x: "float64", or "float32" where A and b have no more digits
    """

    A: Any
    b: Any
    shape: tuple[int, ...]
    dtype: str

    @property
    def n(self) -> int:
        """Unknowns of a system."""
        return int(self.A.shape[-1])

    def __len__(self) -> int:
        return int(self.A.shape[0])

    def answer(self, parts: list[Any]) -> Any:
        """x in the user's shape from the (b, n, k) of consecutive systems.

        Cost: one copy.
        """
        xp = namespace(parts[0])
        x = parts[0] if len(parts) == 1 else xp.concatenate(parts)
        return x.reshape(self.shape)


def dense_input(A: Any, b: Any) -> DenseInput:
    """The systems that a user means.

    Parameters
    ----------
    A : (n, n), or (B, n, n), or a list of B matrices of one size: arrays or tensors of real numbers
    b : what `numpy.linalg.solve` takes, (n,) and (n, k) for every system and (B, n, k); and (B, n), a vector for each
        system. Where B = n = k it is not clear which of the two is meant, and refused

    Returns
    -------
    DenseInput
        On A's side: a tensor b goes to the host where A is an array, an array b to A's device where A is a tensor.

    Raises
    ------
    ShapeError
        A is not square, the shapes do not fit or could mean two things, sizes differ from matrix to matrix, or there
        is nothing to solve.
    DTypeError
        Complex, boolean or other entries that are no real numbers; sparse matrices and operators.
    NonFiniteError
        NaN or Inf.
    GradientError
        A tensor that requires a gradient.

    Notes
    -----
    Cost: a pass over A and b; integers are copied.

    Examples
    --------
    >>> systems = dense_input([[2.0, 0.0], [0.0, 4.0]], [1, 2])
    >>> systems.A.shape, systems.b.shape, systems.shape, systems.dtype
    ((1, 2, 2), (1, 2, 1), (2,), 'float64')
    """
    A = _floats(_stacked(A, "A"), "A")
    if A.ndim not in (2, 3):
        hint = "; flatten the leading axes with A.reshape(-1, n, n)" if A.ndim > 3 else ""
        raise ShapeError(f"A has shape {tuple(A.shape)}; (n, n) or a batch (B, n, n) is needed{hint}")
    n = require_square(tuple(A.shape[-2:]))
    if A.shape[0] == 0:
        raise ShapeError(f"A has shape {tuple(A.shape)}: there is no system in the batch")
    b = _stacked(b, "b")
    if is_torch(A):
        b = _floats(b if is_torch(b) else namespace(A).from_numpy(_plain(_floats(b, "b"))), "b").to(A.device)
    else:
        b = _floats(asarray(b, "b"), "b")
    A, b, shape = _matched(A, b, n)
    _require_finite(A, "A")
    _require_finite(b, "b")
    single = all("64" not in str(part.dtype) for part in (A, b))
    return DenseInput(A, b, shape, "float32" if single else "float64")


def _stacked(value: Any, name: str) -> Any:
    """A list of arrays or tensors as one; the error by name for what is no dense array."""
    several = isinstance(value, (list, tuple))
    for one in value if several else (value,):
        _refuse_sparse(one, name)
    if not several:
        return value
    sizes = list(dict.fromkeys(tuple(one.shape) for one in value if hasattr(one, "shape")))
    if len(sizes) > 1:
        some = ", ".join(map(str, sizes[:3])) + (", ..." if len(sizes) > 3 else "")
        raise ShapeError(f"{name} is a batch of mixed sizes ({some}): group it by size, one call for each")
    tensors = [is_torch(one) for one in value]
    if not any(tensors):
        return value
    if not all(tensors):
        raise DTypeError(f"{name} is a list of tensors and other things; pass one tensor")
    for one in value:
        refuse_gradient(one, name)
    try:
        return namespace(value[0]).stack(list(value))
    except RuntimeError as error:
        raise ShapeError(f"{name} is a list of tensors that do not stack: {error}") from error


def _refuse_sparse(value: Any, name: str) -> None:
    torch = sys.modules.get("torch")
    if sp.issparse(value) or (is_torch(value) and torch is not None and value.layout != torch.strided):
        method = "to_dense" if is_torch(value) else "toarray"
        raise DTypeError(
            f"{name} is sparse and this model reads every entry: pass {name}.{method}(), or solve it with nnla.solve "
            "or scipy.sparse.linalg.spsolve"
        )
    if isinstance(value, LinearOperator):
        raise DTypeError(f"{name} is known by products only and this model reads its entries: pass a dense array")


def _floats(value: Any, name: str) -> Any:
    """An array or tensor of floats: integers become float64, long doubles are rounded to it."""
    refuse_gradient(value, name)
    if is_torch(value):
        torch = namespace(value)
        value = value.detach()
        if value.is_complex() or (value.dtype == torch.bool and name == "A"):
            raise _wrong_dtype(value.dtype, name)
        return value if value.is_floating_point() else value.to(torch.float64)
    array = asarray(value, name)
    if array.dtype.kind not in ("iuf" if name == "A" else "biuf"):
        raise _wrong_dtype(array.dtype, name)
    if array.dtype.kind == "f" and array.dtype.itemsize <= 8 and array.dtype.isnative:
        return array
    with np.errstate(over="ignore"):
        native = array.dtype.newbyteorder("=")
        return array.astype(native if array.dtype.kind == "f" and native.itemsize <= 8 else np.float64)


def _wrong_dtype(dtype: Any, name: str) -> DTypeError:
    if name == "A":
        return dtype_error(dtype)
    return DTypeError(f"{name} has dtype {dtype}; nnla needs real numbers")


def _plain(array: np.ndarray) -> np.ndarray:
    """Contiguous and writeable, as torch wants to have arrays that it shares memory with."""
    return np.array(array, order="C") if not array.flags.writeable else np.ascontiguousarray(array)


def _matched(A: Any, b: Any, n: int) -> tuple[Any, Any, tuple[int, ...]]:
    """A as (B, n, n), b as (B, n, k) and the shape of x."""
    xp, given = namespace(A), tuple(b.shape)
    if A.ndim == 2:
        if b.ndim not in (1, 2) or given[0] != n:
            hint = "; pass b.T" if b.ndim == 2 and given[1] == n else ""
            raise ShapeError(f"b has shape {given} but A is {n}x{n}: b must have shape ({n},) or ({n}, k){hint}")
        _require_columns(given, b.ndim == 2)
        return A[None], b.reshape(1, n, -1), given
    B = int(A.shape[0])
    vectors, shared = given == (B, n), b.ndim == 2 and given[0] == n
    if vectors and shared and n == B:
        raise ShapeError(
            f"b has shape {given} and A is a batch of {B} {n}x{n} matrices: it could be a vector for each system or "
            f"{n} columns for all; pass b[:, :, None] for the first, b[None] for the second"
        )
    if b.ndim == 1 and given[0] == n:
        return A, xp.broadcast_to(b[None, :, None], (B, n, 1)), (B, n)
    if vectors:
        return A, b[:, :, None], given
    if shared:
        _require_columns(given, True)
        return A, xp.broadcast_to(b[None], (B, *given)), (B, *given)
    if (b.ndim == 3 and given[1] == n and 1 in (B, given[0])) or given[:2] == (B, n):
        _require_columns(given, True)
        if given[0] == 0:
            raise ShapeError(f"b has shape {given}: there is no system in the batch")
        B = max(B, given[0])
        shape = (B, n, given[2])
        return xp.broadcast_to(A, (B, n, n)), xp.broadcast_to(b, shape), shape
    raise ShapeError(
        f"b has shape {given} but A is a batch of {B} {n}x{n} matrices: b must have shape ({B}, {n}), ({B}, {n}, k), "
        f"or ({n},) or ({n}, k) for all of them"
    )


def _require_columns(shape: tuple[int, ...], block: bool) -> None:
    if block and shape[-1] == 0:
        raise ShapeError(f"b has shape {shape}: there is no column in b")


def _require_finite(value: Any, name: str) -> None:
    finite = namespace(value).isfinite(value)
    if bool(finite.all()):
        return
    system, row, column = (int(i) for i in np.argwhere(~to_numpy(finite))[0])
    found = float(value[system, row, column])
    raise NonFiniteError(
        f"{name} contains {found} in system {system}, row {row}, column {column} (from 0); repair it before solving"
    )


# -- units ------------------------------------------------------------------------------------------------------------


def shifted(x: Any, exponents: Any) -> Any:
    """x 2^exponents, exact unless it leaves the range of float64; both of one library, shapes that broadcast.

    Cost: a pass over x.

    >>> shifted(np.array([3.0]), np.array([-1]))
    array([1.5])
    """
    xp = namespace(x)
    if xp is np:
        with np.errstate(over="ignore", under="ignore"):
            if exponents.min(initial=0) >= -1022 and exponents.max(initial=0) <= 1023:
                return x * np.ldexp(1.0, exponents)  # which is rounded the same, and ten times as fast
            return np.ldexp(x, exponents)
    half = exponents // 2  # torch makes 2^exponents first, which overflows where the result need not
    return xp.ldexp(xp.ldexp(x, half), exponents - half)


def exponents_of(sizes: Any) -> Any:
    """Exponents e with 2^-e size in [1, 2) for sizes >= 0; 0 for 0.

    Cost: a pass over the sizes.

    >>> exponents_of(np.array([0.0, 1.0, 12.0])).tolist()
    [0, 0, 3]
    """
    xp = namespace(sizes)
    exponents = xp.frexp(sizes)[1] - 1
    return xp.where(sizes > 0, exponents, exponents * 0)


def column_norms(x: Any) -> Any:
    """(B, k) 2-norms of the columns of x, (B, n, k); squares neither over- nor underflow. NaN and Inf stay.

    Cost: three passes over x.

    >>> column_norms(np.array([[[3e200], [4e200]]]))
    array([[5.e+200]])
    """
    xp = namespace(x)
    largest = xp.amax(xp.abs(x), 1)
    unit = xp.where((largest > 0) & (largest < math.inf), largest, xp.ones_like(largest))
    return unit * xp.sqrt(((x / unit[:, None, :]) ** 2).sum(1))


@dataclass(frozen=True, eq=False)
class DenseBatch:
    """Systems in the units of a run: x = 2^(columns - size) y solves the user's A x = b where y solves them.

    Everything is float64. ``A`` and ``b`` have their rows scaled besides, by powers of two: no row is lost, whatever
    the rows' units are. Zero rows and columns keep the exponent 0.

    Attributes
    ----------
    A : (B, n, n), the largest |entry| of each row in [1, 2)
    b : (B, n, k)
    rows : (B, n) exponents <= 0: the rows of A times 2^rows have the largest |entry| of a matrix in [1, 2)
    size : (B,) exponents of the matrices
    columns : (B, k) exponents of the right-hand sides, whose largest |entry| is in [1, 2) then
    """

    A: Any
    b: Any
    rows: Any
    size: Any
    columns: Any

    @classmethod
    def of(cls, A: Any, b: Any) -> DenseBatch:
        """The units for some systems of a `DenseInput`.

        Cost: four passes over A, two copies of it for a moment.
        """
        xp = namespace(A)
        A, b = (x.to(xp.float64) if xp is not np else x.astype(np.float64) for x in (A, b))
        row = xp.amax(xp.abs(A), 2)
        size = exponents_of(xp.amax(row, 1))
        rows = exponents_of(row) - size[:, None]
        rows = xp.where(row > 0, rows, rows * 0)
        columns = exponents_of(xp.amax(xp.abs(b), 1))
        A = shifted(A, -(rows + size[:, None])[:, :, None])
        b = shifted(b, -(rows[:, :, None] + columns[:, None, :]))
        return cls(A, b, rows, size, columns)

    def __len__(self) -> int:
        return int(self.A.shape[0])

    def __getitem__(self, which: Any) -> DenseBatch:
        """Some of the systems, by their numbers."""
        return DenseBatch(*(part[which] for part in (self.A, self.b, self.rows, self.size, self.columns)))

    def matrices(self) -> Any:
        """(B, n, n) A of the run with its rows as they are to one another: 2^-size times the user's.

        Cost: a copy.
        """
        return shifted(self.A, self.rows[:, :, None])

    def in_user_rows(self, r: Any) -> Any:
        """A right-hand side or residual with its rows as they are to one another: 2^-columns times the user's.

        Cost: a pass over r.
        """
        return shifted(r, self.rows[:, :, None])

    def residual(self, y: Any) -> Any:
        """b - A y, with scaled rows.

        Cost: a product for each column.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return self.b - self.A @ y

    def leave(self, y: Any, dtype: str) -> tuple[Any, Any]:
        """x in the user's units and dtype, and the y that it stands for: another one where digits were lost.

        Raises
        ------
        NonFiniteError
            A finite y whose x is beyond the range of the dtype.

        Cost: some passes over y.
        """
        xp = namespace(y)
        exponents = (self.columns - self.size[:, None])[:, None, :]
        with np.errstate(over="ignore", under="ignore"):
            x = shifted(y, exponents)
            x = x.to(getattr(xp, dtype)) if xp is not np else x.astype(dtype, copy=False)
        if not bool(xp.isfinite(x).all()) and bool(xp.isfinite(y).all()):
            wider = "pass A and b in float64" if dtype == "float32" else "divide b by a power of two, or multiply A"
            limit = "3.4e38" if dtype == "float32" else "1.8e308"
            raise NonFiniteError(f"the solution leaves the range of {dtype} ({limit}): {wider}")
        return x, shifted(x.to(xp.float64) if xp is not np else x.astype(np.float64), -exponents)


def check_batch(batch: Any) -> int:
    """Right-hand sides that a model sees at a time.

    Raises
    ------
    OptionError

    >>> check_batch(8)
    8
    """
    if isinstance(batch, bool) or not isinstance(batch, (int, np.integer)) or batch < 1:
        raise OptionError(f"batch must be a whole number of at least 1, got {batch!r}")
    return int(batch)
