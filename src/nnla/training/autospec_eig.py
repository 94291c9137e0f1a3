"""Training task of the eigen engine: virtual spectra, runs of filtered Lanczos on them, expected regret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import diags_array

from nnla.eigen.filter_choice import FilterChoice
from nnla.eigen.filters import chebyshev_filter, cut_of_strength
from nnla.eigen.iteration import Search
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.window import Window
from nnla.models.autospec_eig import AutoSpecEigEngine, EigConfig, strength_grid, window_features
from nnla.models.engine_base import ensemble
from nnla.operators.operator import Operator, as_operator
from nnla.training.autospec_cg import curve_figures, curve_losses
from nnla.training.ensemble import EnsembleTask
from nnla.training.networks import named_tensors

__all__ = ["EigTask", "eig_examples", "virtual_window"]

_WORST = 0.7  # log steps above the best at which a curve is cut off
_TOL = 1e-10
_DEGREES = (1, 11, 15, 21, 21, 31, 51)  # 1: Lanczos without a filter, for the prediction of its steps
_FILLINGS = (60, 100)  # at most, with and without a filter
_LONG = 4.0  # steps of a run without a filter that was given up, by those it had taken


def virtual_window(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    """A spectrum seen from its wanted end: some hundred eigenvalues, then bins of the rest.

    Returns
    -------
    lam : (N,) increasing from 0 to 1
    weight : (N,) eigenvalues that each stands for
    n : their sum

    Notes
    -----
    Cost: below 1 ms.

    The j-th eigenvalue lies at about (j / n)^p: Weyl's law with p = 2 / dimension for differential operators, other
    powers for what is none. Added: levels that repel each other or do not, near-multiple groups, a few that stand
    apart (bound states), and a bent bulk.

    References
    ----------
    Courant, Hilbert, Methods of Mathematical Physics I, chapter VI (Weyl's law).
    """
    n = int(np.exp(rng.uniform(np.log(400), np.log(3e6))))
    low = min(n // 2, 500)
    p = float(rng.choice([2.0, 1.0, 2 / 3, 0.5])) if rng.random() < 0.7 else float(rng.uniform(0.3, 3.0))
    j = np.arange(low, dtype=np.float64)
    steps = rng.gamma(1.0 / rng.choice([0.05, 0.3, 1.0]), size=low)
    j = 0.5 * j + 0.5 * np.cumsum(steps / steps.mean()) if rng.random() < 0.5 else np.cumsum(steps / steps.mean())
    bins = np.geomspace(low, n, 300)
    places = np.concatenate([j, bins])
    lam = (places / places[-1]) ** p
    if rng.random() < 0.5:  # a bulk that bends away from the law
        knots = np.linspace(np.log(lam[low]), 0.0, 5)
        slopes = np.exp(rng.normal(0.0, 0.5, size=4))
        heights = np.concatenate([[0.0], np.cumsum(slopes)])
        heights *= -np.log(lam[low]) / heights[-1]
        lam[low:] = np.exp(np.log(lam[low]) + np.interp(np.log(lam[low:]), knots, heights))
    if rng.random() < 0.3:  # near-multiple groups
        size, spread = int(rng.integers(2, 7)), 10 ** rng.uniform(-6, -1)
        head = lam[: low - low % size].reshape(-1, size)
        lam[: head.size] = (
            head.mean(axis=1, keepdims=True) + spread * (head - head.mean(axis=1, keepdims=True))
        ).ravel()
    if rng.random() < 0.3:  # a few that stand apart
        count = int(rng.integers(1, 15))
        lam[:count] -= rng.uniform(0.0, 0.3) * rng.random(count) * lam[low - 1] * 10 ** rng.uniform(-1, 1)
    lam = np.sort(lam)
    lam = (lam - lam[0]) / (lam[-1] - lam[0])
    weight = np.concatenate([np.ones(low), np.maximum(np.diff(bins, append=bins[-1] * bins[-1] / bins[-2]), 1.0)])
    order_weight = weight * (n / weight.sum())
    return lam, order_weight, n


def eig_examples(seed: int, index: int, count: int, config: EigConfig) -> dict[str, np.ndarray]:
    """Training examples of ``count`` virtual spectra; a function of its arguments alone.

    Returns
    -------
    dict of arrays: features (count, F), curve (count, C) log steps of every candidate, n, k, degree
    """
    rng = np.random.default_rng([seed, index])
    rows: list[tuple[Any, ...]] = []
    while len(rows) < count:
        own = np.random.default_rng(int(rng.integers(2**63)))
        lam, weight, n = virtual_window(own)
        k = int(np.exp(own.uniform(np.log(2), np.log(31))))
        ncv = max(min(round(k * own.choice([4.0, 4.0, 4.0, 2.5, 6.0])), 150), k + 8, 20)
        degree = int(own.choice(_DEGREES))
        restarts = int(own.choice([1, 2, 3, 3, 5, 10, 20]))
        op = as_operator(diags_array(lam, format="csr"), check=False)
        start = np.sqrt(weight * own.chisquare(1, size=lam.size))
        space = ThickRestart(lambda v, d=lam: -d * v, lam.size, ncv, start, own)
        probe = Search(op, space, k, -1.0, _TOL)
        probe.run(restarts)
        if probe.done:
            continue
        window = probe.window(1.005)
        window = Window(window.values, window.residuals, window.far, n, k, ncv, window.steps)
        curve = _curve(op, window, probe, degree, config, own)
        if curve is not None:
            rows.append((window_features(window, degree).astype(np.float32), curve, n, k, degree))
    names = ("features", "curve", "n", "k", "degree")
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(names)}


def _curve(
    op: Operator, window: Window, probe: Search, degree: int, config: EigConfig, rng: np.random.Generator
) -> np.ndarray | None:
    """Log steps of every candidate, cut off above the best; None if none finds the pairs within `_FILLINGS`.

    Candidates are tried from the middle outwards, each given up when it is clearly worse than the best so far.
    """
    if degree == 1:
        probe.run(_FILLINGS[1])
        steps = (probe.space.steps - window.steps) * (1.0 if probe.done else _LONG)
        return np.full(config.candidates, np.log(steps), dtype=np.float32)
    grid = strength_grid(config)
    counts = np.full(grid.size, np.inf)
    lam = np.asarray(op.matvec(np.ones(op.n)))
    middle = int(np.argmin(abs(np.log(grid / 0.5))))
    seed = int(rng.integers(2**63))
    for i in sorted(range(grid.size), key=lambda i: abs(i - middle)):
        cut = cut_of_strength(float(grid[i]), window.edge, window.far, degree)
        P = chebyshev_filter(cut, window.far, degree)
        values = np.asarray(P(lam))
        start = probe.space.kept_vectors(window.k).sum(axis=0)
        locked = probe.space.locked_vectors()
        space = ThickRestart(
            lambda v, f=values: f * v, op.n, window.ncv, start, np.random.default_rng(seed), locked=locked
        )
        search = Search(op, space, window.k, -1.0, _TOL, FilterChoice(P, cut), window.width).inherit(probe)
        best = float(counts.min())
        while not search.done and not search.misled and search.restarts < _FILLINGS[0] and space.steps < 1.9 * best:
            search.run(search.restarts + 1)
        if search.done and not search.misled:
            # the last filling is counted by what it had left to do: a smooth measure of the rate
            counts[i] = space.steps - _surplus(search) * (window.ncv - window.k)
    if not np.isfinite(counts.min()):
        return None
    logs = np.log(counts)
    return np.minimum(logs, logs.min() + _WORST).astype(np.float32)


def _surplus(search: Search) -> float:
    """Which part of the last filling was more than needed, by the fall of the residual on a logarithmic scale."""
    history, target = search.history, search.target
    if len(history) < 2 or search.worst_accepted <= 0:
        return 0.0
    before, after = np.log(history[-2] / target), np.log(max(search.worst_accepted, 1e-20) / target)
    return float(np.clip(-after / max(before - after, 1e-9), 0.0, 0.9))


class EigTask(EnsembleTask):
    """Data, network and loss of ``autospec-eig``; see `nnla.training.task.Task`."""

    config_type = EigConfig
    figure = "regret"

    def examples(self, part: str, seed: int, index: int, count: int) -> dict[str, np.ndarray]:
        """`eig_examples`."""
        return eig_examples(seed, index, count, self.config)

    def initial(self, generator: Any) -> dict[str, Any]:
        """Random weights; the last layer starts near zero, biases at it."""
        import torch

        out: dict[str, Any] = {}
        for name, shape in self.config.shapes().items():
            if name[0] in "Wb":
                scale = 0.0 if name[0] == "b" else shape[1] ** -0.5 * (0.1 if name == "W2" else 1.0)
                out[name] = scale * torch.randn(*shape, generator=generator)
        return out

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Shape of the curve near its minimum, its level, and the expected regret of a soft choice."""
        out = ensemble(named_tensors(network), batch["features"])
        return curve_losses(out, batch["labels"], near=(0.15, 0.05), temperature=0.04, level=0.3)

    def validate(self, network: Any) -> dict[str, float]:
        """Steps above the best candidate's, on held-out spectra: by the engine, and by the best fixed strength."""
        out = ensemble(self.parameters(network), self.held["features"].astype(np.float64)).mean(axis=0)
        curve = self.held["curve"]
        fixed = (curve - curve.min(axis=1, keepdims=True)).mean(axis=0).min()
        return curve_figures(out, curve) | {"regret_fixed": float(np.exp(fixed) - 1)}

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine with its envelope."""
        envelope = {key: [int(self.train[key].min()), int(self.train[key].max())] for key in ("n", "k", "degree")}
        parameters = self.parameters(network) | {"low": self.low, "high": self.high}
        AutoSpecEigEngine(self.config, parameters, card | {"envelope": envelope, "envelope_limit": 0.1}).save(path)
