"""Replay what ``method="auto"`` would have decided on systems whose facts are known, without solving anything.

    python reproduce/auto_replay.py DATA --folds FOLDER [--rtol 1e-8] [--shown 0.25] [--out rows.jsonl]

DATA holds the lines of `reproduce/auto_data.py`, FOLDER the engines of `reproduce/auto_folds.py`: each family is judged
by one that has not seen it. Decisions are those of the library (`nnla.linear.decision`, `nnla.linear.estimates`); only
what runs is replaced by the seconds that it took. Printed are the seconds by those of the best method in hindsight,
beside "always direct", the cheapest by expected seconds without looking further, and the best single method.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nnla.linear import decision
from nnla.linear.auto import FIRST_STEPS, STEPS_CALL
from nnla.linear.decision import SHOWN, Lognormal, Way, count_now, decide, left_for
from nnla.linear.estimates import Estimates
from nnla.linear.predictor import LOOK, look_seconds, told_by
from nnla.linear.progress import left_at_rate, rate_std
from nnla.linear.rule import FAILURES, TARGETS, Costs
from nnla.operators.features import VALUE_FEATURES
from nnla.registry import load
from nnla.training.log import read_log

PROBE = 50
DEGREE = 11
VALUES = 0.15  # features of the values alone, by all of them
DECISION = 2.5e-4  # seconds of arithmetic in Python, between kernels that have emptied the caches
WEIGHING = 4e-4  # more where ways are weighed against one another
CAPPED = 3.0  # iterations of what was stopped, by those that it had done
PATIENCE = 20
ENGINE_STD = 0.2  # of what the polynomial's engine predicts (docs/autospec.md)


@dataclass
class World:
    """One system: what every action would take, and tell."""

    row: dict[str, Any]
    rtol: float
    rng: np.random.Generator
    product: float = field(init=False)

    def __post_init__(self) -> None:
        self.product = self.row["jacobi"]["step_seconds"]

    def ways(self) -> tuple[str, ...]:
        """What can run."""
        found = ["direct", "plain"]
        if self.row["autospec"].get("step_seconds"):
            found.append("autospec")
        if self.row["nnz"] > self.row["n"] and self.row["ic"].get("failed") is not None:
            found.append("ic")
        if self.row["n"] >= 4000 and self.row["amg"].get("failed") is not None:
            found.append("amg")
        return tuple(found)

    def iterations(self, way: str) -> tuple[float, bool]:
        """Iterations that it would take, or had taken when it failed; whether it converges."""
        facts = self.row["jacobi" if way == "plain" else way]
        if "step_seconds" not in facts:
            return 0.0, False
        known = facts["iterations"].get("1e-08" if way == "autospec" else str(self.rtol))
        if known is not None:
            return float(known), True
        return (float(facts["stopped"]), False) if facts["failed"] else (CAPPED * facts["stopped"], True)

    def step(self, way: str) -> float:
        return self.row["jacobi" if way == "plain" else way]["step_seconds"]

    def setup(self, way: str) -> float:
        return 0.0 if way == "plain" else self.row[way].get("setup_seconds", 0.0)

    def factor(self) -> float:
        """Seconds of a factorisation and a substitution; infinite where none was affordable."""
        d = self.row["direct"]
        if "factor_seconds" in d:
            return d["factor_seconds"] + d["substitution_seconds"] + 2 * self.product
        return 3.1e-11 * d["flops"] if d.get("complete") else math.inf

    def order(self) -> float:
        return self.row["direct"].get("order_seconds", math.inf)

    def alone(self, way: str) -> float:
        """Seconds of a way by itself; infinite where it leads nowhere."""
        if way == "direct":
            return self.order() + self.factor()
        count, converges = self.iterations(way)
        return self.setup(way) + count * self.step(way) if converges else math.inf


class Replay:
    """The policy on one system: decisions by the library, facts by the row."""

    def __init__(self, world: World, engine: Any, *, free: bool = False) -> None:
        self.world, self.engine = world, engine
        row = world.row
        self.seconds = 0.0 if free else DECISION + VALUES * row["feature_seconds"]
        known = np.array([np.nan if v is None else v for v in row["features"]])
        self.features = known.copy()
        self.features[len(VALUE_FEATURES) :] = np.nan
        self.estimates = Estimates(self._costs(), ways=world.ways(), n=row["n"], nnz=row["nnz"], memory=4e9)
        self.sure = self.estimates.direct_for_sure()
        if free or (self.sure is None and look_seconds(row["n"], row["nnz"]) < LOOK * self.estimates.cheapest):
            self.features = known
            self.seconds = 0.0 if free else DECISION + (1.0 + VALUES) * row["feature_seconds"]
            self.estimates.renew(self._costs(), 0)
            self.sure = self.estimates.direct_for_sure()
        self.estimates.told = told_by(engine)
        self.asked = False
        self.orderings = 0
        self.actions: list[str] = []

    def given_up(self, flops: float) -> None:
        """An ordering has been, at so many operations, by the native call."""
        self.orderings += 1
        self.estimates.learn_bound(flops)
        self.sure = self.estimates.direct_for_sure()

    def _costs(self, steps: Any = None) -> Costs:
        return Costs.of(self.engine.predict(self.features, steps, rtol=self.world.rtol))

    def run(self) -> float:
        """Seconds in all."""
        if self.sure is not None and self.sure.flops > 0.0:
            self.actions.append("straight")
            self._order(self.sure.flops)
            if self.estimates.ordered and "direct" in self.estimates.left:
                self.seconds += self.world.factor()
                return self.seconds
        self.seconds += WEIGHING
        while True:
            estimates = self.estimates
            steps = estimates.steps(FIRST_STEPS, STEPS_CALL) if not estimates.done and self.sure is None else None
            ways = estimates.ways()
            if not ways:
                self.actions.append("nothing")
                return self.seconds + self.world.alone("plain")
            action = decide(ways, ordering=estimates.ordering, steps=steps).action
            self.actions.append(action)
            if self._carry_out(action):
                return self.seconds

    def _carry_out(self, action: str) -> bool:
        estimates, world = self.estimates, self.world
        if action == "steps":
            return self._steps(FIRST_STEPS, STEPS_CALL)
        if action == "direct":
            if not estimates.ordered:
                self._order()
                return False
            self.seconds += world.factor()
            return True
        if action == "plain":
            return self._watch("plain", estimates.of("jacobi.iterations"), estimates.done)
        if action == "autospec" and not self.asked:
            done = estimates.done
            if self._steps(PROBE, 0.0 if done else STEPS_CALL):
                return True
            outer = world.iterations("autospec")[0] * math.exp(ENGINE_STD * world.rng.standard_normal())
            estimates.learn_polynomial(outer, DEGREE)
            self.asked = True
            return False
        probed = estimates.done * world.product if action == "autospec" else 0.0
        self.seconds += max(world.setup(action) - probed, 0.0)
        if action != "autospec" and "step_seconds" not in world.row[action]:  # no factor, no hierarchy
            estimates.drop(action)
            return False
        estimates.paid(f"{action}.setup_seconds")
        return self._watch(action, estimates.iterations(action), 0)

    def _steps(self, count: int, overhead: float) -> bool:
        """First steps, or a probe; whether they were enough."""
        world, estimates = self.world, self.estimates
        needed, converges = world.iterations("plain")
        done = estimates.done
        if converges and needed <= count:
            self.seconds += (needed - done) * world.product + overhead
            return True
        self.seconds += (count - done) * world.product + overhead
        near = str(min((4, 8, 16, 32, 64), key=lambda k: (k not in map(int, world.row["steps"]), abs(k - count))))
        known = world.row["steps"].get(near)
        estimates.observe(count * world.product, count)
        estimates.renew(estimates.costs if known is None else self._costs(np.array(known)), count)
        return False

    def _order(self, most: float | None = None) -> None:
        world, estimates = self.world, self.estimates
        d = world.row["direct"]
        self.seconds += min(world.order(), 100.0)
        self.orderings += 1
        if d["failed"] or not d.get("complete") or self.orderings > 3:
            estimates.drop("direct")
            return
        most = most or estimates.worth_ordering
        if d["flops"] > most and self.orderings <= 2:
            estimates.learn_bound(most)
            return
        seconds = self.engine.after_analysis(d["flops"], d["entries"], world.row["n"])
        pair = tuple(Lognormal(float(m), float(s)) for m, s in seconds.values())
        estimates.learn_analysis(d["flops"], d["entries"], 12.0 * d["entries"], pair)  # type: ignore[arg-type]

    def _others(self, way: str, slower: float) -> list[Way]:
        return [other.slower(slower) for other in self.estimates.ways() if other.name not in (way, "plain")]

    def _alternative(self, way: str, slower: float) -> float:
        others = self._others(way, slower)
        return decide(others, ordering=self.estimates.ordering).seconds if others else math.inf

    def _watch(self, way: str, expected: Lognormal, before: int) -> bool:
        """An iteration to its end, or to where it is left; whether it got there."""
        world, estimates = self.world, self.estimates
        needed, converges = world.iterations(way)
        step, done = world.step(way), before
        noise = world.rng.standard_normal()
        alternative = self._alternative(way, 0.0)
        patience = PATIENCE // 5 if way == "autospec" else PATIENCE
        shown = min(decision.SHOWN * alternative / estimates.step(way).expected, math.exp(min(expected.mean, 600.0)))
        ahead = max(patience, math.ceil(min(shown, 1e6)))
        while (alternative < math.inf or estimates.ordering > 0.0) and done + ahead < needed:
            done += ahead
            share = done / needed
            rate = (needed - done) * math.exp(rate_std(share) * noise)
            left = left_at_rate(expected, done, rate if converges else 4.0 * done, share)
            slower = min(max(math.log(done + math.exp(min(left.mean, 600.0))) - expected.mean, 0.0), 4.0)
            spent = (done - before) * step
            seconds = left.times(step)
            if estimates.ordering > 0.0 and self.orderings < 2:
                factor = estimates.way("direct").setup
                if count_now(estimates.ordering, factor, seconds, spent, expected.times(step)):
                    self._order(estimates.flops_worth(seconds.expected))
            known = estimates.ordered and "direct" in estimates.left
            better = known and estimates.way("direct").setup.expected < seconds.expected
            if better or left_for(seconds, self._alternative(way, slower), spent):
                self.seconds += spent
                self._leave(way)
                return False
            ahead = max(patience, (done - before) // 3)
        self.seconds += (needed - before) * step
        if converges:
            return True
        self._leave(way)
        return False

    def _leave(self, way: str) -> None:
        self.actions[-1] += "!"
        self.estimates.drop(way)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines of one file, or of a folder of them."""
    for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
        for row in read_log(file):
            if "error" not in row:
                yield {"ic": {"failed": None}, "amg": {"failed": None}, "autospec": {"failed": None}} | row


def replayed(row: dict[str, Any], engine: Any, rtol: float) -> dict[str, Any] | None:
    """Seconds of the policy and of its yardsticks on one system; None where nothing solves it."""
    world = World(row, rtol, np.random.default_rng(abs(hash((row["family"], row["turn"]))) % 2**32))
    alone = {way: world.alone(way) for way in world.ways()}
    best = min(alone, key=lambda way: alone[way])
    if not alone[best] < math.inf:
        return None
    replay = Replay(world, engine)
    seconds = replay.run()
    first = Replay(world, engine, free=True)
    expected = {way.name: way.seconds.expected for way in first.estimates.ways()}
    expected["direct"] = expected.get("direct", math.inf) + first.estimates.ordering
    blind = alone[min(expected, key=lambda way: expected[way])]
    return {
        "family": row["family"], "kind": row.get("kind"), "n": row["n"], "best": best, "least": alone[best],
        "seconds": seconds, "actions": replay.actions, "ratio": seconds / alone[best],
        "direct": min(alone["direct"] / alone[best], 100.0), "blind": min(blind / alone[best], 100.0),
    }  # fmt: skip


def follows(rows: list[dict[str, Any]], engine_of: Any, rtol: float) -> None:
    """How much of an error in Jacobi-CG's iterations there is in the others': least squares of logarithms."""
    errors = []
    for row in rows:
        features = np.array([np.nan if v is None else v for v in row["features"]])
        mean = engine_of(row).predict(features, None, rtol=rtol).mean
        known = [(row[m].get("iterations") or {}).get("1e-08") for m in FAILURES]
        at = [TARGETS.index(f"{m}.iterations") for m in FAILURES]
        errors.append([math.log(max(k, 1)) - mean[i] if k else np.nan for k, i in zip(known, at, strict=True)])
    table = np.clip(np.array(errors), -2.0, 2.0)
    for k, method in enumerate(FAILURES[1:], 1):
        both = np.isfinite(table[:, 0] + table[:, k])
        x, y = table[both, 0], table[both, k]
        print(f"{method:10s} follows Jacobi-CG by {x @ y / (x @ x):.2f} ({both.sum()} systems)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=Path, help="folder of engines that have not seen the families")
    parser.add_argument("--engine", help="or one engine for all")
    parser.add_argument("--rtol", type=float, default=1e-8)
    parser.add_argument("--shown", type=float, default=SHOWN, help="another value of `nnla.linear.decision.SHOWN`")
    parser.add_argument("--least", type=float, default=1e-3, help="seconds of the best method that a system must take")
    parser.add_argument("--follows", action="store_true", help="measure how errors of iterations go together instead")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    decision.SHOWN = arguments.shown
    folds = json.loads((arguments.folds / "folds.json").read_text())["folds"] if arguments.folds else {}
    engines: dict[str, Any] = {}

    def engine_of(row: dict[str, Any]) -> Any:
        name = arguments.engine or str(arguments.folds / f"fold-{folds.get(row['family'], 0)}.safetensors")
        if name not in engines:
            engines[name] = load(name)
        return engines[name]

    known = [
        row for row in lines(arguments.data) if "step_seconds" in row["jacobi"] and "order_seconds" in row["direct"]
    ]
    if arguments.follows:
        follows(known, engine_of, arguments.rtol)
        return
    rows = [found for row in known if (found := replayed(row, engine_of(row), arguments.rtol)) is not None]
    if arguments.out:
        arguments.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    show(rows, arguments.least)


def show(rows: list[dict[str, Any]], least: float) -> None:
    """Tables: all, by kind, by what was done, and the worst."""
    chosen = [row for row in rows if row["least"] >= least]
    print(f"{len(rows)} systems, {len(chosen)} of at least {least:g} s")
    for name in ("ratio", "blind", "direct"):
        print(f"{name:8s} {describe([row[name] for row in chosen])}")
    groups: dict[str, list[float]] = defaultdict(list)
    for row in chosen:
        groups[f"kind {row['kind']}"].append(row["ratio"])
        groups[f"best {row['best']}"].append(row["ratio"])
        groups["did " + " ".join(row["actions"])].append(row["ratio"])
    for name, values in sorted(groups.items(), key=lambda pair: (pair[0].split()[0], -len(pair[1]))):
        print(f"{name:60s} {describe(values)}")
    for row in sorted(chosen, key=lambda row: -row["ratio"])[:15]:
        print(
            f"{row['ratio']:7.2f}  {row['family']:28s} n {row['n']:7d} best {row['best']:8s} {' '.join(row['actions'])}"
        )
    print(Counter(row["best"] for row in chosen))


def describe(values: list[float]) -> str:
    a = np.array(values)
    near = np.mean(a <= 1.25)
    return f"{len(a):5d}  geometric mean {np.exp(np.log(a).mean()):5.3f}  within 1.25 {near:4.0%}  worst {a.max():6.1f}"


if __name__ == "__main__":
    main()
