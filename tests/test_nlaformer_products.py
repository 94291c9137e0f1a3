"""The page of the loop with exact products is that of its figures, and the bars that it calls met are met."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "nlaformer_products.md"


@pytest.fixture
def data(monkeypatch):
    if not PAGE.is_file() or not (ROOT / "reproduce").is_dir():
        pytest.skip("the documentation is not here")
    monkeypatch.setattr(sys, "path", [str(ROOT / "reproduce"), *sys.path])
    return json.loads(PAGE.with_suffix(".json").read_text(encoding="utf-8"))


def test_the_page_is_written_from_its_figures(data):
    from nlaformer_products_page import page

    assert page(data, PAGE.stem) == PAGE.read_text(encoding="utf-8")


def test_the_bars_are_met(data):
    family = {name: row for name, row in data["family"].items() if not name.endswith("none")}
    assert len(family) == 15
    for row in family.values():
        learned, jacobi, cg = (row["methods"][name] for name in ("learned", "jacobi", "cg"))
        assert learned["mean_at"]["5"] <= 1e-4
        assert learned["mean_at"]["10"] <= 1e-6
        assert learned["floor"] <= 1e-10
        own = learned["each"][2] + row["read"]
        assert own <= 0.8 * jacobi["each"][2]
        assert own <= 0.8 * cg["each"][2]
    assert data["training"]["cpu_seconds"] <= 900
    for row in data["others"].values():
        if row["condition"] <= 1.01e4:
            assert row["guarded"] + row["read"] <= 1.05 * min(row["cg"], row["orthogonal"])
