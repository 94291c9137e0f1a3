"""The page of the constructed transformers: what it shows meets what was aimed at, and is what its figures say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STEM = ROOT / "docs" / "nlaformer_constructions"
BARS = {"central": 1e-9, "four": 1e-11, "eight": 1e-12}


@pytest.fixture(scope="module")
def data():
    return json.loads(STEM.with_suffix(".json").read_text(encoding="utf-8"))


def test_the_page_is_made_of_its_figures(data, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "reproduce"))
    from nlaformer_constructions_page import markdown

    assert STEM.with_suffix(".md").read_text(encoding="utf-8") == markdown(data)


def test_bars_of_the_operations(data):
    assert data["meta"]["inputs"] == 1000
    rows = [
        r for r in data["operations"] if r["dtype"] == "float64" and not r["shift"] and "relative" not in r["operation"]
    ]
    assert len(rows) == 4 * 10
    assert all(r["max"] <= BARS[r["heads"]] for r in rows if r["heads"] in BARS)


def test_slopes_and_conjugate_gradients(data):
    for name, order in {"paper": 1, "central": 2, "four": 4, "eight": 8}.items():
        assert data["slopes"][name] == pytest.approx(order, rel=0.06)
    four = next(r for r in data["gradients"] if r["program"] == "four")
    assert four["against"][30] < 1e-9
    assert four["worst"] < 1e-9


def test_networks_are_within_their_bounds(data):
    for row in (*data["relu"]["products"], *data["relu"]["maps"]):
        assert row["measured"] <= row["bound"] + 2e-15
