"""Algebraformer: a transformer whose tokens are the columns of a dense matrix.

Two outputs of one network: the paper's, the solution itself from columns with the right-hand side below; and an
operator, G(A) with x = G(A) b, which is linear in b by construction, learns from many right-hand sides at once, and may
correct itself in a second pass on the residual.

Matrices of several sizes take the same network: row and column j of n lie in the slot of the largest size that is at
the same place, j / (n - 1). What standardises the entries is a table for each size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from nnla.models.dense_tables import (
    TabledEngine,
    as_dtype_of,
    scale_of,
    standardised,
    table_shapes,
    unit_answers,
    unit_rhs,
)
from nnla.models.engine_base import whole
from nnla.models.transformer import TransformerConfig, transform

__all__ = [
    "AlgebraformerConfig",
    "AlgebraformerEngine",
    "apply_operators",
    "bound_operator",
    "operators",
    "solutions",
]

OUTPUTS = ("solution", "operator")


@dataclass(frozen=True)
class AlgebraformerConfig:
    """Sizes of the network; written into the weights file.

    Attributes
    ----------
    sizes : of matrices, the largest last
    output : "solution" (the paper's) or "operator"
    passes : of an operator: 2 has it correct what it has left of the residual, and 3 once more
    width, blocks, heads, expansion : of the transformer
    """

    sizes: tuple[int, ...] = (64,)
    output: str = "solution"
    passes: int = 1
    width: int = 256
    blocks: int = 12
    heads: int = 8
    expansion: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))  # lists in files

    @property
    def largest(self) -> int:
        """Tokens at most."""
        return self.sizes[-1]

    @property
    def linear(self) -> bool:
        """Whether x is linear in b."""
        return self.output == "operator"

    @property
    def transformer(self) -> TransformerConfig:
        """The stack of blocks."""
        return TransformerConfig(self.width, self.blocks, self.heads, self.expansion)

    def slots(self, n: int) -> np.ndarray:
        """Places of the n rows and columns among those of the largest size.

        Examples
        --------
        >>> AlgebraformerConfig(sizes=(3, 5)).slots(3)
        array([0, 2, 4])
        """
        return np.round(np.arange(n) * ((self.largest - 1) / (n - 1))).astype(int)

    def network_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what is trained."""
        n, W = self.largest, self.width
        outputs = n if self.linear else 1
        ends = {"encode_W": (n if self.linear else n + 1, W), "encode_b": (W,), "positions": (n, W)}
        return ends | self.transformer.shapes() | {"head_W": (W, outputs), "head_b": (outputs,)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all arrays."""
        found = self.network_shapes()
        for n in self.sizes:
            found |= table_shapes(n, linear=self.linear)
        return found


def _network(p: Mapping[str, Any], config: AlgebraformerConfig, A: Any, b: Any = None) -> Any:
    """What the tokens end as, (B, n, outputs), for unit-free matrices (B, n, n) and right-hand sides (B, n)."""
    slots = config.slots(A.shape[-1])
    tokens = standardised(p, A).swapaxes(-1, -2) @ p["encode_W"][slots]
    tokens = tokens + p["encode_b"] + p["positions"][slots]
    if b is not None:
        tokens = tokens + b[..., None] * p["encode_W"][-1]
    return transform(p, tokens, config.transformer) @ p["head_W"] + p["head_b"]


def solutions(p: Mapping[str, Any], config: AlgebraformerConfig, A: Any, b: Any) -> Any:
    """x (B, n) for unit-free matrices (B, n, n) and right-hand sides (B, n), in the network's dtype.

    Notes
    -----
    b is taken by its root mean square, with the sign of its sum: x(-b) = -x(b).

    References
    ----------
    Algebraformer, section 3.1.
    """
    unit, size = unit_rhs(b)
    return unit_answers(p, _network(p, config, A, unit)[..., 0]) * size[..., None]


def operators(p: Mapping[str, Any], config: AlgebraformerConfig, A: Any) -> Any:
    """G (B, n, n), about the inverses of unit-free matrices (B, n, n), in the network's dtype."""
    return unit_answers(p, _network(p, config, A)[..., config.slots(A.shape[-1])])


def apply_operators(G: Any, A: Any, b: Any, passes: int) -> Any:
    """x (B, n, k): G b, and then so many passes less one of x + G (b - A x).

    Parameters
    ----------
    G : (B, n, n) of `operators`
    A : (B, n, n) in float64 where there is a second pass: the residual is what is left of much larger numbers
    b : (B, n, k)
    """
    x = G @ as_dtype_of(b, G)
    for _ in range(passes - 1):
        x = x + G @ as_dtype_of(as_dtype_of(b, A) - A @ as_dtype_of(x, A), G)
    return x


def bound_operator(p: Mapping[str, Any], config: AlgebraformerConfig, A: Any) -> Callable[[Any], Any]:
    """b (B, n, k) -> x (B, n, k) for matrices (B, n, n) in any unit; the network runs here, once.

    Notes
    -----
    Cost: the network, and then one product with a block for each pass, two for its residual.
    """
    scale = scale_of(p, A)[:, None, None]
    unit = A / scale
    G = operators(p, config, as_dtype_of(unit, p["encode_b"]))
    return lambda b: apply_operators(G, unit, b, config.passes) / scale


class AlgebraformerEngine(TabledEngine):
    """Dense systems of a family by a transformer over the columns of A: the solution, or an operator linear in b."""

    name = "algebraformer"
    label = "Algebraformer weights"
    config_type = AlgebraformerConfig

    @staticmethod
    def possible(config: AlgebraformerConfig) -> bool:
        """Whether the sizes make sense."""
        sizes = config.sizes
        rising = all(a < b for a, b in pairwise(sizes))
        known = config.output in OUTPUTS and config.passes in ((1, 2, 3) if config.linear else (1,))
        fits = len(sizes) > 0 and whole(*sizes) and rising and sizes[0] >= 3 and sizes[-1] <= 1024
        return fits and known and config.transformer.possible()

    def details(self) -> list[str]:
        """What `repr` says of the config."""
        return [*super().details(), f"{self.config.output}s"]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Matrices that it was trained on."""
        return self.config.sizes

    @property
    def linear(self) -> bool:
        """Whether its answer is linear in the right-hand side."""
        return self.config.linear

    def solutions(self, p: Mapping[str, Any], A: Any, b: Any) -> Any:
        """As `solutions` has them."""
        return solutions(p, self.config, A, b)

    def operator(self, A: Any) -> Callable[[Any], Any]:
        """As `bound_operator` has it."""
        return bound_operator(self.parameters_like(A), self.config, A)

    def answer(self, A: Any, b: Any) -> Any:
        """x (B, n, k) for matrices (B, n, n) and right-hand sides (B, n, k)."""
        return self.operator(A)(b) if self.linear else super().answer(A, b)
