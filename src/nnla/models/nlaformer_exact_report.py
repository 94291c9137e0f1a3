"""The report on systems solved by the loop with exact products."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nnla.report import ReportBase, Status

__all__ = ["LoopReport", "LoopSolution"]


@dataclass(frozen=True, repr=False)
class LoopReport(ReportBase):
    """What one or more systems took, and what the answers are worth. Lists have an entry for each right-hand side.

    Attributes
    ----------
    status : "converged"; "rounding", as near as float64 can be
    converged : ||b - A x|| <= rtol ||b||, and so for every row by its own size, for all right-hand sides, computed anew
        in float64 of the x that is returned
    n, systems, columns : unknowns, matrices, right-hand sides of each
    rtol : the tolerance asked for
    relative_residual, row_error, backward_error : as of `nnla.linear.dense_report.DenseReport`, the largest
    loops : the most that a right-hand side took
    products : with A in all, the last check of each x included
    columns_read : columns of A that the guard has read in all; n of them are like a product
    outside : systems that the guard held to be of another family; the loop starts as conjugate gradients there
    fallbacks : systems that Cholesky has solved
    loop_counts, product_counts, residuals, statuses, methods : of each right-hand side; a method is "loop" or
        "cholesky"
    inside : of each system, whether it is of the family of the training; True throughout without a guard
    fallback : None, or what did not go as asked, and why
    chosen_because : what was done
    weights : name of the weights
    seconds : {"guard", "loop", "fallback", "total"}
    versions : versions of the libraries
    """

    _line = (
        ("systems", "{} systems"),
        ("loops", "{} loops"),
        ("products", "{} products"),
        ("fallbacks", "{} by Cholesky"),
        ("relative_residual", "residual {:.2g}"),
    )
    _table = ("n", "outside", "columns_read", "backward_error", *ReportBase._table)

    status: Status
    converged: bool
    n: int
    systems: int
    columns: int
    rtol: float
    relative_residual: float
    row_error: float
    backward_error: float
    loops: int
    products: int
    columns_read: int
    outside: int
    fallbacks: int
    loop_counts: list[int]
    product_counts: list[int]
    residuals: list[float]
    statuses: list[Status]
    methods: list[str]
    inside: list[bool]
    fallback: str | None = None
    chosen_because: str = ""
    weights: str | None = None
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    versions: dict[str, str] = field(default_factory=dict[str, str])


class LoopSolution(NamedTuple):
    """x and the report on it; unpacks as ``x, report = model.solve(A, b)``."""

    x: Any
    report: LoopReport
