"""Symmetric matrices whose eigenvalues are known without computing them from the matrix: graphs, products, copies."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
import scipy.sparse as sp

__all__ = ["KNOWN", "Drawn", "kron_sum", "path", "random_graph", "ring", "rotated"]

Drawn = tuple[sp.csr_array, "np.ndarray | None"]  # the matrix, and its eigenvalues where they are known


def path(n: int) -> Drawn:
    """Laplacian of a path."""
    d = np.full(n, 2.0)
    for end in (0, -1):  # one after the other: a single point loses both
        d[end] -= 1.0
    A = sp.diags_array([-np.ones(n - 1), d, -np.ones(n - 1)], offsets=[-1, 0, 1])
    return sp.csr_array(A), 4.0 * np.sin(np.arange(n) * np.pi / (2 * n)) ** 2


def ring(n: int) -> Drawn:
    """Laplacian of a ring: all eigenvalues double but one or two."""
    if n < 3:
        return path(n)
    i = np.arange(n)
    ones = np.ones(n)
    S = sp.csr_array((ones, (i, (i + 1) % n)), shape=(n, n))
    return sp.csr_array(2.0 * sp.eye_array(n) - S - S.T), 4.0 * np.sin(i * np.pi / n) ** 2


def star(n: int) -> Drawn:
    """Laplacian of a star: the eigenvalue 1 is (n - 2)-fold."""
    if n < 3:
        return path(n)
    i, zero = np.arange(1, n), np.zeros(n - 1, dtype=int)
    S = sp.csr_array((np.ones(n - 1), (zero, i)), shape=(n, n))
    D = sp.diags_array(np.concatenate([[n - 1.0], np.ones(n - 1)]))
    return sp.csr_array(D - S - S.T), np.concatenate([[0.0], np.ones(n - 2), [float(n)]])


def bipartite(a: int, b: int) -> Drawn:
    """Laplacian of the complete bipartite graph: a is (b - 1)-fold, b is (a - 1)-fold."""
    B = np.block([[b * np.eye(a), -np.ones((a, b))], [-np.ones((b, a)), a * np.eye(b)]])
    return sp.csr_array(B), np.concatenate([[0.0, a + b], np.full(b - 1, float(a)), np.full(a - 1, float(b))])


def complete(n: int) -> Drawn:
    return sp.csr_array(n * np.eye(n) - np.ones((n, n))), np.concatenate([[0.0], np.full(n - 1, float(n))])


def kron_sum(*factors: Drawn) -> Drawn:
    """A (x) I + I (x) B: eigenvalues are the sums. The product of graphs."""

    def two(x: Drawn, y: Drawn) -> Drawn:
        (A, a), (B, b) = x, y
        assert a is not None
        assert b is not None
        m, n = A.shape[0], B.shape[0]
        K = sp.kron(A, sp.eye_array(n)) + sp.kron(sp.eye_array(m), B)
        return sp.csr_array(K), np.add.outer(a, b).ravel()

    return reduce(two, factors)


def random_graph(n: int, rng: np.random.Generator) -> Drawn:
    """Laplacian of a small connected graph with random weights; its spectrum from LAPACK."""
    i = np.arange(1, n)
    j = (rng.random(n - 1) * i).astype(int)
    extra = rng.integers(n, size=(2, n // 2))
    rows, cols = np.concatenate([i, extra[0]]), np.concatenate([j, extra[1]])
    w = rng.uniform(0.5, 2.0, rows.size) if rng.random() < 0.5 else np.ones(rows.size)
    w[rows == cols] = 0.0
    W = np.zeros((n, n))
    np.add.at(W, (rows, cols), w)
    W = W + W.T
    L = np.diag(W.sum(axis=1)) - W
    return sp.csr_array(L), np.linalg.eigvalsh(L)


def shuffled(x: Drawn, rng: np.random.Generator) -> Drawn:
    """The same with rows and columns in random order."""
    A, w = x
    p = rng.permutation(A.shape[0])
    return sp.csr_array(A[p][:, p]), w


def spectrum(n: int, rng: np.random.Generator) -> np.ndarray:
    """n eigenvalues with multiplicities up to 8 at the ends, spread in one of several ways."""
    kind = rng.integers(5)
    if kind == 0:
        w = rng.uniform(0.0, 1.0, n)
    elif kind == 1:  # over decades
        w = 10.0 ** rng.uniform(-rng.uniform(1, 8), 0, n)
    elif kind == 2:  # as of a mesh
        w = (np.arange(n) + 1.0) ** 2 / n**2
    elif kind == 3:  # of both signs
        w = rng.standard_normal(n)
    else:  # clusters
        w = rng.choice(rng.uniform(0.0, 1.0, max(2, n // 20)), n) + 10.0 ** rng.uniform(-13, -4) * rng.standard_normal(
            n
        )
    w = np.sort(w)
    at = 0
    while at < n and at < 40:  # planted from below, and the same from above
        many = int(rng.choice([1, 1, 2, 2, 3, 4, 5, 6, 7, 8]))
        w[at : at + many] = w[at]
        if n - at - many > n // 2:
            w[n - at - many : n - at] = w[n - 1 - at]
        at += many
    return w


def rotated(w: np.ndarray, rng: np.random.Generator) -> Drawn:
    """Sparse, with the eigenvalues w: rotations in random planes, and a reflection of a few rows."""
    n = w.size
    A = sp.lil_array(sp.diags_array(rng.permutation(w)))
    A = sp.csr_array(A)
    for _ in range(int(rng.integers(1, 4))):  # disjoint rotations at a time: each doubles the entries of a row at most
        p = rng.permutation(n)[: 2 * (n // 2)]
        i, j = p[::2], p[1::2]
        t = rng.uniform(0.0, 2 * np.pi, i.size)
        d = np.ones(n)
        d[i] = d[j] = np.cos(t)
        G = sp.csr_array(
            (
                np.concatenate([d, np.sin(t), -np.sin(t)]),
                (np.concatenate([np.arange(n), i, j]), np.concatenate([np.arange(n), j, i])),
            ),
            shape=(n, n),
        )
        A = sp.csr_array(G @ A @ G.T)
    few = rng.permutation(n)[: int(min(n, rng.integers(2, 12)))]
    h = rng.standard_normal(few.size)
    h /= np.linalg.norm(h)
    H = sp.eye_array(n, format="lil")
    H[np.ix_(few, few)] = np.eye(few.size) - 2.0 * np.outer(h, h)
    H = sp.csr_array(H)
    A = H @ A @ H.T
    return sp.csr_array((A + A.T) / 2), np.sort(w)


# -- draws: (rng, n) -> Drawn, n about the size wanted ------------------------------------------------------------


def _several(rng: np.random.Generator, n: int, make: Callable[[int], Drawn], dimensions: int) -> Drawn:
    """Kronecker sum of so many factors of about equal size."""
    side = max(2, round(n ** (1.0 / dimensions)))
    sizes = [side if rng.random() < 0.5 else max(2, side + int(rng.integers(-2, 3))) for _ in range(dimensions)]
    return kron_sum(*(make(m) for m in sizes))


def _tube(rng: np.random.Generator, n: int) -> Drawn:
    around = int(rng.integers(3, max(4, min(40, n // 3) + 1)))
    return kron_sum(ring(around), path(max(1, n // around)))


def _hypercube(rng: np.random.Generator, n: int) -> Drawn:
    return kron_sum(*[path(2)] * max(1, round(np.log2(max(n, 2)))))


def _copies(rng: np.random.Generator, n: int) -> Drawn:
    """Identical components, up to 8 of them."""
    m = int(rng.integers(2, 9))
    A, w = random_graph(max(1, n // m), rng) if rng.random() < 0.6 else path(max(1, n // m))
    assert w is not None
    if rng.random() < 0.3:  # a shift, so that the end is not zero
        A, w = sp.csr_array(A + sp.eye_array(A.shape[0])), w + 1.0
    return shuffled((sp.csr_array(sp.kron(sp.eye_array(m), A)), np.tile(w, m)), rng)


def _coupled(rng: np.random.Generator, n: int) -> Drawn:
    """Copies that all see each other: a product with a complete graph."""
    m = int(rng.integers(2, 9))
    K, k = complete(m)
    assert k is not None
    c = 10.0 ** rng.uniform(-6, 1)
    return shuffled(kron_sum(random_graph(max(1, n // m), rng), (sp.csr_array(c * K), c * k)), rng)


def _products(rng: np.random.Generator, n: int) -> Drawn:
    a = int(max(1, min(n, 40, rng.integers(2, 12))))
    return shuffled(kron_sum(random_graph(a, rng), random_graph(max(1, n // a), rng)), rng)


def _kron(rng: np.random.Generator, n: int) -> Drawn:
    """A Kronecker product: of both signs, and with multiple zeros where a factor is singular."""
    a = int(max(1, min(n, rng.integers(2, 10))))
    (A, x), (B, y) = random_graph(a, rng), random_graph(max(1, n // a), rng)
    assert x is not None
    assert y is not None
    s = rng.uniform(-1.0, 1.0) if rng.random() < 0.5 else 0.0
    A = A - s * sp.eye_array(a)
    return sp.csr_array(sp.kron(A, B)), np.multiply.outer(x - s, y).ravel()


def _planted(rng: np.random.Generator, n: int) -> Drawn:
    return rotated(spectrum(n, rng), rng)


def _diagonal(rng: np.random.Generator, n: int) -> Drawn:
    w = spectrum(n, rng)
    return sp.csr_array(sp.diags_array(rng.permutation(w))), w


def _stiff(rng: np.random.Generator, n: int) -> Drawn:
    """A diagonal over many decades, repeated."""
    w = np.repeat(10.0 ** rng.uniform(-rng.uniform(2, 14), 0, n // 3 + 1), 3)[:n]
    return rotated(w, rng) if rng.random() < 0.5 else (sp.csr_array(sp.diags_array(w)), w)


def _identity(rng: np.random.Generator, n: int) -> Drawn:
    """A multiple of the identity, or zero, but for a few."""
    w = np.full(n, float(rng.choice([0.0, 1.0, -3.0])))
    w[: int(rng.integers(0, min(n, 4) + 1))] += 1.0
    return rotated(w, rng) if rng.random() < 0.5 else (sp.csr_array(sp.diags_array(w)), w)


def _bipartite(rng: np.random.Generator, n: int) -> Drawn:
    n = max(2, min(n, 500))
    a = int(rng.integers(1, n))
    return shuffled(bipartite(a, n - a), rng)


def _oscillator(rng: np.random.Generator, n: int) -> Drawn:
    """A Hamiltonian of several dimensions, the same in each: multiplets 1, 3, 6, ... or 1, 2, 3, ..."""
    d = int(rng.choice([2, 3]))
    m = max(2, round(n ** (1.0 / d)))
    A, _ = path(m)
    x = np.linspace(-1.0, 1.0, m) * rng.uniform(2.0, 8.0)
    h = (x[1] - x[0]) ** 2
    well = x**2 if rng.random() < 0.5 else -rng.uniform(1.0, 6.0) * np.exp(-(x**2))
    one = sp.csr_array(A / h + sp.diags_array(well))
    return kron_sum(*[(one, np.linalg.eigvalsh(one.toarray()))] * d)


def _signed(rng: np.random.Generator, n: int) -> Drawn:
    """B and -B side by side: every eigenvalue with both signs."""
    A, w = random_graph(max(1, n // 2), rng)
    assert w is not None
    return shuffled((sp.csr_array(sp.block_diag([A, -A])), np.concatenate([w, -w])), rng)


KNOWN: dict[str, Callable[[np.random.Generator, int], Drawn]] = {
    "path": lambda rng, n: path(n),
    "ring": lambda rng, n: ring(n),
    "star": lambda rng, n: shuffled(star(n), rng),
    "bipartite": _bipartite,
    "complete": lambda rng, n: complete(min(n, 500)),
    "tube": _tube,
    "torus": lambda rng, n: _several(rng, n, ring, 2),
    "torus 3-D": lambda rng, n: _several(rng, n, ring, 3),
    "grid": lambda rng, n: _several(rng, n, path, 2),
    "grid 3-D": lambda rng, n: _several(rng, n, path, 3),
    "hypercube": _hypercube,
    "components": _copies,
    "coupled copies": _coupled,
    "product of graphs": _products,
    "Kronecker product": _kron,
    "planted": _planted,
    "diagonal": _diagonal,
    "stiff": _stiff,
    "identity": _identity,
    "oscillator": _oscillator,
    "both signs": _signed,
}
