"""NLAFormer, learned: a looped transformer that answers small dense positive definite systems iteration by iteration.

Token i is the i-th column of A with b_i below. A pre-processing block, one block that is applied again and again with
the same weights, and a post-processing block for the last iteration; linear probes read from the tokens after t of them
what stands for the iterate x_t, the residual r_t and the direction d_t.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.models.dense_tables import as_dtype_of, unit_rhs
from nnla.models.gated_block import gated_block, gated_shapes, gates_of_equal_size
from nnla.models.iterated_solutions import IteratedEngine, possible_sizes
from nnla.models.transformer import TransformerConfig, layer_norm, transformer_block
from nnla.operators.arrays import namespace

__all__ = [
    "BLOCKS",
    "SCALINGS",
    "STAGES",
    "NLAFormerConfig",
    "NLAFormerEngine",
    "iterates",
    "unit_systems",
]

BLOCKS = ("softmax", "gated")
SCALINGS = ("norm", "jacobi")
STAGES = ("pre", "loop", "post")


@dataclass(frozen=True)
class NLAFormerConfig:
    """Sizes of the network; written into the weights file.

    Attributes
    ----------
    n : of the matrices, fixed: the tokens hold whole columns
    block : "softmax", attention and a feed-forward network, or "gated", products of linear maps, of as many parameters
    width, heads, expansion : of a block; a head takes part of the width
    loops : iterations T; the post-processing block is the last
    injection : whether the input is added to the tokens again before each iteration, z <- norm(f(z + P))
    scaling : what makes systems unit-free: "norm", the mean square of A's entries; "jacobi", its diagonal on both sides
    """

    n: int = 20
    block: str = "softmax"
    width: int = 64
    heads: int = 2
    expansion: int = 4
    loops: int = 10
    injection: bool = False
    scaling: str = "norm"

    @property
    def transformer(self) -> TransformerConfig:
        """One block of attention."""
        return TransformerConfig(self.width, 1, self.heads, self.expansion)

    @property
    def gates(self) -> int:
        """Products of a gated block: as many parameters as one of attention has."""
        return gates_of_equal_size(self.n, self.width, self.expansion)

    def stage_shapes(self, stage: str) -> dict[str, tuple[int, ...]]:
        """Shapes of a block's parameters."""
        if self.block == "softmax":
            return self.transformer.block_shapes(stage + "_")
        return gated_shapes(stage + "_", self.n, self.width, self.gates)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all arrays."""
        n, W = self.n, self.width
        found: dict[str, tuple[int, ...]] = {"encode_W": (n + 1, W), "encode_b": (W,), "positions": (n, W)}
        for stage in STAGES:
            found |= self.stage_shapes(stage)
        if self.injection:
            found |= {"norm_scale": (W,), "norm_shift": (W,)}
        return found | {"x_W": (W, 1), "x_b": (1,), "inner_W": (W, 2), "inner_b": (2,)}


def unit_systems(A: Any, b: Any, scaling: str) -> tuple[Any, Any, Any, Any]:
    """Unit-free systems, and what takes answers back.

    Parameters
    ----------
    A, b : (B, n, n) and (B, n)
    scaling : one of `SCALINGS`

    Returns
    -------
    A, b : of the same shapes: entries of A of mean square one, or a diagonal of ones; b of mean square one, the sum of
        its entries positive
    of_x, of_b : (B, n) factors of answers, and of what has the unit of b

    Notes
    -----
    NaN where A is zero, or its diagonal has an entry that is not positive and "jacobi" divides by it.

    Cost: two passes over A.

    Examples
    --------
    >>> A, b, of_x, of_b = unit_systems(np.diag([4.0, 16.0])[None], np.array([[2.0, -4.0]]), "jacobi")
    >>> A[0].tolist(), b[0].tolist(), (of_x * b)[0].tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [1.0, -1.0], [0.5, -0.25])
    """
    if scaling == "norm":
        scale = (A * A).mean((-1, -2)) ** 0.5
        A = A / scale[:, None, None]
        unit, size = unit_rhs(b)
        one = namespace(A).ones_like(unit)
        return A, unit, one * (size / scale)[:, None], one * size[:, None]
    root = A.diagonal(0, -2, -1) ** 0.5
    A = A / root[:, :, None] / root[:, None, :]
    unit, size = unit_rhs(b / root)
    return A, unit, size[:, None] / root, size[:, None] * root


def iterates(
    p: Mapping[str, Any], config: NLAFormerConfig, A: Any, b: Any, loops: int, *, all_of_them: bool = True
) -> list[tuple[Any, Any]]:
    """What the probes read after 0, 1, ..., loops iterations, for unit-free systems.

    Parameters
    ----------
    p : parameters by name, `NLAFormerConfig.shapes`
    A, b : (B, n, n) and (B, n), of `unit_systems`, in the network's dtype
    loops : iterations; the post-processing block is the last of them
    all_of_them : or the last one alone

    Returns
    -------
    list of pairs: tokens (B, n, W) and x (B, n)

    Notes
    -----
    Cost: a block takes (4 + 2 expansion) W^2 + 2 n W multiplications a token, of either kind; there are loops + 1.

    References
    ----------
    NLAFormer, equation (26) and section 4.1 (probes).
    """
    tokens = namespace(A).concatenate([A, b[..., None]], -1)  # A is symmetric: rows are columns
    prompt = tokens @ p["encode_W"] + p["encode_b"] + p["positions"]
    z = _block(p, config, "pre", prompt)
    found = []
    for t in range(loops + 1):
        if t > 0:
            z = _block(p, config, "post" if t == loops else "loop", z + prompt if config.injection else z)
        if config.injection:
            z = layer_norm(z, p["norm_scale"], p["norm_shift"])
        if all_of_them or t == loops:
            found.append((z, (z @ p["x_W"] + p["x_b"])[..., 0]))
    return found


def _block(p: Mapping[str, Any], config: NLAFormerConfig, stage: str, z: Any) -> Any:
    if config.block == "softmax":
        return transformer_block(p, stage + "_", z, config.heads)
    return gated_block(p, stage + "_", z)


class NLAFormerEngine(IteratedEngine):
    """Small dense positive definite systems by a looped network.

    Notes
    -----
    n is fixed: `check_size` refuses all others. An iteration of the network is no product with A: it takes about
    12 W^2 / n products' worth of operations. Where A is not symmetric or its diagonal not positive it has no answer.

    References
    ----------
    Ma, Gao, Ng, NLAFormer: transformers learn numerical linear algebra operations (2025), section 4.
    """

    name = "nlaformer"
    label = "NLAFormer weights"
    config_type = NLAFormerConfig
    dtype = np.float32

    @staticmethod
    def possible(config: NLAFormerConfig) -> bool:
        """Whether the sizes make sense."""
        known = config.block in BLOCKS and config.scaling in SCALINGS and isinstance(config.injection, bool)
        return known and possible_sizes(config) and config.transformer.possible() and config.gates >= 1

    def details(self) -> list[str]:
        """What `repr` says of the config."""
        return [*super().details(), f"{self.config.block} block", f"{self.config.loops} loops"]

    @property
    def loop_multiplications(self) -> int:
        """Multiplications of an iteration, for one system."""
        c = self.config
        if c.block == "gated":
            return c.n * c.gates * (3 * c.width + c.n + 1)
        return c.n * ((4 + 2 * c.expansion) * c.width**2 + 2 * c.n * c.width)

    def last(self, A: Any, b: Any) -> Any:
        """x_T alone, without the probes of the others."""
        return self.path(A, b, all_of_them=False)[-1]

    def path(self, A: Any, b: Any, *, loops: int | None = None, all_of_them: bool = True) -> list[Any]:
        """x_t (B, n), t = 0, ..., loops, for matrices (B, n, n) and right-hand sides (B, n) in any unit.

        Parameters
        ----------
        A, b : float64 arrays, NumPy or torch
        loops : iterations, those of the training by default
        all_of_them : or the last one alone
        """
        p = self.parameters_like(A)
        A, b, of_x, _ = unit_systems(A, b, self.config.scaling)
        A, b = as_dtype_of(A, p["encode_b"]), as_dtype_of(b, p["encode_b"])
        count = self.config.loops if loops is None else loops
        return [as_dtype_of(x, of_x) * of_x for _, x in iterates(p, self.config, A, b, count, all_of_them=all_of_them)]
