"""A pointwise map as a real ReLU network: sums are weights, products and powers are networks with proved errors.

The map's expressions are unrolled into wires. What is computed from what else gives rounds; all products of a round run
side by side in m + 1 hidden layers, and every wire that is needed later is carried along, exactly, as
relu(u) - relu(-u).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.constructions.expressions import Expression
from nnla.constructions.pointwise import PointwiseMap
from nnla.constructions.relu_products import (
    Interpolant,
    ReLUNetwork,
    Stage,
    power_interpolant,
    product_error,
    product_stages,
    relu_chain,
)
from nnla.errors import OptionError

__all__ = ["ReLUDomain", "relu_network"]


@dataclass(frozen=True)
class ReLUDomain:
    """Where a network's error bound holds, and how fine it is.

    Attributes
    ----------
    entries : bound on the entries of all blocks, in the prompt's units
    bounds : block -> its own bound
    smallest : denominators are at least so large, roots in denominators too
    steps : m of the products' squares: error 4^-(m + 1) relative to their bounds
    units : of the interpolants of 1/x and x^-1/2; one Newton step follows, if the domain is no larger than rounding
        allows
    """

    entries: float = 1.0
    bounds: Mapping[str, float] = field(default_factory=dict)
    smallest: float = 1e-3
    steps: int = 26
    units: int = 1000

    def __post_init__(self) -> None:
        for value in (self.entries, self.smallest, *self.bounds.values()):
            if not isinstance(value, (int, float)) or not 0 < value < 1e100:
                raise OptionError(f"{value!r} bounds no domain; give positive numbers")
        if not (isinstance(self.units, int) and 2 <= self.units <= 100_000):
            raise OptionError(f"units={self.units!r}: give a whole number from 2 to 100000")
        if not (isinstance(self.steps, int) and 1 <= self.steps <= 60):
            raise OptionError(f"steps={self.steps!r}: give a whole number from 1 to 60")


@dataclass(frozen=True, eq=False)
class Entry:
    """A sum of wires and a constant, and what was promised of its size."""

    terms: Mapping[int, float]
    constant: float = 0.0
    largest: float = float("inf")


@dataclass(eq=False)
class _Wire:
    """A number within a column: bounds on its size and its error, the round after which it is there, and its maker."""

    size: float
    error: float
    round: int
    maker: Any = None  # two entries of a product; an entry and an interpolant
    scale: tuple[float, float] = (1.0, 1.0)


class _Circuit:
    def __init__(self, map_: PointwiseMap, domain: ReLUDomain) -> None:
        self.map, self.domain, self.layout = map_, domain, map_.layout
        self.wires: list[_Wire] = []
        for block in self.layout:
            positions = block.role == "positions"
            size = 1.0 if positions else float(dict(domain.bounds).get(block.name, domain.entries))
            self.wires += [_Wire(size, 0.0, 0) for _ in range(block.rows)]
        self.values: dict[Expression, list[Entry]] = {}
        self.inverses: dict[tuple[Expression, float], list[Entry]] = {}

    # -------------------------------------------------------------------------------------------- bookkeeping
    def size(self, entry: Entry) -> float:
        found = sum(abs(c) * self.wires[w].size for w, c in entry.terms.items()) + abs(entry.constant)
        return min(found, entry.largest)

    def error(self, entry: Entry) -> float:
        return sum(abs(c) * self.wires[w].error for w, c in entry.terms.items())

    def round(self, *entries: Entry) -> int:
        return max((self.wires[w].round for entry in entries for w in entry.terms), default=0)

    def _new(self, wire: _Wire) -> Entry:
        self.wires.append(wire)
        return Entry({len(self.wires) - 1: 1.0})

    def product(self, x: Entry, y: Entry, size: float | None = None) -> Entry:
        """x y; a known bound on the size may be smaller than the product of sizes."""
        if not x.terms or not y.terms:
            factor, other = (x.constant, y) if not x.terms else (y.constant, x)
            return combine((factor, other))
        X, Y = self.size(x), self.size(y)
        if X == 0 or Y == 0:
            return Entry({})
        error = X * self.error(y) + Y * self.error(x) + product_error(self.domain.steps, X, Y)
        return self._new(_Wire((X * Y if size is None else size) + error, error, self.round(x, y) + 1, (x, y), (X, Y)))

    def power(self, x: Entry, power: float, smallest: float) -> Entry:
        """1/x or x^-1/2: chords, then a Newton step, which squares their error, where rounding lets it."""
        low = smallest if power == -1.0 else smallest**2
        high = max(self.size(x), 2 * low)
        chords = power_interpolant(power, low, high, self.domain.units)
        top = low**power
        start = self._new(_Wire(top, top * chords.relative, self.round(x) + 1, (x, chords)))
        near, e = 1.0 + 3 * chords.relative, chords.relative
        scale = high * top if power == -1.0 else high * top**2
        if 4 * scale * np.finfo(float).eps > e:  # numbers of such different sizes have products of no digits
            self.wires[next(iter(start.terms))].error += 2 * top / low * (1.0 if power == -1.0 else 0.5) * self.error(x)
            return start
        if power == -1.0:  # y = s (2 - x s)
            t = self.product(x, start, near)
            y = self.product(start, combine((-1.0, t), (1.0, Entry({}, 2.0))))
            newton, slope, products = e**2, top / low, top * self._own(t)
        else:  # y = s (3 - x s^2) / 2
            square = self.product(start, start)
            t = self.product(x, square, near)
            y = self.product(start, combine((-0.5, t), (1.0, Entry({}, 1.5))))
            newton, slope = 1.5 * e**2 + 0.5 * e**3, top / low / 2
            products = top / 2 * (high * self._own(square) + self._own(t))
        # The step squares the chords' error; that of its products it passes on, and that of x by the slope, which is
        # taken twice as an x that is off may lie below the smallest.
        wire = self.wires[next(iter(y.terms))]
        wire.error = top * newton + products + self._own(y) + 2 * slope * self.error(x)
        wire.size = 2 * top
        return y

    def _own(self, product: Entry) -> float:
        """What the network of a product adds to its error."""
        return product_error(self.domain.steps, *self.wires[next(iter(product.terms))].scale)

    # -------------------------------------------------------------------------------------------- expressions
    def value(self, node: Expression) -> list[Entry]:
        if node not in self.values:
            self.values[node] = self._compute(node)
        return self.values[node]

    def _mask(self, place: str) -> list[int]:
        rows = self.layout["positions"].slice
        return [rows.stop - 1] if place == "last" else list(range(rows.start + 1, rows.stop))

    def _compute(self, node: Expression) -> list[Entry]:
        if node in self.map.where:
            rows = self.layout[self.map.where[node]].slice
            return [Entry({i: 1.0}) for i in range(rows.start, rows.stop)]
        if node.op == "units":
            return [Entry({i: 1.0}) for i in self._mask("across")]
        args = []
        for i, arg in enumerate(node.args):
            if arg.op == "constant":
                other = node.args[1 - i]
                mask = self._mask(other.place) if self.layout.positions else []
                args.append([Entry({i: float(arg.data) for i in mask}) if mask else Entry({}, arg.data)])
            else:
                args.append(self.value(arg))
        height = max(map(len, args))
        columns = [a if len(a) == height else a * height for a in args]
        if node.op == "add":
            return [combine((1.0, x), (1.0, y)) for x, y in zip(*columns, strict=True)]
        if node.op == "scale":
            return [combine((node.data, x)) for x in columns[0]]
        if node.op == "keep":
            return columns[0]
        if node.op == "within":
            return [Entry(x.terms, x.constant, node.data[0]) for x in columns[0]]
        if node.op == "mul":
            return [self.product(x, y) for x, y in zip(*columns, strict=True)]
        if node.op == "dot":
            return [combine(*((1.0, self.product(x, y)) for x, y in zip(*columns, strict=True)))]
        if node.op == "mask":
            last = Entry({self._mask("last")[0]: 1.0})
            return [self.product(x, last) for x in columns[0]]
        if node.op == "diag":
            units = [Entry({i: 1.0}) for i in self._mask("across")]
            return [combine(*((1.0, self.product(x, e)) for x, e in zip(columns[0], units, strict=True)))]
        if node.op == "sqrt":
            inverses = self._inverses(node.args[0], columns[0], -0.5, self.domain.smallest)
            return [self.product(x, y) for x, y in zip(columns[0], inverses, strict=True)]
        inverses = self._denominator(node.args[1])
        height = max(len(args[0]), len(inverses))
        tops, bottoms = (a if len(a) == height else a * height for a in (args[0], inverses))
        return [self.product(x, y) for x, y in zip(tops, bottoms, strict=True)]

    def _denominator(self, node: Expression) -> list[Entry]:
        """One over a node; of a root, in one step."""
        largest, smallest = float("inf"), None
        while node.op == "within" and node not in self.map.where:
            largest, own = min(largest, node.data[0]), node.data[1]
            smallest, node = smallest or own, node.args[0]
        smallest = smallest or self.domain.smallest
        root = node.op == "sqrt" and node not in self.map.where
        of = node.args[0] if root else node
        bounded = [Entry(x.terms, x.constant, min(x.largest, largest**2 if root else largest)) for x in self.value(of)]
        return self._inverses(of, bounded, -0.5 if root else -1.0, smallest)

    def _inverses(self, node: Expression, entries: list[Entry], power: float, smallest: float) -> list[Entry]:
        """Powers, made once for each node."""
        if (node, power) not in self.inverses:
            self.inverses[node, power] = [self.power(x, power, smallest) for x in entries]
        return self.inverses[node, power]

    # ------------------------------------------------------------------------------------------------- layers
    def network(self) -> ReLUNetwork:
        outputs: list[tuple[int, Entry]] = []
        for name, node in self.map.writes.items():
            rows = range(self.layout[name].start, self.layout[name].start + self.layout[name].rows)
            new = [Entry({})] * len(rows) if node is None else self.value(node)
            for row, entry in zip(rows, new, strict=True):
                outputs.append((row, combine((1.0, entry), (-1.0, Entry({row: 1.0})))))
        rounds = max((w.round for w in self.wires), default=0)
        needed: dict[int, int] = {}  # wire -> last round in which it is read
        for w, wire in enumerate(self.wires):
            if wire.maker is not None:
                for entry in wire.maker:
                    if isinstance(entry, Entry):
                        for other in entry.terms:
                            needed[other] = max(needed.get(other, 0), wire.round)
            needed.setdefault(w, 0)
        for _, entry in outputs:
            for w in entry.terms:
                needed[w] = rounds + 1
        alive = list(range(self.layout.rows))
        stages: list[Stage] = []
        for r in range(1, rounds + 1):
            stages += self._round(r, alive, needed)
        if not stages:  # linear: one hidden layer that is exact
            alive, stage = _carry(alive, [w for w in alive if needed[w] > 0], len(alive))
            stages = [stage]
        index = {w: i for i, w in enumerate(alive)}
        out = sp.lil_array((self.layout.rows, len(alive)))
        offset = np.zeros(self.layout.rows)
        for row, entry in outputs:
            offset[row] = entry.constant
            for w, c in entry.terms.items():
                out[row, index[w]] = c
        last = stages[-1]
        stages[-1] = Stage(last.H, last.h, out.tocsr() @ last.O, out.tocsr() @ last.o + offset)
        errors = np.zeros(self.layout.rows)
        for row, entry in outputs:
            errors[row] = self.error(entry)
        return relu_chain(stages, errors)

    def _round(self, r: int, alive: list[int], needed: dict[int, int]) -> list[Stage]:
        """Hidden layers of one round; ``alive`` becomes the signals after it."""
        made = [w for w, wire in enumerate(self.wires) if wire.round == r and wire.maker is not None]
        products = [w for w in made if not isinstance(self.wires[w].maker[1], Interpolant)]  # type: ignore[index]
        powers = [w for w in made if w not in set(products)]
        carried = [w for w in alive if needed[w] > r]
        _, first = _carry(alive, carried, len(alive))
        parts: list[list[Stage]] = []
        index = {w: i for i, w in enumerate(alive)}
        length = max(self.domain.steps + 1 if products else 1, 2 if powers else 1)
        again = _carry(carried, carried, len(carried))[1]
        parts.append([first] + [again] * (length - 1))
        for w in powers:
            (entry, chords), count = self.wires[w].maker, len(alive)  # type: ignore[misc]
            row, constant = _row(entry, index, count)
            units = len(chords.knots)
            one = _carry([0], [0], 1)[1]
            into = Stage(one.H @ row, one.H @ np.array([constant]), one.O, one.o)  # the sum first, then its function
            H = sp.csr_array(-np.ones((units, 1)))
            stage = Stage(H, chords.knots, sp.csr_array(chords.slopes[None]), np.array([chords.value]))
            parts.append([into, stage] + [one] * (length - 2))
        for w in products:
            x, y = self.wires[w].maker  # type: ignore[misc]
            own = product_stages(self.domain.steps, *self.wires[w].scale)
            (rx, cx), (ry, cy) = _row(x, index, len(alive)), _row(y, index, len(alive))  # type: ignore[arg-type]
            pair = sp.vstack([rx, ry]).tocsr()
            start = Stage(own[0].H @ pair, own[0].H @ np.array([cx, cy]), own[0].O, own[0].o)
            rest = [_carry([0], [0], 1)[1]] * (length - len(own))
            parts.append([start, *own[1:], *rest])
        stages = []
        for j in range(length):
            some = [part[j] for part in parts if part[j].H.shape[0]]
            H = sp.vstack([s.H for s in some]) if j == 0 else sp.block_diag([s.H for s in some])
            O = sp.block_diag([s.O for s in some])  # noqa: E741
            stages.append(
                Stage(H.tocsr(), np.concatenate([s.h for s in some]), O.tocsr(), np.concatenate([s.o for s in some]))
            )
        alive[:] = carried + powers + products
        return stages


def _row(entry: Entry, index: Mapping[int, int], count: int) -> tuple[sp.csr_array, float]:
    columns = [index[w] for w in entry.terms]
    row = sp.csr_array((list(entry.terms.values()), ([0] * len(columns), columns)), shape=(1, count))
    return row, entry.constant


def _carry(alive: list[int], carried: list[int], count: int) -> tuple[list[int], Stage]:
    """A hidden layer that passes signals on, as relu(u) - relu(-u)."""
    index = {w: i for i, w in enumerate(alive)}
    k = len(carried)
    pick = sp.csr_array((np.ones(k), (np.arange(k), [index[w] for w in carried])), shape=(k, count))
    H = sp.vstack([pick, -pick]).tocsr()
    O = sp.hstack([sp.eye_array(k), -sp.eye_array(k)]).tocsr()  # noqa: E741
    return carried, Stage(H, np.zeros(2 * k), O, np.zeros(k))


def combine(*terms: tuple[float, Entry]) -> Entry:
    """A linear combination of entries."""
    total: dict[int, float] = {}
    constant = 0.0
    for factor, entry in terms:
        constant += factor * entry.constant
        for w, value in entry.terms.items():
            total[w] = total.get(w, 0.0) + factor * value
    return Entry({w: c for w, c in total.items() if c != 0.0}, constant)


def relu_network(exact: PointwiseMap, domain: ReLUDomain | None = None) -> ReLUNetwork:
    """A real network for a pointwise map, and a bound on the largest error of an output.

    Parameters
    ----------
    exact : what it approximates
    domain : on which columns; `ReLUDomain`

    Returns
    -------
    ReLUNetwork : exact, but for rounding, where the map is linear

    Notes
    -----
    A quotient is a product with 1/x, a norm in a denominator one with x^-1/2. Below the smallest denominator, both stay
    as they are there; zero divided by zero is zero. Denominators are taken to be positive, as they are in the
    algorithms here.

    The bound follows sizes and errors through the expressions; it is proved on the domain, and often far too large.

    Cost: depth (steps + 1) * (rounds of products), width 6 * products of a round + 2 * numbers carried.

    References
    ----------
    NLAFormer, proof of Theorem 2.1 (i), where a network is known to exist; here it is made.

    Examples
    --------
    >>> from nnla.constructions import operation
    >>> exact = operation("multiply", 2).layers[0].ffn
    >>> network = relu_network(exact, ReLUDomain(steps=10))
    >>> U = np.array([[0.5, 1.0], [0.3, -0.7], [0.0, 0.0]])
    >>> bool(np.abs(network(U) - exact(U)).max() <= network.error), network.error == 2.0**-22
    (True, True)
    """
    return _Circuit(exact, ReLUDomain() if domain is None else domain).network()
