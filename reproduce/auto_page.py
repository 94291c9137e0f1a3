"""The page of `method="auto"`: predicted against real for every method, regret by kind, what the networks look at.

    python reproduce/auto_page.py RUN [--replay ROWS.jsonl ...] [--native ROWS.jsonl ...] [--seeds SEEDS.json]
                                      [--sizes SIZES.json]
    python reproduce/auto_page.py

RUN is a folder of `reproduce/auto_folds.py` (FOLDER/seed-0): each system is judged by engines that have not seen its
kind. ROWS come from `reproduce/auto_replay.py --out` and from `reproduce/auto_native.py --out`, of the shipped seed and
then of others; SEEDS and SIZES from
auto_folds.py and auto_sizes.py. Everything measured goes to docs/auto.json; docs/auto.md and docs/auto.png are drawn
from that alone, without RUN from the one that is there.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from nnla._files import write_atomic

DOCS = Path(__file__).resolve().parents[1] / "docs"
SHOWN = (
    "jacobi.iterations",
    "ic.iterations",
    "amg.iterations",
    "autospec.iterations",
    "direct.flops",
    "factor.seconds",
)
LOOKED_AT = ("jacobi.iterations", "ic.iterations", "amg.iterations", "direct.flops")
NAMES = {"values": "values", "graph": "and graph", "steps": "and first steps", "blind": "steps alone"}
POINTS = 600  # of a picture
LEVEL = 2  # of the tolerance, 1e-8
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def measure(run: Path) -> dict[str, Any]:
    """What engines say of kinds that they have not seen."""
    from nnla.models.solver_costs import TARGETS
    from nnla.registry import load
    from nnla.training.solver_cost_data import SolverRuns
    from nnla.training.solver_cost_figures import predictions

    runs = SolverRuns.load(run / "data" / "runs.npz")
    folds = json.loads((run / "folds" / "folds.json").read_text())["folds"]
    fold = np.array([folds[family] for family in runs.family])
    engines = [load(run / "folds" / f"fold-{k}.safetensors") for k in range(max(folds.values()) + 1)]
    card = load(run / "auto-costs.safetensors").card
    found = predictions(engines, runs, fold, structure=runs.structure)
    at = found["level"] == LEVEL
    kinds = runs.kind[found["system"][at]]
    rng = np.random.default_rng(0)
    points, calibration = {}, {}
    for target in TARGETS:
        t = TARGETS.index(target)
        real, mean, std = found["labels"][at, t], found["mean"][at, t], found["std"][at, t]
        capped = found["capped"][at, t]
        known = np.isfinite(real)
        place = np.flatnonzero(known & ~capped)
        if place.size < 20:
            continue
        z = (real[place] - mean[place]) / std[place]
        calibration[target] = [round(float(np.mean(z <= _normal(q))), 3) for q in QUANTILES]
        if target in SHOWN:
            some = rng.permutation(np.flatnonzero(known))[:POINTS]
            points[target] = {
                "predicted": np.round(mean[some], 3).tolist(),
                "std": np.round(std[some], 3).tolist(),
                "real": np.round(real[some], 3).tolist(),
                "stopped": capped[some].astype(int).tolist(),
                "kind": kinds[some].tolist(),
            }
    held = {key: round(value, 4) for key, value in card["held_out"].items()}
    return {
        "systems": len(runs),
        "families": len(folds),
        "kinds": {str(k): int(n) for k, n in zip(*np.unique(runs.kind, return_counts=True), strict=True)},
        "spread": card["spread"],
        "held_out": held,
        "seconds": card["seconds"],
        "hardware": card["hardware"],
        "points": points,
        "quantiles": list(QUANTILES),
        "calibration": calibration,
        "importance": importance(engines, runs, fold),
    }


def _normal(q: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(q))


def importance(engines: list[Any], runs: Any, fold: np.ndarray) -> dict[str, list[tuple[str, float]]]:
    """How much larger errors get when a feature is that of another system: root mean squares' difference."""
    from nnla.models.solver_costs import TARGETS
    from nnla.operators.features import STRUCTURE_FEATURES
    from nnla.training.solver_cost_figures import predictions, spreads

    base = spreads(predictions(engines, runs, fold, structure=runs.structure))
    rng = np.random.default_rng(1)
    gains: dict[str, list[tuple[str, float]]] = {target: [] for target in LOOKED_AT if target in base}
    assert set(gains) <= set(TARGETS)
    for i, feature in enumerate(STRUCTURE_FEATURES):
        mixed = runs.structure.copy()
        mixed[:, i] = mixed[rng.permutation(len(mixed)), i]
        worse = spreads(predictions(engines, runs, fold, structure=mixed))
        for target, rows in gains.items():
            rows.append((feature, round(worse[target] - base[target], 4)))
    return {target: sorted(rows, key=lambda row: -row[1])[:10] for target, rows in gains.items()}


def regrets(path: Path, least: float = 1e-3) -> dict[str, Any]:
    """Seconds by those of the best method in hindsight, in all and by kind, of what `auto_replay.py` wrote."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row for row in rows if row["least"] >= least]
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["kind"]].append(row)
    return {
        "least": least,
        "all": {key: _ratios([row[key] for row in rows]) for key in ("ratio", "blind", "direct")},
        "kinds": {kind: _ratios([row["ratio"] for row in own]) for kind, own in sorted(groups.items())},
    }


def natives(paths: list[Path]) -> list[dict[str, Any]]:
    """The same of the native call and of the ordinary way, as `auto_native.py` wrote them, for each seed."""
    found = list[dict[str, Any]]()
    for path in paths:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found.append({key: _ratios([row[key] for row in rows]) for key in ("native", "ordinary")})
    return found


def _ratios(values: list[float]) -> dict[str, float]:
    a = np.array(values)
    return {
        "systems": len(values),
        "geometric_mean": round(float(np.exp(np.log(a).mean())), 3),
        "within": round(float(np.mean(a <= 1.25)), 3),
        "worst": round(float(a.max()), 2),
    }


# -- the page --------------------------------------------------------------------------------------------------------


def page(d: dict[str, Any]) -> str:
    """docs/auto.md."""
    h = d["held_out"]
    lines = ["# What `auto` has learned", ""]
    lines += [f"Trained on {d['systems']} generated systems of {d['families']} families ({len(d['kinds'])} kinds of"]
    lines += ["problems). All figures here are of *held-out kinds*: each system is judged by networks that saw none of"]
    lines += ["its kind. `python reproduce/auto_page.py RUN` makes them again.", "", "![auto](auto.png)", ""]
    lines += ["## Predicted against real", ""]
    lines += ["Root mean square error of the natural logarithm (0.7 is a factor of two):", ""]
    spread = d["spread"]
    rows = [[target, *(_two(spread[key].get(target)) for key in NAMES)] for target in spread["graph"]]
    rows.append(["**mean**", *(_two(h[f"{key}.error"]) for key in NAMES)])
    rows += [[f"inside of {k} sigma", *(f"{h[f'{key}.within{k}']:.0%}" for key in NAMES)] for k in (1, 2)]
    lines += _table(["", *NAMES.values()], rows)
    lines += ["*values*: of the entries alone; *and graph*: with cores, levels and balls of the graph; *and first"]
    lines += ["steps*: after 4 to 64 iterations of Jacobi-CG; *steps alone*: for operators without entries."]
    lines += ["Triangles are runs that were stopped, and take at least so many iterations; colours are kinds.", ""]
    if "sizes" in d:
        lines += _sizes(d["sizes"])
    if "seeds" in d:
        header = ["seed", *(f"{name}: error" for name in NAMES.values())]
        lines += ["Three seeds:", ""]
        lines += _table(header, [[seed, *(_two(f[f"{key}.error"]) for key in NAMES)] for seed, f in d["seeds"].items()])
    if "regret" in d:
        lines += _regret(d["regret"], d.get("native", []))
    lines += ["## What the networks look at", ""]
    lines += ["Growth of the error when one feature is that of another system (permutation importance):", ""]
    tops = d["importance"]
    count = min(len(rows) for rows in tops.values())
    rows = [[f"{tops[t][i][0]} ({tops[t][i][1]:.2f})" for t in tops] for i in range(min(8, count))]
    return "\n".join([*lines, *_table(list(tops), rows)])


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _table(header: list[str], rows: list[list[Any]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return [*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]


def _sizes(sizes: dict[str, Any]) -> list[str]:
    keys = ("graph.error", "graph.likelihood", "values.error", "steps.error", "blind.error")
    rows = [
        [name, *(_two(row["figures"].get(key)) for key in keys), f"{row['cpu_seconds']:.0f}"]
        for name, row in sizes.items()
    ]
    lines = ["Other sizes, and what is simpler (`python reproduce/auto_sizes.py`):", ""]
    return [*lines, *_table(["", *keys, "CPU s"], rows)]


def _regret(regret: dict[str, Any], native: list[dict[str, Any]]) -> list[str]:
    labels = {"ratio": "`auto`", "blind": "smallest expected seconds, nothing charged", "direct": "always direct"}
    header = ["", "systems", "geometric mean", "within 1.25", "worst"]
    lines = ["## Regret", ""]
    lines += ["Seconds by those of the best method in hindsight, replayed on systems whose best method takes at least"]
    lines += [f"{1e3 * regret['least']:g} ms (`python reproduce/auto_replay.py`), kinds held out:", ""]
    named = [(labels[key], f) for key, f in regret["all"].items()]
    named += [(f"`auto`, {kind}", f) for kind, f in regret["kinds"].items()]
    named += [(f"`auto`, seed {seed} of the training", f) for seed, f in enumerate(regret["seeds"])]
    rows = [[n, f["systems"], f["geometric_mean"], f"{f['within']:.0%}", f["worst"]] for n, f in named]
    lines += _table(header, rows)
    if native:
        lines += [
            "",
            "Of these, what has 20,000 to 400,000 entries is chosen for in one native call, where it is for a",
        ]
        lines += [
            "factorisation or for CG over the diagonal or an incomplete factor (`python reproduce/auto_native.py`),"
        ]
        lines += ["kinds held out:", ""]
        names = {"native": "native call", "ordinary": "ordinary way alone"}
        named = [(f"{names[key]}, seed {k}", seed[key]) for k, seed in enumerate(native) for key in names]
        rows = [[n, f["systems"], f["geometric_mean"], f"{f['within']:.0%}", f["worst"]] for n, f in named]
        lines += _table(header, rows)
    return lines


def picture(d: dict[str, Any], path: Path) -> None:
    """docs/auto.png."""
    shown = [target for target in SHOWN if target in d["points"]]
    figure, axes = plt.subplots(3, 3, figsize=(12, 11), layout="constrained")
    axes = axes.ravel()
    kinds = sorted(d["kinds"])
    colours = {kind: plt.get_cmap("tab20")(i % 20) for i, kind in enumerate(kinds)}
    for ax, target in zip(axes, shown, strict=False):
        p = d["points"][target]
        real, predicted = np.exp(p["real"]), np.exp(p["predicted"])
        for stopped, marker in ((0, "o"), (1, "^")):
            own = np.array(p["stopped"]) == stopped
            ax.scatter(
                real[own], predicted[own], s=7, marker=marker, c=[colours[p["kind"][i]] for i in np.flatnonzero(own)]
            )
        ends = [min(real.min(), predicted.min()), max(real.max(), predicted.max())]
        ax.plot(ends, ends, color="black", linewidth=0.8)
        ax.set(xscale="log", yscale="log", xlabel="real", ylabel="predicted", title=target)
    ax = axes[len(shown)]
    for target, shares in d["calibration"].items():
        ax.plot(d["quantiles"], shares, linewidth=0.8, label=target if target in SHOWN else None)
    ax.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    ax.set(xlabel="predicted quantile", ylabel="share of systems below", title="how sure: calibration")
    ax.legend(fontsize=6)
    ax = axes[len(shown) + 1]
    rows = d["importance"]["direct.flops"][:8][::-1]
    ax.barh([name for name, _ in rows], [gain for _, gain in rows])
    ax.set(title="importance for direct.flops")
    ax.tick_params(axis="y", labelsize=7)
    ax = axes[len(shown) + 2]
    if "regret" in d:
        regret = d["regret"]["kinds"]
        ax.barh(list(regret)[::-1], [f["geometric_mean"] - 1 for f in regret.values()][::-1], left=1.0)
        ax.set(title="seconds by the best in hindsight")
    else:
        rows = d["importance"]["jacobi.iterations"][:8][::-1]
        ax.barh([name for name, _ in rows], [gain for _, gain in rows])
        ax.set(title="importance for jacobi.iterations")
    ax.tick_params(axis="y", labelsize=7)
    for ax in axes[len(shown) + 3 :]:
        ax.axis("off")
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--replay", type=Path, nargs="+")
    parser.add_argument("--native", type=Path, nargs="+")
    parser.add_argument("--seeds", type=Path)
    parser.add_argument("--sizes", type=Path)
    parser.add_argument("--out", type=Path, default=DOCS / "auto", help="without the suffix")
    arguments = parser.parse_args()
    kept = arguments.out.with_suffix(".json")
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    if arguments.run is not None:
        found |= measure(arguments.run)
    if arguments.replay is not None:
        found["regret"] = regrets(arguments.replay[0])
        found["regret"]["seeds"] = [regrets(path)["all"]["ratio"] for path in arguments.replay]
    if arguments.native is not None:
        found["native"] = natives(arguments.native)
    for name in ("seeds", "sizes"):
        if getattr(arguments, name) is not None:
            found[name] = json.loads(getattr(arguments, name).read_text())
    write_atomic(kept, json.dumps(found).encode())
    write_atomic(arguments.out.with_suffix(".md"), (page(json.loads(kept.read_text())) + "\n").encode())
    picture(found, arguments.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
