"""The AutoSpec engine for matrix functions: probe -> how far to trust it -> zones for the polynomial's fit.

A polynomial of fixed degree is best spent where eigenvalues are. What a Lanczos probe leaves open is how far below the
smallest Ritz value the spectrum goes on, how wide a zone each Ritz value stands for, and whether there may be
eigenvalues in the gaps between. The engine predicts, for a grid of such margins, the logarithm of the true error of
the fit, and takes the margins of the smallest. Trained for the inverse square root; the margins serve any function.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import WeightsError
from nnla.functions.polynomials import RULE_MARGINS, Margins
from nnla.models.engine_base import EngineBase, ensemble, ensemble_shapes, envelope_distance
from nnla.types import SpectralProbe

__all__ = ["CANDIDATES", "FunConfig", "FunctionEngine", "MarginChoice", "fun_features"]

NAME = "autospec-invsqrt"
CANDIDATES = tuple(
    Margins(low, spread, gap)
    for low, spread, gap in itertools.product((0.0, 0.1, 0.25, 0.5, 1.2), (0.3, 1.0), (1.0, 1e-5, 1e-10))
)


@dataclass(frozen=True)
class FunConfig:
    """Sizes of the engine; written into the weights file.

    Attributes
    ----------
    hidden : width of the two hidden layers
    members : networks that are averaged
    low, high : Ritz triples taken from the lower and the upper end
    candidates : number of `CANDIDATES`
    """

    hidden: int = 96
    members: int = 3
    low: int = 10
    high: int = 10
    candidates: int = len(CANDIDATES)

    @property
    def features(self) -> int:
        """Length of a feature vector."""
        return 3 * (self.low + self.high) + 6

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters."""
        envelope = dict.fromkeys(("low", "high"), (self.features,))
        return ensemble_shapes(self.members, self.features, self.hidden, self.candidates) | envelope


@dataclass(frozen=True)
class MarginChoice:
    """What the engine says of one probe.

    Attributes
    ----------
    margins : the candidate of least predicted error
    regret : (C,) predicted log error of every candidate, relative to each other
    inside : whether the probe is within the training envelope
    reason : why not, or ""
    """

    margins: Margins
    regret: np.ndarray
    inside: bool = True
    reason: str = ""


def fun_features(probe: SpectralProbe, *, degree: int, config: FunConfig) -> np.ndarray:
    """Scale-free description of a probe, (config.features,).

    Logarithms of the extreme Ritz values relative to the largest, of their residuals relative to themselves, and of
    their Gauss weights; of n, of the steps and of the degree. Copies that only rounding has made are left out.

    Cost: the probe's own eigenproblem; no products.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 3.1: Ritz values and residuals as probe; weights are this package's.
    """
    real = probe.ritz_weights > 1e-17
    theta = np.maximum(probe.ritz_values[real], 1e-300)
    residual, weight = probe.ritz_residuals[real], probe.ritz_weights[real]
    k, top = theta.size, float(theta[-1])
    low = np.minimum(np.arange(config.low), k - 1)
    high = np.maximum(k - 1 - np.arange(config.high), 0)
    at = np.concatenate([low, high])
    log_theta = np.log(np.maximum(theta / top, 1e-14))
    log_residual = np.log(np.clip(residual / theta, 1e-12, 1e3))
    log_weight = np.log(np.clip(weight, 1e-16, None))
    middle = np.interp([0.1, 0.5, 0.9], np.cumsum(weight) - weight / 2, log_theta)
    sizes = [np.log(probe.n), np.log(probe.steps), np.log(degree)]
    return np.concatenate([log_theta[at], log_residual[at], log_weight[at], middle, sizes])


class FunctionEngine(EngineBase):
    """Trained engine: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : FunConfig
    parameters : dict of arrays as `ensemble` takes them, and the envelope ``low``, ``high`` (F,)
    card : facts about the training, as JSON-able values
    """

    name = NAME
    kind = "autospec-function"
    task = "margins"
    config_type = FunConfig

    def __init__(self, config: FunConfig, parameters: dict[str, np.ndarray], card: dict[str, Any]) -> None:
        if config.candidates != len(CANDIDATES):
            raise WeightsError(
                f"engine weights know {config.candidates} candidates, this version of nnla has {len(CANDIDATES)}; "
                "train them again or reinstall nnla"
            )
        super().__init__(config, parameters, card)

    def margins(self, probe: SpectralProbe, *, degree: int = 21) -> MarginChoice:
        """Margins for a probe.

        Parameters
        ----------
        probe : SpectralProbe
        degree : degree of P

        Notes
        -----
        Cost: three small matrix-vector products. Learned: which margins; guaranteed: nothing, so the polynomial is
        compared with interpolation before it is used. A probe of an indefinite operator, or one outside the training
        envelope, gets the margins by rule, and `MarginChoice.reason` says so.
        """
        if not probe.definite:
            return MarginChoice(
                RULE_MARGINS, np.zeros(len(CANDIDATES)), False, "the operator is indefinite: margins by rule"
            )
        x = fun_features(probe, degree=degree, config=self.config)
        regret = ensemble(self.parameters, x[None, :])[:, 0, :].mean(axis=0)
        distance = envelope_distance(self.parameters, x)
        limit = float(self.card.get("envelope_limit", 0.05))
        if distance > limit:
            why = f"the probe is outside the training envelope (distance {distance:.2f} > {limit:.2f}): margins by rule"
            return MarginChoice(RULE_MARGINS, regret, False, why)
        return MarginChoice(CANDIDATES[int(np.argmin(regret))], regret)
