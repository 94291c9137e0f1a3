"""Training task of the shipped engine: virtual spectra, labels by simulation, expected regret."""

from __future__ import annotations

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
from nnla.training.chunks import cached_chunks
from nnla.types import SpectralProbe, TrainingProgress

__all__ = ["AutoSpecTask", "example_chunk"]

_RTOLS = (1e-6, 1e-8, 1e-10)
_LANCZOS = 200  # longest probe seen in training
_CHUNK = 128
_HOPELESS = 1500.0  # outer iterations to the tightest tolerance
_HARD = 80.0  # outer iterations beyond which a spectrum gets more nodes
_WORST = 0.5  # log cost above the best at which a curve is cut off: beyond it, all are equally bad


def example_chunk(
    seed: int, index: int, count: int, probes: int, config: EngineConfig, data: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Training examples of ``count`` virtual spectra; a function of its arguments alone.

    Returns
    -------
    dict of arrays, a row for each of ``probes`` probes of random length and of three tolerances per spectrum:
    features (count * probes * 3, F), curve (..., C) log outer iterations of every candidate, n, m.
    """
    rng = np.random.default_rng([seed, index])
    rows: list[tuple] = []
    low, high = np.log(data["degree_min"] + 0.6), np.log(data["degree_max"] + 1.4)
    shortest, longest = np.log(data["steps_min"]), np.log(_LANCZOS)
    while len(rows) < count * probes * len(_RTOLS):
        m = round(float(np.exp(rng.uniform(low, high))))
        own = int(rng.integers(2**63))
        ratios, nodes = candidate_grid(config, m), data["nodes"]
        spectrum = sample_spectrum(np.random.default_rng(own), nodes=nodes)
        seen: dict = {"measure": spectrum.measure, "maxiter": 120}
        best = quick_cost(spectrum.lam, spectrum.weight, ratios, m, _RTOLS[-1], **seen)
        # a prior on difficulty, thinning out towards what nobody would solve by CG at all
        if best > _HOPELESS or rng.random() > min(1.0, (60.0 / best) ** 0.4):
            continue
        if best > _HARD:
            spectrum = sample_spectrum(np.random.default_rng(own), nodes=data["nodes_hard"])
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
    options: dict = {"stride": 3, "around": 2, "maxiter": data["maxiter"], "patience": data["patience"]}
    options["measure"] = spectrum.measure
    return simulate_curve(spectrum.lam, spectrum.weight, ratios, m, _RTOLS, **options)


def _log_curve(counts: np.ndarray) -> np.ndarray:
    """Log costs, cut off `_WORST` above the best; a constant start-up of a third of an iteration added."""
    logs = np.log(counts + 0.3)
    return np.minimum(logs, logs.min() + _WORST).astype(np.float32)


class AutoSpecTask:
    """Data, network and loss of ``autospec-cg``; see `nnla.training.loop.Task`."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.config = EngineConfig(**recipe["model"])
        empty = np.zeros((0, 0), dtype=np.float32)
        self.features, self.curves, self.validation = empty, empty, (empty, empty)

    # -- data -----------------------------------------------------------------------------------

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        data, seed = self.recipe["data"], self.recipe["seed"]
        train = self._examples(folder, "train", seed, data["spectra"], data["probes"], progress)
        held = self._examples(folder, "held", seed + 10_000, data["held_out"], 2, progress)
        self.features, self.curves = train["features"], train["curve"]
        self.validation = held["features"], held["curve"]
        self.mean = self.features.mean(axis=0)
        self.std = self.features.std(axis=0) + 1e-3
        self.low, self.high = self.features.min(axis=0), self.features.max(axis=0)
        self.data_summary = {
            "n": [int(train["n"].min()), int(train["n"].max())],
            "degree": [int(train["m"].min()) - 1, int(train["m"].max()) - 1],
            "probe_steps": [data["steps_min"], _LANCZOS],
            "rtol": [_RTOLS[-1], _RTOLS[0]],
            "outer_iterations": [1, int(_HOPELESS)],
        }

    def _examples(
        self, folder: Path, part: str, seed: int, count: int, probes: int, progress: TrainingProgress
    ) -> dict[str, np.ndarray]:
        """Chunks of examples, from ``folder`` where they are there already."""
        make = lambda i, n: example_chunk(seed, i, n, probes, self.config, self.recipe["data"])  # noqa: E731
        return cached_chunks(folder, part, count, _CHUNK, make, progress)

    # -- network ----------------------------------------------------------------------------------

    def network(self) -> Any:
        import torch

        generator = torch.Generator().manual_seed(self.recipe["seed"])
        c = self.config
        sizes = [(c.features, c.hidden), (c.hidden, c.hidden), (c.hidden, c.candidates + 1)]

        class Network(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                for layer, (fan_in, fan_out) in enumerate(sizes):
                    weight = torch.randn(c.members, fan_in, fan_out, generator=generator) / fan_in**0.5
                    setattr(self, f"W{layer}", torch.nn.Parameter(weight))
                    setattr(self, f"b{layer}", torch.nn.Parameter(torch.zeros(c.members, 1, fan_out)))

        network = Network()
        network.register_buffer("mean", torch.from_numpy(self.mean))
        network.register_buffer("std", torch.from_numpy(self.std))
        return network

    def loss(self, network: Any, step: int) -> dict[str, Any]:
        """Shape of the curve near its minimum, its level, and the expected regret of a soft choice."""
        import torch

        optim = self.recipe["optim"]
        rng = np.random.default_rng([self.recipe["seed"], 1, step])
        index = rng.integers(len(self.features), size=(self.config.members, optim["batch"]))
        x, curve = torch.from_numpy(self.features[index]), torch.from_numpy(self.curves[index])
        out = forward(dict(network.named_parameters()) | dict(network.named_buffers()), x)
        best = curve.min(dim=-1, keepdim=True).values
        regret = curve - best
        near = torch.exp(-regret / 0.12) + 0.03
        huber = torch.nn.functional.smooth_l1_loss
        shape = (near * huber(out[..., :-1], regret, reduction="none", beta=0.05)).mean()
        level = huber(out[..., -1], best[..., 0], beta=0.1)
        choice = torch.softmax(-out[..., :-1] / 0.03, dim=-1)
        expected = (choice * regret).sum(dim=-1).mean()
        return {
            "loss": 3 * shape + expected + 0.1 * level,
            "shape": shape,
            "regret": expected,
            "level": level,
        }

    def validate(self, network: Any) -> dict[str, float]:
        x, curve = self.validation
        out = forward(self._arrays(network), x.astype(np.float64)).mean(axis=0)
        regrets = [interpolated_regret(p, c) for p, c in zip(out[:, :-1], curve, strict=True)]
        level = np.abs(out[:, -1] - curve.min(axis=1))
        return {
            "regret": float(np.exp(np.mean(regrets)) - 1),
            "regret_p95": float(np.exp(np.quantile(regrets, 0.95)) - 1),
            "level_error": float(level.mean()),
        }

    def _arrays(self, network: Any) -> dict[str, np.ndarray]:
        return {key: value.detach().numpy().astype(np.float64) for key, value in network.state_dict().items()}

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        arrays = self._arrays(network) | {"low": self.low, "high": self.high}
        card = card | {"envelope": self.data_summary, "envelope_limit": 0.05}
        AutoSpecEngine(self.config, arrays, card).save(path)


def interpolated_regret(predicted: np.ndarray, curve: np.ndarray) -> float:
    """Log cost of the predicted minimum above the true one, the true curve read off linearly."""
    position = curve_minimum(predicted)
    return float(np.interp(position, np.arange(curve.size), curve) - curve.min())
