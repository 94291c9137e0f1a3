"""What a family of generated systems is, and what all of them share: draws, loads, orders, exact symmetry."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from nnla.problems.assembly import with_int32_indices

__all__ = [
    "Drawn",
    "LinearSystem",
    "SystemFamily",
    "decades",
    "loads",
    "mirrored",
    "reordered",
    "whole_decades",
]

#: What a family's function returns: a matrix that is symmetric up to rounding, a right-hand side, what was drawn.
Drawn = tuple[Any, np.ndarray, dict[str, Any]]

ORDERS = ("natural", "random", "rcm")
_CHANCES = (0.6, 0.2, 0.2)


@dataclass(frozen=True, eq=False)
class LinearSystem:
    """A symmetric positive definite system of a generated family.

    Attributes
    ----------
    A : csr_array (n, n), float64: both triangles, exactly symmetric, rows sorted, no duplicates, int32 indices
    b : (n,) the right-hand side that a user of this kind of system has
    family : its name in `SYSTEM_FAMILIES`
    parameters : what was drawn
    """

    A: csr_array
    b: np.ndarray
    family: str
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class SystemFamily:
    """One row of `SYSTEM_FAMILIES`.

    Attributes
    ----------
    draw : of a generator and an approximate n, see `Drawn`; its docstring names the source of the structure
    kind : what field such systems come from
    smallest, largest : the n that it takes
    orders : in which orders of the unknowns its systems come: some of natural, random, rcm
    """

    draw: Callable[[np.random.Generator, int], Drawn]
    kind: str
    smallest: int = 50
    largest: int = 1_000_000
    orders: tuple[str, ...] = ORDERS

    @property
    def about(self) -> str:
        """What it is, in one line."""
        return (inspect.getdoc(self.draw) or "").partition("\n")[0]

    @property
    def source(self) -> str:
        """Where its structure is described, and who solves such systems."""
        text = (inspect.getdoc(self.draw) or "").partition("\n")[2]
        return " ".join(text.split())


def decades(rng: np.random.Generator, low: float, high: float, size: Any = None) -> Any:
    """10 to a power uniform in [low, high)."""
    drawn = 10.0 ** rng.uniform(low, high, size)
    return float(drawn) if size is None else drawn


def whole_decades(rng: np.random.Generator, low: float, high: float) -> int:
    """A whole number whose logarithm is uniform between those of low and high."""
    return round(np.exp(rng.uniform(np.log(low), np.log(high))))


def mirrored(A: Any) -> csr_array:
    """The mean of a matrix and its transpose: products round differently in the two triangles."""
    A = csr_array(A)
    A.sum_duplicates()
    S = csr_array(A + A.T)  # of canonical arrays, so that its rows are sorted; sums commute exactly
    S.data *= 0.5
    S.sum_duplicates()
    return with_int32_indices(S)


def reordered(A: csr_array, b: np.ndarray, order: str, rng: np.random.Generator) -> tuple[csr_array, np.ndarray]:
    """The same system with its unknowns in another order: "natural", "random" or "rcm"."""
    if order == "natural":
        return A, b
    if order == "random":
        old = rng.permutation(A.shape[0])
    else:
        from scipy.sparse.csgraph import reverse_cuthill_mckee

        old = reverse_cuthill_mckee(A, symmetric_mode=True)
    new = np.empty(old.size, dtype=np.int32)
    new[old] = np.arange(old.size, dtype=np.int32)
    rows = csr_array(A)[old]
    rows.indices = new[rows.indices]
    rows.has_sorted_indices = False
    rows.sort_indices()
    return with_int32_indices(rows), b[old]


def draw_order(rng: np.random.Generator, orders: tuple[str, ...]) -> str:
    """One of the orders, the natural one more often."""
    chances = np.array([_CHANCES[ORDERS.index(name)] for name in orders])
    return str(rng.choice(np.array(orders), p=chances / chances.sum()))


def loads(rng: np.random.Generator, points: np.ndarray) -> tuple[str, np.ndarray]:
    """A right-hand side over points (n, d): constant, a few point sources, smooth, or noise, by chance."""
    n = len(points)
    kind = str(rng.choice(np.array(["constant", "points", "smooth", "noise"]), p=[0.2, 0.2, 0.35, 0.25]))
    if kind == "constant":
        return kind, np.ones(n)
    if kind == "points":
        b = np.zeros(n)
        b[rng.integers(0, n, whole_decades(rng, 1, max(2.0, n**0.25)))] = rng.choice(np.array([-1.0, 1.0]))
        return kind, b
    if kind == "noise":
        return kind, rng.standard_normal(n)
    unit = (points - points.min(axis=0)) / max(float(np.ptp(points, axis=0).max()), 1e-300)
    b = np.zeros(n)
    for _ in range(int(rng.integers(1, 5))):
        centre, width = rng.random(points.shape[1]), rng.uniform(0.05, 0.6)
        b += rng.uniform(-1.0, 1.0) * np.exp(-((unit - centre) ** 2).sum(axis=1) / width**2)
    return kind, b + 1e-3 * rng.uniform(0.0, 1.0)
