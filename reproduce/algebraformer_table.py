"""Table 1 of Algebraformer: networks trained for equal CPU seconds, beside what needs no network.

Arms: the paper's transformer (12 x 256), its LSTM and GRU, and a small transformer, all from columns to solutions on
problem (5), one thread each. Networks given by --models are judged with them (a linear one is refined to 1e-10). The
yardsticks are LU, QR, SVD, the mean operator, the best affine map of b, LU after projection on the family's principal
components, and a perceptron on these. All are judged on the same fresh systems.

    python reproduce/algebraformer_table.py --models runs/o/algebraformer-operator.safetensors   # 50 minutes of a core
    python reproduce/algebraformer_table.py --quick --out /tmp

Trainings and rows that are there are kept, so it can be run in pieces. Writes docs/algebraformer_table.{json,md,png}.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import platform
import runpy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from algebraformer_runs import budgeted

import nnla
from nnla.evaluation.dense_estimators import LU, QR, SVD, AffineMap, MeanOperator
from nnla.evaluation.dense_network import PCANetwork
from nnla.evaluation.dense_projections import ProjectedLU
from nnla.problems.bvp import BVPSystems, bvp_systems

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
LATENCY = runpy.run_path(str(ROOT / "benchmarks" / "dense_latency.py"))
TEST, TRAINING = 77_001, 77_003  # seeds; trainings have that of their recipe
PART = 250  # systems at a time
LARGEST = 5_000_000  # parameters of networks that are judged on all test systems; others on a twentieth, not refined
PAPER = {"LSTM": 4.82e-4, "GRU": 3.14e-4, "Algebraformer": 2.41e-4}

SMALL = ["data.held_out=100", "optim.batch=16"]
LARGE = ["data.held_out=50", "optim.batch=8", "optim.lr=1e-3"]
LARGE += ["threads=1", "device=cpu", "dtype=float32", "prefetch=0"]  # the recipes are for a GPU
ARMS = {
    "columns": ("transformer 4 x 64", "algebraformer-columns", SMALL, None),
    "columns-paper": ("transformer 12 x 256, the paper's", "algebraformer-columns-paper", LARGE, "Algebraformer"),
    "gru": ("GRU, the paper's", "algebraformer-gru", LARGE, "GRU"),
    "lstm": ("LSTM, the paper's", "algebraformer-lstm", LARGE, "LSTM"),
}
_TINY = ["data.held_out=8", "optim.batch=4"]
QUICK = {arm: [*_TINY, "model.width=16", f"model.{'layers' if arm in ('gru', 'lstm') else 'blocks'}=1"] for arm in ARMS}
YARDSTICKS = {
    "LU": LU,
    "QR": QR,
    "SVD": SVD,
    "mean operator": MeanOperator,
    "affine map of b (LMMSE)": AffineMap,
    "PCA of A, then LU": ProjectedLU,
    "PCA + MLP": PCANetwork,
}


def parts(count: int) -> Iterator[BVPSystems]:
    """The test set, piece by piece."""
    for at in range(0, count, PART):
        yield bvp_systems(min(PART, count - at), seed=[TEST, at])


def judged(solve: Callable[[np.ndarray, np.ndarray], np.ndarray], count: int) -> dict[str, float]:
    """Errors of (A, b) -> x over the test set, and CPU seconds."""
    square, size, each, seconds = 0.0, 0.0, [], 0.0
    for systems in parts(count):
        started = time.process_time()
        x = solve(systems.A, systems.b)
        seconds += time.process_time() - started
        error, own = ((x - systems.x) ** 2).sum(axis=1), (systems.x**2).sum(axis=1)
        square, size = square + float(error.sum()), size + float(own.sum())
        each += (error / own).tolist()
    n = systems.n
    out = {"mse": square / (n * count), "relative": square / size, "mean": statistics.mean(each)}
    return out | {"median": statistics.median(each), "power": size / (n * count), "ms": 1e3 * seconds / count}


def refined(model: Any, count: int) -> dict[str, Any]:
    """What refinement to 1e-10 takes: applications of the network, and the share of systems that LU has solved."""
    iterations, fallbacks, converged, square, size = [], 0, True, 0.0, 0.0
    for systems in parts(count):
        x, report = model.solve(systems.A, systems.b[..., None], refine="gmres", rtol=1e-10)
        iterations += list(report.iteration_counts)
        fallbacks += report.fallbacks
        converged = converged and report.converged
        square += float(((x[..., 0] - systems.x) ** 2).sum())
        size += float((systems.x**2).sum())
    found = {"systems": count, "median": statistics.median(iterations), "most": int(max(iterations))}
    return found | {"fallbacks": fallbacks / count, "converged": converged, "relative": square / size}


def judge_model(model: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Errors of a network, by NumPy, and its refinement; of one that is not linear in b on few systems."""
    parameters = sum(math.prod(shape) for shape in model.config.network_shapes().values())
    count = args.test if parameters < LARGEST else max(1, args.test // 20)
    out = {"parameters": parameters, "systems": count, "linear": model.linear}
    out |= judged(lambda A, b: model.guess(A, b[..., None])[..., 0], count)
    if parameters < LARGEST:
        out |= {"refined": refined(model, count), "without": refined(_silent(model), count)}
    return out


def _silent(model: Any) -> Any:
    """The same model, its network's answer replaced by zero: what refinement does by itself."""
    silent = copy.copy(model)
    silent.answer = lambda A, b: 0 * b
    silent.operator = lambda A: lambda b: 0 * b
    return silent


def pieces(rows: dict[str, dict[str, Any]], args: argparse.Namespace) -> Iterator[str]:
    """Work off what is missing; yields the key of each new row."""
    for arm, (name, recipe, overrides, paper) in ARMS.items():
        key = f"{arm} {args.seconds:g} s, {args.test}"
        if key not in rows and (not args.only or arm in args.only):
            run = budgeted(
                recipe,
                [*overrides, *(QUICK[arm] if args.quick else [])],
                args.runs / f"{arm}-{args.seconds:g}",
                args.seconds,
            )
            row = judge_model(nnla.load(str(run.path)), args)
            row |= {"name": name, "cpu": run.cpu, "steps": run.recipe["optim"]["steps"], "curve": run.curve}
            rows[key] = row | {"kind": "arm", "paper": PAPER.get(paper or ""), "batch": run.recipe["optim"]["batch"]}
            yield key
    for path in args.models:
        model = nnla.load(path)
        key = f"{model.title} {model.card.get('date')} {model.card.get('seconds')}, {args.test}"
        if key not in rows and (not args.only or "models" in args.only):
            facts = {"name": f"`{model.title}`", "kind": "model", "steps": model.card["recipe"]["optim"]["steps"]}
            facts |= {"wall": model.card["seconds"]["train"], "batch": model.card["recipe"]["optim"]["batch"]}
            rows[key] = judge_model(model, args) | facts
            yield key
    training = None
    for name, kind in YARDSTICKS.items():
        key = f"{name}, {args.training}, {args.test}"
        if key in rows or (args.only and "yardsticks" not in args.only):
            continue
        training = training or bvp_systems(args.training, seed=[TRAINING, 0])
        options = {"seconds": min(args.seconds, 30.0)} if kind is PCANetwork else {}
        started = time.process_time()
        fitted = kind.fit(training.A, training.b, training.x, **options)
        cpu = time.process_time() - started
        rows[key] = judged(fitted.solve, args.test) | {"name": name, "kind": "yardstick", "cpu": cpu}
        yield key
    key = f"latency {' '.join(sorted(args.models))} {args.rounds}"
    if args.models and key not in rows and (not args.only or "latency" in args.only):
        rows[key] = {"kind": "latency", "rows": LATENCY["measure"](args.models, rounds=args.rounds)}
        yield key


_PAGE = """# Table 1 of Algebraformer: solutions of problem (5) from [A | b]

`{command}`, {date}, {hardware}.
Networks in float32, everything else in float64. Test: {test} fresh systems of `bvp_systems` (n = 64, diffusion), of a
seed that no training has; networks of more than 5 M parameters see a twentieth of them, and are not refined. MSE is the
paper's measure and absolute; *relative* is the sum of all squared errors over that of all squared solutions; then mean
and median of the relative squared error of each system.

The paper's data have neither ranges nor scale, so its MSE compares with ours only as far as solutions have the same
size: here the mean square of u is {power:.3f}, and its numbers are, relative,
{relative}.

Arms are trained for a budget of **CPU seconds of one thread** ({seconds} s were asked for; "CPU s" has what it became;
data made afresh for every batch, and the validations, included), on cores that were shared: rows compare only as far
as their seconds are equal, and none has been trained to its end. The paper trains on 50,000 systems. The arm that saw
most systems saw {ratio:.0f} times as many as the one that saw fewest: rows of few steps are those of networks that have
hardly begun, and say nothing of the paper's. {missing}
Transformers are trained by Muon, the recurrent networks by AdamW, all for the mean relative squared error (small) or
the paper's MSE (its networks). Learning rates: one try each. Seed 0, one seed."""


def markdown(rows: dict[str, dict[str, Any]], meta: dict[str, Any]) -> str:
    """The page."""
    judged_rows = [row for row in rows.values() if row["kind"] != "latency"]
    arms = [row for row in judged_rows if row["kind"] == "arm"]
    power = judged_rows[0]["power"]
    relative = ", ".join(f"{value / power:.1e} ({name})" for name, value in PAPER.items())
    steps = [row["steps"] * row["batch"] for row in arms] or [1]
    there = {row["name"] for row in arms}
    missing = ", ".join(name for name, *_ in ARMS.values() if name not in there)
    missing = f"**Not run here: {missing}.**" if missing else ""
    ratio = max(steps) / min(steps)
    text = [_PAGE.format(**meta, power=power, relative=relative, ratio=ratio, missing=missing)]
    text += [
        "",
        "| | parameters | steps x batch | CPU s | MSE | paper's MSE | relative | mean | median | ms a system |",
    ]
    text.append("|" + "---|" * 10)
    for row in judged_rows:
        text.append("| " + " | ".join(_cells(row)) + " |")
    text += ["", _READING.format(**meta)]
    text += ["", "## Refined to a residual of 1e-10", "", _REFINED, ""]
    text += ["| | systems | iterations, median | most | by LU | verified | relative after |", "|" + "---|" * 7]
    for row in judged_rows:
        if found := row.get("refined"):
            zero = row["without"]
            cells = [row["name"], str(found["systems"]), f"{found['median']:g} ({zero['median']:g})"]
            cells += [f"{found['most']} ({zero['most']})", f"{100 * found['fallbacks']:.1f} %"]
            cells.append("all" if found["converged"] else "**not all**")
            text.append("| " + " | ".join([*cells, f"{found['relative']:.1e}"]) + " |")
    latency = [row for row in rows.values() if row["kind"] == "latency"]
    if latency:
        own = {row["batch"]: row["us"] for row in latency[-1]["rows"] if row["method"] == "numpy.linalg.solve, float64"}
        ratios = [row["us"] / own[row["batch"]] for row in latency[-1]["rows"] if "linalg" not in row["method"]]
        said = _LATENCY.format(least=min(ratios), most=max(ratios))
        text += ["", "## Latency", "", said, "", *LATENCY["markdown"](latency[-1]["rows"])]
    text += ["", "![Curves and errors](algebraformer_table.png)", ""]
    return "\n".join(text)


_READING = """CPU s: of training, or of fitting on {training} systems. Steps of a given model are those of its recipe,
its seconds wall-clock ones. ms: CPU time of an answer in batches, by NumPy. LU, QR and SVD know A and b exactly here,
and nothing learned comes near them (the solutions are LU's, whose error is 0 by definition): what learning is for is
noise in A. This family has few principal components, and what is told of them (PCA) needs neither tokens nor long."""
_REFINED = """`model.solve(A, b, refine="gmres")`: GMRES in float64 from the network's answer, residuals computed anew.
The preconditioner is not the network but the mean matrix of the family with its rows scaled: networks know smooth
right-hand sides, and residuals are rough. In brackets: the same from zero, without a network, which says how little an
initial guess is worth there. "By LU": systems that did not get there in 30 iterations."""
_LATENCY = """Microseconds a system at n = 64, medians of CPU time, one thread, methods by turns
(`benchmarks/dense_latency.py`). **LAPACK wins on a CPU**, single and batched: a network takes {least:.0f} to {most:.0f}
times as long as NumPy's LU in float64."""


def _cells(row: dict[str, Any]) -> list[str]:
    count = row.get("parameters")
    cells = [row["name"], f"{count / 1e6:.2f} M" if count else ""]
    cells.append(f"{row['steps']:,} x {row['batch']}" if "steps" in row else "")
    cells.append(f"{row['cpu']:.1f}" if "cpu" in row else f"({row['wall']:.0f} wall)")
    cells += [f"{row['mse']:.2e}", f"{row['paper']:.2e}" if row.get("paper") else ""]
    return [*cells, *(f"{row[key]:.1e}" for key in ("relative", "mean", "median")), f"{row['ms']:.3g}"]


def figure(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Learning curves of the arms, and relative errors of all."""
    from matplotlib.figure import Figure

    shown = [row for row in rows.values() if row["kind"] != "latency"]
    power = shown[0]["power"]
    fig = Figure(figsize=(13, 5.5), layout="constrained")
    curves, errors = fig.subplots(1, 2)
    colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"]
    for row, colour in zip((row for row in shown if "curve" in row), colours, strict=False):
        points = [(point["cpu"], point["val_relative_mse"]) for point in row["curve"]]
        label = f"{row['name']}, {row['parameters'] / 1e6:.2f} M, {row['cpu']:.0f} s"
        curves.loglog(*zip(*points, strict=True), "o-", color=colour, markersize=3, label=label)
    for (name, value), style in zip(PAPER.items(), (":", "--", "-"), strict=True):
        curves.axhline(value / power, color="0.6", linestyle=style, linewidth=1, label=f"paper's end, {name}")
    title = "50 or 100 held-out systems"
    curves.set(xlabel="CPU seconds, one thread", ylabel="relative MSE", title=title)
    curves.legend(fontsize=8)
    curves.grid(alpha=0.3, which="both")
    shown = sorted(shown, key=lambda row: row["relative"])
    places = range(len(shown))
    kinds = {"arm": "#D55E00", "model": "#0072B2", "yardstick": "0.5"}
    errors.scatter([row["relative"] for row in shown], places, c=[kinds[row["kind"]] for row in shown], zorder=3)
    medians = [max(row["median"], 1e-30) for row in shown]
    errors.scatter(medians, places, marker="|", s=120, c=[kinds[row["kind"]] for row in shown])
    errors.axvline(PAPER["Algebraformer"] / power, color="0.6", linewidth=1)
    errors.set_xscale("log")
    errors.set_yticks(places, [row["name"].strip("`") for row in shown], fontsize=8)
    errors.set(xlabel="relative squared error: all (dots), median system (bars)", title="test; line: the paper's")
    errors.grid(alpha=0.3, axis="x")
    errors.invert_yaxis()
    fig.savefig(path, dpi=110)


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="CPU seconds of every arm")
    parser.add_argument("--models", nargs="*", default=[], help="names or paths of weights to judge beside")
    parser.add_argument("--only", nargs="*", default=[], help=f"of {', '.join(ARMS)}, models, yardsticks, latency")
    parser.add_argument("--test", type=int, default=5000, help="systems that judge")
    parser.add_argument("--training", type=int, default=4000, help="systems that the yardsticks are fitted on")
    parser.add_argument("--rounds", type=int, default=9, help="of the latencies")
    parser.add_argument("--quick", action="store_true", help="a few steps: shows that it runs, and nothing else")
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "algebraformer_table")
    parser.add_argument("--out", type=Path, default=DOCS)
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.test, args.training, args.rounds = 0.5, 20, 300, 2
        args.runs = args.runs / "quick"
    file = args.out / ("algebraformer_table_quick.json" if args.quick else "algebraformer_table.json")
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else {}
    command = "python reproduce/algebraformer_table.py"
    command += " --quick" if args.quick else f" --seconds {args.seconds:g} --test {args.test}"
    command += " --models " + " ".join(Path(model).name for model in args.models) if args.models else ""
    meta = {"command": command, "test": f"{args.test:,}", "seconds": f"{args.seconds:g}", "training": args.training}
    meta["hardware"] = f"{platform.machine()}, {os.cpu_count()} cores, one thread"
    for key in pieces(rows, args):
        print(key, flush=True)
        meta["date"] = time.strftime("%Y-%m-%d")
        if file.exists():  # another process may have added some
            for other, row in json.loads(file.read_text(encoding="utf-8"))["rows"].items():
                rows.setdefault(other, row)
        file.write_text(json.dumps({"meta": meta, "rows": rows}, indent=1), encoding="utf-8")
    meta = json.loads(file.read_text(encoding="utf-8"))["meta"]
    order = {"arm": 0, "model": 1, "yardstick": 2, "latency": 3}
    rows = dict(sorted(rows.items(), key=lambda item: order[item[1]["kind"]]))
    file.with_suffix(".md").write_text(markdown(rows, meta), encoding="utf-8")
    figure(rows, file.with_suffix(".png"))


if __name__ == "__main__":
    main()
