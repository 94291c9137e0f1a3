"""Inverse roots and polar factors for optimisers on a GPU: right, capturable, and how fast beside what is in use.

    PYTHONPATH=src python reproduce/matrix_functions_optimisers_gpu.py --device cuda --seconds 60 --out runs/gpu

In this order, as far as the seconds last: values in float32, TF32, bfloat16 and float16 against eigenvalues in float64;
capture in CUDA graphs and replay with other data; seconds beside `torch.linalg.eigh`, the fixed schedule of 27 to 29
products and Muon's five steps, medians of interleaved runs; `torch.compile`. Writes OUT/optimisers_gpu.json after every
part. With ``--device cpu`` and ``--tiny`` it runs anywhere in seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from matrix_functions_opponents import MUON, gram_newton_schulz, newton_schulz, scaled_cans

from nnla.interop.torch import (
    flops,
    inverse_root,
    inverse_root_plan,
    polar,
    polar_plan,
    read_certificate,
)

NAME = "optimisers_gpu.json"


class Clock:
    """Seconds that are left."""

    def __init__(self, seconds: float) -> None:
        self.end = time.perf_counter() + seconds
        self.start = time.perf_counter()

    @property
    def left(self) -> float:
        return self.end - time.perf_counter()

    @property
    def gone(self) -> float:
        return time.perf_counter() - self.start


def spectrum(n: int, law: str, condition: float, device: str) -> torch.Tensor:
    t = torch.linspace(0, 1, n, dtype=torch.float64, device=device)
    if law == "geometric":
        return condition**-t
    if law == "spiked":  # a few directions above a floor, as of a sum of few gradients with a ridge
        return torch.where(t < 1 / 16, 10.0 ** (-32 * t), torch.full_like(t, 1 / condition))
    raise ValueError(law)


def matrices(values: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """(count, n, n) with these eigenvalues, float64."""
    n = len(values)
    generator = torch.Generator(device=values.device).manual_seed(seed)
    Q, _ = torch.linalg.qr(torch.randn(count, n, n, dtype=values.dtype, device=values.device, generator=generator))
    A = (Q * values) @ Q.mT
    return 0.5 * (A + A.mT)


def rectangles(values: torch.Tensor, count: int, m: int, seed: int) -> torch.Tensor:
    n = len(values)
    generator = torch.Generator(device=values.device).manual_seed(seed)
    options: dict[str, Any] = {"dtype": values.dtype, "device": values.device, "generator": generator}
    U, _ = torch.linalg.qr(torch.randn(count, m, n, **options))
    V, _ = torch.linalg.qr(torch.randn(count, n, n, **options))
    return (U * values) @ V.mT


def exact_root(A: torch.Tensor, p: int) -> torch.Tensor:
    w, V = torch.linalg.eigh(A.double())
    return (V * w.clamp_min(1e-300)[:, None, :] ** (-1 / p)) @ V.mT


def relative(Z: torch.Tensor, R: torch.Tensor) -> float:
    return float(((Z.double() - R).norm(dim=(-2, -1)) / R.norm(dim=(-2, -1))).max())


# ------------------------------------------------------------------------------------------- values


def root_values(device: str, tiny: bool, clock: Clock) -> list[dict[str, Any]]:
    rows = []
    n, count = (32, 2) if tiny else (256, 4)
    for precision in ("highest", "high"):
        torch.set_float32_matmul_precision(precision)
        for exponent in (2, 4, 6, 7, 8) if precision == "highest" else (2, 3, 4):
            for law in ("geometric", "spiked"):
                if clock.left < 5:
                    return rows
                A = matrices(spectrum(n, law, 10.0**exponent, device), count, exponent).float()
                torch.set_float32_matmul_precision("highest")
                exact = {p: exact_root(A, p) for p in (1, 2, 4)}
                torch.set_float32_matmul_precision(precision)
                for p in (2, 4, 1):
                    name = "float32" if precision == "highest" else "tf32"
                    plan = inverse_root_plan(p, name, cond=10.0**exponent, rtol=0.03)
                    Z, certificate = inverse_root(A, p, plan=plan, certificate=True)
                    said = read_certificate(certificate)
                    row = {"precision": name, "condition": exponent, "law": law, "p": p, "products": plan.products}
                    row |= {"wide": plan.wide, "error": relative(Z, exact[p]), "residual": said.error}
                    rows.append(row | {"converged": said.converged})
                    if p == 2:
                        rows[-1]["cans"] = relative(scaled_cans(A), exact[2])
    torch.set_float32_matmul_precision("highest")
    for dtype in (torch.bfloat16, torch.float16):
        A = matrices(spectrum(n, "geometric", 1e2, device), count, 1).to(dtype)
        Z, certificate = inverse_root(A, 2, cond=200.0, rtol=0.03, certificate=True, dtype=torch.float32)
        said = read_certificate(certificate)
        row = {"precision": str(dtype).removeprefix("torch."), "condition": 2, "law": "geometric", "p": 2}
        rows.append(row | {"error": relative(Z, exact_root(A, 2)), "residual": said.error, "converged": said.converged})
    return rows


def polar_values(device: str, tiny: bool, clock: Clock) -> list[dict[str, Any]]:
    rows = []
    n = 32 if tiny else 256
    values = torch.logspace(math.log10(7e-3), 0, n, dtype=torch.float64, device=device)
    values = values / values.square().sum().sqrt()  # of Frobenius norm 1, as Muon scales
    values = 7e-3 + (values - values.min()) * (1 - 7e-3 * math.sqrt(n)) / (1 - float(values.min()) * math.sqrt(n))
    values = values / values.square().sum().sqrt()
    for aspect in (1, 4):
        X = rectangles(values, 2, aspect * n, aspect)
        for name, dtype, precision in (
            ("float32", torch.float32, "highest"),
            ("tf32", torch.float32, "high"),
            ("float16", torch.float16, "highest"),
            ("bfloat16", torch.bfloat16, "highest"),
        ):
            if clock.left < 5:
                return rows
            torch.set_float32_matmul_precision(precision)
            for restart in (None, False) if aspect > 1 else (None,):
                plan = polar_plan(name, aspect=aspect, restart=restart)
                U = polar(X.to(dtype), plan=plan)
                row = {"method": "nnla", "precision": name, "aspect": aspect, "phases": len(plan.phases)}
                rows.append(row | {"flops": flops(plan, aspect * n, n)} | band(U))
            for method, call in (
                ("muon", lambda X: newton_schulz(X, MUON)),
                ("muon gram, restart", lambda X: gram_newton_schulz(X, MUON)),
            ):
                rows.append({"method": method, "precision": name, "aspect": aspect} | band(call(X.to(dtype))))
    torch.set_float32_matmul_precision("highest")
    return rows


def band(U: torch.Tensor) -> dict[str, float]:
    U = U.double()
    sizes = torch.linalg.eigvalsh(U.mT @ U).clamp_min(0).sqrt()  # a decomposition of U would take the seconds
    return {"low": float(sizes.min()), "high": float(sizes.max())}


# ------------------------------------------------------------------------------------------- graphs


def graphs(device: str, tiny: bool, certificates: bool) -> list[dict[str, Any]]:
    """Captured once, replayed with other data: the same as called. Certificates factorise, which GPUs may refuse."""
    n = 32 if tiny else 256
    first = matrices(spectrum(n, "geometric", 1e4, device), 3, 0).float()
    second = matrices(spectrum(n, "spiked", 1e4, device), 3, 1).float()
    plan = inverse_root_plan(2, cond=1e4)
    calls: dict[str, Callable[[torch.Tensor], Any]] = {
        "inverse_root": lambda A: inverse_root(A, 2, plan=plan),
        "inverse_root p=4": lambda A: inverse_root(A, 4, cond=1e4),
        "polar float32": lambda A: polar(A),
        "polar bfloat16": lambda A: polar(A.bfloat16()),
        "inverse_root with certificate": lambda A: tuple(inverse_root(A, 2, plan=plan, certificate=True)[1])[:3],
        "polar with certificate": lambda A: tuple(polar(A, certificate=True)[1])[:3],
    }
    rows = []
    for name, call in calls.items():
        if ("certificate" in name) != certificates:
            continue
        row: dict[str, Any] = {"call": name, "captured": False}
        try:
            called = call(second)
            if device == "cuda":
                replay, static = captured(call, first)
                static.copy_(second)
                result = replay()
                row["captured"] = True
            else:
                result = call(second.clone())
            pairs = zip(called, result, strict=True) if isinstance(called, tuple) else [(called, result)]
            row["difference"] = max(float((a.double() - b.double()).abs().max()) for a, b in pairs)
        except Exception as error:  # what a GPU refuses is a result as well
            row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        rows.append(row)
    return rows


def captured(call: Callable[[torch.Tensor], Any], example: torch.Tensor) -> tuple[Callable[[], Any], torch.Tensor]:
    static = example.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.no_grad():
        for _ in range(2):
            call(static)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        result = call(static)

    def replay() -> Any:
        graph.replay()
        return result

    return replay, static


# ------------------------------------------------------------------------------------------ seconds


def median_seconds(calls: dict[str, Callable[[], Any]], device: str, rounds: int, limit: float) -> dict[str, float]:
    """Medians of interleaved runs, seconds; what takes long runs less often."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    for call in calls.values():
        call()
    for k in range(rounds):
        for name, call in calls.items():
            if taken[name] and (len(taken[name]) >= 3 and min(taken[name]) > 0.1):
                continue
            taken[name].append(timed(call, device))
        if time.perf_counter() - begin > limit and k >= 2:
            break
    return {name: sorted(values)[len(values) // 2] for name, values in taken.items()}


def timed(call: Callable[[], Any], device: str) -> float:
    if device != "cuda":
        start = time.process_time()
        call()
        return time.process_time() - start
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    before.record()
    call()
    after.record()
    after.synchronize()
    return 1e-3 * before.elapsed_time(after)


def with_graph(calls: dict[str, Callable[[torch.Tensor], Any]], X: torch.Tensor, device: str) -> dict[str, Any]:
    """The calls, and those that can be captured once more as graphs."""
    out: dict[str, Any] = {name: (lambda call=call: call(X)) for name, call in calls.items()}
    if device == "cuda":
        for name, call in calls.items():
            if name != "eigh":
                try:
                    out[f"{name}, graph"] = captured(call, X)[0]
                except Exception as error:
                    print(f"{name} cannot be captured: {error}", file=sys.stderr)
    return out


def root_seconds(device: str, tiny: bool, clock: Clock) -> list[dict[str, Any]]:
    rows = []
    sizes = ((16, 2), (32, 1)) if tiny else ((256, 16), (256, 1), (1024, 4), (1024, 1))
    for n, count in sizes:
        A = matrices(spectrum(n, "geometric", 1e6, device), count, 0).float()
        for precision in ("highest", "high"):
            if clock.left < 8:
                return rows
            torch.set_float32_matmul_precision(precision)
            plans = {k: inverse_root_plan(2, cond=10.0**k, rtol=0.03) for k in (4, 6, 7)}
            calls: dict[str, Callable[[torch.Tensor], Any]] = {
                f"nnla 1e{k}": (lambda A, plan=plan: inverse_root(A, 2, plan=plan)) for k, plan in plans.items()
            }
            calls |= {"cans": scaled_cans}
            if precision == "highest":
                calls["eigh"] = torch.linalg.eigh
                calls["nnla p=4 1e6"] = lambda A: inverse_root(A, 4, cond=1e6, rtol=0.03)
            found = median_seconds(with_graph(calls, A, device), device, 9, 3.0)
            torch.set_float32_matmul_precision("highest")
            rows.append({"n": n, "count": count, "precision": precision, "seconds": found})
    return rows


def polar_seconds(device: str, tiny: bool, clock: Clock) -> list[dict[str, Any]]:
    rows = []
    sizes = ((16, 2),) if tiny else ((1024, 8), (2048, 2))
    for n, count in sizes:
        for aspect in (1, 4):
            for name, dtype, precision in (
                ("bfloat16", torch.bfloat16, "highest"),
                ("float16", torch.float16, "highest"),
                ("tf32", torch.float32, "high"),
                ("float32", torch.float32, "highest"),
            ):
                if clock.left < 6:
                    return rows
                torch.set_float32_matmul_precision(precision)
                X = torch.randn(count, aspect * n, n, device=device).to(dtype)
                plan = polar_plan(name, aspect=aspect)
                single = polar_plan(name, aspect=aspect, restart=False)
                calls: dict[str, Callable[[torch.Tensor], Any]] = {
                    "nnla": lambda X, plan=plan: polar(X, plan=plan),
                    "nnla, one Gram matrix": lambda X, plan=single: polar(X, plan=plan),
                    "muon": lambda X: newton_schulz(X, MUON),
                    "muon gram, restart": lambda X: gram_newton_schulz(X, MUON),
                }
                found = median_seconds(with_graph(calls, X, device), device, 9, 1.0)
                torch.set_float32_matmul_precision("highest")
                row = {"n": n, "count": count, "aspect": aspect, "precision": name, "seconds": found}
                rows.append(row | {"flops": flops(plan, aspect * n, n)})
    return rows


def compiled(device: str, tiny: bool, clock: Clock) -> list[dict[str, Any]]:
    """`torch.compile(fullgraph=True)`: the same values, and seconds."""
    rows = []
    n, count = (16, 2) if tiny else (256, 16)
    A = matrices(spectrum(n, "geometric", 1e4, device), count, 0).float()
    plan = inverse_root_plan(2, cond=1e4)
    options: dict[str, Any] = {"fullgraph": True} | ({"backend": "eager"} if device != "cuda" else {})
    for name, call in (
        ("inverse_root", lambda A: inverse_root(A, 2, plan=plan)),
        ("polar", lambda A: polar(A)),
    ):
        if clock.left < (1 if tiny else 15):
            return rows
        row: dict[str, Any] = {"call": name, "n": n, "count": count}
        try:
            fast = torch.compile(call, **options)
            start = time.perf_counter()
            with torch.no_grad():
                result = fast(A)
            row["compile_seconds"] = time.perf_counter() - start
            row["difference"] = float((result - call(A)).abs().max() / result.abs().max())
            calls = {"eager": lambda call=call: call(A), "compiled": lambda fast=fast: fast(A)}
            with torch.no_grad():
                row["seconds"] = median_seconds(calls, device, 9, 2.0)
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--tiny", action="store_true", help="small sizes: to see that it runs")
    arguments = parser.parse_args()
    device, tiny, clock = arguments.device, arguments.tiny, Clock(arguments.seconds)
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    result: dict[str, Any] = {"device": name, "torch": torch.__version__, "python": platform.python_version()}
    result["tiny"] = tiny
    parts: dict[str, Callable[[], Any]] = {
        "root values": lambda: root_values(device, tiny, clock),
        "polar values": lambda: polar_values(device, tiny, clock),
        "graphs": lambda: graphs(device, tiny, certificates=False),
        "root seconds": lambda: root_seconds(device, tiny, clock),
        "polar seconds": lambda: polar_seconds(device, tiny, clock),
        "compiled": lambda: compiled(device, tiny, clock),
        "graphs of certificates": lambda: graphs(device, tiny, certificates=True),
    }
    for part, run in parts.items():
        if clock.left < 2:
            print(f"{part}: no time left", flush=True)
            continue
        try:
            result[part] = run()
        except Exception as error:  # the other parts go on
            traceback.print_exc()
            result[part] = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"}
        result["seconds"] = round(clock.gone, 2)
        (arguments.out / NAME).write_text(json.dumps(result, indent=1) + "\n")
        print(f"{part}: done after {clock.gone:.1f} s", flush=True)


if __name__ == "__main__":
    main()
