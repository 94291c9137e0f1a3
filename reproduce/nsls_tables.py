"""NSLS's Tables 1, 3 and 4 beside ours: errors of guesses, iterations and seconds that they save, classical yardsticks.

Table 1: errors of the guesses on unseen generated frames ("mini", n near 350, and "small", n near 2000) and, with
--matrices, on the real StAnD systems of a folder, which only judge. Table 4: textbook CG in float64 until
|x_k - x| / |x| is 1e-2 .. 1e-5, from zero, from the guesses, deflated by the networks' subspaces and by classical ones.
Table 3: seconds end to end through `nnla.solve`, features and set-up included, beside SciPy and PyAMG. Products: what
a warm start costs on every SPD matrix of the folder with n <= 40,000, with the guard that the other tables switch off.

    python reproduce/nsls_tables.py --matrices FOLDER
    python reproduce/nsls_tables.py --matrices FOLDER --only tables    # without the seconds, which are kept
    python reproduce/nsls_tables.py --only times                       # on an idle machine; the rest is kept
    python reproduce/nsls_tables.py --quick --weights nsls-plus-algebraic=runs/p/nsls-plus-algebraic.safetensors

Writes docs/nsls_tables.{json,md,png}, with --quick docs/nsls_tables_quick.*
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("NNLA_NUM_THREADS", "1")

import nsls_yardsticks as yard
import numpy as np
from nsls_tables_page import RTOLS, figure, markdown, verdict
from scipy.sparse import csr_array

import nnla
from nnla.errors import WeightsError
from nnla.models.nsls_coarse import partition
from nnla.models.nsls_plus import NSLSPlus, NSLSPlusConfig, equilibrate
from nnla.operators.operator import as_operator
from nnla.preconditioners.scalings import bind_scaling
from nnla.problems import read_matrix

DOCS = Path(__file__).resolve().parents[1] / "docs"
MODELS = ("nsls-frames", "nsls-plus-algebraic", "nsls-plus-geometric")
SYNTHETIC = "nsls-frames-synthetic"
LARGEST = 40_000


# -- measuring ------------------------------------------------------------------------------------


def iterations(system: yard.System, models: dict[str, Any], guesses: dict[str, Any]) -> tuple[list[dict], dict]:
    """Rows of Table 4 for one system, and the errors of some runs step by step."""
    op, rows, curves = as_operator(system.A), [], {}
    inverse, factor = 1.0 / system.A.diagonal(), bind_scaling(op, "ic")
    bases: dict[str, Any] = {"none": None, "jacobi": lambda r: inverse * r, "ic": factor.solve}

    def add(method, base, *, M=None, y=None, space=None, charged=0, shown=False):
        counts, errors = yard.pcg(system, bases.get(base, M), y, space)
        row = {"group": system.group, "system": system.name, "n": system.n, "method": method, "base": base}
        row |= {"vectors": space.rank if space else 0, "entries": space.W.nnz / system.n if space else 0}
        rows.append(row | {"charged": charged, "counts": counts})
        if shown and base == "jacobi":
            curves[method] = [float(f"{e:.3e}") for e in errors]

    add("zero", "ic")
    for base in ("none", "jacobi"):
        add("zero", base, shown=True)
        for name, guess in guesses.items():
            add(f"{name}, start", base, y=guess.x, charged=models[name].config.steps, shown=True)
    deflating = {name: guess for name, guess in guesses.items() if guess.space is not None}
    for name, guess in deflating.items():
        for base in ("jacobi", "ic"):
            steps = models[name].config.steps
            add(f"{name}, deflated", base, y=guess.x, space=guess.space, charged=steps, shown=True)
    config = next((m.config for m in models.values() if isinstance(m, NSLSPlus)), NSLSPlusConfig(outputs=8, part=125))
    part = partition(equilibrate(system.A).A, config.part or yard.PART)
    spaces = {"random vectors of parts, smoothed": yard.random_space(system, part, config.outputs, config.smoothing)}
    if system.geometry is not None:
        spaces["rigid motions of storeys"] = yard.rigid_space(system, yard.storeys(system.geometry))
        spaces["rigid motions of parts"] = yard.rigid_space(system, part)
        spaces["rigid motions of parts, smoothed"] = yard.rigid_space(system, part, "first", config.smoothing)
        spaces["rigid motions of parts, cut before smoothing"] = yard.rigid_space(
            system, part, "last", config.smoothing
        )
    most = max((guess.space.rank for guess in deflating.values()), default=0)
    for k, space in yard.oracle_spaces(system, sorted({8, 24, most} - {0})).items():
        spaces["oracle: as many eigenvectors as the network has" if k == most else f"oracle: {k} eigenvectors"] = space
    for label, space in spaces.items():
        add(label, "jacobi", space=space, shown=label.startswith("rigid"))
    for label, geometry in (("zero", None), ("zero, told the rigid motions", system.geometry)):
        cycle = yard.pyamg_cycle(system, geometry)
        if cycle is not None and (label == "zero" or geometry is not None):
            add(label, "PyAMG", M=cycle)
    return rows, curves


def tables(models: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Rows of Tables 1 and 4 and of the products."""
    out: dict[str, Any] = {"accuracy": [], "iterations": [], "curves": {}, "products": []}
    usual = {name: model for name, model in models.items() if name != SYNTHETIC}
    systems = [*yard.generated("mini", args.count), *yard.generated("small", args.count)]
    systems += yard.real(args.matrices, args.limit)
    for system in systems:
        guesses = {name: yard.guess_for(model, system.A, system.b, system.geometry) for name, model in usual.items()}
        guesses = {name: guess for name, guess in guesses.items() if guess is not None}
        for name, x in yard.classical_guesses(system).items():
            out["accuracy"].append(yard.accuracy(system, name, x))
        for name, guess in guesses.items():
            out["accuracy"].append(yard.accuracy(system, name, guess.x, usual[name], guess))
        if system.group != "mini":
            rows, curves = iterations(system, usual, guesses)
            out["iterations"] += rows
            if not out["curves"]:
                out["curves"] = {"system": system.name, "n": system.n, "errors": curves}
        deltas = {row["model"]: round(row["delta"], 3) for row in out["accuracy"] if row["system"] == system.name}
        print(system.name, system.n, deltas, flush=True)
    other = [*yard.generated("mini", args.count, variant="synthetic")]
    other += [*yard.generated("small", args.count, variant="synthetic")]
    for system in [*other, *yard.real(args.matrices, args.limit, variant="synthetic")]:
        for name, x in yard.classical_guesses(system).items():
            out["accuracy"].append(yard.accuracy(system, name, x))
        if SYNTHETIC in models:
            guess = yard.guess_for(models[SYNTHETIC], system.A, system.b, None)
            out["accuracy"].append(yard.accuracy(system, SYNTHETIC, guess.x, models[SYNTHETIC], guess))
    for name, A, b in matrices(systems, args):
        rows = yard.products(name, A, b, usual)
        out["products"] += rows
        print(name, *([r["model"], r["used"], r["without"], r["with"]] for r in rows), flush=True)
    return out


def matrices(systems: list[yard.System], args: argparse.Namespace):
    """name, A, b: some generated frames, and the matrices of the folder, with a Gaussian b where it has none."""
    for size in ("mini", "small"):
        for system in [one for one in systems if one.group == size][:4]:
            yield system.name, system.A, system.b
    real = {one.name: one for one in systems if one.group == "real"}
    yield from ((name, one.A, one.b) for name, one in real.items())
    for path in sorted(args.matrices.glob("*.mtx.gz")) if args.matrices else []:
        name = path.name.removesuffix(".mtx.gz")
        if name.startswith("stand_"):
            continue
        A = csr_array(read_matrix(path))
        if A.shape[0] <= args.largest and A.dtype.kind == "f" and min(A.diagonal()) > 0:
            yield name, A, np.random.default_rng(0).standard_normal(A.shape[0])


def times(models: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Rows of Table 3."""
    out: dict[str, Any] = {"times": [], "network": [], "to_error": []}
    usual = {name: model for name, model in models.items() if name != SYNTHETIC}
    for size in args.sizes:
        for system in yard.generated(size, args.time_systems):
            for name, model in usual.items():
                row = yard.network_seconds(system, name, model, max(args.repeats, 3))
                out["network"] += [row] if row else []
            if size == "small" and "nsls-frames" in usual:
                guess = yard.guess_for(usual["nsls-frames"], system.A, system.b, None)
                error = yard.relative_errors(system.A, system.x, guess.x)["delta"]
                out["to_error"] += yard.to_error(system, error, args.repeats)
            out["times"] += yard.timings(system, usual, RTOLS, args.repeats, 10)
            print("times", system.name, system.n, flush=True)
    return out


# -- main -----------------------------------------------------------------------------------------


def command_line(given: list[str]) -> str:
    """The command without anybody's folders."""
    words = ["python reproduce/nsls_tables.py"]
    for before, word in zip(["", *given], given, strict=False):
        if before == "--out" or word == "--out":
            continue
        words.append({"--matrices": "FOLDER", "--weights": f"{word.split('=')[0]}=PATH"}.get(before, word))
    return " ".join(words)


def load_models(given: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Shipped models, those given in their place, and what their cards say."""
    models, facts = {}, {}
    for name in dict.fromkeys([*MODELS, *given]):
        try:
            model = nnla.load(given.get(name, name))
        except WeightsError as error:
            if name in given:
                raise
            print(f"{name} left out: {error}")
            continue
        recipe, seconds = model.card.get("recipe", {}), model.card.get("seconds", {})
        structures = recipe.get("data", {}).get("structures")
        facts[name] = f"{'given' if name in given else 'shipped'}, {sum(v.size for v in model.parameters.values())} "
        facts[name] += f"numbers, {recipe.get('optim', {}).get('steps')} steps on {structures} generated structures, "
        facts[name] += f"{seconds.get('train')} s of training on {model.card.get('hardware')}, {model.card.get('date')}"
        models[name] = model
    return models, facts


def dumped(data: dict[str, Any]) -> str:
    """JSON with a line for each row."""
    parts = []
    for key, value in data.items():
        rows = ",\n".join(map(json.dumps, value)) if isinstance(value, list) else None
        parts.append(f'"{key}": ' + (json.dumps(value) if rows is None else f"[\n{rows}\n]"))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def restored(value: Any) -> Any:
    """What `finite` wrote."""
    if isinstance(value, dict):
        return {k: restored(v) for k, v in value.items()}
    if isinstance(value, list):
        return [restored(v) for v in value]
    return math.inf if value == "inf" else value


def finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return "inf" if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--matrices", type=Path, help="folder with stand_*.mtx.gz, _b, _x, and other SPD matrices")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=PATH", help="in place of shipped ones")
    parser.add_argument("--only", choices=("tables", "times"), help="measure this and keep the rest of the JSON")
    parser.add_argument("--quick", action="store_true", help="a few systems, two minutes")
    parser.add_argument("--count", type=int, help="generated structures of each size (48)")
    parser.add_argument("--limit", type=int, help="real systems at most (all)")
    parser.add_argument("--time-systems", type=int, help="systems of each size for the seconds (2)")
    parser.add_argument("--sizes", nargs="+", help="for the seconds (mini small medium)")
    parser.add_argument("--repeats", type=int, help="of the seconds (5)")
    parser.add_argument("--largest", type=int, help=f"n of the matrices for products ({LARGEST})")
    parser.add_argument("--out", type=Path, default=DOCS)
    args = parser.parse_args()
    usual = {"count": 48, "limit": None, "time_systems": 2, "sizes": ["mini", "small", "medium"], "repeats": 5}
    quick = {"count": 3, "limit": 2, "time_systems": 1, "sizes": ["mini", "small"], "repeats": 1, "largest": 2000}
    for key, value in (quick if args.quick else usual | {"largest": LARGEST}).items():
        if getattr(args, key) is None:
            setattr(args, key, value)
    models, facts = load_models(dict(item.split("=", 1) for item in args.weights))
    stem = args.out / ("nsls_tables_quick" if args.quick else "nsls_tables")
    kept = stem.with_suffix(".json")
    data = restored(json.loads(kept.read_text())) if args.only and kept.exists() else {"meta": {}}
    data["stem"] = stem.name
    meta: dict[str, Any] = {"command": command_line(sys.argv[1:])}
    meta |= {"date": time.strftime("%Y-%m-%d"), "models": facts}
    meta["hardware"] = f"{platform.machine()}, one thread of {os.cpu_count()} CPUs"
    for section, measure in (("tables", tables), ("times", times)):
        if args.only in (None, section):
            data |= measure(models, args)
            counts = (
                f"{args.count} structures of each size" if section == "tables" else f"{args.time_systems} of each size"
            )
            data["meta"][section] = meta | {"systems": counts}
            kept.write_text(dumped(finite(data)))
    stem.with_suffix(".md").write_text(markdown(data))
    if data.get("curves"):
        figure(data, stem.with_suffix(".png"))
    print("\n".join(verdict(data)))


if __name__ == "__main__":
    main()
