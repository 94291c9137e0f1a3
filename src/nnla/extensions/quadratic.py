"""Quadratic transitions: polar factors and inverse roots of dense matrices by products of matrices only.

The iteration X <- X c(X'X) is the quadratic transition (10) of AutoSpec's appendix A.1 with V = J = X. Polar Express
composes, for an interval fixed in advance, the minimax polynomials of degree 5. Here a short Lanczos run on each Gram
matrix (which is there anyway) says where the singular values are *now*, and the degrees 3, 5, 9 and 17 (whose
coefficients are learned) are chosen so that the products still to come are fewest. Every answer is checked: the last
product is X'X of the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nnla.errors import NonFiniteError, OptionError
from nnla.extensions._dense import MatrixReport, checked, frobenius, identity, spectrum_ends, wide
from nnla.extensions.polar_schedules import SCHEDULES, schedule
from nnla.extensions.transitions import Run, next_transition
from nnla.operators.arrays import is_torch
from nnla.types import Status

__all__ = ["Polar", "polar"]

_PROBE = 16  # Lanczos steps at the first check: each costs a product with A and one with A'
_CLOSE = 0.3


@dataclass(frozen=True, eq=False)
class Polar:
    """A = U H: U has orthonormal columns (rows where A is wide), `H` is symmetric and computed when asked for."""

    U: Any
    report: MatrixReport
    _A: Any

    @cached_property
    def H(self) -> Any:
        """The symmetric factor U'A (A U' where A is wide), one more product; positive semidefinite."""
        tall = self._A.shape[0] >= self._A.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):  # of a U that did not converge
            H = wide(self.U).T @ wide(self._A) if tall else wide(self._A) @ wide(self.U).T
            H = 0.5 * (H + H.T)
        return H.to(self.U.dtype) if is_torch(H) else H

    def __iter__(self):
        yield self.U
        yield self.H


def polar(
    A: Any,
    *,
    rtol: float | None = None,
    method: str = "autospec",
    interval: tuple[float, float] | None = None,
    maxsteps: int = 40,
    seed: int = 0,
) -> Polar:
    """The polar factor U of A = U H, by products of matrices only.

    Parameters
    ----------
    A : (m, n), NumPy array or torch tensor of float64, float32, bfloat16 or float16; never modified. The iteration
        runs in A's dtype, on its device
    rtol : wanted ||U'U - I||_2; by default 1e-12, 1e-5, 0.05 and 0.01 for these dtypes
    method : "autospec" (probed ends, degrees 3, 5, 9 and 17 chosen as it goes), or a baseline: "polar-express",
        "newton-schulz" (degree 5), "newton-schulz-3", "prism", "muon" (five steps that do not converge)
    interval : (lower, upper) of the singular values where known. Baselines default to (1e-3, 1) times the Frobenius
        norm, as Polar Express is published; "autospec" probes
    maxsteps : transitions at most
    seed : of the probes' random vectors

    Returns
    -------
    Polar
        U, H (one more product, when asked for) and report.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, OptionError

    Notes
    -----
    Cost: 2, 3, 4 or 5 products of matrices per transition of degree 3, 5, 9 or 17, and one at the end to check (a
    second one, in single precision, for bfloat16 and float16); a probe of 16 steps on A and of 32 on each Gram
    matrix: about 32 / n of a product per transition.

    Validity: `report.converged` says that X'X of the result is within rtol of I, 2-norm estimated by Lanczos. A
    singular value larger than the probe said shows in the next Gram matrix and is scaled back; one smaller than it
    said takes another step. Where A is rank deficient there is no unique U: not converged, status "stagnation" or
    "maxiter". Singular values below the rounding of the dtype count as deficient. The backward error
    ||A - U H|| / ||A|| is not what rtol says: in float64 up to some 1e-12 was measured (condition 1e8).

    References
    ----------
    AutoSpec, appendix A.1, equation (10). Polar Express, arXiv:2505.16932. PRISM, arXiv:2601.22137.

    Examples
    --------
    >>> A = np.random.default_rng(0).standard_normal((60, 40))
    >>> result = polar(A)
    >>> result.report.converged, bool(np.linalg.norm(result.U @ result.H - A) < 1e-10)
    (True, True)
    >>> result.report.products < polar(A, method="polar-express").report.products
    True
    """
    given = checked(A)
    if method not in ("autospec", *SCHEDULES):
        raise OptionError(f"method must be 'autospec', {', '.join(map(repr, SCHEDULES))}, not {method!r}")
    bounds = _check_interval(interval)
    X = given if given.shape[0] >= given.shape[1] else given.T
    run = Run(X, rtol, maxsteps, seed, method)
    size = float(abs(wide(X)).max())
    if size == 0.0:
        run.interval = (0.0, 0.0)
        return Polar(X * 0, run.report(Status.BREAKDOWN, 1.0, math.sqrt(X.shape[1]), "A is zero: any U will do"), given)
    unit = 2.0 ** math.floor(math.log2(size))  # a power of two: nothing rounds, nothing overflows when squared
    X = X / unit
    if bounds is not None:
        bounds = (bounds[0] / unit, bounds[1] / unit)
    upper = _upper_end(run, X) if method == "autospec" and bounds is None else None
    lower, upper = bounds or ((0.0, upper) if upper else (1e-3 * frobenius(X), frobenius(X)))
    run.interval = (lower * unit, upper * unit)
    X = X / upper
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found by the next check
        if method == "autospec":
            U, status, error, bound = _adaptive(run, X)
        else:
            U, status, error, bound = _scheduled(run, X, lower / upper)
    U = U if given.shape[0] >= given.shape[1] else U.T
    return Polar(U, run.report(status, error, bound), given)


def _check_interval(interval: Any) -> tuple[float, float] | None:
    if interval is None:
        return None
    try:
        lower, upper = (float(value) for value in interval)
    except (TypeError, ValueError):
        raise OptionError(f"interval must be a pair of numbers (lower, upper), not {interval!r}") from None
    if not (0 < lower <= upper < math.inf):
        raise OptionError(f"interval must be 0 < lower <= upper, got {interval!r}")
    return lower, upper


def _upper_end(run: Run, X: Any) -> float:
    """A bound of the largest singular value: Lanczos on X'X, with its residual and a margin on top."""
    X = wide(X)
    ends = spectrum_ends(lambda v: X.T @ (X @ v), X, _PROBE, run.rng)
    run.probes += 2 * ends.steps
    return min(math.sqrt(ends.top), frobenius(X))


def _adaptive(run: Run, X: Any) -> tuple[Any, Status, float, float]:
    best, expected = math.inf, 1.0
    while True:
        try:
            G = run.multiply(X.T, X)
            seen = run.check(G)
        except NonFiniteError:
            run.fallback = "the iteration overflowed; the singular values are beyond the dtype"
            return X, Status.BREAKDOWN, math.inf, math.inf
        error, upper = seen.error, seen.upper
        run.history.append(error)
        if error <= run.rtol:
            return (X, *_verified(run, X, G, error))
        if best < _CLOSE and error >= 0.5 * best:  # so close a transition squares it, if rounding lets it
            return (X, *_verified(run, X, G, error))
        if len(run.steps) >= run.maxsteps:
            return (X, *_verified(run, X, G, error, Status.MAXITER))
        best = min(best, error)
        if upper > 1.05 * expected and run.fallback is None:
            run.fallback = f"a singular value was beyond the probed end (now {upper / expected:.3g} times); scaled back"
        p = next_transition(seen, 0.49 * run.rtol, run.eps)
        expected = p.high
        X = run.multiply(X / upper, run.take(G / upper**2, p))


def _verified(run: Run, X: Any, G: Any, error: float, status: Status | None = None) -> tuple[Status, float, float]:
    """Status and errors of a result; in low precision its Gram matrix is computed anew, in single precision."""
    run.checks += 1
    if wide(X) is not X:
        run.checks += 1
        G = run.multiply(wide(X).T, wide(X))
        error = run.check(G).error
    bound = frobenius(G - identity(G))
    error = min(error, bound)
    if error <= run.rtol:
        return Status.CONVERGED, error, bound
    return status or Status.STAGNATION, error, bound


def _scheduled(run: Run, X: Any, lower: float) -> tuple[Any, Status, float, float]:
    """A baseline: transitions that are fixed in advance, or PRISM's fits, with the same test of the end."""
    steps = schedule(run.method, lower, run.rng, run.eps)
    status: Status | None = None
    previous = math.inf
    while True:
        try:
            G = run.multiply(X.T, X)
            error = run.check(G).error
        except NonFiniteError:
            run.fallback = "the iteration diverged: singular values were beyond the interval of its coefficients"
            return X, Status.BREAKDOWN, math.inf, math.inf
        run.history.append(error)
        done = error <= run.rtol or (previous < _CLOSE and error >= 0.5 * previous)
        if done or len(run.steps) >= run.maxsteps:
            status = None if done else Status.MAXITER
            return (X, *_verified(run, X, G, error, status))
        previous = min(previous, error)
        coefficients = steps(len(run.steps), G)
        if coefficients is None:
            return (X, *_verified(run, X, G, error, Status.MAXITER))
        X = run.multiply(X, run.take(G, coefficients))
