"""Training task of the loop with exact products: gates that make the error fall fastest, product by product."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.nlaformer_exact import ExactLoop, ExactLoopConfig, initial_gates
from nnla.models.nlaformer_exact_engine import ExactLoopEngine
from nnla.problems.dense_spd import SPDSystems, spd_systems
from nnla.training.networks import arrays, module, named_tensors
from nnla.types import TrainingProgress

__all__ = ["ExactLoopTask", "loop_errors", "products_to"]

_FLOOR = 1e-22  # of errors whose logarithm is taken: rounding
_HELD_OUT = 30_000_000  # batches that no training reaches
_TARGET = 1e-6
_VALIDATED = 12  # loops of a validation


def loop_errors(loop: ExactLoop, x: Any, loops: int) -> list[Any]:
    """||answer - x||^2 / ||x||^2, (B,), before the first loop and after each of ``loops``.

    Cost: that of the loops.
    """
    size, errors = (x * x).sum(-1), []
    for t in range(loops + 1):
        errors.append(((loop.answer() - x) ** 2).sum(-1) / size)
        if t < loops:
            loop.advance()
    return errors


def products_to(errors: np.ndarray, target: float) -> float:
    """Where mean errors, one for each number of products from 0, first fall to a target: linear in their logarithms.

    >>> round(products_to(np.array([1.0, 1e-2, 1e-4]), 1e-3), 6)
    1.5
    """
    logs, goal = np.log(np.maximum(errors, 1e-300)), np.log(target)
    below = np.flatnonzero(logs <= goal)
    if not len(below):
        return float("inf")
    k = int(below[0])
    return 0.0 if k == 0 else k - 1 + float((logs[k - 1] - goal) / (logs[k - 1] - logs[k]))


class ExactLoopTask:
    """Data, network and loss; see `nnla.training.task.Task`.

    Notes
    -----
    The recipe's data: ``smallest`` and ``largest`` n, drawn evenly, and ``sigmas``; ``held_out`` systems of each
    validation set. Its objective: ``loops``; the loss is the mean over them of the logarithm of the batch's mean error.
    """

    figure = "products"

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.config = ExactLoopConfig(**dict(recipe["model"]))
        if not self.config.possible():
            raise OptionError(f"the recipe's [model] is impossible: {self.config}")
        data = recipe["data"]
        self.sizes = range(data["smallest"], data["largest"] + 1)
        self.sigmas = list(data["sigmas"])
        if not len(self.sizes) or self.sizes[0] < 2 * self.config.channels or not self.sigmas:
            raise OptionError("data.smallest has to be twice the channels at least, and at most data.largest")

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Held-out systems."""
        count = self.recipe["data"]["held_out"]
        some = sorted({self.sizes[0], self.sizes[len(self.sizes) // 2], self.sizes[-1]})
        self.held_out = [
            spd_systems(count, n, sigma=sigma, seed=[self.recipe["seed"], _HELD_OUT, n])
            for n in some
            for sigma in self.sigmas
        ]

    def network(self) -> Any:
        """The gates, near those of the rule that they start from."""
        return module(initial_gates(self.config, np.random.default_rng([self.recipe["seed"], 3])))

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Fresh systems of one size."""
        seed = [self.recipe["seed"], step]
        rng = np.random.default_rng([*seed, 1])
        n, sigma = int(rng.choice(self.sizes)), float(rng.choice(self.sigmas))
        systems = spd_systems(self.recipe["optim"]["batch"], n, sigma=sigma, seed=seed)
        units, columns = ExactLoopEngine.family(systems.A, systems.b).directions()
        return {"A": systems.A, "b": systems.b, "x": systems.x, "units": units, "columns": columns}

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Logarithms of mean errors, and those of the last loop."""
        A, b, x = batch["A"], batch["b"], batch["x"]
        diagonal, columns = A.diagonal(dim1=1, dim2=2), (batch["units"], batch["columns"])
        loop = ExactLoop(named_tensors(network), self.config, lambda V: A @ V, diagonal, b, columns=columns)
        errors = loop_errors(loop, x, self._loops(A.shape[-1]))
        logs = [(error.mean() + _FLOOR).log() for error in errors]
        return {"loss": sum(logs) / len(logs), "last": errors[-1].mean()}

    def validate(self, network: Any) -> dict[str, float]:
        """Products to a mean error of 1e-6, the mean over the held-out sets, and the mean error at loop 5."""
        engine = self._engine(network, {})
        found, at_five = [], []
        for systems in self.held_out:
            errors = self._errors(engine, systems)
            K = self.config.channels
            found.append(min(K * products_to(errors, _TARGET), 1e3))
            at_five.append(errors[min(5, len(errors) - 1)])
        return {"products": float(np.mean(found)), "error_at_5": float(np.max(at_five))}

    def _errors(self, engine: ExactLoopEngine, systems: SPDSystems) -> np.ndarray:
        loop = engine.loop(systems.A, systems.b, guard=False)
        return np.array([error.mean() for error in loop_errors(loop, systems.x, _VALIDATED)])

    def _loops(self, n: int) -> int:
        return max(1, min(self.recipe["objective"]["loops"], (n - 3) // self.config.channels - 1))

    def _engine(self, network: Any, card: dict[str, Any]) -> ExactLoopEngine:
        return ExactLoopEngine(self.config, arrays(network), card)

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine."""
        envelope = {"n": [self.sizes[0], self.sizes[-1]], "sigma": [min(self.sigmas), max(self.sigmas)]}
        seconds = round(time.process_time())  # of this process: of a run that was resumed, its last part
        self._engine(network, card | {"envelope": envelope, "cpu_seconds": seconds}).save(path)
