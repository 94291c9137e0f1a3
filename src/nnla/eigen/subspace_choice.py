"""Which plan `solve_subspace` shall follow, and what it will cost: learned, and by a formula where that is not sure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnla.eigen.filtered_subspace import SubspacePlan
from nnla.eigen.iteration import RESOLVED
from nnla.eigen.subspace_cost import SubspaceCost, predict_subspace, subspace_cost
from nnla.eigen.window import Window

__all__ = ["SubspaceChoice", "choose_plan", "digits_of"]

_GAIN = 0.85  # predicted seconds, by those of the usual plan, above which it is followed: predictions err by a tenth


@dataclass(frozen=True)
class SubspaceChoice:
    """A plan, and what it is expected to cost.

    Attributes
    ----------
    plan : to follow
    cost : of it
    usual : cost of the usual plan
    learned : whether the engine said so; else the window is unlike those that it knows, and the formula did
    """

    plan: SubspacePlan
    cost: SubspaceCost
    usual: SubspaceCost
    learned: bool


def digits_of(window: Window, target: float, floor: float = 0.0) -> float:
    """log10 of the width of the spectrum over the residual that `solve_subspace` will ask for.

    Parameters
    ----------
    window : of a probe
    target, floor : as of `solve_subspace`

    Examples
    --------
    >>> import numpy as np
    >>> digits_of(Window(np.linspace(1.0, 2.0, 20), np.ones(20), 1e4 + 1, 500, 5, 20, 20), 1e-4)
    8.0
    """
    largest = float(abs(window.values[: window.k]).max())
    bound = max(min(target, 0.5 * RESOLVED * largest), floor)
    if not (bound > 0 and window.width > 0):
        return 16.0
    return float(min(max(math.log10(window.width) - math.log10(bound), 1.0), 16.0))


def choose_plan(window: Window, product: float, *, digits: float, engine: Any = None) -> SubspaceChoice:
    """The plan of the fewest expected seconds.

    Parameters
    ----------
    window : of a probe of one to three fillings of some 4 k vectors
    product : seconds of a product in a filter, by vector: `nnla.eigen.subspace_cost.seconds_of_a_product`
    digits : of the residuals, `digits_of`
    engine : model of the task "subspace plans"; None for the formula

    Notes
    -----
    The usual plan holds where the window lies outside of the training envelope, or where the plan of the fewest
    predicted seconds gains less than a sixth of them.

    Cost: three small matrix products.

    Examples
    --------
    >>> import numpy as np
    >>> window = Window(np.linspace(0.1, 4.0, 40), np.full(40, 0.1), 12.0, 20000, 10, 40, 65)
    >>> choice = choose_plan(window, 1e-5, digits=10.0)
    >>> choice.learned, choice.plan == SubspacePlan()
    (False, True)
    """
    usual, known = SubspacePlan(), None
    if engine is not None and window.width > 0:
        known = engine.counts(window, digits=digits)
    if known is None or not known.inside:
        cost = predict_subspace(window, product, digits=digits)
        return SubspaceChoice(usual, cost, cost, False)
    costs = [
        subspace_cost(window.k, float(products), float(filterings), float(flops), product)
        for products, filterings, flops in zip(known.products, known.filterings, known.flops, strict=True)
    ]
    first = costs[known.plans.index(usual)]
    best = min(range(len(costs)), key=lambda i: costs[i].seconds)
    if costs[best].seconds > _GAIN * first.seconds:
        return SubspaceChoice(usual, first, first, True)
    return SubspaceChoice(known.plans[best], costs[best], first, True)
