"""Training task of the recurrent baselines: solutions from the columns of matrices, by an LSTM or a GRU."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.dense_tables import scale_of, unit_answers, unit_rhs
from nnla.models.recurrent_columns import RecurrentColumnsConfig, RecurrentColumnsEngine, column_tokens
from nnla.training.dense_systems import DenseSystemTask
from nnla.training.networks import module, named_tensors
from nnla.types import TrainingProgress

__all__ = ["RecurrentColumnsTask"]


class RecurrentColumnsTask(DenseSystemTask):
    """Data, network and loss of the recurrent baselines; see `nnla.training.task.Task`."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        super().__init__(recipe)
        self.take_one_rhs()
        if len(self.sizes) != 1:
            raise OptionError(f"data.sizes has {len(self.sizes)} sizes; a recurrent network takes one: name one")
        self.config = RecurrentColumnsConfig(n=next(iter(self.sizes)), **recipe["model"])
        if not RecurrentColumnsEngine.possible(self.config):
            raise OptionError(f"the recipe's [model] is impossible: {self.config}")

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Held-out systems, and the tables that standardise entries and answers."""
        super().prepare(folder, progress)
        self.tables = self.tables_of(self.config.n, linear=False)
        progress("tables", 1, 1, "standardisation")

    def network(self) -> Any:
        """torch's fused layers and a head; uniform within 1 / sqrt(width), as torch starts them."""
        import torch

        c = self.config
        rng = np.random.default_rng([self.recipe["seed"], 3])
        bound = 1 / math.sqrt(c.width)
        start = {key: rng.uniform(-bound, bound, shape).astype(np.float32) for key, shape in c.network_shapes().items()}
        network = module({key: start[key] for key in ("head_W", "head_b")}, self.tables)
        kind = torch.nn.LSTM if c.cell == "lstm" else torch.nn.GRU
        network.layers = kind(c.n + 1, c.width, num_layers=c.layers, batch_first=True, bidirectional=True)
        network.layers.load_state_dict({key: torch.from_numpy(start[key]) for key in c.layer_shapes()})
        return network

    def answer(self, network: Any, A: Any, b: Any) -> Any:
        """x (B, n, 1) as in use but for the layers, which are torch's, and in float32 whatever products are in."""
        import torch

        p = named_tensors(network)
        A, b = A.to(p["head_b"].device), b.to(p["head_b"].device)
        scale = scale_of(p, A)[:, None]
        unit, size = unit_rhs(b[..., 0].to(p["head_b"].dtype))
        tokens = column_tokens(p, (A / scale[..., None]).to(p["head_b"].dtype), unit)
        with torch.autocast(tokens.device.type, enabled=False):
            states = network.layers(tokens)[0]
        out = states @ p["head_W"] + p["head_b"]
        return (unit_answers(p, out[..., 0]) * size[:, None] / scale)[..., None]

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine."""
        arrays = {key.removeprefix("layers."): value for key, value in self.state(network).items()}
        RecurrentColumnsEngine(self.config, arrays, card | {"envelope": self.envelope()}).save(path)
