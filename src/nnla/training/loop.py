"""One training loop for every model: readable in a sitting, resumable, deterministic.

A *task* owns its data, its network and its loss (`Task`); the loop owns steps, devices, learning rate, checkpoints and
the log. Everything random is a function of the seed and of a batch's number, so an interrupted run continues to the
same weights.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
import platform
import time
from collections.abc import Iterable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from nnla._files import write_atomic
from nnla.errors import MissingDependencyError, NNLAError, OptionError
from nnla.training.batches import as_tensors, own_batches, prefetched
from nnla.training.checkpoints import State, load_network, load_state, save_network, save_state
from nnla.training.config import Table, check_recipe, option
from nnla.training.interrupts import interrupt_asked
from nnla.training.log import plot_log, trim_log
from nnla.training.task import Task
from nnla.types import TrainingProgress

__all__ = ["Task", "add_gradients", "learning_rate", "plot_log", "train"]


def train(
    recipe: dict[str, Any], out: str | Path, *, resume: bool = False, progress: TrainingProgress | None = None
) -> Path:
    """Run a recipe; returns the path of the weights file.

    Parameters
    ----------
    recipe : from `nnla.training.config.load_recipe`
    out : folder for data, checkpoints, log.jsonl, loss.png and NAME.safetensors
    resume : continue an interrupted run of the same recipe in that folder
    progress : called as ``progress(stage, done, total, text)``

    Raises
    ------
    OptionError
        A recipe that lacks something, a folder that holds another run, or ``resume`` without one.
    MissingDependencyError
        torch is not installed.
    WeightsError
        The checkpoint to go on from is damaged.
    NNLAError
        The training diverged.
    KeyboardInterrupt
        Ctrl-C, at the end of the step in which it came, after a checkpoint (a second one: at once, without).

    Notes
    -----
    ``checkpoint.safetensors`` holds the last state. ``best.safetensors`` holds the parameters with the smallest value
    of the figure that the recipe's ``figure``, or the task's, names; with ``keep = "best"`` they become the weights.
    """
    try:
        import torch
    except ImportError as error:
        message = "training needs PyTorch; install it with: pip install 'nnla[torch]'"
        raise MissingDependencyError(message) from error

    check_recipe(recipe)
    recipe, folder = Table(recipe), Path(out)
    progress = progress or (lambda stage, done, total, text: None)
    state_file, best_file, log_file = (folder / f for f in ("checkpoint.safetensors", "best.safetensors", "log.jsonl"))
    text = json.dumps(recipe, sort_keys=True, indent=1)
    _check_folder(folder, text, resume)
    device = _device(option(recipe, "device"))
    task = _task(recipe)
    figure = option(recipe, "figure") or getattr(task, "figure", "")
    if option(recipe, "keep") == "best" and not figure:
        raise OptionError(f'keep = "best" needs a figure to go by, and {recipe["task"]} has none; add figure = "..."')
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "recipe.json", text.encode())

    torch.set_num_threads(recipe["threads"])
    started = time.perf_counter()
    task.prepare(folder, progress)
    seconds_data = time.perf_counter() - started

    optim, accumulate = recipe["optim"], option(recipe, "accumulate")
    steps, every = optim["steps"], optim["checkpoint_every"]
    # with bfloat16, parameters and data stay in float32: they are the master weights, products alone are rounded
    half = option(recipe, "dtype") == "bfloat16"
    dtype = {"": None, "float64": torch.float64}.get(option(recipe, "dtype"), torch.float32)
    drawing = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(drawing):
        torch.manual_seed(recipe["seed"])
        network = task.network().to(device=device, dtype=dtype)
    state = State(network, _optimizer(task, optim, network))
    peaks = [group["lr"] for group in state.optimizer.param_groups]
    schedule = getattr(task, "schedule", None)
    if resume and state_file.exists():
        load_state(state_file, state)
        trim_log(log_file, state.step)
    else:
        log_file.unlink(missing_ok=True)

    def make(number: int) -> tuple[int, Any]:
        return number, as_tensors(task.batch(number), device, dtype)

    numbers = itertools.chain.from_iterable(own_batches(step, accumulate) for step in range(state.step, steps))
    figures, seconds_before, started = None, state.seconds, time.perf_counter()
    with (
        interrupt_asked() as asked,
        torch.random.fork_rng(drawing),
        closing(prefetched(make, numbers, option(recipe, "prefetch"))) as batches,
        open(log_file, "a", encoding="utf-8") as log,
    ):
        network.train()
        while state.step < steps:
            for group, peak in zip(state.optimizer.param_groups, peaks, strict=True):
                rate = learning_rate(state.step, steps, peak, optim["warmup"])
                group["lr"] = peak * schedule(state.step) if schedule else rate
            state.optimizer.zero_grad(set_to_none=True)
            own = itertools.islice(batches, len(own_batches(state.step, accumulate)))
            losses = add_gradients(task, network, own, accumulate, seed=recipe["seed"], half=half)
            # With several processes: their rank and number in both calls of own_batches, the recipe's world dividing
            # accumulate, and here a sum of the gradients and of the losses over them. All else stays.
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), optim["clip"])
            if not math.isfinite(float(norm)):
                step = state.step
                raise NNLAError(f"training diverged at step {step}: the gradient is not finite; lower optim.lr")
            state.optimizer.step()
            state.step += 1

            due = state.step % every == 0 or state.step == steps
            if due or state.step % optim["log_every"] == 0:
                row = {"step": state.step, **{key: float(value) for key, value in losses.items()}}
                if due:
                    figures = _validated(task, network)
                    row |= {f"val_{key}": value for key, value in figures.items()}
                    if figure and _named(figures, figure) < state.best:
                        state.best = figures[figure]
                        save_network(best_file, network, state.step)
                log.write(json.dumps(row) + "\n")
                log.flush()
                progress("train", state.step, steps, f"loss {row['loss']:.4f}")
            state.seconds = seconds_before + time.perf_counter() - started
            if due or asked():
                save_state(state_file, state)
            if asked() and state.step < steps:
                raise KeyboardInterrupt

    kept = state.step
    if option(recipe, "keep") == "best":
        kept, figures = load_network(best_file, network), None
    card = {
        "name": recipe["name"],
        "recipe": recipe,
        "seed": recipe["seed"],
        "validation": figures or _validated(task, network),
        "seconds": {"data": round(seconds_data, 1), "train": round(state.seconds, 1)},
        "hardware": f"{_name(device)}, {recipe['threads']} thread(s)",
        "date": time.strftime("%Y-%m-%d"),
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }
    path = folder / f"{recipe['name']}.safetensors"
    task.export(network.eval().to("cpu"), path, card if kept == steps else card | {"step": kept})
    plot_log(log_file, folder / "loss.png")
    return path


def add_gradients(
    task: Task, network: Any, batches: Iterable[tuple[int, Any]], count: int, *, seed: int = 0, half: bool = False
) -> dict[str, Any]:
    """Add the gradients of batches to the parameters', as shares of a mean over ``count`` of them.

    Parameters
    ----------
    batches : pairs of number and batch: all ``count``, or those of one of several processes, whose results sum up
    seed : of the recipe; what the network itself draws (dropout) is a function of it and of the batch's number
    half : compute products in bfloat16, where torch holds that to be safe

    Returns
    -------
    dict of detached tensors: the batches' share of the mean losses.
    """
    import torch

    total: dict[str, Any] = {}
    device = next(iter(network.parameters())).device.type
    for number, batch in batches:
        draw = int(np.random.SeedSequence([seed, 8, number]).generate_state(1)[0])
        torch.default_generator.manual_seed(draw)  # torch.manual_seed takes a hundred times as long
        if device == "cuda":
            torch.cuda.manual_seed(draw)
        with torch.autocast(device, dtype=torch.bfloat16) if half else nullcontext():
            losses = task.loss(network, batch)
        (losses["loss"] / count).backward()
        for key, value in losses.items():
            total[key] = total.get(key, 0.0) + value.detach() / count
    return total


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """Linear warm-up over the first share ``warmup``, then a cosine to zero; a function of the step alone.

    Cost: none.

    References
    ----------
    The schedule of AutoSpec (arXiv:2602.09530), appendix D.1: warm-up, then cosine decay.
    """
    rise = max(1, int(steps * warmup))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _check_folder(folder: Path, recipe: str, resume: bool) -> None:
    """Raise `OptionError` unless the folder holds this very run, if one is to go on, and none otherwise."""
    file = folder / "recipe.json"
    if file.exists():
        if not resume:
            raise OptionError(f"{folder} already holds a run; add --resume to continue it, or choose another --out")
        if file.read_text(encoding="utf-8") != recipe:
            raise OptionError(f"{folder} holds a run of another recipe; choose another --out")
    elif resume:
        raise OptionError(f"{folder} holds no run to resume; leave out --resume to start one, or check --out")


def _task(recipe: dict[str, Any]) -> Task:
    module, _, name = recipe["task"].partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionError(f"the recipe's task {recipe['task']!r} cannot be imported ({error})") from error
    offered = ("prepare", "network", "batch", "loss", "validate", "export")
    if not isinstance(factory, type) or not all(callable(getattr(factory, name, None)) for name in offered):
        raise OptionError(f"the recipe's task {recipe['task']!r} is no class with {', '.join(offered)}; name one")
    try:
        return factory(recipe)
    except NNLAError:
        raise
    except (TypeError, ValueError) as error:  # unknown or impossible values, e.g. of the model's config
        raise OptionError(f"the recipe does not fit its task {recipe['task']!r} ({error})") from error


def _optimizer(task: Any, optim: dict[str, Any], network: Any) -> Any:
    import torch

    own = getattr(task, "optimizer", None)
    if own is not None:
        return own(network.parameters())
    return torch.optim.AdamW(network.parameters(), lr=optim["lr"], weight_decay=optim["weight_decay"])


def _device(name: str) -> Any:
    import torch

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise OptionError('device = "cuda", but PyTorch finds no CUDA device; use "cpu" or "auto"')
    return torch.device("cuda" if name == "cuda" or (name == "auto" and there) else "cpu")


def _name(device: Any) -> str:
    import torch

    host = platform.processor() or platform.machine()
    return f"{torch.cuda.get_device_name(device)}, {host}" if device.type == "cuda" else host


def _validated(task: Task, network: Any) -> dict[str, float]:
    """`Task.validate`'s figures, without gradients and in evaluation mode."""
    import torch

    network.eval()
    with torch.no_grad():
        figures = task.validate(network)
    network.train()
    return figures


def _named(figures: dict[str, float], name: str) -> float:
    if name not in figures:
        raise OptionError(f"no figure {name!r} to tell the best network by: there are {', '.join(sorted(figures))}")
    return figures[name]
