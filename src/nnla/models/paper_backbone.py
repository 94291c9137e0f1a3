"""What the paper's three engines share: Algorithm 1, the activation, weights that are checked and saved.

AutoSpec (arXiv:2602.09530) has one backbone for all tasks and an embedding for each: Algorithm 3 for linear
systems (`nnla.models.autospec_paper`) and matrix functions (`nnla.models.autospec_funm_paper`), Algorithm 2 for
eigenproblems (`nnla.models.autospec_eig_paper`).
"""

from __future__ import annotations

import math
from typing import Any

from nnla.errors import OptionError
from nnla.models.engine_base import EngineBase
from nnla.operators.arrays import is_torch, namespace

__all__ = ["PaperBase", "backbone", "check_sizes", "gelu", "magnitudes"]

_EPSILON = 1e-8  # epsilon of Algorithm 1


def gelu(x: Any) -> Any:
    """GELU by tanh, alike in NumPy and torch; gelu(x) - gelu(-x) = x as for the one by erf.

    Cost: one hyperbolic tangent for each number.

    References
    ----------
    Hendrycks, Gimpel, Gaussian error linear units, arXiv:1606.08415; AutoSpec (arXiv:2602.09530), Algorithms 2 and 3.
    """
    xp = namespace(x)
    return 0.5 * x * (1.0 + xp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def magnitudes(y: Any) -> Any:
    """|y|, sorted in descending order along the last axis.

    Cost: a sort of each row.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Algorithm 3, lines 4 and 5.
    """
    xp = namespace(y)
    ordered = xp.sort(-xp.abs(y), axis=-1)
    return -(ordered[0] if is_torch(y) else ordered)


def backbone(parameters: dict[str, Any], e: Any) -> Any:
    """Algorithm 1 for all layers at once: (B, E) -> (D, B, 5), columns rho, gamma, eta, alpha, beta.

    Every layer is affine in e; the learned scale delta divides all but rho (line 3).

    Parameters
    ----------
    parameters : "W" (D, E, 6) and "b" (D, 1, 6); the last axis is rho, gamma, eta, alpha, beta, delta
    e : (B, E) embeddings

    Notes
    -----
    Cost: 6 D E multiplications a row.

    References
    ----------
    AutoSpec (arXiv:2602.09530), Algorithm 1, lines 1 to 3.
    """
    out = e @ parameters["W"] + parameters["b"]  # lines 1 and 2
    return namespace(out).concatenate((out[..., :1], out[..., 1:5] / (out[..., 5:] + _EPSILON)), axis=-1)


def check_sizes(config: Any, least: dict[str, int]) -> None:
    """Raise `OptionError` unless the named fields of a config are integers of at least these values."""
    for name, lowest in least.items():
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            kind = type(config).__name__
            raise OptionError(f"{kind}.{name} must be an integer of at least {lowest}, got {value!r}")


class PaperBase(EngineBase):
    """A trained engine of the paper, for one degree."""

    @property
    def degree(self) -> int:
        """The degree that it was trained for."""
        return self.config.degree

    def details(self) -> list[str]:
        return [f"degree={self.degree}"]

    def check_degree(self, degree: int, others: str) -> None:
        """Raise `OptionError` for another degree than the trained one; ``others`` names methods that take it."""
        if degree != self.degree:
            raise OptionError(
                f"the paper's engine was trained for degree {self.degree} only, got {degree}; "
                f"use degree={self.degree}, or another method ({others}) for other degrees"
            )
