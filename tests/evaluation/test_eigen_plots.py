"""The picture of eigenvalues: what it says is what the report says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import nnla
from nnla.errors import OptionError
from nnla.evaluation.eigen_plots import multiplets, plot_eigenvalues
from nnla.evaluation.plots import save_figure

pytest.importorskip("matplotlib")


def texts(axis):
    return " | ".join(text.get_text() for text in axis.get_legend().get_texts())


@pytest.fixture(scope="module")
def answer():
    w, _, report = nnla.eigsh(nnla.problems.poisson2d(20), 6, method="direct", return_report=True)
    return w, report


def test_eigenvalues_shift_count_and_residuals(answer, tmp_path):
    w, report = answer
    figure = plot_eigenvalues(w, report, name="poisson2d")
    upper, lower, *_ = figure.axes
    assert "poisson2d" in figure.get_suptitle()
    assert "6 pairs" in figure.get_suptitle()
    assert f"shift {report.shift:.6g}" in texts(upper)
    assert f"{report.count_below} counted below" in texts(upper)
    assert [text.get_text() for text in upper.texts] == ["×2", "×2"]  # the square's symmetry
    drawn = np.sort(np.concatenate([line.get_xdata() for line in upper.lines if line.get_marker() == "o"]))
    np.testing.assert_array_equal(drawn, w)
    assert lower.get_yscale() == "log"
    save_figure(figure, tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_a_history_is_drawn_where_there_is_one():
    A = nnla.problems.poisson2d(30)
    w, _, report = nnla.eigsh(A, 4, method="plain", ncv=12, return_report=True)
    axis = plot_eigenvalues(w, report).axes[2]
    assert len(axis.lines[0].get_xdata()) == len(report.history)
    w, _, report = nnla.eigsh(A, 4, method="dense", return_report=True)
    assert len(plot_eigenvalues(w, report).axes) == 2


def test_pairs_that_have_not_converged_are_hollow(tmp_path):
    A = nnla.problems.poisson2d(40)
    w, _, report = nnla.eigsh(A, 5, method="plain", maxiter=1, return_report=True)
    figure = plot_eigenvalues(w, report)
    assert "above the tolerance" in texts(figure.axes[0])
    assert "maxiter" in figure.get_suptitle()
    save_figure(figure, tmp_path / "s.svg")


@pytest.mark.parametrize("unit", [1e-250, 1.0, 1e250])
@pytest.mark.parametrize("diagonal", [[0.0, 0.0, 0.0, 0.0], [1e-9, 1.0, 1e3, 1e9], [-3.0, -1.0, 2.0, 2.0], [5.0]])
def test_any_spectrum_in_any_unit(diagonal, unit, tmp_path):
    w, _, report = nnla.eigsh(np.diag(np.array(diagonal) * unit), len(diagonal), return_report=True)
    save_figure(plot_eigenvalues(w, report), tmp_path / "s.png")


def test_eigenvalues_of_another_report_are_refused(answer):
    w, report = answer
    with pytest.raises(OptionError, match="6 pairs"):
        plot_eigenvalues(w[:3], report)
    with pytest.raises(OptionError):
        plot_eigenvalues([], dataclasses.replace(report, residuals=[]))


def test_multiplets():
    assert multiplets([1.0, 1.0 + 1e-12, 2.0, 3.0], 1e-9) == [(0, 2)]
    assert multiplets([1.0], 1.0) == []
