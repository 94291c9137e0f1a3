"""The optimisers' page is that of its figures, and the bars that it calls met are met."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "matrix_functions_optimisers.md"


@pytest.fixture
def data(monkeypatch):
    if not PAGE.is_file() or not (ROOT / "reproduce").is_dir():
        pytest.skip("the documentation is not here")
    monkeypatch.setattr(sys, "path", [str(ROOT / "reproduce"), *sys.path])
    return json.loads(PAGE.with_suffix(".json").read_text(encoding="utf-8"))


def test_the_page_is_written_from_its_figures(data):
    from matrix_functions_optimisers_page import page

    assert page(data) == PAGE.read_text(encoding="utf-8")


def test_the_bars_of_inverse_roots(data):
    rows = [row for row in data["roots"] if "cans" in row]
    assert {row["condition"] for row in rows} == set(range(2, 9))
    assert len({row["matrix"] for row in rows}) >= 8
    for row in rows:
        assert row["equal"]["error"] <= row["cans"]
        assert row["equal"]["cost"] <= 0.8 * 29
        if row["condition"] == 7:
            assert row["default"]["error"] <= 3e-2
            assert row["default"]["cost"] <= 0.8 * 29
        for tried in row["tried"]:
            assert tried["residual"] <= tried["rtol"] or not tried["converged"]


def test_the_bars_of_polar_factors(data):
    for row in data["polar"]:
        if row["schedule"] == "nnla":
            assert row["low"] / row["high"] > 0.8
            assert all(row["ratios"][name]["4"] <= 0.8 for name in ("Muon", "Polar Express", "CANS"))
    for row in data["bands"]:
        if row["method"] == "nnla":  # as planned, in every precision
            assert row["low"] > 0.88
            assert row["high"] < 1.13
