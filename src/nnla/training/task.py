"""What a training task has to offer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from nnla.types import TrainingProgress

__all__ = ["Task"]


class Task(Protocol):
    """What a recipe's ``task = "module:Class"`` has to offer; constructed as ``Class(recipe)``.

    Notes
    -----
    A task may offer three things more, which the loop has defaults for:

    * ``optimizer(parameters)``: a ``torch.optim.Optimizer`` in place of AdamW; its state must consist of tensors and
      plain numbers. The learning rate of each of its groups is the peak of that group's.
    * ``schedule(step)``: what share of its peak a learning rate has at a step, in place of `learning_rate`.
    * ``figure``: which of `validate`'s figures says, by its smallest value, when the network was best.
    """

    def prepare(self, folder: Path, progress: TrainingProgress, /) -> None:
        """Make or load the data; resumable by itself. Nothing is known yet of devices."""
        ...

    def network(self) -> Any:
        """A fresh ``torch.nn.Module``, on the CPU; torch's own random numbers start from the recipe's seed."""
        ...

    def batch(self, step: int, /) -> Any:
        """Data alone: arrays or CPU tensors, in tuples, lists, dicts or dataclasses as one likes.

        A function of its number and the seed, and of nothing else: it may be called in another thread and ahead of
        time. The number is the step; where a recipe's ``accumulate`` asks for several batches per step, it runs through
        those of all steps.
        """
        ...

    def loss(self, network: Any, batch: Any, /) -> dict[str, Any]:
        """Losses of a batch, its arrays tensors now, beside the network; the scalar under "loss" is minimised."""
        ...

    def validate(self, network: Any, /) -> dict[str, float]:
        """Figures on held-out data; called without gradients, the network in evaluation mode."""
        ...

    def export(self, network: Any, path: Path, card: dict[str, Any], /) -> None:
        """Write the weights file for use, from the network on the CPU."""
        ...
