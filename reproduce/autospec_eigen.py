"""AutoSpec's Tables 3b and 4b and Figures 2 and 9: restarts to 1e-10 by filters of degree 21, and seconds beside SciPy.

    python reproduce/autospec_eigen.py --matrices FOLDER      # all, about an hour on one core
    python reproduce/autospec_eigen.py --quick                # small relatives, a minute, nothing written to docs

*Restarts*: every filter gets the same probe (20 restarts of Lanczos without one, at the same subspace size, as in the
paper), the same start and the same solver: thick restarts, subspace 4 k, k + 5 Ritz vectors kept, no locking. Counted
are fillings until the k-th eigenvalue has a relative error of 1e-10 against a reference (shift and invert to 1e-13, or
LAPACK). *Steps* are applications of the filter in them, a finer measure. *Seconds*: `nnla.eigsh` and SciPy's `eigsh` on
the same request, whole calls, CPU time of one thread: SciPy's with sigma=0 first, as people call it, then without a
shift, with the same ncv. SciPy's tolerance is relative to the eigenvalue, ours to ||A||, so that without a shift it is
asked both for 1e-10 and for residuals like ours.

The real matrices of the paper are not here, but for relatives by recipe (NAME-like); the paper's figures stand beside
them for orientation only. Writes docs/autospec_eigen.{md,json,png}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("NNLA_NUM_THREADS", "1")

import numpy as np

import nnla
from nnla.eigen.comparison import compare_eigensolvers
from nnla.eigen.filter_choice import choose_filter
from nnla.eigen.filters import BoundFilter
from nnla.eigen.iteration import EXTRA, Search, multiply
from nnla.eigen.thick_restart import ThickRestart
from nnla.eigen.window import Window
from nnla.operators.operator import Operator, as_operator

ROOT = Path(__file__).resolve().parents[1]
DEGREE, PROBE, AT_MOST = 21, 20, 150
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "power": ("power", {}),
    "Chebyshev 1.5 k + 1": ("chebyshev", {}),
    "Chebyshev 3.5 k": ("chebyshev", {"cut": 3.5}),
    "paper's engine": ("autospec-paper", {}),
    "autospec": ("autospec", {}),
}
# restarts of the paper's Tables 3b and 4b: power, Chebyshev, AutoSpec
PAPER = {
    ("thermal1", 10): (19, 7, 4), ("thermal1", 20): (12, 5, 3), ("thermal2", 10): (112, 34, 21),
    ("thermal2", 20): (45, 18, 11), ("SiO2", 10): (">500", 115, 53), ("SiO2", 20): (108, 38, 23),
    ("CO", 10): (">500", 110, 55), ("CO", 20): (126, 42, 27),
}  # fmt: skip


def matrices(quick: bool, folder: Path | None) -> dict[str, Callable[[], Any]]:
    """Name -> matrix."""
    p = nnla.problems
    if quick:
        return {"thermal1-like, small": lambda: p.thermal1_like(6000), "SiH4-like": p.sih4_like}
    table: dict[str, Callable[[], Any]] = {
        "thermal1-like": p.thermal1_like,
        "thermal2-like, 0.21": lambda: p.thermal2_like(0.21),
        "SiO2-like, 0.2": lambda: p.sio2_like(0.2),
        "CO-like, 0.2": lambda: p.co_like(0.2),
        "SiH4-like": p.sih4_like,
        # the paper squares indefinite operators: the eigenvalues nearest to zero, from inside the spectrum
        "SiO2-like, 0.05, squared": lambda: squared(p.sio2_like(0.05)),
        "CO-like, 0.03, squared": lambda: squared(p.co_like(0.03)),
        "SiH4-like, squared": lambda: squared(p.sih4_like()),
    }
    if folder is not None:
        table["Si2 (real)"] = lambda: p.read_matrix(folder / "Si2.mtx.gz")
        table["Si2 (real), squared"] = lambda: squared(p.read_matrix(folder / "Si2.mtx.gz"))
        table["nos5 (real)"] = lambda: p.read_matrix(folder / "nos5.mtx.gz")
    return table


def squared(A: Any) -> Any:
    """A @ A as a sparse matrix that is symmetric to the last bit."""
    B = (A @ A).tocsr()
    return ((B + B.T) / 2).tocsr()


def reference(op: Operator, count: int) -> np.ndarray:
    """The smallest eigenvalues to 1e-13 of ||A||, by LAPACK, shift and invert, or filtered Lanczos."""
    method = "dense" if op.n <= 8000 else "direct" if (op.nnz or 0) < 15 * op.n else "autospec"
    options: dict[str, Any] = {} if method != "autospec" else {"degree": 51}
    w, _, report = nnla.eigsh(op, count, method=method, tol=1e-13, seed=99, return_report=True, **options)
    if not report.converged or not report.verified:
        print(f"reference: {report.status}, verified {report.verified}, {max(report.residuals) / report.norm:.1e}")
    return w


def probed(op: Operator, k: int, seed: int) -> tuple[Window, np.ndarray]:
    """The paper's probe: restarts of plain Lanczos at the same size; the window, and the start of the filtered run."""
    space = ThickRestart(lambda v: -multiply(op, v), op.n, 4 * k, None, np.random.default_rng(seed))
    space.extend()
    width = float(space.theta[0] - space.theta[-1])
    far = -(float(space.theta[-1]) - min(float(space.residuals[-1]), 0.05 * width) - 0.005 * width)
    search = Search(op, space, k, -1.0, 0.0)  # nothing is locked
    search.run(PROBE)
    return search.window(far), space.kept_vectors(k).sum(axis=0)


def converge(op: Operator, window: Window, start: np.ndarray, method: str, options: dict[str, Any], exact: np.ndarray,
             engine: Any) -> dict[str, Any]:  # fmt: skip
    """Relative error of the k-th eigenvalue after every restart."""
    k = window.k
    choice = choose_filter(window, method, DEGREE, engine=engine, **options)
    space = ThickRestart(BoundFilter(op, choice.recurrence), op.n, window.ncv, start, np.random.default_rng(1))
    errors, steps = [], []
    while len(errors) < AT_MOST:
        space.extend()
        y = space.vector(k - 1)
        y /= np.linalg.norm(y)
        errors.append(abs(float(y @ multiply(op, y)) - exact[k - 1]) / abs(exact[k - 1]))
        steps.append(space.steps)
        if errors[-1] <= 1e-10:
            break
        space.restart(k + EXTRA)
    done = errors[-1] <= 1e-10
    return {
        "restarts": len(errors) if done else None,
        "steps": steps[-1] if done else None,
        "errors": errors,
        "cut": choice.cut,
        "fallback": choice.fallback,
    }


def restarts(name: str, A: Any, seeds: int, engine: Any) -> list[dict[str, Any]]:
    """Rows of the table of restarts for one matrix: k = 10 and 20, medians over start vectors."""
    op = as_operator(A, definite=False)
    exact = reference(op, 20)
    rows = []
    for k in (10, 20):
        table: dict[str, list[dict[str, Any]]] = {method: [] for method in METHODS}
        for seed in range(seeds):
            window, start = probed(op, k, seed)
            for label, (method, options) in METHODS.items():
                own = engine if method == "autospec" else None
                table[label].append(converge(op, window, start, method, options, exact, own))
        row: dict[str, Any] = {"matrix": name, "n": op.n, "k": k, "seeds": seeds, "methods": {}}
        for label, runs in table.items():
            counts = [run["restarts"] or AT_MOST + 1 for run in runs]
            steps = [run["steps"] or 10**9 for run in runs]
            row["methods"][label] = {
                "restarts": statistics.median(counts),
                "steps": statistics.median(steps),
                "unsolved": sum(run["restarts"] is None for run in runs),
                "errors": runs[0]["errors"],
                "cut_over_value": None if runs[0]["cut"] is None else runs[0]["cut"] / exact[k - 1],
                "fallback": runs[0]["fallback"],
            }
        rows.append(row)
        shown = {label: f["restarts"] for label, f in row["methods"].items()}
        print(name, op.n, "k", k, shown, flush=True)
    return rows


OURS = ("auto", "autospec", "chebyshev, cut 1.5 k + 1", "direct")
SHIFTED = ("scipy sigma, symmetric ordering", "scipy sigma")  # what people call: first in the table
SCIPY = (*SHIFTED, "arpack", "arpack, same residual")
PATIENCE = 25.0  # thousands of products that SciPy may take


def seconds(
    name: str, A: Any, methods: tuple[str, ...], repeats: int, patience: float = PATIENCE
) -> list[dict[str, Any]]:
    """Whole calls, CPU seconds, the methods in turns."""
    rows = []
    op = as_operator(A, definite=False)
    for k in (10, 20):
        found: dict[str, list[dict[str, Any]]] = {}
        for _ in range(repeats):
            for method in methods:
                op.native_forms = None  # every call builds its own slices
                extra = [method] if method in OURS else ["direct", method]
                rows_of = compare_eigensolvers(op, k, ncv=4 * k, methods=extra, patience=patience)
                row = next(row for row in rows_of if row.method == method)
                found.setdefault(method, []).append(row.to_dict())
                print(name, k, method, f"{row.cpu:.2f} s", f"{row.residual:.1e}", row.note, flush=True)
        for method, runs in found.items():
            row = {"matrix": name, "n": op.n, "k": k, "method": method}
            row["cpu"] = statistics.median(run["cpu"] for run in runs)
            rows.append(row | {key: runs[0][key] for key in ("converged", "residual", "restarts", "products", "note")})
    return rows


def markdown(data: dict[str, Any]) -> str:
    """The page."""
    meta = data["meta"]
    lines = ["# Eigenproblems: filters of degree 21", ""]
    lines += [f"Generated by `{meta['command']}`, {meta['date']}, {meta['hardware']}, float64, one thread.", ""]
    if meta.get("restarts_of"):
        lines += [f"The table of restarts and the figure are those of {meta['restarts_of']}.", ""]
    lines += ["## Restarts until the k-th smallest eigenvalue is right to 1e-10 (Tables 3b, 4b)", ""]
    lines += ["Subspace 4 k, probe of 20 restarts, the same for all; medians over start vectors (3, and 1 for"]
    lines += ["thermal2-like). In brackets: filter"]
    lines += ["applications. `ratio`: autospec by Chebyshev (cut at 1.5 k + 1), and by power, in restarts. The paper's"]
    lines += ["own figures (power / Chebyshev / AutoSpec) are for the real matrix of that name and size.", ""]
    labels = list(METHODS)
    lines += ["| matrix | n | k | " + " | ".join(labels) + " | ratio | paper |"]
    lines += ["|---|---:|---:|" + "---:|" * len(labels) + "---|---|"]
    for row in data["restarts"]:
        m = row["methods"]
        cells = []
        for label in labels:
            f = m[label]
            cells.append(f">{AT_MOST}" if f["unsolved"] else f"{f['restarts']:g} ({f['steps']:g})")
        name = row["matrix"].split("-like")[0]
        paper = PAPER.get((name, row["k"])) if name.startswith("thermal") or "squared" in row["matrix"] else None
        own = m["autospec"]["restarts"]
        ratio = f"{own / m['Chebyshev 1.5 k + 1']['restarts']:.2f}, {own / m['power']['restarts']:.2f}"
        lines += [f"| {row['matrix']} | {row['n']} | {row['k']} | " + " | ".join(cells) + f" | {ratio} | "
                  + (" / ".join(map(str, paper)) if paper else "") + " |"]  # fmt: skip
    lines += ["", "![convergence](autospec_eigen.png)", ""]
    lines += ["## Seconds for the same request (k smallest pairs, every residual at most 1e-10 ||A||, ncv = 4 k)", ""]
    lines += ["CPU seconds of whole calls, ours with probe, filter, verification and residual checks (median of"]
    lines += [
        f"{meta['repeats']}; thermal2-like once), SciPy's once, given up where the note says `stopped`.",
        "`residual`: largest",
    ]
    lines += ["||A v - l v|| / ||A||, judged alike for all.", ""]
    lines += ["| matrix | k | method | CPU s | products | residual | note |", "|---|---:|---|---:|---:|---:|---|"]
    for row in data["seconds"]:
        lines += [f"| {row['matrix']} | {row['k']} | {row['method']} | {row['cpu']:.2f} | {row['products']} | "
                  f"{row['residual']:.1e} | {row['note']} |"]  # fmt: skip
    return "\n".join(lines) + "\n"


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """Figures 2 and 9: relative error of the k-th eigenvalue against restarts."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [
        row for row in rows if len(row["methods"]["power"]["errors"]) >= 10
    ]  # the others are over in a restart or two
    columns = max(-(-len(rows) // 2), 1)
    fig, axes = plt.subplots(2, columns, figsize=(3.4 * columns, 6.0), squeeze=False)
    ordered = [row for k in (10, 20) for row in rows if row["k"] == k]
    for ax, row in zip(axes.ravel(), ordered, strict=False):
        for label, f in row["methods"].items():
            ax.semilogy(range(1, len(f["errors"]) + 1), np.maximum(f["errors"], 1e-16), ".-", lw=1, ms=4, label=label)
        ax.axhline(1e-10, color="0.7", lw=0.8)
        ax.set_xscale("log")
        ax.set_ylim(1e-15, 1e4)
        ax.set_title(f"{row['matrix']}, k = {row['k']}", fontsize=9)
    for ax in axes[-1]:
        ax.set_xlabel("restarts")
    for ax in axes[:, 0]:
        ax.set_ylabel("relative error of the k-th eigenvalue")
    axes[0, 0].legend(fontsize=7)
    fig.tight_layout()
    fig.savefig(path, dpi=110)


def _read(partial: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    entries = [json.loads(line) for line in partial.read_text(encoding="utf-8").splitlines()]
    return {(entry["matrix"], entry["part"]): entry["rows"] for entry in entries}


def main() -> None:
    """Run, write, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--matrices", type=Path, help="folder of SuiteSparse *.mtx.gz, for the real ones")
    parser.add_argument("--only", default="", help="only matrices whose name contains this")
    parser.add_argument("--seeds", type=int, default=3, help="start vectors")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="thousands of products that SciPy may take")
    parser.add_argument("--repeats", type=int, default=3, help="of the timings")
    parser.add_argument("--engine", help="weights file instead of the shipped one")
    parser.add_argument("--skip-seconds", action="store_true")
    parser.add_argument("--skip-restarts", action="store_true", help="keep those of the page that is there")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    args = parser.parse_args()
    engine = nnla.load(args.engine) if args.engine else None
    data: dict[str, Any] = {"restarts": [], "seconds": []}
    partial = args.out / "autospec_eigen.partial.jsonl"  # a run that was stopped goes on from it
    done = {} if args.quick or not partial.exists() else _read(partial)
    for name, make in matrices(args.quick, args.matrices).items():
        timed = name.startswith("thermal") and not args.skip_seconds
        # a large matrix by the power method takes minutes a start vector
        seeds = 2 if args.quick else 1 if name.startswith("thermal2") else args.seeds
        parts: dict[str, Callable[[], list[dict[str, Any]]]] = {}
        if not args.skip_restarts:
            parts["restarts"] = lambda name=name, make=make, seeds=seeds: restarts(name, make(), seeds, engine)
        if timed:  # SciPy's calls take minutes: once
            parts["seconds"] = lambda name=name, make=make: seconds(name, make(), OURS, args.repeats)
            parts["SciPy's seconds"] = lambda name=name, make=make: seconds(name, make(), SCIPY, 1, args.patience)
        for part, run in parts.items():
            if (name, part) not in done and args.only in name:
                rows = done[name, part] = run()
                if not args.quick:
                    args.out.mkdir(parents=True, exist_ok=True)
                    with open(partial, "a", encoding="utf-8") as lines:
                        lines.write(json.dumps({"matrix": name, "part": part, "rows": rows}) + "\n")
        data["restarts"] += done.get((name, "restarts"), [])
        timings = done.get((name, "seconds"), []) + done.get((name, "SciPy's seconds"), [])
        data["seconds"] += sorted(timings, key=lambda row: (row["k"], row["method"] not in (*SHIFTED, "auto")))
    kept = args.out / "autospec_eigen.json"
    earlier = json.loads(kept.read_text(encoding="utf-8")) if args.skip_restarts and kept.exists() else None
    data["restarts"] = earlier["restarts"] if earlier is not None else data["restarts"]
    data["meta"] = {
        "command": "python reproduce/autospec_eigen.py" + (" --matrices FOLDER" if args.matrices else ""),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "repeats": args.repeats,
        "restarts_of": earlier and (earlier["meta"].get("restarts_of") or earlier["meta"]["date"]),
        "versions": {"nnla": nnla.__version__, "numpy": np.__version__},
    }
    if args.quick:
        print(markdown(data))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "autospec_eigen.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    (args.out / "autospec_eigen.md").write_text(markdown(data), encoding="utf-8")
    figure(data["restarts"], args.out / "autospec_eigen.png")


if __name__ == "__main__":
    main()
