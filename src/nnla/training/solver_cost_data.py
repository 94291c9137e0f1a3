"""What runs of every method on generated systems took, as arrays to train on; read from JSON lines.

`reproduce/auto_data.py` writes them, one line a system.
"""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnla._files import one_line, write_atomic
from nnla.errors import FileFormatError, OptionError
from nnla.models.solver_costs import FAILURES, TARGETS, tolerance_input

__all__ = ["RTOLS", "STEP_COUNTS", "SolverRuns", "fold_numbers", "read_runs", "runs_from_rows"]

RTOLS = (1e-4, 1e-6, 1e-8, 1e-10)
STEP_COUNTS = (4, 8, 16, 32, 64)  # of first steps of Jacobi-CG that features are kept of
_SHORTEST = 1e-7  # seconds that a clock tells
_STOPPED = ("maxiter", "timeout", "converged")  # by no fault of the method
_NOT_TRIED: dict[str, Any] = {"failed": None}
_MEASURED = {  # target -> method, key of its row
    "direct.flops": ("direct", "flops"),
    "direct.entries": ("direct", "entries"),
    "amg.complexity": ("amg", "complexity"),
    "product.seconds": ("jacobi", "step_seconds"),
    "order.seconds": ("direct", "order_seconds"),
    "factor.seconds": ("direct", "factor_seconds"),
    "substitution.seconds": ("direct", "substitution_seconds"),
    **{f"{m}.{key}": (m, key) for m in ("ic", "amg", "autospec") for key in ("setup_seconds", "step_seconds")},
}


@dataclass(frozen=True, eq=False)
class SolverRuns:
    """Runs on N systems.

    Attributes
    ----------
    family, kind : (N,) names
    sizes : (N, 2) unknowns and stored entries
    structure : (N, F) features; NaN where one is not known
    steps : (N, K, S) features after `STEP_COUNTS` steps; NaN where the run was shorter
    labels : (N, R, T) logarithms of the targets for `RTOLS`; NaN where they are not known
    capped : (N, R, T) whether a label is a lower bound, of a run that was stopped
    failed : (N, R, P) 1 where a method failed, 0 where it did not; NaN where it was not run
    """

    family: np.ndarray
    kind: np.ndarray
    sizes: np.ndarray
    structure: np.ndarray
    steps: np.ndarray
    labels: np.ndarray
    capped: np.ndarray
    failed: np.ndarray

    def __len__(self) -> int:
        return len(self.family)

    def take(self, index: Any) -> SolverRuns:
        """Those of some systems.

        Cost: a copy of them.
        """
        return SolverRuns(**{field.name: getattr(self, field.name)[index] for field in dataclasses.fields(self)})

    def save(self, path: Path) -> None:
        """Write all arrays, atomically.

        Cost: one copy in memory.
        """
        stream = io.BytesIO()
        np.savez(stream, **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
        write_atomic(path, stream.getvalue())

    @classmethod
    def load(cls, path: Path) -> SolverRuns:
        """Read what `save` wrote.

        Cost: the file read once.
        """
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in dataclasses.fields(cls)})


def fold_numbers(kinds: np.ndarray, folds: int) -> np.ndarray:
    """Which fold each system is held out in, (N,): systems of a kind in one, folds of about the same size.

    Parameters
    ----------
    kinds : (N,) names
    folds : how many

    Notes
    -----
    The largest kind goes first, each to the smallest fold. Cost: a sort.

    Examples
    --------
    >>> fold_numbers(np.array(["a", "b", "b", "b", "c", "c"]), 2).tolist()
    [1, 0, 0, 0, 1, 1]
    """
    names, place, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    fold, sizes = np.zeros(names.size, dtype=int), np.zeros(folds, dtype=int)
    for i in np.argsort(-counts, kind="stable"):
        fold[i] = int(sizes.argmin())
        sizes[fold[i]] += counts[i]
    return fold[place]


def read_runs(path: str | Path) -> SolverRuns:
    """The runs of a file of JSON lines, or of all ``*.jsonl`` of a folder, in the order of their names.

    Raises
    ------
    OptionError
        No such file, or none with a line.
    FileFormatError
        A line that is not one of a system; the last one of a file may be cut off, and is left out.

    Notes
    -----
    Cost: the files read once.
    """
    given = Path(path)
    files = sorted(given.glob("*.jsonl")) if given.is_dir() else [given]
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise OptionError(
                f"the runs cannot be read ({one_line(error)}); set data.path to what reproduce/auto_data.py wrote"
            ) from error
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                if number < len(lines):
                    raise FileFormatError(f"{file}: line {number} is no JSON ({one_line(error)}); remove it") from error
    if not rows:
        raise OptionError(f"{one_line(path)} has no runs; set data.path to what reproduce/auto_data.py wrote")
    try:
        return runs_from_rows(rows)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FileFormatError(
            f"{one_line(path)}: a line is not one of a system ({one_line(error)}); make them anew"
        ) from error


def runs_from_rows(rows: list[dict[str, Any]]) -> SolverRuns:
    """Arrays of what `reproduce/auto_data.py` wrote; lines of systems that went wrong are left out.

    Notes
    -----
    A method that ended before a tolerance by itself has failed at it; one that was stopped takes at least so many
    iterations. The polynomial runs to 1e-8 alone: to others it is taken to need iterations in the proportion of
    Jacobi-CG's, or of the classical bound. Cost: a pass over the rows.
    """
    rows = [row for row in rows if "error" not in row]
    if not rows:
        raise ValueError("no system of them was solved")
    levels, features = len(RTOLS), len(rows[0]["features"])
    width = max((len(v) for row in rows for v in row["steps"].values()), default=1)
    labels = np.full((len(rows), levels, len(TARGETS)), np.nan)
    capped, failed = np.zeros(labels.shape, dtype=bool), np.full((len(rows), levels, len(FAILURES)), np.nan)
    structure, steps = (
        np.full(shape, np.nan) for shape in ((len(rows), features), (len(rows), len(STEP_COUNTS), width))
    )
    for i, row in enumerate(rows):
        structure[i] = [np.nan if value is None else value for value in row["features"]]
        for k, values in row["steps"].items():
            steps[i, STEP_COUNTS.index(int(k))] = values
        for method in FAILURES:
            _iterations(row.get(method, _NOT_TRIED), method, labels[i], capped[i], failed[i])
        _other_tolerances(labels[i], capped[i])
        for target, (method, key) in _MEASURED.items():
            value = row.get(method, _NOT_TRIED).get(key)
            if value is not None:
                labels[i, :, TARGETS.index(target)] = np.log(max(value, _SHORTEST))
        if not row["direct"].get("complete", True):  # counted no further
            capped[i, :, [TARGETS.index(name) for name in ("direct.flops", "direct.entries")]] = True
    family, kind = (np.array([str(row[key]) for row in rows]) for key in ("family", "kind"))
    sizes = np.array([[row["n"], row["nnz"]] for row in rows])
    return SolverRuns(family, kind, sizes, structure, steps, labels, capped, failed)


def _iterations(found: dict[str, Any], method: str, labels: np.ndarray, capped: np.ndarray, failed: np.ndarray) -> None:
    """Iterations of a method to each tolerance, or at least how many, or that it failed."""
    t, p = TARGETS.index(f"{method}.iterations"), FAILURES.index(method)
    if "iterations" not in found:  # it never came to that, or was not tried
        failed[:, p] = np.nan if found["failed"] is None else found["failed"]
        return
    stopped = found["status"] in _STOPPED
    for level, rtol in enumerate(RTOLS):
        if str(rtol) not in found["iterations"]:
            continue
        count = found["iterations"][str(rtol)]
        failed[level, p] = float(count is None and not stopped)
        if count is None and stopped:
            capped[level, t] = True
            count = found["stopped"]
        if count is not None:
            labels[level, t] = np.log(max(count, 1))


def _other_tolerances(labels: np.ndarray, capped: np.ndarray) -> None:
    """Iterations of the polynomial to other tolerances than that of its run."""
    t, j = TARGETS.index("autospec.iterations"), TARGETS.index("jacobi.iterations")
    known = RTOLS.index(1e-8)
    bound = tolerance_input(np.array(RTOLS))
    by_jacobi = labels[:, j] - labels[known, j]
    usable = np.isfinite(by_jacobi) & ~capped[:, j] & ~capped[known, j]
    labels[:, t] = labels[known, t] + np.where(usable, by_jacobi, bound - bound[known])
    capped[:, t] = capped[known, t]
