"""f(A) v by Lanczos: the best that products with A can do for one vector, with an estimate of its error.

After k steps from v, T_k = Q' A Q and f(A) v is close to ||v|| Q f(T_k) e_1. Nothing is reorthogonalised:
for functions of matrices the plain recurrence is stable (Druskin, Knizhnerman 1991). Columns of a block run side
by side, each with its own T.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.linalg import eigh_tridiagonal

from nnla.functions.scalars import ScalarFunction
from nnla.operators.arrays import as_row, space_of, zeros_like
from nnla.spectra.lanczos import lanczos

__all__ = ["STORED", "LanczosRun", "Tridiagonals", "lanczos_function"]

STORED = 1 << 30  # bytes of Lanczos vectors kept before a second pass over A is the lesser evil
_GROWTH = 1.15  # steps between two estimates, as a factor
_EXHAUSTED = 1e-13  # beta below this share of the largest: the Krylov space is invariant


@dataclass(frozen=True)
class LanczosRun:
    """What `lanczos_function` did.

    Attributes
    ----------
    y : f(A) V, of V's shape
    steps : Lanczos steps, the largest over the columns
    error : estimated relative error, the largest over the columns
    converged : whether that is within the tolerance
    passes : 1, or 2 where the basis was not stored
    extremes : smallest and largest Ritz value seen
    exhausted : whether every column's Krylov space ended: more steps would change nothing
    """

    y: Any
    steps: int
    error: float
    converged: bool
    passes: int
    extremes: tuple[float, float]
    exhausted: bool


class Tridiagonals:
    """Lanczos for every column of a block in step; `advance` goes on, the basis is kept or not.

    Attributes
    ----------
    alpha, beta : lists of (k,) arrays, one entry per step; ``beta[j]`` couples to step j + 1, 0 from where a
        column's space is exhausted
    lengths : (k,) norms of the columns
    last : (k,) steps after which a column was exhausted, or -1
    basis : the Lanczos vectors, one block (n, k) per step; None from more than ``keep`` steps on
    """

    def __init__(self, matvec: Callable[[Any], Any], V: Any, *, keep: int) -> None:
        self._keep = keep
        space = space_of(V)
        self.lengths = np.atleast_1d(space.norm(V))
        unit = V * space.row(1.0 / np.where(self.lengths > 0, self.lengths, 1.0), V)
        self._process = lanczos(matvec, unit, space)
        self.alpha: list[np.ndarray] = []
        self.beta: list[np.ndarray] = []
        self.last = np.where(self.lengths > 0, -1, 0)
        self._top = np.zeros(self.lengths.size)
        self.basis: list[Any] | None = [] if keep > 0 else None

    @property
    def steps(self) -> int:
        """Steps done."""
        return len(self.alpha)

    @property
    def exhausted(self) -> bool:
        """Whether no column can go on."""
        return bool(np.all(self.last >= 0))

    def advance(self) -> Any:
        """One product with the block; returns the Lanczos vectors that it was taken of."""
        q, a, b = next(self._process)[:3]
        if self.basis is not None:
            if self.steps < self._keep:
                self.basis.append(q)
            else:
                self.basis = None
        a, b = np.atleast_1d(a), np.atleast_1d(b)
        self._top = np.maximum(self._top, np.abs(a) + b)
        done = (b <= _EXHAUSTED * self._top) | (self.last >= 0)  # what such a column goes on with is noise, and unused
        self.alpha.append(a)
        self.beta.append(np.where(done, 0.0, b))
        self.last = np.where((self.last < 0) & done, self.steps, self.last)
        return q

    def gauss(self, column: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Ritz values and vectors of a column's T after so many steps."""
        alpha = np.array([a[column] for a in self.alpha[:steps]])
        beta = np.array([b[column] for b in self.beta[: steps - 1]])
        theta, S = eigh_tridiagonal(alpha, beta)
        return np.asarray(theta), np.asarray(S)

    def coefficients(self, column: int, theta: np.ndarray, S: np.ndarray, f: ScalarFunction) -> np.ndarray:
        """||v|| f(T) e_1."""
        largest = float(np.abs(theta).max())
        values = f.on_spectrum(theta, largest)
        return self.lengths[column] * (S @ (values * S[0]))


def lanczos_function(
    matvec: Any,
    V: Any,
    f: ScalarFunction,
    *,
    rtol: float,
    maxiter: int,
    steps: int | None = None,
    two_pass: bool | None = None,
) -> LanczosRun:
    """f(A) V to a relative error of about ``rtol`` in every column.

    Parameters
    ----------
    matvec : products with a symmetric A, for arrays of V's shape
    V : (n,) or (n, k), NumPy or torch, float64
    f : ScalarFunction
    rtol : tolerance on ||y - f(A) v|| / ||f(A) v||, estimated
    maxiter : steps at most
    steps : exactly so many steps instead of an adaptive number
    two_pass : repeat the steps instead of storing the basis; None decides by the memory that it takes

    Raises
    ------
    NotPositiveDefiniteError
        A Ritz value is outside the domain of f.
    NonFiniteError

    Notes
    -----
    Cost: one product per step and column (two with two passes); steps x n x k numbers stored (four blocks with
    two passes). The estimate is the change since the last estimate, about a seventh of the steps ago, with the
    tail of the series that the last changes suggest. A column whose Krylov space ends is exact to rounding.

    References
    ----------
    Druskin, Knizhnerman (1991). Saad, SIAM J. Numer. Anal. 29 (1992) 209-228. Higham, Functions of Matrices (2008),
    section 13.2.
    """
    columns = 1 if V.ndim == 1 else int(V.shape[1])
    n = int(V.shape[0])
    limit = steps if steps is not None else maxiter
    keep = STORED // (8 * n * columns) if two_pass is None else 0 if two_pass else limit
    run = Tridiagonals(matvec, V, keep=keep)
    watch = _Watch(run, f, rtol)
    check = 6
    while not run.exhausted and run.steps < limit:
        run.advance()
        if steps is None and run.steps >= check:
            if watch.all_within():
                break
            check = max(run.steps + 3, int(_GROWTH * run.steps))
    watch.finish()
    y = _combine(run, V, watch.coefficients, matvec)
    error = float(watch.errors.max(initial=0.0))
    return LanczosRun(
        y, run.steps, error, error <= rtol, 1 if run.basis is not None else 2, watch.extremes, run.exhausted
    )


class _Watch:
    """Estimated errors of all columns, from what changed since the last check."""

    def __init__(self, run: Tridiagonals, f: ScalarFunction, rtol: float) -> None:
        self.run, self.f, self.rtol = run, f, rtol
        k = run.lengths.size
        self.coefficients = [np.zeros(0)] * k
        self.errors = np.where(run.lengths > 0, np.inf, 0.0)
        self._changes: list[list[float]] = [[] for _ in range(k)]
        self._seen = np.full(k, -1)
        self._worst = 0
        self.extremes = (np.inf, -np.inf)

    def check(self, j: int) -> float:
        """Estimate column j anew."""
        run = self.run
        done = int(run.last[j]) if run.last[j] >= 0 else run.steps
        if run.lengths[j] == 0 or self._seen[j] >= done:
            return float(self.errors[j])
        if self._seen[j] < 0 and run.last[j] < 0:  # as if it had been looked at before
            gap = max(3, done - int(done / _GROWTH))
            for steps in (done - 2 * gap, done - gap):
                if steps > 0:
                    self._take(j, steps)
        self._take(j, done)
        return float(self.errors[j])

    def _take(self, j: int, steps: int) -> None:
        run = self.run
        theta, S = run.gauss(j, steps)
        new = run.coefficients(j, theta, S, self.f)
        old, size = self.coefficients[j], float(np.linalg.norm(new))
        self.extremes = (min(self.extremes[0], float(theta[0])), max(self.extremes[1], float(theta[-1])))
        if run.last[j] >= 0:
            self.errors[j] = 4 * self.f.rounding(theta, S[0] ** 2)
        elif self._seen[j] > 0:
            change = float(np.hypot(np.linalg.norm(new[: old.size] - old), np.linalg.norm(new[old.size :])))
            self._changes[j].append(change / size if size > 0 else 0.0)
            hidden = self.f.unresolved(theta, S[0] ** 2, np.abs(S[-1]) * run.beta[steps - 1][j])
            self.errors[j] = max(_tail(self._changes[j]), hidden, 1e-15)
        self.coefficients[j], self._seen[j] = new, steps

    def all_within(self) -> bool:
        """Whether every column is within the tolerance; the slowest one is asked first, and often alone."""
        if self.check(self._worst) > self.rtol:
            return False
        for j in range(self.errors.size):
            if self.check(j) > self.rtol:
                self._worst = j
                return False
        return True

    def finish(self) -> None:
        """Coefficients of the last step for every column."""
        for j in range(self.errors.size):
            self.check(j)


def _tail(changes: list[float]) -> float:
    """Sum of the changes to come, if they fall as the last ones did; never less than twice the last one.

    The last change is the error before it, which is above the error now unless convergence is slow or irregular, as it
    is in the first steps: hence the two, and a quarter of the change before. One change alone says nothing of the rate:
    it counts tenfold.
    """
    last = changes[-1]
    if len(changes) < 2:
        return 10.0 * last
    rates = [after / before if before > 0 else 0.0 for before, after in pairwise(changes[-3:])]
    rate = min(max(rates), 0.99)
    return 2.0 * max(last, changes[-2] / 4) * max(1.0, rate / (1.0 - rate))


def _combine(run: Tridiagonals, V: Any, coefficients: list[np.ndarray], matvec: Any) -> Any:
    """sum_j c_j q_j, from the stored basis or by the same steps again."""
    C = np.zeros((run.steps, run.lengths.size))
    for j, c in enumerate(coefficients):
        C[: c.size, j] = c
    y = zeros_like(V)
    again = None if run.basis is not None else Tridiagonals(matvec, V, keep=0)
    for k in range(run.steps):
        q = run.basis[k] if again is None else again.advance()  # type: ignore[index]
        y = y + q * as_row(C[k], V)
    return y
