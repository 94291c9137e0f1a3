"""Training task of NLAFormer: a looped network taught by the iterations of CG or Jacobi-PCG, and by the solutions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.dense_tables import as_dtype_of
from nnla.models.nlaformer import NLAFormerEngine, iterates, unit_systems
from nnla.training.iteration_task import IterationTask, one_of
from nnla.training.networks import module, named_tensors
from nnla.training.nlaformer_starts import (
    difference_head_parameters,
    heavy_ball_parameters,
    heavy_ball_rates,
    random_parameters,
)

__all__ = ["NLAFormerTask"]

STARTS = ("random", "difference heads", "heavy ball")
OPTIMIZERS = ("adam", "muon")


class NLAFormerTask(IterationTask):
    """Network and optimiser of NLAFormer; data and losses are those of `nnla.training.iteration_task`.

    Notes
    -----
    ``objective.start``: "random"; for softmax blocks "difference heads", which see A from the first step on; for gated
    blocks "heavy ball", Polyak's iteration, which they express exactly.
    ``optim.method``: "adam" (the paper's), or "muon" for the hidden matrices.

    References
    ----------
    NLAFormer, section 4; Yang et al., Looped transformers are better at learning learning algorithms (ICLR 2024), for
    the injection of the input.
    """

    engine = NLAFormerEngine

    def __init__(self, recipe: dict[str, Any]) -> None:
        super().__init__(recipe)
        one_of("objective.start", self.objective["start"], STARTS)
        one_of("optim.method", recipe["optim"]["method"], OPTIMIZERS)
        c, start = self.config, self.objective["start"]
        wide = c.block == "gated" and c.gates >= c.n + 2 and c.width >= c.n + 3
        if start == "heavy ball" and not wide:
            raise OptionError(
                'objective.start="heavy ball" is for gated blocks wider than n + 2: model.block="gated", model.width=64'
            )
        wide = c.block == "softmax" and c.heads % 2 == 0 and c.width // c.heads >= c.n and c.width > 2 * c.n
        if start == "difference heads" and not wide:
            raise OptionError(
                'objective.start="difference heads" is for pairs of softmax heads, each at least n wide, and a width '
                "above 2 n: model.heads=2, model.width=64"
            )

    def network(self) -> Any:
        """Random parameters, or those of an iteration."""
        seed = self.recipe["seed"]
        rng = np.random.default_rng([seed, 3])
        if self.objective["start"] == "random":
            return module(random_parameters(self.config, rng))
        if self.objective["start"] == "difference heads":
            return module(difference_head_parameters(self.config, rng))
        rates = heavy_ball_rates(self.config, self.recipe["data"]["sigma"], [seed, 10_002])
        return module(heavy_ball_parameters(self.config, *rates, rng))

    def optimizer(self, parameters: Iterable[Any]) -> Any:
        """Adam with decoupled decay (the paper's has none), or Muon for the hidden matrices."""
        import torch

        from nnla.training.muon import Muon

        optim = self.recipe["optim"]
        if optim["method"] == "adam":
            return torch.optim.AdamW(parameters, lr=optim["lr"], weight_decay=optim["weight_decay"])
        hidden: list[Any] = []
        others: list[Any] = []
        for name, parameter in zip(self.config.shapes(), parameters, strict=True):
            inner = name.startswith(("pre_", "loop_", "post_")) and name.endswith("_W")
            (hidden if inner else others).append(parameter)
        return Muon(hidden, others, lr=optim["lr"], weight_decay=optim["weight_decay"])

    def read(self, network: Any, A: Any, b: Any, loops: int, *, detached: bool) -> tuple[Any, Any]:
        """x (B, T + 1, n) and residuals with directions (B, T + 1, n, 2) in the systems' units."""
        import torch

        p = named_tensors(network)
        A, b = A.to(p["encode_b"].device), b.to(p["encode_b"].device)
        A, b, of_x, of_b = unit_systems(A, b, self.config.scaling)
        A, b, of_x, of_b = (as_dtype_of(value, p["encode_b"]) for value in (A, b, of_x, of_b))
        found = iterates(p, self.config, A, b, loops)
        tokens = torch.stack([z.detach() if detached else z for z, _ in found], 1)
        read = tokens @ p["inner_W"] + p["inner_b"]
        of_d = of_x if self.objective["teacher"] == "pcg" else of_b
        units = torch.stack([of_b, of_d], -1)[:, None]
        return torch.stack([x for _, x in found], 1) * of_x[:, None], read * units
