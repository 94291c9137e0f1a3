"""What `nnla.eigen.filtered_subspace.solve_subspace` takes for each plan, learned: a window of Ritz values -> counts.

A short probe shows the wanted end of a spectrum from above, and where the eigenvalues beyond it lie only roughly. From
there the products that blocks of Chebyshev corrections take follow by no formula; the networks have learned them from
runs on virtual spectra. The prediction for the usual plan is used; a choice among plans was found to gain nothing on
operators (`docs/models/subspace-plans.md`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from nnla.eigen.filtered_subspace import SubspacePlan
from nnla.eigen.window import Window
from nnla.models.engine_base import EngineBase, ensemble, ensemble_shapes, envelope_distance, whole

__all__ = ["PLANS", "PlanCounts", "SubspacePlanConfig", "SubspacePlanEngine", "plan_features"]

PLANS = tuple(
    SubspacePlan(cut, gain, spare)
    for spare, cut, gain in itertools.product((16, 40), (4, 8, 12, 20), (30.0, 300.0, 2e3, 3e4))
)
_SHARES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)  # of k: places of the features
_BEYOND = (4, 8, 12, 20)  # and places beyond k
_SMALLEST = 1e-12
_LIMITS = np.log([[1.0, 1.0, 10.0], [6e4, 100.0, 1e7]])  # of products, filterings, operations: no run had more


@dataclass(frozen=True)
class SubspacePlanConfig:
    """Sizes of the engine; written into the weights file.

    Attributes
    ----------
    hidden : width of the two hidden layers
    members : networks that are averaged
    """

    hidden: int = 128
    members: int = 3

    @property
    def features(self) -> int:
        """Length of a feature vector."""
        return 2 * len(_SHARES) + len(_BEYOND) + 12

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters."""
        envelope = dict.fromkeys(("low", "high"), (self.features,))
        return ensemble_shapes(self.members, self.features, self.hidden, 3) | envelope


@dataclass(frozen=True, eq=False)
class PlanCounts:
    """What the engine says of one window.

    Attributes
    ----------
    plans : those that it knows, P of them
    products : (P,) with A, in all
    filterings : (P,) turns
    flops : (P,) of orthogonality and Ritz vectors
    inside : whether the window is within the training envelope
    """

    plans: tuple[SubspacePlan, ...] = field(repr=False)
    products: np.ndarray
    filterings: np.ndarray
    flops: np.ndarray
    inside: bool


def plan_features(window: Window, digits: float, plans: tuple[SubspacePlan, ...] = PLANS) -> np.ndarray:
    """Scale-free description of a window and of each plan, (P, F).

    Parameters
    ----------
    window : Window
    digits : of the residuals asked for, log10 of the width of the spectrum over them
    plans : P of them

    Notes
    -----
    Logarithms of depths and residuals, as shares of the width, at places in units of k and beyond k; sizes; of a plan
    its numbers, and what the degree would be if the Ritz values of the window were those of the first turn.

    Cost: some operations on each Ritz value of the window and on each plan.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 3.1: Ritz values and residuals as probe.
    """
    k, depths, count = window.k, window.depths, window.values.size
    places = np.arange(1, count + 1)

    def logs(at: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.log(np.interp(np.clip(at, min(1.5, count), count), places, values) + _SMALLEST)

    shares = np.array(_SHARES) * k
    residuals = window.residuals / window.width
    sizes = [np.log(k), np.log(window.ncv / k), np.log(window.n), np.log(max(window.steps, 1) / window.ncv), digits]
    sizes += [float(np.mean(residuals[:k] <= 1e-9))]
    common = [logs(shares, depths), logs(shares, residuals), logs(k + np.array(_BEYOND, dtype=float), depths), sizes]
    last = float(np.interp(k, places, depths))
    rows = []
    for plan in plans:
        cut = float(np.interp(min(k + plan.cut, count), places, depths))
        rate = np.arccosh(1 + max(2 * (cut - last) / max(1 - cut, 1e-3), _SMALLEST))
        beyond, gain, spare, rate = np.log([plan.cut, plan.gain, plan.spare, rate])
        own = [beyond, gain, spare, rate, gain / 8 - rate, np.log(1 + plan.cut / k)]
        rows.append(np.concatenate([*common, own]))
    return np.array(rows)


class SubspacePlanEngine(EngineBase):
    """Trained engine for plans of `solve_subspace`: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : SubspacePlanConfig
    parameters : dict of arrays as `ensemble` takes them, and the envelope ``low``, ``high`` (F,)
    card : facts about the training, as JSON-able values
    """

    name = kind = "subspace-plans"
    task = "subspace plans"
    config_type = SubspacePlanConfig

    @staticmethod
    def possible(config: SubspacePlanConfig) -> bool:
        return whole(config.hidden, config.members)

    def counts(self, window: Window, *, digits: float) -> PlanCounts:
        """What every plan takes, for a window.

        Parameters
        ----------
        window : of a probe of one to three fillings
        digits : log10 of the width of the spectrum over the residuals that are asked for

        Notes
        -----
        Cost: a small matrix product for each network. Learned: all of it; nothing is guaranteed.
        """
        x = plan_features(window, digits)
        out = np.exp(np.clip(ensemble(self.parameters, x).mean(axis=0), *_LIMITS))
        # a plan's own features vary within the training's by construction: the window decides
        inside = envelope_distance(self.parameters, x[0]) <= float(self.card.get("envelope_limit", 0.05))
        scale = window.k + 1
        return PlanCounts(PLANS, scale * out[:, 0], out[:, 1], window.n * scale * out[:, 2], inside)
