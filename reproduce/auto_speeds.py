"""What `nnla doctor --calibrate` would have measured on the machine that the costs were learned on.

    python reproduce/auto_speeds.py [--systems 80] [--seconds 150]

The learned seconds of every kernel are compared with those that this machine takes now, over generated systems of all
families (medians of the ratios); the seconds of the calibration's own systems, divided by these, are the
`REFERENCE_SECONDS` of `nnla.linear.calibration`. On a machine with other work the ratios hold better than the seconds.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from nnla import registry
from nnla.errors import NNLAError
from nnla.kernels.cholesky import Cholesky
from nnla.krylov.start import start_cg
from nnla.linear.calibration import REFERENCE_SECONDS, measure
from nnla.linear.predictor import ENGINE
from nnla.models.solver_costs import TARGETS
from nnla.operators.features import structure_features
from nnla.operators.operator import Operator, as_operator
from nnla.preconditioners.scalings import bind_amg, bind_scaling
from nnla.problems import SYSTEM_FAMILIES, linear_system

STEPS = 20  # of CG
MOST_FLOPS, MOST_ENTRIES = 3e9, 1_500_000
#: Kernel of the calibration -> what it stands for.
STANDS_FOR = {
    "product": ("product.seconds",),
    "order": ("order.seconds",),
    "factor": ("factor.seconds",),
    "substitution": ("substitution.seconds",),
    "ic": ("ic.setup_seconds", "ic.step_seconds"),
    "amg": ("amg.setup_seconds", "amg.step_seconds"),
}


def least(work: Callable[[], Any], repeats: int = 3) -> float:
    """CPU seconds of the shortest run."""
    found = math.inf
    for _ in range(repeats):
        started = time.thread_time()
        work()
        found = min(found, time.thread_time() - started)
    return found


def step(op: Operator, base: Any) -> float:
    """Of an iteration of CG."""
    b = np.random.default_rng(0).standard_normal(op.n)
    taken = [1]

    def work() -> None:
        cg = start_cg(op, b, x=np.zeros(op.n), residual=b.copy(), targets=np.zeros(1), sizes=np.ones(1), M=base)
        cg.advance(STEPS)
        taken[0] = max(cg.result.iterations, 1)

    return least(work) / taken[0]


def seconds_of(op: Operator) -> dict[str, float]:
    """Of every kernel on one system; what cannot run is left out."""
    found = {"order.seconds": least(lambda: Cholesky(op.csr, max_flops=MOST_FLOPS), 2)}
    factor = Cholesky(op.csr, max_flops=MOST_FLOPS)
    if factor.complete:
        found["factor.seconds"] = least(factor.factor, 2)
        found["substitution.seconds"] = least(lambda: factor.solve(np.ones(op.n)))
    found["product.seconds"] = step(op, bind_scaling(op, "jacobi"))
    for name, bind in (("ic", lambda: bind_scaling(op, "ic")), ("amg", lambda: bind_amg(op))):
        if name == "amg" and op.n < 4000:
            continue
        try:
            base = bind()
        except (NNLAError, ImportError):
            continue
        found[f"{name}.setup_seconds"] = least(bind, 2)
        found[f"{name}.step_seconds"] = step(op, base)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--systems", type=int, default=80)
    parser.add_argument("--seconds", type=float, default=150.0)
    arguments = parser.parse_args()
    engine, rng, until = registry.load(ENGINE), np.random.default_rng(5), time.time() + arguments.seconds
    gaps: dict[str, list[float]] = defaultdict(list)
    for name in rng.permutation(sorted(SYSTEM_FAMILIES))[: arguments.systems]:
        n = min(int(10 ** rng.uniform(3.5, 5.0)), SYSTEM_FAMILIES[name].largest)
        A = linear_system(str(name), n, seed=77).A
        if A.nnz > MOST_ENTRIES or time.time() > until:
            continue
        op = as_operator(A)
        assert op.structure is not None
        mean = engine.answer(structure_features(op.csr, op.structure.diagonal), None, 1e-8).mean
        for target, seconds in seconds_of(op).items():
            gaps[target].append(math.log(max(seconds, 1e-9)) - mean[TARGETS.index(target)])
    ratios = {target: math.exp(statistics.median(values)) for target, values in gaps.items()}
    for target, ratio in ratios.items():
        low, high = np.exp(np.quantile(gaps[target], [0.25, 0.75]))
        print(
            f"{target:22s} {ratio:.2f} of those learned (quartiles {low:.2f}, {high:.2f}; {len(gaps[target])} systems)"
        )
    measured = measure()
    for kernel, targets in STANDS_FOR.items():
        if kernel in measured and all(target in ratios for target in targets):
            ratio = math.prod(ratios[target] for target in targets) ** (1.0 / len(targets))
            was = REFERENCE_SECONDS[kernel]
            print(f"{kernel:14s} {measured[kernel]:.3g} s here, {measured[kernel] / ratio:.3g} s there (now {was:.3g})")


if __name__ == "__main__":
    main()
