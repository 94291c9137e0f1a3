"""The report on answers to dense systems, from what became of each batch; prose last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from nnla.linear.dense_measures import Measures
from nnla.report import ReportBase, Status, library_versions

__all__ = ["DenseReport", "DenseSolution", "Outcome", "report_of", "statuses_of"]

# from bad to good: a report has the status of its worst system
_ORDER = (
    Status.BREAKDOWN,
    Status.SINGULAR,
    Status.STAGNATION,
    Status.ROUNDING,
    Status.GUESSED,
    Status.CONVERGED,
)


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
    iterations : of refinement, the most that a right-hand side took
    preconditioner : of refinement: "network", or "reference" for what the model has beside it; None without
    network_calls : of the network, each with as many right-hand sides as go in at a time
    fallbacks : systems that LU has solved
    singular : systems that LU found singular
    outside : systems unlike those of the training; None where the model cannot tell
    dtype : of x
    statuses, verified, methods, residuals, row_errors, backward_errors, iteration_counts : of each system, the worst
        right-hand side of it; a method is "network", "iterative", "gmres", "lu" or "least squares"
    inside, distances : whether a matrix is like those of the training, and how far from the middle of these it is: 1 is
        the farthest of them
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
    preconditioner: str | None = None
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
class Outcome:
    """What became of the systems that the network saw together.

    Attributes
    ----------
    x : (B, n, k) as the user gets it
    measures : of x
    statuses, methods : of each system, as in `DenseReport`
    iterations : (B, k)
    failed, uneven, singular : (B,) whether an answer of the network was not finite, the rows of A were too uneven to
        iterate, LU found A singular
    distances : (B,) from the training's matrices, None where the model cannot tell
    uncertainty : (B, k), or None
    calls : of the network
    preconditioner : as in `DenseReport`
    seconds : of the network, of everything, of LU
    """

    x: Any
    measures: Measures
    statuses: list[Status]
    methods: np.ndarray
    iterations: np.ndarray
    failed: np.ndarray
    uneven: np.ndarray
    singular: np.ndarray
    distances: np.ndarray | None
    uncertainty: np.ndarray | None
    calls: int
    preconditioner: str | None
    seconds: tuple[float, float, float]


def statuses_of(
    measures: Measures, before: Measures, rtol: float, *, failed: np.ndarray, singular: np.ndarray, refined: bool
) -> list[Status]:
    """Of each system, from its worst right-hand side.

    Parameters
    ----------
    measures, before : of x as the user gets it, and before it was rounded to its dtype and units
    rtol : asked for
    failed, singular : (B,) as in `Outcome`
    refined : whether a solution was asked for, and not an answer as it is

    Cost: none.
    """
    met = np.all(measures.met(rtol), axis=1).tolist()
    as_good = np.all(measures.met(rtol) | before.met(rtol) | measures.rounded | before.rounded, axis=1).tolist()
    out: list[Status] = []
    for i in range(len(met)):
        if met[i]:
            out.append(Status.CONVERGED)
        elif not refined:
            out.append(Status.BREAKDOWN if failed[i] else Status.GUESSED)
        elif singular[i]:
            out.append(Status.SINGULAR)
        else:
            out.append(Status.ROUNDING if as_good[i] else Status.STAGNATION)
    return out


def report_of(
    parts: list[Outcome],
    *,
    n: int,
    dtype: str,
    method: str | None,
    rtol: float,
    maxiter: int,
    weights: str,
    seed: int | None,
    total: float,
) -> DenseReport:
    """The report on all parts of a call.

    Parameters
    ----------
    parts : at least one
    n, dtype, rtol, weights, seed : as in `DenseReport`
    method : of refinement, None without
    maxiter : of that
    total : seconds of the call

    Cost: none.
    """

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    measures = {
        name: np.concatenate([getattr(part.measures, name).max(axis=1) for part in parts])
        for name in ("residual", "row", "backward")
    }
    statuses = [status for part in parts for status in part.statuses]
    methods, singular = joined("methods"), joined("singular")
    iterations = joined("iterations").max(axis=1)
    distances = None if parts[0].distances is None else joined("distances")
    inside = None if distances is None else distances <= 1
    network, solving, fallback = (float(sum(part.seconds[i] for part in parts)) for i in range(3))
    uncertainty = None if parts[0].uncertainty is None else joined("uncertainty").tolist()
    direct = np.isin(methods, ["lu", "least squares"])
    outside = None if inside is None else int((~inside).sum())
    return DenseReport(
        status=min(statuses, key=_ORDER.index),
        converged=all(status is Status.CONVERGED for status in statuses),
        method=method or "network",
        n=n,
        systems=len(statuses),
        columns=parts[0].measures.residual.shape[1],
        rtol=rtol,
        relative_residual=float(measures["residual"].max()),
        row_error=float(measures["row"].max()),
        backward_error=float(measures["backward"].max()),
        iterations=int(iterations.max()),
        preconditioner=parts[0].preconditioner,
        network_calls=sum(part.calls for part in parts),
        fallbacks=int(direct.sum()),
        singular=int(singular.sum()),
        outside=outside,
        dtype=dtype,
        statuses=statuses,
        verified=[status is Status.CONVERGED for status in statuses],
        methods=methods.tolist(),
        residuals=measures["residual"].tolist(),
        row_errors=measures["row"].tolist(),
        backward_errors=measures["backward"].tolist(),
        iteration_counts=iterations.tolist(),
        inside=None if inside is None else inside.tolist(),
        distances=None if distances is None else distances.tolist(),
        uncertainty=uncertainty,
        fallback=_what_failed(joined("failed"), direct, joined("uneven"), singular, method, maxiter),
        chosen_because=_why(method, parts[0].preconditioner, outside, len(statuses)),
        weights=weights,
        seed=seed,
        seconds={
            "network": network,
            "refinement": max(0.0, solving - network - fallback) if method else 0.0,
            "fallback": fallback,
            "total": total,
        },
        versions=library_versions(),
    )


def _what_failed(
    failed: np.ndarray, direct: np.ndarray, uneven: np.ndarray, lost: np.ndarray, method: str | None, maxiter: int
) -> str | None:
    said: list[str] = []
    if failed.any():
        said.append(f"the network gave NaN or Inf for {failed.sum()} of {len(failed)} systems")
    slow, rows = direct & ~uneven & ~lost, direct & uneven & ~lost
    if slow.any():
        some = f"{slow.sum()} of {len(direct)} systems"
        said.append(f"LU for {some} that {method} would not solve in {maxiter} iterations")
    if rows.any():
        said.append(f"LU for {rows.sum()} of {len(direct)} systems whose rows differ too much in size")
    if lost.any():
        said.append(f"{lost.sum()} of {len(lost)} matrices are singular: least squares solutions of least norm")
    return "; ".join(said) or None


def _why(method: str | None, preconditioner: str | None, outside: int | None, systems: int) -> str:
    said = (
        "the network's answer as it is" if method is None else f"refined by {method} with the {preconditioner} inside"
    )
    unlike = f"{outside} of {systems} matrices are unlike those of the training"
    return f"{said}; {unlike}" if outside else said
