"""How large, how long and how strongly held back the networks of `auto-costs` should be: by kinds that were held out.

    python reproduce/auto_sizes.py DATA --out FILE.json [--processes 2] [--minutes 30] [--only PATTERN]

DATA is what reproduce/auto_data.py wrote. Every row of `VARIANTS` is trained as `nnla train auto-costs --set ...`
would, in a process of its own, and judged as its card says: each system by networks that saw none of its kind. Beside
them stand what is simpler (the linear part alone; log n and log nnz alone; the nearest systems by n and nnz), and
boosted trees where scikit-learn is there. Written as soon as each is known; what is not within the time is left out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

VARIANTS: dict[str, list[str]] = {
    "shipped": [],
    "linear part": ["optim.steps=1", "optim.lr=1e-9"],
    "linear part, ridge .03": ["optim.steps=1", "optim.lr=1e-9", "model.ridge=0.03"],
    "linear part, ridge .3": ["optim.steps=1", "optim.lr=1e-9", "model.ridge=0.3"],
    "1000 steps": ["optim.steps=1000"],
    "4000 steps": ["optim.steps=4000"],
    "decay .01": ["optim.weight_decay=0.01"],
    "decay .01, 1000 steps": ["optim.weight_decay=0.01", "optim.steps=1000"],
    "decay .01, 64 wide": ["optim.weight_decay=0.01", "model.hidden=64"],
    "decay .3": ["optim.weight_decay=0.3"],
    "decay 3": ["optim.weight_decay=3.0"],
    "decay 10": ["optim.weight_decay=10.0"],
    "rate .001": ["optim.lr=0.001"],
    "rate .01": ["optim.lr=0.01"],
    "16 wide": ["model.hidden=16"],
    "64 wide": ["model.hidden=64"],
    "8 members": ["model.members=8"],
    "ridge .03": ["model.ridge=0.03"],
    "ridge .3": ["model.ridge=0.3"],
    "seed 1": ["seed=1"],
    "seed 2": ["seed=2"],
}
BASELINES = ("log n and log nnz", "nearest by n and nnz", "boosted trees")


def trained(job: tuple[str, str]) -> tuple[str, dict[str, Any]]:
    """Figures of a variant."""
    import torch

    from nnla.training.config import load_recipe
    from nnla.training.loop import train

    torch.set_num_threads(1)
    name, data = job
    started = time.process_time()
    if name in BASELINES:
        figures = baseline(name, data)
    else:
        overrides = [f"data.path={data}", "optim.checkpoint_every=100000", *VARIANTS[name]]
        with tempfile.TemporaryDirectory() as folder:
            path = train(load_recipe("auto-costs", overrides), Path(folder) / "run")
            from nnla.registry import load

            figures = load(path).card["held_out"]
    return name, {"cpu_seconds": round(time.process_time() - started, 1), "figures": figures}


def baseline(name: str, data: str) -> dict[str, float]:
    """Errors of something simpler, or of boosted trees, in the same folds; figures as of a card."""
    from nnla.models.solver_costs import TARGETS, network_inputs, tolerance_input, with_products
    from nnla.training.config import load_recipe
    from nnla.training.solver_cost_data import RTOLS, fold_numbers, read_runs

    runs = read_runs(data)
    fold = fold_numbers(runs.kind, load_recipe("auto-costs")["data"]["folds"])
    x = network_inputs(runs.structure, None, 1e-8)[:, :-1]
    z = (x - np.nanmean(x, axis=0)) / (np.nanstd(x, axis=0) + 1e-3)
    z = with_products(np.where(np.isfinite(z), np.clip(z, -4, 4), 0.0))
    sizes = np.log(runs.sizes.astype(float))
    errors: dict[str, float] = {}
    for t, target in enumerate(TARGETS):
        squares: list[np.ndarray] = []
        for held in range(fold.max() + 1):
            own, other = (np.nonzero(fold != held)[0], np.nonzero(fold == held)[0])
            parts = []
            for index in (own, other):
                system, level = (p.ravel() for p in np.meshgrid(index, np.arange(len(RTOLS)), indexing="ij"))
                known = np.isfinite(runs.labels[system, level, t])
                system, level = system[known], level[known]
                r = tolerance_input(np.array(RTOLS))[level][:, None]
                features = z if name == "boosted trees" else sizes
                given = np.hstack([features[system], r])
                parts.append((given, runs.labels[system, level, t], runs.capped[system, level, t]))
            (a, y, _), (b, true, capped) = parts
            if len(y) < 20 or not len(true):
                continue
            error = _fitted(name, a, y, b) - true
            squares.append(np.where(capped & (error > 0), 0.0, error) ** 2)
        if squares:
            errors[f"graph.{target}"] = round(float(np.sqrt(np.concatenate(squares).mean())), 4)
    return {"graph.error": round(float(np.mean(list(errors.values()))), 4), **errors}


def _fitted(name: str, a: np.ndarray, y: np.ndarray, b: np.ndarray) -> np.ndarray:
    if name == "log n and log nnz":
        one, two = (np.column_stack([v, np.ones(len(v))]) for v in (a, b))
        return two @ np.linalg.lstsq(one, y, rcond=None)[0]
    if name == "nearest by n and nnz":
        near = np.concatenate([np.argsort(((a[None] - part[:, None]) ** 2).sum(2), axis=1)[:, :5] for part in
                               np.array_split(b, max(1, len(b) // 64))])  # fmt: skip
        return y[near].mean(axis=1)
    from sklearn.ensemble import HistGradientBoostingRegressor

    trees = HistGradientBoostingRegressor(max_iter=200, learning_rate=0.08, max_leaf_nodes=12, random_state=0)
    return trees.fit(a, y).predict(b)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", default="", help="regular expression of the variants")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    jobs = [(name, arguments.data) for name in (*VARIANTS, *BASELINES) if re.search(arguments.only, name)]
    found: dict[str, Any] = {}
    end = time.monotonic() + 60 * arguments.minutes
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        waiting = pool.imap_unordered(trained, jobs)
        for _ in jobs:
            try:
                name, row = waiting.next(timeout=max(0.1, end - time.monotonic()))
            except multiprocessing.TimeoutError:
                break
            found[name] = row
            arguments.out.write_text(json.dumps(found, indent=1))
            f = row["figures"]
            shown = "  ".join(f"{key} {f[key]:.3f}" for key in ("graph.error", "graph.likelihood", "values.error",
                              "steps.error", "steps.likelihood", "blind.error") if key in f)  # fmt: skip
            print(f"{name:26s} {row['cpu_seconds']:6.1f} s  {shown}", flush=True)
        pool.terminate()


if __name__ == "__main__":
    main()
