"""From expressions to layers: which product is computed in which layer, and which rows hold it.

A bilinear node is computed by the attention of the first layer in which all of its operands lie in the prompt; local
nodes by the network of the layer in which they are needed. Values that a later layer reads get rows of their own, taken
from a pool, and cleared after the last use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nnla.constructions.expressions import Expression
from nnla.errors import ShapeError

__all__ = ["LayerPlan", "Pool", "Term", "plan_layers"]

_INDICES = ("units", "last", "ones")
_LEAVES = ("input", "state", "constant", *_INDICES)


@dataclass(frozen=True, eq=False)
class Term:
    """coefficient * V (K' Q), added to a block by attention; V, K, Q are sums of coefficients and stored nodes."""

    target: str
    coefficient: float
    V: tuple[tuple[float, Expression], ...]
    K: tuple[tuple[float, Expression], ...]
    Q: tuple[tuple[float, Expression], ...]


@dataclass(eq=False)
class LayerPlan:
    """One layer.

    Attributes
    ----------
    terms : what attention adds
    writes : block -> its new value by the network; None clears it
    where : nodes that lie in the prompt, at attention's end -> block
    """

    terms: list[Term] = field(default_factory=list)
    writes: dict[str, Expression | None] = field(default_factory=dict)
    where: dict[Expression, str] = field(default_factory=dict)


class Pool:
    """Working rows: blocks that are zero between uses."""

    def __init__(self) -> None:
        self.heights: dict[str, int] = {}

    def take(self, rows: int, first: int, last: int, busy: dict[str, list[tuple[int, int]]]) -> str:
        """A block of so many rows that is free from a layer's start to another's end."""
        for name, height in self.heights.items():
            if height == rows and all(last < start or end < first for start, end in busy.get(name, [])):
                break
        else:
            name = f"work{len(self.heights) + 1}"
            self.heights[name] = rows
        busy.setdefault(name, []).append((first, last))
        return name


class _Graph:
    """Nodes that are equal become one; then levels, uses, and sums that attention can add up itself."""

    def __init__(self, targets: Mapping[str, Expression]) -> None:
        self._same: dict[tuple, Expression] = {}
        self._known: dict[int, Expression] = {}
        self._kept = list(targets.values())  # ids stay theirs
        self._levels: dict[Expression, int] = {}
        self.targets = {name: self.canonical(node) for name, node in targets.items()}
        self.uses: dict[Expression, int] = {}
        for node in self.nodes():
            for arg in node.args:
                self.uses[arg] = self.uses.get(arg, 0) + 1
        for node in self.targets.values():
            self.uses[node] = self.uses.get(node, 0) + 1

    def canonical(self, node: Expression) -> Expression:
        if id(node) in self._known:
            return self._known[id(node)]
        args = tuple(self.canonical(arg) for arg in node.args)
        data = None if node.op == "bilinear" else node.data
        key = (node.op, tuple(map(id, args)), node.rows, node.length, node.place, data)
        found = self._same.get(key)
        if found is None:
            found = Expression(node.op, args, node.kind, node.rows, node.length, node.place, node.unit, data)
            self._same[key] = found
        self._known[id(node)] = found
        return found

    def nodes(self) -> list[Expression]:
        seen: dict[Expression, None] = {}
        stack = list(self.targets.values())
        while stack:
            node = stack.pop()
            if node not in seen:
                seen[node] = None
                stack.extend(node.args)
        return list(seen)

    def level(self, node: Expression) -> int:
        """The layer at whose end a node is known; 0: it lies in the prompt from the start."""
        if node not in self._levels:
            if node.op in _LEAVES:
                found = 0
            elif node.op == "transpose":
                raise ShapeError(f"{node!r} does not fit on the tokens; use it in products, as in A.T @ B")
            elif node.op == "bilinear":
                found = 1 + max(self.level(leaf) for arg in node.args for _, leaf in self.operand(arg))
            else:
                found = max(1, *(self.level(arg) for arg in node.args))
            self._levels[node] = found
        return self._levels[node]

    def flat(self, node: Expression, factor: float = 1.0) -> list[tuple[float, Expression]]:
        """A linear combination as its terms."""
        if node.op == "add":
            return [term for arg in node.args for term in self.flat(arg, factor)]
        if node.op == "scale":
            return self.flat(node.args[0], factor * node.data)
        return [(factor, node)]

    def operand(self, node: Expression) -> tuple[tuple[float, Expression], ...]:
        """What weights of attention select: a combination of what lies there from the start, or a stored node."""
        terms = self.flat(node)
        if all(self.level(leaf) == 0 and leaf.op != "constant" for _, leaf in terms):
            return tuple(terms)
        return ((1.0, node),)

    def attended(self, node: Expression) -> list[tuple[float, Expression]] | None:
        """The products that attention adds up to a node in one layer; None where it cannot."""
        if node.op == "bilinear":
            return [(1.0, node)]
        if node.op == "keep":
            return self.attended(node.args[0]) if self.uses[node.args[0]] == 1 else None
        if node.op not in ("add", "scale"):
            return None
        terms = self.flat(node)
        if any(leaf.op != "bilinear" or self.uses[leaf] > 1 for _, leaf in terms) or not self._private(node):
            return None
        return terms if len({self.level(leaf) for _, leaf in terms}) == 1 else None

    def _private(self, node: Expression) -> bool:
        """Whether the sums within a sum are used there only."""
        inner = [arg for arg in node.args if arg.op in ("add", "scale")]
        return all(self.uses[arg] == 1 and self._private(arg) for arg in inner)


def plan_layers(targets: Mapping[str, Expression], fresh: set[str], pool: Pool) -> list[LayerPlan]:
    """Layers that write every target into the block of its name.

    Parameters
    ----------
    targets : block -> its new value, from inputs and states
    fresh : targets whose blocks are zero at the start, so that attention may write there
    pool : of working rows

    Returns
    -------
    plans : at least one
    """
    graph = _Graph(targets)
    level = graph.level
    depth = max(1, *(level(node) for node in graph.targets.values()))
    stored: dict[Expression, int] = {}  # node -> last layer in which it is read

    def read(node: Expression, at: int) -> None:
        """The network of a layer needs a node."""
        if node.op in _LEAVES:
            return
        if graph.attended(node) is not None or (node in stored and level(node) < at):
            store(node, at)
            return
        for arg in node.args:
            read(arg, at)

    def store(node: Expression, until: int) -> None:
        """A node needs rows until a layer's end."""
        new = node not in stored
        stored[node] = max(stored.get(node, 0), until)
        if not new:
            return
        terms = graph.attended(node)
        if terms is None:
            for arg in node.args:
                read(arg, level(node))
            return
        for _, product in terms:
            for arg in product.args:
                for _, leaf in graph.operand(arg):
                    if level(leaf) > 0:
                        store(leaf, level(product))

    for node in graph.targets.values():
        read(node, depth)
    return _emit(graph, stored, depth, fresh, pool)


def _emit(graph: _Graph, stored: dict[Expression, int], depth: int, fresh: set[str], pool: Pool) -> list[LayerPlan]:
    """Rows for what is stored, then the layers."""
    level = graph.level
    busy: dict[str, list[tuple[int, int]]] = {}
    rows: dict[Expression, str] = {}
    for name, node in graph.targets.items():
        if name in fresh and node in stored and graph.attended(node) is not None and node not in rows:
            rows[node] = name  # attention writes the target itself
    direct = set(rows)
    for node in sorted(stored, key=level):
        if node not in rows:
            rows[node] = pool.take(node.rows, level(node), stored[node], busy)
    leaves = {node: node.data[0] for node in graph.nodes() if node.op in ("input", "state")}
    plans = [LayerPlan(where=dict(leaves)) for _ in range(depth)]
    for node, name in rows.items():
        terms = graph.attended(node)
        first = plans[level(node) - 1]
        if terms is None:
            first.writes[name] = node
        else:
            for factor, product in terms:
                V, K, Q = (graph.operand(arg) for arg in product.args)
                first.terms.append(Term(name, factor, V, K, Q))
        if node not in direct:
            plans[stored[node] - 1].writes.setdefault(name, None)
        end = depth if node in direct else stored[node]
        for at in range(level(node) + (terms is None), end + 1):
            plans[at - 1].where[node] = name
    for name, node in graph.targets.items():
        same = node.op in ("input", "state") and node.data[0] == name
        if not same and rows.get(node) != name:
            plans[-1].writes[name] = node
    return plans
