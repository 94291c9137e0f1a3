"""Training task of the engine for the costs of solvers: runs on generated systems, and families held out all along.

Every ensemble is trained several times at once: on all systems, which is what ships, and without each of some folds of
kinds of systems, which says how far the networks are to be believed on kinds that they have not seen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nnla._files import write_atomic
from nnla.errors import OptionError
from nnla.models.solver_costs import (
    AFTER_ANALYSIS,
    FAILURES,
    TARGETS,
    SolverCostConfig,
    SolverCostEngine,
    analysis_inputs,
    network_inputs,
    tolerance_input,
    with_products,
)
from nnla.operators.features import GRAPH_FEATURES, STRUCTURE_FEATURES
from nnla.training.networks import arrays, module, named_tensors
from nnla.training.solver_cost_data import RTOLS, SolverRuns, fold_numbers, read_runs
from nnla.training.solver_cost_figures import HeldOut, held_out_figures, joined, predictions, spreads, temperatures
from nnla.types import TrainingProgress

__all__ = ["SolverCostTask", "cost_loss"]

_T, _P = len(TARGETS), len(FAILURES)
_PATH = "runs/data"  # what a card says in place of a path of the machine that it was trained on
_SIZES = ("log n", "log mean row")
_LOG_SIGMAS = (-4.0, 2.0)
_TAIL = 3.0  # standard deviations beyond which an error counts linearly
_INFORMATION = {"a": ("values", "graph"), "b": ("steps",), "blind": ("blind",)}
_KEYS = ("w1", "b1", "w2", "b2", "w3", "b3")


class SolverCostTask:
    """Data, network and loss of ``auto-costs``; see `nnla.training.task.Task`.

    Attributes
    ----------
    runs : SolverRuns
    fold : (N,) in which a system is held out
    """

    figure = "graph.error"

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe, self.data, self.model = recipe, recipe["data"], recipe["model"]
        if not 2 <= self.data["folds"] <= 20:
            raise OptionError(f"data.folds is {self.data['folds']}; hold out in 2 to 20 folds")
        self.members = int(self.model["members"])
        self.groups = int(self.data["folds"]) + 1

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """The runs, read once: what is resumed goes on with the data that it began with."""
        kept = folder / "data" / "runs.npz"
        if kept.exists():
            self.runs = SolverRuns.load(kept)
        else:
            self.runs = read_runs(self.data["path"])
            kept.parent.mkdir(parents=True, exist_ok=True)
            self.runs.save(kept)
        progress("data", len(self.runs), len(self.runs), f"{len(self.runs)} systems")
        runs = self.runs
        self.fold = fold_numbers(runs.kind, self.data["folds"])
        if self.fold.max() + 1 < self.data["folds"]:
            raise OptionError(f"the systems are of {self.fold.max() + 1} kinds, too few for the recipe's data.folds")
        self.config = SolverCostConfig(
            runs.structure.shape[1], runs.steps.shape[2], int(self.model["hidden"]), self.members
        )
        # families of many systems count less than all of these
        _, place, counts = np.unique(runs.family, return_inverse=True, return_counts=True)
        weight = counts[place] ** -0.5
        self.chances = [np.cumsum(weight * (self.fold != group - 1)) for group in range(self.groups)]
        self.tolerance = tolerance_input(np.array(RTOLS))
        self.known_steps: np.ndarray = np.asarray(np.isfinite(runs.steps).all(axis=2))
        self._standardise()

    def _standardise(self) -> None:
        """Scales of inputs and outputs, from all systems; ranges of each group's own; all inputs in these scales."""
        runs, c = self.runs, self.config
        x = network_inputs(runs.structure, None, 0.5)[:, :-1]
        places = np.nonzero(self.known_steps)
        x_mean, x_scale = _moments(x)
        x_mean[c.structure :], x_scale[c.structure :] = 1.0, 1.0  # what is told of the structure is 0 or 1
        s_mean, s_scale = _moments(runs.steps[places])
        r = self.tolerance.mean(keepdims=True), self.tolerance.std(keepdims=True)
        self.mean = {"a": np.concatenate([x_mean, r[0]]), "b": np.concatenate([x_mean, [1.0], s_mean, r[0]])}
        self.scale = {"a": np.concatenate([x_scale, r[1]]), "b": np.concatenate([x_scale, [1.0], s_scale, r[1]])}
        self.ranges: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"a": [], "b": []}
        for group in range(self.groups):
            seen = self.fold != group - 1
            low, high = _range(x[seen], x_mean)
            low[c.structure :], high[c.structure :] = 0.0, 1.0
            low_steps, high_steps = _range(runs.steps[seen][self.known_steps[seen]], s_mean)
            # other tolerances are what the theory of CG says of them
            self.ranges["a"].append((np.append(low, -10.0), np.append(high, 10.0)))
            self.ranges["b"].append(
                (np.concatenate([low, [0.0], low_steps, [-10.0]]), np.concatenate([high, [1.0], high_steps, [10.0]]))
            )
        self.output_mean, self.output_scale = _moments(runs.labels.reshape(-1, _T), least=0.1)

        def scaled(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
            z = (values - mean) / scale
            return np.where(np.isfinite(z), np.clip(z, -4.0, 4.0), 0.0).astype(np.float32)

        # structure as it is, without a look at the graph, and not at all
        views = [runs.structure, np.where(self.graph_features, np.nan, runs.structure), np.full_like(x, np.nan)]
        views = [network_inputs(view[:, : c.structure], None, 0.5)[:, :-1] for view in views]
        self.views = np.stack([scaled(view, x_mean, x_scale) for view in views])
        self.step_inputs = scaled(runs.steps, s_mean, s_scale)
        self.tolerance_inputs = scaled(self.tolerance, *r)
        self.scaled_labels = ((runs.labels - self.output_mean) / self.output_scale).astype(np.float32)

    # -- network -----------------------------------------------------------------------------------------------------

    def network(self) -> Any:
        """Small random weights, and beside them a linear part by least squares, for each ensemble of each group."""
        import torch

        generator = torch.Generator().manual_seed(self.recipe["seed"])
        c, count = self.config, self.groups * self.members
        parameters: dict[str, Any] = {}
        buffers: dict[str, Any] = {}
        for name in ("a", "b"):
            U, H, C = c.inputs(name) + c.structure, c.hidden, 2 * _T + _P
            for layer, (rows, columns) in enumerate(((U, H), (H, H), (H, C)), start=1):
                gain = 2**0.5 if layer < 3 else 0.1
                weight = torch.randn(count, rows, columns, generator=generator) * (gain / rows**0.5)
                parameters[f"{name}_w{layer}"] = weight
                parameters[f"{name}_b{layer}"] = torch.zeros(count, columns)
            skips, biases = zip(*(self._linear(name, group) for group in range(self.groups)), strict=True)
            buffers[f"{name}_skip"] = torch.from_numpy(np.stack(skips)).float()
            parameters[f"{name}_b3"] += torch.from_numpy(np.repeat(np.stack(biases), self.members, axis=0)).float()
        return module(parameters, buffers)

    def _linear(self, name: str, group: int) -> tuple[np.ndarray, np.ndarray]:
        """(U, C) linear part, which is kept, and (C,) what to add at first, by ridge regression on the group's systems.

        What goes with size is not held back. Runs that were stopped count as what they are expected to take.
        """
        rng = np.random.default_rng([self.recipe["seed"], 2, group])
        system, level = self._drawn(group, rng, min(6000, 10 * len(self.runs)))
        z = self._inputs(name, system, level, rng).astype(np.float64)
        y = self.scaled_labels[system, level].astype(np.float64)
        penalty = np.full(z.shape[1] + 1, self.model["ridge"])
        penalty[[*(STRUCTURE_FEATURES.index(key) for key in _SIZES), -1]] = 1e-6
        skip, bias = np.zeros((z.shape[1], 2 * _T + _P)), np.zeros(2 * _T + _P)
        for t in range(_T):
            known = np.isfinite(y[:, t])
            if known.sum() < 2 * z.shape[1]:
                continue
            capped = self.runs.capped[system, level, t][known]
            w, spread = _least_squares(z[known], y[known, t], capped, penalty)
            skip[:, t], bias[t], bias[_T + t] = w[:-1], w[-1], np.log(spread + 1e-3)
        failed = self.runs.failed[system, level]
        rate = np.array([np.nanmean(f) if np.isfinite(f).any() else 0.0 for f in failed.T])
        bias[2 * _T :] = np.log((rate + 0.01) / (1.01 - rate))
        return skip, bias

    # -- batches -----------------------------------------------------------------------------------------------------

    def _drawn(self, group: int, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Systems that a group may see, and levels of the tolerance."""
        chances = self.chances[group]
        system = np.searchsorted(chances, rng.random(count) * chances[-1], side="right")
        return system, rng.integers(len(RTOLS), size=count)

    def _inputs(self, name: str, system: np.ndarray, level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(B, U) what a network reads of some systems at levels of the tolerance, a share of them without what is not
        always there."""
        # a look at the graph takes too long for some
        view = (rng.random(len(system)) < self.data["without_graph"]).astype(int)
        r = self.tolerance_inputs[level][:, None]
        if name == "a":
            return with_products(np.hstack([self.views[view, system], r]))
        view[rng.random(len(system)) < self.data["without_structure"]] = 2  # operators without entries
        known = self.known_steps[system]
        # one of the counts that the run reached, evenly
        step = np.where(known, rng.random(known.shape), -1.0).argmax(axis=1)
        steps = self.step_inputs[system, step]
        blind = -(view == 2)[:, None].astype(np.float32)
        return with_products(np.hstack([self.views[view, system], blind, steps, r]))

    @property
    def graph_features(self) -> np.ndarray:
        """(F,) which features are of the graph."""
        return np.isin(STRUCTURE_FEATURES, GRAPH_FEATURES)

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Inputs of both networks and what is known of the costs, for each member of each group."""
        rng = np.random.default_rng([self.recipe["seed"], 1, step])
        size = self.recipe["optim"]["batch"]
        drawn = [self._drawn(group, rng, self.members * size) for group in range(self.groups)]
        system, level = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
        shape = (self.groups * self.members, size)
        batch: dict[str, np.ndarray] = {}
        for name in ("a", "b"):
            batch[name] = self._inputs(name, system, level, rng).reshape(*shape, -1)
        batch["labels"] = self.scaled_labels[system, level].reshape(*shape, _T)
        batch["capped"] = self.runs.capped[system, level].reshape(*shape, _T).astype(np.float32)
        batch["failed"] = self.runs.failed[system, level].reshape(*shape, _P).astype(np.float32)
        return batch

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """The sum over both networks of `cost_loss`."""
        import torch

        p = named_tensors(network)
        offset = torch.from_numpy(np.log(self.output_scale)).to(batch["labels"])
        losses: dict[str, Any] = {}
        for name in ("a", "b"):
            out = _forward(p, name, batch[name], self.members)
            losses[name] = cost_loss(out, batch["labels"], batch["capped"], batch["failed"], offset)
        return {"loss": losses["a"] + losses["b"], **losses}

    # -- figures and weights -----------------------------------------------------------------------------------------

    def engine(
        self,
        network: Any,
        group: int,
        factors: dict[str, np.ndarray] | None = None,
        card: dict[str, Any] | None = None,
    ) -> SolverCostEngine:
        """The engine of a group: 0 has seen all systems, g those outside of fold g - 1; ``factors`` of its spread."""
        state = arrays(network, np.float64)
        own = slice(group * self.members, (group + 1) * self.members)
        parameters: dict[str, np.ndarray] = {}
        for name in ("a", "b"):
            parameters |= {f"{name}.{key}": state[f"{name}_{key}"][own] for key in _KEYS}
            low, high = self.ranges[name][group]
            parameters |= {
                f"{name}.skip": state[f"{name}_skip"][group],
                f"{name}.input_mean": self.mean[name],
                f"{name}.input_scale": self.scale[name],
                f"{name}.low": low,
                f"{name}.high": high,
                f"{name}.output_mean": self.output_mean,
                f"{name}.output_scale": self.output_scale,
                f"{name}.temperature": np.ones(_T) if factors is None else factors[name],
            }
        weights, std = self._after_analysis(group)
        blind = np.ones(_T) if factors is None else factors["blind"]
        parameters |= {"analysis.weights": weights, "analysis.std": std, "blind.temperature": blind}
        return SolverCostEngine(self.config, parameters, card or {})

    def _after_analysis(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Least squares for the seconds of a factorisation by its counts."""
        labels = self.runs.labels[self.fold != group - 1, 0]
        at = {name: labels[:, TARGETS.index(name)] for name in ("direct.flops", "direct.entries", *AFTER_ANALYSIS)}
        seen = self.runs.sizes[self.fold != group - 1, 0]
        x = analysis_inputs(np.exp(at["direct.flops"]), np.exp(at["direct.entries"]), seen)
        weights, std = np.zeros((x.shape[1], len(AFTER_ANALYSIS))), np.ones(len(AFTER_ANALYSIS))
        for i, name in enumerate(AFTER_ANALYSIS):
            known = np.isfinite(x).all(axis=1) & np.isfinite(at[name])
            if known.sum() > 2 * x.shape[1]:
                own, y = x[known], at[name][known]
                gram = own.T @ own + 1e-6 * len(own) * np.eye(own.shape[1])
                weights[:, i] = np.linalg.solve(gram, own.T @ y)
                std[i] = max(float(np.std(y - own @ weights[:, i])), 0.02)
        return weights, std

    def held_out(self, network: Any) -> dict[str, HeldOut]:
        """What engines say of systems of kinds that they have not seen: "values" without a look at the graph, "graph"
        with it, "steps" with first steps besides, "blind" from these alone."""
        runs, engines = self.runs, [self.engine(network, group) for group in range(1, self.groups)]
        values = np.where(self.graph_features, np.nan, runs.structure)
        return {
            "values": predictions(engines, runs, self.fold, structure=values),
            "graph": predictions(engines, runs, self.fold, structure=runs.structure),
            "steps": predictions(engines, runs, self.fold, structure=runs.structure, steps=True),
            "blind": predictions(engines, runs, self.fold, structure=None, steps=True),
        }

    @staticmethod
    def factors(held: dict[str, HeldOut]) -> dict[str, np.ndarray]:
        """(T,) factors of the spread of each network, and of the second one without structure."""
        return {
            network: temperatures(joined([held[name] for name in names])) for network, names in _INFORMATION.items()
        }

    def figures(self, held: dict[str, HeldOut], factors: dict[str, np.ndarray]) -> dict[str, float]:
        """`held_out_figures`, each kind of information with the factors of its network."""
        own = {name: factors[network] for network, names in _INFORMATION.items() for name in names}
        return held_out_figures(held, own)

    def validate(self, network: Any) -> dict[str, float]:
        """Errors of logarithms, and how sure, on kinds that were held out; the rest is for the card."""
        held = self.held_out(network)
        figures = self.figures(held, self.factors(held))
        return {f"{name}.{key}": figures[f"{name}.{key}"] for name in held for key in ("error", "within1", "within2")}

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine, its spread corrected on held-out kinds; beside it those that have not seen one fold."""
        held = self.held_out(network)
        factors = self.factors(held)
        kinds = {str(kind): int(fold) for kind, fold in zip(self.runs.kind, self.fold, strict=True)}
        families = {str(family): int(fold) for family, fold in zip(self.runs.family, self.fold, strict=True)}
        recipe = card["recipe"] | {"data": dict(self.data) | {"path": _PATH}}
        facts = {
            "recipe": recipe,
            "systems": len(self.runs),
            "families": len(families),
            "envelope": {
                key: [int(column.min()), int(column.max())]
                for key, column in zip(("n", "stored entries"), self.runs.sizes.T, strict=True)
            },
            "spread": {name: spreads(found) for name, found in held.items()},
            "held_out": self.figures(held, factors),
        }
        for group in range(self.groups):
            engine = self.engine(network, group, factors, card | facts)
            own = path if group == 0 else path.parent / "folds" / f"fold-{group - 1}.safetensors"
            own.parent.mkdir(parents=True, exist_ok=True)
            engine.save(own)
        text = json.dumps({"folds": families, "kinds": kinds}, indent=1, sort_keys=True)
        write_atomic(path.parent / "folds" / "folds.json", text.encode())


def _moments(values: np.ndarray, least: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of columns where they are known, the latter at least so large."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    variance = (np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / count
    return mean, np.maximum(np.sqrt(variance), least)


def _least_squares(z: np.ndarray, y: np.ndarray, capped: np.ndarray, penalty: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients (the last is constant) and spread of a ridge regression with lower bounds among y.

    Expectation and maximisation: what was stopped is put where it is expected, given that it is beyond.
    """
    from scipy.special import log_ndtr

    x = np.column_stack([z, np.ones(len(z))])
    inverse = np.linalg.inv(x.T @ x + len(x) * np.diag(penalty)) @ x.T
    values, w, spread = y.copy(), np.zeros(x.shape[1]), 1.0
    for _ in range(8 if capped.any() else 1):
        w = inverse @ values
        fitted = x @ w
        beyond = np.zeros(0)
        if capped.any():
            short = (y[capped] - fitted[capped]) / spread
            mills = np.exp(-0.5 * short**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-short))
            values[capped] = fitted[capped] + spread * mills
            beyond = spread**2 * (1 + short * mills - mills**2)  # the variance that is left
        spread = max(float(np.sqrt((np.sum((values - fitted) ** 2) + beyond.sum()) / len(y))), 1e-3)
    return w, spread


def _range(values: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest of columns where they are known."""
    low, high = np.where(np.isfinite(values), values, np.inf), np.where(np.isfinite(values), values, -np.inf)
    low, high = low.min(axis=0, initial=np.inf), high.max(axis=0, initial=-np.inf)
    return np.where(np.isfinite(low), low, mean), np.where(np.isfinite(high), high, mean)


def _forward(p: dict[str, Any], name: str, z: Any, members: int) -> Any:
    """(M, B, C) outputs for standardised inputs (M, B, F), the members of a group after one another."""
    import torch

    h = torch.relu(torch.baddbmm(p[f"{name}_b1"][:, None], z, p[f"{name}_w1"]))
    h = torch.relu(torch.baddbmm(p[f"{name}_b2"][:, None], h, p[f"{name}_w2"]))
    out = torch.baddbmm(p[f"{name}_b3"][:, None], h, p[f"{name}_w3"])
    return out + torch.bmm(z, p[f"{name}_skip"].repeat_interleave(members, dim=0))


def cost_loss(out: Any, labels: Any, capped: Any, failed: Any, offset: Any) -> Any:
    """Mean negative log-likelihood of what is known of costs and failures.

    Parameters
    ----------
    out : (..., C) means, logarithms of standard deviations, logits
    labels, capped : (..., T) costs in their scales, NaN where unknown; 1 where one is a lower bound
    failed : (..., P) 0 or 1, NaN where unknown
    offset : (T,) logarithms of the scales

    Notes
    -----
    Normal errors, linear in the tails beyond three standard deviations; of a run that was stopped the probability that
    it takes at least so long; logistic for failures. Cost: that of a few operations an output.

    References
    ----------
    Tobin, Estimation of relationships for limited dependent variables, Econometrica 26 (1958): lower bounds. Huber,
    Robust estimation of a location parameter, Ann. Math. Statist. 35 (1964): the tails.
    """
    import torch

    mean, sigma, logit = out.split((_T, _T, _P), dim=-1)
    sigma = torch.clamp(sigma + offset, *_LOG_SIGMAS) - offset
    known = torch.isfinite(labels)
    z = (torch.where(known, labels, mean.detach()) - mean) * torch.exp(-sigma)
    size = torch.abs(z)
    normal = torch.where(size <= _TAIL, 0.5 * z * z, _TAIL * size - 0.5 * _TAIL**2) + sigma
    at_least = -torch.special.log_ndtr(-z.clamp(-30.0, 30.0))
    costs = torch.where(capped > 0.5, at_least, normal) * known
    told = torch.isfinite(failed)
    target = torch.where(told, failed, 0.0)
    failures = torch.nn.functional.binary_cross_entropy_with_logits(logit, target, reduction="none") * told
    return costs.sum(dim=-1).mean() + failures.sum(dim=-1).mean()
