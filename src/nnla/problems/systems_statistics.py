"""Generated systems of spatial statistics: precisions of autoregressions and random fields, covariances with nugget."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.assembly import symmetric_csr
from nnla.problems.finite_elements import p1_mass, p1_stiffness
from nnla.problems.systems_graphs import edges_of_cells
from nnla.problems.systems_meshes import triangles
from nnla.problems.systems_types import Drawn, SystemFamily, decades, mirrored, whole_decades

__all__ = ["FAMILIES"]


def _neighbours(rng: np.random.Generator, n: int) -> tuple[csr_array, str]:
    """0/1 adjacency (not always symmetric) of regions or sites: contiguity, nearest neighbours, or a lattice."""
    from scipy.spatial import cKDTree

    kind = str(rng.choice(np.array(["contiguity", "nearest", "queen"])))
    if kind == "queen":
        nx = max(2, int((n * rng.uniform(0.3, 1.0)) ** 0.5))
        near: Any = sparse.csr_array([[1.0]])
        for m in (nx, max(2, n // nx)):
            near = sparse.kron(near, sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(m, m)))
        W = csr_array(near)
        W.setdiag(0.0)
        W.eliminate_zeros()
        return W, kind
    if kind == "contiguity":
        points, cells, _ = triangles(rng, n)
        i, j = edges_of_cells(cells)
        return csr_array(
            sparse.coo_array((np.ones(2 * len(i)), (np.r_[i, j], np.r_[j, i])), shape=2 * (len(points),))
        ), kind
    points = rng.random((n, 2))
    if rng.random() < 0.5:  # houses cluster in towns
        towns = rng.random((max(2, n // 200), 2))
        points = towns[rng.integers(0, len(towns), n)] + 0.05 * rng.standard_normal((n, 2))
    k = min(n - 1, int(rng.integers(4, 13)))
    near = cKDTree(points).query(points, k=k + 1)[1][:, 1:]
    return csr_array(sparse.coo_array((np.ones(n * k), (np.repeat(np.arange(n), k), near.ravel())), shape=(n, n))), kind


def sar_precision(rng: np.random.Generator, n: int) -> Drawn:
    """Simultaneous autoregression: (I - rho W)^T (I - rho W), W row-standardised; b = (I - rho W)^T y.

    LeSage and Pace, Introduction to Spatial Econometrics (2009), chapter 3; R's spatialreg.
    """
    W, kind = _neighbours(rng, n)
    n = W.shape[0]
    rho = 1.0 - decades(rng, -2.5, -0.2)
    degree = np.maximum(np.asarray(W.sum(axis=1)).ravel(), 1.0)
    S = sparse.eye_array(n) - rho * (sparse.diags_array(1.0 / degree) @ W)
    return mirrored(S.T @ S), S.T @ rng.standard_normal(n), {"neighbours": kind, "rho": rho}


def car_precision(rng: np.random.Generator, n: int) -> Drawn:
    """Conditional autoregression with data: tau (D - rho W) plus the precision of counts in each region.

    Besag (1974); Besag, York, Mollie (1991), disease mapping; R's CARBayes. b = the weighted data.
    """
    W, kind = _neighbours(rng, n)
    W = csr_array(W.maximum(W.T))
    n = W.shape[0]
    rho, tau = 1.0 - float(rng.choice([0.0, decades(rng, -3, -0.5)])), decades(rng, -1, 2)
    degree = np.asarray(W.sum(axis=1)).ravel()
    counts = rng.poisson(decades(rng, 0, 2, n)) + decades(rng, -3, -1)
    A = tau * (sparse.diags_array(degree) - rho * W) + sparse.diags_array(counts)
    return mirrored(A), counts * rng.standard_normal(n), {"neighbours": kind, "rho": rho, "tau": tau}


def matern_field(rng: np.random.Generator, n: int) -> Drawn:
    """A Matern field by its stochastic equation, K = kappa^2 C + G or K C^-1 K, with or without observations.

    Lindgren, Rue, Lindstrom, J. R. Stat. Soc. B 73 (2011); R-INLA. b = A^T y / noise.
    """
    points, cells, drawn = triangles(rng, n)
    n = len(points)
    order, extent = int(rng.integers(1, 3)), float(np.ptp(points, axis=0).max())
    reach = rng.uniform(0.01, 0.5) * extent
    C = p1_mass(points, cells)
    lumped = np.asarray(C.sum(axis=1)).ravel()
    K = sparse.diags_array(8.0 / reach**2 * lumped) + p1_stiffness(points, cells)
    Q = csr_array(K) if order == 1 else csr_array(K @ sparse.diags_array(1.0 / lumped) @ K)
    observed = rng.random(n) < decades(rng, -2.5, 0)
    noise = decades(rng, -2, 1)
    # in units of the field's own precision
    weight = float(np.median(Q.diagonal())) / noise if rng.random() < 0.7 else 0.0
    Q = csr_array(Q + sparse.diags_array(weight * observed))
    b = weight * observed * rng.standard_normal(n) if weight and observed.any() else rng.standard_normal(n)
    return mirrored(Q), b, {**drawn, "order": order, "range": reach / extent, "noise": noise if weight else 0.0}


def space_time_field(rng: np.random.Generator, n: int) -> Drawn:
    """A separable space-time field: an autoregression in time times a lattice field in space, plus observations.

    Cameletti et al., AStA 97 (2013); Rue and Held, Gaussian Markov Random Fields (2005), section 3.4.
    """
    times = whole_decades(rng, 4, max(5, n // 20))
    side = max(2, int((n / times) ** 0.5))
    phi, kappa = rng.uniform(0.3, 0.99), decades(rng, -2, 0)
    ends = np.full(times, 1.0 + phi**2)
    ends[[0, -1]] = 1.0
    T = sparse.diags_array([np.full(times - 1, -phi), ends, np.full(times - 1, -phi)], offsets=[-1, 0, 1])
    L = sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(side, side))
    S = (
        kappa * sparse.eye_array(side**2)
        + sparse.kron(L, sparse.eye_array(side))
        + sparse.kron(sparse.eye_array(side), L)
    )
    S = S @ S if rng.random() < 0.4 else S
    Q = sparse.kron(T, S)
    observed = (rng.random(Q.shape[0]) < rng.uniform(0.05, 1.0)) * decades(rng, -1, 2)
    return mirrored(Q + sparse.diags_array(observed)), rng.standard_normal(Q.shape[0]), {"times": times, "phi": phi}


def tapered_covariance(rng: np.random.Generator, n: int) -> Drawn:
    """A tapered covariance: exponential or Matern times Wendland's function, plus a nugget; kriging.

    Furrer, Genton, Nychka, J. Comput. Graph. Stat. 15 (2006); Kaufman, Schervish, Nychka (2008).
    """
    from scipy.spatial import cKDTree

    d = int(rng.choice(np.array([1, 2, 2, 3])))
    points = rng.random((n, d))
    if rng.random() < 0.3:
        points = points ** rng.uniform(1.2, 2.5)
    neighbours = rng.uniform(10.0, 60.0)
    ball = {1: 2.0, 2: np.pi, 3: 4 / 3 * np.pi}[d]
    radius = (neighbours / n / ball) ** (1.0 / d)
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    r = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1) / radius
    reach, nugget = rng.uniform(0.1, 3.0), decades(rng, -4, 0)
    covariance = np.exp(-r / reach) if rng.random() < 0.6 else (1 + r / reach) * np.exp(-r / reach)
    nodes = np.arange(n)
    A = symmetric_csr(
        np.concatenate([pairs.max(axis=1), nodes]),
        np.concatenate([pairs.min(axis=1), nodes]),
        np.concatenate([covariance * (1 - r) ** 4 * (4 * r + 1), np.full(n, 1.0 + nugget)]),
        n,
    )
    return (
        A,
        np.sin(6 * points).sum(axis=1) + nugget**0.5 * rng.standard_normal(n),
        {"neighbours": neighbours, "nugget": nugget},
    )


def kernel_matrix(rng: np.random.Generator, n: int) -> Drawn:
    """A kernel matrix of a Gaussian process or of ridge regression, dense or nearly so, plus noise.

    Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapter 2.
    """
    d = int(rng.integers(1, 8))
    points = rng.standard_normal((n, d))
    square = (points**2).sum(axis=1)
    distance = np.maximum(square[:, None] + square[None, :] - 2.0 * points @ points.T, 0.0)
    length, noise = rng.uniform(0.2, 3.0), decades(rng, -5, 0)
    kind = str(rng.choice(np.array(["gaussian", "exponential"])))
    K = np.exp(-distance / (2 * length**2) if kind == "gaussian" else -np.sqrt(distance) / length)
    K = 0.5 * (K + K.T)
    np.fill_diagonal(K, 1.0 + noise)
    y = np.sin(2 * points).sum(axis=1) + noise**0.5 * rng.standard_normal(n)
    return csr_array(K), y, {"kernel": kind, "dimension": d, "length": length, "noise": noise}


def nearest_neighbour_process(rng: np.random.Generator, n: int) -> Drawn:
    """Vecchia's approximation: (I - B)^T D^-1 (I - B), each site conditioned on near earlier ones, plus noise.

    Vecchia (1988); Datta et al., J. Am. Stat. Assoc. 111 (2016); R's spNNGP and GpGp.
    """
    from scipy.spatial import cKDTree

    points, k = rng.random((n, 2)), int(rng.integers(3, 11))
    points = points[np.argsort(points[:, 0])] if rng.random() < 0.5 else points
    distance, near = cKDTree(points).query(points, k=min(n, 2 * k + 1))
    row = np.repeat(np.arange(n), near.shape[1])
    earlier = near.ravel() < row
    row, col, r = row[earlier], near.ravel()[earlier], distance.ravel()[earlier]
    reach = rng.uniform(0.5, 20.0) / n**0.5
    weight = np.exp(-r / reach)
    total = np.bincount(row, weight, n)
    held = rng.uniform(0.8, 0.999)
    B = sparse.coo_array((held * weight / total[row], (row, col)), shape=(n, n)).tocsr()
    variance = 1.0 - np.exp(-2.0 * np.maximum(distance[:, 1], 1e-6) / reach) + 1e-3
    S = sparse.eye_array(n) - B
    noise = decades(rng, -1.5, 1.5)
    A = S.T @ sparse.diags_array(1.0 / variance) @ S + sparse.eye_array(n) / noise
    return mirrored(A), rng.standard_normal(n) / noise, {"neighbours": k, "held": held, "noise": noise}


FAMILIES = {
    "sar precision": SystemFamily(sar_precision, "spatial statistics", largest=300_000),
    "car precision": SystemFamily(car_precision, "spatial statistics"),
    "matern field": SystemFamily(matern_field, "spatial statistics"),
    "space-time field": SystemFamily(space_time_field, "spatial statistics", largest=500_000),
    "tapered covariance": SystemFamily(tapered_covariance, "spatial statistics", largest=100_000),
    "kernel matrix": SystemFamily(kernel_matrix, "spatial statistics", largest=2_000, orders=("natural",)),
    "nearest neighbour process": SystemFamily(nearest_neighbour_process, "spatial statistics", largest=200_000),
}
