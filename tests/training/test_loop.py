"""The training loop: deterministic, resumed to the last bit, without debris, with a log and its plot."""

import json
import signal
import sys
import threading
import types

import numpy as np
import pytest

from nnla.errors import NNLAError, OptionError, WeightsError
from nnla.registry import read_safetensors, write_safetensors
from nnla.training.batches import as_tensors, own_batches
from nnla.training.loop import add_gradients, learning_rate, plot_log, train
from nnla.training.networks import beside

torch = pytest.importorskip("torch")


class Fit:
    """A linear fit: everything that a task has to offer, in a few lines."""

    crash_at: int | None = None  # step at which the process "dies"

    def __init__(self, recipe):
        self.seed, self.batch_size = recipe["seed"], recipe["data"]["batch"]

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

    def batch(self, step):
        if step == Fit.crash_at:
            raise KeyboardInterrupt
        index = np.random.default_rng([self.seed, step]).integers(64, size=self.batch_size)
        return {"x": self.x[index], "y": self.y[index], "number": step}

    def loss(self, network, batch):
        assert network.training
        error = network(batch["x"])[:, 0] - batch["y"]
        return {"loss": (error**2).mean(), "size": error.abs().max()}

    def validate(self, network):
        assert not network.training
        assert not torch.is_grad_enabled()
        error = network(beside(network, self.x))[:, 0].double().numpy() - self.y
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
    return {key: (value.dtype, value.tobytes()) for key, value in read_safetensors(path, kind="fit")[0].items()}


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_same_seed_same_bits_other_seed_other_bits(tmp_path):
    one, two, other = (result(train(recipe(seed), tmp_path / name)) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert one == two
    assert one != other
    assert rows(tmp_path / "a") == rows(tmp_path / "b")


OPTIONS = [{}, {"prefetch": 3}, {"accumulate": 3, "prefetch": 1}, {"dtype": "float64"}, {"dtype": "bfloat16"}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("step", [0, 3, 4, 5, 11, 19])
def test_interrupted_and_resumed_is_bit_identical(tmp_path, monkeypatch, step, options):
    whole = result(train(recipe() | options, tmp_path / "whole"))
    monkeypatch.setattr(Fit, "crash_at", step * options.get("accumulate", 1))
    with pytest.raises(KeyboardInterrupt):
        train(recipe() | options, tmp_path / "cut")
    assert not (tmp_path / "cut" / "fit.safetensors").exists()
    assert not [p for p in (tmp_path / "cut").rglob("*") if "part" in p.name]
    monkeypatch.setattr(Fit, "crash_at", None)
    path = train(recipe() | options, tmp_path / "cut", resume=True)
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

    def diverging(self, network, batch):
        return {"loss": loss(self, network, batch)["loss"] * (np.nan if batch["number"] == 6 else 1)}

    monkeypatch.setattr(Fit, "loss", diverging)
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


# -- batches -----------------------------------------------------------------------------------------------


@pytest.fixture
def fit():
    task = Fit(recipe())
    task.prepare(None, lambda *row: None)
    return task


def gradients(task, numbers, count):
    network = task.network().double()
    batches = ((n, as_tensors(task.batch(n), dtype=torch.float64)) for n in numbers)
    losses = add_gradients(task, network, batches, count)
    return {key: value.grad.numpy() for key, value in network.named_parameters()}, losses


def test_two_processes_add_up_to_one(fit):
    whole, losses = gradients(fit, own_batches(5, 4), 4)
    parts = [gradients(fit, own_batches(5, 4, rank, 2), 4) for rank in range(2)]
    for key, value in whole.items():
        np.testing.assert_allclose(sum(part[0][key] for part in parts), value, rtol=1e-14)
    for key, value in losses.items():
        assert float(sum(part[1][key] for part in parts)) == pytest.approx(float(value), rel=1e-14)


def test_accumulated_gradients_are_those_of_one_large_batch(fit):
    accumulated, losses = gradients(fit, own_batches(2, 3), 3)
    batches = [fit.batch(n) for n in own_batches(2, 3)]
    network = fit.network().double()
    large = {key: torch.from_numpy(np.concatenate([b[key] for b in batches])).double() for key in "xy"}
    loss = fit.loss(network, large)["loss"]
    loss.backward()
    assert float(losses["loss"]) == pytest.approx(float(loss.detach()), rel=1e-14)
    for key, value in network.named_parameters():
        np.testing.assert_allclose(accumulated[key], value.grad.numpy(), rtol=1e-13)


def test_prefetch_changes_nothing(tmp_path):
    one, two = (train(recipe() | {"prefetch": ahead}, tmp_path / str(ahead)) for ahead in (0, 4))
    assert result(one) == result(two)
    assert rows(tmp_path / "0") == rows(tmp_path / "4")


def test_an_error_in_a_batch_ends_the_run_and_its_thread(tmp_path, monkeypatch):
    def failing(self, step):
        raise ZeroDivisionError("no batch")

    monkeypatch.setattr(Fit, "batch", failing)
    with pytest.raises(ZeroDivisionError, match="no batch"):
        train(recipe() | {"prefetch": 2}, tmp_path)
    assert not [t for t in threading.enumerate() if t.name.startswith("nnla-batches")]


# -- what a task may choose ------------------------------------------------------------------------------------


def test_networks_that_draw_resume_to_the_same_bits(tmp_path, monkeypatch):
    network = Fit.network
    monkeypatch.setattr(Fit, "network", lambda self: torch.nn.Sequential(network(self), torch.nn.Dropout(0.3)))
    before = torch.get_rng_state()
    whole = result(train(recipe(), tmp_path / "whole"))
    assert torch.equal(torch.get_rng_state(), before)  # the program's own random numbers are left alone
    monkeypatch.setattr(Fit, "crash_at", 6)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), tmp_path / "cut")
    monkeypatch.setattr(Fit, "crash_at", None)
    torch.manual_seed(99)
    assert result(train(recipe(), tmp_path / "cut", resume=True)) == whole


def test_a_task_s_own_optimizer_and_schedule(tmp_path, monkeypatch):
    seen = []

    def optimizer(self, parameters):
        weight, bias = parameters
        groups = [{"params": [weight]}, {"params": [bias], "lr": 0.01}]
        own = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
        own.register_step_pre_hook(lambda opt, *_: seen.append([group["lr"] for group in opt.param_groups]))
        return own

    monkeypatch.setattr(Fit, "optimizer", optimizer, raising=False)
    monkeypatch.setattr(Fit, "schedule", lambda self, step: 1 / (1 + step), raising=False)
    whole = result(train(recipe(), tmp_path / "whole"))
    np.testing.assert_allclose(seen, [[0.1 / (1 + step), 0.01 / (1 + step)] for step in range(20)])
    monkeypatch.setattr(Fit, "crash_at", 6)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), tmp_path / "cut")
    monkeypatch.setattr(Fit, "crash_at", None)
    assert result(train(recipe(), tmp_path / "cut", resume=True)) == whole


def test_the_best_network_is_kept(tmp_path, monkeypatch):
    errors = iter([5.0, 1.0, float("nan"), 3.0, 4.0])
    seen = {}

    def validate(self, network):
        error = next(errors, None)
        if error is not None:
            seen[error] = network.weight.detach().numpy().copy()
        return {"error": 1.0 if error is None else error}

    monkeypatch.setattr(Fit, "validate", validate)
    path = train(recipe() | {"keep": "best", "figure": "error"}, tmp_path)
    tensors, metadata = read_safetensors(path, kind="fit")
    np.testing.assert_array_equal(tensors["weight"], seen[1.0])
    card = json.loads(metadata["card"])
    assert card["step"] == 8
    assert card["validation"] == {"error": 1.0}
    last, _ = read_safetensors(tmp_path / "checkpoint.safetensors", kind="checkpoint")
    np.testing.assert_array_equal(last["net.weight"], seen[4.0])


@pytest.mark.parametrize("step", [7, 15])
def test_the_best_network_survives_an_interruption(tmp_path, monkeypatch, step):
    options = {"keep": "best", "figure": "error"}
    table = recipe(lr=1.0) | options
    whole = result(train(table, tmp_path / "whole"))
    monkeypatch.setattr(Fit, "crash_at", step)
    with pytest.raises(KeyboardInterrupt):
        train(table, tmp_path / "cut")
    monkeypatch.setattr(Fit, "crash_at", None)
    assert result(train(table, tmp_path / "cut", resume=True)) == whole


def test_the_best_by_what(tmp_path, monkeypatch):
    with pytest.raises(OptionError, match="needs a figure"):
        train(recipe() | {"keep": "best"}, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OptionError, match=r"no figure 'magic'.*error"):
        train(recipe() | {"figure": "magic"}, tmp_path / "other")
    monkeypatch.setattr(Fit, "figure", "error", raising=False)
    train(recipe() | {"keep": "best"}, tmp_path / "own")
    assert (tmp_path / "own" / "best.safetensors").exists()


# -- devices and precision ---------------------------------------------------------------------------------


def test_no_cuda_is_said(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(OptionError, match="no CUDA"):
        train(recipe() | {"device": "cuda"}, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    assert result(train(recipe() | {"device": "auto"}, tmp_path / "a")) == result(train(recipe(), tmp_path / "b"))


@pytest.mark.parametrize(
    ("name", "stored", "product"),
    [("float32", "float32", "float32"), ("float64", "float64", "float64"), ("bfloat16", "float32", "bfloat16")],
)
def test_dtypes(tmp_path, monkeypatch, name, stored, product):
    loss, seen = Fit.loss, set()

    def spying(self, network, batch):
        seen.add((str(batch["x"].dtype), str(network(batch["x"]).dtype)))
        return loss(self, network, batch)

    monkeypatch.setattr(Fit, "loss", spying)
    path = train(recipe() | {"dtype": name}, tmp_path)
    assert seen == {(f"torch.{stored}", f"torch.{product}")}
    for file, kind in ((path, "fit"), (tmp_path / "checkpoint.safetensors", "checkpoint")):
        tensors, _ = read_safetensors(file, kind=kind)
        assert {str(value.dtype) for key, value in tensors.items() if "step" not in key} == {stored}
    assert rows(tmp_path)[-1]["val_error"] < rows(tmp_path)[0]["loss"]


# -- Ctrl-C --------------------------------------------------------------------------------------------------


def interrupting(monkeypatch, times):
    """Send SIGINT while batch 6 is made, once or twice."""
    batch = Fit.batch

    def sending(self, step):
        for _ in range(times if step == 6 else 0):
            signal.raise_signal(signal.SIGINT)
        return batch(self, step)

    monkeypatch.setattr(Fit, "batch", sending)


@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is not signal.default_int_handler, reason="Ctrl-C is handled by something else"
)
def test_ctrl_c_ends_after_the_step_with_a_checkpoint(tmp_path, monkeypatch):
    whole = result(train(recipe(), tmp_path / "whole"))
    with monkeypatch.context() as patch:
        interrupting(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            train(recipe(), tmp_path / "once")
    assert read_safetensors(tmp_path / "once" / "checkpoint.safetensors", kind="checkpoint")[1]["step"] == "7"
    with monkeypatch.context() as patch:
        interrupting(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            train(recipe(), tmp_path / "twice")
    assert read_safetensors(tmp_path / "twice" / "checkpoint.safetensors", kind="checkpoint")[1]["step"] == "4"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    for name in ("once", "twice"):
        assert result(train(recipe(), tmp_path / name, resume=True)) == whole
        assert rows(tmp_path / name) == rows(tmp_path / "whole")
