"""What a `nnla.Solver` tells of itself: counts of all solves, and a line for each of the last ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from nnla.report import ReportBase
from nnla.types import Status, library_versions

__all__ = ["REMEMBERED", "Account", "SolverReport", "Step"]

REMEMBERED = 1000  # steps that are told one by one


class Step(NamedTuple):
    """One solve of a sequence.

    Attributes
    ----------
    number : of the solve, from 0
    change : of the matrix since the solve before: "first", "same", "values", "pattern"
    action : "cold", "refresh" or "keep", as `nnla.sequences.policy.Action` has them
    method : that ran in the end
    converged : whether it reached the tolerance
    iterations : of it
    seconds, cold_seconds : what it took, and what a solve from nothing is expected to take
    guess : logarithm of what the guess made of the residual, by that of the whole reduction asked for; None without
    reason : why
    """

    number: int
    change: str
    action: str
    method: str
    converged: bool
    iterations: int
    seconds: float
    cold_seconds: float
    guess: float | None
    reason: str


@dataclass(frozen=True, repr=False)
class SolverReport(ReportBase):
    """What a `nnla.Solver` has done.

    Attributes
    ----------
    status : of the last solve, "prepared" before the first
    converged : whether all solves have
    solves : of systems, blocks counting once
    errors : solves that raised
    seconds : "total", and "cold", what as many solves by `nnla.solve` are expected to have taken
    saved : the difference in seconds
    changes : "first", "same", "values", "pattern" -> how many solves
    actions : "cold", "refresh", "keep" -> how many solves
    methods : method -> how many solves
    iterations : of all solves
    kept : what is kept now, in words
    nbytes : memory of it
    steps : the last solves, one by one
    versions : versions of the libraries
    """

    _line = (("solves", "{} solves"), ("saved", "{:.3g} s saved"))

    status: Status
    converged: bool
    solves: int = 0
    errors: int = 0
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    saved: float = 0.0
    changes: dict[str, int] = field(default_factory=dict[str, int])
    actions: dict[str, int] = field(default_factory=dict[str, int])
    methods: dict[str, int] = field(default_factory=dict[str, int])
    iterations: int = 0
    kept: tuple[str, ...] = ()
    nbytes: int = 0
    steps: tuple[Step, ...] = ()
    versions: dict[str, str] = field(default_factory=library_versions)


class Account:
    """Running sums over the solves of a sequence; memory does not grow with them."""

    def __init__(self) -> None:
        self.steps: deque[Step] = deque(maxlen=REMEMBERED)
        self.solves = self.errors = self.failures = self.iterations = 0
        self.seconds = self.cold = 0.0
        self.status: Status = Status.PREPARED
        self.changes: dict[str, int] = {}
        self.actions: dict[str, int] = {}
        self.methods: dict[str, int] = {}

    @property
    def owed(self) -> float:
        """Seconds spent beyond those of cold solves; negative where some were saved."""
        return self.seconds - self.cold

    def add(self, step: Step, status: Status) -> None:
        """Take note of a solve."""
        self.steps.append(step)
        self.solves += 1
        self.failures += not step.converged
        self.iterations += step.iterations
        self.seconds += step.seconds
        self.cold += step.cold_seconds
        self.status = status
        for counts, name in ((self.changes, step.change), (self.actions, step.action), (self.methods, step.method)):
            counts[name] = counts.get(name, 0) + 1

    def report(self, kept: Iterable[str], nbytes: int) -> SolverReport:
        """What there is to tell."""
        return SolverReport(
            self.status,
            self.failures == 0,
            self.solves,
            self.errors,
            {"total": self.seconds, "cold": self.cold},
            self.cold - self.seconds,
            dict(self.changes),
            dict(self.actions),
            dict(self.methods),
            self.iterations,
            tuple(kept),
            nbytes,
            tuple(self.steps),
        )
