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
    parabolic_minimum,
    probe_features,
)
from nnla.problems.spectra import sample_spectrum
from nnla.simulation import candidate_residuals, simulate_outer_iterations, simulate_probe
from nnla.training.loop import Progress
from nnla.types import SpectralProbe

__all__ = ["AutoSpecTask", "label_chunk"]

_RTOLS = (1e-6, 1e-8, 1e-10)
_LANCZOS = 200  # longest probe seen in training
_CHUNK = 128
_HOPELESS = 1500.0  # outer iterations to the tightest tolerance
_WORST = 0.5  # log cost above the best at which a curve is cut off: beyond it, all are equally bad


def label_chunk(seed: int, index: int, count: int, config: EngineConfig, data: dict[str, Any]) -> dict[str, np.ndarray]:
    """``count`` labelled spectra; a function of its arguments alone.

    Returns
    -------
    dict of arrays: alpha, beta, reductions (count, 200), steps, n, m (count,), curve (count, C, 3) log outer
    iterations at three tolerances, NaN where a tolerance was not reached.
    """
    rng = np.random.default_rng([seed, index])
    rows: list[tuple] = []
    low, high = np.log(data["degree_min"] + 0.6), np.log(data["degree_max"] + 1.4)
    while len(rows) < count:
        spectrum = sample_spectrum(rng, nodes=data["nodes"])
        m = int(round(float(np.exp(rng.uniform(low, high)))))
        a = candidate_grid(config, m)
        mu = 1 - candidate_residuals(spectrum.lam, a, 1.0, m)
        counts = simulate_outer_iterations(
            spectrum.lam,
            spectrum.weight,
            mu,
            _RTOLS,
            measure=spectrum.measure,
            maxiter=data["maxiter"],
            patience=data["patience"],
            extrapolate=True,  # leaving out what takes longer would teach that unclear probes are easy
        )
        best = float(np.min(counts[:, -1]))
        # a prior on difficulty, thinning out towards what nobody would solve by CG at all
        if not best <= _HOPELESS or rng.random() > min(1.0, (60.0 / best) ** 0.4):
            continue
        alpha, beta, users = simulate_probe(spectrum.lam, spectrum.weight, spectrum.measure, _LANCZOS)
        if alpha.size < 4:
            continue
        pad = (0, _LANCZOS - alpha.size)
        probe = (np.pad(alpha, pad), np.pad(beta, pad), np.pad(users, pad))
        rows.append((*probe, alpha.size, spectrum.n, m, _log_curves(counts)))
    names = ("alpha", "beta", "reductions", "steps", "n", "m", "curve")
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(names)}


def _log_curves(counts: np.ndarray) -> np.ndarray:
    """Log costs, cut off `_WORST` above the best; a constant start-up of a third of an iteration added."""
    curves = np.full(counts.shape, np.nan)
    for j in range(counts.shape[1]):
        column = counts[:, j]
        if np.isfinite(column).any():
            best = np.log(column.min() + 0.3)
            with np.errstate(divide="ignore"):
                curves[:, j] = np.minimum(np.log(column + 0.3), best + _WORST)
    return curves


class AutoSpecTask:
    """Data, network and loss of ``autospec-cg``; see `nnla.training.loop.Task`."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.config = EngineConfig(**recipe["model"])
        self.features = self.curves = self.validation = None

    # -- data -----------------------------------------------------------------------------------

    def prepare(self, folder: Path, progress: Progress) -> None:
        data, seed = self.recipe["data"], self.recipe["seed"]
        train = self._labelled(folder, "train", seed, data["spectra"], progress)
        held = self._labelled(folder, "held", seed + 10_000, data["held_out"], progress)
        self.features, self.curves = self._examples(train, data["probes"], seed)
        self.validation = self._examples(held, 2, seed + 1)
        self.mean = self.features.mean(axis=0)
        self.std = self.features.std(axis=0) + 1e-3
        self.low, self.high = self.features.min(axis=0), self.features.max(axis=0)
        self.data_summary = {
            "n": [int(train["n"].min()), int(train["n"].max())],
            "degree": [int(train["m"].min()) - 1, int(train["m"].max()) - 1],
            "probe_steps": [data["steps_min"], _LANCZOS],
            "rtol": [_RTOLS[-1], _RTOLS[0]],
            "outer_iterations": [1, data["maxiter"]],
        }

    def _labelled(self, folder: Path, part: str, seed: int, count: int, progress: Progress) -> dict[str, np.ndarray]:
        cache = folder / "data"
        cache.mkdir(exist_ok=True)
        chunks = []
        total = -(-count // _CHUNK)
        for index in range(total):
            size = min(_CHUNK, count - index * _CHUNK)
            path = cache / f"{part}-{index:04d}.npz"
            if not path.exists():
                chunk = label_chunk(seed, index, size, self.config, self.recipe["data"])
                partial = path.with_suffix(".part.npz")
                np.savez(partial, **chunk)
                partial.replace(path)
            with np.load(path, allow_pickle=False) as stored:
                chunks.append({key: stored[key] for key in stored.files})
            progress(f"data ({part})", index + 1, total, "")
        return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}

    def _examples(self, labelled: dict[str, np.ndarray], repeats: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Several probes (lengths, tolerances) of every spectrum: features and log-cost curves."""
        rng = np.random.default_rng([seed, 77])
        low, high = np.log(self.recipe["data"]["steps_min"]), np.log(_LANCZOS)
        x, y = [], []
        for i in range(labelled["n"].size):
            for _ in range(repeats):
                steps = min(int(np.exp(rng.uniform(low, high))), int(labelled["steps"][i]))
                solved = np.flatnonzero(np.isfinite(labelled["curve"][i, 0]))
                j = int(rng.choice(solved))
                n, m = int(labelled["n"][i]), int(labelled["m"][i])
                alpha, beta, users = (labelled[key][i, :steps] for key in ("alpha", "beta", "reductions"))
                probe = SpectralProbe(alpha, beta, n, reductions=users)
                features, _ = probe_features(probe, m=m, rtol=_RTOLS[j], config=self.config)
                x.append(features)
                y.append(labelled["curve"][i, :, j])
        return np.array(x, dtype=np.float32), np.array(y, dtype=np.float32)

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
        return {"loss": 3 * shape + expected + 0.1 * level, "shape": shape, "regret": expected, "level": level}

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
    position = parabolic_minimum(predicted)
    return float(np.interp(position, np.arange(curve.size), curve) - curve.min())
