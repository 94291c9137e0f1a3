"""Fine-tuning of Algebraformer: from problem (5) to (6) and (7) with few samples, against training from scratch.

Four runs on the same fixed sets: reaction (6) and advection (7), each from the weights of --start at a constant
learning rate, as the paper fine-tunes, and from random ones with a rate that falls to zero, twice as many epochs.

    python reproduce/algebraformer_finetuning.py --start algebraformer-columns       # 20 CPU minutes of one thread
    python reproduce/algebraformer_finetuning.py --quick --out /tmp

Without --start a small network is trained on (5) first. Runs that are there go on, or are taken as they are. Writes
docs/algebraformer_finetuning.{json,md,png}.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from algebraformer_runs import budgeted, clocked

import nnla
from nnla.problems.bvp import bvp_systems, differentiation_matrix
from nnla.training.config import load_recipe

DOCS = Path(__file__).resolve().parents[1] / "docs"
EQUATIONS = {"reaction": "(6), reaction", "advection": "(7), advection"}
STARTS = {"tuned": "fine-tuned from (5), constant rate", "scratch": "from scratch, falling rate"}
POINTS = 10  # of a curve
LONGER = 2  # times the epochs of fine-tuning
TEST = 77_004  # seed


def run_of(equation: str, start: str, model: str, args: argparse.Namespace) -> dict[str, Any]:
    """One run: its curve by epochs, its error on fresh systems, its CPU seconds."""
    steps = max(1, round(args.examples / args.batch))  # of an epoch
    epochs = args.epochs if start == "tuned" else LONGER * args.epochs
    every = max(1, epochs // POINTS) * steps  # between two points
    engine = nnla.load(model)
    changes = [f"data.examples={args.examples}", "data.held_out=100", f"optim.steps={steps * epochs}"]
    changes += [
        f"optim.batch={args.batch}",
        f"optim.checkpoint_every={every}",
        f"optim.log_every={every}",
    ]
    changes += [f"data.rhs={16 if engine.linear else 1}"]
    if start == "tuned":
        changes += [f"model.start={model}", f"optim.lr={args.rate}"]
    else:
        names = ("output", "passes", "width", "blocks", "heads", "expansion")
        changes += [f"model.{name}={getattr(engine.config, name)}" for name in names]
        changes += ["model.start=", "optim.schedule=cosine", f"optim.lr={args.scratch_rate}", "optim.warmup=0.05"]
    folder = args.runs / f"{equation}-{start}-{engine.config.output}-{args.examples}-{args.epochs}"
    run = clocked(load_recipe(f"algebraformer-{equation}", changes), folder)
    curve = [{"epoch": row["step"] / steps, "relative": row["val_relative_mse"]} for row in run.curve]
    return {"curve": curve, "cpu": run.cpu, "test": error(str(run.path), equation, args.test)}


def error(model: str, equation: str, count: int) -> float:
    """Relative mean squared error of a network on fresh systems."""
    engine, square, size = nnla.load(model), 0.0, 0.0
    for at in range(0, count, 250):
        systems = bvp_systems(min(250, count - at), equation=equation, seed=[TEST, at])
        x = engine.guess(systems.A, systems.b[..., None])[..., 0]
        square, size = square + float(((x - systems.x) ** 2).sum()), size + float((systems.x**2).sum())
    return square / size


def visible() -> dict[str, float]:
    """Deviations of what c adds to the diagonal and v to all entries, by those of (5); medians over entries."""
    plain = bvp_systems(500, seed=[TEST, 1]).A.std(axis=0)
    reaction = bvp_systems(500, equation="reaction", seed=[TEST, 2])
    speed = np.sqrt(np.mean(bvp_systems(500, equation="advection", seed=[TEST, 3]).v ** 2))
    c = np.sqrt(np.mean(reaction.c[:, 1:-1] ** 2, axis=0))
    n = reaction.n
    v = speed * np.abs(differentiation_matrix(n + 1)[1:-1, 1:-1])
    return {"c": float(np.median(c / np.diag(plain))), "v": float(np.median(v / plain))}


def passes(tuned: dict[str, Any], scratch: dict[str, Any]) -> float | None:
    """The first epoch at which the fine-tuned one is as good as the other ever is; None if never."""
    best = min(point["relative"] for point in scratch["curve"])
    return next((point["epoch"] for point in tuned["curve"] if point["relative"] <= best), None)


_PAGE = """# Fine-tuning of Algebraformer from (5) to (6) and (7)

`{command}`, {date}, {hardware}. float32.
Network: {network}, trained on (5) to a relative MSE of {own:.1e} there. {examples} fixed systems of each problem,
{epochs} epochs of {steps} steps of {batch}, from scratch {longer} epochs. Validation in the picture: 100 systems;
"test": {test} others.

Fine-tuning has a constant rate ({rate:g}), as in the paper; from scratch it falls from {scratch:g} to zero. How many
samples the paper fine-tunes on is lost in its text, and so are the laws of c and v: ours are those of `bvp_systems`.
The paper's claim: at epoch 50 on (6) the fine-tuned error is an order of magnitude below; what training from scratch
reaches at its end, fine-tuning reaches in 50 epochs or less. Relative MSE throughout; one seed.

What the network sees of the new terms is unequal. Entries are standardised one by one, and c changes those of the
diagonal by {c:.0e} of what kappa does (deviations, median over the diagonal), so that (6) can hardly be told from (5)
by them; v changes entries by {v:.0e} of it."""


def markdown(rows: dict[str, dict[str, Any]], meta: dict[str, Any]) -> str:
    """The page."""
    text = [_PAGE.format(**meta), ""]
    text += ["| problem | as pre-trained | fine-tuned, test | from scratch, test | ratio |"]
    text[-1] += " ratio at epoch {epochs} | as good as scratch ever is at epoch | CPU s, tuned / scratch |".format(
        **meta
    )
    text.append("|" + "---|" * 8)
    for equation, name in EQUATIONS.items():
        tuned, scratch = (rows.get(f"{equation} {start}") for start in STARTS)
        if tuned is None or scratch is None:
            continue
        end = tuned["curve"][-1]
        then = next((point["relative"] for point in scratch["curve"] if point["epoch"] >= end["epoch"]), math.nan)
        cells = [name, f"{rows[equation]['before']:.1e}", f"{tuned['test']:.1e}"]
        if scratch["test"] is None:
            cells += [f"stopped at epoch {scratch['curve'][-1]['epoch']:.0f}", "", f"{then / end['relative']:.1f}", ""]
        else:
            at = passes(tuned, scratch)
            cells += [
                f"{scratch['test']:.1e}",
                f"{scratch['test'] / tuned['test']:.1f}",
                f"{then / end['relative']:.1f}",
            ]
            cells.append("never" if at is None else f"{at:.0f}")
        cells.append(f"{tuned['cpu']:.0f} / {scratch['cpu']:.0f}")
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join([*text, "", "![Curves](algebraformer_finetuning.png)", ""])


def figure(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Errors by epochs, a panel for each problem."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, (equation, name) in zip(fig.subplots(1, 2, sharey=True), EQUATIONS.items(), strict=True):
        for (start, label), colour in zip(STARTS.items(), ("#0072B2", "#D55E00"), strict=True):
            if (row := rows.get(f"{equation} {start}")) is not None:
                points = [(point["epoch"], point["relative"]) for point in row["curve"]]
                if start == "tuned":
                    points = [(0.0, rows[equation]["before"]), *points]
                axes.semilogy(*zip(*points, strict=True), "o-", markersize=3, color=colour, label=label)
                if start == "scratch":
                    axes.axhline(min(v for _, v in points), color=colour, linestyle=":", linewidth=1)
        axes.set(xlabel="epochs", ylabel="relative MSE, held out", title=name)
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8)
        axes.label_outer()
    fig.savefig(path, dpi=110)


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--start", default="", help="name or path of weights trained on (5)")
    parser.add_argument("--seconds", type=float, default=300, help="CPU seconds of those, where none are given")
    parser.add_argument("--examples", type=int, default=2000, help="systems of (6) and of (7)")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch", type=int, default=16, help="systems of a step")
    parser.add_argument("--rate", type=float, default=5e-4, help="learning rate of fine-tuning")
    parser.add_argument("--scratch-rate", type=float, default=2e-3, help="its peak from scratch")
    parser.add_argument("--test", type=int, default=2000, help="systems that judge at the end")
    parser.add_argument("--quick", action="store_true", help="a few steps: shows that it runs, and nothing else")
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "algebraformer_finetuning")
    parser.add_argument("--out", type=Path, default=DOCS)
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.examples, args.epochs, args.test = 0.5, 64, 2, 20
        args.runs = args.runs / "quick"
    model = args.start
    if not model:
        overrides = ["data.held_out=100", "optim.batch=16", *(["model.width=16"] if args.quick else [])]
        model = str(
            budgeted("algebraformer-columns", overrides, args.runs / f"start-{args.seconds:g}", args.seconds).path
        )
    file = args.out / ("algebraformer_finetuning_quick.json" if args.quick else "algebraformer_finetuning.json")
    engine = nnla.load(model)
    command = "python reproduce/algebraformer_finetuning.py"
    command += " --quick" if args.quick else f" --examples {args.examples} --epochs {args.epochs}"
    command += "" if args.quick else f" --batch {args.batch}"
    command += f" --start {Path(args.start).name}" if args.start else ""
    numbers = sum(int(np.prod(shape)) for shape in engine.config.network_shapes().values())
    c = engine.config
    meta = {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "network": f"`{engine.title}`, {c.output}s, {c.blocks} x {c.width}, {numbers:,} parameters",
        "own": error(model, "diffusion", args.test),
        "examples": f"{args.examples:,}",
        "epochs": args.epochs,
        "longer": LONGER * args.epochs,
        "steps": max(1, round(args.examples / args.batch)),
        "batch": args.batch,
        "test": f"{args.test:,}",
        "rate": args.rate,
        "scratch": args.scratch_rate,
        **visible(),
    }
    rows: dict[str, dict[str, Any]] = {}
    for equation in EQUATIONS:
        rows[equation] = {"before": error(model, equation, args.test)}
        for start in STARTS:
            rows[f"{equation} {start}"] = run_of(equation, start, model, args)
            file.write_text(json.dumps({"meta": meta, "rows": rows}, indent=1), encoding="utf-8")
            file.with_suffix(".md").write_text(markdown(rows, meta), encoding="utf-8")
    figure(rows, file.with_suffix(".png"))


if __name__ == "__main__":
    main()
