"""Measure the constants of `nnla.linear.costs`: what every method takes, on generated families alone.

    python benchmarks/selection_constants.py [--only PATTERN] [--out constants.json]

Every system is solved by every method of nnla in turn (CPU time, medians of three), and the constants are medians and
least-squares fits over the systems. The families are not those of benchmarks/time_to_solution.py, which judges.
About ten minutes on one core; set NNLA_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import nnla
from nnla.kernels import native
from nnla.kernels.cholesky import Cholesky
from nnla.linear.costs import Costs
from nnla.problems.finite_elements import delaunay_mesh, elasticity2d, elasticity3d, eliminate, p1_stiffness
from nnla.problems.gallery import (
    checkerboard_field,
    diffusion2d,
    diffusion3d,
    grid_circuit,
    lognormal_field,
    poisson2d,
    poisson3d,
    power_grid,
    wathen,
)

METHODS = ("jacobi", "ic", "autospec", "amg", "direct")
_MOST_FLOPS = 1e11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="regular expression of the systems to take")
    parser.add_argument("--out", type=Path, help="file for the raw measurements")
    arguments = parser.parse_args()
    rows = []
    for name, make in systems().items():
        if re.search(arguments.only, name):
            rows.append(measure(name, make()))
            print(describe(rows[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1))
    for line in constants(rows):
        print(line)


def systems() -> dict[str, Callable[[], Any]]:
    """Name -> maker, small to large in each family."""
    made: dict[str, Callable[[], Any]] = {}
    for m in (30, 60, 150, 330):
        made[f"poisson2d {m}"] = lambda m=m: poisson2d(m)
        made[f"jumps2d {m}"] = lambda m=m: diffusion2d(checkerboard_field((m, m), blocks=7, contrast=1e5))
        made[f"circuit {m}"] = lambda m=m: grid_circuit(m, m, seed=4)
    for m in (10, 16, 28, 48):
        made[f"poisson3d {m}"] = lambda m=m: poisson3d(m)
        made[f"lognormal3d {m}"] = lambda m=m: diffusion3d(lognormal_field((m, m, m), s=1.5, seed=3))
    for m in (30, 55, 140):
        made[f"power grid {m}"] = lambda m=m: power_grid(m, m, seed=4)
    for m in (12, 25, 60):
        made[f"elasticity2d {m}"] = lambda m=m: elasticity2d(3 * m, m)
    for m in (5, 9, 16):
        made[f"elasticity3d {m}"] = lambda m=m: elasticity3d(2 * m, m, m)
    for m in (15, 30, 80):
        made[f"wathen {m}"] = lambda m=m: wathen(m, m, seed=2)
    for n in (700, 3000, 20_000, 100_000):
        made[f"triangles {n}"] = lambda n=n: triangles(n, seed=1, spread=0.5)
        made[f"triangles, shuffled {n}"] = lambda n=n: shuffled(triangles(n, seed=2, spread=2.0))
    return made


def triangles(n: int, *, seed: int, spread: float) -> sp.csr_array:
    """Diffusion with lognormal coefficients on an unstructured mesh, held at two sides."""
    mesh = delaunay_mesh(n, seed=seed)
    k = np.exp(spread * np.random.default_rng(seed).standard_normal(len(mesh.triangles)))
    return eliminate(p1_stiffness(mesh.points, mesh.triangles, k), abs(mesh.points[:, 0] - 0.5) > 0.48)


def shuffled(A: sp.csr_array, seed: int = 0) -> sp.csr_array:
    order = np.random.default_rng(seed).permutation(A.shape[0])
    return sp.csr_array(A[order][:, order])


def measure(name: str, A: sp.csr_array) -> dict[str, Any]:
    op = nnla.as_operator(A)
    b = np.random.default_rng(1).standard_normal(op.n)
    costs = Costs(op)
    row: dict[str, Any] = {
        "name": name, "n": op.n, "nnz": op.nnz, "levels": costs.levels, "runs": costs.runs,
        "m_matrix": costs.m_matrix, "cubed_width": costs.flops / costs.speeds.fill,
    }  # fmt: skip
    analysed = Cholesky(op.csr, max_flops=_MOST_FLOPS) if native is not None else None
    row["flops"] = analysed.flops if analysed is not None and analysed.complete else None
    for method in METHODS:
        if method == "direct" and row["flops"] is None:
            continue
        times = []
        for _ in range(3):
            started = time.process_time()
            report = nnla.solve(A, b, method=method).report
            times.append(time.process_time() - started)
        if report.converged:
            row[method] = {
                "seconds": float(np.median(times)),
                "iterations": report.iterations,
                "probe": report.probe_iterations,
                "share": report.seconds["solve"] / report.seconds["total"],
            }
    return row


def describe(row: dict[str, Any]) -> str:
    cells = (f"{m} {row[m]['seconds'] * 1e3:.3g} ms / {row[m]['iterations']}" if m in row else "" for m in METHODS)
    return f"{row['name']:24s} n {row['n']:7d}  " + "  ".join(f"{c:24s}" for c in cells)


def constants(rows: list[dict[str, Any]]) -> list[str]:
    """The lines to compare with `nnla.linear.costs`."""
    lines = [""]

    def add(name: str, values: list[float]) -> None:
        if values:
            low, middle, high = np.percentile(values, [10, 50, 90])
            lines.append(f"{name:60s} {middle:.3g}   (10 % {low:.3g}, 90 % {high:.3g}, {len(values)} systems)")

    def each(method: str, row: dict[str, Any]) -> float:
        return row[method]["seconds"] * row[method]["share"] / max(row[method]["iterations"], 1)

    both = [r for r in rows if "jacobi" in r and "ic" in r and r["jacobi"]["iterations"] >= 30]
    for signs in (True, False):
        chosen = [r for r in both if r["m_matrix"] is signs]
        label = "M-matrix" if signs else "others"
        add(f"IC_ITERATIONS, {label}", [r["ic"]["iterations"] / r["jacobi"]["iterations"] for r in chosen])
        add(f"AMG_ITERATIONS, {label}", [float(r["amg"]["iterations"]) for r in chosen if "amg" in r])
    add("LEVEL_ITERATIONS (poisson)", [r["jacobi"]["iterations"] / r["levels"] for r in both if "poisson" in r["name"]])
    add("Speeds.ic_step", [each("ic", r) / each("jacobi", r) for r in both])
    for low, high in ((0.0, 0.3), (0.7, 1.01)):
        chosen = [r for r in both if "autospec" in r and r["autospec"]["iterations"] >= 5 and low <= r["runs"] < high]
        label = "scattered" if low == 0 else "runs"
        add(f"Speeds.polynomial_step, {label}", [each("autospec", r) / each("jacobi", r) for r in chosen])
    add("Speeds.fill", [r["flops"] / r["cubed_width"] for r in rows if r["flops"]])
    add("amg, seconds per stored entry", [r["amg"]["seconds"] / r["nnz"] for r in rows if "amg" in r and r["n"] > 4000])
    if both:
        A = np.array([[r["nnz"], r["n"]] for r in both], dtype=float)
        y = np.array([each("jacobi", r) for r in both])
        fit = np.linalg.lstsq(A / y[:, None], np.ones(len(y)), rcond=None)[0]
        lines.append(f"{'Speeds.entry, Speeds.row':60s} {fit[0]:.2g}, {fit[1]:.2g}")
    direct = [r for r in rows if "direct" in r and r["n"] > 1000]
    if len(direct) >= 3:
        columns = [[r["n"] * (r["n"] / 2000) ** 0.13, r["nnz"], r["flops"]] for r in direct]
        y = np.array([r["direct"]["seconds"] for r in direct])
        fit = np.linalg.lstsq(np.array(columns) / y[:, None], np.ones(len(y)), rcond=None)[0]
        lines.append(f"{'Speeds.order_row, factor_entry, flop':60s} {fit[0]:.2g}, {fit[1]:.2g}, {fit[2]:.2g}")
    return lines


if __name__ == "__main__":
    main()
