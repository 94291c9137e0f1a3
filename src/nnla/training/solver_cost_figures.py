"""How good predicted costs are: what engines say of systems that they have not seen, beside what these took."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.models.solver_costs import FAILURES, TARGETS
from nnla.training.solver_cost_data import RTOLS, STEP_COUNTS, SolverRuns

__all__ = [
    "HeldOut",
    "area_under_curve",
    "held_out_figures",
    "joined",
    "likelihoods",
    "predictions",
    "spreads",
    "temperatures",
]

HeldOut = dict[str, np.ndarray]
_LEVEL = RTOLS.index(1e-8)
_FARTHEST = 4.0  # standard deviations that an error counts as in the fit of the spread


def predictions(
    engines: list[Any], runs: SolverRuns, fold: np.ndarray, *, structure: np.ndarray | None, steps: bool = False
) -> HeldOut:
    """What the engine that has not seen a system says of it.

    Parameters
    ----------
    engines : one for each fold
    runs : N systems
    fold : (N,) in which each is held out
    structure : (N, F) of the systems; None to predict from first steps alone
    steps : whether first steps are looked at: for 1e-8, after all their numbers. Without, for all tolerances

    Returns
    -------
    dict : of B rows, mean, std, labels, capped (B, T), failure, failed (B, P), outside (B,); system, level (of the
        tolerance), count (index of the number of steps, -1 without)

    Notes
    -----
    Cost: a batch for every engine.
    """
    rows: list[dict[str, np.ndarray]] = []
    for number, engine in enumerate(engines):
        own = np.flatnonzero(fold == number)
        columns = np.arange(len(STEP_COUNTS) if steps else len(RTOLS))
        system, count = (part.ravel() for part in np.meshgrid(own, columns, indexing="ij"))
        if steps:
            there = np.isfinite(runs.steps[system, count]).all(axis=1)
            system, count = system[there], count[there]
            level = np.full(system.size, _LEVEL)
        else:
            level, count = count, np.full(system.size, -1)
        found = engine.predict(
            None if structure is None else structure[system],
            runs.steps[system, count] if steps else None,
            rtol=np.array(RTOLS)[level],
        )
        row = {"mean": found.mean, "std": found.std, "failure": found.failure, "outside": found.outside}
        row |= {"system": system, "level": level, "count": count}
        rows.append(row | {key: getattr(runs, key)[system, level] for key in ("labels", "capped", "failed")})
    return joined(rows)


def joined(parts: list[HeldOut]) -> HeldOut:
    """Rows of several after one another.

    Cost: a copy.
    """
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _errors(found: HeldOut, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors of a target where it is known, in logarithms and in standard deviations; none above a lower bound."""
    known = np.isfinite(found["labels"][:, t])
    error = (found["mean"][:, t] - found["labels"][:, t])[known]
    error = np.where(found["capped"][known, t] & (error > 0), 0.0, error)
    return error, error / found["std"][known, t]


def temperatures(found: HeldOut) -> np.ndarray:
    """(T,) factors of the spread that make errors on held-out systems as large as it says.

    Notes
    -----
    The likeliest factor of a normal distribution, with errors held at four standard deviations. Cost: some passes
    over the errors.
    """
    factors = np.ones(len(TARGETS))
    for t in range(len(TARGETS)):
        known = np.isfinite(found["labels"][:, t]) & ~found["capped"][:, t]
        if known.sum() < 20:
            continue
        z = np.abs((found["mean"][known, t] - found["labels"][known, t]) / found["std"][known, t])
        for _ in range(30):
            factors[t] = np.sqrt(np.mean(np.minimum(z, _FARTHEST * factors[t]) ** 2))
    return np.clip(factors, 0.2, 5.0)


def spreads(found: HeldOut) -> dict[str, float]:
    """Root mean square error of the logarithm of every target that is known, on held-out systems.

    Cost: a pass over the errors.
    """
    figures: dict[str, float] = {}
    for t, name in enumerate(TARGETS):
        error, _ = _errors(found, t)
        if error.size:
            figures[name] = round(float(np.sqrt(np.mean(error**2))), 4)
    return figures


def area_under_curve(probability: np.ndarray, happened: np.ndarray) -> float:
    """The chance that of one case that failed and one that did not the first has the higher probability.

    Cost: a sort.

    Examples
    --------
    >>> area_under_curve(np.array([0.1, 0.2, 0.3]), np.array([0.0, 1.0, 1.0]))
    1.0
    """
    yes = happened > 0.5
    count = int(yes.sum())
    if count in (0, yes.size):
        return float("nan")
    ordered, asked = np.sort(probability), probability[yes]
    ranks = float(np.sum(np.searchsorted(ordered, asked) + np.searchsorted(ordered, asked, side="right") + 1)) / 2
    return (ranks - count * (count + 1) / 2) / (count * (yes.size - count))


def likelihoods(found: HeldOut) -> dict[str, float]:
    """Mean negative log-likelihood of every target that is known, on held-out systems: errors and spread in one.

    Cost: a pass over the errors.
    """
    from scipy.special import log_ndtr

    figures: dict[str, float] = {}
    for t, name in enumerate(TARGETS):
        known = np.isfinite(found["labels"][:, t])
        if known.any():
            z = (found["labels"][known, t] - found["mean"][known, t]) / found["std"][known, t]
            z = np.clip(z, -8.0, 8.0)
            normal = 0.5 * z**2 + np.log(found["std"][known, t]) + 0.5 * np.log(2 * np.pi)
            figures[name] = float(np.mean(np.where(found["capped"][known, t], -log_ndtr(-z), normal)))
    return figures


def held_out_figures(held: dict[str, HeldOut], factors: dict[str, np.ndarray]) -> dict[str, float]:
    """Figures of what was predicted from each kind of information, for a log and a card.

    Parameters
    ----------
    held : name -> predictions
    factors : name -> (T,) factors of the spread

    Returns
    -------
    dict : NAME.error, the mean over the targets of the root mean square error of the logarithm; NAME.TARGET;
        NAME.within1, NAME.within2, shares of errors inside of one and two standard deviations;
        NAME.likelihood, see `likelihoods`, its mean; NAME.METHOD.failed, .auc and .log_loss of failures

    Notes
    -----
    Cost: some passes over the predictions.
    """
    figures: dict[str, float] = {}
    for name, found in held.items():
        own = spreads(found)
        figures[f"{name}.error"] = float(np.mean(list(own.values())))
        figures |= {f"{name}.{target}": value for target, value in own.items()}
        z = [np.abs(_errors(found, t)[1]) / factors[name][t] for t in range(len(TARGETS))]
        corrected = found | {"std": found["std"] * factors[name]}
        figures[f"{name}.likelihood"] = round(float(np.mean(list(likelihoods(corrected).values()))), 4)
        z = np.concatenate(z) if z else np.zeros(1)
        figures |= {f"{name}.within{k}": round(float(np.mean(z <= k)), 4) for k in (1, 2)}
        for i, method in enumerate(FAILURES):
            known = np.isfinite(found["failed"][:, i])
            p, y = found["failure"][known, i], found["failed"][known, i]
            if 0 < y.sum() < y.size:
                loss = -np.mean(np.log(np.clip(np.where(y > 0.5, p, 1 - p), 1e-6, 1.0)))
                figures[f"{name}.{method}.failed"] = float(y.sum())
                figures[f"{name}.{method}.auc"] = round(area_under_curve(p, y), 4)
                figures[f"{name}.{method}.log_loss"] = round(float(loss), 4)
    return figures
