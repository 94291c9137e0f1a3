"""AutoSpec, Table 4a and beyond: outer iterations of CG with polynomials of equal degree.

Every method gets the same 50-step probe, the same Gaussian right-hand side, a zero start and the same degree; "own"
is the engine after the probe that `nnla.solve` would take, 50 to 100 steps as the engine asks. Textbook CG runs to a
true relative residual of 1e-10. "best" is the best Chebyshev interval that a search over the lower end finds: what no
choice of interval can beat. Cases: the 15 problems of `nnla.problems.SUITE` and, with --matrices, every SPD matrix of
a folder; each as it is, Jacobi-scaled, and after IC(0) where that exists without a shift.

    python reproduce/autospec_table4.py --matrices FOLDER --jobs 2
    python reproduce/autospec_table4.py --quick          # small suite only, a minute

Writes docs/autospec_table4.{json,md,png}.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from typing import Any

import numpy as np

import nnla
from nnla.errors import NNLAError
from nnla.krylov.cg import conjugate_gradients
from nnla.linear.polynomial import PROBE_STEPS, probe_length
from nnla.linear.preconditioner import PolynomialPreconditioner
from nnla.polynomials.design import EFFICIENCY, Design, design_polynomial
from nnla.polynomials.recurrence import chebyshev
from nnla.preconditioners.incomplete_cholesky import IncompleteFactorizationError, ic0
from nnla.preconditioners.scalings import Scaling, bind_scaling
from nnla.problems import SUITE, problem, read_matrix

RTOL, DEGREE = 1e-10, 11
M = DEGREE + 1
METHODS = ("autospec", "autospec-paper", "chebyshev", "rule", "dos", "chebyshev4", "gmres")
HEAD = ("cheb50", "cheb200", *METHODS)
DOCS = Path(__file__).resolve().parents[1] / "docs"


class Case:
    """One scaled system: counts outer iterations of any polynomial on it."""

    def __init__(self, A, base: Scaling) -> None:
        self.op, self.base = nnla.as_operator(A), base
        self.b = np.random.default_rng(0).standard_normal(self.op.n)
        self.b /= np.linalg.norm(self.b)

    def count(self, apply, maxiter: int) -> float:
        """Iterations of textbook CG, inf when it does not converge or breaks down."""
        with np.errstate(all="ignore"):
            result = conjugate_gradients(
                self.op.matvec, self.b, x=np.zeros_like(self.b), residual=self.b.copy(), M=apply,
                targets=np.array([RTOL]), maxiter=maxiter,
            )  # fmt: skip
        return float(result.iterations) if result.status.value == "converged" else math.inf

    def polynomial(self, design: Design, probe, maxiter: int) -> float:
        return self.count(PolynomialPreconditioner(self.op, self.base, design, probe), maxiter)

    def unguarded(self, apply, maxiter: int) -> float:
        """Iterations of CG that takes no notice of an indefinite preconditioner, as the paper's own would."""
        x, r, p, rz, k = np.zeros_like(self.b), self.b.copy(), None, 1.0, 0
        with np.errstate(all="ignore"):
            while np.linalg.norm(r) > RTOL and k < maxiter and np.isfinite(rz):
                z = apply(r)
                rz, old = r @ z, rz
                p = z if p is None else z + (rz / old) * p
                q = self.op.matvec(p)
                alpha = rz / (p @ q)
                x, r, k = x + alpha * p, r - alpha * q, k + 1
            return float(k) if np.linalg.norm(self.b - self.op.matvec(x)) <= 2 * RTOL else math.inf

    def interval(self, a: float, b: float, probe, maxiter: int) -> float:
        return self.polynomial(Design(chebyshev(a, b, DEGREE), "search", (a, b)), probe, maxiter)

    def best_interval(self, probe, known: list[tuple[float, float]], cap: int) -> tuple[float, float]:
        """(outer, a) of the best interval [a, b]: a grid over the lower end, then two refinements."""
        b = probe.upper_bound
        best, tried = min(known), {a for _, a in known}
        for step in (2.2, 1.45, 1.2):
            span = range(-4, 5) if step == 2.2 else (-1, 1)
            centre = best[1]
            for k in span:
                a = min(centre * step**k, 0.6 * b)
                if a in tried or a < 1e-9 * b:
                    continue
                tried.add(a)
                limit = cap if math.isinf(best[0]) else math.ceil(best[0])
                best = min(best, (self.interval(a, b, probe, limit), a))
        return best


def run_case(task: tuple[str, str, str, str]) -> dict | None:
    """All figures of one (matrix, scaling); None when the scaling does not exist or changes nothing."""
    name, source, kind, scaling = task
    A = problem(name, kind).A if source == "suite" else read_matrix(source)
    op = nnla.as_operator(A)
    if scaling == "jacobi" and nnla.linear.preconditioner.choose_scaling(op) == "none":
        return None  # the same as raw
    try:
        base = Scaling("ic", ic0(op.csr).solve) if scaling == "ic" else bind_scaling(op, scaling)
    except IncompleteFactorizationError:
        return None
    case = Case(A, base)
    row: dict = {"name": name, "source": source if source == "suite" else "file", "scaling": scaling}
    row |= {"n": op.n, "nnz": op.nnz}
    started = time.perf_counter()
    limit = 20_000 if op.n < 100_000 else 14_000
    plain = case.count(None if scaling == "none" else base.solve, limit)
    row["N"] = None if math.isinf(plain) else int(plain)
    if math.isinf(plain):
        return row | {"seconds": round(time.perf_counter() - started, 1)}
    cap = math.ceil(3 * plain / M) + 200
    probes = {k: nnla.probe(op, k, start=case.b, scaling=base.solve) for k in (25, 50, 200)}
    # cheb50/cheb200: the paper's Chebyshev on [theta_min, theta_max], nothing added
    for k in (50, 200):
        p = probes[k]
        row[f"cheb{k}"] = outer = case.interval(p.lambda_min, p.lambda_max, p, cap)
        if math.isinf(outer):  # indefinite above theta_max: CG may get there all the same
            design = Design(chebyshev(p.lambda_min, p.lambda_max, DEGREE), "paper", (p.lambda_min, p.lambda_max))
            row[f"cheb{k}"] = case.unguarded(PolynomialPreconditioner(op, base, design, p), cap)
            row.setdefault("indefinite", []).append(f"cheb{k}")
    known = []
    for method in METHODS:
        design = design_polynomial(
            probes[50], method=method, degree=DEGREE, rtol=RTOL, engine=engine_a() if method == "autospec" else None
        )
        row[method] = case.polynomial(design, probes[50], cap)
        if design.fallback:
            row.setdefault("fallbacks", {})[method] = design.fallback
        if method in ("autospec", "chebyshev", "rule", "dos"):
            known.append((row[method], design.interval[0]))
    for k in (25, 200):
        design = design_polynomial(probes[k], method="autospec", degree=DEGREE, rtol=RTOL, engine=engine_a())
        row[f"autospec_probe{k}"] = case.polynomial(design, probes[k], cap)
    row["own_steps"], row["own"] = own_probe(case, base, cap)
    row["best"], row["best_a"] = case.best_interval(probes[50], known, cap)
    # float64 inside: counts of products and reductions are those of the algorithm, not of its rounding
    solved = nnla.solve(
        A, case.b, method="autospec", scaling=scaling, rtol=RTOL, degree=DEGREE, dtype=np.float64, engine=engine_a()
    ).report
    keys = ("converged", "iterations", "probe_iterations", "products", "reductions", "fallback")
    row["solve"] = {key: getattr(solved, key) for key in keys}
    return row | {"seconds": round(time.perf_counter() - started, 1)}


def engine_a() -> Any:
    """The engine that chooses intervals, alone: this page is about it, docs/autospec_tail.md about engine B."""
    return nnla.load("autospec-cg")


def own_probe(case: Case, base: Scaling, cap: int) -> tuple[int, float]:
    """(steps, outer) of the engine after a probe as long as `nnla.solve` makes it."""
    short = nnla.probe(case.op, PROBE_STEPS, start=case.b, scaling=base.solve)
    choice = nnla.load("autospec-cg").choose(short, degree=DEGREE, rtol=RTOL)
    steps = max(PROBE_STEPS, probe_length(choice.predicted_iterations * M * EFFICIENCY))
    probe = nnla.probe(case.op, steps, start=case.b, scaling=base.solve)
    design = design_polynomial(probe, method="autospec", degree=DEGREE, rtol=RTOL, engine=engine_a())
    return steps, case.polynomial(design, probe, cap)


def geometric(values) -> float:
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def judged(rows: list[dict]) -> list[dict]:
    """Cases of N >= 60 that plain CG solves, and at least one interval."""
    return [r for r in rows if r.get("N") and r["N"] >= 60 and math.isfinite(r["best"])]


def summary(rows: list[dict]) -> dict:
    """The figures that the table is judged by."""
    used = judged(rows)
    groups = {
        "suite": [r for r in used if r["source"] == "suite"],
        "real": [r for r in used if r["source"] == "file"],
        "real without frames": [r for r in used if r["source"] == "file" and "stand" not in r["name"]],
    }
    return {label: judge(group) for label, group in groups.items() if group}


def judge(group: list[dict]) -> dict:
    """Figures of a group of cases; pairs where the opponent breaks down are left out, and counted."""
    out: dict = {"cases": len(group)}
    for label, column in (("50-step probe", "autospec"), ("own probe", "own")):
        for name, opponent in (("cheb50", "cheb50"), ("Chebyshev with corrected b", "chebyshev"), ("best", "best")):
            pairs = [r[column] / r[opponent] for r in group if math.isfinite(r[opponent])]
            out[f"{label}: outer / {name}, geometric mean"] = geometric(pairs)
        out[f"{label}: outer / best, worst"] = max(r[column] / r["best"] for r in group)
        out[f"{label}: worse than corrected Chebyshev by > 5 % and > 1"] = [
            f"{r['name']}/{r['scaling']}" for r in group if r[column] > max(1.05 * r["chebyshev"], r["chebyshev"] + 1)
        ]
    for opponent in ("autospec-paper", "rule", "dos"):
        finite = [r for r in group if math.isfinite(r[opponent])]
        out[f"{opponent} / best"] = geometric(r[opponent] / r["best"] for r in finite)
        out[f"{opponent} breaks down"] = len(group) - len(finite)
    out["cheb50: indefinite, counted without a guard"] = sum("cheb50" in r.get("indefinite", []) for r in group)
    out["cheb50: not converged, left out above"] = sum(math.isinf(r["cheb50"]) for r in group)
    large = [r for r in group if r["N"] >= 300]
    solved = [r for r in large if r["solve"]["converged"]]
    if large:
        efficient = [r["N"] / (M * r["autospec"]) for r in large]
        out["E = N / products (N >= 300): median, 10th percentile"] = [
            float(np.quantile(efficient, q)) for q in (0.5, 0.1)
        ]
    if solved:
        for key in ("products", "reductions"):
            out[f"solve: {key} / N (N >= 300), median"] = float(np.median([r["solve"][key] / r["N"] for r in solved]))
    counts = [(r[f"autospec_probe{k}"], r["autospec"]) for r in group for k in (25, 200)]
    shifts = [abs(math.log(c / own)) for c, own in counts if math.isfinite(c)]
    out["probe of 25 or 200 steps instead of 50: mean change of outer"] = math.exp(float(np.mean(shifts))) - 1
    return out


def markdown(rows: list[dict], figures: dict, meta: dict) -> str:
    text = ["# Outer iterations of CG with polynomials of degree 11", "", f"Generated by `{meta['command']}`."]
    text += [f"{meta['date']}, {meta['hardware']}, float64, true relative residual 1e-10, Gaussian right-hand side,"]
    text += [
        "zero start, 50-step probe for every method; `own`: the engine after a probe of 50 to 100 steps, as `solve`",
        "takes it. `N`: plain CG over the same scaling. `best`: best interval found by search. `inf`: broke down or",
        "did not converge. Real matrices are the test set: the engine was trained, and its size chosen, on generated",
        "spectra and matrices (see docs/training.md for what was looked at when).",
    ]
    text += [
        "",
        "## Summary (N >= 60, solved by plain CG and by at least one interval)",
        "",
        "| figure | " + " | ".join(figures) + " |",
        "|---|" + "---|" * len(figures),
    ]
    for key in next(iter(figures.values())):
        cells = [_cell(group[key]) for group in figures.values()]
        text.append(f"| {key} | " + " | ".join(cells) + " |")
    columns = ("N", *HEAD[:2], *METHODS, "own", "best")
    text += [
        "",
        "## Cases",
        "",
        "| matrix | scaling | n | " + " | ".join(columns) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for r in rows:
        cells = ["-" if r.get(c) is None else _cell(r[c]) for c in columns]
        text.append(f"| {r['name']} | {r['scaling']} | {r['n']} | " + " | ".join(cells) + " |")
    text += ["", *costs(rows)]
    text += ["", "Rows with `-` under N: plain CG does not get there in 20,000 iterations.", ""]
    return "\n".join(text)


def costs(rows: list[dict]) -> list[str]:
    """Products with A / global reductions, probe included: counted for `solve`, by formula for the others."""
    text = ["## Products with A / global reductions, probe included", ""]
    text += [
        "`plain`: N + 1 products, two reductions an iteration. Polynomials: k + 12 outer products and k + outer",
        "reductions after a probe of k steps (one reduction an iteration, as nnla runs CG). `solve`: counted by",
        '`nnla.solve(A, b, method="autospec")`, which goes on from the iterate of its probe, checks included.',
        "",
    ]
    head = ("plain", *HEAD[:2], "autospec-paper", "rule", "dos", "autospec", "solve")
    text += ["| matrix | scaling | " + " | ".join(head) + " |", "|---|---|" + "---|" * len(head)]
    for r in rows:
        if not r.get("N"):
            continue
        cells = [f"{r['N'] + 1} / {2 * r['N']}"]
        for method in head[1:-1]:
            k, outer = (200 if method == "cheb200" else 50), r[method]
            cells.append(f"{k + M * outer:.0f} / {k + outer:.0f}" if math.isfinite(outer) else "inf")
        run = r["solve"]
        cells.append(f"{run['products']} / {run['reductions']}" + ("" if run["converged"] else " (not converged)"))
        text.append(f"| {r['name']} | {r['scaling']} | " + " | ".join(cells) + " |")
    return text


def _cell(value) -> str:
    if isinstance(value, list):
        return ", ".join(_cell(v) for v in value) or "none"
    if isinstance(value, float):
        if math.isinf(value):
            return "inf"
        return str(int(value)) if value == int(value) and abs(value) >= 2 else f"{value:.3f}"
    return str(value)


def figure(rows: list[dict], path: Path) -> None:
    from matplotlib.figure import Figure

    used = judged(rows)
    used.sort(key=lambda r: r["autospec"] / r["best"])
    fig = Figure(figsize=(11, 5.2), layout="constrained")
    axes = fig.add_subplot()
    styles = {"cheb50": ("x", "#999999"), "chebyshev": ("v", "#D55E00"), "autospec-paper": ("s", "#CC79A7"),
              "rule": ("^", "#E69F00"), "dos": ("d", "#0072B2"),
              "autospec": ("o", "#009E73"), "own": ("*", "#000000")}  # fmt: skip
    for method, (marker, colour) in styles.items():
        y = [min(r[method] / r["best"], 4.0) for r in used]
        axes.plot(range(len(used)), y, marker, color=colour, markersize=4, label=method, linestyle="none")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set(
        yscale="log", ylim=(0.95, 4.2), ylabel="outer iterations / best interval", xlabel="case, sorted by autospec"
    )
    axes.set_yticks([1, 1.05, 1.15, 1.5, 2, 3, 4], ["1", "1.05", "1.15", "1.5", "2", "3", "4 or more"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(ncols=3, loc="upper left")
    axes.set_title(f"{len(used)} systems (raw, Jacobi, IC(0)) with N >= 60: degree 11, 50-step probe, 1e-10")
    fig.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--matrices", type=Path, help="folder of *.mtx.gz")
    parser.add_argument("--quick", action="store_true", help="small suite only, results not written to docs")
    parser.add_argument("--no-suite", action="store_true", help="real matrices only")
    parser.add_argument("--only", help="only matrices whose name contains this")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--redraw", action="store_true", help="write table and figure anew from the JSON that is there")
    parser.add_argument("--out", type=Path, default=DOCS)
    args = parser.parse_args()
    if args.redraw:
        data = json.loads((args.out / "autospec_table4.json").read_text())
        write(args.out / "autospec_table4", [_infinite(row) for row in data["rows"]], data["meta"])
        return
    kind = "small" if args.quick else "full"
    tasks = [] if args.no_suite else [(name, "suite", kind, s) for name in SUITE for s in ("none", "jacobi", "ic")]
    if args.matrices and not args.quick:
        for path in sorted(args.matrices.glob("*.mtx.gz")):
            name = path.name.removesuffix(".mtx.gz")
            if name.endswith(("_b", "_x")):
                continue
            tasks += [(name, str(path), kind, s) for s in ("none", "jacobi", "ic")]
    if args.only:
        tasks = [t for t in tasks if args.only in t[0]]
    args.out.mkdir(parents=True, exist_ok=True)
    partial = args.out / (
        "quick.partial.jsonl" if args.quick else "full.partial.jsonl"
    )  # a stopped run goes on from here
    done: dict[tuple[str, str], dict | None] = {}
    for line in partial.read_text().splitlines() if partial.exists() else []:
        name, scaling, row = json.loads(line)
        done[name, scaling] = row
    left = [t for t in tasks if (t[0], t[3]) not in done]
    shown = ("name", "scaling", "N", "cheb50", *METHODS, "own", "best", "seconds", "error")
    with open(partial, "a") as stream:
        for name, scaling, row in _map(guarded, left, args.jobs):
            done[name, scaling] = row
            stream.write(json.dumps([name, scaling, row]) + "\n")
            stream.flush()
            if row is not None:
                print({k: row.get(k) for k in shown}, flush=True)
    partial.unlink()
    rows = [row for t in tasks if (row := done[t[0], t[3]]) is not None]
    rows = [r for r in rows if "error" not in r]
    meta = {
        "command": "python reproduce/autospec_table4.py" + (" --matrices FOLDER" if args.matrices else ""),
        "date": time.strftime("%Y-%m-%d"),
        "rtol": RTOL,
        "degree": DEGREE,
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"nnla": nnla.__version__, "numpy": np.__version__},
    }
    write(args.out / ("autospec_table4_quick" if args.quick else "autospec_table4"), rows, meta)


def write(stem: Path, rows: list[dict], meta: dict) -> None:
    """JSON, Markdown and figure."""
    figures = summary(rows)
    print(json.dumps(figures, indent=1))
    data = {"meta": meta, "summary": figures, "rows": rows}
    stem.with_suffix(".json").write_text(json.dumps(_finite(data), indent=1))
    stem.with_suffix(".md").write_text(markdown(rows, figures, meta))
    figure(rows, stem.with_suffix(".png"))


def guarded(task: tuple[str, str, str, str]) -> tuple[str, str, dict | None]:
    """(name, scaling, row); a case that is no SPD system at all is listed, not fatal."""
    name, scaling = task[0], task[3]
    try:
        return name, scaling, run_case(task)
    except NNLAError as error:
        return name, scaling, {"name": name, "scaling": scaling, "error": f"{type(error).__name__}: {error}"[:150]}


def _map(function, tasks, jobs: int):
    if jobs == 1:
        yield from map(function, tasks)
        return
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(function, tasks)


def _finite(value):
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _infinite(row: dict) -> dict:
    return {k: math.inf if v == "inf" else v for k, v in row.items()}


if __name__ == "__main__":
    main()
