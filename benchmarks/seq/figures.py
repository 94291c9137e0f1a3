"""The plot: seconds so far over the systems of each sequence, a panel a sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tts.figures import _figure, _legend

COLOURS = {
    "Solver": "#000000", "Solver, learn=False": "#888888", "nnla cold": "#D55E00", "bare kernels": "#C0A080",
    "cholmod": "#8A2BE2", "scipy splu": "#E69F00", "pyamg": "#0072B2", "petsc": "#009E73",
}  # fmt: skip


def draw(data: dict[str, Any], path: Path) -> Path | None:
    """One panel a sequence; each peer with its best setting."""
    sequences = {name: s for name, s in data["sequences"].items() if s["methods"]}
    if not sequences:
        return None
    columns = min(4, len(sequences))
    rows = -(-len(sequences) // columns)
    fig = _figure(3.7 * columns + 0.4, 2.9 * rows + 0.9)
    panels = fig.subplots(rows, columns, squeeze=False)
    for axes, (name, s) in zip(panels.flat, sequences.items(), strict=False):
        for method, colour in COLOURS.items():
            found = s["methods"].get(method)
            if found and found["ok"]:
                style = {"linewidth": 2.2, "zorder": 5} if method == "Solver" else {"linewidth": 1.2}
                axes.plot(*zip(*found["course"], strict=True), color=colour, label=method, **style)
        axes.set_title(f"{name}, n = {s['facts']['n']}", fontsize=9)
        top = max(
            (f["seconds"] for m, f in s["methods"].items() if f["ok"] and m in ("Solver", "nnla cold")), default=0
        )
        if top:
            axes.set_ylim(0.0, 1.6 * top)
        axes.grid(alpha=0.3)
    for axes in list(panels.flat)[len(sequences) :]:
        axes.axis("off")
    for axes in panels[-1]:
        axes.set_xlabel("systems solved")
    for axes in panels[:, 0]:
        axes.set_ylabel(f"{data['meta']['clock']} seconds so far")
    _legend(fig, panels)
    fig.savefig(path, dpi=110)
    return path
