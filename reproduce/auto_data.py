"""The data that `method="auto"` learns from: every method on thousands of generated systems.

    OMP_NUM_THREADS=1 python reproduce/auto_data.py --out FOLDER --minutes 60 [--share 0/2] [--only PATTERN]

Writes FOLDER/facts-S.jsonl, a line a system, as soon as it is there; an interrupted run goes on, a run with more
minutes adds systems. --share I/K does each K-th one, for K processes at a time. Systems are drawn from a seed: the
k-th is the same on every machine: family, size (log-uniform) and seed follow from k.

A line: family, kind, asked (n), seed, index; n, nnz; features (F, null where unknown), feature_seconds; steps (by
number: the step features after so many Jacobi-CG steps);
`jacobi`, `ic`, `amg`, `autospec` (where there is time to win): iterations (by tolerance; null where not reached within
`stopped`), stopped, status, setup_seconds, step_seconds, failed (0, 1, null: not tried), and for `amg` complexity and
levels;
`direct`: flops, entries, order_seconds, factor_seconds, substitution_seconds, failed.
Seconds are CPU time of one thread, on the reference machine; --counts leaves them out, so that another machine can
help. Rounds of several machines are kept apart by --start.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from auto_facts import facts

from nnla.problems import SYSTEM_FAMILIES, linear_system, poisson2d
from nnla.training.log import read_log

LARGEST = 1_000_000
OFTEN = 60_000  # unknowns above which systems are drawn seldom: they take the time of hundreds of small ones
SELDOM = 0.05
LARGE = 400_000  # unknowns of a round of large ones, at most


def draw(family: str, turn: int, large: bool = False) -> tuple[int, int]:
    """(n, seed) of the system that a family contributes to a round; of a round of large ones, where that is asked."""
    rng = np.random.default_rng([turn, *family.encode()])
    least, most = SYSTEM_FAMILIES[family].smallest, min(SYSTEM_FAMILIES[family].largest, LARGEST)
    usual = min(most, OFTEN)
    low, high = (usual, most) if most > usual and rng.random() < SELDOM else (max(least, 100), usual)
    if large:
        low, high = min(usual, most), min(most, LARGE)
    return round(float(np.exp(rng.uniform(np.log(low), np.log(high))))), int(rng.integers(2**31))


def systems(share: tuple[int, int], names: list[str]) -> Iterator[tuple[int, str]]:
    """(round, family), round by round, the families in another order in each."""
    turn = share[0]
    while True:
        for k in np.random.default_rng(turn).permutation(len(names)):
            yield turn, names[int(k)]
        turn += share[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--share", default="0/1", help="I/K: every K-th round, from the I-th on")
    parser.add_argument("--only", default="", help="regular expression of the families")
    parser.add_argument("--start", type=int, default=0, help="the first round")
    parser.add_argument("--large", action="store_true", help="rounds of large systems, where multigrid and IC win")
    parser.add_argument("--counts", action="store_true", help="write no seconds: on another machine than the reference")
    parser.add_argument("--most", type=int, default=LARGEST, help="skip systems of more unknowns")
    arguments = parser.parse_args()
    first, step = (int(part) for part in arguments.share.split("/"))
    names = sorted(name for name in SYSTEM_FAMILIES if re.search(arguments.only, name))
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"facts-{'large-' if arguments.large else ''}{first}-of-{step}.jsonl"
    done = {(row["turn"], row["family"]) for row in read(path)}
    end = time.monotonic() + 60 * arguments.minutes
    facts(poisson2d(30), np.ones(900))  # what is imported or loaded once is nobody's time
    with open(path, "a") as stream:
        for turn, family in systems((arguments.start + first, step), names):
            if time.monotonic() > end:
                break
            n, seed = draw(family, turn, arguments.large)
            if (turn, family) in done or n > arguments.most:
                continue
            row = {"turn": turn, "family": family, "asked": n, "seed": seed} | measure(family, n, seed)
            if arguments.counts:
                row = without_seconds(row)
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            print(describe(row), flush=True)


def measure(family: str, n: int, seed: int) -> dict[str, Any]:
    try:
        system = linear_system(family, n, seed=seed)
        return {"kind": SYSTEM_FAMILIES[family].kind} | facts(system.A, system.b)
    except Exception as error:  # a night's run must not end at one system: the line says what it was
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def without_seconds(row: dict[str, Any]) -> dict[str, Any]:
    """The counts of a row, which hold on every machine."""
    return {
        key: without_seconds(value) if isinstance(value, dict) else value
        for key, value in row.items()
        if not key.endswith("seconds")
    }


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines: the last one of an interrupted run may be cut off."""
    return read_log(path) if path.exists() else []


def describe(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['family']:28s} {row['asked']:8d} {row['error']}"
    cells = []
    for name in ("jacobi", "ic", "amg", "autospec"):
        count = (row.get(name, {}).get("iterations") or {}).get("1e-08")
        if count is not None and "step_seconds" not in row[name]:
            cells.append(f"{name} {count}")
        elif count is not None:
            spent = row[name]["setup_seconds"] + count * row[name]["step_seconds"]
            cells.append(f"{name} {1e3 * spent:.3g} ms / {count}")
    d = row["direct"]
    if "factor_seconds" in d:
        spent = d["order_seconds"] + d["factor_seconds"] + d["substitution_seconds"]
        cells.append(f"direct {1e3 * spent:.3g} ms")
    return f"{row['turn']:4d} {row['family']:28s} n {row['n']:8d}  " + "  ".join(cells)


if __name__ == "__main__":
    main()
