"""Polynomials bound to operators: the preconditioner that anyone's CG can use."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from nnla.errors import DTypeError, OptionError, ShapeError
from nnla.kernels.system import native_system
from nnla.krylov.probes import probe as run_probe
from nnla.operators.arrays import is_torch
from nnla.operators.operator import Operator, as_operator
from nnla.polynomials.design import POLYNOMIAL_METHODS, Design, design_polynomial
from nnla.polynomials.recurrence import Recurrence
from nnla.preconditioners.scalings import Scaling, bind_scaling
from nnla.types import Kind, SpectralProbe

__all__ = ["PolynomialPreconditioner", "choose_scaling", "precision_of", "preconditioner", "quick_dtype"]

DEFAULT_DEGREE = 11


class PolynomialPreconditioner(LinearOperator):
    """M = P(B A) B, symmetric positive definite: for SciPy's ``cg(A, b, M=M)`` or `nnla.solve`.

    Attributes
    ----------
    kind : `Kind.LINEAR_SPD`
    recurrence : Recurrence, P
    probe : SpectralProbe it was made from
    design : method, interval, fallback, weights
    scaling : name of B
    precision : dtype of the values and vectors inside; what goes in and out is float64
    applies, products : counters of its use
    report : dict of all that, JSON-able

    Notes
    -----
    Cost of one application: ``recurrence.products`` products with A, one more solve with B, about four
    vectors. Guaranteed: P > 0 on (0, b]; b bounds the spectrum as far as the probe saw it, and a CG
    that finds r'Mr <= 0 should go on without M (`nnla.solve` does).
    """

    kind = Kind.LINEAR_SPD

    def __init__(
        self,
        operator: Operator,
        base: Scaling,
        design: Design,
        probe: SpectralProbe,
        *,
        dtype: Any = None,
        seconds: float = 0.0,
    ) -> None:
        self.operator, self.base, self.design, self.probe = operator, base, design, probe
        self.name, self.scaling = "polynomial", base.name
        self.inverse = None
        self.applies = self.products = 0
        self.seconds = seconds
        self.precision = precision_of(dtype)
        self._native: Any = None
        self._low = None
        if self.native is None:
            self._low = _low_precision(operator, dtype)
        super().__init__(dtype=np.dtype(np.float64), shape=operator.shape)

    @property
    def recurrence(self) -> Recurrence:
        """The polynomial P."""
        return self.design.recurrence

    @property
    def native(self) -> Any:
        """The native preconditioner, or None: the matrix, the scaling or the recurrence has no native form."""
        if self._native is None and self.base.name in ("none", "jacobi"):
            system, scaled = native_system(self.operator), self.base.name == "jacobi"
            if system is not None and system.holds(self.precision, scaled=scaled):
                self._native = system.polynomial(self.recurrence, self.precision, scaled=scaled)
        return self._native

    def in_precision(self, dtype: Any) -> PolynomialPreconditioner:
        """The same polynomial with values and vectors of another dtype inside."""
        return PolynomialPreconditioner(self.operator, self.base, self.design, self.probe, dtype=dtype)

    def count(self, applies: int) -> None:
        """Add so many applications and their products, done by the native kernels, to the counters."""
        self.applies += applies
        self.products += applies * self.recurrence.products
        self.operator.products += applies * self.recurrence.products

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

    def __call__(self, r: Any) -> Any:
        """M r for (n,) or (n, k), NumPy or torch."""
        columns = 1 if r.ndim == 1 else r.shape[1]
        if self.native is not None and not is_torch(r):
            self.count(columns)
            return self._natively(np.ascontiguousarray(r, dtype=np.float64))
        self.applies += columns
        self.products += columns * self.recurrence.products
        if self._low is not None:
            matrix, dtype = self._low
            self.operator.products += columns * self.recurrence.products
            solve = (lambda v: v) if self.base.name == "none" else self.base.solve
            step = lambda v: solve(matrix @ v).astype(dtype, copy=False)  # noqa: E731
            start = np.asarray(solve(r)).astype(dtype)
            return self.recurrence.apply(step, start).astype(np.float64)
        if self.base.name == "none":
            return self.recurrence.apply(self.operator, r)
        return self.recurrence.apply(lambda v: self.base.solve(self.operator.matvec(v)), self.base.solve(r))

    def _natively(self, r: np.ndarray) -> np.ndarray:
        if r.shape[0] != self.shape[0]:
            raise ShapeError(f"r has shape {r.shape}; M is {self.shape[0]}x{self.shape[0]}")
        out = np.empty_like(r)
        if r.ndim == 1 or r.shape[1] == 1:
            self.native.apply(r.reshape(-1), out.reshape(-1))
        else:
            self.native.apply_block(r, out)
        return out

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self(np.asarray(x, dtype=np.float64).reshape(-1))

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        return self(np.asarray(X, dtype=np.float64))

    def _adjoint(self) -> PolynomialPreconditioner:
        return self

    def __matmul__(self, x: Any) -> Any:
        return self(x) if is_torch(x) else super().__matmul__(x)


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
    if method not in POLYNOMIAL_METHODS:
        raise OptionError(f"unknown method {method!r}; choose from {', '.join(POLYNOMIAL_METHODS)}")
    started = time.perf_counter()
    op = as_operator(A)
    scaling = choose_scaling(op) if isinstance(scaling, str) and scaling == "auto" else scaling
    base = bind_scaling(op, scaling)
    if probe is None:
        probe = run_probe(op, steps, seed=seed, scaling=scaling)
    elif probe.n != op.n:
        raise OptionError(f"the probe is of an operator of size {probe.n}, A has size {op.n}")
    elif probe.scaling != base.name:
        raise OptionError(
            f"the probe is of scaling {probe.scaling!r}, the preconditioner of {base.name!r}; pass scaling="
        )
    degree = DEFAULT_DEGREE if degree is None else degree
    design = design_polynomial(probe, method=method, degree=degree, rtol=rtol, engine=engine)
    seconds = time.perf_counter() - started
    return PolynomialPreconditioner(op, base, design, probe, dtype=dtype, seconds=seconds)


def choose_scaling(op: Operator) -> str:
    """ "jacobi" where the diagonal is known and varies, else "none" (they would be the same)."""
    diagonal = op.diagonal()
    if diagonal is None:
        return "none"
    low, high = float(diagonal.min()), float(diagonal.max())
    return "jacobi" if high > 1.0001 * low else "none"


def quick_dtype(op: Operator, base: Scaling) -> str:
    """float32 where the native kernels can use it, at half the memory traffic; else float64."""
    system = native_system(op)
    if system is None or base.name not in ("none", "jacobi"):
        return "float64"
    return "float32" if system.holds("float32", scaled=base.name == "jacobi") else "float64"


def precision_of(dtype: Any) -> str:
    """The name of the dtype asked for inside a polynomial, float64 by default."""
    name = "float64" if dtype is None else dtype if dtype == "bfloat16" else np.dtype(dtype).name
    if name not in ("float64", "float32", "bfloat16"):
        raise DTypeError(f"dtype must be float64, float32 or 'bfloat16', got {name}")
    return name


def _low_precision(op: Operator, dtype: Any) -> tuple[Any, np.dtype] | None:
    if precision_of(dtype) == "float64":
        return None
    if precision_of(dtype) == "bfloat16":
        raise OptionError("dtype='bfloat16' needs the native kernels and a SciPy sparse matrix; see `nnla doctor`")
    if op.csr is None:
        raise OptionError("dtype=float32 needs a SciPy sparse matrix")
    largest = float(np.abs(op.csr.data).max())
    if not 1e-30 < largest < 1e30:
        raise OptionError("the entries of A leave the range of float32; rescale A or use dtype=None")
    return op.csr.astype(np.float32), np.dtype(np.float32)
