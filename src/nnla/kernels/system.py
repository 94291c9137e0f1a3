"""One sparse matrix in the forms that the native kernels work on, each built when it is first asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.kernels import native
from nnla.kernels.arrays import csr_arrays, plain
from nnla.kernels.machine import cache_sizes
from nnla.polynomials.recurrence import Recurrence

__all__ = ["NativeSystem", "cache_budget"]

_MOSTLY_RUNS = 0.5  # with fewer, gathers take as long as CSR's scalar loads (cfd1: 1.26 against 1.30 ms)


class NativeSystem:
    """The native forms of a float64 CSR matrix with int32 indices.

    Attributes
    ----------
    n, nnz : size and stored entries
    """

    def __init__(self, csr: Any, diagonal: np.ndarray) -> None:
        self.n, self.nnz = int(csr.shape[0]), int(csr.nnz)
        self._arrays = csr_arrays(csr)
        self._diagonal = plain(diagonal, np.float64)
        self._csr_product: Any = None
        self._sliced_product: Any = None
        self._blocks: Any = None
        self._matrices: dict[tuple[str, bool], Any] = {}
        self._scale: np.ndarray | None = None
        self._runs: float | None = None

    @property
    def scale(self) -> np.ndarray:
        """D^-1/2 of the diagonal D, (n,)."""
        if self._scale is None:
            self._scale = 1.0 / np.sqrt(self._diagonal)
        return self._scale

    @property
    def runs(self) -> float:
        """Share of the entries that slices keep in runs, from a sample."""
        if self._runs is None:
            self._runs = float(native.run_share(*self._arrays[:2]))
        return self._runs

    @property
    def threads(self) -> int:
        """Threads that the kernels use."""
        return int(native.max_threads())

    @property
    def worth_slicing(self) -> bool:
        """Whether products in float64 are faster from slices: where most entries lie in runs."""
        return self.runs > _MOSTLY_RUNS

    def product(self, *, sliced: bool = False) -> Any:
        """Products in float64: from the CSR arrays as they are, or from slices, faster but to be built first."""
        if sliced and self._sliced_product is None:
            self._sliced_product = native.Product.sliced(self.matrix("float64", scaled=False))
        if self._sliced_product is not None:
            return self._sliced_product
        if self._csr_product is None:
            self._csr_product = native.Product.csr(*self._arrays)
        return self._csr_product

    def blocks(self) -> Any:
        """The matrix for blocks of vectors: products in float64 and Chebyshev filters in float32 or float64."""
        if self._blocks is None:
            self._blocks = native.BlockMatrix(*self._arrays)
        return self._blocks

    def matrix(self, dtype: str, *, scaled: bool) -> Any:
        """A, or D^-1/2 A D^-1/2, in slices with values of "float64", "float32" or "bfloat16"."""
        key = (dtype, scaled)
        if key not in self._matrices:
            kind = {"float64": native.Matrix64, "float32": native.Matrix32, "bfloat16": native.Matrix16}[dtype]
            self._matrices[key] = kind(*self._arrays, self.scale if scaled else None)
        return self._matrices[key]

    def polynomial(self, recurrence: Recurrence, dtype: str, *, scaled: bool) -> Any:
        """The native preconditioner P(A), or S P(S A S) S with S = D^-1/2; None where it has no native form."""
        layers = native_layers(recurrence)
        if layers is None:
            return None
        kinds = {"float64": native.Polynomial64, "float32": native.Polynomial32, "bfloat16": native.Polynomial16}
        scale = self.scale if scaled else None
        return kinds[dtype](self.matrix(dtype, scaled=scaled), *layers, scale, *cache_budget())

    def holds(self, dtype: str, *, scaled: bool) -> bool:
        """Whether the entries are within the range of the dtype with room to spare."""
        if dtype == "float64" or scaled:  # D^-1/2 A D^-1/2 has entries of at most 1
            return True
        data = self._arrays[2]
        largest = max(float(data.max()), -float(data.min())) if data.size else 1.0
        return 1e-15 < largest < 1e15


def cache_budget() -> tuple[int, int]:
    """Bytes that a sweep of the cache-blocked recurrence may keep in the second-level cache, and in the last level.

    Of the last level a quarter: other programs use it too.
    """
    sizes = cache_sizes()
    near = sizes.get(2, 1 << 20)
    return near, max(sizes.get(3, 0) // 4, 2 * near)


def native_layers(recurrence: Recurrence) -> tuple[list[list[float]], float, float] | None:
    """Coefficients in terms of A itself: (rho, gamma, eta, alpha, beta per layer), and C_0 = a z + b A z.

    None for a recurrence that never reads C_0, as the kernels always make it, and for coefficients beyond float64.
    """
    if not recurrence.starts_with_product:
        return None
    shift, scale = recurrence.shift / recurrence.scale, 1.0 / recurrence.scale
    with np.errstate(all="ignore"):
        alpha, beta = recurrence.alpha - recurrence.beta * shift, recurrence.beta * scale
    layers = [recurrence.rho, recurrence.gamma, recurrence.eta, alpha, beta]
    if not all(np.isfinite(layer).all() for layer in layers):
        return None
    return [[float(v) for v in layer] for layer in layers], -shift, scale
