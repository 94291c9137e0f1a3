"""Training task of the projected Algebraformer: a family's components, its priors, and how sure its answers are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.algebraformer_projected import (
    ProjectedConfig,
    ProjectedEngine,
    family_prior,
    relative_spread,
)
from nnla.models.family_matrices import FamilyPrior, MatrixEstimate, estimate_matrices, posterior, variances
from nnla.problems.bvp import bvp_systems
from nnla.training.dense_systems import DenseSystemTask
from nnla.training.family_components import family_components
from nnla.training.networks import arrays, module, named_tensors
from nnla.types import TrainingProgress

__all__ = ["ProjectedTask"]

CHUNK = 8  # matrices at a time
MARGIN = 1.25  # beyond the farthest of the training that still counts as like it
SEEN = 48  # matrices of each equation whose coordinates tell how far members may be


class ProjectedTask(DenseSystemTask):
    """Data, priors and likelihood; see `nnla.training.task.Task`.

    Notes
    -----
    Components and covariances are those of ``data.samples`` matrices of each equation and size. Trained by gradients
    are the logarithms by which each equation's prior is stretched, and that of the calibration: the negative log likelihood
    of the error of x, normal with the deviation that the posterior has for it.
    """

    figure = "nll"

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Held-out systems, and components and priors of every size."""
        super().prepare(folder, progress)
        data, seed = self.recipe["data"], self.recipe["seed"]
        if data["samples"] < 10:
            raise OptionError(f"data.samples={data['samples']} is too few; give ten or more, better a thousand")
        sizes = tuple(sorted(self.sizes))
        self.tables: dict[str, np.ndarray] = {}
        numbers: list[tuple[int, int, int]] = []
        for n in sizes:
            samples = [bvp_systems(data["samples"], equation=e, n=n, seed=[seed, 10_004]).A for e in self.equations]
            found, some = family_components(samples, [seed, 10_006])
            self.tables |= {f"size{n}_{key}": value for key, value in found.items()}
            numbers.append(some)
            progress("tables", n, sizes[-1], "components")
        leading, ranks, widths = (tuple(some[i] for some in numbers) for i in range(3))
        self.config = ProjectedConfig(sizes, leading, ranks, widths, len(self.equations))
        self.start = {
            "stretch": np.zeros((len(sizes), len(self.equations))),
            "calibration": np.zeros(len(sizes)),
        }
        for n in sizes:
            self.tables[f"size{n}_far"] = self._far(n)
        if not ProjectedEngine.possible(self.config):
            raise OptionError(f"the samples give an impossible model, {self.config}: more of data.samples")

    def _far(self, n: int) -> np.ndarray:
        """Largest level of noise and length of coordinates."""
        seed, noise = self.recipe["seed"], self.recipe["data"]["noise"]
        prior = family_prior(self.start | self.tables, self.config, n)
        length = 0.0
        for equation in self.equations:
            A = bvp_systems(SEEN, equation=equation, n=n, seed=[seed, 10_007]).A
            A = np.concatenate([A[: SEEN // 2], self.noisy(A[SEEN // 2 :], np.random.default_rng([seed, 10_008]))])
            for at in range(0, SEEN, CHUNK):
                length = max(length, float(estimate_matrices(prior, A[at : at + CHUNK]).length.max()))
        return np.array([MARGIN * max(noise["high"], 1e-3), MARGIN * length])

    def network(self) -> Any:
        """The logarithms, at zero."""
        return module(self.start, self.tables)

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Negative log likelihood of the errors of x."""
        import torch

        p = named_tensors(network)
        A, b, x = (batch[key].to(p["stretch"].dtype) for key in ("A", "b", "x"))
        n = A.shape[-1]
        prior = family_prior(p, self.config, n)
        with torch.no_grad():
            found = estimate_matrices(prior, A)
            z = A.reshape(len(A), -1) / found.scale[:, None] / prior.unit
            h = found.matrices.reshape(len(A), -1) / found.scale[:, None] / prior.unit
            root = variances(prior, h, found.alpha, found.beta) ** -0.5
        c, roots, *_ = posterior(prior, z, root, torch.zeros_like(z[:, :2]), n)
        scale = found.scale[:, None]
        matrices = (c @ prior.basis * prior.unit * scale).reshape(A.shape)
        again = MatrixEstimate(**{**vars(found), "matrices": matrices, "roots": roots * scale[:, :, None]})
        return self._likelihood(p, prior, again, b, x, torch.linalg.solve(matrices, b))

    def _likelihood(
        self, p: dict[str, Any], prior: FamilyPrior, found: MatrixEstimate, b: Any, x: Any, answer: Any
    ) -> dict[str, Any]:
        factor = p["calibration"][self.config.sizes.index(x.shape[1])]
        spread = relative_spread(prior, found, answer[..., 0])
        error = ((answer - x)[..., 0] ** 2).sum(1) / (x[..., 0] ** 2).sum(1)
        likely = (spread.log() + factor) + 0.5 * error / (spread * spread * (2 * factor).exp())
        return {"loss": likely.mean(), "relative": error.mean(), "log_relative": (error + 1e-300).log().mean() / 2}

    def answer(self, network: Any, A: Any, b: Any) -> Any:
        """x (B, n, k) by the same functions as in use."""
        import torch

        p = named_tensors(network)
        A, b = A.to(p["stretch"]), b.to(p["stretch"])
        prior = family_prior(p, self.config, A.shape[-1])
        parts = [estimate_matrices(prior, A[at : at + CHUNK]).matrices for at in range(0, len(A), CHUNK)]
        return torch.linalg.solve(torch.cat(parts), b)

    def validate(self, network: Any) -> dict[str, float]:
        """Those of all dense systems, and the likelihood on batches that no step has."""
        from nnla.training.batches import as_tensors

        figures = super().validate(network)
        last = self.recipe["optim"]["steps"]
        losses = [float(self.loss(network, as_tensors(self.batch(last + i)))["loss"]) for i in range(4)]
        return figures | {"nll": float(np.mean(losses))}

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine."""
        ProjectedEngine(self.config, arrays(network), card | {"envelope": self.envelope()}).save(path)
