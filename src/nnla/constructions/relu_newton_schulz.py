"""Newton-Schulz iterations for sign, roots and inverse as programs of products, and how errors pass through them.

After A := A / bound, eigenvalues lie in +-[g, 1]. With h(x) = a x - b x^3, a = 3 mu/2, b = mu^3/2 and 1 <= mu <= mu*,
mu*^2 = 3 / (1 + l + l^2), moduli in [l, 1] go to [h(l), 1]; mu = 1 is Newton's step, mu* the one that brings l up most.

**Sign.** R = I - X^2, X' = h(X) = (a - b) X + b X R: the closer X is to the sign, the smaller is R, and the cheaper the
second product. An error E of X goes to L(E) - b (E E X + E X E + X E E + E^3), where L multiplies entry (i, j), in the
eigenvectors of X, by h[x_i, x_j] = a - b (x_i^2 + x_i x_j + x_j^2), which lies in [a - 3b, a - b l^2]. So

    ||E'||_F <= (lambda + 3 b ||E|| + b ||E||^2) ||E||_F,   lambda = max(|a - 3b|, |a - b l^2|).

**Roots.** Y = A, Z = I; R = I - Z Y, Y' = (a - b) Y + b Y R, Z' = (a - b) Z + b R Z. With A = x_0^2, exact iterates are
Y = x_0 x, Z = x / x_0 for x = h(...h(x_0)). Of the errors, take (E_Y, A^1/2 E_Z A^1/2) in the eigenvectors of A: entry
(i, j) of both goes to the same symmetric 2 x 2 matrix times both, with eigenvalues h[x_i, x_j] and h[x_i, -x_j]. The
pair grows by lambda again, where E_Z alone would seem to grow by 1 / g a step.

**Inverse.** Z A = I - R with R = I - c A, ||R|| <= (1 - g)/(1 + g): Z' = Z + R Z, R' = R^2, both at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnla.constructions.relu_certificates import ROUNDING, TRUNCATION, Bound, Draft, follow_round
from nnla.constructions.relu_matrix_products import SECOND_ORDER, UNIT
from nnla.constructions.relu_matrix_programs import MatrixSum
from nnla.constructions.relu_networks import SLACK, MatrixSet

__all__ = ["CubicStep", "end", "follow_inverse", "follow_roots", "follow_sign", "inverse_terms", "schedule"]

LARGEST_STEPS_TAKEN = 60


@dataclass(frozen=True)
class CubicStep:
    """x -> a x - b x^3 on moduli in [low, 1], with lambda, the growth of errors."""

    a: float
    b: float
    low: float
    growth: float


def schedule(low: float, speed: float, until: float) -> list[CubicStep]:
    """Steps until all moduli are within ``until`` of one.

    Parameters
    ----------
    low : the smallest modulus at first
    speed : 0 for Newton's steps, 1 for the fastest

    References
    ----------
    Chen and Chow, A stable scaling of Newton-Schulz for improving the sign function computation of a Hermitian matrix
    (2014).

    Examples
    --------
    >>> [len(schedule(0.01, speed, 1e-6)) for speed in (0.0, 1.0)]
    [15, 8]
    """
    steps: list[CubicStep] = []
    while 1 - low > until and len(steps) < LARGEST_STEPS_TAKEN:
        mu = 1 + speed * (math.sqrt(3 / (1 + low + low * low)) - 1)
        a, b = 1.5 * mu, 0.5 * mu**3
        steps.append(CubicStep(a, b, low, max(abs(a - 3 * b), abs(a - b * low * low))))
        low = min(low * (a - b * low * low), a - b) * (1 - 1e-15)
    return steps


def end(steps: Sequence[CubicStep]) -> float:
    """The smallest modulus after all steps."""
    last = steps[-1]
    return min(last.low * (last.a - last.b * last.low**2), last.a - last.b) * (1 - 1e-15)


def _input(n: int, rounds: int) -> Bound:
    """A / bound: two roundings."""
    errors = np.zeros(2 + rounds)
    errors[ROUNDING] = SECOND_ORDER * 2 * UNIT * n**0.5
    return Bound(1.0, 1.0, errors)


def _own(size: int, index: int, fresh: tuple[float, float]) -> np.ndarray:
    """Errors of one round as parts."""
    errors = np.zeros(size)
    errors[2 + index], errors[ROUNDING] = fresh
    return errors


def follow_sign(domain: MatrixSet, plan: Sequence[CubicStep], scale: float, steps: Sequence[int]) -> tuple:
    """Rounds of X' = (a - b) X + b X (I - X^2), from A / bound, and the parts of the error of scale X."""
    n, rounds = domain.n, []
    X, name = _input(n, 2 * len(plan)), "input"
    for k, step in enumerate(plan):
        last = k == len(plan) - 1
        draft = Draft(((name, name),), (MatrixSum("R", {0: -1.0}, {}, 1.0), MatrixSum("X", {}, {name: 1.0})))
        done, held, fresh = follow_round(n, draft, steps[2 * k], {name: X}, 2 * k)
        rounds.append(done)
        R = Bound(1 - step.low**2, 1 - step.low**2, held["R"].errors)
        c = scale if last else 1.0
        new = MatrixSum("output" if last else "X", {0: c * step.b}, {"X": c * (step.a - step.b)})
        done, held, second = follow_round(
            n, Draft((("X", "R"),), (new,)), steps[2 * k + 1], {"X": X, "R": R}, 2 * k + 1
        )
        rounds.append(done)
        e = X.error
        errors = (step.growth + step.b * (3 * e + e * e)) * X.errors
        errors = errors + step.b * (1 + e) * _own(len(errors), 2 * k, fresh["R"])
        errors = c * errors + _own(len(errors), 2 * k + 1, second[new.name])
        X, name = Bound(1.0, 1.0, errors), "X"
    errors = X.errors.copy()
    errors[TRUNCATION] += scale * n**0.5 * (1 - end(plan))
    return tuple(rounds), errors * (1 + SLACK)


def follow_roots(
    domain: MatrixSet, plan: Sequence[CubicStep], low: float, wanted: str, scale: float, steps: Sequence[int]
) -> tuple:
    """Rounds of the coupled iteration from A / bound, whose eigenvalues are at least low, and the parts of the error.

    Parameters
    ----------
    wanted : "Y" for the root, "Z" for the inverse root
    """
    n, size = domain.n, 1 + 2 * (len(plan) - 1)
    Y = _input(n, size)
    first, c = plan[0], scale if len(plan) == 1 else 1.0
    # Z = I: the first step is Y' = a Y - b Y^2, Z' = a I - b Y.
    sums = {
        "Y": MatrixSum("Y", {0: -c * first.b}, {"input": c * first.a}),
        "Z": MatrixSum("Z", {}, {"input": -c * first.b}, c * first.a),
    }
    if len(plan) == 1:
        sums = {wanted: sums[wanted]}
    products = (("input", "input"),) if "Y" in sums else ()
    done, _, fresh = follow_round(n, Draft(products, tuple(sums.values())), steps[0], {"input": Y}, 0)
    rounds = [done]
    e, own = Y.error, {v: _own(2 + size, 0, f) for v, f in fresh.items()}
    pair = first.growth * Y.errors + first.b * e * Y.errors + np.hypot(*(own.get(v, 0 * Y.errors) for v in "YZ")) / c
    alone = first.b * Y.errors + own.get("Z", 0 * Y.errors) / c  # E_Z without the weights
    top = first.a  # of ||Z||
    for k, step in enumerate(plan[1:], 1):
        at, last = 2 * k - 1, k == len(plan) - 1
        if alone.sum() > pair.sum() / low:
            alone = pair / low
        largest = min(top, low**-0.5)
        Y, Z = Bound(1.0, 1.0, pair), Bound(largest, largest, alone)
        draft = Draft(
            (("Z", "Y"),),
            (
                MatrixSum("R", {0: -1.0}, {}, 1.0),
                *(MatrixSum(v, {}, {v: 1.0}) for v in "YZ" if not last or v == wanted),
            ),
        )
        done, held, fresh = follow_round(n, draft, steps[at], {"Y": Y, "Z": Z}, at)
        rounds.append(done)
        R = Bound(1 - step.low**2, 1 - step.low**2, held["R"].errors)
        c = scale if last else 1.0
        into = {"Y": ("Y", "R"), "Z": ("R", "Z")}
        names = [wanted] if last else ["Y", "Z"]
        sums = {v: MatrixSum(v, {i: c * step.b}, {v: c * (step.a - step.b)}) for i, v in enumerate(names)}
        draft = Draft(tuple(into[v] for v in names), tuple(sums.values()))
        done, _, second = follow_round(n, draft, steps[at + 1], {"Y": Y, "Z": Z, "R": R}, at + 1)
        rounds.append(done)
        own = {v: _own(2 + size, at + 1, f) / c for v, f in second.items()}
        nothing, defect = np.zeros(2 + size), _own(2 + size, at, fresh["R"])
        e, f = Y.error, Z.error
        # Second order: E F Y + E Z E + Y F E + E F E in Y', the same with Y and Z exchanged in Z'.
        square = step.b * math.hypot(2 * f + largest * e + e * f, 2 * largest * f + (1 + e) * f * (f / e if e else 0))
        grown = (step.growth + square) * pair + step.b * math.hypot(1 + e, 1 + f) * defect
        direct = max(abs(step.a - 2 * step.b), abs(step.a - 2 * step.b * step.low**2))
        alone = (direct + step.b * (2 * largest * e + (1 + e) * f)) * alone
        alone = alone + step.b * largest**2 * pair + step.b * (largest + f) * defect + own.get("Z", nothing)
        pair = grown + np.hypot(*(own.get(v, nothing) for v in "YZ"))
        top *= step.a
    errors = scale * (pair if wanted == "Y" else alone if alone.sum() < pair.sum() / low else pair / low)
    errors[TRUNCATION] += scale * n**0.5 * (1 - end(plan)) * (1.0 if wanted == "Y" else low**-0.5)
    return tuple(rounds), errors * (1 + SLACK)


def follow_inverse(domain: MatrixSet, count: int, low: float, scale: float, steps: Sequence[int]) -> tuple:
    """So many rounds of Z' = Z + R Z, R' = R^2, and the parts of the error of scale Z."""
    n, c = domain.n, 2 / (1 + low)
    rho = (1 - low) / (1 + low) * (1 + 1e-15)
    done, held, _ = follow_round(
        n, Draft((), (MatrixSum("R", {}, {"input": -c}, 1.0),)), 1, {"input": _input(n, count)}, 0
    )
    R, rounds = Bound(rho, rho, held["R"].errors), [done]
    # Z_1 = c (I + R) is linear: the first round squares R, and Z_1 is written from it.
    held = {"R": R}
    for k in range(1, count):
        last = k == count - 1
        top = scale if last else 1.0
        if k == 1:
            products = (("R", "R"),)
            Z = MatrixSum("output" if last else "Z", {0: c * top} if last else {}, {"R": c * top}, c * top)
            sums = (Z,) if last else (Z, MatrixSum("R", {0: 1.0}))
        else:
            products = (("R", "Z"),) if last else (("R", "Z"), ("R", "R"))
            Z = MatrixSum("output" if last else "Z", {0: top}, {"Z": top})
            sums = (Z,) if last else (Z, MatrixSum("R", {1: 1.0}))
        done, held, _ = follow_round(n, Draft(products, sums), steps[k], held, k)
        rounds.append(done)
    errors = held["output"].errors.copy()
    errors[TRUNCATION] += scale * n**0.5 * rho ** inverse_terms(count) / low
    return tuple(rounds), errors * (1 + SLACK)


def inverse_terms(count: int) -> int:
    """Powers of R in the sum that so many rounds make."""
    return 3 if count == 2 else 2 ** (count - 1)
