"""From a probe to a guarded polynomial: the engine, its classical opponents, one interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnla import tasks
from nnla.errors import NotPositiveDefiniteError, OptionError, WeightsError
from nnla.polynomials.classical import chebyshev4, gmres_polynomial, least_squares, neumann, richardson
from nnla.polynomials.guards import MARGIN, check_polynomial, check_probe
from nnla.polynomials.intervals import dos_interval, rule_interval
from nnla.polynomials.outlier_roots import spectral_tail
from nnla.polynomials.recurrence import Recurrence, chebyshev
from nnla.types import SpectralProbe

__all__ = [
    "POLYNOMIAL_METHODS",
    "Design",
    "check_degree",
    "check_engine",
    "design_polynomial",
    "engine_method",
    "learned_engine",
]

POLYNOMIAL_METHODS = (
    "autospec",
    "autospec-tail",
    "autospec-paper",
    "chebyshev",
    "chebyshev4",
    "rule",
    "dos",
    "least-squares",
    "gmres",
    "richardson",
    "neumann",
)
EFFICIENCY = 0.88  # plain CG iterations per product of a well-chosen polynomial (table 4: medians 0.91 and 0.86)
_WELL_CONDITIONED = 10.0
FIELD = "linear systems"  # of the engines that are asked here, in `nnla.tasks`
# Chebyshev on an interval (both kinds) and Richardson are positive on the spectrum by theory
_PROVEN = ("chebyshev", "chebyshev4", "rule", "dos", "richardson", "neumann")


@dataclass(frozen=True)
class Design:
    """A polynomial that passed the guards.

    Attributes
    ----------
    recurrence : Recurrence
    method : the method that made it (after a fallback, the classical one)
    interval : [a, b]; what a Chebyshev polynomial would be made for, also where roots lie on outliers
    predicted_iterations : outer iterations expected from a zero start, or None
    fallback : None, or what was given up and why
    weights : name of the learned weights that made it, or None
    outliers : eigenvalues at the top that have a root of their own
    note : what is worth knowing about the choice, or ""
    """

    recurrence: Recurrence
    method: str
    interval: tuple[float, float]
    predicted_iterations: float | None = None
    fallback: str | None = None
    weights: str | None = None
    outliers: tuple[float, ...] = ()
    note: str = ""


def check_degree(degree: Any) -> None:
    """Raise `OptionError` unless ``degree`` is an integer from 1 to 512."""
    if isinstance(degree, bool) or not isinstance(degree, (int, np.integer)) or not 1 <= degree <= 512:
        raise OptionError(f"degree must be an integer from 1 to 512, got {degree!r}")


def design_polynomial(
    probe: SpectralProbe,
    *,
    method: str = "autospec",
    degree: int = 11,
    rtol: float = 1e-8,
    engine: Any = None,
) -> Design:
    """The polynomial of a method for a probe, checked positive on the probed spectrum.

    Parameters
    ----------
    probe : SpectralProbe of the (scaled) operator
    method : one of `POLYNOMIAL_METHODS`
    degree : degree of P, 1 to 512 (the engine is trained for 4 to 32)
    rtol : tolerance of the solve it is for
    engine : trained engine, or the path of its weights, instead of the shipped one ("autospec", which then asks no
        other, "autospec-tail" and "autospec-paper")

    Raises
    ------
    NotPositiveDefiniteError
        The probe has negative Ritz values.
    WeightsError
        The engine's weights, given by path, cannot be read.
    OptionError

    Notes
    -----
    Cost: no products. A few milliseconds, 3-15 ms for "dos", which simulates.
    Guaranteed: P > 0 on (0, b], for polynomials that theory does not cover on (0, 1.02 b]; with roots on outliers
    wherever the probe leaves room for eigenvalues (`nnla.polynomials.outlier_roots.check_with_tail`). "autospec" puts
    roots on outliers where a simulation predicts more than 3 % fewer iterations, "autospec-tail" where any. A learned
    or classical polynomial that fails this, a probe outside the engine's training envelope, and shipped weights that
    cannot be read fall back to Chebyshev on [theta_min, b], and `Design.fallback` says so.

    References
    ----------
    AutoSpec (arXiv:2602.09530), sections 3.2 and 5.3. Saad, Iterative Methods for Sparse Linear Systems, 2nd ed.,
    section 12.3. Those of the classical methods: `nnla.polynomials.classical`.
    """
    if method not in POLYNOMIAL_METHODS:
        raise OptionError(f"unknown polynomial method {method!r}; choose from {', '.join(POLYNOMIAL_METHODS)}")
    check_degree(degree)
    verdict = check_probe(probe)
    if not verdict.ok:
        raise NotPositiveDefiniteError(
            f"{verdict.reason}; polynomial preconditioning of CG needs a positive definite operator, "
            "for indefinite systems use scipy.sparse.linalg.minres"
        )
    degree = int(degree)
    if method == "autospec":
        return _autospec(probe, degree, rtol, engine)
    if method == "autospec-tail":
        return _tail(_autospec(probe, degree, rtol, None, tail=False), probe, degree, rtol, engine, forced=True)
    try:
        design = _BUILDERS[method](probe, degree, rtol, engine)
    except OptionError as error:
        if method != "gmres":  # its harmonic Ritz values may fail to exist; the others mean bad input
            raise
        return _classical(probe, degree, f"{method}: {error}")
    return _guarded(design, probe, degree, proven=method in _PROVEN)


def _guarded(design: Design, probe: SpectralProbe, degree: int, *, proven: bool = False) -> Design:
    """The design, or the classical one. ``proven``: positive on (0, a + b) by theory, checked as computed."""
    verdict = check_polynomial(design.recurrence, probe.upper_bound, margin=1.0 if proven else MARGIN)
    if verdict.ok:
        return design
    return _classical(probe, degree, f"{design.method}: {verdict.reason}")


def _classical(probe: SpectralProbe, degree: int, why: str | None = None) -> Design:
    """Chebyshev on [theta_min, theta_max + residual]: what everything falls back to."""
    b = probe.upper_bound
    a = min(max(probe.lambda_min, 1e-15 * b), 0.98 * b)
    fallback = None if why is None else f"{why}; Chebyshev on [theta_min, b] instead"
    return Design(chebyshev(a, b, degree), "chebyshev", (a, b), fallback=fallback)


def check_engine(engine: Any, method: str) -> None:
    """Raise `OptionError` unless the engine is of the task that the method (or "auto") asks."""
    tasks.check_engine(engine, FIELD, method)


def learned_engine(engine: Any, method: str) -> Any:
    """The engine given, itself or by the path of its weights, else the one shipped for the method.

    Raises
    ------
    WeightsError
        The weights cannot be loaded.
    OptionError
        The engine is of another task.

    Notes
    -----
    Cost: the weights are read once in a process; a file given by path at every call.
    """
    return tasks.engine_for(engine, FIELD, method)


def _autospec(probe: SpectralProbe, degree: int, rtol: float, engine: Any, *, tail: bool = True) -> Design:
    """Engine A's interval, and what engine B makes of it unless the caller brought an engine of their own."""
    tail = tail and engine is None
    try:
        engine = learned_engine(engine, "autospec")
    except WeightsError as error:
        if engine is not None:  # the user's own weights: they want to know
            raise
        return _classical(probe, degree, f"autospec: {error}")
    weights = engine.card.get("name", engine.name)
    choice = engine.choose(probe, degree=degree, rtol=rtol)
    if probe.lambda_max < _WELL_CONDITIONED * probe.lambda_min:
        # nothing to learn where the whole spectrum is resolved by the probe
        design = _classical(probe, degree)
        return Design(design.recurrence, "autospec", design.interval, choice.predicted_iterations, None, weights)
    if not choice.inside:
        design = _classical(probe, degree, f"autospec: {choice.reason}")
        return design
    design = Design(
        chebyshev(choice.a, choice.b, degree),
        "autospec",
        (choice.a, choice.b),
        choice.predicted_iterations,
        None,
        weights,
    )
    design = _guarded(design, probe, degree, proven=True)
    return _tail(design, probe, degree, rtol, None) if tail else design


def _tail(
    design: Design, probe: SpectralProbe, degree: int, rtol: float, engine: Any, *, forced: bool = False
) -> Design:
    """Engine B's polynomial where it promises more than the interval, else the interval's.

    ``forced``: take any gain, and say why where there is none.
    """

    def stay(why: str) -> Design:
        return replace(design, fallback=f"autospec-tail: {why}; the interval stays") if forced else design

    # Without an outlier there is nothing to ask, and the weights are not even read.
    if design.fallback is not None or probe.lambda_max < _WELL_CONDITIONED * probe.lambda_min:
        return stay("the interval is not the engine's own") if design.fallback is None else design
    if spectral_tail(probe).values.size == 0:
        return stay("the probe resolves no outlier at the top of the spectrum")
    try:
        engine = learned_engine(engine, "autospec-tail")
    except WeightsError as error:
        if engine is not None:
            raise
        return replace(design, fallback=f"autospec-tail: {error}; the interval stays")
    predicted = design.predicted_iterations or 1.0
    options: dict[str, Any] = {"least_gain": 0.0} if forced else {}
    choice = engine.improve(probe, design.interval[0], predicted, degree=degree, rtol=rtol, **options)
    if choice is None:
        return stay("no polynomial with roots on outliers is predicted to gain")
    count = len(choice.outliers)
    note = f"{count} root{'s' if count > 1 else ''} on outliers, {100 * choice.gain:.0f} % fewer iterations predicted"
    return replace(
        design,
        recurrence=choice.recurrence,
        method="autospec-tail" if forced else design.method,
        predicted_iterations=predicted * (1 - choice.gain),
        weights=engine.card.get("name", engine.name),
        outliers=tuple(float(v) for v in choice.outliers),
        note=note,
    )


def _paper(probe: SpectralProbe, degree: int, rtol: float, engine: Any) -> Design:
    engine = learned_engine(engine, "autospec-paper")
    recurrence = engine.recurrence(probe, degree=degree)
    interval = (probe.lambda_min, probe.upper_bound)
    return Design(recurrence, "autospec-paper", interval, weights=engine.card.get("name", engine.name))


def _interval_method(name: str) -> Callable[..., Design]:
    def build(probe: SpectralProbe, degree: int, rtol: float, engine: Any) -> Design:
        predicted = None
        if name == "rule":
            a, b = rule_interval(probe, degree)
        else:
            a, b, predicted = dos_interval(probe, degree, rtol)
        return Design(chebyshev(a, b, degree), name, (a, b), predicted)

    return build


def _least_squares(probe: SpectralProbe, degree: int, rtol: float, engine: Any) -> Design:
    b = probe.upper_bound
    return Design(least_squares(0.0, b, degree), "least-squares", (0.0, b))


def _upper(name: str, build: Callable[[float, int], Recurrence]) -> Callable[..., Design]:
    def method(probe: SpectralProbe, degree: int, rtol: float, engine: Any) -> Design:
        b = probe.upper_bound
        return Design(build(b, degree), name, (0.0, b))

    return method


def _gmres(probe: SpectralProbe, degree: int, rtol: float, engine: Any) -> Design:
    recurrence = gmres_polynomial(probe.alpha, probe.beta, min(degree, probe.steps - 1))
    return Design(recurrence, "gmres", (probe.lambda_min, probe.upper_bound))


def _chebyshev(probe: SpectralProbe, degree: int, rtol: float, engine: Any) -> Design:
    return _classical(probe, degree)


_BUILDERS: dict[str, Callable[..., Design]] = {
    "autospec-paper": _paper,
    "chebyshev": _chebyshev,
    "chebyshev4": _upper("chebyshev4", chebyshev4),
    "rule": _interval_method("rule"),
    "dos": _interval_method("dos"),
    "least-squares": _least_squares,
    "gmres": _gmres,
    "richardson": _upper("richardson", richardson),
    "neumann": _upper("neumann", neumann),
}


def engine_method(engine: Any) -> str:
    """The method of `nnla.solve` that an engine is for.

    Raises
    ------
    OptionError
        An engine for something else than linear systems.
    """
    task = tasks.task_of(engine)
    if task.field != FIELD or task.method is None:
        raise OptionError(f"{engine!r} is for {task.field}; its card says how it was evaluated (`nnla weights NAME`)")
    return task.method
