"""The script of NLAFormer's learned tables: iterations are counted as the page says, and it writes what it measures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
REPRODUCE = Path(__file__).resolve().parents[1] / "reproduce"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE))
    pytest.importorskip("matplotlib")
    import nlaformer_training
    import nlaformer_training_page

    yield nlaformer_training, nlaformer_training_page
    for name in ("nlaformer_training", "nlaformer_training_page", "algebraformer_runs"):
        sys.modules.pop(name, None)


def test_iterations_are_those_after_which_errors_stay_small(scripts):
    count = scripts[1].iterations
    assert count([1.0, 0.1, 0.2, 0.05], 0.1) == 3
    assert count([1.0, 0.1, 0.05], 0.1) == 1
    assert count([0.1, 0.1], 0.1) == 0
    assert count([1.0, 0.05, 0.2], 0.1) is None


def test_a_page_of_few_steps(scripts, monkeypatch, tmp_path):
    script, page = scripts
    runs = {name: script.RUNS[name] for name in ("steps-cg", "constructed")}
    small = ["model.loops=2", "objective.first=1", "optim.batch=4"]
    monkeypatch.setattr(script, "RUNS", {k: (r, 6, [*o, *small]) for k, (r, _, o) in runs.items()})
    monkeypatch.setattr(script, "COUNT", 8)
    found = {name: script.measured(script.trained(name, tmp_path, 1.0)) for name in runs}
    for run in found.values():
        assert len(run["errors"]["1.2"]) == 3
        assert run["steps"] == 6
        assert run["cpu_seconds"] > 0
    assert len(found["steps-cg"]["inner"]) == 3
    assert "inner" not in found["constructed"]
    assert script.untrained("constructed")["loop_0"] == 1.0
    classical = script.classical(5)
    assert page.number(classical["cg"]["errors"]["1"][0]) == "1"
