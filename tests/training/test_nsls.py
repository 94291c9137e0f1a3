"""Training of the graph networks: losses by hand, parts of the data apart, runs resumed to the last bit."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.models.nsls import NSLS
from nnla.models.nsls_plus import NSLSPlus
from nnla.problems.frame_sets import make_structures, relative_errors, summary
from nnla.registry import read_safetensors
from nnla.training.batches import as_tensors
from nnla.training.config import load_recipe
from nnla.training.frame_data import draw_batch
from nnla.training.loop import train

torch = pytest.importorskip("torch")

TINY = [
    "data.structures=6",
    "data.held_out=2",
    "data.sizes.small=0.0",
    "model.inner=8",
    "model.blocks=2",
    "optim.batch=4",
    "optim.log_every=1",
    "optim.checkpoint_every=4",
]
RECIPES = ["nsls-frames", "nsls-plus-algebraic", "nsls-plus-geometric"]


def recipe(name, *overrides):
    out = load_recipe(name, [*TINY, *overrides])
    out["data"]["sizes"] = {"mini": 1.0}
    return out


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", RECIPES)
def test_the_loss_falls_and_the_file_loads(tmp_path, name):
    path = train(recipe(name, "optim.steps=24", "optim.lr=0.01", "optim.checkpoint_every=24"), tmp_path)
    log = rows(tmp_path)
    assert np.mean([r["loss"] for r in log[-6:]]) < np.mean([r["loss"] for r in log[:6]])
    model = (NSLS if name == "nsls-frames" else NSLSPlus).from_file(path)
    assert model.card["envelope"]["family"] == "building frames"
    assert 0 < log[-1]["val_energy_mini_mean"] < 1


@pytest.mark.parametrize(("name", "extra"), [("nsls-frames", {}), ("nsls-plus-geometric", {"prefetch": 2})])
def test_an_interrupted_run_ends_with_the_same_weights(resumes, name, extra):
    resumes(recipe(name, "optim.steps=8") | extra, 6)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision_is_the_recipe_s(tmp_path, name, dtype):
    path = train(recipe(name, "optim.steps=1") | {"dtype": dtype}, tmp_path)
    assert 0 < rows(tmp_path)[-1]["val_energy_mini_mean"] < 1.1
    state, _ = read_safetensors(path.parent / "checkpoint.safetensors", kind="checkpoint")
    assert {str(v.dtype) for key, v in state.items() if key.startswith("net.")} == {dtype}


def test_losses_by_hand(rng):
    from nnla.training.nsls import cosine_losses

    y, x, Ay, b = rng.standard_normal((4, 9))
    starts = [0, 4, 9]

    def by_hand(u, v):
        cosines = [
            u[i:j] @ v[i:j] / np.linalg.norm(u[i:j]) / np.linalg.norm(v[i:j]) for i, j in itertools.pairwise(starts)
        ]
        return 1 - np.mean(cosines)

    cosine, residual = cosine_losses(*(torch.from_numpy(v) for v in (y, x, Ay, b)), starts)
    assert float(cosine) == pytest.approx(by_hand(y, x))
    assert float(residual) == pytest.approx(by_hand(Ay, b))
    assert np.isfinite(float(cosine_losses(*[torch.zeros(9)] * 4, starts)[0]))


def test_the_energy_error_of_the_loss_is_that_of_the_model(tmp_path):
    """Training and use compute the same thing by different code."""
    from nnla.training.config import Table
    from nnla.training.nsls import NSLSPlusTask

    options = ["optim.batch=1", "data.mixed=0.0", "optim.ridge=1e-10", "model.overlap=0", "model.part=60"]
    task = NSLSPlusTask(Table(recipe("nsls-plus-geometric", *options)))
    task.prepare(tmp_path, lambda *a: None)
    network = task.network()
    for step in range(3):
        loss = task.loss(network, as_tensors(task.batch(step)))
        batch = task.draw(step)
        one = task.structures[batch.chosen[0]]
        x = task._model(network, {}).guess(batch.A, batch.b, one.geometry)
        assert relative_errors(batch.A, batch.x, x)["energy"] == pytest.approx(
            float(loss["energy_error"].detach()), rel=1e-3
        )


def data(part, **change):
    options = {"seed": 0, "sizes": {"mini": 1.0}, "styles": {"stand": 1.0}, "loads": 2}
    return make_structures(part, 5, **{**options, **change})


def test_parts_share_no_structure():
    seen = {}
    for part in ("train", "validation", "test"):
        for one in data(part):
            key = one.A.data[:8].tobytes()
            assert seen.setdefault(key, part) == part
    assert len(seen) == 15


def test_solutions_solve():
    for variant in ("loads", "synthetic"):
        for one in data("train", variant=variant):
            residual = one.A @ one.x - one.b
            assert np.linalg.norm(residual) < 1e-8 * np.linalg.norm(one.b)
    assert abs(data("train", variant="synthetic")[0].x).max() <= 1


def test_mixed_batches_solve_too(rng):
    structures = data("train")
    batch = draw_batch(structures, rng, 7, mixed=1.0)
    assert np.linalg.norm(batch.A @ batch.x - batch.b) < 1e-8 * np.linalg.norm(batch.b)
    assert batch.starts.size == 8


@pytest.mark.parametrize(
    "change", [{"sizes": {"huge": 1.0}}, {"styles": {}}, {"styles": {"stand": -1.0}}, {"variant": "other"}]
)
def test_bad_data(change):
    with pytest.raises(OptionError):
        data("train", **change)
    with pytest.raises(OptionError):
        data("exam")


def test_summary():
    assert summary([1.0, 2.0, 3.0, 10.0])["median"] == 2.5


@pytest.mark.parametrize(("seed", "count"), [(100, 1), (-1, 1), (0, 100_001)])
def test_no_seed_reaches_into_another_part(seed, count):
    with pytest.raises(OptionError, match="another part"):
        make_structures("train", count, seed=seed, sizes={"mini": 1}, styles={"stand": 1})
