"""What trainings of learned iterations share: systems, teachers, losses and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.krylov.dense_iterates import TEACHERS, conjugate_gradients, relative_errors
from nnla.problems.dense_spd import spd_systems
from nnla.training.networks import arrays
from nnla.types import TrainingProgress

__all__ = ["LOSSES", "IterationTask", "discrepancy", "one_of"]

LOSSES = ("result", "joint", "steps", "levels")
_TINY = 1e-8  # of relative errors, whose logarithms are taken


def one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Raise `OptionError`, which names the recipe's key, unless a value is known."""
    if value not in known:
        raise OptionError(f"{name}={value!r} is not known; choose {', '.join(known)}")


class IterationTask:
    """Data, losses and figures of a network that answers after every iteration; see `nnla.training.task.Task`.

    A subclass brings ``engine``, `network` and `read`.

    Notes
    -----
    ``objective.loss``: "result", CG's iterates (the paper's result supervision); "joint", its residuals and directions
    too, with weight ``eta`` (39); "steps", its iterates and with weight ``solution`` the solution, over the last
    ``window`` iterations (40); "levels", the mean over the iterations of the logarithm of the mean ||x_t - x|| / ||x||,
    in which iterations of small errors are not lost, nor systems of small ones (not the paper's). Where residuals and
    directions are not supervised, their probe learns from tokens that it cannot change.

    ``objective.curriculum``: the share of the steps over which iterations grow from ``first`` to those of the model.

    References
    ----------
    NLAFormer, section 4; Yang et al., Looped transformers are better at learning learning algorithms (ICLR 2024), for
    the growing number of iterations.
    """

    figure = "relative_mse"
    engine: type[Any]

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.objective: dict[str, Any] = dict(recipe["objective"])
        one_of("objective.loss", self.objective["loss"], LOSSES)
        one_of("objective.teacher", self.objective["teacher"], TEACHERS)
        self.config = self.engine.config_type(**recipe["model"])
        if not self.engine.possible(self.config):
            raise OptionError(f"the recipe's [model] is impossible: {self.config}")
        if not (1 <= self.objective["first"] <= self.config.loops and self.objective["window"] >= 1):
            raise OptionError("objective.first has to be from 1 to model.loops, and objective.window 1 or more")
        if not 0 <= self.objective["curriculum"] <= 1:
            raise OptionError("objective.curriculum is a share of the steps: from 0 to 1")

    def network(self) -> Any:
        """A ``torch.nn.Module`` of named parameters."""
        raise NotImplementedError

    def read(self, network: Any, A: Any, b: Any, loops: int, *, detached: bool) -> tuple[Any, Any]:
        """x (B, T + 1, n), and residuals with directions (B, T + 1, n, 2), in the systems' units.

        Parameters
        ----------
        network : of `network`
        A, b : tensors (B, n, n) and (B, n)
        loops : T
        detached : whether the second probe must not change what it reads
        """
        raise NotImplementedError

    def loops(self, step: int) -> int:
        """Iterations at a step: they grow over the first share of them."""
        first, last = self.objective["first"], self.config.loops
        over = self.recipe["optim"]["steps"] * self.objective["curriculum"]
        return last if step >= over else first + int((last - first) * step / over)

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Systems that are held out, with what CG makes of them."""
        data = self.recipe["data"]
        self.held = spd_systems(
            data["held_out"], self.config.n, sigma=data["sigma"], seed=[self.recipe["seed"], 10_001]
        )
        self.cg = conjugate_gradients(self.held.A, self.held.b, self.config.loops)
        progress("data", 1, 1, "held-out systems")

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Systems, solutions, and the teacher's iterations so far as they are learned at this step."""
        data, count = self.recipe["data"], self.recipe["optim"]["batch"]
        systems = spd_systems(count, self.config.n, sigma=data["sigma"], seed=[self.recipe["seed"], 1, step])
        steps = self.loops(step // self.recipe.get("accumulate", 1))
        path = conjugate_gradients(systems.A, systems.b, steps, teacher=self.objective["teacher"])
        return {"A": systems.A, "b": systems.b, "x": systems.x, "path": path.x, "inner": np.stack([path.r, path.d], -1)}

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """The recipe's loss, the mean error at the last iteration, and that of residuals and directions."""
        kind, o = self.objective["loss"], self.objective
        path, inner = batch["path"], batch["inner"]
        found, read = self.read(network, batch["A"], batch["b"], path.shape[1] - 1, detached=kind != "joint")
        x = batch["x"][:, None]
        n = x.shape[-1]
        solved = (found - x).square().sum(-1)
        taught = (found - path).square().sum(-1).mean(0) / n
        within = (read - inner).square().sum((-1, -2)).mean() / n
        relative = solved / x.square().sum(-1)
        if kind == "levels":
            loss = 2 * (relative + _TINY**2).sqrt().mean(0).add(_TINY).log().mean()
        elif kind == "steps":
            start = max(path.shape[1] - o["window"], 0)
            loss = (taught + o["solution"] * solved.mean(0) / n)[start:].mean()
        else:
            loss = taught.mean()
        # by another weight the probe alone would learn faster or slower: nothing else sees it unless kind is "joint"
        loss = loss + o["eta"] * within
        return {"loss": loss, "relative": relative[:, -1].mean(), "inner": within}

    def validate(self, network: Any) -> dict[str, float]:
        """Mean ||x_t - x||^2 / ||x||^2 on held-out systems, at the last iteration and each; the discrepancy to CG."""
        import torch

        held, parts = self.held, []
        for at in range(0, len(held), 256):
            some = slice(at, at + 256)
            A, b = torch.from_numpy(held.A[some]), torch.from_numpy(held.b[some])
            parts.append(self.read(network, A, b, self.config.loops, detached=True))
        found, read = (torch.cat(rows).double().cpu().numpy() for rows in zip(*parts, strict=True))
        errors = relative_errors(found, held.x).mean(0)
        figures = {"relative_mse": float(errors[-1])}
        if self.objective["teacher"] == "cg":
            figures["discrepancy"] = discrepancy(read, self.cg.r, self.cg.d)
        return figures | {f"loop_{t}": float(value) for t, value in enumerate(errors)}

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine."""
        envelope = {"n": [self.config.n, self.config.n], "sigma": [self.recipe["data"]["sigma"]] * 2}
        self.engine(self.config, arrays(network), card | {"envelope": envelope}).save(path)


def discrepancy(inner: np.ndarray, r: np.ndarray, d: np.ndarray) -> float:
    """Mean over iterations 2, ..., T of ||inner_t - (r_t, d_t)||^2 / n.

    Parameters
    ----------
    inner : (B, T + 1, n, 2) what the second probe reads
    r, d : (B, T + 1, n) of CG

    References
    ----------
    NLAFormer, section 4.1, tables 2 and 3, where T = n.
    """
    error = (inner - np.stack([r, d], -1)) ** 2
    return float(error.sum((-1, -2))[:, 2:].mean() / r.shape[-1])
