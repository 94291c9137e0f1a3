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
    bound_operator,
    solutions,
)
from nnla.models.dense_tables import scale_of
from nnla.models.transformer import initial_parameters
from nnla.registry import load
from nnla.training.dense_systems import DenseSystemTask
from nnla.training.networks import module, named_tensors
from nnla.types import TrainingProgress

__all__ = ["AlgebraformerTask"]

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
        if not config.linear:
            self.take_one_rhs()
        self.config = config

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Held-out systems, and the tables that standardise entries and answers."""
        super().prepare(folder, progress)
        if self.start is not None:
            self.tables = {key: value for key, value in self.start.parameters.items() if key.startswith("size")}
            for n in self.sizes:
                self.tables |= self.limits_of(self.tables, self.samples(n)[1])
            return
        self.tables = {}
        for n in self.config.sizes:
            self.tables |= self.tables_of(n, linear=self.config.linear)
            progress("tables", n, self.config.largest, "standardisation")

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

        hidden: list[Any] = []
        others: list[Any] = []
        for name, parameter in zip(self.config.network_shapes(), parameters, strict=True):
            (hidden if name.startswith("block") and name.endswith("_W") else others).append(parameter)
        optim = self.recipe["optim"]
        return Muon(hidden, others, lr=optim["lr"], weight_decay=optim["weight_decay"])

    def answer(self, network: Any, A: Any, b: Any) -> Any:
        """x (B, n, k) by the same functions as in use."""
        p = named_tensors(network)
        A, b = A.to(p["encode_b"].device), b.to(p["encode_b"].device)
        if self.config.linear:
            return bound_operator(p, self.config, A)(b)
        scale = scale_of(p, A)[:, None, None]
        unit = (A / scale).to(p["encode_b"].dtype)
        return solutions(p, self.config, unit, b[..., 0].to(unit.dtype))[..., None] / scale

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine."""
        AlgebraformerEngine(self.config, self.state(network), card | {"envelope": self.envelope()}).save(path)
