"""What every method costs by a classical rule: where there are no weights, no kernels, or no entries to look at.

A few formulas with medians over generated families (``benchmarks/selection_constants.py`` measures them again), each
right to a factor of two or three, which their spread says. They stand for the answers of the trained engine.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from nnla.kernels.cholesky import level_structure
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

# Medians over the generated families, seconds on one core of the machine that the data are of.
_ENTRY, _ROW = 2e-9, 3e-9  # of a Jacobi-CG iteration
_ORDER_ROW, _FACTOR_ENTRY, _FLOP, _SUBSTITUTION = 1.2e-6, 4.6e-8, 8.3e-11, 3.2e-9  # of a direct solution
_FILL = 14.0  # operations of a factorisation by the cubed width of the graph
_IC_SETUP, _IC_STEP = 26.0, 1.8  # in Jacobi-CG iterations
_AMG_SETUP, _AMG_STEP = 2.5e-7, 1.8e-8  # per stored entry
_POLYNOMIAL_SETUP, _POLYNOMIAL_STEP = 217.0, 0.77  # in Jacobi-CG iterations: with the probe; an inner product
_DENSE_FLOP = 5e-11
# Iterations: of Jacobi-CG to 1e-8, of IC by Jacobi's, of multigrid with the signs of an M-matrix and without.
_JACOBI, _IC, _AMG = 150.0, 0.25, (12.0, 28.0)
_FAILS = 0.05
# Standard deviations of logarithms.
_STD_FLOPS, _STD_ITERATIONS, _STD_AMG, _STD_SECONDS = 2.0, 1.4, 0.9, 0.5
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
    structure = op.structure if op.csr is not None else None
    if op.csr is None:  # dense
        flops, entries, order = float(n) ** 3, 0.5 * float(n) ** 2, 1e-5
        factor = _DENSE_FLOP * flops
    else:
        flops = max(_FILL * _cubed_width(op), float(n))
        entries = min(math.sqrt(n * flops), 0.5 * float(n) * n + n)
        order, factor = _ORDER_ROW * n + 1e-4, _FACTOR_ENTRY * nnz + _FLOP * flops
    if iterations is None:
        digits = math.log(2.0 / min(max(rtol, 1e-16), 0.5)) / _REFERENCE_DIGITS
        iterations = Lognormal.of(min(_JACOBI, float(n)) * digits, _STD_ITERATIONS)
    jacobi = math.exp(min(iterations.mean, 600.0))
    values = {
        "jacobi.iterations": jacobi,
        "ic.iterations": _IC * jacobi,
        "amg.iterations": _AMG[0 if structure is not None and structure.nonpositive_off_diagonal else 1],
        "autospec.iterations": jacobi / (EFFICIENCY * (degree + 1)),
        "direct.flops": flops,
        "direct.entries": entries,
        "amg.complexity": 1.5,
        "product.seconds": product,
        "order.seconds": order,
        "factor.seconds": factor,
        "substitution.seconds": _SUBSTITUTION * entries,
        "ic.setup_seconds": _IC_SETUP * product,
        "ic.step_seconds": _IC_STEP * product,
        "amg.setup_seconds": _AMG_SETUP * nnz,
        "amg.step_seconds": _AMG_STEP * nnz,
        "autospec.setup_seconds": _POLYNOMIAL_SETUP * product,
        "autospec.step_seconds": _POLYNOMIAL_STEP * (degree + 1) * product,
    }
    std = dict.fromkeys(TARGETS, _STD_SECONDS) | {"amg.iterations": _STD_AMG}
    std |= dict.fromkeys(("jacobi.iterations", "ic.iterations", "autospec.iterations"), iterations.std)
    if op.csr is not None:
        std |= dict.fromkeys(("direct.flops", "direct.entries", "factor.seconds"), _STD_FLOPS)
    logs = [math.log(max(values[name], 1e-300)) for name in TARGETS]
    return Costs(logs, [std[name] for name in TARGETS], [0.0, _FAILS, _FAILS, _FAILS])


def _cubed_width(op: Operator) -> float:
    """Of the graph; without the native kernels as of a grid in the plane."""
    return level_structure(op.csr)[1] if op.native is not None else float(op.n) ** 1.5
