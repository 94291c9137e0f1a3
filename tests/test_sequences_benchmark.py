"""The benchmark of sequences: a run on two tiny ones, tuning in hindsight, and the arithmetic of what it claims."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.io import mmwrite

import nnla

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def test_two_sequences_of_files(tmp_path, monkeypatch):
    from sequences import main

    monkeypatch.setenv("PYTHONPATH", str(Path(nnla.__file__).parents[1]))
    for name, columns in (("lines", 1), ("blocks", 2)):
        folder = tmp_path / "files" / name
        folder.mkdir(parents=True)
        for k in range(3):
            A = nnla.problems.poisson1d(20 + k * (columns == 2)) * (1.0 + k)
            b = np.random.default_rng(k).standard_normal((A.shape[0], columns))
            for letter, array in (("A", A), ("b", b)):
                with gzip.open(folder / f"{letter}_{k:02d}.mtx.gz", "wb") as stream:
                    mmwrite(stream, array, symmetry="symmetric" if letter == "A" else "general")
    words = ["--sequences", tmp_path / "files", "--no-generated", "--methods", "nnla cold;scipy splu", "--samples", 1]
    words = [str(w) for w in [*words, "--cache", tmp_path / "cache", "--out", tmp_path / "out"]]
    main(words)
    stem = tmp_path / "out" / "sequences_benchmark"
    data = json.loads(stem.with_suffix(".json").read_text())
    assert data["sequences"]["lines"]["facts"] | {"digest": ""} == {
        "made of": "file", "group": "shared", "steps": 3, "matrices": [0, 1, 2], "n": 20, "nnz": 58, "first n": 20,
        "columns": 1, "digest": "",
    }  # fmt: skip
    assert data["sequences"]["blocks"]["facts"]["first n"] == 20
    assert data["sequences"]["blocks"]["facts"]["columns"] == 2
    for s in data["sequences"].values():
        assert set(s["methods"]) == {"nnla cold", "scipy splu"}
        assert s["best_peer"] == "scipy splu"
        assert all(m["ok"] and m["residual"] <= 1.001e-8 and len(m["course"]) == 3 for m in s["methods"].values())
    page = stem.with_suffix(".md").read_text()
    assert "| lines | 3 | 20 |" in page
    assert str(tmp_path) not in page
    lines = stem.with_suffix(".partial.jsonl").read_text()
    main([*words, "--no-plots", "--redraw"])
    assert stem.with_suffix(".partial.jsonl").read_text() == lines
    assert json.loads(stem.with_suffix(".json").read_text())["sequences"] == data["sequences"]


class FakePool:
    """Methods whose seconds and residuals are known; it is its own worker."""

    def __init__(self, answers, version="1"):
        self.answers, self.asked, self.version, self.offered = answers, [], version, {"Solver"}

    def key(self, method):
        return self.version if method in ("Solver", "nnla cold") else "peer"

    def worker(self, method):
        return self

    def sequence(self, method, setting, folder, tolerance, limit):
        from seq.session import label

        self.asked.append((method, label(setting), tolerance, limit))
        seconds, residual = self.answers(method, setting, tolerance)
        return {"cpu": [seconds], "wall": [seconds], "residual": [residual], "iterations": [1], "facts": None}


def session(answers, tmp_path=Path("nowhere"), old=(), version="1", **options):
    from seq.session import Plan, Session

    pool, rows = FakePool(answers, version), []
    return Session("s", tmp_path, "d", pool, Plan(**{"samples": 1, **options}), rows.append, list(old)), pool, rows


def test_peers_are_tuned_axis_by_axis_and_the_best_is_found():
    from seq.methods import METHODS

    best = {"hierarchy": "rs", "refresh": "5", "guess": "last"}

    def answers(method, setting, tolerance):
        return 1.0 + sum(setting[axis] != best[axis] for axis in best), 1e-9

    s, pool, _ = session(answers, floor=100.0)
    assert s.measure(["pyamg"], lambda: False)
    assert s.best("pyamg") == best
    assert len(pool.asked) < math.prod(map(len, METHODS["pyamg"][1].values()))
    again, pool, rows = session(answers, old=s.rows)
    assert again.measure(["pyamg"], lambda: False)
    assert not pool.asked
    assert not rows


def test_a_residual_that_is_missed_is_asked_for_with_a_tighter_tolerance():
    s, _pool, rows = session(lambda m, setting, tolerance: (1.0, 30.0 * tolerance))
    s.measure(["nnla cold"], lambda: False)
    assert [r["ok"] for r in rows] == [False, True]
    assert rows[1]["tolerance"] < 1e-8 / 30
    s, _pool, rows = session(lambda m, setting, tolerance: (1.0, 1e-6))
    s.measure(["nnla cold"], lambda: False)
    assert len(rows) == 2, "a tighter tolerance that changes nothing ends it"
    assert s.best("nnla cold") is None


def test_short_runs_are_repeated_and_time_that_is_over_ends_it():
    s, pool, _ = session(lambda m, setting, tolerance: (0.02, 1e-9), samples=3)
    assert s.measure(["nnla cold"], lambda: False)
    assert len(pool.asked) == 15
    s, pool, _ = session(lambda m, setting, tolerance: (2.0, 1e-9), samples=3)
    assert s.measure(["nnla cold", "scipy splu"], lambda: len(pool.asked) >= 2) is False
    assert len(pool.asked) == 2


def test_a_new_version_is_measured_beside_the_best_peer():
    seconds = {"nnla cold": 3.0, "scipy splu": 2.0, "cholmod": 9.0}
    s, _pool, rows = session(lambda m, setting, tolerance: (seconds[m], 1e-9), samples=2, floor=99.0)
    assert s.measure(list(seconds), lambda: False)
    assert sum(r["method"] == "cholmod" for r in rows) == 9, "far from the best: once a setting"
    s, pool, _ = session(
        lambda m, setting, tolerance: (seconds[m], 1e-9), samples=2, floor=99.0, version="2", old=s.rows
    )
    assert s.measure(list(seconds), lambda: False)
    assert sorted(method for method, *_ in pool.asked) == ["nnla cold", "nnla cold", "scipy splu", "scipy splu"]


def result(steps, iterations=None, **more):
    return {"ok": True, "seconds": sum(steps), "steps": steps, "iterations": iterations or [9] * len(steps), **more}


def test_judge_looks_at_every_prefix():
    from seq.summary import judge, summarise, thinned

    found = judge(
        {
            "nnla cold": result([1.0, 1.0, 1.0, 1.0]),
            "Solver": result([1.2, 0.9, 0.4, 0.3], [9, 5, 2, 2]),
            "Solver, every 10": result([1.0, 0.9, 0.2, 0.4]),
            "petsc": result([2.0, 2.0, 2.0, 1.0]),
            "pyamg": {"ok": False, "seconds": 0.1, "reason": "residual 1e-3"},
        }
    )
    assert found["best_peer"] == "petsc"
    assert found["/ cold"] == pytest.approx(0.7)
    assert found["/ best peer"] == pytest.approx(0.4)
    assert found["/ best fixed"] == pytest.approx(2.8 / 2.5)
    assert found["worst prefix / cold"] == pytest.approx(1.2)
    assert found["break-even"] == 3
    assert found["iterations / cold"] == 0.5
    long = thinned(result([1.0] * 1000, report=None))
    assert (len(long["course"]), long["course"][-1], long["iterations"]) == (41, [1000, 1000.0], 9000)
    slow = judge({"nnla cold": result([1.0]), "Solver": result([2.8])})
    assert slow["break-even"] is None
    facts = {"a": {"group": "shared"}, "b": {"group": "generated"}}
    rows = summarise({"a": {**found, "facts": facts["a"]}, "b": {**slow, "facts": facts["b"]}})
    assert set(rows) == {"shared", "generated", "shared and generated"}
    assert rows["shared and generated"]["/ cold"] == pytest.approx(1.4)
    assert rows["shared and generated"]["worst prefix / cold"] == [2.8, "b"]
    assert rows["shared and generated"]["break-even within 5"] == 0.5
