"""Models of the costs of solvers: how far off they are on systems that no training has drawn; what they promise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnla.errors import MissingDependencyError, NNLAError
from nnla.evaluation.conformance import say
from nnla.kernels.cholesky import Cholesky
from nnla.krylov.start import start_cg
from nnla.krylov.step_features import step_features
from nnla.linear.solve import solve
from nnla.operators.features import structure_features
from nnla.operators.operator import as_operator
from nnla.preconditioners.scalings import bind_scaling
from nnla.problems.systems import SYSTEM_FAMILIES, linear_system
from nnla.types import Progress

__all__ = ["check_solver_costs", "evaluate_solver_costs", "measure_solver_costs", "solver_cost_lines"]

_HELD_OUT = 2**31  # seeds of the training are below
_RTOL = 1e-8
_STEPS = 16
_FAILURES = 30  # fewer say nothing of their probability
_INFORMATION = ("values", "graph", "steps", "blind")  # what training judges by, see the card
_SIZES = 200, 4000
_UNIT = 2.0**30  # exact: what depends on it depends on the scale, not on rounding


def evaluate_solver_costs(
    model: Any, *, count: int = 100, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Predicted against counted costs, on small systems of all families that no training has drawn.

    Parameters
    ----------
    model : what `nnla.load` returns
    count : systems
    seed : of them

    Returns
    -------
    dict
        JSON-able. ``targets``: for each count that no machine changes ``systems``, ``error`` (root mean square of the
        logarithm's error), ``bias``, ``within1`` and ``within2`` (shares inside of that many standard deviations),
        from the structure ("structure") and after 16 steps ("steps").

    Raises
    ------
    MissingDependencyError
        The kernels that read structure are not there.

    Notes
    -----
    The families are those of the training, the systems are not. Cost: some 50 ms a system.
    """
    found: dict[str, list[tuple[float, float, float]]] = {}
    names = sorted(SYSTEM_FAMILIES)
    for number in range(count):
        if progress is not None:
            progress("systems", number, count)
        rng = np.random.default_rng([_HELD_OUT, seed, number])
        family = names[number % len(names)]
        row = SYSTEM_FAMILIES[family]
        n = round(float(np.exp(rng.uniform(*np.log(np.clip(_SIZES, row.smallest, row.largest))))))
        system = linear_system(family, n, seed=_HELD_OUT + int(rng.integers(2**31)))
        structure, steps, counted = _facts(system.A, system.b)
        answers = {"structure": model.predict(structure, rtol=_RTOL)}
        if steps is not None:
            answers["steps"] = model.predict(structure, steps, rtol=_RTOL)
        for label, p in answers.items():
            for target, value in counted.items():
                mean, std = p.log(target)
                found.setdefault(f"{label}:{target}", []).append((math.log(max(value, 1.0)), float(mean), float(std)))
    targets: dict[str, Any] = {}
    for key, values in found.items():
        label, _, target = key.partition(":")
        true, mean, std = np.array(values).T
        error = mean - true
        targets.setdefault(label, {})[target] = {
            "systems": len(values),
            "error": round(float(np.sqrt(np.mean(error**2))), 3),
            "bias": round(float(np.mean(error)), 3),
            **{f"within{k}": round(float(np.mean(np.abs(error) <= k * std)), 3) for k in (1, 2)},
        }
    return {"count": count, "rtol": _RTOL, "n": list(_SIZES), "steps": _STEPS, "targets": targets}


def _facts(A: Any, b: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
    """Features of the structure and of first steps, and what the methods really take."""
    op = as_operator(A)
    assert op.structure is not None
    structure = structure_features(op.csr, op.structure.diagonal)
    if structure is None:
        raise MissingDependencyError("the structure is read by the native kernels, which are not there; reinstall nnla")
    size = float(np.linalg.norm(b))
    run = start_cg(op, b, x=np.zeros_like(b), residual=b.copy(), targets=np.array([_RTOL * size]),
                   sizes=np.array([size]), M=bind_scaling(op, "jacobi"))  # fmt: skip
    steps = step_features(run.advance(_STEPS), size)
    analysed = Cholesky(op.csr)
    counted: dict[str, float] = {"direct.flops": analysed.flops, "direct.entries": float(analysed.nnz)}
    for method in ("jacobi", "ic"):
        try:
            report = solve(A, b, rtol=_RTOL, method=method).report
        except NNLAError:
            continue
        if report.converged and report.fallback is None:
            counted[f"{method}.iterations"] = float(report.iterations)
    return structure, steps, counted


def check_solver_costs(model: Any, trials: int, seed: int) -> list[str]:
    """Of a model of the costs of solvers: small systems, the same in other units, alone and in a batch.

    Cost: some milliseconds a trial.
    """
    rng = np.random.default_rng(seed)
    names = sorted(SYSTEM_FAMILIES)
    messages: list[str] = []
    features: list[np.ndarray] = []
    for trial in range(trials):
        family = names[int(rng.integers(len(names)))]
        system = linear_system(family, max(300, SYSTEM_FAMILIES[family].smallest), seed=_HELD_OUT + seed + trial)
        found: list[Any] = []
        for unit in (1.0, _UNIT):
            op = as_operator(unit * system.A)
            assert op.structure is not None
            x = structure_features(op.csr, op.structure.diagonal)
            if x is None:
                return messages  # without native kernels nothing is asked of it
            found.append(model.predict(x, rtol=_RTOL))
            features.append(x)
        one, other = found
        again = model.predict(features[-2], rtol=_RTOL)
        say(messages, not np.array_equal(one.mean, again.mean), "two calls differ")
        good = np.all(np.isfinite(one.mean)) and np.all(one.std > 0) and np.all((one.failure >= 0) & (one.failure <= 1))
        say(messages, not good, "a prediction is no number, a spread not positive, or a probability none")
        say(messages, not np.allclose(one.mean, other.mean, atol=1e-6), "the answer depends on the scale of A")
        blind = model.predict(None, np.zeros(model.config.steps), rtol=_RTOL)
        say(messages, not np.all(np.isfinite(blind.mean)), "without structure a prediction is no number")
    batch = model.predict(np.stack(features), rtol=_RTOL)
    single = np.stack([model.predict(x, rtol=_RTOL).mean for x in features])
    say(messages, not np.allclose(batch.mean, single, atol=1e-9), "the answer depends on the batch")
    return messages


def measure_solver_costs(model: Any, count: int | None, quick: bool) -> dict[str, Any]:
    """Figures for the card."""
    return evaluate_solver_costs(model, count=count or (100 if quick else 300))


def solver_cost_lines(card: dict[str, Any]) -> list[str]:
    """What training measured on kinds that were held out, and what a later look at fresh systems did."""
    held, m, folds = card["held_out"], card["measured"], card["recipe"]["data"]["folds"]
    lines = [f"*Held-out kinds*: each system judged by networks that saw none of its kind ({folds} folds of the"]
    lines += [f"{card['systems']} systems of {card['families']} families). Root mean square error of the natural"]
    lines += [
        "logarithm, from the values of a matrix, with a look at its graph, and with first steps of Jacobi-CG:",
        "",
    ]
    lines += ["| predicted | values | graph | steps | steps alone |", "|---|---|---|---|---|"]
    columns = [card["spread"][name] for name in _INFORMATION]
    for target in columns[0]:
        lines += [f"| {target} | {' | '.join(f'{column.get(target, math.nan):.2f}' for column in columns)} |"]
    for k, share in ((1, "68 %"), (2, "95 %")):
        inside = " | ".join(f"{held[f'{name}.within{k}']:.1%}" for name in _INFORMATION)
        lines += [f"| inside of {k} sigma ({share} of a normal distribution) | {inside} |"]
    lines += [""]
    told = [key for key in held if key.startswith("graph.") and key.endswith(".failed") and held[key] >= _FAILURES]
    curves = ", ".join(f"{key.split('.')[1]} {held[key.replace('failed', 'auc')]:.2f}" for key in told)
    few = f"Of no method there were {_FAILURES} failures to judge their probabilities by."
    lines += [f"Failures, area under the curve: {curves}." if told else few]
    lines += ["", f"*{m['count']} fresh systems of the families of the training*, n = {m['n'][0]} to {m['n'][1]}:", ""]
    lines += ["| counted | predicted from | systems | error | inside 1 sigma | 2 sigma |", "|---|---|---|---|---|---|"]
    for label, rows in m["targets"].items():
        for target, f in rows.items():
            shares = f"{f['within1']:.0%} | {f['within2']:.0%}"
            lines += [f"| {target} | {label} | {f['systems']} | {f['error']:.2f} | {shares} |"]
    lines += [
        "",
        "**Guaranteed**: nothing of a prediction. **Kept**: whatever is predicted, `solve` watches what runs,",
    ]
    return [*lines, "switches where it falls behind, and calls converged what is."]
