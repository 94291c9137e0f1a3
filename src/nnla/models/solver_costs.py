"""What each method of `nnla.solve` will take for one system, learned: features of its matrix -> costs, and how sure.

Two ensembles of small networks. The first reads the structure of a matrix and the tolerance, before anything is
computed; the second also reads the first steps of Jacobi-CG, and does without the structure where there are no entries.
Each says the mean and the spread of the logarithm of every cost, and the probability that a method fails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import mul
from typing import Any, NamedTuple

import numpy as np

from nnla.errors import OptionError, ShapeError, WeightsError
from nnla.kernels import native
from nnla.kernels.arrays import plain
from nnla.models.engine_base import EngineBase, whole
from nnla.operators.features import GRAPH_FEATURES, STRUCTURE_FEATURES

__all__ = [
    "AFTER_ANALYSIS",
    "FAILURES",
    "TARGETS",
    "CostAnswer",
    "CostPrediction",
    "SolverCostConfig",
    "SolverCostEngine",
    "analysis_inputs",
    "network_inputs",
    "tolerance_input",
    "with_products",
]

#: Costs, of which logarithms are predicted. Counts are facts about a system, whatever the machine; seconds are those of
#: the machine that the training data come from, and are scaled by whoever knows the speeds of another.
TARGETS = (
    "jacobi.iterations",
    "ic.iterations",
    "amg.iterations",
    "autospec.iterations",  # outer ones, default degree
    "direct.flops",
    "direct.entries",  # of the factor
    "amg.complexity",  # of the operators
    "product.seconds",  # an iteration of Jacobi-CG
    "order.seconds",  # ordering and analysis
    "factor.seconds",
    "substitution.seconds",  # a solution with the factor
    "ic.setup_seconds",
    "ic.step_seconds",  # an iteration
    "amg.setup_seconds",
    "amg.step_seconds",
    "autospec.setup_seconds",
    "autospec.step_seconds",  # an outer iteration
)
#: Methods whose failure (breakdown, or no convergence) has a probability.
FAILURES = ("jacobi", "ic", "amg", "autospec")
#: What is predicted again once an analysis has counted operations and entries.
AFTER_ANALYSIS = ("factor.seconds", "substitution.seconds")

_INDEX = {name: i for i, name in enumerate(TARGETS)}
_METHOD = {name: i for i, name in enumerate(FAILURES)}
_T, _P = len(TARGETS), len(FAILURES)
_CLIP = 4.0  # inputs beyond so many of their scales are held there
_SIGMAS = (-4.0, 2.0)  # logarithms of standard deviations
_FARTHEST = 8.0
_NETWORKS = ("a", "b")
# Features that are known together or not at all: places of one of each, which tells the networks which it is.
_TOLD_BY = tuple(STRUCTURE_FEATURES.index(name) for name in (GRAPH_FEATURES[0], "log fill of a small ball"))
_ANALYSIS_INPUTS = 7


@dataclass(frozen=True)
class SolverCostConfig:
    """Sizes of the engine; written into the weights file.

    Attributes
    ----------
    structure, steps : features of a matrix, as many as this version of nnla computes, and of first steps
    hidden : width of the two hidden layers
    members : networks of an ensemble
    """

    structure: int
    steps: int
    hidden: int = 32
    members: int = 4

    def inputs(self, network: str) -> int:
        """Inputs of network "a" (structure, which of it is known, tolerance) or "b" (also steps, before the tolerance,
        and before these whether the structure is known at all)."""
        return self.structure + len(_TOLD_BY) + (1 if network == "a" else self.steps + 2)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters."""
        E, H, C = self.members, self.hidden, 2 * _T + _P
        shapes: dict[str, tuple[int, ...]] = {
            "analysis.weights": (_ANALYSIS_INPUTS, len(AFTER_ANALYSIS)),
            "analysis.std": (len(AFTER_ANALYSIS),),
            "blind.temperature": (_T,),
        }
        for network in _NETWORKS:
            F = self.inputs(network)
            own: dict[str, tuple[int, ...]] = dict.fromkeys(("input_mean", "input_scale", "low", "high"), (F,))
            U = F + self.structure
            own |= {"w1": (E, U, H), "b1": (E, H), "w2": (E, H, H), "b2": (E, H), "w3": (E, H, C), "b3": (E, C)}
            own |= {"skip": (U, C)} | dict.fromkeys(("output_mean", "output_scale", "temperature"), (_T,))
            shapes |= {f"{network}.{key}": shape for key, shape in own.items()}
        return shapes


@dataclass(frozen=True, eq=False, slots=True)
class CostPrediction:
    """What is expected of one system, or of B of them.

    Attributes
    ----------
    mean, std : (T,) or (B, T) of the natural logarithms of `TARGETS`; lognormal is what they stand for
    failure : (P,) or (B, P) probabilities of `FAILURES`
    outside : how far the features lie outside of the training data, in their scales; 0 inside. ``std`` has been
        widened for it
    """

    mean: np.ndarray
    std: np.ndarray
    failure: np.ndarray
    outside: Any

    def log(self, target: str) -> tuple[Any, Any]:
        """Mean and standard deviation of the logarithm of a target; floats, or arrays (B,).

        Cost: none.
        """
        i = _INDEX[target]
        return self.mean[..., i], self.std[..., i]

    def fails(self, method: str) -> Any:
        """Probability that a method fails; a float, or an array (B,).

        Cost: none.
        """
        return self.failure[..., _METHOD[method]]


class CostAnswer(NamedTuple):
    """A `CostPrediction` of one system, as lists of floats."""

    mean: list[float]
    std: list[float]
    failure: list[float]
    outside: float


def tolerance_input(rtol: Any) -> Any:
    """How networks read a tolerance: iterations of CG are in proportion to log(2 / rtol), by the classical bound.

    Cost: two logarithms.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 6.11.3, eq. (6.128).

    Examples
    --------
    >>> round(float(tolerance_input(1e-8)), 3)
    2.95
    """
    if isinstance(rtol, float):  # a tenth of the time
        return math.log(math.log(2.0 / min(max(rtol, 1e-15), 0.5)))
    return np.log(np.log(2.0 / np.clip(rtol, 1e-15, 0.5)))


def analysis_inputs(flops: Any, entries: Any, n: Any) -> np.ndarray:
    """What `SolverCostEngine.after_analysis` is linear in, (..., 7).

    Cost: a few logarithms.
    """
    f, e, m = (np.log(np.maximum(np.asarray(x, dtype=np.float64), 1.0)) for x in (flops, entries, n))
    return np.stack(_analysis_terms(f, e, m, np.ones_like(f)), axis=-1)


def _analysis_terms(f: Any, e: Any, m: Any, one: Any) -> list[Any]:
    dense = f - e  # operations by entries: the mean length of a column, and so of the blocks
    return [one, f / 10, e / 10, m / 10, (f / 10) ** 2, (dense / 10) ** 2, (m / 10) ** 2]


def network_inputs(structure: np.ndarray | None, steps: np.ndarray | None, rtol: Any) -> np.ndarray:
    """What a network reads: "a" without steps, "b" with them; NaN where something is not known.

    Parameters
    ----------
    structure : (F,) or (B, F), NaN or infinite where unknown; None for all
    steps : (S,) or (B, S) or None
    rtol : float or (B,)

    Returns
    -------
    (F + 3,) or (F + S + 4,), or (B, ...)

    Notes
    -----
    Cost: a copy.
    """
    known = structure if structure is not None else steps
    assert known is not None
    F, told = len(STRUCTURE_FEATURES), len(_TOLD_BY)
    x = np.empty((*known.shape[:-1], F + told + 1 + (0 if steps is None else steps.shape[-1] + 1)))
    if structure is None:
        x[..., :F] = np.nan
        x[..., F : F + told] = 0.0
    else:
        x[..., :F] = structure
        for i, place in enumerate(_TOLD_BY):
            x[..., F + i] = np.isfinite(structure[..., place])
    if steps is not None:
        x[..., F + told] = 0.0 if structure is None else 1.0
        x[..., F + told + 1 : -1] = steps
    x[..., -1] = tolerance_input(rtol)
    return x


def with_products(z: Any) -> Any:
    """Standardised inputs (..., F), and those of the structure times the first, which is log n: exponents of n.

    Cost: a copy.
    """
    return np.concatenate((z, z[..., : len(STRUCTURE_FEATURES)] * z[..., :1]), -1)


class _Ensemble:
    """One network of the engine, in few operations of NumPy: each takes a microsecond, whatever it does."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.mean, self.scale = arrays["input_mean"], arrays["input_scale"]
        members, inputs, hidden = arrays["w1"].shape
        self.members, self.hidden = members, hidden
        self.w1 = np.ascontiguousarray(arrays["w1"].transpose(1, 0, 2).reshape(inputs, members * hidden))
        self.b1, self.w2, self.b2 = arrays["b1"].ravel(), arrays["w2"], arrays["b2"][:, None]
        # outputs in the form of exponents: means, logarithms of variances, logits the other way round
        factor = np.concatenate([np.ones(_T), np.full(_T, 2.0), np.full(_P, -1.0)])
        self.w3, self.skip, self.b3 = factor * arrays["w3"], factor * arrays["skip"], factor * arrays["b3"][:, None]
        self.most = np.concatenate([np.full(_T, 2 * _SIGMAS[1]), np.full(_P, 40.0)])
        self.least = np.concatenate([np.full(_T, 2 * _SIGMAS[0]), np.full(_P, -40.0)])
        self.average = np.full(members, 1.0 / members)
        self.temperature = arrays["temperature"]
        self.middle = (0.5 * (arrays["low"] + arrays["high"]) - self.mean) / self.scale
        self.reach = 0.5 * (arrays["high"] - arrays["low"]) / self.scale + 1e-9  # rounding is not outside

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mean and std (B, T), failure (B, P), outside (B,) for inputs (B, F)."""
        z, count = (x - self.mean) / self.scale, len(x)
        excess = np.maximum(np.abs(z - self.middle) - self.reach, 0.0)
        z = with_products(np.minimum(np.maximum(z, -_CLIP), _CLIP))
        h = np.maximum(z @ self.w1 + self.b1, 0.0).reshape(count, self.members, self.hidden).swapaxes(0, 1)
        h = np.maximum(h @ self.w2 + self.b2, 0.0)
        out = h @ self.w3 + self.b3 + z @ self.skip  # (E, B, C)
        powers = np.exp(np.minimum(np.maximum(out[..., _T:], self.least), self.most))
        means = out[..., :_T]
        mean = np.tensordot(self.average, means, 1) if count > 1 else self.average @ means[:, 0]
        apart = means - mean
        powers[..., :_T] += apart * apart
        powers[..., _T:] = 1.0 / (1.0 + powers[..., _T:])
        second = np.tensordot(self.average, powers, 1) if count > 1 else (self.average @ powers[:, 0])[None]
        outside = np.minimum(np.add.reduce(excess, axis=1), _FARTHEST)
        std = self.temperature * (1.0 + outside)[:, None] * np.sqrt(second[:, :_T])
        return mean.reshape(count, _T), std, second[:, _T:], outside


def _native_network(arrays: Mapping[str, np.ndarray]) -> Any:
    """The same network in C++, whose weights are in float32; None without the native kernels."""
    if native is None:
        return None
    members, _, hidden = arrays["w1"].shape
    doubles = [plain(arrays[key]) for key in ("input_mean", "input_scale", "low", "high", "temperature")]
    beside = arrays["w1"].transpose(1, 0, 2)  # inputs, members, hidden
    floats = [beside, *(arrays[key] for key in ("b1", "w2", "b2", "w3", "b3", "skip"))]
    return native.CostNetwork(
        len(STRUCTURE_FEATURES), members, hidden, _P, *doubles, *(plain(array, np.float32).ravel() for array in floats)
    )


class SolverCostEngine(EngineBase):
    """Trained engine for the costs of the methods of `nnla.solve`: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : SolverCostConfig
    parameters : dict of arrays, for each network ("a." and "b." before the names): input_mean, input_scale, low, high
        (F,), w1 (E, U, H), b1 (E, H), w2 (E, H, H), b2 (E, H), w3 (E, H, C), b3 (E, C), skip (U, C), output_mean,
        output_scale, temperature (T,), where C = 2 T + P: means, logarithms of standard deviations, logits, and U is F
        and the number of structure features; blind.temperature (T,) for "b" without structure; and analysis.weights,
        analysis.std
    card : facts about the training, as JSON-able values

    Attributes
    ----------
    targets, failures : `TARGETS` and `FAILURES`

    Notes
    -----
    z = clip((x - input_mean) / input_scale, -4, 4); u = [z, z_0 z_i of the structure]; h = relu(relu(u w1 + b1) w2 +
    b2); out = h w3 + u skip + b3. What is linear in the features, and in their products with log n, is in ``skip``,
    shared by the members; it is what is left beyond the training data.
    ``std`` has both parts, what a member says and what the members disagree on, times a factor per target that
    was fitted on families which the network had not seen.

    References
    ----------
    Lakshminarayanan, Pritzel, Blundell, Simple and scalable predictive uncertainty estimation using deep ensembles,
    NeurIPS 2017: means and variances of an ensemble. Rice, The algorithm selection problem, Advances in Computers 15
    (1976): features -> performance -> choice.
    """

    name = kind = "solver-costs"
    task = "solver costs"
    label = "weights of the costs of solvers"
    config_type = SolverCostConfig
    targets = TARGETS
    failures = FAILURES

    def __init__(self, config: SolverCostConfig, parameters: dict[str, np.ndarray], card: dict[str, Any]) -> None:
        super().__init__(config, parameters, card)
        for key, value in self.parameters.items():
            positive = key.endswith(("input_scale", "output_scale", "temperature", "analysis.std"))
            if positive and not np.all(value > 0):
                raise WeightsError(f"{self.label} {key} are not positive; train them again or reinstall nnla")
        self._networks = {network: _Ensemble(self.arrays(network)) for network in _NETWORKS}
        self._native = {network: _native_network(self.arrays(network)) for network in _NETWORKS}
        columns = self.parameters["analysis.weights"].T.tolist()
        self._analysis = list(zip(columns, self.parameters["analysis.std"].tolist(), strict=True))
        self._blind = self.parameters["blind.temperature"] / self.parameters["b.temperature"]

    @staticmethod
    def possible(config: SolverCostConfig) -> bool:
        sizes = whole(config.structure, config.steps, config.hidden, config.members)
        return sizes and config.structure == len(STRUCTURE_FEATURES)

    def details(self) -> list[str]:
        c = self.config
        return [f"{c.structure} + {c.steps} features", f"{c.members} x {c.hidden} wide"]

    def predict(self, structure: Any, steps: Any = None, *, rtol: Any = 1e-8) -> CostPrediction:
        """Costs of all methods for a system, or for B systems.

        Parameters
        ----------
        structure : (F,) or (B, F) of `nnla.operators.features.structure_features`; None where there are no entries
        steps : (S,) or (B, S) of `nnla.krylov.step_features.step_features`; None before there were any
        rtol : what the residual has to fall by, a float or (B,)

        Raises
        ------
        ShapeError
            Features of another number than the weights were trained for.
        OptionError
            Neither structure nor steps.

        Notes
        -----
        Cost: some 30 microseconds for one system: a product of each matrix of the network with a vector.

        Validity: learned, all of it; nothing is guaranteed. Features that are not finite are read as their means.
        """
        if structure is None and steps is None:
            raise OptionError("costs are predicted from structure or steps, and both are None; give one")
        known = structure if structure is not None else steps
        batch = () if np.ndim(known) == 1 else (len(known),)
        network = self._networks["a" if steps is None else "b"]
        if structure is not None:
            structure = _features(structure, self.config.structure, batch, "structure")
        if steps is not None:
            steps = _features(steps, self.config.steps, batch, "steps")
        x = network_inputs(structure, steps, rtol)
        if not math.isfinite(x.sum()):
            x = np.where(np.isfinite(x), x, network.mean)
        factor = 1.0 if structure is not None else self._blind
        if batch:
            mean, std, failure, outside = network(x)
            return CostPrediction(mean, std * factor, failure, outside)
        mean, std, failure, outside = network(x[None])
        return CostPrediction(mean[0], std[0] * factor, failure[0], float(outside[0]))

    def answer(self, structure: np.ndarray | None, steps: np.ndarray | None, rtol: float) -> CostAnswer:
        """What `predict` says of one system, as numbers and in a fraction of the time.

        Parameters
        ----------
        structure, steps : (F,) and (S,) float64 as for `predict`; one of them at least
        rtol : what the residual has to fall by

        Raises
        ------
        ShapeError
            Features of another number than the weights were trained for.

        Notes
        -----
        Cost: ten microseconds in the native kernels, in float32; without these that of `predict`.
        """
        network = self._native["a" if steps is None else "b"]
        if network is None:
            found = self.predict(structure, steps, rtol=rtol)
            return CostAnswer(found.mean.tolist(), found.std.tolist(), found.failure.tolist(), float(found.outside))
        mean, std, failure, outside = network(network_inputs(structure, steps, rtol))
        if structure is None:
            std = [value * factor for value, factor in zip(std, self._blind.tolist(), strict=True)]
        return CostAnswer(mean, std, failure, outside)

    def native_network(self, network: str) -> Any:
        """Network "a" or "b" in the native kernels, None without these. Cost: none."""
        return self._native[network]

    def after_analysis(self, flops: Any, entries: Any, n: Any) -> dict[str, tuple[Any, Any]]:
        """Seconds of a factorisation and of a solution with it, once an analysis has counted.

        Parameters
        ----------
        flops, entries : of the factor
        n : unknowns; all may be arrays (B,)

        Returns
        -------
        dict : of `AFTER_ANALYSIS`, mean and standard deviation of the logarithm

        Notes
        -----
        Cost: a few operations.
        """
        if type(flops) is type(entries) is float:  # in numbers, which are faster than arrays of a few
            x = _analysis_terms(math.log(max(flops, 1.0)), math.log(max(entries, 1.0)), math.log(max(n, 1.0)), 1.0)
            rows = [(sum(map(mul, x, weights)), std) for weights, std in self._analysis]
            return dict(zip(AFTER_ANALYSIS, rows, strict=True))
        mean = analysis_inputs(flops, entries, n) @ self.parameters["analysis.weights"]
        std = self.parameters["analysis.std"]
        return {name: (mean[..., i], std[i]) for i, name in enumerate(AFTER_ANALYSIS)}

    def arrays(self, network: str) -> dict[str, np.ndarray]:
        """Contiguous float64 arrays of network "a" or "b" with the scales of its outputs folded in.

        Returns
        -------
        dict : input_mean, input_scale, low, high (F,), w1 (E, U, H), b1 (E, H), w2 (E, H, H), b2 (E, H), w3 (E, H, C),
            b3 (E, C), skip (U, C), temperature (T,)

        Notes
        -----
        Cost: a copy of the network.
        """
        if network not in _NETWORKS:
            raise OptionError(f"network={network!r} is not there; choose 'a' or 'b'")
        prefix = f"{network}."
        p = {key.removeprefix(prefix): value for key, value in self.parameters.items() if key.startswith(prefix)}
        mean, scale = p.pop("output_mean"), p.pop("output_scale")
        factor = np.concatenate([scale, np.ones(_T + _P)])
        shift = np.concatenate([mean, np.log(scale), np.zeros(_P)])
        p |= {"w3": p["w3"] * factor, "b3": p["b3"] * factor + shift, "skip": p["skip"] * factor}
        return {key: np.array(value, dtype=np.float64, order="C") for key, value in p.items()}


def _features(values: Any, count: int, batch: tuple[int, ...], name: str) -> np.ndarray:
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (*batch, count):
        wanted = (*batch, count)
        raise ShapeError(f"{name} has shape {found.shape}, the weights are for {wanted}; compute the features anew")
    return found
