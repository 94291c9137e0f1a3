"""AutoSpec as its paper builds it: probe -> embedding -> backbone -> coefficients of the recurrence.

The engine of arXiv:2602.09530 for preconditioned linear systems, kept for comparison with our own
(`nnla.models.autospec`). Algorithm 3 turns the ends of a Lanczos probe into ten numbers; Algorithm 1
turns those, layer by layer, into the coefficients of equation (4). Nothing makes its polynomial
positive, so whoever preconditions with it has to check (`nnla.guards`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnla._arrays import is_torch, namespace
from nnla.errors import NotPositiveDefiniteError, OptionError, WeightsError
from nnla.recurrences import Recurrence
from nnla.types import SpectralProbe

__all__ = [
    "PaperConfig",
    "PaperEngine",
    "backbone",
    "embedding",
    "paper_features",
    "paper_forward",
]

_EPSILON = 1e-8  # epsilon of Algorithm 1
_SCALE_GRID = (1 - np.cos(np.pi * (np.arange(32) + 0.5) / 32)) / 2  # where the scale of P is read off


@dataclass(frozen=True)
class PaperConfig:
    """Sizes of the paper's engine; written into the weights file.

    Attributes
    ----------
    degree : degree of P; ``degree - 1`` layers, because the recurrence starts from X z
    k : Ritz values, with residuals, taken from either end (Algorithm 3)
    hidden : width of both embedding networks; the paper's is 2 k
    ends : numbers that either embedding network puts out; the embedding has ``2 * ends``
    """

    degree: int = 11
    k: int = 20
    hidden: int = 40
    ends: int = 5

    def __post_init__(self) -> None:
        least = {"degree": 3, "k": self.ends, "hidden": 2 * self.ends, "ends": 1}
        for name, lowest in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < lowest:
                raise OptionError(f"PaperConfig.{name} must be an integer of at least {lowest}, got {value!r}")

    @property
    def layers(self) -> int:
        """Number of layers D."""
        return self.degree - 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters, in the order of the paper: W1 to W4, then the stacked layers."""
        c = self
        return {
            "W1": (2 * c.k, c.hidden),
            "W2": (2 * c.k, c.hidden),
            "W3": (c.hidden, c.ends),
            "W4": (c.hidden, c.ends),
            "W": (c.layers, 2 * c.ends, 6),
            "b": (c.layers, 1, 6),
        }


def paper_features(theta: np.ndarray, residual: np.ndarray, b: float, k: int) -> np.ndarray:
    """Input of Algorithm 3: k largest and k smallest Ritz values with their residuals, in units of b.

    Parameters
    ----------
    theta, residual : (steps,) Ritz values, increasing, and residual norms
    b : float
        Upper end of the spectrum.
    k : int
        Ritz values per end. A shorter probe is padded at the inner side by repeating its innermost
        value, so that the extreme value of either end always stands at the same place.

    Returns
    -------
    (4 k,) : largest values (descending), their residuals, smallest values (descending), their residuals.

    Examples
    --------
    >>> paper_features(np.array([1.0, 2.0, 4.0]), np.zeros(3), 4.0, 2)[[0, 1, 4, 5]]
    array([1.  , 0.5 , 0.5 , 0.25])
    """
    top = np.maximum(theta.size - 1 - np.arange(k), 0)
    bottom = np.minimum(np.arange(k), theta.size - 1)[::-1]
    return np.concatenate([theta[top], residual[top], theta[bottom], residual[bottom]]) / b


def _gelu(x: Any) -> Any:
    """GELU by tanh, alike in NumPy and torch; gelu(x) - gelu(-x) = x as for the one by erf."""
    xp = namespace(x)
    return 0.5 * x * (1.0 + xp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _magnitudes(y: Any) -> Any:
    """|y|, sorted in descending order along the last axis."""
    xp = namespace(y)
    ordered = xp.sort(-xp.abs(y), axis=-1)
    return -(ordered[0] if is_torch(y) else ordered)


def embedding(parameters: dict[str, Any], x: Any) -> Any:
    """Algorithm 3, as repaired: y1 = W3' gelu(W1' x1), y2 = W4' gelu(W2' x2), (B, 4 k) -> (B, 2 ends).

    The paper prints W3 in both lines and ``x`` for both inputs; its parameter list and the text around
    it say otherwise.
    """
    p = parameters
    half = p["W1"].shape[0]
    y1 = _gelu(x[..., :half] @ p["W1"]) @ p["W3"]
    y2 = _gelu(x[..., half:] @ p["W2"]) @ p["W4"]
    return namespace(x).concatenate((_magnitudes(y1), _magnitudes(y2)), axis=-1)


def backbone(parameters: dict[str, Any], e: Any) -> Any:
    """Algorithm 1 for all layers at once: (B, 2 ends) -> (D, B, 5), columns rho, gamma, eta, alpha, beta.

    Every layer is affine in e; the learned scale delta divides all but rho (line 3).
    """
    out = e @ parameters["W"] + parameters["b"]
    return namespace(out).concatenate((out[..., :1], out[..., 1:5] / (out[..., 5:] + _EPSILON)), axis=-1)


def paper_forward(parameters: dict[str, Any], x: Any) -> Any:
    """The whole network, written once for NumPy arrays and torch tensors.

    Parameters
    ----------
    parameters : W1, W2 (2 k, H), W3, W4 (H, ends), W (D, 2 ends, 6), b (D, 1, 6); the last axis of the
        stacked layers is rho, gamma, eta, alpha, beta, delta
    x : (B, 4 k), rows from `paper_features`

    Returns
    -------
    (D, B, 5) coefficients of equation (4) in the variable X = A / b.
    """
    return backbone(parameters, embedding(parameters, x))


class PaperEngine:
    """The paper's trained engine: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : PaperConfig
    parameters : dict of arrays as `paper_forward` takes them
    card : facts about the training, as JSON-able values

    References
    ----------
    AutoSpec (arXiv:2602.09530), Algorithms 1 and 3, equations (4)-(5).
    """

    name = "autospec-cg-paper"

    def __init__(self, config: PaperConfig, parameters: dict[str, np.ndarray], card: dict[str, Any]) -> None:
        for key, shape in config.shapes().items():
            if key not in parameters:
                raise WeightsError(f"engine weights lack {key}; train them again or reinstall nnla")
            if parameters[key].shape != shape:
                raise WeightsError(f"engine weights {key} have shape {parameters[key].shape}, the config says {shape}")
            if not np.all(np.isfinite(parameters[key])):
                raise WeightsError("engine weights have NaN or Inf; train them again or reinstall nnla")
        self.config = config
        self.parameters = {key: np.asarray(parameters[key], dtype=np.float64) for key in config.shapes()}
        self.card = card

    def __repr__(self) -> str:
        size = sum(v.size for v in self.parameters.values())
        return f"PaperEngine({self.card.get('name', self.name)!r}, degree={self.config.degree}, {size} numbers)"

    @property
    def envelope(self) -> dict[str, Any]:
        """Ranges seen in training, in words that a user knows."""
        return dict(self.card.get("envelope", {}))

    def recurrence(self, probe: SpectralProbe, *, degree: int = 11) -> Recurrence:
        """The learned polynomial preconditioner for a probe.

        Parameters
        ----------
        probe : SpectralProbe, definite
        degree : degree of P; the one that was trained

        Returns
        -------
        Recurrence in X = A / b, b the probe's upper bound, positive near zero, with lam P(lam) around 1.

        Raises
        ------
        OptionError
            Another degree than the trained one.
        NotPositiveDefiniteError
            The probe has negative Ritz values.

        Notes
        -----
        Cost: an eigenproblem of a tridiagonal matrix of the probe's size and a few small matrix-vector
        products. Everything is learned and nothing guaranteed: P may be indefinite, most of all for
        spectra unlike the training's; check it before preconditioning CG with it.
        """
        if degree != self.config.degree:
            raise OptionError(
                f"the paper's engine was trained for degree {self.config.degree} only, got {degree}; "
                f"use degree={self.config.degree}, or another method (autospec, chebyshev) for other degrees"
            )
        if not probe.definite:
            raise NotPositiveDefiniteError(
                f"the probe has Ritz values from {probe.lambda_min:.3g} to {probe.lambda_max:.3g}: the "
                "operator is not positive definite; solve with a method for indefinite systems (MINRES)"
            )
        b = probe.upper_bound
        x = paper_features(probe.ritz_values, probe.ritz_residuals, b, self.config.k)
        coefficients = paper_forward(self.parameters, x[None, :])[:, 0, :].T
        coefficients[0, -1] = 0.0  # rho of the last layer is not used (line 5)
        domain = (min(max(probe.lambda_min, 0.0), 0.5 * b), b)
        raw = Recurrence(*coefficients, domain=domain, scale=b)
        # The objective does not see the scale of P, nor its sign: both are settled here.
        level = float(np.mean(np.abs(b * _SCALE_GRID * raw(b * _SCALE_GRID))))
        sign = -1.0 if raw(0.0) < 0 else 1.0
        return raw.scaled(sign / level) if level > 0 else raw

    # -- files ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write safetensors with config and card in the metadata, atomically."""
        from nnla.registry import save_model

        save_model(path, kind="autospec-paper", config=self.config, parameters=self.parameters, card=self.card)

    @classmethod
    def from_file(cls, path: str | Path) -> PaperEngine:
        """Read weights; anything malformed raises `WeightsError`."""
        from nnla.registry import read_model

        return cls(*read_model(path, kind="autospec-paper", config=PaperConfig))
