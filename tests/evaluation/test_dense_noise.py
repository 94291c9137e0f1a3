"""The measure of noise: rows of a case, who is an opponent, models as they are."""

from __future__ import annotations

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.evaluation.dense_estimators import relative_errors
from nnla.evaluation.dense_noise import FITTED, Case, judged, make_family, measure
from nnla.problems.perturbations import LAWS


@pytest.fixture(scope="module")
def family():
    return make_family("rough", training=120, test=30, n=8, seconds=0)


class Perfect:
    """Knows the answers."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def solve(self, A: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, None]:
        return self.x.astype(np.float32), None


def test_training_and_test_have_nothing_in_common(family):
    assert not np.isin(family.test.A[:, 0, 0], family.training.A[:, 0, 0]).any()
    again = make_family("rough", training=120, test=30, n=8, yardsticks=False)
    assert np.array_equal(again.test.A, family.test.A)
    assert again.spaces is None


@pytest.mark.parametrize(("law", "part"), [*((law, "A") for law in LAWS), ("entrywise", "b"), ("normwise", "both")])
def test_every_law(family, law, part):
    rows = measure(family, Case(law, part, 1e-3), {"perfect": Perfect(family.test.x)}, classical=False)
    found = {row["method"]: row for row in rows}
    assert set(found) == set(FITTED) - {"PCA + MLP"} | {"perfect", "perfect, safeguarded"}
    assert all(0 <= row["median"] <= row["ninety"] and row["mean"] >= 0 for row in rows)
    assert found["perfect"]["mean"] < 1e-12
    assert found["perfect"]["kind"] == "model"
    assert found["LU"]["mean"] == pytest.approx(found["SVD"]["mean"], rel=1e-3)


def test_classical_regularisers(family):
    for part in ("A", "b"):
        rows = measure(family, Case("entrywise", part, 1e-2), methods=("LU",))
        kinds = {row["method"]: row["kind"] for row in rows}
        assert kinds["Tikhonov, discrepancy"] == "yardstick"
        assert kinds["Tikhonov, hindsight"] == "hindsight"
        errors = {row["method"]: row["mean"] for row in rows}
        assert errors["Tikhonov, hindsight"] <= min(errors["LU"], errors["Tikhonov, discrepancy"]) * 1.001
        assert errors["TLS"] == pytest.approx(errors["LU"], rel=1e-3)  # square: nothing to distribute


def test_networks(family):
    pytest.importorskip("torch")
    with_network = make_family("rough", training=120, test=30, n=8, seconds=0.2, laws=("normwise",))
    rows = measure(with_network, Case("quantised", "A", 1e-3), methods=("PCA + MLP",), classical=False)
    assert [row["method"] for row in rows] == ["PCA + MLP"]
    assert not measure(with_network, Case("entrywise", "A", 1e-3), methods=("PCA + MLP",), classical=False)


def test_judgement():
    def row(method, kind, mean, median, level=0.1):
        case = {"equation": "rough", "law": "entrywise", "part": "A", "level": level}
        return case | {"method": method, "kind": kind, "mean": mean, "median": median}

    rows = [
        row("LU", "yardstick", 4.0, 1.0),
        row("affine in b", "yardstick", 2.0, 1.5),
        row("Tikhonov, hindsight", "hindsight", 0.1, 0.1),
        row("net", "model", 1.0, 2.0),
        row("LU", "yardstick", 1.0, 1.0, level=0.01),
    ]
    first, second = judged(rows)
    assert (first["best"], first["error"], first["models"]) == ("affine in b", 2.0, {"net": 0.5})
    assert (second["best"], second["models"]) == ("LU", {})
    tie = [row("LU", "yardstick", 1.0, 1.0), row("PCA of A + LU", "yardstick", 0.995, 0.9)]
    assert judged(tie)[0]["best"] == "LU"
    assert judged(tie, "median")[0]["best"] == "PCA of A + LU"
    assert judged(rows, "median")[0]["models"] == {"net": 2.0}
    assert judged([row("net", "model", 1.0, 1.0)]) == []


def test_errors_that_are_no_numbers():
    x = np.array([[np.inf, 0.0], [1e200, 0.0], [1.0, 1.0]])
    assert relative_errors(x, np.ones((3, 2))).tolist() == [np.inf, np.inf, 0.0]


def test_unknown_methods(family):
    with pytest.raises(OptionError, match="not known"):
        measure(family, Case("entrywise", "A", 0.1), methods=("Gauss",))
    assert dataclasses.replace(family, seed=1).seed == 1


def test_the_page_says_who_wins(family, tmp_path):
    pytest.importorskip("matplotlib")
    script = runpy.run_path(str(Path(__file__).parents[2] / "reproduce" / "algebraformer_noise.py"))
    models = {"perfect": Perfect(family.test.x), "useless": Perfect(0 * family.test.x)}
    rows = []
    for case in (Case("entrywise", "A", 1e-3), Case("entrywise", "A", 1e-2), Case("heavy", "A", 1e-2)):
        rows += measure(family, case, models, methods=("LU", "affine in b"))
    rows[0]["mean"] = np.inf
    meta = {"command": "c", "date": "d", "hardware": "h", "n": 8, "training": 1, "test": 2, "seed": 0, "seconds": 3}
    script["write"]({"meta": meta | {"equations": ["rough"], "models": list(models)}, "rows": rows}, tmp_path)
    text = (tmp_path / "algebraformer_noise.md").read_text(encoding="utf-8")
    assert text.count(" wins**") >= 12
    assert text.count("(loses)") >= 4
    assert "*Tikhonov, hindsight*" in text
    assert json.loads((tmp_path / "algebraformer_noise.json").read_text(encoding="utf-8"))["rows"][0]["mean"] is None
    assert (tmp_path / "algebraformer_noise.png").stat().st_size > 10_000
