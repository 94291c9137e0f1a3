"""The base of all reports: status, JSON both ways, one line, a table."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

import nnla
from nnla.errors import FileFormatError
from nnla.extensions import inverse_root, minimise, polar, rational_function
from nnla.report import Report, ReportBase, Status, plain_json


@dataclass(frozen=True)
class Part:
    name: str
    span: tuple[int, int]
    cost: float = 0.0


@dataclass(frozen=True, repr=False)
class Whole(ReportBase):
    _line = (("method", "{}"), ("error", "error {:.1e}"))

    method: str
    error: float
    parts: tuple[Part, ...] = ()
    bounds: tuple[float, float] | None = None
    history: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


WHOLE = Whole(
    Status.MAXITER, False, "cg", 0.5, (Part("a", (0, 1)), Part("b", (1, 3), 2.0)), (1.0, 2.0), [1.0], {"total": 0.25}
)


def reports() -> dict[str, ReportBase]:
    A = nnla.problems.poisson2d(12)
    b = np.ones(144)
    return {
        "Report": nnla.solve(A, b).report,
        "EigenReport": nnla.eigsh(A, 2, return_report=True)[2],
        "MatrixFunctionReport": nnla.funm_multiply(A, b).report,
        "GuessReport": nnla.GuessReport(None, False, "unlike", "asked for", 144, 0.0, 1.0, 0, 0, 0, None),
        "MatrixReport": polar(np.diag([3.0, 0.5])).report,
        "MinimumReport": minimise(lambda x: (0.5 * float(x @ x), x), np.ones(3)).report,
        "RationalReport": rational_function(A, "inv_sqrt").report,
    }


REPORTS = reports()


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_stands_on_the_base(name):
    report = REPORTS[name]
    assert type(report).__name__ == name
    assert isinstance(report, ReportBase)
    assert isinstance(report.status, Status)
    assert report.converged is (report.status == "converged")
    assert type(report).__dataclass_params__.frozen
    for cost in ("seconds", "versions", "evaluations" if name == "MinimumReport" else "products"):
        assert hasattr(report, cost)


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_survives_json(name):
    report = REPORTS[name]
    data = json.loads(report.to_json())
    assert list(data) == [f.name for f in dataclasses.fields(report)]
    assert type(data["status"]) is str
    again = type(report).from_json(json.dumps(data | {"of a later version": 1}))
    assert again.to_json() == report.to_json()
    assert isinstance(again.status, Status)


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_fits_on_a_line_and_into_a_table(name):
    report = REPORTS[name]
    line, table = repr(report), report._repr_html_()
    assert line.startswith(f"<{name} {report.status}")
    assert len(line) < 120
    assert "\n" not in line
    assert table.startswith(f"<table><caption>{name}: {report.status}</caption><tr>")
    assert table.count("<tr>") == table.count("</tr>") > 3
    assert len(table) < 4000
    assert set(report._table) <= {f.name for f in dataclasses.fields(report)} | set(ReportBase._table)


def test_the_line_of_a_solve():
    report = Report("maxiter", False, "ic", 9, 27, 1e-8, 8.6e-7, 99, products=108, seconds={"total": 0.0391})
    assert repr(report) == "<Report maxiter: ic, 99 iterations, 108 products, residual 8.6e-07, 0.0391 s>"
    assert "degree" not in repr(REPORTS["MatrixFunctionReport"])  # what does not apply is left out


def test_nested_values_come_back_as_they_were():
    again = Whole.from_json(WHOLE.to_json())
    assert again == WHOLE
    assert isinstance(again.parts[1], Part)
    assert again.parts[1].span == (1, 3)


def test_numbers_that_are_not_finite_become_null_and_nan():
    report = dataclasses.replace(WHOLE, error=math.inf, history=[1.0, math.nan], bounds=None)
    data = json.loads(report.to_json())
    assert (data["error"], data["history"], data["bounds"]) == (None, [1.0, None], None)
    again = Whole.from_json(report.to_json())
    assert math.isnan(again.error)
    assert math.isnan(again.history[1])
    assert again.bounds is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"status": "maxiter"}', "3", '{"status": "fine", "converged": true}']
)
def test_what_is_no_report_is_refused(text):
    with pytest.raises(FileFormatError, match="Whole"):
        Whole.from_json(text)


def test_a_status_is_a_string_and_never_an_unknown_one():
    assert dataclasses.replace(WHOLE, status="stagnation").status is Status.STAGNATION
    assert f"{WHOLE.status}" == "maxiter"
    with pytest.raises(ValueError, match="fine"):
        dataclasses.replace(WHOLE, status="fine")


def test_every_status_is_explained():
    lines = inspect.getsource(Status).splitlines()
    for status in Status:
        assert any(line.startswith(f"    {status.name} = ") and "  # " in line for line in lines)


def test_the_table_escapes_what_it_shows():
    report = dataclasses.replace(REPORTS["Report"], fallback="<script>alert(1)</script>")
    assert "<script>" not in report._repr_html_()
    assert "&lt;script&gt;" in report._repr_html_()


def test_a_rational_function_goes_on_counting():
    R = rational_function(nnla.problems.poisson2d(12), "inv_sqrt")
    before = R.report
    R @ np.ones(144)
    assert R.report.solves == before.solves + before.solves_per_apply
    assert R.report.seconds == before.seconds


def test_an_inverse_root_reports_its_time():
    assert inverse_root(np.diag([1.0, 4.0])).report.seconds["total"] > 0


def test_numpys_numbers_and_arrays_become_plain():
    value = {"a": np.float32(np.nan), 1: np.int64(3), "c": (np.True_, np.array([1.0, np.inf])), "d": Status.DEGREE}
    assert plain_json(value) == {"a": None, "1": 3, "c": [True, [1.0, None]], "d": "degree"}


@pytest.mark.parametrize("kind", [Report, nnla.Recurrence, nnla.SpectralProbe])
def test_json_nested_without_end_is_no_json_of_ours(kind):
    with pytest.raises(FileFormatError):
        kind.from_json("[" * 100_000)


@pytest.mark.parametrize("method", ["auto", "autospec", "chebyshev", "cg", "fcg", "jacobi", "ic", "direct"])
def test_figures_are_sums_over_the_phases(method):
    """x0's product and the last check's were in no phase, nor were those of a polynomial made before."""
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((24, 24), s=1.0))
    n = A.shape[0]
    b = np.random.default_rng(0).standard_normal((n, 2))
    made = nnla.preconditioner(A)
    x = nnla.solve(A, b[:, 0], rtol=1e-10).x
    calls = [
        lambda: nnla.solve(A, b, method=method),
        lambda: nnla.solve(A, b[:, 0], x0=0.9 * x, method=method),
        lambda: nnla.solve(A, b[:, 0], x0=x, rtol=1e-6, method=method),
        lambda: nnla.solve(A, b[:, 0], maxiter=3, method=method),
        lambda: nnla.solve(A, b[:, 0], rtol=1e-18, method=method),
        lambda: nnla.prepare(A, method).solve(b, x0=b),
    ]
    calls += [lambda: nnla.solve(A, b, x0=b, M=made, method=method)] * (method not in ("jacobi", "ic", "direct"))
    calls += [lambda: nnla.solve(aslinearoperator(A), b[:, 0] * 0, method=method)] * (method not in ("ic", "direct"))
    for call in calls:
        report = call().report
        for figure in ("products", "reductions"):
            assert sum(getattr(phase, figure) for phase in report.phases) == getattr(report, figure)
        assert sum(phase.applies for phase in report.phases) == report.preconditioner_applies
        assert sum(phase.iterations for phase in report.phases) == report.iterations + report.probe_iterations
        assert Report.from_json(report.to_json()) == report
