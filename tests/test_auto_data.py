"""The data that auto learns from: rows are whole, a run goes on, systems follow from family and round."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from nnla.kernels import native
from nnla.operators.features import STRUCTURE_FEATURES
from nnla.problems import SYSTEM_FAMILIES, poisson2d

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(native is None, reason="the native kernels are not built")


@pytest.fixture
def scripts(monkeypatch):
    if not (ROOT / "reproduce").is_dir():
        pytest.skip("the scripts are not here")
    monkeypatch.setattr(sys, "path", [str(ROOT / "reproduce"), *sys.path])
    import auto_data
    import auto_facts

    return auto_data, auto_facts


def test_a_row_says_what_decides(scripts):
    _, auto_facts = scripts
    row = auto_facts.facts(poisson2d(30), np.ones(900))
    assert len(row["features"]) == len(STRUCTURE_FEATURES)
    counts = [row["jacobi"]["iterations"][str(rtol)] for rtol in auto_facts.RTOLS]
    assert counts == sorted(counts)
    assert counts[0] > 10
    assert row["ic"]["iterations"]["1e-08"] < row["jacobi"]["iterations"]["1e-08"]
    assert row["amg"]["complexity"] > 1
    assert row["direct"]["flops"] > row["direct"]["entries"] > 900
    assert set(row["steps"]) == {"4", "8", "16", "32"}
    json.dumps(row, allow_nan=False)


def test_limits_are_told_from_answers(scripts, monkeypatch):
    _, auto_facts = scripts
    monkeypatch.setattr(auto_facts, "ITERATIONS", 20)
    op_row = auto_facts.facts(poisson2d(40), np.ones(1600))["jacobi"]
    assert op_row["iterations"]["1e-08"] is None
    assert op_row["stopped"] >= 20
    assert op_row["failed"] == 0


def test_the_draw_is_of_family_and_round(scripts):
    auto_data, _ = scripts
    names = sorted(SYSTEM_FAMILIES)
    drawn = {(name, turn): auto_data.draw(name, turn) for name in names[:5] for turn in range(3)}
    assert drawn == {key: auto_data.draw(*key) for key in drawn}
    assert len(set(drawn.values())) == len(drawn)
    some = auto_data.systems((0, 2), names)
    turns = [next(some) for _ in range(2 * len(names))]
    assert {turn for turn, _ in turns} == {0, 2}
    assert sorted(name for turn, name in turns if turn == 0) == names


def test_an_interrupted_run_goes_on(scripts, tmp_path, monkeypatch):
    auto_data, _ = scripts
    measured = []

    def quick(family, n, seed):
        measured.append(family)
        if len(measured) in (3, 6):
            raise KeyboardInterrupt
        return {"error": "not measured"}

    monkeypatch.setattr(auto_data, "measure", quick)
    monkeypatch.setattr(sys, "argv", ["auto_data.py", "--out", str(tmp_path)])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            auto_data.main()
    rows = auto_data.read(tmp_path / "facts-0-of-1.jsonl")
    assert len(rows) == 4
    assert len({(row["turn"], row["family"]) for row in rows}) == 4


def test_the_page_of_the_families_is_theirs(scripts):
    import system_families

    assert system_families.PAGE.read_text(encoding="utf-8") == system_families.page()
