"""Programs of matrix products that run as ReLU networks: rounds of products and sums, their layers, their counts.

A program holds a few n x n matrices, as relu(v) and relu(-v). A round multiplies some of them, all products side by
side in m + 1 hidden layers, and replaces them by sums of products, of what was held, and of the identity. So one text
says what the network computes; the functional form, the explicit weights and the counts are read from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.constructions.relu_matrix_products import chain_matrix, eye, interpolated_product, product_chains
from nnla.constructions.relu_products import ReLUNetwork, Stage, relu_chain

__all__ = ["MatrixProduct", "MatrixProgram", "MatrixSum", "NetworkSize", "Round"]


@dataclass(frozen=True)
class MatrixProduct:
    """left right, where no entry is larger than x, y."""

    left: str
    right: str
    x: float
    y: float


@dataclass(frozen=True)
class MatrixSum:
    """name = sum_p products[p] P_p + sum_v values[v] v + identity I."""

    name: str
    products: Mapping[int, float] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    identity: float = 0.0


@dataclass(frozen=True)
class Round:
    """Products with m steps each, side by side, then sums: what is held afterwards."""

    m: int
    products: tuple[MatrixProduct, ...]
    sums: tuple[MatrixSum, ...]

    @property
    def carried(self) -> tuple[str, ...]:
        """Held matrices that the sums read."""
        return tuple(dict.fromkeys(v for s in self.sums for v in s.values))

    @property
    def held(self) -> tuple[str, ...]:
        """Matrices that must be there at its start."""
        factors = (v for p in self.products for v in (p.left, p.right))
        return tuple(dict.fromkeys([*self.carried, *factors]))


@dataclass(frozen=True)
class NetworkSize:
    """Counts of a network.

    Attributes
    ----------
    depth, width : hidden layers, units of the largest one
    parameters : weights and biases that are not zero
    """

    depth: int
    width: int
    parameters: int


@dataclass(frozen=True, eq=False, repr=False)
class MatrixProgram:
    """A network on n x n matrices, round by round.

    Attributes
    ----------
    n : size of the matrices
    scale : of the inputs: what is held first is ``input`` = scale A
    rounds : the last one has one sum, the output
    inputs : names of the matrices that go in

    Examples
    --------
    >>> square = Round(6, (MatrixProduct("input", "input", 1.0, 1.0),), (MatrixSum("output", {0: 1.0}),))
    >>> program = MatrixProgram(2, 1.0, (square,))
    >>> program(np.array([[0.5, 0.5], [0.0, -1.0]])).tolist()
    [[0.25, -0.25], [0.0, 1.0]]
    >>> program.size
    NetworkSize(depth=8, width=40, parameters=744)
    """

    n: int
    scale: float
    rounds: tuple[Round, ...]
    inputs: tuple[str, ...] = ("input",)

    def __repr__(self) -> str:
        steps = ", ".join(f"{len(r.products)}x{r.m}" for r in self.rounds)
        return f"<MatrixProgram n={self.n}, products x steps: {steps}>"

    def __call__(self, *A: np.ndarray) -> np.ndarray:
        """The functional form: each input (..., n, n) -> (..., n, n), what the layers compute, up to rounding."""
        n = self.n
        held = {
            v: self.scale * np.asarray(a, dtype=float).reshape(-1, n, n) for v, a in zip(self.inputs, A, strict=True)
        }
        for r in self.rounds:
            products = [interpolated_product(held[p.left], held[p.right], r.m, p.x, p.y) for p in r.products]
            held = {s.name: self._sum(s, r, products, held) for s in r.sums}
        return held[self.rounds[-1].sums[0].name].reshape(np.shape(A[0]))

    def _sum(self, s: MatrixSum, r: Round, products: list[np.ndarray], held: dict[str, np.ndarray]) -> np.ndarray:
        total = np.zeros(held[next(iter(held))].shape)
        for i, c in s.products.items():
            total += (c * r.products[i].x * r.products[i].y * 4.0**-r.m) * products[i]
        for v, c in s.values.items():
            total += held[v] if c == 1.0 else c * held[v]
        if s.identity:
            total += s.identity * np.eye(self.n)
        return total

    @cached_property
    def network(self) -> ReLUNetwork:
        """Explicit sparse weights, entries of each input row by row; errors are left to whoever certifies it."""
        stages: list[Stage] = []
        held = self.inputs
        for i, r in enumerate(self.rounds):
            stages += self._stages(r, held, self.scale if i == 0 else 1.0)
            held = tuple(s.name for s in r.sums)
        return relu_chain(stages, np.nan, np.nan)

    def _stages(self, r: Round, before: Sequence[str], scale: float) -> list[Stage]:
        n2 = self.n**2
        one = eye(n2)
        starts = {v: 2 * n2 * i for i, v in enumerate(r.held)}
        parts = 2 * n2 * len(r.held)
        pick = sp.csr_array(
            (np.ones(len(r.held)), (range(len(r.held)), [list(before).index(v) for v in r.held])),
            shape=(len(r.held), len(before)),
        )
        split = sp.kron(pick, sp.vstack([scale * one, -scale * one]), format="csr")  # v -> relu(v), relu(-v)
        stages = [_linear(split, eye(parts))]
        blocks, outputs = [], []
        for p in r.products:
            own, output = product_chains(self.n, r.m)
            left, right = ((starts[v], starts[v] + n2) for v in (p.left, p.right))
            H: Any = chain_matrix(self.n, left, right, p.x, p.y, parts)
            blocks.append([_linear(H, eye(H.shape[0])), *own])
            outputs.append(p.x * p.y * output)
        carry: Any = sp.csr_array(
            sp.vstack([eye(parts)[starts[v] : starts[v] + 2 * n2] for v in r.carried]) if r.carried else (0, parts)
        )
        kept = eye(carry.shape[0])
        for s in range(r.m + 1 if r.products else 0):
            beside = _linear(carry if s == 0 else kept, kept)
            join = sp.vstack if s == 0 else sp.block_diag
            some = [*(block[s] for block in blocks), *([beside] if r.carried else [])]
            H = sp.csr_array(join([b.H for b in some])) if len(some) > 1 else some[0].H
            h = np.concatenate([b.h for b in some])
            stages.append(Stage(H, h, eye(len(h)), np.zeros(len(h))))
        stages[-1] = Stage(stages[-1].H, stages[-1].h, *self._outputs(r, outputs, starts if not r.products else None))
        return stages

    def _outputs(self, r: Round, outputs: list, starts: dict[str, int] | None) -> tuple:
        """Weights and biases of the sums on the last layer's units."""
        n2 = self.n**2
        part = sp.hstack([eye(n2), -eye(n2)], format="csr")
        order = r.held if starts is not None else r.carried
        rows = []
        for s in r.sums:
            blocks = [s.products.get(i, 0.0) * output for i, output in enumerate(outputs)]
            rows.append(sp.hstack([*blocks, *(s.values.get(v, 0.0) * part for v in order)]))
        O = sp.csr_array(sp.vstack(rows))  # noqa: E741
        O.eliminate_zeros()
        return O, np.concatenate([s.identity * np.eye(self.n).ravel() for s in r.sums])

    @property
    def products(self) -> int:
        """Matrix products of one evaluation."""
        return sum(len(r.products) for r in self.rounds)

    @cached_property
    def size(self) -> NetworkSize:
        """What the explicit weights count, without making them."""
        n, n2, n3 = self.n, self.n**2, self.n**3
        depth = width = parameters = 0
        rows = dict.fromkeys(self.inputs, n2)  # weights and biases of the rows that give a matrix
        for r in self.rounds:
            P, m = len(r.products), r.m
            parameters += 2 * sum(rows[v] for v in r.held)
            width = max(width, 2 * n2 * len(r.held))
            depth += 1
            if P:
                carried = 2 * n2 * len(r.carried)
                parameters += sum(16 * n3 - (12 * n if p.left == p.right else 0) for p in r.products)
                parameters += 10 * n3 * m * P + carried * (m + 1)
                parameters += 2 * n2 * P * (n + (m - 2) * (n + 1)) if m > 1 else 0
                width = max(width, 4 * n3 * P + (2 * n2 * P if m > 1 else 0) + carried)
                depth += m + 1
            per_product = n2 * (4 * n + (2 if m > 1 else 0))
            rows = {
                s.name: sum(per_product for c in s.products.values() if c)
                + 2 * n2 * sum(c != 0 for c in s.values.values())
                + (n if s.identity else 0)
                for s in r.sums
            }
        return NetworkSize(depth, width, parameters + rows[self.rounds[-1].sums[0].name])


def _linear(H: Any, O: Any) -> Stage:  # noqa: E741
    return Stage(H, np.zeros(H.shape[0]), O, np.zeros(O.shape[0]))
