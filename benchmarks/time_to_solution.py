"""Time to a true relative residual: `nnla.solve` against SciPy, PyAMG, CHOLMOD and PETSc, everything charged.

    OMP_NUM_THREADS=1 python benchmarks/time_to_solution.py --matrices development=FOLDER --matrices matrices2=FOLDER
    python benchmarks/time_to_solution.py --quick                                   # a few minutes
    python benchmarks/time_to_solution.py --only 'poisson3d' --solvers nnla-auto,petsc-icc,pyamg
    python benchmarks/time_to_solution.py --redraw                                  # table and plots from the records

Writes docs/time_to_solution.{md,json,png} and more plots beside them. The systems come in sets, each judged for itself:
the folders, and the generated ones of `tts.catalogue`. Beside `auto` stand yardsticks: always direct; the `auto` of
another source tree (--yardstick NAME=FOLDER, the folder of its package nnla); and with --table the method that was the
best on systems of such n and nnz/n in measurements given as JSON lines (`tts.table_rule`).

Every sample is one line of docs/time_to_solution.partial.jsonl as soon as it is there: an interrupted run goes on, and
a new version of a library replaces its own rows only. What is cached and close to the best of its kind is measured
again beside what is new, so that ratios that matter come from one session; the page says what was measured when. To
judge a new `auto` alone, in minutes, --keep 'nnla-[!a]*' lets the other rows of nnla count whatever their version.

Each library runs in a process of its own (--python LIBRARY=PATH to give one another interpreter, say for PETSc); absent
ones are named in the output. All peers in one environment, on Debian 12 (its PETSc needs NumPy 1.26, and SuiteSparse 5
an older scikit-sparse; the page names the BLAS that CHOLMOD found):

    apt-get install --no-install-recommends python3-petsc4py libsuitesparse-dev libopenblas0-pthread
    python3.11 -m venv peers
    peers/bin/pip install 'numpy==1.26.4' 'scipy==1.15.3' pyamg 'scikit-sparse<0.4.16' matplotlib .
    export PETSC_DIR=/usr/lib/petscdir/petsc3.18/x86_64-linux-gnu-real
    PYTHONPATH=$PETSC_DIR/lib/python3/dist-packages peers/bin/python benchmarks/time_to_solution.py --matrices ...

--clock cpu judges by CPU time, on a machine that others use, too: a page says which one it shows.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import math
import os
import platform
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tts import figures, report, table_rule
from tts.cases import Case, select
from tts.measure import Plan, Session
from tts.pool import Pool
from tts.solvers import LIBRARIES, yardstick
from tts.summary import AUTO, digest, far_behind, judge, summarise

from nnla.training.log import read_log

DOCS = Path(__file__).resolve().parents[1] / "docs"
PRECISION = ("poisson3d_79", "jump2d_316", "circuit_316", "fem3d_40000", "elasticity3d_36", "G2_circuit")
RTOLS = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)
PRECISION_SOLVERS = figures.SHOWN


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--matrices", action="append", default=[], metavar="[SET=]FOLDER",
                        help="folder of *.mtx.gz; NAME_b.mtx.gz is a right-hand side, of several columns the first; "
                        "a set without a name has that of its folder")  # fmt: skip
    parser.add_argument("--no-generated", action="store_true", help="matrices of the folders only")
    parser.add_argument("--sets", help="comma-separated sets that are wanted")
    parser.add_argument("--quick", action="store_true", help="small systems only")
    parser.add_argument("--only", help="regular expression that a system's name has to contain")
    parser.add_argument("--max-n", type=float, default=math.inf, help="only systems of at most so many unknowns")
    parser.add_argument("--solvers", help="comma-separated names, patterns (nnla-*) or libraries; default all")
    parser.add_argument("--yardstick", action="append", default=[], metavar="NAME=FOLDER",
                        help="the auto of the package nnla in FOLDER, as a rule to compare with")  # fmt: skip
    parser.add_argument("--table", type=Path, help="folder of *.jsonl from which the table by n and nnz is made")
    parser.add_argument("--keep", default="", help="comma-separated patterns: records that count in any version")
    parser.add_argument("--former", type=Path, help="JSON of a former page: peers not --close there are left out")
    parser.add_argument("--precision", action="store_true", help="measure the plot of time against residual, too")
    parser.add_argument("--rtol", type=float, default=1e-8)
    parser.add_argument("--threads", type=int, default=1, help="of every library that has threads")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="the time that is judged")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds of one solve, at most")
    parser.add_argument("--factor", type=float, default=15.0, help="stop at so many times the best of its kind")
    parser.add_argument("--floor", type=float, default=2.0, help="seconds that every solver gets")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds of repeats of a short solve")
    parser.add_argument("--samples", type=int, default=5, help="of a solve that is neither long nor far behind")
    parser.add_argument("--close", type=float, default=2.0, help="cached and so near to the best: measured again")
    parser.add_argument("--memory", type=float, default=8.0, help="GB of address space of a worker, 0 for no limit")
    parser.add_argument("--python", action="append", default=[], metavar="LIBRARY=PATH", help="interpreter of a worker")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "nnla-time-to-solution")
    parser.add_argument("--out", type=Path, default=DOCS)
    parser.add_argument("--fresh", action="store_true", help="forget the records that are there")
    parser.add_argument("--note", default="", help="a sentence for the page: what else ran on the machine, say")
    parser.add_argument("--no-plots", action="store_true")
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    return parser.parse_args(words)


def chosen_solvers(text: str | None) -> list[str]:
    if text is None:
        return list(LIBRARIES)
    words = text.split(",")
    names = [s for s in LIBRARIES if any(fnmatch.fnmatch(s, w) or LIBRARIES[s] == w for w in words)]
    if not names:
        raise SystemExit(f"no solver matches {text!r}: use some of {', '.join(LIBRARIES)}")
    return names


def read_records(path: Path) -> list[dict[str, Any]]:
    """All whole lines: the last one of an interrupted run may be cut off."""
    return read_log(path) if path.exists() else []


def hardware() -> str:
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name} ({platform.machine()}), {os.cpu_count()} cores"


def pairs(words: list[str], option: str) -> dict[str, str]:
    """NAME=PATH, as often as given."""
    for word in words:
        if not all(word.partition("=")):
            raise SystemExit(f"{option} takes NAME=PATH, got {word!r}")
    return dict(word.split("=", 1) for word in words)


def folders(words: list[str]) -> dict[str, Path]:
    """Set -> folder of its files."""
    out = {}
    for word in words:
        name, equals, path = word.partition("=")
        folder = Path(path if equals else word)
        if not folder.is_dir():
            raise SystemExit(f"--matrices: there is no folder {folder}")
        out[name if equals else folder.resolve().name] = folder
    return out


def main(words: list[str] | None = None) -> None:
    args = parse(words)
    solvers = chosen_solvers(args.solvers)
    sources = {name: Path(path) for name, path in pairs(args.yardstick, "--yardstick").items()}
    solvers += [yardstick(name)[0] for name in sources]
    groups = args.sets.split(",") if args.sets else None
    cases = select(
        folders(args.matrices), groups=groups, quick=args.quick, only=args.only, generated=not args.no_generated
    )
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / ("time_to_solution_quick" if args.quick else "time_to_solution")
    partial = stem.with_suffix(".partial.jsonl")
    if args.fresh:
        partial.unlink(missing_ok=True)
    pythons = pairs(args.python, "--python")
    pool = Pool(solvers, pythons, args.threads, args.memory, args.clock, sources)
    try:
        for library, why in pool.absent.items():
            print(f"absent: {library} ({why})", flush=True)
        systems = measure(args, cases, solvers, pool, partial)
        data = collect(args, systems, pool, read_records(partial))
    finally:
        pool.close()
    stem.with_suffix(".json").write_text(json.dumps(_finite(data), indent=1))
    stem.with_suffix(".md").write_text(report.page(data))
    try:
        if not args.no_plots:
            figures.draw(data, stem)
    except ImportError:
        print("no plots: Matplotlib is not installed")
    print("\n".join(report.summary(data["summary"])))


def measure(args: argparse.Namespace, cases: list[Case], solvers: list[str], pool: Pool, partial: Path) -> dict:
    """Run what is missing; returns the facts of every system."""
    plan = planned(args)
    old: dict[str, list[dict[str, Any]]] = {}
    for r in read_records(partial):
        old.setdefault(r["matrix"], []).append(r)
    far = far_behind(json.loads(args.former.read_text()), args.clock, args.close) if args.former else {}
    systems: dict[str, dict[str, Any]] = {}
    label = time.strftime("%Y-%m-%dT%H:%M:%S")
    with open(partial, "a") as stream:

        def record(row: dict[str, Any]) -> None:
            stream.write(json.dumps(row) + "\n")
            stream.flush()

        for case in cases:
            started = time.perf_counter()
            if args.redraw and case.name not in old:
                continue
            folder, facts = case.prepare(args.cache)
            if facts["n"] > args.max_n:
                continue
            systems[case.name] = facts | {
                "family": case.family,
                "file": case.source is not None,
                "group": case.group,
            }
            if facts.get("excluded") or args.redraw:
                continue
            mine = old.get(case.name, [])
            Session(case.name, folder, pool, plan, record, label, facts["digest"], mine).measure(
                [s for s in solvers if s not in far.get(case.name, ())]
            )
            if args.precision and case.name in PRECISION:
                some = [s for s in PRECISION_SOLVERS if s in solvers]
                for rtol in RTOLS:
                    own = dataclasses.replace(plan, rtol=rtol)
                    Session(case.name, folder, pool, own, record, label, facts["digest"], mine).measure(some)
            progress(case.name, facts["n"], partial, args, time.perf_counter() - started)
    return systems


def planned(args: argparse.Namespace) -> Plan:
    keys = ("rtol", "threads", "clock", "limit", "factor", "floor", "budget", "samples", "close")
    return Plan(**{key: getattr(args, key) for key in keys}, keep=tuple(filter(None, args.keep.split(","))))


def progress(name: str, n: int, partial: Path, args: argparse.Namespace, seconds: float) -> None:
    rows = [r for r in read_records(partial) if r["matrix"] == name]
    medians = digest(rows, rtol=args.rtol, threads=args.threads, keys={}).get(name, {})
    ranked = sorted((v[args.clock], s) for s, v in medians.items() if v["ok"])
    text = ", ".join(f"{s} {report.number(t)}" for t, s in ranked[:4])
    print(f"{name:22s} n {n:8d}  {text}  [{seconds:.0f} s]", flush=True)


def collect(args: argparse.Namespace, systems: dict[str, dict], pool: Pool, records: list[dict]) -> dict[str, Any]:
    """Everything that the page and the plots show."""
    records = [r for r in records if systems.get(r["matrix"], {}).get("digest") == r["digest"]]
    plan = planned(args)
    libraries = LIBRARIES | pool.libraries
    keys = {s: pool.key(lib) for s, lib in libraries.items() if lib in pool.versions and not plan.keeps(s)}
    medians = digest(records, rtol=args.rtol, threads=args.threads, keys=keys)
    table = table_rule.fit(table_rule.read(args.table)) if args.table else None
    named = {name: table.method(facts["n"], facts["nnz"]) for name, facts in systems.items()} if table else {}
    judged = [
        judge(name, medians[name], args.clock, named.get(name)) for name in systems if AUTO in medians.get(name, {})
    ]
    points = []
    if args.precision:
        for rtol in RTOLS:
            for name, solvers in digest(records, rtol=rtol, threads=args.threads, keys=keys).items():
                points += [
                    {"matrix": name, "solver": s, "rtol": rtol, "residual": v["residual"], "time": v[args.clock]}
                    for s, v in solvers.items()
                    if name in PRECISION and v["ok"] and s in PRECISION_SOLVERS and v["residual"]
                ]
    meta = {
        "command": "python benchmarks/time_to_solution.py " + shlex.join(_shown(sys.argv[1:])),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": pool.versions,
        "absent": pool.absent,
        "plan": {k: getattr(args, k) for k in ("limit", "factor", "floor", "samples", "close")},
        "keep": args.keep,
        "note": args.note,
        "table": table and table.words(),
        **{k: getattr(args, k) for k in ("rtol", "threads", "clock", "memory", "precision")},
    }
    return {
        "meta": meta, "summary": summarise(judged, systems), "systems": systems, "judged": judged, "medians": medians,
        "precision": points,
    }  # fmt: skip


def _shown(words: list[str]) -> list[str]:
    """The command line without the paths of this machine."""
    out = []
    for word, before in zip(words, ["", *words], strict=False):
        if before in ("--matrices", "--out", "--cache", "--yardstick", "--table", "--former"):
            name, equals, _ = word.partition("=")
            word = f"{name}=FOLDER" if equals else "FOLDER"
        if before == "--note":
            word = "NOTE"
        if before == "--python":
            word = word.split("=")[0] + "=PYTHON"
        out.append(word)
    return out


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    main()
