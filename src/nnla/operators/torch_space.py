"""Tensors of torch on one device; torch is there where this is used, and never imported."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from nnla.errors import DTypeError
from nnla.operators.kinds import is_torch, to_numpy
from nnla.operators.spaces import Space
from nnla.operators.validation import asarray, torch_coordinates, torch_diagonal

__all__ = ["TorchSpace"]


class TorchSpace(Space):
    """Float64 tensors; matrices are strided or canonical CSR tensors.

    Parameters
    ----------
    device : of the vectors
    """

    name = "torch"

    def __init__(self, device: Any) -> None:
        self.device = device
        self.dtype = sys.modules["torch"].float64

    def inner(self, x: Any, y: Any) -> Any:
        if x.ndim == 1:
            return float(x @ y)
        return (x * y).sum(dim=0).cpu().numpy().astype(np.float64, copy=False)

    def finite(self, x: Any) -> bool:
        return bool(x.isfinite().all())

    def zeros_like(self, x: Any) -> Any:
        return x.new_zeros(x.shape)

    def row(self, values: np.ndarray, like: Any) -> Any:
        return float(values[0]) if like.ndim == 1 else like.new_tensor(values)

    def host(self, x: Any) -> np.ndarray:
        return to_numpy(x)

    def own(self, x: Any) -> Any:
        if not is_torch(x):
            x = asarray(x, "the vector")
            if x.dtype.kind not in "biuf":
                raise DTypeError(f"an array has dtype {x.dtype}; nnla needs real numbers")
            # torch knows neither long doubles nor other byte orders
            x = sys.modules["torch"].from_numpy(np.ascontiguousarray(x, dtype=np.float64))
        elif x.is_complex():
            raise DTypeError(f"a tensor has dtype {x.dtype}; nnla needs real numbers")
        return x.to(self.device, self.dtype)

    def _contiguous(self, x: Any) -> Any:
        return x.contiguous()

    def diagonal(self, matrix: Any) -> Any:
        return torch_diagonal(matrix)

    def dense(self, matrix: Any) -> np.ndarray:
        return to_numpy(matrix.to_dense())

    def scaled(self, matrix: Any, exponents: np.ndarray) -> Any:
        torch = sys.modules["torch"]
        powers = torch.from_numpy(np.asarray(exponents, dtype=np.int64)).to(self.device)
        if matrix.layout == torch.strided:
            return _ldexp(matrix, powers[:, None] + powers)
        rows, columns = torch_coordinates(matrix)
        values = _ldexp(matrix.values(), powers[rows] + powers[columns])
        return torch.sparse_csr_tensor(matrix.crow_indices(), matrix.col_indices(), values, tuple(matrix.shape))

    def rounding(self, matrix: Any, x: Any) -> Any:
        torch = sys.modules["torch"]
        if matrix.layout == torch.strided:
            return matrix.abs() @ x.abs()
        parts = (matrix.crow_indices(), matrix.col_indices(), matrix.values().abs())
        return torch.sparse_csr_tensor(*parts, tuple(matrix.shape)) @ x.abs()


def _ldexp(x: Any, powers: Any) -> Any:
    """x 2^powers: torch's own makes 2^powers first, which overflows where the result need not."""
    half = powers // 2
    torch = sys.modules["torch"]
    return torch.ldexp(torch.ldexp(x, half), powers - half)
