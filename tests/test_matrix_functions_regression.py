"""The page of direct regression is that of its figures, and the bars that it calls met are met."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "matrix_functions_regression.md"


@pytest.fixture
def data(monkeypatch):
    if not PAGE.is_file() or not (ROOT / "reproduce").is_dir():
        pytest.skip("the documentation is not here")
    monkeypatch.setattr(sys, "path", [str(ROOT / "reproduce"), *sys.path])
    return json.loads(PAGE.with_suffix(".json").read_text(encoding="utf-8"))


def test_the_page_is_written_from_its_figures(data):
    from matrix_functions_regression_page import page

    assert page(data, PAGE.stem) == PAGE.read_text(encoding="utf-8")


def test_the_bars_are_met(data):
    from matrix_functions_regression_page import at_gap, bar_of

    rows = [row for row in data["accuracy"] if bar_of(row)]
    assert {(row["function"], row["n"]) for row in rows} == {
        (f, n) for f in ("exp", "sin", "cos", "sqrt", "log", "inv_sqrt") for n in (3, 4, 5)
    }
    missed = {(row["function"], row["n"]): row for row in rows if bar_of(row) != "met"}
    assert set(missed) <= {("sin", 5)}  # a median of .6 % for .5 %; the page says so
    assert all(row["within"]["5"] >= 0.99 and row["median"] <= 0.007 for row in missed.values())
    assert min(at_gap(data["gaps"], n, "relative", "plain") for n in (3, 4, 5)) >= 0.95
    assert sum(model["train_seconds"] for model in data["models"].values()) > 0
