"""AutoSpec as its paper builds it: probe -> embedding -> backbone -> coefficients of the recurrence.

The engine of arXiv:2602.09530 for preconditioned linear systems, kept for comparison with our own
(`nnla.models.autospec`). Algorithm 3 turns the ends of a Lanczos probe into ten numbers; Algorithm 1
turns those, layer by layer, into the coefficients of equation (4). Nothing makes its polynomial
positive, so whoever preconditions with it has to check (`nnla.polynomials.guards`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import NotPositiveDefiniteError
from nnla.models.paper_backbone import PaperBase, backbone, check_sizes, gelu, magnitudes
from nnla.operators.arrays import namespace
from nnla.polynomials.recurrence import Recurrence
from nnla.types import SpectralProbe

__all__ = [
    "PaperConfig",
    "PaperEngine",
    "backbone",
    "embedding",
    "paper_features",
    "paper_forward",
]

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
        check_sizes(self, {"degree": 3, "ends": 1})
        check_sizes(self, {"k": self.ends, "hidden": 2 * self.ends})

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

    Notes
    -----
    Cost: a copy of 4 k numbers.

    Examples
    --------
    >>> paper_features(np.array([1.0, 2.0, 4.0]), np.zeros(3), 4.0, 2)[[0, 1, 4, 5]]
    array([1.  , 0.5 , 0.5 , 0.25])
    """
    top = np.maximum(theta.size - 1 - np.arange(k), 0)
    bottom = np.minimum(np.arange(k), theta.size - 1)[::-1]
    return np.concatenate([theta[top], residual[top], theta[bottom], residual[bottom]]) / b


def embedding(parameters: dict[str, Any], x: Any) -> Any:
    """Algorithm 3, as repaired: y1 = W3' gelu(W1' x1), y2 = W4' gelu(W2' x2), (B, 4 k) -> (B, 2 ends).

    The paper prints W3 in both lines and ``x`` for both inputs; its parameter list and the text around
    it say otherwise.

    Cost: 4 k H + 2 H ends multiplications a row, for hidden size H.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Algorithm 3, lines 1 to 6.
    """
    p = parameters
    half = p["W1"].shape[0]
    y1 = gelu(x[..., :half] @ p["W1"]) @ p["W3"]  # line 2
    y2 = gelu(x[..., half:] @ p["W2"]) @ p["W4"]  # line 3
    return namespace(x).concatenate((magnitudes(y1), magnitudes(y2)), axis=-1)  # lines 4 to 6


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

    Notes
    -----
    Cost: that of `embedding` and `backbone`.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Algorithms 1 and 3, equation (4).
    """
    return backbone(parameters, embedding(parameters, x))


class PaperEngine(PaperBase):
    """The paper's trained engine for preconditioned linear systems: NumPy arrays, a config and a card.

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
    task = "polynomials"
    kind = "autospec-paper"
    config_type = PaperConfig

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
        self.check_degree(degree, "autospec, chebyshev")
        if not probe.definite:
            raise NotPositiveDefiniteError(
                f"the probe has Ritz values from {probe.lambda_min:.3g} to {probe.lambda_max:.3g}: the "
                "operator is not positive definite; solve with a method for indefinite systems (MINRES)"
            )
        return self.from_ritz(probe.ritz_values, probe.ritz_residuals, probe.upper_bound)

    def from_ritz(self, values: np.ndarray, residuals: np.ndarray, upper: float) -> Recurrence:
        """The learned preconditioner for Ritz values of any origin, increasing, with their residual norms.

        ``upper`` bounds the spectrum from above; see `recurrence`, which this does the work of.
        """
        x = paper_features(np.asarray(values), np.asarray(residuals), upper, self.config.k)
        coefficients = paper_forward(self.parameters, x[None, :])[:, 0, :].T
        coefficients[0, -1] = 0.0  # rho of the last layer is not used (line 5)
        domain = (min(max(float(values[0]), 0.0), 0.5 * upper), upper)
        raw = Recurrence(*coefficients, domain=domain, scale=upper)
        # The objective does not see the scale of P, nor its sign: both are settled here.
        level = float(np.mean(np.abs(upper * _SCALE_GRID * raw(upper * _SCALE_GRID))))
        sign = -1.0 if raw(0.0) < 0 else 1.0
        return raw.scaled(sign / level) if level > 0 else raw
