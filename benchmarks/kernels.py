"""The kernels against the memory: bytes a second of each beside a STREAM triad, and a polynomial beside NumPy's.

    OMP_NUM_THREADS=1 python benchmarks/kernels.py                  # one and two threads, a few minutes
    OMP_NUM_THREADS=1 python benchmarks/kernels.py --quick

Products, degree-11 recurrences (fused, and fused and cache-blocked) in float64, float32 and bfloat16, and iterations
of conjugate gradients, on grids, a circuit, a 27-point stencil and unstructured elements in natural, random and
reverse Cuthill-McKee order. Writes docs/kernels.{md,json,png}.

Bytes are those that a kernel has to move if every vector is streamed once a step and the matrix once a product; what
stays in a cache moves less, so that a cache-blocked recurrence can exceed the triad. Times of one thread are CPU
times, of more threads wall times; kernels take turns, and ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from kernel_tables import figure, markdown
from scipy.sparse import csr_array
from time_to_solution import hardware
from tts.cases import Case
from tts.catalogue import CATALOGUE
from tts.generated import permuted

import nnla
from nnla.kernels import native
from nnla.kernels.system import NativeSystem, cache_budget, native_layers

DOCS = Path(__file__).resolve().parents[1] / "docs"
DEGREE = 11
#: name, order: what the issue names.
SYSTEMS = (
    ("poisson2d_1000", "natural"), ("poisson3d_100", "natural"), ("circuit_1000", "natural"),
    ("stencil27_72", "natural"), ("fem2d_500000", "natural"), ("fem2d_500000", "random"), ("fem2d_500000", "RCM"),
    ("fem3d_300000", "natural"), ("fem3d_300000", "random"), ("fem3d_300000", "RCM"),
)  # fmt: skip
QUICK = (("poisson2d_316", "natural"), ("poisson3d_46", "natural"), ("fem3d_40000", "RCM"))
SIZE = {"float64": 8, "float32": 4, "bfloat16": 4}  # bytes of a vector's entry: bfloat16 is for the matrix only


class Kernel:
    """One thing to time: a function, the bytes that a call has to move, and how many products it makes."""

    def __init__(self, run: Callable[[], Any], bytes_moved: float, products: int, note: str = "") -> None:
        self.run, self.bytes, self.products, self.note = run, bytes_moved, products, note
        self.samples: list[float] = []


def triad(n: int) -> tuple[Kernel, str]:
    """a = b + q c on vectors of n entries, natively where there is such a kernel, else BLAS: y = y + q x."""
    b, c, a = np.ones(n), np.full(n, 2.0), np.zeros(n)
    own = getattr(native, "triad", None)
    if own is not None:
        return Kernel(lambda: own(3.0, b, c, a), 24.0 * n, 1), "native"
    from scipy.linalg.blas import daxpy

    return Kernel(lambda: daxpy(c, b, a=1e-9), 24.0 * n, 1), "BLAS daxpy, one thread"


def ordered(A: Any, order: str) -> Any:
    if order == "random":
        return permuted(A)
    if order == "RCM":
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import reverse_cuthill_mckee

        p = reverse_cuthill_mckee(csr_matrix(A), symmetric_mode=True)
        B = csr_array(A[p][:, p])
        B.sort_indices()
        B.indices, B.indptr = B.indices.astype(np.int32), B.indptr.astype(np.int32)
        return B
    return A


def vector_passes(recurrence: nnla.Recurrence) -> float:
    """Vectors read or written in all steps together, the input of each product included."""
    r, layers = recurrence, len(recurrence.rho)
    used = sum(int((row != 0).sum()) for row in (r.gamma, r.eta)) + 2 * int((r.rho != 0).sum())
    return used + 2 * (layers + 1)


def kernels(A: Any, recurrence: nnla.Recurrence) -> dict[str, Kernel]:
    """Everything that runs on one matrix, NumPy's recurrence first."""
    n, nnz = A.shape[0], A.nnz
    csr_bytes = 12.0 * nnz + 4.0 * n
    z, out = np.random.default_rng(0).standard_normal(n), np.empty(n)
    products = recurrence.products
    passes = vector_passes(recurrence)
    table = {
        "NumPy recurrence": Kernel(lambda: recurrence.apply(A, z), products * csr_bytes + 8.0 * passes * n, products),
        "SciPy product": Kernel(lambda: A @ z, csr_bytes + 16.0 * n, 1),
    }
    if native is None:
        return table
    system = NativeSystem(A, A.diagonal())
    # twelve products in a row and nothing else: what a product costs inside of a recurrence
    chain = [[0.0] * 11] * 4 + [[0.1] * 11]
    layers = native_layers(recurrence)
    assert layers is not None
    for dtype, size in SIZE.items():
        M = system.matrix(dtype, scaled=False)
        kind = {"float64": native.Polynomial64, "float32": native.Polynomial32, "bfloat16": native.Polynomial16}[dtype]
        only = kind(M, chain, 0.0, 0.1, None, 0, 0)
        fused, blocked = kind(M, *layers, None, 0, 0), kind(M, *layers, None, *cache_budget())
        ends = 16.0 * n  # float64 in and out
        form = f"{M.bytes / nnz:.1f} bytes an entry"
        whole = products * M.bytes + size * passes * n + ends
        table[f"product {dtype}"] = Kernel(
            lambda P=only: P.apply(z, out), 12 * (M.bytes + 2.0 * size * n) + ends, 12, form
        )
        table[f"fused {dtype}"] = Kernel(lambda P=fused: P.apply(z, out), whole, products, form)
        chunks, steps, window = blocked.traversal
        note = f"{chunks} chunks, {steps} steps a sweep, {window / 2**20:.1f} MiB" if steps else "not blocked"
        table[f"blocked {dtype}"] = Kernel(lambda P=blocked: P.apply(z, out), whole, products, note)
    table |= conjugate_gradients(A, system, z)
    return table


def conjugate_gradients(A: Any, system: NativeSystem, b: np.ndarray, iterations: int = 20) -> dict[str, Kernel]:
    """Iterations of CG: SciPy's, and native ones from CSR and from slices. 10 or 13 vectors pass in each."""
    from scipy.sparse.linalg import LinearOperator, cg

    n, csr_bytes = A.shape[0], 12.0 * A.nnz + 4.0 * A.shape[0]
    inverse = 1.0 / A.diagonal()
    M = LinearOperator(A.shape, matvec=lambda r: inverse * r, dtype=np.float64)

    def native_run(product: Any, diagonal: np.ndarray | None) -> Callable[[], Any]:
        def run() -> None:
            solver = native.ConjugateGradients(product, None, diagonal)
            solver.run(np.zeros(n), b.copy(), 0.0, iterations, 0, False, True)

        return run

    csr, sliced = native.Product.csr(A.indptr, A.indices, A.data), system.product(sliced=True)
    M_bytes = system.matrix("float64", scaled=False).bytes
    return {
        "SciPy cg": Kernel(lambda: cg(A, b, rtol=0.0, maxiter=iterations),
                           iterations * (csr_bytes + 96.0 * n), iterations),
        "SciPy cg, Jacobi": Kernel(lambda: cg(A, b, rtol=0.0, maxiter=iterations, M=M),
                                   iterations * (csr_bytes + 128.0 * n), iterations),
        "cg CSR": Kernel(native_run(csr, None), iterations * (csr_bytes + 80.0 * n), iterations),
        "cg CSR, Jacobi": Kernel(native_run(csr, inverse), iterations * (csr_bytes + 104.0 * n), iterations),
        "cg sliced": Kernel(native_run(sliced, None), iterations * (M_bytes + 80.0 * n), iterations),
        "cg sliced, Jacobi": Kernel(native_run(sliced, inverse), iterations * (M_bytes + 104.0 * n), iterations),
    }  # fmt: skip


def seconds(run: Callable[[], Any], threads: int) -> float:
    clock = time.process_time if threads == 1 else time.perf_counter
    started = clock()
    run()
    return clock() - started


def measure(table: dict[str, Kernel], threads: int, rounds: int) -> None:
    """Fills `samples`; the kernels take turns in rotated order."""
    names = list(table)
    for k in table.values():
        k.samples.clear()
        k.run()
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            table[name].samples.append(seconds(table[name].run, threads))


def rows_of(
    name: str, order: str, A: Any, threads: int, rounds: int, stream_size: int = 16_000_000
) -> list[dict[str, Any]]:
    """All measurements of one matrix; the triad's vectors have `stream_size` entries, far beyond the caches."""
    top = float(abs(A).sum(axis=1).max())
    recurrence = nnla.Recurrence.chebyshev(1e-3 * top, top, DEGREE)
    table = kernels(A, recurrence)
    stream, source = triad(stream_size)
    table["triad"] = stream
    rows = []
    for count in range(1, threads + 1):
        if native is not None:
            native.set_threads(count)
        measure(table, count, rounds)
        reference = table["NumPy recurrence"].samples
        for label, k in table.items():
            median = statistics.median(k.samples)
            row = {"system": name, "order": order, "n": A.shape[0], "nnz": A.nnz, "kernel": label, "threads": count}
            row |= {"ms": 1e3 * median, "ms_best": 1e3 * min(k.samples), "gbs": 1e-9 * k.bytes / median}
            row |= {"products": k.products, "note": source if label == "triad" else k.note}
            row["share"] = row["gbs"] / (1e-9 * stream.bytes / statistics.median(stream.samples))
            if label.startswith(("fused", "blocked")):
                row["speedup"] = statistics.median(a / b for a, b in zip(reference, k.samples, strict=True))
            rows.append(row)
    if native is not None:
        native.set_threads(0)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small systems, nothing written to docs")
    parser.add_argument("--only", default="", help="only systems whose name contains this")
    parser.add_argument("--threads", type=int, default=2, help="measure 1 to so many")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "nnla-time-to-solution")
    parser.add_argument("--out", type=Path, default=DOCS)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, order in QUICK if args.quick else SYSTEMS:
        if args.only not in name:
            continue
        folder, _ = Case(name, CATALOGUE[name].family).prepare(args.cache)
        data, indices, indptr = (np.load(folder / f"{part}.npy") for part in ("data", "indices", "indptr"))
        A = ordered(csr_array((data, indices, indptr), shape=2 * (indptr.size - 1,)), order)
        rows += rows_of(name, order, A, args.threads, args.rounds)
        for row in rows:
            if row["system"] == name and row["order"] == order and row.get("speedup"):
                print(f"{name} {order} {row['kernel']:16s} {row['threads']} thread(s): {row['ms']:8.2f} ms, "
                      f"{row['gbs']:6.1f} GB/s ({row['share']:.2f} of triad), {row['speedup']:.2f} x NumPy  "
                      f"{row['note']}", flush=True)  # fmt: skip
    meta = {
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "isa": native.isa() if native is not None else "no native kernels",
        "rounds": args.rounds,
        "degree": DEGREE,
        "command": "python benchmarks/kernels.py" + (" --quick" if args.quick else ""),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "versions": {"nnla": nnla.__version__, "numpy": np.__version__},
    }
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / ("kernels_quick" if args.quick else "kernels")
    stem.with_suffix(".json").write_text(json.dumps({"meta": meta, "rows": rows}, indent=1))
    stem.with_suffix(".md").write_text(markdown(rows, meta, stem.name))
    figure(rows, stem.with_suffix(".png"))


if __name__ == "__main__":
    main()
