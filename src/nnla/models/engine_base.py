"""What engines share: arrays that are checked, a card, files, and the small ensemble that most of them are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from nnla._files import one_line
from nnla.errors import WeightsError
from nnla.operators.arrays import namespace

__all__ = ["EngineBase", "ensemble", "ensemble_shapes", "envelope_distance", "whole"]

_REMEDY = "train them again or reinstall nnla"


class EngineBase:
    """A trained engine: NumPy arrays, a config and a card.

    A model of a new paper stands on this, in a module of `nnla.models`; nothing else needs to know of it. Its weights
    name the class that reads them (`nnla.registry.save_model`), its ``task`` says what it answers.

    Parameters
    ----------
    config : dataclass with ``shapes()``, which names the arrays and their shapes
    parameters : dict of arrays
    card : facts about the training, as JSON-able values

    Attributes
    ----------
    name : of the model where its card has none
    task : key of `nnla.tasks.TASKS`
    kind : of the weights file; "" for the name of the class
    label : what error messages call the weights
    dtype : that the network computes in

    Raises
    ------
    WeightsError
        The config is impossible; an array is missing, has another shape than the config says, or is not finite.
    """

    name: ClassVar[str]
    task: ClassVar[str]
    kind: ClassVar[str] = ""
    label: ClassVar[str] = "engine weights"
    config_type: ClassVar[type[Any]]
    dtype: ClassVar[type[np.floating[Any]]] = np.float64

    def __init__(self, config: Any, parameters: dict[str, np.ndarray], card: dict[str, Any]) -> None:
        label = self.label
        try:
            shapes = config.shapes() if self.possible(config) else None
        except (TypeError, ValueError, OverflowError, AttributeError):  # sizes that are no numbers
            shapes = None
        if shapes is None:
            raise WeightsError(f"{label} have an impossible config ({one_line(config)}); {_REMEDY}")
        if not isinstance(card, dict):
            raise WeightsError(f"the card of {label} has to be a table, got {type(card).__name__}; {_REMEDY}")
        _check_card(card, label)
        for key, shape in shapes.items():
            if key not in parameters:
                raise WeightsError(f"{label} lack {key}; {_REMEDY}")
            if parameters[key].shape != shape:
                raise WeightsError(f"{label} {key} have shape {parameters[key].shape}, the config says {shape}")
            if parameters[key].dtype.kind not in "iuf":
                raise WeightsError(f"{label} {key} have dtype {parameters[key].dtype}; {_REMEDY}")
            if not np.all(np.isfinite(parameters[key])):
                raise WeightsError(f"{label} {key} have NaN or Inf; {_REMEDY}")
        if "std" in parameters and not np.all(parameters["std"] > 0):
            raise WeightsError(f"{label} std are not positive; {_REMEDY}")
        self.config = config
        self.parameters = {key: np.asarray(parameters[key], dtype=self.dtype) for key in shapes}
        self.card = card

    @staticmethod
    def possible(config: Any) -> bool:
        """Whether the sizes in a config make sense, before arrays of these sizes are asked for."""
        return True

    def __repr__(self) -> str:
        size = sum(v.size for v in self.parameters.values())
        words = [repr(self.title), *self.details(), f"{size} numbers"]
        return f"{type(self).__name__}({', '.join(words)})"

    def details(self) -> list[str]:
        """What `repr` says of the config."""
        return []

    @property
    def title(self) -> str:
        """Name of these weights: the card's, else the model's."""
        return str(self.card.get("name", self.name))

    @property
    def degree(self) -> int | None:
        """The only degree that it knows; None where it is told one, or has none."""
        return None

    @property
    def envelope(self) -> dict[str, Any]:
        """Ranges seen in training, in words that a user knows."""
        return dict(self.card.get("envelope", {}))

    def save(self, path: str | Path) -> None:
        """Write safetensors with config, card and reader in the metadata, atomically."""
        from nnla.registry import save_model

        reader = f"{type(self).__module__}:{type(self).__qualname__}"
        save_model(
            path,
            kind=self.kind or type(self).__name__,
            reader=reader,
            config=self.config,
            parameters=self.parameters,
            card=self.card,
        )

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read weights; anything malformed raises `WeightsError`."""
        from nnla.registry import read_model

        return cls(*read_model(path, kind=cls.kind or cls.__name__, config=cls.config_type))


def _check_card(card: dict[str, Any], label: str) -> None:
    """Raise `WeightsError` unless what engines read of a card is of the type that they take it for."""
    limit, matrices = card.get("envelope_limit", 0.0), card.get("matrices", {})
    numbers = [limit]
    fits = isinstance(card.get("name", ""), str) and isinstance(card.get("envelope", {}), dict)
    fits = fits and isinstance(matrices, dict) and all(isinstance(v, list) and len(v) == 2 for v in matrices.values())
    if fits:
        numbers += [number for seen in matrices.values() for number in seen]
    if not fits or not all(type(number) in (int, float) and abs(number) < math.inf for number in numbers):
        raise WeightsError(f"the card of {label} has a name, an envelope or ranges of another type; {_REMEDY}")


def whole(*sizes: Any) -> bool:
    """Whether all are integers from 1 to 4096, as sizes of networks are."""
    return all(isinstance(v, int) and not isinstance(v, bool) and 0 < v <= 4096 for v in sizes)


def ensemble_shapes(members: int, features: int, hidden: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what `ensemble` takes."""
    E, F, H, C = members, features, hidden, outputs
    shapes: dict[str, tuple[int, ...]] = {"mean": (F,), "std": (F,)}
    shapes |= {"W0": (E, F, H), "b0": (E, 1, H), "W1": (E, H, H), "b1": (E, 1, H)}
    return shapes | {"W2": (E, H, C), "b2": (E, 1, C)}


def ensemble(parameters: dict[str, Any], x: Any) -> Any:
    """Networks of two hidden layers side by side, written once for NumPy arrays and torch tensors.

    Parameters
    ----------
    parameters : mean, std (F,); W0 (E, F, H), b0 (E, 1, H), W1 (E, H, H), b1, W2 (E, H, C), b2 (E, 1, C)
    x : (B, F) features, or (E, B, F) for one batch per member

    Returns
    -------
    (E, B, C)

    Notes
    -----
    Cost: E (F H + H^2 + H C) multiplications a row, and E 2 H exponentials.

    References
    ----------
    Elfwing, Uchibe, Doya, Neural Networks 107 (2018) 3-11: SiLU, the activation x / (1 + exp(-x)).
    """
    xp, p = namespace(x), parameters
    z = xp.clip((x - p["mean"]) / p["std"], -4.0, 4.0)
    for layer in "01":
        z = z @ p[f"W{layer}"] + p[f"b{layer}"]
        with np.errstate(over="ignore"):  # z / Inf is the right answer, -0
            z = z / (1.0 + xp.exp(-z))
    return z @ p["W2"] + p["b2"]


def envelope_distance(parameters: dict[str, np.ndarray], x: np.ndarray) -> float:
    """How far features lie outside of those seen in training, in their own standard deviations, on average."""
    excess = np.maximum(x - parameters["high"], 0) + np.maximum(parameters["low"] - x, 0)
    return float(np.mean(np.minimum(excess / parameters["std"], 4.0)))
