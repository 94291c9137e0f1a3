"""Rational transitions: f(A) v by shifted solves, (alpha I + beta X)^-1 of AutoSpec's appendix A.1.

f(A) v = c v + sum_j w_j (A - p_j I)^-1 v: the poles are Zolotarev's for the square roots, the sign and the inverse,
and found by AAA for any other function. Where a polynomial needs a degree that grows with the square root of the
condition, a rational function needs one that grows with its logarithm: a dozen solves at condition 1e6.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from nnla.errors import NonFiniteError, NotPositiveDefiniteError, OptionError
from nnla.extensions.rational_fits import Fit, fit_poles, fit_rational
from nnla.extensions.shifted import ShiftedSolver
from nnla.functions.scalars import FUNCTIONS
from nnla.krylov.probes import probe as lanczos_probe
from nnla.operators.operator import Operator, as_operator
from nnla.report import ReportBase, Status, library_versions
from nnla.types import SpectralProbe, number_pair, real_number, ritz_margin

__all__ = ["RationalFunction", "RationalReport", "rational_function"]

_PROBE, _INVERSE_PROBE = 40, 12  # Lanczos steps with A, and with A^-1


@dataclass(frozen=True, repr=False)
class RationalReport(ReportBase):
    """What binding a rational function to A did, and what it and all applications since cost.

    Attributes
    ----------
    status : "converged", or "degree": the poles do not reach rtol
    converged : the measured error is within rtol
    function : name of f
    degree : poles, a conjugate pair counted as two
    interval : [a, b] that the approximation was made for (two intervals, mirrored, for "sign")
    fit_error : max |f - r| over it, relative to |f| (to max |f| where f changes sign)
    error : relative error measured with a random vector, see `check`
    check : how it was measured
    products, solves, factorisations : so far, probe and check included
    solves_per_apply : shifted systems that one application to a vector solves
    interval_from : "given", "probe" or "probe and inverse probe"
    seed : of the random vectors
    rtol : what was asked for
    seconds : {"total"} of the binding
    versions : versions of the libraries
    """

    _line = (
        ("function", "{}"),
        ("degree", "{} poles"),
        ("products", "{} products"),
        ("solves", "{} solves"),
        ("error", "error {:.2g}"),
    )
    _table = ("fit_error", "check", "rtol", "factorisations", "solves_per_apply", "interval_from", *ReportBase._table)

    function: str
    degree: int
    interval: tuple[float, float]
    fit_error: float
    error: float
    check: str
    products: int
    solves: int
    factorisations: int
    solves_per_apply: int
    interval_from: str
    seed: int
    rtol: float
    seconds: dict[str, float] = field(default_factory=dict[str, float], compare=False)
    versions: dict[str, str] = field(default_factory=dict[str, str])


class RationalFunction(LinearOperator):
    """f(A) as a symmetric ``LinearOperator``; made by `rational_function`.

    Attributes
    ----------
    poles, residues : (d,) complex arrays of the partial fractions; `constant` is added
    constant : float
    report : RationalReport
    """

    def __init__(self, op: Operator, solver: ShiftedSolver, fit: Fit, report: RationalReport) -> None:
        super().__init__(np.dtype(np.float64), op.shape)
        self._op, self._solver, self._fit = op, solver, fit
        self.poles, self.residues, self.constant = fit.poles, fit.residues, fit.constant
        self.report = report

    def _matvec(self, x: Any) -> np.ndarray:
        return self._apply(np.asarray(x, dtype=np.float64).ravel())

    def _matmat(self, X: Any) -> np.ndarray:
        X = np.asarray(X, dtype=np.float64)
        return np.stack([self._apply(X[:, j]) for j in range(X.shape[1])], axis=1)

    def _adjoint(self) -> RationalFunction:
        return self

    def scalar(self, x: Any) -> np.ndarray:
        """The rational function at real numbers."""
        return self._fit(x)

    def _apply(self, v: np.ndarray) -> np.ndarray:
        y = evaluate(self._fit, self._op, self._solver, v)
        self.report = replace(self.report, **_counts(self._op, self._solver))
        return y


def _counts(op: Operator, solver: ShiftedSolver) -> dict[str, int]:
    return {"products": op.products, "solves": solver.solves, "factorisations": solver.factorisations}


def evaluate(fit: Fit, op: Operator, solver: ShiftedSolver, v: np.ndarray) -> np.ndarray:
    """r(A) v: one solve per real pole or conjugate pair; one product more where the fit is x r(x)."""
    y = fit.constant * v
    for pole, residue in zip(fit.poles, fit.residues, strict=True):
        if pole.imag == 0:
            y = y + residue.real * solver(-pole.real, v)
        elif pole.imag > 0:  # with its conjugate: twice the real part
            y = y + 2 * np.real(residue * solver(-pole, v))
    return op.matvec(y) if fit.times_x else y


def rational_function(
    A: Any,
    f: str | Callable[[np.ndarray], np.ndarray],
    *,
    poles: Any = None,
    degree: int | None = None,
    solve: Callable[[complex, np.ndarray], np.ndarray] | None = None,
    probe: SpectralProbe | None = None,
    interval: tuple[float, float] | None = None,
    rtol: float = 1e-8,
    seed: int = 0,
) -> RationalFunction:
    """f(A) for a symmetric A as a sum of shifted inverses.

    Parameters
    ----------
    A : (n, n) symmetric matrix or operator, any that `nnla.as_operator` takes; need not be definite for "sign", "exp"
        and callables
    f : "inv_sqrt", "sqrt", "inv", "log", "sign", "exp", or a function of a float64 array
    poles : poles to use; the residues are then fitted by least squares. Complex ones in conjugate pairs
    degree : number of poles; by default as many as `rtol` takes
    solve : ``solve(shift, v)`` returns (A + shift I)^-1 v for one vector; shift is a float, or complex where poles are
        ("sign", "exp", most callables). By default a sparse or dense factorisation, kept for every shift
    probe : a `nnla.SpectralProbe` of A
    interval : (a, b) that holds the spectrum; for "sign", 0 < a <= abs(eigenvalues) <= b. By default b comes from the
        probe, and a, for the functions that are singular at 0, from 12 Lanczos steps with A^-1 (``solve(0, .)``)
    rtol : wanted relative error of r on the interval
    seed : of the random vectors

    Returns
    -------
    RationalFunction

    Raises
    ------
    NotPositiveDefiniteError
        A probe met an eigenvalue where f is not defined.
    OptionError
        No entries of A and no `solve`; a pole on the spectrum; unknown f.
    ShapeError, DTypeError, NonFiniteError, NotSymmetricError, MissingDependencyError

    Notes
    -----
    Cost of one application: a solve per real pole or conjugate pair (one product more for "sqrt"). Of binding: up to 40
    products, 12 solves, a factorisation per pole, and one to three applications for the check.

    Validity: `report.fit_error` bounds the error for eigenvalues inside the interval; the probed ends have a margin but
    no certificate. `report.error` is measured: r(A) A r(A) v = v and the like where f has such an identity, else
    against a finer fit with other poles.

    References
    ----------
    AutoSpec, appendix A.1. Hale, Higham, Trefethen, SIAM J. Numer. Anal. 46 (2008), method 3 (Zolotarev's poles).
    Nakatsukasa, Sete, Trefethen, The AAA algorithm, SIAM J. Sci. Comput. 40 (2018).

    Examples
    --------
    >>> import nnla
    >>> A = nnla.problems.poisson2d(12)
    >>> R = rational_function(A, "inv_sqrt", rtol=1e-10)
    >>> v = np.ones(144)
    >>> bool(np.linalg.norm(R @ (A @ (R @ v)) - v) < 1e-8), R.report.degree < 16
    (True, True)
    """
    started = time.perf_counter()
    name = f if isinstance(f, str) else getattr(f, "__name__", "callable")
    if isinstance(f, str) and f not in FUNCTIONS:
        raise OptionError(f"f must be one of {', '.join(FUNCTIONS)} or a function, not {f!r}")
    if not isinstance(f, str) and not callable(f):
        raise OptionError(f"f must be a name or a function, not {type(f).__name__}")
    if degree is not None and (
        isinstance(degree, bool) or not isinstance(degree, (int, np.integer)) or not 1 <= degree <= 512
    ):
        raise OptionError(f"degree must be an integer from 1 to 512, got {str(degree)[:60]}")
    if probe is not None and not isinstance(probe, SpectralProbe):
        raise OptionError(f"probe must be a nnla.SpectralProbe, got {type(probe).__name__}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise OptionError(f"seed must be an integer of at least 0, got {str(seed)[:60]}")
    if not 0 < real_number(rtol, "rtol") < 1:
        raise OptionError(f"rtol must be between 0 and 1, got {rtol!r}")
    op = as_operator(A, check=isinstance(f, str) and FUNCTIONS[f].definite)
    solver = ShiftedSolver(op, solve)
    bounds, source = _interval(op, solver, f, interval, probe, seed)
    fit = fit_rational(f, bounds, degree, rtol) if poles is None else fit_poles(f, _complex(poles), bounds)
    _require_poles_off(fit, f, bounds)
    error, check = _check(op, solver, fit, f, bounds, rtol, seed)
    report = RationalReport(
        status=Status.CONVERGED if error <= rtol else Status.DEGREE,
        converged=error <= rtol,
        function=name,
        degree=fit.poles.size,
        interval=bounds,
        fit_error=fit.error,
        error=error,
        check=check,
        **_counts(op, solver),
        solves_per_apply=int(np.sum(np.imag(fit.poles) >= 0)),
        interval_from=source,
        seed=seed,
        rtol=rtol,
        seconds={"total": time.perf_counter() - started},
        versions=library_versions(),
    )
    return RationalFunction(op, solver, fit, report)


def _interval(
    op: Operator, solver: ShiftedSolver, f: Any, given: Any, probed: SpectralProbe | None, seed: int
) -> tuple[tuple[float, float], str]:
    singular = isinstance(f, str) and FUNCTIONS[f].singular
    if given is not None:
        a, b = number_pair(given, "interval")
        if not (a < b and math.isfinite(a) and math.isfinite(b)) or (singular and a <= 0):
            raise OptionError(f"interval must be a < b (0 < a for {f}), got {given!r}")
        return (a, b), "given"
    if probed is None:
        probed = lanczos_probe(op, _PROBE, seed=seed)
    low, high = probed.lambda_min, probed.lambda_max
    size = max(abs(low), abs(high))
    bottom, above = (ritz_margin(float(probed.ritz_residuals[end]), size) for end in (0, -1))
    top = high + above
    if not singular:
        a, b = (low, high) if probed.exhausted else (low - bottom, top)
        return ((a, b) if a < b else (a - 0.01 * abs(a) - 1e-12, b + 0.01 * abs(b) + 1e-12)), "probe"
    if f != "sign" and low < -1e-12 * size:
        raise NotPositiveDefiniteError(f"A has an eigenvalue below {low:.3g}; {f} is defined for positive ones only")
    # Lanczos with A^-1 finds the eigenvalue next to zero in a few steps, Lanczos with A hardly ever
    inverse = lanczos_probe(_Inverse(op.shape, solver, 2 if f == "sign" else 1), min(_INVERSE_PROBE, op.n), seed=seed)
    if f != "sign" and inverse.lambda_min < -1e-10 * abs(inverse.lambda_max):
        raise NotPositiveDefiniteError(f"A has a negative eigenvalue; {f} is defined for positive ones only")
    reach = inverse.upper_bound if not inverse.exhausted else 1.0001 * inverse.lambda_max
    reach = math.sqrt(reach) if f == "sign" else reach
    if not (reach > 0 and math.isfinite(reach)):
        raise NonFiniteError("A is singular to working precision; pass interval=(a, b) and a shifted matrix")
    a, b = 1 / reach, max(top, size + min(bottom, 0.05 * size) if f == "sign" else top)
    return (min(a, 0.999 * b), b), "probe and inverse probe"


def _complex(poles: Any) -> np.ndarray:
    try:
        array = np.atleast_1d(np.asarray(poles))
        if array.dtype.kind not in "iufcO":
            raise TypeError(f"dtype {array.dtype}")
        return array.astype(np.complex128)
    except (TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"poles must be a list of numbers ({error})") from error


class _Inverse:
    """A^-1 as an operator, or A^-2: its largest eigenvalue tells the gap of an indefinite A around zero."""

    dtype = np.dtype(np.float64)

    def __init__(self, shape: tuple[int, int], solver: ShiftedSolver, power: int) -> None:
        self.shape, self._solver, self._power = shape, solver, power

    def __matmul__(self, v: np.ndarray) -> np.ndarray:
        for _ in range(self._power):
            v = self._solver(0.0, v)
        return v


def _require_poles_off(fit: Fit, f: Any, bounds: tuple[float, float]) -> None:
    a, b = bounds
    for pole in fit.poles:
        inside = a <= pole.real <= b or (f == "sign" and a <= abs(pole.real) <= b)
        if abs(pole.imag) < 1e-12 * max(abs(a), abs(b)) and inside:
            raise OptionError(f"the pole {pole.real:.6g} lies within the spectrum [{a:.6g}, {b:.6g}]; move it off")


def _check(
    op: Operator, solver: ShiftedSolver, fit: Fit, f: Any, bounds: tuple[float, float], rtol: float, seed: int
) -> tuple[float, str]:
    """A relative error, measured with a random vector after binding."""
    v = np.random.default_rng([seed, 1]).standard_normal(op.n)
    y = evaluate(fit, op, solver, v)
    if not np.all(np.isfinite(y)):
        raise NonFiniteError("a shifted solve returned NaN or Inf; check `solve`, or shift the poles")
    length = float(np.linalg.norm(v))
    if f == "inv":
        return float(np.linalg.norm(op.matvec(y) - v)) / length, "|A r(A) v - v| / |v|"
    if f == "inv_sqrt":
        return float(np.linalg.norm(evaluate(fit, op, solver, op.matvec(y)) - v)) / length, "|r(A) A r(A) v - v| / |v|"
    if f == "sign":
        return float(np.linalg.norm(evaluate(fit, op, solver, y) - v)) / length, "|r(A)^2 v - v| / |v|"
    if f == "sqrt":
        exact = op.matvec(v)
        error = float(np.linalg.norm(evaluate(fit, op, solver, y) - exact))
        return error / float(np.linalg.norm(exact)), "|r(A)^2 v - A v| / |A v|"
    a, b = bounds
    wider = (0.95 * a if a > 0 else a - 0.01 * (b - a), b + 0.01 * (b - a))
    finer = fit_rational(f, wider, None, max(0.01 * rtol, 1e-12))
    reference = evaluate(finer, op, solver, v)
    size = float(np.linalg.norm(reference))
    return float(np.linalg.norm(y - reference)) / (size or 1.0), f"against degree {finer.poles.size}, |.| / |f(A) v|"
