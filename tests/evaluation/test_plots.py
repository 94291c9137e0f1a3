"""Pictures: made, whole, with the axes they promise."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import nnla
from nnla.errors import MissingDependencyError, OptionError
from nnla.evaluation.comparison import Row, compare
from nnla.evaluation.plots import _products, _reductions, plot_convergence, plot_spectrum, save_figure

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def problem():
    return nnla.problems.problem("elasticity2d", "small")


@pytest.fixture(scope="module")
def rows(problem):
    return compare(problem, methods=["direct", "jacobi", "ic", "chebyshev", "autospec", "auto", "gmres"])


def test_convergence_of_a_comparison(problem, rows, tmp_path):
    probe = nnla.probe(problem.A, 40, start=problem.b, scaling="jacobi")
    figure = plot_convergence(rows, name="elasticity2d", probe=probe)
    products, reductions, polynomials = figure.axes
    assert products.get_yscale() == "log"
    assert polynomials.get_xscale() == "log"
    labels = [text.get_text() for text in products.get_legend().get_texts()]
    assert {"jacobi", "ic", "chebyshev", "autospec"} <= set(labels)
    assert any(label.startswith("direct:") for label in labels)  # no curve, but not hidden
    assert "elasticity2d" in figure.get_suptitle()
    assert "1e-08" in figure.get_suptitle()
    assert "reductions" in reductions.get_xlabel()
    for suffix, magic in ((".png", b"\x89PNG\r\n"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        path = tmp_path / f"c{suffix}"
        save_figure(figure, path)
        assert path.read_bytes().startswith(magic)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".pdf", ".png", ".svg"]  # nothing partial


def test_convergence_of_one_report(problem):
    report = nnla.solve(problem.A, problem.b, method="autospec").report
    assert len(plot_convergence(report).axes) == 2
    block = nnla.solve(problem.A, np.ones((problem.A.shape[0], 2)), method="autospec").report
    assert len(plot_convergence(block).axes) == 2


def test_positions_count_what_the_report_counts(problem, rows):
    for row in rows:
        r = row.report
        if not r.residual_history or r.fallback:
            continue
        assert r.products - 5 <= _products(r)[-1] <= r.products
        assert r.reductions - 5 <= _reductions(r)[-1] <= r.reductions


def test_indefinite_and_easy_operators():
    A = np.diag([-1.0, 1.0, 2.0, 3.0])
    probe = nnla.probe(A - np.diag([-2.0, 0, 0, 0]), 4)
    assert len(plot_spectrum(probe).axes) == 2
    indefinite = nnla.SpectralProbe([1.0, 0.0, 2.0], [1.0, 1.0, 0.5], 100)
    figure = plot_spectrum(indefinite)
    assert figure.axes[0].get_xscale() == "linear"
    assert "not positive definite" in figure.axes[0].get_title()
    report = nnla.solve(np.eye(3), np.ones(3)).report
    assert len(plot_convergence(report, probe=indefinite).axes) == 2


def test_spectrum(problem, tmp_path):
    probe = nnla.probe(problem.A, 30, scaling="jacobi")
    figure = plot_spectrum(probe, name="elasticity2d", nnz=problem.A.nnz)
    upper, lower = figure.axes
    labels = " ".join(text.get_text() for text in upper.get_legend().get_texts())
    assert "autospec: a =" in labels
    assert "rule: a =" in labels
    assert "jacobi" in lower.get_xlabel()
    save_figure(figure, tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_refusals(rows, tmp_path, monkeypatch):
    figure = plot_convergence(rows)
    with pytest.raises(OptionError, match="format"):
        save_figure(figure, tmp_path / "c.exe")
    with pytest.raises(OptionError, match="cannot be written"):
        save_figure(figure, tmp_path / "no" / "c.png")
    with pytest.raises(OptionError, match="nothing to draw"):
        plot_convergence([Row("amg", note="no PyAMG")])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'nnla\[plot\]'"):
        plot_convergence(rows)


def test_no_pyplot():
    import subprocess

    code = (
        "import sys, nnla, nnla.evaluation.plots as p; r = nnla.probe([[2.0, -1], [-1, 2]]); p.plot_spectrum(r); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
