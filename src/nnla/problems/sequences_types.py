"""What a family of generated sequences is, and how their generators find the state that the next system needs."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

__all__ = ["Sequence", "SequenceFamily", "answer", "factor"]

#: The systems (A, b) in the order in which a user meets them. What was yielded is never changed afterwards.
Sequence = Iterator[tuple[csr_array, np.ndarray]]


@dataclass(frozen=True)
class SequenceFamily:
    """One row of `SEQUENCE_FAMILIES`.

    Attributes
    ----------
    draw : of a generator, an approximate n and the number of steps; see `Sequence`; its docstring names the source
    kind : what field such sequences come from
    changes : what changes from one system to the next: "right-hand side", "values", "both" or "pattern"
    smallest, largest : the n that it takes
    """

    draw: Callable[[np.random.Generator, int, int], Sequence]
    kind: str
    changes: str
    smallest: int = 50
    largest: int = 1_000_000

    @property
    def about(self) -> str:
        """What it is, in one line."""
        return (inspect.getdoc(self.draw) or "").partition("\n")[0]

    @property
    def source(self) -> str:
        """Where it is described, and who solves such sequences."""
        return " ".join((inspect.getdoc(self.draw) or "").partition("\n")[2].split())


def factor(A: Any) -> Any:
    """SuperLU of a symmetric matrix. A generator stands on nothing that it is to judge."""
    from scipy.sparse.linalg import splu

    symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    return splu(A.T.tocsc(), **symmetric)


def answer(A: Any, b: np.ndarray) -> np.ndarray:
    """The solution that leads to the next system."""
    return factor(A).solve(b)
