"""Training task of engine B: virtual spectra with a heavy upper tail, simulated counts of every candidate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.autospec_tail import TailConfig, TailEngine, forward, tail_candidates
from nnla.polynomials.outlier_roots import equiripple_roots, residual_at, spectral_tail
from nnla.problems.spectra import VirtualSpectrum, sample_spectrum
from nnla.registry import load
from nnla.spectra.simulated_cg import candidate_residuals, simulate_outer_iterations, simulate_probe
from nnla.training.chunks import cached_chunks
from nnla.types import SpectralProbe, TrainingProgress

__all__ = ["TailTask", "heavy_tail_spectrum", "tail_examples"]

_RTOLS = (1e-6, 1e-8, 1e-10)
_CHUNK = 64
_MOST = 72  # candidates labelled per spectrum
_WORST = 0.5  # log ratio to the interval at which labels are cut off


def heavy_tail_spectrum(rng: np.random.Generator, nodes: int) -> VirtualSpectrum:
    """A virtual spectrum below, and outliers above it: the largest order statistics of a distribution.

    By Renyi's representation the logarithms of the t largest of many values with an exponential tail are sums of
    independent exponential gaps E_l / l; that is what coefficients with a heavy tail do to the top of a spectrum.
    """
    base = sample_spectrum(rng, nodes=nodes)
    t = int(np.exp(rng.uniform(0.0, np.log(max(2.0, min(200.0, 0.1 * base.n))))))
    spread = np.exp(rng.uniform(np.log(0.05), np.log(0.8)))
    gaps = spread * rng.exponential(size=t) / np.arange(1, t + 1)
    tail = np.exp(np.cumsum(gaps[::-1]))  # increasing, the first just above the spectrum's top of 1
    lam = np.concatenate([base.lam, base.lam[-1] * tail])
    own = rng.chisquare(1, size=t)
    share = np.exp(rng.normal(0.0, 1.0)) if rng.random() < 0.3 else 1.0  # scaled operators: unequal weights
    weight = np.concatenate([base.weight, np.maximum(own * share, 1e-8)])
    measure = np.concatenate([base.measure, np.maximum(own, 1e-8)])
    n = base.n + t
    scale = n / weight.sum(), n / measure.sum()
    return VirtualSpectrum(lam / lam[-1], weight * scale[0], measure * scale[1], n, base.family)


def tail_examples(seed: int, index: int, count: int, data: dict[str, Any]) -> dict[str, np.ndarray]:
    """Examples of ``count`` spectra on which there is something to choose; a function of its arguments alone.

    Returns
    -------
    features (count, `_MOST`, F), ratio (count, `_MOST`) log outer iterations relative to engine A's interval, inf for
    what is indefinite or padding.
    """
    rng = np.random.default_rng([seed, index])
    engine = load("autospec-cg")
    features, ratios = [], []
    low, high = np.log(data["degree_min"] + 0.6), np.log(data["degree_max"] + 1.4)
    shortest, longest = np.log(data["steps_min"]), np.log(data["steps_max"])
    while len(features) < count:
        m = round(float(np.exp(rng.uniform(low, high))))
        rtol = float(rng.choice(_RTOLS))
        steps = int(np.exp(rng.uniform(shortest, longest)))
        s = heavy_tail_spectrum(rng, data["nodes"])
        alpha, beta, users = simulate_probe(s.lam, s.weight, s.measure, steps)
        if alpha.size < 10:
            continue
        probe = SpectralProbe(alpha, beta, s.n, reductions=users)
        if not probe.definite or probe.lambda_max < 10 * probe.lambda_min:
            continue
        tail = spectral_tail(probe)
        choice = engine.choose(probe, degree=m - 1, rtol=rtol)
        found = tail_candidates(probe, tail, choice.a, choice.predicted_iterations, m, rtol)
        if found.a.size == 0:
            continue
        if found.a.size > _MOST:  # the best by formula, and offsets of each
            best = np.sort(np.argsort(found.features[:, -1], kind="stable")[:_MOST])
        else:
            best = np.arange(found.a.size)
        lam, mu, kept = s.lam / choice.b, [], []
        mu.append(1 - candidate_residuals(lam, np.array([choice.a / choice.b]), 1.0, m)[0])
        for i in best:
            try:
                roots = equiripple_roots(found.a[i], found.f[i], found.roots(int(i), tail), m)
            except OptionError:
                continue
            mu.append(1 - residual_at(lam, roots[None])[0])
            kept.append(i)
        if not kept:
            continue
        options: dict[str, Any] = {
            "measure": s.measure,
            "maxiter": data["maxiter"],
            "extrapolate": True,
            "patience": 2.0,
        }
        counts = simulate_outer_iterations(lam, s.weight, np.array(mu), (rtol,), **options)[:, 0] + 0.3
        if not np.isfinite(counts[0]) or counts[0] > 1500:
            continue
        x, y = np.zeros((_MOST, found.features.shape[1])), np.full(_MOST, np.inf)
        x[: len(kept)] = found.features[kept]
        y[: len(kept)] = np.log(counts[1:] / counts[0])
        features.append(x.astype(np.float32))
        ratios.append(y.astype(np.float32))
    return {"features": np.array(features), "ratio": np.array(ratios)}


class TailTask:
    """Data, network and loss of ``autospec-tail``; see `nnla.training.loop.Task`."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.config = TailConfig(**recipe["model"])

    # -- data -----------------------------------------------------------------------------------

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        data, seed = self.recipe["data"], self.recipe["seed"]
        self.train = self._examples(folder, "train", seed, data["spectra"], progress)
        self.held = self._examples(folder, "held", seed + 10_000, data["held_out"], progress)
        real = self.train["features"][np.isfinite(self.train["ratio"])]
        self.mean, self.std = real.mean(axis=0), real.std(axis=0) + 1e-3

    def _examples(
        self, folder: Path, part: str, seed: int, count: int, progress: TrainingProgress
    ) -> dict[str, np.ndarray]:
        """Chunks of examples, from ``folder`` where they are there already."""
        make = lambda i, n: tail_examples(seed, i, n, self.recipe["data"])  # noqa: E731
        return cached_chunks(folder, part, count, _CHUNK, make, progress)

    # -- network ----------------------------------------------------------------------------------

    def network(self) -> Any:
        import torch

        generator = torch.Generator().manual_seed(self.recipe["seed"])
        c = self.config

        class Network(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                for layer, (fan_in, fan_out) in enumerate(
                    [(c.features, c.hidden), (c.hidden, c.hidden), (c.hidden, 1)]
                ):
                    weight = torch.randn(c.members, fan_in, fan_out, generator=generator) / fan_in**0.5
                    setattr(self, f"W{layer}", torch.nn.Parameter(weight * (0.1 if layer == 2 else 1.0)))
                    setattr(self, f"b{layer}", torch.nn.Parameter(torch.zeros(c.members, 1, fan_out)))

        network = Network()
        network.register_buffer("mean", torch.from_numpy(self.mean))
        network.register_buffer("std", torch.from_numpy(self.std))
        return network

    def loss(self, network: Any, step: int) -> dict[str, Any]:
        """Level of every candidate, and the expected regret of a soft choice among those of a spectrum."""
        import torch

        optim = self.recipe["optim"]
        rng = np.random.default_rng([self.recipe["seed"], 1, step])
        index = rng.integers(len(self.train["features"]), size=(self.config.members, optim["batch"]))
        x = torch.from_numpy(self.train["features"][index])  # (E, B, C, F)
        y = torch.from_numpy(np.minimum(self.train["ratio"][index], _WORST))
        padding = (x == 0).all(dim=-1)
        E, B, C, F = x.shape
        out = forward(dict(network.named_parameters()) | dict(network.named_buffers()), x.reshape(E, B * C, F))
        out = out.reshape(E, B, C)
        level = torch.nn.functional.smooth_l1_loss(out, y, reduction="none", beta=0.05)
        level = level.masked_fill(padding, 0.0).sum() / (~padding).sum()
        choice = torch.softmax((-out / 0.02).masked_fill(padding, -torch.inf), dim=-1)
        best = y.masked_fill(padding, torch.inf).min(dim=-1, keepdim=True).values
        regret = (choice * (y - best).masked_fill(padding, 0.0)).sum(dim=-1).mean()
        return {"loss": level + regret, "level": level, "regret": regret}

    def validate(self, network: Any) -> dict[str, float]:
        """Mean regret of the network's choice and of the formula's, and the mean of the best."""
        x, y = self.held["features"].astype(np.float64), np.minimum(self.held["ratio"], _WORST)
        out = forward(self._arrays(network), x.reshape(-1, x.shape[-1])).mean(axis=0).reshape(y.shape)
        out[(x == 0).all(axis=-1)] = np.inf
        rows, best = np.arange(len(y)), y.min(axis=1)
        formula = np.where((x == 0).all(axis=-1), np.inf, x[..., -1] + 1e-3 * np.abs(x[..., -2]))
        return {
            "ratio_best": float(np.exp(best.mean())),
            "ratio": float(np.exp(y[rows, out.argmin(axis=1)].mean())),
            "ratio_formula": float(np.exp(y[rows, formula.argmin(axis=1)].mean())),
        }

    def _arrays(self, network: Any) -> dict[str, np.ndarray]:
        return {key: value.detach().numpy().astype(np.float64) for key, value in network.state_dict().items()}

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        data = self.recipe["data"]
        envelope = {"degree": [data["degree_min"], data["degree_max"]], "rtol": [_RTOLS[-1], _RTOLS[0]]}
        envelope["probe_steps"] = [data["steps_min"], data["steps_max"]]
        TailEngine(self.config, self._arrays(network), card | {"envelope": envelope}).save(path)
