"""Training the gates of the loop with exact products: deterministic, resumable, and better for it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.registry import load
from nnla.training.config import load_recipe
from nnla.training.nlaformer_exact import ExactLoopTask, products_to

torch = pytest.importorskip("torch")

from nnla.training.loop import train  # noqa: E402

SMALL = ["data.largest=16", "data.held_out=16", "objective.loops=4", "optim.batch=16", "optim.checkpoint_every=10"]


def small(*more):
    return load_recipe("nlaformer-exact", [*SMALL, *more])


def test_a_short_training_lowers_the_errors(tmp_path):
    path = train(small("optim.steps=30", "optim.log_every=1"), tmp_path / "a")
    rows = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    model = load(path)
    assert model.title == "nlaformer-exact"
    assert model.envelope == {"n": [10, 16], "sigma": [1.0, 1.4]}
    first = np.mean([row["loss"] for row in rows[:5]])
    assert np.mean([row["loss"] for row in rows[-5:]]) < first - 0.2
    assert rows[-1]["val_products"] < 8


def test_an_interrupted_run_ends_at_the_same_weights(tmp_path):
    whole = train(small("optim.steps=20"), tmp_path / "a")
    recipe = small("optim.steps=20")
    task = ExactLoopTask(recipe)
    assert np.array_equal(task.batch(3)["A"], ExactLoopTask(recipe).batch(3)["A"])
    assert not np.array_equal(task.batch(3)["b"][:, 0], task.batch(4)["b"][:, 0])
    again = train(small("optim.steps=20"), tmp_path / "b")
    one, other = load(whole).parameters, load(again).parameters
    assert all(np.array_equal(one[key], other[key]) for key in one)


def test_the_forward_pass_is_that_of_use(tmp_path):
    task = ExactLoopTask(small("model.channels=2"))
    task.prepare(tmp_path, lambda *args: None)
    network = task.network().to(torch.float64)
    batch = {key: torch.as_tensor(value) for key, value in task.batch(0).items()}
    loss = float(task.loss(network, batch)["last"].detach())
    loop = task._engine(network, {}).loop(batch["A"].numpy(), batch["b"].numpy(), guard=False)
    for _ in range(task._loops(batch["A"].shape[-1])):
        loop.advance()
    x = batch["x"].numpy()
    errors = ((loop.answer() - x) ** 2).sum(1) / (x * x).sum(1)
    assert errors.mean() == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("change", ["model.channels=0", "data.smallest=3", "model.hidden=-1", "data.sigmas=[]"])
def test_impossible_recipes_are_refused(change):
    more = ["model.channels=4"] if change == "data.smallest=3" else []
    with pytest.raises(OptionError):
        ExactLoopTask(small(change, *more))


def test_products_to_an_error():
    assert products_to(np.array([1.0, 1e-3, 1e-7]), 1e-6) == pytest.approx(1.75)
    assert products_to(np.array([1.0, 0.5]), 1e-6) == np.inf
    assert products_to(np.array([1e-9, 1.0]), 1e-6) == 0.0
