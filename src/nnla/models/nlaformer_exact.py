"""A looped transformer whose block has exact products: A itself is the attention matrix, and a small network gates.

Tokens are the n unknowns. A few columns of A, which are products with unit vectors and cost next to nothing, are the
first directions. A loop takes channels z_i = g_i r_i, r the residual, has A act on them as attention without a
softmax, and solves A x = b by Galerkin's method in all directions so far. What is learned is g: one network, the same
for every token, reads what does not depend on units or order: the diagonal of A, what of it the directions so far
explain, the residual. So any n will do, and errors fall to rounding.

Written once for NumPy arrays and torch tensors; products are a callable, so A may be sparse as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.models.engine_base import whole
from nnla.operators.arrays import namespace

__all__ = ["FEATURES", "ExactLoop", "ExactLoopConfig", "flops", "initial_gates"]

FEATURES = 8  # of a token
COLUMNS = 3  # of A that a loop begins with, as a rule
PLAIN = 6  # loops of conjugate gradients where a matrix is of another family than the training's
_SMALL = 1e-3  # of a share, whose logarithm is taken
_LIMIT = 6.0  # of a gate's logarithm
_ROUNDING = 1e-13  # a direction that has lost so much, relative to its terms, is none
_ELEMENTARY = 10  # operations that a logarithm, a root or an exponential is counted as


@dataclass(frozen=True)
class ExactLoopConfig:
    """Sizes of the block; written into the weights file.

    Attributes
    ----------
    channels : products of a loop
    hidden : of the network of a token
    steps : loops that have a bias of their own; the last one is that of all later loops
    """

    channels: int = 1
    hidden: int = 8
    steps: int = 6

    def possible(self) -> bool:
        """Whether the sizes make sense."""
        return whole(self.channels, self.hidden, self.steps) and self.channels <= 16

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all arrays: the last gate is that of the step without a product."""
        gates = self.channels + 1
        return {
            "in_W": (FEATURES, self.hidden),
            "in_b": (self.steps, self.hidden),
            "out_W": (self.hidden, gates),
            "skip_W": (FEATURES, gates),
            "out_b": (self.steps, gates),
        }


def initial_gates(config: ExactLoopConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Parameters with which the first channel divides by what of the diagonal is left, the second by the diagonal, the
    third by nothing."""
    made = {key: np.zeros(shape) for key, shape in config.shapes().items()}
    made["in_W"] = rng.standard_normal(made["in_W"].shape) / np.sqrt(FEATURES)
    made["out_W"] = 0.1 * rng.standard_normal(made["out_W"].shape) / np.sqrt(config.hidden)
    for channel in range(1, config.channels):
        made["skip_W"][1, channel] = 1.0  # c / a over c
        made["skip_W"][0, channel] = 1.0 if channel == 2 else 0.0
        made["skip_W"][3, channel] = 0.25 * (channel - 2) if channel > 2 else 0.0  # steeper in the residual
    return made


def flops(config: ExactLoopConfig, n: int, loops: int, *, product: float | None = None) -> float:
    """Operations of so many loops and the step after them, for one dense system; logarithms count ten, and there are
    three columns to begin with.

    Parameters
    ----------
    config, n, loops : sizes
    product : operations of a product with A, 2 n^2 by default

    Examples
    --------
    >>> round(flops(ExactLoopConfig(), 20, 6)), round(flops(ExactLoopConfig(), 200, 6))
    (55000, 982000)
    """
    K, gates = config.channels, config.channels + 1
    token = 2 * FEATURES * config.hidden + 4 * config.hidden + 2 * gates * (config.hidden + FEATURES)
    token += 4 * _ELEMENTARY + gates * (_ELEMENTARY + 3)
    total = 20.0 * n * COLUMNS
    for loop in range(loops + 1):
        made = COLUMNS + K * loop
        total += n * token + 8 * n * made * (K if loop < loops else 1)  # orthogonal to what is there, twice
        if loop < loops:
            total += K * (2 * n * n if product is None else product) + n * K * (6 + 4 * (K - 1) + 8)
    return total


@dataclass(eq=False)
class ExactLoop:
    """Systems under way: advanced loop by loop.

    Parameters
    ----------
    parameters : by name, `ExactLoopConfig.shapes`
    config : sizes
    product : (B, n, K) -> A times that
    diagonal : (B, n) of A, positive
    b : (B, n), of moderate size; zero rows of the batch stay zero
    outside : (B,) whether a matrix is of another family than the training's: `PLAIN` loops are then conjugate gradients
        (the first channel, of several), and the step without a product is left out; None for none
    columns : unit vectors (B, n, C) and those columns of A, (B, n, C), as directions to begin with; zero for none

    Attributes
    ----------
    x : (B, n) Galerkin's solution in the directions so far
    r : (B, n) its residual, by recurrence
    loops : so far
    lengths : of each loop, (B, K) steps along the gated residuals, as they come from the gates
    indefinite : (B,) whether a direction of no positive curvature has been met

    Notes
    -----
    Guaranteed for any weights and symmetric positive definite A, in exact arithmetic: x has the smallest A-norm of the
    error in the span of all directions, and with K directions a loop n / K loops end at the solution, unless a
    direction vanishes.

    Cost of a loop: K products, one pass of the network over the tokens, 8 n K operations for each earlier direction.
    Memory: 2 n K numbers a loop.

    References
    ----------
    NLAFormer, section 3.2 (the loop); Notay, Flexible conjugate gradients, SIAM J. Sci. Comput. 22 (2000); Bridson,
    Greif, A multipreconditioned conjugate gradient algorithm, SIAM J. Matrix Anal. Appl. 27 (2006) (several channels).
    """

    parameters: Mapping[str, Any]
    config: ExactLoopConfig
    product: Callable[[Any], Any]
    diagonal: Any
    b: Any
    outside: Any = None
    columns: tuple[Any, Any] | None = None
    x: Any = field(init=False)
    r: Any = field(init=False)
    loops: int = field(init=False, default=0)
    lengths: list[Any] = field(init=False, default_factory=list)
    indefinite: Any = field(init=False)

    def __post_init__(self) -> None:
        xp = namespace(self.b)
        self.r, self.x = self.b, xp.zeros_like(self.b)
        self._explained = xp.zeros_like(self.b)  # diagonal of A P P' A
        self._P: list[Any] = []
        self._S: list[Any] = []
        self._log = xp.log(self.diagonal)
        self._level = self._log.mean(-1, keepdims=True)
        self._spread = (((self._log - self._level) ** 2).mean(-1, keepdims=True) + _SMALL**2) ** 0.5
        self._unit = self._level
        self._last = xp.zeros_like(self._level)
        self.indefinite = (self.b * self.b).sum(-1) < 0
        self._gates: Any = None
        if self.columns is not None:
            Z, S = self.columns
            for k in range(Z.shape[-1]):
                self._step(Z[..., k], S[..., k], Z[..., k], k)
            self._measure()
            self.columns = None

    # -- the network --------------------------------------------------------------------------------------------------

    def features(self) -> Any:
        """(B, n, FEATURES) of the tokens: the same in any unit of A and b, and permuted as they are."""
        xp, one = namespace(self.b), namespace(self.b).ones_like(self.b)
        left = xp.clip(1 - self._explained / self.diagonal, 0.0, 1.0)
        share = xp.log(left + _SMALL)
        size = (self.r * self.r).mean(-1, keepdims=True)
        residual = xp.log(self.r * self.r / xp.where(size > 0, size, one[:, :1]) + _SMALL)
        own = [self._log - self._level, share, self._log + share - self._unit, residual]
        common = [self._level - self._unit, share.mean(-1, keepdims=True), self._spread, self._last]
        return xp.stack([*own, *(value * one for value in common)], -1)

    def gates(self) -> Any:
        """(B, n, K + 1) factors of the residual, in units of 1 / A."""
        if self._gates is None:
            xp, p = namespace(self.b), self.parameters
            step = min(self.loops, self.config.steps - 1)
            f = self.features()
            hidden = f @ p["in_W"] + p["in_b"][step]
            hidden = hidden / (1 + xp.abs(hidden))
            logarithm = hidden @ p["out_W"] + f @ p["skip_W"] + p["out_b"][step]
            left = xp.clip(1 - self._explained / self.diagonal, 0.0, 1.0) + _SMALL
            gates = xp.exp(xp.clip(logarithm, -_LIMIT, _LIMIT)) / (left * self.diagonal)[..., None]
            self._gates = gates if self.outside is None else self._guarded(gates)
        return self._gates

    def _guarded(self, gates: Any) -> Any:
        """The gates of a matrix of another family: one, and none for the last step."""
        xp, outside = namespace(gates), self.outside[:, None]
        parts = [gates[..., k] for k in range(gates.shape[-1])]
        if self.loops < PLAIN:
            parts[0] = xp.where(outside, xp.exp(-self._level) * xp.ones_like(parts[0]), parts[0])
        parts[-1] = xp.where(outside, xp.zeros_like(parts[-1]), parts[-1])
        return xp.stack(parts, -1)

    # -- the loop -----------------------------------------------------------------------------------------------------

    def advance(self, gates: Any = None) -> None:
        """One loop: K channels, K products, Galerkin's method.

        Parameters
        ----------
        gates : (B, n, K), or (B, n, 1), in place of the network's: any positive numbers, 1 for conjugate gradients
        """
        gates = self.gates()[..., : self.config.channels] if gates is None else gates
        raw = gates * self.r[..., None]
        Z = self._conjugate(raw)
        S = self.product(Z)
        lengths = []
        for k in range(gates.shape[-1]):
            lengths.append(self._step(Z[..., k], S[..., k], raw[..., k], k))
        self._count(lengths)

    def _count(self, lengths: list[Any]) -> None:
        """A loop is over; what the network reads of it."""
        xp = namespace(self.b)
        self.lengths.append(xp.stack(lengths, -1))
        self.loops += 1
        self._gates = None
        if self.loops == 1:
            self._measure()
        self._last = xp.clip(xp.log(xp.clip(lengths[0], 1e-3, 1e3)), -3.0, 3.0)[:, None]

    def answer(self) -> Any:
        """(B, n): x and a step for which no product is needed: as long as the network expects."""
        z = self._conjugate(self.gates()[..., -1:] * self.r[..., None])[..., 0]
        return self.x + z

    def verify(self) -> tuple[Any, Any]:
        """The answer and its residual b - A x, computed anew. The product is that of a loop of one channel: the step is
        a direction from now on, of the best length, so that nothing is lost where the answer is not good enough."""
        raw = self.gates()[..., -1:] * self.r[..., None]
        if self.outside is not None and self.lengths:
            xp, plain = namespace(raw), self.gates()[..., :1] * self.r[..., None]
            raw = xp.where(self.outside[:, None, None], plain * self.lengths[-1][:, :1, None], raw)
        z = self._conjugate(raw)[..., 0]
        answer = self.x + z
        residual = self.b - self.product(answer[..., None])[..., 0]
        length = self._step(z, self.r - residual, raw[..., 0], 0)
        self._count([length])
        return answer, residual

    def keep(self, which: Any) -> None:
        """Go on with some of the systems, by their numbers (product is the caller's to change).

        Cost: a copy of what is kept.
        """
        for name in ("diagonal", "b", "x", "r", "indefinite", "_explained", "_log", "_level", "_spread", "_unit"):
            setattr(self, name, getattr(self, name)[which])
        self._last = self._last[which]
        self._P, self._S = [p[which] for p in self._P], [s[which] for s in self._S]
        self.lengths = [length[which] for length in self.lengths]
        self.outside = None if self.outside is None else self.outside[which]
        self._gates = None

    def _measure(self) -> None:
        """The unit of A from what the directions explain of its diagonal, where they do."""
        xp, mean = namespace(self.b), self._explained.mean(-1, keepdims=True)
        self._unit = xp.where(mean > 0, xp.log(mean + 1e-300), self._level)

    def _conjugate(self, Z: Any) -> Any:
        """Z made A-orthogonal to all directions, twice."""
        if not self._P:
            return Z
        xp = namespace(Z)
        P, S = xp.stack(self._P, -1), xp.stack(self._S, -2)
        for _ in range(2):
            Z = Z - P @ (S @ Z)
        return Z

    def _step(self, z: Any, s: Any, raw: Any, k: int) -> Any:
        """Along one direction, of which s is the image; the step's length, (B,)."""
        xp = namespace(z)
        for p, q in zip(
            self._P[len(self._P) - k :] if k else [], self._S[len(self._S) - k :] if k else [], strict=True
        ):
            c = (q * z).sum(-1, keepdims=True)
            z, s = z - c * p, s - c * q
        curvature = (z * s).sum(-1)
        terms = (raw * raw * self.diagonal).sum(-1)
        usable = curvature > _ROUNDING**2 * terms
        self.indefinite = self.indefinite | (curvature < -_ROUNDING * terms)
        root = xp.where(usable, curvature, xp.ones_like(curvature)) ** 0.5
        scale = (xp.where(usable, 1 / root, xp.zeros_like(root)))[:, None]
        z, s = z * scale, s * scale
        along = (z * self.r).sum(-1, keepdims=True)
        self.x, self.r = self.x + along * z, self.r - along * s
        self._explained = self._explained + s * s
        self._P.append(z)
        self._S.append(s)
        return along[:, 0] / root
