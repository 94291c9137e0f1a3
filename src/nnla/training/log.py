"""The log of a run: one JSON object a line, and its picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nnla._files import write_atomic

__all__ = ["plot_log", "read_log", "trim_log"]


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; a last line that was not written to its end is left out."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def trim_log(path: Path, step: int) -> None:
    """Drop the rows beyond a step, and what a killed process left of a row."""
    if path.exists():
        kept = [json.dumps(row) + "\n" for row in read_log(path) if row.get("step", 0) <= step]
        write_atomic(path, "".join(kept).encode())


def plot_log(path: Path, picture: Path) -> bool:
    """Draw a log; False when Matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    rows = read_log(path)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for key in sorted({key for row in rows for key in row} - {"step"}):
        points = [(row["step"], row[key]) for row in rows if key in row]
        marker = "o" if key.startswith("val_") else None
        axes.plot(*zip(*points, strict=True), label=key, marker=marker, markersize=3, linewidth=1)
    axes.set(xlabel="step", yscale="log", title=f"training log: {path.parent.name}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(picture, dpi=130)
    return True
