"""What f(A) V hands back, and f(A): an array that carries its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.operators.arrays import is_torch
from nnla.report import ReportBase, Status

__all__ = ["FunctionArray", "MatrixFunctionReport", "with_report"]


@dataclass(frozen=True, repr=False)
class MatrixFunctionReport(ReportBase):
    """What computing f(A) V did, what it cost, and whether to believe it.

    Attributes
    ----------
    status : "converged"; "maxiter" (Lanczos ended at its limit), "degree" (the degree asked for does not reach the
        tolerance), "rounding" (nothing more can be had in float64: f is too steep at an eigenvalue)
    converged : the estimated error is within the tolerance
    method : what ran in the end: "direct", "lanczos", "chebyshev", "autospec" or "neumann"
    f : name of the function
    n, nnz : size, stored entries (None for operators known only by products)
    columns : columns of V, 1 for a vector
    rtol : the tolerance asked for
    error_estimate : estimated relative error ||y - f(A) v|| / ||f(A) v||, the largest over the columns
    estimated_by : how
    degree : degree of the polynomial, None without one
    steps : Lanczos steps, those of the probe for polynomials
    products : products with A in all; a block of k vectors counts k
    products_probe : those of the probe
    seconds : {"probe", "setup", "apply", "total"}
    interval : hull of the spectrum that the polynomial was made for, or the extreme (Ritz) values seen
    fallback : None, or what was given up and why
    chosen_because : why this method ran
    weights : name of the learned weights used, or None
    seed : seed of the probe's start
    versions : versions of the libraries
    """

    _line = (
        ("f", "{}"),
        ("method", "{}"),
        ("degree", "degree {}"),
        ("products", "{} products"),
        ("error_estimate", "error {:.2g}"),
    )

    status: Status
    converged: bool
    method: str
    f: str
    n: int
    nnz: int | None
    columns: int
    rtol: float
    error_estimate: float
    estimated_by: str = ""
    degree: int | None = None
    steps: int = 0
    products: int = 0
    products_probe: int = 0
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    interval: tuple[float, float] | None = None
    fallback: str | None = None
    chosen_because: str = ""
    weights: str | None = None
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict[str, str])


class FunctionArray(np.ndarray):
    """A NumPy array with a ``report``: in every other respect the array that it looks like.

    What is computed from it is a plain array again, and so has no report.
    """

    report: ReportBase

    def __array_finalize__(self, obj: Any) -> None:
        """Views and slices do not inherit the report: it is about the whole."""

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain


def with_report(y: Any, report: ReportBase) -> Any:
    """y with ``y.report``: a `FunctionArray`, or the tensor itself."""
    if is_torch(y):
        y.report = report
        return y
    result = np.ascontiguousarray(y).view(FunctionArray)
    result.report = report
    return result
