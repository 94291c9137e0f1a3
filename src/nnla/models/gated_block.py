"""A block of products of linear maps: what takes the place of attention and feed-forward network at equal parameters.

z + (gate(z) * mix(z)) W, entry by entry: one factor is linear in the token itself, the other one in all tokens, mixed
by a matrix for each channel. Products of A with a vector, sum_j a_ij d_j, are among these functions exactly, which
softmax attention only approximates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["gated_block", "gated_shapes", "gates_of_equal_size"]


def gates_of_equal_size(n: int, width: int, expansion: int) -> int:
    """Products of a gated block with as many parameters as a block of attention has.

    Examples
    --------
    >>> gates_of_equal_size(20, 64, 4)
    84
    """
    return ((4 + 2 * expansion) * width * width + (9 + expansion) * width) // (3 * width + n * n + 2)


def gated_shapes(name: str, n: int, width: int, gates: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a block's parameters, whose names begin with ``name``."""
    return {
        f"{name}gate_W": (width, gates),
        f"{name}gate_b": (gates,),
        f"{name}value_W": (width, gates),
        f"{name}mix": (gates, n, n),
        f"{name}mix_b": (gates,),
        f"{name}out_W": (gates, width),
        f"{name}out_b": (width,),
    }


def gated_block(p: Mapping[str, Any], name: str, z: Any) -> Any:
    """Tokens (B, n, W) through one block: z + ((z G + g) * (mix(z V) + m)) O + o.

    Parameters
    ----------
    p : parameters by name, `gated_shapes`
    z : (B, n, W) tokens

    Notes
    -----
    mix is one n x n matrix over the tokens for each of the channels, the long convolution of BaseConv without its
    restriction to circulants: n is fixed here.

    Cost: n W (3 gates) + gates n^2 multiplications a system.

    References
    ----------
    Arora et al., Zoology (arXiv:2312.04927), BaseConv; Liu et al., Towards learning high-precision least squares
    algorithms with sequence models (ICLR 2025).
    """
    gate = z @ p[name + "gate_W"] + p[name + "gate_b"]
    mixed = (p[name + "mix"] @ (z @ p[name + "value_W"]).swapaxes(0, 2)).swapaxes(0, 2)  # in between (gates, n, B)
    return z + (gate * (mixed + p[name + "mix_b"])) @ p[name + "out_W"] + p[name + "out_b"]
