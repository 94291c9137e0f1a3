"""What training tasks of dense systems share: families in batches, noise, objectives and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.evaluation.dense_models import squared_errors
from nnla.models.dense_tables import SKETCHES, measures, plain, scale_of
from nnla.problems.bvp import BVPSystems, bvp_systems
from nnla.problems.perturbations import perturbed
from nnla.training.loop import learning_rate
from nnla.training.networks import arrays
from nnla.types import TrainingProgress

__all__ = ["DenseSystemTask", "objectives"]

_TINY = 1e-30
_TABLE = 4000  # systems that standardise the entries of a size

_JUDGED = 5  # sizes below the largest that validation looks at, at most
_MARGIN = 1.25  # of the farthest sample: others of the family lie beyond it
_FLOOR = 1e-4  # of distances, which float32 tables leave


def objectives(found: Any, x: Any, residual: Any, b: Any) -> dict[str, Any]:
    """What may be minimised, means over systems: all zero at the solution.

    Parameters
    ----------
    found, x, residual, b : (B, n, k) torch tensors: answers, solutions, b - A found (or None), right-hand sides

    Returns
    -------
    dict : mse (the paper's), relative, cosine, residual

    References
    ----------
    Algebraformer, equation (2), has the first.
    """
    error, size = ((found - x) ** 2).sum(1), (x * x).sum(1) + _TINY
    cosine = (found * x).sum(1) / ((found * found).sum(1) * size + _TINY) ** 0.5
    terms = {"mse": error.mean() / x.shape[1], "relative": (error / size).mean(), "cosine": (1 - cosine).mean()}
    if residual is not None:
        terms["residual"] = ((residual * residual).sum(1) / ((b * b).sum(1) + _TINY)).mean()
    return terms


class DenseSystemTask:
    """Data, objective and figures; a subclass adds the network, its answer, and export.

    Notes
    -----
    The recipe's data: ``equations`` and ``sizes`` with their shares (``16-64`` for all of these alike), ``rhs``
    right-hand sides a matrix (those of other systems of the batch; 1 for solutions), ``examples`` (0: fresh systems for
    every batch; else a fixed set of so many), ``noise`` (law, smallest and largest level, share of systems without),
    ``held_out``. ``optim.schedule``, where it is there, may be "constant" (after the warm-up), for fine-tuning; else
    the rate falls as a cosine.
    """

    figure = "relative_mse"

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        data = recipe["data"]
        self.equations: dict[str, float] = dict(data["equations"])
        self.sizes = _shares_of_sizes(dict(data["sizes"]))
        for name, shares in (("equations", self.equations), ("sizes", self.sizes)):
            if not shares or not all(share > 0 for share in shares.values()):
                raise OptionError(f"data.{name} has to name at least one, each with a share above 0")
        self.falling = recipe["optim"].get("schedule", "cosine")
        if self.falling not in ("cosine", "constant"):
            raise OptionError(f"optim.schedule={self.falling!r} is not known; use 'cosine' or 'constant'")

    def take_one_rhs(self) -> None:
        """Raise `OptionError` unless matrices come with one right-hand side, as networks of solutions take them."""
        rhs = self.recipe["data"]["rhs"]
        if rhs != 1:
            raise OptionError(f"data.rhs={rhs} is for operators; a network of solutions takes one: data.rhs=1")

    def schedule(self, step: int) -> float:
        """Share of the peak that the learning rate has at a step."""
        optim = self.recipe["optim"]
        if self.falling == "constant":
            return min(1.0, (step + 1) / max(1, int(optim["steps"] * optim["warmup"])))
        return learning_rate(step, optim["steps"], 1.0, optim["warmup"])

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Systems that are held out, and the training set where it is a fixed one."""
        data, seed = self.recipe["data"], self.recipe["seed"]
        n = max(self.sizes)
        self.held = {
            (equation, n): bvp_systems(data["held_out"], equation=equation, n=n, seed=[seed, 10_001])
            for equation in self.equations
        }
        others = sorted(size for size in self.sizes if size != n)
        for size in others[:: -(-len(others) // _JUDGED) or 1]:
            first = next(iter(self.equations))
            self.held[first, size] = bvp_systems(data["held_out"], equation=first, n=size, seed=[seed, 10_001])
        self.fixed = None
        if data["examples"]:
            if len(self.equations) > 1 or len(self.sizes) > 1:
                raise OptionError("data.examples asks for a fixed set, which is of one equation and one size")
            self.fixed = bvp_systems(data["examples"], equation=next(iter(self.equations)), n=n, seed=[seed, 10_002])
        progress("data", 1, 1, "held-out systems")

    def tables_of(self, n: int, *, linear: bool) -> dict[str, np.ndarray]:
        """Mean and deviation of entries and answers, of matrices as they are measured and of solutions as they are.

        See `nnla.models.dense_tables`, whose functions take them.
        """
        parts, A = self.samples(n)
        clean = np.concatenate([part.A for part in parts])
        found = {f"size{n}_mean": A.mean(axis=0), f"size{n}_deviation": A.std(axis=0) + _TINY}
        scale = scale_of(found, A)
        unit = A / scale[:, None, None]
        found |= {f"size{n}_mean": unit.mean(axis=0), f"size{n}_deviation": unit.std(axis=0)}
        floor = np.abs(found[f"size{n}_mean"]).max() * 1e-12
        found[f"size{n}_deviation"] = np.maximum(found[f"size{n}_deviation"], floor)
        if linear:
            answers = np.linalg.inv(clean) * scale[:, None, None]
        else:
            b = np.concatenate([part.b for part in parts])
            answers = np.concatenate([part.x for part in parts]) * scale[:, None]
            answers /= np.sqrt(np.mean(b * b, axis=1, keepdims=True))
        found |= {f"size{n}_answer_mean": answers.mean(axis=0), f"size{n}_answer_deviation": answers.std(axis=0)}
        found = {key: np.asarray(value, dtype=np.float32) for key, value in found.items()}
        return found | self.limits_of(found, A)

    def samples(self, n: int) -> tuple[list[BVPSystems], np.ndarray]:
        """Systems of each equation, and all their matrices as they are measured."""
        seed = self.recipe["seed"]
        count = max(_TABLE // len(self.equations), 1)
        parts = [bvp_systems(count, equation=name, n=n, seed=[seed, 10_004]) for name in self.equations]
        return parts, self.noisy(np.concatenate([part.A for part in parts]), np.random.default_rng([seed, 10_005]))

    def limits_of(self, tables: dict[str, np.ndarray], A: np.ndarray) -> dict[str, np.ndarray]:
        """What tells matrices of the family of samples A (B, n, n) from others, by tables of the same or another one.

        Notes
        -----
        `SKETCHES` random matrices orthogonal to half of the samples: to all of a family that is linear in few unknowns,
        and then nearly anything else shows. The other half says how far members may be.
        """
        n = A.shape[-1]
        rng = np.random.default_rng([self.recipe["seed"], 10_006])
        A = rng.permutation(A)
        z = plain(tables, A).reshape(len(A), -1)
        half = min(len(z) // 2, n * n // 2)
        Q = np.linalg.qr(z[:half].T)[0]
        R = rng.standard_normal((SKETCHES, n * n))
        for _ in range(2):
            R -= (R @ Q) @ Q.T
        R /= np.linalg.norm(R, axis=1, keepdims=True)
        found = {f"size{n}_sketch": R.reshape(-1, n, n).astype(np.float32)}
        far = np.array([measure[half:].max() for measure in measures(tables | found, A)])
        return found | {f"size{n}_far": np.asarray(_MARGIN * np.maximum(far, _FLOOR), dtype=np.float32)}

    def noisy(self, A: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Matrices as they are measured."""
        noise = self.recipe["data"]["noise"]
        low, high = noise["low"], noise["high"]
        if high == 0:
            return A
        level = np.exp(rng.uniform(np.log(low), np.log(high), len(A))) * (rng.random(len(A)) >= noise["clean"])
        return perturbed(A, law=noise["law"], level=level, seed=rng)

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Matrices (noisy ones), right-hand sides and the solutions with the true ones."""
        rng = np.random.default_rng([self.recipe["seed"], 1, step])
        count, rhs = self.recipe["optim"]["batch"], self.recipe["data"]["rhs"]
        if self.fixed is None:
            systems = bvp_systems(count, equation=_draw(self.equations, rng), n=_draw(self.sizes, rng), seed=rng)
        else:
            systems = self.fixed[rng.integers(len(self.fixed), size=count)]
        others = (np.arange(count)[:, None] + np.arange(rhs)) % count
        b = np.ascontiguousarray(systems.b[others].swapaxes(1, 2))
        x = systems.x[..., None] if rhs == 1 else np.linalg.solve(systems.A, b)
        return {"A": self.noisy(systems.A, rng), "b": b, "x": x}

    def answer(self, network: Any, A: Any, b: Any) -> Any:
        """x (B, n, k) of the network for tensors A (B, n, n), b (B, n, k) in float64."""
        raise NotImplementedError

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Terms of `objectives`, by the recipe's weights."""
        weights = dict(self.recipe["objective"])
        found = self.answer(network, batch["A"], batch["b"])
        x, b = batch["x"].to(found.dtype), batch["b"].to(found.dtype)
        residual = b - (batch["A"] @ found.to(batch["A"].dtype)).to(b.dtype) if weights.get("residual") else None
        terms = objectives(found, x, residual, b)
        return {"loss": sum(weight * terms[name] for name, weight in weights.items() if weight), **terms}

    def validate(self, network: Any) -> dict[str, float]:
        """Relative mean squared errors, the squares' sum by that of the solutions', on held-out systems.

        ``relative_mse`` is the first equation's at the largest size. With noise in the recipe, at its geometric mean.
        """
        import torch

        noise = self.recipe["data"]["noise"]
        figures: dict[str, float] = {}
        for (equation, n), systems in self.held.items():
            A = systems.A
            if noise["high"]:
                middle = float(np.sqrt(noise["low"] * noise["high"]))
                A = perturbed(A, law=noise["law"], level=middle, seed=[self.recipe["seed"], 10_003])
            parts = [
                self.answer(network, *map(torch.from_numpy, (A[i : i + 256], systems.b[i : i + 256, :, None])))
                for i in range(0, len(A), 256)
            ]
            errors = squared_errors(torch.cat(parts).cpu().numpy()[..., 0], systems.x)
            figures |= {f"{equation}_{n}_{key.removesuffix('_mse')}": value for key, value in errors.items()}
            figures.setdefault("relative_mse", errors["relative_mse"])
        return figures

    def envelope(self) -> dict[str, Any]:
        """What the card says of the data."""
        noise = self.recipe["data"]["noise"]
        seen = {"n": [min(self.sizes), max(self.sizes)], "equations": ", ".join(self.equations)}
        if noise["high"]:
            seen |= {"noise in A": f"{noise['law']}, {noise['low']:g} to {noise['high']:g}"}
        return seen

    def state(self, network: Any) -> dict[str, np.ndarray]:
        """Parameters and tables of a network."""
        return arrays(network, np.float32)


def _shares_of_sizes(shares: dict[Any, float]) -> dict[int, float]:
    """Each size with its share; the share of "16-64" is that of all of them together.

    Examples
    --------
    >>> _shares_of_sizes({"8-9": 0.5, "16": 1.0})
    {8: 0.25, 9: 0.25, 16: 1.0}
    """
    found: dict[int, float] = {}
    for text, share in shares.items():
        low, dash, high = str(text).partition("-")
        sizes = range(_whole(low), _whole(high if dash else low) + 1)
        if not sizes:
            raise OptionError(f"data.sizes has the sizes {text!r}, of which there are none; give the smaller one first")
        for n in sizes:
            found[n] = found.get(n, 0.0) + share / len(sizes)
    return found


def _whole(text: Any) -> int:
    if not str(text).isdigit():
        raise OptionError(f"data.sizes has the size {text!r}; it has to be a whole number")
    return int(text)


def _draw(shares: dict[Any, float], rng: np.random.Generator) -> Any:
    weights = np.array(list(shares.values()))
    return list(shares)[rng.choice(len(weights), p=weights / weights.sum())]
