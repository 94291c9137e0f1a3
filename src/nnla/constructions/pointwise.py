"""The exact pointwise map: what the paper's feed-forward networks approximate, computed as it is.

This is *no* ReLU network. It is a function that acts on every column of a prompt alone and alike, as a feed-forward
network does; the paper's theorems say that some network comes as close to it as one likes.
`nnla.constructions.ReLUNetwork` is the real thing, on a stated domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nnla.constructions.expressions import Expression
from nnla.constructions.prompt import PromptLayout

__all__ = ["PointwiseMap"]


@dataclass(frozen=True, eq=False)
class PointwiseMap:
    """New values of blocks as functions of one column, minus the old ones.

    Attributes
    ----------
    layout : of the prompt
    writes : block -> expression of its new value; None clears it
    where : nodes that lie in the prompt -> block

    Notes
    -----
    Divisions are guarded: a quotient is zero where the denominator is below the smallest normal number, and a square
    root zero where there is none; so an iteration that has arrived stays where it is.

    Examples
    --------
    >>> from nnla.constructions import operation
    >>> divide = operation("divide", 2).layers[0].ffn
    >>> divide(np.array([[1.0, 3.0], [2.0, 0.0], [0.0, 0.0]])).tolist()
    [[0.0, 0.0], [0.0, 0.0], [0.5, 0.0]]
    """

    layout: PromptLayout
    writes: Mapping[str, Expression | None]
    where: Mapping[Expression, str]

    def __call__(self, U: np.ndarray) -> np.ndarray:
        """(..., rows, columns) -> what is to be added to it."""
        values: dict[Expression, np.ndarray] = {}
        added = np.zeros_like(U)
        for name, node in self.writes.items():
            rows = self.layout[name].slice
            added[..., rows, :] = -U[..., rows, :]
            if node is not None:
                added[..., rows, :] += self._value(node, U, values)
        return added

    def _value(self, node: Expression, U: np.ndarray, values: dict[Expression, np.ndarray]) -> np.ndarray:
        if node not in values:
            values[node] = self._compute(node, U, values)
        return values[node]

    def _compute(self, node: Expression, U: np.ndarray, values: dict[Expression, np.ndarray]) -> np.ndarray:
        if node in self.where:
            return U[..., self.layout[self.where[node]].slice, :]
        if node.op == "units":
            return U[..., self.layout["positions"].slice, :][..., 1:, :]
        if node.op in ("add", "mul", "div") and any(arg.op == "constant" for arg in node.args):
            # A constant counts where the other operand lies, not in the other tokens.
            other = next(arg for arg in node.args if arg.op != "constant")
            operands = [
                arg.data * self._mask(other, U) if arg.op == "constant" else self._value(arg, U, values)
                for arg in node.args
            ]
        else:
            operands = [self._value(arg, U, values) for arg in node.args]
        return _OPERATIONS[node.op](node, self, U, *operands)

    def _mask(self, node: Expression, U: np.ndarray) -> np.ndarray:
        """(..., 1, columns): one where a node of this place lies."""
        if not self.layout.positions:
            return np.ones_like(U[..., :1, :])
        positions = U[..., self.layout["positions"].slice, :]
        return positions[..., -1:, :] if node.place == "last" else positions[..., 1:, :].sum(axis=-2, keepdims=True)


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = np.broadcast_arrays(a, b)
    large = np.abs(b) >= np.finfo(b.dtype).tiny
    return np.divide(a, b, out=np.zeros_like(a), where=large)


def _diagonal(node: Expression, self: PointwiseMap, U: np.ndarray, A: np.ndarray) -> np.ndarray:
    return (A * U[..., self.layout["positions"].slice, :][..., 1:, :]).sum(axis=-2, keepdims=True)


_OPERATIONS = {
    "add": lambda node, self, U, a, b: a + b,
    "scale": lambda node, self, U, a: a * a.dtype.type(node.data),
    "mul": lambda node, self, U, a, b: a * b,
    "div": lambda node, self, U, a, b: _divide(a, b),
    "dot": lambda node, self, U, a, b: (a * b).sum(axis=-2, keepdims=True),
    "sqrt": lambda node, self, U, a: np.sqrt(np.maximum(a, 0)),
    "keep": lambda node, self, U, a: a,
    "within": lambda node, self, U, a: a,
    "mask": lambda node, self, U, a: a * U[..., -1:, :],
    "diag": _diagonal,
}
