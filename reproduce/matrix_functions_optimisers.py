"""Inverse roots and polar factors for optimisers: products and FLOPs beside what is in use, to the same error.

    python reproduce/matrix_functions_optimisers.py [--quick] [--page-only] [--gpu runs/gpu/optimisers_gpu.json]

1. A^(-1/2) in float32, n = 256, condition 1e2 to 1e8: statistics L = sum G G' and R = sum G'G of a network that is
   trained here, with the ridge that makes their condition the one asked for, and four synthetic laws. Beside a fixed
   schedule in public use (ten coupled steps of CANS, 29 products). Errors against eigenvalues in float64 of the same
   float32 matrix; the probe that plans is counted, products in float64 twice.
2. Polar factors: FLOPs in units of 2 n^3, symmetric products halved, to the bands of Muon's, Polar Express', CANS' and
   cubic schedules, plain and on the Gram matrix; the bands measured on matrices in three precisions.
3. Processor seconds beside `torch.linalg.eigh`.

Figures of a GPU come from `matrix_functions_optimisers_gpu.py`. Writes docs/matrix_functions_optimisers.{json,md,png}.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import matrix_functions_optimisers_page as page
import numpy as np
import torch
import torch.utils._pytree
from matrix_functions_opponents import (
    CANS_POLAR,
    CANS_PRODUCTS,
    MUON,
    POLAR_EXPRESS,
    gram_newton_schulz,
    newton_schulz,
    remade,
    scaled_cans,
)
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from nnla.errors import NotPositiveDefiniteError, OptionError
from nnla.extensions.minimax import learned_stage
from nnla.interop.torch import (
    flops,
    inverse_root,
    inverse_root_plan,
    plan_for,
    polar,
    polar_plan,
    polar_plan_from,
    probe_cost,
)
from nnla.interop.torch.transitions import transition

DOCS = Path(__file__).resolve().parents[1] / "docs"
N = 256
CONDITIONS = (2, 3, 4, 5, 6, 7, 8)
RTOLS = (0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 3e-6)
BOUND = 48 / N  # products with vectors of every call, in products
BAR, BAR_ERROR = 0.8, 3e-2
LOWER = 7e-3
PUBLISHED = {"Muon": MUON, "Polar Express": POLAR_EXPRESS, "CANS": CANS_POLAR}
# the best of their kind for this very interval, found by trying all: see `best_remade`
REMADE = {"3, 3, 3, 3, 3": (3,) * 5, "5, 5, 5, 3": (5, 5, 5, 3), "5, 5, 5, 5": (5,) * 4}
FORMS: dict[str, Sequence[int]] = {"plain": range(1, 9), "Gram, restart": (2,), "Gram": ()}

# -------------------------------------------------------------------------------------- statistics


def shampoo_statistics(seed: int = 0, steps: int = 200) -> dict[str, torch.Tensor]:
    """L = sum G G' and R = sum G'G, in float64, of three layers of a network that learns smooth random fields.

    After one step ("early", of lower rank) and after all.
    """
    generator = torch.Generator().manual_seed(seed)
    side, width = 16, N
    grid = torch.arange(side, dtype=torch.float32)
    smooth = torch.exp(-((grid[:, None] - grid[None]) ** 2) / 8)
    teacher = torch.randn(side * side, 10, generator=generator) / side
    sizes = (side * side, width, width, 10)
    weights = [torch.randn(b, a, generator=generator) * (2 / a) ** 0.5 for a, b in itertools.pairwise(sizes)]
    weights = [w.requires_grad_() for w in weights]
    optimiser = torch.optim.Adam(weights, lr=1e-3)
    sums: dict[str, torch.Tensor] = {}
    early: dict[str, torch.Tensor] = {}
    for step in range(steps):
        noise = torch.randn(128, side, side, generator=generator)
        x = (smooth @ noise @ smooth).flatten(1)
        target = (x.sin() @ teacher).argmax(1)
        h = x
        for w in weights[:-1]:
            h = torch.relu(h @ w.T)
        loss = torch.nn.functional.cross_entropy(h @ weights[-1].T, target)
        optimiser.zero_grad()
        loss.backward()
        for k, w in enumerate(weights):
            G = w.grad.double() if w.grad is not None else torch.zeros_like(w).double()
            for name, S in ((f"L{k + 1}", G @ G.T), (f"R{k + 1}", G.T @ G)):
                if len(S) == N:
                    sums[name] = sums.get(name, 0) + S
        optimiser.step()
        if step == 0:
            early = {f"early {name}": S.clone() for name, S in sums.items()}
    return early | sums


def with_condition(A: torch.Tensor, condition: float) -> torch.Tensor | None:
    """A + ridge I of this condition; None where that of A is smaller."""
    w = torch.linalg.eigvalsh(A)
    low, high = float(w[0]), float(w[-1])
    ridge = (high - condition * low) / (condition - 1)
    return None if ridge < 0 else A + ridge * torch.eye(len(A), dtype=A.dtype)


def synthetic(law: str, condition: float, rng: np.random.Generator) -> torch.Tensor:
    t = np.linspace(0, 1, N)
    exponent = np.log10(condition)
    values = {
        "geometric": condition**-t,
        "power": (1.0 + np.arange(N)) ** (-exponent / np.log10(N)),
        "spiked": np.where(t < 1 / 16, 10.0 ** (-32 * np.minimum(t, 1 / 16)), 1 / condition * (1 + 9 * rng.random(N))),
        "uniform": 1 / condition + (1 - 1 / condition) * t[::-1],
    }[law]
    values = np.clip(values, 1 / condition, 1.0)
    values[-1] = 1 / condition
    Q = np.linalg.qr(rng.standard_normal((N, N)))[0]
    A = (Q * values) @ Q.T
    return torch.tensor(0.5 * (A + A.T))


# -------------------------------------------------------------------------------------------- roots


def root_rows(quick: bool) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    statistics = shampoo_statistics(steps=40 if quick else 200)
    rows = []
    for exponent in CONDITIONS[::3] if quick else CONDITIONS:
        cases: dict[str, torch.Tensor | None] = {
            f"statistics {name}": with_condition(S / S.abs().max(), 10.0**exponent) for name, S in statistics.items()
        }
        cases |= {law: synthetic(law, 10.0**exponent, rng) for law in ("geometric", "power", "spiked", "uniform")}
        for name, A in cases.items():
            if A is not None:
                rows.append(root_row(name, exponent, A.float()))
                print(json.dumps({k: v for k, v in rows[-1].items() if k != "tried"}), flush=True)
    return rows


def root_row(name: str, exponent: int, A: torch.Tensor) -> dict[str, Any]:
    w, V = torch.linalg.eigh(A.double())
    row: dict[str, Any] = {"matrix": name, "condition": exponent, "smallest": float(w[0] / w[-1])}
    if w[0] <= 0:
        row["indefinite"] = True  # the rounding of its entries took its smallest eigenvalues below zero
        certificate = inverse_root(A, 2, cond=1e8, certificate=True)[1]
        return row | {"converged": bool(certificate.converged)}
    exact = (V * w**-0.5) @ V.T
    off: Callable[[torch.Tensor], float] = lambda Z: float((Z.double() - exact).norm() / exact.norm())  # noqa: E731
    row["cans"] = off(scaled_cans(A[None])[0])
    tried = []
    for rtol in RTOLS:
        for wide in (1, 2):
            try:
                plan = plan_for(A, 2, rtol=rtol, wide=wide)
            except (NotPositiveDefiniteError, OptionError):
                continue
            Z, certificate = inverse_root(A, 2, plan=plan, certificate=True)
            tried.append(
                {"rtol": rtol, "wide": wide, "products": plan.products, "cost": plan.cost + probe_cost(N) + BOUND,
                 "error": off(Z), "residual": float(certificate.error), "converged": bool(certificate.converged)}
            )  # fmt: skip
    row["tried"] = tried
    equal = [t for t in tried if t["error"] <= row["cans"]]
    row["equal"] = min(equal, key=lambda t: t["cost"]) if equal else None
    if row["equal"]:
        row["ratio"] = row["equal"]["cost"] / CANS_PRODUCTS
    row["default"] = next((t for t in tried if t["rtol"] == 0.03 and t["wide"] == 1), None)
    return row


# -------------------------------------------------------------------------------------------- polar


def polar_rows() -> list[dict[str, Any]]:
    """FLOPs and bands of the schedules, in exact arithmetic."""
    rivals = []
    schedules = PUBLISHED | {f"re-made {name}": remade(degrees, LOWER) for name, degrees in REMADE.items()}
    for name, coefficients in schedules.items():
        for form, at in FORMS.items():
            rivals.append(polar_row(name, form, polar_plan_from(coefficients, lower=LOWER, restart_at=at)))
    rows = list(rivals)
    for form, restart in (("Gram", False), ("Gram, restart", True)):
        own = polar_row("nnla", form, polar_plan(lower=LOWER, aspect=4, restart=restart))
        # a schedule counts in its cheapest form of the same kind: without a restart, or safe in half precision
        alike = [row for row in rivals if row["form"] != "Gram" or form == "Gram"]
        own["ratios"] = {}
        for name in schedules:
            costs = [row["flops"] for row in alike if row["schedule"] == name]
            own["ratios"][name] = {a: own["flops"][a] / min(cost[a] for cost in costs) for a in ("1", "4")}
        own["best re-made"] = {aspect: best_remade(own, int(aspect), form == "Gram") for aspect in ("1", "4")}
        rows.append(own)
    return rows


def best_remade(own: dict[str, Any], aspect: int, single: bool) -> dict[str, Any]:
    """The cheapest schedule of degrees 3 and 5, made for the interval, as narrow as each published band and ours."""
    bands = {"nnla": own["low"] / own["high"]}
    for name, coefficients in PUBLISHED.items():
        plan = polar_plan_from(coefficients, lower=LOWER)
        bands[name] = plan.low / plan.high
    found: dict[str, Any] = {}
    for count in range(2, 7):
        for degrees in itertools.product((3, 5), repeat=count):
            coefficients = remade(degrees, LOWER)
            restarts: list[Sequence[int]] = [range(1, count)]
            restarts += [()] if single else [(k,) for k in range(1, count)]
            plans = [polar_plan_from(coefficients, lower=LOWER, restart_at=at) for at in restarts]
            cost = min(flops(plan, aspect * N, N) for plan in plans)
            for name, ratio in bands.items():
                if plans[0].low / plans[0].high >= ratio and cost < found.get(name, {"flops": 1e9})["flops"]:
                    found[name] = {"degrees": degrees, "flops": cost, "ratio": own["flops"][str(aspect)] / cost}
    return found


def polar_row(schedule: str, form: str, plan: Any) -> dict[str, Any]:
    cost = {str(aspect): flops(plan, aspect * N, N) for aspect in (1, 4)}
    steps = [[t.degree for t in phase] for phase in plan.phases]
    return {"schedule": schedule, "form": form, "low": plan.low, "high": plan.high, "flops": cost, "degrees": steps}


def band_rows(quick: bool) -> list[dict[str, Any]]:
    """The same on matrices whose singular values fill [7e-3, 1] times their Frobenius norm, as Muon scales."""
    n = 64 if quick else N
    values = np.geomspace(1.0, LOWER, n)
    for _ in range(60):  # largest, so that the norm is 1 and the smallest is LOWER
        values = np.clip(values / np.linalg.norm(values), LOWER, None)
    rows = []
    rng = np.random.default_rng(1)
    for aspect in (1, 4):
        U = np.linalg.qr(rng.standard_normal((aspect * n, n)))[0]
        V = np.linalg.qr(rng.standard_normal((n, n)))[0]
        X = torch.tensor((U * values) @ V.T)
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            name = str(dtype).removeprefix("torch.")
            # half precision is done with the products of half precision here too, as on a GPU
            plans = {
                "nnla": polar_plan(name, aspect=aspect),
                "nnla, no restart": polar_plan(name, aspect=4, restart=False),
            }
            for method, plan in plans.items():
                U_ = polar(X.to(dtype), plan=plan).double()
                rows.append({"method": method, "dtype": name, "aspect": aspect} | band(U_))
                rows[-1]["flops"] = flops(plan, aspect * n, n)
            for schedule, coefficients in PUBLISHED.items():
                for form, call in (("plain", newton_schulz), ("Gram, restart", gram_newton_schulz)):
                    Y = call(X.to(dtype)[None], coefficients)[0].double()
                    rows.append({"method": f"{schedule}, {form}", "dtype": name, "aspect": aspect} | band(Y))
    return rows


class Traffic(TorchDispatchMode):
    """Bytes read and written by what is no product."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        aten = torch.ops.aten
        free = (aten.bmm, aten.mm, aten.baddbmm, aten._unsafe_view, aten.detach, torch.ops.prim.device)
        if not func.is_view and func.overloadpacket not in free:
            leaves = (args, kwargs, out)
            tensors = {id(t): t for t in torch.utils._pytree.tree_leaves(leaves) if isinstance(t, torch.Tensor)}
            self.bytes += sum(t.numel() * t.element_size() for t in tensors.values())
        return out


def traffic_rows() -> list[dict[str, Any]]:
    """Bytes beside the products, over those of X, of bfloat16 and float32 matrices with 1024 columns; nothing runs."""
    rows = []
    for name in ("float32", "bfloat16"):
        for aspect in (1, 4):
            with FakeTensorMode():
                X = torch.empty(8, 1024 * aspect, 1024, dtype=getattr(torch, name))
                plan = polar_plan(name, aspect=aspect)
                calls: dict[str, Callable[[], Any]] = {
                    "nnla": lambda X=X, plan=plan: polar(X, plan=plan),
                    "Muon, plain": lambda X=X: newton_schulz(X, MUON),
                    "Muon, Gram, restart": lambda X=X: gram_newton_schulz(X, MUON),
                }
                found = {}
                for method, call in calls.items():
                    with Traffic() as traffic:
                        call()
                    found[method] = traffic.bytes / (X.numel() * X.element_size())
            rows.append({"dtype": name, "aspect": aspect, "passes": found})
    return rows


def band(U: torch.Tensor) -> dict[str, float]:
    sizes = torch.linalg.svdvals(U)
    return {"low": float(sizes.min()), "high": float(sizes.max())}


# ------------------------------------------------------------------------------------------ seconds


def seconds_rows(quick: bool) -> list[dict[str, Any]]:
    rows = []
    for n, count in ((64, 8),) if quick else ((64, 16), (256, 4), (512, 2)):
        rng = np.random.default_rng(0)
        Q = np.linalg.qr(rng.standard_normal((count, n, n)))[0]
        A = torch.tensor((Q * np.geomspace(1, 1e-6, n)) @ Q.transpose(0, 2, 1)).float()
        A = 0.5 * (A + A.mT)
        plan, four = inverse_root_plan(2, cond=1e6, rtol=0.03), inverse_root_plan(4, cond=1e6, rtol=0.03)
        calls: dict[str, Callable[[], Any]] = {
            "nnla": lambda A=A, plan=plan: inverse_root(A, 2, plan=plan),
            "nnla, p = 4": lambda A=A, plan=four: inverse_root(A, 4, plan=plan),
            "CANS": lambda A=A: scaled_cans(A),
            "eigh": lambda A=A: eigenvalue_root(A),
            "one product": lambda A=A: A @ A,
        }
        rows.append({"n": n, "count": count, "products": plan.products, "seconds": medians(calls)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def eigenvalue_root(A: torch.Tensor) -> torch.Tensor:
    w, V = torch.linalg.eigh(A)
    return (V * w.clamp_min(1e-30).rsqrt()[:, None, :]) @ V.mT


def medians(calls: dict[str, Callable[[], Any]], rounds: int = 9) -> dict[str, float]:
    """Processor seconds, medians of interleaved runs."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for k in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if k:
                taken[name].append(time.process_time() - start)
    return {name: sorted(values)[rounds // 2] for name, values in taken.items()}


# ------------------------------------------------------------------------------------------- learned


def learned_rows() -> list[dict[str, float]]:
    """Degree 17, five products of X or three of T: the transitions that were learned, and the minimax ones."""
    rows = []
    for ratio in (0.1, 0.15, 0.2, 0.3, 0.4, 0.5):
        learned = learned_stage(ratio)
        if learned is not None:
            rows.append({"ratio": ratio, "learned": learned.error, "minimax": transition(17, ratio).high - 1})
    return rows


# ------------------------------------------------------------------------------------------- summary


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """The bars."""
    rows = [row for row in result["roots"] if "cans" in row]
    at7 = [row["default"] for row in rows if row["condition"] == 7 and row["default"]]
    missed = [f"{row['matrix']} 1e{row['condition']}" for row in rows if row["equal"] is None or row["ratio"] > BAR]
    silent = [row for row in rows for t in row["tried"] if t["converged"] and t["residual"] > t["rtol"]]
    nnla = {row["form"]: row for row in result["polar"] if row["schedule"] == "nnla"}
    return {
        "roots": len(rows),
        "worst ratio at equal error": max((row["ratio"] for row in rows if row["equal"]), default=None),
        "median ratio at equal error": float(np.median([row["ratio"] for row in rows if row["equal"]])),
        "missed": missed,
        "worst error at 1e7": max((t["error"] for t in at7), default=None),
        "worst cost at 1e7": max((t["cost"] for t in at7), default=None),
        "called converged beyond rtol": len(silent),
        "polar ratios": {form: row["ratios"] for form, row in nnla.items()},
        "polar ratios to the best re-made": {form: row["best re-made"] for form, row in nnla.items()},
    }


def rounded(value: Any) -> Any:
    """With four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer conditions and small sizes")
    parser.add_argument("--page-only", action="store_true", help="page and picture from the JSON that is there")
    parser.add_argument("--gpu", type=Path, help="JSON of matrix_functions_optimisers_gpu.py to take in")
    parser.add_argument("--out", type=Path, default=DOCS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = arguments.out / "matrix_functions_optimisers.json"
    if arguments.page_only:
        result = json.loads(path.read_text())
    else:
        start = time.process_time()
        result = {"roots": root_rows(arguments.quick), "polar": polar_rows(), "bands": band_rows(arguments.quick)}
        result["seconds"] = seconds_rows(arguments.quick)
        result["traffic"] = traffic_rows()
        result["bound cost"], result["probe cost"] = BOUND, probe_cost(N)
        result["summary"] = summary(result)
        result["date"] = time.strftime("%Y-%m-%d")
        result["hardware"] = f"{platform.machine()}, one thread"
        result["torch"] = torch.__version__
        result["processor seconds"] = round(time.process_time() - start, 1)
        if path.is_file() and "gpu" in (old := json.loads(path.read_text())):
            result["gpu"] = old["gpu"]
    result["learned"] = learned_rows()
    if arguments.gpu is not None:
        result["gpu"] = json.loads(arguments.gpu.read_text())
    result = rounded(result)
    path.write_text(json.dumps(result) + "\n")
    page.write(result, arguments.out)
    print(json.dumps(result["summary"], indent=1))


if __name__ == "__main__":
    main()
