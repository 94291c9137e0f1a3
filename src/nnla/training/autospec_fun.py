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
from nnla.training.ensemble import EnsembleTask
from nnla.training.networks import named_tensors
from nnla.types import SpectralProbe

__all__ = ["FunctionTask", "candidate_errors", "example_chunk", "whitening_error"]

_F = FUNCTIONS["inv_sqrt"]
_FLOOR = 1e-12  # errors below are equally good
_USELESS = 0.9  # a spectrum for which no candidate gets below this teaches nothing
_WORST = 4.0  # log error above the best at which the label is cut off: beyond it, all are equally bad


def whitening_error(P: Any, lam: np.ndarray) -> float:
    """max |lam P(lam)^2 - 1|, which is ||P X P - I||_2; infinite where P overflows.

    Cost: P at the eigenvalues.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 5.4.
    """
    with np.errstate(all="ignore"):
        error = float(np.max(np.abs(lam * P(lam) ** 2 - 1)))
    return error if np.isfinite(error) else np.inf


def candidate_errors(probe: SpectralProbe, lam: np.ndarray, degree: int) -> np.ndarray:
    """True whitening error of every candidate's fit, (C,).

    Cost: a fit of some milliseconds for each candidate.
    """
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
    rows: list[tuple[Any, ...]] = []
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
            # one candidate, tried first, spares the other fits where nothing can be won
            a, b = zones_of(probe, _F, Margins(0.0, 1.0, 1.0)).hull
            quick = adapted(_F, zones_of(probe, _F, CANDIDATES[8]), degree, CANDIDATES[8].gap)
            classical = whitening_error(interpolant(_F, a, b, degree), spectrum.lam)
            if min(whitening_error(quick, spectrum.lam), classical) > _USELESS or classical < _FLOOR:
                continue
            errors = candidate_errors(probe, spectrum.lam, degree)
            features = fun_features(probe, degree=degree, config=config).astype(np.float32)
            rows.append((features, errors, classical, spectrum.n, steps, degree))
    names = ("features", "error", "classical", "n", "steps", "degree")
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(names)}


class FunctionTask(EnsembleTask):
    """Data, network and loss of ``autospec-invsqrt``; see `nnla.training.task.Task`."""

    config_type = FunConfig
    figure = "above_best"

    def examples(self, part: str, seed: int, index: int, count: int) -> dict[str, np.ndarray]:
        """`example_chunk`."""
        return example_chunk(seed, index, count, self.config, self.recipe["data"])

    def labels_of(self, examples: dict[str, np.ndarray]) -> np.ndarray:
        """Log errors above the best candidate's, cut off."""
        logs = np.log(np.clip(examples["error"], _FLOOR, 1e6))
        return np.minimum(logs - logs.min(axis=1, keepdims=True), _WORST).astype(np.float32)

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Expected regret of a soft choice, and the shape of the errors near the best."""
        import torch

        regret = batch["labels"]
        out = ensemble(named_tensors(network), batch["features"])
        near = torch.exp(-regret / 0.7) + 0.05
        huber = torch.nn.functional.smooth_l1_loss
        shape = (near * huber(out, regret, reduction="none", beta=0.2)).mean()
        expected = (torch.softmax(-out / 0.2, dim=-1) * regret).sum(dim=-1).mean()
        return {"loss": shape + 0.5 * expected, "shape": shape, "regret": expected}

    def validate(self, network: Any) -> dict[str, float]:
        """Geometric means over held-out probes: error of the choice over the best candidate's, over interpolation's."""
        out = ensemble(self.parameters(network), self.held["features"].astype(np.float64)).mean(axis=0)
        error = np.maximum(self.held["error"], _FLOOR)
        chosen = np.log(error[np.arange(len(out)), out.argmin(axis=1)])
        fixed = np.log(error).mean(axis=0).min()  # the best margins that do not depend on the probe
        interpolation = np.log(np.maximum(self.held["classical"], _FLOOR))
        return {
            "above_best": float(np.exp(np.mean(chosen - np.log(error).min(axis=1)))),
            "fixed_above_best": float(np.exp(fixed - np.mean(np.log(error).min(axis=1)))),
            "against_interpolation": float(np.exp(np.mean(chosen - interpolation))),
        }

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine with its envelope."""
        seen = {"n": self.train["n"], "probe_steps": self.train["steps"], "degree": self.train["degree"]}
        envelope = {key: [int(values.min()), int(values.max())] for key, values in seen.items()}
        parameters = self.parameters(network) | {"low": self.low, "high": self.high}
        FunctionEngine(self.config, parameters, card | {"envelope": envelope, "envelope_limit": 0.05}).save(path)
