"""The shipped engine for eigenproblems: a window of Ritz values -> where a Chebyshev filter begins to damp.

The steps that filtered Lanczos will take depend on the filter's *strength* (`nnla.eigen.filters.strength`): too weak,
and the cut lies among the wanted eigenvalues; too strong, and those differ less from each other than the filter's
degree would allow. A short run shows the wanted eigenvalues from above, often by a factor of ten or more; the network
has learned from simulated runs how much to believe it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nnla.eigen.filters import cut_of_strength
from nnla.eigen.window import Window
from nnla.models.engine_base import EngineBase, ensemble, ensemble_shapes, envelope_distance, whole
from nnla.spectra.density import curve_minimum

__all__ = ["AutoSpecEigEngine", "EigChoice", "EigConfig", "strength_grid", "window_features"]

_PLACES = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)  # of the features, in units of k
_SMALLEST_DEPTH = 1e-9


@dataclass(frozen=True)
class EigConfig:
    """Sizes of the engine; written into the weights file.

    Attributes
    ----------
    hidden : width of the two hidden layers
    members : networks that are averaged
    candidates : strengths of the filter, spaced evenly in the logarithm
    smallest, largest : ends of that grid
    """

    hidden: int = 64
    members: int = 3
    candidates: int = 14
    smallest: float = 0.01
    largest: float = 40.0

    @property
    def features(self) -> int:
        """Length of a feature vector."""
        return 2 * len(_PLACES) + 6

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters."""
        envelope = dict.fromkeys(("low", "high"), (self.features,))
        return ensemble_shapes(self.members, self.features, self.hidden, self.candidates + 1) | envelope


@dataclass(frozen=True)
class EigChoice:
    """What the engine says of one window.

    Attributes
    ----------
    cut : eigenvalue from which on to damp
    strength : of the filter
    curve : (C,) predicted log steps of each candidate above the least
    steps : applications of the filter expected at the best candidate
    inside : whether the window is within the training envelope
    """

    cut: float
    strength: float
    curve: np.ndarray = field(repr=False)
    steps: float = np.nan
    inside: bool = True


def strength_grid(config: EigConfig) -> np.ndarray:
    """Candidate strengths, (candidates,)."""
    return np.geomspace(config.smallest, config.largest, config.candidates)


def window_features(window: Window, degree: int) -> np.ndarray:
    """Scale-free description of a window: logarithms of depths and residuals in units of the width over d^2.

    Parameters
    ----------
    window : Window
    degree : d, of the filter

    Returns
    -------
    (F,) : depth and residual at `_PLACES`, then k, ncv / k, n, d, steps of the probe, and share of locked pairs

    Notes
    -----
    Cost: some operations on each Ritz value of the window.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 3.1: Ritz values and residuals as probe; the scale is this package's.
    """
    scale = degree**2
    places = np.arange(1, window.values.size + 1)
    at = np.clip(np.array(_PLACES) * window.k, 1.0, window.values.size)
    depth = np.interp(at, places, window.depths) * scale
    residual = np.interp(at, places, window.residuals / window.width) * scale
    exact = float(np.mean(window.residuals[: window.k] <= 1e-9 * window.width))
    rest = [np.log(window.k), np.log(window.ncv / window.k), np.log(window.n), np.log(degree)]
    rest += [np.log(max(window.steps, 1) / window.ncv), exact]
    return np.concatenate([np.log(depth + _SMALLEST_DEPTH), np.log(residual + _SMALLEST_DEPTH), rest])


class AutoSpecEigEngine(EngineBase):
    """Trained engine for eigenproblems: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : EigConfig
    parameters : dict of arrays as `ensemble` takes them, and the envelope ``low``, ``high`` (F,)
    card : facts about the training, as JSON-able values
    """

    name = kind = "autospec-eig"
    task = "filter cuts"
    config_type = EigConfig

    @staticmethod
    def possible(config: EigConfig) -> bool:
        sizes = whole(config.hidden, config.members, config.candidates)
        return sizes and config.candidates >= 3 and 0 < config.smallest < config.largest < np.inf

    def choose(self, window: Window, *, degree: int = 21) -> EigChoice:
        """The filter's cut for a window.

        Parameters
        ----------
        window : Window
        degree : of the filter; 1 stands for none, whose steps are predicted

        Notes
        -----
        Cost: three small matrix-vector products. Learned: the cut. Nothing is guaranteed here; the search notices a
        cut among the wanted eigenvalues and asks again with the window that it then knows.
        """
        x = window_features(window, degree)
        out = ensemble(self.parameters, x[None, :])[:, 0, :].mean(axis=0)
        curve, level = out[:-1], float(np.clip(out[-1], 0.0, 20.0))
        position = curve_minimum(curve)
        grid = np.log(strength_grid(self.config))
        value = float(np.exp(np.interp(position, np.arange(grid.size), grid)))
        inside = envelope_distance(self.parameters, x) <= float(self.card.get("envelope_limit", 0.1))
        cut = cut_of_strength(value, window.edge, window.far, degree)
        return EigChoice(cut, value, curve - curve.min(), float(np.exp(level)), inside)
