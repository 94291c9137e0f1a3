"""Training of the token transformer: data, Jacobi's rotations, losses, runs that resume to the same bits."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.problems.matrix_families import matrix_family
from nnla.problems.matrix_references import function_reference
from nnla.registry import load
from nnla.training.batches import as_tensors
from nnla.training.config import Table, load_recipe
from nnla.training.jacobi_eigen import jacobi_eigh, symmetric_function
from nnla.training.loop import train
from nnla.training.matrix_tokens import MatrixTokensTask, entrywise_error, example, within

torch = pytest.importorskip("torch")

TINY = ["data.held_out=8", "model.width=16", "model.encoder=1", "model.heads=2", "model.sizes=[2]",
        "optim.batch=32", "optim.steps=6", "optim.log_every=1", "optim.checkpoint_every=3"]  # fmt: skip
RECIPES = ["matfun-tokens-sign", "matfun-tokens-paper"]
FUNCTIONS = ["exp", "log", "sign", "sqrt", "inv_sqrt", "inv", "sin", "cos", "cube"]


def recipe(name, *overrides):
    return load_recipe(name, [*TINY, *overrides]) | {"device": "cpu", "threads": 1}


def task_of(name, *overrides):
    task = MatrixTokensTask(Table(recipe(name, *overrides)))
    task.prepare(None, lambda *row: None)
    return task


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_rotations_diagonalise(n):
    A = torch.from_numpy(matrix_family("symmetric", 50, n, seed=0))
    A[0] = torch.eye(n)
    A[1] *= 1e-12
    A[2] = 0.0
    values, V = jacobi_eigh(A)
    np.testing.assert_allclose((V.mT @ V).numpy(), np.broadcast_to(np.eye(n), A.shape), atol=1e-14)
    np.testing.assert_allclose(np.sort(values.numpy()), np.linalg.eigvalsh(A.numpy()), atol=1e-13)
    np.testing.assert_allclose(((V * values[:, None, :]) @ V.mT).numpy(), A.numpy(), atol=1e-13)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_functions_by_rotations_are_the_references(f):
    A = matrix_family("definite", 20, 3, seed=1)
    exact = function_reference(A, f)
    scale = np.abs(exact).max((-2, -1), keepdims=True)
    for found in (symmetric_function(A, f), symmetric_function(torch.from_numpy(A), f).numpy()):
        np.testing.assert_allclose(found / scale, exact / scale, atol=1e-11)
        np.testing.assert_array_equal(found, found.swapaxes(-1, -2))


def test_examples_are_functions_of_what_is_read():
    task = task_of("matfun-tokens-exp")
    A = task.matrices(5, 2, 0)
    found = example(task.config, A)
    rounded = task.config.reads.read(found["read"], 2)
    assert 0 < np.abs(rounded - A).max() < 5.1e-3 * np.abs(A).max()
    written = task.config.writes.read(found["write"], 2)
    np.testing.assert_allclose(written, function_reference(rounded, "exp"), rtol=5.1e-3)
    same = example(task.config, torch.from_numpy(A))
    np.testing.assert_array_equal(same["read"].numpy(), found["read"])


def test_the_metric():
    exact = np.array([[[1.0, 0.0], [0.0, -3.0]]] * 3)
    found = exact + np.array([0.0, 0.04, np.nan])[:, None, None]
    assert entrywise_error(found, exact).tolist() == pytest.approx([0.0, 0.04, np.inf])
    assert within(entrywise_error(found, exact)) == {
        "within_5": 2 / 3, "within_2": 1 / 3, "within_1": 1 / 3, "within_0.5": 1 / 3}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_interrupted_runs_end_with_the_same_weights(resumes, name):
    model = load(str(resumes(recipe(name), 4)))
    A = matrix_family("symmetric", 4, 2, seed=1, scale=model.card["recipe"]["data"]["scale"])
    assert np.isfinite(model.function(A, model.functions[0])).all()


def test_what_is_trained_is_what_is_used(tmp_path):
    """Training's figures, by torch, are those of the engine, by NumPy."""
    model = load(str(train(recipe("matfun-tokens-exp"), tmp_path)))
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    held = task_of("matfun-tokens-exp").held[2]
    errors = entrywise_error(model.function(held, "exp"), function_reference(held, "exp"))
    assert np.median(errors) == pytest.approx(last["val_median_error"], rel=1e-6)
    assert model.envelope["n"] == [2, 2]


@pytest.mark.parametrize("change", [[], ["model.embedding=plain"], ["optim.method=adam"], ["model.norm=pre"]])
def test_the_loss_falls(change):
    task = task_of("matfun-tokens-exp", "optim.lr=1e-2", *change)
    network, losses = task.network(), []
    optimizer = task.optimizer(network.parameters())
    for step in range(20):
        loss = task.loss(network, as_tensors(task.batch(step)))["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < losses[0] - 0.5


def test_ends_are_trained_on_few_or_all():
    found = {}
    for every in (1, 16):
        task = task_of("matfun-tokens-exp", f"objective.structure={every}")
        network, batch = task.network(), as_tensors(task.batch(0))
        found[every] = float(task.loss(network, batch)["loss"].detach())
    assert found[1] != found[16]
    assert found[1] == pytest.approx(found[16], rel=0.02)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_every_function_has_data(f):
    overrides = [f"model.f={f}", "model.sizes=[2,3]"]
    family = {"definite": 1.0} if f in ("log", "sqrt", "inv_sqrt") else {"symmetric": 1.0, "hankel": 1.0}
    table = recipe("matfun-tokens-exp", *overrides)
    table["data"]["families"] = family
    task = MatrixTokensTask(Table(table))
    task.prepare(None, lambda *row: None)
    lengths = {task.batch(step)["read"].shape[1] for step in range(8)}
    assert lengths == {task.config.reads.length(2), task.config.reads.length(3)}
    with torch.no_grad():
        figures = task.validate(task.network().eval())
    assert 0 <= figures["within_5"] <= 1
    assert "loss_n2" in figures


def test_recipes_that_make_no_sense():
    for change in (["model.f=tan"], ["model.f=log"], ["optim.method=sgd"], ["optim.schedule=step"],
                   ["model.embedding=wavy"], ["model.input=P7"], ["model.width=15"]):  # fmt: skip
        with pytest.raises(OptionError):
            MatrixTokensTask(Table(recipe("matfun-tokens-exp", *change)))
    for families in ({}, {"general": 1.0}, {"symmetric": 0.0}, {"none": 1.0}):
        table = recipe("matfun-tokens-exp")
        table["data"]["families"] = families
        with pytest.raises(OptionError):
            MatrixTokensTask(Table(table))
