"""Measuring one sequence: every peer tuned in hindsight, then the methods in turns, what is cached left alone."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seq.methods import METHODS, PEERS, SOLVER
from seq.pool import StoppedError

SLACK = 1.001  # of the residual that is asked for
TIGHTER = 4  # tries with a tighter tolerance
NEAR = 1.4  # times the best peer: a peer that is measured again, and beside every new version of nnla


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rtol: float = 1e-8
    clock: str = "cpu"
    samples: int = 3
    limit: float = 90.0  # seconds of one run of a sequence
    factor: float = 4.0  # a setting is stopped at so many times the best of its method (and `floor`)
    floor: float = 2.0


Setting = dict[str, str]


def total(row: dict[str, Any], clock: str) -> float:
    """Seconds of a run, infinite where it is no answer."""
    return sum(row[clock]) if row["ok"] else math.inf


def label(setting: Setting) -> str:
    return ", ".join(setting.values())


class Session:
    """One sequence. `record` takes each run as soon as it is there; `old` are the runs that a cache holds."""

    def __init__(
        self, name: str, folder: Path, digest: str, pool: Any, plan: Plan, record: Callable[[dict[str, Any]], None],
        old: list[dict[str, Any]],
    ) -> None:  # fmt: skip
        self.name, self.folder, self.digest, self.pool, self.plan, self.record = (
            name, folder, digest, pool, plan, record,
        )  # fmt: skip
        self.rows = [r for r in old if r["digest"] == digest and r["rtol"] == plan.rtol]
        self.beside = pool.key(SOLVER) if SOLVER in pool.offered else ""

    def runs(self, method: str, setting: Setting | None = None) -> list[dict[str, Any]]:
        """What is known of a method in the version that runs now."""
        key = self.pool.key(method)
        return [
            r
            for r in self.rows
            if r["method"] == method and r["key"] == key and (setting is None or r["setting"] == setting)
        ]

    def measure(self, methods: list[str], expired: Callable[[], bool]) -> bool:
        """Everything that is missing; False where the time was over before it was there."""
        tuned: list[tuple[str, Setting]] = []
        for method in methods:
            for setting in self._tune(method):
                if expired():
                    return False
                if not self.runs(method, setting):
                    self._first(method, setting)
            best = self.best(method)
            if best is not None:
                tuned.append((method, best))
        order = random.Random(self.name)
        shortest = min((self._time(m, s) for m, s in tuned), default=math.inf)
        samples = max(self.plan.samples, min(5 * self.plan.samples, int(0.3 / shortest)))  # short ones scatter
        for count in range(1, samples + 1):
            missing = [(m, s) for m, s in tuned if self._wanted(m, s) and len(self._now(m, s)) < count]
            order.shuffle(missing)
            for method, setting in missing:
                if expired():
                    return False
                self._run(method, setting, self._good(method, setting)[-1]["tolerance"], self.plan.limit)
        return True

    def _good(self, method: str, setting: Setting) -> list[dict[str, Any]]:
        return [r for r in self.runs(method, setting) if r["ok"]]

    def _now(self, method: str, setting: Setting) -> list[dict[str, Any]]:
        """Those measured beside the Solver that is there now: ratios that matter come from one session."""
        return [r for r in self._good(method, setting) if r.get("beside") == self.beside]

    def best(self, method: str) -> Setting | None:
        """The best setting in hindsight, None where none succeeded."""
        times: dict[str, list[float]] = {}
        settings: dict[str, Setting] = {}
        for r in self.runs(method):
            if r["ok"]:
                times.setdefault(label(r["setting"]), []).append(total(r, self.plan.clock))
                settings[label(r["setting"])] = r["setting"]
        if not times:
            return None
        return settings[min(times, key=lambda name: statistics.median(times[name]))]

    def _wanted(self, method: str, setting: Setting) -> bool:
        """Peers far from the best peer need no repeats."""
        if method not in PEERS:
            return True
        times = [total(r, self.plan.clock) for m in PEERS for r in self.rows if r["method"] == m]
        mine = min((total(r, self.plan.clock) for r in self.runs(method, setting)), default=math.inf)
        return mine <= NEAR * min(times, default=math.inf)

    def _tune(self, method: str) -> Iterator[Setting]:
        """The settings to try: axis by axis, the second one from the two best values of the first."""
        axes = METHODS[method][1]
        if not axes:
            yield {}
            return
        fixed: list[Setting] = [{axis: values[0] for axis, values in axes.items()}]
        for place, (axis, values) in enumerate(axes.items()):
            tried = [{**base, axis: value} for base, value in itertools.product(fixed, values)]
            yield from tried
            ranked = sorted(tried, key=lambda s: self._time(method, s))
            fixed = ranked[: 2 if place == 0 else 1]

    def _time(self, method: str, setting: Setting) -> float:
        return min((total(r, self.plan.clock) for r in self.runs(method, setting)), default=math.inf)

    def _limit(self, method: str) -> float:
        """A peer's setting is stopped where it is far from the best peer; nnla's own methods get the whole limit."""
        if method not in PEERS:
            return self.plan.limit
        times = [total(r, self.plan.clock) for r in self.rows if r["method"] in PEERS]
        return min(self.plan.limit, max(self.plan.floor, self.plan.factor * min(times, default=math.inf)))

    def _first(self, method: str, setting: Setting) -> None:
        """The first run of a setting: with a tighter tolerance until every true residual is met."""
        tolerance, before = self.plan.rtol, math.inf
        for _ in range(TIGHTER):
            row = self._run(method, setting, tolerance, self._limit(method))
            worst = max((r for r in row["residual"] if r is not None), default=math.inf)
            if row["ok"] or "error" in row or not worst < 0.5 * before:
                return
            before = worst
            tolerance *= 0.5 * self.plan.rtol / worst

    def _run(self, method: str, setting: Setting, tolerance: float, limit: float) -> dict[str, Any]:
        row: dict[str, Any] = {
            "sequence": self.name, "digest": self.digest, "method": method, "setting": setting,
            "key": self.pool.key(method), "rtol": self.plan.rtol, "tolerance": tolerance,
            "beside": self.beside,
        }  # fmt: skip
        try:
            row |= self.pool.worker(method).sequence(method, setting, self.folder, tolerance, limit)
        except StoppedError as error:
            row["error"] = str(error)
        row.setdefault("residual", [])
        met = bool(row["residual"]) and all(r is not None and r <= SLACK * self.plan.rtol for r in row["residual"])
        row["ok"] = "error" not in row and met
        self.rows.append(row)
        self.record(row)
        return row
