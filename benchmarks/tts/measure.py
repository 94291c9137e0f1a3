"""Measuring one system: a first solve of every solver, then interleaved repeats, as many as their duration allows.

Every sample is a record, a plain dict that the caller writes as one line of JSON before the next begins, so that an
interrupted run goes on from there. A record is valid for one system, tolerance, number of threads and version of its
library. A new version of nnla is measured again together with the peers that are close to the best of all and with
Jacobi-CG, so that ratios come from one session.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tts.pool import Pool, StoppedError
from tts.solvers import LIBRARIES

ANCHOR = "scipy-jacobi"  # the geometric mean is against it: never stopped early, always measured anew
TIGHTENINGS = 6


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rtol: float = 1e-8
    threads: int = 1
    clock: str = "wall"  # the time that decides on repeats; both are recorded
    limit: float = 300.0  # seconds of one solve, at most
    factor: float = 15.0  # a solver that takes this many times the best one is stopped
    floor: float = 2.0  # seconds that every solver gets
    budget: float = 1.0  # seconds to spend on the repeats of a short solve
    close: float = 2.0  # cached peers within this factor of the best are measured again


def repeats(seconds: float, best: float, budget: float) -> int:
    """Samples of a solver: many of short solves, few of long ones, fewest of what is far behind."""
    if seconds > 60.0 or (seconds > 4.0 * best and seconds > 2.0):
        return 1
    if seconds > 10.0 or seconds > 4.0 * best:
        return 2 if seconds > 0.1 else 3
    return max(3, min(9, math.ceil(budget / max(seconds, 0.02))))


@dataclass
class Session:
    """The measurements of one system; `old` are its records of former sessions."""

    name: str
    folder: Path
    pool: Pool
    plan: Plan
    record: Callable[[dict[str, Any]], None]
    label: str  # of this session
    digest: str = ""  # of the system
    old: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, float] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, solvers: Iterable[str]) -> None:
        """All of it: what is cached is taken, the rest measured."""
        solvers = [s for s in LIBRARIES if s in set(solvers) and LIBRARIES[s] not in self.pool.absent]
        known = {s: self._cached(s) for s in solvers}
        if not all(known.values()) and any(known.values()):
            # something is new: what it will be compared with has to come from the same session
            best = min((self._median(r) for r in known.values() if r and r[-1]["ok"]), default=0.0)
            for s, records in known.items():
                current = records and records[-1]["session"] == self.label
                near = records and records[-1]["ok"] and self._median(records) <= self.plan.close * best
                if records and not current and (near or (s == ANCHOR and records[-1]["ok"])):
                    known[s] = []
        for s, records in known.items():
            if records and records[-1]["ok"]:
                self.settings[s] = records[-1]["setting"]
                self.times[s] = [r[self.plan.clock] for r in records]
        fresh = [s for s in solvers if not known[s]]
        for s in fresh:
            self._first(s)
        alive = [s for s in fresh if s in self.times]
        if not alive:
            return
        best = min(statistics.median(t) for t in self.times.values())
        wanted = {s: repeats(statistics.median(self.times[s]), best, self.plan.budget) for s in alive}
        for turn in range(max(wanted.values())):
            order = alive[turn % len(alive) :] + alive[: turn % len(alive)]
            for s in order:
                if s in self.times and len(self.times[s]) < wanted[s]:
                    self._again(s)

    def _cached(self, solver: str) -> list[dict[str, Any]]:
        """The samples of the last session that has any of this version."""
        key = self.pool.key(LIBRARIES[solver])
        plan = self.plan
        mine = [
            r for r in self.old
            if (r["solver"], r["key"], r["rtol"], r["threads"], r["digest"])
            == (solver, key, plan.rtol, plan.threads, self.digest)
        ]  # fmt: skip
        return [r for r in mine if r["session"] == mine[-1]["session"] and r["final"]]

    def _median(self, records: list[dict[str, Any]]) -> float:
        return statistics.median(r[self.plan.clock] for r in records)

    def _time_limit(self, solver: str) -> float:
        best = min((statistics.median(t) for t in self.times.values()), default=math.inf)
        if solver == ANCHOR or math.isinf(best):
            return self.plan.limit
        return min(self.plan.limit, max(self.plan.floor, self.plan.factor * best))

    def _first(self, solver: str) -> None:
        """The first solve, with a tighter tolerance until the true residual is met."""
        setting, previous, spent = self.settings.get(solver, self.plan.rtol), math.inf, 0.0
        for attempt in range(TIGHTENINGS + 1):
            sample = self._sample(solver, setting, 1)
            if "error" in sample:
                self._write(solver, setting, sample, ok=False, final=True, reason=sample["error"])
                return
            residual = sample["residual"] if sample["residual"] is not None else math.inf
            if residual <= 1.001 * self.plan.rtol:
                self.settings[solver], self.times[solver] = setting, []
                seconds = sample[self.plan.clock]
                # the first of many short solves pays for cold caches and first allocations: the repeats count
                self._write(solver, setting, sample, ok=True, final=seconds > 0.2)
                self.times[solver] = [seconds]
                if seconds <= 0.2:
                    self._again(solver, drop=True)
                return
            stopped = (sample["facts"] or {}).get("stopped")
            hopeless = residual > 0.9 * previous or not math.isfinite(residual)
            spent += sample[self.plan.clock]
            hopeless = hopeless or spent > self._time_limit(solver) / 2
            last = bool(stopped) or hopeless or attempt == TIGHTENINGS or solver.startswith("nnla-")
            reason = f"true residual {residual:.1e}" + (f", {stopped}" if stopped else "")
            self._write(solver, setting, sample, ok=False, final=last, reason=reason)
            if last:
                return
            previous, setting = residual, setting * min(0.7, 0.8 * self.plan.rtol / residual)

    def _again(self, solver: str, drop: bool = False) -> None:
        seconds = statistics.median(self.times[solver])
        inner = max(1, min(20, int(0.02 / max(seconds, 1e-6))))
        sample = self._sample(solver, self.settings[solver], inner)
        if "error" in sample:
            self._write(solver, self.settings[solver], sample, ok=False, final=True, reason=sample["error"])
            del self.times[solver]
            return
        ok = sample["residual"] is not None and sample["residual"] <= 1.001 * self.plan.rtol
        reason = None if ok else f"true residual {sample['residual']}, not reproducible"
        self._write(solver, self.settings[solver], sample, ok=ok, final=True, reason=reason)
        if drop:
            self.times[solver].clear()
        self.times[solver].append(sample[self.plan.clock])

    def _sample(self, solver: str, setting: float, inner: int) -> dict[str, Any]:
        limit = self._time_limit(solver)
        try:
            worker = self.pool.workers[LIBRARIES[solver]]
            return worker.run(solver, self.folder, setting, inner, inner * limit)
        except StoppedError as error:
            return {"error": str(error), "wall": limit, "cpu": limit}

    def _write(self, solver: str, setting: float, sample: dict[str, Any], **more: Any) -> None:
        row = {
            "matrix": self.name,
            "solver": solver,
            "session": self.label,
            "rtol": self.plan.rtol,
            "digest": self.digest,
        }
        row |= {"threads": self.plan.threads, "key": self.pool.key(LIBRARIES[solver]), "setting": setting}
        row |= {k: sample.get(k) for k in ("wall", "cpu", "residual", "facts")} | more
        self.record(row)
