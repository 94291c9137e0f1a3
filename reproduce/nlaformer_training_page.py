"""The page of `nlaformer_training.py`: tables and a picture, with the paper's numbers beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from nnla._files import write_atomic

LEVELS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8)
PAPER_SECONDS = 1.61  # of a step of the paper's size on this kind of core, one thread, float32
PAPER_STEPS = 700_000
LABELS = {
    "constructed": "softmax, from the construction",
    "gated": "gated, from heavy ball",
    "levels": "softmax, levels, Jacobi",
    "heads": "softmax, levels, Jacobi, difference heads",
    "gated-random": "gated, levels, Jacobi",
    "levels-adam": "softmax, levels, Jacobi, Adam",
    "steps-cg": "softmax, steps (CG)",
    "steps-pcg": "softmax, steps (PCG)",
    "result": "softmax, result",
    "joint": "softmax, joint",
    "width-32": "softmax, steps (CG), d = 32",
    "width-128": "softmax, steps (CG), d = 128",
    "window-5": "softmax, steps (CG), K = 5",
    "full": "softmax, the paper's size and steps",
}
SHOWN = ("constructed", "gated", "heads", "levels", "gated-random", "steps-cg", "steps-pcg", "joint", "result", "full")
PAPER_TABLES = {"joint": (46.8370, 0.1920), "result": (45.9350, 0.5058), "steps-cg": (46.1199, 0.4355)}


def iterations(errors: list[float], level: float) -> int | None:
    """The first t from which on the errors stay at or below a level.

    >>> iterations([1.0, 0.1, 0.2, 0.05], 0.1)
    3
    """
    below = np.asarray(errors) <= level
    if not below[-1]:
        return None
    return int(len(below) - np.argmin(below[::-1])) if not below.all() else 0


def number(value: float | None) -> str:
    """Short."""
    return "-" if value is None else f"{value:.2g}" if value >= 0.1 or value == 0 else f"{value:.1e}"


def table(header: list[str], rows: list[list[Any]]) -> list[str]:
    """Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return [*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]


def _work(run: dict[str, Any]) -> float:
    return run["multiplications"] / 400


def _runs(d: dict[str, Any]) -> list[str]:
    rows = []
    for name, run in d["runs"].items():
        errors = run["errors"]["1.2"]
        last = len(errors) - 1
        row = [LABELS[name], f"{run['parameters']:,}", f"{run['steps']} x {run['batch']}", f"{run['cpu_seconds']:.0f}"]
        row += [last, number(errors[last]), number(errors[5])]
        row += [number(d["classical"][key]["errors"]["1.2"][t]) for key in ("cg", "pcg") for t in (last, 5)]
        rows.append([*row, f"{_work(run):.3g}"])
    header = ["network", "numbers", "steps x batch", "CPU s", "T", "error at T", "at 5", "CG at T", "CG at 5"]
    return table([*header, "Jacobi-PCG at T", "Jacobi-PCG at 5", "products' worth of a loop"], rows)


def _missing(runs: dict[str, Any]) -> list[str]:
    """What the script can train and the page lacks."""
    left = [f"`{name}` ({label})" for name, label in LABELS.items() if name not in runs]
    return ["Not run for this page, `--only NAME` trains one: " + "; ".join(left) + ".", ""] if left else []


def _discrepancies(d: dict[str, Any]) -> list[str]:
    rows = []
    for name, (before, after) in PAPER_TABLES.items():
        if name not in d["runs"]:
            continue
        start, run = d["start"][name]["discrepancy"], d["runs"][name]
        last = run["curve"][-1]["val_discrepancy"]
        row = [LABELS[name], number(start), number(last), f"{100 * (1 - last / start):.0f} %", before, after]
        rows.append([*row, f"{100 * (1 - after / before):.1f} %"])
    header = ["training", "untrained", "trained", "less", "paper: first", "paper: 100k steps", "paper: less"]
    return table(header, rows)


def _iterations(d: dict[str, Any]) -> list[str]:
    lines = []
    for sigma in ("1", "1.2", "1.4"):
        rows = []
        paths = {
            "CG": (d["classical"]["cg"]["errors"][sigma], 1.0),
            "Jacobi-PCG": (d["classical"]["pcg"]["errors"][sigma], 1.0),
        }
        paths |= {LABELS[name]: (run["errors"][sigma], _work(run)) for name, run in d["runs"].items() if name in SHOWN}
        for label, (errors, work) in paths.items():
            counts = [iterations(errors, level) for level in LEVELS]
            cells = ["-" if t is None else f"{t} ({t * work:.3g})" for t in counts]
            rows.append([label, *cells])
        lines += [f"sigma = {sigma}", "", *table(["method", *(f"{level:g}" for level in LEVELS)], rows)]
    return lines


def _sizes(d: dict[str, Any]) -> list[str]:
    rows = []
    for name in ("width-32", "steps-cg", "width-128", "window-5"):
        if name not in d["runs"]:
            continue
        run = d["runs"][name]
        row = [LABELS[name] if name != "steps-cg" else "softmax, steps (CG), d = 64, K = 20 (all)", run["steps"]]
        row += [f"{run['cpu_seconds']:.0f}", *(number(run["errors"][sigma][-1]) for sigma in ("1", "1.2", "1.4"))]
        rows.append(row)
    return table(["network", "steps", "CPU s", "error at T = 10, sigma = 1", "1.2", "1.4"], rows)


def picture(d: dict[str, Any], path: Path) -> None:
    """Errors by iteration, by work and by CPU seconds; errors of residuals and directions."""
    figure, axes = plt.subplots(2, 2, figsize=(12, 9))
    names = [name for name in SHOWN if name in d["runs"]]
    for key, label, style in (("cg", "CG", "k-"), ("pcg", "Jacobi-PCG", "k--")):
        errors = d["classical"][key]["errors"]["1.2"]
        axes[0, 0].semilogy(errors, style, label=label)
        axes[0, 1].loglog(np.arange(1, len(errors)), errors[1:], style, label=label)
    for name in names:
        run = d["runs"][name]
        errors = run["errors"]["1.2"]
        (line,) = axes[0, 0].semilogy(errors, ".-", label=LABELS[name])
        style = {"color": line.get_color(), "label": LABELS[name]}
        axes[0, 1].loglog(np.arange(1, len(errors)) * _work(run), errors[1:], ".-", **style)
        if "inner" in run:
            axes[1, 0].semilogy(run["inner"], ".-", **style)
        curve = run["curve"]
        axes[1, 1].semilogy([row["cpu"] for row in curve], [row["val_relative_mse"] for row in curve], ".-", **style)
    titles = [
        "after t iterations",
        "by products, or multiplications / n^2",
        "",
        "in training, after T iterations",
    ]
    for ax, title in zip(axes.flat, titles, strict=True):
        ax.set_title(title)
        ax.grid(alpha=0.3)
        ax.set_ylabel("mean relative error, squared")
    axes[0, 0].set_ylim(1e-12, 2)
    axes[0, 1].set_ylim(1e-12, 2)
    axes[1, 0].set_title("residuals and directions by the second probe, after t iterations")
    axes[1, 0].set_ylabel("mean ||(r, d) - CG's||^2 / n")
    axes[1, 1].set_xlabel("CPU seconds")
    axes[0, 0].legend(fontsize=7)
    axes[1, 0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def write(d: dict[str, Any], out: Path) -> None:
    """docs/nlaformer_training.{md,png}."""
    runs = d["runs"]
    seconds = sum(run["cpu_seconds"] for run in runs.values())
    steps = max(runs[name]["steps"] for name in PAPER_TABLES if name in runs)
    share = 100 * steps * 32 / (PAPER_STEPS * 64)
    hours = PAPER_STEPS * PAPER_SECONDS / 3600
    lines = [
        "# NLAFormer's learned solver, on a CPU",
        "",
        f"`{d['command']}`: {seconds / 60:.0f} minutes of training in all, {d['hardware']}. Errors are means of",
        f"||x_t - x||^2 / ||x||^2 over {d['count']} systems that no training or choice has seen, n = 20.",
        "",
        "![curves](nlaformer_training.png)",
        "",
        "## How far this is from the paper",
        "",
        f"The paper trains d = 256 for {PAPER_STEPS:,} steps of 64 systems. At {PAPER_SECONDS} s a step on a core",
        f"like this one (20 loops) that is {hours:.0f} hours. The runs here that are like it take d = 64, T = 10 and",
        f"{steps} steps of 32 systems: {share:.3f} % of its examples. They show the trend of tables, not the",
        "curves: **no softmax loop from random weights is near CG here**, and nothing follows from that for",
        "the paper's own figures. With a GPU: `nnla train nlaformer-paper --out runs/n`, resumable, or",
        "`python reproduce/nlaformer_training.py --full`, which puts it on this page.",
        "",
        "## What ran",
        "",
        "sigma = 1.2. A loop of a network is no product with A: the last column has its multiplications, by n^2 = 400.",
        "",
        *_runs(d),
        *_missing(runs),
        "## Tables 2 and 3: do residuals and directions appear by themselves?",
        "",
        "Mean over t = 2, ..., T of ||probe - (r_t, d_t)||^2 / n, on validation data. The second probe of runs without",
        "joint supervision learns from tokens that it cannot change. The paper has T = 20; here T = 10.",
        "",
        *_discrepancies(d),
        "## Figure 7: iterations to an error, and what they cost",
        "",
        "In parentheses: products with A, or as many multiplications. Dashes: not within T, which is 20 for CG,",
        "Jacobi-PCG and the construction, else 10. A loop of the construction is one product with A, here as a whole",
        "layer of attention.",
        "",
        *_iterations(d),
        "The paper's claim, up to 50 % fewer iterations than CG and 30 % fewer again with PCG as teacher, is about",
        "iterations alone: one loop at d = 256 takes about 40,000 products' worth of multiplications at n = 20.",
        "",
        "## Figures 8 and 9: width and window",
        "",
        *_sizes(d),
        *_findings(d),
    ]
    write_atomic(out / "nlaformer_training.md", "\n".join(lines).encode())
    picture(d, out / "nlaformer_training.png")


def _findings(d: dict[str, Any]) -> list[str]:
    """What the figures say, by their numbers."""
    runs, own = d["runs"], d["runs"]["constructed"]
    rows = []
    for sigma in ("1", "1.2", "1.4"):
        for t in (1, 2, 3, 5, 8, 10, 15, 20):
            found = (own, d["classical"]["cg"], d["classical"]["pcg"])
            rows.append([sigma, t, *(number(f[kind][sigma][t]) for kind in ("errors", "medians") for f in found)])

    return [
        "## From the construction",
        "",
        "CG in softmax attention (four heads, explicit weights, an exact pointwise map) starts at CG's own errors and",
        f"has {own['parameters']} numbers to train: a power of the diagonal that scales the residual, the step, the",
        "heads' c, and probes that look a step ahead without its product. Means, then medians:",
        "",
        *table(["sigma", "t", "trained", "CG", "Jacobi-PCG", "trained, median", "CG", "Jacobi-PCG"], rows),
        "The honest opponent is Jacobi-PCG, which is what the trained power comes to. The rest of the gain is the look",
        "ahead: about one product in the first iterations, nothing in later ones, and below 1e-15 the rounding of four",
        "heads is behind exact arithmetic. Means at late iterations are those of a few hard systems.",
        "",
        *_remedies(runs),
    ]


def _remedies(runs: dict[str, Any]) -> list[str]:
    """What was tried, by the errors that it left."""
    words = {
        "steps-cg": "the paper's step and solution supervision (40), A by the size of its entries",
        "levels": "the logarithm of the error at every iteration, A by its diagonal",
        "levels-adam": "that by Adam in place of Muon",
        "heads": "that (logarithms, diagonal) from pairs of heads that see A from the first step on",
        "gated-random": "that with a gated block of as many parameters, random weights",
        "gated": "the gated block from heavy ball, which it expresses exactly, by Adam",
        "constructed": "the construction",
    }
    rows = []
    for name, text in words.items():
        if name in runs:
            run = runs[name]
            errors = [number(run["errors"]["1.2"][t]) for t in (5, 10)]
            rows.append([text, run["steps"], f"{run['cpu_seconds']:.0f}", *errors])
    return [
        "## What made training better in minutes",
        "",
        *table(["training", "steps", "CPU s", "error at t = 5", "at 10"], rows),
        "Heads have to be at least n wide: the scores of narrower ones cannot hold the entries of A. Choices were made",
        "on validation systems, of other seeds than these.",
        "",
    ]
