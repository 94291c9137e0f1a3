"""Training task of the equivariant surrogate: how close to zero, and how far below its bound, a spectrum reaches.

Invariants depend on eigenvalues alone, so eigenvalues are all that is drawn: those of generated matrices, and laws.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.equivariant import HEADS, EquivariantConfig, EquivariantEngine, forward
from nnla.models.equivariant_invariants import described
from nnla.problems.matrix_families import matrix_family
from nnla.training.networks import arrays, module, named_tensors
from nnla.types import TrainingProgress

__all__ = ["EquivariantTask", "drawn_spectra", "examples"]

_HELD_OUT = 1
_SMALLEST = 1e-8  # of a ratio that is learned
_CLOSEST = 1e-4  # of 1 less the largest eigenvalue over its bound


def drawn_spectra(head: str, count: int, n: int, rng: np.random.Generator, condition: float) -> np.ndarray:
    """(5 count, n) eigenvalues: of matrices with independent entries, and of four laws.

    Parameters
    ----------
    head : "definite": positive; "sign": gaps from 1 / 300 up; "exp": any
    condition : largest ratio of eigenvalues in "definite"

    Notes
    -----
    Cost: ``count`` eigendecompositions.
    """
    seed = int(rng.integers(2**62))
    if head == "definite":
        floors = 10.0 ** rng.uniform(-4, 1, (count, 1))
        own = np.linalg.eigvalsh(matrix_family("definite", count, n, seed=seed, floor=1e-9)) + floors
        powers = rng.uniform(0, np.log(condition), (count, 1))
        laws = [np.exp(powers * rng.random((count, n)))]
        laws += [np.exp(-powers) + rng.random((count, n)) ** rng.choice([0.5, 1, 2, 4], (count, 1))]
        laws += [np.exp(-powers * np.linspace(0, 1, n) ** rng.uniform(0.2, 3, (count, 1)))]
        laws += [np.where(rng.random((count, n)) < rng.random((count, 1)), np.exp(-powers), 1.0)]
        laws[3] *= 1 + 0.1 * rng.random((count, n))
        return np.concatenate([own, *laws])
    own = np.linalg.eigvalsh(matrix_family("symmetric", count, n, seed=seed))
    laws = [rng.uniform(-1, 1, (count, n)) + rng.uniform(-1, 1, (count, 1)), rng.standard_normal((count, n))]
    laws += [np.exp(rng.uniform(0, 6, (count, 1)) * -rng.random((count, n))) * rng.choice([-1.0, 1.0], (count, n))]
    laws += [rng.choice([-1.0, 1.0], (count, n)) * (1 + rng.uniform(0, 0.5, (count, 1)) * rng.random((count, n)))]
    values = np.concatenate([own, *laws])
    if head == "sign":  # no closer to zero than a gap
        size = np.abs(values)
        largest = size.max(-1, keepdims=True)
        gap = 10.0 ** rng.uniform(-2.5, -0.3, (len(values), 1)) * rng.choice([0.0, 1.0], (len(values), 1))
        size = np.maximum(gap, 1 / 300.0) * largest + (1 - np.maximum(gap, 1 / 300.0)) * size
        return np.where(values < 0, -size, size)
    return values - values.mean(-1, keepdims=True)


def examples(head: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (B, F) and logarithms (B,) that are to be predicted, of eigenvalues (B, n)."""
    largest = np.abs(values).max(-1, keepdims=True)
    values = values / np.where(largest > 0, largest, 1.0)
    powers = [(values**k).sum(-1) for k in (1, 2, 3, 4, 5, 6, 8)]
    bound, features = described(head, values.shape[-1], powers[:4] if head == "definite" else powers)
    if head == "exp":
        return features, np.log(np.maximum(1 - values.max(-1) / bound, _CLOSEST))
    smallest = values.min(-1) if head == "definite" else np.abs(values).min(-1)
    return features, np.log(np.maximum(smallest / bound, _SMALLEST))


class EquivariantTask:
    """Data, network and loss; see `nnla.training.task.Task`.

    Notes
    -----
    The recipe's data: ``count`` spectra of each law and size, ``largest`` size, largest ``condition``. Its objective:
    for each head the ``quantile`` that is learned: what lies beyond it takes further steps (sign, definite) or loses
    digits (exp).
    """

    figure = "loss"

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.config = EquivariantConfig(**dict(recipe["model"]))
        if not EquivariantEngine.possible(self.config):
            raise OptionError(f"the recipe's [model] is impossible: {self.config}")
        self.quantiles = {head: float(recipe["objective"][head]) for head in HEADS}
        if not all(0 < q < 1 for q in self.quantiles.values()):
            raise OptionError(
                "the recipe's [objective] needs a quantile between 0 and 1 for each of " + ", ".join(HEADS)
            )

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Spectra of all sizes, a sixth of them held out."""
        data = self.recipe["data"]
        self.train: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.held: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for number, head in enumerate(HEADS):
            for part, count in ((self.train, data["count"]), (self.held, max(1, data["count"] // 6))):
                rng = np.random.default_rng([self.recipe["seed"], number, 0 if part is self.train else _HELD_OUT])
                some = [
                    examples(head, drawn_spectra(head, count, n, rng, data["condition"]))
                    for n in range(1, self.config.largest + 1)
                ]
                part[head] = np.concatenate([x for x, _ in some]), np.concatenate([y for _, y in some])
            progress("spectra", number + 1, len(HEADS), head)

    def network(self) -> Any:
        """Weights of the usual size; the ends of the features beside them, which are not trained."""
        rng = np.random.default_rng([self.recipe["seed"], 3])
        parameters, ends = {}, {}
        for name, shape in self.config.shapes().items():
            head, _, kind = name.partition(".")
            if kind in ("low", "high"):
                x = self.train[head][0]
                ends[name] = x.min(0) if kind == "low" else x.max(0)
            else:
                parameters[name] = rng.standard_normal(shape) / np.sqrt(shape[0]) if kind[0] == "W" else np.zeros(shape)
        return module(_dashed(parameters), _dashed(ends))

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Examples for each head."""
        rng = np.random.default_rng([self.recipe["seed"], 4, step])
        out: dict[str, np.ndarray] = {}
        for head in HEADS:
            x, y = self.train[head]
            rows = rng.integers(len(y), size=self.recipe["optim"]["batch"])
            out |= {f"{head}_x": x[rows], f"{head}_y": y[rows]}
        return out

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Pinball losses: the expected value is least where predictions are the quantile.

        References
        ----------
        Koenker, Bassett, Econometrica 46 (1978) 33-50.
        """
        p = _dotted(named_tensors(network))
        found = {}
        for head, q in self.quantiles.items():
            off = batch[f"{head}_y"] - forward(p, head, batch[f"{head}_x"])
            found[head] = (q * off.clip(min=0.0) + (1 - q) * (-off).clip(min=0.0)).mean()
        return {"loss": sum(found.values()), **found}

    def validate(self, network: Any) -> dict[str, float]:
        """Losses on spectra held out, shares beyond the quantile, and mean sizes of what is given away."""
        p = _dotted(arrays(network))
        figures: dict[str, float] = {"loss": 0.0}
        for head, q in self.quantiles.items():
            x, y = self.held[head]
            off = y - forward(p, head, x)
            figures["loss"] += float((q * off.clip(min=0.0) + (1 - q) * (-off).clip(min=0.0)).mean())
            figures[f"{head}_beyond"] = float(np.mean(off < 0 if q < 0.5 else off > 0))
            figures[f"{head}_margin"] = float(np.mean(np.abs(off)))
        return figures

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine."""
        drawn = {f: {"family": "symmetric"} for f in ("exp", "sin", "cos")}
        drawn |= {"sign": {"family": "gapped", "gap": 0.01}}
        drawn |= {f: {"family": "definite", "floor": 0.1} for f in ("log", "sqrt", "inv_sqrt")}
        data = self.recipe["data"]
        envelope = {
            "n": [1, self.config.largest],
            "condition": [1.0, float(data["condition"])],
            "gap": [1 / 300.0, 1.0],
        }
        EquivariantEngine(self.config, _dotted(arrays(network)), card | {"envelope": envelope, "drawn": drawn}).save(
            path
        )


def _dashed(parameters: dict[str, Any]) -> dict[str, Any]:
    """torch's names have no dots."""
    return {key.replace(".", "_"): value for key, value in parameters.items()}


def _dotted(parameters: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("_", ".", 1): value for key, value in parameters.items()}
