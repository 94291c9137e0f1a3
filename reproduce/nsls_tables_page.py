"""The page and the figure of nsls_tables.py, from its JSON: no claim that is not read off the numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import nsls_yardsticks as yard
import numpy as np

from nnla.problems.frame_sets import summary

RTOLS = (1e-2, 1e-5, 1e-8)
PAPER = "GTX 1080 Ti, 100,000 training problems of StAnD small, 315,000 steps"
PAPER1 = {
    "loads": ((32, 8.27e-6, 0.1828), (128, 5.60e-6, 0.1055)),
    "synthetic": ((32, 9.77e-3, 0.034), (128, 8.03e-3, 0.028)),
}
PAPER3 = ("Cholesky (cuSPARSE, METIS) 31.1", "CG (ViennaCL) 0.84", "CG with ICC (ViennaCL) 1.20", "CG (PyTorch) 14.4")
PAPER3 += ("NSLS d = 32 13.4", "NSLS d = 128 18.5")
PAPER4 = ((240, 362, 481, 583), (137, 270, 395, 512))


TEXT1 = """## Table 1: errors of the guesses

delta = |x - x^| / |x|, epsilon = mean |x - x^|; A-norm and residual relative. Declined: systems that the guard, off
here, would start from zero. Changed: guesses farther from x than zero in the A-norm, whose length `nnla.initial_guess`
changed. Synthetic: the same matrices, solutions uniform in [-1, 1]. Geometry of real systems is read off the matrix.
Untrained: `nsls-plus` (14 steps, 8 vectors in parts of 125 unknowns, overlap of degree 8) with random vectors or rigid
motions where its network's outputs were.
The paper's rows: {}.
"""
TEXT3 = """Everything from b to the solution included: CPU time (wall), medians of interleaved repeats, means over the
systems. Tolerances are relative residuals. Ten right-hand sides: per right-hand side, matrix work shared, the network's
subspace kept; solved as a block or one by one, whichever is faster. `jacobi, MODEL`: Jacobi-CG from the guess, deflated
where the model has a subspace; `rigid motions`: deflated by those of parts, smoothed. ! missed its tolerance.
"""
TEXT4 = """## Table 4: iterations to a relative error of 1e-2 / 1e-3 / 1e-4 / 1e-5

Means. Saved: beside a zero start over the same preconditioner, a zero start over IC or PyAMG: beside Jacobi's; charged:
with the network's own steps of CG, but not the other products of a guess, which Table 3 has. Vectors: of the subspace
that CG is deflated by, and in brackets their entries in a row of it, which every iteration pays for. Rigid motions need
geometry and no training. Smoothed: by the polynomial that smooths the network's outputs, before the cuts into parts
unless said otherwise; random vectors are Gaussian in place of the network's outputs. Oracle: lowest eigenvectors of the
Jacobi-scaled matrix. IC and PyAMG cost more an iteration: for seconds see Table 3.
"""
TEXT5 = """## Products with A: Jacobi-CG to a relative residual of 1e-8, with a warm start and without

Through `nnla.solve`, guard on, products in float64; beside them those inside the network, which are with blocks of
vectors and mostly in float32. Matrices other than frames get a Gaussian right-hand side.
"""


def table(head: list[str], rows: list[list[Any]]) -> list[str]:
    """Markdown, and an empty line."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]


def groups_of(rows: list[dict], key: str = "group") -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))


def ten(value: float) -> str:
    """A power of ten as 1e-2."""
    return f"1e{round(math.log10(value))}"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %" if math.isfinite(value) else "-"


def saving(rows: list[dict], group: str, method: str, base: str, *, charged: bool) -> dict | None:
    """Mean iterations to each target, and the share saved beside zero over the same base (IC, PyAMG: over Jacobi)."""
    mine = {r["system"]: r for r in rows if (r["group"], r["method"], r["base"]) == (group, method, base)}
    against = base if base in ("none", "jacobi") or (base == "ic" and method != "zero") else "jacobi"
    zero = {r["system"]: r for r in rows if (r["group"], r["method"], r["base"]) == (group, "zero", against)}
    if not mine:
        return None
    extra = np.array([[r["charged"] if charged else 0] for r in mine.values()])
    own = np.mean(np.array([r["counts"] for r in mine.values()]) + extra, axis=0)
    with np.errstate(invalid="ignore"):
        saved = 1 - own / np.mean([zero[name]["counts"] for name in mine], axis=0)
    vectors, entries = (np.mean([r[key] for r in mine.values()]) for key in ("vectors", "entries"))
    return {"mean": own, "saved": saved, "vectors": vectors, "entries": entries, "count": len(mine)}


def table1(rows: list[dict]) -> list[str]:
    lines = [TEXT1.format(PAPER)]
    body = []
    for group in groups_of(rows):
        part = [r for r in rows if r["group"] == group]
        for name in groups_of(part, "model"):
            mine = [r for r in part if r["model"] == name]
            delta = summary([r["delta"] for r in mine])
            means = [float(np.mean([r[key] for r in mine])) for key in ("epsilon", "energy", "residual")]
            cells = [group, name, len(mine), f"{np.mean([r['n'] for r in mine]):.0f}", *map(percent, delta.values())]
            cells += [f"{means[0]:.2e}", *map(percent, means[1:])]
            cells += [sum(r[key] for r in mine) for key in ("declined", "shortened")]
            body.append(cells)
        variant = {"small": "loads", "small, synthetic": "synthetic"}.get(group)
        for d, epsilon, delta in PAPER1.get(variant, ()):
            name = f"*paper: NSLS, d = {d}, StAnD small{', synthetic' if variant == 'synthetic' else ''}*"
            body.append([group, name, 1000, 2115, percent(delta), "", "", f"{epsilon:.2e}", "", "", "", ""])
    head = ["systems", "guess", "count", "n", "delta, mean", "median", "90th", "epsilon", "A-norm", "residual"]
    return lines + table([*head, "declined", "changed"], body)


def table4(rows: list[dict]) -> list[str]:
    lines = [TEXT4]
    for group in groups_of(rows):
        part, body = [r for r in rows if r["group"] == group], []
        for base in sorted(groups_of(part, "base"), key=["none", "jacobi", "ic", "PyAMG"].index):
            for method in groups_of([r for r in part if r["base"] == base], "method"):
                plain, all_in = (saving(part, group, method, base, charged=c) for c in (False, True))
                cells = [{"none": "CG", "jacobi": "Jacobi", "ic": "IC"}.get(base, base), method, plain["count"]]
                cells += [
                    f"{plain['vectors']:.0f}" + (f" ({plain['entries']:.0f})" if plain["vectors"] else ""),
                    " / ".join(f"{v:.0f}" for v in plain["mean"]),
                ]
                reference = method == "zero" and base in ("none", "jacobi")
                saved = [" / ".join(f"{100 * v:.0f}" for v in s["saved"]) for s in (plain, all_in)]
                body.append([*cells, *(("", "") if reference else saved)])
            if base == "none":
                zero, start = (" / ".join(map(str, v)) for v in PAPER4)
                change = " / ".join(f"{100 * v:.0f}" for v in _paper_saved())
                body.append(["CG", "*paper: zero*", "", 0, zero, "", ""])
                body.append(["CG", "*paper: NSLS, d = 32, start*", "", 0, start, change, "not given"])
        n = np.mean([r["n"] for r in part])
        lines += [f"### {group}, mean n = {n:.0f}", ""]
        lines += table(["CG with", "start, subspace", "count", "vectors", "iterations", "saved %", "charged %"], body)
    return lines


def cell(rows: list[dict]) -> str:
    """Milliseconds of CPU time (wall); ! where the residual missed the tolerance."""
    if not rows:
        return ""
    best: dict[str, dict] = {}
    for r in rows:  # of two ways to solve for many, the faster
        if r["system"] not in best or r["cpu"] < best[r["system"]]["cpu"]:
            best[r["system"]] = r
    missed = "!" if any(r["residual"] > 1.01 * r["rtol"] for r in best.values()) else ""
    return "{:.2f} ({:.2f}){}".format(*(1e3 * np.mean([r[k] for r in best.values()]) for k in ("cpu", "wall")), missed)


def table3(data: dict[str, Any]) -> list[str]:
    rows, m = data["times"], data["meta"]["times"]
    lines = ["## Table 3: milliseconds", "", f"`{m['command']}`, {m['date']}, {m['hardware']}, float64.", "", TEXT3]
    for group in groups_of(rows):
        part = [r for r in rows if r["group"] == group]
        one = {(r["system"], r["n"]) for r in part}
        lines += [f"### {group}: {len(one)} system(s), n = {', '.join(str(n) for _, n in sorted(one))}", ""]
        head = ["solver", *(f"{m} b, {ten(t)}" for m in (1, 10) for t in RTOLS)]
        body = []
        for name in groups_of(part, "solver"):
            mine = [r for r in part if r["solver"] == name]
            body.append([name, *(cell([r for r in mine if (r["way"] == "one") == single and r["rtol"] == t])
                                 for single in (True, False) for t in RTOLS)])  # fmt: skip
        lines += table(head, body)
    lines += ["### Where the milliseconds of a guess go (wall, medians)", ""]
    body = []
    for group in groups_of(data["network"]):
        for name in groups_of([r for r in data["network"] if r["group"] == group], "model"):
            mine = [r for r in data["network"] if (r["group"], r["model"]) == (group, name)]
            keys = ("features", "network", "setup", "checks", "total", "cpu", "recovery")
            means = [f"{1e3 * np.mean([r[k] for r in mine]):.1f}" for k in keys]
            numbers = [f"{np.mean([r[k] for r in mine]):.0f}" for k in ("n", "rank", "products", "network_products")]
            body.append([group, name, *numbers, *means, f"{sum(r['declined'] for r in mine)} of {len(mine)}"])
    head = ["systems", "model", "n", "vectors", "products", "network's", "features", "network, best vector", "set-up"]
    lines += table([*head, "checks", "total", "CPU", "reading geometry, if not given", "declined"], body)
    if data["to_error"]:
        error = np.mean([r["error"] for r in data["to_error"]])
        lines += [
            f"### As in the paper: milliseconds to the error of NSLS (small; ours: mean delta {percent(error)})",
            "",
        ]
        body = [["ours", r, *_mean_ms([q for q in data["to_error"] if q["solver"] == r])]
                for r in groups_of(data["to_error"], "solver")]  # fmt: skip
        guess = [r for r in data["network"] if r["group"] == "small" and r["model"] == "nsls-frames"]
        body += [["ours", "the guess of nsls-frames", f"{1e3 * np.mean([r['total'] for r in guess]):.2f}"]]
        body += [["*paper, GTX 1080 Ti*", *name.rsplit(" ", 1)] for name in PAPER3]
        lines += table(["", "solver", "wall ms"], body)
    return lines


def _mean_ms(rows: list[dict]) -> list[str]:
    return [
        f"{1e3 * np.mean([r['wall'] for r in rows]):.2f} ({np.mean([r['iterations'] for r in rows]):.0f} iterations)"
    ]


def table_products(rows: list[dict]) -> list[str]:
    lines = [TEXT5]
    body, missing = [], [r for r in rows if r["used"] is None]
    for name in groups_of(missing, "model"):
        without = ", ".join(r["matrix"] for r in missing if r["model"] == name)
        lines += [f"{name} is not applicable (no geometry in the matrix, or an error) to {without}.", ""]
    for r in [r for r in rows if r["used"] is not None]:
        ratio = f"{r['with'] / r['without']:.3f}" if r["with"] else ""
        used = "yes" if r["used"] else "declined"
        used += "" if r["converged"] else " (not converged)"
        body.append([r["matrix"], r["n"], r["model"], used, r["without"], r["with"] or "", ratio, r["network"] or ""])
    return lines + table(["matrix", "n", "model", "used?", "without", "with", "ratio", "network's"], body)


def _paper_saved() -> list[float]:
    return [1 - b / a for a, b in zip(*PAPER4, strict=True)]


def verdict(data: dict[str, Any]) -> list[str]:
    """Where the network pays and where not, in words that the numbers choose."""
    lines = ["## Where the network pays and where not", ""]
    rows = [r for r in data.get("accuracy", []) if "synthetic" not in r["group"]]
    for group in groups_of(rows):
        part = [r for r in rows if r["group"] == group]
        means = {name: np.mean([r["delta"] for r in part if r["model"] == name]) for name in groups_of(part, "model")}
        ranked = sorted(means.items(), key=lambda item: item[1])
        lines.append(f"* Guesses, {group}, mean delta: {', '.join(f'{name} {percent(v)}' for name, v in ranked)}.")
    rows = data.get("iterations", [])
    for group in groups_of(rows):
        plain = saving(rows, group, "nsls-frames, start", "none", charged=False)
        if plain:
            ours, paper = (" / ".join(f"{100 * v:.0f}" for v in values) for values in (plain["saved"], _paper_saved()))
            text = f"* Iterations, {group}: started by the paper's model, plain CG saves {ours} % at 1e-2 .. 1e-5, the"
            lines.append(f"{text} model's own steps not charged (the paper's own figures: {paper} %).")
        part = [r for r in rows if r["group"] == group and r["base"] == "jacobi"]
        for name in [m for m in groups_of(part, "method") if m.endswith(", deflated")]:
            own = saving(rows, group, name, "jacobi", charged=True)
            who, vectors = name.removesuffix(", deflated"), f"{own['vectors']:.0f} vectors"
            text = f"* Iterations, {group}: Jacobi-CG deflated by {who} ({vectors}) saves {percent(own['saved'][0])} "
            text += f"at 1e-2 and {percent(own['saved'][3])} at 1e-5, its own steps charged. Untrained subspaces:"
            for label in [m for m in groups_of(part, "method") if m.startswith(("rigid", "random"))]:
                other = saving(rows, group, label, "jacobi", charged=False)
                first, last = (own["saved"][k] > other["saved"][k] for k in (0, 3))
                verb = (
                    "behind it" if first and last else "behind, then ahead of it" if first else "ahead, then behind it"
                )
                verb = "ahead of it" if not (first or last) else verb
                text += f" {label} ({other['vectors']:.0f}) save {percent(other['saved'][0])} and "
                text += f"{percent(other['saved'][3])}, {verb};"
            ic = saving(rows, group, name, "ic", charged=True)
            text = text.removesuffix(";") + f". Over IC the same deflation saves {percent(ic['saved'][0])} and "
            text += f"{percent(ic['saved'][3])} of the iterations of IC-CG from zero."
            lines.append(text)
    lines += _verdict_times(data.get("times", [])) + _verdict_products(data.get("products", []))
    return [*lines, ""]


def _verdict_times(rows: list[dict]) -> list[str]:
    def best(group, rtol, single, learned):
        found: dict[str, list] = {}
        for r in rows:
            mine = (group, rtol, single, learned) == (r["group"], r["rtol"], r["way"] == "one", "nsls" in r["solver"])
            if mine and r["residual"] <= 1.01 * rtol:
                found.setdefault(r["solver"], []).append(r)
        systems = {r["system"] for r in rows if r["group"] == group}
        cost = {name: np.mean([min(r["cpu"] for r in rs if r["system"] == s) for s in systems])
                for name, rs in found.items() if {r["system"] for r in rs} == systems}  # fmt: skip
        return min(cost.items(), key=lambda item: item[1]) if cost else None

    lines = []
    for single, label in ((True, "One right-hand side"), (False, "Ten right-hand sides of one structure")):
        wins, losses = [], []
        for group in groups_of(rows):
            for rtol in RTOLS:
                pair = [best(group, rtol, single, learned) for learned in (False, True)]
                if None in pair:
                    continue
                (without, a), (with_it, b) = pair
                text = f"{group} at {ten(rtol)}: {with_it} {1e3 * b:.2f} ms, {without} {1e3 * a:.2f} ms"
                (wins if b < a else losses).append((b / a, text))
        if wins or losses:
            text = f"* {label}, CPU seconds: the network is part of the fastest way in {len(wins)} of "
            text += f"{len(wins) + len(losses)} pairs of size and tolerance"
            text += f" ({'; '.join(t for _, t in wins)})." if wins else "."
            if losses:
                ratios = [ratio for ratio, _ in losses]
                text += f" Elsewhere its best takes {min(ratios):.1f} to {max(ratios):.1f} times as long as the best "
                text += f"without ({'; '.join(t for _, t in losses)})."
            lines.append(text)
    alone = {"jacobi": "Jacobi-CG", "ic": "IC-CG"}
    for method, label in alone.items():
        for name in [n for n in groups_of(rows, "solver") if n.startswith(f"{method}, ")]:
            texts = []
            for single in (True, False):
                ratios = []
                for group in groups_of(rows):
                    for rtol in RTOLS:
                        own, base = (
                            _fastest([r for r in rows if (r["group"], r["solver"], r["rtol"], r["way"] == "one")
                                      == (group, solver, rtol, single)]) for solver in (name, method)
                        )  # fmt: skip
                        ratios += [own / base] if own and base else []
                if ratios:
                    texts.append(f"{min(ratios):.2f} to {max(ratios):.2f} ({'one' if single else 'ten'})")
            who = name.removeprefix(f"{method}, ")
            lines.append(
                f"* {label} with {who}: CPU seconds beside {label} alone, by right-hand sides: {', '.join(texts)}."
            )
    return lines


def _fastest(rows: list[dict]) -> float:
    """Mean over the systems of the seconds of the faster way."""
    best: dict[str, float] = {}
    for r in rows:
        best[r["system"]] = min(best.get(r["system"], math.inf), r["cpu"])
    return float(np.mean([*best.values()])) if best else 0.0


def _verdict_products(rows: list[dict]) -> list[str]:
    lines = []
    for name in groups_of(rows, "model"):
        for frames in (True, False):
            kin = [
                r for r in rows if r["model"] == name and r["matrix"].startswith(("mini", "small", "stand")) == frames
            ]
            mine = [r for r in kin if r["with"]]
            if not mine:
                continue
            ratios = np.array([r["with"] / r["without"] for r in mine])
            kind, used = "frames" if frames else "other matrices", sum(r["used"] for r in mine)
            text = (
                f"* Products, {name}, {kind}: used on {used} of {len(mine)}; {np.median(ratios):.3f} times those of a "
            )
            text += f"zero start in the median, at most {ratios.max():.3f} ({mine[int(np.argmax(ratios))]['matrix']}); "
            text += f"above 1.02 on {sum(ratios > 1.02)}."
            lines.append(text)
    return lines


def markdown(data: dict[str, Any]) -> str:
    lines = ["# Neural sparse linear solvers: the paper's tables and ours", ""]
    for section, m in data["meta"].items():
        lines += [f"* {section}: `{m['command']}`, {m['date']}, {m['hardware']}, {m['systems']}"]
        known = next(iter(data["meta"].values()))["models"] if section != next(iter(data["meta"])) else {}
        lines += [f"    * {name}: {facts}" for name, facts in m["models"].items() if known.get(name) != facts]
    lines += [
        "",
        f"Paper: {PAPER}. Ours: generated frames, trained on the hardware that the cards name; the real systems",
    ]
    lines += ["are StAnD's own, and only judge. float64, but for the networks.", "", *verdict(data)]
    lines += table1(data["accuracy"]) if data.get("accuracy") else []
    lines += table4(data["iterations"]) if data.get("iterations") else []
    lines += table3(data) if data.get("times") else []
    lines += table_products(data["products"]) if data.get("products") else []
    return "\n".join([*lines, f"![errors]({data['stem']}.png)", ""])


def figure(data: dict[str, Any], path: Path) -> None:
    """Left: errors step by step. Right: delta of each guess, system by system."""
    from matplotlib.figure import Figure

    colours = ("#000000", "#0072B2", "#56B4E9", "#009E73", "#D55E00", "#E69F00", "#CC79A7", "#999999")
    fig = Figure(figsize=(13, 5.2), layout="constrained")
    left, right = fig.subplots(1, 2)
    curves = sorted(data["curves"]["errors"].items(), key=lambda item: (item[0] != "zero", item[0]))
    styles = ("-", "--", ":")
    for k, (label, errors) in enumerate(curves):
        left.semilogy(errors, styles[k // len(colours)], color=colours[k % len(colours)], linewidth=1.3, label=label)
    for target in yard.TARGETS:
        left.axhline(target, color="#cccccc", linewidth=0.6, zorder=0)
    title = f"Jacobi-CG, {data['curves']['system']}, n = {data['curves']['n']}, networks' steps not counted"
    left.set(xlabel="iteration", ylabel="|x_k - x| / |x|", title=title)
    left.legend(fontsize=7)
    rows = [r for r in data["accuracy"] if "synthetic" not in r["group"]]
    groups, names = groups_of(rows), groups_of(rows, "model")
    rng = np.random.default_rng(0)
    for k, name in enumerate(names):
        colour = colours[k % len(colours)]
        for i, group in enumerate(groups):
            deltas = [r["delta"] for r in rows if (r["group"], r["model"]) == (group, name)]
            if deltas:
                at = i * (len(names) + 1.5) + k
                right.semilogy(at + rng.uniform(-0.25, 0.25, len(deltas)), deltas, ".", color=colour, markersize=4,
                               label=name if i == 0 else None)  # fmt: skip
                right.plot([at - 0.4, at + 0.4], [np.median(deltas)] * 2, color=colour, linewidth=2)
    right.set_xticks([i * (len(names) + 1.5) + (len(names) - 1) / 2 for i in range(len(groups))], groups)
    right.set(ylabel="|x - guess| / |x|", title="errors of the guesses (bar: median)")
    right.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)
    fig.savefig(path, dpi=120)
