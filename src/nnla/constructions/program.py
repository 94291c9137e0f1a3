"""A compiled program: prompts in, layers over them, values out; its sizes and its weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.constructions.difference_heads import HeadScheme
from nnla.constructions.prompt import Block, PromptLayout
from nnla.constructions.softmax_layer import SoftmaxLayer
from nnla.errors import DTypeError, NonFiniteError, NotSymmetricError, OptionError, ShapeError

__all__ = ["Attention", "Program", "ProgramSize"]

_INACCURATE = 1e-2  # relative error of a product from which on a run is refused
_MAXIMAL = 1_000_000  # loops


@dataclass(frozen=True)
class Attention:
    """How products are computed: scheme of the heads, step c, sink's score C, dtype, and the softmax's shift."""

    scheme: HeadScheme
    step: float
    sink: float
    dtype: np.dtype
    shift: bool

    def error(self, scores: float, tokens: int) -> float:
        """Relative error of products whose scores are at most so large: the formula's, the sink's n e^-C, rounding."""
        rounding = float(np.finfo(self.dtype).eps) / self.step * (self.sink if self.shift else 1.0)
        return self.scheme.truncation(scores, self.step) + tokens * math.exp(-self.sink) + rounding


@dataclass(frozen=True)
class ProgramSize:
    """What a program takes.

    Attributes
    ----------
    layers, heads : name of a stack ("pre", "loop", "post") -> layers; -> heads of each layer
    rows, columns : of the prompt
    nonzeros : weights of heads, and of real networks, that are not zero
    relu_layers : hidden layers of real networks, over all layers; 0 where exact pointwise maps stand in for them
    """

    layers: dict[str, int]
    heads: dict[str, list[int]]
    rows: int
    columns: int
    nonzeros: int
    relu_layers: int


@dataclass(frozen=True, eq=False)
class Program:
    """A transformer with explicit weights that computes an `Algorithm`.

    Attributes
    ----------
    layout : of the prompt
    stacks : "pre", "loop" (shared by all loops), "post" -> layers
    attention : scheme, c, C, dtype
    inputs, states, outputs : names
    symmetric : input -> whether it was promised to be
    """

    layout: PromptLayout
    stacks: Mapping[str, tuple[SoftmaxLayer, ...]]
    attention: Attention
    inputs: tuple[str, ...]
    states: tuple[str, ...]
    outputs: tuple[str, ...]
    symmetric: Mapping[str, bool]

    def __str__(self) -> str:
        size, parts = self.size(), []
        for name, count in size.layers.items():
            if count:
                each = " + ".join(map(str, size.heads[name]))
                plural = "" if size.heads[name] == [1] else "s"
                parts.append(f"{name} {count} layer{'s' if count > 1 else ''} ({each} head{plural})")
        return f"{', '.join(parts)}; prompt {size.rows} x {size.columns}"

    @property
    def layers(self) -> tuple[SoftmaxLayer, ...]:
        """All layers, in order."""
        return tuple(layer for stack in self.stacks.values() for layer in stack)

    def size(self) -> ProgramSize:
        """Layers, heads, rows, columns, weights."""
        real = [layer.ffn for layer in self.layers if hasattr(layer.ffn, "weights")]
        return ProgramSize(
            {name: len(stack) for name, stack in self.stacks.items()},
            {name: [len(layer.heads) for layer in stack] for name, stack in self.stacks.items()},
            self.layout.rows,
            self.layout.columns,
            sum(layer.nonzeros for layer in self.layers) + sum(ffn.nonzeros for ffn in real),  # type: ignore[union-attr]
            sum(ffn.depth for ffn in real),  # type: ignore[union-attr]
        )

    # --------------------------------------------------------------------------------------------- prompts
    def encode(self, **values: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Prompts of inputs, and the binary exponents of their units.

        Parameters
        ----------
        **values : by name: (..., rows, n), (..., n), (...); a state's input that is left out is zero

        Returns
        -------
        P : (..., rows, columns)
        exponents : own unit -> (...) integers: the input was divided by 2^exponent, so that its norm lies in (1/2, 1]

        Raises
        ------
        OptionError : an input that is missing or unknown
        ShapeError, NonFiniteError, DTypeError, NotSymmetricError : values that are no such input
        """
        unknown = set(values) - set(self.inputs)
        missing = [name for name in self.inputs if name not in values and name not in self.states]
        if unknown or missing:
            what = f"unknown {', '.join(sorted(unknown))}" if unknown else f"missing {', '.join(missing)}"
            raise OptionError(f"inputs: {what}; the program takes {', '.join(self.inputs)}")
        given = {name: self._checked(name, value) for name, value in values.items()}
        try:
            batch = np.broadcast_shapes(*(a.shape[: a.ndim - _dimensions(self.layout[n])] for n, a in given.items()))
        except ValueError:
            raise ShapeError(
                f"inputs of shapes {[a.shape for a in given.values()]}: the batches do not agree"
            ) from None
        exponents: dict[str, np.ndarray] = {}
        for name, value in given.items():
            block = self.layout[name]
            if [p for p, _ in block.unit.powers] == [name]:
                exponents[name] = _exponent(value, _dimensions(block))
        P = self.layout.empty(batch, self.attention.dtype)
        for name, value in given.items():
            shift = self._shift(self.layout[name], exponents)
            extra = (...,) + (None,) * _dimensions(self.layout[name])
            with np.errstate(over="ignore", under="ignore"):
                scaled = np.ldexp(value, -np.asarray(shift)[extra])
                self.layout.put(P, name, scaled.astype(self.attention.dtype))
        if not np.isfinite(P).all():
            raise NonFiniteError("an input is too large beside the others, in whose units it is; scale it")
        return P, exponents

    def _checked(self, name: str, value: Any) -> np.ndarray:
        block = self.layout[name]
        try:
            given = np.asarray(value)
            array = np.asarray(given, dtype=np.float64) if given.dtype.kind in "fiub" else None
        except (TypeError, ValueError, OverflowError):  # ragged lists, and what is no array at all
            array = None
        if array is None:
            raise DTypeError(f"input {name} is no real array; give a NumPy array of real numbers")
        shape = _shape(block)
        if array.shape[array.ndim - len(shape) :] != shape or array.ndim < len(shape):
            raise ShapeError(f"input {name} has shape {array.shape}; give {shape}, or a batch (..., {str(shape)[1:]}")
        if not np.isfinite(array).all():
            raise NonFiniteError(f"input {name} has NaN or Inf; repair the data")
        if self.symmetric[name] and not _is_symmetric(array):
            raise NotSymmetricError(f"input {name} is not symmetric, as the algorithm declares; give (A + A.T) / 2")
        return array

    def _shift(self, block: Block, exponents: Mapping[str, np.ndarray]) -> np.ndarray:
        """Binary exponent of a block's unit."""
        total: Any = 0
        for name, power in block.unit.powers:
            part = exponents.get(name, np.zeros((), dtype=np.int64)) * power.numerator
            if power.denominator > 1 and np.any(part % power.denominator):
                raise OptionError(f"{block.name} has the unit {block.unit}, no power of two; output its square")
            total = total + part // power.denominator
        return np.asarray(total)

    def decode(self, P: np.ndarray, name: str, exponents: Mapping[str, np.ndarray]) -> np.ndarray:
        """A block of prompts in the inputs' units: float64.

        Raises
        ------
        NonFiniteError : values that float64 does not hold
        """
        block = self.layout[name]
        value = np.array(self.layout.get(P, name), dtype=np.float64)
        shift = np.asarray(self._shift(block, exponents))[(...,) + (None,) * len(_shape(block))]
        with np.errstate(over="ignore", under="ignore"):
            value = np.ldexp(value, shift)
        if not np.isfinite(value).all():
            raise NonFiniteError(f"{name} leaves the range of float64; scale the inputs")
        return value

    # --------------------------------------------------------------------------------------------- running
    def run(self, loops: int = 0, **values: Any) -> dict[str, np.ndarray]:
        """States and outputs after so many loops.

        Parameters
        ----------
        loops : of the loop's layers
        **values : inputs by name, `encode`

        Returns
        -------
        results : name -> float64 array, batched as the inputs are

        Raises
        ------
        OptionError : scores so large that products lose all accuracy; loops that are none
        NonFiniteError : a prompt that overflows
        """
        return next(iter(self.trajectory(loops, last_only=True, **values)))

    def trajectory(self, loops: int = 0, *, last_only: bool = False, **values: Any) -> Iterator[dict[str, np.ndarray]]:
        """States and outputs after 0, 1, ..., loops loops (NLAF^0, NLAF^1, ...).

        Parameters
        ----------
        loops
        last_only : only the last

        Yields
        ------
        results : as from `run`
        """
        whole = isinstance(loops, (int, np.integer)) and not isinstance(loops, bool)
        if not whole or not 0 <= loops <= _MAXIMAL:
            raise OptionError(f"loops={loops!r} is no count; give a whole number from 0 to {_MAXIMAL}")
        if loops and not self.stacks["loop"]:
            raise OptionError(f"loops={loops}, but the program has no loop; leave it out")
        P, exponents = self.encode(**values)
        P = self._through("pre", P)
        for t in range(int(loops) + 1):
            if t:
                P = self._through("loop", P)
            if t == loops or not last_only:
                Q = self._through("post", P)
                yield {name: self.decode(Q, name, exponents) for name in (*self.states, *self.outputs)}

    def _through(self, stack: str, P: np.ndarray) -> np.ndarray:
        for layer in self.stacks[stack]:
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                attended = layer.attention(P)
                P = attended.prompt if layer.ffn is None else attended.prompt + layer.ffn(attended.prompt)
            if not np.isfinite(P).all():
                raise NonFiniteError(
                    f"the prompt overflows in {stack}: the iteration diverges, or its direction is not normalised"
                )
            scores = self._scores(layer, attended.scores)
            error = self.attention.error(scores, self.layout.tokens) if layer.heads else 0.0
            if error > _INACCURATE:
                raise OptionError(
                    f"scores of {scores:.1e} in {stack} leave products a relative error of {error:.0e}: "
                    f"leave c and C at their defaults, or normalise the vectors before attention"
                )
        return P

    def _scores(self, layer: SoftmaxLayer, scores: float) -> float:
        """Scores z of products, from the largest score t c z of the heads."""
        return scores / (self.attention.step * max(map(abs, self.attention.scheme.nodes))) if layer.heads else 0.0

    # --------------------------------------------------------------------------------------------- weights
    def weights(self) -> dict[str, np.ndarray]:
        """All weights as named arrays, to start a trainable network from.

        Returns
        -------
        arrays : ``{stack}.{layer}.heads.{h}.W_Q`` and ``.W_K`` (k, rows), ``.W_V`` (rows, rows), of stack ``pre``,
            ``loop``, ``post``; and of real networks ``{stack}.{layer}.ffn.{i}.W`` (out, in) and ``.b`` (out,)

        Notes
        -----
        Prompts have tokens in columns, as in the paper: a network with tokens in rows takes the transposes.
        """
        arrays: dict[str, np.ndarray] = {}
        for name, stack in self.stacks.items():
            for i, layer in enumerate(stack):
                for h, head in enumerate(layer.heads):
                    at = f"{name}.{i}.heads.{h}"
                    arrays |= {f"{at}.W_Q": head.W_Q, f"{at}.W_K": head.W_K, f"{at}.W_V": head.W_V}
                real: Any = getattr(layer.ffn, "weights", ())
                for j, (W, b) in enumerate(real):
                    arrays[f"{name}.{i}.ffn.{j}.W"] = W.toarray() if hasattr(W, "toarray") else np.asarray(W)
                    arrays[f"{name}.{i}.ffn.{j}.b"] = np.asarray(b)
        return arrays


def _shape(block: Block) -> tuple[int, ...]:
    return {"matrix": (block.rows, block.length), "vector": (block.length,), "scalar": ()}[block.kind]


def _dimensions(block: Block) -> int:
    return len(_shape(block))


def _is_symmetric(A: np.ndarray) -> bool:
    largest = np.abs(A).max(axis=(-2, -1), initial=0.0)
    with np.errstate(over="ignore"):
        return bool((np.abs(A - A.swapaxes(-1, -2)).max(axis=(-2, -1), initial=0.0) <= 1e-10 * largest).all())


def _exponent(value: np.ndarray, dimensions: int) -> np.ndarray:
    """e such that the norm of value / 2^e lies in (1/2, 1]; 0 of zero."""
    axes = tuple(range(value.ndim - dimensions, value.ndim))
    _, large = np.frexp(np.abs(value).max(axis=axes, initial=0.0))
    rest = np.ldexp(value, -large[(...,) + (None,) * dimensions])
    mantissa, small = np.frexp(np.sqrt((rest**2).sum(axis=axes)))
    return np.where(mantissa > 0, large.astype(np.int64) + small - (mantissa == 0.5), 0)
