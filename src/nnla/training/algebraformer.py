"""Training task of Algebraformer: solutions or operators from the columns of matrices of a family."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.algebraformer import (
    AlgebraformerConfig,
    AlgebraformerEngine,
    apply_operators,
    operators,
    scale_of,
    solutions,
    standardised,
)
from nnla.models.transformer import initial_parameters
from nnla.problems.bvp import bvp_systems
from nnla.registry import load
from nnla.training.dense_systems import DenseSystemTask
from nnla.training.networks import module, named_tensors
from nnla.types import TrainingProgress

__all__ = ["AlgebraformerTask"]

_TABLE = 4000  # systems that standardise the entries of a size
_START = 0.1  # of the last layer at first, by the others: answers begin at the mean


class AlgebraformerTask(DenseSystemTask):
    """Data, network and loss of Algebraformer; see `nnla.training.task.Task`.

    Notes
    -----
    ``model.start`` names weights to go on from (fine-tuning): sizes, output and tables are theirs then.
    """

    def __init__(self, recipe: dict[str, Any]) -> None:
        super().__init__(recipe)
        model = dict(recipe["model"])
        start = model.pop("start")
        self.start: AlgebraformerEngine | None = None
        config = AlgebraformerConfig(sizes=tuple(sorted(self.sizes)), **model)
        if start:
            self.start = load(start)
            if not isinstance(self.start, AlgebraformerEngine) or not set(self.sizes) <= set(self.start.sizes):
                raise OptionError(f"model.start={start!r} is no Algebraformer of the sizes {sorted(self.sizes)}")
            config = self.start.config
        if not AlgebraformerEngine.possible(config):
            raise OptionError(f"the recipe's [model] is impossible: {config}")
        self.config = config

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Held-out systems, and the tables that standardise entries and answers."""
        super().prepare(folder, progress)
        if self.start is not None:
            self.tables = {key: value for key, value in self.start.parameters.items() if key.startswith("size")}
            return
        self.tables = {}
        for n in self.config.sizes:
            self.tables |= self._table(n)
            progress("tables", n, self.config.largest, "standardisation")

    def _table(self, n: int) -> dict[str, np.ndarray]:
        """Mean and deviation of entries and answers, of matrices as they are measured and of solutions as they are."""
        seed = self.recipe["seed"]
        count = max(_TABLE // len(self.equations), 1)
        parts = [bvp_systems(count, equation=name, n=n, seed=[seed, 10_004]) for name in self.equations]
        clean = np.concatenate([part.A for part in parts])
        A = self.noisy(clean, np.random.default_rng([seed, 10_005]))
        found = {f"size{n}_mean": A.mean(axis=0), f"size{n}_deviation": A.std(axis=0)}
        found[f"size{n}_deviation"] += 1e-6 * np.abs(found[f"size{n}_mean"]).max() * 1e-6 + 1e-300
        scale = scale_of(found, A)
        unit = A / scale[:, None, None]
        found |= {f"size{n}_mean": unit.mean(axis=0), f"size{n}_deviation": unit.std(axis=0)}
        floor = np.abs(found[f"size{n}_mean"]).max() * 1e-12
        found[f"size{n}_deviation"] = np.maximum(found[f"size{n}_deviation"], floor)
        if self.config.linear:
            answers = np.linalg.inv(clean) * scale[:, None, None]
        else:
            b = np.concatenate([part.b for part in parts])
            answers = np.concatenate([part.x for part in parts]) * scale[:, None]
            answers /= np.sqrt(np.mean(b * b, axis=1, keepdims=True))
        found |= {f"size{n}_answer_mean": answers.mean(axis=0), f"size{n}_answer_deviation": answers.std(axis=0)}
        far = np.sqrt(np.mean(standardised(found, unit) ** 2, axis=(1, 2)))
        found[f"size{n}_far"] = np.array([far.max()])
        return {key: np.asarray(value, dtype=np.float32) for key, value in found.items()}

    def network(self) -> Any:
        """Random parameters, or those to go on from."""
        shapes = self.config.network_shapes()
        if self.start is not None:
            parameters = {key: self.start.parameters[key] for key in shapes}
        else:
            rng = np.random.default_rng([self.recipe["seed"], 3])
            parameters = initial_parameters(shapes, rng, self.config.blocks)
            parameters["head_W"] *= _START
        return module(parameters, self.tables)

    def optimizer(self, parameters: Iterable[Any]) -> Any:
        """`nnla.training.muon.Muon`, hidden weight matrices apart; on the first 500 steps of ``algebraformer-operator``
        it left a sixth of the error that AdamW did."""
        from nnla.training.muon import Muon

        named = list(zip(self.config.network_shapes(), parameters, strict=True))
        hidden = [p for name, p in named if name.startswith("block") and name.endswith("_W")]
        others = [p for name, p in named if not (name.startswith("block") and name.endswith("_W"))]
        optim = self.recipe["optim"]
        return Muon(hidden, others, lr=optim["lr"], weight_decay=optim["weight_decay"])

    def answer(self, network: Any, A: Any, b: Any) -> Any:
        """x (B, n, k) by the same functions as in use."""
        p = named_tensors(network)
        A, b = A.to(p["encode_b"].device), b.to(p["encode_b"].device)
        scale = scale_of(p, A)[:, None, None]
        unit = A / scale
        narrow = unit.to(p["encode_b"].dtype)
        if self.config.linear:
            return apply_operators(operators(p, self.config, narrow), unit, b, self.config.passes) / scale
        return solutions(p, self.config, narrow, b[..., 0].to(narrow.dtype))[..., None] / scale

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine."""
        AlgebraformerEngine(self.config, self.state(network), card | {"envelope": self.envelope()}).save(path)
