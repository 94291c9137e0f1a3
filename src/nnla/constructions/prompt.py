"""The prompt matrix: which rows hold what, and how values get in and out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nnla.constructions.expressions import Kind, Place, Unit

__all__ = ["Block", "PromptLayout"]


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a prompt.

    Attributes
    ----------
    name : of an input, a state or an output; ``work`` and a number; ``positions``
    start, rows : first row, and how many
    kind, place, length : of what it holds
    unit : in which
    role : "input", "state", "output", "work" or "positions"
    """

    name: str
    start: int
    rows: int
    kind: Kind
    place: Place
    length: int
    unit: Unit
    role: Literal["input", "state", "output", "work", "positions"]

    @property
    def slice(self) -> slice:
        """Its rows."""
        return slice(self.start, self.start + self.rows)


@dataclass(frozen=True)
class PromptLayout:
    """Rows and columns of a prompt: the sink in column 0, then the tokens; unit vectors in the last rows.

    Attributes
    ----------
    tokens : without the sink
    blocks : from top to bottom
    positions : whether there is a sink and the rows of unit vectors; programs without attention need none

    Examples
    --------
    >>> from nnla.constructions import operation
    >>> layout = operation("transpose", 3).layout
    >>> layout.rows, layout.columns, [block.name for block in layout]
    (10, 4, ['A', 'work1', 'positions'])
    """

    tokens: int
    blocks: tuple[Block, ...]
    positions: bool = True

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    def __getitem__(self, name: str) -> Block:
        return next(block for block in self.blocks if block.name == name)

    @property
    def rows(self) -> int:
        """Rows of the prompt."""
        return sum(block.rows for block in self.blocks)

    @property
    def columns(self) -> int:
        """Columns of the prompt."""
        return self.tokens + self.positions

    def empty(self, batch: tuple[int, ...], dtype: object) -> np.ndarray:
        """Prompts with positions only: (*batch, rows, columns)."""
        P = np.zeros((*batch, self.rows, self.columns), dtype=dtype)  # type: ignore[arg-type]
        if self.positions:
            P[..., self["positions"].slice, :] = np.eye(self.columns)
        return P

    def put(self, P: np.ndarray, name: str, value: np.ndarray) -> None:
        """Write a value where the layout says, in place."""
        block = self[name]
        first = int(self.positions)
        if block.kind == "matrix":
            P[..., block.slice, first:] = value
        elif block.place == "across":
            P[..., block.start, first:] = value
        elif block.kind == "vector":
            P[..., block.slice, -1] = value
        else:
            P[..., block.start, -1] = value

    def get(self, P: np.ndarray, name: str) -> np.ndarray:
        """Read a value: (..., rows, length), (..., length) or (...)."""
        block = self[name]
        first = int(self.positions)
        if block.kind == "matrix":
            return P[..., block.slice, first:]
        if block.kind == "vector" and block.place == "across":
            return P[..., block.start, first:]
        return P[..., block.slice, -1] if block.kind == "vector" else P[..., block.start, -1]

    # Rows of weights: what a matrix of weights has to be so that its product with a prompt is a part of the prompt.
    def selector(self, name: str) -> np.ndarray:
        """(block rows, rows) S such that S P is a block."""
        block = self[name]
        return np.eye(self.rows)[block.slice]

    def units(self, order: tuple[int, ...] | None = None) -> np.ndarray:
        """(tokens, rows) S such that S P are the unit vectors of the tokens, the sink's left out.

        With an order, token j has the unit vector of token order[j].
        """
        S = np.eye(self.rows)[self["positions"].slice][1:]
        if order is None:
            return S
        out = np.zeros_like(S)
        out[list(order)] = S
        return out

    @property
    def sink(self) -> np.ndarray:
        """(rows,) s such that s P is one at the sink only."""
        return np.eye(self.rows)[self["positions"].start]

    @property
    def last(self) -> np.ndarray:
        """(rows,) s such that s P is one at the last token only."""
        return np.eye(self.rows)[-1]

    @property
    def ones(self) -> np.ndarray:
        """(rows,) s such that s P is one at every token, the sink included."""
        return self.units().sum(axis=0) + self.sink
