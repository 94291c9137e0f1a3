"""What f(A) of a batch of dense matrices says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from nnla.report import ReportBase, Status

__all__ = ["MatfunReport"]


@dataclass(frozen=True, repr=False)
class MatfunReport(ReportBase):
    """What computing f(A) did, and whether to believe it, matrix by matrix.

    Attributes
    ----------
    status : "converged"; "rounding" (float64 has no better answer by this method), "guessed" (a learned answer, or a
        polynomial's, misses the tolerance), "breakdown" (a matrix has no real f(A), and NaN stands for it)
    converged : every residual is within the tolerance
    method : that was asked for, or what "auto" chose
    f : "exp", "log", "sign", "sqrt", "inv_sqrt", "sin" or "cos"
    n, count : size and number of the matrices
    rtol : the tolerance asked for
    check : the identity that the residuals are of
    residual : the largest over the batch
    residuals : of each matrix, in the order of the flattened batch; NaN where there is no answer
    converged_each : of each matrix
    undefined : positions of the matrices without a real f(A)
    symmetric : how many matrices are symmetric, to rounding
    rates : how many are rate matrices (no negative entry off the diagonal, rows that sum to zero), and were
        exponentiated as such
    row_sum_error : largest |row sum of e^A - 1| over these, before any rounding to another dtype; None without any
    fallbacks : how many were computed by "schur" in the end, as the method's own answer missed the tolerance
    fallback : None, or what was given up and why
    chosen_because : why this method ran
    weights : name of the learned weights used, or None
    dtype : of the answer; residuals are of the float64 answer before it is rounded to that
    seconds : {"answer", "check", "total"}
    versions : versions of the libraries
    """

    _line = (
        ("f", "{}"),
        ("method", "{}"),
        ("count", "{} matrices"),
        ("residual", "residual {:.2g}"),
        ("fallbacks", "{} by schur"),
    )

    status: Status
    converged: bool
    method: str
    f: str
    n: int
    count: int
    rtol: float
    check: str
    residual: float
    residuals: list[float] = field(default_factory=list[float])
    converged_each: list[bool] = field(default_factory=list[bool])
    undefined: list[int] = field(default_factory=list[int])
    symmetric: int = 0
    rates: int = 0
    row_sum_error: float | None = None
    fallbacks: int | None = None
    fallback: str | None = None
    chosen_because: str = ""
    weights: str | None = None
    dtype: str = "float64"
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    versions: dict[str, str] = field(default_factory=dict[str, str])
