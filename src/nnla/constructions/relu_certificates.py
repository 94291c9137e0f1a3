"""Error bounds through programs of matrix products: truncation, products and rounding, for every matrix of a set.

A matrix V that the program holds stands for an exact one, and what is known of both is a `Bound`: ||V||_2 and the
entries of the exact one, and e >= ||computed - exact||_F. Sums and products pass it on,

    e(sum_i c_i V_i) = sum_i |c_i| e_i,        e(X Y) = ||Y|| e_X + (||X|| + e_X) e_Y + fresh,

and what a product adds itself is n^2 x y 4^-(m+1) with x, y bounds on the entries of the *computed* factors, and
rounding (`relu_matrix_products`). Errors are kept apart by where they come from; the coefficients of the second formula
are common to all, so that parts add up to the whole.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from nnla.constructions.relu_matrix_products import SECOND_ORDER, UNIT, product_defect, product_roundings
from nnla.constructions.relu_matrix_programs import MatrixProduct, MatrixProgram, MatrixSum, Round
from nnla.constructions.relu_products import LARGEST_STEPS

__all__ = ["MANY_STEPS", "ROUNDING", "TRUNCATION", "Bound", "Certificate", "Draft", "cheapest_steps", "follow_round"]

TRUNCATION, ROUNDING = 0, 1  # places of parts; that of the products of round i is 2 + i
MANY_STEPS = LARGEST_STEPS // 2  # more is less than rounding
PATIENCE = 2  # groups of candidates without a better one
MARGIN = 1.0 + 2.0**-40  # scales are a little larger than the entries, so that rounding cannot leave [0, 1]


@dataclass(frozen=True)
class Certificate:
    """||network(A) - f(A)||_F <= error for every matrix A of the set, as evaluated in float64.

    Attributes
    ----------
    truncation : of the polynomial or iteration, exact products and arithmetic
    products : of all squares that are interpolated
    rounding : of float64, in any order of the sums
    steps : m of each round of products

    Examples
    --------
    >>> Certificate(1e-3, 2e-3, 1e-12, (5, 6)).error
    0.003000000001
    """

    truncation: float
    products: float
    rounding: float
    steps: tuple[int, ...]

    @property
    def error(self) -> float:
        """The sum of all parts: bounds the Frobenius norm, and so the spectral one."""
        return self.truncation + self.products + self.rounding


@dataclass(frozen=True)
class Bound:
    """What is known of a matrix.

    Attributes
    ----------
    norm, entry : the exact one's spectral norm and entries are at most so large
    errors : parts of the bound on ||computed - exact||_F: truncation, rounding, and the products of each round
    """

    norm: float
    entry: float
    errors: np.ndarray

    @cached_property
    def error(self) -> float:
        """Bound on ||computed - exact||_F."""
        return float(self.errors.sum())


@dataclass(frozen=True)
class Draft:
    """A round before its scales are known: products by name, and sums."""

    products: tuple[tuple[str, str], ...]
    sums: tuple[MatrixSum, ...]


def follow_round(
    n: int, draft: Draft, m: int, held: Mapping[str, Bound], index: int
) -> tuple[Round, dict[str, Bound], dict[str, tuple[float, float]]]:
    """A round's scales, what is known of its sums, and what they are wrong by from this round alone.

    Parameters
    ----------
    m : steps of its products
    held : what is known of what is held
    index : of the round, which says where its own errors are kept

    Returns
    -------
    round : with scales
    bounds : of each sum
    fresh : of each sum, (products, rounding) of this round alone

    Examples
    --------
    >>> draft = Draft((("A", "A"),), (MatrixSum("square", {0: 1.0}),))
    >>> r, bounds, fresh = follow_round(2, draft, 10, {"A": Bound(1.0, 1.0, np.zeros(3))}, 0)
    >>> bool(bounds["square"].error == sum(fresh["square"])), round(bounds["square"].error * 4**11, 6)
    (True, 4.0)
    """
    products, carried, own, sizes = [], [], [], []
    for left, right in draft.products:
        X, Y = held[left], held[right]
        x, y = MARGIN * (X.entry + X.error), MARGIN * (Y.entry + Y.error)
        products.append(MatrixProduct(left, right, x, y))
        rounding, size = product_roundings(n, m, x, y, X.norm + X.error, Y.norm + Y.error)
        entry = min(X.norm * Y.norm, n * X.entry * Y.entry)
        carried.append(Bound(X.norm * Y.norm, entry, Y.norm * X.errors + (X.norm + X.error) * Y.errors))
        own.append((product_defect(n, m, x, y), rounding))
        sizes.append(size)
    bounds, fresh = {}, {}
    for s in draft.sums:
        terms = [(abs(c), carried[i]) for i, c in s.products.items()] + [(abs(c), held[v]) for v, c in s.values.items()]
        total = sum(abs(c) * sizes[i] for i, c in s.products.items()) + abs(s.identity) * n**0.5
        total += sum(abs(c) * _frobenius(held[v], n) for v, c in s.values.items())
        count = sum((4 * n + 2) for c in s.products.values() if c) + len(s.values) + 1 + 3
        exact = not s.products and s.identity == 0 and list(s.values.values()) == [1.0]
        defect = sum(abs(c) * own[i][0] for i, c in s.products.items())
        rounding = sum(abs(c) * own[i][1] for i, c in s.products.items())
        rounding += 0.0 if exact else SECOND_ORDER * count * UNIT * total
        errors = sum((c * b.errors for c, b in terms), np.zeros_like(next(iter(held.values())).errors))
        errors[2 + index] += defect
        errors[ROUNDING] += rounding
        norm = sum(c * b.norm for c, b in terms) + abs(s.identity)
        entry = sum(c * b.entry for c, b in terms) + abs(s.identity)
        bounds[s.name] = Bound(norm, entry, errors)
        fresh[s.name] = (defect, rounding)
    return Round(m, tuple(products), draft.sums), bounds, fresh


def _frobenius(bound: Bound, n: int) -> float:
    """Bound on the computed matrix's Frobenius norm."""
    return min(n**0.5 * bound.norm, n * bound.entry) + bound.error


Follow = Callable[[Sequence[int]], tuple[tuple[Round, ...], np.ndarray]]


@dataclass(frozen=True)
class Candidate:
    """A construction up to its steps.

    Attributes
    ----------
    parameters : what makes it
    scale : of the input
    products : of each round
    follow : steps -> rounds, and the parts of the final error
    group : number of a group; groups come in turn, and once a few bring nothing better, later ones are not tried
    """

    parameters: Mapping[str, int]
    scale: float
    products: Sequence[int]
    follow: Follow
    group: int = 0


def cheapest_program(
    n: int, candidates: Iterable[Candidate], eps: float, minimise: str
) -> tuple[MatrixProgram, Certificate, Mapping[str, int]] | None:
    """The program of fewest parameters, or least depth, among candidates, each with its cheapest steps.

    Parameters
    ----------
    minimise : "parameters" or "depth"

    Returns
    -------
    program, certificate, parameters : None where no candidate meets eps
    """
    best: tuple | None = None
    limit, improved = math.inf, 0
    for candidate in candidates:
        if best is not None and candidate.group > improved + PATIENCE:
            break
        cost = partial(_cost, n, candidate.scale, minimise)
        costs = [max(1, k) if minimise == "parameters" else 1 for k in candidate.products]
        found = cheapest_steps(candidate.follow, costs, eps, cost, limit)
        if found is not None and cost(found[0]) < limit:
            limit, improved = cost(found[0]), candidate.group
            best = (MatrixProgram(n, candidate.scale, found[0]), found[1], candidate.parameters)
    return best


def _cost(n: int, scale: float, minimise: str, rounds: Sequence[Round]) -> float:
    return getattr(MatrixProgram(n, scale, tuple(rounds)).size, minimise)


def cheapest_steps(
    follow: Follow,
    costs: Sequence[int],
    eps: float,
    cost: Callable[[Sequence[Round]], float] = len,
    limit: float = math.inf,
) -> tuple[tuple[Round, ...], Certificate] | None:
    """Steps of each round that bring the bound to eps at the least cost; None where none do, below the limit.

    Parameters
    ----------
    follow : steps -> rounds, and the parts of the final error
    costs : of one step in each round
    cost, limit : of all; a construction whose least steps already cost the limit is given up

    Notes
    -----
    To first order the products' part is sum_i w_i 4^-m_i, convex and separable, and taking the step that helps most for
    its cost, one at a time, is optimal (for equal costs). The weights w_i come from a pass with many steps; the true
    bound of the result decides, and a tighter aim follows where it is not met.
    """
    many = [MANY_STEPS] * len(costs)
    with np.errstate(over="ignore", invalid="ignore"):  # bounds of coarse products may grow beyond all measure
        rounds, parts = follow(many)
        if not parts.sum() <= eps:
            return None
        weights = parts[2:] * 4.0 ** np.array(many)
        aim, steps = eps - float(parts[TRUNCATION] + parts[ROUNDING]), many
        for i in range(60):
            tried = _greedy(weights, costs, aim)
            if tried is None:
                break
            if i == 0 and cost([replace(r, m=m) for r, m in zip(rounds, tried, strict=False)]) >= limit:
                return None
            tried_rounds, tried_parts = follow(tried)
            total = float(tried_parts.sum())
            if total <= eps:
                rounds, parts, steps = tried_rounds, tried_parts, tried
                break
            aim *= 0.9 if total < 4 * eps else 0.25
    return rounds, Certificate(float(parts[TRUNCATION]), float(parts[2:].sum()), float(parts[ROUNDING]), tuple(steps))


def _greedy(weights: np.ndarray, costs: Sequence[int], aim: float) -> list[int] | None:
    steps = [1] * len(costs)
    terms = [float(w) / 4 for w in weights]
    total = sum(terms)
    heap = [(-t / c, i) for i, (t, c) in enumerate(zip(terms, costs, strict=True))]
    heapq.heapify(heap)
    while total > aim:
        if not heap:
            return None
        _, i = heapq.heappop(heap)
        total -= 0.75 * terms[i]
        terms[i] /= 4
        steps[i] += 1
        if steps[i] < MANY_STEPS:
            heapq.heappush(heap, (-terms[i] / costs[i], i))
    return steps
