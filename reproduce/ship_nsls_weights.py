"""Put trained graph networks for initial guesses into the package: measure them, write registry entry and card.

    nnla train nsls-plus-geometric --out runs/g
    python reproduce/ship_nsls_weights.py runs/g/nsls-plus-geometric.safetensors [--mini 100] [--small 100]

Like ship_weights.py, whose folders it shares; the figures are those of `nnla eval` on frames whose structures no
training seed reaches. The curve of the training goes into docs/models/NAME.png.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

from ship_weights import CARDS, _recipe, _seconds, ship

from nnla.evaluation.guesses import evaluate_guesses
from nnla.registry import load

PURPOSE = {
    "nsls-frames": "guesses the solution of a building frame's linear system: the network of the NSLS paper, its "
    "losses and features, kept for comparison",
    "nsls-plus-algebraic": "proposes a subspace for the solution of a building frame's linear system from the matrix "
    "and the right-hand side alone; the best vector in it starts CG, and the subspace deflates it",
    "nsls-plus-geometric": "proposes a subspace for the solution of a building frame's linear system from the matrix, "
    "the right-hand side, and the type and place of every unknown (which are read off the matrix where they can be); "
    "the best vector in it starts CG, and the subspace deflates it",
}


def measured(path: Path, sizes: dict[str, int]) -> dict[str, Any]:
    """Figures on held-out frames of each size."""
    options = " ".join(f"--{size} {count}" for size, count in sizes.items())
    model = load(str(path))
    return {
        "command": f"python reproduce/ship_nsls_weights.py {path.name} {options}",
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{platform.machine()}, one thread, float64 around a network in float32",
        "frames": {size: evaluate_guesses(model, size=size, count=count) for size, count in sizes.items()},
    }


def card_text(name: str, entry: dict[str, Any], size: int) -> str:
    """The model card, in Markdown."""
    card, m = entry["card"], entry["card"]["measured"]
    envelope, config = card["envelope"], card["recipe"]["model"]
    lines = [
        f"# {name}",
        "",
        f"**What it does**: {PURPOSE[name]}.",
        "",
        f"**File**: `{entry['file']}`, {size / 1024:.0f} KiB, sha256 `{entry['sha256']}`.",
        "",
        f"**Training**: `nnla train {name}`, seed {card['seed']}; {_seconds(card)} on {card['hardware']},",
        f"{card['date']}, {', '.join(f'{k} {v}' for k, v in card['versions'].items())}; "
        f"{card['recipe']['optim']['steps']:,} steps of",
        f"{card['recipe']['optim']['batch']} systems from {card['recipe']['data']['structures']:,} generated frames "
        "(`nnla.problems.frame`); no matrix of anyone's was used.",
        "Training, validation and test differ in their structures, not only in loads.",
        "",
        f"![training]({name}.png)",
        "",
        f"**Seen in training**: {envelope['family']} ({envelope['styles']}), n = {envelope['n'][0]} to "
        f"{envelope['n'][1]}. A matrix outside of these",
        "ranges (by a tenth of their widths) gets the guess zero, and the report says so:",
        "",
        "| fact of the matrix (`nnla.guesses.fingerprints`) | range |",
        "|---|---|",
        *(f"| {k} | {v[0]:.4g} to {v[1]:.4g} |" for k, v in card["matrices"].items()),
        "",
        f"**Measured** by `{m['command']}`, {m['date']}, {m['hardware']}.",
        "",
        "| frames | n | error of x: mean | median | 90th percentile | as in StAnD: mean | irregular: mean | "
        "in the A-norm: mean | residual: mean |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, v in m["frames"].items():
        d, e, r = v["delta"], v["energy"], v["residual"]
        lines.append(
            f"| {v['count']} of size {key} | {v['n'][0]} to {v['n'][2]}, mean {v['n'][1]:.0f} | {d['mean']:.2%} | "
            f"{d['median']:.2%} | {d['p90']:.2%} | "
            + "".join(f"{v['styles'][style]['mean']:.2%} | " for style in ("stand", "irregular"))
            + f"{e['mean']:.2%} | {r['mean']:.1%} |"
        )
    any_ = next(iter(m["frames"].values()))
    lines += [
        "",
        f"Of these frames {sum(v['declined'] for v in m['frames'].values())}",
        "lie outside the training data: `nnla.solve` would start them from zero; here the network was asked all the",
        "same.",
        "",
        f"CG iterations with Jacobi preconditioning to a relative error of x; the {config['steps']} CG steps of the",
        f"features (the guess takes {any_['products']} products with A in all) are not in them:",
        "",
        "| frames | start | " + " | ".join(f"{t:.0e}" for t in any_["targets"]) + " |",
        "|---|---|" + "---|" * len(any_["targets"]),
    ]
    for key, v in m["frames"].items():
        for start, counts in v["iterations"].items():
            lines.append(f"| {key} | {start} | " + " | ".join(f"{c:.0f}" for c in counts) + " |")
    lines += [
        "",
        "**Guaranteed**: in the A-norm no farther from the solution than zero is"
        + (
            f", nor than {config['steps']} steps of Jacobi-CG lead; deflated CG is right for any weights."
            if "search" in config
            else "."
        ),
        "**Not** guaranteed: how much nearer. Real systems, yardsticks and seconds: `docs/nsls_tables.md`.",
        "",
        *_recipe(card),
    ]
    return "\n".join(lines)


def draw(log: Path, target: Path, name: str) -> None:
    """Loss, and errors on validation structures, against steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot([r["step"] for r in rows], [r["loss"] for r in rows], color="0.75", lw=0.7)
    smooth = [sum(r["loss"] for r in rows[max(0, k - 19) : k + 1]) / min(k + 1, 20) for k in range(len(rows))]
    left.plot([r["step"] for r in rows], smooth, color="tab:blue")
    left.set(xlabel="step", ylabel="training loss", title=name)
    checked = [r for r in rows if any(key.startswith("val_") for key in r)]
    for size in ("mini", "small"):
        for kind, style in (("mean", "-"), ("median", "--")):
            key = f"val_delta_{size}_{kind}"
            points = [(r["step"], r[key]) for r in checked if key in r]
            if points:
                colour = "tab:blue" if size == "mini" else "tab:orange"
                right.plot(*zip(*points, strict=True), style, color=colour, marker=".", label=f"{size}, {kind}")
    right.set(xlabel="step", ylabel="relative error of x, validation", yscale="log")
    right.legend(fontsize=8)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="weights written by `nnla train`, beside their log.jsonl")
    parser.add_argument("--mini", type=int, default=100, help="held-out frames of n ~ 350")
    parser.add_argument("--small", type=int, default=100, help="held-out frames of n ~ 2000")
    args = parser.parse_args()
    model = load(str(args.file))
    name, data = model.card["name"], args.file.read_bytes()
    draw(args.file.parent / "log.jsonl", CARDS / f"{name}.png", name)
    card = model.card | {"measured": measured(args.file, {"mini": args.mini, "small": args.small})}
    ship(name, data, {"card": card}, card_text)


if __name__ == "__main__":
    main()
