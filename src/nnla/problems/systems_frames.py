"""Generated systems of plates, beams, frames, trusses and cloth: bending, and bars that meet in nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.assembly import assemble
from nnla.problems.frames import frame
from nnla.problems.gallery import poisson2d
from nnla.problems.systems_elements import gradients
from nnla.problems.systems_graphs import edges_of_cells
from nnla.problems.systems_meshes import closed_surface, grid_points, random_shape, tetrahedra, triangles
from nnla.problems.systems_types import Drawn, SystemFamily, decades, loads, mirrored, whole_decades

__all__ = ["FAMILIES"]


def morley_plate(rng: np.random.Generator, n: int) -> Drawn:
    """A Kirchhoff plate of Morley's triangles: deflections of corners and slopes of sides; clamped or supported.

    Morley, Aeronautical Quarterly 19 (1968); Ciarlet, The Finite Element Method for Elliptic Problems, chapter 6. b is
    a pressure. Two kinds of unknowns of unlike units.
    """
    points, cells, drawn = triangles(rng, max(16, n // 4), steepest=1.4)
    nodes, nu = len(points), rng.uniform(0.0, 0.4)
    first, second = np.array([1, 2, 0]), np.array([2, 0, 1])
    ends = np.sort(np.stack([cells[:, first], cells[:, second]], axis=2), axis=2).reshape(-1, 2)
    keys, place, count = np.unique(ends[:, 0] * nodes + ends[:, 1], return_inverse=True, return_counts=True)
    side = place.reshape(-1, 3)
    corner = points[cells]
    middle = 0.5 * (corner[:, first] + corner[:, second])
    along = points[ends.reshape(-1, 3, 2)[..., 1]] - points[ends.reshape(-1, 3, 2)[..., 0]]
    normal = np.stack([-along[..., 1], along[..., 0]], axis=-1) / np.linalg.norm(along, axis=-1, keepdims=True)
    h = float(np.median(np.linalg.norm(along, axis=-1)))
    # unknowns of the polynomial 1, x, y, x^2, x y, y^2 about the element's centre, in units of its size
    centre = corner.mean(axis=1, keepdims=True)
    scale = np.linalg.norm(along, axis=-1).max(axis=1)
    X, Y = ((corner - centre) / scale[:, None, None]).transpose(2, 0, 1)
    U, V = ((middle - centre) / scale[:, None, None]).transpose(2, 0, 1)
    one, zero = np.ones_like(X), np.zeros_like(X)
    values = np.stack([one, X, Y, X * X, X * Y, Y * Y], axis=-1)
    slope_x, slope_y = np.stack([zero, one, zero, 2 * U, V, zero], -1), np.stack([zero, zero, one, zero, U, 2 * V], -1)
    slopes = (normal[..., :1] * slope_x + normal[..., 1:] * slope_y) / scale[:, None, None]
    inverse = np.linalg.inv(np.concatenate([values, slopes], axis=1))
    curvature = np.stack([2 * inverse[:, 3], 2 * inverse[:, 5], 2 * inverse[:, 4]], axis=1) / scale[:, None, None] ** 2
    area, _ = gradients(points, cells)
    D = np.array([[1.0, nu, 0.0], [nu, 1.0, 0.0], [0.0, 0.0, 0.5 * (1.0 - nu)]])
    stiffness = area * decades(rng, 0, rng.uniform(0.0, 2.0), len(cells))
    K = np.einsum("e,ela,lm,emb->eab", stiffness, curvature, D, curvature, optimize=True)
    if rng.random() < 0.7:  # slopes in units of the deflection over a side
        turn = np.ones(6)
        turn[3:] = 1.0 / h
        K *= turn[:, None] * turn
    A = assemble(np.concatenate([cells, nodes + side], axis=1), K, nodes + keys.size)
    edge = count == 1
    fixed = np.zeros(nodes + keys.size, dtype=bool)
    fixed[keys[edge] // nodes] = fixed[keys[edge] % nodes] = True
    clamped = bool(rng.random() < 0.6)
    fixed[nodes:] = edge & clamped
    free = np.flatnonzero(~fixed)
    b = np.concatenate([np.bincount(cells.ravel(), np.repeat(area / 3, 3), nodes), np.zeros(keys.size)])
    return A[free][:, free], b[free], {**drawn, "poisson": nu, "clamped": clamped}


def biharmonic_grid(rng: np.random.Generator, n: int) -> Drawn:
    """A plate by differences of thirteen points, simply supported or clamped, on an elastic foundation or none.

    Timoshenko and Woinowsky-Krieger, Theory of Plates and Shells (1959); Saad, section 2.2. Also thin-plate smoothing
    and inpainting (Bertalmio et al. 2000).
    """
    shape = random_shape(rng, n, 2, 5.0)
    L = poisson2d(shape[1], shape[0])
    clamped = bool(rng.random() < 0.5)
    foundation = float(rng.choice([0.0, decades(rng, -6, 0)]))
    edge = np.zeros(shape)
    if clamped:
        edge[0] += 2.0
        edge[-1] += 2.0
        edge[:, 0] += 2.0
        edge[:, -1] += 2.0
    load, b = loads(rng, grid_points(shape))
    A = L @ L + sparse.diags_array(edge.ravel() + foundation)
    return mirrored(A), b, {"shape": shape, "clamped": clamped, "foundation": foundation, "load": load}


def beams(rng: np.random.Generator, n: int) -> Drawn:
    """Euler-Bernoulli beams: a continuous beam on bearings or on the ground, or a grillage of crossing ones.

    Przemieniecki, Theory of Matrix Structural Analysis (1968), chapter 5; Hetenyi, Beams on Elastic Foundation (1946).
    Deflection and slope; small elements make huge condition numbers.
    """
    if rng.random() < 0.5:
        m = max(8, n // 2)
        length = decades(rng, -0.3, 0.3, m) if rng.random() < 0.5 else np.ones(m)
        i, axis = np.stack([np.arange(m - 1), np.arange(1, m)], axis=1), np.zeros(m - 1, dtype=int)
        length, nodes, each = length[: m - 1], m, 2
    else:
        shape = random_shape(rng, max(9, n // 3), 2, 4.0)
        number = np.arange(shape[0] * shape[1]).reshape(shape)
        along = np.stack([number[:, :-1].ravel(), number[:, 1:].ravel()], axis=1)
        across = np.stack([number[:-1].ravel(), number[1:].ravel()], axis=1)
        i = np.concatenate([along, across])
        axis = np.concatenate([np.zeros(len(along), dtype=int), np.ones(len(across), dtype=int)])
        length, nodes, each = np.ones(len(i)), number.size, 3
    EI = decades(rng, 0, rng.uniform(0.1, 2.0), len(i))
    l = length  # noqa: E741
    k = np.empty((len(i), 4, 4))
    k[:, 0] = np.stack([12 / l**3, 6 / l**2, -12 / l**3, 6 / l**2], axis=1)
    k[:, 1] = np.stack([6 / l**2, 4 / l, -6 / l**2, 2 / l], axis=1)
    k[:, 2] = -k[:, 0]
    k[:, 3] = np.stack([6 / l**2, 2 / l, -6 / l**2, 4 / l], axis=1)
    k *= EI[:, None, None]
    slope = 1 + axis
    dofs = np.stack([each * i[:, 0], each * i[:, 0] + slope, each * i[:, 1], each * i[:, 1] + slope], axis=1)
    A: Any = assemble(dofs, k, each * nodes)
    size = each * nodes
    ground = np.zeros(size)
    # spans of at most some hundred elements: beyond, the condition number is that of rounding
    ground[:: each * whole_decades(rng, 3, 40)] = float(np.median(EI)) * decades(rng, 0, 3)
    ground[1::each] += 1e-3
    if each == 3:  # crossing beams twist, too
        ground[2::each] += 1e-3
    if rng.random() < 0.4:
        ground[::each] += decades(rng, -5, -1)
    b = np.zeros(size)
    b[::each] = -1.0 if rng.random() < 0.5 else rng.standard_normal(nodes)
    return csr_array(A + sparse.diags_array(ground)), b, {"unknowns": each, "nodes": nodes}


def building_frame(rng: np.random.Generator, n: int) -> Drawn:
    """A building of beams and columns: Timoshenko members, six unknowns a node, regular, stepped or irregular.

    Grementieri and Finelli, StAnD (arXiv:2201.05356); the generator of `nnla.problems.frame`, sized to n.
    """
    style = str(rng.choice(np.array(["stand", "regular", "irregular"])))
    nodes = max(8, n // (6 if style == "regular" else 4))
    tall = whole_decades(rng, 2, max(3.0, min(40.0, nodes / 6)))
    side = max(1.0, (nodes / tall) ** 0.5 - 1.0)
    ratio = float(np.exp(rng.uniform(-0.7, 0.7)))
    grid = (max(1, round(side * ratio)), max(1, round(side / ratio)), tall)
    one = frame("small", int(rng.integers(2**31)), style=style, loads=2, grid=grid)
    return one.A, one.loads[:, int(rng.integers(2))], {"style": style, "grid": grid}


def truss(rng: np.random.Generator, n: int) -> Drawn:
    """Bars between the nodes of a mesh or a lattice in space or in the plane: towers, roofs, lattice materials.

    Przemieniecki (1968), chapter 4; Achtziger and Stolpe (2007) on trusses in optimisation. Areas over decades.
    """
    d = int(rng.choice(np.array([2, 3])))
    points, cells, drawn = triangles(rng, max(16, n // 2), steepest=1.3) if d == 2 else tetrahedra(rng, max(27, n // 3))
    i, j = edges_of_cells(cells)
    nodes = len(points)
    span = points[j] - points[i]
    length = np.linalg.norm(span, axis=1)
    area = decades(rng, -rng.uniform(0.1, 3.0), 0, len(i))
    v = np.concatenate([-span, span], axis=1) / length[:, None] * np.sqrt(area / length)[:, None]
    dofs = (d * np.stack([i, j], axis=1)[:, :, None] + np.arange(d)).reshape(len(i), 2 * d)
    A: Any = assemble(dofs, v[:, :, None] * v[:, None, :], d * nodes)
    height = points[:, -1] - points[:, -1].min()
    foot = height <= 0.05 * np.ptp(height)
    foot[np.argsort(height)[: d + 1]] = True
    A = A + sparse.diags_array(np.full(d * nodes, decades(rng, -7, -4) * float(np.median(A.diagonal()))))
    free = np.flatnonzero(np.repeat(~foot, d))
    f = np.zeros((nodes, d))
    f[:, -1] = -1.0
    if rng.random() < 0.4:
        f[:, 0] = rng.standard_normal(nodes) * (rng.random(nodes) < 0.1)
    return csr_array(csr_array(A)[free][:, free]), f.ravel()[free], {**drawn, "dimension": d}


def cloth(rng: np.random.Generator, n: int) -> Drawn:
    """An implicit step of cloth or a soft shell: masses plus step squared times springs along and across its sides.

    Baraff and Witkin, Large steps in cloth simulation (SIGGRAPH 1998); Provot (1995). One solve a frame.
    """
    points, cells, drawn = closed_surface(rng, max(30, n // 3))
    i, j = edges_of_cells(cells)
    nodes = len(points)
    span = points[j] - points[i]
    rest = np.linalg.norm(span, axis=1)
    unit = span / rest[:, None]
    outer = unit[:, :, None] * unit[:, None, :]
    stretch = np.minimum(np.abs(rng.normal(0.0, rng.uniform(0.01, 0.3), len(i))), 0.9)
    block = outer + stretch[:, None, None] * (np.eye(3) - outer)
    upper, lower = np.concatenate([block, -block], axis=2), np.concatenate([-block, block], axis=2)
    K = np.concatenate([upper, lower], axis=1)
    dofs = (3 * np.stack([i, j], axis=1)[:, :, None] + np.arange(3)).reshape(len(i), 6)
    stiff = decades(rng, -1, 5)
    A = assemble(dofs, stiff * K, 3 * nodes)
    mass = np.repeat(rng.uniform(0.5, 1.5, nodes), 3)
    return csr_array(A + sparse.diags_array(mass)), mass * rng.standard_normal(3 * nodes), {**drawn, "stiffness": stiff}


FAMILIES = {
    "morley plate": SystemFamily(morley_plate, "plates", smallest=100, largest=300_000),
    "biharmonic grid": SystemFamily(biharmonic_grid, "plates", largest=200_000),
    "beams": SystemFamily(beams, "frames", largest=300_000),
    "building frame": SystemFamily(building_frame, "frames", smallest=100, largest=100_000),
    "truss": SystemFamily(truss, "frames", smallest=100, largest=300_000),
    "cloth": SystemFamily(cloth, "soft bodies", smallest=100, largest=300_000),
}
