"""Trainings by CPU seconds: the clock beside the log, and runs that go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

FOLDER = Path(__file__).resolve().parents[1] / "reproduce"
CHANGES = ["model.width=8", "model.blocks=1", "model.heads=2", "data.held_out=4", "optim.batch=2"]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr("nnla.training.dense_systems._TABLE", 50)


def test_a_budget_becomes_steps_and_a_curve(tmp_path):
    from algebraformer_runs import POINTS, budgeted

    run = budgeted("algebraformer-columns", CHANGES, tmp_path / "run", 0.5, progress=False)
    assert [point["step"] for point in run.curve] == list(range(1, POINTS + 1))
    seconds = [point["cpu"] for point in run.curve]
    assert seconds == sorted(seconds)
    assert run.cpu == seconds[-1] > 0
    written = run.path.read_bytes()
    again = budgeted("algebraformer-columns", CHANGES, tmp_path / "run", 0.5, progress=False)
    assert again.curve == run.curve
    assert again.path.read_bytes() == written


def test_an_interrupted_run_keeps_its_clock(tmp_path, monkeypatch):
    import algebraformer_runs as runs

    from nnla.training.config import load_recipe

    recipe = load_recipe(
        "algebraformer-columns", [*CHANGES, "optim.steps=6", "optim.checkpoint_every=2", "optim.log_every=2"]
    )
    note = runs._clock

    def killing(*args):
        inner = note(*args)

        def progress(stage, done, total, text):
            inner(stage, done, total, text)
            if stage == "train" and done == 4:
                raise ZeroDivisionError  # before the checkpoint of this step

        return progress

    monkeypatch.setattr(runs, "_clock", killing)
    with pytest.raises(ZeroDivisionError):
        runs.clocked(recipe, tmp_path / "run", progress=False)
    monkeypatch.setattr(runs, "_clock", note)
    run = runs.clocked(recipe, tmp_path / "run", progress=False)
    assert [point["step"] for point in run.curve] == [2, 4, 6]
    rows = [json.loads(line) for line in (tmp_path / "run" / "cpu.jsonl").read_text().splitlines()]
    assert [row["cpu"] for row in rows] == sorted(row["cpu"] for row in rows)


def test_when_fine_tuning_passes():
    from algebraformer_finetuning import passes

    tuned = {"curve": [{"epoch": e, "relative": v} for e, v in ((1, 3.0), (2, 1.0), (3, 0.5))]}
    scratch = {"curve": [{"epoch": e, "relative": v} for e, v in ((1, 9.0), (2, 2.0), (3, 1.0))]}
    assert passes(tuned, scratch) == 2
    assert passes({"curve": tuned["curve"][:1]}, scratch) is None


def test_errors_of_a_method_by_hand():
    import numpy as np
    from algebraformer_table import judged, parts

    found = judged(lambda A, b: np.zeros_like(b), 7)
    assert found["relative"] == pytest.approx(1.0)
    assert found["mean"] == found["median"] == pytest.approx(1.0)
    (systems,) = parts(7)
    assert found["mse"] == pytest.approx(np.mean(systems.x**2))
    assert found["power"] == pytest.approx(found["mse"])
