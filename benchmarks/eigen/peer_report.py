"""What the measurements of `eigsh_peers.py` say: who is right, ratios, the bars, as Markdown."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

__all__ = ["OURS", "judge", "page", "verdicts"]

OURS = "auto"
_LOOSE = 1.5  # by which a residual may miss the tolerance: norms differ by that much
Row = dict[str, Any]

# (name, group of problems, opponents, bar)
BARS: tuple[tuple[str, str, tuple[str, ...], float], ...] = (
    ("2-D meshes / sigma, best ordering", "2-D mesh", ("scipy sigma, best ordering",), 0.7),
    ("2-D meshes / sigma, default", "2-D mesh", ("scipy sigma",), 0.7),
    ("cfd1 and 3-D mesh / sigma, best ordering", "3-D mesh", ("scipy sigma, best ordering", "scipy sigma"), 0.5),
    ("Hamiltonians / ARPACK without a shift", "Hamiltonian", ("arpack",), 0.8),
)
_FEW = 0.85  # share of the problems on which we are to be the quickest
_WORST = 1.5


def judge(row: Row, reference: dict[str, Any], k: int, tol: float) -> str:
    """ "right", or what is wrong with an answer: every wanted value there, and every residual within the tolerance."""
    if "failed" in row:
        return row["failed"]
    w, wanted = np.asarray(row["values"]), np.asarray(reference["values"][:k])
    if w.size < k:
        return f"{w.size} of {k} pairs"
    scale = reference["norm"] / reference["mass"]
    near = _LOOSE * tol * scale + reference["error"] + 1e-6 * np.abs(wanted)
    off = np.abs(w[:k] - wanted) > near
    if np.any(off):
        first = int(np.argmax(off))
        more = w[first] > wanted[first]
        return f"missing: value {first + 1} is {w[first]:.4g}, not {wanted[first]:.4g}" if more else "wrong values"
    worst = max(row["residuals"][:k]) / reference["norm"]
    if worst > _LOOSE * tol:
        return f"residual {worst:.0e}"
    if row["angle"] > 1e-6:
        return f"not orthogonal, {row['angle']:.0e}"
    if ": " in row["note"]:  # ours says that it is not sure
        return f"not verified ({row['note']})"
    return "right"


def verdicts(rows: list[Row]) -> list[Row]:
    """By problem and k: medians of each solver, the quickest right one, our ratio to it."""
    table = []
    for problem, k in dict.fromkeys((row["problem"], row["k"]) for row in rows):
        mine = [row for row in rows if (row["problem"], row["k"]) == (problem, k)]
        solvers: dict[str, Row] = {}
        for name in dict.fromkeys(row["solver"] for row in mine):
            runs = [row for row in mine if row["solver"] == name]
            wrong = [row["verdict"] for row in runs if row["verdict"] != "right"]
            seconds = [row["cpu"] for row in runs if "cpu" in row]
            solvers[name] = {
                "cpu": statistics.median(seconds) if seconds else None,
                "verdict": wrong[0] if wrong else "right",
                "runs": len(runs),
                "limit": max((row["limit"] for row in runs if "limit" in row), default=None),
                "note": runs[0].get("note", ""),
            }
        peers = {n: s["cpu"] for n, s in solvers.items() if n != OURS and s["verdict"] == "right"}
        best = min(peers, key=peers.__getitem__, default=None)
        ours = solvers.get(OURS, {})
        fine = ours.get("verdict") == "right" and best is not None
        table.append(
            {
                "problem": problem,
                "group": mine[0]["group"],
                "k": k,
                "solvers": solvers,
                "best": best,
                "ratio": ours["cpu"] / peers[best] if fine and best is not None else None,
            }
        )
    return table


def _versions(libraries: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in libraries.items())


def _figure(solver: Row | None, ours: float | None) -> str:
    if solver is None:
        return ""
    if solver["cpu"] is None:
        return solver["verdict"][:60]
    text = f"{solver['cpu']:.3g}"
    if ours:
        text += f" ({ours / solver['cpu']:.2f})"
    return text if solver["verdict"] == "right" else f"{text} **{solver['verdict'][:60]}**"


def _bars(table: list[Row]) -> list[str]:
    lines = ["| bar | wanted | met | figures |", "|---|---:|---|---|"]
    for name, group, opponents, bar in BARS:
        figures, good = [], True
        for one in table:
            if one["group"] != group:
                continue
            ours = one["solvers"].get(OURS)
            for opponent in opponents:
                other = one["solvers"].get(opponent)
                least = None if other is None else other["cpu"] or other["limit"]  # stopped: longer than that
                if ours is None or other is None or least is None:
                    continue
                ratio = ours["cpu"] / least if ours["cpu"] is not None else float("inf")
                right = ours["verdict"] == "right"
                good &= right and ratio <= bar
                mark = "" if right else "!" + ours["verdict"][:20]
                mark += "" if other["verdict"] == "right" or other["cpu"] is None else " (it is not right)"
                less = "" if other["cpu"] is not None else "< "
                figures.append(f"{one['problem']} k={one['k']} {less}{ratio:.2f}{mark}")
                break
        met = "-" if not figures else "yes" if good else "no"
        lines.append(f"| {name} | {bar} | {met} | {'; '.join(figures)} |")
    judged = [one for one in table if one["best"] is not None and OURS in one["solvers"]]
    if not judged:
        return lines
    ratios = [one["ratio"] if one["ratio"] is not None else float("inf") for one in judged]
    quick, worst = sum(r <= 1.0 for r in ratios), max(ratios)
    at, share = judged[ratios.index(worst)], quick / len(ratios)
    met = "yes" if share >= _FEW else "no"
    lines.append(f"| share, ours / quickest right <= 1 | {_FEW:.0%} | {met} | {quick} of {len(ratios)}, {share:.0%} |")
    where = f"{at['problem']} k={at['k']}, {at['best']}; ours is {at['solvers'].get(OURS, {}).get('verdict')}"
    met = "yes" if worst <= _WORST else "no"
    lines.append(f"| largest ours / quickest right | {_WORST} | {met} | {worst:.2f} ({where}) |")
    return lines


def page(rows: list[Row], facts: dict[str, Any]) -> str:
    """The whole result."""
    table = verdicts(rows)
    names = [OURS, *dict.fromkeys(row["solver"] for row in rows if row["solver"] != OURS)]
    lines = [
        "# k smallest eigenpairs: `nnla.eigsh(method=\"auto\")`, verified, against others",
        "",
        f"{facts['date']}, {facts['hardware']}, one thread, CPU seconds of the whole call, medians of {facts['reps']}, "
        f"solvers in rotated order, each in a process of its own. Residuals of {facts['tol']:.0e} ||A|| asked of all, "
        "but \"scipy sigma\", which is called as people do. In brackets: ours by theirs. **Bold**: not right. The "
        "shift below the spectrum, ||A|| and the k-th value are given to the others.",
        "",
        *(f"* {place}: {_versions(versions)}" for place, versions in facts["libraries"].items()),
        "",
        *_bars(table),
        "",
        "| problem | k | " + " | ".join(names) + " | ours / best right |",
        "|---|---:|" + "---|" * (len(names) + 1),
    ]  # fmt: skip
    for one in table:
        ours = one["solvers"].get(OURS)
        cells = [_figure(one["solvers"].get(n), None if n == OURS or ours is None else ours["cpu"]) for n in names]
        ratio = "" if one["ratio"] is None else f"{one['ratio']:.2f} ({one['best']})"
        lines.append(f"| {one['problem']} | {one['k']} | " + " | ".join(cells) + f" | {ratio} |")
    lines += ["", "References:", ""]
    lines += [f"* {name}: {text}" for name, text in facts["references"].items()]
    return "\n".join(lines) + "\n"
