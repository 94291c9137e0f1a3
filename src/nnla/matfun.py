"""f(A) V for symmetric A: inverse square roots, logarithms, exponentials, or any function of a real number."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from nnla._arrays import as_row, is_torch, norm, to_numpy
from nnla.design import check_degree
from nnla.errors import NotPositiveDefiniteError, OptionError, ShapeError
from nnla.kernels.system import native_system
from nnla.matfun_design import MAX_DEGREE, POLYNOMIALS, FunctionDesign, design_function, expected_error
from nnla.matfun_lanczos import Tridiagonals, lanczos_function
from nnla.matfun_report import MatrixFunctionReport, with_report
from nnla.matfun_scalars import ScalarFunction, scalar_function
from nnla.operators import Operator, as_operator
from nnla.recurrences import Recurrence
from nnla.types import Kind, SpectralProbe

__all__ = ["METHODS", "MatrixFunction", "funm_multiply", "matfun", "matrix_function", "symmetric_operator"]

METHODS = ("auto", "lanczos", *POLYNOMIALS, "direct")
PROBE_STEPS = 50
_DIRECT = 512  # unknowns below which an eigendecomposition is quicker than a talk about it
_DIRECT_PRODUCTS = 128  # the same for operators known only by products
_DIRECT_LARGEST = 20_000  # unknowns of a dense eigendecomposition at most
_FEW = 16  # columns below which Lanczos is as quick (benchmarked: docs/autospec_whitening.md)
_ROUNDING = 1e-15


def symmetric_operator(A: Any) -> Operator:
    """A as an `Operator`, symmetric but not necessarily positive definite.

    Raises
    ------
    The errors of `nnla.as_operator`, except for NotPositiveDefiniteError.

    Examples
    --------
    >>> symmetric_operator([[0.0, 1.0], [1.0, 0.0]]).n
    2
    """
    try:
        return as_operator(A)
    except NotPositiveDefiniteError:  # the last check: it is finite and symmetric
        return as_operator(A, check=False)


def funm_multiply(
    A: Any,
    V: Any,
    f: Any = "inv_sqrt",
    *,
    rtol: float = 1e-6,
    method: str = "auto",
    degree: int | None = None,
    probe_steps: int = PROBE_STEPS,
    seed: int | None = 0,
    maxiter: int | None = None,
    two_pass: bool | None = None,
    engine: Any = None,
) -> Any:
    """f(A) V for a symmetric A, without f(A): an array, with a report on it.

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes, (n, n), symmetric, definite or not
    V : (n,) or (n, k)
    f : "inv_sqrt", "sqrt", "inv", "log", "sign", "exp", or a real function of a real number (called with arrays,
        or number by number where it does not take them)
    rtol : tolerance on ||y - f(A) v|| / ||f(A) v||, per column
    method : "auto", "lanczos", "autospec" (the learned fit to the probed spectrum), "chebyshev" (interpolation),
        "neumann" (Taylor series, for inv_sqrt and inv), "direct" (dense eigendecomposition)
    degree : of the polynomial (or Lanczos steps); default: the least that reaches ``rtol``
    probe_steps, seed : of the probe that a polynomial is made from
    maxiter : Lanczos steps at most (default: 5 n + 50, 3000 at most)
    two_pass : Lanczos: repeat the steps instead of storing the basis (default: by the memory that it takes)
    engine : trained engine, or the path of its weights, instead of the shipped one ("autospec")

    Returns
    -------
    array of V's shape, (n,) or (n, k), with the attribute ``report``, a `MatrixFunctionReport`
        A tensor (with the same attribute) for torch operators.

    Raises
    ------
    NotPositiveDefiniteError
        inv_sqrt, inv, log of an indefinite or singular A, sqrt of an indefinite one: a Ritz value says so.
    NonFiniteError
        f is not finite on the spectrum (exp may overflow).
    OptionError, and the errors of `nnla.as_operator`.

    Notes
    -----
    Cost: "lanczos" one product per step and column (two if the basis is not stored); polynomials ``degree`` products
    per column and as many or ``probe_steps`` for the probe, no inner products; "direct" O(n^3).

    Validity: the error is estimated, not bounded. For Lanczos by what the last steps changed; for polynomials by
    the largest deviation from f where a Lanczos run of at least ``degree`` steps on a random combination of the columns
    says that eigenvalues can be. A polynomial whose degree was not given is raised until that is within ``rtol``, and
    Lanczos takes over where degree 1024 is not enough; a result that is not within the tolerance says so in
    ``report.converged``.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 5.4; Higham, Functions of Matrices (2008), chapter 13; Druskin, Knizhnerman,
    Comput. Math. Math. Phys. 29 (1989).

    Examples
    --------
    >>> import numpy as np, nnla
    >>> A = nnla.problems.poisson2d(30)
    >>> v = np.ones(A.shape[0])
    >>> y = funm_multiply(A, v, "inv_sqrt")
    >>> y.report.converged, bool(np.linalg.norm(A @ funm_multiply(A, y) - v) < 1e-5 * np.linalg.norm(v))
    (True, True)
    """
    started = time.perf_counter()
    job = _Job(A, V, f, rtol, method, degree, probe_steps, seed, maxiter, two_pass, engine, started)
    return job.run()


def matfun(A: Any, f: Any = "inv_sqrt") -> np.ndarray:
    """f(A) of a small symmetric matrix as a dense array, by an eigendecomposition.

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes, symmetric, (n, n)
    f : as in `funm_multiply`

    Raises
    ------
    The errors of `funm_multiply`; OptionError for n > 20 000.

    Notes
    -----
    Cost: O(n^3) time, O(n^2) memory; n products if A is known only by products. Exact to rounding.

    Examples
    --------
    >>> matfun([[2.0, 0.0], [0.0, 8.0]], "inv").tolist()
    [[0.5, 0.0], [0.0, 0.125]]
    """
    scalar = scalar_function(f)
    values, Q = _eigh(symmetric_operator(A))
    image = scalar.on_spectrum(values, float(np.abs(values).max()))
    return (Q * image) @ Q.T


def matrix_function(
    A: Any,
    f: Any = "inv_sqrt",
    *,
    rtol: float = 1e-6,
    method: str = "autospec",
    degree: int | None = None,
    probe: SpectralProbe | None = None,
    probe_steps: int = PROBE_STEPS,
    seed: int | None = 0,
    engine: Any = None,
) -> MatrixFunction:
    """A polynomial P with P(A) close to f(A), bound to A: a SciPy LinearOperator to be used again and again.

    Parameters
    ----------
    A, f, rtol, degree, seed, engine : as in `funm_multiply`
    method : "autospec", "chebyshev" or "neumann"
    probe : of A, unscaled; by default ``probe_steps`` Lanczos steps from a random vector, and more where the degree
        that ``rtol`` needs exceeds them

    Returns
    -------
    MatrixFunction

    Raises
    ------
    As `funm_multiply`.

    Notes
    -----
    Cost: the probe's products now, ``degree`` per application. The coefficients are in ``recurrence``, and travel.

    Examples
    --------
    >>> import numpy as np, nnla
    >>> A = nnla.problems.poisson2d(30)
    >>> W = matrix_function(A, "inv_sqrt", degree=21)
    >>> W.shape, W.recurrence.degree, W.report.degree
    ((900, 900), 21, 21)
    """
    started = time.perf_counter()
    if method not in POLYNOMIALS:
        raise OptionError(f"a bound function is a polynomial: method is {', '.join(POLYNOMIALS)}, not {method!r}")
    scalar = scalar_function(f)
    _check_numbers(rtol, degree, probe_steps, None)
    op = symmetric_operator(A)
    before = op.products
    if probe is None:
        start = op.as_vector(np.random.default_rng(seed).standard_normal(op.n))
        search = _Search(op, start, scalar, rtol, degree, method, engine, seed, probe_steps)
        probe, design = search.run()
    else:
        if probe.n != op.n or probe.scaling != "none":
            raise OptionError(f"the probe is of size {probe.n}, scaling {probe.scaling!r}; A has size {op.n}, no scaling")
        design = design_function(probe, scalar, method=method, rtol=rtol, degree=degree, engine=engine)
    report = MatrixFunctionReport(
        **_verdict(design, degree, rtol),
        method=design.method,
        f=scalar.name,
        n=op.n,
        nnz=op.nnz,
        columns=0,
        rtol=rtol,
        error_estimate=design.expected,
        estimated_by=_BY_ZONES,
        degree=design.recurrence.degree,
        steps=probe.steps,
        products=op.products - before,
        products_probe=op.products - before,
        seconds={"total": time.perf_counter() - started},
        interval=design.recurrence.domain,
        fallback=design.fallback,
        chosen_because="asked for",
        weights=design.weights,
        seed=probe.seed,
        versions=_versions(),
    )
    return MatrixFunction(op, design.recurrence, probe, report)


class MatrixFunction(LinearOperator):
    """P(A), for `scipy.sparse.linalg` and by itself; made by `matrix_function`.

    Attributes
    ----------
    kind : `Kind.LINEAR`
    recurrence : Recurrence, P
    probe : SpectralProbe that it was made from
    report : MatrixFunctionReport
    error_estimate : expected relative error of P(A) v, any v
    applies, products : counters of its use
    """

    kind = Kind.LINEAR

    def __init__(
        self, operator: Operator, recurrence: Recurrence, probe: SpectralProbe, report: MatrixFunctionReport
    ) -> None:
        self.operator, self.recurrence, self.probe, self.report = operator, recurrence, probe, report
        self.applies = self.products = 0
        self._apply = _bound(operator, recurrence)
        super().__init__(dtype=np.dtype(np.float64), shape=operator.shape)

    @property
    def error_estimate(self) -> float:
        """Expected relative error of P(A) v."""
        return self.report.error_estimate

    def __call__(self, V: Any) -> Any:
        """P(A) V for (n,) or (n, k), NumPy or torch."""
        V = self.operator.as_vector(V, "V")
        columns = 1 if V.ndim == 1 else int(V.shape[1])
        self.applies += columns
        self.products += columns * self.recurrence.products
        return self._apply(V)

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self(np.asarray(x).reshape(-1))

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        return self(X)

    def _adjoint(self) -> MatrixFunction:
        return self


# --------------------------------------------------------------------------------------------------------
# The parts


_BY_ZONES = "largest deviation of P from f where a Lanczos run leaves room for eigenvalues"
_BY_CHANGE = "change over the last Lanczos steps, with the tail that it suggests"


class _Job:
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
        if method not in METHODS:
            raise OptionError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
        _check_numbers(rtol, degree, probe_steps, maxiter)
        if degree is not None and method in ("auto", "direct"):
            raise OptionError(f"degree={degree} has no effect on method={method!r}; use autospec, chebyshev or lanczos")
        if engine is not None and method not in ("auto", "autospec"):
            raise OptionError(f"engine= has no effect on method={method!r}; use method='autospec'")
        self.f, self.rtol, self.method, self.degree = scalar_function(f), rtol, method, degree
        self.probe_steps, self.seed, self.two_pass, self.engine = probe_steps, seed, two_pass, engine
        self.op = symmetric_operator(A)
        self.before = self.op.products
        self.V = _columns(self.op, V)
        self.columns = 1 if self.V.ndim == 1 else int(self.V.shape[1])
        self.maxiter = min(5 * self.op.n + 50, 3000) if maxiter is None else maxiter
        self.started, self.seconds = started, {}
        self.products_probe = 0
        self.because = "asked for"
        self.fallback: str | None = None

    def run(self) -> Any:
        if self.columns == 0 or not bool((self.V != 0).any()):
            return self._report(self.V * 0.0, method=self.method, error=0.0, by="f(A) 0 = 0", status="converged")
        method = self._choose() if self.method == "auto" else self.method
        if method == "direct":
            return self._direct()
        if method == "lanczos":
            return self._lanczos()
        return self._polynomial(method)

    def _choose(self) -> str:
        n = self.op.n
        known = self.op.nnz is not None and self.op.xp == "numpy"
        if n <= (_DIRECT if known else _DIRECT_PRODUCTS) and self.op.xp == "numpy":
            self.because = f"n = {n} is small: an eigendecomposition is quickest, and exact"
            return "direct"
        if known and n <= 2000 and self.columns >= n // 4:
            self.because = f"{self.columns} columns for n = {n}: an eigendecomposition serves them all"
            return "direct"
        if self.columns < _FEW:
            self.because = f"{self.columns} column(s): no polynomial needs fewer products than Lanczos"
            return "lanczos"
        if self.f.name == "sign":
            self.because = "sign jumps at 0: Lanczos adapts to the eigenvalues there"
            return "lanczos"
        self.because = f"{self.columns} columns: one polynomial serves them all, without inner products"
        return "autospec"

    # -- methods ----------------------------------------------------------------------------------------

    def _direct(self) -> Any:
        values, Q = _eigh(self.op)
        self._clock("setup")
        image = self.f.on_spectrum(values, float(np.abs(values).max()))
        V = to_numpy(self.V)
        inner = Q.T @ V
        y = Q @ (inner * (image if V.ndim == 1 else image[:, None]))
        weights = inner.reshape(self.op.n, -1) ** 2
        error = max(self.f.rounding(values, w) for w in weights.T)
        return self._report(
            self.op.as_vector(y) if self.op.xp == "torch" else y,
            method="direct",
            error=max(error, _ROUNDING),
            by="rounding: eigenvalues known to a few eps ||A||",
            status="converged",
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
        )
        status = "converged" if run.converged else "degree" if self.degree is not None else "maxiter"
        return self._report(
            run.y, method="lanczos", error=run.error, by=_BY_CHANGE, status=status, steps=run.steps,
            interval=run.extremes,
        )  # fmt: skip

    def _polynomial(self, method: str) -> Any:
        search = _Search(
            self.op, self._combination(), self.f, self.rtol, self.degree, method, self.engine, self.seed,
            self.probe_steps,
        )  # fmt: skip
        probe, design = search.run()
        self.products_probe = self.op.products - self.before
        self._clock("probe")
        if self.degree is None and design.expected > self.rtol:
            self.fallback = (
                f"{method}: degree {design.recurrence.degree} would leave an error of {design.expected:.1e}; "
                "Lanczos instead"
            )
            return self._lanczos()
        y = _bound(self.op, design.recurrence)(self.V)
        self._clock("apply")
        error = self._checked(y, probe, design)
        self.fallback = design.fallback
        return self._report(
            y,
            method=design.method,
            error=error,
            by=_BY_ZONES,
            status="converged" if error <= self.rtol else "degree",
            degree=design.recurrence.degree,
            steps=probe.steps,
            interval=design.recurrence.domain,
            weights=design.weights,
        )

    def _combination(self) -> Any:
        """A random combination of the columns, each to equal weight: what one probe can see of all."""
        if self.V.ndim == 1:
            return self.V
        lengths = np.atleast_1d(norm(self.V))
        signs = np.random.default_rng(self.seed).choice([-1.0, 1.0], size=self.columns)
        weights = np.where(lengths > 0, signs / np.where(lengths > 0, lengths, 1.0), 0.0)
        return (self.V * as_row(weights, self.V)).sum(1)

    def _checked(self, y: Any, probe: SpectralProbe, design: FunctionDesign) -> float:
        """The error expected for the column whose image is smallest; infinite where that is not finite."""
        sizes, lengths = np.atleast_1d(norm(y)), np.atleast_1d(norm(self.V))
        if not np.all(np.isfinite(sizes)):
            return np.inf
        scale = float((sizes[lengths > 0] / lengths[lengths > 0]).min())
        return max(expected_error(design.recurrence, probe, self.f, scale), _ROUNDING)

    # -- report -----------------------------------------------------------------------------------------

    def _clock(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self.started - sum(self.seconds.values())

    def _report(
        self, y: Any, *, method: str, error: float, by: str, status: str, interval: Any = None, **facts: Any
    ) -> Any:
        if interval is not None and not np.all(np.isfinite(interval)):
            interval = None
        self._clock("apply" if "apply" not in self.seconds else "check")
        report = MatrixFunctionReport(
            status=status,
            converged=status == "converged",
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
            chosen_because=self.because,
            seed=self.seed if self.products_probe and self.V.ndim > 1 else None,
            versions=_versions(),
            **facts,
        )
        return with_report(y, report)


class _Search:
    """Probe and polynomial by turns: a longer probe where the degree exceeds its steps."""

    def __init__(
        self,
        op: Operator,
        start: Any,
        f: ScalarFunction,
        rtol: float,
        degree: int | None,
        method: str,
        engine: Any,
        seed: int | None,
        steps: int,
    ) -> None:
        if not float(norm(start)) > 0:  # columns that cancel
            start = op.as_vector(np.random.default_rng(0).standard_normal(op.n))
        self.op, self.f, self.rtol, self.degree = op, f, rtol, degree
        self.method, self.engine, self.seed, self.steps = method, engine, seed, steps
        self.run_of = Tridiagonals(op.matvec, start, keep=0)

    def run(self) -> tuple[SpectralProbe, FunctionDesign]:
        steps = self.steps
        while True:
            probe = self._probe(steps)
            design = design_function(
                probe, self.f, method=self.method, rtol=self.rtol, degree=self.degree, engine=self.engine
            )
            if self.degree is not None or probe.exhausted or design.recurrence.degree <= probe.steps:
                return probe, design
            if probe.steps >= MAX_DEGREE:
                return probe, design
            steps = min(max(design.recurrence.degree, int(1.3 * probe.steps)), int(1.7 * probe.steps) + 2, MAX_DEGREE)

    def _probe(self, steps: int) -> SpectralProbe:
        run = self.run_of
        while run.steps < steps and not run.exhausted:
            run.advance()
        alpha, beta = (np.array([row[0] for row in rows]) for rows in (run.alpha, run.beta))
        return SpectralProbe(alpha, beta, self.op.n, "none", self.seed, run.steps)


def _bound(op: Operator, P: Recurrence) -> Callable[[Any], Any]:
    """V -> P(A) V, on the native kernels where A and P have a form there."""
    system = native_system(op)
    native = None if system is None else system.polynomial(P, "float64", scaled=False)

    def apply(V: Any) -> Any:
        if native is None or is_torch(V):
            return P.apply(op, V)
        V = np.ascontiguousarray(V, dtype=np.float64)
        columns = 1 if V.ndim == 1 else V.shape[1]
        op.products += columns * P.products
        out = np.empty_like(V)
        if columns == 1:
            native.apply(V.reshape(-1), out.reshape(-1))
        else:
            native.apply_block(V, out)
        return out

    return apply


def _columns(op: Operator, V: Any) -> Any:
    """V as a block of the operator's kind; no columns are fine here."""
    shape = getattr(V, "shape", None)
    if shape is not None and len(shape) == 2 and int(shape[0]) == op.n and int(shape[1]) == 0:
        return op.as_vector(np.zeros((op.n, 1)))[:, :0]
    return op.as_vector(V, "V")


def _eigh(op: Operator) -> tuple[np.ndarray, np.ndarray]:
    from scipy.linalg import eigh

    if op.n > _DIRECT_LARGEST:
        raise OptionError(f"n = {op.n} is too large for a dense eigendecomposition; use method='lanczos'")
    if op.csr is not None:
        dense = op.csr.toarray()
    else:
        dense = to_numpy(op.matvec(op.as_vector(np.eye(op.n))))
    return eigh((dense + dense.T) / 2)


def _check_numbers(rtol: float, degree: int | None, probe_steps: int, maxiter: int | None) -> None:
    if isinstance(rtol, bool) or not isinstance(rtol, (int, float, np.number)) or not 0 < float(rtol) < 1:
        raise OptionError(f"rtol must be a number between 0 and 1, got {rtol!r}")
    if degree is not None:
        check_degree(degree)
    for name, value in (("probe_steps", probe_steps), ("maxiter", maxiter)):
        if value is None and name == "maxiter":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise OptionError(f"{name} must be a positive integer, got {value!r}")


def _verdict(design: FunctionDesign, degree: int | None, rtol: float) -> dict[str, Any]:
    reached = bool(design.expected <= rtol)
    return {"status": "converged" if reached else "degree", "converged": reached}


def _versions() -> dict[str, str]:
    import scipy

    from nnla import __version__

    return {
        "nnla": __version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
    }
