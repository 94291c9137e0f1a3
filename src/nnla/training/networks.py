"""Networks as the tasks make them and read them: parameters by name, in a module without a forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnla.training.batches import as_tensors

__all__ = ["arrays", "beside", "module", "named_tensors"]


def module(parameters: Mapping[str, Any], buffers: Mapping[str, Any] | None = None, *, stored: bool = True) -> Any:
    """A ``torch.nn.Module`` that holds named parameters, and buffers that are not trained.

    Parameters
    ----------
    parameters, buffers : arrays or tensors by name, which are copied
    stored : whether buffers belong to checkpoints; no for what the task can make again
    """
    import torch

    network = torch.nn.Module()
    for key, value in as_tensors(dict(parameters)).items():
        network.register_parameter(key, torch.nn.Parameter(value.clone()))
    for key, value in as_tensors(dict(buffers or {})).items():
        network.register_buffer(key, value.clone(), persistent=stored)
    return network


def named_tensors(network: Any) -> dict[str, Any]:
    """Parameters and buffers of a module by name, as the functions of `nnla.models` take them."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


def arrays(network: Any, dtype: Any = None) -> dict[str, np.ndarray]:
    """The state of a module as NumPy arrays of their own, on the host; in their own dtype without another."""
    state: dict[str, Any] = network.state_dict()
    return {key: np.array(value.detach().cpu().numpy(), dtype=dtype) for key, value in state.items()}


def beside(network: Any, batch: Any) -> Any:
    """A batch of held-out data as tensors of the device and the dtype of the network's parameters."""
    some = next(iter(network.parameters()))
    return as_tensors(batch, some.device, some.dtype)
