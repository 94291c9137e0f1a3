"""The scripts of the token transformers: every cell is a recipe, the page shows what is there, the clock's schedule."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

FOLDER = Path(__file__).resolve().parents[1] / "reproduce"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    if not FOLDER.is_dir():
        pytest.skip("the scripts are not here")
    monkeypatch.syspath_prepend(str(FOLDER))


def test_every_cell_is_a_recipe():
    from matrix_functions_tokens import cells, overrides

    from nnla.training.config import Table, load_recipe
    from nnla.training.matrix_tokens import MatrixTokensTask

    for cell in cells().values():
        task = MatrixTokensTask(Table(load_recipe("matfun-tokens-exp", overrides(cell))))
        assert task.config.f == cell["f"]
        assert task.config.input == cell["reads"]
        assert task.config.output == cell["writes"]


def test_the_page_shows_what_is_there(tmp_path):
    from matrix_functions_tokens import cells, collected, page, picture

    name, cell = next(iter(cells().items()))
    shares = {"within_5": 0.987, "within_2": 0.5, "within_1": 0.2, "within_0.5": 0.1}
    curve = [{"step": 1, "cpu": 1.0, **{f"val_{key}": value for key, value in shares.items()}}]
    row = cell | {"budget": 30.0, "seconds": 30.5, "steps": 1, "examples": 128, "figures": shares | {"median": 0.01}}
    (tmp_path / f"{name}.json").write_text(json.dumps(row | {"malformed": 0.0, "curve": curve}))
    found = collected(tmp_path, None)
    text = page(found)
    assert "98.7" in text
    assert "| FP15 | 28,811 | 1 | 12 / 9 |" in text
    assert "GPU" not in text
    picture(found, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_the_rate_ends_when_the_time_does():
    from matrix_functions_tokens_gpu import overrides, rate

    from nnla.training.config import load_recipe

    assert rate(0, 0.0) < 0.01 < rate(299, 0.1) == 1.0
    assert rate(10_000, 1.0) == 0.0
    assert rate(10_000, 0.9) < rate(10_000, 0.5) < 1.0
    args = argparse.Namespace(tiny=False, scale=5.0, n=3, width=64, heads=4, encoder=2, decoder=1, norm="pre",
                              input="FP15", output="FP15", batch=32, lr=1e-3)  # fmt: skip
    for f in ("exp", "sign"):
        assert load_recipe("matfun-tokens-exp", overrides(f, args))["model"]["f"] == f
