"""Matrix functions by direct regression: accuracy by function and size, sign by gap, other families, perceptrons.

A sample is right within t where d1 = sum |error| / sum |f(A)| < t, over the entries; one that the model declines is
wrong.

* ``accuracy``: the models of the three recipes, fresh matrices of the family that each was trained on.
* ``gaps``: the sign by the gap of the spectrum at zero, as it is and with one step of Newton and Schulz after it.
* ``families``: matrices of families that no training saw.
* ``time``: processor time for a matrix beside NumPy's batched eigendecomposition, which is exact.
* ``wide``: entries in [-5, 5] for the functions whose unit matters, by three halvings of A before the network and
  three squarings (exp) or doublings of the angle (sin, cos) after it.
* ``frames``: the mean over signed permutations P of P' f(P A P') P, in use.
* ``mlp``: the paper's baseline, a deep perceptron from entries to entries, trained here (n = 1, 2, 3).
* ``arms``: what the parts of the network are worth, trained for the same processor time.

    python reproduce/matrix_functions_regression.py --models PATH PATH PATH
    python reproduce/matrix_functions_regression.py --parts mlp arms --seconds 30

Writes docs/matrix_functions_regression.{json,md,png}; parts that are not asked for keep their figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from algebraformer_runs import seconds_per_step
from matrix_functions_regression_page import figure, page

import nnla
from nnla.problems import MATRIX_FAMILIES, matrix_family
from nnla.training.config import load_recipe
from nnla.training.loop import train
from nnla.training.matrix_function_data import relative_errors, symmetric_functions

DOCS = Path(__file__).resolve().parents[1] / "docs"
NAME = "matrix_functions_regression"
PARTS = ("accuracy", "gaps", "families", "wide", "frames", "time", "mlp", "arms")
WITH_MODELS = PARTS[:6]
MODELS = ("matfun-regression-entire", "matfun-regression-sign", "matfun-regression-definite")
WITHIN = (5.0, 2.0, 1.0, 0.5)  # per cent
GAPS = (0.0, 0.003, 0.01, 0.03, 0.1, 1.01)
HALVINGS = 3
DEFINITE = ("sqrt", "log", "inv_sqrt", "inv")
JUDGED = {  # function -> the family, in its units, that the bars are about
    **dict.fromkeys(("exp", "sin", "cos", "cube"), ("symmetric", {"scale": 1.0})),
    "sign": ("symmetric", {"scale": 5.0}),
    **dict.fromkeys(DEFINITE, ("definite", {"scale": 5.0, "floor": 0.1})),
}
OTHERS = ("wigner", "toeplitz", "hankel", "circulant", "band", "stochastic", "adjacency")
PLAIN = {"channels": "entries", "spectral": "none", "read_out": "linear"}
ARMS = {  # what the network sees and how it answers
    "rows, entries alone, linear read-out": {"channels": "entries", "spectral": "none", "read_out": "linear"},
    "entries as tokens, the same": {
        "tokens": "entries",
        "channels": "entries",
        "spectral": "none",
        "read_out": "linear",
    },
    "rows, and invariants": {"channels": "entries", "read_out": "linear"},
    "rows, and eigenvalues": {"channels": "entries", "spectral": "eigenvalues", "read_out": "linear"},
    "rows, invariants and products": {"read_out": "linear"},
    "rows, all, coefficients (shipped)": {},
}
PERCEPTRONS = ("exp", "log", "sign", "sin", "cos")
MLP_ARMS = {"squared error (the paper's kind)": "mse", "d1": "d1"}


def summary(errors: np.ndarray) -> dict[str, Any]:
    """Of errors, NaN where declined."""
    known = errors[np.isfinite(errors)]
    return {
        "count": int(errors.size),
        "declined": float(1 - known.size / errors.size),
        "median": float(np.median(known)) if known.size else None,
        "within": {f"{t:g}": float((np.where(np.isfinite(errors), errors, np.inf) < t / 100).mean()) for t in WITHIN},
    }


def errors_of(model: Any, A: np.ndarray, f: str) -> np.ndarray:
    """d1 of each matrix, NaN where the model declines."""
    with np.errstate(all="ignore"):
        return relative_errors(model.function(A, f), symmetric_functions(A, [f])[:, 0])


def functions_of(models: list[Any]) -> list[tuple[Any, str]]:
    """Every model with each of its functions."""
    return [(model, f) for model in models for f in model.functions]


def accuracy(models: list[Any], count: int) -> list[dict[str, Any]]:
    """By function and size, on the family of the training."""
    rows = []
    for model, f in functions_of(models):
        family, options = JUDGED[f]
        for n in model.sizes:
            A = matrix_family(family, count, n, seed=[101, n], **options)
            rows.append({"function": f, "n": n, "family": family, "options": options} | summary(errors_of(model, A, f)))
    return rows


def gaps(models: list[Any], count: int) -> list[dict[str, Any]]:
    """Sign by the gap, relative to the largest eigenvalue and, entries in [-1, 1], as it is."""
    rows = []
    for model in (m for m in models if "sign" in m.functions):
        polished = type(model)(replace(model.config, polish=1), model.parameters, model.card)
        for n in model.sizes:
            A = matrix_family("symmetric", count, n, seed=[102, n], scale=1.0)
            sizes = np.abs(np.linalg.eigvalsh(A))
            plain, better = (errors_of(m, A, "sign") for m in (model, polished))
            for kind, gap in (("relative", sizes.min(axis=1) / sizes.max(axis=1)), ("absolute", sizes.min(axis=1))):
                for low, high in pairwise(GAPS):
                    there = (gap >= low) & ((gap < high) | (high > 1))
                    row = {"n": n, "kind": kind, "low": low, "high": high, "share": float(there.mean())}
                    row |= {"plain": summary(plain[there]), "polished": summary(better[there])}
                    rows.append(row)
    return rows


def families(models: list[Any], count: int) -> list[dict[str, Any]]:
    """Families that no training saw; for roots, their squares by the size, and the floor."""
    rows = []
    for name in OTHERS:
        options = {"symmetric": True} if not MATRIX_FAMILIES[name].symmetric else {}
        for model, f in functions_of(models):
            found = []
            for n in model.sizes:
                A = matrix_family(name, count, n, seed=[103, n], **options)
                if f in DEFINITE:
                    A = A @ A / n + 0.1 * np.eye(n)
                    A = 0.5 * (A + A.swapaxes(-1, -2))
                elif f != "sign" and "scale" in MATRIX_FAMILIES[name].options and name != "adjacency":
                    A = A / 5.0  # entries of the training's unit
                if f == "sign":  # where it has one
                    A = A[np.abs(np.linalg.eigvalsh(A)).min(axis=1) > 1e-3 * np.abs(A).max(axis=(1, 2))]
                found.append(errors_of(model, A, f))
            rows.append({"family": name, "function": f} | summary(np.concatenate(found)))
    return rows


def wide(models: list[Any], count: int) -> list[dict[str, Any]]:
    """Entries in [-5, 5]: exp(A) = exp(A / 8)^8, cos 2X = 2 cos^2 X - 1, sin 2X = 2 sin X cos X."""
    rows = []
    for model in (m for m in models if {"exp", "sin", "cos"} <= set(m.functions)):
        for n in model.sizes:
            A = matrix_family("symmetric", count, n, seed=[107, n], scale=5.0)
            E, S, C = (model.function(A / 2**HALVINGS, f) for f in ("exp", "sin", "cos"))
            for _ in range(HALVINGS):
                E, S, C = E @ E, S @ C + C @ S, 2.0 * C @ C - np.eye(n)
            for f, Y in (("exp", E), ("sin", S), ("cos", C)):
                found = relative_errors(Y, symmetric_functions(A, [f])[:, 0])
                rows.append({"function": f, "n": n} | summary(found))
    return rows


def frames(models: list[Any], count: int) -> list[dict[str, Any]]:
    """The largest matrices, answered in 1, 4 and 16 frames."""
    rows = []
    for model, f in functions_of(models):
        family, options = JUDGED[f]
        n = model.sizes[-1]
        A = matrix_family(family, count, n, seed=[108, n], **options)
        for number in (1, 4, 16):
            several = type(model)(replace(model.config, frames=number), model.parameters, model.card)
            rows.append({"function": f, "n": n, "frames": number} | summary(errors_of(several, A, f)))
    return rows


def _cpu(call: Any) -> float:
    """Processor seconds, the median of five."""
    spent = []
    for _ in range(6):
        started = time.process_time()
        call()
        spent.append(time.process_time() - started)
    return float(np.median(spent[1:]))


def timings(models: list[Any], count: int) -> list[dict[str, Any]]:
    """Processor time for a matrix, in microseconds, in batches."""
    rows = []
    for model, f in functions_of(models):
        family, options = JUDGED[f]
        for n in model.sizes:
            A = matrix_family(family, count, n, seed=[104, n], **options)
            row = {"function": f, "n": n, "count": count}
            row |= {"network": _cpu(lambda model=model, f=f, A=A: model.function(A, f)) / count * 1e6}
            row |= {"eigh": _cpu(lambda f=f, A=A: symmetric_functions(A, [f])) / count * 1e6}
            rows.append(row)
    return rows


def _trained(recipe: dict[str, Any]) -> tuple[Any, float]:
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        return nnla.load(train(recipe, Path(folder) / "run")), time.process_time() - started


def perceptrons(count: int, steps: int, objectives: list[str], functions: list[str]) -> list[dict[str, Any]]:
    """The paper's baseline, n = 1, 2, 3, entries in [-5, 5]; log of matrices with eigenvalues in [.1, 5]."""
    rows = []
    for arm, kind in ((arm, kind) for arm, kind in MLP_ARMS.items() if kind in objectives):
        for f in functions:
            for n in (1, 2, 3):
                sets = [f"model.n={n}", f"objective.kind={kind}", f"optim.steps={steps}", "model.width=128"]
                recipe = load_recipe("matfun-regression-mlp", [*sets, "model.layers=6", "optim.log_every=1000"])
                recipe["model"]["functions"] = [f]
                family, options = ("definite", {"condition": 50.0}) if f == "log" else ("symmetric", {"scale": 5.0})
                recipe["data"]["families"] = {family: 1.0}
                model, cpu = _trained(recipe)
                A = matrix_family(family, count, n, seed=[105, n], **options)
                p = {"low": np.full((n, n), -1e3, np.float32), "high": np.full((n, n), 1e3, np.float32)}
                model = type(model)(model.config, model.parameters | p, model.card)  # it is to answer all
                row = {"arm": arm, "function": f, "n": n, "cpu": round(cpu, 1)}
                rows.append(row | summary(errors_of(model, A, f)))
                print(rows[-1], flush=True)
    return rows


def arms(count: int, seconds: float, names: list[str]) -> list[dict[str, Any]]:
    """The same processor time for other networks."""
    rows = []
    for recipe_name, functions in (("sign", ["sign"]), ("entire", ["exp"])):
        for arm, options in ((arm, ARMS[arm]) for arm in names):
            recipe = load_recipe(f"matfun-regression-{recipe_name}")
            recipe["model"] |= options | {"functions": functions}
            each = seconds_per_step(recipe) * recipe["accumulate"]
            steps = max(10, int(seconds / each))
            recipe["optim"] |= {"steps": steps, "checkpoint_every": steps, "log_every": steps}
            model, cpu = _trained(recipe)
            for f in functions:
                family, options_of = JUDGED[f]
                for n in model.sizes:
                    A = matrix_family(family, count, n, seed=[106, n], **options_of)
                    if f == "sign":
                        sizes = np.abs(np.linalg.eigvalsh(A))
                        A = A[sizes.min(axis=1) >= 0.1 * sizes.max(axis=1)]
                    size = sum(v.size for v in model.parameters.values())
                    row = {"arm": arm, "function": f, "n": n, "cpu": round(cpu, 1), "steps": steps, "numbers": size}
                    rows.append(row | summary(errors_of(model, A, f)))
                    print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure the parts that are asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="names or paths of weights")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--count", type=int, default=10_000, help="matrices a figure")
    parser.add_argument("--seconds", type=float, default=30.0, help="processor time of each arm")
    parser.add_argument("--steps", type=int, default=1500, help="of each perceptron")
    parser.add_argument("--objectives", nargs="+", choices=MLP_ARMS.values(), default=list(MLP_ARMS.values()))
    parser.add_argument("--functions", nargs="+", choices=PERCEPTRONS, default=list(PERCEPTRONS), help="of the mlp")
    parser.add_argument("--arms", nargs="+", choices=ARMS, help="all unless some are named")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of the page")
    options = parser.parse_args()
    file = options.out / f"{NAME}.json"
    data = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"meta": {"parts": {}}}
    models = [nnla.load(name) for name in options.models] if {*options.parts} & {*WITH_MODELS} else []
    few = max(options.count // 5, 10)
    calls: dict[str, Any] = {
        "accuracy": lambda: accuracy(models, options.count),
        "gaps": lambda: gaps(models, options.count),
        "families": lambda: families(models, few),
        "wide": lambda: wide(models, few),
        "frames": lambda: frames(models, few),
        "time": lambda: timings(models, few),
        "mlp": lambda: perceptrons(few, options.steps, options.objectives, options.functions),
        "arms": lambda: arms(few, options.seconds, options.arms or list(ARMS)),
    }
    hardware = f"{platform.processor() or platform.machine()}, one thread"
    for part in options.parts:
        started = time.process_time()
        found = calls[part]()
        if part == "mlp":  # rows are kept until they are measured again
            key = "arm", "function", "n"
            new = {tuple(row[k] for k in key) for row in found}
            found = [row for row in data.get("mlp", []) if tuple(row[k] for k in key) not in new] + found
        data[part] = found
        spent = round(time.process_time() - started, 1)
        data["meta"]["parts"][part] = {"date": time.strftime("%Y-%m-%d"), "hardware": hardware, "cpu_seconds": spent}
    if models:
        cards = {m.title: m for m in models}
        data["models"] = {
            name: {
                "functions": list(m.functions),
                "numbers": int(sum(v.size for v in m.parameters.values())),
                "train_seconds": m.card.get("seconds", {}).get("train"),
                "hardware": m.card.get("hardware"),
                "steps": m.card.get("recipe", {}).get("optim", {}).get("steps"),
                "families": m.card.get("recipe", {}).get("data", {}).get("families"),
            }
            for name, m in cards.items()
        }
    file.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (options.out / f"{NAME}.md").write_text(page(data, NAME), encoding="utf-8")
    figure(data, options.out / f"{NAME}.png")


if __name__ == "__main__":
    main()
