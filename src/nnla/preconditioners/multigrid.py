"""`method="amg"`: a V-cycle in single precision, smoothed by polynomials of the diagonally scaled operator.

A smoother is a `Recurrence` P: x += P(D^-1 A) D^-1 r. By default the fourth-kind Chebyshev polynomials with
optimised weights; ``multigrid(A, smoother=...)`` takes any other, level by level.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla import kernels
from nnla.errors import OptionError
from nnla.kernels.arrays import csr_arrays, plain
from nnla.operators.numpy_space import NUMPY
from nnla.polynomials.classical import chebyshev4, chebyshev4_optimised
from nnla.polynomials.recurrence import Recurrence
from nnla.preconditioners.multigrid_setup import Hierarchy, build_hierarchy
from nnla.spectra.lanczos import lanczos, tridiagonal

__all__ = ["Multigrid", "SmootherLevel", "default_smoother", "multigrid"]

_LANCZOS_STEPS = 10
_MARGIN = 1.05
_LARGEST_INVERSE = 800  # a last level larger than this is smoothed, not solved
_COARSEST_DEGREE = 15
_MOST_STEPS = 4
_LONG_ROWS = 20


@dataclass(frozen=True)
class SmootherLevel:
    """What a smoother is chosen by.

    Attributes
    ----------
    index : the level, 0 for the finest
    n, nnz : size and stored entries of its operator
    bound : upper bound of the largest eigenvalue of D^-1 A, an estimate with a margin
    kind : of coarsening, "aggregation" or "classical"
    block : unknowns a node
    """

    index: int
    n: int
    nnz: int
    bound: float
    kind: str
    block: int = 1


def default_smoother(level: SmootherLevel) -> Recurrence:
    """Fourth-kind Chebyshev with optimised weights, of a degree that grows on coarser levels.

    Steps are cheap on coarse levels, and the errors of a V-cycle accumulate there: one step more a level spares
    outer iterations at next to no work. Classical coarsening has a better correction, and a second level as costly
    as the first: it starts from one step, and later. Long rows without blocks mean entries of either sign, which
    aggregation does not resolve: most of the work is left to the smoother.

    Cost: none beside `chebyshev4_optimised`, whose weights are computed once.

    References
    ----------
    Lottes, Optimal polynomial smoothers for multigrid V-cycles, Numer. Lin. Alg. Appl. 2023, section 5.
    """
    if level.kind == "classical":
        steps = max(level.index, 1)
    elif level.block == 1 and level.nnz > _LONG_ROWS * level.n:
        steps = _MOST_STEPS
    else:
        steps = level.index + 2
    steps = min(steps, _MOST_STEPS)
    return chebyshev4_optimised(level.bound, steps - 1)


@dataclass
class Multigrid:
    """A V-cycle bound to a matrix.

    Attributes
    ----------
    hierarchy : the levels, the kind of coarsening and the reason for it
    smoothers : a `Recurrence` in D^-1 A for each level; None for the last where it is solved by an inverse
    native : what native CG takes as its preconditioner; None without the native kernels
    seconds : set-up time
    """

    hierarchy: Hierarchy
    smoothers: list[Recurrence | None]
    native: Any
    seconds: float
    _cycle: Callable[[np.ndarray], np.ndarray] = field(repr=False)

    def solve(self, r: Any) -> np.ndarray:
        """One V-cycle from zero, M r, for (n,) or (n, k); symmetric positive definite."""
        r = np.asarray(r, dtype=np.float64)
        if r.ndim == 1:
            return self._cycle(r)
        out = np.empty(r.shape)
        for k in range(r.shape[1]):
            out[:, k] = self._cycle(r[:, k])
        return out

    @property
    def kind(self) -> str:
        return self.hierarchy.kind

    @property
    def operator_complexity(self) -> float:
        return self.hierarchy.operator_complexity

    @property
    def work(self) -> float:
        """Work of one cycle in products with A: smoothing, residuals and transfers."""
        total = 0
        for level, smoother in zip(self.hierarchy.levels, self.smoothers, strict=True):
            if smoother is None:
                total += level.n**2
            elif level.P is None:
                total += smoother.products * level.A.nnz
            else:
                total += (2 * smoother.products + 2) * level.A.nnz + 2 * level.P.nnz
        return total / max(self.hierarchy.levels[0].A.nnz, 1)

    def describe(self) -> str:
        """One line for the report."""
        sizes = ", ".join(str(level.n) for level in self.hierarchy.levels)
        how = "" if self.native is not None else ", in NumPy"
        return (
            f"{self.kind} multigrid ({self.hierarchy.reason}), levels of {sizes} unknowns, operator complexity "
            f"{self.operator_complexity:.2f}{how}"
        )


def multigrid(
    A: sp.csr_array,
    *,
    kind: str = "auto",
    smoother: Callable[[SmootherLevel], Recurrence] | None = None,
    single: bool = True,
    native: bool = True,
) -> Multigrid:
    """A symmetric V-cycle for a symmetric positive definite matrix, to precondition CG with.

    Parameters
    ----------
    A : csr_array (n, n), float64 with sorted, unique indices; not modified
    kind : "auto", "aggregation" or "classical"
        Coarsening; see `nnla.preconditioners.multigrid_setup.choose_kind`.
    smoother : callable level -> Recurrence, optional
        P in x += P(D^-1 A) D^-1 r, before and after the coarse correction; |1 - x P(x)| < 1 on (0, level.bound].
        Default: `default_smoother`.
    single : work in float32 inside the cycle
    native : use the native kernels where they are installed

    Raises
    ------
    MissingDependencyError
        PyAMG is not installed.
    NotPositiveDefiniteError
        No hierarchy for this matrix: it is not positive definite.
    OptionError
        Unknown kind, a smoother that is not positive on its level, or too many entries for 32-bit indices.

    Notes
    -----
    Cost: a set-up of some ten to fifty products; `Multigrid.work` products' worth a cycle. Memory: about
    (1 + operator complexity) times A.

    References
    ----------
    J. Lottes, Optimal polynomial smoothers for multigrid V-cycles, Numer. Lin. Alg. Appl. 2023.
    P. Vanek, J. Mandel, M. Brezina, Algebraic multigrid by smoothed aggregation, Computing 56 (1996).
    J. Ruge, K. Stueben, Algebraic multigrid, 1987.

    Examples
    --------
    >>> import numpy as np, nnla
    >>> A = nnla.problems.poisson2d(40)
    >>> M = multigrid(A)
    >>> M.kind, M.solve(np.ones(1600)).shape
    ('aggregation', (1600,))
    """
    started = time.perf_counter()
    hierarchy = build_hierarchy(A, kind, native=native)
    if native and kernels.native is not None:
        cycle: Any = _NativeCycle(hierarchy, single)
    else:
        cycle = _NumpyCycle(hierarchy, single)
    smoothers: list[Recurrence | None] = []
    levels = hierarchy.levels
    for k, level in enumerate(levels):
        last = k + 1 == len(levels)
        if last and level.n <= _LARGEST_INVERSE:
            cycle.invert()
            smoothers.append(None)
            continue
        info = SmootherLevel(k, level.n, level.A.nnz, _bound(cycle, k), hierarchy.kind, hierarchy.block)
        if last:  # coarsening came to a halt: rows without strong connections, which a polynomial solves
            recurrence = chebyshev4(info.bound, _COARSEST_DEGREE)
        else:
            recurrence = (smoother or default_smoother)(info)
            if smoother is not None:
                _check(recurrence, info)
        cycle.set_smoother(k, recurrence)
        smoothers.append(recurrence)
    return Multigrid(hierarchy, smoothers, cycle.native, time.perf_counter() - started, cycle.apply)


def _check(recurrence: Recurrence, level: SmootherLevel) -> None:
    x = level.bound * np.linspace(0.0, 1.0, 513)[1:]
    worst = float(np.max(np.abs(recurrence.residual(x))))
    if not worst < 1:
        raise OptionError(
            f"the smoother of level {level.index} does not converge: |1 - x P(x)| reaches {worst:.3g} on "
            f"(0, {level.bound:.3g}]; make it for level.bound"
        )


def _bound(cycle: Any, index: int) -> float:
    """An upper bound of the spectrum of D^-1 A: Gershgorin's or a Lanczos estimate with a margin."""
    gershgorin = cycle.gershgorin(index)
    if gershgorin <= 2.0 + 1e-6 and index == 0:
        return gershgorin  # of a diagonally dominant matrix: as good as sharp
    alpha, beta = cycle.lanczos(index, _LANCZOS_STEPS)
    T = np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1)
    values, vectors = np.linalg.eigh(T)
    estimate = values[-1] + beta[-1] * abs(vectors[-1, -1])
    return float(min(gershgorin, _MARGIN * estimate))


class _NativeCycle:
    """native/multigrid.cpp."""

    def __init__(self, hierarchy: Hierarchy, single: bool) -> None:
        self.native = kernels.native.make_multigrid(single)
        levels = hierarchy.levels
        for level, coarse in zip(levels, [*levels[1:], None], strict=True):
            A = (*csr_arrays(level.A), plain(level.scale, np.float64))
            if coarse is None:
                self.native.add_coarsest(*A)
            else:
                self.native.add_level(*A, *csr_arrays(level.P), plain(coarse.scale, np.float64))
        self.invert, self.gershgorin, self.lanczos = self.native.invert, self.native.gershgorin, self.native.lanczos

    def set_smoother(self, index: int, r: Recurrence) -> None:
        layers = (plain(c, np.float64) for c in (r.rho, r.gamma, r.eta, r.alpha, r.beta))
        self.native.set_smoother(index, *layers, r.shift, r.scale)

    def apply(self, r: np.ndarray) -> np.ndarray:
        z = np.empty(r.shape)
        self.native.apply(plain(r, np.float64), z)
        return z


class _NumpyCycle:
    """The same cycle in NumPy and SciPy."""

    native = None

    def __init__(self, hierarchy: Hierarchy, single: bool) -> None:
        self.dtype = np.float32 if single else np.float64
        self.levels = hierarchy.levels
        self.A: list[Any] = []
        self.P: list[Any] = []
        self.R: list[Any] = []
        self.recurrences: list[Recurrence | None] = [None] * len(self.levels)
        self.inverse: np.ndarray | None = None
        for level, coarse in zip(self.levels, [*self.levels[1:], None], strict=True):
            self.A.append(self._scaled(level.A, level.scale, level.scale))
            if coarse is not None:
                P = self._scaled(level.P, 1.0 / level.scale, coarse.scale)
                self.P.append(P)
                self.R.append(sp.csr_array(P.T))

    def _scaled(self, A: Any, rows: np.ndarray, columns: np.ndarray) -> sp.csr_array:
        return sp.csr_array(sp.diags_array(rows) @ A @ sp.diags_array(columns), dtype=self.dtype)

    def invert(self) -> None:
        A = self.A[-1].toarray().astype(np.float64)
        values, V = np.linalg.eigh((A + A.T) / 2)
        keep = values > 1e-12 * max(values[-1], 0.0)
        self.inverse = ((V[:, keep] / values[keep]) @ V[:, keep].T).astype(self.dtype)

    def gershgorin(self, index: int) -> float:
        level = self.levels[index]
        return float(np.max(np.asarray(abs(level.A).sum(axis=1)).ravel() * level.scale**2))

    def lanczos(self, index: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
        v = _start(self.A[index].shape[0])
        process = lanczos(self.A[index].__matmul__, v / np.linalg.norm(v), NUMPY)
        return tridiagonal(process, min(steps, v.size), exhausted=1e-6)

    def set_smoother(self, index: int, recurrence: Recurrence) -> None:
        self.recurrences[index] = recurrence

    def apply(self, r: np.ndarray) -> np.ndarray:
        scale = self.levels[0].scale
        rhs = scale * r
        largest = float(np.max(np.abs(rhs), initial=0.0))
        unit = np.ldexp(1.0, int(np.frexp(largest)[1])) if 0 < largest < np.inf else 1.0
        return scale * self._down(0, (rhs / unit).astype(self.dtype)) * unit

    def _down(self, k: int, r: np.ndarray) -> np.ndarray:
        smoother = self.recurrences[k]
        if smoother is None:
            return self.inverse @ r  # type: ignore[operator]
        x = smoother.apply(self.A[k], r)
        if k + 1 == len(self.levels):
            return x
        x += self.P[k] @ self._down(k + 1, self.R[k] @ (r - self.A[k] @ x))
        x += smoother.apply(self.A[k], r - self.A[k] @ x)
        return x


def _start(n: int) -> np.ndarray:
    """The start of native Lanczos runs: splitmix64 of the row number, on [-1, 1)."""
    h = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h ^= h >> np.uint64(31)
    return (h >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
