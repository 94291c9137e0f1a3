"""The script of the Newton figure, on a few problems: numbers, picture and page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "reproduce"


def test_the_script_writes_numbers_a_picture_and_a_page(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(FOLDER))
    from algebraformer_newton import OURS, SCIPY, main

    main(["--quick", "--out", str(tmp_path)])
    data = json.loads((tmp_path / "algebraformer_newton.json").read_text())
    assert list(data["runs"]) == [*OURS, *SCIPY]
    for name in (*OURS, "L-BFGS-B", "trust-exact"):
        run = data["runs"][name]
        assert run["converged"] == run["count"], name
        assert run["worst_gap"] < 1e-8
    assert data["same_minimum"]["1e-10"] < 1e-8
    assert data["runs"]["exact"]["exact_share"] == 1.0
    assert abs(data["same_tokens"]) < 0.5
    page = (tmp_path / "algebraformer_newton.md").read_text()
    assert "The default stays exact" in page
    assert (tmp_path / "algebraformer_newton.png").stat().st_size > 5000
