"""Training task of the paper's engine for eigenproblems: backbone on true spectra, then the embedding on Ritz values.

*Pre-training* feeds the backbone the true lambda_k and four eigenvalues at lambda_l; *post-training* freezes it and
trains the embedding (Algorithm 2) that has to replace those by what a probe knows: Ritz values with residuals of
subspace iteration and of thick-restart Lanczos, from poor to converged, for mixed k and l (Appendix D.2).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.autospec_eig_paper import EigPaperConfig, EigPaperEngine, eig_embedding, eig_forward, eig_window
from nnla.models.paper_backbone import backbone
from nnla.models.paper_extension import extend
from nnla.problems.filter_spectra import FilterSpectra, filter_spectra
from nnla.registry import load
from nnla.spectra.simulated_eigensolvers import subspace_probe, thick_restart_probe
from nnla.training.networks import beside, module
from nnla.training.paper_layers import guarded_log, layer_polynomials
from nnla.training.paper_stages import BACKBONE, EMBEDDING, StagedTask
from nnla.types import TrainingProgress

__all__ = ["EigPaperTask", "exact_embedding", "filter_layers", "separation_losses"]

_GRID = (1 + np.cos(np.pi * np.arange(48) / 47)) / 2  # share of x_l where P is kept small, besides at the eigenvalues
_OUTPUT = 0.1  # unit of the embedding's second matrices: its outputs change by tenths at most
_RATIO_FLOOR = 0.3  # below this ratio wanted / unwanted its logarithm is continued by its tangent


def filter_layers(cut: float, layers: int) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 1 as the Chebyshev filter whose cut is its input: bias and derivative of every coefficient.

    Parameters
    ----------
    cut : value of the cut about which what is not affine in it is linearised
    layers : D

    Returns
    -------
    bias, slope : (layers, 6) rho, gamma, eta, alpha, beta, delta of layer k are ``bias + slope * c``; with c = cut,
        layer k is c^2 T_(k+1)(2 x / c - 1). From the third layer on this is exact for every c, because the
        learned scale delta = c turns T_(m+1) = 2 (2 x / c - 1) T_m - T_(m-1) into numerators affine in c; the
        first two, which start from (1, 1, x), are linearised.

    Notes
    -----
    Cost: some operations a layer.

    Examples
    --------
    >>> from nnla import Recurrence
    >>> bias, slope = filter_layers(0.5, 20)
    >>> layer = bias + 0.5 * slope
    >>> P = Recurrence(layer[:, 0], *(layer[:, 1:5] / layer[:, 5:]).T)
    >>> bool(abs(P(0.6) / P(0.5) - np.cosh(21 * np.arccosh(1.4))) < 1e-6)
    True
    """
    square = (-(cut**2), 2 * cut)  # c^2, linearised
    cube = (-2 * cut**3, 3 * cut**2)
    bias, slope = np.zeros((layers, 6)), np.zeros((layers, 6))
    bias[:, 4], slope[:, 2], slope[:, 3], slope[:, 5] = 4.0, -1.0, -2.0, 1.0
    bias[0], slope[0] = (0, square[0], 0, 0, 8, 1), (0, square[1], 0, -8, 0, 0)  # c^2 T_2 = 8 x^2 - 8 c x + c^2
    if layers > 1:  # the old state is x where c^2 T_1 = 2 c x - c^2 should stand
        bias[1], slope[1] = (0, cube[0], -2 * square[0], 0, 4, 0), (0, cube[1], -2 * square[1], -2, 0, 1)
    return bias, slope


def exact_embedding(x: np.ndarray, k: np.ndarray, cut: np.ndarray, ends: int) -> np.ndarray:
    """What pre-training feeds the backbone: x_k and the last ``ends`` eigenvalues up to x_l, (B, 1 + ends).

    Cost: a copy of B (1 + ends) numbers.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 4.1 and appendix B.2.
    """
    rows = np.arange(len(k))[:, None]
    return x[rows, np.concatenate([k[:, None] - 1, cut[:, None] - ends + np.arange(ends)], axis=1)]


def separation_losses(
    coefficients: Any,
    x: Any,
    k: Any,
    cut: Any,
    *,
    floor: float = 0.02,
    hinge: float = 10.0,
) -> tuple[Any, Any]:
    """The objective (14)-(17) of every layer, in its stabilised form.

    Parameters
    ----------
    coefficients : (D, B, 5)
    x : (B, N) eigenvalues, descending
    k, cut : (B,) number of wanted eigenvalues, the l of (14): dimension of the search space
    floor : log r_nn below this is continued linearly
    hinge : weight of the penalty -log r_nn where it is positive

    Returns
    -------
    losses : (D,) means over the batch
    gain : (D, B) log r_nn / log r_subspace, with P of degree d against x^d

    Notes
    -----
    Cost: D passes over (B, N) numbers, and as many backward.

    The l-th largest |P| of (14) is replaced by its upper bound, the largest |P| beyond the l-th eigenvalue, taken
    over [0, x_l] as well: spectra in use have eigenvalues where those of training have gaps. L_obj enters by its
    logarithm, log(k log r_subspace) - log(log r_nn), without clamp; L_reg is the hinge max(0, -log r_nn) in
    place of 10 exp(-10 log r_nn), whose gradient overflows where P fails.

    References
    ----------
    AutoSpec (arXiv:2602.09530), equations (14)-(17).
    """
    import torch

    count = x.shape[1]
    order = torch.arange(count, device=x.device)
    wanted, beyond = order < k[:, None], order >= cut[:, None] - 1
    x_k = x.gather(1, k[:, None] - 1)
    x_l = x.gather(1, cut[:, None] - 1)
    grid = torch.as_tensor(_GRID, dtype=x.dtype, device=x.device) * x_l
    points = torch.cat([x, grid], dim=1)
    subspace = (x_k / x_l).log()[:, 0]
    losses: list[Any] = []
    gains: list[Any] = []
    for layer, P in enumerate(layer_polynomials(coefficients, points), start=1):
        size = P.abs()
        smallest = size[:, :count].masked_fill(~wanted, torch.inf).amin(dim=1)
        largest = torch.maximum(size[:, :count].masked_fill(~beyond, 0.0).amax(dim=1), size[:, count:].amax(dim=1))
        # a difference of logarithms: the quotient's gradient overflows where P damps by twenty decades
        log_r = smallest.clamp_min(1e-30).log() - largest.clamp_min(1e-30).log()
        low = np.log(_RATIO_FLOOR)
        rate = log_r.clamp(min=low) + log_r.clamp(max=low).exp() / _RATIO_FLOOR - 1
        baseline = (layer + 1) * subspace
        objective = baseline.log() - guarded_log(rate, floor)
        losses.append((objective + hinge * (-rate).clamp(min=0)).mean())
        gains.append(rate / baseline)
    return torch.stack(losses), torch.stack(gains)


class EigPaperTask(StagedTask):
    """Data, network and loss of ``autospec-eig-paper``; see `nnla.training.task.Task`."""

    figure = "last"

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        model = dict(recipe["model"])
        self.initial = float(model.pop("initial"))
        source = model.pop("start")  # an engine to go on from, extended where it has a lower degree
        self.config = EigPaperConfig(**model)
        self.source = _continued(source, self.config) if source else None
        self.unit = recipe["optim"]["lr_embedding"] / recipe["optim"]["lr"]  # one optimiser, two learning rates

    # -- data -----------------------------------------------------------------------------------

    def _spectra(self, count: int, seed: int) -> FilterSpectra:
        data = self.recipe["data"]
        return filter_spectra(
            count,
            seed,
            nodes=data["nodes"],
            subspace=(data["subspace_min"], data["subspace_max"]),
            wanted=(data["wanted_min"], data["wanted_max"]),
            gap=(data["gap_min"], data["gap_max"]),
        )

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Spectra for pre-training; spectra with probes for post-training and for validation."""
        data, seed = self.recipe["data"], self.recipe["seed"]
        spectra = self._spectra(data["spectra"], seed)
        top = data["subspace_max"]  # the others are only ever small: a quarter of them will do
        self.columns = np.concatenate([np.arange(top), np.arange(top, data["nodes"], 4)])
        self.spectra, self.k, self.cut = spectra.x[:, self.columns].astype(np.float32), spectra.k, spectra.cut
        progress("data (spectra)", 1, 1, "")
        self.prepare_probed(folder, progress)
        for part in (self.train, self.held):
            part["x"] = part["x"][:, self.columns]

    def probe_spectra(
        self, part: str, seed: int, count: int, probes: int, progress: TrainingProgress
    ) -> dict[str, np.ndarray]:
        """Spectra, and l, window and scale of each probe."""
        spectra, c = self._spectra(count, seed), self.config
        windows = np.empty((count, probes, 2 * c.window), np.float32)
        scale = np.empty((count, probes), np.float32)
        last = np.empty((count, probes), np.int64)
        for i in range(count):
            rng = np.random.default_rng([seed, 6, i])
            used = spectra.multiplicity[i] > 0
            x, multiplicity, k = spectra.x[i, used], spectra.multiplicity[i, used], int(spectra.k[i])
            for j, (values, residuals) in enumerate(self._probe(x, multiplicity, k, int(spectra.cut[i]), probes, rng)):
                # a window may be shorter than the search space: the caller may hand on the better part of it
                least = max(int(np.ceil(1.5 * k)), k + c.ends, 8)
                least += int(np.sum(1 - x[least - 1 : values.size] / x[k - 1] < self.recipe["data"]["gap_min"]))
                last[i, j] = values.size
                if rng.random() < 0.5 and least < values.size:
                    last[i, j] = rng.integers(least, values.size)
                index = eig_window(k, last[i, j], c.wanted, c.unwanted)
                # in use, the map to [0, 1] takes its ends from a probe: the top is the Ritz value, about
                scale[i, j] = values[0] * rng.uniform(0.995, 1.005)
                windows[i, j] = np.concatenate([values[index], residuals[index]]) / scale[i, j]
            if (i + 1) % 128 == 0 or i + 1 == count:
                progress(f"data ({part})", i + 1, count, "")
        return {"x": spectra.x.astype(np.float32), "k": spectra.k, "l": last, "window": windows, "scale": scale}

    def _probe(
        self, x: np.ndarray, multiplicity: np.ndarray, k: int, size: int, probes: int, rng: np.random.Generator
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """``probes`` pairs of Ritz values and residuals of one spectrum, of increasing quality."""
        data = self.recipe["data"]
        krylov = rng.random() < 0.6
        top = data["restarts_max"] if krylov else data["iterations_max"]
        marks = np.unique(np.exp(rng.uniform(0.0, np.log(top + 1), size=4 * probes)).astype(int))
        marks = np.sort(rng.choice(marks, size=probes, replace=marks.size < probes))
        if krylov:
            start = np.sqrt(multiplicity * rng.chisquare(multiplicity) / multiplicity)
            keep = min(k + int(rng.uniform(0.1, 0.6) * (size - k)), size - 2)
            found = thick_restart_probe(x, start, size, keep, np.unique(marks).tolist(), rng)
        else:
            found = subspace_probe(x, size, np.unique(marks).tolist(), rng)
        return [found[i] for i in np.searchsorted(np.unique(marks), marks)]

    def batch(self, step: int) -> dict[str, Any]:
        """Spectra with k and l, and what true eigenvalues or a probe say of them, as the stage has it."""
        size = self.recipe["optim"]["batch"]
        rng = np.random.default_rng([self.recipe["seed"], 4, step])
        pretrain, weight = self.stage(step)
        if pretrain:
            index = rng.integers(len(self.spectra), size=size)
            # the ends of the map to [0, 1] are estimates: slack at the unwanted one, hardly any at the wanted one
            scale = rng.uniform(0.995, 1.005, size=(size, 1)).astype(np.float32)
            slack = rng.uniform(0.0, 0.05, size=(size, 1)).astype(np.float32)
            x, k, cut = (self.spectra[index] + slack) / (1 + slack) * scale, self.k[index], self.cut[index]
            drawn = {"x": x, "k": k, "cut": cut, "inputs": exact_embedding(x, k, cut, self.config.ends)}
        else:
            index = rng.integers(len(self.train["x"]), size=size)
            drawn = self._drawn(self.train, index, rng.integers(self.train["scale"].shape[1], size=size))
        return {"pretrain": pretrain, "weight": weight, **drawn}

    @staticmethod
    def _drawn(part: dict[str, np.ndarray], index: np.ndarray, probe: np.ndarray) -> dict[str, np.ndarray]:
        x = part["x"][index] / part["scale"][index, probe][:, None]
        return {"x": x, "k": part["k"][index], "cut": part["l"][index, probe], "inputs": part["window"][index, probe]}

    # -- network ----------------------------------------------------------------------------------

    def network(self) -> Any:
        """A backbone that starts as a Chebyshev filter, and an embedding that starts by passing Ritz values on.

        The filter's cut is the last number of the embedding. (From a fixed cut and weights near zero, as the engine for
        linear systems starts, the dependence on the spectrum is not learned within thousands of steps.)
        The embedding's parameters are deviations from its start, see `parameters`.
        """
        c = self.config
        rng = np.random.default_rng([self.recipe["seed"], 3])
        shapes = c.shapes()
        arrays = {key: 1e-4 * rng.standard_normal(shapes[key]) for key in BACKBONE}
        bias, slope = filter_layers(self.initial, c.layers)
        arrays["b"][:, 0] = bias
        arrays["W"][:, -1] += slope
        for first, second, units in (("W1", "W3", 2 * c.wanted), ("W2", "W4", 2 * c.ends)):
            arrays[first] = rng.standard_normal(shapes[first]) / np.sqrt(2 * c.window) / self.unit
            arrays[first][:, :units] = 0.0
            arrays[second] = np.zeros(shapes[second])
        if self.source is not None:
            arrays = {key: 0.0 * value for key, value in arrays.items()}
            arrays |= {key: self.source.parameters[key] for key in BACKBONE}
        parameters = {key: arrays[key].astype(np.float32) for key in (*EMBEDDING, *BACKBONE)}
        return module(parameters, self._coordinates(), stored=False)

    def _coordinates(self) -> dict[str, np.ndarray]:
        """Start of the embedding, and the map to standardised inputs.

        gelu(x) - gelu(-x) = x, so pairs of hidden units let Ritz values through unchanged: the wanted ones, whose
        minimum is the k-th, and four a third into the unwanted, which unlike the last are seldom worthless.
        """
        c = self.config
        out = {key: np.zeros(c.shapes()[key]) for key in EMBEDDING}
        third = c.wanted + (c.unwanted - c.ends) // 3 + np.arange(c.ends)
        for first, second, places in (("W1", "W3", np.arange(c.wanted)), ("W2", "W4", third)):
            for unit, place in enumerate(places):
                out[first][place, 2 * unit : 2 * unit + 2] = out[second][2 * unit : 2 * unit + 2, unit] = (1.0, -1.0)
        if self.source is not None:
            out = {key: self.source.parameters[key] for key in EMBEDDING}
        windows = self.train["window"].reshape(-1, 2 * c.window).astype(np.float64)
        mean, spread = windows.mean(axis=0), windows.std(axis=0) + 1e-3
        # the largest Ritz value is 1 within half a percent: it carries the means, as the layers have no bias
        out["map"] = np.diag(1 / spread)
        out["map"][0] -= mean / spread
        return {f"start_{key}": value.astype(np.float32) for key, value in out.items()}

    def parameters(self, network: Any) -> dict[str, Any]:
        """The parameters as the engine has them.

        All inputs of the embedding lie near 1, and what counts are their small differences: trained as they are, a
        step of Adam moves the outputs by more than the whole spectrum is wide. So the first matrices are
        trained in standardised inputs, as deviations from the start. The functions that can be reached are the same.
        """
        found, start = dict(network.named_parameters()), dict(network.named_buffers())
        for key in ("W1", "W2"):
            found[key] = start[f"start_{key}"] + start["start_map"] @ (self.unit * found[key])
        for key in ("W3", "W4"):
            found[key] = start[f"start_{key}"] + _OUTPUT * self.unit * found[key]
        return found

    def embedding(self, parameters: dict[str, Any], probes: Any) -> Any:
        """Algorithm 2."""
        return eig_embedding(parameters, probes)

    def objective(self, coefficients: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Layer-wise objective, each layer's with its weight at this time."""
        losses, gain = self._losses(coefficients, batch)
        return {
            "loss": (batch["weight"] * losses).sum(),
            "last": losses[-1].detach(),
            "failing": (gain[-1] <= 1).float().mean(),
        }

    def _losses(self, coefficients: Any, batch: dict[str, Any]) -> tuple[Any, Any]:
        optim = self.recipe["optim"]
        x, k, cut = batch["x"], batch["k"], batch["cut"]
        return separation_losses(coefficients, x, k, cut, floor=optim["floor"], hinge=optim["hinge"])

    def validate(self, network: Any) -> dict[str, float]:
        """Figures of the finished filter on held-out spectra.

        ``gain`` is the geometric mean of log r_nn / log r_power where positive, ``chebyshev`` that of the same for
        the Chebyshev filter with the true lambda_l as its cut (known in hindsight), ``worse`` the share that
        separates less than power iteration, ``backbone`` the gain from true eigenvalues in place of a probe.
        """
        import torch

        c, parameters = self.config, self.parameters(network)
        rows = np.arange(len(self.held["x"]))
        last: list[float] = []
        gains: list[Any] = []
        exact: list[Any] = []
        best: list[np.ndarray] = []
        for j in range(self.held["scale"].shape[1]):
            drawn = self._drawn(self.held, rows, np.full(rows.size, j))
            x, k, cut = drawn["x"], drawn["k"], drawn["cut"]
            batch = beside(network, drawn | {"exact": exact_embedding(x, k, cut, c.ends)})
            loss, gain = self._losses(eig_forward(parameters, batch["inputs"]), batch)
            last.append(float(loss[-1]))
            gains.append(gain[-1])
            exact.append(self._losses(backbone(parameters, batch["exact"]), batch)[1][-1])
            x_k, x_l = x[rows, k - 1], x[rows, cut - 1]
            growth = np.log(np.cosh(c.degree * np.arccosh(np.maximum(2 * x_k / x_l - 1, 1.0))))
            best.append(growth / (c.degree * np.log(x_k / x_l)))
        gain, known = torch.cat(gains), torch.cat(exact)
        return {
            "last": float(np.mean(last)),
            "gain": float(gain.clamp(min=0.1).log().mean().exp()),
            "backbone": float(known.clamp(min=0.1).log().mean().exp()),
            "chebyshev": float(np.exp(np.mean(np.log(np.concatenate(best))))),
            "worse": float((gain <= 1).float().mean()),
        }

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine with its envelope."""
        data = self.recipe["data"]
        envelope = {
            "degree": [self.config.degree, self.config.degree],
            "wanted": [data["wanted_min"], data["wanted_max"]],
            "subspace": [data["subspace_min"], data["subspace_max"]],
            "relative_gap": [data["gap_min"], data["gap_max"]],
        }
        EigPaperEngine(self.config, self.finished(network), card | {"envelope": envelope}).save(path)


def _continued(source: str, config: EigPaperConfig) -> EigPaperEngine:
    """The engine that training goes on from, with the layers that the recipe's degree asks for."""
    engine = load(source)
    if not isinstance(engine, EigPaperEngine):
        raise OptionError(f"model.start = {source!r} is no engine for eigenproblems; use autospec-eig-paper, or a file")
    if config.degree > engine.config.degree:
        engine = extend(engine, config.degree - engine.config.degree)
    if engine.config != config:
        raise OptionError(f"model.start = {source!r} has {engine.config}, which the recipe's {config} cannot continue")
    return engine
