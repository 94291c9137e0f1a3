"""What to do with the next system of a sequence: pure functions of numbers, which solve nothing.

A policy is asked with a `Situation`, what each choice is expected to take, and answers with a `Plan`. Its choices are
to keep what was set up for an earlier matrix, to set it up anew, or to begin from nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from nnla.sequences.changes import Change

__all__ = [
    "POLICIES",
    "Action",
    "Cold",
    "DeflationOnly",
    "Every",
    "Fresh",
    "GuessOnly",
    "Learned",
    "NeverRefresh",
    "Plan",
    "Policy",
    "Situation",
    "chebyshev_iterations",
    "cycle_cost",
]

_LONGEST = 200  # solves of a cycle that are looked ahead


class Action(StrEnum):
    """What a step does first."""

    COLD = "cold"  # as nnla.solve, from nothing
    REFRESH = "refresh"  # set up what is kept for this matrix: a factor with the kept analysis, IC, a hierarchy
    KEEP = "keep"  # CG with what was set up for an earlier matrix; for the same matrix, what it is for


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes
    ----------
    action : `Action`
    method : to set up with, where the action is to refresh; None for that of the sequence
    guess : old solutions to project on, at most
    deflation : vectors to deflate by, at most
    reason : in words, for the report
    """

    action: Action
    method: str | None = None
    guess: int = 0
    deflation: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Situation:
    """What is known before a step; seconds are expected ones of this system.

    Attributes
    ----------
    change : of the matrix since the step before
    age : matrices since what is kept was set up, 0 for this one; None where nothing is kept
    cold : seconds of nnla.solve
    refresh : seconds of setting up anew and solving; None where that is not possible
    keep : seconds of solving with what is kept; None where nothing is
    average : seconds a solve since it was set up, the set-up included
    owed : seconds spent so far beyond what cold solves would have taken; negative where something was saved
    cold_so_far : seconds that cold solves would have taken until now
    guess_gain : seconds that a guess is expected to save beyond its own; None where that is not known
    factored : seconds of factoring this matrix, with its analysis where that is not kept, and solving with it; None
        where the sequence works with factors of this pattern already, or cannot
    refactored : the same for a later one, whose analysis would be kept
    substituted : seconds of solving with a factor that is there
    method : that the sequence works with
    solves : so far
    """

    change: Change
    age: int | None
    cold: float
    refresh: float | None = None
    keep: float | None = None
    average: float = math.inf
    owed: float = 0.0
    cold_so_far: float = 0.0
    guess_gain: float | None = None
    factored: float | None = None
    refactored: float = 0.0
    substituted: float = 0.0
    method: str | None = None
    solves: int = 0


class Policy(Protocol):
    """Whatever answers a `Situation` with a `Plan`."""

    def choose(self, now: Situation) -> Plan:
        """What to do."""
        ...


def _kept_if_same(now: Situation) -> Action:
    """Set-ups of this very matrix are used, those of others are made anew."""
    if now.keep is not None and now.age == 0:
        return Action.KEEP
    return Action.COLD if now.refresh is None else Action.REFRESH


@dataclass(frozen=True)
class Cold:
    """Every system as if it were the first: what others are measured against."""

    def choose(self, now: Situation) -> Plan:
        """`Action.COLD`."""
        return Plan(Action.COLD, reason="nothing is kept")


@dataclass(frozen=True)
class Fresh:
    """Set up anew for every matrix, with what depends on the pattern alone kept; no guesses."""

    def choose(self, now: Situation) -> Plan:
        """`Action.REFRESH` for every new matrix."""
        return Plan(_kept_if_same(now), reason="set up for every matrix")


@dataclass(frozen=True)
class NeverRefresh:
    """What was set up first is kept for ever."""

    def choose(self, now: Situation) -> Plan:
        """`Action.KEEP` where anything is kept."""
        if now.keep is not None:
            return Plan(Action.KEEP, reason="never set up again")
        return Plan(_kept_if_same(now), reason="nothing is kept yet")


@dataclass(frozen=True)
class Every:
    """Set up anew after so many matrices.

    Parameters
    ----------
    matrices : that a set-up serves
    """

    matrices: int = 10

    def choose(self, now: Situation) -> Plan:
        """`Action.REFRESH` every so many matrices, else `Action.KEEP`."""
        if now.keep is not None and now.age is not None and now.age < self.matrices:
            return Plan(Action.KEEP, reason=f"set up every {self.matrices} matrices")
        return Plan(_kept_if_same(now), reason=f"set up every {self.matrices} matrices")


@dataclass(frozen=True)
class GuessOnly:
    """Set up anew for every matrix, and start from the projection on old solutions.

    Parameters
    ----------
    solutions : kept at most
    """

    solutions: int = 8

    def choose(self, now: Situation) -> Plan:
        """As `Fresh`, with a guess."""
        return Plan(_kept_if_same(now), guess=self.solutions, reason="old solutions only")


@dataclass(frozen=True)
class DeflationOnly:
    """Set up anew for every matrix, and deflate by what CG has found of the smallest eigenvectors.

    Parameters
    ----------
    vectors : kept at most
    """

    vectors: int = 16

    def choose(self, now: Situation) -> Plan:
        """As `Fresh`, with deflation."""
        return Plan(_kept_if_same(now), deflation=self.vectors, reason="deflation only")


@dataclass(frozen=True)
class Learned:
    """The choice of the least expected time, with a bound on what may be lost.

    Parameters
    ----------
    most : old solutions to project on
    loss : share of the time of cold solves that may be spent beyond it on trying, and on what pays later

    Notes
    -----
    What is kept is used as long as its next solve is expected to take less than the mean over its life so far, the
    set-up included: the rule of renewal theory, argmin_k (setup + sum_{i<k} cost_i) / k, looked at before every solve.
    A step that is expected to take longer than a cold one is taken only if the loss stays within its share.

    References
    ----------
    Barlow, Proschan, Mathematical Theory of Reliability (1965), chapter 4 (replacement policies).

    Examples
    --------
    >>> now = Situation(Change.VALUES, age=3, cold=1.0, refresh=0.6, keep=0.2, average=0.3)
    >>> Learned().choose(now).action.value
    'keep'
    """

    most: int = 8
    loss: float = 0.1

    def choose(self, now: Situation) -> Plan:
        """The plan of the least expected time."""
        guess = self.most if _pays(now.guess_gain) else 0
        best, seconds = Action.COLD, now.cold
        if now.refresh is not None and now.refresh <= seconds:
            best, seconds = Action.REFRESH, now.refresh
        if now.keep is not None and (now.age == 0 or now.keep <= min(seconds, now.average)):
            best, seconds = Action.KEEP, now.keep
        if self._to_be_factored(now, seconds):
            return Plan(Action.REFRESH, "direct", guess, reason="a factorisation pays from here on")
        return Plan(best, None, guess, reason=f"{best.value}: {seconds:.2g} s expected")

    def _to_be_factored(self, now: Situation, seconds: float) -> bool:
        """Whether to analyse and factor, as a beginning.

        At once where that takes less even the first time; else where as many solves as there were would have saved what
        the first one costs more, and the loss stays within its share.
        """
        if now.factored is None:
            return False
        more = now.factored - seconds
        if more <= 0.0:
            return True
        later = now.substituted if now.change is Change.SAME else now.refactored
        gain = seconds - later
        lost = now.owed + now.factored - now.cold
        return gain * (now.solves - 1) > more and lost <= self.loss * (now.cold_so_far + now.cold)


def _pays(gain: float | None) -> bool:
    """Whether to use what gains so many seconds; what is not known is tried."""
    return gain is None or gain > 0.0


def chebyshev_iterations(drift: float, digits: float) -> float:
    """Iterations of CG with a preconditioner that was exact before the matrix drifted.

    Parameters
    ----------
    drift : logarithm of the condition number of the preconditioned matrix
    digits : logarithm of the reduction of the error

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., equation 6.128.

    Examples
    --------
    >>> chebyshev_iterations(0.0, 18.4), round(chebyshev_iterations(1.0, 18.4), 1)
    (1.0, 14.6)
    """
    root = math.exp(0.5 * min(drift, 200.0))
    rate = (root - 1.0) / (root + 1.0)
    if rate < 1e-12:
        return 1.0
    return 1.0 + (digits + math.log(2.0)) / -math.log(rate) if rate < 1.0 else math.inf


def cycle_cost(setup: float, costs: list[float]) -> tuple[float, int]:
    """The least mean cost of a solve where something is set up anew after so many, and after how many.

    Parameters
    ----------
    setup : seconds
    costs : of the first, second, ... solve with it

    Examples
    --------
    >>> cycle_cost(3.0, [1.0, 1.0, 2.0, 9.0])
    (2.3333333333333335, 3)
    """
    best, length, spent = math.inf, 0, setup
    for count, cost in enumerate(costs[:_LONGEST], 1):
        spent += cost
        if spent / count < best:
            best, length = spent / count, count
    return best, length


#: What a learned policy is measured against, by the names that benchmarks use.
POLICIES: dict[str, Policy] = {
    "always fresh": Fresh(),
    "never refresh": NeverRefresh(),
    "every 10": Every(10),
    "guess only": GuessOnly(),
    "deflation only": DeflationOnly(),
}
