"""Training task of the perceptrons from entries to entries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.matrix_mlp import MatrixMLPConfig, MatrixMLPEngine, perceptron
from nnla.training.matrix_function_data import MatrixFunctionTask, symmetric_functions
from nnla.training.networks import arrays, module, named_tensors
from nnla.types import TrainingProgress

__all__ = ["MatrixMLPTask"]

_TABLE = 20_000  # matrices that standardise entries and answers


class MatrixMLPTask(MatrixFunctionTask):
    """Network and tables; see `nnla.training.task.Task` and, for the data, `MatrixFunctionTask`."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        super().__init__(recipe)
        self.config = MatrixMLPConfig(**recipe["model"])
        if not MatrixMLPEngine.possible(self.config):
            raise OptionError(f"the recipe's [model] is impossible: {self.config}")
        self.functions, self.sizes = self.config.functions, (self.config.n,)

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Held-out matrices, and the tables that standardise entries and answers."""
        super().prepare(folder, progress)
        A = self.matrices(_TABLE, self.config.n, np.random.default_rng([self.recipe["seed"], 4]))
        Y = symmetric_functions(A, self.functions)
        found = {"entry_mean": A.mean(axis=0), "entry_deviation": A.std(axis=0) + 1e-12}
        found |= {"low": A.min(axis=0), "high": A.max(axis=0)}
        found |= {"answer_mean": Y.mean(axis=0), "answer_deviation": Y.std(axis=0) + 1e-12}
        self.tables = {key: np.asarray(value, dtype=np.float32) for key, value in found.items()}

    def network(self) -> Any:
        """Random parameters, as He et al. start (arXiv:1502.01852)."""
        rng = np.random.default_rng([self.recipe["seed"], 3])
        p = {}
        for name, shape in self.config.network_shapes().items():
            deviation = (2.0 / shape[0]) ** 0.5 if name.endswith("_W") else 0.0
            p[name] = (deviation * rng.standard_normal(shape)).astype(np.float32)
        return module(p, self.tables)

    def found(self, network: Any, A: Any) -> Any:
        """f(A) (B, functions, n, n) for tensors A (B, n, n), in the network's dtype."""
        p = named_tensors(network)
        return perceptron(p, self.config, A.to(p["layer0_b"].device))

    def deviations(self, network: Any) -> Any:
        """Of the entries of answers."""
        return named_tensors(network)["answer_deviation"]

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine."""
        MatrixMLPEngine(self.config, arrays(network), card | self.facts()).save(path)
