"""The constants of `nnla.selection`, measured on the generated suite on this machine.

    OMP_NUM_THREADS=1 python benchmarks/selection_constants.py

Prints, per problem and as medians: what a recurrence step costs beside its product (in vector updates),
and IC(0) against Jacobi: iterations to 1e-8, one solve in products with A, set-up seconds per stored entry.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time

import numpy as np

import nnla
from nnla.incomplete_cholesky import IncompleteFactorizationError, ic0
from nnla.problems import SUITE, problem
from nnla.selection import _time_vector_update


def best_time(function, repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    rows = []
    for name in SUITE:
        p = problem(name, "full")
        op = nnla.as_operator(p.A)
        b = np.random.default_rng(0).standard_normal(op.n)
        probe = nnla.probe(op, 20)
        r = nnla.Recurrence.chebyshev(1e-3 * probe.upper_bound, probe.upper_bound, 11)

        def chain(op=op, b=b):
            v = b
            for _ in range(10):
                v = op.matvec(v)
                v *= 0.1

        product, vector = best_time(chain) / 10, _time_vector_update(b)
        step = best_time(lambda r=r, op=op, b=b: r.apply(op, b)) / r.products
        row = [(step - product) / vector]
        try:
            factor = ic0(op.csr)
            solve = best_time(lambda f=factor, b=b: f.solve(b))
            ic, jacobi = (nnla.solve(op, b, method=m).report.iterations for m in ("ic", "jacobi"))
            row += [ic / jacobi, solve / product, factor.seconds / op.nnz]
        except IncompleteFactorizationError:
            row += [np.nan] * 3
        rows.append(row)
        ic = f"IC: iterations {row[1]:.2f}, solve {row[2]:.1f} products, set-up {row[3]:.1e} s/entry"
        print(f"{name:18s} step {row[0]:5.1f} vectors, {ic}", flush=True)
    print("medians", np.nanmedian(np.array(rows), axis=0))


if __name__ == "__main__":
    main()
