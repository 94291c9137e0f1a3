"""f(A) v by Lanczos: the best that products with A can do for one vector, with an estimate of its error.

After k steps from v, T_k = Q' A Q and f(A) v is close to ||v|| Q f(T_k) e_1. Nothing is reorthogonalised:
for functions of matrices the plain recurrence is stable (Druskin, Knizhnerman 1991). Columns of a block run side
by side, each with its own T. The estimate is of what the steps leave open (`nnla.functions.christoffel`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh_tridiagonal

from nnla.functions.christoffel import Measure, gap_points, tail_points
from nnla.functions.hull import Hull
from nnla.functions.scalars import ScalarFunction, balanced
from nnla.kernels.blas import one_blas_thread
from nnla.operators.arrays import as_row, space_of, zeros_like
from nnla.spectra.lanczos import lanczos

__all__ = ["STORED", "LanczosRun", "Tridiagonals", "lanczos_function", "near"]

STORED = 1 << 30  # bytes of Lanczos vectors kept before a second pass over A is the lesser evil
_GROWTH = 1.15  # steps between two estimates, as a factor
_EXHAUSTED = 1e-13  # beta below this share of the largest: the Krylov space is invariant
_OPEN = 3.0  # last coefficients beyond this many tolerances: no estimate is needed to go on
_SAFETY = 2.0  # the mass next to a Ritz value may be that of several eigenvalues, not of the one point that is tried
_FLOOR = 4 * float(np.finfo(float).eps)  # of an error, for each square root of a step


@dataclass(frozen=True)
class LanczosRun:
    """What `lanczos_function` did.

    Attributes
    ----------
    y : f(A) V, of V's shape, divided by 2^exponents
    exponents : (k,) of 2, one a column: f(A) V itself may leave the range of float64 where a column of V is tiny
    steps : Lanczos steps, the largest over the columns
    error : estimated relative error, the largest over the columns
    converged : whether that is within the tolerance
    passes : 1, or 2 where the basis was not stored
    extremes : smallest and largest Ritz value seen
    exhausted : whether every column's Krylov space ended: more steps would change nothing
    """

    y: Any
    exponents: np.ndarray
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
    exact : (k,) whether it was to the last bit, not to rounding
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
        self.exact = np.zeros(self.lengths.size, dtype=bool)
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
        self.exact |= (b == 0) & (self.last < 0)
        self.beta.append(np.where(done, 0.0, b))
        self.last = np.where((self.last < 0) & done, self.steps, self.last)
        return q

    def gauss(self, column: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Ritz values and vectors of a column's T after so many steps."""
        alpha = np.array([a[column] for a in self.alpha[:steps]])
        beta = np.array([b[column] for b in self.beta[: steps - 1]])
        theta, S = eigh_tridiagonal(alpha, beta)
        return np.asarray(theta), np.asarray(S)

    def measure(self, column: int, steps: int, theta: np.ndarray, S: np.ndarray) -> Measure:
        """What a column's T tells of its spectral measure after so many steps."""
        alpha, beta = (np.array([row[column] for row in rows[:steps]]) for rows in (self.alpha, self.beta))
        return Measure(alpha, beta, theta, S[-1])


def lanczos_function(
    matvec: Any,
    V: Any,
    f: ScalarFunction,
    *,
    rtol: float,
    maxiter: int,
    steps: int | None = None,
    two_pass: bool | None = None,
    hull: Hull | None = None,
) -> LanczosRun:
    """f(A) V to a relative error of about ``rtol`` in every column.

    Parameters
    ----------
    matvec : products with a symmetric A, for arrays of V's shape
    V : (n,) or (n, k), NumPy or torch, float64; norms far from the ends of the range of float64
    f : ScalarFunction
    rtol : tolerance on ||y - f(A) v|| / ||f(A) v||, estimated
    maxiter : steps at most
    steps : exactly so many steps instead of an adaptive number
    two_pass : repeat the steps instead of storing the basis; None decides by the memory that it takes
    hull : of the spectrum of A; None trusts V to show where the spectrum ends

    Raises
    ------
    NotPositiveDefiniteError
        A Ritz value is outside the domain of f.
    NonFiniteError

    Notes
    -----
    Cost: one product per step and column (two with two passes); steps x n x k numbers stored (four blocks with
    two passes). Where f is so much larger beyond the extreme Ritz values that components of V too small to see would
    matter, the hull is refined: at most as many products again as steps.

    Validity: the estimate is the largest error that an eigenvalue between, or next to, the Ritz values can mean, by the
    largest mass that the measure of v can have there. A column whose Krylov space ends is exact to rounding.

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
    watch = _Watch(run, f, rtol, hull)
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
        y,
        watch.exponents,
        run.steps,
        error,
        error <= rtol,
        1 if run.basis is not None else 2,
        watch.extremes,
        run.exhausted,
    )


class _Watch:
    """Estimated errors of all columns."""

    def __init__(self, run: Tridiagonals, f: ScalarFunction, rtol: float, hull: Hull | None) -> None:
        self.run, self.f, self.rtol, self.hull = run, f, rtol, hull
        k = run.lengths.size
        self.coefficients = [np.zeros(0)] * k
        self.exponents = np.zeros(k, dtype=np.int64)
        self.errors = np.where(run.lengths > 0, np.inf, 0.0)
        self._seen = np.where(run.lengths > 0, -1, 0)
        self._worst = 0
        self.extremes = (np.inf, -np.inf)

    def check(self, j: int, *, whole: bool = False) -> float:
        """Estimate column j anew; with ``whole`` even where its last coefficients show that it has not converged."""
        run = self.run
        done = int(run.last[j]) if run.last[j] >= 0 else run.steps
        if run.lengths[j] == 0 or (self._seen[j] >= done and not (whole and np.isinf(self.errors[j]))):
            return float(self.errors[j])
        with one_blas_thread():
            return self._estimate(j, done, whole=whole)

    def _estimate(self, j: int, done: int, *, whole: bool) -> float:
        run = self.run
        theta, S = run.gauss(j, done)
        self.extremes = (min(self.extremes[0], float(theta[0])), max(self.extremes[1], float(theta[-1])))
        values, unit = balanced(*self.f.parts(theta, float(np.abs(theta).max())))
        c = S @ (values * S[0])
        self.coefficients[j], self.exponents[j], self._seen[j] = run.lengths[j] * c, unit, done
        size = float(np.linalg.norm(c))
        if not whole and run.last[j] < 0 and float(np.abs(c[-3:]).max()) > _OPEN * self.rtol * size:
            self.errors[j] = np.inf
        else:
            self.errors[j] = self._error(run.measure(j, done, theta, S), S[0] ** 2, c, unit, exact=run.exact[j])
        return float(self.errors[j])

    def _error(self, measure: Measure, weights: np.ndarray, c: np.ndarray, unit: int, *, exact: bool) -> float:
        """Relative error by what the measure leaves open; ``exact``: there is nothing beyond the Ritz values."""
        f, size = self.f, float(np.linalg.norm(c))
        theta, radii = measure.theta, measure.radii
        x, gap = gap_points(theta, radii)
        inner = measure.errors(x, f, unit, coefficients=c)
        worst = np.zeros(max(theta.size - 1, 1))
        np.maximum.at(worst, gap, inner)
        low, high = near(measure, f)
        ends = [
            measure.errors(tail_points(end, r, limit), f, unit, coefficients=c).max(initial=0.0)
            for end, r, limit in ((theta[0], radii[0], low), (theta[-1], radii[-1], high))
        ]
        seen = float(np.sqrt(worst @ worst + ends[0] ** 2 + ends[1] ** 2))
        if not size > 0:  # no image yet is not no change: right where there is nothing but these Ritz values
            return 0.0 if exact else np.inf
        error = _SAFETY * seen / size + _FLOOR * np.sqrt(theta.size) + f.rounding(theta, weights)
        if error <= self.rtol and self.hull is not None and f.unbounded and not exact:
            error = max(error, self._beyond(measure, c, unit, (low, high)) / size)
        return error

    def _beyond(self, measure: Measure, c: np.ndarray, unit: int, near: tuple[float, float]) -> float:
        """Error that components of v too small to see could mean where A may have eigenvalues and v shows none."""
        hull, theta = self.hull, measure.theta
        assert hull is not None
        while True:
            low, high = hull.ends()
            x = np.concatenate(
                [
                    tail_points(theta[0], measure.radii[0], low) if low < near[0] else np.zeros(0),
                    tail_points(theta[-1], measure.radii[-1], high) if high > near[1] else np.zeros(0),
                ]
            )
            left = float(measure.errors(x, self.f, unit, coefficients=c).max(initial=0.0))
            enough = hull.exhausted or hull.steps >= self.run.steps
            if left <= self.rtol * float(np.linalg.norm(c)) or enough:
                return left
            hull.refine(self.run.steps)

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
        """Coefficients and errors of the last step for every column."""
        for j in range(self.errors.size):
            self.check(j, whole=True)


def near(measure: Measure, f: ScalarFunction) -> tuple[float, float]:
    """How far beyond the extreme Ritz values eigenvalues are to be expected that v contains.

    Two residuals; a function on positive numbers is asked down to a positive one.
    """
    theta, radii = measure.theta, measure.radii
    low, high = float(theta[0] - 2 * radii[0]), float(theta[-1] + 2 * radii[-1])
    if f.definite:
        first = float(theta[0])
        low = first / (1 + 2 * float(radii[0]) / first) if first > 0 else first
    return low, high


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
