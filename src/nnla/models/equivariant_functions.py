"""The seven functions of the equivariant surrogate: bound, prediction, program, check.

Every function takes a layout, what predicts, and matrices in that layout, and returns f of them and the products that
each took, checks included. Where a check fails to the end the answer is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nnla.models.equivariant_invariants import described
from nnla.models.equivariant_layout import Matrices
from nnla.models.equivariant_plans import (
    Program,
    cosine_program,
    exponential_program,
    log_program,
    radius_class,
    radius_of,
    ratio_class,
    stage_program,
)
from nnla.models.equivariant_steps import cosine, exponential, polynomial, residual, root_pair, sign
from nnla.operators.arrays import namespace, on_device, to_numpy

__all__ = ["exponentials", "logarithms", "roots", "signs", "trigonometric"]

_POLISH = 8  # further steps where the check says that a prediction was wrong
_ALIKE = 4.0  # radii that differ by less are counted as the largest of them
_MANY = 256  # matrices from which they are worked on in groups
_MOST_SLACK = 30.0  # of e^-x, below the bound: beyond it rounding takes over
_CHECK = 3e-7  # of X^2 = I and of its like
_LEVELS = (0.5, 0.85, 1.0)  # shares of the matrices that are in the first, first two and three groups
_NEWTON_SCHULZ = (1.875, -1.25, 0.375)
_LOG_RATIO = 0.12  # of the smallest to the largest eigenvalue, from which a polynomial for the logarithm is short
_LOG_MARGIN = 8.0  # by which the predicted ratio is lowered there: nothing checks it

Predictor = Callable[[str, Any], Any]
Found = tuple[Any, np.ndarray]


def exponentials(L: Matrices, predicted: Predictor, A: Any, f: str) -> Found:
    """e^A: the spectrum is shifted to its mean, and bounded by its eighth central moment.

    What is predicted is how far below the bound the largest eigenvalue lies, where the answer has to be right.
    """
    xp, n = namespace(A), L.size(A)
    mean = L.trace(A) / n
    A = L.add_identity(A + 0.0, -mean)
    A, unit = _scaled(L, A)
    A2 = L.product(A, A)
    A4 = L.product(A2, A2)
    t = [0.0 * mean, L.dot(A, A), L.dot(A, A2), L.dot(A2, A2), L.dot(A, A4), L.dot(A2, A4), L.dot(A4, A4)]
    bound, features = described("exp", n, t)
    below = to_numpy(xp.exp(predicted("exp", features)))
    radius = to_numpy(bound * unit)
    if radius.max() - radius.min() < _ALIKE:  # one class for all: groups cost more than they save
        radius = np.full_like(radius, radius.max())
    index = radius_class(radius)
    wide = radius_of(index)
    slack = np.clip(wide - to_numpy(bound * unit) * (1 - np.clip(below, 0.0, 1.0)), 0.0, _MOST_SLACK)
    slack = 2 * np.ceil(slack / 2).astype(np.int64)  # few classes: each has a program to be made
    slack = _few(slack) if len(index) > _MANY else np.full_like(slack, slack.max())
    over = on_device(to_numpy(unit) / wide, A)
    A, A2, A4 = (M * L.each(over**k) for M, k in ((A, 1), (A2, 2), (A4, 4)))
    X, products = xp.empty_like(A), np.zeros(len(slack))
    for kind, i, rows, cost in _groups([index, slack], exponential_program):
        at = None if i is None else on_device(i, A)
        x, x2, x4 = (L.take(M, at) for M in (A, A2, A4))
        L.put(X, at, exponential(L, x, x2, x4, kind, _on(rows, A)))
        products[slice(None) if i is None else i] = cost
    X *= L.each(xp.exp(mean + on_device(wide, A)))
    return X, products


def trigonometric(L: Matrices, predicted: Predictor, A: Any, f: str) -> Found:
    """cos A, and sin A as cos (A - pi/2): the bound is that of the eighth moment, and nothing is predicted."""
    xp = namespace(A)
    if f == "sin":
        A = L.add_identity(A + 0.0, -np.pi / 2)
    A, unit = _scaled(L, A)
    A2 = L.product(A, A)
    A4 = L.product(A2, A2)
    radius = to_numpy(L.dot(A4, A4) ** 0.125 * (1 + 1e-12) * unit)
    index = radius_class(radius)
    over = (to_numpy(unit) / radius_of(index)) ** 2
    X, products = xp.empty_like(A), np.zeros(len(index))
    for kind, i, rows, cost in _groups([index], cosine_program):
        rows = rows * (over if i is None else over[i]) ** np.arange(rows.shape[0])[:, None]
        at = None if i is None else on_device(i, A)
        L.put(X, at, cosine(L, L.take(A2, at), L.take(A4, at), kind, _on(rows, A)))
        products[slice(None) if i is None else i] = cost
    return X, products


def signs(L: Matrices, predicted: Predictor, A: Any, f: str) -> Found:
    """Sign by a composition for the predicted gap; checked by X^2 = I, and carried on where that fails."""
    xp, n = namespace(A), L.size(A)
    A, _ = _scaled(L, A)
    A2 = L.product(A, A)
    A4 = L.product(A2, A2)
    t = [L.trace(A), L.dot(A, A), L.dot(A, A2), L.dot(A2, A2), L.dot(A, A4), L.dot(A2, A4), L.dot(A4, A4)]
    bound, features = described("sign", n, t)
    ratio = np.exp(to_numpy(predicted("sign", features)))
    over = 1.0 / bound
    A, A2, A4 = (M * L.each(over**k) for M, k in ((A, 1), (A2, 2), (A4, 4)))
    X, products = xp.empty_like(A), np.zeros(len(ratio))
    for kind, i, rows, cost in _groups([_few(ratio_class(ratio))], lambda j: stage_program(j, False)):
        at = None if i is None else on_device(i, A)
        a, a2, a4 = (L.take(M, at) for M in (A, A2, A4))
        L.put(X, at, sign(L, a, kind, _on(rows, A), a2, a4))
        products[slice(None) if i is None else i] = cost + (kind[0] == 3)
    for step, i, at, part, M in _wrong(L, X, lambda part, at: L.product(part, part), products):
        if step == _POLISH:
            L.put(X, at, xp.nan)
            break
        L.put(X, at, L.product(part, _newton_schulz(L, M)))
        products[i] += 2
    return X, products


def roots(L: Matrices, predicted: Predictor, A: Any, f: str) -> Found:
    """Square roots by coupled compositions for the predicted ratio of the smallest to the largest eigenvalue."""
    xp = namespace(A)
    A, unit = _scaled(L, A)
    A2 = L.product(A, A)
    bound, ratio = _definite(L, predicted, A, A2)
    over = 1.0 / bound
    Y, Z, products = _pair(L, A * L.each(over), A2 * L.each(over**2), ratio)
    size = xp.sqrt(bound) * xp.sqrt(unit)
    return (Y * L.each(size) if f == "sqrt" else Z * L.each(1.0 / size)), products + 1


def logarithms(L: Matrices, predicted: Predictor, A: Any, f: str) -> Found:
    """2^k log of the 2^k-th root, by a polynomial: as many roots as the predicted ratio asks for."""
    xp = namespace(A)
    A, unit = _scaled(L, A)
    A2 = L.product(A, A)
    bound, ratio = _definite(L, predicted, A, A2)
    ratio = np.clip(ratio**2 / _LOG_MARGIN, 1e-12, 1.0)
    X, products = xp.empty_like(A), np.ones(len(ratio))
    wanted = np.ceil(np.log2(np.maximum(np.log(ratio) / np.log(_LOG_RATIO), 1e-9)))
    wanted = np.maximum(np.where(np.isfinite(wanted), wanted, 0), 0).astype(np.int64)
    offset = xp.log(bound) + xp.log(unit)
    for k in np.unique(wanted):
        where = np.flatnonzero(wanted == k)
        at, own = on_device(where, A), ratio[where]
        over = 1.0 / bound[at]
        Y, Y2 = L.take(A, at) * L.each(over), L.take(A2, at) * L.each(over**2)
        for _ in range(int(k)):
            own = np.sqrt(own)
            Y, _, more = _pair(L, Y, Y2, own)
            Y2 = L.product(Y, Y)
            products[where] += more + 1
        log = xp.empty_like(Y)
        for kind, i, rows, cost in _groups([ratio_class(own)], log_program):
            j = None if i is None else on_device(i, A)
            a, c = _on(rows[-1:], A)[0], _on(rows[:-1], A)
            x = L.add_identity(L.take(Y, j) * L.each(2.0 / (1 - a)), -(1 + a) / (1 - a))
            x2 = L.product(x, x)
            L.put(log, j, polynomial(L, x, x2, L.product(x2, x2), kind[0], c))
            products[where if i is None else where[i]] += cost
        L.put(X, at, L.add_identity(log * 2.0 ** int(k), offset[at]))
    return X, products


def _scaled(L: Matrices, A: Any) -> tuple[Any, Any]:
    """Matrices over a power of 2 near their largest entry, and that power; as they are where sizes are ordinary."""
    xp = namespace(A)
    square = to_numpy(L.dot(A, A))
    if ((square > 1e-20) & (square < 1e20)).all():
        return A, L.trace(A) * 0.0 + 1.0
    largest = L.largest(A)
    unit = xp.where(largest > 0, 2.0 ** xp.floor(xp.log2(xp.where(largest > 0, largest, 1.0))), 1.0)
    return A * L.each(1.0 / unit), unit


def _on(rows: np.ndarray, like: Any) -> list[Any]:
    """Coefficients, each (B,), or a number for all where that is the same: a pass with a number is faster."""
    same = (rows == rows[:, :1]).all(1)
    return [float(row[0]) if equal else on_device(row, like) for row, equal in zip(rows, same, strict=True)]


def _groups(
    classes: list[np.ndarray], program: Callable[..., Program]
) -> Iterator[tuple[tuple[int, ...], np.ndarray | None, np.ndarray, np.ndarray]]:
    """Matrices with programs of one kind: kind, positions (None for all), coefficients (C, B), products (B,)."""
    code = classes[0] if len(classes) == 1 else classes[0] * 64 + classes[1]
    known, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    programs = [program(*(int(c[i]) for c in classes)) for i in first]
    kinds = list(dict.fromkeys(p.kind for p in programs))
    cost = np.array([p.products for p in programs])
    number = np.array([kinds.index(p.kind) for p in programs])
    for k, kind in enumerate(kinds):
        where = None if len(kinds) == 1 else np.flatnonzero(number[inverse] == k)
        own = inverse if where is None else inverse[where]
        table = np.zeros((len(next(p for p in programs if p.kind == kind).coefficients), len(known)))
        for j in np.flatnonzero(number == k):
            table[:, j] = programs[j].coefficients
        yield kind, where, table[:, own], cost[own]


def _wrong(
    L: Matrices, X: Any, check: Callable[[Any, Any], Any], products: np.ndarray
) -> Iterator[tuple[int, np.ndarray, Any, Any, Any]]:
    """Matrices whose check, which should be I, is not: step, their positions, X and the check of each; till none is."""
    n, left = L.size(X), np.arange(len(products))
    for step in range(_POLISH + 1):
        at = None if left.size == len(products) else on_device(left, X)
        part = L.take(X, at)
        M = check(part, at)
        products[left] += 1
        bad = np.flatnonzero(~(to_numpy(residual(L, M, n)) <= _CHECK))
        if not bad.size:
            return
        left, again = left[bad], on_device(bad, X)
        yield step, left, on_device(left, X), L.take(part, again), L.take(M, again)


def _newton_schulz(L: Matrices, M: Any) -> Any:
    return L.weighted([*_NEWTON_SCHULZ], [M, L.product(M, M)])


def _definite(L: Matrices, predicted: Predictor, A: Any, A2: Any) -> tuple[Any, np.ndarray]:
    """A bound on the eigenvalues, and the predicted square root of the smallest one over it."""
    t = [L.trace(A), L.dot(A, A), L.dot(A, A2), L.dot(A2, A2)]
    bound, features = described("definite", L.size(A), t)
    return bound, np.exp(to_numpy(predicted("definite", features)) / 2)


def _pair(L: Matrices, M: Any, M2: Any, ratio: np.ndarray) -> tuple[Any, Any, np.ndarray]:
    """M^1/2 and M^-1/2 of M with eigenvalues in [ratio^2, 1], checked by their product.

    The square of the root alone would say nothing of eigenvalues below the square of the tolerance.
    """
    xp = namespace(M)
    Y, Z, products = xp.empty_like(M), xp.empty_like(M), np.zeros(len(ratio))
    for kind, i, rows, cost in _groups([_few(ratio_class(ratio))], lambda j: stage_program(j, True)):
        at = None if i is None else on_device(i, M)
        y, z = root_pair(L, L.take(M, at), kind, _on(rows, M), L.take(M2, at))
        L.put(Y, at, y)
        L.put(Z, at, z)
        products[slice(None) if i is None else i] = np.maximum(cost - 2, 1)  # the first transition knows both
    for step, i, at, part, P in _wrong(L, Z, lambda part, at: L.product(part, L.take(Y, at)), products):
        if step == _POLISH:
            L.put(Y, at, xp.nan)
            L.put(Z, at, xp.nan)
            break
        W = _newton_schulz(L, P)
        L.put(Y, at, L.product(L.take(Y, at), W))
        L.put(Z, at, L.product(W, part))
        products[i] += 3
    return Y, Z, products


def _few(classes: np.ndarray) -> np.ndarray:
    """Classes raised to one of three that occur, or to the largest of few: small groups cost more than they save."""
    levels = _LEVELS if len(classes) > _MANY else _LEVELS[-1:]
    some = np.unique(np.quantile(classes, levels, method="higher"))
    return some[np.searchsorted(some, classes)]
