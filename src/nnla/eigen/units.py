"""Eigenvalues in any unit: A is scaled by a power of two where its squares would leave the range of float64."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.errors import NonFiniteError
from nnla.operators.numpy_space import Products
from nnla.operators.operator import Operator

__all__ = ["in_good_units", "unscaled", "unscaled_values"]

_GOOD = 2.0**-300, 2.0**300  # a norm whose square, times any n, is no concern


def in_good_units(op: Operator) -> tuple[Operator, int]:
    """The operator 2^-e A and e, so that its largest entry is about 1; A itself and 0 where that is needless.

    Exact but for entries 2^1022 times smaller than the largest. Products of the new operator are its own.

    Cost: a pass over the entries, or a product where they are not known; a copy of the entries if they are scaled.
    """
    size = _largest(op)
    if size == 0 or _GOOD[0] <= size <= _GOOD[1] or not math.isfinite(size):
        return op, 0
    e = math.frexp(size)[1]
    if op.csr is not None:
        parts = np.ldexp(op.csr.data, -e), op.csr.indices, op.csr.indptr
        scaled = sp.csr_array(parts, shape=op.shape)
        scaled.has_canonical_format = True
        return Operator(scaled, op.nnz), e
    if isinstance(op.matrix, np.ndarray):
        return Operator(np.ldexp(op.matrix, -e), op.nnz), e
    if op.nnz is None:
        return Operator(Products(_Scaled(op, -e), op.n)), e
    return Operator(_torch_scaled(op.matrix, -e), op.nnz, space=op.space), e


def unscaled(value: float, e: int) -> float:
    """2^e times a figure of a report: infinite where float64 ends."""
    try:
        return math.ldexp(value, e)
    except OverflowError:
        return math.copysign(math.inf, value)


def unscaled_values(w: np.ndarray, e: int) -> np.ndarray:
    """2^e w.

    Raises
    ------
    NonFiniteError
        An eigenvalue is larger than any number of float64.
    """
    with np.errstate(over="ignore", under="ignore"):
        values = np.ldexp(w, e)
    if not np.all(np.isfinite(values)):
        worst = float(w[int(np.argmax(np.abs(w)))])
        raise NonFiniteError(f"an eigenvalue is {worst:.6g} * 2^{e}, beyond float64; divide A by a power of two first")
    return values


class _Scaled:
    """2^e times an operator that is known by its products."""

    def __init__(self, op: Operator, e: int) -> None:
        self._op, self._e, self.shape, self.dtype = op, e, op.shape, op.dtype

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        return np.ldexp(self._op.matvec(x), self._e)


def _largest(op: Operator) -> float:
    """The largest entry in magnitude, or that of a product with a random vector."""
    if op.csr is not None:
        return float(np.abs(op.csr.data).max(initial=0.0))
    if isinstance(op.matrix, np.ndarray):
        return float(max(op.matrix.max(), -op.matrix.min()))
    if op.nnz is None:
        z = np.random.default_rng(0).standard_normal(op.n)  # not of signs: those may lie in the null space of a graph
        return float(np.abs(op.matvec(op.as_vector(z))).max())
    torch = sys.modules["torch"]
    values = op.matrix if op.matrix.layout == torch.strided else op.matrix.values()
    return float(values.abs().max()) if values.numel() else 0.0


def _torch_scaled(matrix: Any, e: int) -> Any:
    torch = sys.modules["torch"]
    half = e // 2  # 2^e itself may be out of range
    if matrix.layout == torch.strided:
        return matrix * 2.0**half * 2.0 ** (e - half)
    values = matrix.values() * 2.0**half * 2.0 ** (e - half)
    return torch.sparse_csr_tensor(matrix.crow_indices(), matrix.col_indices(), values, tuple(matrix.shape))
