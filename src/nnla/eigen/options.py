"""The options of `nnla.eigsh`, checked: what is wrong with one is said by its name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.eigen.filter_choice import CUT, FIELD
from nnla.eigen.state import METHODS, Job
from nnla.eigen.wanted import MODES, WHICH, Wanted
from nnla.errors import OptionError
from nnla.tasks import engine_for

__all__ = ["Options", "check_options"]

DEFAULT_DEGREE = 21
_PROBE_RESTARTS = 3
_MAXITER = 1000
_SMALL = 256  # rows up to which a subspace of all costs nothing worth saving
_ANY = ("auto", "direct", "dense")  # methods for a shift and for a mass matrix


@dataclass(frozen=True)
class Options:
    """The options of one call, checked, for a matrix of order n.

    Attributes
    ----------
    wanted : which eigenvalues
    generalised : whether there is a mass matrix
    ncv : as given, None for what suits k
    seed : of everything random
    raises : whether a failure is an exception
    others : as in `nnla.eigsh`
    """

    n: int
    wanted: Wanted
    generalised: bool
    tol: float
    ncv: int | None
    maxiter: int
    method: str
    degree: int
    cut: float
    probe_restarts: int
    engine: Any
    seed: int
    verify: bool
    raises: bool
    return_eigenvectors: bool
    return_report: bool

    def job(self, which: str, k: int) -> Job:
        """A request for k pairs; ``which`` is "SA" or "LA", or says what was asked for where no end is meant."""
        usual = self.n if self.n <= _SMALL else max(4 * k, 20) if k <= 30 else 2 * k + 60
        # one more than k at least: the last direction is where the subspace grows
        ncv = min(self.n, usual if self.ncv is None else max(self.ncv, k + 1))
        return Job(
            k=k, which=which, tol=self.tol, ncv=ncv, maxiter=self.maxiter, asked=self.method, method=self.method,
            degree=self.degree, cut=self.cut, probe_restarts=self.probe_restarts, engine=self.engine, seed=self.seed,
            verify=self.verify,
        )  # fmt: skip


def check_options(
    n: int, k: Any, M: Any, sigma: Any, which: Any, tol: Any, ncv: Any, maxiter: Any, return_eigenvectors: Any,
    Minv: Any, OPinv: Any, mode: Any, method: Any, degree: Any, cut: Any, probe_restarts: Any, engine: Any, seed: Any,
    verify: Any, return_report: Any, on_failure: Any,
) -> Options:  # fmt: skip
    """`Options` of the arguments of `nnla.eigsh` for a matrix of order n.

    Raises
    ------
    OptionError
        What is wrong with which of them.
    """
    _name("method", method, METHODS)
    _name("mode", mode, MODES)
    _name("on_failure", on_failure, ("warn", "raise"))
    if which is None:
        which = "SA" if sigma is None else "LM"
    _name("which", which, WHICH)
    if sigma is not None:
        sigma = _shift(sigma)
    _together(M is not None, sigma is not None, Minv, OPinv, mode)
    wanted = Wanted(which, _integer("k", k, 1, n), sigma, mode)
    shifted = sigma is not None or which == "SM"
    if method not in _ANY and (shifted or M is not None):
        what = "M=" if M is not None else "sigma=" if sigma is not None else "which='SM'"
        raise OptionError(f"{what} needs an inverse, and method={method!r} has none; use {', '.join(_ANY)}")
    given = {"degree": degree, "cut": cut, "probe_restarts": probe_restarts, "engine": engine}
    for name, value in given.items():
        if value is not None and (shifted or M is not None or (name == "degree" and method in ("direct", "dense"))):
            raise OptionError(f"{name}= is of a filter, and none is used here; leave it out")
    if degree is not None and method == "plain":
        raise OptionError("degree= is of a filter, and method='plain' has none")
    if cut is not None and method != "chebyshev":
        raise OptionError("cut= is for method='chebyshev'")
    if cut is not None and not 1.0 <= _number("cut", cut) < np.inf:
        raise OptionError(f"cut must be at least 1 (in units of k), got {cut!r}")
    if not 0 <= _number("tol", tol) < 1:
        raise OptionError(f"tol must be at least 0 and less than 1, got {tol!r}")
    if engine is not None:
        if method not in ("autospec", "autospec-paper", "auto"):
            raise OptionError(f"method={method!r} takes no engine")
        engine = engine_for(engine, FIELD, method)
    return Options(
        n=n,
        wanted=wanted,
        generalised=M is not None,
        tol=float(tol),
        ncv=None if ncv is None else _integer("ncv", ncv, min(wanted.k + 1, n), n),
        maxiter=_MAXITER if maxiter is None else _integer("maxiter", maxiter, 1, 10**9),
        method=method,
        degree=DEFAULT_DEGREE if degree is None else _integer("degree", degree, 1, 512),
        cut=CUT if cut is None else float(cut),
        probe_restarts=_PROBE_RESTARTS
        if probe_restarts is None
        else _integer("probe_restarts", probe_restarts, 1, 10**6),
        engine=engine,
        seed=_seed(seed),
        verify=_flag("verify", verify),
        raises=on_failure == "raise",
        return_eigenvectors=_flag("return_eigenvectors", return_eigenvectors),
        return_report=_flag("return_report", return_report),
    )


def _together(generalised: bool, shifted: bool, Minv: Any, OPinv: Any, mode: str) -> None:
    """Refuse options that say nothing without others, as SciPy does."""
    if OPinv is not None and not shifted:
        raise OptionError("OPinv is the inverse of A - sigma M; pass sigma=, too")
    if Minv is not None and not generalised:
        raise OptionError("Minv is the inverse of M; pass M=, too")
    if Minv is not None and shifted:
        raise OptionError("Minv is not used with sigma=; leave it out, or pass OPinv=, the inverse of A - sigma M")
    if mode != "normal" and not shifted:
        raise OptionError(f"mode={mode!r} says what to do with a shift; pass sigma=, too")


def _shift(sigma: Any) -> float:
    if isinstance(sigma, (complex, np.complexfloating)):
        raise OptionError(f"sigma must be real, got {sigma!r}: the eigenvalues of a symmetric A are")
    sigma = _number("sigma", sigma)
    if not math.isfinite(sigma):
        raise OptionError(f"sigma must be finite, got {sigma!r}; which='SA' and 'LA' are the ends of the spectrum")
    return sigma


def _name(name: str, value: Any, names: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in names:
        raise OptionError(f"unknown {name} {value!r}; choose from {', '.join(names)}")


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


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise OptionError(f"seed must be an integer of at least 0, got {value!r}")
    return int(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_, int, np.integer)) or value not in (0, 1):
        raise OptionError(f"{name} must be True or False, got {value!r}")
    return bool(value)
