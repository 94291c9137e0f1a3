"""From records to figures: medians, the best peer and best own method of a system, what rules lose against them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from tts.solvers import kind

AUTO, DIRECT, JACOBI = "nnla-auto", "nnla-direct", "scipy-jacobi"
TABLE = "a table by n and nnz"
ALWAYS_DIRECT = "always direct"
SHORT = 1e-3  # seconds: factors of less than that are not held against a choice
SIZES = ((0, 10_000, "n < 10^4"), (10_000, 100_000, "10^4 to 10^5"), (100_000, 1_000_001, "10^5 to 10^6"))


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
    out["session"] = last["session"]
    if kind(last["solver"]) != "peer":
        out["source"] = last["key"].rpartition("source ")[2]
    if not out["ok"]:
        out["reason"] = next(r["reason"] for r in rows if not r["ok"])
    if last["solver"] == AUTO or kind(last["solver"]) == "yardstick":
        out["facts"] = facts
    return out


def stopped(value: dict[str, Any]) -> bool:
    """Whether a solver was stopped for its time: that is a lower bound of it then."""
    return not value["ok"] and value["reason"].startswith("stopped")


def far_behind(page: dict[str, Any], clock: str, factor: float) -> dict[str, set[str]]:
    """matrix -> the peers that a former page found at more than `factor` times the best: they need no new try.

    What is not on the page is not known to be far behind, but for CHOLMOD's orderings beside its default.
    """
    out = {}
    for name, solvers in page["medians"].items():
        good = {s: v[clock] for s, v in solvers.items() if v["ok"] and kind(s) == "peer"}
        best = min(good.values(), default=math.inf)
        far = {s for s in solvers if kind(s) == "peer" and good.get(s, math.inf) > factor * best}
        if good.get("cholmod", math.inf) > 2.0 * factor * best:
            far |= {"cholmod-amd", "cholmod-metis"} - solvers.keys()
        out[name] = far
    return out


def judge(name: str, solvers: dict[str, dict], clock: str, table: str | None = None) -> dict[str, Any]:
    """The figures of one system; the ratio is inf where `auto` failed and a peer did not, 0 where only auto solved it.

    Where all peers were stopped, the shortest of their limits stands for the best peer: auto is better than the ratio.
    `table` is the method that a table by n and nnz names.
    """
    good = {s: v[clock] for s, v in solvers.items() if v["ok"]}
    peers = {s: t for s, t in good.items() if kind(s) == "peer"}
    own = {s: t for s, t in good.items() if kind(s) == "own"}
    auto = good.get(AUTO)
    out: dict[str, Any] = {"matrix": name, "auto": auto, "best_peer": None, "best_peer_time": None, "ratio": None}
    out["peers_stopped"] = False
    if not peers:
        peers = {s: v[clock] for s, v in solvers.items() if kind(s) == "peer" and stopped(v)}
        out["peers_stopped"] = bool(peers)
    if peers:
        out["best_peer"] = min(peers, key=lambda s: peers[s])
        out["best_peer_time"] = peers[out["best_peer"]]
    if own:
        out["best_own"] = min(own, key=lambda s: own[s])
        out["best_own_time"] = own[out["best_own"]]
    if AUTO in solvers and (any(kind(s) == "peer" for s in solvers) or auto is not None):
        out["ratio"] = math.inf if auto is None else auto / out["best_peer_time"] if peers else 0.0
    jacobi = solvers.get(JACOBI)
    if jacobi and auto is not None and jacobi[clock] is not None and (jacobi["ok"] or stopped(jacobi)):
        out["jacobi_ratio"], out["jacobi_stopped"] = jacobi[clock] / auto, not jacobi["ok"]
    cholmod = [t for s, t in good.items() if s.startswith("cholmod")]
    out["cholmod"] = min(cholmod, default=None)
    out["rules"] = _rules(solvers, clock, table)
    facts = (solvers.get(AUTO) or {}).get("facts") or {}
    out["chosen"] = facts.get("method")
    out["chosen_because"] = facts.get("chosen_because")
    out["regret"] = facts.get("regret")
    out["predicted"] = {k: v for k, v in facts.items() if k.startswith("predicted") and v is not None}
    return out


def _rules(solvers: dict[str, dict], clock: str, table: str | None) -> dict[str, dict[str, Any]]:
    """What decides -> {"seconds", "ok", "stopped"}: `auto` and its yardsticks."""
    named = {"auto": AUTO} | {s.removeprefix("auto:"): s for s in solvers if kind(s) == "yardstick"}
    named[ALWAYS_DIRECT] = DIRECT
    if table is not None:
        named[TABLE] = f"nnla-{table}"
    return {
        rule: {"seconds": v[clock], "ok": v["ok"], "stopped": stopped(v), "method": _ran(solver, v)}
        for rule, solver in named.items()
        if (v := solvers.get(solver)) is not None
    }


def _ran(solver: str, value: dict[str, Any]) -> str:
    return (value.get("facts") or {}).get("method") or solver.removeprefix("nnla-")


def against_peers(judged: list[dict[str, Any]]) -> dict[str, Any]:
    """`auto` / best peer over a group of systems."""
    rows = [j for j in judged if j["ratio"] is not None]
    out: dict[str, Any] = {"systems": len(rows)}
    if not rows:
        return out
    ratios = [j["ratio"] for j in rows]
    out["geometric mean"] = geometric(r for r in ratios if 0 < r < math.inf)
    out["faster than every peer"] = _share(ratios, lambda r: r < 1.0)
    out["within 1.25"] = _share(ratios, lambda r: r <= 1.25)
    out["within 2"] = _share(ratios, lambda r: r <= 2.0)
    worst = max(rows, key=lambda j: j["ratio"])
    out["worst"] = [worst["ratio"], worst["matrix"]]
    return out


def against_own(judged: list[dict[str, Any]], rule: str) -> dict[str, Any]:
    """What `rule` takes / the best of nnla's methods in hindsight, `auto` among them, over a group of systems.

    A solve that was stopped counts with its limit, a lower bound; one that failed has no ratio and is counted apart.
    """
    rows = [(j, j["rules"][rule]) for j in judged if rule in j["rules"] and j.get("best_own_time")]
    out: dict[str, Any] = {"systems": len(rows)}
    if not rows:
        return out
    ratios = {j["matrix"]: r["seconds"] / j["best_own_time"] if r["ok"] or r["stopped"] else math.inf for j, r in rows}
    finite = [ratio for ratio in ratios.values() if ratio < math.inf]
    out["geometric mean"] = geometric(finite)
    out["within 1.25"] = _share(list(ratios.values()), lambda r: r <= 1.25)
    late = [ratios[j["matrix"]] > 2.0 and not (r["ok"] and r["seconds"] <= SHORT) for j, r in rows]
    out["beyond 2, above 1 ms"] = sum(late)
    out["failed"] = sum(ratio == math.inf for ratio in ratios.values())
    worst = max(ratios, key=lambda name: ratios[name])
    out["worst"] = [ratios[worst], worst]
    peers = [
        r["seconds"] / j["best_peer_time"]
        for j, r in rows
        if j["best_peer_time"] and ratios[j["matrix"]] < math.inf
    ]  # fmt: skip
    out["/ best peer"] = geometric(peers)
    return out


def against_cholmod(judged: list[dict[str, Any]]) -> dict[str, Any]:
    """`auto` / the fastest CHOLMOD where that takes less than a millisecond."""
    rows = [j for j in judged if j["cholmod"] is not None and j["cholmod"] <= SHORT and j["auto"] is not None]
    out: dict[str, Any] = {"systems": len(rows)}
    if rows:
        ratios = {j["matrix"]: j["auto"] / j["cholmod"] for j in rows}
        out["geometric mean"] = geometric(ratios.values())
        out["within 1.2"] = _share(list(ratios.values()), lambda r: r <= 1.2)
        worst = max(ratios, key=lambda name: ratios[name])
        out["worst"] = [ratios[worst], worst]
    return out


def summarise(judged: list[dict[str, Any]], systems: dict[str, dict]) -> dict[str, dict[str, dict[str, Any]]]:
    """{"peers": group -> figures, "own": group -> rule -> figures, "short": group -> figures}; a group is a set, "all"
    or a range of n."""
    groups = {}
    for j in judged:
        groups.setdefault(systems[j["matrix"]]["group"], []).append(j)
    if len(groups) > 1:
        groups["all"] = judged
    sets = dict(groups)
    for low, high, label in SIZES:
        groups[label] = [j for j in judged if low <= systems[j["matrix"]]["n"] < high]
    groups = {label: rows for label, rows in groups.items() if rows}
    rules = list(dict.fromkeys(rule for j in judged for rule in j["rules"]))
    rules.sort(key=lambda rule: (rule != "auto", rule == TABLE, rule == ALWAYS_DIRECT))
    short = {label: against_cholmod(rows) for label, rows in sets.items()}
    return {
        "peers": {label: against_peers(rows) for label, rows in groups.items()},
        "own": {label: {rule: against_own(rows, rule) for rule in rules} for label, rows in sets.items()},
        "short": {label: figures for label, figures in short.items() if figures["systems"]},
    }


def _share(values: list[float], good: Callable[[float], bool]) -> float:
    return sum(map(good, values)) / len(values)


def geometric(values: Iterable[float]) -> float | None:
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else None
