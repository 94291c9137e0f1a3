"""What every method costs for one system, by the trained engine or by rule, and what that engine is asked with.

Seconds are those of the reference machine; `nnla.linear.estimates` makes them this machine's and keeps them up to date.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from nnla import registry
from nnla._files import one_line
from nnla.errors import WeightsError
from nnla.kernels import native
from nnla.kernels.arrays import plain
from nnla.linear.decision import WIDEST, Lognormal
from nnla.linear.rule import TARGETS, Costs, rule_costs
from nnla.linear.speeds import Speeds
from nnla.operators.features import structure_features
from nnla.operators.operator import Operator

__all__ = [
    "BADLY",
    "KERNEL_OF",
    "LOOK",
    "NARROWEST",
    "TOLD",
    "Predictor",
    "has_pyamg",
    "look_seconds",
    "native_costs",
    "quick_costs",
    "told_by",
]

ENGINE = "auto-costs"  # name of the shipped weights
LOOK = 0.03  # share of the seconds expected that a look at the graph may take
_LOOK_CALL, _LOOK_ENTRY = 2e-4, 7e-9  # seconds of it: in all, and by rows and entries
NARROWEST = 0.5  # standard deviation of a logarithm that iterations are believed to be known to, at best
BADLY = 1.5  # standard deviations: how badly the others may turn out for a factorisation that is worth its count
TOLD = 0.8  # of the spread of the iterations: what the first steps tell, where the weights do not say

_AT = {name: k for k, name in enumerate(TARGETS)}
#: The kernel whose speed seconds scale with.
KERNEL_OF = {
    "product.seconds": "product",
    "order.seconds": "order",
    "factor.seconds": "factor",
    "substitution.seconds": "substitution",
    "ic.setup_seconds": "ic",
    "ic.step_seconds": "ic",
    "amg.setup_seconds": "amg",
    "amg.step_seconds": "amg",
    "autospec.setup_seconds": "polynomial",
    "autospec.step_seconds": "polynomial",
}


@cache
def has_pyamg() -> bool:
    return find_spec("pyamg") is not None


def told_by(engine: Any) -> float:
    """Share of the spread of the iterations that first steps explain, by what the card says of unseen families."""
    spread = engine.card.get("spread", {})
    before, after = (spread.get(known, {}).get("jacobi.iterations") for known in ("graph", "steps"))
    return math.sqrt(max(1.0 - (after / before) ** 2, 0.0)) if before and after else TOLD


class Predictor:
    """Costs of one system, by the trained engine where it can be read and there is something for it to read, else by
    rule.

    Parameters
    ----------
    op : Operator
    degree : of the polynomial

    Attributes
    ----------
    failure : why the engine could not be asked, or None
    by_rule : whether the last answer was the rule's
    """

    def __init__(self, op: Operator, degree: int = 11) -> None:
        self.op, self.degree = op, degree
        self.failure: str | None = None
        self.by_rule = False
        self.outside = 0.0
        self._features: np.ndarray | None = None
        self._looked = False
        self._engine: Any = None
        try:
            self._engine = registry.load(ENGINE)
        except WeightsError as error:
            self.failure = one_line(error, 80)

    @property
    def told(self) -> float:
        """Share of the spread of iterations that first steps explain."""
        return TOLD if self._engine is None else told_by(self._engine)

    def costs(self, rtol: float, steps: np.ndarray | None = None, left: Lognormal | None = None) -> Costs:
        """Costs of a solve to this tolerance.

        Parameters
        ----------
        rtol : what the residual has to fall by
        steps : features of the first steps of Jacobi-CG, None before there were any
        left : iterations of Jacobi-CG as these steps promise, for the rule

        Notes
        -----
        Cost: about two products for the structure, the first time; tens of microseconds for the engine.
        """
        features = self._features if self._looked else self._values()
        if self._engine is None or (features is None and steps is None):
            self.by_rule = True
            return rule_costs(self.op, rtol, left, self.degree)
        found = self._engine.answer(features, steps, rtol)
        self.outside = found.outside
        costs = Costs(found.mean, found.std, found.failure)
        self.by_rule = False
        if features is None:  # the engine knows nothing of the size
            rule = rule_costs(self.op, rtol, left, self.degree)
            for name in KERNEL_OF | {"direct.flops": "", "direct.entries": ""}:
                costs.mean[_AT[name]], costs.std[_AT[name]] = rule.mean[_AT[name]], rule.std[_AT[name]]
        return costs

    def after_analysis(self, flops: float, entries: float) -> tuple[Lognormal, Lognormal] | None:
        """Seconds of a factorisation and of a substitution on the reference machine; None without the engine."""
        if self._engine is None:
            return None
        factor, substitution = self._engine.after_analysis(float(flops), float(entries), self.op.n).values()
        return Lognormal(*factor), Lognormal(*substitution)

    def look(self, seconds: float) -> bool:
        """Look at the graph as well, where that takes a small part of so many seconds; whether it has."""
        if self._looked or self._features is None:
            return False
        assert self.op.csr is not None
        assert self.op.structure is not None
        worth = look_seconds(self.op.n, int(self.op.csr.nnz)) < LOOK * seconds
        if worth:
            self._features, self._looked = structure_features(self.op.csr, self.op.structure.diagonal), True
        return worth

    def _values(self) -> np.ndarray | None:
        csr, structure = self.op.csr, self.op.structure
        if self._features is None and csr is not None and self._engine is not None and structure is not None:
            self._features = structure_features(csr, structure.diagonal, graph=False)
        return self._features


def look_seconds(n: int, nnz: int) -> float:
    """What a look at the graph takes.

    >>> 1e-4 < look_seconds(10_000, 50_000) < 2e-3
    True
    """
    return _LOOK_CALL + _LOOK_ENTRY * (nnz + n)


@lru_cache(maxsize=2)
def quick_costs(speeds: Speeds) -> Any:
    """The learned costs on a machine of such speeds, as the native call for systems of some 10^4 entries takes them;
    None without the weights or the kernels.

    Cost: none, until the speeds change.
    """
    if native is None:
        return None
    try:
        engine = registry.load(ENGINE)
    except WeightsError:  # said by whatever solves it
        return None
    return native_costs(engine, speeds, has_pyamg())


def native_costs(engine: Any, speeds: Speeds, amg: bool) -> Any:
    """`quick_costs` of any engine. Cost: some microseconds."""
    shifts = [speeds.of(KERNEL_OF[name]) if name in KERNEL_OF else 0.0 for name in TARGETS]
    factor, substitution = (plain(row) for row in engine.parameters["analysis.weights"].T)
    return native.QuickCosts(
        engine.native_network("a"), np.array(shifts), factor, substitution, WIDEST, NARROWEST, BADLY, amg
    )
