"""The learned schedules behind `nnla.extensions`: intervals for momentum methods, transitions of matrix iterations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from nnla.errors import WeightsError
from nnla.extensions.minimax import PARAMETERS
from nnla.extensions.momentum import CANDIDATES, FEATURES, features, forward
from nnla.models.engine_base import EngineBase, whole
from nnla.registry import read_safetensors
from nnla.types import SpectralProbe

__all__ = ["MomentumConfig", "MomentumEngine", "TransitionConfig", "TransitionTable"]


class _Schedule(EngineBase):
    """Files of the first schedules have no config and no card, but facts as texts.

    Attributes
    ----------
    sized_by : the array whose length is the config's one number
    seen : envelope of the training
    """

    sized_by: ClassVar[str]
    seen: ClassVar[dict[str, list[float]]]

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read weights; anything malformed raises `WeightsError`."""
        tensors, metadata = read_safetensors(path, kind=cls.kind)
        if "config" in metadata:
            return super().from_file(path)
        try:
            config = cls.config_type(len(tensors[cls.sized_by]))
        except (KeyError, TypeError) as error:
            raise WeightsError(f"{path}: engine weights lack {cls.sized_by}; reinstall nnla") from error
        facts = {key: value for key, value in sorted(metadata.items()) if key != "kind"}
        return cls(config, tensors, {"name": cls.name, "envelope": cls.seen, **facts})


@dataclass(frozen=True)
class MomentumConfig:
    """Width of the two hidden layers."""

    hidden: int = 96

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters."""
        F, H, C = FEATURES, self.hidden, CANDIDATES.size
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("mean", "std", "low", "high"), (F,))
        return shapes | {"W0": (F, H), "b0": (H,), "W1": (H, H), "b1": (H,), "W2": (H, C), "b2": (C,)}


class MomentumEngine(_Schedule):
    """Trained engine for the interval of a Chebyshev semi-iteration: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : MomentumConfig
    parameters : dict of arrays as `nnla.extensions.momentum.forward` takes them, and the envelope ``low``, ``high``
    card : facts about the training, as JSON-able values
    """

    name = kind = "momentum-schedules"
    task = "momentum schedules"
    config_type = MomentumConfig
    sized_by = "b0"
    seen: ClassVar[dict[str, list[float]]] = {"probe_steps": [6, 18], "reduction": [1e-6, 0.3]}

    @staticmethod
    def possible(config: MomentumConfig) -> bool:
        return whole(config.hidden)

    def lower(self, probe: SpectralProbe, reduction: float) -> float:
        """Lower end a of the interval that is expected to take fewest iterations; see `choose_lower` there.

        Notes
        -----
        Cost: three small matrix-vector products. Learned: the place of a; guaranteed: 0 < a < b.
        """
        p = self.parameters
        x = features(probe, min(max(reduction, 1e-14), 0.9))[None]
        curve = forward(np.clip(x, p["low"], p["high"]), p)[0]  # nothing is extrapolated
        i = int(np.argmin(curve))
        shift = 0.0
        if 0 < i < curve.size - 1:
            left, centre, right = curve[i - 1 : i + 2]
            bend = left - 2 * centre + right
            shift = float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend > 0 else 0.0
        ratio = math.exp(math.log(CANDIDATES[i]) + shift * math.log(CANDIDATES[1] / CANDIDATES[0]))
        return ratio * probe.upper_bound


@dataclass(frozen=True)
class TransitionConfig:
    """Number of ratios in the table."""

    ratios: int = 15

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters."""
        return {"ratio": (self.ratios,), "theta": (self.ratios, PARAMETERS), "error": (self.ratios,)}


class TransitionTable(_Schedule):
    """Table of trained transitions of degree 17: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : TransitionConfig
    parameters : ratio (R,), increasing; theta (R, 11), the parameters for each; error (R,), max |1 - x c(x^2)|
    card : facts about the training, as JSON-able values
    """

    name = kind = "quadratic-transitions"
    task = "transitions"
    config_type = TransitionConfig
    sized_by = "ratio"
    seen: ClassVar[dict[str, list[float]]] = {"ratio": [0.2, 0.9]}

    @staticmethod
    def possible(config: TransitionConfig) -> bool:
        return whole(config.ratios)

    def table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ratios (R,), parameters (R, 11) and errors (R,), see `nnla.extensions.minimax.learned_stage`."""
        p = self.parameters
        return p["ratio"], p["theta"], p["error"]
