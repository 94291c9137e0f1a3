"""What answers to batches of dense systems are worth: residuals and errors of each, and the report."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from nnla.linear.dense_systems import DenseBatch, column_norms
from nnla.operators.arrays import namespace, to_numpy
from nnla.report import ReportBase, Status

__all__ = ["DenseReport", "DenseSolution", "Measures", "measured"]

_EPS = float(np.finfo(np.float64).eps)
_ROUNDINGS = 10.0  # as of `nnla.linear.criterion.rounding_only`


@dataclass(frozen=True, repr=False)
class DenseReport(ReportBase):
    """What an answer to one or more dense systems is worth, and what it cost. Lists have an entry for each system.

    Attributes
    ----------
    status : of the worst system: "converged"; "guessed", an answer of the network that does not meet the tolerance by
        itself and was not asked to; "rounding", as near as the dtype of x can be; "singular", a least squares solution
        of least norm; "stagnation"; "breakdown", the network gave no finite number, and x is zero
    converged : every system is verified
    method : "network", "iterative" or "gmres": what was asked for
    n, systems, columns : unknowns, matrices, right-hand sides of each
    rtol : the tolerance asked for
    relative_residual : true ||b - A x|| / ||b|| of the x that is returned, in float64; the largest
    row_error : |b - A x|_i / (||a_i|| ||x|| + |b_i|), the largest over the rows a_i: rows that are smaller than others
        count as much. Verified are systems where neither exceeds rtol
    backward_error : ||b - A x|| / (||A|| ||x|| + ||b||), the largest: 1e-16 is rounding, whatever the residual is
    iterations : applications of the network that refined, to one right-hand side at most
    network_calls : of the network, each with as many right-hand sides as go in at a time
    fallbacks : systems that LU has solved
    singular : systems that LU found singular
    outside : systems unlike those of the training; None where the model cannot tell
    dtype : of x
    statuses, verified, methods, residuals, row_errors, backward_errors, iteration_counts : of each system, the worst
        right-hand side of it; a method is "network", "iterative", "gmres", "lu" or "least squares"
    inside, distances : whether a matrix is like those of the training, and how far from it, in the model's measure
    uncertainty : (B, k) the model's estimate of ||x - exact|| / ||exact||, None where it has none, or refined
    fallback : None, or what did not go as asked, and why
    chosen_because : what was done
    weights : name of the weights
    seed : of their training
    seconds : {"network", "refinement", "fallback", "total"}
    versions : versions of the libraries
    """

    _line = (
        ("method", "{}"),
        ("systems", "{} systems"),
        ("iterations", "{} iterations"),
        ("fallbacks", "{} by LU"),
        ("relative_residual", "residual {:.2g}"),
    )
    _table = ("n", "row_error", "backward_error", "network_calls", "outside", *ReportBase._table)

    status: Status
    converged: bool
    method: str
    n: int
    systems: int
    columns: int
    rtol: float
    relative_residual: float
    row_error: float
    backward_error: float
    iterations: int
    network_calls: int
    fallbacks: int
    singular: int
    outside: int | None
    dtype: str
    statuses: list[Status]
    verified: list[bool]
    methods: list[str]
    residuals: list[float]
    row_errors: list[float]
    backward_errors: list[float]
    iteration_counts: list[int]
    inside: list[bool] | None = None
    distances: list[float] | None = None
    uncertainty: list[list[float]] | None = None
    fallback: str | None = None
    chosen_because: str = ""
    weights: str | None = None
    seed: int | None = None
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    versions: dict[str, str] = field(default_factory=dict[str, str])


class DenseSolution(NamedTuple):
    """x and the report on it; unpacks as ``x, report = model.solve(A, b)``."""

    x: Any
    report: DenseReport


@dataclass(frozen=True, eq=False)
class Measures:
    """Errors of answers, (B, k) on the host; Inf for answers that are not finite.

    Attributes
    ----------
    residual : ||b - A x|| / ||b||
    row : the largest |b - A x|_i / (||a_i|| ||x|| + |b_i|)
    backward : ||b - A x|| / (||A|| ||x|| + ||b||), with the largest row norm and ||A x|| / ||x|| for ||A||: never too
        small
    rounded : ``row`` is rounding, and A x is not
    """

    residual: np.ndarray
    row: np.ndarray
    backward: np.ndarray
    rounded: np.ndarray

    def met(self, rtol: float) -> np.ndarray:
        """(B, k) where the tolerance is met by the whole and by every row."""
        return (self.residual <= rtol) & (self.row <= rtol)


def measured(systems: DenseBatch, y: Any) -> Measures:
    """The errors of y, in the units of the batch.

    Notes
    -----
    Cost: a product for each column, and three passes over A.

    References
    ----------
    Rigal, Gaches, J. ACM 14 (1967) 543-548 (the normwise error). Higham, Accuracy and Stability of Numerical
    Algorithms, 2nd ed., section 7.2 (row-wise backward errors).

    Examples
    --------
    >>> systems = DenseBatch.of(np.diag([1.0, 1e-200])[None], np.array([[[1.0], [1e-200]]]))
    >>> found = measured(systems, np.array([[[1.0], [0.0]]]))
    >>> bool(found.residual <= 1e-10), bool(found.met(1e-10))
    (True, False)
    """
    xp, n = namespace(y), systems.A.shape[-1]
    with np.errstate(all="ignore"):
        r, b = systems.residual(y), systems.b
        length, whole = column_norms(y), column_norms(systems.in_user_rows(b))
        entries = xp.sqrt((systems.A * systems.A).sum(2))  # row norms, of rows in [1, 2)
        scale = entries[:, :, None] * length[:, None, :] + xp.abs(b)
        by_row = xp.amax(_ratio(xp.abs(r), scale), 1)
        largest = xp.amax(systems.in_user_rows(entries[:, :, None]), 1)
        left, image = column_norms(systems.in_user_rows(r)), column_norms(systems.in_user_rows(b - r))
        size = xp.maximum(largest, _ratio(image, length))
        normwise = _ratio(left, size * length + whole)
        level = (_ROUNDINGS + math.sqrt(n)) * _EPS
        rounded = (by_row <= level) & (image > _ROUNDINGS * _EPS * size * length)
        finite = to_numpy(xp.isfinite(y).all(1))
    parts = (_ratio(left, whole), by_row, normwise)
    host = [np.where(finite, np.nan_to_num(to_numpy(part), nan=math.inf), math.inf) for part in parts]
    return Measures(*host, rounded=to_numpy(rounded) & finite)


def _ratio(a: Any, b: Any) -> Any:
    """a / b, 0 where both are 0."""
    xp = namespace(a)
    return xp.where(a == 0, xp.zeros_like(a), a / b)
