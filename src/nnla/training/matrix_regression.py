"""Training task of direct regression: functions of fresh matrices of families, by networks over rows or entries."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.matrix_features import POWERS, Directions, restored
from nnla.models.matrix_regression import (
    MatrixRegressionConfig,
    MatrixRegressionEngine,
    answers,
    regression_features,
)
from nnla.models.transformer import initial_parameters
from nnla.training.matrix_function_data import MatrixFunctionTask
from nnla.training.networks import arrays, module, named_tensors
from nnla.types import TrainingProgress

__all__ = ["MatrixRegressionTask"]

_TABLE = 20_000  # matrices that standardise the features of a size
_MARGIN = 0.05  # of the range of a feature that is still taken
_START = 0.1  # of the last layer at first
_NONE = np.zeros(POWERS + 1, dtype=np.float32)
_TAYLOR = {  # what A^k / k! count in f(A) at first
    "exp": np.array([1, 1, 1, 1, 1], dtype=np.float32),
    "sin": np.array([0, 1, 0, -1, 0], dtype=np.float32),
    "cos": np.array([1, 0, -1, 0, 1], dtype=np.float32),
    "cube": np.array([0, 0, 0, 6, 0], dtype=np.float32),
}


class MatrixRegressionTask(MatrixFunctionTask):
    """Network and tables; see `nnla.training.task.Task` and, for the data, `MatrixFunctionTask`."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        super().__init__(recipe)
        self.config = MatrixRegressionConfig(**recipe["model"])
        if not MatrixRegressionEngine.possible(self.config):
            raise OptionError(f"the recipe's [model] is impossible: {self.config}")
        self.functions, self.sizes = self.config.functions, self.config.sizes

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Held-out matrices, and the tables that standardise features."""
        super().prepare(folder, progress)
        seed = self.recipe["seed"]
        self.tables: dict[str, np.ndarray] = {}
        for n in self.sizes:
            z = regression_features(
                self.config, Directions(self.matrices(_TABLE, n, np.random.default_rng([seed, 4, n])))
            )
            low, high = z.min(axis=0), z.max(axis=0)
            edge = _MARGIN * (high - low)
            found = {"mean": z.mean(axis=0), "deviation": z.std(axis=0) + 1e-12, "low": low - edge, "high": high + edge}
            self.tables |= {f"size{n}_{key}": np.asarray(value, dtype=np.float32) for key, value in found.items()}
            progress("tables", n, self.sizes[-1], "standardisation")

    def network(self) -> Any:
        """Random parameters; where the network mixes powers of A it starts at Taylor's polynomials."""
        rng = np.random.default_rng([self.recipe["seed"], 3])
        shapes = self.config.network_shapes()
        p = initial_parameters(shapes, rng, self.config.blocks)
        for name in p:
            shape = shapes[name]
            if name == "encode_W":  # of all entries that a token sees
                p[name] *= np.float32((shape[0] / np.prod(shape[:-1])) ** 0.5)
            elif name in ("head_W", "mix_W"):
                p[name] *= np.float32(_START)
        if self.config.sized and self.config.channels == "powers" and self.config.read_out == "coefficients":
            p["mix_b"][:] = np.concatenate([_TAYLOR.get(f, _NONE) for f in self.functions])
        return module(p, self.tables)

    def optimizer(self, parameters: Iterable[Any]) -> Any:
        """`nnla.training.muon.Muon`, the blocks' weight matrices apart."""
        from nnla.training.muon import Muon

        hidden: list[Any] = []
        others: list[Any] = []
        for name, parameter in zip(self.config.network_shapes(), parameters, strict=True):
            (hidden if name.startswith("block") and name.endswith("_W") else others).append(parameter)
        optim = self.recipe["optim"]
        return Muon(hidden, others, lr=optim["lr"], weight_decay=optim["weight_decay"])

    def found(self, network: Any, A: Any) -> Any:
        """f(A) (B, functions, n, n) for tensors A (B, n, n) in float64, in the network's dtype."""
        import torch

        p = named_tensors(network)
        d = Directions(A.to(p["encode_b"].device))
        Y = answers(p, self.config, d)
        found = [restored(d, f, Y[:, k].to(A.dtype)) for k, f in enumerate(self.config.functions)]
        return torch.stack(found, 1)

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine."""
        MatrixRegressionEngine(self.config, arrays(network), card | self.facts()).save(path)
