"""Symmetric matrices and pencils as users have them, small enough for LAPACK: structures, Laplacians, Hamiltonians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

import nnla
from eigen.spectra_known import Drawn, path, random_graph, ring, rotated, spectrum
from nnla.problems.frame_elements import Sections, assemble_frame, element_stiffness, local_axes

__all__ = ["PENCILS", "STRUCTURES", "normalised_laplacian"]


def normalised_laplacian(clusters: int, size: int, weak: float, rng: np.random.Generator) -> sp.csr_array:
    """I - D^-1/2 W D^-1/2 of groups that hang together by edges of weight `weak`: as many tiny eigenvalues."""
    n = clusters * size
    inner = max(3, min(size - 1, 6))
    i = np.repeat(np.arange(n), inner)
    j = (i // size) * size + rng.integers(size, size=i.size)
    a, b = np.arange(n - 1), np.arange(1, n)  # a path through all of them: within groups strong, between them weak
    w = np.where(a // size == b // size, 1.0, weak)
    rows, cols = np.concatenate([i, a]), np.concatenate([j, b])
    values = np.concatenate([rng.uniform(0.5, 1.5, i.size), w])
    W = sp.csr_array((values * (rows != cols), (rows, cols)), shape=(n, n))
    W = sp.csr_array(W + W.T)
    d = 1.0 / np.sqrt(np.maximum(W.sum(axis=1), 1e-300))
    L = sp.eye_array(n) - W * d[:, None] * d[None, :]
    return sp.csr_array((L + L.T) / 2)


def _clusters(rng: np.random.Generator, n: int) -> Drawn:
    groups = int(rng.integers(2, 12))
    weak = 0.0 if rng.random() < 0.2 else 10.0 ** rng.uniform(-12, -2)
    return normalised_laplacian(groups, max(3, n // groups), weak, rng), None


def _laplacian(rng: np.random.Generator, n: int) -> Drawn:
    """Normalised, of a symmetric graph."""
    A, _ = ring(max(3, n)) if rng.random() < 0.5 else random_graph(max(2, n), rng)
    d = 1.0 / np.sqrt(np.maximum(A.diagonal(), 1e-300))
    A = A * d[:, None] * d[None, :]
    return sp.csr_array((A + A.T) / 2), None


def free_frame(seed: int, grid: tuple[int, int, int]) -> sp.csr_array:
    """A building frame that is held nowhere: six rigid modes."""
    one = nnla.problems.frame("mini", seed=seed, loads=1, grid=grid)
    free = np.arange(len(one.nodes))
    return assemble_frame(element_stiffness(*local_axes(one.nodes, one.members), one.sections), one.members, free)


def _frame(rng: np.random.Generator, n: int) -> Drawn:
    side = max(1, min(4, round((n / 8) ** (1 / 3))))
    grid = (side, max(1, side - int(rng.integers(2))), max(1, side - int(rng.integers(2))))
    return free_frame(int(rng.integers(1000)), grid), None


def _beam(rng: np.random.Generator, n: int) -> Drawn:
    """Bending of a beam, free at both ends: two rigid modes and a condition number of n^4."""
    m = max(2, min(n // 2, 150))
    nodes = np.stack([np.arange(m) * 1.0, np.zeros(m), np.zeros(m)], axis=1)
    members = np.stack([np.arange(m - 1), np.arange(1, m)], axis=1)
    source = nnla.problems.frame("mini", seed=1, loads=1).sections
    first = Sections(**{name: np.repeat(np.asarray(value)[:1], m - 1, axis=0) for name, value in vars(source).items()})
    K = assemble_frame(element_stiffness(*local_axes(nodes, members), first), members, np.arange(m))
    return K, None


def _solid(rng: np.random.Generator, n: int) -> Drawn:
    if rng.random() < 0.5:
        side = max(1, min(20, round((n / 2) ** 0.5) - 1))
        return nnla.problems.elasticity2d(side, side, clamped=bool(rng.random() < 0.3)), None
    side = max(1, min(5, round((n / 3) ** (1 / 3)) - 1))
    return nnla.problems.elasticity3d(side, side, max(1, side - 1), clamped=False), None


def _springs(rng: np.random.Generator, n: int) -> Drawn:
    """Masses in a row, springs of many strengths; in several identical rows."""
    rows = int(rng.integers(1, 7))
    m = max(2, n // rows)
    k = 10.0 ** rng.uniform(0.0, rng.uniform(0.5, 6.0), m - 1)
    d = np.zeros(m)
    d[1:] += k
    d[:-1] += k
    one = sp.diags_array([-k, d, -k], offsets=[-1, 0, 1])
    return sp.csr_array(sp.kron(one, sp.eye_array(rows))), None


def _molecule(rng: np.random.Generator, n: int) -> Drawn:
    """An empty sphere, on a grid with the cube's symmetry."""
    radius = max(1.6, 0.62 * min(n, 700) ** (1 / 3))
    return nnla.problems.hamiltonian([], radius, 1.0, offset=float(rng.choice([0.0, 0.5]))), None


def _wilkinson(rng: np.random.Generator, n: int) -> Drawn:
    """Wilkinson's matrices, glued: pairs that differ in the last digits."""
    half = int(rng.integers(3, 11))
    m = 2 * half + 1
    copies = max(1, n // m)
    d = np.tile(np.abs(np.arange(-half, half + 1.0)), copies)
    e = np.ones(m * copies - 1)
    e[m - 1 :: m] = 10.0 ** rng.uniform(-14, -1)
    return sp.csr_array(sp.diags_array([e, d, e], offsets=[-1, 0, 1])), None


def _near_diagonal(rng: np.random.Generator, n: int) -> Drawn:
    w = spectrum(n, rng)
    E = sp.random_array((n, n), density=min(1.0, 3.0 / n), rng=rng)
    E = 10.0 ** rng.uniform(-14, -2) * (E + E.T)
    return sp.csr_array(sp.diags_array(w) + E), None


def _gram(rng: np.random.Generator, n: int) -> Drawn:
    """X'X of fewer rows than columns: a null space of many dimensions."""
    X = sp.random_array((max(1, n - int(rng.integers(0, 40))), n), density=min(1.0, 4.0 / n), rng=rng)
    A = X.T @ X
    return sp.csr_array((A + A.T) / 2), None


def _adjacency(rng: np.random.Generator, n: int) -> Drawn:
    """Adjacency of a tree or of a symmetric graph: eigenvalues of both signs, many zero."""
    A, _ = random_graph(max(2, n), rng)
    W = A - sp.diags_array(A.diagonal())
    return sp.csr_array(-W), None


STRUCTURES: dict[str, Callable[[np.random.Generator, int], Drawn]] = {
    "clusters": _clusters,
    "normalised": _laplacian,
    "frame": _frame,
    "beam": _beam,
    "solid": _solid,
    "springs": _springs,
    "sphere": _molecule,
    "Wilkinson": _wilkinson,
    "near-diagonal": _near_diagonal,
    "gram": _gram,
    "adjacency": _adjacency,
}


# -- pencils K x = lambda M x: (K, M, eigenvalues or None) ---------------------------------------------------------

Pencil = tuple[Any, Any, "np.ndarray | None"]


def _lumped(rng: np.random.Generator, n: int) -> Pencil:
    """A diagonal mass, and the spectrum planted."""
    A, w = rotated(spectrum(n, rng), rng)
    d = 10.0 ** rng.uniform(-rng.uniform(0, 3), 0, n)
    r = np.sqrt(d)
    K = A * r[:, None] * r[None, :]
    return sp.csr_array((K + K.T) / 2), sp.csr_array(sp.diags_array(d)), w


def _congruent(rng: np.random.Generator, n: int) -> Pencil:
    """C A C' and C C': the spectrum of A."""
    A, w = rotated(spectrum(n, rng), rng)
    C = sp.diags_array([rng.uniform(0.5, 1.5, n), rng.uniform(-0.3, 0.3, n - 1)], offsets=[0, -1])
    K, M = C @ A @ C.T, C @ C.T
    return sp.csr_array((K + K.T) / 2), sp.csr_array((M + M.T) / 2), w


def _elements(rng: np.random.Generator, n: int) -> Pencil:
    """Linear elements on a square, free at its sides, consistent mass: sums of the values of the sides, doubled."""
    m = max(2, round(n**0.5))
    K, _ = path(m)
    d = np.full(m, 4.0)
    d[[0, -1]] = 2.0
    M = sp.csr_array(sp.diags_array([np.ones(m - 1), d, np.ones(m - 1)], offsets=[-1, 0, 1]) / 6.0)
    return sp.csr_array(sp.kron(K, M) + sp.kron(M, K)), sp.csr_array(sp.kron(M, M)), None


def _vibration(rng: np.random.Generator, n: int) -> Pencil:
    """A structure held nowhere, with random masses: rigid modes."""
    K, _ = _frame(rng, n) if rng.random() < 0.5 else _solid(rng, n)
    return K, sp.csr_array(sp.diags_array(rng.uniform(0.5, 2.0, K.shape[0]))), None


PENCILS: dict[str, Callable[[np.random.Generator, int], Pencil]] = {
    "lumped mass": _lumped,
    "congruent": _congruent,
    "elements": _elements,
    "vibration": _vibration,
}
