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

from nnla.models.engine_base import EngineBase, whole
from nnla.models.transformer import TransformerConfig, transform
from nnla.operators.arrays import is_torch, namespace

__all__ = [
    "AlgebraformerConfig",
    "AlgebraformerEngine",
    "apply_operators",
    "operators",
    "scale_of",
    "solutions",
    "standardised",
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
            answer = (n, n) if self.linear else (n,)
            found |= {f"size{n}_mean": (n, n), f"size{n}_deviation": (n, n)}
            found |= {f"size{n}_answer_mean": answer, f"size{n}_answer_deviation": answer, f"size{n}_far": (1,)}
        return found


def scale_of(p: Mapping[str, Any], A: Any) -> Any:
    """Factor (B,) of matrices (B, n, n), linear in A: about 1 for those of the training. A / scale is unit-free.

    Notes
    -----
    The multiple of the mean matrix that A is nearest to, entries weighed by what they usually are: noise averages out.
    """
    n = A.shape[-1]
    mean, deviation = p[f"size{n}_mean"], p[f"size{n}_deviation"]
    weight = mean / (mean * mean + deviation * deviation)
    return (A * weight).sum((-1, -2)) / (mean * weight).sum()


def standardised(p: Mapping[str, Any], A: Any) -> Any:
    """Entries of unit-free matrices (B, n, n) by those of the training: of mean 0 and deviation 1, about.

    Notes
    -----
    Entries of many deviations, which are rare, must not drown the others: from one on they count by their logarithm.
    """
    n = A.shape[-1]
    return namespace(A).arcsinh((A - p[f"size{n}_mean"]) / p[f"size{n}_deviation"])


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
    n = A.shape[-1]
    xp = namespace(b)
    size = (b * b).mean(-1) ** 0.5
    one = xp.ones_like(size)
    size = xp.where(size > 0, size, one) * xp.where(b.sum(-1) < 0, -one, one)
    out = _network(p, config, A, b / size[..., None])[..., 0]
    return (p[f"size{n}_answer_mean"] + p[f"size{n}_answer_deviation"] * out) * size[..., None]


def operators(p: Mapping[str, Any], config: AlgebraformerConfig, A: Any) -> Any:
    """G (B, n, n), about the inverses of unit-free matrices (B, n, n), in the network's dtype."""
    n = A.shape[-1]
    out = _network(p, config, A)[..., config.slots(n)]
    return p[f"size{n}_answer_mean"] + p[f"size{n}_answer_deviation"] * out


def apply_operators(G: Any, A: Any, b: Any, passes: int) -> Any:
    """x (B, n, k): G b, and then so many passes less one of x + G (b - A x).

    Parameters
    ----------
    G : (B, n, n) of `operators`
    A : (B, n, n) in float64 where there is a second pass: the residual is what is left of much larger numbers
    b : (B, n, k)
    """
    x = G @ _as(b, G)
    for _ in range(passes - 1):
        x = x + G @ _as(_as(b, A) - A @ _as(x, A), G)
    return x


def _as(x: Any, like: Any) -> Any:
    return x.to(like.dtype) if is_torch(x) else x.astype(like.dtype, copy=False)


class AlgebraformerEngine(EngineBase):
    """Trained Algebraformer: arrays, a config and a card."""

    name = "algebraformer"
    task = "dense solutions"
    label = "Algebraformer weights"
    config_type = AlgebraformerConfig
    dtype = np.float32

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
        return [f"n = {', '.join(map(str, self.config.sizes))}", f"{self.config.output}s"]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Matrices that it was trained on."""
        return self.config.sizes

    @property
    def linear(self) -> bool:
        """Whether its answer is linear in the right-hand side."""
        return self.config.linear

    def distances(self, A: Any) -> Any:
        """(B,) how far matrices (B, n, n) are from those of the training: 1 is the farthest of those.

        Notes
        -----
        The root mean square of the standardised entries, of matrices in their own unit.
        """
        p, n = self._parameters(A), A.shape[-1]
        xp = namespace(A)
        scale = scale_of(p, A)
        with np.errstate(all="ignore"):
            standard = standardised(p, A / scale[:, None, None])
        far = (standard * standard).mean((-1, -2)) ** 0.5 / p[f"size{n}_far"][0]
        return xp.where(xp.isfinite(far), far, xp.full_like(far, np.inf))

    def operator(self, A: Any) -> Callable[[Any], Any]:
        """b (B, n, k) -> x (B, n, k) for matrices (B, n, n); the network runs once.

        Notes
        -----
        Cost: the network, and then one product with a block for each pass, two for its residual.
        """
        p = self._parameters(A)
        scale = scale_of(p, A)[:, None, None]
        unit = A / scale
        G = operators(p, self.config, _as(unit, p["encode_b"]))
        return lambda b: apply_operators(G, unit, b, self.config.passes) / scale

    def answer(self, A: Any, b: Any) -> Any:
        """x (B, n, k) for matrices (B, n, n) and right-hand sides (B, n, k)."""
        if self.linear:
            return self.operator(A)(b)
        p = self._parameters(A)
        xp = namespace(A)
        scale = scale_of(p, A)[:, None, None]
        unit = _as(A / scale, p["encode_b"])
        columns = [solutions(p, self.config, unit, _as(b[:, :, i], unit)) for i in range(b.shape[-1])]
        return xp.stack(columns, -1) / scale

    def _parameters(self, like: Any) -> Mapping[str, Any]:
        """The parameters as arrays of the kind and on the device of another."""
        if not is_torch(like):
            return self.parameters
        import torch

        return {key: torch.as_tensor(value, device=like.device) for key, value in self.parameters.items()}
