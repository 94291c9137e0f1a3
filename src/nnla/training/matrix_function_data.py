"""What training tasks of matrix functions by regression share: fresh matrices of families, d1, and figures by size."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.problems.matrix_families import MATRIX_FAMILIES, matrix_family
from nnla.problems.matrix_references import MATRIX_FUNCTIONS
from nnla.types import TrainingProgress

__all__ = ["MatrixFunctionTask", "relative_errors", "symmetric_functions"]

OBJECTIVES = ("d1", "log d1", "mse")
_LARGEST_ERROR = 10.0  # that counts: one sample must not be all of a gradient


def symmetric_functions(A: np.ndarray, functions: Iterable[str]) -> np.ndarray:
    """f(A) (B, functions, n, n) of symmetric matrices, one decomposition for all.

    Examples
    --------
    >>> symmetric_functions(np.eye(2)[None], ("exp", "log"))[0, :, 0, 0].round(4)
    array([2.7183, 0.    ])
    """
    values, Q = np.linalg.eigh(A)
    return np.stack([(Q * MATRIX_FUNCTIONS[f](values)[:, None, :]) @ Q.swapaxes(-1, -2) for f in functions], 1)


def relative_errors(found: Any, exact: Any) -> Any:
    """d1 = sum |error| / sum |exact|, over the last two axes.

    References
    ----------
    arXiv:2602.07800, the metric of its tables.
    """
    return abs(found - exact).sum((-1, -2)) / (abs(exact).sum((-1, -2)) + 1e-30)


class MatrixFunctionTask:
    """Data, objective and figures; a subclass adds the network, what it finds, and export.

    Notes
    -----
    The recipe's data: ``families`` with their shares and ``options`` of each, ``low`` and ``high`` between which the
    unit of a matrix is drawn (1 and 1 where functions know their units), ``turned``: the share of matrices that are
    turned by a random rotation, ``shifted``: of those that a multiple of I is added to, ``held_out``. Batch k is of
    size k modulo the number of sizes: give ``accumulate`` a multiple of it. ``objective.kind``: "d1"; "log d1", of
    which ``objective.sharpness`` is the least that counts; or "mse" of entries by their deviations.
    """

    figure = "d1"
    functions: tuple[str, ...]
    sizes: tuple[int, ...]

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        data = recipe["data"]
        self.families: dict[str, float] = dict(data["families"])
        unknown = [name for name in self.families if name not in MATRIX_FAMILIES]
        if unknown or not self.families or not all(share > 0 for share in self.families.values()):
            raise OptionError(f"data.families={self.families} has to name families of matrices, each with a share > 0")
        for name in self.families:
            if not (MATRIX_FAMILIES[name].symmetric or dict(data["options"].get(name, {})).get("symmetric", False)):
                raise OptionError(f"data.families: {name} is not symmetric; give data.options.{name}.symmetric = true")
        if not 0 < data["low"] <= data["high"]:
            raise OptionError(f"data.low={data['low']} and data.high={data['high']} are no range of units")
        objective = recipe["objective"]
        if objective["kind"] not in OBJECTIVES:
            raise OptionError(f"objective.kind={objective['kind']!r}: use one of {', '.join(OBJECTIVES)}")
        if not objective["sharpness"] > 0:
            raise OptionError(f"objective.sharpness={objective['sharpness']} has to be above 0")

    def matrices(self, count: int, n: int, rng: np.random.Generator, *, judged: bool = False) -> np.ndarray:
        """Symmetric matrices of the families; judged ones are of the first, in its own unit."""
        data, options = self.recipe["data"], dict(self.recipe["data"]["options"])
        names = list(self.families)
        if judged:
            return matrix_family(names[0], count, n, seed=rng, **dict(options.get(names[0], {})))
        shares = np.array(list(self.families.values()))
        parts = []
        for name, number in zip(names, rng.multinomial(count, shares / shares.sum()), strict=True):
            if number:
                parts.append(matrix_family(name, int(number), n, seed=rng, **dict(options.get(name, {}))))
        A = np.concatenate(parts)
        turns = rng.random(count) < data["turned"]
        if turns.any():
            Q = matrix_family("orthogonal", int(turns.sum()), n, seed=rng)
            A[turns] = Q @ A[turns] @ Q.swapaxes(-1, -2)
        size = np.linalg.norm(A, axis=(-2, -1)) * rng.exponential(1.0, count) * (rng.random(count) < data["shifted"])
        A = A + size[:, None, None] * np.eye(n)
        A = A * rng.uniform(data["low"], data["high"], count)[:, None, None]
        return 0.5 * (A + A.swapaxes(-1, -2))

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Held-out matrices."""
        count, seed = self.recipe["data"]["held_out"], self.recipe["seed"]
        self.held: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for n in self.sizes:
            A = self.matrices(count, n, np.random.default_rng([seed, 10_001, n]), judged=True)
            self.held[n] = A, symmetric_functions(A, self.functions)
        progress("data", 1, 1, "held-out matrices")

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Matrices of one size, and their functions, in float64."""
        rng = np.random.default_rng([self.recipe["seed"], 1, step])
        A = self.matrices(self.recipe["optim"]["batch"], self.sizes[step % len(self.sizes)], rng)
        return {"A": A, "Y": symmetric_functions(A, self.functions)}

    def found(self, network: Any, A: Any) -> Any:
        """f(A) (B, functions, n, n) of the network for tensors A (B, n, n)."""
        raise NotImplementedError

    def deviations(self, network: Any) -> Any:
        """Of the entries of answers, for the objective "mse"."""
        return 1.0

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """The recipe's objective, and the mean d1."""
        found, objective = self.found(network, batch["A"]), self.recipe["objective"]
        error = relative_errors(found, batch["Y"].to(found.dtype))
        if objective["kind"] == "mse":
            loss = (((found - batch["Y"].to(found.dtype)) / self.deviations(network)) ** 2).mean()
        elif objective["kind"] == "log d1":
            loss = (error + objective["sharpness"]).log().mean()
        else:
            loss = error.clamp(max=_LARGEST_ERROR).mean()
        return {"loss": loss, "d1": error.mean()}

    def validate(self, network: Any) -> dict[str, float]:
        """Mean d1 over sizes and functions; medians and the share within 5 % by function and size."""
        import torch

        figures: dict[str, float] = {}
        means = []
        for n, (A, Y) in self.held.items():
            error = relative_errors(self.found(network, torch.from_numpy(A)), torch.from_numpy(Y)).cpu().numpy()
            for k, f in enumerate(self.functions):
                figures[f"within5_{f}{n}"] = float((error[:, k] < 0.05).mean())
                figures[f"median_{f}{n}"] = float(np.median(error[:, k]))
                means.append(float(np.minimum(error[:, k], 1.0).mean()))
        return {"d1": float(np.mean(means)), **figures}

    def facts(self) -> dict[str, Any]:
        """What a card says of the training: the family that each function is judged on, and the envelope in words."""
        first = next(iter(self.families))
        drawn = {"family": first, **dict(self.recipe["data"]["options"].get(first, {}))}
        return {"drawn": dict.fromkeys(self.functions, drawn), "envelope": self._envelope()}

    def _envelope(self) -> dict[str, str]:
        n = " to ".join(map(str, dict.fromkeys((self.sizes[0], self.sizes[-1]))))
        families = "symmetric, like " + ", ".join(self.families)
        return {"functions": ", ".join(self.functions), "n": n, "matrices": families}
