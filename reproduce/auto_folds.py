"""Engines of `auto-costs` that have not seen a kind of systems, for honest replays; with several seeds.

    python reproduce/auto_folds.py DATA --out FOLDER [--seeds 0 1 2] [--set KEY=VALUE ...]

DATA is what reproduce/auto_data.py wrote. FOLDER/seed-S is a run as ``nnla train auto-costs`` makes it: the engine in
auto-costs.safetensors, and in folds/ the engines fold-0.safetensors, ... with folds.json, which says for each family
the number of the one that saw nothing of its kind: what reproduce/auto_replay.py takes as --folds. A run that is there
already is gone on with, or left as it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from nnla.registry import load
from nnla.training.config import load_recipe
from nnla.training.loop import train


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    arguments = parser.parse_args()
    figures = {}
    for seed in arguments.seeds:
        run = arguments.out / f"seed-{seed}"
        recipe = load_recipe("auto-costs", [f"data.path={arguments.data}", f"seed={seed}", *arguments.overrides])
        if not (run / "folds" / "folds.json").exists():
            train(recipe, run, resume=(run / "recipe.json").exists(), progress=_said)
        card = load(run / f"{recipe['name']}.safetensors").card
        figures[seed] = card["held_out"]
        print(f"seed {seed}: {run / 'folds'}  " + "  ".join(f"{k} {v:.3f}" for k, v in card["validation"].items()))
    (arguments.out / "seeds.json").write_text(json.dumps(figures, indent=1))


def _said(stage: str, done: int, total: int, text: str) -> None:
    if done % 500 == 0 or done == total:
        print(f"{stage} {done} of {total}: {text}", flush=True)


if __name__ == "__main__":
    main()
