"""Ablations of NSLS and of NSLS-plus: one short training a row, of equal steps, seed and data, one part changed.

Part 1: the paper's Table 2 (recipe nsls-frames, d = 32) with its augmentations, the authors' sign of Jacobi, and the
synthetic variant of Table 1. Part 2: the parts of NSLS-plus, each taken away alone from the recipe
nsls-plus-geometric, with rows that have no trained weights, or no network at all, for what linear algebra gives.

Held-out structures judge: delta = |x - xhat| / |x| and the relative A-norm error. So do, with --matrices, the StAnD
systems of a folder (stand_??.mtx.gz with _b and _x), by the iterations of Jacobi-CG to four relative errors that a
guess saves, its own steps charged; of NSLS-plus also with its subspace deflated.

    python reproduce/nsls_ablation.py --matrices FOLDER      # 50 minutes of one core
    python reproduce/nsls_ablation.py --quick --matrices FOLDER --only "CG" --out /tmp

Rows that are there with the same options are kept, so it can be run in pieces. Writes docs/nsls_ablation.{json,md,png}.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.sparse import csr_array

from nnla.errors import NNLAError
from nnla.evaluation.guesses import TARGETS, error_iterations
from nnla.models.nsls import NSLS, NSLSConfig, initial_parameters
from nnla.models.nsls_plus import NSLSPlus, NSLSPlusConfig
from nnla.preconditioners.deflation import DeflationSpace
from nnla.preconditioners.krylov_basis import conjugate_gradients
from nnla.problems import read_matrix, read_vector
from nnla.problems.frame_recovery import recover_frame
from nnla.problems.frame_sets import Structure, make_structures, relative_errors, summary
from nnla.problems.geometry import Geometry
from nnla.training.config import load_recipe
from nnla.training.loop import train

DOCS = Path(__file__).resolve().parents[1] / "docs"
SIZES = ("mini", "small")  # n ~ 280 and n ~ 2060
RECIPES = {1: "nsls-frames", 2: "nsls-plus-geometric"}


@dataclass(frozen=True)
class Row:
    """One line of a table: what it is called, what it changes, and where its weights come from."""

    part: int
    name: str
    changes: tuple[str, ...] = ()
    paper: float | None = None  # delta in %
    weights: str = "trained"  # or "initial"; "none" for no network
    seed: int = 0


_ALGEBRAIC = ("model.geometry=false", "model.rigid=false")
PLAN = [
    Row(1, "L_cos + L_res, CG", paper=18.28),
    Row(1, "L_cos, no augmentation", ("model.augmentation=none", "optim.residual=0.0"), 33.93),
    Row(1, "L_cos + L_res, no augmentation", ("model.augmentation=none",), 21.66),
    Row(1, "L_cos + L_res, Arnoldi", ("model.augmentation=arnoldi",), 19.86),
    Row(1, "L_cos + L_res, Jacobi", ("model.augmentation=jacobi",), 19.22),
    Row(1, "the same, authors' sign", ("model.augmentation=jacobi", "model.jacobi_sign=authors"), 19.22),
    Row(1, "L_cos + L_res, CG + Arnoldi", ("model.augmentation=cg+arnoldi",), 19.04),
    Row(1, "L_cos + L_res, CG + Jacobi", ("model.augmentation=cg+jacobi",), 18.12),
    Row(1, "L_cos + L_res, CG, another seed", paper=18.28, seed=1),
    Row(1, "no network: 14 steps of CG", weights="none"),
    Row(1, "synthetic x, L_cos + L_res, CG", ("data.variant=synthetic",), 3.40),
    Row(1, "synthetic x, no network: 14 steps of CG", ("data.variant=synthetic",), weights="none"),
    Row(2, "everything"),
    Row(2, "no geometry (and no rigid motions)", _ALGEBRAIC),
    Row(2, "no rigid motions", ("model.rigid=false",)),
    Row(2, "no equilibration", ("model.equilibrated=false",)),
    Row(2, "no coarse levels", ("model.coarse=0",)),
    Row(2, "one coarse level", ("model.coarse=1",)),
    Row(2, "no smoothing", ("model.smoothing=0",)),
    Row(2, "no cuts", ("model.part=0",)),
    Row(2, "no cuts, 16 outputs", ("model.part=0", "model.outputs=16")),
    Row(2, "no overlap of the parts", ("model.overlap=0",)),
    Row(2, "no Krylov space in the search", ("model.search=outputs",)),
    Row(2, "no trace loss", ("optim.trace=0.0",)),
    Row(2, "no energy loss", ("optim.energy=0.0",)),
    Row(2, "4 outputs", ("model.outputs=4",)),
    Row(2, "trained on mini alone", ("data.sizes.mini=1.0", "data.sizes.small=0.0")),
    Row(2, "7 steps of CG", ("model.steps=7",)),
    Row(2, "everything, another seed", seed=1),
    Row(2, "untrained", weights="initial"),
    Row(2, "untrained, no geometry", _ALGEBRAIC, weights="initial"),
    Row(2, "no network: smoothed rigid motions", ("model.outputs=6",), weights="none"),
    Row(2, "no network: 14 steps of CG", _ALGEBRAIC, weights="none"),
]


def without_training(recipe: dict[str, Any], row: Row) -> Any:
    """A model with the weights that training begins with, or with no network but what is around it."""
    if row.part == 1:
        c = NSLSConfig(**recipe["model"])
        steps = partial(conjugate_gradients, steps=c.steps)
        return SimpleNamespace(config=c, guess=lambda A, b: steps(A, b, np.array([0, b.size])).iterates[:, -1])
    config = NSLSPlusConfig(**recipe["model"])
    parameters = {key: np.zeros(shape) for key, shape in config.shapes().items()}
    if row.weights == "initial":  # the same as the training task's
        parameters = initial_parameters(config.shapes(), np.random.default_rng([recipe["seed"], 3]))
    elif config.rigid:
        parameters["rigid_weight"] = np.eye(6)
    return NSLSPlus(config, parameters, {})


def trained(recipe: dict[str, Any], row: Row, folder: Path) -> tuple[Any, dict[str, float]]:
    """The model of a row, and the CPU seconds that its data and its training took."""
    if row.weights != "trained":
        return without_training(recipe, row), {}
    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted run
    started = time.process_time()
    path = train(recipe, folder)
    return (NSLS if row.part == 1 else NSLSPlus).from_file(path), {"cpu": time.process_time() - started}


def propose(model: Any, A: Any, b: np.ndarray, geometry: Geometry) -> Any:
    """What the model has to say: the vector x and, of NSLS-plus, the subspace W with A W."""
    if not isinstance(model, NSLSPlus):
        return SimpleNamespace(x=model.guess(A, b), W=None)
    return model.propose(A, b, geometry if model.config.geometry else None)


def judge(model: Any, held: dict[str, list[Structure]]) -> dict[str, Any]:
    """Errors on held-out structures, a load case each, and CPU milliseconds of a guess."""
    out: dict[str, Any] = {}
    for size, structures in held.items():
        rows, seconds = [], []
        for k, one in enumerate(structures):
            case = k % one.b.shape[1]
            started = time.process_time()
            x = propose(model, one.A, one.b[:, case], one.geometry).x
            seconds.append(time.process_time() - started)
            rows.append(relative_errors(one.A, one.x[:, case], x))
        out[size] = {"n": statistics.mean(one.b.shape[0] for one in structures), "ms": 1e3 * statistics.median(seconds)}
        out[size] |= {key: summary([row[key] for row in rows]) for key in ("delta", "energy", "residual")}
    return out


def read_systems(folder: Path) -> list[dict[str, Any]]:
    """The StAnD systems of a folder, the geometry read off the matrix, and the iterations from zero."""
    out = []
    for path in sorted(folder.glob("stand_??.mtx.gz")):
        stem = path.name.removesuffix(".mtx.gz")
        A = csr_array(read_matrix(path), dtype=np.float64)
        b, x = (read_vector(path.with_name(f"{stem}_{key}.mtx.gz")) for key in "bx")
        frame, zero = recover_frame(A), error_iterations(A, b, x)
        out.append({"A": A, "b": b, "x": x, "geometry": Geometry(frame.dof, frame.coordinates), "zero": zero})
    return out


def savings(model: Any, systems: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of the iterations from zero that the guess saves, ratios of means over the systems."""
    warm, deflated, delta, vectors = [], [], [], []
    for s in systems:
        A, b, x = s["A"], s["b"], s["x"]
        proposal = propose(model, A, b, s["geometry"])
        delta.append(relative_errors(A, x, proposal.x)["delta"])
        warm.append(error_iterations(A, b, x, x0=proposal.x))
        if proposal.W is not None:
            space = DeflationSpace(A, proposal.W, proposal.AW)
            vectors.append(space.rank)
            deflated.append(error_iterations(A, b, x, x0=proposal.x, space=space))
    names = getattr(model.config, "augmentation", "cg")
    charge = 0 if names == "none" else model.config.steps * len(names.split("+"))
    zero = np.mean([s["zero"] for s in systems], axis=0)
    out = {"systems": len(systems), "charged": charge, "zero": zero.tolist(), "delta": summary(delta)}
    saved = {"warm": warm, "deflated": deflated}
    out |= {key: (1 - (np.mean(v, axis=0) + charge) / zero).tolist() for key, v in saved.items() if v}
    return out | ({"vectors": statistics.mean(vectors)} if vectors else {})


def pieces(rows: dict[str, dict], plan: list[tuple[Row, str, dict]], args: argparse.Namespace) -> Iterator:
    """Work off the plan; yields each row that was added or completed."""
    # both parts by turns, so that an interrupted run has some of each
    turns = itertools.zip_longest(*([entry for entry in plan if entry[0].part == part] for part in RECIPES))
    systems = read_systems(args.matrices) if args.matrices else []
    held: dict[str, dict[str, list[Structure]]] = {}
    for row, key, recipe in filter(None, itertools.chain.from_iterable(turns)):
        real = bool(systems) and recipe["data"]["variant"] == "loads"
        if key in rows and ("real" in rows[key] or "failed" in rows[key] or not real):
            continue
        data = {key: recipe["data"][key] for key in ("styles", "variant")}
        if (which := json.dumps(data)) not in held:  # the same for every seed
            held[which] = {s: make_structures("validation", args.held, seed=0, sizes={s: 1.0}, **data) for s in SIZES}
        result: dict[str, Any] = {"date": time.strftime("%Y-%m-%d")}
        try:
            model, cost = trained(recipe, row, args.runs / f"{row.part}-{PLAN.index(row):02}")
            result |= cost | judge(model, held[which]) | ({"real": savings(model, systems)} if real else {})
        except (NNLAError, RuntimeError, np.linalg.LinAlgError) as error:  # a training that diverges is a result
            result["failed"] = f"{type(error).__name__}: {error}"
        rows[key] = result
        yield row, result


def entry(row: Row, args: argparse.Namespace) -> tuple[Row, str, dict]:
    """The row, its key in the JSON, and its recipe."""
    steps, name = args.steps[row.part - 1], RECIPES[row.part]
    changes = [f"optim.steps={steps}", f"optim.checkpoint_every={steps}", f"optim.log_every={max(1, steps // 10)}"]
    changes += [f"data.structures={args.structures}", "data.held_out=1", f"seed={row.seed}", *row.changes]
    recipe = load_recipe(name, changes)
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]  # the recipe may change
    return row, " ".join([name, *changes, row.weights, f"held={args.held}", digest]), recipe


_HEAD = "δ, mini | δ, small | small / ref | energy | CPU s | ms a guess | δ, real | saved, warm | "
_HEADS = {1: f"training | paper's δ | paper's / ref | {_HEAD}charged"}
_HEADS[2] = f"training | {_HEAD}saved, deflated | vectors | charged"
_PAGE = """# Ablations of NSLS and NSLS-plus

`{command}`, {date}, {hardware}, {rows}.
Networks in float32, everything else in float64. CPU times are of cores that were shared; "CPU s": data and training.

These are **short trainings**: rows compare with each other, not with the paper's 315,000 steps on 100,000 systems
(GTX 1080 Ti), nor with the weights that ship with nnla. One seed; the rows with another seed (other training data,
other initial weights, the same structures to judge) say how much of a difference is chance.

δ = |x - x̂| / |x|, mean / median in %, on {held} held-out structures of each size; energy: mean relative A-norm error
in %, mini / small; "/ ref": mean δ over that of the reference row. Real systems: share of the iterations of Jacobi-CG
to a relative error of 1e-2 / 1e-3 / 1e-4 / 1e-5 that the guess saves against a zero start, in %, ratios of means over
the systems. Charged are the products of the features' own steps, not the set-up of a deflation space (outputs + 2
products with A, and the network), nor the higher price of a deflated step. Geometry of real systems is read off the
matrix (`nnla.problems.frame_recovery`)."""


def markdown(rows: dict[str, dict], plan: list[tuple[Row, str, dict]], meta: dict) -> str:
    text = [_PAGE.format(**meta)]
    for part, title in ((1, "the paper's Table 2, and Table 1's synthetic set"), (2, "NSLS-plus, part by part")):
        (first, key, recipe), *_ = own = [item for item in plan if item[0].part == part]
        reference, data, optim = rows.get(key, {}), recipe["data"], recipe["optim"]
        if "small" not in reference:
            continue
        text += ["", f"## Part {part}: {title}", "", f"Recipe `{RECIPES[part]}`: {optim['steps']} steps of"]
        text += [f"{optim['batch']} systems from {data['structures']} structures, sizes {data['sizes']}, styles"]
        text += [f"{data['styles']}. Reference: {first.name}. Mean n held out:"]
        text[-1] += ",".join(f" {reference[s]['n']:.0f} ({s})" for s in SIZES) + "."
        if "real" in reference:
            zero = " / ".join(f"{v:.0f}" for v in reference["real"]["zero"])
            text += [f"{reference['real']['systems']} real systems: Jacobi-CG from zero takes {zero} iterations."]
        text += ["", f"| {_HEADS[part]} |", "|" + "---|" * (_HEADS[part].count("|") + 1)]
        text += ["| " + " | ".join(_cells(row, rows[key], reference)) + " |" for row, key, _ in own if key in rows]
    return "\n".join([*text, ""])


def _percent(values: Iterable[float], digits: int = 0) -> str:
    return " / ".join(f"{100 * v:.{digits}f}" for v in values)


def _cells(row: Row, r: dict, reference: dict) -> list[str]:
    alone, cells = "synthetic" in row.name, [row.name]
    if row.part == 1:
        cells += [f"{row.paper:.2f}", "" if alone else f"{row.paper / 18.28:.2f}"] if row.paper else ["", ""]
    if "failed" in r:
        return [*cells, r["failed"].replace("|", "/")]
    cells += [_percent((r[size]["delta"]["mean"], r[size]["delta"]["median"]), 1) for size in SIZES]
    cells.append("" if alone else f"{r['small']['delta']['mean'] / reference['small']['delta']['mean']:.2f}")
    cells.append(_percent((r[size]["energy"]["mean"] for size in SIZES), 1))
    cells += [f"{r['cpu']:.0f}" if "cpu" in r else "", " / ".join(f"{r[size]['ms']:.0f}" for size in SIZES)]
    if real := r.get("real"):
        cells += [_percent((real["delta"]["mean"], real["delta"]["median"]), 1), _percent(real["warm"])]
        cells += [_percent(real["deflated"]), f"{real['vectors']:.0f}"] if row.part == 2 else []
        cells.append(str(real["charged"]))
    return cells


def figure(rows: dict[str, dict], plan: list[tuple[Row, str, dict]], path: Path) -> None:
    """Bars: mean delta by row and size, the paper's delta as marks, and the iterations that deflation saves."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(17, 8), layout="constrained")
    panels = fig.subplots(1, 3, width_ratios=(1.2, 1.2, 0.8))
    deltas = {s: (c, lambda r, s=s: r[s]["delta"]["mean"]) for s, c in zip(SIZES, ("#56B4E9", "#0072B2"), strict=True)}
    saved = {
        f"to {TARGETS[k]:g}": (c, lambda r, k=k: r["real"]["deflated"][k] if "real" in r else math.nan)
        for k, c in ((0, "#E69F00"), (-1, "#009E73"))
    }
    for axes, part, bars in zip(panels, (1, 2, 2), (deltas, deltas, saved), strict=True):
        own = [(row, rows[key]) for row, key, _ in plan if row.part == part and "small" in rows.get(key, ())]
        for offset, (label, (colour, value)) in zip((-0.2, 0.2), bars.items(), strict=True):
            places, values = np.arange(len(own)) + offset, [100 * value(r) for _, r in own]
            axes.bar_label(axes.barh(places, values, 0.4, color=colour, label=label), fmt="%.1f", fontsize=6, padding=2)
        paper = [(row.paper, k) for k, (row, _) in enumerate(own) if row.paper]
        if paper:
            axes.plot(*zip(*paper, strict=True), "D", color="#D55E00", label="paper, 315,000 steps")
        axes.set_yticks(range(len(own)), [row.name for row, _ in own], fontsize=8)
        axes.set(xlabel="mean δ on held-out structures, %", title=f"part {part}: {RECIPES[part]}")
        axes.margins(x=0.1)
        axes.invert_yaxis()
        axes.legend(fontsize=8)
    panels[2].set(xlabel="iterations saved, %", title="part 2: deflated, real systems", xlim=(-10, 100))
    fig.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--matrices", type=Path, help="folder of StAnD systems")
    parser.add_argument("--only", default="", help="rows whose name has this text")
    parser.add_argument("--steps", type=int, nargs=2, default=[1500, 400], help="of parts 1 and 2")
    parser.add_argument("--structures", type=int, default=600, help="for training")
    parser.add_argument("--held", type=int, default=48, help="held-out structures of each size")
    parser.add_argument("--quick", action="store_true", help="20 steps: shows that it runs, and nothing else")
    parser.add_argument(
        "--runs", type=Path, default=Path(tempfile.gettempdir()) / "nsls_ablation", help="for trainings"
    )
    parser.add_argument("--out", type=Path, default=DOCS)
    args = parser.parse_args()
    if args.quick:
        args.steps, args.structures, args.held = [20, 20], 24, 4
    file = args.out / ("nsls_ablation_quick.json" if args.quick else "nsls_ablation.json")
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else {}
    plan = [entry(row, args) for row in PLAN]
    command = "python reproduce/nsls_ablation.py" + (" --quick" if args.quick else " --steps {} {}".format(*args.steps))
    meta = {"command": command + " --matrices FOLDER" * bool(args.matrices), "held": args.held}
    meta["hardware"] = f"{platform.machine()}, {os.cpu_count()} cores, one thread"

    def write() -> None:
        meta.update(
            date=time.strftime("%Y-%m-%d"), rows=f"{sum(k in rows for _, k, _ in plan)} of {len(plan)} rows done"
        )
        new = file.with_suffix(".json.new")
        new.write_text(json.dumps({"meta": meta, "rows": rows}, indent=1), encoding="utf-8")
        new.replace(file)
        file.with_suffix(".md").write_text(markdown(rows, plan, meta), encoding="utf-8")
        figure(rows, plan, file.with_suffix(".png"))

    for row, result in pieces(rows, [item for item in plan if args.only in item[0].name], args):
        print(row.part, row.name, json.dumps(result), flush=True)
        write()
    write()


if __name__ == "__main__":
    main()
