"""Direct regression is trained, exported and used; recipes, data, and what they refuse."""

from importlib import resources

import numpy as np
import pytest

pytest.importorskip("torch")

import nnla
from nnla.errors import OptionError
from nnla.problems import function_reference, matrix_family
from nnla.training.config import Table, load_recipe
from nnla.training.loop import train
from nnla.training.matrix_function_data import relative_errors, symmetric_functions
from nnla.training.matrix_mlp import MatrixMLPTask
from nnla.training.matrix_regression import MatrixRegressionTask

SMALL = ["data.held_out=50", "optim.batch=32", "optim.checkpoint_every=20", "optim.log_every=10"]
TINY = [*SMALL, "model.width=16", "model.blocks=1", "model.heads=2"]
RECIPES = ("sign", "entire", "definite")


def _task(name, *overrides):
    return MatrixRegressionTask(Table(load_recipe(f"matfun-regression-{name}", list(overrides))))


def _text(name):
    return (resources.files("nnla.training") / "recipes" / f"matfun-regression-{name}.toml").read_text(encoding="utf-8")


def test_errors_and_functions():
    A = matrix_family("definite", 4, 3)
    Y = symmetric_functions(A, ("log", "inv"))
    for k, f in enumerate(("log", "inv")):
        assert np.allclose(Y[:, k], function_reference(A, f))
    assert relative_errors(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]])) == pytest.approx(0.4)


@pytest.mark.parametrize("name", RECIPES)
def test_batches_are_of_their_number_and_in_turn_of_every_size(name):
    task = _task(name, *TINY)
    for step in (0, 1, 2):
        batch, same = task.batch(step), task.batch(step)
        A, Y = batch["A"], batch["Y"]
        assert np.array_equal(A, same["A"])
        assert A.shape == (32, 3 + step, 3 + step)
        assert np.array_equal(A, A.swapaxes(-1, -2))
        assert Y.shape == (32, len(task.functions), 3 + step, 3 + step)
        assert np.isfinite(Y).all()
    assert not np.array_equal(task.batch(0)["A"], task.batch(3)["A"])
    assert task.recipe["accumulate"] % len(task.sizes) == 0


@pytest.mark.parametrize("name", RECIPES)
def test_the_full_setting_is_one(name):
    lines = [line for line in _text(name).splitlines() if line.startswith("#") and "--set" in line]
    words = " ".join(lines).replace("#", "").split()
    overrides = [word for word in words if "=" in word and not word.startswith("data.options")]
    task = _task(name, *overrides)
    assert task.sizes == (3, 4, 5, 6, 7, 8)
    assert task.recipe["accumulate"] == 6
    assert task.batch(5)["A"].shape == (512, 8, 8)


def test_a_network_learns_and_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr("nnla.training.matrix_regression._TABLE", 4000)
    path = train(load_recipe("matfun-regression-entire", [*TINY, "optim.steps=30", "optim.lr=2e-2"]), tmp_path)
    model = nnla.load(path)
    A = matrix_family("symmetric", 200, 3, scale=1.0, seed=5)
    error = relative_errors(model.function(A, "exp"), function_reference(A, "exp"))
    assert np.isnan(error).mean() < 0.05
    assert np.nanmedian(error) < 0.5  # 1 at first
    assert model.card["validation"]["median_exp3"] < 0.5
    assert set(model.functions) == {"exp", "sin", "cos", "cube"}


@pytest.mark.parametrize("kind", ["mse", "d1", "log d1"])
def test_a_perceptron_learns_and_is_used(tmp_path, kind):
    overrides = [*SMALL, f"objective.kind={kind}", "optim.steps=60", "model.width=32", "model.layers=2"]
    path = train(load_recipe("matfun-regression-mlp", [*overrides, "data.options.symmetric.scale=0.5"]), tmp_path)
    model = nnla.load(path)
    A = matrix_family("symmetric", 200, 2, scale=0.4, seed=5)
    assert np.median(relative_errors(model.function(A, "exp"), function_reference(A, "exp"))) < 0.3


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("sign", "model.width=63"),
        ("sign", "data.families.symmetric=0.0"),
        ("sign", "data.low=2.0"),
        ("sign", "objective.kind=best"),
        ("sign", "objective.sharpness=0.0"),
        ("mlp", "model.n=0"),
    ],
)
def test_impossible_recipes_are_refused(name, override):
    make = MatrixMLPTask if name == "mlp" else MatrixRegressionTask
    with pytest.raises(OptionError):
        make(Table(load_recipe(f"matfun-regression-{name}", [override])))


@pytest.mark.parametrize("name", ["round", "general", "stochastic"])
def test_families_that_are_unknown_or_not_symmetric_are_refused(name):
    recipe = load_recipe("matfun-regression-sign", [])
    recipe["data"]["families"] = {name: 1.0}
    with pytest.raises(OptionError, match="families"):
        MatrixRegressionTask(Table(recipe))
