"""One request for eigenpairs: its options, checked, and what happened to it so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nnla.eigen.filter_choice import CUT, FIELD, FilterChoice
from nnla.errors import OptionError
from nnla.tasks import engine_for

if TYPE_CHECKING:
    from nnla.eigen.iteration import Search
    from nnla.eigen.thick_restart import ThickRestart

__all__ = ["METHODS", "EigenPhase", "Job", "Meter", "make_job"]

METHODS = ("auto", "autospec", "autospec-paper", "chebyshev", "power", "plain", "direct", "dense")
DEFAULT_DEGREE = 21
_PROBE_RESTARTS = 3
_MAXITER = 1000
_EPS = float(np.finfo(np.float64).eps)
_SMALL = 256  # rows up to which a subspace of all costs nothing worth saving


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
    """One request to `eigsh`, checked, and what happened to it so far."""

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
    noise: float = 0.0  # of a product, relative to the norm, beyond that of float64
    stagnated: bool = False
    verified: bool = False
    products_probe: int = 0
    solves: int = 0
    shift: float | None = None
    shifts: list[float] = field(default_factory=list[float])
    count_below: int | None = None
    count_at: float | None = None
    sigma: float | None = None  # the eigenvalues nearest to it are wanted, where it is given
    select: str = "nearest"  # of those beside sigma
    mass: Any = None  # M of A x = lambda M x, an Operator
    mass_norm: float = 1.0
    sizes: np.ndarray | None = None  # ||M v|| / ||v|| of the pairs found, where there is an M
    solve: Any = None  # (A - sigma M)^-1 as the user gave it, (n, b) -> (n, b)
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


def make_job(
    n: int, k: Any, which: Any, tol: Any, ncv: Any, maxiter: Any, method: Any, degree: Any, cut: Any,
    probe_restarts: Any, engine: Any,
) -> Job:  # fmt: skip
    """A `Job` from the options of `eigsh` for a matrix of order n; OptionError names what is wrong with them."""
    if not isinstance(method, str) or method not in METHODS:
        raise OptionError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
    if not isinstance(which, str) or which not in ("SA", "LA"):
        raise OptionError(
            f"which must be 'SA' (smallest) or 'LA' (largest eigenvalues), got {which!r}; for those nearest to a "
            "number use scipy.sparse.linalg.eigsh(A, sigma=...)"
        )
    _integer("k", k, 1, n)
    if not 0 <= _number("tol", tol) < 1:
        raise OptionError(f"tol must be at least 0 and less than 1, got {tol!r}")
    usual = n if n <= _SMALL else max(4 * k, 20) if k <= 30 else 2 * k + 60
    # one more than k at least: the last direction is where the subspace grows
    ncv = min(n, usual) if ncv is None else _integer("ncv", ncv, min(k + 1, n), n)
    if degree is not None and method in ("plain", "direct", "dense"):
        raise OptionError(f"degree= is of a filter, and method={method!r} has none")
    if cut is not None and method != "chebyshev":
        raise OptionError("cut= is for method='chebyshev'")
    if cut is not None and not 1.0 <= _number("cut", cut) < np.inf:
        raise OptionError(f"cut must be at least 1 (in units of k), got {cut!r}")
    if engine is not None:
        if method not in ("autospec", "autospec-paper", "auto"):
            raise OptionError(f"method={method!r} takes no engine")
        engine = engine_for(engine, FIELD, method)
    return Job(
        k=int(k),
        which=which,
        tol=float(tol),
        ncv=int(ncv),
        maxiter=_MAXITER if maxiter is None else _integer("maxiter", maxiter, 1, 10**9),
        asked=method,
        method=method,
        degree=DEFAULT_DEGREE if degree is None else _integer("degree", degree, 1, 512),
        cut=CUT if cut is None else float(cut),
        probe_restarts=_PROBE_RESTARTS
        if probe_restarts is None
        else _integer("probe_restarts", probe_restarts, 1, 10**6),
        engine=engine,
    )


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, (bool, str, bytes)) or np.ndim(value) != 0:
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"{name} must be a number, got {value!r}") from None


def _integer(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise OptionError(f"{name} must be an integer from {low} to {high}, got {value!r}")
    return int(value)
