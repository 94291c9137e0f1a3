"""Quadratic transitions: polar factors and inverse roots of dense matrices by products of matrices only.

The iteration X <- X c(X'X) is the quadratic transition (10) of AutoSpec's appendix A.1 with V = J = X. Polar Express
composes, for an interval fixed in advance, the minimax polynomials of degree 5. Here a short Lanczos run on each Gram
matrix (which is there anyway) says where the singular values are *now*, and the degrees 3, 5, 9 and 17 (whose
coefficients are learned) are chosen so that the products still to come are fewest. Every answer is checked: the last
product is X'X of the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from nnla.errors import NonFiniteError, OptionError
from nnla.extensions._dense import MatrixReport, checked, frobenius, identity, spectrum_ends, wide
from nnla.extensions.numerical_rank import Images, backward_error, project, tolerated
from nnla.extensions.polar_schedules import SCHEDULES, schedule
from nnla.extensions.transitions import Run, next_transition
from nnla.operators.arrays import is_torch, namespace
from nnla.types import Status

__all__ = ["Polar", "polar"]

_PROBE = 16  # Lanczos steps at the first check: each costs a product with A and one with A'
_CLOSE = 0.3
_ARRIVED = 0.9  # where the smallest trusted singular value has to be before lower ones are given up


@dataclass(frozen=True, eq=False)
class Polar:
    """A = U H: U has orthonormal columns (rows where A is wide), `H` is symmetric and computed when asked for."""

    U: Any
    report: MatrixReport
    _A: Any

    @cached_property
    def H(self) -> Any:
        """The symmetric factor U'A (A U' where A is wide), one more product; positive semidefinite.

        Raises
        ------
        NonFiniteError
            A is so large that its norm has no number in its dtype.
        """
        tall = self._A.shape[0] >= self._A.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):  # of a U that did not converge
            H = wide(self.U).T @ wide(self._A) if tall else wide(self._A) @ wide(self.U).T
            H = 0.5 * H + 0.5 * H.T
        H = H.to(self.U.dtype) if is_torch(H) else H
        xp = namespace(H)
        if self.report.status != Status.BREAKDOWN and not bool(xp.isfinite(H).all()):
            raise NonFiniteError(f"H leaves the range of {self.report.dtype}; rescale A, whose U is the same")
        return H

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
    ShapeError, DTypeError, NonFiniteError, OptionError, GradientError

    Notes
    -----
    Cost: 2, 3, 4 or 5 products of matrices per transition of degree 3, 5, 9 or 17, and one at the end to check (a
    second one, in single precision, for bfloat16 and float16); a probe of 16 steps on A and of 32 on each Gram
    matrix: about 32 / n of a product per transition; some 80 products with vectors to check U against A. A lower rank
    takes two or three steps of three products more.

    Validity: `report.converged` says that X'X of the result is within rtol of I, 2-norm estimated by Lanczos. A
    singular value larger than the probe said shows in the next Gram matrix and is scaled back; one smaller than it
    said takes another step. Singular values below `report.smallest_trusted` = 8 u ||A||_F (2 u ||A||_F in bfloat16 and
    half; u is the unit roundoff) count as rounding, as they may be nothing else. A has lower rank then, and no U with
    orthonormal columns: "autospec" takes them to 0, and U is the unique partial isometry on A's row space, to within
    `report.row_error`, with `report.rank`; the status is "stagnation" (or "maxiter"), never "converged", which none of
    the baselines is either where it took them to 1. `report.backward_error` estimates ||A - U H|| / ||A|| from A as it
    was given; beyond 10 rtol, and
    beyond 1e-6 (0.005 in single precision, 0.1 in bfloat16 and half), nothing is converged.

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
    if not isinstance(method, str) or method not in ("autospec", *SCHEDULES):
        raise OptionError(f"method must be 'autospec', {', '.join(map(repr, SCHEDULES))}, not {method!r}")
    bounds = _check_interval(interval)
    X = given if given.shape[0] >= given.shape[1] else given.T
    run = Run(X, rtol, maxsteps, seed, method)
    size = float(abs(wide(X)).max())
    if size == 0.0:
        run.interval = (0.0, 0.0)
        report = run.report(Status.BREAKDOWN, 1.0, math.sqrt(X.shape[1]), "A is zero: any U will do", rank=0)
        return Polar(given * 0, report, given)
    unit = 2.0 ** math.floor(math.log2(size))  # a power of two: nothing rounds, nothing overflows when squared
    X = X / unit
    if bounds is not None:
        bounds = (bounds[0] / unit, bounds[1] / unit)
    upper = _upper_end(run, X) if method == "autospec" and bounds is None else None
    lower, upper = bounds or ((0.0, upper) if upper else (1e-3 * frobenius(X), frobenius(X)))
    run.interval = (lower * unit, upper * unit)
    X = X / upper
    images = Images(X, run.eps)
    trusted = images.trusted * upper * unit
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found by the next check
        found = _adaptive(run, X, images) if method == "autospec" else _scheduled(run, X, lower / upper, images)
        found = _judged(run, X, images, found)
    U = found.U if given.shape[0] >= given.shape[1] else found.U.T
    report = run.report(
        found.status, found.error, found.bound, found.why(trusted), rank=found.rank, smallest_trusted=trusted,
        backward_error=found.backward, row_error=found.row_error,
    )  # fmt: skip
    return Polar(U, report, given)


@dataclass(frozen=True)
class _Found:
    """What an iteration ended with, and what is known of it."""

    U: Any
    status: Status
    error: float
    bound: float
    rank: int | None = None
    backward: float | None = None
    row_error: float | None = None
    lifted: bool = False  # singular values that may be rounding stand at 1

    def why(self, trusted: float) -> str | None:
        """In words what keeps it from being converged, where that is A."""
        if self.lifted:
            return f"singular values below {trusted:.3g} may be nothing but rounding, and were taken to 1 all the same"
        if self.row_error is not None:
            columns = self.U.shape[1]
            rank = "of unclear rank" if self.rank is None else f"of rank {self.rank}, not {columns}"
            return f"A is {rank}: singular values below {trusted:.3g} count as rounding, and U maps them to 0"
        return None


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


def _adaptive(run: Run, X: Any, images: Images) -> _Found:
    best, expected = math.inf, 1.0
    while True:
        try:
            G = run.multiply(X.T, X)
            seen = run.check(G)
        except NonFiniteError:
            run.fallback = "the iteration overflowed; the singular values are beyond the dtype"
            return _Found(X, Status.BREAKDOWN, math.inf, math.inf)
        error, upper = seen.error, seen.upper
        run.history.append(error)
        if error <= run.rtol:
            return _verified(run, X, G, error)
        if best < _CLOSE and error >= 0.5 * best:  # so close a transition squares it, if rounding lets it
            return _verified(run, X, G, error)
        if len(run.steps) >= run.maxsteps:
            return _verified(run, X, G, error, Status.MAXITER)
        best = min(best, error)
        if upper > 1.05 * expected and run.fallback is None:
            run.fallback = f"a singular value was beyond the probed end (now {upper / expected:.3g} times); scaled back"
        reached = images.lower
        if reached > _ARRIVED and math.sqrt(max(1 + seen.lowest, 0.0)) < 0.5 * reached:
            return _on_the_rows(run, X, G)  # what is not here by now started from rounding
        p = next_transition(replace(seen, lower=max(seen.lower, reached)), 0.49 * run.rtol, run.eps)
        images.follow(p, upper)
        expected = p.high
        X = run.multiply(X / upper, run.take(G / upper**2, p))


def _on_the_rows(run: Run, X: Any, G: Any) -> _Found:
    """The end of a matrix of lower rank: the partial isometry, and U'U is no identity."""
    U, G, row_error = project(run, X, G)
    E = G - identity(G)
    ends = spectrum_ends(lambda v: E @ v, E, _PROBE, run.rng)
    run.probes += ends.steps
    bound = frobenius(E)
    met = row_error <= run.rtol
    status = Status.MAXITER if not met and len(run.steps) >= run.maxsteps else Status.STAGNATION
    # the eigenvalues of E are 0 and -1
    rank = round(X.shape[1] - bound**2) if met else None
    return _Found(U, status, min(max(abs(ends.low), abs(ends.high)), bound), bound, rank, row_error=row_error)


def _judged(run: Run, A: Any, images: Images, found: _Found) -> _Found:
    """The same, against what A was: converged is what is A's factor, and made of no rounding."""
    if found.status == Status.BREAKDOWN:
        return found
    backward = backward_error(run, A, found.U)
    found = replace(found, backward=backward)
    if backward > max(10 * run.rtol, tolerated(run.eps)):
        status = Status.STAGNATION if found.status == Status.CONVERGED else found.status
        return replace(found, status=status, rank=None)
    if found.status == Status.CONVERGED:
        if images.smallest(run.rtol) < images.noise:
            return replace(found, status=Status.STAGNATION, lifted=True)
        return replace(found, rank=int(A.shape[1]))
    return found


def _verified(run: Run, X: Any, G: Any, error: float, status: Status | None = None) -> _Found:
    """Status and errors of a result; in low precision its Gram matrix is computed anew, in single precision."""
    run.checks += 1
    if wide(X) is not X:
        run.checks += 1
        G = run.multiply(wide(X).T, wide(X))
        error = run.check(G).error
    bound = frobenius(G - identity(G))
    error = min(error, bound)
    met = error <= run.rtol
    return _Found(X, Status.CONVERGED if met else status or Status.STAGNATION, error, bound)


def _scheduled(run: Run, X: Any, lower: float, images: Images) -> _Found:
    """A baseline: transitions that are fixed in advance, or PRISM's fits, with the same test of the end."""
    steps = schedule(run.method, lower, run.rng, run.eps)
    previous = math.inf
    while True:
        try:
            G = run.multiply(X.T, X)
            error = run.check(G).error
        except NonFiniteError:
            run.fallback = "the iteration diverged: singular values were beyond the interval of its coefficients"
            return _Found(X, Status.BREAKDOWN, math.inf, math.inf)
        run.history.append(error)
        done = error <= run.rtol or (previous < _CLOSE and error >= 0.5 * previous)
        if done or len(run.steps) >= run.maxsteps:
            return _verified(run, X, G, error, None if done else Status.MAXITER)
        previous = min(previous, error)
        coefficients = steps(len(run.steps), G)
        if coefficients is None:
            return _verified(run, X, G, error, Status.MAXITER)
        images.follow(coefficients)
        X = run.multiply(X, run.take(G, coefficients))
