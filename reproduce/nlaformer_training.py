"""The learned part of the NLAFormer paper: tables 2 and 3, figures 5 and 7 to 9, as far as a CPU gets.

    python reproduce/nlaformer_training.py --runs runs/nlaformer [--seconds 1.0] [--page-only] [--full]

Each training has so many steps as fit in a minute or so of one core; ``--seconds 2`` doubles all. Runs are resumable.
``--full`` trains the recipe ``nlaformer-paper`` instead (700,000 steps: for a GPU), and puts it on the page.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nlaformer_training_page as page
import numpy as np
from algebraformer_runs import Run, clocked

from nnla._files import write_atomic
from nnla.krylov.dense_iterates import TEACHERS, conjugate_gradients, relative_errors
from nnla.models.nlaformer import iterates, unit_systems
from nnla.problems.dense_spd import spd_systems
from nnla.registry import load
from nnla.training.config import load_recipe

SIGMAS = (1.0, 1.2, 1.4)
COUNT = 512  # systems of each sigma, as the paper's; a few hard ones decide their means at late iterations
TEST = 20_261_129  # seed of theirs: no training and no validation draws from it
OWN = ["objective.loss=levels", "model.scaling=jacobi"]

# name: recipe, steps, overrides
RUNS: dict[str, tuple[str, int, list[str]]] = {
    "constructed": ("nlaformer-constructed", 150, []),
    "gated": ("nlaformer-gated", 600, []),
    "steps-cg": ("nlaformer-cg", 400, []),
    "result": ("nlaformer-result", 300, []),
    "joint": ("nlaformer-joint", 300, []),
    "steps-pcg": ("nlaformer-pcg", 300, []),
    "levels": ("nlaformer-cg", 300, OWN),
    "heads": ("nlaformer-cg", 300, [*OWN, "objective.start=difference heads"]),
    "gated-random": ("nlaformer-cg", 300, [*OWN, "model.block=gated"]),
    "levels-adam": ("nlaformer-cg", 300, [*OWN, "optim.method=adam", "optim.lr=1e-3"]),
    "width-32": ("nlaformer-cg", 300, ["model.width=32", "model.heads=1"]),
    "width-128": ("nlaformer-cg", 120, ["model.width=128", "model.heads=4"]),
    "window-5": ("nlaformer-cg", 400, ["objective.window=5"]),
}


def trained(name: str, folder: Path, factor: float) -> Run:
    """A run of `RUNS`, or what is there of it."""
    recipe, steps, overrides = RUNS[name]
    steps = max(6, int(steps * factor))
    every = -(-steps // 6)
    numbers = [f"optim.steps={steps}", f"optim.checkpoint_every={every}", f"optim.log_every={-(-steps // 60)}"]
    return clocked(load_recipe(recipe, [*overrides, *numbers, "data.held_out=256"]), folder / name)


def measured(run: Run) -> dict[str, Any]:
    """Errors of a model at every iteration for every sigma, and what it took."""
    model = load(str(run.path))
    return {
        **intermediate(model),
        **_errors(lambda A, b: np.stack(model.path(A, b), 1)),
        "parameters": sum(v.size for v in model.parameters.values()),
        "multiplications": model.loop_multiplications,
        "steps": run.recipe["optim"]["steps"],
        "batch": run.recipe["optim"]["batch"],
        "cpu_seconds": run.cpu,
        "curve": run.curve,
        "recipe": run.recipe["name"],
    }


def _errors(path: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> dict[str, dict[str, list[float]]]:
    """Means and medians over the test systems of each sigma, of iterates (B, T + 1, n) for A and b."""
    found: dict[str, dict[str, list[float]]] = {"errors": {}, "medians": {}}
    for i, sigma in enumerate(SIGMAS):
        systems = spd_systems(COUNT, 20, sigma=sigma, seed=[TEST, i])
        errors = relative_errors(path(systems.A, systems.b), systems.x)
        found["errors"][f"{sigma:g}"] = errors.mean(0).tolist()
        found["medians"][f"{sigma:g}"] = np.median(errors, axis=0).tolist()
    return found


def intermediate(model: Any) -> dict[str, list[float]]:
    """Mean ||probe - (r_t, d_t)||^2 / n at every iteration, of loops whose second probe learned CG's; else nothing."""
    if "inner_W" not in model.parameters or model.card["recipe"]["objective"]["teacher"] != "cg":
        return {}
    systems, loops, p = spd_systems(COUNT, 20, sigma=1.2, seed=[TEST, 1]), model.loops, model.parameters
    A, b, _, of_b = unit_systems(systems.A, systems.b, model.config.scaling)
    path = conjugate_gradients(systems.A, systems.b, loops)
    found = []
    for t, (z, _) in enumerate(iterates(p, model.config, A.astype(np.float32), b.astype(np.float32), loops)):
        read = (z @ p["inner_W"] + p["inner_b"]) * of_b[..., None]
        found.append(float(((read - np.stack([path.r[:, t], path.d[:, t]], -1)) ** 2).sum((1, 2)).mean() / 20))
    return {"inner": found}


def untrained(name: str) -> dict[str, float]:
    """Validation figures before the first step."""
    import torch

    from nnla.tasks import resolve
    from nnla.training.config import Table

    recipe, _, overrides = RUNS[name]
    table = load_recipe(recipe, [*overrides, "data.held_out=256"])
    task = resolve(table["task"])(Table(table))
    task.prepare(Path(), lambda *row: None)
    with torch.no_grad():
        return task.validate(task.network())


def classical(loops: int = 20) -> dict[str, Any]:
    """CG and Jacobi-PCG on the same systems."""
    return {key: _errors(lambda A, b, key=key: conjugate_gradients(A, b, loops, teacher=key).x) for key in TEACHERS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/nlaformer"), help="folder of the trainings")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the page")
    parser.add_argument("--seconds", type=float, default=1.0, help="factor of all steps")
    parser.add_argument("--page-only", action="store_true", help="the page of the figures that are there")
    parser.add_argument("--full", action="store_true", help="train the paper's size for 700,000 steps as well")
    parser.add_argument("--only", nargs="*", help="these runs, without a page")
    parser.add_argument("--done", action="store_true", help="the page of the trainings that are done")
    args = parser.parse_args()
    file = args.out / "nlaformer_training.json"
    if args.only:
        for name in args.only:
            trained(name, args.runs, args.seconds)
        return
    if not args.page_only:
        names = [name for name in RUNS if not args.done or list((args.runs / name).glob("nlaformer-*.safetensors"))]
        found = {name: measured(trained(name, args.runs, args.seconds)) for name in names}
        if args.full:
            found["full"] = measured(clocked(load_recipe("nlaformer-paper", []), args.runs / "full"))
        figures = {
            "runs": found,
            "start": {name: untrained(name) for name in ("result", "joint", "steps-cg") if name in found},
            "classical": classical(),
            "count": COUNT,
            "hardware": f"{platform.processor() or platform.machine()}, 1 thread",
            "command": f"python reproduce/nlaformer_training.py --seconds {args.seconds:g}{' --done' * args.done}",
        }
        write_atomic(file, (json.dumps(figures, indent=1) + "\n").encode())
    page.write(json.loads(file.read_text(encoding="utf-8")), args.out)


if __name__ == "__main__":
    main()
