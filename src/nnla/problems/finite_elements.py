"""Finite elements for the problem suite: P1 on Delaunay triangulations and Q1 elasticity.

Meshes are plain arrays: ``points (n, d)``, ``cells (ne, k)``. Matrices come without boundary conditions, so
null spaces can be tested; `eliminate` then fixes nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csr_array

from nnla.errors import OptionError
from nnla.problems.assembly import assemble, triplets

__all__ = [
    "Mesh",
    "delaunay_mesh",
    "elasticity2d",
    "elasticity3d",
    "eliminate",
    "p1_mass",
    "p1_stiffness",
    "q1_elasticity",
]


class Mesh(NamedTuple):
    """A triangulation: `points` (n, 2), `triangles` (ne, 3) int32, `boundary` (n,) bool, mesh size `h`."""

    points: np.ndarray
    triangles: np.ndarray
    boundary: np.ndarray
    h: float


def _initial_points(
    n: int,
    size: tuple[float, float],
    holes: Sequence[tuple[float, float, float]],
    jitter: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Boundary points at spacing h, then a jittered hexagonal lattice inside. Returns points, loop, h."""
    width, height = size
    area = width * height - sum(np.pi * r**2 for _, _, r in holes)
    h = float(np.sqrt(2.0 * area / (np.sqrt(3.0) * n)))
    mx, my = max(1, round(width / h)), max(1, round(height / h))
    s, t = np.arange(mx) / mx, np.arange(my) / my
    sides = [(s, 0 * s), (0 * t + 1, t), (1 - s, 0 * s + 1), (0 * t, 1 - t)]
    loops: list[np.ndarray] = [np.concatenate([np.column_stack(side) for side in sides]) * [width, height]]
    for x, y, r in holes:
        angle = 2.0 * np.pi * np.arange(max(6, round(2.0 * np.pi * r / h)))
        angle /= angle.size
        loops.append(np.column_stack([x + r * np.cos(angle), y + r * np.sin(angle)]))
    rows = np.arange(1, int(height / (h * np.sqrt(0.75))) + 1)
    lattice_x = np.arange(0, int(width / h) + 2)[None, :] + 0.5 * (rows[:, None] % 2)
    lattice_y = np.broadcast_to(rows[:, None] * np.sqrt(0.75), lattice_x.shape)
    inside = h * np.column_stack([lattice_x.ravel(), lattice_y.ravel()])
    inside += h * jitter * rng.uniform(-1.0, 1.0, inside.shape)
    inside = inside[_clearance(inside, size, holes) > 0.6 * h]
    loop = np.concatenate([np.full(len(p), k) for k, p in enumerate(loops)] + [np.full(len(inside), -1)])
    return np.concatenate([*loops, inside]), loop, h


def _clearance(
    points: np.ndarray, size: tuple[float, float], holes: Sequence[tuple[float, float, float]]
) -> np.ndarray:
    """Distance to the boundary of the rectangle with round holes; negative outside."""
    x, y = points.T
    distance = np.minimum(np.minimum(x, size[0] - x), np.minimum(y, size[1] - y))
    for cx, cy, r in holes:
        distance = np.minimum(distance, np.hypot(x - cx, y - cy) - r)
    return distance


def _voronoi_centroids(points: np.ndarray, triangulation: Any) -> np.ndarray:
    """Centroid of every vertex's Voronoi cell, summed over Delaunay edges (unbounded cells are wrong)."""
    p = points[triangulation.simplices]
    u, v = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    det = 2.0 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    uu, vv = (u**2).sum(1), (v**2).sum(1)
    centre = p[:, 0] + np.column_stack([v[:, 1] * uu - u[:, 1] * vv, u[:, 0] * vv - v[:, 0] * uu]) / det[:, None]
    moments, areas = np.zeros_like(points), np.zeros(len(points))
    for corner in range(3):
        other = triangulation.neighbors[:, corner]
        inner = np.flatnonzero(other >= 0)
        a, b = centre[inner], centre[other[inner]]
        for end in ((corner + 1) % 3, (corner + 2) % 3):
            vertex = triangulation.simplices[inner, end]
            q = points[vertex]
            area = np.abs((a - q)[:, 0] * (b - q)[:, 1] - (a - q)[:, 1] * (b - q)[:, 0])
            areas += np.bincount(vertex, area, len(points))
            for d in (0, 1):
                moments[:, d] += np.bincount(vertex, area * (q + a + b)[:, d] / 3.0, len(points))
    return moments / np.maximum(areas, np.finfo(float).tiny)[:, None]


def delaunay_mesh(
    n: int,
    *,
    size: tuple[float, float] = (1.0, 1.0),
    holes: tuple[tuple[float, float, float], ...] = (),
    jitter: float = 0.5,
    sweeps: int = 3,
    grading: float = 1.0,
    seed: int = 0,
) -> Mesh:
    """Unstructured triangulation of a rectangle with round holes: random points, Lloyd sweeps, Delaunay.

    Parameters
    ----------
    n : int
        Nodes wanted; met to a few per cent.
    size : (float, float)
        Width and height.
    holes : sequence of (x, y, radius)
        Inside the rectangle and disjoint.
    jitter : float
        Random displacement of a hexagonal lattice, in mesh sizes: 0 regular, 0.5 random.
    sweeps : int
        Lloyd sweeps: inner points move to the centroid of their Voronoi cell.
    grading : float
        Above 1 the mesh gets finer towards the corner (0, 0) as ``max(x, y) ** (grading - 1)`` (unit square
        without holes only).
    seed : int
        Seed of the points.

    Returns
    -------
    Mesh
        Boundary points first.

    Notes
    -----
    Cost: ``sweeps`` + 1 triangulations; about 1 s for 10 000 nodes.

    References
    ----------
    Q. Du, V. Faber, M. Gunzburger, Centroidal Voronoi tessellations, SIAM Rev. 41, 1999.

    Examples
    --------
    >>> mesh = delaunay_mesh(200)
    >>> bool(abs(len(mesh.points) - 200) < 20), mesh.triangles.shape[1]
    (True, 3)
    """
    from scipy.spatial import Delaunay  # 0.1 s of import that structured problems need not pay

    if n < 8:
        raise OptionError(f"a mesh needs at least 8 nodes, got n = {n}")
    if grading != 1.0 and (holes or tuple(size) != (1.0, 1.0)):
        raise OptionError("grading works on the unit square without holes only")
    rng = np.random.default_rng(seed)
    points, loop, h = _initial_points(n, size, holes, jitter, rng)
    for _ in range(sweeps):
        target = _voronoi_centroids(points, Delaunay(points))
        # Cells next to the boundary may stick out of the domain: such points wait for the next sweep.
        movable = (loop < 0) & (_clearance(target, size, holes) > 0.4 * h)
        points[movable] = target[movable]
    if grading != 1.0:
        points = points * points.max(axis=1, keepdims=True) ** (grading - 1.0)
    triangles = Delaunay(points).simplices.astype(np.int32)
    corners = loop[triangles]
    in_hole = (corners[:, 0] > 0) & (corners == corners[:, :1]).all(axis=1)
    return Mesh(points, triangles[~in_hole], loop >= 0, h)


def _areas_and_gradients(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area (ne,) of each triangle and gradients (ne, 3, 2) of its barycentric coordinates."""
    p = np.asarray(points, dtype=np.float64)[triangles]
    edge = np.roll(p, -2, axis=1) - np.roll(p, -1, axis=1)  # the edge opposite each corner
    twice = edge[:, 0, 0] * edge[:, 1, 1] - edge[:, 0, 1] * edge[:, 1, 0]
    gradients = np.stack([-edge[:, :, 1], edge[:, :, 0]], axis=-1) / twice[:, None, None]
    return 0.5 * np.abs(twice), gradients


def p1_stiffness(points: np.ndarray, triangles: np.ndarray, k: ArrayLike | None = None) -> csr_array:
    """Stiffness matrix of ``-div(k grad u)`` with linear triangles, no boundary condition.

    Parameters
    ----------
    points : float array (n, 2)
        Nodes.
    triangles : integer array (ne, 3)
        Corners of each triangle.
    k : float array (ne,), optional
        Coefficient of each triangle, positive (default 1).

    Returns
    -------
    csr_array (n, n)
        Positive semidefinite; constants are its null space.

    Notes
    -----
    Cost: that of `assemble` for 3 x 3 elements: six triplets a triangle.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 2.3.

    Examples
    --------
    >>> p1_stiffness([[0, 0], [1, 0], [0, 1]], [[0, 1, 2]]).toarray()
    array([[ 1. , -0.5, -0.5],
           [-0.5,  0.5,  0. ],
           [-0.5,  0. ,  0.5]])
    """
    area, gradients = _areas_and_gradients(points, triangles)
    scale = area if k is None else area * np.asarray(k, dtype=np.float64)
    return assemble(triangles, scale[:, None, None] * (gradients @ gradients.transpose(0, 2, 1)), len(points))


def p1_mass(points: np.ndarray, triangles: np.ndarray, rho: ArrayLike | None = None) -> csr_array:
    """Consistent mass matrix of linear triangles: ``area / 12 (1 + delta_ij)`` an element.

    Parameters
    ----------
    points, triangles
        As in `p1_stiffness`.
    rho : float array (ne,), optional
        Density of each triangle (default 1).

    Returns
    -------
    csr_array (n, n)
        SPD; its entries sum to the area of the domain.

    Notes
    -----
    Cost: that of `assemble` for 3 x 3 elements: six triplets a triangle.

    References
    ----------
    Hughes, The Finite Element Method (1987), chapter 7 (consistent mass).

    Examples
    --------
    >>> round(float(p1_mass([[0, 0], [1, 0], [0, 1]], [[0, 1, 2]]).sum()), 12)
    0.5
    """
    area, _ = _areas_and_gradients(points, triangles)
    scale = area if rho is None else area * np.asarray(rho, dtype=np.float64)
    return assemble(triangles, scale[:, None, None] * ((np.eye(3) + 1.0) / 12.0), len(points))


def eliminate(A: Any, fixed: ArrayLike, *, keep_rows: bool = False) -> csr_array:
    """Impose zero values at `fixed` unknowns: drop their rows and columns, or leave identity rows.

    Parameters
    ----------
    A : csr_array (n, n)
        Symmetric matrix.
    fixed : bool array (n,)
        Unknowns with given values.
    keep_rows : bool
        If true the result stays n x n, with 1 on the diagonal of the fixed rows and nothing else there.

    Returns
    -------
    csr_array
        Exactly symmetric if `A` is.

    Notes
    -----
    Cost: a pass over the entries and a copy.

    Examples
    --------
    >>> eliminate(csr_array([[2.0, -1.0], [-1.0, 2.0]]), np.array([True, False]), keep_rows=True).toarray()
    array([[1., 0.],
           [0., 2.]])
    """
    fixed = np.asarray(fixed, dtype=bool)
    i, j, data = triplets(coo_array(A))
    stays = ~fixed[i] & ~fixed[j]
    if keep_rows:
        ones = np.flatnonzero(fixed)
        i, j = np.concatenate([i[stays], ones]), np.concatenate([j[stays], ones])
        data = np.concatenate([data[stays], np.ones(ones.size)])
        n = fixed.size
    else:
        number = np.cumsum(~fixed) - 1
        i, j, data, n = number[i[stays]], number[j[stays]], data[stays], int((~fixed).sum())
    result = coo_array((data, (i.astype(np.int32), j.astype(np.int32))), shape=(n, n)).tocsr()
    result.sort_indices()
    return result


def q1_elasticity(
    points: ArrayLike, cells: ArrayLike, *, young: ArrayLike = 1.0, poisson: float = 0.3, chunk: int = 20_000
) -> csr_array:
    """Linear elasticity with bilinear quadrilaterals (plane stress) or trilinear hexahedra.

    Parameters
    ----------
    points : float array (n, d)
        Nodes, d = 2 or 3.
    cells : integer array (ne, 2^d)
        Corners in the order of `itertools.product((0, 1), repeat=d)` of the reference coordinates.
    young : float or float array (ne,)
        Young's modulus of each element.
    poisson : float
        Poisson's ratio, below 1/2.
    chunk : int
        Elements integrated at a time.

    Returns
    -------
    csr_array (d n, d n)
        Positive semidefinite; the rigid motions (3 or 6) are its null space. Unknown ``d * node + axis``.

    Notes
    -----
    Cost: 36 triplets an element in 2-D, 300 in 3-D; ``chunk`` elements are integrated at a time.

    Two Gauss points an axis.

    References
    ----------
    T. J. R. Hughes, The Finite Element Method, 1987, chapters 3 and 4.

    Examples
    --------
    >>> square = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
    >>> K = q1_elasticity(square, [[0, 1, 2, 3]])
    >>> bool(np.allclose(K @ np.tile([1.0, 0.0], 4), 0.0))
    True
    """
    points = np.asarray(points, dtype=np.float64)
    cells = np.asarray(cells, dtype=np.int32)
    d = points.shape[1]
    young = np.broadcast_to(np.asarray(young, dtype=np.float64), (len(cells),))
    mu = 0.5 / (1.0 + poisson)
    # Plane stress is three-dimensional elasticity with this first Lame constant.
    lam = poisson / (1.0 - poisson**2) if d == 2 else poisson / ((1.0 + poisson) * (1.0 - 2.0 * poisson))
    corners = np.array(list(product((0.0, 1.0), repeat=d)))
    gauss = np.array(list(product((0.5 - 0.5 / 3**0.5, 0.5 + 0.5 / 3**0.5), repeat=d)))
    m = d * len(corners)
    matrices = np.empty((len(cells), m, m))
    for start in range(0, len(cells), chunk):
        part = slice(start, min(start + chunk, len(cells)))
        K = np.zeros((part.stop - part.start, 2**d, d, 2**d, d))
        for x in gauss:
            values: np.ndarray = np.where(corners == 1.0, x, 1.0 - x)
            slopes = np.stack(
                [
                    (2.0 * corners[:, axis] - 1.0) * np.prod(np.delete(values, axis, axis=1), axis=1)
                    for axis in range(d)
                ],
                axis=1,
            )
            jacobian = np.einsum("eai,aj->eji", points[cells[part]], slopes)
            G = np.einsum("eij,aj->eai", np.linalg.inv(jacobian), slopes)
            weight = np.abs(np.linalg.det(jacobian)) / len(gauss) * young[part]
            H = G * weight[:, None, None]
            K += lam * H[:, :, :, None, None] * G[:, None, None, :, :]
            K += mu * H[:, :, None, None, :] * G.transpose(0, 2, 1)[:, None, :, :, None]
            stretch = mu * (H @ G.transpose(0, 2, 1))
            for axis in range(d):
                K[:, :, axis, :, axis] += stretch
        matrices[part] = K.reshape(-1, m, m)
    dofs = (d * cells[:, :, None] + np.arange(d, dtype=np.int32)).reshape(len(cells), m)
    return assemble(dofs, matrices, d * len(points))


def _box(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (n, d) and cells (ne, 2^d) of a grid of unit cubes; the last axis runs fastest."""
    nodes = tuple(m + 1 for m in shape)
    number = np.arange(np.prod(nodes), dtype=np.int32).reshape(nodes)
    corners = product((0, 1), repeat=len(shape))
    cells = np.stack(
        [number[tuple(slice(o, o + m) for o, m in zip(c, shape, strict=True))].ravel() for c in corners], -1
    )
    return np.stack([axis.ravel() for axis in np.indices(nodes)], axis=-1).astype(np.float64), cells


def elasticity2d(nx: int, ny: int, *, young: ArrayLike = 1.0, poisson: float = 0.3, clamped: bool = True) -> csr_array:
    """Plane-stress plate of nx x ny unit squares, clamped at the side x = 0.

    Parameters
    ----------
    nx, ny : int
        Elements along each axis.
    young : float or float array (nx, ny)
        Young's modulus of each element.
    poisson : float
        Poisson's ratio.
    clamped : bool
        Eliminate the nodes at x = 0; without, the matrix has the 3 rigid motions as its null space.

    Returns
    -------
    csr_array (n, n), n = 2 nx (ny + 1) when clamped
        SPD when clamped.

    Notes
    -----
    Cost: that of `q1_elasticity`: 36 triplets an element.

    References
    ----------
    Hughes, The Finite Element Method (1987), chapters 3 and 4.

    Examples
    --------
    >>> elasticity2d(4, 3).shape
    (32, 32)
    """
    return _clamped_box((nx, ny), young, poisson, clamped)


def elasticity3d(
    nx: int, ny: int, nz: int, *, young: ArrayLike = 1.0, poisson: float = 0.3, clamped: bool = True
) -> csr_array:
    """Elastic bar of nx x ny x nz unit cubes, clamped at the face x = 0; see `elasticity2d`.

    Returns
    -------
    csr_array (n, n), n = 3 nx (ny + 1) (nz + 1) when clamped
        SPD when clamped; otherwise the 6 rigid motions are its null space.

    Notes
    -----
    Cost: that of `q1_elasticity`: 300 triplets an element.

    References
    ----------
    Hughes, The Finite Element Method (1987), chapters 3 and 4.

    Examples
    --------
    >>> elasticity3d(2, 1, 1).shape
    (24, 24)
    """
    return _clamped_box((nx, ny, nz), young, poisson, clamped)


def _clamped_box(shape: tuple[int, ...], young: ArrayLike, poisson: float, clamped: bool) -> csr_array:
    points, cells = _box(shape)
    young = np.broadcast_to(np.asarray(young, dtype=np.float64), shape).ravel()
    K = q1_elasticity(points, cells, young=young, poisson=poisson)
    return eliminate(K, np.repeat(points[:, 0] == 0.0, len(shape))) if clamped else K
