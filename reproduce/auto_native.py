"""Replay what the native call decides on systems of 20,000 to 400,000 entries whose facts are known.

    python reproduce/auto_native.py DATA --folds FOLDER [--engine NAME] [--out ROWS.jsonl]

DATA and FOLDER as for `reproduce/auto_replay.py`, whose replay goes on where the native call declines. What it decides,
`native/quick_choice.cpp` does, not this script; printed are seconds by those of the best method in hindsight, for the
native call with what follows where it declines, and for the ordinary way alone. This is where its constants are from.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from auto_replay import Replay, World, describe, lines

from nnla.kernels import native
from nnla.linear.predictor import native_costs
from nnla.linear.speeds import REFERENCE
from nnla.operators.features import VALUE_FEATURES
from nnla.registry import load

LOOKS = 1e-4  # seconds of the checks that are made once more where it declines, and of the network
VALUES = 0.1  # of the seconds of all features
FIRST, SHOWN, BEHIND, CERTAIN, LONG = 8, 0.1, 1.5, 0.7, 2e9  # as in native/quick_solve.cpp
NAMES = ("direct", "plain", "ic", "amg", "autospec")
RATE = 0.3  # spread of the iterations that are left, as its rate so far promises them


class Call:
    """The native call on one system.

    Attributes
    ----------
    seconds : that it has taken
    did : what it did
    more_flops : operations that a factorisation is known to take more of, 0 for none
    """

    def __init__(self, world: World, engine: Any, rtol: float) -> None:
        row, self.world = world.row, world
        features = np.array([np.nan if value is None else value for value in row["features"]])
        features[len(VALUE_FEATURES) :] = np.nan
        self.costs = native_costs(engine, REFERENCE, "amg" in world.ways())
        self.seconds, self.did, self.more_flops = LOOKS + VALUES * row["feature_seconds"], list[str](), 0.0
        found = self.costs.choose(features, row["n"], row["nnz"] > row["n"], rtol)
        self.ways, self.order, best, self.flops, self.otherwise, self.step = found
        self.best = NAMES[best]
        self.others = self.ways[best]

    def run(self) -> bool:
        """Whether it has solved the system."""
        world, row = self.world, self.world.row
        own = self.best in ("plain", "ic")
        if not self.order and own:
            if self._iterate(self.otherwise):
                return True
            self.order = True  # the others that iterate fall behind as well
        if not self.order:
            return self._declined()
        d, most = row["direct"], min(LONG, self.flops)
        self.seconds += min(world.order(), 100.0)
        if not d.get("complete") or d["flops"] > most:
            self.more_flops = most
            return self._declined()
        fronts = self.costs.factoring(d["flops"], d["entries"], row["n"]) + 2 * world.product
        if fronts * CERTAIN < self.others or (own and self.did):
            return self._factored()
        if not own:
            return self._declined()
        return self._iterate(fronts) or self._factored()

    def _iterate(self, alternative: float) -> bool:
        way, world = self.best, self.world
        needed, converges = world.iterations(way)
        if way == "ic" and "step_seconds" not in world.row["ic"]:
            self.did.append("ic!")
            return False
        self.seconds += world.setup(way)
        steps = max(FIRST, round(SHOWN * alternative / self.step))
        most = BEHIND * alternative / self.step
        while True:
            if converges and needed <= steps:
                self.seconds += needed * world.step(way)
                self.did.append(way)
                return True
            left = (needed - steps) * math.exp(RATE * world.rng.standard_normal()) if converges else math.inf
            if left * self.step >= alternative or steps >= most:
                self.seconds += steps * world.step(way)
                self.did.append(f"{way}!")
                return False
            steps += max(FIRST, steps // 2)

    def _factored(self) -> bool:
        self.seconds += self.world.factor()
        self.did.append("direct")
        return True

    def _declined(self) -> bool:
        self.did.append("declined")
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=Path, help="folder of engines that have not seen the families")
    parser.add_argument("--engine", default="auto-costs", help="one engine for all, where there are no folds")
    parser.add_argument("--rtol", type=float, default=1e-8)
    parser.add_argument("--least", type=float, default=1e-3, help="seconds of the best method that a system must take")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    folds = json.loads((arguments.folds / "folds.json").read_text())["folds"] if arguments.folds else {}
    engines: dict[str, Any] = {}
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in lines(arguments.data):
        if not native.QUICK_ENTRIES < row["nnz"] <= native.MOST_QUICK_ENTRIES:
            continue
        if "step_seconds" not in row["jacobi"] or "order_seconds" not in row["direct"]:
            continue
        name = arguments.engine
        if arguments.folds:
            name = str(arguments.folds / f"fold-{folds.get(row['family'], 0)}.safetensors")
        if name not in engines:
            engines[name] = load(name)
        world = World(row, arguments.rtol, np.random.default_rng(abs(hash((row["family"], row["turn"]))) % 2**32))
        best = min(world.alone(way) for way in world.ways())
        if not arguments.least <= best < math.inf:
            continue
        ordinary = Replay(world, engines[name]).run()
        call = Call(world, engines[name], arguments.rtol)
        if not call.run():
            after = Replay(world, engines[name])
            if call.more_flops:
                after.given_up(call.more_flops)
            call.seconds += after.run()
        rows[" ".join(call.did)].append((call.seconds / best, ordinary / best))
    everything = [pair for pairs in rows.values() for pair in pairs]
    if arguments.out:
        written = [json.dumps({"native": a, "ordinary": b}) for a, b in everything]
        arguments.out.write_text("".join(f"{line}\n" for line in written))
    for did, pairs in [("all", everything), *sorted(rows.items(), key=lambda item: -len(item[1]))]:
        for name, k in (("native call", 0), ("ordinary way", 1)):
            print(f"{did:28s} {name:13s} {describe([pair[k] for pair in pairs])}")


if __name__ == "__main__":
    main()
