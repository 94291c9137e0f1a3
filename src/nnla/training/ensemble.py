"""What the tasks of engines that choose among candidates share: labelled spectra in, an ensemble of small networks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nnla.training.chunks import cached_chunks
from nnla.training.networks import arrays, module
from nnla.types import TrainingProgress

__all__ = ["EnsembleTask"]


class EnsembleTask:
    """Data, network and batches; a subclass adds examples, labels, loss, figures and export.

    Attributes
    ----------
    config_type : of the model
    chunk : spectra per file of stored examples
    train, held : examples for training and for validation
    features : (N, ...) those of ``train``
    labels : (N, ...) what the network learns of them
    mean, std, low, high : (F,) of the features, over ``train``
    """

    config_type: ClassVar[type]
    chunk: ClassVar[int] = 64

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.config: Any = self.config_type(**recipe["model"])

    def examples(self, part: str, seed: int, index: int, count: int) -> dict[str, np.ndarray]:
        """Chunk ``index`` of the examples, ``count`` spectra; a function of the arguments alone."""
        raise NotImplementedError

    def labels_of(self, examples: dict[str, np.ndarray]) -> np.ndarray:
        """What the network learns of examples."""
        return examples["curve"]

    @property
    def outputs(self) -> int:
        """Numbers that a network says of an example."""
        return self.config.candidates

    def rows_of(self, examples: dict[str, np.ndarray]) -> np.ndarray:
        """All features, (rows, F), that their ranges are taken over."""
        return examples["features"]

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Labelled examples, in chunks that are kept in the folder."""
        data, seed = self.recipe["data"], self.recipe["seed"]
        self.train = self._examples(folder, "train", seed, data["spectra"], progress)
        self.held = self._examples(folder, "held", seed + 10_000, data["held_out"], progress)
        self.features, self.labels = self.train["features"], self.labels_of(self.train)
        rows = self.rows_of(self.train)
        self.mean, self.std = rows.mean(axis=0), rows.std(axis=0) + 1e-3
        self.low, self.high = rows.min(axis=0), rows.max(axis=0)

    def _examples(
        self, folder: Path, part: str, seed: int, count: int, progress: TrainingProgress
    ) -> dict[str, np.ndarray]:
        def make(index: int, size: int) -> dict[str, np.ndarray]:
            return self.examples(part, seed, index, size)

        return cached_chunks(folder, part, count, self.chunk, make, progress)

    def network(self) -> Any:
        """Random weights, biases of zero, and the standardisation as buffers."""
        import torch

        generator = torch.Generator().manual_seed(self.recipe["seed"])
        return module(self.initial(generator), {"mean": self.mean, "std": self.std})

    def initial(self, generator: Any, last: float = 1.0) -> dict[str, Any]:
        """Parameters to start from, those of the last layer times ``last``."""
        import torch

        c = self.config
        out: dict[str, Any] = {}
        sizes = (c.features, c.hidden, c.hidden, self.outputs)
        for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
            weight = torch.randn(c.members, rows, columns, generator=generator) / rows**0.5
            out[f"W{layer}"] = weight * (last if layer == 2 else 1.0)
            out[f"b{layer}"] = torch.zeros(c.members, 1, columns)
        return out

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Features and labels of examples drawn for each member of the ensemble."""
        rng = np.random.default_rng([self.recipe["seed"], 1, step])
        index = rng.integers(len(self.features), size=(self.config.members, self.recipe["optim"]["batch"]))
        return {"features": self.features[index], "labels": self.labels[index]}

    def parameters(self, network: Any) -> dict[str, np.ndarray]:
        """What the engine is made of, in float64."""
        return arrays(network, np.float64)
