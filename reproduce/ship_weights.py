"""Put trained weights into the package: measure them, write the registry entry and the model card.

    nnla train autospec-cg --out runs/a
    python reproduce/ship_weights.py runs/a/autospec-cg.safetensors [--count 10000]
    python reproduce/ship_weights.py --cards

Copies the file to src/nnla/weights, updates registry.json there (file, sha256, reader, card) and writes
docs/models/NAME.md; ``--cards`` writes all of these anew from the registry. What is measured is what the model's task
says (`nnla.tasks`), on problems that no training seed reaches.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from nnla.evaluation.shipping import ship, write_card

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS, CARDS = ROOT / "src" / "nnla" / "weights", ROOT / "docs" / "models"


def main() -> None:
    """Measure, copy, list, describe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="weights written by `nnla train`")
    parser.add_argument("--count", type=int, help="held-out problems to measure on")
    parser.add_argument("--quick", action="store_true", help="measure on small problems only")
    parser.add_argument("--cards", action="store_true", help="write the cards of all shipped models anew")
    args = parser.parse_args()
    if args.file is not None:
        command = f"python reproduce/ship_weights.py {args.file.name}"
        command += "" if args.count is None else f" --count {args.count}"
        command += " --quick" if args.quick else ""
        entry = ship(args.file, WEIGHTS, CARDS, count=args.count, quick=args.quick, command=command)
        print(f"shipped {entry['file']}: {entry['sha256']}")
    if args.cards:
        for name, entry in json.loads((WEIGHTS / "registry.json").read_text(encoding="utf-8")).items():
            write_card(name, entry, WEIGHTS, CARDS)


if __name__ == "__main__":
    main()
