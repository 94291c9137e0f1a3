"""Meshes for generated systems: clouds of points joined by Delaunay, refined so that large ones are cheap.

A triangulation of n points takes 15 microseconds a point in the plane and 60 in space; larger meshes are coarse ones
whose elements are cut in 4 or 8, as solvers with uniform refinement make them.
"""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "closed_surface",
    "grid_points",
    "random_shape",
    "refined_tetrahedra",
    "refined_triangles",
    "tetrahedra",
    "triangles",
]

COARSE = {2: 20_000, 3: 6_000}  # points that are triangulated at most: some 0.3 s
_SPLIT = np.array(  # of corners 0-3 and middles of 01, 02, 03, 12, 13, 23, numbered 4-9 (Bey 1995)
    [[0, 4, 5, 6], [4, 1, 7, 8], [5, 7, 2, 9], [6, 8, 9, 3], [4, 5, 6, 8], [4, 5, 7, 8], [5, 6, 8, 9], [5, 7, 8, 9]]
)


def random_shape(rng: np.random.Generator, n: int, d: int, stretch: float = 4.0) -> tuple[int, ...]:
    """A box of about n points: sides that differ by a factor up to `stretch`, each at least 2."""
    sides = np.exp(rng.uniform(0.0, np.log(stretch), d))
    sides *= (n / sides.prod()) ** (1.0 / d)
    return tuple(int(max(2, round(side))) for side in sides)


def grid_points(shape: tuple[int, ...]) -> np.ndarray:
    """(n, d) nodes of a grid of spacing 1, the last axis running fastest."""
    return np.stack([axis.ravel() for axis in np.indices(shape)], axis=-1).astype(np.float64)


def _middles(cells: np.ndarray, pairs: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends (m, 2) of all edges, and the number that the middle of each edge of each cell gets, from n on."""
    ends = np.sort(cells[:, pairs].reshape(-1, 2).astype(np.int64), axis=1)
    keys, place = np.unique(ends[:, 0] * n + ends[:, 1], return_inverse=True)
    return np.column_stack([keys // n, keys % n]), (n + place.reshape(len(cells), len(pairs))).astype(np.int64)


def refined_triangles(points: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every triangle cut into four by the middles of its sides."""
    ends, middle = _middles(cells, np.array([[0, 1], [1, 2], [2, 0]]), len(points))
    a, b, c = cells.T
    ab, bc, ca = middle.T
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    finer = np.concatenate([np.stack(part, axis=1) for part in parts])
    return np.concatenate([points, points[ends].mean(axis=1)]), finer


def refined_tetrahedra(points: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every tetrahedron cut into eight, the inner octahedron along the diagonal of the edges 02 and 13."""
    pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])
    ends, middle = _middles(cells, pairs, len(points))
    nodes = np.concatenate([cells, middle], axis=1)
    return np.concatenate([points, points[ends].mean(axis=1)]), nodes[:, _SPLIT].reshape(-1, 4)


def _cloud(rng: np.random.Generator, n: int, d: int, jitter: float) -> np.ndarray:
    """A jittered lattice over a box, its boundary points moved inwards a little, so that no cell is flat."""
    shape = random_shape(rng, n, d, 3.0)
    points = grid_points(shape)
    last = np.array(shape) - 1.0
    edge = (points == 0.0) | (points == last)
    move = jitter * rng.uniform(-1.0, 1.0, points.shape)
    # a boundary that bulges: convex, so that every cell along it has a volume
    middle = last / 2.0
    bulge = 0.02 * last * (1.0 - ((points - middle) ** 2 / np.maximum(middle, 0.5) ** 2).mean(axis=1))[:, None]
    move = np.where(edge, np.sign(points - middle) * bulge, move)
    return points + move


def triangles(
    rng: np.random.Generator, n: int, *, coarse: int | None = None, steepest: float = 3.0
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Points (m, 2), triangles (e, 3) and what was drawn, of a plane mesh with about n nodes.

    At most `coarse` points are triangulated; a graded one stretches its sides by powers up to `steepest`.
    """
    from scipy.spatial import Delaunay

    jitter, grading, holes = float(rng.uniform(0.1, 0.45)), float(rng.choice([1.0, 1.0, rng.uniform(1.2, steepest)])), 0
    levels = 0
    while n / 4**levels > (coarse or COARSE[2]):
        levels += 1
    points = _cloud(rng, max(16, n // 4**levels), 2, jitter)
    cells = Delaunay(points).simplices.astype(np.int64)
    if rng.random() < 0.5:
        holes = int(rng.integers(1, 6))
        for _ in range(holes):
            centre = points[rng.integers(len(points))]
            radius = rng.uniform(0.03, 0.12) * np.ptp(points, axis=0).min()
            cells = cells[((points[cells].mean(axis=1) - centre) ** 2).sum(axis=1) > radius**2]
    for _ in range(levels):
        points, cells = refined_triangles(points, cells)
    if grading > 1.0:
        low, size = points.min(axis=0), np.ptp(points, axis=0)
        points = ((points - low) / size) ** grading * size
    points, cells = _compact(points, _solid(points, cells))
    return points, cells, {"jitter": jitter, "grading": grading, "holes": holes, "refined": levels}


def tetrahedra(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Points (m, 3), tetrahedra (e, 4) and what was drawn, of a mesh of a block with about n nodes."""
    from scipy.spatial import Delaunay

    jitter = float(rng.uniform(0.05, 0.35))
    levels = 0
    while n / 8**levels > COARSE[3]:
        levels += 1
    points = _cloud(rng, max(27, n // 8**levels), 3, jitter)
    cells = Delaunay(points).simplices.astype(np.int64)
    cells = _solid(points, cells)
    if rng.random() < 0.4:  # a cavity or a notch
        centre = points[rng.integers(len(points))]
        radius = rng.uniform(0.1, 0.3) * np.ptp(points, axis=0).min()
        outside = ((points[cells].mean(axis=1) - centre) ** 2).sum(axis=1) > radius**2
        cells = cells[outside] if outside.sum() > len(cells) // 2 else cells
    for _ in range(levels):
        points, cells = refined_tetrahedra(points, cells)
    points, cells = _compact(points, cells)
    return points, cells, {"jitter": jitter, "refined": levels}


def _volumes(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    return np.abs(np.linalg.det(edges))


def _solid(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Cells without the flat ones, which a convex hull of nearly plane faces is lined with."""
    volumes = _volumes(points, cells)
    return cells[volumes > 3e-2 * np.median(volumes)] if points.shape[1] == 3 else cells[volumes > 0.0]


def _compact(points: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest connected part of a mesh, its nodes sorted along the first axis in strips."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(points)
    first = np.repeat(cells[:, 0], cells.shape[1] - 1)
    graph = coo_array((np.ones(first.size, dtype=np.int8), (first, cells[:, 1:].ravel())), shape=(n, n))
    label = np.asarray(connected_components(graph, directed=False)[1])
    main = np.bincount(label).argmax()
    cells = cells[label[cells[:, 0]] == main]
    kept = np.zeros(n, dtype=bool)
    kept[cells.ravel()] = True
    old = np.flatnonzero(kept)
    strip = np.floor(points[old, 0] / max(np.ptp(points[:, 0]) / old.size ** (1 / points.shape[1]), 1e-300))
    old = old[np.lexsort((points[old, 1], strip))]
    new = np.full(n, -1)
    new[old] = np.arange(old.size)
    return points[old], new[cells]


def closed_surface(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Points (m, 3), triangles and what was drawn, of a bumpy sphere, a slender body or a torus with about n nodes."""
    kind = str(rng.choice(np.array(["bumpy", "slender", "torus"])))
    if kind == "torus":
        points, cells = _torus(rng, n)
    else:
        from scipy.spatial import ConvexHull

        levels = 0
        while n / 4**levels > COARSE[2]:
            levels += 1
        directions = rng.standard_normal((max(20, n // 4**levels), 3))
        directions /= np.linalg.norm(directions, axis=1)[:, None]
        for _ in range(2 if len(directions) < 5_000 else 0):  # spread them: scans are sampled evenly
            directions = _spread(directions)
        cells = ConvexHull(directions).simplices.astype(np.int64)
        points = directions
        for _ in range(levels):
            points, cells = refined_triangles(points, cells)
        points = points / np.linalg.norm(points, axis=1)[:, None]
        points = points * _bumps(rng, points, 0.15 if kind == "slender" else 0.3)[:, None]
        if kind == "slender":
            points = points * np.array([1.0, 1.0, rng.uniform(2.0, 8.0)])
    order = np.lexsort((points[:, 1], np.floor(points[:, 2] * len(points) ** 0.5)))
    new = np.empty(len(points), dtype=np.int64)
    new[order] = np.arange(len(points))
    return points[order], new[cells], {"surface": kind}


def _spread(directions: np.ndarray) -> np.ndarray:
    """Points of the sphere pushed away from their nearest neighbours."""
    from scipy.spatial import cKDTree

    near = cKDTree(directions).query(directions, k=4)[1][:, 1:]
    moved = directions + 0.5 * (directions - directions[near].mean(axis=1))
    return moved / np.linalg.norm(moved, axis=1)[:, None]


def _bumps(rng: np.random.Generator, directions: np.ndarray, height: float) -> np.ndarray:
    """A radius about 1 that varies smoothly with the direction."""
    radius = np.ones(len(directions))
    for _ in range(int(rng.integers(2, 8))):
        radius += (
            height * rng.uniform(0.2, 1.0) / 3 * np.cos(directions @ rng.uniform(-9.0, 9.0, 3) + rng.uniform(0, 6))
        )
    return np.maximum(radius, 0.3)


def _torus(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    around = max(4, round((n * rng.uniform(1.5, 6.0)) ** 0.5))
    across = max(4, n // around)
    number = np.arange(around * across).reshape(around, across)
    u, v = np.indices((around, across)) + 0.3 * rng.uniform(-1.0, 1.0, (2, around, across))
    u, v = 2 * np.pi * u / around, 2 * np.pi * v / across
    ring = rng.uniform(0.1, 0.6)
    wobble = 1.0 + 0.2 * np.sin(int(rng.integers(1, 7)) * u)
    away = 1.0 + ring * wobble * np.cos(v)
    points = np.stack([away * np.cos(u), away * np.sin(u), ring * wobble * np.sin(v)], axis=-1).reshape(-1, 3)
    right, up = np.roll(number, -1, axis=1), np.roll(number, -1, axis=0)
    far = np.roll(right, -1, axis=0)
    flip = rng.random(number.shape) < 0.5
    first = np.where(flip[..., None], np.stack([number, right, up], -1), np.stack([number, right, far], -1))
    second = np.where(flip[..., None], np.stack([right, far, up], -1), np.stack([number, far, up], -1))
    return points, np.concatenate([first.reshape(-1, 3), second.reshape(-1, 3)]).astype(np.int64)
