"""What decides between the methods, measured on one system: counts that no machine changes, and seconds on this one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import nnla
from nnla.errors import NNLAError
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.reordering import better_order
from nnla.krylov.start import start_cg
from nnla.krylov.step_features import step_features
from nnla.linear.preconditioner import choose_scaling
from nnla.operators.features import structure_features
from nnla.preconditioners.scalings import Scaling, bind_scaling
from nnla.types import Status

RTOLS = (1e-4, 1e-6, 1e-8, 1e-10)
STEPS = (4, 8, 16, 32, 64)
FACTORED = 3e10  # operations up to which a factor is made, and not only counted
COUNTED = 1e14
LEAST, SLOWER = 0.06, 3.0  # seconds that every iteration gets, and by the time of a direct solution
MOST = 3.0  # seconds that an iteration gets
ITERATIONS = 20_000
POLYNOMIAL = 0.02  # seconds of the best of the others from which on a polynomial is tried


def facts(A: Any, b: np.ndarray) -> dict[str, Any]:
    """One row of the data: see `reproduce/auto_data.py`."""
    op = nnla.as_operator(A)
    size = float(np.linalg.norm(b))
    b = b / size if size > 0 else b
    assert op.structure is not None
    row: dict[str, Any] = {"n": op.n, "nnz": op.nnz}
    seconds, known = timed(lambda: structure_features(op.csr, op.structure.diagonal))
    row["features"] = [None if not np.isfinite(v) else round(float(v), 5) for v in known]
    row["feature_seconds"] = seconds
    row["direct"] = direct(op, b)
    limit = min(max(LEAST, SLOWER * total_direct(row["direct"])), MOST)
    row["jacobi"], row["steps"] = jacobi(op, b, limit)
    row["ic"] = incomplete(op, b, limit)
    row["amg"] = multigrid(op, b, limit)
    if worth_a_polynomial(row):
        row["autospec"] = polynomial(A, b, limit)
    return row


def worth_a_polynomial(row: dict[str, Any]) -> bool:
    """Whether there is time to win: its probe alone is fifty products, and the engine takes some milliseconds."""
    known = [total_direct(row["direct"])]
    for name in ("jacobi", "ic", "amg"):
        count = (row[name].get("iterations") or {}).get("1e-08")
        known += [row[name]["setup_seconds"] + count * row[name]["step_seconds"]] if count else []
    return min(known) > POLYNOMIAL


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and the result."""
    started = time.process_time()
    result = call()
    return time.process_time() - started, result


def total_direct(row: dict[str, Any]) -> float:
    parts = [row.get(name) for name in ("order_seconds", "factor_seconds", "substitution_seconds")]
    return sum(parts) if all(p is not None for p in parts) else MOST


def direct(op: Any, b: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = {"failed": 0}
    try:
        row["order_seconds"], analysed = timed(lambda: Cholesky(op.csr, max_flops=COUNTED))
        row |= {"flops": analysed.flops, "entries": analysed.nnz, "complete": analysed.complete}
        if analysed.complete and analysed.flops <= FACTORED:
            repeats = 3 if analysed.flops < 1e7 else 1
            row["factor_seconds"] = min(timed(analysed.factor)[0] for _ in range(repeats))
            row["substitution_seconds"], x = timed(lambda: analysed.solve(b))
            row["residual"] = float(np.linalg.norm(b - op.csr @ x))
    except (NNLAError, RuntimeError, MemoryError) as error:
        row |= {"failed": 1, "why": type(error).__name__}
    return row


def iterate(op: Any, b: np.ndarray, base: Scaling, limit: float) -> tuple[dict[str, Any], Any]:
    """CG with a bound scaling, to the tightest tolerance or its limits: iterations to each, seconds an iteration."""
    norm = float(np.linalg.norm(b)) or 1.0
    cg = start_cg(
        op, b, x=np.zeros_like(b), residual=b.copy(), targets=np.array([RTOLS[-1] * norm]),
        sizes=np.array([norm]), M=base, stall=max(300, min(2 * op.n, 20_000)) + 20,
    )  # fmt: skip
    spent, result = 0.0, cg.result
    chunk = 8
    while result.iterations < ITERATIONS and spent < limit:
        spent += timed(lambda chunk=chunk: cg.advance(chunk))[0]
        if result.status is not Status.MAXITER:
            break
        chunk = min(2 * chunk, 500)
        if _reached(result.first, norm, RTOLS[-2]) and spent > limit / 4:
            break
    found = {str(rtol): _reached(result.first, norm, rtol) for rtol in RTOLS}
    failed = result.status not in (Status.CONVERGED, Status.MAXITER) and found[str(RTOLS[2])] is None
    row = {
        "iterations": found,
        "stopped": result.iterations,
        "status": result.status.value,
        "step_seconds": spent / max(result.iterations, 1),
        "failed": int(failed),
    }
    return row, result


def _reached(norms: list[float], size: float, rtol: float) -> int | None:
    below = np.nonzero(np.array(norms) <= rtol * size)[0]
    return int(below[0]) + 1 if below.size else None


def jacobi(op: Any, b: np.ndarray, limit: float) -> tuple[dict[str, Any], dict[str, Any]]:
    name = choose_scaling(op)
    seconds, base = timed(lambda: bind_scaling(op, name))
    row, result = iterate(op, b, base, limit)
    norm = float(np.linalg.norm(b)) or 1.0
    steps: dict[str, Any] = {}
    for k in STEPS:
        known = step_features(result, norm, k) if len(result.first) >= k else None
        if known is not None:
            steps[str(k)] = [round(float(v), 5) for v in known]
    return {"base": base.name, "setup_seconds": seconds, **row}, steps


def incomplete(op: Any, b: np.ndarray, limit: float) -> dict[str, Any]:
    def build() -> tuple[Any, np.ndarray, Scaling]:
        found = better_order(op.csr) if op.n > 1000 else None
        if found is None:
            return op, b, bind_scaling(op, "ic")
        order, matrix = found
        there = op.permuted(order, matrix)
        return there, np.ascontiguousarray(b[order]), bind_scaling(there, "ic")

    try:
        seconds, (there, right, base) = timed(build)
    except (NNLAError, MemoryError) as error:
        return {"failed": 1, "why": type(error).__name__}
    row = iterate(there, right, base, limit)[0]
    return {"setup_seconds": seconds, "shift": base.shift, "reordered": there is not op, **row}


def multigrid(op: Any, b: np.ndarray, limit: float) -> dict[str, Any]:
    from nnla.preconditioners.multigrid import multigrid as build

    longest = op.structure.longest_row / op.structure.mean_row
    if op.n < 500 or longest > 100:  # rows against rows takes their square: nobody would try
        return {"failed": None}
    try:
        seconds, cycle = timed(lambda: build(op.definite()))
        base = Scaling("amg", cycle.solve, 0.0, cycle.work, None, cycle.native)
    except (NNLAError, MemoryError, ValueError, np.linalg.LinAlgError) as error:
        return {"failed": 1, "why": type(error).__name__}
    row = iterate(op, b, base, limit)[0]
    hierarchy = cycle.hierarchy
    return {"setup_seconds": seconds, "levels": len(hierarchy.levels), "complexity": hierarchy.operator_complexity,
            "work": cycle.work, **row}  # fmt: skip


def polynomial(A: Any, b: np.ndarray, limit: float) -> dict[str, Any]:
    try:
        seconds, solution = timed(lambda: nnla.solve(A, b, method="autospec", timeout=2 * limit))
    except NNLAError as error:
        return {"failed": 1, "why": type(error).__name__}
    report = solution.report
    own = [p for p in report.phases if not p.probing and not p.declined and p.degree is not None]
    wall = max(report.seconds["total"], 1e-9)
    share = seconds / wall  # of a core, on a machine that others use
    row: dict[str, Any] = {
        "probe": report.probe_iterations, "status": report.status.value, "products": report.products,
        "total_seconds": seconds, "failed": int(not report.converged and report.status is not Status.TIMEOUT),
    }  # fmt: skip
    if own and own[-1].iterations:
        steps = sum(p.iterations for p in own)
        row["step_seconds"] = share * sum(p.seconds for p in own) / steps
        row["setup_seconds"] = max(seconds - row["step_seconds"] * steps, 0.0)
        row["iterations"] = {"1e-08": steps if report.converged else None}
        row["stopped"] = steps
        row["degree"] = own[-1].degree
    return row
