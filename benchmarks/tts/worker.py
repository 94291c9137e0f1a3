"""A process that runs the solvers of one library on request: import and warm-up are not timed, a hang stalls no one.

Started by `tts.pool`; reads one JSON object a line and answers with one. Whatever a library prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tts import solvers as catalogue


def load_system(folder: str) -> tuple[Any, np.ndarray]:
    from scipy.sparse import csr_array

    data, indices, indptr, b = (np.load(f"{folder}/{part}.npy") for part in ("data", "indices", "indptr", "b"))
    return csr_array((data, indices, indptr), shape=(b.size, b.size)), b


def timed(solve: catalogue.Solver, A: Any, b: np.ndarray, setting: float, inner: int) -> dict[str, Any]:
    """One sample: the median of `inner` solves in a row, and the true residual of the last."""
    walls, cpus = [], []
    x, facts = b, {}
    gc.collect()
    for _ in range(inner):
        wall, cpu = time.perf_counter(), time.process_time()
        x, facts = solve(A, b, setting)
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - wall)
    # the CPU clock ticks too coarsely for one short solve, not for all of them
    cpu = sum(cpus) / inner if inner > 1 else cpus[0]
    residual = float(np.linalg.norm(b - A @ x) / np.linalg.norm(b))
    facts = facts() if callable(facts) else facts
    return {"wall": float(np.median(walls)), "cpu": cpu, "residual": residual, "facts": facts}


def answer(request: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "hello":
        state["solvers"], versions = catalogue.load(request["library"])
        return {"versions": versions, "module": getattr(sys.modules.get("nnla"), "__file__", None)}
    if request["do"] == "warm":
        from scipy.sparse import diags_array

        for m in (400, 3_600):  # of two sizes: a library may load what it needs when it is first needed
            far = round(m**0.5)
            bands = [np.full(m - k, -1.0) for k in (far, 1)]
            A = diags_array([*bands, np.full(m, 4.1), *bands[::-1]], offsets=[-far, -1, 0, 1, far]).tocsr()
            A.indices, A.indptr = A.indices.astype(np.int32), A.indptr.astype(np.int32)
            state["solvers"][request["solver"]](A, np.ones(m), 1e-8)
        return {}
    if request["do"] == "load":
        state["system"] = None  # never two at a time
        state["system"] = load_system(request["folder"])
        return {}
    A, b = state["system"]
    return timed(state["solvers"][request["solver"]], A, b, request["setting"], request["inner"])


def plain(value: Any) -> Any:
    """What JSON takes: NaN and NumPy's scalars do not cross it."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _die_with_parent() -> None:
    """A killed benchmark must not leave a solve behind that takes the processor for minutes (Linux only)."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL


def serve(respond: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]) -> None:
    """Answer one request a line until there are no more; what a library raises is the answer."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    memory = float(os.environ.get("TTS_MEMORY_GB", "0"))
    if memory:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(memory * 2**30),) * 2)
    _die_with_parent()
    state: dict[str, Any] = {}
    for line in sys.stdin:
        try:
            reply = respond(json.loads(line), state)
        except Exception as error:
            last = traceback.format_exception_only(error)[-1].strip().splitlines()
            reply = {"error": " ".join(last)[:200] or type(error).__name__}
        channel.write(json.dumps(plain(reply)) + "\n")
        channel.flush()


if __name__ == "__main__":
    serve(answer)
