"""One request for eigenpairs, and what happened to it so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nnla.eigen.filter_choice import FilterChoice
from nnla.operators.operator import Operator

if TYPE_CHECKING:
    from nnla.eigen.iteration import Search
    from nnla.eigen.thick_restart import ThickRestart

__all__ = ["METHODS", "EigenPhase", "Job", "Meter"]

METHODS = ("auto", "autospec", "autospec-paper", "chebyshev", "power", "subspace", "plain", "direct", "dense")
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class EigenPhase:
    """One stretch of a request: "probe", "setup", "iterate" or "verify".

    Attributes
    ----------
    role : which of them
    seconds : that it took
    restarts, steps : fillings of the subspace, and steps of Lanczos
    flops : spent on orthogonality
    history : estimated residual of the worst of the wanted pairs after each restart
    """

    role: str
    seconds: float
    restarts: int = 0
    steps: int = 0
    flops: float = 0.0
    history: tuple[float, ...] = ()


class _Counts(NamedTuple):
    restarts: int = 0
    steps: int = 0
    flops: float = 0.0
    history: tuple[float, ...] = ()

    @classmethod
    def of(cls, search: Search | None) -> _Counts:
        """What a search has spent so far; nothing where there is none."""
        if search is None:
            return cls()
        return cls(search.restarts, search.space.steps, search.space.work, tuple(search.history))


class Meter:
    """Measures one phase: made when it begins, `end`ed with the search that did the work.

    Parameters
    ----------
    job : that gets the phase
    role : as in `EigenPhase`
    search : that goes on in this phase; None for one made in it
    """

    def __init__(self, job: Job, role: str, search: Search | None = None) -> None:
        self._job, self._role, self._clock = job, role, time.perf_counter()
        self._before = _Counts.of(search)

    def end(self, search: Search | None = None, role: str | None = None) -> None:
        """Record the phase, under another role where it turned out to be that."""
        now, before = _Counts.of(search), self._before
        self._record(
            role or self._role,
            now.restarts - before.restarts,
            now.steps - before.steps,
            now.flops - before.flops,
            now.history[len(before.history) :],
        )

    def end_hunt(self, fillings: int, search: Search) -> None:
        """Record a verification, whose fillings its search does not count."""
        now, before = _Counts.of(search), self._before
        self._record(self._role, fillings, now.steps - before.steps, now.flops - before.flops, ())

    def end_filling(self, space: ThickRestart) -> None:
        """Record one filling of a subspace, without a search."""
        self._record(self._role, 1, space.steps, space.work, ())

    def end_solves(self, restarts: int, steps: int, flops: float, history: list[float]) -> None:
        """Record fillings of a subspace of an inverse."""
        self._record(self._role, restarts, steps, flops, tuple(history))

    def _record(self, role: str, restarts: int, steps: int, flops: float, history: tuple[float, ...]) -> None:
        seconds = time.perf_counter() - self._clock
        self._job.phases.append(EigenPhase(role, seconds, restarts, steps, flops, history))


@dataclass
class Job:
    """One request for k eigenpairs at an end of a spectrum or next to a shift, and what happened to it so far.

    Attributes
    ----------
    k, tol, ncv, maxiter, ... : options of `nnla.eigsh`, checked
    which : "SA" or "LA", the end that is meant, where there is no shift
    asked, method : the method asked for, and the one that runs
    mass : M of the pencil A v = lambda M v; None for the identity
    norm, mass_norm : estimates of ||A||_2 and ||M||_2 (0 for the identity), to which the tolerance refers
    sigma : the shift that eigenvalues are wanted near; None where one beyond an end of the spectrum is to be chosen
    select, below, above : which of them, as in `nnla.eigen.wanted.Near`
    solve : (n, p) -> (n, p), the inverse of A - sigma M as the user gave it; None to make one
    """

    k: int
    which: str
    tol: float
    ncv: int
    maxiter: int
    asked: str
    method: str
    degree: int
    cut: float
    probe_restarts: int
    engine: Any
    seed: int | None = 0
    verify: bool = True
    started: float = 0.0
    before: int = 0
    reason: str = ""
    predicted: dict[str, float] | None = None
    factor_flops: float = 0.0  # that a factorisation of A would take; 0 where that is not known yet
    analysed: Any = None  # a Cholesky analysis of A's pattern
    fallback: str | None = None
    filter: FilterChoice | None = None
    norm: float = 0.0
    mass: Operator | None = None
    mass_norm: float = 0.0
    sigma: float | None = None
    select: str = "above"
    below: int = 0
    above: int = 0
    solve: Callable[[np.ndarray], np.ndarray] | None = None
    noise: float = 0.0  # of a product, relative to the norm, beyond that of float64
    stagnated: bool = False
    verified: bool = False
    products_probe: int = 0
    solves: int = 0
    shift: float | None = None
    shifts: list[float] = field(default_factory=list[float])
    count_below: int | None = None
    count_at: float | None = None
    spare: np.ndarray | None = None  # what the probe held, as rows: a filter that does not end may hold less
    phases: list[EigenPhase] = field(default_factory=list[EigenPhase])

    @property
    def orientation(self) -> float:
        """1.0 where the largest eigenvalues are wanted, -1.0 where the smallest."""
        return 1.0 if self.which == "LA" else -1.0

    @property
    def floor(self) -> float:
        """Residual that the rounding of products leaves."""
        return max(16 * _EPS, 16 * self.noise) * self.norm

    @property
    def target(self) -> float:
        """Residual that pairs are accepted at."""
        return max(self.tol * self.norm, self.floor)

    @property
    def scale(self) -> float:
        """Of the eigenvalues: ``||A|| / ||M||``."""
        return self.norm / (self.mass_norm or 1.0)

    def sizes(self, w: np.ndarray) -> np.ndarray:
        """What a residual at each eigenvalue is compared with: ``||A||``, or ``||A|| + |lambda| ||M||``."""
        return self.norm + np.abs(w) * self.mass_norm

    def targets(self, w: np.ndarray) -> np.ndarray:
        """`target` at each eigenvalue of a pencil."""
        return max(self.tol, 16 * _EPS, 16 * self.noise) * self.sizes(w)

    @property
    def left(self) -> int:
        """Fillings of the subspace that may still be made."""
        return max(self.maxiter - int(self.total("restarts")), 0)

    def total(self, name: str, *roles: str) -> Any:
        """The sum of a figure over the phases of some roles, by default of all."""
        values = [getattr(phase, name) for phase in self.phases if not roles or phase.role in roles]
        return sum(values[1:], values[0]) if values else 0

    @property
    def seconds(self) -> dict[str, float]:
        """By role."""
        return {role: float(self.total("seconds", role)) for role in ("probe", "setup", "iterate", "verify")}
