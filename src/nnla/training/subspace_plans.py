"""Training task of the engine for plans of `solve_subspace`: virtual spectra, with the block solver in the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import diags_array

from nnla.eigen.filtered_subspace import SubspacePlan, solve_subspace
from nnla.eigen.iteration import Search
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.window import Window
from nnla.models.engine_base import ensemble
from nnla.models.subspace_plans import PLANS, SubspacePlanConfig, SubspacePlanEngine, plan_features
from nnla.operators.operator import as_operator
from nnla.training.autospec_eig import virtual_window
from nnla.training.ensemble import EnsembleTask
from nnla.training.networks import named_tensors

__all__ = ["SubspacePlanTask", "plan_counts", "plan_examples"]

_FILLINGS = (1, 1, 1, 2, 3)  # of the probe
_MAXITER = 40  # filterings after which a run is given up
_LONG = 2.0  # what a run that was given up takes, by what it had taken
_FURTHER = 5  # probes of a spectrum in training, besides the first
_OTHERS = 4  # plans that are tried of a spectrum in training, besides the first
_FIRST = PLANS.index(SubspacePlan())
_NAMES = ("features", "first", "labels", "first_labels", "n", "k")


class _Weighted:
    """Random vectors as they are seen from eigenspaces of many dimensions, each of which is one number here."""

    def __init__(self, rng: np.random.Generator, weight: np.ndarray) -> None:
        self._rng, self._root = rng, np.sqrt(weight)

    def standard_normal(self, size: Any) -> np.ndarray:
        """(..., N) normal numbers times the roots of the weights."""
        return self._rng.standard_normal(size) * self._root


def plan_counts(
    lam: np.ndarray, weight: np.ndarray, k: int, residual: float, plan: SubspacePlan, seed: int
) -> tuple[np.ndarray, bool]:
    """Logarithms of products by k + 1, filterings, and operations by n (k + 1); and whether the run ended.

    Parameters
    ----------
    lam, weight : (N,) as of `virtual_window`
    k, residual, plan : what is asked for
    seed : of the start

    Notes
    -----
    The solver runs on the diagonal matrix of the nodes. Cost: some 25 ms.
    """
    op = as_operator(diags_array(lam, format="csr"), check=False, definite=False)
    rng: Any = _Weighted(np.random.default_rng(seed), weight)
    found = solve_subspace(op, k, -1.0, residual, rng, floor=residual, far=1.005, maxiter=_MAXITER, plan=plan)
    counts = np.array([found.products / (k + 1), found.filterings, found.flops / (lam.size * (k + 1))])
    return np.log(counts * (1.0 if found.converged else _LONG)), found.converged


def plan_examples(seed: int, index: int, count: int, every: bool) -> dict[str, np.ndarray]:
    """Training examples of ``count`` virtual spectra; a function of its arguments alone.

    Parameters
    ----------
    every : whether all plans are tried of each spectrum, in their order; else the first and some others

    Returns
    -------
    dict of arrays, a row for each plan and probe: features (rows, F), first (rows, F) of the usual plan, labels
    (rows, 3) as `plan_counts` has them, first_labels, n, k

    Notes
    -----
    Spectra of every other chunk have a wide upper part.
    """
    rng = np.random.default_rng([seed, index])
    rows: list[tuple[Any, ...]] = []
    left = count
    while left:
        own = np.random.default_rng(int(rng.integers(2**63)))
        lam, weight, n = virtual_window(own)
        if index % 2:
            lam = _stretched(lam, weight, own)
        k = int(np.exp(own.uniform(np.log(2), np.log(31))))
        digits = float(own.uniform(5.0, 12.0))
        window = _probe(lam, weight, n, k, digits, own)
        if window is None:
            continue
        left -= 1
        start, residual = int(own.integers(2**63)), 10**-digits
        x = plan_features(window, digits)
        first, ended = plan_counts(lam, weight, k, residual, PLANS[_FIRST], start)
        others = np.array([i for i in range(len(PLANS)) if i != _FIRST])
        if every:
            tried = np.arange(len(PLANS))
        else:
            tried = np.concatenate([[_FIRST], own.choice(others, _OTHERS, replace=False) if ended else []]).astype(int)
        labels = [
            plan_counts(lam, weight, k, residual, PLANS[i], start)[0] if ended and i != _FIRST else first for i in tried
        ]
        seen = [x]
        if not every:  # other probes of the same problem cost little, and teach how far one is to be believed
            further = (_probe(lam, weight, n, k, digits, own) for _ in range(_FURTHER))
            seen += [plan_features(other, digits) for other in further if other is not None]
        for x in seen:
            rows += [(x[i], x[_FIRST], label, first, n, k) for i, label in zip(tried, labels, strict=True)]
    return {name: np.array([row[i] for row in rows], dtype=np.float32) for i, name in enumerate(_NAMES)}


def _stretched(lam: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A spectrum whose upper part is spread widely, as that of a medium with contrast."""
    share = np.cumsum(weight) / weight.sum()
    lam = lam * np.exp(rng.uniform(0.5, 5.0) * share ** np.exp(rng.uniform(0.0, np.log(20.0))))
    return lam / lam[-1]


def _probe(
    lam: np.ndarray, weight: np.ndarray, n: int, k: int, digits: float, rng: np.random.Generator
) -> Window | None:
    """The window that a probe sees; None if the probe finds the pairs, or if rounding hides them."""
    ncv = max(min(round(k * rng.choice([4.0, 4.0, 4.0, 3.0, 6.0])), 150), k + 8, 20)
    op = as_operator(diags_array(lam, format="csr"), check=False)
    start = np.sqrt(weight * rng.chisquare(1, size=lam.size))
    space = ThickRestart(lambda v: -lam * v, lam.size, ncv, start, rng)
    probe = Search(op, space, k, -1.0, 10**-digits)
    probe.run(int(rng.choice(_FILLINGS)))
    if probe.done or lam[k] < 10 ** (1 - digits):
        return None
    seen = probe.window(1.005)
    return Window(seen.values, seen.residuals, seen.far, n, k, ncv, seen.steps)


class SubspacePlanTask(EnsembleTask):
    """Data, network and loss of ``subspace-plans``; see `nnla.training.task.Task`."""

    config_type = SubspacePlanConfig
    figure = "products_error"

    def examples(self, part: str, seed: int, index: int, count: int) -> dict[str, np.ndarray]:
        """`plan_examples`; all plans of spectra that are held out."""
        return plan_examples(seed, index, count, part == "held")

    def labels_of(self, examples: dict[str, np.ndarray]) -> np.ndarray:
        return examples["labels"]

    @property
    def outputs(self) -> int:
        """Products, filterings, operations."""
        return 3

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Plans and, for the same windows, the usual one."""
        rng = np.random.default_rng([self.recipe["seed"], 1, step])
        index = rng.integers(len(self.features), size=(self.config.members, self.recipe["optim"]["batch"]))
        return {name: self.train[name][index] for name in _NAMES[:4]}

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Errors of the logarithms, and of their differences from those of the usual plan, which decide the choice."""
        import torch

        huber = torch.nn.functional.smooth_l1_loss
        p = named_tensors(network)
        out, first = ensemble(p, batch["features"]), ensemble(p, batch["first"])
        level = huber(out, batch["labels"], beta=0.1)
        gain = huber(out - first, batch["labels"] - batch["first_labels"], beta=0.1)
        return {"loss": level + 2 * gain, "level": level, "gain": gain}

    def validate(self, network: Any) -> dict[str, float]:
        """Errors of logarithms, and seconds by those of the best plan, on held-out spectra: chosen, and the usual."""
        out = ensemble(self.parameters(network), self.held["features"].astype(np.float64)).mean(axis=0)
        error = out - self.held["labels"]
        figures = {
            "products_error": float(np.abs(error[:, 0]).mean()),
            "filterings_error": float(np.abs(error[:, 1]).mean()),
            "products_spread": float(np.exp(error[_FIRST :: len(PLANS), 0].std())),
        }
        scale = self.held["n"][:: len(PLANS)], self.held["k"][:: len(PLANS)] + 1
        for product in (4.0, 30.0):
            true, predicted = (
                _seconds(x.reshape(-1, len(PLANS), 3), *scale, product) for x in (self.held["labels"], out)
            )
            best = true.min(axis=1)
            chosen = np.take_along_axis(true, predicted.argmin(axis=1)[:, None], axis=1)[:, 0]
            fixed = np.exp(np.log(true / best[:, None]).mean(axis=0))
            for name, value in (("chosen", chosen), ("usual", true[:, _FIRST])):
                figures[f"{name}_{product:.0f}ns"] = float(np.exp(np.mean(np.log(value / best))))
            figures[f"fixed_{product:.0f}ns"] = float(fixed.min())
        return figures

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine with its envelope."""
        envelope = {key: [int(self.train[key].min()), int(self.train[key].max())] for key in ("n", "k")}
        parameters = self.parameters(network) | {"low": self.low, "high": self.high}
        SubspacePlanEngine(self.config, parameters, card | {"envelope": envelope, "envelope_limit": 0.05}).save(path)


def _seconds(logs: np.ndarray, n: np.ndarray, scale: np.ndarray, product: float) -> np.ndarray:
    """As `nnla.eigen.subspace_cost` counts them, for a product of so many nanoseconds a row."""
    counts = np.exp(logs)
    size = (n * scale)[:, None]
    return product * 1e-9 * size * counts[..., 0] + 9e-11 * size * counts[..., 2] + 1.5e-3 * counts[..., 1]
