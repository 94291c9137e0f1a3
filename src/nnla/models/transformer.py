"""The transformer that all network models share: one block, for NumPy arrays and torch tensors alike.

Parameters are named arrays, as everywhere in `nnla.models`; a module of torch holds them in training, safetensors in
use. Attention sees all tokens (no causal mask): a token of a matrix needs those after it as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import erf

from nnla.models.engine_base import whole
from nnla.operators.arrays import is_torch

__all__ = ["TransformerConfig", "gelu", "initial_parameters", "layer_norm", "transform", "transformer_block"]

_EPSILON = 1e-5  # added to variances


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a stack of blocks.

    Attributes
    ----------
    width : of a token
    blocks : one after the other
    heads : of the attention; they divide the width
    expansion : of the hidden layer, by the width
    """

    width: int = 256
    blocks: int = 12
    heads: int = 8
    expansion: int = 4

    def possible(self) -> bool:
        """Whether these can be sizes of a network."""
        numbers = whole(self.width, self.blocks, self.heads, self.expansion, self.width * self.expansion)
        return numbers and self.width % self.heads == 0

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters, the norm after the last block included."""
        W = self.width
        found: dict[str, tuple[int, ...]] = {}
        for i in range(self.blocks):
            found |= self.block_shapes(f"block{i}_")
        return found | {"norm_scale": (W,), "norm_shift": (W,)}

    def block_shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        """Shapes of one block's parameters, whose names begin with ``name``."""
        W, H = self.width, self.width * self.expansion
        return {
            f"{name}norm1_scale": (W,),
            f"{name}norm1_shift": (W,),
            f"{name}qkv_W": (W, 3 * W),
            f"{name}qkv_b": (3 * W,),
            f"{name}out_W": (W, W),
            f"{name}out_b": (W,),
            f"{name}norm2_scale": (W,),
            f"{name}norm2_shift": (W,),
            f"{name}up_W": (W, H),
            f"{name}up_b": (H,),
            f"{name}down_W": (H, W),
            f"{name}down_b": (W,),
        }


def initial_parameters(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator, blocks: int) -> dict[str, Any]:
    """Random parameters as GPT-2 starts: normal weights, zero biases, parts that end in a sum scaled by its length.

    Parameters
    ----------
    shapes : by name; names end in ``_W`` (weights), ``_b``, ``_shift`` (zeros), ``_scale`` (ones); all others are
        embeddings, normal with deviation .02
    rng : NumPy generator
    blocks : how many add to a token

    References
    ----------
    Radford et al., Language models are unsupervised multitask learners (2019), section 2.3.
    """
    made = {}
    for name, shape in shapes.items():
        kind = name.rpartition("_")[2]
        if kind in ("b", "shift"):
            made[name] = np.zeros(shape, dtype=np.float32)
        elif kind == "scale":
            made[name] = np.ones(shape, dtype=np.float32)
        else:
            deviation = 1 / math.sqrt(shape[0]) if kind == "W" else 0.02
            if name.endswith(("out_W", "down_W")):
                deviation /= math.sqrt(2 * blocks)
            made[name] = (deviation * rng.standard_normal(shape)).astype(np.float32)
    return made


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    """Tokens (..., W) of mean 0 and variance 1, scaled and shifted by (W,)."""
    if is_torch(x):
        import torch

        return torch.nn.functional.layer_norm(x, (x.shape[-1],), scale, shift, _EPSILON)
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + _EPSILON) * scale + shift


def gelu(x: Any) -> Any:
    """x Phi(x), Phi the normal distribution function.

    References
    ----------
    Hendrycks, Gimpel, Gaussian error linear units (arXiv:1606.08415).

    Examples
    --------
    >>> float(gelu(np.array(1.0)).round(4))
    0.8413
    """
    if is_torch(x):
        import torch

        return torch.nn.functional.gelu(x)
    return x * (0.5 + 0.5 * erf(x * x.dtype.type(math.sqrt(0.5))))


def _attention(q: Any, k: Any, v: Any) -> Any:
    """softmax(q k^T / sqrt(d)) v for (..., T, d)."""
    if is_torch(q):
        import torch

        return torch.nn.functional.scaled_dot_product_attention(q, k, v)
    scores = q @ np.swapaxes(k, -1, -2)
    scores *= scores.dtype.type(1 / math.sqrt(q.shape[-1]))
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores @ v


def transform(p: Mapping[str, Any], x: Any, config: TransformerConfig) -> Any:
    """Tokens through all blocks and the last norm.

    Parameters
    ----------
    p : parameters by name, `TransformerConfig.shapes`
    x : (B, T, W) tokens
    config : sizes

    Returns
    -------
    (B, T, W)

    Notes
    -----
    Pre-norm: x + attention(norm(x)), then x + MLP(norm(x)).

    Cost: a block takes (4 + 2 expansion) W^2 + 2 T W multiplications a token; memory B (heads T^2 + expansion T W).

    References
    ----------
    Algebraformer, equation (1); Vaswani et al., Attention is all you need (arXiv:1706.03762).
    """
    for i in range(config.blocks):
        x = transformer_block(p, f"block{i}_", x, config.heads)
    return layer_norm(x, p["norm_scale"], p["norm_shift"])


def transformer_block(p: Mapping[str, Any], name: str, x: Any, heads: int) -> Any:
    """Tokens (B, T, W) through one block: x + attention(norm(x)), then x + MLP(norm(x)).

    Parameters
    ----------
    p : parameters, of which the block's begin with ``name``, as in `TransformerConfig.shapes`
    x : (B, T, W) tokens
    heads : that divide W

    Notes
    -----
    Cost: as of `transform`, for one block.
    """
    B, T, W = x.shape
    z = layer_norm(x, p[name + "norm1_scale"], p[name + "norm1_shift"]) @ p[name + "qkv_W"] + p[name + "qkv_b"]
    z = z.reshape(B, T, 3, heads, W // heads).swapaxes(1, 3)  # (B, heads, 3, T, d)
    z = _attention(z[:, :, 0], z[:, :, 1], z[:, :, 2]).swapaxes(1, 2).reshape(B, T, W)
    x = x + (z @ p[name + "out_W"] + p[name + "out_b"])
    z = layer_norm(x, p[name + "norm2_scale"], p[name + "norm2_shift"]) @ p[name + "up_W"] + p[name + "up_b"]
    return x + (gelu(z) @ p[name + "down_W"] + p[name + "down_b"])
