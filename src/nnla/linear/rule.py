"""What every method costs by a classical rule: where there are no weights, no kernels, or no entries to look at.

A few formulas with medians over generated families (``benchmarks/selection_constants.py`` measures them again), each
right to a factor of two or three, which their spread says. They stand for the answers of the trained engine.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from nnla.kernels.cholesky import FILL, level_structure
from nnla.linear.decision import Lognormal
from nnla.operators.operator import Operator
from nnla.polynomials.design import EFFICIENCY

__all__ = ["FAILURES", "TARGETS", "Costs", "rule_costs"]

TARGETS = (
    "jacobi.iterations",
    "ic.iterations",
    "amg.iterations",
    "autospec.iterations",
    "direct.flops",
    "direct.entries",
    "amg.complexity",
    "product.seconds",
    "order.seconds",
    "factor.seconds",
    "substitution.seconds",
    "ic.setup_seconds",
    "ic.step_seconds",
    "amg.setup_seconds",
    "amg.step_seconds",
    "autospec.setup_seconds",
    "autospec.step_seconds",
)
FAILURES = ("jacobi", "ic", "amg", "autospec")

# Seconds on one core of the reference machine.
_ENTRY, _ROW = 6e-10, 9e-10  # of a Jacobi-CG iteration
_DENSE_FLOP = 2e-11
_ORDER_ROW, _FACTOR_ENTRY, _FLOP = 5e-7, 12e-9, 3.1e-11  # of a direct solution
_IC_SETUP, _IC_STEP = 12.0, 2.4  # in Jacobi-CG iterations
_AMG_SETUP, _AMG_STEP = 120e-9, 5.5e-9  # per stored entry
_POLYNOMIAL_SETUP, _POLYNOMIAL_STEP = 4e-3, 0.55  # seconds; an inner product by a Jacobi-CG iteration
# Iterations: of Jacobi-CG at least, and by the levels of the graph; of the others by Jacobi's, for matrices with the
# signs of an M-matrix and for others; of multigrid.
_HARD, _BY_LEVELS = 150.0, 2.0
_IC_ITERATIONS = (0.17, 0.27)
_AMG_ITERATIONS = (12.0, 100.0)
_FAILS = 0.05
_HUB = 30  # longest by mean row: what works row against row takes the square of that
_STD_FLOPS, _STD_ITERATIONS, _STD_SECONDS = 0.9, 1.0, 0.3
_REFERENCE_DIGITS = math.log(2.0 / 1e-8)


class Costs(NamedTuple):
    """What is expected of one system.

    Attributes
    ----------
    mean, std : of the natural logarithms of `TARGETS`
    failure : probabilities of `FAILURES`
    """

    mean: list[float]
    std: list[float]
    failure: list[float]

    @classmethod
    def of(cls, prediction: Any) -> Costs:
        """Of one system, as the trained engine answers: numbers, which are faster than arrays of a few."""
        return cls(prediction.mean.tolist(), prediction.std.tolist(), prediction.failure.tolist())


def rule_costs(op: Operator, rtol: float, iterations: Lognormal | None = None, degree: int = 11) -> Costs:
    """Costs by the rule; ``iterations`` of Jacobi-CG where something is known of them.

    Cost: a breadth-first search of the graph of a sparse matrix, about a product.

    Examples
    --------
    >>> from nnla.operators.operator import as_operator
    >>> from nnla.problems import poisson2d
    >>> costs = rule_costs(as_operator(poisson2d(40)), 1e-8)
    >>> len(costs.mean) == len(costs.std) == len(TARGETS), len(costs.failure) == len(FAILURES)
    (True, True)
    """
    n, nnz = op.n, max(int(op.nnz) if op.nnz is not None else op.n, 1)
    product = _ENTRY * nnz + _ROW * n
    levels, cubed_width = _graph(op, nnz)
    structure = op.structure if op.csr is not None else None
    signs = structure is not None and structure.nonpositive_off_diagonal
    hubs = structure is not None and structure.longest_row > _HUB * structure.mean_row
    flops = max(FILL * cubed_width, float(n))
    if op.csr is None:  # dense
        order, factor, entries = 1e-5, _DENSE_FLOP * float(n) ** 3, 0.5 * float(n) ** 2
    else:
        order, factor = _ORDER_ROW * n + 1e-4, _FACTOR_ENTRY * nnz + _FLOP * flops
        entries = min(math.sqrt(n * flops), 0.5 * float(n) * n + n)
    if iterations is None:
        digits = math.log(2.0 / min(max(rtol, 1e-16), 0.5)) / _REFERENCE_DIGITS
        iterations = Lognormal.of(max(_HARD, _BY_LEVELS * levels) * digits, _STD_ITERATIONS)
    jacobi = math.exp(min(iterations.mean, 600.0))
    better, usual = _IC_ITERATIONS
    incomplete = usual * jacobi
    if signs:  # what modified IC gains grows with the iterations
        incomplete = max(better * jacobi, min(incomplete, usual * _HARD))
    square = structure.longest_row / structure.mean_row if hubs and structure is not None else 1.0
    values = {
        "jacobi.iterations": jacobi,
        "ic.iterations": incomplete,
        "amg.iterations": _AMG_ITERATIONS[0 if signs else 1],
        "autospec.iterations": jacobi / (EFFICIENCY * (degree + 1)),
        "direct.flops": flops,
        "direct.entries": entries,
        "amg.complexity": 1.5,
        "product.seconds": product,
        "order.seconds": order,
        "factor.seconds": factor,
        "substitution.seconds": 2e-9 * entries,
        "ic.setup_seconds": _IC_SETUP * square * product,
        "ic.step_seconds": _IC_STEP * product,
        "amg.setup_seconds": _AMG_SETUP * square * nnz,
        "amg.step_seconds": _AMG_STEP * nnz,
        "autospec.setup_seconds": _POLYNOMIAL_SETUP + 56.0 * product,  # with the probe
        "autospec.step_seconds": _POLYNOMIAL_STEP * (degree + 1) * product,
    }
    std = [_STD_SECONDS] * len(TARGETS)
    std[TARGETS.index("direct.flops")] = std[TARGETS.index("factor.seconds")] = _STD_FLOPS
    for method in FAILURES:
        std[TARGETS.index(f"{method}.iterations")] = iterations.std if method != "amg" else 0.5
    return Costs([math.log(max(values[name], 1e-300)) for name in TARGETS], std, [0.0, _FAILS, _FAILS, _FAILS])


def _graph(op: Operator, nnz: int) -> tuple[float, float]:
    """Levels of the graph and its cubed width."""
    if op.native is not None and op.csr is not None:
        levels, cubed_width = level_structure(op.csr)
        return float(levels), cubed_width
    if op.csr is not None:
        return math.sqrt(op.n), float(op.n) ** 1.5  # as of a grid in the plane
    return 1.0, float(op.n) ** 3
