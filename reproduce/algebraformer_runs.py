"""Trainings by a budget of CPU seconds, resumable, and their curves: what scripts of dense models share."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nnla.training.batches import as_tensors
from nnla.training.config import Table, load_recipe
from nnla.training.loop import add_gradients, train
from nnla.types import TrainingProgress

__all__ = ["Run", "budgeted", "clocked", "curve"]

POINTS = 10  # of a curve


@dataclass(frozen=True)
class Run:
    """A training that is done: where its weights are, CPU seconds over all sittings, and its curve."""

    path: Path
    recipe: dict[str, Any]
    cpu: float
    curve: list[dict[str, float]]


def _task(recipe: dict[str, Any]) -> Any:
    from nnla.tasks import resolve

    return resolve(recipe["task"])(Table(recipe))


def seconds_per_step(recipe: dict[str, Any]) -> float:
    """CPU seconds of a step, its batch included."""
    import torch

    torch.set_num_threads(recipe["threads"])
    task = _task(recipe)
    task.prepare(Path(), lambda *a: None)
    network = task.network()
    own = getattr(task, "optimizer", partial(torch.optim.AdamW, lr=1e-9))
    optimizer = own(network.parameters())
    spent, steps = [], 0
    while steps < 3 or (sum(spent) < 4 and steps < 20):
        started = time.process_time()
        add_gradients(task, network, [(steps, as_tensors(task.batch(steps)))], 1)
        optimizer.step()
        spent.append(time.process_time() - started)
        steps += 1
    return sorted(spent[1:])[len(spent[1:]) // 2]


def budgeted(
    name: str,
    overrides: list[str],
    folder: Path,
    seconds: float,
    progress: bool = True,
    judged_by: str = "val_relative_mse",
) -> Run:
    """A recipe trained for so many CPU seconds: its steps are what fits; a run that is there goes on.

    Less than a second is for a trial: no more steps than a curve has points. ``judged_by`` is the figure in the log by
    which a validation is known.
    """
    plan = folder.parent / f"{folder.name}.plan.json"
    recipe = load_recipe(name, overrides)
    if seconds < 1:
        steps = POINTS
    elif plan.exists():
        steps = json.loads(plan.read_text(encoding="utf-8"))["steps"]
    else:
        each = seconds_per_step(recipe)
        judged = POINTS * recipe["data"]["held_out"] / recipe["optim"]["batch"] / 3  # forward passes alone
        steps = max(POINTS, int(seconds / each - judged))
        folder.parent.mkdir(parents=True, exist_ok=True)
        plan.write_text(json.dumps({"steps": steps, "seconds_per_step": each}), encoding="utf-8")
    every = -(-steps // POINTS)
    overrides = [*overrides, f"optim.steps={steps}", f"optim.checkpoint_every={every}"]
    return clocked(load_recipe(name, [*overrides, f"optim.log_every={every}"]), folder, progress, judged_by)


def clocked(recipe: dict[str, Any], folder: Path, progress: bool = True, judged_by: str = "val_relative_mse") -> Run:
    """A training with its CPU seconds beside the log; resumed, or taken as it is where it is done."""
    path, clock = folder / f"{recipe['name']}.safetensors", folder / "cpu.jsonl"
    log = folder / "log.jsonl"
    if not path.exists():
        rows = _rows(clock)
        at = max((row["step"] for row in _rows(log) if judged_by in row), default=0)
        rows = [row for row in rows if row["step"] <= at]  # a resumed run starts at the last checkpoint
        offset = rows[-1]["cpu"] if rows else 0.0
        folder.mkdir(parents=True, exist_ok=True)
        clock.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        train(recipe, folder, resume=(folder / "recipe.json").exists(), progress=_clock(clock, offset, progress))
    return Run(path, recipe, _rows(clock)[-1]["cpu"], curve(folder, judged_by))


def _clock(file: Path, offset: float, shown: bool) -> TrainingProgress:
    started = time.process_time()

    def note(stage: str, done: int, total: int, text: str) -> None:
        cpu = offset + time.process_time() - started
        if stage == "train":
            with open(file, "a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": done, "cpu": cpu}) + "\n")
        if shown:
            print(f"{cpu:7.0f} s  {stage} {done}/{total} {text}", flush=True)

    return note


def curve(folder: Path, judged_by: str = "val_relative_mse") -> list[dict[str, float]]:
    """Step, CPU seconds and figures of every validation."""
    cpu = {row["step"]: row["cpu"] for row in _rows(folder / "cpu.jsonl")}
    judged = [row for row in _rows(folder / "log.jsonl") if judged_by in row]
    return [row | {"cpu": cpu.get(row["step"], 0.0)} for row in judged]


def _rows(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
