"""Inverse roots of dense symmetric positive definite matrices by the coupled quadratic transitions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import NonFiniteError, NotPositiveDefiniteError, NotSymmetricError, OptionError, ShapeError
from nnla.extensions._dense import (
    MatrixReport,
    checked,
    frobenius,
    identity,
    rounding,
    scaled_norm,
    spectrum_ends,
    wide,
)
from nnla.extensions.numerical_rank import trust
from nnla.extensions.transitions import Run, next_transition
from nnla.types import Status

__all__ = ["InverseRoot", "inverse_root"]

_PROBE = 24
_DEFAULT_RTOL = {"float64": 1e-8, "float32": 1e-3, "bfloat16": 0.2, "float16": 0.05}


@dataclass(frozen=True, eq=False)
class InverseRoot:
    """`Z`, close to A^(-1/p), with its `report`; `root` is A^(1/2) for p = 2, which comes with it, else None."""

    Z: Any
    report: MatrixReport
    root: Any = None


def inverse_root(A: Any, p: int = 2, *, rtol: float | None = None, maxsteps: int = 40, seed: int = 0) -> InverseRoot:
    """A^(-1/p) of a dense symmetric positive definite matrix for p = 1, 2 or 4, by products of matrices only.

    Parameters
    ----------
    A : (n, n) NumPy array or torch tensor, symmetric positive definite; the iteration runs in its dtype, on its device
    p : 1, 2 or 4
    rtol : wanted ||Z^p A - I||_2, taken as Z A Z for p = 2 and Z^2 A Z^2 for p = 4; by default 1e-8 (float64),
        1e-3 (float32), 0.2 (bfloat16), 0.05 (float16)
    maxsteps : transitions at most, of each of the one or two iterations
    seed : of the probes' random vectors

    Returns
    -------
    InverseRoot

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, NotSymmetricError, OptionError
    NotPositiveDefiniteError
        A probe met a negative eigenvalue.

    Notes
    -----
    Cost: one product more per transition than `polar` (Y <- Y c(T), Z <- c(T) Z, T = Z Y), less two at the start;
    p = 1 multiplies Z = A^(-1/2) by itself, p = 4 runs again on the root. The check takes 1 to 3 products.

    Validity: the error is measured with the A that was given, so `report.converged` holds whatever happened on the
    way and A's smallest eigenvalue is more than the rounding of its entries, `report.smallest_trusted`: a matrix of
    lower rank has no inverse root, and one of its rounding is none.

    Rounding limits the coupled iteration to about eps * sqrt(cond A) to eps * cond A: beyond, the status is
    "stagnation".

    References
    ----------
    AutoSpec, appendix A.1, equation (10). Higham, Functions of Matrices (2008), sections 6.3 and 6.7.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.diag([1.0, 4.0, 25.0])
    >>> result = inverse_root(A)
    >>> result.report.converged, [round(float(v), 6) for v in np.diag(result.Z)]
    (True, [1.0, 0.5, 0.2])
    """
    given = checked(A)
    n = int(given.shape[0])
    if given.shape[1] != n:
        raise ShapeError(f"A has shape {tuple(given.shape)}; inverse roots need a square matrix")
    if isinstance(p, bool) or not isinstance(p, (int, np.integer)) or p not in (1, 2, 4):
        raise OptionError(f"p must be 1, 2 or 4, got {p!r}")
    _require_symmetric(given)
    name = str(given.dtype).rsplit(".", 1)[-1]
    rtol = _DEFAULT_RTOL.get(name, 1e-3) if rtol is None else rtol
    run = Run(given, rtol, maxsteps, seed, "autospec")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found by the next check
        Z, root = _coupled(run, given, run.rtol if p == 2 else 0.3 * run.rtol)
        if p == 4:
            Z, _ = _coupled(run, root, 0.2 * run.rtol)
        if p == 1:
            Z = run.multiply(Z, Z)
        before = run.products
        error, bound, smallest = _judged(run, given, Z, p)
    run.checks = run.products - before
    status = Status.CONVERGED if error <= run.rtol else Status.STAGNATION
    trusted = trust(run.eps) * run.eps * scaled_norm(given)
    if not math.isfinite(error):
        status, run.fallback = Status.BREAKDOWN, "the iteration overflowed: A, or its condition, is beyond its dtype"
    elif smallest < trusted:
        run.fallback = f"A has an eigenvalue near {smallest:.3g}, and below {trusted:.3g} it is that of the rounding"
        status = Status.STAGNATION if status == Status.CONVERGED else status
    if status == Status.STAGNATION and len(run.steps) >= run.maxsteps:
        status = Status.MAXITER
    return InverseRoot(Z, run.report(status, error, bound, smallest_trusted=trusted), root if p == 2 else None)


def _judged(run: Run, A: Any, Z: Any, p: int) -> tuple[float, float, float]:
    """The error of Z by Lanczos, its bound, and the smallest eigenvalue of A that Z shows; Inf where it overflows."""
    try:
        E = _residual(run, A, Z, p)
        ends = spectrum_ends(lambda v: E @ v, E, _PROBE, run.rng)
        bound = frobenius(E)
        W = wide(Z)
        size = float(abs(W).max())
        top = spectrum_ends(lambda v: (W / size) @ v, W, _PROBE, run.rng)
        largest = math.log(top.high) + math.log(size)
    except (NonFiniteError, ValueError):  # ValueError: the logarithm of a Z that is zero
        return math.inf, math.inf, 0.0
    run.probes += ends.steps + top.steps
    return min(max(abs(ends.low), abs(ends.high)), bound), bound, math.exp(-p * largest)


def _require_symmetric(A: Any) -> None:
    W = wide(A)
    size = float(abs(W).max())
    difference = float(abs(W - W.T).max())
    if difference > 1e3 * rounding(A) * size:
        raise NotSymmetricError(
            f"A is not symmetric: entries differ by up to {difference:.3g} (largest entry {size:.3g}); "
            "symmetrise it with (A + A.T) / 2"
        )
    if size == 0.0:
        raise NotPositiveDefiniteError("A is zero: it has no inverse root")


def _coupled(run: Run, A: Any, tol: float) -> tuple[Any, Any]:
    """(A^(-1/2), A^(1/2)) as far as the iteration gets."""
    W = wide(A)
    ends = spectrum_ends(lambda v: W @ v, W, _PROBE, run.rng)
    run.probes += ends.steps
    if ends.low < -100 * run.eps * max(abs(ends.low), abs(ends.high)):
        raise NotPositiveDefiniteError(
            f"A has a negative eigenvalue (a Rayleigh quotient is {ends.low:.3g}); add a shift, or take its square"
        )
    top = ends.top
    if not run.steps:
        run.interval = (max(ends.low, 0.0), top)
    first = len(run.steps)
    Y, Z = A / top, None
    best, best_pair = math.inf, (identity(A) / top**0.5, A / top**0.5)
    while True:
        # the coupled iteration keeps T symmetric only up to rounding
        T = Y if Z is None else run.multiply(Z, Y)
        try:
            seen = run.check(0.5 * (T + T.T))
        except NonFiniteError:
            return best_pair
        run.history.append(seen.error)
        if seen.error < best:
            best = seen.error
            best_pair = (best_pair[0] if Z is None else Z / top**0.5, Y * top**0.5)
        elif seen.error < 0.1:
            return best_pair  # rounding is what moves it now
        if seen.error <= tol or len(run.steps) - first >= run.maxsteps:
            return best_pair
        p = next_transition(seen, 0.3 * tol, run.eps, extra=1)
        C = run.take(T / seen.upper**2, p) / seen.upper
        Y = run.multiply(Y, C)
        Z = C if Z is None else run.multiply(C, Z)


def _residual(run: Run, A: Any, Z: Any, p: int) -> Any:
    A, Z = wide(A), wide(Z)
    if p == 1:
        E = run.multiply(Z, A)
    else:
        root = Z if p == 2 else run.multiply(Z, Z)
        E = run.multiply(root, run.multiply(A, root))
    E = 0.5 * (E + E.T)
    return E - identity(E)
