"""f(A) V for symmetric A: inverse square roots, logarithms, exponentials, or any function of a real number."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.functions.design import POLYNOMIALS, design_function
from nnla.functions.report import MatrixFunctionReport
from nnla.functions.scalars import scalar_function
from nnla.functions.search import Search
from nnla.functions.state import (
    BY_ZONES,
    METHODS,
    PROBE_STEPS,
    SERIAL,
    Job,
    check_numbers,
    eigen,
    precision_of_entries,
    symmetric_operator,
)
from nnla.kernels.blas import one_blas_thread
from nnla.operators.bound_polynomial import BoundPolynomial
from nnla.operators.operator import Operator
from nnla.polynomials.recurrence import Recurrence
from nnla.types import SpectralProbe, Status, library_versions

__all__ = ["METHODS", "MatrixFunction", "funm_multiply", "matfun", "matrix_function", "symmetric_operator"]


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
    probe_steps, seed : of the probe that a polynomial is made from; 8 steps at least
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
        f is not finite on the spectrum, or f(A) V is beyond 1.8e308.
    ShapeError, DTypeError
        f does not give one real number for each point.
    OptionError, and the errors of `nnla.as_operator`.

    Notes
    -----
    Cost: "lanczos" one product per step and column (two if the basis is not stored), and for exp and callables at most
    as many products again as steps, to see where the spectrum ends, only where components of V that are too small to
    see could matter; polynomials ``degree`` products per column and as many or ``probe_steps`` for the probe, no
    inner products; "direct" O(n^3).

    Validity: the error is estimated, not bounded. For Lanczos by the largest error that an eigenvalue between or beyond
    the Ritz values can mean, given the mass that V can have there; for polynomials by the largest deviation from f
    where a Lanczos run of at least ``degree`` steps on a random combination of the columns says that eigenvalues can
    be, and by P on the rest of the spectrum. A polynomial whose degree was not given is raised until that is within
    ``rtol``, and Lanczos takes over where degree 1024 is not enough or V lies in a small invariant subspace; a result
    that is not within the tolerance says so in ``report.converged``. Norms of A, V and f may be anything that float64
    holds; below 2.2e-308 the tolerance is absolute.

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
    job = Job(A, V, f, rtol, method, degree, probe_steps, seed, maxiter, two_pass, engine, started)
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

    References
    ----------
    Higham, Functions of Matrices (2008), section 4.5 (diagonalisation).

    Examples
    --------
    >>> matfun([[2.0, 0.0], [0.0, 8.0]], "inv").tolist()
    [[0.5, 0.0], [0.0, 0.125]]
    """
    op = symmetric_operator(A)
    scalar = scalar_function(f).rounded(op.n, precision_of_entries(A))
    with one_blas_thread(op.n <= SERIAL):
        values, Q = eigen(op)
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

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 5.4. Trefethen, Approximation Theory and Approximation Practice (2013), chapter
    8 (geometric convergence of the interpolants).

    Examples
    --------
    >>> import numpy as np, nnla
    >>> A = nnla.problems.poisson2d(30)
    >>> W = matrix_function(A, "inv_sqrt", degree=21)
    >>> W.shape, W.recurrence.degree, W.report.degree
    ((900, 900), 21, 21)
    """
    started = time.perf_counter()
    if not isinstance(method, str) or method not in POLYNOMIALS:
        raise OptionError(f"a bound function is a polynomial: method is {', '.join(POLYNOMIALS)}, not {method!r}")
    scalar = scalar_function(f)
    check_numbers(rtol, degree, probe_steps, None)
    op = symmetric_operator(A)
    scalar = scalar.rounded(op.n, precision_of_entries(A))
    before = op.products
    if probe is None:
        start = op.as_vector(np.random.default_rng(seed).standard_normal(op.n))
        search = Search(op, start, scalar, rtol, degree, method, engine, seed, probe_steps)
        probe, design = search.run()
    else:
        if probe.n != op.n or probe.scaling != "none":
            raise OptionError(
                f"the probe is of size {probe.n}, scaling {probe.scaling!r}; A has size {op.n}, no scaling"
            )
        design = design_function(probe, scalar, method=method, rtol=rtol, degree=degree, engine=engine)
    report = MatrixFunctionReport(
        status=Status.CONVERGED if design.expected <= rtol else Status.DEGREE,
        converged=bool(design.expected <= rtol),
        method=design.method,
        f=scalar.name,
        n=op.n,
        nnz=op.nnz,
        columns=0,
        rtol=rtol,
        error_estimate=design.expected,
        estimated_by=BY_ZONES,
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
        versions=library_versions(),
    )
    return MatrixFunction(op, design.recurrence, probe, report)


class MatrixFunction(BoundPolynomial):
    """P(A), for `scipy.sparse.linalg` and by itself; made by `matrix_function`.

    Attributes
    ----------
    kind : `Kind.LINEAR`
    recurrence : Recurrence, P
    probe : SpectralProbe that it was made from
    report : MatrixFunctionReport
    error_estimate : expected relative error of P(A) v, any v
    applies, products : counters of its use

    Notes
    -----
    Cost: ``degree`` products with A an application, three vectors.
    """

    def __init__(
        self, operator: Operator, recurrence: Recurrence, probe: SpectralProbe, report: MatrixFunctionReport
    ) -> None:
        super().__init__(operator, recurrence)
        self.probe, self.report = probe, report

    @property
    def error_estimate(self) -> float:
        """Expected relative error of P(A) v."""
        return self.report.error_estimate

    def __call__(self, V: Any) -> Any:
        """P(A) V for (n,) or (n, k), NumPy or torch, as an array of the operator's kind."""
        return super().__call__(self.operator.as_vector(V, "V"))
