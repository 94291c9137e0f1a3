"""One computation of f(A) V: which method, the probe and the polynomial, and the report on it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from nnla.errors import NonFiniteError, OptionError
from nnla.functions.design import POLYNOMIALS, FunctionDesign, expected_error
from nnla.functions.hull import Hull
from nnla.functions.lanczos import STORED, lanczos_function
from nnla.functions.report import MatrixFunctionReport, with_report
from nnla.functions.scalars import balanced, rms, scalar_function
from nnla.functions.search import Search, polynomial_error, widened
from nnla.kernels.blas import one_blas_thread
from nnla.operators.arrays import as_row, is_torch, norm, to_numpy
from nnla.operators.bound_polynomial import BoundPolynomial
from nnla.operators.operator import Operator, as_operator
from nnla.polynomials.design import check_degree
from nnla.types import SpectralProbe, Status, library_versions

__all__ = [
    "BY_ZONES",
    "METHODS",
    "PROBE_STEPS",
    "SERIAL",
    "Job",
    "check_numbers",
    "eigen",
    "symmetric_operator",
]

METHODS = ("auto", "lanczos", *POLYNOMIALS, "direct")
PROBE_STEPS = 50
_DIRECT = 512  # unknowns below which an eigendecomposition is quicker than a talk about it
_DIRECT_PRODUCTS = 128  # the same for operators known only by products
_DIRECT_LARGEST = 20_000  # unknowns of a dense eigendecomposition at most
_USUAL_STEPS = 200  # of Lanczos; docs/autospec_whitening.md has some
_DIRECT_INSTEAD = 4000  # unknowns up to which an eigendecomposition takes over where Lanczos does not converge
SERIAL = 256  # unknowns up to which the threads of an eigendecomposition cost more than they save
_ROUNDING = 1e-15
BY_ZONES = "largest deviation of P from f where a Lanczos run leaves room for eigenvalues"
_BY_ROOM = "largest error that eigenvalues can mean where the measure of v has room for them"


def symmetric_operator(A: Any) -> Operator:
    """A as an `Operator`, symmetric but not necessarily positive definite.

    Raises
    ------
    The errors of `nnla.as_operator`, except for NotPositiveDefiniteError.

    Notes
    -----
    Cost: that of `nnla.as_operator`.

    Examples
    --------
    >>> symmetric_operator([[0.0, 1.0], [1.0, 0.0]]).n
    2
    """
    return as_operator(A, definite=False)


class Job:
    """One call of `funm_multiply`."""

    def __init__(
        self,
        A: Any,
        V: Any,
        f: Any,
        rtol: float,
        method: str,
        degree: int | None,
        probe_steps: int,
        seed: int | None,
        maxiter: int | None,
        two_pass: bool | None,
        engine: Any,
        started: float,
    ) -> None:
        if not isinstance(method, str) or method not in METHODS:
            raise OptionError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
        check_numbers(rtol, degree, probe_steps, maxiter)
        if degree is not None and method in ("auto", "direct"):
            raise OptionError(f"degree={degree} has no effect on method={method!r}; use autospec, chebyshev or lanczos")
        if engine is not None and method not in ("auto", "autospec"):
            raise OptionError(f"engine= has no effect on method={method!r}; use method='autospec'")
        self.rtol, self.method, self.degree = rtol, method, degree
        scalar = scalar_function(f)  # before A is looked at
        self.probe_steps, self.seed, self.two_pass, self.engine = probe_steps, seed, two_pass, engine
        self.op = symmetric_operator(A)
        self.before = self.op.products
        self.f = scalar.rounded(self.op.n, precision_of_entries(A))
        self.V, self.exponents = scaled_columns(_columns(self.op, V))
        self.hull = Hull(self.op, seed)
        self.columns = 1 if self.V.ndim == 1 else int(self.V.shape[1])
        most = self.op.n if method == "auto" and self._dense(_DIRECT_INSTEAD) else 5 * self.op.n + 50
        self.maxiter = min(most, 3000) if maxiter is None else maxiter
        self.started = started
        self.seconds: dict[str, float] = {}
        self.products_probe = 0
        self.reason = "asked for"
        self.fallback: str | None = None

    def run(self) -> Any:
        if self.columns == 0 or not bool((self.V != 0).any()):
            method = "lanczos" if self.method == "auto" else self.method
            return self._report(self.V * 0.0, method=method, error=0.0, by="f(A) 0 = 0", status=Status.CONVERGED)
        method = self._choose() if self.method == "auto" else self.method
        if method == "direct":
            with one_blas_thread(self.op.n <= SERIAL):
                return self._direct()
        if method == "lanczos":
            return self._lanczos()
        return self._polynomial(method)

    def _choose(self) -> str:
        n = self.op.n
        known = self._dense(n)
        if n <= (_DIRECT if known else _DIRECT_PRODUCTS) and self.op.xp == "numpy":
            self.reason = f"n = {n} is small: an eigendecomposition is quickest, and exact"
            return "direct"
        if known and n <= 2000 and self.columns >= n // 4:
            self.reason = f"{self.columns} columns for n = {n}: an eigendecomposition serves them all"
            return "direct"
        if self.f.jump is not None or 8 * n * self.columns * _USUAL_STEPS <= STORED:
            self.reason = f"{self.columns} column(s): no polynomial needs fewer products than Lanczos"
            return "lanczos"
        self.reason = (
            f"the Lanczos vectors of {self.columns} column(s) would not fit into {STORED >> 20} MiB: "
            "one polynomial serves them all, with four blocks of memory"
        )
        return "autospec"

    def _dense(self, most: int) -> bool:
        """Whether the entries are known, on the host, for at most so many unknowns."""
        return self.op.nnz is not None and self.op.xp == "numpy" and self.op.n <= most

    # -- methods ----------------------------------------------------------------------------------------

    def _direct(self) -> Any:
        values, Q = eigen(self.op)
        self._clock("setup")
        image, unit = balanced(*self.f.parts(values, float(np.abs(values).max())))
        V = to_numpy(self.V)
        inner = Q.T @ V
        y = Q @ (inner * (image if V.ndim == 1 else image[:, None]))
        weights = inner.reshape(self.op.n, -1) ** 2
        error = max(self.f.rounding(values, w) for w in weights.T)
        return self._report(
            self._unscaled(self.op.space.own(y), unit),
            method="direct",
            error=max(error, _ROUNDING),
            by="rounding: eigenvalues known to a few eps ||A||",
            status=Status.CONVERGED if error <= self.rtol else Status.ROUNDING,
            interval=(float(values[0]), float(values[-1])),
        )

    def _lanczos(self) -> Any:
        run = lanczos_function(
            self.op.matvec,
            self.V,
            self.f,
            rtol=self.rtol,
            maxiter=self.maxiter,
            steps=self.degree,
            two_pass=self.two_pass,
            hull=self.hull,
        )
        self.products_probe += self.hull.products
        if self.method == "auto" and not run.converged and not run.exhausted and self._dense(_DIRECT_INSTEAD):
            self.fallback = f"lanczos: error {run.error:.1e} after {run.steps} steps; an eigendecomposition instead"
            return self._direct()
        limit = Status.ROUNDING if run.exhausted else Status.DEGREE if self.degree is not None else Status.MAXITER
        status = Status.CONVERGED if run.converged else limit
        return self._report(
            self._unscaled(run.y, run.exponents),
            method="lanczos",
            error=run.error,
            by=_BY_ROOM,
            status=status,
            steps=run.steps,
            interval=run.extremes,
        )

    def _polynomial(self, method: str) -> Any:
        search = Search(
            self.op, self._combination(), self.f, self.rtol, self.degree, method, self.engine, self.seed,
            self.probe_steps,
        )  # fmt: skip
        try:
            probe, design = search.run()
        except NonFiniteError as error:
            # a user's function may be undefined just outside of the spectrum, where a polynomial looks but not Lanczos
            if self.degree is not None or self.f.definite:
                raise
            return self._lanczos_instead(f"{method}: {error}")
        self.products_probe = self.op.products - self.before
        self._clock("probe")
        if probe.exhausted:
            return self._lanczos_instead(
                f"{method}: the Krylov space of V ends after {probe.steps} steps, where Lanczos is exact"
            )
        if self.degree is None and design.expected > self.rtol:
            return self._lanczos_instead(
                f"{method}: degree {design.recurrence.degree} would leave an error of {design.expected:.1e}"
            )
        probe, design = self._covering(search, probe, design)
        if self.degree is None and design.expected > self.rtol:
            return self._lanczos_instead(f"{method}: V shows only a part of the spectrum, beyond which P may be large")
        with np.errstate(all="ignore"):  # what comes out is looked at
            y = BoundPolynomial(self.op, design.recurrence)(self.V)
        self._clock("apply")
        error = self._checked(y, probe, design)
        if self.degree is None and not error <= self.rtol:
            # a column that f shrinks more than the probe's start: relative to it, the error is larger
            return self._lanczos_instead(f"{method}: the error would be {error:.1e} in one of the columns")
        self.fallback = design.fallback
        return self._report(
            self._unscaled(y, 0) if np.isfinite(error) else y,
            method=design.method,
            error=error,
            by=BY_ZONES,
            status=Status.CONVERGED if error <= self.rtol else Status.DEGREE,
            degree=design.recurrence.degree,
            steps=probe.steps,
            interval=design.recurrence.domain,
            weights=design.weights,
        )

    def _lanczos_instead(self, why: str) -> Any:
        self.fallback = f"{why}; Lanczos instead"
        self.degree = None
        return self._lanczos()

    def _covering(
        self, search: Search, probe: SpectralProbe, design: FunctionDesign
    ) -> tuple[SpectralProbe, FunctionDesign]:
        """The design as judged on all of the spectrum, or one that is made for it."""
        found = polynomial_error(design.recurrence, probe, self.f, self.hull, self.rtol)
        if found > self.rtol >= design.expected and self.degree is not None:
            probe = search.probe(self.degree)  # what is beyond the probe's degree, a probe says nothing of
            found = polynomial_error(design.recurrence, probe, self.f, self.hull, self.rtol)
            other = widened(design, probe, self.f, self.hull, self.degree)
            judged = polynomial_error(other.recurrence, probe, self.f, self.hull, self.rtol)
            if judged < found:
                design, found = other, judged
        self.products_probe = self.op.products - self.before
        return probe, replace(design, expected=max(design.expected, found))

    def _combination(self) -> Any:
        """A random combination of the columns, each to equal weight: what one probe can see of all."""
        if self.V.ndim == 1:
            return self.V
        return (self.V * as_row(self._weights(), self.V)).sum(1)

    def _weights(self) -> np.ndarray:
        lengths = np.atleast_1d(norm(self.V))
        signs = np.random.default_rng(self.seed).choice([-1.0, 1.0], size=self.columns)
        return np.where(lengths > 0, signs / np.where(lengths > 0, lengths, 1.0), 0.0)

    @np.errstate(all="ignore")
    def _checked(self, y: Any, probe: SpectralProbe, design: FunctionDesign) -> float:
        """The error expected for the column whose image is smallest; infinite where that is not finite.

        The size of P(A) v is known from the probe where that has more steps than P's degree: a polynomial that has
        blown up the rounding of V shows there.
        """
        sizes, lengths = np.atleast_1d(norm(y)), np.atleast_1d(norm(self.V))
        if not np.all(np.isfinite(sizes)):
            return np.inf
        scale = float((sizes[lengths > 0] / lengths[lengths > 0]).min())
        error = max(expected_error(design.recurrence, probe, self.f, scale), design.expected, _ROUNDING)
        start = self._combination()
        length = float(norm(start))
        if length > 0 and design.recurrence.degree < probe.steps:
            image = y if self.V.ndim == 1 else (y * as_row(self._weights(), y)).sum(1)
            size = rms(probe.ritz_weights, design.recurrence(probe.ritz_values))
            if size > 0:
                error = max(error, abs(float(norm(image)) / length / size - 1))
        return error

    def _unscaled(self, y: Any, unit: Any) -> Any:
        """y in the units of V: times 2^(unit + the exponents of V's columns)."""
        exponents = np.atleast_1d(self.exponents + np.asarray(unit))
        result = times_power(y, exponents)
        if not self.op.space.finite(result):
            raise NonFiniteError(
                f"f = {self.f.name}: f(A) V is beyond the range of float64, about 2^{int(exponents.max())}; take f "
                "times a constant, or for exp a shifted matrix: exp(A) = e^s exp(A - s I)"
            )
        return result

    # -- report -----------------------------------------------------------------------------------------

    def _clock(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self.started - sum(self.seconds.values())

    def _report(
        self, y: Any, *, method: str, error: float, by: str, status: Status, interval: Any = None, **facts: Any
    ) -> Any:
        if interval is not None and not np.all(np.isfinite(interval)):
            interval = None
        self._clock("apply" if "apply" not in self.seconds else "check")
        report = MatrixFunctionReport(
            status=status,
            converged=status is Status.CONVERGED,
            method=method,
            f=self.f.name,
            n=self.op.n,
            nnz=self.op.nnz,
            columns=self.columns,
            rtol=self.rtol,
            error_estimate=error,
            estimated_by=by,
            products=self.op.products - self.before,
            products_probe=self.products_probe,
            seconds=self.seconds | {"total": time.perf_counter() - self.started},
            interval=interval,
            fallback=self.fallback,
            chosen_because=self.reason,
            seed=self.seed if self.products_probe and self.V.ndim > 1 else None,
            versions=library_versions(),
            **facts,
        )
        return with_report(y, report)


def _columns(op: Operator, V: Any) -> Any:
    """V as a block of the operator's kind; no columns are fine here."""
    shape = getattr(V, "shape", None)
    if shape is not None and len(shape) == 2 and int(shape[0]) == op.n and int(shape[1]) == 0:
        return op.as_vector(np.zeros((op.n, 1)))[:, :0]
    return op.as_vector(V, "V")


def scaled_columns(V: Any) -> tuple[Any, np.ndarray]:
    """V with columns of largest entry in [1/2, 1), and the powers of 2 that they were divided by, (k,).

    Cost: three passes over V.
    """
    if V.ndim == 2 and V.shape[1] == 0:
        return V, np.zeros(0, dtype=np.int64)
    largest = np.atleast_1d(to_numpy(abs(V).max() if V.ndim == 1 else abs(V).amax(0) if is_torch(V) else abs(V).max(0)))
    exponents = np.where(largest > 0, np.frexp(largest)[1], 0).astype(np.int64)
    return (V, exponents) if not np.any(exponents) else (times_power(V, -exponents), exponents)


def times_power(V: Any, exponents: np.ndarray) -> Any:
    """V with each column times a power of 2, in steps that do not leave the range of float64 on the way."""
    left = np.clip(exponents, -2300, 2300)
    while np.any(left):
        part = np.clip(left, -1000, 1000)
        with np.errstate(over="ignore", under="ignore"):  # the caller looks at what comes out
            V = V * as_row(np.ldexp(1.0, part), V)
        left = left - part
    return V


def precision_of_entries(A: Any) -> float:
    """Relative precision of the numbers that A is made of, at least float64's.

    Cost: none.

    >>> precision_of_entries(np.eye(2, dtype=np.float32)) == 2.0**-23
    True
    """
    dtype = getattr(A, "dtype", None)
    name = str(dtype).removeprefix("torch.")
    coarse = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23}
    return coarse.get(name, float(np.finfo(np.float64).eps))


def eigen(op: Operator) -> tuple[np.ndarray, np.ndarray]:
    """All eigenvalues, increasing, and the vectors of a symmetric operator, by LAPACK; `OptionError` for large n.

    Cost: O(n^3) operations and two n x n arrays; n products where the entries are not known.

    References
    ----------
    Golub & Van Loan, Matrix Computations, 4th ed., section 8.3.
    """
    from scipy.linalg import eigh

    if op.n > _DIRECT_LARGEST:
        raise OptionError(f"n = {op.n} is too large for a dense eigendecomposition; use method='lanczos'")
    dense = op.dense()
    return eigh(0.5 * dense + 0.5 * dense.T)


def check_numbers(rtol: float, degree: int | None, probe_steps: int, maxiter: int | None) -> None:
    """`OptionError` unless the tolerance, the degree and the limits of a computation are in range."""
    if isinstance(rtol, bool) or not isinstance(rtol, (int, float, np.number)) or not 0 < rtol < 1:
        raise OptionError(f"rtol must be a number between 0 and 1, got {rtol!r}")
    if degree is not None:
        check_degree(degree)
    for name, value in (("probe_steps", probe_steps), ("maxiter", maxiter)):
        if value is None and name == "maxiter":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise OptionError(f"{name} must be a positive integer, got {value!r}")
