"""A learned model against the classical methods that read the same probe; and the door to the measures of all tasks."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.evaluation.comparison import compare
from nnla.polynomials.design import design_polynomial, engine_method
from nnla.polynomials.recurrence import Recurrence, chebyshev
from nnla.tasks import FAMILIES, resolve, task_of
from nnla.types import Progress, SpectralProbe

__all__ = ["FAMILIES", "evaluate_engine", "evaluate_model", "unguarded"]

_OPPONENTS = ("chebyshev", "chebyshev4", "rule", "dos")
_HELD_OUT = 20_261_121  # training draws spectra from [seed, chunk]; these come from [_HELD_OUT, seed, index]
_CAP = 10.0  # ratio that stands for "at least this much worse" in geometric means


def evaluate_model(
    name: Any,
    family: str | None = None,
    *,
    size: str | None = None,
    count: int | None = None,
    degree: int | None = None,
    rtol: float | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """A model measured as its task is: `nnla.tasks.TASKS` says by what.

    Parameters
    ----------
    name : a shipped model, the path of a weights file written by ``nnla train``, or a model
    family : what it is measured on; for linear systems see `evaluate_engine`, for initial guesses
        `nnla.evaluation.guesses.evaluate_on_frames`. By default the first of the task
    size, count, degree, rtol, seed : as these take them; None for their defaults
    progress : called as ``progress(text, done, total)``

    Returns
    -------
    dict
        JSON-able: "model", "family", and the figures.

    Raises
    ------
    WeightsError, OptionError
        Also for an option that has no effect on this measure.
    """
    from nnla.registry import load

    model = load(name) if isinstance(name, (str, os.PathLike)) else name
    task = task_of(model)
    if task.evaluate is None:
        raise OptionError(f"{model!r} is for {task.field}; its card says how it was evaluated (`nnla weights NAME`)")
    family = task.families[0] if family is None else family
    if family not in task.families:
        choices = ", ".join(repr(f) for f in task.families)
        raise OptionError(f"models for {task.field} are not measured on the family {family!r}; choose {choices}")
    measure = resolve(task.evaluate)
    given = {"size": size, "count": count, "degree": degree, "rtol": rtol, "seed": seed}
    given = {key: value for key, value in given.items() if value is not None}
    taken = inspect.signature(measure).parameters
    if unused := [key for key in given if key not in taken]:
        raise OptionError(f"{unused[0]} has no effect on measuring models for {task.field}; leave it out")
    given |= {key: value for key, value in {"family": family, "progress": progress}.items() if key in taken}
    label = os.fspath(name) if isinstance(name, (str, os.PathLike)) else model.card.get("name", model.name)
    return {"model": label, "family": family} | measure(model, **given)


def evaluate_engine(
    engine: Any,
    family: str = "suite",
    *,
    size: str = "small",
    count: int = 200,
    degree: int | None = None,
    rtol: float = 1e-8,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """An engine for linear systems against the classical methods that read the same probe.

    Parameters
    ----------
    engine : what `nnla.load` returns
    family : "suite": solve the systems of `nnla.problems.suite`; "spectra": simulate CG on virtual
        spectra that no training has drawn
    size : "small" or "full", of the suite
    count : number of spectra
    degree : degree of P, default 11 (the engine's own if it has only one)
    rtol : tolerance
    seed : of the held-out spectra
    progress : called as ``progress(text, done, total)``

    Returns
    -------
    dict
        JSON-able. ``against``: for every opponent the geometric mean, the worst and the best of
        (outer iterations of the model) / (those of the opponent), and how often it was better, equal or
        worse. "spectra" adds ``above_best``, the same for every method against the best Chebyshev interval
        known in hindsight, and the number of learned polynomials that were indefinite before any guard: on the
        probed interval, and on eigenvalues that the probe did not see.

    Notes
    -----
    Cost: "suite", small: seconds; "spectra": about 30 ms each. The engine is used as `nnla.solve` uses it,
    guards and fallbacks included, unless stated otherwise.
    """
    method = engine_method(engine)
    d: int = degree or engine.degree or 11
    facts = {"method": method, "degree": d, "rtol": rtol}
    if family == "suite":
        return facts | _on_suite(engine, method, size, d, rtol, progress)
    return facts | _on_spectra(engine, method, count, d, rtol, seed, progress)


def _on_suite(
    engine: Any, method: str, size: str, degree: int, rtol: float, progress: Progress | None
) -> dict[str, Any]:
    from nnla.problems import SUITE, problem

    rows: list[dict[str, Any]] = []
    pairs: dict[str, list[float]] = {name: [] for name in _OPPONENTS}
    efficiencies: list[float] = []
    overall: list[float] = []
    unsolved = fallbacks = easy = 0
    for index, name in enumerate(SUITE):
        if progress is not None:
            progress(name, index, len(SUITE))
        system = problem(name, size)
        options: dict[str, Any] = {"degree": degree, "rtol": rtol, "engine": engine}
        found = {r.method: r for r in compare(system, methods=[*_OPPONENTS, method], **options)}
        own = found[method]
        rows.append({"problem": name, "n": system.A.shape[0], **own.to_dict()})
        rows[-1]["opponents"] = {key: found[key].iterations for key in _OPPONENTS if found[key].converged}
        unsolved += not own.converged
        fallbacks += own.fallback is not None
        if own.converged and not own.iterations:
            easy += 1
            continue
        if own.efficiency is not None and own.plain_iterations and own.products:
            efficiencies.append(own.efficiency)
            overall.append(own.plain_iterations / own.products)
        for key in _OPPONENTS:
            if found[key].converged and own.converged and found[key].iterations:
                pairs[key].append((own.iterations or 0) / (found[key].iterations or 1))
    return {
        "size": size,
        "count": len(rows),
        "unsolved": unsolved,
        "fallbacks": fallbacks,
        "solved_by_the_probe": easy,
        "efficiency": {"geometric_mean": _mean(efficiencies), "worst": min(efficiencies, default=None)},
        "plain_over_products": {"geometric_mean": _mean(overall), "worst": min(overall, default=None)},
        "against": {key: _summary(ratios) for key, ratios in pairs.items()},
        "problems": rows,
    }


def _on_spectra(
    engine: Any, method: str, count: int, degree: int, rtol: float, seed: int, progress: Progress | None
) -> dict[str, Any]:
    from nnla.linear.polynomial import PROBE_STEPS
    from nnla.polynomials.guards import MARGIN, check_polynomial
    from nnla.problems.spectra import sample_spectrum
    from nnla.spectra.simulated_cg import candidate_residuals, simulate_outer_iterations, simulate_probe

    m = degree + 1
    names = (method, *_OPPONENTS)
    above: dict[str, list[float]] = {name: [] for name in names}
    pairs: dict[str, list[float]] = {name: [] for name in _OPPONENTS}
    unsolved = dict.fromkeys(names, 0)
    tally = {"indefinite": 0, "indefinite_on_spectrum": 0, "outside_envelope": 0, "fallbacks": 0}
    left_out, worst = 0, {"above_best": 0.0}
    for index in range(count):
        if progress is not None:
            progress("spectra", index, count)
        spectrum = sample_spectrum(np.random.default_rng([_HELD_OUT, seed, index]), nodes=1000)
        lam = spectrum.lam
        alpha, beta, users = simulate_probe(lam, spectrum.weight, spectrum.measure, PROBE_STEPS)
        probe = SpectralProbe(alpha, beta, spectrum.n, reductions=users)
        raw, inside = unguarded(engine, probe, degree, rtol)
        # a Chebyshev interval is positive by theory, a free polynomial has to be so with a margin
        margin = 1.0 if method == "autospec" else MARGIN
        if method != "autospec-tail":  # which may be negative between eigenvalues
            tally["indefinite"] += not check_polynomial(raw, probe.upper_bound, margin=margin).ok
        tally["indefinite_on_spectrum"] += not bool(np.all(raw(lam) > 0))
        tally["outside_envelope"] += not inside
        mu: list[np.ndarray] = []
        for name in names:
            own = engine if name == method else None
            design = design_polynomial(probe, method=name, degree=degree, rtol=rtol, engine=own)
            tally["fallbacks"] += name == method and design.fallback is not None
            mu.append(lam * design.recurrence(lam))
        b = probe.upper_bound
        grid = np.minimum(np.geomspace(1e-3, 100.0, 40) / m**2, 0.6) * b
        every = np.concatenate([mu, 1 - candidate_residuals(lam, grid, b, m)])
        measures: dict[str, Any] = {"measure": spectrum.measure, "maxiter": 400, "patience": _CAP}
        counts = simulate_outer_iterations(lam, spectrum.weight, every, (rtol,), **measures)[:, 0]
        best = float(counts.min())
        if not math.isfinite(best):
            left_out += 1  # not even the best interval gets there in 400 iterations
            continue
        counts = np.maximum(counts, 1.0)
        for name, own in zip(names, counts, strict=False):
            above[name].append(min(float(own) / max(best, 1.0), _CAP))
            unsolved[name] += not math.isfinite(own)
        for name, own in zip(_OPPONENTS, counts[1:], strict=False):
            if math.isfinite(own) or math.isfinite(counts[0]):
                pairs[name].append(float(np.clip(counts[0] / own, 1 / _CAP, _CAP)))
        if above[method][-1] > worst["above_best"]:
            worst = {
                "above_best": above[method][-1],
                "index": index,
                "family": spectrum.family,
                "n": spectrum.n,
            }
    return {
        "seed": seed,
        "probe_steps": PROBE_STEPS,
        "count": count,
        "left_out": left_out,
        **tally,
        "unsolved": unsolved,
        "above_best": {name: _summary(ratios) for name, ratios in above.items()},
        "against": {name: _summary(ratios) for name, ratios in pairs.items()},
        "worst": worst,
    }


def unguarded(engine: Any, probe: SpectralProbe, degree: int, rtol: float) -> tuple[Recurrence, bool]:
    """What the network asks for before any guard, and whether the probe is in its envelope.

    Cost: one answer of the engine.
    """
    return _UNGUARDED[engine.task](engine, probe, degree, rtol)


def _interval(engine: Any, probe: SpectralProbe, degree: int, rtol: float) -> tuple[Recurrence, bool]:
    choice = engine.choose(probe, degree=degree, rtol=rtol)
    return chebyshev(choice.a, choice.b, degree), choice.inside


def _roots(engine: Any, probe: SpectralProbe, degree: int, rtol: float) -> tuple[Recurrence, bool]:
    design = design_polynomial(probe, method="autospec-tail", degree=degree, rtol=rtol, engine=engine)
    return design.recurrence, True


def _polynomial(engine: Any, probe: SpectralProbe, degree: int, rtol: float) -> tuple[Recurrence, bool]:
    return engine.recurrence(probe, degree=degree), True


_UNGUARDED: dict[str, Callable[[Any, SpectralProbe, int, float], tuple[Recurrence, bool]]] = {
    "intervals": _interval,
    "outlier roots": _roots,
    "polynomials": _polynomial,
}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.exp(np.mean(np.log(values)))) if len(values) else None


def _summary(ratios: Sequence[float]) -> dict[str, Any]:
    return {
        "geometric_mean": _mean(ratios),
        "best": min(ratios, default=None),
        "worst": max(ratios, default=None),
        "better": sum(r < 0.995 for r in ratios),
        "equal": sum(0.995 <= r <= 1.005 for r in ratios),
        "worse": sum(r > 1.005 for r in ratios),
    }
