"""Measure the constants of the policy of ``method="auto"`` and of its classical rule, on generated families alone.

    python benchmarks/selection_constants.py DATA            the rule (`linear.rule`), from `reproduce/auto_data.py`
    python benchmarks/selection_constants.py --rates         how far rates of CG are to be believed (`linear.progress`)
    python benchmarks/selection_constants.py --blocks        columns of blocks, a look at the graph (`linear.predictor`)

The families are those of `nnla.problems.SYSTEM_FAMILIES`, not those of benchmarks/time_to_solution.py, which judges.
The speeds of this machine are `nnla doctor --calibrate --json`; thresholds of the decisions are chosen by
`reproduce/auto_replay.py`. Some minutes on one core each; set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import nnla
from nnla.errors import NNLAError
from nnla.krylov.start import start_cg
from nnla.linear.progress import iterations_left, steady
from nnla.operators.features import STRUCTURE_FEATURES, structure_features
from nnla.preconditioners.scalings import bind_scaling
from nnla.problems import SYSTEM_FAMILIES, linear_system, poisson3d
from nnla.training.log import read_log

RTOL = "1e-08"
WAYS = (0.1, 0.25, 0.5, 0.75, 1.01)  # shares of the way


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", help="folder of lines of reproduce/auto_data.py")
    parser.add_argument("--rates", action="store_true")
    parser.add_argument("--blocks", action="store_true")
    arguments = parser.parse_args()
    if arguments.data is not None:
        rule(list(read(arguments.data)))
    if arguments.rates:
        rates()
    if arguments.blocks:
        blocks()


def read(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        yield from (row for row in read_log(path) if "error" not in row)


def told(name: str, values: list[float]) -> None:
    """Median, and the spread of the logarithm as the rule states it."""
    if values:
        low, middle, high = np.percentile(values, [16, 50, 84])
        std = 0.5 * math.log(high / low) if low > 0 else math.nan
        print(f"{name:44s} {middle:.3g}   (log std {std:.2f}, {len(values)} systems)")


def iterations(row: dict[str, Any], method: str) -> float | None:
    return (row.get(method, {}).get("iterations") or {}).get(RTOL)


def rule(rows: list[dict[str, Any]]) -> None:
    """Medians over the systems of more than a thousand unknowns."""
    rows = [row for row in rows if row["n"] > 1000]
    product = [row["jacobi"]["step_seconds"] for row in rows]
    told(
        "product, by _ENTRY nnz + _ROW n",
        [p / (6e-10 * r["nnz"] + 9e-10 * r["n"]) for p, r in zip(product, rows, strict=True)],
    )
    found: dict[str, list[float]] = defaultdict(list)
    for row, step in zip(rows, product, strict=True):
        features = dict(zip(STRUCTURE_FEATURES, row["features"], strict=True))
        signs = "M-matrix" if features["positive share"] == 0 else "others"
        jacobi = iterations(row, "jacobi")
        if jacobi is not None:
            found["_JACOBI"].append(jacobi)
        d = row["direct"]
        if "order_seconds" in d:
            found["_ORDER_ROW"].append(d["order_seconds"] / row["n"])
        if "factor_seconds" in d:
            found["_FLOP, where these prevail" if d["flops"] > 1e8 else "_FACTOR_ENTRY, where few flops"].append(
                d["factor_seconds"] / (d["flops"] if d["flops"] > 1e8 else row["nnz"])
            )
            found["_SUBSTITUTION"].append(d["substitution_seconds"] / d["entries"])
        if d.get("flops") and features["log cubed width"] is not None:
            found["_FILL"].append(d["flops"] / math.exp(features["log cubed width"]))
        for method, key in (("ic", "_IC"), ("amg", "_AMG"), ("autospec", "_POLYNOMIAL")):
            facts, count = row.get(method, {}), iterations(row, method)
            if "step_seconds" not in facts:
                continue
            unit = row["nnz"] if method == "amg" else step
            found[f"{key}_SETUP"].append(facts["setup_seconds"] / unit)
            found[f"{key}_STEP"].append(facts["step_seconds"] / unit / (12 if method == "autospec" else 1))
            if count and jacobi and method == "ic":
                found[f"_IC, {signs}, {'shifted' if facts.get('shift') else 'as it is'}"].append(count / jacobi)
            if count and method == "amg":
                found[f"_AMG, {signs}"].append(count)
    for name, values in sorted(found.items()):
        told(name, values)


def rates() -> None:
    """What the rate of CG so far promises, by what was left, after each share of the way."""
    gaps: dict[tuple[bool, float], list[float]] = defaultdict(list)
    for family in sorted(SYSTEM_FAMILIES):
        try:
            system = linear_system(family, min(3000, SYSTEM_FAMILIES[family].largest), seed=5)
        except (NNLAError, ValueError):
            continue
        op, size = nnla.as_operator(system.A), float(np.linalg.norm(system.b))
        for scaling in ("jacobi", "ic"):
            try:
                base = bind_scaling(op, scaling)
            except NNLAError:
                continue
            b = system.b / size
            cg = start_cg(
                op, b, x=np.zeros(op.n), residual=b.copy(), targets=np.array([1e-8]), sizes=np.ones(1), M=base
            )  # fmt: skip
            result = cg.advance(6000)
            norms, count = result.first, result.iterations
            if result.status != "converged" or count < 15:
                continue
            for k in sorted({8, 16, 32, count // 4, count // 3, count // 2, 2 * count // 3, 4 * count // 5}):
                left = iterations_left(norms[max(k - 80, 0) : k], 1e-8) if 6 <= k < count - 1 else math.inf
                if left < math.inf:
                    share = -math.log(min(norms[:k])) / math.log(1e8)
                    known = steady([1.0, *norms[:k]] if k < 80 else norms[k - 80 : k])
                    gaps[known, min(w for w in WAYS if share < w)].append(math.log((count - k) / max(left, 0.5)))
    for (known, way), values in sorted(gaps.items()):
        middle, spread = np.median(values), np.std(values)
        print(f"steady {known!s:5}  up to {way:.2f} of the way: median {middle:5.2f}, std {spread:.2f} ({len(values)})")


def least(work: Callable[[], Any], repeats: int = 7) -> float:
    """Seconds, the least of some."""
    found = math.inf
    for _ in range(repeats):
        started = time.process_time()
        work()
        found = min(found, time.process_time() - started)
    return found


def _each(A: Any, b: np.ndarray, method: str, count: int = 12) -> float:
    """Seconds that grow with the iterations, of so many, by a difference."""
    few, many = (
        least(lambda most=most: nnla.solve(A, b, method=method, maxiter=most, rtol=1e-14)) for most in (1, count)
    )
    return many - few


def blocks() -> None:
    """Seconds of a column of a block of eight by those of one vector; seconds of a look at the graph."""
    A = poisson3d(28)
    rng = np.random.default_rng(0)
    b, B = rng.standard_normal(A.shape[0]), rng.standard_normal((A.shape[0], 8))
    for method in ("jacobi", "ic", "autospec"):
        one, eight = (_each(A, right, method) for right in (b, B))
        print(f"a column of a block, {method}: {eight / 8 / one:.2f} of a vector")
    factor = nnla.prepare(A, method="direct")
    assert factor.setup is not None
    solve = factor.setup.apply
    print(f"a column of a block, substitution: {least(lambda: solve(B)) / 8 / least(lambda: solve(b)):.2f} of a vector")
    for points in (10, 20, 40):
        op = nnla.as_operator(poisson3d(points))
        diagonal = op.diagonal()
        whole = least(lambda op=op, d=diagonal: structure_features(op.csr, d))
        print(f"a look at the graph of {op.n} rows: {whole:.2e} s, {whole / (op.n + op.nnz):.2e} s by rows and entries")


if __name__ == "__main__":
    main()
