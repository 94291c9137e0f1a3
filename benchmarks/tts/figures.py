"""The plots: auto against the best peer, time per unknown against n, time against residual."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

COLOURS = {
    "nnla-auto": "#000000", "scipy-jacobi": "#999999", "scipy-cg": "#cccccc", "scipy-splu": "#E69F00",
    "scipy-spilu": "#F0E442", "pyamg-sa": "#0072B2", "pyamg-rs": "#56B4E9", "cholmod": "#D55E00",
    "petsc-jacobi": "#bbbbbb", "petsc-icc": "#009E73", "petsc-gamg": "#CC79A7", "petsc-boomeramg": "#8A2BE2",
}  # fmt: skip
SHOWN = ("nnla-auto", "scipy-jacobi", "petsc-icc", "petsc-boomeramg", "pyamg-sa", "pyamg-rs", "cholmod", "scipy-splu")
_MARKERS = dict(zip(COLOURS, "o^v<>sDPX*hd", strict=True))


def draw(data: dict[str, Any], stem: Path) -> list[Path]:
    """All plots that the data allow; returns what was written."""
    written = []
    if any(j["ratio"] for j in data["judged"]):
        written.append(_ratios(data, stem.with_suffix(".png")))
    written.append(_costs(data, stem.with_name(f"{stem.name}_cost.png")))
    if data.get("precision"):
        written.append(_precision(data["precision"], stem.with_name(f"{stem.name}_precision.png"), data["meta"]))
    return [path for path in written if path]


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _ratios(data: dict[str, Any], path: Path) -> Path:
    """Upper: auto / best peer per system, sorted, coloured by the best peer. Lower: Jacobi-CG / auto against n."""
    judged = sorted((j for j in data["judged"] if j["ratio"] is not None), key=lambda j: j["ratio"])
    fig = _figure(max(9, 0.155 * len(judged) + 2), 9.5)
    upper, lower = fig.subplots(2, 1, height_ratios=(3, 2))
    place = range(len(judged))
    shown = [min(max(j["ratio"], 0.02), 20.0) for j in judged]
    colours = [COLOURS.get(j["best_peer"] or "", "#ffffff") for j in judged]
    upper.bar(place, [y - 1 for y in shown], bottom=1, color=colours, edgecolor="#444444", linewidth=0.4)
    for level, style in ((1.0, "-"), (1.25, "--"), (2.0, ":")):
        upper.axhline(level, color="black", linewidth=0.8, linestyle=style)
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 1.25, 2, 5, 10, 20]
    upper.set(yscale="log", xlim=(-1, len(judged)), ylabel="time of auto / time of the best peer")
    low, high = min(shown, default=1), max(shown, default=1)
    kept = [t for t in ticks if low / 1.5 <= t <= high * 1.5]
    upper.set_yticks(kept, [f"{t:g}" for t in kept])
    upper.minorticks_off()
    upper.set_xticks(list(place), [j["matrix"] for j in judged], rotation=90, fontsize=6.5)
    upper.grid(axis="y", alpha=0.3)
    from matplotlib.patches import Patch

    used = dict.fromkeys(j["best_peer"] for j in judged if j["best_peer"])
    upper.legend(handles=[Patch(color=COLOURS[s], label=s) for s in used], ncols=3, title="best peer", fontsize=8)
    good = [r for r in (j["ratio"] for j in judged)]
    share = sum(r <= 1.25 for r in good) / max(1, len(good))
    meta = data["meta"]
    upper.set_title(f"{len(good)} systems to {meta['rtol']:g}, {meta['threads']} thread(s), {meta['clock']} time: "
                    f"within 1.25x of the best peer on {100 * share:.0f} %")  # fmt: skip
    rows = [j for j in data["judged"] if j.get("jacobi_ratio")]
    for stopped, marker, label in ((False, "o", "measured"), (True, "^", "Jacobi-CG stopped: at least")):
        pairs = [(data["systems"][j["matrix"]]["n"], j["jacobi_ratio"]) for j in rows if j["jacobi_stopped"] is stopped]
        if pairs:
            lower.plot(*zip(*pairs, strict=True), marker, color="#0072B2", markersize=5, alpha=0.7, label=label)
    lower.axhline(1, color="black", linewidth=0.8)
    lower.set(xscale="log", yscale="log", xlabel="n", ylabel="SciPy Jacobi-CG / auto")
    lower.grid(alpha=0.3)
    lower.legend(fontsize=8)
    fig.savefig(path, dpi=120)
    return path


def _costs(data: dict[str, Any], path: Path) -> Path | None:
    """Time per unknown against n, one panel a family that has three sizes."""
    clock = data["meta"]["clock"]
    families: dict[str, list[str]] = {}
    for name, facts in data["systems"].items():
        if not facts["file"] and name in data["medians"]:
            families.setdefault(facts["family"].split(",")[0], []).append(name)
    families = {f: names for f, names in families.items() if len({data["systems"][m]["n"] for m in names}) >= 3}
    if not families:
        return None
    columns = min(4, len(families))
    rows = math.ceil(len(families) / columns)
    fig = _figure(3.6 * columns + 0.4, 3.0 * rows + 0.9)
    panels = fig.subplots(rows, columns, squeeze=False)
    for axes, (family, names) in zip(panels.flat, families.items(), strict=False):
        for solver in SHOWN:
            points = [
                (data["systems"][m]["n"], data["medians"][m][solver][clock])
                for m in names
                if data["medians"][m].get(solver, {}).get("ok")
            ]
            if points:
                n, t = zip(*sorted(points), strict=True)
                wide = solver == "nnla-auto"
                style = {"linewidth": 2.2, "zorder": 5} if wide else {"linewidth": 1.1}
                cost = [1e6 * s / k for s, k in zip(t, n, strict=True)]
                axes.plot(n, cost, marker=_MARKERS[solver], color=COLOURS[solver], markersize=4, label=solver, **style)
        axes.set(xscale="log", yscale="log", title=family)
        axes.grid(alpha=0.3)
    for axes in list(panels.flat)[len(families) :]:
        axes.axis("off")
    for axes in panels[-1]:
        axes.set_xlabel("n")
    for axes in panels[:, 0]:
        axes.set_ylabel(f"{clock} time, µs per unknown")
    _legend(fig, panels)
    fig.savefig(path, dpi=120)
    return path


def _precision(points: list[dict[str, Any]], path: Path, meta: dict[str, Any]) -> Path:
    """Time against the true residual that it bought."""
    names = list(dict.fromkeys(p["matrix"] for p in points))
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    fig = _figure(4.4 * columns + 0.4, 3.4 * rows + 0.9)
    panels = fig.subplots(rows, columns, squeeze=False)
    for axes, name in zip(panels.flat, names, strict=False):
        for solver in SHOWN:
            mine = sorted((p["residual"], p["time"]) for p in points if (p["matrix"], p["solver"]) == (name, solver))
            if mine:
                residual, time = zip(*mine, strict=True)
                style = {"linewidth": 2.2, "zorder": 5} if solver == "nnla-auto" else {"linewidth": 1.1}
                line = axes.plot(residual, time, marker=_MARKERS[solver], color=COLOURS[solver], markersize=4, **style)
                line[0].set_label(solver)
        axes.set(xscale="log", yscale="log", title=name)
        axes.invert_xaxis()
        axes.grid(alpha=0.3)
    for axes in list(panels.flat)[len(names) :]:
        axes.axis("off")
    for axes in panels[-1]:
        axes.set_xlabel("true relative residual reached")
    for axes in panels[:, 0]:
        axes.set_ylabel(f"{meta['clock']} time, s")
    _legend(fig, panels)
    fig.savefig(path, dpi=120)
    return path


def _legend(fig: Any, panels: Any) -> None:
    handles = {}
    for axes in panels.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    fig.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=min(len(handles), 2 * panels.shape[1] + 1),
        fontsize=9,
    )
