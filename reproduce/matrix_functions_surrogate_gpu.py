"""Seconds of the equivariant surrogate on a GPU, beside torch's eigenvectors and matrix_exp, in float64.

    PYTHONPATH=src python reproduce/matrix_functions_surrogate_gpu.py SECONDS FOLDER [--engine FILE]

Writes FOLDER/matrix_functions_surrogate_gpu.json: function -> size -> method -> microseconds a matrix, and the largest
relative difference from torch's eigenvectors. Without a GPU it runs on the processor, as a trial.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import nnla
from nnla.problems import matrix_family

SIZES = (3, 8, 16, 32)
FAMILIES: dict[str, tuple[str, dict[str, float]]] = {
    "exp": ("symmetric", {}),
    "sign": ("gapped", {"gap": 0.01}),
    "inv_sqrt": ("definite", {"floor": 0.1}),
}
SCALARS: dict[str, Callable[[Any], Any]] = {"exp": torch.exp, "sign": torch.sign, "inv_sqrt": torch.rsqrt}


def by_eigenvectors(A: Any, f: str) -> Any:
    """torch's batched eigendecomposition."""
    w, Q = torch.linalg.eigh(A)
    return (Q * SCALARS[f](w)[:, None, :]) @ Q.transpose(-1, -2)


def seconds(call: Callable[[], Any], device: str) -> float:
    """Wall clock, the median of five after two."""
    found = []
    for _ in range(7):
        started = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return sorted(found[2:])[2]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seconds", type=float, help="after which no further size is begun")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", default="matfun-equivariant", help="shipped weights, or a file of them")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    engine, end = nnla.load(args.engine), time.monotonic() + args.seconds
    count = 8192 if device == "cuda" else 64
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "count": count}
    for f, (family, options) in FAMILIES.items():
        for n in SIZES:
            if time.monotonic() > end:
                break
            A = torch.from_numpy(matrix_family(family, count, n, seed=[50_000_001, n], **options)).to(device)
            methods: dict[str, Callable[[], Any]] = {
                "surrogate": lambda A=A, f=f: engine.function(A, f),
                "eigenvectors": lambda A=A, f=f: by_eigenvectors(A, f),
            }
            if f == "exp":
                methods["matrix_exp"] = lambda A=A: torch.matrix_exp(A)
            row = {name: 1e6 * seconds(call, device) / count for name, call in methods.items()}
            exact = by_eigenvectors(A, f)
            off = (engine.function(A, f) - exact).norm(dim=(1, 2)) / exact.norm(dim=(1, 2))
            row["difference"] = float(off.max())
            found.setdefault(f, {})[str(n)] = row
            print(f, n, row, flush=True)
    args.folder.mkdir(parents=True, exist_ok=True)
    target = args.folder / "matrix_functions_surrogate_gpu.json"
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
