"""Engine B: roots on outlying eigenvalues against the best Chebyshev interval, on heavy upper tails and elsewhere.

Heavy tails: 3-D diffusion with lognormal coefficients, s = 1.5, of three correlation lengths (fractions of the side;
"white": none), sizes and seeds, as it is and Jacobi-scaled. Every polynomial has degree 11 and gets the same 50-step
probe, Gaussian right-hand side and zero start; textbook CG in float64 runs to true relative residuals of 1e-8 and
1e-10. A: engine A's interval. B: what engine B puts in its place (A's where it promises less than 3 %). best: the
best interval [a, b] in hindsight over a grid of a. floor: plain CG iterations / 12, below which no polynomial gets.
Then the 15 problems of `nnla.problems.SUITE` and, with --matrices, the SPD matrices of a folder, raw, Jacobi-scaled and
after IC(0): B must not be worse than A anywhere.

    python reproduce/autospec_tail.py --matrices FOLDER
    python reproduce/autospec_tail.py --quick             # a minute

Writes docs/autospec_tail.{json,md,png}.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from autospec_table4 import Case

import nnla
from nnla.errors import NNLAError
from nnla.krylov.cg import conjugate_gradients
from nnla.linear.preconditioner import PolynomialPreconditioner
from nnla.polynomials.design import Design, design_polynomial
from nnla.polynomials.recurrence import chebyshev
from nnla.preconditioners.incomplete_cholesky import IncompleteFactorizationError, ic0
from nnla.preconditioners.scalings import Scaling, bind_scaling
from nnla.problems import SUITE, diffusion3d, lognormal_field, problem, read_matrix

DEGREE, STEPS = 11, 50
RTOLS = (1e-8, 1e-10)
FIELDS = {"0.1": 0.1, "0.05": 0.05, "white": 1e-3}
PLAN = {20: range(4), 32: range(2), 44: range(1), 60: range(1)}
GRID = np.geomspace(0.2, 5.0, 15)  # lower ends of intervals, in units of engine A's; every other one for size > 32
DOCS = Path(__file__).resolve().parents[1] / "docs"


class Tail(Case):
    """A scaled system that counts the iterations to both tolerances in one run."""

    def counts(self, apply, maxiter: int) -> tuple[float, float]:
        with np.errstate(all="ignore"):
            result = conjugate_gradients(
                self.op.matvec, self.b, x=np.zeros_like(self.b), residual=self.b.copy(), M=apply,
                targets=np.array([RTOLS[-1]]), maxiter=maxiter,
            )  # fmt: skip
        history = np.array(result.history)
        reached = [np.flatnonzero(history <= rtol) for rtol in RTOLS]
        return tuple(float(hits[0] + 1) if hits.size else math.inf for hits in reached)

    def of(self, design: Design, probe, maxiter: int, dtype=None) -> tuple[float, float]:
        return self.counts(PolynomialPreconditioner(self.op, self.base, design, probe, dtype=dtype), maxiter)


def interval(a: float, b: float) -> Design:
    return Design(chebyshev(a, b, DEGREE), "search", (a, b))


def both(probe, rtol: float) -> tuple[Design, Design, float]:
    """Engine A's design, engine B's, and the milliseconds of CPU that B's took longer."""
    engine = nnla.load("autospec-cg")
    own = design_polynomial(probe, degree=DEGREE, rtol=rtol, engine=engine)
    started = time.process_time()
    tail = design_polynomial(probe, degree=DEGREE, rtol=rtol)  # A's answer is remembered
    with_tail = time.process_time() - started
    started = time.process_time()
    design_polynomial(probe, degree=DEGREE, rtol=rtol, engine=engine)
    return own, tail, 1e3 * (with_tail - (time.process_time() - started))


def lognormal_rows(size: int, seed: int, name: str, scaling: str) -> list[dict]:
    """One system, a row for each tolerance."""
    A = diffusion3d(lognormal_field((size,) * 3, s=1.5, correlation=FIELDS[name], seed=seed))
    op = nnla.as_operator(A)
    case = Tail(A, bind_scaling(op, scaling))
    plain = case.counts(None if scaling == "none" else case.base.solve, 60_000)
    probe = nnla.probe(op, STEPS, start=case.b, scaling=case.base.solve)
    rows, searched = [], None
    for i, rtol in enumerate(RTOLS):
        own, tail, ms = both(probe, rtol)
        cap = math.ceil(plain[1])
        counted = case.of(own, probe, cap)
        if searched is None:
            a, b = own.interval
            grid = [interval(min(a * g, 0.6 * b), b) for g in (GRID if size <= 32 else GRID[1::2])]
            searched = [case.of(d, probe, math.ceil(1.05 * counted[1]) + 1) for d in grid]
        row = {"size": size, "seed": seed, "field": name, "scaling": scaling, "rtol": rtol, "n": op.n}
        row |= {"N": plain[i], "A": counted[i], "best": min([counted[i], *(c[i] for c in searched)])}
        row["B"] = case.of(tail, probe, cap)[i] if tail.outliers else counted[i]
        if tail.outliers:
            row["B float32"] = case.of(tail, probe, cap, np.float32)[i]
        row |= {"outliers": len(tail.outliers), "note": tail.note, "extra ms": ms, "fallback": tail.fallback}
        rows.append(row)
    return rows


def guard_rows(name: str, source: str, scaling: str) -> list[dict]:
    """A and B on a system of the suite or of a file; [] where the scaling does not exist or changes nothing."""
    A = problem(name, source.removeprefix("suite-")).A if source.startswith("suite") else read_matrix(source)
    op = nnla.as_operator(A)
    if scaling == "jacobi" and nnla.linear.preconditioner.choose_scaling(op) == "none":
        return []
    try:
        base = Scaling("ic", ic0(op.csr).solve) if scaling == "ic" else bind_scaling(op, scaling)
    except IncompleteFactorizationError:
        return []
    case, rows = Tail(A, base), []
    probe = nnla.probe(op, STEPS, start=case.b, scaling=base.solve)
    if not probe.definite:
        return []
    for i, rtol in enumerate(RTOLS):
        own, tail, ms = both(probe, rtol)
        row = {"name": name, "source": "suite" if source.startswith("suite") else "file", "scaling": scaling}
        row |= {"rtol": rtol, "outliers": len(tail.outliers), "note": tail.note, "extra ms": ms}
        if tail.outliers:  # elsewhere B is A
            row["A"] = case.of(own, probe, 3000)[i]
            row["B"] = case.of(tail, probe, 3000)[i]
            if scaling != "ic":  # which has no native form in float32
                row["A float32"] = case.of(own, probe, 3000, np.float32)[i]
                row["B float32"] = case.of(tail, probe, 3000, np.float32)[i]
        rows.append(row)
    return rows


def geometric(values) -> float:
    values = list(values)
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else math.nan


def summary(rows: list[dict], guard: list[dict]) -> dict:
    """The figures that it is judged by."""
    out = {}
    for scaling in ("none", "jacobi"):
        group = [r for r in rows if r["scaling"] == scaling]
        for label, part in (
            [(f"field {f}", [r for r in group if r["field"] == f]) for f in FIELDS]
            + [(f"size {s}", [r for r in group if r["size"] == s]) for s in sorted({r["size"] for r in group})]
            + [(f"rtol {t:g}", [r for r in group if r["rtol"] == t]) for t in RTOLS]
            + [("all", group)]
        ):
            if part:
                out[f"{scaling}, {label}"] = {
                    "cases": len(part),
                    "B / best interval": geometric(r["B"] / r["best"] for r in part),
                    "worst": max(r["B"] / r["best"] for r in part),
                    "best": min(r["B"] / r["best"] for r in part),
                    "B / A": geometric(r["B"] / r["A"] for r in part),
                    "floor / best interval": geometric(r["N"] / 12 / r["best"] for r in part),
                    "B in use": sum(r["outliers"] > 0 for r in part),
                }
    for source in ("suite", "file"):
        part = [r for r in guard if r["source"] == source]
        used = [r for r in part if r["outliers"]]
        solved = [r for r in used if math.isfinite(r["A"])]
        worse = [r for r in solved if r["B"] > max(r["A"] + 1, 1.02 * r["A"])]
        if part:
            out[f"guard, {source}"] = {
                "cases": len(part),
                "B in use": len(used),
                "of those A converges": len(solved),
                "B / A there": geometric(r["B"] / r["A"] for r in solved if math.isfinite(r["B"])),
                "worst B / A": max((r["B"] / r["A"] for r in solved), default=math.nan),
                "worse than A by > 1 and > 2 %": [f"{r['name']}/{r['scaling']}/{r['rtol']:g}" for r in worse],
                "extra milliseconds, median and largest": [
                    float(np.median([r["extra ms"] for r in part])),
                    max(r["extra ms"] for r in part),
                ],
            }
    return out


def markdown(rows: list[dict], guard: list[dict], figures: dict, meta: dict) -> str:
    text = ["# Engine B: roots on outlying eigenvalues", "", f"Generated by `{meta['command']}` ({meta['systems']})."]
    text += [f"{meta['date']}, {meta['hardware']}, float64 unless stated, true relative residuals, Gaussian right-hand"]
    text += ["side, zero start, 50-step probe, degree 11 (12 products an outer iteration). `best`: best Chebyshev"]
    text += [
        "interval in hindsight, 15 lower ends (7 for sizes above 32) from 0.2 to 5 times",
        "engine A's, same b. `floor`: N / 12, N the",
    ]
    text += ["iterations of plain CG over the same scaling, below which no polynomial of this degree gets.", ""]
    text += ["## Lognormal 3-D diffusion, s = 1.5", "", "| group | " + " | ".join(next(iter(figures.values()))) + " |"]
    text += ["|---|" + "---|" * len(next(iter(figures.values())))]
    for key, value in figures.items():
        if not key.startswith("guard"):
            text.append(f"| {key} | " + " | ".join(_cell(v) for v in value.values()) + " |")
    text += ["", "## Elsewhere: never worse than engine A", ""]
    for key, value in figures.items():
        if key.startswith("guard"):
            text += [f"* {key.removeprefix('guard, ')}: " + "; ".join(f"{k}: {_cell(v)}" for k, v in value.items())]
    columns = ("field", "size", "seed", "scaling", "rtol", "N", "A", "B", "B float32", "best", "outliers", "note")
    text += ["", "## Cases", "", "| " + " | ".join(columns) + " | B / best | floor / best |"]
    text += ["|" + "---|" * (len(columns) + 2)]
    for r in rows:
        cells = [_cell(r.get(c)) for c in columns]
        text.append("| " + " | ".join(cells) + f" | {r['B'] / r['best']:.3f} | {r['N'] / 12 / r['best']:.3f} |")
    columns = ("name", "scaling", "rtol", "A", "B", "A float32", "B float32", "outliers", "note")
    text += ["", "Suite and matrices, where B is in use:", "", "| " + " | ".join(columns) + " |"]
    text += ["|" + "---|" * len(columns)]
    text += ["| " + " | ".join(_cell(r.get(c)) for c in columns) + " |" for r in guard if r["outliers"]]
    return "\n".join([*text, ""])


def _cell(value) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(_cell(v) for v in value) or "none"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        if 0 < value < 1e-5:
            return f"{value:g}"
        return str(int(value)) if value == int(value) and abs(value) >= 2 else f"{value:.3f}"
    return str(value)


def figure(rows: list[dict], path: Path) -> None:
    """Left: R of A and B over one spectrum. Right: B / best of all cases against the floor."""
    from matplotlib.figure import Figure

    A = diffusion3d(lognormal_field((12,) * 3, s=1.5, correlation=1e-3, seed=1))
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    probe = nnla.probe(A, STEPS, start=b)
    own, tail, _ = both(probe, RTOLS[0])
    top = probe.upper_bound
    lam = np.linalg.eigvalsh(A.toarray())
    x = np.union1d(np.linspace(1e-4, 1.0, 4000) * top, lam)
    fig = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    left.plot(x / top, own.recurrence.residual(x), color="#999999", label="A: Chebyshev interval")
    left.plot(x / top, tail.recurrence.residual(x), color="#009E73", label=f"B: {tail.note}")
    left.plot(
        lam / top, tail.recurrence.residual(lam), "|", color="#000000", markersize=9, label="eigenvalues, under B"
    )
    left.axhline(1.0, color="#D55E00", linewidth=0.8, linestyle=":")
    left.set(ylim=(-1.6, 1.6), xlabel="eigenvalue / b", ylabel="R = 1 - x P", title="12^3, white lognormal field")
    left.legend(fontsize=8, loc="lower right")
    for name, colour in zip(FIELDS, ("#0072B2", "#E69F00", "#009E73"), strict=True):
        for scaling, marker in (("none", "o"), ("jacobi", "x")):
            part = [r for r in rows if r["field"] == name and r["scaling"] == scaling]
            if part:
                points = [(r["N"] / 12 / r["best"], r["B"] / r["best"]) for r in part]
                right.plot(*zip(*points, strict=True), marker, color=colour, markersize=5, label=f"{name}, {scaling}")
    right.plot([0.5, 1.0], [0.5, 1.0], color="#999999", linewidth=0.8)
    right.axhline(0.9, color="#D55E00", linewidth=0.8, linestyle=":")
    right.set(xlabel="floor N / 12, relative to the best interval", ylabel="B / best interval", xlim=(0.5, 1.0))
    right.set_title("outer iterations, lognormal fields of s = 1.5")
    right.legend(fontsize=8)
    fig.savefig(path, dpi=130)


def run(task: tuple) -> tuple[tuple, str, list[dict]]:
    kind, *arguments = task
    try:
        return task, kind, (lognormal_rows if kind == "lognormal" else guard_rows)(*arguments)
    except NNLAError as error:
        print(arguments, type(error).__name__, str(error)[:120], flush=True)
        return task, kind, []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small systems only")
    parser.add_argument("--matrices", type=Path, help="folder of SPD matrices (.mtx, .mtx.gz)")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=DOCS)
    args = parser.parse_args()
    plan = {16: range(2)} if args.quick else PLAN
    tasks: list[tuple] = []
    for size, seeds in plan.items():
        for field in FIELDS:
            tasks += [("lognormal", size, seed, field, "none") for seed in seeds]
            tasks += [("lognormal", size, seed, field, "jacobi") for seed in seeds if size <= 32 and seed < 2]
    sources = [(name, "suite-small" if args.quick else "suite-full") for name in SUITE]
    if args.matrices:
        sources += [(p.name.split(".")[0], str(p)) for p in sorted(args.matrices.glob("*.mtx*"))]
    tasks += [("guard", name, source, scaling) for name, source in sources for scaling in ("none", "jacobi", "ic")]
    tasks.sort(key=_late)
    rows: list[dict] = []
    guard: list[dict] = []
    stem = args.out / ("autospec_tail_quick" if args.quick else "autospec_tail")
    partial = stem.with_suffix(".partial.jsonl")  # an interrupted run goes on where it was
    done = [json.loads(line) for line in partial.read_text().splitlines()] if partial.exists() else []
    seen = [task for task, _, _ in done]
    left = [task for task in tasks if list(task) not in seen]
    counted = 0
    try:
        for task, kind, found in itertools.chain(done, _map(run, left, args.jobs)):
            found = [_infinite(row) for row in found]
            if list(task) not in seen:
                with open(partial, "a") as stream:
                    stream.write(json.dumps([task, kind, _finite(found)]) + "\n")
            (rows if kind == "lognormal" else guard).extend(found)
            counted += 1
            for row in found:
                if "A" in row:
                    print({k: v for k, v in row.items() if k not in ("note", "n")}, flush=True)
    except KeyboardInterrupt:
        print(f"interrupted after {counted} of {len(tasks)} systems; the same command goes on from there")
    command = "python reproduce/autospec_tail.py" + (" --matrices FOLDER" if args.matrices else "")
    meta = {"command": command, "date": time.strftime("%Y-%m-%d"), "rtols": RTOLS, "degree": DEGREE}
    meta["systems"] = f"{counted} of {len(tasks)} systems"
    meta["hardware"] = f"{platform.machine()}, {os.cpu_count()} cores"
    figures = summary(rows, guard)
    print(json.dumps(figures, indent=1))
    data = {"meta": meta, "summary": figures, "rows": rows, "guard": guard}
    stem.with_suffix(".json").write_text(json.dumps(_finite(data), indent=1))
    stem.with_suffix(".md").write_text(markdown(rows, guard, figures, meta))
    figure(rows, stem.with_suffix(".png"))
    if counted == len(tasks):
        partial.unlink()


def _late(task: tuple) -> int:
    """Order of the tasks: small systems and the suite first, the slow ones last."""
    if task[0] == "lognormal":
        return 0 if task[1] <= 32 else 2 if task[1] < 60 else 4
    return 1 if task[2].startswith("suite") else 3


def _map(function, tasks, jobs: int):
    if jobs == 1:
        yield from map(function, tasks)
        return
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(function, tasks)


def _finite(value):
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _infinite(row: dict) -> dict:
    return {k: math.inf if v == "inf" else v for k, v in row.items()}


if __name__ == "__main__":
    main()
