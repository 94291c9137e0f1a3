"""Seconds for dense systems of one size: LAPACK beside networks, one system and batches of them.

    python benchmarks/dense_latency.py --models runs/o/algebraformer-operator.safetensors algebraformer-columns

Methods take turns, every one once a round; printed are medians of CPU seconds of one thread. What is timed is what a
user calls: ``numpy.linalg.solve``, ``torch.linalg.solve``, and a model's ``guess``, with NumPy arrays and with tensors.
`reproduce/algebraformer_table.py` has the table in its page.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import nnla
from nnla.problems.bvp import bvp_systems

BATCHES = (1, 64, 256)
LEAST = 2e-3  # seconds of a sample: shorter calls are repeated


def methods(models: list[str], A: np.ndarray, b: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Calls by name for systems A (B, n, n), b (B, n)."""
    import torch

    torch.set_num_threads(1)
    found: dict[str, Callable[[], Any]] = {}
    for name, dtype in (("float64", np.float64), ("float32", np.float32)):
        A1, b1 = A.astype(dtype), b[..., None].astype(dtype)
        A2, b2 = torch.from_numpy(A1), torch.from_numpy(b1)
        found[f"numpy.linalg.solve, {name}"] = lambda A1=A1, b1=b1: np.linalg.solve(A1, b1)
        found[f"torch.linalg.solve, {name}"] = lambda A2=A2, b2=b2: torch.linalg.solve(A2, b2)
    A3, b3 = torch.from_numpy(A), torch.from_numpy(b[..., None])
    for name in models:
        model = nnla.load(name)
        found[f"{model.title}, NumPy"] = lambda model=model: model.guess(A, b[..., None])
        found[f"{model.title}, torch"] = lambda model=model: model.guess(A3, b3)
    return found


def measure(
    models: list[str], *, n: int = 64, batches: tuple[int, ...] = BATCHES, rounds: int = 9, seed: int = 9
) -> list[dict[str, Any]]:
    """Rows with method, batch, and median microseconds a system; rounds fall with the seconds that a call takes."""
    rows = []
    for batch in batches:
        systems = bvp_systems(batch, n=n, seed=[77_002, seed])
        calls = methods(models, systems.A, systems.b)
        repeats = {}
        for name, call in calls.items():
            call()
            repeats[name] = max(1, int(LEAST / max(_seconds(call, 1), 1e-6)))
        samples: dict[str, list[float]] = {name: [] for name in calls}
        for at in range(rounds):
            for name, call in calls.items():
                if at < 3 or statistics.median(samples[name]) * repeats[name] < 1.0:
                    samples[name].append(_seconds(call, repeats[name]))
        for name, taken in samples.items():
            rows.append({"method": name, "batch": batch, "us": 1e6 * statistics.median(taken) / batch})
    return rows


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    started = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - started) / repeats


def markdown(rows: list[dict[str, Any]]) -> list[str]:
    """Microseconds a system, a column for each batch; and how many times what NumPy takes in float64."""
    batches = sorted({row["batch"] for row in rows})
    us = {(row["method"], row["batch"]): row["us"] for row in rows}
    own = {batch: us["numpy.linalg.solve, float64", batch] for batch in batches}
    text = ["| method | " + " | ".join(f"B = {batch}" for batch in batches) + " | times NumPy's float64 |"]
    text.append("|" + "---|" * (len(batches) + 2))
    for name in dict.fromkeys(row["method"] for row in rows):
        cells = [f"{us[name, batch]:,.0f}" if us[name, batch] >= 10 else f"{us[name, batch]:.1f}" for batch in batches]
        ratios = " / ".join(f"{us[name, batch] / own[batch]:.2g}" for batch in batches)
        text.append(f"| {name} | " + " | ".join(cells) + f" | {ratios} |")
    return text


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="*", default=[], help="names or paths of weights")
    parser.add_argument("-n", type=int, default=64, help="unknowns")
    parser.add_argument("--batches", type=int, nargs="*", default=list(BATCHES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="file for the table")
    args = parser.parse_args()
    text = "\n".join(markdown(measure(args.models, n=args.n, batches=tuple(args.batches), rounds=args.rounds)))
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
