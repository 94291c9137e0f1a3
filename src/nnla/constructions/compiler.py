"""The compiler: an algorithm in symbols becomes a prompt layout and transformer layers with explicit weights."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from nnla.constructions.difference_heads import (
    TYPICAL_SCORE,
    HeadScheme,
    bilinear_heads,
    default_sink,
    default_step,
    head_scheme,
)
from nnla.constructions.expressions import Expression, Kind, Place, Unit, leaf, units
from nnla.constructions.lowering import LayerPlan, Pool, Term, plan_layers
from nnla.constructions.pointwise import PointwiseMap
from nnla.constructions.program import Attention, Program
from nnla.constructions.prompt import Block, PromptLayout
from nnla.constructions.relu_circuits import ReLUDomain, relu_network
from nnla.constructions.softmax_layer import Head, SoftmaxLayer
from nnla.errors import OptionError, ShapeError

__all__ = ["Algorithm"]

LARGEST = 512  # tokens: a layer computes with dense matrices of several times as many rows
_WORDS = ("work", "positions")


class Algorithm:
    """An algorithm on prompts of so many tokens: inputs, states of its loop, outputs.

    Parameters
    ----------
    tokens : columns of the prompt without the sink; of matrices, and entries of vectors that lie across

    Notes
    -----
    Without states, the outputs are computed by one stack of layers. With states, ``pre`` computes their first values,
    ``loop`` their next ones, the same layers each time, and ``post`` the outputs, if there are any (eq. (26)).

    References
    ----------
    NLAFormer, section 3: "the relevant basic operators can be composed".

    Examples
    --------
    One step of steepest descent in symbols, then as a transformer of one layer:

    >>> from nnla.constructions import Algorithm, dot
    >>> m = Algorithm(4)
    >>> A = m.matrix("A", symmetric=True)
    >>> b = m.vector("b", across=True)
    >>> x = m.state("x", m.vector("x", unit=b.unit / A.unit))
    >>> r = m.state("r", b - A @ x)
    >>> q = A @ r
    >>> alpha = dot(r, r) / dot(r, q)
    >>> m.update(x, x + alpha * r)
    >>> m.update(r, r - alpha * q)
    >>> program = m.compile()
    >>> print(program)
    pre 1 layer (4 heads), loop 1 layer (2 heads); prompt 22 x 5
    >>> H, f = np.diag([1.0, 2.0, 3.0, 4.0]), np.ones(4)
    >>> bool(np.abs(program.run(60, A=H, b=f)["x"] - f / np.diag(H)).max() < 1e-9)
    True
    """

    def __init__(self, tokens: int) -> None:
        whole = isinstance(tokens, (int, np.integer)) and not isinstance(tokens, bool)
        if not whole or not 1 <= tokens <= LARGEST:
            raise OptionError(f"tokens={tokens!r} is no size of a prompt; give a whole number from 1 to {LARGEST}")
        self.tokens = int(tokens)
        self._inputs: dict[str, Expression] = {}
        self._states: dict[str, tuple[Expression, Expression]] = {}  # name -> leaf, first value
        self._updates: dict[str, Expression] = {}
        self._outputs: dict[str, Expression] = {}

    # ---------------------------------------------------------------------------------------------- declarations
    def _named(self, name: str, taken: Mapping[str, Any]) -> str:
        if not isinstance(name, str) or not name.isidentifier() or name.startswith(_WORDS):
            raise OptionError(f"{name!r} cannot name a part of a prompt; give an identifier, not work... or positions")
        if name in taken:
            raise OptionError(f"there is a {name!r} already; give another name")
        return name

    def _input(self, name: str, kind: Kind, rows: int, length: int, place: Place, unit: Any, data: Any) -> Expression:
        self._named(name, {**self._inputs, **self._states})
        if unit is not None and not isinstance(unit, Unit):
            raise OptionError(f"unit={unit!r} is none; give a product of units of other inputs, as b.unit / A.unit")
        own = unit if unit is not None else Unit(((name, Fraction(1)),))
        self._inputs[name] = leaf("input", kind, rows, length, place, own, (name, data))
        return self._inputs[name]

    def matrix(
        self, name: str, *, rows: int | None = None, symmetric: bool = False, unit: Unit | None = None
    ) -> Expression:
        """A matrix input: column j lies in token j.

        Parameters
        ----------
        name
        rows : as many as tokens
        symmetric : a promise that `Program.run` checks; then A @ v is computed as the paper does, with A's columns as
            keys
        unit : in which unit it is, where that follows from other inputs; its own otherwise. `Program.run` divides each
            input of an own unit by a power of two near its size
        """
        rows = self.tokens if rows is None else _size(rows, "rows")
        if symmetric and rows != self.tokens:
            raise ShapeError(f"{name}: a matrix of {rows} rows and {self.tokens} columns is not symmetric")
        return self._input(name, "matrix", rows, self.tokens, "across", unit, symmetric)

    def vector(
        self, name: str, *, across: bool = False, length: int | None = None, unit: Unit | None = None
    ) -> Expression:
        """A vector input: a column in the last token, or a row across the tokens."""
        length = self.tokens if length is None else _size(length, "length")
        if across and length != self.tokens:
            raise ShapeError(f"{name}: {length} entries do not fit across {self.tokens} tokens")
        if across:
            return self._input(name, "vector", 1, length, "across", unit, False)
        return self._input(name, "vector", length, length, "last", unit, False)

    def identity(self) -> Expression:
        """The identity matrix of as many columns as there are tokens: their positions."""
        return units(self.tokens)

    def scalar(self, name: str, *, unit: Unit | None = None) -> Expression:
        """A scalar input, in the last token."""
        return self._input(name, "scalar", 1, 1, "last", unit, False)

    def state(self, name: str, first: Expression) -> Expression:
        """A variable of the loop, from its first value on.

        Parameters
        ----------
        name : may be that of the input that is its first value: then both are the same rows
        first : of inputs, and of states declared before
        """
        shared = first.op == "input" and first.data[0] == name
        self._named(name, self._states if shared else {**self._inputs, **self._states})
        found = leaf("state", first.kind, first.rows, first.length, first.place, first.unit, (name, False))
        self._states[name] = (found, first)
        return found

    def update(self, state: Expression, value: Expression) -> None:
        """The next value of a state, from inputs and the states' present values; all are updated at once.

        Raises
        ------
        OptionError : what is no state, a second update, another unit
        ShapeError : a value of another shape or place
        """
        name = state.data[0] if state.op == "state" else None
        if name not in self._states or self._states[name][0] is not state:
            raise OptionError(f"{state!r} is no state of this algorithm; make one with state(name, first)")
        if name in self._updates:
            raise OptionError(f"state {name!r} has an update already")
        self._updates[name] = _fitting(name, state, value)

    def output(self, name: str, value: Expression) -> None:
        """A result. Under the name of an input, it replaces that in the prompt."""
        if name in self._inputs:
            self._outputs[name] = _fitting(name, self._inputs[name], value, units=False)
        else:
            self._outputs[self._named(name, {**self._states, **self._outputs})] = value

    # ---------------------------------------------------------------------------------------------- compilation
    def compile(
        self,
        *,
        heads: str | HeadScheme = "central",
        dtype: Any = np.float64,
        c: float | None = None,
        C: float | None = None,
        merge: bool = False,
        shift: bool = False,
        network: ReLUDomain | None = None,
    ) -> Program:
        """Prompt layout and layers.

        Parameters
        ----------
        heads : scheme of each product: "paper" (+c, 0), "central" (+c, -c), "four", "eight"
        dtype : float32 or float64
        c : step of the differences; `default_step`
        C : score of the sink; `default_sink`
        merge : products with the same values or with the same scores share their heads; fewer heads than the paper's
        network : real ReLU networks for this domain in place of exact pointwise maps
        shift : the softmax subtracts its largest score first, as libraries for training do: less exact

        Returns
        -------
        Program

        Raises
        ------
        OptionError : c or C that are not positive and finite; nothing to compute

        Notes
        -----
        Cost: that of the weights, heads * rows^2 numbers.
        """
        scheme = head_scheme(heads)
        best = default_sink(dtype)
        kind = np.dtype(dtype)
        sink = best if C is None else C
        step = default_step(scheme, kind) if c is None else c
        largest = float(np.finfo(kind).max)
        for name, value in (("c", step), ("C", sink)):
            number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
            if not number or not 0 < value < largest:
                raise OptionError(f"{name}={value!r} is no positive number; leave it out for the best one")
        if sink > (limit := float(np.log(largest)) / 2):
            raise OptionError(f"C={sink}: e^C is a weight, and too large; give C <= {limit:.0f}")
        plans, pool = self._plans()
        layout = self._layout(plans, pool)
        make = _Emitter(layout, Attention(scheme, float(step), float(sink), kind, shift), merge, network)
        blocks = {name: tuple(make.layer(plan) for plan in some) for name, some in plans.items()}
        return Program(
            layout,
            blocks,
            make.attention,
            tuple(self._inputs),
            tuple(self._states),
            tuple(self._outputs),
            {name: bool(node.data[1]) for name, node in self._inputs.items()},
        )

    def _plans(self) -> tuple[dict[str, list[LayerPlan]], Pool]:
        pool = Pool()
        plans: dict[str, list[LayerPlan]] = {"pre": [], "loop": [], "post": []}
        first = {name: value for name, (_, value) in self._states.items()}
        first = {name: value for name, value in first.items() if not (value.op == "input" and value.data[0] == name)}
        new = {name for name in self._outputs if name not in self._inputs}
        if not self._updates and not self._outputs:
            raise OptionError("the algorithm computes nothing; give it output(name, value) or update(state, value)")
        if first:
            plans["pre"] = plan_layers(first, set(first), pool)
        if self._updates:
            plans["loop"] = plan_layers(self._updates, set(), pool)
        if self._outputs:
            plans["post" if self._states else "pre"] = plan_layers(self._outputs, new, pool)
        return plans, pool

    def _layout(self, plans: dict[str, list[LayerPlan]], pool: Pool) -> PromptLayout:
        blocks: list[Block] = []

        def add(name: str, like: Expression, role: Any) -> None:
            start = blocks[-1].start + blocks[-1].rows if blocks else 0
            blocks.append(Block(name, start, like.rows, like.kind, like.place, like.length, like.unit, role))

        for name, node in self._inputs.items():
            add(name, node, "state" if name in self._states else "input")
        for name, (node, _) in self._states.items():
            if name not in self._inputs:
                add(name, node, "state")
        for name, node in self._outputs.items():
            if name not in self._inputs:
                add(name, node, "output")
        for name, rows in pool.heights.items():
            add(name, leaf("work", "matrix", rows, self.tokens, "across", Unit()), "work")
        bare = not any(plan.terms for some in plans.values() for plan in some) and all(
            block.place == "across" for block in blocks
        )
        if bare and not any(_needs_positions(e) for some in plans.values() for p in some for e in p.writes.values()):
            return PromptLayout(self.tokens, tuple(blocks), positions=False)
        positions = leaf("work", "matrix", self.tokens + 1, self.tokens + 1, "across", Unit())
        add("positions", positions, "positions")
        return PromptLayout(self.tokens, tuple(blocks))


def _needs_positions(node: Expression | None) -> bool:
    if node is None:
        return False
    constant = node.op in ("add", "mul", "div") and any(arg.op == "constant" for arg in node.args)
    return constant or node.op in ("diag", "mask", "units") or any(_needs_positions(arg) for arg in node.args)


def _size(value: Any, name: str) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 1 <= value <= LARGEST:
        raise OptionError(f"{name}={value!r} is no size; give a whole number from 1 to {LARGEST}")
    return int(value)


def _fitting(name: str, old: Expression, value: Expression, units: bool = True) -> Expression:
    if not isinstance(value, Expression):
        raise OptionError(f"{name}: {type(value).__name__} is no expression")
    if value.kind == "vector" == old.kind and value.length == old.length and value.place != old.place:
        value = value.T
    if (value.kind, value.rows, value.length, value.place) != (old.kind, old.rows, old.length, old.place):
        raise ShapeError(f"{name}: {value!r} does not fit into the rows of {old!r}")
    if units and value.unit != old.unit:
        raise OptionError(f"{name} has the unit {old.unit}, its new value {value.unit}; declare inputs with unit=...")
    return value


class _Emitter:
    """Weights of layers."""

    def __init__(self, layout: PromptLayout, attention: Attention, merge: bool, network: ReLUDomain | None) -> None:
        self.layout, self.attention, self.merge, self.network = layout, attention, merge, network

    def layer(self, plan: LayerPlan) -> SoftmaxLayer:
        heads: list[Head] = []
        if plan.terms:
            layout, how = self.layout, self.attention
            for V, K, Q in self._groups(plan):
                # Products of positions are one, larger than those of normalised data.
                step = how.step * TYPICAL_SCORE if self._positions_only(K) and self._positions_only(Q) else how.step
                heads += bilinear_heads(
                    V, K, Q, layout.sink, layout.ones, scheme=how.scheme, step=step, C=how.sink, dtype=how.dtype
                )
        exact = PointwiseMap(self.layout, plan.writes, plan.where) if plan.writes else None
        ffn = exact if exact is None or self.network is None else relu_network(exact, self.network)
        return SoftmaxLayer(tuple(heads), ffn, self.attention.shift)

    def _positions_only(self, S: np.ndarray) -> bool:
        return not S[:, : self.layout["positions"].start].any()

    def _groups(self, plan: LayerPlan) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """V, K, Q of the products of a layer; where heads are shared, of several at once."""
        found = [self._matrices(term, plan) for term in plan.terms]
        if not self.merge:
            return found
        by_values: dict[bytes, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        for V, K, Q in found:  # V (K1' Q1) + V (K2' Q2) = V ([K1; K2]' [Q1; Q2])
            key = np.abs(V).tobytes()
            if key in by_values:
                W, K1, Q1 = by_values[key]
                sign = 1.0 if np.array_equal(W, V) else -1.0
                by_values[key] = (W, np.vstack([K1, K]), np.vstack([Q1, sign * Q]))
            else:
                by_values[key] = (V, K, Q)
        by_scores: dict[bytes, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        for V, K, Q in by_values.values():  # several values of the same scores
            key = K.tobytes() + Q.tobytes()
            by_scores[key] = (by_scores[key][0] + V if key in by_scores else V, K, Q)
        return list(by_scores.values())

    def _matrices(self, term: Term, plan: LayerPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        layout = self.layout
        values = term.coefficient * self._select(term.V, plan)
        V = np.zeros((layout.rows, layout.rows))
        V[layout[term.target].slice] = values
        return V, self._select(term.K, plan), self._select(term.Q, plan)

    def _select(self, terms: tuple[tuple[float, Expression], ...], plan: LayerPlan) -> np.ndarray:
        """S such that S P is a combination of stored nodes and positions."""
        total: Any = 0.0
        for factor, node in terms:
            if node.op == "units":
                S = self.layout.units(node.data)
            elif node.op == "last":
                S = self.layout.last[None]
            elif node.op == "ones":
                S = (self.layout.ones - self.layout.sink)[None]
            else:
                S = self.layout.selector(plan.where[node])
            total = total + factor * S
        return total
