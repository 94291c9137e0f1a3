"""Dense matrices of NumPy or torch for the matrix iterations: checked, with the ends of a spectrum by Lanczos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import eigh_tridiagonal

from nnla.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from nnla.operators.arrays import is_torch, namespace, space_of
from nnla.operators.gradients import refuse_gradient
from nnla.operators.validation import asarray, require_real
from nnla.report import ReportBase, Status
from nnla.spectra.lanczos import lanczos, tridiagonal
from nnla.types import ritz_margin

__all__ = [
    "Ends",
    "MatrixReport",
    "checked",
    "combine",
    "ends_of",
    "frobenius",
    "identity",
    "rounding",
    "scaled_norm",
    "spectrum_ends",
    "wide",
]


@dataclass(frozen=True, repr=False)
class MatrixReport(ReportBase):
    """What an iteration with dense matrices did.

    Attributes
    ----------
    status : "converged", "maxiter", "stagnation" (the accuracy limit of the dtype) or "breakdown"
    converged : the error, computed afterwards from the result, is within rtol
    method : the method that ran
    error : the measured error: an estimate of the 2-norm by Lanczos, never above `error_bound`
    error_bound : the Frobenius norm of the same
    rtol : what was asked for
    steps : degree of the polynomial of each transition
    products : products of two matrices, the check included
    products_check : of these, those that only verify the result
    probe_products : products of a matrix and a vector by probes, each about 1 / n of a product
    coefficients : (c_0, c_1, ...) of each transition X c(X'X)
    interval : [lower, upper] of the singular values (eigenvalues for inverse roots) as first probed or given
    error_history : error before each transition, as probed (nan where the method does not check)
    fallback : None, or what was given up and why
    dtype : of the products
    seed : of the probes' random vectors
    seconds : {"total"}
    versions : versions of the libraries
    rank : of a polar factor, the singular values of A that count; None where that is not clear, and for roots
    smallest_trusted : the smallest singular value that counts; what is below may be rounding
    backward_error : ||A - U H||_2 / ||A||_2 of a polar factor, estimated afterwards; None for roots
    row_error : where the rank is not full, ||(U'U)^2 - U'U||_2: how far U is from a partial isometry
    """

    _line = (
        ("method", "{}"),
        ("dtype", "{}"),
        ("rank", "rank {}"),
        ("products", "{} products"),
        ("error", "error {:.2g}"),
    )
    _table = ("error_bound", "rtol", "smallest_trusted", "backward_error", "row_error", "steps", *ReportBase._table)

    status: Status
    converged: bool
    method: str
    error: float
    error_bound: float
    rtol: float
    steps: list[int]
    products: int
    products_check: int
    probe_products: int
    coefficients: list[list[float]]
    interval: tuple[float, float]
    error_history: list[float]
    fallback: str | None
    dtype: str
    seed: int
    seconds: dict[str, float] = field(default_factory=dict[str, float], compare=False)
    versions: dict[str, str] = field(default_factory=dict[str, str])
    rank: int | None = None
    smallest_trusted: float | None = None
    backward_error: float | None = None
    row_error: float | None = None


@dataclass(frozen=True)
class Ends:
    """Extreme Ritz values of a symmetric matrix and their residuals; all eigenvalues within if exhausted."""

    low: float
    low_residual: float
    high: float
    high_residual: float
    steps: int

    @property
    def top(self) -> float:
        """A bound of the largest eigenvalue, where that is the largest in magnitude."""
        return self.high + ritz_margin(self.high_residual, self.high)


def checked(A: Any, name: str = "A") -> Any:
    """A real, finite, two-dimensional floating-point array of NumPy or torch; integers become float64.

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, GradientError
    """
    if is_torch(A):
        refuse_gradient(A, name)
        if A.is_complex() or not A.dtype.is_floating_point:
            raise DTypeError(f"{name} has dtype {A.dtype}; pass a real floating-point tensor")
        if A.layout != namespace(A).strided:
            raise DTypeError(f"{name} is a sparse tensor; matrix iterations fill it, pass {name}.to_dense()")
        A = A.detach()
    else:
        A = asarray(A.toarray() if hasattr(A, "toarray") else A, name)
        require_real(A.dtype)
        if A.dtype not in (np.float32, np.float64):
            A = A.astype(np.float64)
    if A.ndim != 2 or 0 in tuple(A.shape):
        raise ShapeError(f"{name} has shape {tuple(A.shape)}; matrix iterations need a non-empty matrix (m, n)")
    if not bool(namespace(A).isfinite(A).all()):
        raise NonFiniteError(f"{name} contains NaN or Inf; repair it first")
    return A


def rounding(X: Any) -> float:
    """Unit roundoff of the dtype of X."""
    xp = namespace(X)
    return float(xp.finfo(X.dtype).eps) / 2


def wide(X: Any) -> Any:
    """X in at least single precision: sums and norms of bfloat16 and half would be of no use."""
    if is_torch(X):
        torch = namespace(X)
        return X.to(torch.float32) if X.dtype in (torch.bfloat16, torch.float16) else X
    return X


def frobenius(X: Any) -> float:
    """Frobenius norm, summed in at least single precision."""
    return float((wide(X) ** 2).sum()) ** 0.5


def scaled_norm(X: Any) -> float:
    """Frobenius norm of a matrix of any size, 1e-300 to 1e300."""
    size = float(abs(wide(X)).max())
    return size * frobenius(X / size) if size > 0 else 0.0


def identity(X: Any) -> Any:
    """The identity with as many columns, the dtype and the device of X."""
    xp = namespace(X)
    n = X.shape[1]
    return xp.eye(n, dtype=X.dtype, device=X.device) if is_torch(X) else np.eye(n, dtype=X.dtype)


def combine(constant: float, terms: list[tuple[float, Any]]) -> Any:
    """constant I + sum of factor * matrix, summed in at least single precision and rounded once."""
    total = terms[0][0] * wide(terms[0][1])
    for factor, matrix in terms[1:]:
        total = total + factor * wide(matrix)
    if is_torch(total):
        total.diagonal().add_(constant)
        return total.to(terms[0][1].dtype)
    total[np.diag_indices_from(total)] += constant
    return total.astype(terms[0][1].dtype, copy=False)


def ends_of(G: Any, steps: int, rng: np.random.Generator) -> Ends:
    """Extreme Ritz values of G - I for a symmetric G: relative to 1, where a polar iteration takes them."""
    G = wide(G)
    return spectrum_ends(lambda v: G @ v - v, G, steps, rng)


def spectrum_ends(
    matvec: Callable[[Any], Any], like: Any, steps: int, rng: np.random.Generator, n: int | None = None
) -> Ends:
    """Lanczos with full reorthogonalisation from a random vector: `steps` products with vectors.

    Raises
    ------
    NonFiniteError
        A product overflowed.
    """
    if steps < 1:
        raise OptionError(f"a probe takes at least one step, not {steps}")
    n = int(like.shape[1]) if n is None else n
    steps = min(steps, n)
    start = rng.standard_normal(n)
    v = like.new_tensor(start) if is_torch(like) else start.astype(like.dtype)
    v = v / float((v * v).sum()) ** 0.5
    basis = like.new_zeros((steps, n)) if is_torch(like) else np.zeros((steps, n), like.dtype)
    alpha, beta = tridiagonal(lanczos(matvec, v, space_of(v), basis=basis), steps, exhausted=1e-12)
    theta, S = eigh_tridiagonal(alpha, beta[:-1])
    residual = beta[-1] * np.abs(S[-1]) if len(alpha) < n else np.zeros(len(alpha))
    return Ends(float(theta[0]), float(residual[0]), float(theta[-1]), float(residual[-1]), len(alpha))
