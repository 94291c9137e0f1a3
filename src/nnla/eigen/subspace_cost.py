"""What `solve_subspace` will cost, predicted from what a short Lanczos run has seen: learned, or by a formula."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.eigen.block_products import BlockProducts
from nnla.eigen.filtered_subspace import SubspacePlan, SubspaceSizes
from nnla.eigen.iteration import RESOLVED
from nnla.eigen.window import Window
from nnla.operators.operator import Operator

__all__ = ["SubspaceCost", "digits_of", "expected_cost", "predict_subspace", "seconds_of_a_product"]

# Fitted to 14 generated problems (Hamiltonians, grids, random media, solids) with k = 5, 10 and 20; see the notes.
_LEVEL, _DEPTH = 0.17, -1.5
_TURNS, _LONGEST = 6.5, 400  # filterings that suffice as a rule, and the highest degree
_FLOPS = 15.0  # of orthogonality and Ritz vectors, by filterings n (k + 1) and the vectors of the basis
_FLOP = 9e-11  # seconds
_FLOAT64 = 2.5  # a product in float64, conversions included, by one of a filter
_TURN = 1.5e-3  # seconds of a turn in Python


@dataclass(frozen=True)
class SubspaceCost:
    """A prediction.

    Attributes
    ----------
    products : with A, columns of filters included
    filterings : turns
    flops : of orthogonality and Ritz vectors
    seconds : of all that, on one thread
    """

    products: float
    filterings: float
    flops: float
    seconds: float


def predict_subspace(window: Window, product: float, *, digits: float = 10.0) -> SubspaceCost:
    """The cost of `solve_subspace`.

    Parameters
    ----------
    window : of a probe that holds some 4 k vectors and was restarted twice
    product : seconds of a product in a filter, by vector: `seconds_of_a_product`
    digits : of the residuals asked for, by the norm of A

    Returns
    -------
    SubspaceCost

    Notes
    -----
    A probe resolves eigenvalues only where they are easy. What it tells otherwise is how dense the spectrum is at its
    end: the k-th Ritz value has come to a depth d, as a share of the width, and

        products = .17 (k + 1) n^(1/3) d^-1.5

    where n^(1/3) is what the gaps of a finer grid in three dimensions ask for. Over the fitted problems the products
    were .6 to 1.3 times that in 8 of 10 cases, .55 to 2 times in all; of a family left out of the fit, 3.5 times at
    most. Where much depends on it, `solve_subspace` can be told to give up: it knows better after two turns.

    Cost: none.

    Examples
    --------
    >>> window = Window(np.linspace(0.1, 4.0, 40), np.full(40, 0.1), 12.0, 20000, 10, 40, 65)
    >>> cost = predict_subspace(window, 1e-5)
    >>> 100 < cost.products < 10000, cost.seconds > 1e-5 * cost.products
    (True, True)
    """
    n, k = window.n, window.k
    sizes = SubspaceSizes.of(n, k)
    depth = 1.0  # of a spectrum of one point
    if window.width > 0:
        depth = max(float(np.interp(k, np.arange(1, window.depths.size + 1), window.depths)), 1e-12)
    share = max(digits, 1.0) / 10.0
    each = max(_LEVEL * n ** (1 / 3) * depth**_DEPTH * share, 12.0)  # products of a vector
    filterings = max(_TURNS * share, each / _LONGEST)
    flops = _FLOPS * filterings * n * (k + 1) * sizes.basis
    return _priced(k, (k + 1) * each + _doubles(k, filterings), filterings, flops, product)


def expected_cost(window: Window, product: float, *, digits: float, engine: Any) -> tuple[SubspaceCost, bool]:
    """The cost of `solve_subspace` by its usual plan, and whether the engine said so.

    Parameters
    ----------
    window : of a probe of one to three fillings of some 4 k vectors
    product : seconds of a product in a filter, by vector: `seconds_of_a_product`
    digits : of the residuals, `digits_of`
    engine : model of the task "subspace plans"

    Notes
    -----
    Where the window lies outside of the training envelope, it is what `predict_subspace` says. Over 11 generated
    operators with k = 5, 10 and 20, predicted products from one filling were 1.0 times the true ones (geometric mean;
    standard deviation: a factor of 1.8), from two 1.1 times (1.5). The formula: .26 (2.2) and .83 (2.1).

    Cost: three small matrix products.
    """
    known = engine.counts(window, digits=digits) if window.width > 0 else None
    if known is None or not known.inside:
        return predict_subspace(window, product, digits=digits), False
    usual = known.plans.index(SubspacePlan())
    products, filterings, flops = (float(x[usual]) for x in (known.products, known.filterings, known.flops))
    return _priced(window.k, products, filterings, flops, product), True


def digits_of(window: Window, target: float, floor: float = 0.0) -> float:
    """log10 of the width of the spectrum over the residual that `solve_subspace` will ask for, from 1 to 16.

    Parameters
    ----------
    window : of a probe
    target, floor : as of `solve_subspace`

    Examples
    --------
    >>> window = Window(np.linspace(1.0, 2.0, 20), np.ones(20), 1e4 + 1, 500, 5, 20, 20)
    >>> round(digits_of(window, 1e-6), 6)
    10.0
    """
    largest = float(np.abs(window.values[: window.k]).max())
    bound = max(min(target, 0.5 * RESOLVED * largest), floor)
    if not (bound > 0 and window.width > 0):
        return 16.0
    return float(min(max(math.log10(window.width) - math.log10(bound), 1.0), 16.0))


def _priced(k: int, products: float, filterings: float, flops: float, product: float) -> SubspaceCost:
    """With the seconds of all that."""
    seconds = product * (products + (_FLOAT64 - 1) * _doubles(k, filterings)) + _FLOP * flops + _TURN * filterings
    return SubspaceCost(products, filterings, flops, seconds)


def _doubles(k: int, filterings: float) -> float:
    """Products in float64: of the start, of each turn, and of the residuals in the end."""
    return (k + 6) + filterings * 0.8 * (k + 1) + 2 * k


def seconds_of_a_product(op: Operator, k: int) -> float:
    """Seconds of a product in a filter of `solve_subspace`, by vector: measured, the quicker of two.

    Cost: six products of a block, counted.

    Examples
    --------
    >>> from nnla.operators import as_operator
    >>> from nnla.problems import poisson2d
    >>> 0 < seconds_of_a_product(as_operator(poisson2d(20)), 6) < 1
    True
    """
    products, count = BlockProducts(op), min(SubspaceSizes.of(op.n, k).block, op.n, 16)
    X = np.ones((count, op.n))
    out, best = np.empty_like(X), np.inf
    for _ in range(2):
        clock = time.perf_counter()
        products.filtered(X, np.ones(count), np.ones((4, count)), (-1.0, 1.0), out, single=products.single)
        best = min(best, time.perf_counter() - clock)
    return best / (3 * count)
