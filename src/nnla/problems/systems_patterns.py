"""Generated systems that are known by their pattern: many parts, arrows, borders, nearly diagonal ones, dense rows."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.assembly import graph_laplacian
from nnla.problems.gallery import poisson2d, poisson3d
from nnla.problems.systems_graphs import simple_edges
from nnla.problems.systems_optimisation import sparse_rows
from nnla.problems.systems_types import Drawn, SystemFamily, decades, mirrored, whole_decades

__all__ = ["FAMILIES"]


def many_parts(rng: np.random.Generator, n: int) -> Drawn:
    """Many small systems side by side: dense blocks, chains or grids that know nothing of each other.

    Block Jacobi and local projections, as of hybridised methods (Cockburn 2009) and batches of small fits.
    """
    kind = str(rng.choice(np.array(["dense", "chains", "grids"])))
    size = whole_decades(rng, 2, 40 if kind == "dense" else max(5, n // 5))
    if kind == "grids":
        side = max(2, round(size**0.5))
        size, one = side * side, poisson2d(side)
    elif kind == "chains":
        one = csr_array(sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(size, size)))
    else:
        V = rng.standard_normal((size, size + 2))
        one = csr_array(V @ V.T / size + decades(rng, -4, 0) * np.eye(size))
    count = max(2, n // size)
    scale = decades(rng, 0, rng.uniform(0.0, 4.0), count)
    A = csr_array(sparse.kron(sparse.diags_array(scale), one))
    b = np.repeat(scale, size) * rng.standard_normal(A.shape[0])
    return mirrored(A), b, {"parts": count, "size": size, "inside": kind}


def arrow(rng: np.random.Generator, n: int) -> Drawn:
    """An arrow: diagonal or banded, with a few dense rows and columns, of global parameters or constraints.

    Golub and Van Loan, section 4.5; Bjorck, Numerical Methods for Least Squares (1996), section 6.3 (block angular).
    """
    dense, half = whole_decades(rng, 1, max(2.0, min(40.0, n / 20))), int(rng.integers(0, 4))
    m = n - dense
    rank = decades(rng, -1, 0)
    border = sparse_rows(rng, dense, m, rank * m)
    D = sparse.diags_array(decades(rng, -1, 1, m))
    body: Any = D
    for _ in range(half):
        off = sparse.diags_array([rng.uniform(-0.4, 0.4, m - 1)], offsets=[-1], shape=(m, m))
        L = sparse.eye_array(m) + off
        body = L @ body @ L.T
    weight = decades(rng, -2, 0)
    # B + W C^-1 W^T in the corner keeps the Schur complement at least as large as B
    scaled = border @ sparse.diags_array(weight * np.sqrt(D.diagonal()))
    if half == 0:
        corner = scaled @ sparse.diags_array(1.0 / D.diagonal()) @ scaled.T + sparse.eye_array(dense)
    else:
        strength = np.asarray(abs(scaled).sum(axis=1)).ravel()
        floor = 1e-2 * float(D.diagonal().min())
        body = body + floor * sparse.eye_array(m)
        corner = sparse.diags_array(strength * float(abs(scaled).sum(axis=0).max()) / floor + 1.0)
    A = sparse.block_array([[body, scaled.T], [scaled, corner]])
    b = rng.standard_normal(n)
    if rng.random() < 0.3:  # the dense ones first: the order that fills everything
        old = np.concatenate([np.arange(m, n), np.arange(m)])
        return mirrored(csr_array(A)[old][:, old]), b, {"dense": dense, "band": half}
    return mirrored(A), b, {"dense": dense, "band": half}


def nearly_diagonal(rng: np.random.Generator, n: int) -> Drawn:
    """Strong diagonals with weak couplings over decades of scale: a few steps of Jacobi-CG do.

    Overlap and mass-like matrices after scaling; Newton steps of log-barriers (Boyd and Vandenberghe 2004, section 11).
    """
    degree, coupling = rng.uniform(0.3, 8.0), decades(rng, -3, -0.3)
    ends = rng.integers(0, n, (2, max(2, int(degree * n / 2))))
    i, j = simple_edges(ends[0], ends[1])
    scale = decades(rng, 0, rng.uniform(0.0, 3.0), n)
    value = rng.uniform(-1.0, 1.0, i.size)
    strength = np.bincount(i, abs(value), n) + np.bincount(j, abs(value), n)
    most = max(float(strength.max()), 1.0)
    rows, cols = np.concatenate([i, j]), np.concatenate([j, i])
    off = sparse.coo_array((np.tile(coupling * value / most, 2), (rows, cols)), shape=(n, n))
    S = sparse.diags_array(scale)
    A = S @ (sparse.eye_array(n) + off) @ S
    return mirrored(A), scale * rng.standard_normal(n), {"degree": degree, "coupling": coupling}


def low_rank_update(rng: np.random.Generator, n: int) -> Drawn:
    """A grid or a diagonal plus a few sensors that each see a patch: D + sum of outer products of sparse vectors.

    Nocedal and Wright, Numerical Optimization (2006), chapter 7 (limited memory); data assimilation, observations with
    a footprint (Daley 1991).
    """
    if rng.random() < 0.5:
        side = max(3, round(n**0.5))
        base: Any = poisson2d(side, max(3, n // side))
    else:
        side = max(2, round(n ** (1 / 3)))
        base = poisson3d(side, side, max(2, n // side**2))
    n = base.shape[0]
    count, patch = whole_decades(rng, 1, max(2.0, n**0.5)), whole_decades(rng, 4, max(5.0, min(150.0, n / 5)))
    first = rng.integers(0, max(1, n - 2 * patch), count)
    cols = np.minimum(first[:, None] + np.sort(rng.integers(0, 2 * patch, (count, patch)), axis=1), n - 1)
    H = csr_array(
        sparse.coo_array((rng.random(cols.size), (np.repeat(np.arange(count), patch), cols.ravel())), shape=(count, n))
    )
    weight = decades(rng, -2, 3)
    A = decades(rng, -2, 1) * base + weight * (H.T @ H) + 1e-6 * sparse.eye_array(n)
    return mirrored(A), H.T @ rng.standard_normal(count) * weight, {"sensors": count, "patch": patch, "weight": weight}


def multilevel_network(rng: np.random.Generator, n: int) -> Drawn:
    """A machine or a market in levels: groups of groups, each level coupled more weakly by a factor, over decades.

    Simon and Ando, Aggregation of variables in dynamic systems (1961); Courtois, Decomposability (1977).
    """
    branch, fall = int(rng.integers(3, 12)), decades(rng, -2.5, -0.3)
    levels = max(1, round(np.log(n) / np.log(branch)))
    node = np.arange(n)
    i, j, w = [node[:-1]], [node[1:]], [np.full(n - 1, fall**levels)]
    for level in range(levels):
        size = branch ** (level + 1)
        for _ in range(2):
            other = np.minimum(node - node % size + rng.integers(0, size, n), n - 1)
            i.append(node)
            j.append(other)
            w.append(np.full(n, fall**level))
    a, b, weight = np.concatenate(i), np.concatenate(j), np.concatenate(w) * decades(rng, -0.5, 0.5)
    apart = a != b
    leak = np.zeros(n)
    leak[:: max(1, n // whole_decades(rng, 1, 100))] = 1.0
    A = graph_laplacian(a[apart], b[apart], weight[apart], leak)
    return A, rng.standard_normal(n), {"branch": branch, "fall": fall, "levels": levels}


FAMILIES = {
    "many parts": SystemFamily(many_parts, "patterns"),
    "arrow": SystemFamily(arrow, "patterns", largest=200_000),
    "nearly diagonal": SystemFamily(nearly_diagonal, "patterns"),
    "low rank update": SystemFamily(low_rank_update, "patterns", largest=300_000),
    "multilevel network": SystemFamily(multilevel_network, "graphs", largest=300_000),
}
