"""Training on the columns of dense systems: recipes run, resume to the same bits, start from weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.problems.bvp import bvp_systems
from nnla.registry import load
from nnla.tasks import resolve
from nnla.training.config import Table, load_recipe
from nnla.training.loop import train

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("short_tables")
TINY = ["data.held_out=4", "optim.batch=4", "optim.steps=6", "optim.log_every=1", "optim.checkpoint_every=3"]
SMALL = ["model.width=8", "model.blocks=1", "model.heads=2"]
NETWORKS = {
    "algebraformer-columns": SMALL,
    "algebraformer-columns-paper": SMALL,
    "algebraformer-lstm": ["model.width=6", "model.layers=2"],
    "algebraformer-gru": ["model.width=6", "model.layers=2"],
    "algebraformer-reaction": [*SMALL, "model.start="],
    "algebraformer-advection": [*SMALL, "model.start="],
}


@pytest.fixture
def short_tables(monkeypatch):
    monkeypatch.setattr("nnla.training.dense_systems._TABLE", 200)


def recipe(name, *overrides, n=10):
    table = load_recipe(name, [*TINY, *NETWORKS[name], *overrides])
    table["data"]["sizes"] = {str(n): 1.0}
    table["data"]["examples"] = min(table["data"]["examples"], 20)
    return table | {"device": "cpu", "threads": 1}


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_interrupted_runs_end_with_the_same_weights(resumes, name):
    path = resumes(recipe(name), 4)
    model = load(str(path))
    held = bvp_systems(3, n=10, seed=1)
    x = model.answer(held.A, held.b[..., None])
    assert np.isfinite(x).all()
    assert model.card["envelope"]["n"] == [10, 10]


@pytest.mark.parametrize("name", ["algebraformer-columns", "algebraformer-lstm", "algebraformer-gru"])
def test_what_is_trained_is_what_is_used(tmp_path, name):
    """Training's figures, by torch, are those of the engine, by NumPy."""
    path = train(recipe(name), tmp_path)
    held = bvp_systems(4, n=10, seed=[0, 10_001])
    x = load(str(path)).answer(held.A, held.b[..., None])[..., 0]
    figure = ((x - held.x) ** 2).sum() / (held.x**2).sum()
    assert rows(tmp_path)[-1]["val_relative_mse"] == pytest.approx(figure, rel=1e-3)


@pytest.mark.parametrize("name", ["algebraformer-columns", "algebraformer-gru"])
def test_the_error_falls(descend, tmp_path, name):
    task = resolve(load_recipe(name)["task"])(Table(recipe(name, "optim.batch=32")))
    task.prepare(tmp_path, lambda *row: None)
    network = task.network()
    losses = descend(task, 0, {key for key, _ in network.named_parameters()}, 1e-2, network)
    assert losses[-1] < 0.7 * losses[0]


def test_fine_tuning_starts_where_the_weights_are(tmp_path):
    path = train(recipe("algebraformer-columns"), tmp_path / "a")
    # a rate of zero leaves them as they are, whatever sizes the recipe names
    tuned = train(recipe("algebraformer-reaction", f"model.start={path}", "optim.lr=0.0"), tmp_path / "b")
    before, after = load(str(path)), load(str(tuned))
    assert before.config == after.config
    own = ("sketch", "far")  # what tells matrices of the new equation from others
    for key, value in before.parameters.items():
        assert np.array_equal(after.parameters[key], value) != key.endswith(own), key
    assert after.card["envelope"]["equations"] == "reaction"


def test_rates_of_fine_tuning_are_constant():
    from nnla.training.algebraformer import AlgebraformerTask

    options = ["optim.steps=100", "optim.warmup=0.1"]
    constant = AlgebraformerTask(Table(recipe("algebraformer-reaction", *options)))
    assert [constant.schedule(step) for step in (0, 4, 9, 10, 99)] == [0.1, 0.5, 1.0, 1.0, 1.0]
    falling = AlgebraformerTask(Table(recipe("algebraformer-columns", *options)))
    assert falling.schedule(9) == 1.0
    assert falling.schedule(99) < 0.01


def test_products_in_bfloat16_are_near(tmp_path):
    figures = []
    for dtype in ("float32", "bfloat16"):
        table = recipe("algebraformer-columns-paper") | {"dtype": dtype}
        train(table, tmp_path / dtype)
        figures.append(rows(tmp_path / dtype)[-1]["val_relative_mse"])
    assert figures[1] == pytest.approx(figures[0], rel=0.05)


@pytest.mark.parametrize(
    ("name", "override", "match"),
    [
        ("algebraformer-columns", "data.rhs=2", "data.rhs=1"),
        ("algebraformer-lstm", "data.rhs=2", "data.rhs=1"),
        ("algebraformer-lstm", "model.cell=elman", "impossible"),
        ("algebraformer-gru", "model.layers=0", "impossible"),
        ("algebraformer-reaction", "optim.schedule=linear", "optim.schedule"),
        ("algebraformer-columns", "model.output=both", "impossible"),
        ("algebraformer-reaction", "model.start=autospec-cg", "no Algebraformer"),
    ],
)
def test_impossible_recipes(tmp_path, name, override, match):
    with pytest.raises(OptionError, match=match):
        train(recipe(name, override), tmp_path / "run")


def test_a_recurrent_network_takes_one_size(tmp_path):
    table = recipe("algebraformer-lstm")
    table["data"]["sizes"] = {"8": 1.0, "10": 1.0}
    with pytest.raises(OptionError, match="one"):
        train(table, tmp_path / "run")


def test_every_size_of_a_range(tmp_path):
    """Any n between the ends, in one network; validation looks at some."""
    table = recipe("algebraformer-columns", "model.output=operator", "data.rhs=2")
    table["data"]["sizes"] = {"16": 0.5, "8-16": 0.5}
    table["data"]["held_out"] = 2
    model = load(str(train(table, tmp_path / "run")))
    assert model.sizes == tuple(range(8, 17))
    for n in (8, 11, 16):
        systems = bvp_systems(2, n=n, seed=1)
        assert model.solve(systems.A, systems.b, refine=True).report.converged
    assert len([key for key in rows(tmp_path / "run")[-1] if key.endswith("_relative")]) == 5
    with pytest.raises(OptionError, match="8 to 16"):
        model.solve(np.eye(17), np.ones(17))


@pytest.mark.parametrize("sizes", [{"16-8": 1.0}, {"8-": 1.0}, {"8-x": 1.0}, {"-8": 1.0}])
def test_sizes_that_are_none(sizes):
    table = recipe("algebraformer-columns")
    table["data"]["sizes"] = sizes
    with pytest.raises(OptionError, match=r"data\.sizes"):
        resolve(table["task"])(Table(table))
