"""Polynomials bound to operators: the preconditioner that anyone's CG can use."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.krylov.probes import probe as run_probe
from nnla.linear.units import Units, comfortable, scaled_preconditioner
from nnla.operators.arrays import alike
from nnla.operators.bound_polynomial import BoundPolynomial, precision_of
from nnla.operators.operator import Operator, as_operator
from nnla.polynomials.design import POLYNOMIAL_METHODS, Design, design_polynomial
from nnla.polynomials.recurrence import Recurrence
from nnla.preconditioners.scalings import Scaling, bind_scaling
from nnla.types import SpectralProbe

__all__ = ["PolynomialPreconditioner", "choose_scaling", "precision_of", "preconditioner", "quick_dtype"]

DEFAULT_DEGREE = 11
_LOST = 0.01  # relative change of P on a Ritz value by rounding to float32
_LEAST = 1e-100  # unit of A up to which, and to its inverse, squares stay in the range of float64, with room


def _bears_single(recurrence: Recurrence, probe: SpectralProbe) -> bool:
    """Whether rounding to float32 leaves P as it is between the extreme Ritz values.

    A polynomial of a degree far beyond the steps of its probe may be the difference of much larger terms, or huge where
    there are no eigenvalues.

    Cost: an evaluation on some scalars, for degrees beyond the default.
    """
    if recurrence.degree <= DEFAULT_DEGREE:
        return True
    lam = probe.ritz_values[probe.ritz_values > 0]
    known, low, high = (
        lam.size,
        float(lam.min()),
        float(lam.max()),
    )  # a probe that ended early has seen little of what lies between
    lam = np.concatenate([lam, np.geomspace(low, high, 24), np.linspace(low, high, 24)])
    single = lam.astype(np.float32)
    with np.errstate(all="ignore"):
        exact = recurrence(lam)
        rounded = recurrence.apply(lambda v: single * v, np.ones(lam.size, np.float32)).astype(np.float64)
        kept = np.all(np.abs(rounded - exact) <= _LOST * np.abs(exact))
        # and what P is between the eigenvalues leaks into it through vectors that are rounded, too
        between = float(np.max(np.abs(exact)) / np.max(np.abs(exact[:known])))
        return bool(kept and between * np.finfo(np.float32).eps <= _LOST)


class PolynomialPreconditioner(BoundPolynomial):
    """M = P(B A) B, symmetric positive definite: for SciPy's ``cg(A, b, M=M)`` or `nnla.solve`.

    Attributes
    ----------
    kind : that of B, as a rule `Kind.LINEAR_SPD`
    recurrence : Recurrence, P
    probe : SpectralProbe it was made from
    design : method, interval, fallback, weights
    base, scaling : B, and its name
    precision : dtype of the values and vectors inside, float64 where float32 would lose the polynomial; what goes in
        and out is float64
    rows : exponents of S, where the polynomial is one in S A S (A has entries beyond 1e27), else None
    native : the native preconditioner, or None
    applies, products : counters of its use
    report : dict of all that, JSON-able

    Notes
    -----
    Cost of one application: ``recurrence.products`` products with A, one more solve with B, about four
    vectors. Guaranteed: P > 0 on (0, b]; b bounds the spectrum as far as the probe saw it, and a CG
    that finds r'Mr <= 0 should go on without M (`nnla.solve` does).

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (4)-(5). Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section
    12.3.
    """

    name = "polynomial"
    inverse = None

    def __init__(
        self,
        operator: Operator,
        base: Scaling,
        design: Design,
        probe: SpectralProbe,
        *,
        dtype: Any = None,
        seconds: float = 0.0,
        rows: np.ndarray | None = None,
    ) -> None:
        if precision_of(dtype) != "float64" and not _bears_single(design.recurrence, probe):
            dtype = None
        super().__init__(operator, design.recurrence, base, dtype=dtype)
        self.base, self.design, self.probe = base, design, probe
        self.kind, self.scaling, self.seconds, self.rows = base.kind, base.name, seconds, rows

    def __call__(self, z: Any) -> Any:
        """M z for (n,) or (n, k); arrays of another kind than the operator's are converted there and back."""
        own = self.operator.space.own(z)
        if self.rows is None or own.ndim not in (1, 2) or own.shape[0] != self.shape[0]:
            return super().__call__(z)
        units, inside, _ = Units.of(self.operator.space, own, self.rows)
        out = units.leave(super().__call__(inside))
        return out if type(out) is type(z) else alike(self.operator.space.host(out), z)

    def inside(self) -> PolynomialPreconditioner:
        """The same for the operator that it multiplies by, `operator`, which is S A S where A has extreme units."""
        return PolynomialPreconditioner(self.operator, self.base, self.design, self.probe, dtype=self.precision)

    def in_precision(self, dtype: Any) -> PolynomialPreconditioner:
        """The same polynomial with values and vectors of another dtype inside."""
        return PolynomialPreconditioner(self.operator, self.base, self.design, self.probe, dtype=dtype)

    @property
    def report(self) -> dict[str, Any]:
        """What it is, where it came from, and what it cost so far."""
        d = self.design
        return {
            "method": d.method,
            "scaling": self.scaling,
            "degree": d.recurrence.degree,
            "interval": list(d.interval),
            "predicted_iterations": d.predicted_iterations,
            "fallback": d.fallback,
            "weights": d.weights,
            "products_probe": self.probe.products,
            "applies": self.applies,
            "products": self.products,
            "seconds": self.seconds,
        }


def preconditioner(
    A: Any,
    *,
    method: str = "autospec",
    degree: int | None = None,
    probe: SpectralProbe | None = None,
    dtype: Any = None,
    scaling: Any = "auto",
    rtol: float = 1e-8,
    steps: int = 50,
    seed: int = 0,
    engine: Any = None,
) -> PolynomialPreconditioner:
    """A polynomial preconditioner for CG on A, by the learned engine or a classical method.

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes, (n, n), symmetric positive definite
    method : "autospec" (learned), or "autospec-tail", "autospec-paper", "chebyshev", "chebyshev4", "rule", "dos",
        "least-squares", "gmres", "richardson", "neumann"
    degree : degree of P, default 11; one application costs that many products
    probe : a probe of the same scaled operator, to reuse; by default one of ``steps`` steps is run
    dtype : numpy.float32 applies P in single precision (the result is float64 again)
    scaling : "auto" (Jacobi where the diagonal varies), "none", "jacobi", "ic", or an SPD operator
    rtol : tolerance of the solves it is for
    steps, seed : of the probe
    engine : a trained engine (`nnla.load`) instead of the shipped one

    Returns
    -------
    PolynomialPreconditioner
        A SciPy LinearOperator with ``recurrence``, ``probe`` and ``report``.

    Raises
    ------
    The errors of `nnla.as_operator`; NotPositiveDefiniteError when the probe shows a negative Ritz
    value; OptionError.

    Notes
    -----
    Cost: ``steps`` products for the probe, and ``degree`` per application. It stays valid for as long as
    A does: reuse it for every right-hand side.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (4)-(5) and section 5.3. Saad, Iterative Methods for Sparse Linear Systems,
    2nd ed., section 12.3.

    Examples
    --------
    >>> import numpy as np, nnla
    >>> from scipy.sparse.linalg import cg
    >>> A = nnla.problems.poisson2d(40)
    >>> M = nnla.preconditioner(A)
    >>> x, info = cg(A, np.ones(A.shape[0]), M=M, rtol=1e-8)
    >>> info, M.recurrence.degree
    (0, 11)
    """
    if not isinstance(method, str) or method not in POLYNOMIAL_METHODS:
        raise OptionError(f"unknown method {method!r}; choose from {', '.join(POLYNOMIAL_METHODS)}")
    started = time.perf_counter()
    op, rows = comfortable(as_operator(A))
    if not isinstance(scaling, str):
        scaling = scaled_preconditioner(op, scaling, rows)
    scaling = choose_scaling(op, scaling)
    base = bind_scaling(op, scaling)
    if probe is None:
        probe = run_probe(op, steps, seed=seed, scaling=scaling)
    elif not isinstance(probe, SpectralProbe):
        raise OptionError(f"probe must be a nnla.probe of A, got a {type(probe).__name__}")
    elif probe.n != op.n:
        raise OptionError(f"the probe is of an operator of size {probe.n}, A has size {op.n}")
    elif probe.scaling != base.name:
        raise OptionError(
            f"the probe is of scaling {probe.scaling!r}, the preconditioner of {base.name!r}; pass scaling="
        )
    top = probe.lambda_max
    if top > 0 and not _LEAST < top < 1 / _LEAST:
        raise OptionError(
            f"the eigenvalues of A reach {top:.3g}, and a polynomial in them leaves the range of float64; pass "
            "scaling='jacobi', or rescale A"
        )
    degree = DEFAULT_DEGREE if degree is None else degree
    design = design_polynomial(probe, method=method, degree=degree, rtol=rtol, engine=engine)
    seconds = time.perf_counter() - started
    return PolynomialPreconditioner(op, base, design, probe, dtype=dtype, seconds=seconds, rows=rows)


def choose_scaling(op: Operator, asked: Any = "auto") -> Any:
    """The scaling asked for; "auto" is "jacobi" where the diagonal is known and varies, else "none", the same then.

    Where the diagonal is beyond 1e100 or below 1e-100 it is "jacobi", too: squares of such numbers over- or underflow.

    Cost: a pass over the diagonal, where it is known.

    References
    ----------
    van der Sluis, Condition numbers and equilibration of matrices, Numer. Math. 14 (1969) 14-23.
    """
    if not (isinstance(asked, str) and asked == "auto"):
        return asked
    diagonal = op.diagonal()
    if diagonal is None:
        return "none"
    low, high = float(diagonal.min()), float(diagonal.max())
    return "jacobi" if high > 1.0001 * low or not _LEAST < high < 1 / _LEAST else "none"


def quick_dtype(op: Operator, base: Scaling) -> str:
    """The dtype in which a polynomial over B is applied fastest; float32 where the native kernels can use it."""
    return op.space.quickest_precision(op.native, base)
