"""Whole sequences of systems to a true relative residual: `nnla.Solver` against cold solves, fixed policies and peers.

    OMP_NUM_THREADS=1 python benchmarks/sequences.py --sequences FOLDER
    python benchmarks/sequences.py --quick                                        # generated small ones, a minute
    python benchmarks/sequences.py --only 'drift' --methods 'Solver,nnla cold,petsc'
    python benchmarks/sequences.py --redraw                                       # page and plots from the records

Writes docs/sequences_benchmark.{md,json,png}. --sequences names a folder with one folder a sequence: A_00.mtx.gz,
b_00.mtx.gz, A_01.mtx.gz ... in their order. Peers are tuned in hindsight for each sequence: of each library the best of
its settings counts (`seq.methods`). Every answer is verified; the time of the check is not counted.

Every run is one line of docs/sequences_benchmark.partial.jsonl as soon as it is there: an interrupted run, or one that
--seconds ended, goes on, and a new version of a library replaces its own rows only. Each library runs in a process of
its own (--python LIBRARY=PATH gives it another interpreter; benchmarks/time_to_solution.py says how to install peers).
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from seq import figures, page
from seq.cases import Case, select
from seq.methods import METHODS
from seq.pool import SequencePool
from seq.session import Plan, Session
from seq.summary import collect
from time_to_solution import DOCS, _finite, hardware, pairs, read_records


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", action="append", default=[], type=Path, metavar="FOLDER",
                        help="folder of folders with A_*.mtx.gz and b_*.mtx.gz")  # fmt: skip
    parser.add_argument("--no-generated", action="store_true", help="the sequences of the folders only")
    parser.add_argument("--quick", action="store_true", help="small generated sequences")
    parser.add_argument("--only", help="regular expression that a sequence's name has to contain")
    parser.add_argument("--methods", help="names or patterns, comma-separated or repeated with ;; default all")
    parser.add_argument("--rtol", type=float, default=1e-8)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="cpu", help="the time that is judged")
    parser.add_argument(
        "--samples",
        type=int,
        default=3,
        help="runs of each method with its best setting, up to 5 times as many of short ones",
    )
    parser.add_argument("--limit", type=float, default=90.0, help="seconds of one run, at most")
    parser.add_argument("--factor", type=float, default=4.0, help="a setting is stopped at so many times the best")
    parser.add_argument("--floor", type=float, default=2.0, help="seconds that every setting gets")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of this call: the next one goes on")
    parser.add_argument("--memory", type=float, default=8.0, help="GB of address space of a worker, 0 for no limit")
    parser.add_argument("--python", action="append", default=[], metavar="LIBRARY=PATH", help="interpreter of a worker")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "nnla-sequences")
    parser.add_argument("--out", type=Path, default=DOCS)
    parser.add_argument("--fresh", action="store_true", help="forget the records that are there")
    parser.add_argument("--note", default="", help="a sentence for the page: what else ran on the machine, say")
    parser.add_argument("--no-plots", action="store_true")
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    return parser.parse_args(words)


def chosen_methods(text: str | None) -> list[str]:
    """Patterns are separated by semicolons where a name holds a comma."""
    if text is None:
        return list(METHODS)
    wanted = text.split(";") if ";" in text else text.split(",")
    names = [m for m in METHODS if any(fnmatch.fnmatchcase(m, w.strip()) for w in wanted)]
    if not names:
        raise SystemExit(f"no method matches {text!r}: use some of {'; '.join(METHODS)}")
    return names


def main(words: list[str] | None = None) -> None:
    args = parse(words)
    started = time.monotonic()
    methods = chosen_methods(args.methods)
    cases = select(args.sequences, quick=args.quick, only=args.only, generated=not args.no_generated)
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / ("sequences_benchmark_quick" if args.quick else "sequences_benchmark")
    partial = stem.with_suffix(".partial.jsonl")
    if args.fresh:
        partial.unlink(missing_ok=True)
    libraries = list(dict.fromkeys(METHODS[m][0] for m in methods))
    pool = SequencePool(libraries, pairs(args.python, "--python"), args.memory, args.clock)
    try:
        for library, why in pool.absent.items():
            print(f"absent: {library} ({why})", flush=True)
        methods = [m for m in methods if m in pool.offered]
        facts, whole = measure(args, cases, methods, pool, partial, lambda: time.monotonic() - started > args.seconds)
        data = collect(facts, read_records(partial), methods, pool, args.rtol, args.clock)
    finally:
        pool.close()
    data["meta"] |= {
        "command": "python benchmarks/sequences.py " + shlex.join(_shown(sys.argv[1:])), "hardware": hardware(),
        "date": time.strftime("%Y-%m-%d"), "note": args.note, "samples": args.samples, "versions": pool.versions,
        "absent": pool.absent, "whole": whole, "limit": args.limit, "factor": args.factor, "floor": args.floor,
    }  # fmt: skip
    stem.with_suffix(".json").write_text(json.dumps(_finite(data), indent=1))
    stem.with_suffix(".md").write_text(page.page(data, stem.name))
    try:
        if not args.no_plots:
            figures.draw(data, stem.with_suffix(".png"))
    except ImportError:
        print("no plots: Matplotlib is not installed")
    print("\n".join(page.bars(data["summary"])))
    if not whole:
        print("not finished: call again with the same arguments to go on")


def measure(
    args: argparse.Namespace, cases: list[Case], methods: list[str], pool: SequencePool, partial: Path, expired: Any
) -> tuple[dict[str, dict[str, Any]], bool]:
    """Run what is missing; the facts of every sequence, and whether all is there."""
    plan = Plan(args.rtol, args.clock, args.samples, args.limit, args.factor, args.floor)
    old: dict[str, list[dict[str, Any]]] = {}
    for r in read_records(partial):
        old.setdefault(r["sequence"], []).append(r)
    facts: dict[str, dict[str, Any]] = {}
    whole = True
    with open(partial, "a") as stream:

        def record(row: dict[str, Any]) -> None:
            stream.write(json.dumps(row) + "\n")
            stream.flush()

        for case in cases:
            if args.redraw and case.name not in old:
                continue
            if expired():
                whole = False
                if case.name not in old:
                    continue
            folder, facts[case.name] = case.prepare(args.cache)
            if args.redraw or expired():
                continue
            session = Session(case.name, folder, facts[case.name]["digest"], pool, plan, record, old.get(case.name, []))
            done = session.measure(methods, expired)
            whole = whole and done
            print(progress(session, methods, args.clock), flush=True)
    return facts, whole


def progress(session: Session, methods: list[str], clock: str) -> str:
    times = {m: min((sum(r[clock]) for r in session.runs(m) if r["ok"]), default=None) for m in methods}
    ranked = sorted((t, m) for m, t in times.items() if t is not None)
    return f"{session.name:28s} " + ", ".join(f"{m} {t:.3g}" for t, m in ranked)


def _shown(words: list[str]) -> list[str]:
    """The command line without the paths of this machine."""
    out = []
    for word, before in zip(words, ["", *words], strict=False):
        if before in ("--sequences", "--out", "--cache"):
            word = "FOLDER"
        if before == "--note":
            word = "NOTE"
        if before == "--python":
            word = word.split("=")[0] + "=PYTHON"
        if before == "--seconds":
            word = "SECONDS"
        out.append(word)
    return out


if __name__ == "__main__":
    main()
