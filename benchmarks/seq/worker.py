"""A process that runs whole sequences by the methods of one library: each step timed, each answer verified outside.

Started by `seq.pool`; reads one JSON object a line and answers with one. Whatever a library prints goes to stderr.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tts.worker import serve

from seq import methods as catalogue

System = tuple[Any, np.ndarray, bool]


def load_sequence(folder: str) -> list[System]:
    """(A, b, same as before) of each step."""
    from scipy.sparse import csr_array

    facts = json.loads((Path(folder) / "facts.json").read_text())
    systems, A = [], None
    for k, m in enumerate(facts["matrices"]):
        same = m != k
        if not same:
            data, indices, indptr = (np.load(f"{folder}/{part}_{k}.npy") for part in ("data", "indices", "indptr"))
            A = csr_array((data, indices, indptr), shape=2 * (indptr.size - 1,))
        systems.append((A, np.load(f"{folder}/b_{k}.npy"), same))
    return systems


def run(method: catalogue.Method, setting: dict[str, str], systems: list[System], tolerance: float) -> dict[str, Any]:
    """Seconds, true residual and iterations of each step of one sequence."""
    gc.collect()
    step = method(**setting)
    cpus, walls, residuals, iterations = [], [], [], []
    for A, b, same in systems:
        wall, cpu = time.perf_counter(), time.process_time()
        x, count = step(A, b, same, tolerance)
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - wall)
        residuals.append(float(np.max(np.linalg.norm(b - A @ x, axis=0) / np.linalg.norm(b, axis=0))))
        iterations.append(count)
    report = getattr(step, "report", None)
    facts = json.loads(report().to_json()) if report is not None else None
    if facts and len(facts["steps"]) > 100:
        del facts["steps"]
    return {"cpu": cpus, "wall": walls, "residual": residuals, "iterations": iterations, "facts": facts}


def small_sequence() -> list[System]:
    """For the warm-up: a grid whose coefficients change, with a matrix that comes twice."""
    from scipy.sparse import diags_array

    systems: list[System] = []
    for k, m in enumerate((400, 400, 400, 3_600)):
        far = round(m**0.5)
        bands = [np.full(m - j, -1.0) for j in (far, 1)]
        A = diags_array([*bands, np.full(m, 4.1 + 0.01 * k), *bands[::-1]], offsets=[-far, -1, 0, 1, far]).tocsr()
        A.indices, A.indptr = A.indices.astype(np.int32), A.indptr.astype(np.int32)
        systems += [(A, np.ones(m), False), (A, np.arange(m) - 0.4 * m, True)]
    return systems


def answer(request: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "hello":
        state["methods"], versions = catalogue.load(request["library"])
        module = getattr(sys.modules.get("nnla"), "__file__", None)
        return {"versions": versions, "module": module, "methods": list(state["methods"])}
    if request["do"] == "warm":
        run(state["methods"][request["method"]], request["setting"], small_sequence(), 1e-8)
        return {}
    if request["do"] == "load":
        state["systems"] = None  # never two at a time
        state["systems"] = load_sequence(request["folder"])
        return {}
    return run(state["methods"][request["method"]], request["setting"], state["systems"], request["tolerance"])


if __name__ == "__main__":
    serve(answer)
