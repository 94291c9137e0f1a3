"""The plots: auto against the best peer, time per unknown against n, time against residual."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tts.summary import AUTO

COLOURS = {
    "nnla-auto": "#000000", "scipy-jacobi": "#999999", "scipy-cg": "#cccccc", "scipy-splu": "#E69F00",
    "scipy-spilu": "#F0E442", "pyamg-sa": "#0072B2", "pyamg-rs": "#56B4E9", "cholmod": "#D55E00",
    "cholmod-amd": "#A0522D", "cholmod-metis": "#8B0000", "petsc-jacobi": "#bbbbbb",
    "petsc-icc": "#009E73", "petsc-gamg": "#CC79A7", "petsc-boomeramg": "#8A2BE2",
}  # fmt: skip
SHOWN = (AUTO, "scipy-jacobi", "petsc-icc", "petsc-boomeramg", "pyamg-sa", "pyamg-rs", "cholmod", "scipy-splu")
_MARKERS = dict(zip(COLOURS, "o^v<>sDPX*hd8p", strict=True))


def draw(data: dict[str, Any], stem: Path) -> list[Path]:
    """All plots that the data allow; returns what was written."""
    written = []
    if any(j["ratio"] for j in data["judged"]):
        written.append(_ratios(data, stem.with_suffix(".png")))
    written.append(_choices(data, stem.with_name(f"{stem.name}_choice.png")))
    written.append(_costs(data, stem.with_name(f"{stem.name}_cost.png")))
    if data.get("precision"):
        written.append(_precision(data["precision"], stem.with_name(f"{stem.name}_precision.png"), data["meta"]))
    return [path for path in written if path]


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _ratios(data: dict[str, Any], path: Path) -> Path:
    """auto / best peer per system: a panel a set, sorted, coloured by the best peer."""
    from matplotlib.patches import Patch

    groups: dict[str, list[dict[str, Any]]] = {}
    for j in sorted((j for j in data["judged"] if j["ratio"] is not None), key=lambda j: j["ratio"]):
        groups.setdefault(data["systems"][j["matrix"]]["group"], []).append(j)
    groups = {g: groups[g] for g in data["summary"]["peers"] if g in groups}  # in the order of the page
    widest = max(map(len, groups.values()))
    fig = _figure(max(9, 0.155 * widest + 2), 4.4 * len(groups))
    panels = fig.subplots(len(groups), 1, squeeze=False)[:, 0]
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 1.25, 2, 5, 10, 20]
    for axes, (group, judged) in zip(panels, groups.items(), strict=True):
        shown = [min(max(j["ratio"], 0.02), 20.0) for j in judged]
        colours = [COLOURS.get(j["best_peer"] or "", "#ffffff") for j in judged]
        axes.bar(
            range(len(judged)), [y - 1 for y in shown], bottom=1, color=colours, edgecolor="#444444", linewidth=0.4
        )
        for level, style in ((1.0, "-"), (1.25, "--"), (2.0, ":")):
            axes.axhline(level, color="black", linewidth=0.8, linestyle=style)
        axes.set(yscale="log", xlim=(-1, widest), ylabel="auto / the best peer")
        kept = [t for t in ticks if min(shown) / 1.5 <= t <= max(shown) * 1.5]
        axes.set_yticks(kept, [f"{t:g}" for t in kept])
        axes.minorticks_off()
        axes.set_xticks(range(len(judged)), [j["matrix"] for j in judged], rotation=90, fontsize=6.5)
        axes.grid(axis="y", alpha=0.3)
        figures = data["summary"]["peers"][group]
        mean = figures["geometric mean"]
        axes.set_title(f"{group}: {len(judged)} systems, geometric mean {mean or 0:.2f}, "
                       f"faster than every peer on {100 * figures['faster than every peer']:.0f} %, "
                       f"within 1.25x on {100 * figures['within 1.25']:.0f} %", fontsize=9)  # fmt: skip
    used = dict.fromkeys(j["best_peer"] for judged in groups.values() for j in judged if j["best_peer"])
    panels[0].legend(handles=[Patch(color=COLOURS[s], label=s) for s in used], ncols=3, title="best peer", fontsize=8)
    meta = data["meta"]
    fig.suptitle(f"to {meta['rtol']:g}, {meta['threads']} thread(s), {meta['clock']} time")
    fig.savefig(path, dpi=120)
    return path


def _choices(data: dict[str, Any], path: Path) -> Path | None:
    """Share of the systems on which a rule is within a factor of the best own method: a panel a set."""
    groups: dict[str, dict[str, list[float]]] = {}
    for j in data["judged"]:
        for rule, value in j["rules"].items():
            if j.get("best_own_time"):
                ratio = value["seconds"] / j["best_own_time"] if value["ok"] else math.inf
                groups.setdefault(data["systems"][j["matrix"]]["group"], {}).setdefault(rule, []).append(ratio)
    groups = {g: groups[g] for g in data["summary"]["own"] if g in groups}
    if not groups:
        return None
    fig = _figure(4.2 * len(groups) + 0.4, 4.2)
    panels = fig.subplots(1, len(groups), squeeze=False)
    colours = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
    rules = list(next(iter(data["summary"]["own"].values())))
    for axes, (group, values) in zip(panels.flat, groups.items(), strict=True):
        for rule, colour in zip(rules, colours, strict=False):
            ratios = sorted(r for r in values.get(rule, []) if r < math.inf)
            if ratios:
                share = [100 * (k + 1) / len(values[rule]) for k in range(len(ratios))]
                steps = [1.0, *ratios, 20.0], [0.0, *share, share[-1]]
                axes.step(*steps, where="post", color=colour, label=rule, linewidth=2 if rule == "auto" else 1.2)
        axes.axvline(1.25, color="black", linewidth=0.6, linestyle="--")
        axes.set(xscale="log", xlim=(1, 20), ylim=(0, 101), title=group, xlabel="time / the best own method")
        axes.set_xticks([1, 1.25, 2, 5, 10, 20], ["1", "1.25", "2", "5", "10", "20"])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("% of the systems")
    _legend(fig, panels)
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
                wide = solver == AUTO
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
                style = {"linewidth": 2.2, "zorder": 5} if solver == AUTO else {"linewidth": 1.1}
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
