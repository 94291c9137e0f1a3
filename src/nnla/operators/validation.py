"""What must hold before a matrix is called symmetric positive definite, and the messages when it does not.

The value checks behind `nnla.operators.operator.as_operator`. Rows and columns in messages count from 0.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.errors import DTypeError, NonFiniteError, NotPositiveDefiniteError, NotSymmetricError, ShapeError
from nnla.operators.gradients import refuse_gradient
from nnla.operators.kinds import is_torch, to_numpy

__all__ = [
    "asarray",
    "check_csr",
    "check_dense",
    "check_products",
    "check_torch",
    "dtype_error",
    "require_real",
    "require_square",
    "require_vector",
    "symmetric_on_device",
    "symmetry_rtol",
    "torch_coordinates",
    "torch_diagonal",
]

# Symmetric up to rounding: |a_ij - a_ji| <= SYMMETRY_RTOL * sqrt(a_ii a_jj), see `_raise_if_asymmetric`.
SYMMETRY_RTOL = 1e-10
# For operators known only by products: |u'Av - v'Au| relative to the spread of u'Av over random u.
PRODUCT_RTOL = 1e-8

_GENERAL = "nnla is for symmetric matrices; for general A use scipy.sparse.linalg (gmres, eigs)"
_INDEFINITE = "if -A is positive definite solve (-A) x = -b; for indefinite A use scipy.sparse.linalg.minres"


# --------------------------------------------------------------------------------------------------------
# Type and shape: always checked


def asarray(A: Any, name: str) -> np.ndarray:
    """`A` as a NumPy array, or a named error where NumPy would make an object array or drop a mask."""
    if np.ma.is_masked(A):
        raise DTypeError(f"{name} is a masked array with masked entries; fill them with .filled(value)")
    refuse_gradient(A, name)
    try:
        array = to_numpy(A) if is_torch(A) else np.asarray(A)
    except (TypeError, RuntimeError, OverflowError) as error:  # of an object that says how it becomes an array
        raise DTypeError(f"{name} is a {type(A).__name__} that does not become an array: {error}") from error
    except ValueError as error:
        raise ShapeError(f"{name} is not a rectangular array: {error}") from error
    if array.dtype.kind == "O":
        raise DTypeError(f"{name} is a {type(A).__name__} with dtype object; pass an array of real numbers")
    return array


def require_real(dtype: np.dtype) -> None:
    """Raise `DTypeError` unless `dtype` is integer or floating."""
    if dtype.kind not in "iuf":
        raise dtype_error(dtype)


def dtype_error(dtype: Any) -> DTypeError:
    """The error for a matrix whose entries are not real numbers."""
    remedy = "pass A.astype(float)" if str(dtype).endswith("bool") else "pass real numbers"
    if "complex" in str(dtype):
        remedy = "pass A.real if the imaginary part is zero; for complex systems use scipy.sparse.linalg"
    return DTypeError(f"A has dtype {dtype}; nnla works with real matrices: {remedy}")


def require_square(shape: Any) -> int:
    """n of the shape (n, n); `ShapeError` for any other shape and for n = 0."""
    shape = tuple(int(s) for s in shape)
    if len(shape) != 2:
        raise ShapeError(f"A has shape {shape}; a matrix with two dimensions is needed")
    if shape[0] != shape[1]:
        raise ShapeError(f"A has shape {shape} and is not square; for least squares use scipy.sparse.linalg.lsmr")
    if shape[0] == 0:
        raise ShapeError("A is empty (0x0); there is nothing to solve")
    return shape[0]


def require_vector(shape: tuple[int, ...], n: int, name: str) -> None:
    """`ShapeError` unless a vector or block of this shape fits a matrix of n rows, and has columns."""
    if len(shape) not in (1, 2) or shape[0] != n:
        hint = f"; pass {name}.T" if len(shape) == 2 and shape[1] == n else ""
        raise ShapeError(f"{name} has shape {shape} but A is {n}x{n}: {name} must have shape ({n},) or ({n}, k){hint}")
    if len(shape) == 2 and shape[1] == 0:
        raise ShapeError(f"{name} has shape {shape} but A is {n}x{n}: there is no column in {name}")


# --------------------------------------------------------------------------------------------------------
# Explicit matrices


def check_csr(csr: Any, eps: float, definite: bool = True) -> None:
    """Raise unless a canonical CSR matrix is finite, symmetric and of positive diagonal.

    `eps` is the rounding unit of the type in which the entries were given (0 for integers); the diagonal may
    have any sign unless `definite`.
    Cost: about three products when exactly symmetric, some ten otherwise; memory of one copy.

    References
    ----------
    Golub & Van Loan, Matrix Computations, 4th ed., section 4.2.
    """
    finite = np.isfinite(csr.data)
    if not finite.all():
        k = int(np.argmin(finite))
        raise _non_finite(csr.data[k], _row_of(csr, k), int(csr.indices[k]))
    mirror = csr.T.tocsr()  # a counting sort, which also leaves the columns sorted
    diagonal = csr.diagonal()
    if np.array_equal(csr.indptr, mirror.indptr) and np.array_equal(csr.indices, mirror.indices):
        k = np.flatnonzero(csr.data != mirror.data)
        if len(k):
            pairs = _row_of(csr, k), csr.indices[k], csr.data[k], mirror.data[k]
            _raise_if_asymmetric(*pairs, diagonal, eps, partial(_outline_of_csr, csr))
    else:
        difference = (csr - mirror).tocoo()
        i, j = difference.row[difference.data != 0], difference.col[difference.data != 0]
        if len(i):
            a_ij, a_ji = (np.asarray(csr[rows, columns]).ravel() for rows, columns in ((i, j), (j, i)))
            _raise_if_asymmetric(i, j, a_ij, a_ji, diagonal, eps, partial(_outline_of_csr, csr))
    if definite:
        _check_diagonal(diagonal, lambda rows: abs(csr[rows]).sum(axis=1))


def check_dense(dense: np.ndarray, eps: float, definite: bool = True, block: int = 512) -> None:
    """Raise unless a dense matrix is finite, symmetric and of positive diagonal; `eps` as in `check_csr`.

    Cost: each pair a_ij, a_ji compared once, n^2 / 2 comparisons in tiles; memory of a few tiles.

    References
    ----------
    Golub & Van Loan, Matrix Computations, 4th ed., section 4.2.
    """
    n = dense.shape[0]
    found: list[tuple[np.ndarray, ...]] = []
    for top in range(0, n, block):  # tiles of the upper triangle: bounded memory, and kind to the cache
        finite = np.isfinite(dense[top : top + block])
        if not finite.all():
            row, column = divmod(int(np.argmin(finite)), n)
            raise _non_finite(dense[top + row, column], top + row, column)
        for left in range(top, n, block):
            tile = dense[top : top + block, left : left + block]
            mirror = dense[left : left + block, top : top + block].T
            i, j = np.nonzero(tile != mirror)
            if len(i):
                found.append((i + top, j + left, tile[i, j], mirror[i, j]))
    if found:
        i, j, a_ij, a_ji = (np.concatenate(part) for part in zip(*found, strict=True))
        _raise_if_asymmetric(i, j, a_ij, a_ji, dense.diagonal(), eps, partial(_outline_of_dense, dense, block))
    if definite:
        _check_diagonal(dense.diagonal(), lambda rows: np.abs(dense[rows]).sum(axis=1))


def symmetry_rtol(eps: float) -> float:
    """The tolerance of the symmetry check for entries given with the rounding unit `eps`.

    A float32 matrix symmetric up to its own rounding is as symmetric as its user could make it.
    """
    return min(max(SYMMETRY_RTOL, 16 * eps), 0.02)


def _row_of(csr: Any, k: Any) -> Any:
    return np.searchsorted(csr.indptr, k, side="right") - 1


def _non_finite(value: Any, row: Any, column: Any) -> NonFiniteError:
    return NonFiniteError(
        f"A contains {float(value)} at row {int(row)}, column {int(column)} (from 0); repair it first"
    )


@dataclass(frozen=True)
class _Outline:
    """Where a matrix has entries off its diagonal that are not zero: what tells common mistakes from one another."""

    lower: bool  # some below the diagonal
    upper: bool
    in_row: np.ndarray  # (n,), whether the row has any
    in_column: np.ndarray


def _outline_of_csr(csr: Any) -> _Outline:
    rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
    used = (csr.data != 0) & (rows != csr.indices)
    i, j = rows[used], csr.indices[used]
    in_row, in_column = (np.bincount(k, minlength=csr.shape[0]) > 0 for k in (i, j))
    return _Outline(bool((i > j).any()), bool((i < j).any()), in_row, in_column)


def _outline_of_dense(dense: np.ndarray, block: int) -> _Outline:
    n = dense.shape[0]
    lower = upper = False
    in_row, in_column = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for top in range(0, n, block):
        used = dense[top : top + block] != 0
        used[np.arange(len(used)), np.arange(top, top + len(used))] = False
        lower, upper = lower or bool(np.tril(used, top).any()), upper or bool(np.triu(used, top).any())
        in_row[top : top + block] = used.any(axis=1)
        in_column |= used.any(axis=0)
    return _Outline(lower, upper, in_row, in_column)


def _remedy(i: np.ndarray, j: np.ndarray, outline: _Outline) -> str:
    """What to do about pairs of entries (i, j) and (j, i) that differ beyond rounding."""
    if outline.lower != outline.upper:
        which = "lower" if outline.lower else "upper"
        return f"only the {which} triangle is stored; mirror it: A + A.T - diag(A), or use gmres if A is triangular"
    for kind, other, bare in (
        ("rows", "columns", ~outline.in_row & outline.in_column),
        ("columns", "rows", ~outline.in_column & outline.in_row),
    ):
        if (bare[i] | bare[j]).all():
            which = np.flatnonzero(bare)
            some = ", ".join(map(str, which[:5])) + (f", ... ({len(which)} in all)" if len(which) > 5 else "")
            return (
                f"{kind} {some} (from 0) hold nothing but their diagonal entry and their {other} were kept, as when "
                f"boundary values are set in {kind} only; symmetrise the elimination: clear these {other} as well and "
                "subtract them, times the values, from b"
            )
    return f"pass (A + A.T)/2 if the difference is rounding; {_GENERAL}"


def _raise_if_asymmetric(
    i: np.ndarray,
    j: np.ndarray,
    a_ij: np.ndarray,
    a_ji: np.ndarray,
    diagonal: np.ndarray,
    eps: float,
    outline: Callable[[], _Outline],
) -> None:
    # sqrt(a_ii a_jj) bounds |a_ij| in an SPD matrix and follows any diagonal scaling D A D exactly, so the
    # verdict does not depend on units; the entries themselves stand in where the diagonal is no guide.
    rtol = symmetry_rtol(eps)
    root = np.sqrt(np.abs(diagonal))
    with np.errstate(over="ignore"):
        difference = np.abs(a_ij - a_ji)
    scale = np.maximum(root[i] * root[j], np.maximum(np.abs(a_ij), np.abs(a_ji)))
    bad = difference > rtol * scale
    if not bad.any():
        return
    k = int(np.argmax(np.where(bad, difference, -1.0)))
    raise NotSymmetricError(
        f"A is not symmetric: |a_ij - a_ji| = {difference[k]:.3g} at row {i[k]}, column {j[k]} (from 0), "
        f"a_ij = {a_ij[k]:.6g}, a_ji = {a_ji[k]:.6g}; {_remedy(i[bad], j[bad], outline())}"
    )


def _check_diagonal(diagonal: np.ndarray, sizes: Callable[[np.ndarray], Any]) -> None:
    """Raise unless the diagonal is positive, but for rows that are zero: unknowns that nothing is tied to.

    ``sizes`` gives the sums of the magnitudes of some rows.
    """
    bad = np.flatnonzero(~(diagonal > 0))
    if len(bad):
        zero = np.ravel(sizes(bad)) == 0
        if zero.all() and len(bad) == len(diagonal):
            raise NotPositiveDefiniteError("A is not positive definite: all its entries are zero; check its assembly")
        bad = bad[~zero]
    if len(bad):
        row = int(bad[0])
        raise NotPositiveDefiniteError(
            f"A is not positive definite: its diagonal entry in row {row} (from 0) is {diagonal[row]:.6g} "
            f"and must be positive; {_INDEFINITE}"
        )


# --------------------------------------------------------------------------------------------------------
# torch


def check_torch(matrix: Any, eps: float, definite: bool = True) -> None:
    """`check_dense` or `check_csr` for a float64 tensor, strided or in canonical CSR.

    The verdict on a sound matrix never leaves an accelerator. Anything else goes to the host, which finds
    out exactly what is wrong and where, or that it is only rounding.

    Cost: on an accelerator a sort of the entries (sparse) or one comparison (dense); else that of `check_csr` or
    `check_dense`.
    """
    torch = sys.modules["torch"]
    on_device = matrix.device.type != "cpu" and symmetric_on_device(matrix)
    if on_device and (not definite or bool((torch_diagonal(matrix) > 0).all())):
        return
    if matrix.layout == torch.strided:
        check_dense(to_numpy(matrix), eps, definite)
    else:
        n = matrix.shape[0]
        parts = (matrix.values(), matrix.col_indices(), matrix.crow_indices())
        check_csr(sp.csr_array(tuple(to_numpy(part) for part in parts), shape=(n, n)), eps, definite)


def symmetric_on_device(matrix: Any) -> bool:
    """Whether a float64 tensor, strided or in canonical CSR, is finite and exactly symmetric.

    Cost: a sort of the entries and three more arrays of their number; n^2 comparisons for a dense one.
    """
    torch = sys.modules["torch"]
    dense = matrix.layout == torch.strided
    if not bool(torch.isfinite(matrix if dense else matrix.values()).all()):
        return False
    if dense:
        return torch.equal(matrix, matrix.T)
    rows, columns = torch_coordinates(matrix)
    transposed = torch.stack([columns, rows])
    mirror = torch.sparse_coo_tensor(transposed, matrix.values(), tuple(matrix.shape)).coalesce()
    return torch.equal(mirror.indices(), transposed.flip(0)) and torch.equal(mirror.values(), matrix.values())


def torch_coordinates(matrix: Any) -> tuple[Any, Any]:
    """Row and column (int64) of every stored entry of a CSR tensor."""
    torch = sys.modules["torch"]
    counts = matrix.crow_indices().diff()
    rows = torch.repeat_interleave(torch.arange(matrix.shape[0], device=matrix.device), counts)
    return rows, matrix.col_indices().to(torch.int64)


def torch_diagonal(matrix: Any) -> Any:
    """The diagonal of a strided or canonical CSR tensor as a new tensor (n,)."""
    torch = sys.modules["torch"]
    if matrix.layout == torch.strided:
        return matrix.diagonal().clone()
    rows, columns = torch_coordinates(matrix)
    result = torch.zeros(matrix.shape[0], dtype=matrix.dtype, device=matrix.device)
    result[rows[rows == columns]] = matrix.values()[rows == columns]
    return result


# --------------------------------------------------------------------------------------------------------
# Operators known only by their products


def check_products(matvec: Callable[[np.ndarray], np.ndarray], n: int, eps: float, definite: bool = True) -> np.ndarray:
    """Raise unless two random vectors u, v agree with a finite, symmetric, positive definite operator.

    Returns the size of each row, (n,), as the two products show it: independent numbers about as large as the 2-norm.

    Cost: two products.
    """
    u, v = np.random.default_rng(0).standard_normal((2, n))
    try:
        Au, Av = matvec(u), matvec(v)
    except ValueError as error:
        # SciPy reshapes what a matvec returns; where that fails (and only there) say so by name.
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
        if not module.startswith("scipy.sparse.linalg._interface"):
            raise
        raise ShapeError(f"A.matvec must return {n} numbers for a vector of shape ({n},): {error}") from error
    for product in (Au, Av):
        finite = np.isfinite(product)
        if not finite.all():
            row = int(np.argmin(finite))
            raise NonFiniteError(f"A @ x contains {product[row]} at index {row} for a random vector x; repair A.matvec")
    # In units in which the largest number is about 1: squares of entries near the ends of float64 are not to overflow
    # or vanish. A power of two, so that no rounding is added.
    sizes = np.maximum(np.abs(Au), np.abs(Av))
    unit = _power_of_two(float(sizes.max()))
    Au, Av = Au / unit, Av / unit
    left, right = float(u @ Av), float(v @ Au)
    # For standard normal u the number u'w has standard deviation |w|: the natural scale of the difference.
    scale = max(abs(left), abs(right), float(np.linalg.norm(Au)), float(np.linalg.norm(Av)))
    if abs(left - right) > max(PRODUCT_RTOL, 100 * eps) * scale:
        raise NotSymmetricError(
            f"A is not symmetric: u'Av = {left:.12g} but v'Au = {right:.12g} (times {unit:.3g}) for random "
            f"u, v; declare dtype=numpy.float32 if its products are computed in float32; {_GENERAL}"
        )
    quadratic = min(float(u @ Au), float(v @ Av))
    if definite and not quadratic > 0:
        raise NotPositiveDefiniteError(
            f"A is not positive definite: z'Az = {quadratic * unit:.6g} for a random z; {_INDEFINITE}"
        )
    return sizes


def _power_of_two(size: float) -> float:
    """A power of two near `size`; 1 for 0."""
    return math.ldexp(1.0, min(max(math.frexp(size)[1], -1020), 1020)) if size > 0 else 1.0
