"""Measuring one system: a first solve of every solver, then interleaved repeats, as many as their duration allows.

Every sample is a record, a plain dict that the caller writes as one line of JSON before the next begins, so that an
interrupted run goes on from there. A record is valid for one system, tolerance, number of threads and version of its
library, that of a solver in `Plan.keep` for all versions. What is new is measured together with what it will be
compared with, the peers close to the best peer and the methods of nnla close to the best of these, so that ratios come
from one session.
"""

from __future__ import annotations

import fnmatch
import math
import random
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tts.pool import Pool, StoppedError
from tts.solvers import kind

TIGHTENINGS = 6
GENEROUS = 5.0  # how much more time `auto`, a yardstick or the first of a kind gets: their ratios are asked for


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rtol: float = 1e-8
    threads: int = 1
    clock: str = "wall"  # the time that decides on repeats; both are recorded
    limit: float = 300.0  # seconds of one solve, at most
    factor: float = 15.0  # a solver that takes this many times the best of its kind is stopped
    floor: float = 2.0  # seconds that every solver gets
    budget: float = 1.0  # seconds to spend on the repeats of a short solve
    close: float = 2.0  # what is cached and within this factor of the best of its kind is measured again
    samples: int = 5  # of a solve that is neither long nor far behind
    keep: tuple[str, ...] = ()  # patterns of solvers whose records count whatever the version

    def keeps(self, solver: str) -> bool:
        return any(fnmatch.fnmatch(solver, pattern) for pattern in self.keep)

    def repeats(self, seconds: float, best: float) -> int:
        """Samples of a solver: many of short solves, few of long ones, fewest of what is far behind."""
        if seconds > 60.0 or (seconds > 4.0 * best and seconds > 0.5):
            return 1
        if seconds > 10.0 or seconds > 4.0 * best:
            return min(self.samples, 2 if seconds > 0.1 else 3)
        if seconds > 0.1:
            return min(self.samples, 3)
        return max(self.samples, min(9, math.ceil(self.budget / max(seconds, 0.02))))


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
        libraries = self.pool.libraries
        solvers = [s for s in libraries if s in set(solvers) and libraries[s] not in self.pool.absent]
        known = {s: self._cached(s) for s in solvers}
        if not all(known.values()) and any(known.values()):
            for s in self._compared(known):  # these have to come from the same session
                self.settings[s] = known[s][-1]["setting"]
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
        wanted = {s: self.plan.repeats(statistics.median(self.times[s]), best) for s in alive}
        for turn in range(max(wanted.values())):
            # drawn anew each time: rotated alone, the same solver would always find what another left in the caches
            for s in random.Random(turn).sample(alive, len(alive)):
                if s in self.times and len(self.times[s]) < wanted[s]:
                    self._again(s)

    def _cached(self, solver: str) -> list[dict[str, Any]]:
        """The samples of the last session that has any of this version."""
        key = self.pool.key(self.pool.libraries[solver])
        plan = self.plan
        mine = [
            r for r in self.old
            if (r["solver"], r["rtol"], r["threads"], r["digest"]) == (solver, plan.rtol, plan.threads, self.digest)
            and (r["key"] == key or plan.keeps(solver))
        ]  # fmt: skip
        return [r for r in mine if r["session"] == mine[-1]["session"] and r["final"]]

    def _compared(self, known: dict[str, list[dict[str, Any]]]) -> list[str]:
        """Of what is cached from other sessions: what is close to the best of its kind."""
        good = {s: self._median(r) for s, r in known.items() if r and r[-1]["ok"]}
        best: dict[str, float] = {}
        for s, seconds in good.items():
            best[kind(s)] = min(seconds, best.get(kind(s), math.inf))
        near = [s for s, seconds in good.items() if seconds <= self.plan.close * best[kind(s)]]
        return [s for s in near if known[s][-1]["session"] != self.label and kind(s) != "yardstick"]

    def _median(self, records: list[dict[str, Any]]) -> float:
        return statistics.median(r[self.plan.clock] for r in records)

    def _time_limit(self, solver: str) -> float:
        """So many times the best of its kind so far, or four times what it has taken itself.

        More for what is judged, and where none of a kind has succeeded.
        """
        plan = self.plan
        medians = {s: statistics.median(t) for s, t in self.times.items()}
        mine = min((t for s, t in medians.items() if kind(s) == kind(solver)), default=math.inf)
        every = GENEROUS * min(medians.values(), default=math.inf)
        judged = kind(solver) == "yardstick" or solver in ("nnla-auto", "nnla-direct")
        least = max(plan.floor, 4.0 * medians.get(solver, 0.0))
        return min(plan.limit, max(least, plan.factor * (every if judged else min(mine, every))))

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
        inner = max(1, min(50, int(0.02 / max(seconds, 1e-6))))
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
            worker = self.pool.workers[self.pool.libraries[solver]]
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
        row |= {"threads": self.plan.threads, "key": self.pool.key(self.pool.libraries[solver]), "setting": setting}
        row |= {k: sample.get(k) for k in ("wall", "cpu", "residual", "facts")} | more
        self.record(row)
