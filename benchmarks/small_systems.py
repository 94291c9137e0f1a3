"""Systems of less than a millisecond: `nnla.solve` beside its own kernels, its ordinary way, and CHOLMOD.

    python benchmarks/small_systems.py [--only PATTERN] [--repeats 15] [--seeds 1] [--out small_systems]

Every system is solved by all in turn, in random order; CPU seconds, medians. Judged are those that the best of all
solves in less than a millisecond. CHOLMOD is asked where scikit-sparse is installed, with its defaults: ordering,
analysis, factor and solution, as for nnla. Writes OUT.json and OUT.md. Set OMP_NUM_THREADS=1; about two minutes.

The last table says what the parts of the native call took by what its constants promise: they are right to within the
spread of that column, on machines like the one they were measured on.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import platform
import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import nnla
from nnla.kernels import native
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.machine import cache_sizes
from nnla.problems.systems import SYSTEM_FAMILIES, linear_system

try:
    from sksparse.cholmod import cholesky
except ImportError:
    cholesky: Any = None

_SMALL = 1e-3  # seconds
_SIZES = (25, 100, 300, 900, 2500)
_ROUNDING = 1e-10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="regular expression of the systems to take")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=1, help="systems of each family and size")
    parser.add_argument("--out", type=Path, default=Path("small_systems"))
    arguments = parser.parse_args()
    rows = []
    for name, A, b in systems(arguments.seeds):
        if re.search(arguments.only, name):
            rows.append(measure(name, A, b, arguments.repeats))
            print(line(rows[-1]), flush=True)
    facts = {"date": datetime.date.today().isoformat(), "machine": machine(), "rows": rows}
    arguments.out.with_suffix(".json").write_text(json.dumps(facts, indent=1))
    text = page(facts)
    arguments.out.with_suffix(".md").write_text(text)
    print(text)


def systems(seeds: int) -> Iterator[tuple[str, Any, np.ndarray]]:
    """Grids in two and three dimensions, and every generated family, as far as the quick way takes them."""
    for n in _SIZES:
        flat: Any = nnla.problems.poisson2d(round(n**0.5))
        deep: Any = nnla.problems.poisson3d(round(n ** (1 / 3)))
        yield f"square grid {flat.shape[0]}", flat, np.ones(flat.shape[0])
        yield f"cube {deep.shape[0]}", deep, np.ones(deep.shape[0])
    for family in SYSTEM_FAMILIES:
        for n in _SIZES[1:]:
            for seed in range(seeds):
                if not SYSTEM_FAMILIES[family].smallest <= n <= SYSTEM_FAMILIES[family].largest:
                    continue
                try:
                    system = linear_system(family, n, seed=1000 + seed)
                except ValueError:  # spanning trees of older versions of SciPy take no wide indices
                    continue
                A: Any = system.A
                b = np.array(system.b, dtype=float)
                if A.nnz <= 20_000 and b.ndim == 1:
                    yield f"{family} {A.shape[0]}/{seed}", A, b


def measure(name: str, A: Any, b: np.ndarray, repeats: int) -> dict[str, Any]:
    """Medians of CPU seconds of all, and what the quick way did."""
    report = nnla.solve(A, b).report
    csc = sp.csc_matrix(A)
    runs: dict[str, Callable[[], Any]] = {
        "solve": lambda: nnla.solve(A, b),
        "native": lambda: native.solve_quickly(A.indptr, A.indices, A.data, b, 1e-8, 0.0, _ROUNDING),
        "ordinary": lambda: nnla.solve(A, b, timeout=math.inf),
    }
    if works(lambda: Cholesky(A).factor()):
        runs["kernels"] = lambda: Cholesky(A).factor().solve(b)
    if cholesky is not None and works(lambda: cholesky(csc)):
        runs["cholmod"] = lambda: cholesky(csc)(b)
    seconds: dict[str, list[float]] = {key: [] for key in runs}
    order = np.random.default_rng(0)
    for _ in range(repeats):
        for key in order.permutation(list(runs)):  # nobody comes always after the same one
            started = time.process_time()
            runs[key]()
            seconds[key].append(time.process_time() - started)
    for key in ("solve", "native"):  # side by side, as a loop over small systems runs them
        seconds[f"warm {key}"] = []
    for _ in range(2 * repeats):
        for key in ("solve", "native"):
            started = time.process_time()
            runs[key]()
            seconds[f"warm {key}"].append(time.process_time() - started)
    taken = isinstance(runs["native"](), tuple)
    parts = {}
    if taken:
        last = report.phases[-1]
        kind = "band" if last.note else last.method
        if report.predicted_seconds and last.method in report.predicted_seconds and len(report.phases) == 1:
            parts = {"kind": kind, "ratio": last.seconds / report.predicted_seconds[last.method]}
    return {
        "name": name, "n": int(A.shape[0]), "nnz": int(A.nnz), "method": report.method, "quick": taken, "parts": parts,
        "seconds": {key: float(np.median(values)) for key, values in seconds.items()},
    }  # fmt: skip


def works(run: Callable[[], Any]) -> bool:
    """Whether it does without an error; CHOLMOD raises one of its own where a matrix is not definite."""
    try:
        run()
    except Exception:
        return False
    return True


def line(row: dict[str, Any]) -> str:
    times = ", ".join(f"{key} {1e6 * s:.0f}" for key, s in row["seconds"].items())
    how = "" if row["quick"] else " (the ordinary way)"
    return f"{row['name']}: {row['nnz']} entries, {row['method']}{how}: {times} us"


def page(facts: dict[str, Any]) -> str:
    """The tables in Markdown."""
    rows = [row for row in facts["rows"] if min(row["seconds"].values()) < _SMALL]
    taken = [row for row in rows if row["quick"]]
    text = [
        f"Measured on {facts['date']}, {facts['machine']}, one thread: {len(rows)} systems that the best of all solves "
        f"in less than a millisecond, {len(taken)} of them in one native call. CPU microseconds, medians.",
        "",
        "| n | systems | solve | overhead | ordinary way | kernels | CHOLMOD | solve / kernels | solve / CHOLMOD |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    bounds = (0, 50, 200, 600, 1500, 10**9)
    groups = [[r for r in rows if low < r["n"] <= high] for low, high in pairwise(bounds)]
    for group, label in zip([*groups, rows], ("to 50", "to 200", "to 600", "to 1500", "more", "all"), strict=True):
        if not group:
            continue
        cells = [typical(group, key) for key in ("solve", "overhead", "ordinary", "kernels", "cholmod")]
        ratios = [quotient(group, "solve", other) for other in ("kernels", "cholmod")]
        text.append(f"| {label} | {len(group)} | {' | '.join(cells)} | {' | '.join(ratios)} |")
    text += [
        "",
        "| part | systems | seconds by those predicted | a tenth of them is below | above |",
        "|---|---|---|---|---|",
    ]
    for kind in ("band", "direct", "jacobi"):
        found = [row["parts"]["ratio"] for row in taken if row["parts"].get("kind") == kind]
        if found:
            low, middle, high = np.quantile(found, [0.1, 0.5, 0.9])
            text.append(f"| {kind} | {len(found)} | {middle:.2f} | {low:.2f} | {high:.2f} |")
    return "\n".join(text) + "\n"


def typical(rows: list[dict[str, Any]], key: str) -> str:
    """A median in microseconds; the overhead is what `solve` takes beyond the native call when both run in turn."""
    if key == "overhead":
        found = [r["seconds"]["warm solve"] - r["seconds"]["warm native"] for r in rows if r["quick"]]
    else:
        found = [r["seconds"][key] for r in rows if key in r["seconds"]]
    return f"{1e6 * float(np.median(found)):.0f}" if found else ""


def quotient(rows: list[dict[str, Any]], one: str, other: str) -> str:
    """The geometric mean of one's seconds by the other's."""
    found = [math.log(r["seconds"][one] / r["seconds"][other]) for r in rows if other in r["seconds"]]
    return f"{math.exp(float(np.mean(found))):.2f}" if found else ""


def machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.*)", cpuinfo.read_text())
        model = found.group(1) if found else model
    sizes = cache_sizes()
    return f"{model}, {sizes.get(2, 0) >> 10} KiB of second-level cache"


if __name__ == "__main__":
    main()
