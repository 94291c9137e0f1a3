"""A table by n and nnz/n: the simplest rule that is fitted to measurements, a yardstick for a learned choice.

Each cell of log2 n by log2 (nnz/n) names the method that took the least in the geometric mean over the measured systems
in it; a cell without any has the method of the nearest cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnla.training.log import read_log

METHODS = ("direct", "ic", "jacobi", "autospec", "amg")
TOLERANCE = "1e-08"
_FAILED = 10.0  # what a method counts where it failed, in times the best of that system

Row = tuple[int, int, dict[str, float]]  # n, nnz, seconds of every method that converged


@dataclass(frozen=True)
class Table:
    """The methods of the cells (log2 n, log2 nnz/n), rounded."""

    cells: dict[tuple[int, int], str]
    systems: int

    def method(self, n: int, nnz: int) -> str:
        i, j = _cell(n, nnz)
        return self.cells[min(self.cells, key=lambda cell: (math.hypot(cell[0] - i, cell[1] - j), cell))]

    def words(self) -> str:
        return f"{len(self.cells)} cells, doublings of n and of nnz/n, from {self.systems} generated systems"


def fit(rows: Iterable[Row]) -> Table:
    """The table of measured systems; raises ValueError without any."""
    sums: dict[tuple[int, int], dict[str, float]] = {}
    count = 0
    for n, nnz, taken in rows:
        if not taken:
            continue
        count += 1
        best = min(taken.values())
        cell = sums.setdefault(_cell(n, nnz), dict.fromkeys(METHODS, 0.0))
        for method in METHODS:
            cell[method] += math.log(min(taken.get(method, math.inf) / best, _FAILED))
    if not sums:
        raise ValueError("no measured system: give a folder of *.jsonl with seconds of the methods")
    return Table({cell: min(logs, key=lambda m: logs[m]) for cell, logs in sums.items()}, count)


def read(folder: Path) -> list[Row]:
    """All whole lines of the files *.jsonl of a folder, as reproduce/auto_data.py writes them."""
    found = (row for path in sorted(folder.glob("*.jsonl")) for row in read_log(path))
    return [(row["n"], row["nnz"], seconds(row)) for row in found if "error" not in row]


def seconds(row: dict[str, Any]) -> dict[str, float]:
    """What every method that reached the tolerance took, set-up included."""
    out = {}
    for method in METHODS:
        facts = row.get(method) or {}
        if method == "direct" and facts.get("factor_seconds") is not None and not facts["failed"]:
            out[method] = sum(facts[f"{part}_seconds"] for part in ("order", "factor", "substitution"))
        elif (count := (facts.get("iterations") or {}).get(TOLERANCE)) is not None:
            out[method] = facts["setup_seconds"] + count * facts["step_seconds"]
    return out


def _cell(n: int, nnz: int) -> tuple[int, int]:
    return round(math.log2(max(n, 1))), round(math.log2(max(nnz / max(n, 1), 1.0)))
