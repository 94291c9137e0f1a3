"""`method="amg"`: a V-cycle in single precision, smoothed by polynomials of the diagonally scaled operator.

A smoother is a `Recurrence`: x += P(D^-1 A) D^-1 r. By default the fourth-kind Chebyshev polynomials with
optimised weights; ``multigrid(A, smoother=...)`` takes any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.classical import chebyshev4, chebyshev4_optimised
from nnla.errors import OptionError
from nnla.hierarchies import Hierarchy, Level, _native, build_hierarchy
from nnla.recurrences import Recurrence

__all__ = ["Multigrid", "SmootherLevel", "multigrid"]

_LANCZOS_STEPS = 10
_MARGIN = 1.05
_LARGEST_INVERSE = 1500
_COARSEST_DEGREE = 15


@dataclass(frozen=True)
class SmootherLevel:
    """What a smoother is chosen by: the level's number from the finest, its size, and its spectrum's end.

    `bound` is an upper bound of the largest eigenvalue of D^-1 A (estimated, with a margin).
    """

    index: int
    n: int
    nnz: int
    bound: float


@dataclass
class Multigrid:
    """A V-cycle bound to a matrix: `solve` is the preconditioner, `native` what native CG takes."""

    hierarchy: Hierarchy
    smoothers: list[Recurrence | None]
    native: Any
    seconds: float
    cycle: Callable[[np.ndarray], np.ndarray] = field(repr=False)

    @property
    def kind(self) -> str:
        return self.hierarchy.kind

    @property
    def sizes(self) -> list[int]:
        return [level.n for level in self.hierarchy.levels]

    @property
    def operator_complexity(self) -> float:
        return self.hierarchy.operator_complexity

    def solve(self, r: Any) -> np.ndarray:
        """M r for (n,) or (n, k)."""
        r = np.asarray(r, dtype=np.float64)
        if r.ndim == 1:
            return self.cycle(r)
        out = np.empty_like(r)
        for k in range(r.shape[1]):
            out[:, k] = self.cycle(r[:, k])
        return out


def multigrid(
    A: sp.csr_array,
    *,
    kind: str = "auto",
    steps: int = 2,
    smoother: Callable[[SmootherLevel], Recurrence] | None = None,
    single: bool = True,
    native: bool = True,
) -> Multigrid:
    started = time.perf_counter()
    if smoother is None:
        smoother = lambda level: chebyshev4_optimised(level.bound, steps - 1)  # noqa: E731
    hierarchy = build_hierarchy(A, kind, native=native)
    levels = hierarchy.levels
    native = native and _native is not None
    worker = _native.make_multigrid(single) if native else None
    for level, coarse in zip(levels, [*levels[1:], None], strict=True):
        if worker is None:
            continue
        parts = (level.A.indptr, level.A.indices, level.A.data, level.scale)
        if coarse is None:
            worker.add_coarsest(*parts)
        else:
            worker.add_level(*parts, level.P.indptr, level.P.indices, level.P.data, coarse.scale)
    smoothers = []
    for k, level in enumerate(levels[:-1]):
        info = SmootherLevel(k, level.n, level.A.nnz, _bound(level, worker, k))
        r = smoother(info)
        smoothers.append(r)
        if worker is not None:
            worker.set_smoother(k, r.rho, r.gamma, r.eta, r.alpha, r.beta, r.shift, r.scale)
    last = levels[-1]
    if last.n <= _LARGEST_INVERSE:
        smoothers.append(None)
        worker.set_inverse(_inverse(last))
    else:
        k = len(levels) - 1
        r = chebyshev4(_bound(last, worker, k), _COARSEST_DEGREE)
        smoothers.append(r)
        worker.set_smoother(k, r.rho, r.gamma, r.eta, r.alpha, r.beta, r.shift, r.scale)

    def cycle(r):
        z = np.empty(r.shape)
        worker.apply(np.ascontiguousarray(r), z)
        return z

    return Multigrid(hierarchy, smoothers, worker, time.perf_counter() - started, cycle)


def _bound(level: Level, worker: Any, index: int) -> float:
    """An upper bound of the spectrum of D^-1 A: the smaller of Gershgorin's and a Lanczos estimate with a margin."""
    sums = abs(level.A) @ np.ones(level.n) * level.scale**2
    gershgorin = float(sums.max())
    if gershgorin <= 2.0 + 1e-6:
        return gershgorin
    alpha, beta = worker.lanczos(index, _LANCZOS_STEPS)
    T = np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1)
    values, vectors = np.linalg.eigh(T)
    estimate = values[-1] + beta[-1] * abs(vectors[-1, -1])
    return float(min(gershgorin, _MARGIN * estimate))


def _inverse(level: Level) -> np.ndarray:
    A = level.A.toarray() * level.scale * level.scale[:, None]
    A = (A + A.T) / 2
    try:
        root = np.linalg.inv(np.linalg.cholesky(A))
        return root.T @ root
    except np.linalg.LinAlgError:
        values, V = np.linalg.eigh(A)
        keep = values > 1e-12 * values[-1]
        return np.ascontiguousarray((V[:, keep] / values[keep]) @ V[:, keep].T)
