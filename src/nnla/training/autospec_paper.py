"""Training task of the paper's engine: backbone on true spectra, then the embedding on Lanczos probes.

Two stages in one run. *Pre-training* feeds the backbone the five largest and five smallest true
eigenvalues; *post-training* freezes it and trains the embedding that has to replace those by what a
probe knows. Both minimise the paper's layer-wise objective (20)-(22) in a form that trains: see
`layer_losses`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nnla.models.autospec_paper import (
    PaperConfig,
    PaperEngine,
    embedding,
    paper_features,
)
from nnla.models.paper_backbone import backbone
from nnla.problems.paper_spectra import paper_spectra
from nnla.spectra.simulated_cg import simulate_lanczos
from nnla.training.networks import beside, module
from nnla.training.paper_layers import anchor_weights, chebyshev_layers, guarded_log, layer_polynomials
from nnla.training.paper_stages import BACKBONE, EMBEDDING, StagedTask
from nnla.types import SpectralProbe, TrainingProgress

__all__ = ["PaperTask", "anchor_weights", "chebyshev_layers", "layer_losses", "layer_polynomials"]

_TOP = 1.02  # P is kept positive up to this multiple of the upper bound b: probes can fall short of lam_max
_GRID = _TOP * (1 - np.cos(np.pi * (np.arange(64) + 0.5) / 64)) / 2
_FLOOR = 1e-4  # below this ratio min / max a logarithm is continued by its tangent


# -- the polynomial and its objective --------------------------------------------------------------


def _grid(lam: Any) -> Any:
    """The nodes of _GRID for each row of ``lam``, beside it."""
    import torch

    return torch.as_tensor(_GRID, dtype=lam.dtype, device=lam.device).expand(lam.shape[0], -1)


def _guarded_rate(q: Any) -> Any:
    """log(-log(1 - q)), the logarithm of a convergence rate, continued below _FLOOR as `guarded_log`."""
    clamped = q.clamp(min=_FLOOR, max=1 - 1e-4)
    return (-(-clamped).log1p()).log() + (q - q.clamp(min=_FLOOR)) / _FLOOR


def layer_losses(
    coefficients: Any, lam: Any, *, struct: float = 5.0, margin: float = 0.02, penalty: float = 10.0
) -> tuple[Any, Any]:
    """The objective (20)-(22) of every layer, in its stabilised form.

    Parameters
    ----------
    coefficients : (D, B, 5)
    lam : (B, N) eigenvalues in units of b
    struct : c = struct / d^3, d = k + 1 the degree of layer k's polynomial
    margin, penalty : weight and margin of the positivity term

    Returns
    -------
    losses : (D,) means over the batch
    q : (D, B) min PX / max PX over the spectrum; positive means definite

    Notes
    -----
    Cost: D passes over (B, N) numbers, and as many backward.

    With q = min PX / max PX, (20) is r_nn = 1 - q. L_obj = k log r_Richardson / log r_nn and
    L_struct = max P / min P enter by their logarithms, written with log1p(-q) and continued linearly
    where the ratio is not positive; L_reg = r_nn is linear anyway. Added to the paper's: a linear
    penalty where PX falls below ``margin`` of its maximum anywhere on [0.01, 1.02] b, because spectra
    in use have eigenvalues where those of training have gaps.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (20)-(22).
    """
    import torch

    count = lam.shape[1]
    x = torch.cat([lam, _grid(lam)], dim=1)
    small, large = lam.amin(dim=1), lam.amax(dim=1)
    richardson = (-(-(small / large)).clamp(min=-1 + 1e-4).log1p()).log()  # log(-log r_Richardson), (21)
    inner = slice(count + int(np.searchsorted(_GRID, 0.01)), None)
    losses: list[Any] = []
    ratios: list[Any] = []
    for k, P in enumerate(layer_polynomials(coefficients, x), start=1):
        PX = x * P
        top = PX[:, :count].amax(dim=1).clamp_min(1e-6)
        q = PX[:, :count].amin(dim=1) / top
        condition = P[:, :count].amin(dim=1) / P[:, :count].amax(dim=1).clamp_min(1e-6)
        objective = np.log(k) + richardson - _guarded_rate(q)
        structure = -guarded_log(condition, _FLOOR)
        lowest = PX[:, inner].amin(dim=1) / top
        positivity = (margin - lowest).clamp(min=0)
        losses.append((objective + (1 - q) + struct / (k + 1) ** 3 * structure + penalty * positivity).mean())
        ratios.append(q)
    return torch.stack(losses), torch.stack(ratios)


# -- the task ------------------------------------------------------------------------------------


class PaperTask(StagedTask):
    """Data, network and loss of ``autospec-cg-paper``; see `nnla.training.task.Task`."""

    figure = "last"

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        model = dict(recipe["model"])
        self.initial = float(model.pop("initial"))
        self.config = PaperConfig(**model)

    # -- data -----------------------------------------------------------------------------------

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Spectra for pre-training; spectra with probes for post-training and for validation."""
        data = self.recipe["data"]
        self.sizes = (data["n_min"], data["n_max"])
        condition = (data["condition_min"], data["condition_max"])
        spectra, size = paper_spectra(data["spectra"], self.recipe["seed"], n=self.sizes, condition=condition)
        self.spectra = spectra.astype(np.float32)
        order = np.arange(self.config.ends)
        rows = np.arange(size.size)[:, None]
        self.exact = np.concatenate(  # 5 largest, then 5 smallest, both descending, as Algorithm 3 sorts
            [spectra[rows, size[:, None] - 1 - order], spectra[rows, order[::-1]]], axis=1
        ).astype(np.float32)
        progress("data (spectra)", 1, 1, "")
        self.prepare_probed(folder, progress)

    def probe_spectra(
        self, part: str, seed: int, count: int, probes: int, progress: TrainingProgress
    ) -> dict[str, np.ndarray]:
        """Spectra, and upper bound b and features of each probe."""
        data, k = self.recipe["data"], self.config.k
        condition = (data["probe_condition_min"], data["condition_max"])
        lam, size = paper_spectra(count, seed, n=self.sizes, condition=condition)
        rng = np.random.default_rng([seed, 2])
        low, high = np.log(data["steps_min"]), np.log(data["steps_max"] + 1)
        features, bounds = np.empty((count, probes, 4 * k)), np.empty((count, probes))
        for i in range(count):
            n = int(size[i])
            alpha, beta = simulate_lanczos(lam[i, :n], rng.chisquare(1, size=n) + 1e-12, data["steps_max"])
            for j in range(probes):
                steps = min(int(np.exp(rng.uniform(low, high))), alpha.size)
                probe = SpectralProbe(alpha[:steps], beta[:steps], n)
                bounds[i, j] = probe.upper_bound
                features[i, j] = paper_features(probe.ritz_values, probe.ritz_residuals, bounds[i, j], k)
            if (i + 1) % 128 == 0 or i + 1 == count:
                progress(f"data ({part})", i + 1, count, "")
        return {key: v.astype(np.float32) for key, v in (("lam", lam), ("features", features), ("b", bounds))}

    def batch(self, step: int) -> dict[str, Any]:
        """Spectra in units of b, with true eigenvalues or features of a probe, as the stage has it."""
        size = self.recipe["optim"]["batch"]
        rng = np.random.default_rng([self.recipe["seed"], 4, step])
        pretrain, weight = self.stage(step)
        if pretrain:
            index = rng.integers(len(self.spectra), size=size)
            # In use, spectra are divided by an upper bound that is up to 5 % too large.
            scale = (1 / rng.uniform(1.0, 1.05, size=(size, 1))).astype(np.float32)
            lam, inputs = self.spectra[index] * scale, self.exact[index] * scale
        else:
            index = rng.integers(len(self.train["lam"]), size=size)
            probe = rng.integers(self.train["b"].shape[1], size=size)
            lam = self.train["lam"][index] / self.train["b"][index, probe][:, None]
            inputs = self.train["features"][index, probe]
        return {"pretrain": pretrain, "weight": weight, "lam": lam, "inputs": inputs}

    def held_batches(self) -> Iterator[dict[str, Any]]:
        """Held-out spectra in units of b with features, once for each of their probes."""
        for j, b in enumerate(self.held["b"].T):
            yield {"lam": self.held["lam"] / b[:, None], "inputs": self.held["features"][:, j]}

    # -- network ----------------------------------------------------------------------------------

    def network(self) -> Any:
        """Chebyshev biases, weights near zero, and an embedding that passes Ritz values on.

        gelu(x) - gelu(-x) = x, so pairs of hidden units let the five extreme Ritz values of either end
        through unchanged: post-training starts from the inputs that pre-training ended with.
        """
        c = self.config
        rng = np.random.default_rng([self.recipe["seed"], 3])
        arrays = {key: 1e-3 * rng.standard_normal(shape) for key, shape in c.shapes().items()}
        arrays["b"] = np.ones((c.layers, 1, 6))
        arrays["b"][:, 0, :5] = self.start()
        for first, second, places in (
            ("W1", "W3", np.arange(c.ends)),
            ("W2", "W4", c.k - c.ends + np.arange(c.ends)),
        ):
            arrays[first] = rng.standard_normal((2 * c.k, c.hidden)) / np.sqrt(2 * c.k)
            for unit, place in enumerate(places):
                for sign, column in ((1.0, 2 * unit), (-1.0, 2 * unit + 1)):
                    arrays[first][:, column] = 0.0
                    arrays[first][place, column] = sign
                    arrays[second][column] = 0.0
                    arrays[second][column, unit] = sign
        return module({key: arrays[key].astype(np.float32) for key in (*EMBEDDING, *BACKBONE)})

    def embedding(self, parameters: dict[str, Any], probes: Any) -> Any:
        """Algorithm 3."""
        return embedding(parameters, probes)

    def start(self) -> np.ndarray:
        """(D, 5) coefficients that the backbone starts from."""
        return chebyshev_layers(self.initial, _TOP, self.config.layers)

    def objective(self, coefficients: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Layer-wise objective, each layer's with its weight at this time."""
        losses, q = self._losses(coefficients, batch["lam"])
        return {
            "loss": (batch["weight"] * losses).sum(),
            "last": losses[-1].detach(),
            "indefinite": (q[-1] <= 0).float().mean(),
        }

    def _losses(self, coefficients: Any, lam: Any) -> tuple[Any, Any]:
        optim = self.recipe["optim"]
        return layer_losses(coefficients, lam, struct=optim["struct"], margin=optim["margin"], penalty=optim["penalty"])

    def validate(self, network: Any) -> dict[str, float]:
        """Figures of the finished polynomial on held-out spectra, read through their probes.

        ``gain`` is the geometric mean of cond(X) / cond(PX) where definite, ``indefinite`` the share with
        P <= 0 at an eigenvalue, ``indefinite_interval`` the share with P <= 0 anywhere on (0, 1.02 b].
        """
        import torch

        parameters = self.parameters(network)
        losses: list[Any] = []
        gains: list[Any] = []
        bad: list[float] = []
        wide: list[float] = []
        for held in self.held_batches():
            lam, inputs = (beside(network, held[key]) for key in ("lam", "inputs"))
            coefficients = backbone(parameters, embedding(parameters, inputs))
            loss, ratios = self._losses(coefficients, lam)
            q, kappa = ratios[-1], lam.amax(dim=1) / lam.amin(dim=1)
            losses.append(float(loss[-1]))
            gains.append((q * kappa)[q > 0].log())
            bad.append(float((q <= 0).float().mean()))
            on_grid = layer_polynomials(coefficients, _grid(lam))[-1]
            wide.append(float((on_grid <= 0).any(dim=1).float().mean()))
        return {
            "last": float(np.mean(losses)),
            "gain": float(torch.cat(gains).mean().exp()),
            "indefinite": float(np.mean(bad)),
            "indefinite_interval": float(np.mean(wide)),
        }

    def envelope(self) -> dict[str, Any]:
        """Ranges of the data."""
        data = self.recipe["data"]
        return {
            "n": [data["n_min"], data["n_max"]],
            "degree": [self.config.degree, self.config.degree],
            "condition": [data["probe_condition_min"], data["condition_max"]],
            "probe_steps": [data["steps_min"], data["steps_max"]],
        }

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine with its envelope."""
        PaperEngine(self.config, self.finished(network), card | {"envelope": self.envelope()}).save(path)
