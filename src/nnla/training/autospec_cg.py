"""Training task of the shipped engine: virtual spectra, labels by simulation, expected regret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nnla.models.autospec import (
    AutoSpecEngine,
    EngineConfig,
    candidate_grid,
    forward,
    probe_features,
)
from nnla.problems.spectra import VirtualSpectrum, sample_spectrum
from nnla.spectra.density import curve_minimum
from nnla.spectra.simulated_cg import quick_cost, simulate_curve, simulate_probe
from nnla.training.ensemble import EnsembleTask
from nnla.training.networks import named_tensors
from nnla.types import SpectralProbe

__all__ = ["AutoSpecTask", "curve_figures", "curve_losses", "example_chunk", "interpolated_regret"]

_RTOLS = (1e-6, 1e-8, 1e-10)
_LANCZOS = 200  # longest probe seen in training
_HARDEST = 1500.0  # outer iterations to the tightest tolerance
_HARD = 80.0  # outer iterations beyond which a spectrum gets more nodes
_WORST = 0.5  # log cost above the best at which a curve is cut off: beyond it, all are equally bad


def example_chunk(
    seed: int,
    index: int,
    count: int,
    probes: int,
    config: EngineConfig,
    data: dict[str, Any],
    sample: Callable[[np.random.Generator, int], VirtualSpectrum],
) -> dict[str, np.ndarray]:
    """Training examples of ``count`` spectra, drawn by ``sample(rng, nodes)``; a function of its arguments alone.

    Returns
    -------
    dict of arrays, a row for each of ``probes`` probes of random length and of three tolerances per spectrum:
    features (count * probes * 3, F), curve (..., C) log outer iterations of every candidate, n, m.

    Notes
    -----
    Cost: some 20 ms a spectrum, nearly all of it `simulate_curve` for the labels.
    """
    rng = np.random.default_rng([seed, index])
    rows: list[tuple[Any, ...]] = []
    low, high = np.log(data["degree_min"] + 0.6), np.log(data["degree_max"] + 1.4)
    shortest, longest = np.log(data["steps_min"]), np.log(_LANCZOS)
    while len(rows) < count * probes * len(_RTOLS):
        m = round(float(np.exp(rng.uniform(low, high))))
        own = int(rng.integers(2**63))
        ratios, nodes = candidate_grid(config, m), data["nodes"]
        spectrum = sample(np.random.default_rng(own), nodes)
        seen: dict[str, Any] = {"measure": spectrum.measure, "maxiter": 120}
        best = quick_cost(spectrum.lam, spectrum.weight, ratios, m, _RTOLS[-1], **seen)
        # a prior on difficulty, thinning out towards what nobody would solve by CG at all
        if best > _HARDEST or rng.random() > min(1.0, (60.0 / best) ** 0.4):
            continue
        if best > _HARD:
            spectrum = sample(np.random.default_rng(own), data["nodes_hard"])
        counts = _label(spectrum, ratios, m, data)
        alpha, beta, users = simulate_probe(spectrum.lam, spectrum.weight, spectrum.measure, _LANCZOS)
        if not np.isfinite(counts[:, -1]).all() or alpha.size < 4:
            continue
        for _ in range(probes):
            k = min(int(np.exp(rng.uniform(shortest, longest))), alpha.size)
            probe = SpectralProbe(alpha[:k], beta[:k], spectrum.n, reductions=users[:k])
            features, _ = probe_features(probe, m=m, rtols=_RTOLS, config=config)
            curves = [_log_curve(column) for column in counts.T]
            rows += [(x, y, spectrum.n, m) for x, y in zip(features.astype(np.float32), curves, strict=True)]
    names = ("features", "curve", "n", "m")
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(names)}


def _label(spectrum: VirtualSpectrum, ratios: np.ndarray, m: int, data: dict[str, Any]) -> np.ndarray:
    """Outer iterations of every candidate at every tolerance.

    Beyond maxiter the rate is extrapolated: leaving out what takes longer would teach that unclear probes
    are easy.
    """
    options: dict[str, Any] = {"stride": 3, "around": 2, "maxiter": data["maxiter"], "patience": data["patience"]}
    options["measure"] = spectrum.measure
    return simulate_curve(spectrum.lam, spectrum.weight, ratios, m, _RTOLS, **options)


def _log_curve(counts: np.ndarray) -> np.ndarray:
    """Log costs, cut off `_WORST` above the best; a constant start-up of a third of an iteration added."""
    logs = np.log(counts + 0.3)
    return np.minimum(logs, logs.min() + _WORST).astype(np.float32)


class AutoSpecTask(EnsembleTask):
    """Data, network and loss of ``autospec-cg``; see `nnla.training.task.Task`."""

    config_type = EngineConfig
    chunk = 128
    figure = "regret"

    def spectrum(self, rng: np.random.Generator, nodes: int) -> VirtualSpectrum:
        """A spectrum of the family that the engine is for, drawn by ``rng``, of about ``nodes`` nodes.

        It is drawn twice from the same state where it proves hard, with few nodes and with more.
        """
        return sample_spectrum(rng, nodes=nodes)

    def examples(self, part: str, seed: int, index: int, count: int) -> dict[str, np.ndarray]:
        """`example_chunk`, with two probes for each spectrum that is held out."""
        data = self.recipe["data"]
        probes = data["probes"] if part == "train" else 2
        return example_chunk(seed, index, count, probes, self.config, data, self.spectrum)

    @property
    def outputs(self) -> int:
        """A cost for every candidate, and the level of the best."""
        return self.config.candidates + 1

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Shape of the curve near its minimum, its level, and the expected regret of a soft choice."""
        out = forward(named_tensors(network), batch["features"])
        return curve_losses(out, batch["labels"], near=(0.12, 0.03), temperature=0.03, level=0.1)

    def validate(self, network: Any) -> dict[str, float]:
        """`curve_figures` of the held-out examples."""
        out = forward(self.parameters(network), self.held["features"].astype(np.float64)).mean(axis=0)
        return curve_figures(out, self.held["curve"])

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine with its envelope."""
        data, train = self.recipe["data"], self.train
        envelope = {
            "n": [int(train["n"].min()), int(train["n"].max())],
            "degree": [int(train["m"].min()) - 1, int(train["m"].max()) - 1],
            "probe_steps": [data["steps_min"], _LANCZOS],
            "rtol": [_RTOLS[-1], _RTOLS[0]],
            "outer_iterations": [1, int(_HARDEST)],
        }
        parameters = self.parameters(network) | {"low": self.low, "high": self.high}
        AutoSpecEngine(self.config, parameters, card | {"envelope": envelope, "envelope_limit": 0.05}).save(path)


def curve_losses(
    out: Any, curve: Any, *, near: tuple[float, float], temperature: float, level: float
) -> dict[str, Any]:
    """What to minimise so that the minimum of a predicted curve of log costs is a good choice, in torch.

    Parameters
    ----------
    out : (..., C + 1) predicted log costs above the least, and the least
    curve : (..., C) true log costs
    near : regret over which a candidate's weight falls by e, and the weight of those that are far off
    temperature : of the soft choice whose expected regret counts
    level : weight of the least cost's error

    Returns
    -------
    loss, shape, regret, level
    """
    import torch

    huber = torch.nn.functional.smooth_l1_loss
    best = curve.min(dim=-1, keepdim=True).values
    regret = curve - best
    weight = torch.exp(-regret / near[0]) + near[1]
    shape = (weight * huber(out[..., :-1], regret, reduction="none", beta=0.05)).mean()
    error = huber(out[..., -1], best[..., 0], beta=0.1)
    expected = (torch.softmax(-out[..., :-1] / temperature, dim=-1) * regret).sum(dim=-1).mean()
    return {"loss": 3 * shape + expected + level * error, "shape": shape, "regret": expected, "level": error}


def curve_figures(out: np.ndarray, curve: np.ndarray) -> dict[str, float]:
    """Cost of the predicted minimum above the true one, as a share: mean and 95th percentile; error of the log level.

    Parameters
    ----------
    out : (N, C + 1), as in `curve_losses`
    curve : (N, C)
    """
    regrets = [interpolated_regret(p, c) for p, c in zip(out[:, :-1], curve, strict=True)]
    return {
        "regret": float(np.exp(np.mean(regrets)) - 1),
        "regret_p95": float(np.exp(np.quantile(regrets, 0.95)) - 1),
        "level_error": float(np.abs(out[:, -1] - curve.min(axis=1)).mean()),
    }


def interpolated_regret(predicted: np.ndarray, curve: np.ndarray) -> float:
    """Log cost of the predicted minimum above the true one, the true curve read off linearly."""
    position = curve_minimum(predicted)
    return float(np.interp(position, np.arange(curve.size), curve) - curve.min())
