"""The page of certified ReLU networks is that of its figures, and what was aimed at is met."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[1]
STEM = ROOT / "docs" / "matrix_functions_relu"


@pytest.fixture(scope="module")
def data():
    if not STEM.with_suffix(".json").is_file():
        pytest.skip("the documentation is not here")
    return json.loads(STEM.with_suffix(".json").read_text(encoding="utf-8"))


def test_the_page_is_made_of_its_figures(data, monkeypatch):
    if not (ROOT / "reproduce").is_dir():
        pytest.skip("the script is not here")
    monkeypatch.syspath_prepend(str(ROOT / "reproduce"))
    from matrix_functions_relu_page import markdown

    assert STEM.with_suffix(".md").read_text(encoding="utf-8") == markdown(data)


@pytest.mark.parametrize("part", ["exp", "box", "roots"])
def test_certificates_hold(data, part):
    for row in data[part]:
        assert max(row["random"], row["attack"]) <= row["certificate"] <= row["eps"]


def test_bars_of_the_exponential(data):
    rows = data["exp"]
    assert {(r["n"], r["bound"], r["eps"]) for r in rows} >= {
        (n, bound, eps) for n in (2, 3, 5, 8) for bound in (1.0, 4.0) for eps in (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)
    }
    assert min(r["tried"] for r in rows) >= 20_000
    assert median(r["certificate"] / max(r["random"], r["attack"]) for r in rows) <= 5
    assert data["reference"]["ours"] < 1e-13


def test_explicit_weights(data):
    for row in data["explicit"]:
        assert row["difference"] <= row["rounding"]
        assert row["nonzeros"] == row["counted"]
    for row in data["refusals"]:
        assert row["certificate"] <= row["smallest"]
    for row in data["blocks"]:
        assert row["measured"] <= row["certificate"]
