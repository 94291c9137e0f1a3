"""Two versions of nnla on the same systems, in turns: is the new one slower?

Each version runs in a process of its own; they take turns solve by solve, in alternating order, and the ratio of CPU
times is taken pair by pair. The median of the ratios is what counts, as these machines are noisy::

    python benchmarks/compare_versions.py --before ../nnla-before/src --after src [--matrices FOLDER] [--rounds 15]

`--before` and `--after` are folders that hold the package ``nnla``, with its kernels where they are to be used. One
thread. Prints a Markdown table; `--json FILE` keeps the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

SYSTEMS = (  # name, method
    ("poisson2d 30", "jacobi"),
    ("poisson2d 30", "auto"),
    ("poisson2d 150", "autospec"),
    ("poisson2d 300", "auto"),
    ("poisson3d 40", "autospec"),
    ("poisson3d 40", "auto"),
    ("lognormal 200", "jacobi"),
    ("lognormal 200", "ic"),
    ("elasticity 60", "auto"),
    ("permuted 250", "ic"),
)
REAL = (("bcsstk16", "auto"), ("G2_circuit", "autospec"), ("cfd1", "ic"), ("Trefethen_20000", "jacobi"))


def system(name: str, folder: Path | None) -> tuple[Any, Any]:
    """Matrix and right-hand side by name."""
    import numpy as np
    import scipy.sparse as sp

    import nnla

    rng = np.random.default_rng(0)
    kind, _, size = name.partition(" ")
    if not size:
        assert folder is not None
        A = nnla.problems.read_matrix(folder / f"{name}.mtx.gz")
    elif kind in ("poisson2d", "poisson3d"):
        A = getattr(nnla.problems, kind)(int(size))
    elif kind == "elasticity":
        A = nnla.problems.elasticity2d(int(size), int(size))
    else:
        A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((int(size), int(size)), s=1.0))
        if kind == "permuted":
            order = rng.permutation(A.shape[0])
            A = sp.csr_array(sp.csr_array(A)[order][:, order])
    return A, rng.standard_normal(A.shape[0])


def worker(folder: Path | None) -> None:
    """Solves what it is asked for, line by line, and answers with the CPU time."""
    import time

    import nnla

    kept: dict[str, Any] = {}
    for line in sys.stdin:
        name, method, times = json.loads(line)
        if name not in kept:
            kept.clear()
            kept[name] = system(name, folder)
            nnla.solve(*kept[name], method=method)  # imports, weights, pages
        A, b = kept[name]
        started = time.process_time()
        for _ in range(times):
            report = nnla.solve(A, b, method=method).report
        print(json.dumps([(time.process_time() - started) / times, report.iterations, report.method]), flush=True)


def start(source: str, folder: Path | None) -> subprocess.Popen[str]:
    """A worker on the package in this folder."""
    environment = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1", "NNLA_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--worker"] + ([] if folder is None else ["--matrices", str(folder)])
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def ask(process: subprocess.Popen[str], name: str, method: str, times: int) -> tuple[float, int, str]:
    """One turn of a worker."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps([name, method, times]), file=process.stdin, flush=True)
    return tuple(json.loads(process.stdout.readline()))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before")
    parser.add_argument("--after")
    parser.add_argument("--matrices", type=Path, help="folder of SuiteSparse *.mtx.gz files, for four real systems")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.matrices)
        return
    if not options.before or not options.after:
        parser.error("--before and --after are folders that hold nnla")
    workers = [start(os.path.abspath(p), options.matrices) for p in (options.before, options.after)]
    rows = []
    print("| system | method | before ms | after ms | after / before |\n|---|---|---:|---:|---:|")
    for name, method in SYSTEMS + (REAL if options.matrices else ()):
        first, _, chosen = ask(workers[0], name, method, 1)
        ask(workers[1], name, method, 1)
        times = max(1, min(40, int(0.05 / max(first, 1e-6))))
        pairs = []
        for turn in range(options.rounds):
            order = (0, 1) if turn % 2 == 0 else (1, 0)
            seconds = {k: ask(workers[k], name, method, times)[0] for k in order}
            pairs.append((seconds[0], seconds[1]))
        before, after = (1e3 * statistics.median(pair[k] for pair in pairs) for k in (0, 1))
        ratio = statistics.median(pair[1] / pair[0] for pair in pairs)
        rows.append({"system": name, "method": method, "ran": chosen, "before": before, "after": after, "ratio": ratio})
        print(f"| {name} | {method} | {before:.3g} | {after:.3g} | {ratio:.3f} |", flush=True)
    mean = statistics.geometric_mean(row["ratio"] for row in rows)
    print(f"| geometric mean | | | | {mean:.3f} |")
    for process in workers:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "geometric_mean": mean}, indent=1) + "\n")


if __name__ == "__main__":
    main()
