"""One solve in a process of its own: a request as JSON on the command line, one line of JSON out.

python peer_worker.py '{"path": "A.npz", "solver": "arpack", "k": 10, ...}'
python peer_worker.py --libraries                  # what can be imported here, with versions
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eigen.peer_problems import load
from eigen.peer_solvers import SOLVERS, Request

_SHORT, _REPEATS = 0.3, 9  # what takes less than so many seconds is done again, and the median counts
_WARM = 60  # rows of the problem that is solved first, so that imports are not charged


def libraries() -> dict[str, str]:
    """Versions by name; what is missing is not in it."""
    found = {}
    for name in ("nnla", "numpy", "scipy", "pyamg", "sksparse", "primme", "slepc4py", "petsc4py"):
        try:
            found[name] = str(getattr(importlib.import_module(name), "__version__", "?"))
        except Exception:  # a library of another NumPy fails in its own ways
            continue
    return found


def _warm(solver: str) -> None:
    n = _WARM
    A = sp.csr_array(sp.diags_array([-np.ones(n - 1), 2.0 + np.arange(n), -np.ones(n - 1)], offsets=[-1, 0, 1]))
    SOLVERS[solver](Request(A, None, 2, 1e-8, 0.0, 60.0, 1.0, 3.0, 0))


def measure(asked: dict[str, Any]) -> dict[str, Any]:
    """The solve: seconds, values, residuals."""
    A, M = load(Path(asked["path"]))
    request = Request(A, M, *(asked[name] for name in ("k", "tol", "sigma", "norm", "mass", "largest", "seed")))
    warnings.simplefilter("ignore")
    _warm(asked["solver"])
    times: list[tuple[float, float]] = []
    while not times or (sum(cpu for cpu, _ in times) < _SHORT and len(times) < _REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        w, V, note = SOLVERS[asked["solver"]](request)
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    seconds, wall = (statistics.median(t[i] for t in times) for i in (0, 1))
    w, V = np.asarray(w, dtype=float), np.asarray(V, dtype=float)
    order = np.argsort(w)
    w, V = w[order], V[:, order]
    MV = V if M is None else M @ V
    lengths = np.linalg.norm(V, axis=0)
    residuals = np.linalg.norm(A @ V - MV * w, axis=0) / np.maximum(lengths, 1e-300)
    G = V.T @ MV
    d = np.sqrt(np.maximum(np.diag(G), 1e-300))
    angle = float(np.abs(G / np.outer(d, d) - np.eye(w.size)).max()) if w.size else 0.0
    return {"cpu": seconds, "wall": wall, "values": w.tolist(), "residuals": residuals.tolist(),
            "angle": angle, "note": note}  # fmt: skip


def main() -> None:
    if sys.argv[1] == "--libraries":
        print(json.dumps(libraries()))
        return
    try:
        row = measure(json.loads(sys.argv[1]))
    except Exception as error:  # any failure of a peer is a result
        row = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
