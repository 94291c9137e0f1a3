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
from nnla.training.ensemble import EnsembleTask
from nnla.training.networks import named_tensors
from nnla.types import SpectralProbe

__all__ = ["TailTask", "heavy_tail_spectrum", "tail_examples"]

_RTOLS = (1e-6, 1e-8, 1e-10)
_MOST = 72  # candidates labelled per spectrum
_WORST = 0.5  # log ratio to the interval at which labels are cut off


def heavy_tail_spectrum(rng: np.random.Generator, nodes: int) -> VirtualSpectrum:
    """A virtual spectrum below, and outliers above it: the largest order statistics of a distribution.

    By Renyi's representation the logarithms of the t largest of many values with an exponential tail are sums of
    independent exponential gaps E_l / l; that is what coefficients with a heavy tail do to the top of a spectrum.

    Cost: that of `sample_spectrum`.

    References
    ----------
    Renyi, On the theory of order statistics, Acta Math. Acad. Sci. Hungar. 4 (1953) 191-231.
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
    features: list[np.ndarray] = []
    ratios: list[np.ndarray] = []
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
        lam = s.lam / choice.b
        mu: list[float] = []
        kept: list[int] = []
        mu.append(1 - candidate_residuals(lam, np.array([choice.a / choice.b]), 1.0, m)[0])
        for i in best:
            try:
                roots = equiripple_roots(found.a[i], found.f[i], found.roots(int(i), tail), m)
            except OptionError:
                continue
            mu.append(1 - residual_at(lam, roots[None])[0])
            kept.append(int(i))
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


class TailTask(EnsembleTask):
    """Data, network and loss of ``autospec-tail``; see `nnla.training.task.Task`."""

    config_type = TailConfig
    figure = "ratio"

    def examples(self, part: str, seed: int, index: int, count: int) -> dict[str, np.ndarray]:
        """`tail_examples`."""
        return tail_examples(seed, index, count, self.recipe["data"])

    def labels_of(self, examples: dict[str, np.ndarray]) -> np.ndarray:
        """Log ratios to the interval, cut off."""
        return np.minimum(examples["ratio"], _WORST)

    def rows_of(self, examples: dict[str, np.ndarray]) -> np.ndarray:
        """Features of what is a candidate and not padding."""
        return examples["features"][np.isfinite(examples["ratio"])]

    @property
    def outputs(self) -> int:
        """A correction to the formula's log ratio."""
        return 1

    def initial(self, generator: Any) -> dict[str, Any]:
        """Random weights; the last layer starts near zero."""
        return super().initial(generator, 0.1)

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Level of every candidate, and the expected regret of a soft choice among those of a spectrum."""
        import torch

        x, y = batch["features"], batch["labels"]  # (E, B, C, F), (E, B, C)
        padding = (x == 0).all(dim=-1)
        out = forward(named_tensors(network), x.flatten(1, 2)).reshape(y.shape)
        level = torch.nn.functional.smooth_l1_loss(out, y, reduction="none", beta=0.05)
        level = level.masked_fill(padding, 0.0).sum() / (~padding).sum()
        choice = torch.softmax((-out / 0.02).masked_fill(padding, -torch.inf), dim=-1)
        best = y.masked_fill(padding, torch.inf).min(dim=-1, keepdim=True).values
        regret = (choice * (y - best).masked_fill(padding, 0.0)).sum(dim=-1).mean()
        return {"loss": level + regret, "level": level, "regret": regret}

    def validate(self, network: Any) -> dict[str, float]:
        """Mean regret of the network's choice and of the formula's, and the mean of the best."""
        x, y = self.held["features"].astype(np.float64), self.labels_of(self.held)
        out = forward(self.parameters(network), x.reshape(-1, x.shape[-1])).mean(axis=0).reshape(y.shape)
        padding = (x == 0).all(axis=-1)
        rows, best = np.arange(len(y)), y.min(axis=1)
        choice = np.where(padding, np.inf, out).argmin(axis=1)
        formula = np.where(padding, np.inf, x[..., -1] + 1e-3 * np.abs(x[..., -2])).argmin(axis=1)
        return {
            "ratio_best": float(np.exp(best.mean())),
            "ratio": float(np.exp(y[rows, choice].mean())),
            "ratio_formula": float(np.exp(y[rows, formula].mean())),
        }

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine with its envelope."""
        data = self.recipe["data"]
        envelope = {"degree": [data["degree_min"], data["degree_max"]], "rtol": [_RTOLS[-1], _RTOLS[0]]}
        envelope["probe_steps"] = [data["steps_min"], data["steps_max"]]
        TailEngine(self.config, self.parameters(network), card | {"envelope": envelope}).save(path)
