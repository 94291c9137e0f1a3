"""Training of NLAFormer: recipes run and resume to the same bits, losses are the paper's, starts are what they say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.krylov.dense_iterates import conjugate_gradients, relative_errors
from nnla.problems.dense_spd import spd_systems
from nnla.registry import load
from nnla.tasks import resolve
from nnla.training.batches import as_tensors
from nnla.training.config import Table, load_recipe
from nnla.training.iteration_task import discrepancy
from nnla.training.loop import train

torch = pytest.importorskip("torch")

TINY = ["data.held_out=8", "optim.batch=4", "optim.steps=6", "optim.log_every=1", "optim.checkpoint_every=3"]
SMALL = ["model.n=5", "model.loops=3", "objective.first=1"]
WIDTH = ["model.width=16", "model.heads=2"]
NETWORKS = {f"nlaformer-{name}": WIDTH for name in ("result", "joint", "cg", "pcg", "gated", "paper")}
NETWORKS["nlaformer-constructed"] = []


def recipe(name, *overrides):
    table = load_recipe(name, [*TINY, *SMALL, *NETWORKS[name], *overrides])
    return table | {"device": "cpu", "threads": 1}


def task_of(name, *overrides):
    table = recipe(name, *overrides)
    task = resolve(table["task"])(Table(table))
    task.prepare(None, lambda *row: None)
    return task


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_interrupted_runs_end_with_the_same_weights(resumes, name):
    model = load(str(resumes(recipe(name), 4)))
    held = spd_systems(3, 5, seed=1)
    assert np.isfinite(np.stack(model.path(held.A, held.b))).all()
    assert model.card["envelope"] == {"n": [5, 5], "sigma": [1.2, 1.2]}


@pytest.mark.parametrize("name", ["nlaformer-cg", "nlaformer-gated", "nlaformer-constructed"])
def test_what_is_trained_is_what_is_used(tmp_path, name):
    """Training's figures, by torch, are those of the engine, by NumPy."""
    model = load(str(train(recipe(name), tmp_path)))
    held = spd_systems(8, 5, seed=[0, 10_001])
    errors = relative_errors(np.stack(model.path(held.A, held.b), 1), held.x).mean(0)
    last = rows(tmp_path)[-1]
    assert last["val_relative_mse"] == pytest.approx(errors[-1], rel=1e-3)
    assert [last[f"val_loop_{t}"] for t in range(4)] == pytest.approx(errors.tolist(), rel=1e-3)


@pytest.mark.parametrize("loss", ["result", "joint", "steps", "levels"])
@pytest.mark.parametrize("block", ["softmax", "gated"])
def test_the_error_falls(descend, block, loss):
    task = task_of("nlaformer-cg", f"objective.loss={loss}", f"model.block={block}", "optim.batch=32")
    network = task.network()
    unused = ("loop_",) if task.loops(0) == 1 else ()  # the first and only iteration is the last block's
    names = {key for key, _ in network.named_parameters() if not key.startswith(unused)}
    losses = descend(task, 0, names, 1e-2, network)
    assert losses[-1] < losses[0] - 0.02 * abs(losses[0])


def test_losses_are_the_paper_s():
    """(39), (40) and result supervision, by hand from what the probes read."""
    n, T = 5, 3
    for loss, teacher in (("result", "cg"), ("joint", "cg"), ("steps", "pcg")):
        task = task_of("nlaformer-cg", f"objective.loss={loss}", f"objective.teacher={teacher}",
                       "objective.curriculum=0.0", "objective.eta=0.25", "objective.window=2")  # fmt: skip
        network, batch = task.network(), task.batch(2)
        path = conjugate_gradients(batch["A"], batch["b"], T, teacher=teacher)
        np.testing.assert_array_equal(batch["path"], path.x)
        tensors = as_tensors(batch)
        with torch.no_grad():
            x, inner = (v.double().numpy() for v in task.read(network, tensors["A"], tensors["b"], T, detached=False))
            found = float(task.loss(network, tensors)["loss"])
        taught = ((x - path.x) ** 2).sum(-1)
        within = ((inner - np.stack([path.r, path.d], -1)) ** 2).sum((-1, -2))
        expected = taught.sum(1).mean() / (n * (T + 1))
        if loss == "steps":
            solved = ((x - batch["x"][:, None]) ** 2).sum(-1)
            expected = (taught + 10 * solved)[:, 2:].sum(1).mean() / (2 * n)
        expected += 0.25 * within.sum(1).mean() / (n * (T + 1))  # of the detached probe alone, unless "joint"
        assert found == pytest.approx(expected, rel=1e-5), loss


def test_only_joint_supervision_reaches_the_tokens_by_the_second_probe():
    gradients = {}
    for loss in ("result", "joint"):
        task = task_of("nlaformer-cg", f"objective.loss={loss}", "objective.eta=1e6")
        network = task.network()
        task.loss(network, as_tensors(task.batch(5)))["loss"].backward()
        gradients[loss] = {key: float(p.grad.norm()) for key, p in network.named_parameters()}
    assert gradients["result"]["inner_W"] == pytest.approx(gradients["joint"]["inner_W"], rel=1e-4)
    assert gradients["joint"]["encode_W"] > 100 * gradients["result"]["encode_W"]


def test_iterations_grow():
    task = task_of("nlaformer-cg", "optim.steps=100", "model.loops=11", "objective.first=3", "objective.curriculum=0.5")
    assert [task.loops(step) for step in (0, 6, 7, 25, 49, 50, 99)] == [3, 3, 4, 7, 10, 11, 11]
    assert task.batch(0)["path"].shape[1] == 4


@pytest.mark.parametrize("scaling", ["norm", "jacobi"])
def test_gated_blocks_start_as_heavy_ball(scaling):
    from nnla.training.nlaformer_starts import heavy_ball_rates

    task = task_of("nlaformer-gated", f"model.scaling={scaling}", "model.loops=6")
    A, b = task.held.A, task.held.b
    with torch.no_grad():
        x = task.read(task.network(), torch.from_numpy(A), torch.from_numpy(b), 6, detached=True)[0].numpy()
    step, momentum = heavy_ball_rates(task.config, 1.2, [0, 10_002])
    d = 1 / A.diagonal(0, 1, 2) if scaling == "jacobi" else 1 / np.sqrt((A * A).mean((1, 2)))[:, None]
    y, v = np.zeros_like(b), np.zeros_like(b)
    for t in range(7):
        np.testing.assert_allclose(x[:, t], y, rtol=1e-3, atol=1e-4)
        v = momentum * v + step * d * (b - (A @ y[..., None])[..., 0])
        y = y + v


def test_difference_heads_see_the_matrix():
    """Outputs of a pair differ from zero as the entries of A do; those of equal heads would cancel."""
    options = ["objective.start=difference heads", "model.loops=1"]
    task = task_of("nlaformer-cg", *options)
    p = {key: value.detach().numpy() for key, value in task.network().named_parameters()}
    width = 8
    qkv = p["loop_qkv_W"].reshape(16, 3, 2, width)
    tokens = np.concatenate([task.held.A[0], task.held.b[0][:, None]], 1) @ p["encode_W"] + p["positions"]
    scores = [(tokens @ qkv[:, 0, h]) @ (tokens @ qkv[:, 1, h]).T for h in range(2)]
    np.testing.assert_allclose(scores[0], 0.5 * task.held.A[0], atol=1e-6)
    np.testing.assert_allclose(scores[1], -scores[0], atol=1e-6)
    np.testing.assert_array_equal(p["loop_out_W"][:width], -p["loop_out_W"][width:])
    with pytest.raises(OptionError, match="pairs of softmax heads"):
        task_of("nlaformer-cg", *options, "model.heads=4")


def test_the_construction_starts_as_cg_and_gets_better(descend):
    task = task_of("nlaformer-constructed", "model.n=12", "model.loops=6", "optim.batch=32")
    cg = conjugate_gradients(task.held.A, task.held.b, 6).x
    network = task.network()
    with torch.no_grad():
        before = task.validate(network)
    errors = relative_errors(cg, task.held.x).mean(0)
    assert [before[f"loop_{t}"] for t in range(7)] == pytest.approx(errors.tolist(), rel=1e-4)
    names = {key for key, _ in network.named_parameters()}
    losses = descend(task, 0, names, 5e-2, network)
    assert losses[-1] < losses[0] - 0.25  # of natural logarithms


def test_discrepancy_is_the_paper_s():
    r = np.zeros((2, 4, 3))
    inner = np.ones((2, 4, 3, 2))
    inner[:, :2] = 100.0  # the first two iterations do not count
    assert discrepancy(inner, r, r) == pytest.approx(2.0)


def test_products_in_bfloat16_are_near(tmp_path):
    figures = []
    for dtype in ("float32", "bfloat16"):
        train(recipe("nlaformer-paper") | {"dtype": dtype}, tmp_path / dtype)
        figures.append(rows(tmp_path / dtype)[-1]["val_relative_mse"])
    assert figures[1] == pytest.approx(figures[0], rel=0.05)


@pytest.mark.parametrize(
    ("name", "override", "match"),
    [
        ("nlaformer-cg", "objective.loss=mse", "objective.loss"),
        ("nlaformer-cg", "objective.teacher=gmres", "objective.teacher"),
        ("nlaformer-cg", "objective.start=heavy ball", "gated blocks"),
        ("nlaformer-cg", "objective.first=9", "objective.first"),
        ("nlaformer-cg", "objective.curriculum=2", "objective.curriculum"),
        ("nlaformer-cg", "optim.method=sgd", "optim.method"),
        ("nlaformer-cg", "model.block=linear", "impossible"),
        ("nlaformer-constructed", "model.loops=0", "impossible"),
    ],
)
def test_recipes_that_make_no_sense(name, override, match):
    with pytest.raises(OptionError, match=match):
        task_of(name, override)
