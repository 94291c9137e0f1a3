"""One training loop for every model: readable in a sitting, resumable, deterministic.

A *task* owns its data, its network and its loss (`Task`); the loop owns steps, learning rate,
checkpoints and the log. Everything random is a function of (seed, step), so an interrupted run
continues to the same weights.
"""

from __future__ import annotations

import json
import math
import platform
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nnla._files import write_atomic
from nnla.errors import MissingDependencyError, NNLAError, OptionError, WeightsError
from nnla.registry import read_safetensors, write_safetensors
from nnla.training.config import Table, check_recipe
from nnla.types import TrainingProgress

__all__ = ["Task", "learning_rate", "plot_log", "train"]


class Task(Protocol):
    """What a recipe's ``task = "module:Class"`` has to offer; constructed as ``Class(recipe)``."""

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Make or load the data; resumable by itself."""
        ...

    def network(self) -> Any:
        """A fresh, seeded ``torch.nn.Module``."""
        ...

    def loss(self, network: Any, step: int) -> dict[str, Any]:
        """Losses of step's batch; the tensor under "loss" is minimised."""
        ...

    def validate(self, network: Any) -> dict[str, float]:
        """Figures on held-out data."""
        ...

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the weights file for use."""
        ...


def train(
    recipe: dict[str, Any], out: str | Path, *, resume: bool = False, progress: TrainingProgress | None = None
) -> Path:
    """Run a recipe; returns the path of the weights file.

    Parameters
    ----------
    recipe : from `nnla.training.config.load_recipe`
    out : folder for data, checkpoint, log.jsonl, loss.png and NAME.safetensors
    resume : continue an interrupted run of the same recipe in that folder
    progress : called as ``progress(stage, done, total, text)``

    Raises
    ------
    OptionError
        A recipe that lacks something, a folder that holds another run, or ``resume`` without one.
    MissingDependencyError
        torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        message = "training needs PyTorch; install it with: pip install 'nnla[torch]'"
        raise MissingDependencyError(message) from error

    check_recipe(recipe)
    recipe = Table(recipe)
    folder, name = Path(out), recipe["name"]
    progress = progress or (lambda stage, done, total, text: None)
    state_file, log_file = folder / "checkpoint.safetensors", folder / "log.jsonl"
    recipe_file = folder / "recipe.json"
    recipe_text = json.dumps(recipe, sort_keys=True, indent=1)
    if recipe_file.exists():
        if not resume:
            raise OptionError(f"{folder} already holds a run; add --resume to continue it, or choose another --out")
        if recipe_file.read_text(encoding="utf-8") != recipe_text:
            raise OptionError(f"{folder} holds a run of another recipe; choose another --out")
    elif resume:
        raise OptionError(f"{folder} holds no run to resume; leave out --resume to start one, or check --out")
    task = _task(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(recipe_file, recipe_text.encode())

    torch.set_num_threads(recipe["threads"])
    started = time.perf_counter()
    task.prepare(folder, progress)
    seconds_data = time.perf_counter() - started

    network = task.network()
    optim = recipe["optim"]
    optimizer = torch.optim.AdamW(network.parameters(), lr=optim["lr"], weight_decay=optim["weight_decay"])
    step, seconds_before = 0, 0.0
    if resume and state_file.exists():
        step, seconds_before = _restore(state_file, network, optimizer)
        _trim_log(log_file, step)
    else:
        log_file.unlink(missing_ok=True)

    steps, every = optim["steps"], optim["checkpoint_every"]
    started = time.perf_counter()
    with open(log_file, "a", encoding="utf-8") as log:
        while step < steps:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, optim["lr"], optim["warmup"])
            losses = task.loss(network, step)
            optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), optim["clip"])
            if not math.isfinite(float(norm)):
                raise NNLAError(f"training diverged at step {step}: the gradient is not finite; lower optim.lr")
            optimizer.step()
            step += 1
            if step % optim["log_every"] == 0 or step == steps:
                row = {"step": step, **{key: float(value.detach()) for key, value in losses.items()}}
                if step % every == 0 or step == steps:
                    row |= {f"val_{key}": value for key, value in task.validate(network).items()}
                log.write(json.dumps(row) + "\n")
                log.flush()
                progress("train", step, steps, f"loss {row['loss']:.4f}")
            if step % every == 0 or step == steps:
                elapsed = seconds_before + time.perf_counter() - started
                _checkpoint(state_file, network, optimizer, step, elapsed)
    seconds_train = seconds_before + time.perf_counter() - started

    card = {
        "name": name,
        "recipe": recipe,
        "seed": recipe["seed"],
        "validation": task.validate(network),
        "seconds": {"data": round(seconds_data, 1), "train": round(seconds_train, 1)},
        "hardware": f"{platform.processor() or platform.machine()}, {recipe['threads']} thread(s)",
        "date": time.strftime("%Y-%m-%d"),
        "versions": {
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    path = folder / f"{name}.safetensors"
    task.export(network, path, card)
    plot_log(log_file, folder / "loss.png")
    return path


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """Linear warm-up over the first share ``warmup``, then a cosine to zero; a function of the step alone."""
    rise = max(1, int(steps * warmup))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def plot_log(log_file: Path, picture: Path) -> bool:
    """Draw the log; False when Matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    rows = [json.loads(line) for line in log_file.read_text(encoding="utf-8").splitlines() if line]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for key in sorted({key for row in rows for key in row} - {"step"}):
        points = [(row["step"], row[key]) for row in rows if key in row]
        marker = "o" if key.startswith("val_") else None
        axes.plot(*zip(*points, strict=True), label=key, marker=marker, markersize=3, linewidth=1)
    axes.set(xlabel="step", yscale="log", title=f"training log: {log_file.parent.name}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(picture, dpi=130)
    return True


def _task(recipe: dict[str, Any]) -> Task:
    import importlib

    module, _, name = recipe["task"].partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionError(f"the recipe's task {recipe['task']!r} cannot be imported ({error})") from error
    try:
        return factory(recipe)
    except NNLAError:
        raise
    except (TypeError, ValueError) as error:  # unknown or impossible values, e.g. of the model's config
        raise OptionError(f"the recipe does not fit its task {recipe['task']!r} ({error})") from error


def _checkpoint(path: Path, network: Any, optimizer: Any, step: int, seconds: float) -> None:
    tensors = {f"net.{key}": value.detach().cpu().numpy() for key, value in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"opt.{index}.{key}"] = np.atleast_1d(value.detach().cpu().numpy())
    write_safetensors(path, tensors, {"kind": "checkpoint", "step": str(step), "seconds": str(seconds)})


def _restore(path: Path, network: Any, optimizer: Any) -> tuple[int, float]:
    import torch

    tensors, metadata = read_safetensors(path, kind="checkpoint")
    try:
        network.load_state_dict(
            {key[4:]: torch.from_numpy(value.copy()) for key, value in tensors.items() if key.startswith("net.")}
        )
        state: dict[int, dict[str, Any]] = {}
        for key, value in tensors.items():
            if key.startswith("opt."):
                _, index, field = key.split(".")
                tensor = torch.from_numpy(value.copy())
                state.setdefault(int(index), {})[field] = tensor[0] if field == "step" else tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return int(metadata["step"]), float(metadata["seconds"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: the checkpoint does not fit the recipe ({error}); start a new --out") from error


def _trim_log(log_file: Path, step: int) -> None:
    """Drop rows beyond the checkpoint, also a half-written last one."""
    if not log_file.exists():
        return
    kept = []
    for line in log_file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row.get("step", 0) <= step:
            kept.append(line)
    write_atomic(log_file, "".join(line + "\n" for line in kept).encode())
