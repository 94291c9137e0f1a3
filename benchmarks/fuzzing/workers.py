"""Cases in processes of their own, so that a crash or a hang is one case lost, and named."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from fuzzing.cases import FAILURES, LIMIT, PATIENCE, carry_out
from fuzzing.kinds import KINDS

__all__ = ["Result", "Tally", "judge", "run_all"]

_BATCH = 40
_GRACE = 20.0  # seconds beyond the limit by the clock before a process is taken for lost


@dataclass(frozen=True)
class Result:
    """What became of a case."""

    kind: str
    seed: int
    outcome: str
    why: str
    seconds: float
    text: str

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.seed}"


@dataclass
class Tally:
    """Counts by kind and outcome, and the failures in full."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)
    failures: list[Result] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        self.counts.setdefault(result.kind, Counter())[result.outcome] += 1
        self.seconds[result.kind] += result.seconds
        if result.outcome in FAILURES:
            self.failures.append(result)
        elif result.outcome in ("error", "stated"):
            self.reasons[f"{result.kind}: {result.outcome}: {result.why}"] += 1

    @property
    def total(self) -> int:
        return sum(sum(counter.values()) for counter in self.counts.values())


def judge(kind: str, seed: int, limit: float = LIMIT) -> Result:
    """Make the case of a kind and a seed, and carry it out here."""
    started = time.process_time()
    case = KINDS[kind](seed)
    outcome, why = carry_out(case, limit)
    return Result(kind, seed, outcome, why, time.process_time() - started, case.text)


Judge = Callable[[str, int, float], Result]


def _work(pipe: Connection, limit: float, judge: Judge) -> None:
    """A worker: batches in; for each case its name before, its result after."""
    import faulthandler

    faulthandler.enable()
    while (batch := pipe.recv()) is not None:
        if any(kind in ("torch", "polar") for kind, _ in batch):
            _load_torch()
        for kind, seed in batch:
            pipe.send((kind, seed))
            try:
                pipe.send(judge(kind, seed, limit))
            except Exception as error:  # a fault of the fuzz itself: seen, and not taken for one of the library
                import traceback

                pipe.send(
                    Result(kind, seed, "crash", f"the fuzz itself: {traceback.format_exc(limit=-3)}", 0.0, repr(error))
                )
        pipe.send(None)


def _load_torch() -> None:
    """Beforehand, for it takes seconds that are no case's."""
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(1)


class _Worker:
    def __init__(self, limit: float, judge: Judge) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, limit, judge), daemon=True)
        self.process.start()
        theirs.close()
        self.batch: list[tuple[str, int]] = []
        self.running: tuple[str, int] | None = None
        self.idle = True
        self.since = time.monotonic()

    def give(self, batch: list[tuple[str, int]]) -> None:
        self.batch, self.since, self.idle = list(batch), time.monotonic(), False
        self.pipe.send(batch)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self.process.join(1.0)
        if self.process.is_alive():
            self.process.kill()

    def lost(self, outcome: str, why: str) -> Result:
        kind, seed = self.running or ("none", 0)
        self.process.kill()
        self.process.join()
        return Result(kind, seed, outcome, why, time.monotonic() - self.since, "")


def run_all(
    cases: Iterator[tuple[str, int]],
    jobs: int,
    limit: float = LIMIT,
    progress: Callable[[Tally], None] | None = None,
    judge: Judge = judge,
) -> Tally:
    """Judge all cases in ``jobs`` processes.

    Parameters
    ----------
    cases : (kind, seed), each taken once
    jobs : processes
    limit : seconds for one call
    progress : called with the tally about once a second
    judge : makes and carries out one case, in a worker
    """
    tally, workers = Tally(), [_Worker(limit, judge) for _ in range(jobs)]
    left: list[tuple[str, int]] = []

    def next_batch() -> list[tuple[str, int]]:
        batch = left[:_BATCH]
        del left[:_BATCH]
        while len(batch) < _BATCH and (case := next(cases, None)) is not None:
            batch.append(case)
        return batch

    active = []
    for worker in workers:
        if batch := next_batch():
            worker.give(batch)
            active.append(worker)
        else:
            worker.stop()
    shown = time.monotonic()
    while active:
        ready = set(wait([w.pipe for w in active], timeout=0.5))
        for worker in list(active):
            ended: Result | None = None
            if worker.pipe in ready:
                ended = _receive(worker, tally)
            elif worker.running and time.monotonic() - worker.since > PATIENCE * limit + _GRACE:
                ended = worker.lost("hang", f"no answer within {PATIENCE * limit + _GRACE:g} s: killed")
            if ended is not None:
                tally.add(ended)
                left[:0] = worker.batch
                active[active.index(worker)] = worker = _Worker(limit, judge)
            if worker.idle:
                if batch := next_batch():
                    worker.give(batch)
                else:
                    worker.stop()
                    active.remove(worker)
        if progress is not None and time.monotonic() - shown > 1.0:
            shown = time.monotonic()
            progress(tally)
    return tally


def _receive(worker: _Worker, tally: Tally) -> Result | None:
    """Take what a worker has sent; a `Result` where it has died."""
    try:
        while worker.pipe.poll():
            message: Any = worker.pipe.recv()
            if message is None:
                worker.batch, worker.running, worker.idle = [], None, True
            elif isinstance(message, tuple):
                worker.running, worker.since = message, time.monotonic()
                worker.batch.remove(message)
            else:
                worker.running = None
                tally.add(message)
    except (EOFError, OSError):
        worker.process.join(5.0)
        return worker.lost("crash", f"the process ended with {worker.process.exitcode} ({os.name})")
    return None
