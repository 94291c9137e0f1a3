"""Training task of the constructed NLAFormer: the few free numbers of CG in softmax attention, from CG on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nnla.models.nlaformer import unit_systems
from nnla.models.nlaformer_constructed import ConstructedEngine, constructed_iterates, initial_numbers
from nnla.training.iteration_task import IterationTask
from nnla.training.networks import module, named_tensors

__all__ = ["ConstructedTask"]


class ConstructedTask(IterationTask):
    """Data and losses of `nnla.training.iteration_task`; the network starts as conjugate gradients.

    Notes
    -----
    Residuals and directions are the network's own, no probe reads them: ``eta`` has no effect but in "joint".
    """

    engine = ConstructedEngine

    def network(self) -> Any:
        """The numbers of CG."""
        return module(initial_numbers(self.config))

    def optimizer(self, parameters: Iterable[Any]) -> Any:
        """Adam: there are no matrices."""
        import torch

        optim = self.recipe["optim"]
        return torch.optim.AdamW(parameters, lr=optim["lr"], weight_decay=optim["weight_decay"], betas=(0.9, 0.98))

    def read(self, network: Any, A: Any, b: Any, loops: int, *, detached: bool) -> tuple[Any, Any]:
        """x (B, T + 1, n) and residuals with (normalised) directions (B, T + 1, n, 2) in the systems' units."""
        import torch

        p = named_tensors(network)
        A, b = (value.to(p["step"]) for value in (A, b))
        A, b, of_x, of_b = unit_systems(A, b, "norm")
        n = self.config.n
        found = constructed_iterates(p, self.config, A / n, b, loops)
        x, r, d = (torch.stack(rows, 1) for rows in zip(*found, strict=True))
        inner = torch.stack([r, d], -1) * of_b[:, None, :, None]
        return x * (of_x / n)[:, None], inner.detach() if detached else inner
