"""Comparison tables and the evaluation of a model."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import nnla
from nnla.errors import NonFiniteError, NotSymmetricError, OptionError, WeightsError
from nnla.evaluation.comparison import DEFAULT_METHODS, HEADER, Row, cells, compare, table_markdown
from nnla.evaluation.engines import _summary, evaluate_model
from nnla.polynomials.design import engine_method


@pytest.fixture(scope="module")
def problem():
    return nnla.problems.problem("checkerboard2d", "small")


@pytest.fixture(scope="module")
def rows(problem):
    return {row.method: row for row in compare(problem)}


def test_default_methods_are_in_order_and_all_converge(rows):
    assert list(rows) == [method for method in DEFAULT_METHODS if method in rows]
    assert {"direct", "cg", "jacobi", "ic", "chebyshev", "rule", "dos", "autospec", "auto"} <= set(rows)
    for row in rows.values():
        if row.status != "error":
            assert row.converged, row
            assert row.relative_residual <= 1e-8


def test_counts_are_those_of_the_report(rows):
    row = rows["autospec"]
    assert row.report is not None
    assert (row.iterations, row.products, row.reductions) == (
        row.report.iterations,
        row.report.products,
        row.report.reductions,
    )
    assert row.products >= row.probe_iterations + 12 * row.iterations  # the probe is in


def test_efficiency_is_plain_iterations_over_products_after_the_probe(problem, rows):
    row = rows["autospec"]
    assert row.scaling in ("none", "jacobi")
    plain = rows["jacobi" if row.scaling == "jacobi" else "cg"]
    assert row.plain_iterations == plain.iterations
    assert row.efficiency == pytest.approx(plain.iterations / (12 * row.iterations))
    assert plain.efficiency == 1.0
    assert rows["direct"].efficiency is None
    # N is measured even when plain CG is not in the table
    (alone,) = compare(problem, methods=["autospec"])
    assert alone.efficiency == row.efficiency


def test_degree_and_scaling_reach_the_polynomials(problem):
    (row,) = compare(problem, methods=["chebyshev"], degree=5, scaling="ic")
    assert row.scaling == "ic"
    assert row.report.degree == 5


def test_repeats_give_the_median_time(problem):
    (row,) = compare(problem, methods=["jacobi"], repeats=3)
    assert row.converged
    assert row.seconds > 0


def test_a_failing_method_has_a_row_and_the_others_run(problem):
    op = nnla.as_operator(problem.A)
    from scipy.sparse.linalg import LinearOperator

    blind = LinearOperator(op.shape, matvec=lambda v: problem.A @ v, dtype=np.float64)
    failed, fine = compare(blind, problem.b, methods=["ic", "cg"])
    assert failed.status == "error"
    assert "sparse matrix" in failed.note
    assert not failed.converged
    assert fine.converged


def test_weights_that_cannot_be_read_are_a_row_that_says_so(problem, no_weights):
    (row,) = compare(problem, methods=["autospec-paper"])
    assert row.status == "error"
    assert "checksum" in row.note


def test_no_convergence_is_a_row_too(problem):
    (row,) = compare(problem, methods=["jacobi"], maxiter=3)
    assert row.status == "maxiter"
    assert not row.converged
    assert row.efficiency is None
    assert cells(row)[6].endswith("maxiter")


def test_bad_input_raises(problem):
    with pytest.raises(OptionError, match="unknown method"):
        compare(problem, methods=["magic"])
    with pytest.raises(OptionError, match="rtol"):
        compare(problem, rtol=-1.0)
    with pytest.raises(OptionError, match="degree"):
        compare(problem, degree=0)
    with pytest.raises(OptionError, match="scaling"):
        compare(problem, scaling="magic")
    with pytest.raises(OptionError, match="repeats"):
        compare(problem, repeats=0)
    with pytest.raises(OptionError, match="right-hand side"):
        compare(problem.A)
    with pytest.raises(NotSymmetricError):
        compare(np.array([[2.0, 1.0], [0.0, 2.0]]), np.ones(2))
    with pytest.raises(NonFiniteError):
        compare(np.eye(2), np.array([1.0, np.nan]))


def test_a_block_of_right_hand_sides(problem):
    b = np.random.default_rng(0).standard_normal((problem.A.shape[0], 3))
    (row,) = compare(problem.A, b, methods=["autospec"])
    assert row.converged


def test_table_and_dicts(rows):
    text = table_markdown(list(rows.values()))
    lines = text.splitlines()
    assert len(lines) == 2 + len(rows)
    assert all(line.count("|") == len(HEADER) + 2 for line in lines)
    data = json.loads(json.dumps([row.to_dict() for row in rows.values()], allow_nan=False))
    assert data[0]["method"] == "direct"
    assert "report" not in data[0]
    assert Row("x", relative_residual=math.nan).to_dict()["relative_residual"] is None
    assert "a\\|b" in table_markdown([Row("x", note="a|b")])


def test_model_on_spectra_is_deterministic_and_beats_plain_chebyshev():
    first = evaluate_model("autospec-cg", "spectra", count=24)
    assert first == evaluate_model("autospec-cg", "spectra", count=24)
    json.dumps(first, allow_nan=False)
    assert first["indefinite_on_spectrum"] == 0
    assert first["above_best"]["autospec"]["best"] >= 1.0
    assert first["against"]["chebyshev"]["geometric_mean"] < 1.0
    assert first["left_out"] < 24


def test_model_on_the_suite():
    seen = []
    result = evaluate_model("autospec-cg", "suite", progress=lambda text, done, total: seen.append(text))
    json.dumps(result, allow_nan=False)
    assert result["count"] == len(seen) == len(nnla.problems.SUITE)
    assert result["unsolved"] == 0
    assert 0 < result["plain_over_products"]["geometric_mean"] < 1.05
    assert result["against"]["chebyshev"]["geometric_mean"] < 1.0


def test_evaluate_model_refuses_what_it_does_not_know():
    with pytest.raises(WeightsError):
        evaluate_model("nonsense")
    with pytest.raises(OptionError, match="family"):
        evaluate_model("autospec-cg", "nonsense")
    with pytest.raises(OptionError, match="task"):
        engine_method(object())


def test_summary_counts():
    s = _summary([0.5, 1.0, 2.0])
    assert (s["better"], s["equal"], s["worse"], s["best"], s["worst"]) == (1, 1, 1, 0.5, 2.0)
    assert s["geometric_mean"] == pytest.approx(1.0)
    assert _summary([])["geometric_mean"] is None


def test_options_of_the_polynomials_are_not_the_classical_methods():
    A = nnla.problems.poisson2d(30)
    b = np.ones(900)
    rows = compare(A, b, methods=["cg", "jacobi", "chebyshev", "auto"], degree=5, scaling="none")
    assert [row.converged for row in rows] == [True] * 4
    assert {row.method: row.scaling for row in rows}["chebyshev"] == "none"
    assert {row.method: row.scaling for row in rows}["jacobi"] == "jacobi"
    with pytest.raises(OptionError):
        compare(A, b, methods=["cg"], degree=0)
    with pytest.raises(OptionError):
        compare(A, b, methods=["cg"], scaling="magic")
