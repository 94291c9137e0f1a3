"""`nnla.eigsh(method="auto")`, verified, against SciPy with a shift, ARPACK, LOBPCG + AMG, PRIMME, SLEPc, CHOLMOD.

    python benchmarks/eigsh_peers.py --matrices FOLDER [--reps 3] [--out FILE.md]      # an hour or more
    python benchmarks/eigsh_peers.py --quick                                            # a minute
    python benchmarks/eigsh_peers.py --only thermal --k 10 --solvers auto,scipy         # some of it
    python benchmarks/eigsh_peers.py --python slepc4py=peers/bin/python --python primme=peers/bin/python

20 problems, k = 10 and 20. Every solve runs in a process of its own, one thread, after a tiny one that loads what is
needed; CPU seconds. An answer is *right* if it has every wanted eigenvalue, as told by pairs of tiny residual and a
count by inertia (two factorisations, neither of the solvers'), and every residual is within 1e-10 ||A||. A solver is
stopped at --factor times the quickest right one so far. What cannot be imported is looked for in the interpreters of
--python, and absent if it is in none. Their environment, on Debian 12 (its SLEPc needs NumPy 1.26):

    apt-get install --no-install-recommends python3-petsc4py python3-slepc4py libsuitesparse-dev libopenblas-dev
    python3.11 -m venv peers
    peers/bin/pip install 'numpy==1.26.4' 'scipy==1.15.3' pyamg primme 'scikit-sparse<0.4.16'
    export PETSC_DIR=/usr/lib/petscdir/petsc3.18/x86_64-linux-gnu-real
    export SLEPC_DIR=/usr/lib/slepcdir/slepc3.18/x86_64-linux-gnu-real
    export PYTHONPATH=$PETSC_DIR/lib/python3/dist-packages:$SLEPC_DIR/lib/python3/dist-packages

Writes FILE.md and FILE.json; each sample goes to FILE.partial.jsonl at once; an interrupted run goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eigen.peer_problems import PROBLEMS, PeerProblem, SkippedError, load, store
from eigen.peer_reference import reference
from eigen.peer_report import OURS, judge, page
from eigen.peer_solvers import LIBRARY, SOLVERS
from time_to_solution import hardware

from nnla.training.log import read_log

WORKER = Path(__file__).resolve().parent / "eigen" / "peer_worker.py"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LARGEST = 20  # eigenvalues of a reference
_MEMORY = 12 * 2**30
Row = dict[str, Any]


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrices", type=Path, help="folder of real matrices, NAME.mtx.gz")
    parser.add_argument("--quick", action="store_true", help="two small problems")
    parser.add_argument("--only", nargs="+", default=[], help="problems whose name or group has one of these in it")
    parser.add_argument("--k", nargs="+", type=int, default=[10, 20])
    parser.add_argument("--solvers", help="comma-separated beginnings of names; default all")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--tol", type=float, default=1e-10)
    parser.add_argument("--factor", type=float, default=4.0, help="a solver is stopped at so many times the best")
    parser.add_argument("--floor", type=float, default=5.0, help="seconds that every solver gets")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds of one solve, at most")
    parser.add_argument("--inertia", type=float, default=1e13, help="operations of a factor that counts, at most")
    parser.add_argument("--python", action="append", default=[], metavar="LIBRARY=PATH", help="interpreter with it")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "nnla-eigsh-peers")
    parser.add_argument("--out", type=Path, default=Path("eigsh_peers.md"))
    parser.add_argument("--fresh", action="store_true", help="forget the samples that are there")
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    return parser.parse_args(words)


def _environment() -> dict[str, str]:
    return os.environ | dict.fromkeys(_THREADS, "1")


def _libraries(python: str) -> dict[str, str]:
    """Versions of what an interpreter can import."""
    done = subprocess.run([python, str(WORKER), "--libraries"], capture_output=True, text=True, env=_environment())
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        return {}


def interpreters(pythons: dict[str, str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The interpreter of each solver that has one, and what the interpreters have."""
    found = {sys.executable: _libraries(sys.executable)}
    for python in pythons.values():
        if python not in found:
            found[python] = _libraries(python)
    chosen = {}
    for solver, needed in LIBRARY.items():
        order = [sys.executable, *pythons.values()]
        for name in needed:
            order = [pythons[name], *order] if name in pythons else order
        has = [p for p in order if all(name in found[p] for name in needed)]
        if has:
            chosen[solver] = has[0]
        else:
            print(f"absent: {solver} ({', '.join(needed)} cannot be imported)", flush=True)
    return chosen, {f"environment {i + 1}": libraries for i, libraries in enumerate(found.values())}


def _limited(seconds: float) -> Any:
    def limit() -> None:
        whole = int(seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 2))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))

    return limit


def run(python: str, asked: dict[str, Any], limit: float) -> Row:
    """One solve; "failed" says that it was stopped."""
    spare = 4.0 + 2e-7 * Path(asked["path"]).stat().st_size  # of imports, reading, the tiny solve, residuals
    words = [python, str(WORKER), json.dumps(asked)]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, env=_environment(), timeout=20 * (limit + spare),
            preexec_fn=_limited(limit + spare),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failed": f"stopped at {limit:.3g} s", "limit": limit}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        died = (done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1][:120]
        if done.returncode in (-24, -9):  # by the limits set above
            return {"failed": f"stopped at {limit:.3g} s", "limit": limit}
        return {"failed": died}


def _samples(path: Path) -> list[Row]:
    return read_log(path) if path.exists() else []


def chosen_problems(args: argparse.Namespace) -> list[PeerProblem]:
    """By --quick and --only; what is there for smoke runs is in no other."""
    problems = [p for p in PROBLEMS if p.quick == args.quick or (p.quick and p.group != "smoke")]
    if args.only:
        words = [word.lower() for word in args.only]
        problems = [p for p in problems if any(w in p.name.lower() or w in p.group.lower() for w in words)]
    return problems


def measure(args: argparse.Namespace, solvers: dict[str, str], partial: Path) -> dict[str, str]:
    """All samples that are missing, each a line of the file; returns what is to be said of the references."""
    rows, said = _samples(partial), {}
    with open(partial, "a") as stream:
        for one in chosen_problems(args):
            try:
                path = store(one, args.cache, args.matrices)
            except SkippedError as error:
                print(f"skipped: {one.name}: {error}", flush=True)
                said[one.name] = f"skipped: {error}"
                continue
            A, M = load(path)
            most = min(max([*args.k, _LARGEST]), A.shape[0] // 8)
            known = reference(A, M, most, path.with_suffix(".json"), args.inertia)
            said[one.name] = f"n = {A.shape[0]}, {A.nnz} entries; {known.counted or 'NOT COUNTED'}"
            for k in args.k:
                rows += _problem(args, solvers, one, path, k, vars(known), rows, stream)
    return said


def _problem(
    args: argparse.Namespace, solvers: dict[str, str], one: PeerProblem, path: Path, k: int, known: dict[str, Any],
    rows: list[Row], stream: Any,
) -> list[Row]:  # fmt: skip
    """One problem and k: all solvers in turn, as often as asked for, another one first each time."""
    mine = [row for row in rows if (row["problem"], row["k"]) == (one.name, k)]
    new: list[Row] = []
    names = list(solvers)
    for rep in range(args.reps):
        turn = rep % len(names)
        # in the first round we go first, then the opponents that are likely to be quick: that shortens all limits
        for name in names[turn:] + names[:turn]:
            done = [row for row in mine if row["solver"] == name]
            if len(done) > rep or any("failed" in row for row in done):
                continue
            right = [row["cpu"] for row in mine if row["verdict"] == "right"]
            limit = min(args.limit, max(args.floor, args.factor * min(right))) if right else args.limit
            limit = args.limit if name == OURS else limit
            asked = {"path": str(path), "solver": name, "k": k, "tol": args.tol, "seed": rep}
            asked |= {key: known[key] for key in ("sigma", "norm", "mass")} | {"largest": known["values"][k - 1]}
            row = run(solvers[name], asked, limit)
            row |= {"problem": one.name, "group": one.group, "k": k, "solver": name}
            row["verdict"] = judge(row, known, k, args.tol)
            for key in ("values", "residuals"):
                row.pop(key, None)
            shown = f"{row['cpu']:8.2f} s" if "cpu" in row else " " * 10
            print(f"{one.name:24s} k={k:<3d} {name:28s}{shown}  {row['verdict']} {row.get('note', '')}", flush=True)
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            mine.append(row)
            new.append(row)
    return new


def main(words: list[str] | None = None) -> None:
    """The command."""
    args = parse(words)
    if args.quick:
        args.k, args.reps = [k for k in args.k if k <= 10] or [6], 1
    args.out.parent.mkdir(parents=True, exist_ok=True)
    partial = args.out.with_suffix(".partial.jsonl")
    if args.fresh:
        partial.unlink(missing_ok=True)
    solvers, libraries = interpreters(dict(word.split("=", 1) for word in args.python))
    if args.solvers:
        wanted = tuple(args.solvers.split(","))
        solvers = {name: python for name, python in solvers.items() if name.startswith(wanted)}
    solvers = {name: solvers[name] for name in SOLVERS if name in solvers}
    record = args.out.with_suffix(".json")
    if args.redraw:
        references = json.loads(record.read_text())["facts"]["references"] if record.exists() else {}
    else:
        references = measure(args, solvers, partial)
    facts = {"date": time.strftime("%Y-%m-%d"), "hardware": hardware(), "reps": args.reps, "tol": args.tol,
             "libraries": libraries, "references": references}  # fmt: skip
    rows = _samples(partial)
    args.out.write_text(page(rows, facts))
    record.write_text(json.dumps({"facts": facts, "rows": rows}, indent=1))
    print(args.out.read_text())


if __name__ == "__main__":
    main()
