"""The encoder-decoder network on number tokens: its blocks, and how it writes a sequence after having read another.

Both sides have an encoding of their own. Written is token by token, the likeliest of those that the grammar allows (or
of all, on request), with the keys and values of what is there already kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from nnla.errors import NNLAError
from nnla.models.engine_base import whole
from nnla.models.matrix_functions import FUNCTION_NAMES
from nnla.models.matrix_tokens import BOS, LARGEST_SIZE, MatrixTokens, NumberEncoding
from nnla.models.number_features import number_features
from nnla.models.transformer import layer_norm
from nnla.operators.arrays import is_torch, namespace

__all__ = [
    "TokenTransformerConfig",
    "decode",
    "decoder_block",
    "encode",
    "encoder_block",
    "logits",
    "write",
]

Block = Callable[..., Any]


@dataclass(frozen=True)
class TokenTransformerConfig:
    """Sizes of the network and its languages; written into the weights file.

    Attributes
    ----------
    f : name of the function
    sizes : of matrices, ascending
    input, output : encodings of `nnla.models.matrix_tokens.ENCODINGS`
    input_lowest, input_exponents, output_lowest, output_exponents : their powers of ten; 0 exponents for the usual
    triangle : whether upper triangles alone are read and written
    embedding : "plain", a vector for each symbol, or "smooth", linear in `number_features`; the head alike
    input_scale, output_scale : of the features of numbers of one token
    norm : "post" (after each sum, the paper's) or "pre" (before each part)
    width, encoder, decoder, heads, expansion : of a token, numbers of blocks, of attention, of hidden layers
    """

    f: str = "exp"
    sizes: tuple[int, ...] = (3,)
    input: str = "B1999"
    input_lowest: int = 0
    input_exponents: int = 0
    output: str = "B1999"
    output_lowest: int = 0
    output_exponents: int = 0
    triangle: bool = True
    embedding: str = "plain"
    input_scale: float = 1.0
    output_scale: float = 1.0
    norm: str = "post"
    width: int = 512
    encoder: int = 8
    decoder: int = 1
    heads: int = 8
    expansion: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))  # lists in files

    @cached_property
    def reads(self) -> MatrixTokens:
        """The language of what is read."""
        return MatrixTokens(NumberEncoding(self.input, self.input_lowest, self.input_exponents), self.triangle)

    @cached_property
    def writes(self) -> MatrixTokens:
        """The language of what is written."""
        return MatrixTokens(NumberEncoding(self.output, self.output_lowest, self.output_exponents), self.triangle)

    @cached_property
    def features(self) -> dict[str, np.ndarray]:
        """What embeddings and head are linear in: nothing, or tables by the names that `embedded` and `logits` ask."""
        if self.embedding == "plain":
            return {}
        return {
            "features_in": number_features(self.reads, self.input_scale),
            "features_out": number_features(self.writes, self.output_scale),
        }

    def possible(self) -> bool:
        """Whether these can be sizes of a network."""
        sizes, W = self.sizes, self.width
        numbers = whole(W, self.encoder, self.decoder, self.heads, self.expansion, W * self.expansion)
        fits = numbers and len(sizes) > 0 and whole(*sizes) and sizes[-1] <= LARGEST_SIZE
        fits = fits and all(a < b for a, b in pairwise(sizes)) and W % self.heads == 0
        fits = fits and self.input_scale > 0 and self.output_scale > 0
        fits = fits and self.norm in ("post", "pre") and self.embedding in ("plain", "smooth")
        return fits and self.f in FUNCTION_NAMES and self._speaks()

    def _speaks(self) -> bool:
        try:
            return self.reads.vocabulary > 0 and self.writes.vocabulary > 0
        except (NNLAError, TypeError):
            return False

    def block_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what all blocks have."""
        found: dict[str, tuple[int, ...]] = {}
        for i in range(self.encoder):
            found |= _shapes(f"enc{i}_", self.width, self.expansion, cross=False)
        for i in range(self.decoder):
            found |= _shapes(f"dec{i}_", self.width, self.expansion, cross=True)
        return found

    def end_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of embeddings, norms and head."""
        W, n = self.width, self.sizes[-1]
        found: dict[str, tuple[int, ...]] = {}
        symbols = {"in": self.reads.vocabulary, "out": self.writes.vocabulary}
        symbols |= {name.removeprefix("features_"): x.shape[1] for name, x in self.features.items()}
        for side, text in (("in", self.reads), ("out", self.writes)):
            found |= {f"embed_{side}": (symbols[side], W), f"positions_{side}": (text.length(n), W)}
            found |= {f"norm_{side}_scale": (W,), f"norm_{side}_shift": (W,)}
            if self.norm == "pre":
                found |= {f"last_{side}_scale": (W,), f"last_{side}_shift": (W,)}
        return found | {"head": (symbols["out"], W), "head_b": (symbols["out"],)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all arrays; ``limits`` are the least and the largest of max |a_ij| in training."""
        return self.end_shapes() | self.block_shapes() | {"limits": (2,)}


_PARTS = ("qkv_W", "qkv_b", "out_W", "out_b", "norm1_scale", "norm1_shift")
_PARTS += ("up_W", "up_b", "down_W", "down_b", "norm2_scale", "norm2_shift")
_CROSS = ("q_W", "q_b", "kv_W", "kv_b", "cross_out_W", "cross_out_b", "norm3_scale", "norm3_shift")


def _shapes(name: str, W: int, expansion: int, *, cross: bool) -> dict[str, tuple[int, ...]]:
    H = W * expansion
    weights = {"qkv_W": (W, 3 * W), "out_W": (W, W), "up_W": (W, H), "down_W": (H, W)}
    weights |= {"q_W": (W, W), "kv_W": (W, 2 * W), "cross_out_W": (W, W)}
    return {
        name + part: weights[part] if part in weights else weights.get(part[:-1] + "W", (W,))[-1:]
        for part in (_PARTS + _CROSS if cross else _PARTS)
    }


def _weights(p: Mapping[str, Any], name: str, parts: Sequence[str]) -> tuple[Any, ...]:
    return tuple(p[name + part] for part in parts)


def _split(x: Any, heads: int) -> Any:
    """(B, T, W) as (B, heads, T, W / heads)."""
    B, T, W = x.shape
    return x.reshape(B, T, heads, W // heads).swapaxes(1, 2)


def _attention(q: Any, k: Any, v: Any, causal: bool) -> Any:
    """softmax(q k^T / sqrt(d)) v for (B, heads, T, d), heads joined; no token sees later ones if ``causal``."""
    B, heads, T, d = q.shape
    if is_torch(q):
        import torch

        found = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return found.swapaxes(1, 2).reshape(B, T, heads * d)
    scores = q @ k.swapaxes(-1, -2) * q.dtype.type(1 / math.sqrt(d))
    if causal:
        scores = np.where(np.tri(T, dtype=bool), scores, q.dtype.type(-np.inf))
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    return (scores @ v).swapaxes(1, 2).reshape(B, T, heads * d)


def _relu(x: Any) -> Any:
    if is_torch(x):
        return namespace(x).relu(x)
    return np.maximum(x, 0)


def _mlp(x: Any, w: Sequence[Any]) -> Any:
    return _relu(x @ w[0] + w[1]) @ w[2] + w[3]


def encoder_block(x: Any, w: Sequence[Any], heads: int, pre: bool) -> Any:
    """Tokens (B, S, W) through attention over all of them and a hidden layer, each added and normalised.

    Parameters
    ----------
    w : weights, biases and norms in the order of the block's shapes
    pre : whether norms come before the parts, not after the sums
    """
    z = layer_norm(x, w[4], w[5]) if pre else x
    q, k, v = _parted(z @ w[0] + w[1], 3, heads)
    x = x + (_attention(q, k, v, False) @ w[2] + w[3])
    if pre:
        return x + _mlp(layer_norm(x, w[10], w[11]), w[6:10])
    x = layer_norm(x, w[4], w[5])
    return layer_norm(x + _mlp(x, w[6:10]), w[10], w[11])


def decoder_block(x: Any, memory: tuple[Any, Any], past: Any, w: Sequence[Any], heads: int, pre: bool) -> Any:
    """Tokens (B, T, W) through attention over earlier ones, over a memory, and a hidden layer.

    Parameters
    ----------
    memory : keys and values (B, heads, S, W / heads) of what was read
    past : those of earlier tokens, or None; with them T is 1

    Returns
    -------
    (B, T, W), and keys and values of all tokens so far.
    """
    z = layer_norm(x, w[4], w[5]) if pre else x
    q, k, v = _parted(z @ w[0] + w[1], 3, heads)
    if past is not None:
        k, v = _joined(past[0], k), _joined(past[1], v)
    x = x + (_attention(q, k, v, past is None) @ w[2] + w[3])
    x = x if pre else layer_norm(x, w[4], w[5])
    z = layer_norm(x, w[18], w[19]) if pre else x
    x = x + (_attention(_split(z @ w[12] + w[13], heads), *memory, False) @ w[16] + w[17])
    x = x if pre else layer_norm(x, w[18], w[19])
    z = layer_norm(x, w[10], w[11]) if pre else x
    x = x + _mlp(z, w[6:10])
    return x if pre else layer_norm(x, w[10], w[11]), (k, v)


def _parted(z: Any, parts: int, heads: int) -> list[Any]:
    W = z.shape[-1] // parts
    return [_split(z[..., i * W : (i + 1) * W], heads) for i in range(parts)]


def _joined(a: Any, b: Any) -> Any:
    return namespace(a).cat([a, b], 2) if is_torch(a) else np.concatenate([a, b], 2)


def _embedded(p: Mapping[str, Any], side: str, ids: Any) -> Any:
    """Tokens (B, T, W) of ids (B, T)."""
    features = p.get(f"features_{side}")
    return p[f"embed_{side}"][ids] if features is None else features[ids] @ p[f"embed_{side}"]


def encode(p: Mapping[str, Any], config: TokenTransformerConfig, ids: Any, block: Block = encoder_block) -> list[Any]:
    """Sequences (B, S) read: for each block of the decoder, keys and values of its attention to them.

    Parameters
    ----------
    p : parameters by name, `TokenTransformerConfig.shapes`, and the config's ``features``
    block : `encoder_block`, or a compiled one

    Notes
    -----
    Cost: a block takes (4 + 2 expansion) W^2 + 2 S W multiplications a token.

    References
    ----------
    Vaswani et al., Attention is all you need (arXiv:1706.03762).
    """
    pre = config.norm == "pre"
    x = _embedded(p, "in", ids) + p["positions_in"][: ids.shape[1]]
    x = layer_norm(x, p["norm_in_scale"], p["norm_in_shift"])
    for i in range(config.encoder):
        x = block(x, _weights(p, f"enc{i}_", _PARTS), config.heads, pre)
    if pre:
        x = layer_norm(x, p["last_in_scale"], p["last_in_shift"])
    found = []
    for i in range(config.decoder):
        k, v = _parted(x @ p[f"dec{i}_kv_W"] + p[f"dec{i}_kv_b"], 2, config.heads)
        found.append((k, v))
    return found


def decode(
    p: Mapping[str, Any],
    config: TokenTransformerConfig,
    memories: list[Any],
    ids: Any,
    past: list[Any] | None = None,
    block: Block = decoder_block,
) -> tuple[Any, list[Any]]:
    """What tokens (B, T) end as, each having seen those before it: (B, T, W); and the keys and values for the next.

    Parameters
    ----------
    memories : of `encode`
    ids : all tokens so far, begin first; or with ``past``, what was returned for the earlier ones, the next token alone

    Notes
    -----
    Cost: a block takes (6 + 2 expansion) W^2 + 2 (S + T) W multiplications a token.
    """
    pre, start = config.norm == "pre", 0 if past is None else past[0][0].shape[2]
    x = _embedded(p, "out", ids) + p["positions_out"][start : start + ids.shape[1]]
    x = layer_norm(x, p["norm_out_scale"], p["norm_out_shift"])
    kept = []
    for i in range(config.decoder):
        w = _weights(p, f"dec{i}_", _PARTS + _CROSS)
        x, seen = block(x, memories[i], None if past is None else past[i], w, config.heads, pre)
        kept.append(seen)
    if pre:
        x = layer_norm(x, p["last_out_scale"], p["last_out_shift"])
    return x, kept


def logits(p: Mapping[str, Any], x: Any, run: tuple[int, int] | None = None) -> Any:
    """Logarithms of what tokens follow, up to a constant: (..., V) for (..., W), or those of a run of ids alone."""
    part = slice(*(run or (None, None)))
    features = p.get("features_out")
    if features is None:
        return x @ p["head"][part].swapaxes(0, 1) + p["head_b"][part]
    return (x @ p["head"].swapaxes(0, 1) + p["head_b"]) @ features[part].swapaxes(0, 1)


def write(
    p: Mapping[str, Any],
    config: TokenTransformerConfig,
    ids: Any,
    n: int,
    *,
    constrained: bool = True,
    cached: bool = True,
) -> Any:
    """Answers (B, T) to sequences (B, S), token by token, the likeliest each time.

    Parameters
    ----------
    constrained : choose among what the grammar allows: the right kind at each place, the exact length, and below the
        diagonal what stands above it; else among all symbols, and an answer may be malformed
    cached : keep keys and values; else all tokens are decoded anew at each step, to the same end

    Notes
    -----
    Cost: `encode`, and `decode` for T tokens; without cache for T (T + 1) / 2 of them.
    """
    xp, text = namespace(ids), config.writes
    memories, past = encode(p, config, ids), None
    grammar, mirrors = text.grammar(n), text.mirrors(n)
    found = [xp.full_like(ids[:, 0], BOS)]
    for place, run in enumerate(grammar):
        if cached:
            x, past = decode(p, config, memories, found[-1][:, None], past)
        else:
            x, _ = decode(p, config, memories, xp.stack(found, 1))
        if constrained and run[1] - run[0] == 1:
            token = xp.full_like(found[0], run[0])
        elif constrained and mirrors[place] < place:
            token = found[1 + mirrors[place]]
        else:
            first = run[0] if constrained else 0
            token = logits(p, x[:, -1], run if constrained else None).argmax(-1) + first
        found.append(token)
    return xp.stack(found[1:], 1)
