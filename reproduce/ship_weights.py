"""Put trained weights into the package: measure them, write the registry entry and the model card.

    nnla train autospec-cg --out runs/a
    python reproduce/ship_weights.py runs/a/autospec-cg.safetensors [--spectra 10000]

Copies the file to src/nnla/weights, updates registry.json there (file, sha256, card) and writes
docs/models/NAME.md. The figures of a card are those of `nnla eval`, on spectra that no training seed reaches and on
the generated suite.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path
from typing import Any

from nnla.model_evaluation import evaluate_model
from nnla.registry import load, write_atomic

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS, CARDS = ROOT / "src" / "nnla" / "weights", ROOT / "docs" / "models"
PURPOSE = {
    "autospec-cg": "chooses the Chebyshev interval of a polynomial preconditioner for CG from a Lanczos probe",
    "autospec-cg-paper": "emits the recurrence coefficients of AutoSpec (the paper's own network and objective); "
    "kept for comparison, not recommended for use",
}


def measured(path: Path, spectra: int) -> dict[str, Any]:
    """Figures of a weights file on held-out spectra and on the generated suite."""
    virtual = evaluate_model(str(path), family="spectra", count=spectra)
    suite = evaluate_model(str(path), family="suite", size="full")
    suite.pop("problems")
    return {
        "command": f"python reproduce/ship_weights.py {path.name} --spectra {spectra}",
        "date": time.strftime("%Y-%m-%d"),
        "hardware": platform.machine(),
        "spectra": {k: virtual[k] for k in ("count", "probe_steps", "degree", "rtol", "hopeless", "indefinite")}
        | {k: virtual[k] for k in ("indefinite_on_spectrum", "unsolved")}
        | {"outside_envelope": virtual["outside_envelope"], "fallbacks": virtual["fallbacks"]}
        | {"above_best": virtual["above_best"], "against": virtual["against"]},
        "suite": suite,
    }


def card_text(name: str, entry: dict[str, Any], size: int) -> str:
    """The model card, in Markdown."""
    card = entry["card"]
    spectra, suite = card["measured"]["spectra"], card["measured"]["suite"]
    own = next(iter(spectra["above_best"]))
    lines = [f"# {name}", "", f"**What it does**: {PURPOSE.get(name, 'see its recipe')}.", ""]
    lines += [f"**File**: `{entry['file']}`, {size / 1024:.0f} KiB, sha256 `{entry['sha256']}`.", ""]
    lines += ["**Training**: " + f"`nnla train {name}`, seed {card['seed']}; {_seconds(card)} on {card['hardware']},"]
    lines += [f"{card['date']}, {', '.join(f'{k} {v}' for k, v in card['versions'].items())}. Data: virtual spectra,"]
    lines += ["generated (see `nnla.problems.spectra`); no matrix of anyone's was used.", ""]
    if "envelope" in card:
        lines += ["**Envelope** (outside it nnla falls back and says so):", "", "| quantity | range |", "|---|---|"]
        lines += [f"| {k} | {v[0]} to {v[1]} |" for k, v in card["envelope"].items()] + [""]
    lines += [f"**Measured** by `{card['measured']['command']}`, {card['measured']['date']}.", ""]
    lines += [f"*{spectra['count']} held-out virtual spectra*, degree {spectra['degree']}, rtol {spectra['rtol']:g},"]
    lines += [
        f"{spectra['probe_steps']}-step probe: {spectra['indefinite']} polynomials indefinite on the probed interval before any guard,"
    ]
    lines += [f"{spectra['indefinite_on_spectrum']} on eigenvalues beyond it (CG notices and goes on without),"]
    lines += [f"{spectra['outside_envelope']} outside the envelope, {spectra['fallbacks']} fallbacks,"]
    lines += [f"{spectra['hopeless']} not solved in 400 outer iterations by any interval (left out of the ratios).", ""]
    lines += ["| outer iterations / best interval | geometric mean | worst |", "|---|---|---|"]
    for method, figures in spectra["above_best"].items():
        lines += [f"| {method} | {figures['geometric_mean']:.3f} | {figures['worst']:.2f} |"]
    lines += [
        "",
        "*Generated suite* (15 problems, full size, raw and automatic scaling as `nnla solve` takes them):",
        "",
    ]
    lines += [
        f"| {own} against | geometric mean of outer iterations | worst | better / equal / worse |",
        "|---|---|---|---|",
    ]
    for method, f in suite["against"].items():
        lines += [
            f"| {method} | {f['geometric_mean']:.3f} | {f['worst']:.2f} | {f['better']} / {f['equal']} / {f['worse']} |"
        ]
    lines += ["", "Real matrices: `docs/autospec_table4.md`.", "", "<details><summary>Recipe</summary>", "", "```json"]
    return "\n".join([*lines, json.dumps(card["recipe"], indent=1), "```", "", "</details>", ""])


def _seconds(card: dict[str, Any]) -> str:
    seconds = card["seconds"]
    return f"{sum(seconds.values()):.0f} s ({', '.join(f'{v:.0f} s {k}' for k, v in seconds.items())})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="weights written by `nnla train`")
    parser.add_argument("--spectra", type=int, default=10_000, help="held-out spectra to measure on")
    args = parser.parse_args()
    engine = load(str(args.file))
    name, data = engine.card["name"], args.file.read_bytes()
    card = engine.card | {"measured": measured(args.file, args.spectra)}
    entry = {"file": f"{name}.safetensors", "sha256": hashlib.sha256(data).hexdigest(), "card": card}
    write_atomic(WEIGHTS / entry["file"], data)
    listing = json.loads((WEIGHTS / "registry.json").read_text(encoding="utf-8"))
    listing[name] = entry
    write_atomic(WEIGHTS / "registry.json", json.dumps(listing, indent=1, sort_keys=True).encode())
    CARDS.mkdir(parents=True, exist_ok=True)
    write_atomic(CARDS / f"{name}.md", card_text(name, entry, len(data)).encode())
    print(f"shipped {name}: {entry['sha256']}")


if __name__ == "__main__":
    main()
