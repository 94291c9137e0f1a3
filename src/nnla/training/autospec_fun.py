"""Training task of the engine for matrix functions: spectra with a ridge, true errors as labels, expected regret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnla.functions.polynomials import Margins, adapted, interpolant, zones_of
from nnla.functions.scalars import FUNCTIONS
from nnla.models.autospec_fun import CANDIDATES, FunConfig, FunctionEngine, fun_features
from nnla.models.engine_base import ensemble
from nnla.problems.covariances import sample_covariance
from nnla.spectra.simulated_cg import simulate_lanczos
from nnla.training.chunks import cached_chunks
from nnla.types import SpectralProbe, TrainingProgress

__all__ = ["FunctionTask", "candidate_errors", "example_chunk", "whitening_error"]

_CHUNK = 64
_F = FUNCTIONS["inv_sqrt"]
_FLOOR = 1e-12  # errors below are equally good
_HOPELESS = 0.9  # a spectrum for which no candidate gets below this teaches nothing
_WORST = 4.0  # log error above the best at which the label is cut off: beyond it, all are equally bad


def whitening_error(P: Any, lam: np.ndarray) -> float:
    """max |lam P(lam)^2 - 1|, which is ||P X P - I||_2; infinite where P overflows."""
    with np.errstate(all="ignore"):
        error = float(np.max(np.abs(lam * P(lam) ** 2 - 1)))
    return error if np.isfinite(error) else np.inf


def candidate_errors(probe: SpectralProbe, lam: np.ndarray, degree: int) -> np.ndarray:
    """True whitening error of every candidate's fit, (C,)."""
    errors = np.empty(len(CANDIDATES))
    for i, margins in enumerate(CANDIDATES):
        P = adapted(_F, zones_of(probe, _F, margins), degree, margins.gap)
        errors[i] = whitening_error(P, lam)
    return errors


def example_chunk(seed: int, index: int, count: int, config: FunConfig, data: dict[str, Any]) -> dict[str, np.ndarray]:
    """Training examples of ``count`` spectra; a function of its arguments alone.

    Returns
    -------
    dict of arrays: features (count * probes, F), error (..., C) of the candidates, classical (...,) of Chebyshev
    interpolation, n, steps and degree.
    """
    rng = np.random.default_rng([seed, index])
    rows: list[tuple] = []
    while len(rows) < count * data["probes"]:
        spectrum = sample_covariance(rng, nodes=data["nodes"])
        alpha, beta = simulate_lanczos(spectrum.lam, spectrum.weight, min(data["steps_max"], spectrum.n))
        for _ in range(data["probes"]):
            steps = min(int(np.exp(rng.uniform(np.log(data["steps_min"]), np.log(data["steps_max"])))), alpha.size)
            degree = 21 if rng.random() < 1 / 3 else round(
                float(np.exp(rng.uniform(np.log(data["degree_min"]), np.log(data["degree_max"]))))
            )  # fmt: skip
            probe = SpectralProbe(alpha[:steps], beta[:steps], spectrum.n)
            if steps < 4 or not probe.definite:
                continue
            # a quick look at one candidate spares the other fits where nothing can be won
            a, b = zones_of(probe, _F, Margins(0.0, 1.0, 1.0)).hull
            quick = adapted(_F, zones_of(probe, _F, CANDIDATES[8]), degree, CANDIDATES[8].gap)
            classical = whitening_error(interpolant(_F, a, b, degree), spectrum.lam)
            if min(whitening_error(quick, spectrum.lam), classical) > _HOPELESS or classical < _FLOOR:
                continue
            errors = candidate_errors(probe, spectrum.lam, degree)
            features = fun_features(probe, degree=degree, config=config).astype(np.float32)
            rows.append((features, errors, classical, spectrum.n, steps, degree))
    names = ("features", "error", "classical", "n", "steps", "degree")
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(names)}


class FunctionTask:
    """Data, network and loss of ``autospec-invsqrt``; see `nnla.training.loop.Task`."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.config = FunConfig(**recipe["model"])

    # -- data -----------------------------------------------------------------------------------

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        data, seed = self.recipe["data"], self.recipe["seed"]
        train = self._examples(folder, "train", seed, data["spectra"], progress)
        self.held = self._examples(folder, "held", seed + 10_000, data["held_out"], progress)
        self.features = train["features"]
        self.labels = _labels(train["error"])
        self.mean, self.std = self.features.mean(axis=0), self.features.std(axis=0) + 1e-3
        self.low, self.high = self.features.min(axis=0), self.features.max(axis=0)
        self.data_summary = {
            key: [int(train[name].min()), int(train[name].max())]
            for key, name in (("n", "n"), ("probe_steps", "steps"), ("degree", "degree"))
        }

    def _examples(
        self, folder: Path, part: str, seed: int, count: int, progress: TrainingProgress
    ) -> dict[str, np.ndarray]:
        """Chunks of examples, from ``folder`` where they are there already."""
        make = lambda i, n: example_chunk(seed, i, n, self.config, self.recipe["data"])  # noqa: E731
        return cached_chunks(folder, part, count, _CHUNK, make, progress)

    # -- network ----------------------------------------------------------------------------------

    def network(self) -> Any:
        import torch

        generator = torch.Generator().manual_seed(self.recipe["seed"])
        shapes = self.config.shapes()

        class Network(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                for layer in "012":
                    shape = shapes[f"W{layer}"]
                    weight = torch.randn(*shape, generator=generator) / shape[1] ** 0.5
                    setattr(self, f"W{layer}", torch.nn.Parameter(weight))
                    setattr(self, f"b{layer}", torch.nn.Parameter(torch.zeros(*shapes[f"b{layer}"])))

        network = Network()
        network.register_buffer("mean", torch.from_numpy(self.mean))
        network.register_buffer("std", torch.from_numpy(self.std))
        return network

    def loss(self, network: Any, step: int) -> dict[str, Any]:
        """Expected regret of a soft choice, and the shape of the errors near the best."""
        import torch

        optim = self.recipe["optim"]
        rng = np.random.default_rng([self.recipe["seed"], 1, step])
        index = rng.integers(len(self.features), size=(self.config.members, optim["batch"]))
        x, regret = torch.from_numpy(self.features[index]), torch.from_numpy(self.labels[index])
        out = ensemble(dict(network.named_parameters()) | dict(network.named_buffers()), x)
        near = torch.exp(-regret / 0.7) + 0.05
        huber = torch.nn.functional.smooth_l1_loss
        shape = (near * huber(out, regret, reduction="none", beta=0.2)).mean()
        expected = (torch.softmax(-out / 0.2, dim=-1) * regret).sum(dim=-1).mean()
        return {"loss": shape + 0.5 * expected, "shape": shape, "regret": expected}

    def validate(self, network: Any) -> dict[str, float]:
        """Geometric means over held-out probes: error of the choice over the best candidate's, over interpolation's."""
        out = ensemble(self._arrays(network), self.held["features"].astype(np.float64)).mean(axis=0)
        error = np.maximum(self.held["error"], _FLOOR)
        chosen = np.log(error[np.arange(len(out)), out.argmin(axis=1)])
        fixed = np.log(error).mean(axis=0).min()  # the best margins that do not depend on the probe
        interpolation = np.log(np.maximum(self.held["classical"], _FLOOR))
        return {
            "above_best": float(np.exp(np.mean(chosen - np.log(error).min(axis=1)))),
            "fixed_above_best": float(np.exp(fixed - np.mean(np.log(error).min(axis=1)))),
            "against_interpolation": float(np.exp(np.mean(chosen - interpolation))),
        }

    def _arrays(self, network: Any) -> dict[str, np.ndarray]:
        return {key: value.detach().numpy().astype(np.float64) for key, value in network.state_dict().items()}

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        arrays = self._arrays(network) | {"low": self.low, "high": self.high}
        card = card | {"envelope": self.data_summary, "envelope_limit": 0.05}
        FunctionEngine(self.config, arrays, card).save(path)


def _labels(error: np.ndarray) -> np.ndarray:
    """Log errors above the best candidate's, cut off."""
    logs = np.log(np.clip(error, _FLOOR, 1e6))
    return np.minimum(logs - logs.min(axis=1, keepdims=True), _WORST).astype(np.float32)
