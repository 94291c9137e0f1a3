"""Generated systems of geometry processing: Laplacians of closed surfaces, fairing, deformation, point clouds."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.assembly import assemble, symmetric_csr
from nnla.problems.systems_meshes import closed_surface
from nnla.problems.systems_types import Drawn, SystemFamily, decades, mirrored, whole_decades

__all__ = ["FAMILIES", "cotangents"]


def cotangents(points: np.ndarray, cells: np.ndarray) -> tuple[csr_array, np.ndarray]:
    """The Laplacian of a triangulated surface in space, positive semidefinite, and the area that each point has.

    Pinkall and Polthier (1993); Meyer et al. (2003). A cotangent below a small positive one is raised to it, so that no
    weight is negative, as geometry codes do.
    """
    p = points[cells]
    first, second = np.array([1, 2, 0]), np.array([2, 0, 1])
    u, v = p[:, first] - p, p[:, second] - p
    cross = np.linalg.norm(np.cross(u, v), axis=2)
    cross = np.maximum(cross, 1e-9 * float(np.median(cross)))
    weight = np.maximum(0.5 * (u * v).sum(axis=2) / cross, -0.2)
    K = np.zeros((len(cells), 3, 3))
    for corner in range(3):
        i, j = first[corner], second[corner]
        K[:, i, j] = K[:, j, i] = -weight[:, corner]
        K[:, i, i] += weight[:, corner]
        K[:, j, j] += weight[:, corner]
    area = np.bincount(cells.ravel(), np.repeat(cross[:, 0] / 6.0, 3), len(points))
    L = assemble(cells, K, len(points))
    # of a sum over the two triangles of a side, the negative ones are cut: then L is an M-matrix
    C = sparse.coo_array(L)
    row, col = C.coords
    off = row != col
    low = 1e-4 * float(np.median(np.abs(C.data[off])))
    w = np.maximum(-C.data[off], low)
    diagonal = np.bincount(row[off], w, len(points))
    nodes = np.arange(len(points))
    return (
        symmetric_csr(
            np.concatenate([row[off], nodes]),
            np.concatenate([col[off], nodes]),
            np.concatenate([-w, diagonal]),
            len(points),
        ),
        area,
    )


def surface_poisson(rng: np.random.Generator, n: int) -> Drawn:
    """Poisson's equation on a surface: one grounded point, or landmarks; b is a divergence or what landmarks say.

    Crane, Weischedel, Wardetzky, Geodesics in heat (2013), step 3; Joshi et al., Harmonic coordinates (2007);
    parametrisation and skinning.
    """
    points, cells, drawn = closed_surface(rng, n)
    L, area = cotangents(points, cells)
    n = len(points)
    if rng.random() < 0.5:
        ground = np.zeros(n)
        ground[int(rng.integers(n))] = float(np.median(L.diagonal()))
        flow = points @ rng.standard_normal(3)
        b = L @ np.cos(3.0 * flow) + 0.1 * area * rng.standard_normal(n)
        return csr_array(L + sparse.diags_array(ground)), b - b.mean(), {**drawn, "use": "grounded"}
    count = min(n // 3, whole_decades(rng, 3, max(4.0, n**0.6)))
    held = np.zeros(n, dtype=bool)
    held[rng.choice(n, count, replace=False)] = True
    free = np.flatnonzero(~held)
    rows = csr_array(L[free])
    b = -(rows[:, np.flatnonzero(held)] @ points[held, int(rng.integers(3))])
    return csr_array(rows[:, free]), b, {**drawn, "use": "landmarks", "landmarks": count}


def implicit_fairing(rng: np.random.Generator, n: int) -> Drawn:
    """Implicit fairing of a surface, M + lambda L, and heat for a short time; b = M times a coordinate or a source.

    Desbrun et al., Implicit fairing of irregular meshes (SIGGRAPH 1999); Crane et al. (2013), step 1.
    """
    points, cells, drawn = closed_surface(rng, n)
    L, area = cotangents(points, cells)
    step = decades(rng, -2, 4) * float(np.median(area) / np.median(L.diagonal()))
    noisy = points[:, int(rng.integers(3))] * (1.0 + 0.01 * rng.standard_normal(len(points)))
    if rng.random() < 0.3:
        noisy = np.zeros(len(points))
        noisy[int(rng.integers(len(points)))] = 1.0
    return csr_array(sparse.diags_array(area) + step * L), area * noisy, {**drawn, "step": step}


def bilaplacian_fairing(rng: np.random.Generator, n: int) -> Drawn:
    """Fairing and deformation by the bi-Laplacian, w M + L M^-1 L, or with handles that are held.

    Botsch and Sorkine, On linear variational surface deformation methods (2008); Jacobson et al. (2010).
    """
    points, cells, drawn = closed_surface(rng, n)
    L, area = cotangents(points, cells)
    area = np.maximum(area, 0.05 * float(np.median(area)))
    K = csr_array(L @ sparse.diags_array(1.0 / area) @ L)
    scale = float(np.median(K.diagonal()))
    if rng.random() < 0.5:
        weight = decades(rng, -7, 1) * scale / float(np.median(area))
        b = weight * area * (points[:, 0] + 0.01 * rng.standard_normal(len(points)))
        return mirrored(K + sparse.diags_array(weight * area)), b, {**drawn, "weight": weight}
    n = len(points)
    held = np.zeros(n, dtype=bool)
    centre = points[rng.integers(0, n, max(2, whole_decades(rng, 2, 40)))]
    for c in centre:
        near = np.argpartition(((points - c) ** 2).sum(axis=1), min(n - 1, max(3, n // 200)))[: max(3, n // 200)]
        held[near] = True
    free = np.flatnonzero(~held)
    rows = csr_array(K[free])
    b = -(rows[:, np.flatnonzero(held)] @ points[held, 2])
    ground = sparse.diags_array(np.full(free.size, 1e-9 * scale))
    return mirrored(csr_array(rows[:, free]) + ground), b, {**drawn, "handles": len(centre)}


def rigid_deformation(rng: np.random.Generator, n: int) -> Drawn:
    """As rigid as possible: the global step, a Laplacian with soft handles of great weight.

    Sorkine and Alexa, As-rigid-as-possible surface modeling (SGP 2007); Sumner et al., Embedded deformation (2007) for
    weights in decades. b collects rotated sides.
    """
    points, cells, drawn = closed_surface(rng, n)
    L, _ = cotangents(points, cells)
    if rng.random() < 0.3:  # uniform weights
        L.data = np.where(L.data < 0, -1.0, 0.0)
        L = csr_array(L - sparse.diags_array(L @ np.ones(len(points))))
    n = len(points)
    handles = rng.choice(n, min(n // 4, whole_decades(rng, 2, max(3.0, n**0.5))), replace=False)
    soft = np.zeros(n)
    weight = decades(rng, -1, 5) * float(np.median(L.diagonal()))
    soft[handles] = weight
    b = L @ (points @ rng.standard_normal(3)) + soft * rng.standard_normal(n)
    return csr_array(L + sparse.diags_array(soft)), b, {**drawn, "handles": handles.size, "weight": weight}


def point_cloud(rng: np.random.Generator, n: int) -> Drawn:
    """A Laplacian of a point cloud by nearest neighbours with Gaussian weights, plus data: denoising, colouring.

    Belkin, Sun, Wang, Constructing Laplace operator from point clouds (2009); Shuman et al. (2013), graph signals.
    """
    from scipy.spatial import cKDTree

    points = rng.standard_normal((n, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    points *= 1.0 + 0.2 * np.cos(points @ rng.uniform(-8.0, 8.0, 3))[:, None] + 0.005 * rng.standard_normal((n, 1))
    k = int(rng.integers(5, 21))
    distance, near = cKDTree(points).query(points, k=min(n, k + 1))
    width = float(np.median(distance[:, -1])) * rng.uniform(0.4, 1.5)
    w = np.exp(-((distance[:, 1:] / width) ** 2)).ravel() + 1e-6
    W = csr_array(
        sparse.coo_array((w, (np.repeat(np.arange(n), near.shape[1] - 1), near[:, 1:].ravel())), shape=(n, n))
    )
    W = csr_array(W + W.T)
    data: Any = np.full(n, decades(rng, -4, 1))
    if rng.random() < 0.4:  # only some points have data
        data = np.where(rng.random(n) < decades(rng, -2, -0.3), 1.0, 1e-5)
    L = sparse.diags_array(np.asarray(W.sum(axis=1)).ravel() + data) - W
    return mirrored(L), data * (points[:, 0] + 0.1 * rng.standard_normal(n)), {"neighbours": k}


FAMILIES = {
    "surface poisson": SystemFamily(surface_poisson, "graphics"),
    "implicit fairing": SystemFamily(implicit_fairing, "graphics"),
    "bilaplacian fairing": SystemFamily(bilaplacian_fairing, "graphics", smallest=100, largest=300_000),
    "rigid deformation": SystemFamily(rigid_deformation, "graphics"),
    "point cloud": SystemFamily(point_cloud, "graphics", largest=300_000),
}
