"""Matrices on which certified ReLU networks do badly: families that line errors up, and an ascent without gradients.

A square is wrong by most half-way between points of its grid, and an entry of a product when all its squares are wrong
alike. That happens where all entries are equal in modulus, A = a I + c s s' with signs s: so are then all entries off
the diagonal of everything that the network computes, and c and a move them over the grids. Sets with a gap add
eigenvalues at both ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.constructions.relu_networks import CertifiedNetwork, MatrixSet, whole

__all__ = ["Attack", "adversarial_matrices", "attack", "exact_function"]

SCALARS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sign": np.sign,
    "sqrt": np.sqrt,
    "inv_sqrt": lambda x: 1 / np.sqrt(x),
    "inv": lambda x: 1 / x,
}


@dataclass(frozen=True, eq=False)
class Attack:
    """What was found: the largest error ||network(A) - f(A)||_F, its matrix, and how many were tried."""

    error: float
    matrix: np.ndarray
    tried: int


def exact_function(function: str, A: np.ndarray) -> np.ndarray:
    """f(A) (B, n, n) in float64: exp in extended precision where there is one, others by eigenvectors of symmetric A.

    Notes
    -----
    SciPy's expm loses up to three digits near multiples of the identity, where an attack finds it out.

    Examples
    --------
    >>> exact_function("sqrt", np.diag([4.0, 9.0])[None]).tolist()
    [[[2.0, 0.0], [0.0, 3.0]]]
    """
    if function != "exp":
        values, Q = np.linalg.eigh(A)
        return (Q * SCALARS[function](values)[:, None]) @ Q.mT
    n = A.shape[-1]
    norm = float(np.abs(A).sum(axis=-1).max(initial=0.0))
    s = max(0, int(np.ceil(np.log2(max(norm, 1e-300)))) + 4)  # ||A / 2^s|| <= 1/16: 14 terms leave 1e-29
    B = A.astype(np.longdouble) / 2.0**s
    Z = B / 14
    for k in range(13, 0, -1):
        Z = (B + B @ Z) / k
    for _ in range(s):
        Z = 2 * Z + Z @ Z
    return (Z + np.eye(n)).astype(np.float64)


def _signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], shape)


def _rotations(rng: np.random.Generator, count: int, n: int) -> np.ndarray:
    """Orthogonal matrices: random ones, the identity, and reflections at sign vectors, in turns."""
    Q = np.linalg.qr(rng.standard_normal((count, n, n)))[0]
    s = _signs(rng, count, n)
    kind = np.arange(count) % 3
    Q[kind == 1] = np.eye(n)
    Q[kind == 2] = (np.eye(n) - 2 / n * s[:, :, None] * s[:, None])[kind == 2]
    return Q


def adversarial_matrices(domain: MatrixSet, count: int, *, seed: int = 0) -> np.ndarray:
    """Matrices (count, n, n) of a set, of the families that the head of this file names, and extremes.

    Parameters
    ----------
    domain : the set of a certificate
    count : how many; families take turns

    Notes
    -----
    Ball and box: a I + c s s', rank one, nilpotent Jordan blocks, signed permutations, orthogonal, symmetric with
    eigenvalues +-bound, random ones on the sphere. Sets with a gap: eigenvalues at both ends, random ones between.

    Examples
    --------
    >>> domain = MatrixSet("ball", 3, 2.0)
    >>> bool(domain.holds(adversarial_matrices(domain, 100)).all())
    True
    """
    rng, n = np.random.default_rng(seed), domain.n
    if domain.symmetric:
        values = domain.gap * (domain.bound / domain.gap) ** rng.uniform(0, 1, (count, n))
        ends = rng.random((count, n)) < 0.5
        values = np.where(ends, rng.choice([domain.gap, domain.bound], (count, n)), values)
        if domain.kind == "gap":
            values *= _signs(rng, count, n)
        return _rebuilt(_rotations(rng, count, n), values)
    R, kind = domain.bound, np.arange(count) % 8
    unit = 1.0 if domain.kind == "box" else 1 / n  # of s s', on the edge
    A = np.empty((count, n, n))
    s, t = _signs(rng, count, n), _signs(rng, count, n)
    c, a = rng.uniform(-1, 1, (2, count, 1, 1))
    A[:] = c * s[:, :, None] * s[:, None] * unit + (1 - np.abs(c)) * a * np.eye(n) * (kind % 2)[:, None, None]
    A[kind == 2] = (c * s[:, :, None] * t[:, None] * unit)[kind == 2]
    A[kind == 3] = (c * np.eye(n, k=1))[kind == 3]
    A[kind == 4] = np.take_along_axis(
        np.broadcast_to(np.eye(n), (count, n, n)), np.argsort(rng.random((count, n)))[:, :, None], 1
    )[kind == 4]
    A[kind == 4] *= s[kind == 4][:, None] * np.abs(c[kind == 4])
    Q = _rotations(rng, count, n)
    A[kind == 5] = Q[kind == 5]
    A[kind == 6] = _rebuilt(Q, s)[kind == 6]
    A[kind == 7] = rng.standard_normal((int((kind == 7).sum()), n, n))
    return _within(R * A, domain, kind >= 5)


def _rebuilt(Q: np.ndarray, values: np.ndarray) -> np.ndarray:
    A = (Q * values[:, None]) @ Q.mT
    return (A + A.mT) / 2


def _within(A: np.ndarray, domain: MatrixSet, out: np.ndarray | bool = False) -> np.ndarray:
    """Scaled back into the ball or the box; those of ``out`` are put on its edge."""
    top = domain.bound * (1 - 1e-14)
    size = np.abs(A).max(axis=(-2, -1)) if domain.kind == "box" else np.linalg.norm(A, 2, axis=(-2, -1))
    factor = np.where((size > top) | out, top / np.maximum(size, 1e-300), 1.0)
    return A * factor[:, None, None]


def _varied(A: np.ndarray, domain: MatrixSet, width: float, rng: np.random.Generator) -> np.ndarray:
    """Neighbours of matrices in the set."""
    count, n, _ = A.shape
    step = width * rng.exponential(size=(count, 1, 1))
    if domain.symmetric:
        values, Q = np.linalg.eigh(A)
        modulus = np.abs(values) * np.exp(step[:, 0] * rng.standard_normal((count, n)) * (rng.random((count, n)) < 0.5))
        modulus = np.clip(modulus, domain.gap, domain.bound)
        K = step * rng.standard_normal((count, n, n)) * (rng.random((count, 1, 1)) < 0.7)
        turn = np.linalg.solve(np.eye(n) + (K - K.mT) / 2, np.eye(n) - (K - K.mT) / 2)
        return _rebuilt(turn @ Q, np.sign(values) * modulus)
    ways = rng.integers(0, 5, count)
    dense = rng.standard_normal((count, n, n))
    dense[ways == 1] *= rng.random((int((ways == 1).sum()), n, n)) < 1 / n  # a few entries
    dense[ways == 2] = A[ways == 2] * rng.standard_normal((int((ways == 2).sum()), 1, 1))  # its length
    dense[ways == 3] = np.eye(n) * rng.standard_normal((int((ways == 3).sum()), 1, 1))
    dense[ways == 4] = np.sign(A[ways == 4]) * rng.standard_normal((int((ways == 4).sum()), 1, 1))
    return _within(A + step * domain.bound / n**0.5 * dense, domain)


def attack(
    network: CertifiedNetwork,
    *,
    count: int = 4096,
    generations: int = 30,
    seed: int = 0,
    exact: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Attack:
    """The largest error that is found: on adversarial matrices, and by an ascent from the worst of them.

    Parameters
    ----------
    count : adversarial matrices at the start
    generations : of count // 16 neighbours of the worst, at widths from 1e-1 down to 1e-5
    exact : f on (B, n, n); `exact_function` by default

    Returns
    -------
    Attack : ``error <= network.certificate.error``, or the certificate is wrong

    Examples
    --------
    >>> from nnla.constructions import relu_expm
    >>> network = relu_expm(2, 1.0, 1e-3)
    >>> 0.3 < attack(network, count=400, generations=5).error / network.certificate.error <= 1
    True
    """
    count, generations = whole(count, "count", 1, 10**6), whole(generations, "generations", 0, 10**4)
    rng = np.random.default_rng(seed)

    def errors(A: np.ndarray) -> np.ndarray:
        true: Any = exact_function(network.function, A) if exact is None else exact(A)
        return np.linalg.norm(network(A) - true, axis=(-2, -1))

    A = adversarial_matrices(network.domain, count, seed=seed)
    found, tried = errors(A), count
    best = np.argsort(-found)[: max(1, count // 128)]
    A, found = A[best], found[best]
    for g in range(generations):
        new = _varied(np.tile(A, (8, 1, 1)), network.domain, 10.0 ** (-1 - 4 * g / max(1, generations - 1)), rng)
        A, found = np.concatenate([A, new]), np.concatenate([found, errors(new)])
        tried += len(new)
        best = np.argsort(-found)[: max(1, count // 128)]
        A, found = A[best], found[best]
    return Attack(float(found[0]), A[0], tried)
