"""From runs to figures: medians of each step, the best peer in hindsight, prefixes, break-even, the bars."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Any

from seq.cases import SMALL
from seq.methods import BARE, COLD, FIXED, PEERS, SOLVER
from seq.session import label

POINTS = 40
EVEN = 1.02  # of cold: less than that is noise
POLICIES = tuple(f"Solver, {name}" for name in FIXED)


def collect(
    facts: dict[str, dict[str, Any]], records: list[dict[str, Any]], methods: list[str], pool: Any, rtol: float,
    clock: str,
) -> dict[str, Any]:  # fmt: skip
    """Everything that the page and the plot show, of what was measured in the versions that run now."""
    keys = {m: pool.key(m) for m in methods}
    sequences: dict[str, dict[str, Any]] = {}
    for name, about in facts.items():
        rows = [
            r
            for r in records
            if r["sequence"] == name
            and r["digest"] == about["digest"]
            and r["rtol"] == rtol
            and keys.get(r["method"]) == r["key"]
        ]
        beside = keys.get(SOLVER)
        results = {m: found for m in methods if (found := _best([r for r in rows if r["method"] == m], clock, beside))}
        judged = judge(results)
        sequences[name] = {"facts": about, "methods": {m: thinned(v) for m, v in results.items()}, **judged}
    return {"meta": {"rtol": rtol, "clock": clock}, "sequences": sequences, "summary": summarise(sequences)}


def _best(rows: list[dict[str, Any]], clock: str, beside: str | None) -> dict[str, Any] | None:
    """The best setting of a method: medians of each step over its runs; or why none succeeded.

    Of its runs those count that were measured beside this version of nnla, where there are any.
    """
    if not rows:
        return None
    groups: dict[str, list[dict[str, Any]]] = {}
    for r in rows:
        if r["ok"]:
            groups.setdefault(label(r["setting"]), []).append(r)
    if not groups:
        last = rows[-1]
        worst = max((r for r in last["residual"] if r is not None), default=math.nan)
        return {"ok": False, "setting": label(last["setting"]), "reason": last.get("error") or f"residual {worst:.1e}"}
    totals = {name: statistics.median(sum(r[clock]) for r in runs) for name, runs in groups.items()}
    name = min(totals, key=lambda n: totals[n])
    runs = [r for r in groups[name] if r.get("beside") == beside] or groups[name]
    steps = [statistics.median(values) for values in zip(*(r[clock] for r in runs), strict=True)]
    seconds = statistics.median(sum(r[clock]) for r in runs)
    return {
        "ok": True, "setting": name, "runs": len(runs), "seconds": seconds, "steps": steps,
        "iterations": runs[-1]["iterations"], "residual": max(max(r["residual"]) for r in runs),
        "tolerance": runs[-1]["tolerance"], "settings": totals, "report": runs[-1].get("facts"),
    }  # fmt: skip


def thinned(found: dict[str, Any]) -> dict[str, Any]:
    """A result as it is written down: the course of the seconds at some forty places, four digits."""
    if not found["ok"]:
        return found
    so_far = cumulative(found["steps"])
    places = sorted({round((k + 1) * len(so_far) / POINTS) - 1 for k in range(POINTS)} - {-1} | {0})
    out = {k: v for k, v in found.items() if k not in ("steps", "iterations", "report")}
    out["course"] = [[k + 1, float(f"{so_far[k]:.4g}")] for k in places]
    out["iterations"] = sum(found["iterations"])
    if found["report"] is not None:
        out["report"] = {k: v for k, v in found["report"].items() if k not in ("steps", "versions")}
    return out


def judge(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures of one sequence; None where what they need was not measured or failed."""
    good = {m: v for m, v in results.items() if v["ok"]}
    out: dict[str, Any] = dict.fromkeys(
        (
            "best_peer",
            "/ bare after the first",
            "µs over bare",
            "/ cold",
            "/ best peer",
            "worst prefix / cold",
            "break-even",
            "/ best fixed",
            "iterations / cold",
        )
    )
    peers = {m: good[m]["seconds"] for m in PEERS if m in good}
    out["best_peer"] = min(peers, key=lambda m: peers[m]) if peers else None
    if SOLVER not in good:
        return out
    mine = good[SOLVER]
    if peers:
        out["/ best peer"] = mine["seconds"] / min(peers.values())
    if COLD in good:
        cold = good[COLD]
        out["/ cold"] = mine["seconds"] / cold["seconds"]
        prefixes = [a / b for a, b in zip(cumulative(mine["steps"]), cumulative(cold["steps"]), strict=True)]
        out["worst prefix / cold"] = max(prefixes)
        behind = [k + 1 for k, p in enumerate(prefixes) if p > EVEN]
        out["break-even"] = max(behind, default=0) + 1 if prefixes[-1] <= EVEN else None
        if sum(cold["iterations"]):
            out["iterations / cold"] = sum(mine["iterations"]) / sum(cold["iterations"])
    if BARE in good and len(mine["steps"]) > 1:
        own, bare = (sum(good[m]["steps"][1:]) for m in (SOLVER, BARE))
        out["/ bare after the first"] = own / bare
        out["µs over bare"] = 1e6 * (own - bare) / (len(mine["steps"]) - 1)
    fixed = {m: good[m]["seconds"] for m in POLICIES if m in good}
    if fixed:
        out["/ best fixed"] = mine["seconds"] / min(fixed.values())
        out["best_fixed"] = min(fixed, key=lambda m: fixed[m])
    return out


def cumulative(steps: list[float]) -> list[float]:
    out, now = [], 0.0
    for step in steps:
        now += step
        out.append(now)
    return out


def summarise(sequences: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A row of figures for each group of sequences, and for all but the small systems."""
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for name, s in sequences.items():
        groups.setdefault(s["facts"]["group"], []).append((name, s))
    large = [pair for group, pairs in groups.items() if group != SMALL for pair in pairs]
    if len([g for g in groups if g != SMALL]) > 1:
        groups["shared and generated"] = large
    return {group: _row(rows) for group, rows in groups.items()}


def _row(rows: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    out: dict[str, Any] = {"sequences": len(rows)}
    for key in ("/ cold", "/ best peer", "/ best fixed"):
        values = {name: s[key] for name, s in rows if s[key] is not None}
        if values:
            worst = max(values, key=lambda name: values[name])
            out[key] = geometric(values.values())
            out[f"worst {key}"] = [values[worst], worst]
    prefixes = {name: s["worst prefix / cold"] for name, s in rows if s["worst prefix / cold"] is not None}
    if prefixes:
        worst = max(prefixes, key=lambda name: prefixes[name])
        out["worst prefix / cold"] = [prefixes[worst], worst]
        out["break-even within 5"] = sum((s["break-even"] or math.inf) <= 5 for _, s in rows) / len(rows)
    return out


def geometric(values: Iterable[float]) -> float:
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs))
