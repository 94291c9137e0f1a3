"""Token transformers on a CPU: encodings and their rounding, and function x encoding x size by a budget of seconds.

    python reproduce/matrix_functions_tokens.py --folder runs/tokens --seconds 60
    python reproduce/matrix_functions_tokens.py --folder runs/tokens --gpu runs/tokens-gpu --page

Trains one small network for each cell (`cells`) for so many CPU seconds (n = 2; `LONGER` times that for larger ones) by
the training loop; a cell that is there is taken as it is, one that was interrupted goes on, ``--only`` names some.
``--gpu`` is the folder of `matrix_functions_tokens_gpu.py`, whose figures are shown beside. ``--page`` trains nothing.
Writes docs/matrix_functions_tokens.json, .md and .png from what is there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import scipy.linalg
from algebraformer_runs import budgeted

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from nnla._files import write_atomic
from nnla.models.matrix_tokens import ENCODINGS, MatrixTokens, NumberEncoding, encoding_table
from nnla.problems.matrix_families import matrix_family
from nnla.problems.matrix_references import function_reference
from nnla.registry import load
from nnla.training.jacobi_eigen import symmetric_function
from nnla.training.matrix_tokens import entrywise_error, within

DOCS = Path(__file__).resolve().parents[1] / "docs"
LONGER = 4  # times the seconds, of cells with n above 2
COUNT = 2000  # fresh matrices for a cell's figures
DEFINITE = ("log", "sqrt", "inv_sqrt", "inv")
FUNCTIONS = ("exp", "sign", "sin", "cos", "cube", "log", "sqrt", "inv_sqrt", "inv")
# FP15 holds powers of ten that occur: 28,800 symbols more or less make its logits dear on a CPU
NARROW = ["model.output_lowest=-6", "model.output_exponents=7"]
SMALL = ["model.width=64", "optim.batch=128", "optim.lr=4e-3", "data.held_out=200"]


def cells() -> dict[str, dict[str, Any]]:
    """What is trained, by name, the most telling first: function, size, scale, encodings and other choices."""
    found: dict[str, dict[str, Any]] = {}

    def add(f: str, n: int, reads: str, writes: str, scale: float = 1.0, **options: str) -> None:
        name = f"{f}-{n}-{reads}-{writes}" + (f"-{scale:g}" if scale != 1 else "")
        name += "".join(f"-{value}" for value in options.values())
        found[name] = {"f": f, "n": n, "reads": reads, "writes": writes, "scale": scale, **options}

    for writes in ENCODINGS:
        for f in ("exp", "sign"):
            add(f, 2, writes, writes)
    for embedding in ("plain",):
        add("exp", 2, "B1999", "B1999", embedding=embedding)
    add("exp", 2, "B1999", "B1999", method="adam")
    add("exp", 2, "B1999", "B1999", norm="pre")
    for f in FUNCTIONS[2:]:
        add(f, 2, "FP15", "B1999")
    for f in FUNCTIONS:
        add(f, 3, "FP15", "B1999")
    for f in ("exp", "sign"):
        add(f, 3, "FP15", "B1999", 5.0)
    add("exp", 4, "FP15", "B1999")
    add("sign", 4, "FP15", "B1999")
    return found


def overrides(cell: dict[str, Any]) -> list[str]:
    """What a cell's training has other than the recipe."""
    f, definite = cell["f"], cell["f"] in DEFINITE
    given = [*SMALL, f"model.f={f}", f"model.sizes=[{cell['n']}]", f"data.scale={cell['scale']}"]
    given += [f"model.input={cell['reads']}", f"model.output={cell['writes']}"]
    lowest, exponents = (-6, 6) if cell["reads"] == "FP15" else (0, 0)
    given += [f"model.input_lowest={lowest}", f"model.input_exponents={exponents}"]
    if cell["writes"] == "FP15":
        given += NARROW
    for key in ("embedding", "norm"):
        given += [f"model.{key}={cell[key]}"] if key in cell else []
    given += [f"optim.method={cell['method']}"] if "method" in cell else []
    return given + (["data.families={definite=1.0}"] if definite else [])


def judged(path: Path, cell: dict[str, Any]) -> dict[str, Any]:
    """Figures on fresh matrices of the training's law."""
    model = load(str(path))
    family = "definite" if cell["f"] in DEFINITE else "symmetric"
    A = matrix_family(family, COUNT, cell["n"], seed=[977, 1], scale=cell["scale"])
    errors = entrywise_error(model.function(A, cell["f"]), symmetric_function(A, cell["f"]))
    return {**within(errors), "median": float(np.median(errors))}


def rounding(count: int = 10_000) -> list[dict[str, Any]]:
    """What three digits cost by themselves: the largest relative error of a number, d1 of matrices and of functions."""
    rows = encoding_table()
    A = matrix_family("symmetric", count, 3, seed=[977, 3])
    for row in rows:
        text = MatrixTokens(NumberEncoding(row["encoding"]), triangle=True)
        B = text.read(text.write(A), 3)
        row["largest_relative"] = float((np.abs(B - A) / np.abs(A)).max())
        row["again"] = bool((text.write(B) == text.write(A)).all())
        for f in ("exp", "sign"):
            exact = symmetric_function(A, f)
            errors = entrywise_error(text.read(text.write(symmetric_function(B, f)), 3), exact)
            row[f] = {"median": float(np.median(errors)), **within(errors)}
    return rows


def collected(folder: Path, gpu: Path | None) -> dict[str, Any]:
    """All that is there."""
    found: dict[str, Any] = {"rounding": rounding(), "cells": {}, "gpu": {}}
    for name in cells():
        file = folder / f"{name}.json"
        if file.exists():
            found["cells"][name] = json.loads(file.read_text(encoding="utf-8"))
    for file in sorted(gpu.glob("*.json")) if gpu else []:
        row = json.loads(file.read_text(encoding="utf-8"))
        if "figures" in row:
            found["gpu"][file.stem] = row | {"speed": speed(file.with_suffix(".safetensors"))}
    return found


def speed(path: Path) -> dict[str, float]:
    """CPU seconds a matrix of the network, of SciPy's function, and of NumPy's batched eigenvalues."""
    model = load(str(path))
    n, f = model.sizes[-1], model.functions[0]
    A = matrix_family("symmetric", 100, n, seed=[977, 4], scale=model.card["recipe"]["data"]["scale"])
    ways = {"network": model.function, "scipy": _scipy, "eigh": symmetric_function}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            started = time.process_time()
            for _ in range(1 if name == "network" else 5):
                way(A, f)
            spent[name].append((time.process_time() - started) / (len(A) * (1 if name == "network" else 5)))
    return {name: float(np.median(some)) for name, some in spent.items()}


def _scipy(A: np.ndarray, f: str) -> list[Any]:
    ways = {"exp": "expm", "sign": "signm", "sin": "sinm", "cos": "cosm", "sqrt": "sqrtm", "log": "logm", "inv": "inv"}
    return [getattr(scipy.linalg, ways[f])(a) if f in ways else function_reference(a, f) for a in A]


def percent(x: float) -> str:
    """As in the tables."""
    return f"{100 * x:.1f}"


def table(header: list[str], rows: list[list[Any]]) -> list[str]:
    """Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return [*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]


SHARES = ["within 5 %", "2 %", "1 %", ".5 %"]
KEYS = ["within_5", "within_2", "within_1", "within_0.5"]


def _clocked(runs: dict[str, Any]) -> list[str]:
    """What the GPU's trainings found."""
    text = (
        "`reproduce/matrix_functions_tokens_gpu.py`, one function after the other on one GPU, compiling and judging not"
        " counted: smooth features of numbers, upper triangles, pre-norm, Muon, bfloat16, one token a number. The paper"
        " (arXiv:2602.07800) takes d = 512, 8 + 1 blocks and 30 M examples, and finds sign best by FP15, exp by B1999,"
        " sin and cos hard. With features of numbers in place of a free vector for each symbol (the cells below compare"
        " the two), FP15 serves for all four."
    )
    lines = ["## By the clock, on a GPU", "", text, ""]
    rows, times = [], []
    for row in runs.values():
        r, figures, spent = row["recipe"], row["figures"]["all"], row["speed"]
        what = [r["model"]["f"], r["model"]["sizes"][0]]
        line = [f"U[-{r['data']['scale']:g}, {r['data']['scale']:g}]", f"{row['parameters']:,}"]
        line += [f"{row['examples'] / 1e6:.1f} M", f"{row['seconds']['train']:.0f}", row["hardware"]]
        line += [f"{100 * figures[k]:.2f}" for k in KEYS]
        rows.append([*what, *line, f"{100 * figures['median_error']:.2f} %"])
        line = [f"{1e6 * spent[key]:,.1f} us" for key in ("network", "scipy", "eigh")]
        times.append([*what, *line, *(f"{spent['network'] / spent[key]:,.0f}" for key in ("scipy", "eigh"))])
    header = ["f", "n", "entries", "numbers", "examples", "s", "on", *SHARES, "median d1"]
    lines += table(header, rows)
    lines += [
        "Tokens are the paper's question, not a method to use: a decomposition is exact to 1e-15, and on matrices"
    ]
    lines[-1] += " as small as these thousands of times cheaper. CPU time a matrix, one thread:"
    header = ["f", "n", "network", "SciPy, one by one", "NumPy's eigh, batched", "times SciPy's", "times eigh's"]
    lines += ["", *table(header, times)]
    lines += ["Other families, scaled alike, and for sign the gap of the spectrum (|smallest| / |largest| eigenvalue)."]
    lines[-1] += (
        " Entries beyond the training's range are declined, which counts as wrong in all shares but the last; sign"
        " brings them into the range. Where few numbers repeat, as in circulants and in graphs (zeros and fives, often"
        " singular, where the sign has no value), training has seen next to nothing alike, and it shows."
    )
    lines.append("")
    for row in runs.values():
        parts = row["figures"]["families"] | {f"gap {k}": v for k, v in row["figures"]["gaps"].items()}
        rows = []
        for name, v in parts.items():
            answered = v["within_5"] / (1 - v["declined"]) if v["declined"] < 1 else 0.0
            line = [name, v["count"], percent(v["declined"]), *(percent(v[key]) for key in KEYS)]
            rows.append([*line, percent(answered)])
        lines += [f"{row['recipe']['model']['f']}, n = {row['recipe']['model']['sizes'][0]}:", ""]
        lines += table(["matrices", "count", "declined %", *SHARES, "within 5 % of those answered"], rows)
    lines += [
        "`nnla eval reproduce/weights/matfun-tokens-exp.safetensors --count 200` measures the weights of exp again,"
    ]
    lines[-1] += " and those of sign lie beside them; they are not part of the package (12 MB each)."
    return [*lines, ""]


def page(d: dict[str, Any]) -> str:
    """The page."""
    lines = ["# Matrix functions on number tokens", ""]
    lines += ["Measured by `reproduce/matrix_functions_tokens.py`; do not edit. d1 of a matrix is", ""]
    lines[-2] += " sum |error| / sum |f(A)|; a share is of fresh matrices with d1 below a limit, decoded greedily under"
    lines[-2] += " the grammar."
    lines += ["## Encodings", "", "Tokens of a symmetric matrix, whole and its upper triangle, sizes and end included;"]
    lines[-1] += " errors of three digits alone, where f of the rounded 3 x 3 matrix (entries U[-5, 5]) is rounded."
    sizes = [key for key in d["rounding"][0] if key.startswith("n=")]
    rows = []
    for row in d["rounding"]:
        line = [
            row["encoding"],
            f"{row['symbols']:,}",
            row["tokens"],
            *(f"{a} / {b}" for a, b in (row[s] for s in sizes)),
        ]
        line += [f"{row['largest_relative']:.1e}", "yes" if row["again"] else "no"]
        rows.append([*line, *(f"{row[f]['median']:.1e}, {percent(row[f]['within_5'])} %" for f in ("exp", "sign"))])
    header = ["encoding", "symbols", "tokens a number", *sizes, "largest relative error", "same tokens again"]
    lines += ["", *table([*header, "exp: median d1, within 5 %", "sign"], rows)]
    if d["gpu"]:
        lines += _clocked(d["gpu"])
    lines += ["## Function x encoding x size, on a CPU", ""]
    if d["cells"]:
        least = min(cell["budget"] for cell in d["cells"].values())
        lines += [
            f"Each network has d = 64, 2 + 1 blocks, and {least:.0f} CPU seconds of one thread ({LONGER} times that"
        ]
        lines[-1] += " from n = 3 on): what is"
        lines[-1] += " learned fast, not what can be learned. Entries U[-1, 1] unless said; log, roots and inverses of"
        lines[-1] += " X X' / n + .1 I."
        rows = []
        for cell in d["cells"].values():
            other = [cell[key] for key in ("embedding", "method", "norm") if key in cell]
            other += [f"U[-{cell['scale']:g}, {cell['scale']:g}]"] if cell["scale"] != 1 else []
            line = [cell["f"], cell["n"], f"{cell['reads']} to {cell['writes']}", ", ".join(other)]
            line += [f"{cell['examples'] / 1e3:.0f} k", f"{cell['seconds']:.0f}"]
            line += [percent(cell["figures"][k]) for k in KEYS]
            rows.append([*line, f"{100 * cell['figures']['median']:.2f} %", percent(cell["malformed"])])
        header = [
            "f",
            "n",
            "encodings",
            "other than smooth, Muon, post-norm",
            "examples",
            "CPU s",
            *SHARES,
            "median d1",
        ]
        lines += ["", *table([*header, "malformed without grammar %"], rows)]
        lacking = [name for name in cells() if name not in d["cells"]]
        if lacking:
            lines += [f"Cells that the script knows and nobody has trained here yet: {', '.join(lacking)}.", ""]
        lines += ["![learning curves](matrix_functions_tokens.png)", ""]
    return "\n".join(lines)


def picture(d: dict[str, Any], path: Path) -> None:
    """Learning curves: shares within 5 % by CPU seconds; and those of the GPU by seconds."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    groups = {
        "exp and sign, n = 2, by encoding": [
            k for k, c in d["cells"].items() if c["n"] == 2 and c["f"] in ("exp", "sign")
        ],
        "n = 3": [k for k, c in d["cells"].items() if c["n"] == 3],
    }
    for ax, (title, names) in zip(axes, groups.items(), strict=False):
        for name in names:
            curve = d["cells"][name]["curve"]
            ax.plot([p["cpu"] for p in curve], [100 * p["val_within_5"] for p in curve], label=name, linewidth=1)
        ax.set(title=title, xlabel="CPU seconds", ylabel="within 5 %, percent", ylim=(0, 100))
    for f, row in d["gpu"].items():
        for key, style in (("within_5", "-"), ("within_1", ":")):
            points = [(p["seconds"], 100 * p[key]) for p in row["curve"]]
            color = f"C{list(d['gpu']).index(f)}"
            axes[2].plot(*zip(*points, strict=True), style, color=color, label=f"{f}, {key[7:]} %", linewidth=1)
    axes[2].set(title="n = 3, one GPU", xlabel="seconds", ylim=(0, 100))
    for ax in axes:
        ax.grid(alpha=0.3)
        if ax.lines:
            ax.legend(fontsize=6)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Train what lacks, then write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/matrix_functions_tokens"))
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds of a cell; below 1 for a trial")
    parser.add_argument("--only", default="", help="names of cells, by commas; of all where empty")
    parser.add_argument("--gpu", type=Path, help="folder of matrix_functions_tokens_gpu.py")
    parser.add_argument("--page", action="store_true", help="write the page of what is there, train nothing")
    parser.add_argument("--docs", type=Path, default=DOCS)
    args = parser.parse_args()
    known = cells()
    wanted = [name for name in args.only.split(",") if name] or list(known)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in [] if args.page else wanted:
        file, cell = args.folder / f"{name}.json", known[name]
        if file.exists():
            continue
        seconds = args.seconds * (1 if cell["n"] == 2 or args.seconds < 1 else LONGER)
        run = budgeted(
            "matfun-tokens-exp", overrides(cell), args.folder / name, seconds, progress=False, judged_by="val_loss"
        )
        steps, batch = run.recipe["optim"]["steps"], run.recipe["optim"]["batch"]
        row = cell | {"budget": seconds, "seconds": run.cpu, "steps": steps, "examples": steps * batch}
        row |= {"figures": judged(run.path, cell), "malformed": run.curve[-1]["val_malformed"], "curve": run.curve}
        write_atomic(file, json.dumps(row).encode())
        print(name, {k: round(v, 3) for k, v in row["figures"].items()}, f"{run.cpu:.0f} s", flush=True)
    found = collected(args.folder, args.gpu)
    write_atomic(args.docs / "matrix_functions_tokens.json", json.dumps(found, indent=1).encode())
    write_atomic(args.docs / "matrix_functions_tokens.md", page(found).encode())
    picture(found, args.docs / "matrix_functions_tokens.png")


if __name__ == "__main__":
    main()
