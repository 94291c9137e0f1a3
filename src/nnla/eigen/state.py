"""One request for eigenpairs: its options, checked, and what happened to it so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.eigen.filter_choice import CUT, FilterChoice, learned_filter
from nnla.errors import OptionError

__all__ = ["METHODS", "Job", "make_job"]

METHODS = ("auto", "autospec", "autospec-paper", "chebyshev", "power", "plain", "direct", "dense")
DEFAULT_DEGREE = 21
_PROBE_RESTARTS = 3
_MAXITER = 1000
_SMALL = 256  # rows up to which a subspace of all costs nothing worth saving


@dataclass
class Job:
    """One request to `eigsh`, checked, and what happened to it so far."""

    k: int
    which: str
    tol: float
    ncv: int
    maxiter: int
    method: str
    degree: int
    cut: float
    probe_restarts: int
    engine: Any
    seed: int | None = 0
    verify: bool = True
    started: float = 0.0
    before: int = 0
    because: str = ""
    predicted: dict[str, float] | None = None
    analysed: Any = None  # a Cholesky analysis of A's pattern
    fallback: str | None = None
    filter: FilterChoice | None = None
    norm: float = 0.0
    stagnated: bool = False
    verified: bool = False
    restarts: int = 0
    probed: int = 0
    verify_restarts: int = 0
    steps: int = 0
    products_probe: int = 0
    solves: int = 0
    shift: float | None = None
    flops: float = 0.0
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("probe", "setup", "iterate", "verify"), 0.0)
    )
    history: list[float] = field(default_factory=list)

    @property
    def orientation(self) -> float:
        """1.0 where the largest eigenvalues are wanted, -1.0 where the smallest."""
        return 1.0 if self.which == "LA" else -1.0

    def took(self, phase: str, clock: float, search: Any) -> None:
        """Take note of what a search has cost that began at ``clock`` in a phase, "probe" or "iterate"."""
        self.seconds[phase] += time.perf_counter() - clock
        self.steps += search.space.steps
        self.flops += search.space.work
        if phase == "probe":
            self.probed = search.restarts
        else:
            self.restarts += search.restarts
            self.history += search.history


def make_job(
    n: int, k: Any, which: Any, tol: Any, ncv: Any, maxiter: Any, method: Any, degree: Any, cut: Any,
    probe_restarts: Any, engine: Any,
) -> Job:  # fmt: skip
    """A `Job` from the options of `eigsh` for a matrix of order n; OptionError names what is wrong with them."""
    if method not in METHODS:
        raise OptionError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
    if which not in ("SA", "LA"):
        raise OptionError(
            f"which must be 'SA' (smallest) or 'LA' (largest eigenvalues), got {which!r}; for those nearest to a "
            "number use scipy.sparse.linalg.eigsh(A, sigma=...)"
        )
    _integer("k", k, 1, n)
    if not 0 <= float(tol) < 1:
        raise OptionError(f"tol must be at least 0 and less than 1, got {tol!r}")
    usual = n if n <= _SMALL else max(4 * k, 20) if k <= 30 else 2 * k + 60
    # one more than k at least: the last direction is where the subspace grows
    ncv = min(n, usual) if ncv is None else _integer("ncv", ncv, min(k + 1, n), n)
    if degree is not None and method in ("plain", "direct", "dense"):
        raise OptionError(f"degree= is of a filter, and method={method!r} has none")
    if cut is not None and method != "chebyshev":
        raise OptionError("cut= is for method='chebyshev'")
    if cut is not None and not 1.0 <= float(cut) < np.inf:
        raise OptionError(f"cut must be at least 1 (in units of k), got {cut!r}")
    if engine is not None:
        if method not in ("autospec", "autospec-paper", "auto"):
            raise OptionError(f"method={method!r} takes no engine")
        engine = learned_filter(engine, method)
    return Job(
        k=int(k),
        which=which,
        tol=float(tol),
        ncv=int(ncv),
        maxiter=_MAXITER if maxiter is None else _integer("maxiter", maxiter, 1, 10**9),
        method=method,
        degree=DEFAULT_DEGREE if degree is None else _integer("degree", degree, 1, 512),
        cut=CUT if cut is None else float(cut),
        probe_restarts=_PROBE_RESTARTS
        if probe_restarts is None
        else _integer("probe_restarts", probe_restarts, 1, 10**6),
        engine=engine,
    )


def _integer(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise OptionError(f"{name} must be an integer from {low} to {high}, got {value!r}")
    return int(value)
