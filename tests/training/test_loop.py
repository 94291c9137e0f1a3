"""The training loop: deterministic, resumed to the last bit, without debris, with a log and its plot."""

import json
import sys
import types

import numpy as np
import pytest

from nnla.errors import NNLAError, OptionError, WeightsError
from nnla.registry import read_safetensors, write_safetensors
from nnla.training.loop import learning_rate, plot_log, train

torch = pytest.importorskip("torch")


class Fit:
    """A linear fit: everything that a task has to offer, in a few lines."""

    crash_at: int | None = None  # step at which the process "dies"

    def __init__(self, recipe):
        self.seed, self.batch = recipe["seed"], recipe["data"]["batch"]

    def prepare(self, folder, progress):
        self.x = np.random.default_rng(self.seed).standard_normal((64, 4)).astype(np.float32)
        self.y = self.x @ np.float32([1, -2, 3, 0.5])
        progress("data", 1, 1, "")

    def network(self):
        network = torch.nn.Linear(4, 1)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            network.weight.copy_(torch.randn(1, 4, generator=generator))
            network.bias.zero_()
        return network

    def loss(self, network, step):
        if step == Fit.crash_at:
            raise KeyboardInterrupt
        index = np.random.default_rng([self.seed, step]).integers(64, size=self.batch)
        error = network(torch.from_numpy(self.x[index]))[:, 0] - torch.from_numpy(self.y[index])
        return {"loss": (error**2).mean(), "size": error.abs().max()}

    def validate(self, network):
        with torch.no_grad():
            error = network(torch.from_numpy(self.x))[:, 0].numpy() - self.y
        return {"error": float(np.abs(error).mean())}

    def export(self, network, path, card):
        tensors = {key: value.detach().numpy() for key, value in network.state_dict().items()}
        write_safetensors(path, tensors, {"kind": "fit", "card": json.dumps(card)})


@pytest.fixture(autouse=True)
def module(monkeypatch):
    threads = torch.get_num_threads()
    fake = types.ModuleType("fit_task")
    fake.Fit = Fit
    monkeypatch.setitem(sys.modules, "fit_task", fake)
    monkeypatch.setattr(Fit, "crash_at", None)
    yield
    torch.set_num_threads(threads)


def recipe(seed=0, **optim):
    table = {"steps": 20, "lr": 0.1, "warmup": 0.1, "weight_decay": 0.01, "clip": 1.0}
    table |= {"log_every": 2, "checkpoint_every": 4} | optim
    return {
        "name": "fit",
        "task": "fit_task:Fit",
        "seed": seed,
        "threads": 1,
        "data": {"batch": 8},
        "optim": table,
    }


def result(path):
    return {key: value.tobytes() for key, value in read_safetensors(path, kind="fit")[0].items()}


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_same_seed_same_bits_other_seed_other_bits(tmp_path):
    one, two, other = (result(train(recipe(seed), tmp_path / name)) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert one == two
    assert one != other
    assert rows(tmp_path / "a") == rows(tmp_path / "b")


@pytest.mark.parametrize("step", [0, 3, 4, 5, 11, 19])
def test_interrupted_and_resumed_is_bit_identical(tmp_path, monkeypatch, step):
    whole = result(train(recipe(), tmp_path / "whole"))
    monkeypatch.setattr(Fit, "crash_at", step)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), tmp_path / "cut")
    assert not (tmp_path / "cut" / "fit.safetensors").exists()
    assert not [p for p in (tmp_path / "cut").rglob("*") if "part" in p.name]
    monkeypatch.setattr(Fit, "crash_at", None)
    path = train(recipe(), tmp_path / "cut", resume=True)
    assert result(path) == whole
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


def test_interrupted_twice_and_with_a_half_written_log(tmp_path, monkeypatch):
    whole = result(train(recipe(), tmp_path / "whole"))
    folder = tmp_path / "cut"
    for step, resume in ((7, False), (14, True)):
        monkeypatch.setattr(Fit, "crash_at", step)
        with pytest.raises(KeyboardInterrupt):
            train(recipe(), folder, resume=resume)
        with open(folder / "log.jsonl", "a") as log:
            log.write('{"step": 1')
    monkeypatch.setattr(Fit, "crash_at", None)
    assert result(train(recipe(), folder, resume=True)) == whole
    assert rows(folder) == rows(tmp_path / "whole")


def test_a_finished_run_resumes_to_itself(tmp_path):
    first = result(train(recipe(), tmp_path))
    assert result(train(recipe(), tmp_path, resume=True)) == first


def test_a_crash_while_writing_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    from nnla import registry

    whole = result(train(recipe(), tmp_path / "whole"))
    folder, real, count = tmp_path / "cut", registry.os.replace, 0

    def failing(source, target):
        nonlocal count
        count += str(target).endswith("checkpoint.safetensors")
        if count == 3:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(registry.os, "replace", failing)
    with pytest.raises(OSError, match="space"):
        train(recipe(), folder)
    monkeypatch.setattr(registry.os, "replace", real)
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint.safetensors", "log.jsonl", "recipe.json"]
    assert read_safetensors(folder / "checkpoint.safetensors", kind="checkpoint")[1]["step"] == "8"
    assert result(train(recipe(), folder, resume=True)) == whole


def test_nothing_to_resume(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(OptionError, match="no run to resume"):
            train(recipe(), folder, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_holds_one_run(tmp_path):
    train(recipe(), tmp_path)
    with pytest.raises(OptionError, match="--resume"):
        train(recipe(), tmp_path)
    with pytest.raises(OptionError, match="another recipe"):
        train(recipe(seed=5), tmp_path, resume=True)


def test_damaged_checkpoint(tmp_path):
    train(recipe(), tmp_path)
    state = tmp_path / "checkpoint.safetensors"
    data = state.read_bytes()
    state.write_bytes(data[:-10])
    with pytest.raises(WeightsError, match="checkpoint"):
        train(recipe(), tmp_path, resume=True)
    write_safetensors(state, {"net.weight": np.ones((2, 2), np.float32)}, {"kind": "checkpoint"})
    with pytest.raises(WeightsError, match="does not fit"):
        train(recipe(), tmp_path, resume=True)


@pytest.mark.parametrize("name", ["../fit", "a/b", "", ".."])
def test_the_name_cannot_lead_out_of_the_folder(tmp_path, name):
    with pytest.raises(OptionError, match="name"):
        train(recipe() | {"name": name}, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_task_asks_for_what_the_recipe_lacks(tmp_path):
    lacking = recipe()
    del lacking["data"]["batch"]
    with pytest.raises(OptionError, match=r"'data\.batch'"):
        train(lacking, tmp_path / "run")
    for task in ("nowhere:Task", "fit_task:Nothing", "fit_task", "", ":"):
        with pytest.raises(OptionError, match="task"):
            train(recipe() | {"task": task}, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []  # a recipe that cannot run does not occupy the folder


def test_divergence_is_an_error_with_the_step(tmp_path, monkeypatch):
    loss = Fit.loss
    monkeypatch.setattr(
        Fit,
        "loss",
        lambda self, net, step: {"loss": loss(self, net, step)["loss"] * (np.nan if step == 6 else 1)},
    )
    with pytest.raises(NNLAError, match="step 6"):
        train(recipe(), tmp_path)


def test_log_card_and_plot(tmp_path):
    seen = []
    path = train(recipe(), tmp_path, progress=lambda *row: seen.append(row))
    log = rows(tmp_path)
    assert [row["step"] for row in log] == list(range(2, 21, 2))
    assert [row["step"] for row in log if "val_error" in row] == [4, 8, 12, 16, 20]
    assert log[-1]["val_error"] < log[1]["val_error"]
    assert seen[0][:3] == ("data", 1, 1)
    assert seen[-1][:3] == ("train", 20, 20)
    card = json.loads(read_safetensors(path, kind="fit")[1]["card"])
    assert card["recipe"] == recipe()
    assert card["seed"] == 0
    assert card["validation"]["error"] == pytest.approx(log[-1]["val_error"])
    assert set(card["versions"]) == {"torch", "numpy", "python"}
    pytest.importorskip("matplotlib")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_plot_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    train(recipe(), tmp_path)
    assert not (tmp_path / "loss.png").exists()
    assert plot_log(tmp_path / "log.jsonl", tmp_path / "loss.png") is False


def test_learning_rate_rises_and_falls_to_zero():
    rates = [learning_rate(step, 100, 2.0, 0.2) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[19] == pytest.approx(2.0)
    assert np.all(np.diff(rates[20:]) < 0)
    assert rates[-1] < 0.01
    assert learning_rate(0, 1, 1.0, 0.0) == 1.0
