"""Checkpoints of a run: written atomically, restored to the last bit, in whatever dtype the tensors have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import WeightsError
from nnla.registry import read_safetensors, write_safetensors

__all__ = ["State", "load_network", "load_state", "save_network", "save_state"]

# torch's names of the dtypes that a weights file holds as they are; tensors of others are kept as bytes
_PLAIN = {f"torch.{kind}" for kind in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")}


@dataclass
class State:
    """What a run goes on from.

    Attributes
    ----------
    network : torch.nn.Module
    optimizer : torch.optim.Optimizer
    step : steps done
    seconds : that they took, over all sittings
    best : smallest value of the run's figure so far; infinite without one
    """

    network: Any
    optimizer: Any
    step: int = 0
    seconds: float = 0.0
    best: float = float("inf")


def save_state(path: Path, state: State) -> None:
    """Write everything: parameters, buffers, the optimiser's state, and where the run stands."""
    tensors = {f"net.{key}": value for key, value in state.network.state_dict().items()}
    numbers: dict[str, Any] = {}
    for index, entries in state.optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            (tensors if hasattr(value, "detach") else numbers)[f"opt.{index}.{key}"] = value
    facts = {"step": str(state.step), "seconds": str(state.seconds), "best": str(state.best)}
    _write(path, tensors, facts | {"numbers": json.dumps(numbers)})


def load_state(path: Path, state: State) -> None:
    """Bring network, optimiser and counts to where `save_state` found them.

    Raises
    ------
    WeightsError
        The file is damaged, or of a run with another network or optimiser.
    """
    tensors, facts = _read(path)
    try:
        state.network.load_state_dict({key[4:]: value for key, value in tensors.items() if key.startswith("net.")})
        entries: dict[int, dict[str, Any]] = {}
        for name, value in (tensors | json.loads(facts["numbers"])).items():
            if name.startswith("opt."):
                _, index, key = name.split(".", 2)
                entries.setdefault(int(index), {})[key] = value
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": entries, "param_groups": groups})
        state.step, state.seconds, state.best = int(facts["step"]), float(facts["seconds"]), float(facts["best"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: the checkpoint does not fit the recipe ({error}); start a new --out") from error


def save_network(path: Path, network: Any, step: int) -> None:
    """Write parameters and buffers alone."""
    _write(path, {f"net.{key}": value for key, value in network.state_dict().items()}, {"step": str(step)})


def load_network(path: Path, network: Any) -> int:
    """Parameters and buffers of a file by `save_network`; returns their step.

    Raises
    ------
    WeightsError
        The file is missing, damaged, or of another network.
    """
    tensors, facts = _read(path)
    try:
        network.load_state_dict({key[4:]: value for key, value in tensors.items()})
        return int(facts["step"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: the checkpoint does not fit the recipe ({error}); start a new --out") from error


def _write(path: Path, tensors: dict[str, Any], facts: dict[str, str]) -> None:
    """Tensors as arrays; scalars, and dtypes that NumPy lacks, as bytes with dtype and shape among the facts."""
    import torch

    arrays: dict[str, np.ndarray] = {}
    packed: dict[str, list[Any]] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        if tensor.ndim == 0 or str(tensor.dtype) not in _PLAIN:
            packed[name] = [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
            tensor = tensor.contiguous().reshape(-1).view(torch.uint8)
        arrays[name] = tensor.numpy()
    write_safetensors(path, arrays, {"kind": "checkpoint", "packed": json.dumps(packed), **facts})


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors and facts that `_write` wrote."""
    import torch

    arrays, facts = read_safetensors(path, kind="checkpoint")
    try:
        packed = json.loads(facts["packed"])
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        for name, (dtype, shape) in packed.items():
            tensors[name] = tensors[name].view(getattr(torch, dtype)).reshape(shape)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(f"{path}: the checkpoint does not fit the recipe ({error}); start a new --out") from error
    return tensors, facts
