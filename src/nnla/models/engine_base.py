"""What engines share: arrays that are checked, a card, files, and the small ensemble that most of them are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nnla.errors import WeightsError
from nnla.operators.arrays import namespace

__all__ = ["EngineBase", "ensemble", "envelope_distance"]


class EngineBase:
    """A trained engine: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : with ``shapes()``, which names the arrays and their shapes
    parameters : dict of arrays
    card : facts about the training, as JSON-able values

    Raises
    ------
    WeightsError
        An array is missing, has another shape than the config says, or is not finite.
    """

    name: ClassVar[str]
    kind: ClassVar[str]  # of the weights file
    task: ClassVar[str] = "linear systems"
    config_type: ClassVar[type]
    dtype: ClassVar[type] = np.float64  # that the network computes in

    def __init__(self, config: Any, parameters: dict[str, np.ndarray], card: dict[str, Any]) -> None:
        remedy = "train them again or reinstall nnla"
        for key, shape in config.shapes().items():
            if key not in parameters:
                raise WeightsError(f"engine weights lack {key}; {remedy}")
            if parameters[key].shape != shape:
                raise WeightsError(f"engine weights {key} have shape {parameters[key].shape}, the config says {shape}")
            if not np.all(np.isfinite(parameters[key])):
                raise WeightsError(f"engine weights {key} have NaN or Inf; {remedy}")
        if "std" in parameters and not np.all(parameters["std"] > 0):
            raise WeightsError(f"engine weights std are not positive; {remedy}")
        self.config = config
        self.parameters = {key: np.asarray(parameters[key], dtype=self.dtype) for key in config.shapes()}
        self.card = card

    def __repr__(self) -> str:
        size = sum(v.size for v in self.parameters.values())
        return f"{type(self).__name__}({self.card.get('name', self.name)!r}, {size} numbers)"

    @property
    def envelope(self) -> dict[str, Any]:
        """Ranges seen in training, in words that a user knows."""
        return dict(self.card.get("envelope", {}))

    def save(self, path: str | Path) -> None:
        """Write safetensors with config and card in the metadata, atomically."""
        from nnla.registry import save_model

        save_model(path, kind=self.kind, config=self.config, parameters=self.parameters, card=self.card)

    @classmethod
    def from_file(cls, path: str | Path) -> Any:
        """Read weights; anything malformed raises `WeightsError`."""
        from nnla.registry import read_model

        return cls(*read_model(path, kind=cls.kind, config=cls.config_type))


def ensemble(parameters: dict[str, Any], x: Any) -> Any:
    """Networks of two hidden layers side by side, written once for NumPy arrays and torch tensors.

    Parameters
    ----------
    parameters : mean, std (F,); W0 (E, F, H), b0 (E, 1, H), W1 (E, H, H), b1, W2 (E, H, C), b2 (E, 1, C)
    x : (B, F) features, or (E, B, F) for one batch per member

    Returns
    -------
    (E, B, C)
    """
    xp, p = namespace(x), parameters
    z = xp.clip((x - p["mean"]) / p["std"], -4.0, 4.0)
    for layer in "01":
        z = z @ p[f"W{layer}"] + p[f"b{layer}"]
        z = z / (1.0 + xp.exp(-z))
    return z @ p["W2"] + p["b2"]


def envelope_distance(parameters: dict[str, np.ndarray], x: np.ndarray) -> float:
    """How far features lie outside of those seen in training, in their own standard deviations, on average."""
    excess = np.maximum(x - parameters["high"], 0) + np.maximum(parameters["low"] - x, 0)
    return float(np.mean(np.minimum(excess / parameters["std"], 4.0)))
