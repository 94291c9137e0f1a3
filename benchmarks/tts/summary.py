"""From records to figures: medians, the best peer of each system, what `auto` lost or won against it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Any

AUTO, JACOBI = "nnla-auto", "scipy-jacobi"
SIZES = ((0, 10_000, "n < 10^4"), (10_000, 100_000, "10^4 to 10^5"), (100_000, 600_000, "10^5 to 6 10^5"),
         (600_000, math.inf, "n > 6 10^5"))  # fmt: skip


def digest(records: Iterable[dict[str, Any]], *, rtol: float, threads: int, keys: dict[str, str]) -> dict[str, dict]:
    """matrix -> solver -> its medians: of the last session, with the given versions only.

    `keys` maps a solver to the version that counts; solvers that are not in it count in any version.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in records:
        if r["rtol"] == rtol and r["threads"] == threads and keys.get(r["solver"], r["key"]) == r["key"]:
            groups.setdefault((r["matrix"], r["solver"]), []).append(r)
    out: dict[str, dict] = {}
    for (matrix, solver), rows in groups.items():
        rows = [r for r in rows if r["session"] == rows[-1]["session"] and r["final"]]
        if rows:
            out.setdefault(matrix, {})[solver] = _medians(rows)
    return out


def _medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    last = rows[-1]
    facts = last["facts"] or {}
    out: dict[str, Any] = {"ok": all(r["ok"] for r in rows), "samples": len(rows), "setting": last["setting"]}
    for clock in ("wall", "cpu"):
        times = [r[clock] for r in rows if r[clock] is not None]
        out[clock] = statistics.median(times) if times else None
        out[f"{clock}_min"] = min(times, default=None)
    out["residual"] = last["residual"]
    out["iterations"] = facts.get("iterations")
    if not out["ok"]:
        out["reason"] = next(r["reason"] for r in rows if not r["ok"])
    if last["solver"] == AUTO:
        out["facts"] = facts
    return out


def judge(name: str, solvers: dict[str, dict], clock: str) -> dict[str, Any]:
    """The figures of one system; the ratio is inf where `auto` failed and a peer did not, 0 the other way round."""
    good = {s: v[clock] for s, v in solvers.items() if v["ok"]}
    peers = {s: t for s, t in good.items() if not s.startswith("nnla-")}
    own = {s: t for s, t in good.items() if s.startswith("nnla-")}
    auto = good.get(AUTO)
    out: dict[str, Any] = {"matrix": name, "auto": auto, "best_peer": None, "best_peer_time": None, "ratio": None}
    if peers:
        out["best_peer"] = min(peers, key=lambda s: peers[s])
        out["best_peer_time"] = peers[out["best_peer"]]
    if own:
        out["best_own"] = min(own, key=lambda s: own[s])
        out["best_own_time"] = own[out["best_own"]]
    if AUTO in solvers and (peers or auto is not None):
        out["ratio"] = math.inf if auto is None else auto / out["best_peer_time"] if peers else 0.0
    jacobi = solvers.get(JACOBI)
    # a Jacobi-CG that was stopped gives a lower bound; one that failed otherwise gives none
    usable = jacobi and jacobi[clock] is not None and (jacobi["ok"] or jacobi["reason"].startswith("stopped"))
    if jacobi and usable and auto is not None:
        out["jacobi_ratio"], out["jacobi_stopped"] = jacobi[clock] / auto, not jacobi["ok"]
    facts = (solvers.get(AUTO) or {}).get("facts") or {}
    out["chosen"] = facts.get("method")
    out["chosen_because"] = facts.get("chosen_because")
    out["predicted"] = {k: v for k, v in facts.items() if k.startswith("predicted") and v is not None}
    return out


def totals(judged: list[dict[str, Any]], sizes: dict[str, int]) -> dict[str, Any]:
    """What the issue asks for, over a group of systems."""
    ratios = [j["ratio"] for j in judged if j["ratio"] is not None]
    out: dict[str, Any] = {"systems": len(judged), "judged against peers": len(ratios)}
    if ratios:
        count = len(ratios)
        out["auto within 1.25x of the best peer"] = sum(r <= 1.25 for r in ratios) / count
        out["auto within 2x of the best peer"] = sum(r <= 2.0 for r in ratios) / count
        out["auto faster than every peer"] = sum(r < 1.0 for r in ratios) / count
        finite = [r for r in ratios if 0 < r < math.inf]
        out["auto / best peer, geometric mean"] = geometric(finite)
        worst = max((j for j in judged if j["ratio"] is not None), key=lambda j: j["ratio"])
        out["auto / best peer, worst"] = [worst["ratio"], worst["matrix"]]
    regret = [j["auto"] / j["best_own_time"] for j in judged if j["auto"] and j.get("best_own_time")]
    if regret:
        out["auto / best method of nnla in hindsight, geometric mean"] = geometric(regret)
    large = [j for j in judged if j.get("jacobi_ratio") is not None and sizes[j["matrix"]] >= 50_000]
    if large:
        out["SciPy Jacobi-CG / auto for n >= 50,000, geometric mean"] = geometric(j["jacobi_ratio"] for j in large)
        worst = min(large, key=lambda j: j["jacobi_ratio"])
        out["SciPy Jacobi-CG / auto for n >= 50,000, worst"] = [worst["jacobi_ratio"], worst["matrix"]]
    every = [j for j in judged if j.get("jacobi_ratio") is not None]
    if every:
        worst = min(every, key=lambda j: j["jacobi_ratio"])
        out["SciPy Jacobi-CG / auto, worst of all"] = [worst["jacobi_ratio"], worst["matrix"]]
    return out


def grouped(judged: list[dict[str, Any]], systems: dict[str, dict]) -> dict[str, dict[str, Any]]:
    """`totals` of all systems, of files and generated ones, and by size."""
    sizes = {name: facts["n"] for name, facts in systems.items()}
    groups = {"all": judged}
    groups["files"] = [j for j in judged if systems[j["matrix"]]["file"]]
    groups["generated"] = [j for j in judged if not systems[j["matrix"]]["file"]]
    for low, high, label in SIZES:
        groups[label] = [j for j in judged if low <= sizes[j["matrix"]] < high]
    return {label: totals(group, sizes) for label, group in groups.items() if group}


def geometric(values: Iterable[float]) -> float:
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan
