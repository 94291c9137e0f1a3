"""Methods x problems -> a table, classical and learned on the same footing."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.errors import NNLAError, OptionError
from nnla.polynomials.design import engine_method
from nnla.types import Progress, Report

__all__ = ["DEFAULT_METHODS", "Row", "compare", "table_markdown"]

DEFAULT_METHODS = (
    "direct",
    "amg",
    "cg",
    "jacobi",
    "ic",
    "chebyshev",
    "chebyshev4",
    "rule",
    "dos",
    "autospec-paper",
    "autospec",
    "auto",
)
_DIRECT_BELOW = 50_000  # unknowns up to which a factorisation is in the table by default
_PLAIN = {"none": "cg", "jacobi": "jacobi", "ic": "ic"}  # the CG that a polynomial over a scaling accelerates


@dataclass(frozen=True)
class Row:
    """One method on one system.

    Attributes
    ----------
    method : the method asked for
    scaling : what it worked on top of
    status, converged : as in `nnla.Report`; "error" for methods that did not run
    iterations, probe_iterations : outer iterations, and the plain CG steps before them
    products, reductions : in all, probe and checks included
    seconds : median over the repeats, everything included but imports and reading the weights
    relative_residual : the true one
    plain_iterations : N, the iterations of plain CG over the same scaling; None where there is none
    efficiency : E = N / (m iterations), m the products of one iteration. 1 would be perfect from a zero
        start; the probe's steps, which solve part of the problem, are not in it, so that E exceeds 1 in
        short solves. What counts everything is N / products
    fallback, note : what was given up; why a method was chosen, left out, or failed
    report : the whole report, None for methods that did not run
    """

    method: str
    scaling: str = "none"
    status: str = "error"
    converged: bool = False
    iterations: int | None = None
    probe_iterations: int | None = None
    products: int | None = None
    reductions: int | None = None
    seconds: float | None = None
    relative_residual: float | None = None
    plain_iterations: int | None = None
    efficiency: float | None = None
    fallback: str | None = None
    note: str = ""
    report: Report | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the report is left out, non-finite numbers become None."""
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "report"}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in data.items()}


def compare(
    problem: Any,
    b: Any = None,
    *,
    methods: Sequence[str] | None = None,
    rtol: float = 1e-8,
    maxiter: int | None = None,
    degree: int | None = None,
    scaling: Any = "auto",
    repeats: int = 1,
    engine: Any = None,
    progress: Progress | None = None,
) -> list[Row]:
    """The same system by every method.

    Parameters
    ----------
    problem : a `Problem`, or a matrix as `nnla.solve` takes it
    b : right-hand side; by default the problem's
    methods : names as in `nnla.solve`. Default: `DEFAULT_METHODS`, without "amg" if PyAMG is not
        installed and without "direct" for more than 50 000 unknowns
    rtol, maxiter, degree, scaling : as in `nnla.solve`; the last two are the polynomials'
    repeats : times to run; the methods take turns, and the median time counts
    engine : engine for "autospec" (or "autospec-paper", whichever it fits) instead of the shipped one
    progress : called as ``progress(method, done, total)`` before each run

    Returns
    -------
    list of Row
        In the order of ``methods``. A method that raises one of nnla's errors has a row that says so.

    Raises
    ------
    OptionError, and the errors of `nnla.as_operator` for A and b: what no method could work with.

    Notes
    -----
    Cost: the solves, and one more of plain CG per scaling whose N is not in the table anyway.

    Examples
    --------
    >>> import nnla
    >>> rows = compare(nnla.problems.problem("poisson2d", "small"), methods=["jacobi", "autospec"])
    >>> [row.converged for row in rows], rows[0].efficiency
    ([True, True], 1.0)
    """
    from nnla.linear.options import usable
    from nnla.linear.solve import solve
    from nnla.operators.operator import as_operator

    A, b = (problem.A, problem.b if b is None else b) if hasattr(problem, "A") else (problem, b)
    if b is None:
        raise OptionError("there is no right-hand side; pass b")
    _check(methods or (), rtol, maxiter, degree, scaling, repeats)
    op = as_operator(A)
    b = op.as_vector(b)
    chosen = list(dict.fromkeys(methods)) if methods is not None else _default_methods(op)
    special = None if engine is None else engine_method(engine)

    def run(method: str) -> Report:
        own = engine if method == special else None
        options: dict[str, Any] = {
            "rtol": rtol,
            "maxiter": maxiter,
            **usable(method, degree=degree, scaling=scaling),
        }
        return solve(A, b, method=method, engine=own, **options).report

    _warm_up(chosen)
    reports: dict[str, list[Report]] = {method: [] for method in chosen}
    failed: dict[str, Row] = {}
    total = len(chosen) * repeats
    for repeat in range(repeats):
        for index, method in enumerate(chosen):
            if method in failed:
                continue
            if progress is not None:
                progress(method, repeat * len(chosen) + index, total)
            try:
                reports[method].append(run(method))
            except (NNLAError, MemoryError) as error:
                failed[method] = _failure(method, error)
    plain: dict[str, int | None] = {}
    for done in list(reports.values()):
        base = done[-1].scaling if done and done[-1].degree is not None else None
        if base in _PLAIN and base not in plain:
            own = reports.get(_PLAIN[base]) or [run(_PLAIN[base])]
            plain[base] = own[-1].iterations if own[-1].converged else None
    return [failed[method] if method in failed else _row(method, reports[method], plain) for method in chosen]


def _check(
    methods: Sequence[str], rtol: float, maxiter: int | None, degree: int | None, scaling: Any, repeats: int
) -> None:
    from nnla.linear.options import check_numbers, check_usable

    check_numbers(rtol, maxiter=maxiter)
    check_usable("autospec", degree=degree, scaling=scaling)  # meant for the polynomials among the methods
    for method in methods:
        check_usable(method)
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise OptionError(f"repeats must be a positive integer, got {repeats!r}")


def _default_methods(op: Any) -> list[str]:
    methods: list[str] = list(DEFAULT_METHODS)
    if op.nnz is None or op.n > _DIRECT_BELOW:
        methods.remove("direct")
    if op.csr is None or importlib.util.find_spec("pyamg") is None:
        methods.remove("amg")
    return methods


def _warm_up(methods: Iterable[str]) -> None:
    """Import what the methods need and read the weights, so that no row pays for it."""
    from nnla.linear.solve import solve
    from nnla.problems import poisson1d

    A: Any = poisson1d(200)
    for method in methods:
        try:
            solve(A, np.ones(A.shape[0]), method=method)
        except NNLAError:
            continue  # it will say so again, in its row


def _failure(method: str, error: BaseException) -> Row:
    return Row(method, note="out of memory" if isinstance(error, MemoryError) else str(error))


def _row(method: str, reports: list[Report], plain: dict[str, int | None]) -> Row:
    r = reports[-1]
    note = f"ran {r.method}: {r.chosen_because}" if method == "auto" else ""
    return Row(
        method,
        r.scaling,
        r.status,
        r.converged,
        r.iterations,
        r.probe_iterations,
        r.products,
        r.reductions,
        statistics.median(report.seconds["total"] for report in reports),
        r.relative_residual,
        *_efficiency(r, plain),
        r.fallback,
        note,
        r,
    )


def _efficiency(r: Report, plain: dict[str, int | None]) -> tuple[int | None, float | None]:
    """N and E."""
    if r.degree is None:
        known = r.converged and r.method in _PLAIN.values() and r.probe_iterations == 0 and r.iterations > 0
        return (r.iterations, 1.0) if known else (None, None)
    total = plain.get(r.scaling)
    if total is None or not r.converged or r.iterations == 0:
        return total, None
    return total, total / ((r.degree + 1) * r.iterations)


# -- tables ----------------------------------------------------------------------------------------


HEADER = ("method", "scaling", "iterations", "products", "reductions", "seconds", "residual", "E")


def cells(row: Row) -> tuple[str, ...]:
    """A row as short texts under `HEADER`; the iterations as "probe + outer"."""
    if row.products is None:
        return (row.method, "", row.status, *[""] * (len(HEADER) - 3))
    steps = f"{row.probe_iterations} + {row.iterations}" if row.probe_iterations else f"{row.iterations}"
    residual = "" if row.relative_residual is None else f"{row.relative_residual:.1e}"
    return (
        row.method,
        row.scaling,
        steps,
        f"{row.products}",
        f"{row.reductions}",
        f"{row.seconds:.3g}",
        residual if row.converged else f"{residual} {row.status}",
        "" if row.efficiency is None else f"{row.efficiency:.2f}",
    )


def remark(row: Row) -> str:
    """Fallback and note of a row in one text."""
    return "; ".join(text for text in (row.fallback, row.note) if text)


def table_markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table.

    Examples
    --------
    >>> print(table_markdown([Row("amg", status="error", note="no PyAMG")]))
    | method | scaling | iterations | products | reductions | seconds | residual | E | note |
    |---|---|---:|---:|---:|---:|---:|---:|---|
    | amg |  | error |  |  |  |  |  | no PyAMG |
    """
    lines = [f"| {' | '.join(HEADER)} | note |", "|---|---|" + "---:|" * (len(HEADER) - 2) + "---|"]
    lines += ["| " + " | ".join([*cells(row), remark(row).replace("|", "\\|")]) + " |" for row in rows]
    return "\n".join(lines)
