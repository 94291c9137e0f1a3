"""What the tests of all training tasks share: runs that are killed and resumed, and a few steps on one batch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nnla.registry import read_safetensors
from nnla.training.loop import train


class KilledError(Exception):
    """Stands for a killed process."""


@pytest.fixture
def resumes(tmp_path: Path) -> Callable[..., Path]:
    """A check that runs killed after some steps end, resumed, with the bits and the log of one that was not."""

    def check(recipe: dict[str, Any], *steps: int) -> Path:
        whole = tmp_path / "whole"
        path = train(recipe, whole)
        for step in steps:

            def killing(stage: str, done: int, total: int, text: str, step: int = step) -> None:
                if stage == "train" and done >= step:
                    raise KilledError

            parts = tmp_path / str(step)
            if (whole / "data").exists():
                shutil.copytree(whole / "data", parts / "data")
            with pytest.raises(KilledError):
                train(recipe, parts, progress=killing)
            assert bits(train(recipe, parts, resume=True)) == bits(path)
            assert rows(parts) == rows(whole)
        return path

    return check


def bits(path: Path) -> dict[str, Any]:
    return {key: (value.dtype, value.tobytes()) for key, value in read_safetensors(path, kind=None)[0].items()}


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def descend() -> Callable[..., list[float]]:
    """Losses of a dozen steps on one batch, in which no parameters but the named ones get gradients."""

    def run(task: Any, number: int, trained: set[str], lr: float, network: Any = None) -> list[float]:
        import torch

        from nnla.training.batches import as_tensors

        network = network or task.network()
        optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
        losses, batch = [], as_tensors(task.batch(number))
        for _ in range(12):
            loss = task.loss(network, batch)["loss"]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            assert {key for key, value in network.named_parameters() if value.grad is not None} == trained
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    return run
