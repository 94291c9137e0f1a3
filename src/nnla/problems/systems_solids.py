"""Generated systems of solid mechanics: bricks, tetrahedra and plane pieces, thin ones, ties, contact, soft tissue."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.gallery import lognormal_field
from nnla.problems.systems_elements import (
    assemble_blocks,
    box_cells,
    brick_matrix,
    elasticity,
    gradients,
    isotropic,
    lame,
    quadratic_cells,
    repeated,
    total,
)
from nnla.problems.systems_meshes import grid_points, random_shape, tetrahedra, triangles
from nnla.problems.systems_types import Drawn, SystemFamily, decades, mirrored, whole_decades

__all__ = ["FAMILIES"]


def _poisson(rng: np.random.Generator) -> float:
    """Poisson's ratio: of metals, of concrete, or nearly incompressible."""
    return float(rng.choice([rng.uniform(0.15, 0.35), 0.5 - decades(rng, -3, -1)], p=[0.75, 0.25]))


def _materials(rng: np.random.Generator, places: np.ndarray) -> tuple[str, np.ndarray]:
    """Young's modulus of elements at places (e, d): one material, layers, inclusions, or a random field."""
    kind = str(rng.choice(np.array(["one", "layers", "inclusions", "field"]), p=[0.4, 0.2, 0.25, 0.15]))
    young, contrast = np.ones(len(places)), decades(rng, 0.3, 3.5)
    size = np.maximum(np.ptp(places, axis=0), 1e-300)
    unit = (places - places.min(axis=0)) / size
    if kind == "layers":
        layer = (unit[:, int(rng.integers(places.shape[1]))] * int(rng.integers(2, 7))).astype(int)
        young = np.where(layer % 2 == 1, contrast, 1.0)
    elif kind == "inclusions":
        for _ in range(int(rng.integers(1, 12))):
            inside = ((unit - rng.random(places.shape[1])) ** 2).sum(axis=1) < rng.uniform(0.05, 0.3) ** 2
            young[inside] = contrast ** float(rng.choice([1.0, -1.0]))
    elif kind == "field":
        waves = unit @ rng.uniform(-20.0, 20.0, (places.shape[1], 6)) + rng.uniform(0.0, 6.0, 6)
        young = contrast ** (np.cos(waves).mean(axis=1))
    return kind, young * decades(rng, -3, 11)


def _supported(rng: np.random.Generator, K: Any, points: np.ndarray) -> tuple[csr_array, np.ndarray, dict[str, Any]]:
    """Clamp a face, or stand it on springs; a load of gravity, pressure on the other end, a point, or by chance."""
    d, axis = points.shape[1], int(rng.integers(points.shape[1]))
    height = points[:, axis] - points[:, axis].min()
    low = height <= 0.02 * np.ptp(height) + 1e-12
    low[np.argsort(height)[: d + 1]] = True
    load = str(rng.choice(np.array(["gravity", "pressure", "point", "noise"])))
    f = np.zeros(points.shape)
    if load == "gravity":
        f[:, int(rng.integers(d))] = -1.0
    elif load == "pressure":
        f[height >= 0.95 * np.ptp(height)] = rng.standard_normal(d)
    elif load == "point":
        f[rng.integers(0, len(points), int(rng.integers(1, 4)))] = rng.standard_normal(d)
        f[int(np.argmax(height))] = rng.standard_normal(d)
    else:
        f = rng.standard_normal(points.shape)
    support = str(rng.choice(np.array(["clamped", "springs"]), p=[0.75, 0.25]))
    if support == "springs":
        stiffness = float(np.median(K.diagonal())) * decades(rng, -4, 1)
        springs = np.repeat(low * stiffness, d)
        return csr_array(K + sparse.diags_array(springs)), f.ravel(), {"support": support, "load": load}
    free = np.flatnonzero(np.repeat(~low, d))
    return csr_array(csr_array(K)[free][:, free]), f.ravel()[free], {"support": support, "load": load}


def _bricks(
    rng: np.random.Generator, shape: tuple[int, ...], sides: np.ndarray, degree: int
) -> tuple[csr_array, np.ndarray, dict[str, Any]]:
    cells, nodes = box_cells(shape, degree)
    points = grid_points(nodes) * sides / degree
    kind, young = _materials(rng, points[cells].mean(axis=1))
    nu = min(_poisson(rng), 0.499 if kind == "one" else 0.49)
    K = assemble_blocks(cells, repeated(brick_matrix(sides, nu, degree), young), len(sides), len(points))
    return K, points, {"materials": kind, "poisson": nu, "elements": shape}


def brick_solid(rng: np.random.Generator, n: int) -> Drawn:
    """A block of trilinear or 27-node bricks, several materials, to nearly incompressible; clamped or on springs.

    Hughes, The Finite Element Method (1987), chapters 3-4; the block of every static analysis and of topology
    optimisation (Andreassen et al. 2011).
    """
    degree = 2 if rng.random() < 0.25 else 1
    nodes = random_shape(rng, max(8, n // 3), 3, 8.0)
    shape = tuple(max(1, round((m - 1) / degree)) for m in nodes)
    K, points, drawn = _bricks(rng, shape, decades(rng, -0.3, 0.3, 3), degree)
    A, b, more = _supported(rng, K, points)
    return A, b, {**drawn, **more, "degree": degree}


def thin_solid(rng: np.random.Generator, n: int) -> Drawn:
    """A plate or strip of one to three layers of flat bricks, sides in a ratio of 2 to 30: a shell of solids.

    Codes expand shells to solids so (CalculiX user's manual, section on shell elements); Hauptmann and Schweizerhof
    (1998) on solid-shells. Nearly singular bending modes.
    """
    layers, degree = int(rng.integers(1, 4)), 2 if rng.random() < 0.3 else 1
    plane = random_shape(rng, max(9, n // (3 * (degree * layers + 1))), 2, 5.0)
    shape = (*(max(1, round((m - 1) / degree)) for m in plane), layers)
    aspect = decades(rng, 0.3, 1.5)
    K, points, drawn = _bricks(rng, shape, np.array([1.0, decades(rng, -0.2, 0.2), 1.0 / aspect]), degree)
    # clamp along the plane, never on the flat faces alone
    axis = int(rng.integers(2))
    low = points[:, axis] == 0.0
    if rng.random() < 0.4:
        low |= points[:, axis] == points[:, axis].max()
    free = np.flatnonzero(np.repeat(~low, 3))
    f = np.zeros(points.shape)
    f[:, 2] = 1.0 if rng.random() < 0.6 else rng.standard_normal(len(points))
    return csr_array(K[free][:, free]), f.ravel()[free], {**drawn, "aspect": aspect, "degree": degree}


def tetrahedral_solid(rng: np.random.Generator, n: int) -> Drawn:
    """A part of linear or ten-node tetrahedra, several materials, clamped or on springs.

    Zienkiewicz and Taylor, The Finite Element Method, volume 1 (2000); what mesh generators and CAD hand to solvers.
    """
    quadratic = bool(rng.random() < 0.3)
    points, cells, drawn = tetrahedra(rng, max(27, n // (24 if quadratic else 3)))
    if quadratic:
        points, cells = quadratic_cells(points, cells)
    kind, young = _materials(rng, points[cells].mean(axis=1))
    nu = min(_poisson(rng), 0.499 if kind == "one" else 0.49)
    K = assemble_blocks(cells, elasticity(points, cells, *lame(young, nu), quadratic=quadratic), 3, len(points))
    A, b, more = _supported(rng, K, points)
    return A, b, {**drawn, **more, "materials": kind, "poisson": nu, "degree": 1 + quadratic}


def plane_solid(rng: np.random.Generator, n: int) -> Drawn:
    """A plane piece with holes: triangles of order 1 or 2 or quadrilaterals, several materials.

    Hughes (1987), chapter 4; plane strain, of dams, sections and joints.
    """
    order = int(rng.choice(np.array([0, 1, 2])))
    if order == 0:
        nodes = random_shape(rng, max(9, n // 2), 2, 6.0)
        K, points, drawn = _bricks(rng, tuple(m - 1 for m in nodes), decades(rng, -0.5, 0.5, 2), 1)
    else:
        points, cells, drawn = triangles(rng, max(16, n // (8 if order == 2 else 2)), steepest=1.6)
        if order == 2:
            points, cells = quadratic_cells(points, cells)
        kind, young = _materials(rng, points[cells].mean(axis=1))
        nu = min(_poisson(rng), 0.499 if kind == "one" else 0.49)
        entry = elasticity(points, cells, *lame(young, nu), quadratic=order == 2)
        K, drawn = assemble_blocks(cells, entry, 2, len(points)), {**drawn, "materials": kind, "poisson": nu}
    A, b, more = _supported(rng, K, points)
    return A, b, {**drawn, **more, "elements": ("quadrilaterals", "linear", "quadratic")[order]}


def tied_parts(rng: np.random.Generator, n: int) -> Drawn:
    """Parts of a structure tied by constraints that are eliminated, T^T K T: rigid spiders and tied faces, long rows.

    Cook et al., Concepts and Applications of Finite Element Analysis (2001), section 13.2; multi-point constraints of
    Nastran, Abaqus and CalculiX.
    """
    shape = tuple(max(2, m - 1) for m in random_shape(rng, max(27, n // 3), 3, 6.0))
    K, points, drawn = _bricks(rng, shape, np.ones(3), 1)
    A, f, more = _supported(rng, K, points)
    size = A.shape[0]
    spiders = int(rng.integers(1, 5))
    slaves = rng.permutation(size)[: min(size // 3, spiders * whole_decades(rng, 10, max(12, size // 20)))]
    masters = 6 * spiders
    free = np.ones(size, dtype=bool)
    free[slaves] = False
    number = np.cumsum(free) - 1
    owner = rng.integers(0, spiders, slaves.size)
    arm = rng.uniform(-1.0, 1.0, (slaves.size, 3))
    axis = rng.integers(0, 3, slaves.size)
    kept = int(free.sum())
    row = np.concatenate([np.flatnonzero(free), np.repeat(slaves, 3)])
    col = np.concatenate(
        [
            number[free],
            kept + (6 * owner[:, None] + np.stack([axis, 3 + (axis + 1) % 3, 3 + (axis + 2) % 3], axis=1)).ravel(),
        ]
    )
    value = np.concatenate([np.ones(kept), np.stack([np.ones(slaves.size), arm[:, 0], -arm[:, 1]], axis=1).ravel()])
    T = sparse.coo_array((value, (row, col)), shape=(size, kept + masters)).tocsr()
    ground = np.zeros(kept + masters)
    ground[kept:] = float(np.median(A.diagonal())) * decades(rng, -3, 1)  # a bearing holds every rigid body
    return mirrored(T.T @ A @ T + sparse.diags_array(ground)), T.T @ f, {**drawn, **more, "slaves": slaves.size}


def contact_penalty(rng: np.random.Generator, n: int) -> Drawn:
    """Two blocks in contact: penalties k N N^T between the nodes of one face and the facets of the other.

    Wriggers, Computational Contact Mechanics (2006), chapter 6. A Newton step; penalties are 10 to 10^6 times
    the stiffness.
    """
    shape = tuple(max(2, m - 1) for m in random_shape(rng, max(27, n // 6), 3, 3.0))
    parts = [_bricks(rng, shape, np.ones(3), 1) for _ in range(2)]
    scale = [1.0 / float(np.median(part[0].diagonal())) for part in parts]
    ratio = decades(rng, 0, 3)
    K = csr_array(sparse.block_diag([parts[0][0] * scale[0], parts[1][0] * (scale[1] * ratio)]))
    points, n_one = parts[0][1], len(parts[0][1])
    top, bottom = np.flatnonzero(points[:, 2] == points[:, 2].max()), np.flatnonzero(points[:, 2] == 0.0)
    touching = rng.random(top.size) < rng.uniform(0.2, 1.0)
    touching[0] = True
    k = int(touching.sum())
    place = rng.integers(0, bottom.size, (k, 3))
    near = np.clip(np.flatnonzero(touching)[:, None] + np.array([0, 1, shape[1] + 1]), 0, bottom.size - 1)
    facet = np.where(rng.random((k, 1)) < 0.95, near, place)
    weights = rng.dirichlet(np.ones(3), k)
    friction = bool(rng.random() < 0.4)  # sticking: tangential too
    rows, cols, values = [], [], []
    for block, axis in enumerate((0, 1, 2) if friction else (2,)):
        for column, value in [(3 * top[touching] + axis, np.ones(k))] + [
            (3 * (n_one + bottom[facet[:, m]]) + axis, -weights[:, m]) for m in range(3)
        ]:
            rows.append(block * k + np.arange(k))
            cols.append(column)
            values.append(value)
    m = k * (3 if friction else 1)
    N = sparse.coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), shape=(m, K.shape[0]))
    N = N.tocsr()
    penalty = decades(rng, 1, 6)
    K = K + penalty * (N.T @ N)
    # the foot is clamped, and weak springs keep the other block from floating
    held = np.zeros(K.shape[0], dtype=bool)
    held[np.repeat(np.concatenate([points[:, 2] == 0.0, np.zeros(n_one, dtype=bool)]), 3)] = True
    springs = np.concatenate([np.zeros(3 * n_one), np.full(3 * n_one, decades(rng, -5, -2))])
    free = np.flatnonzero(~held)
    f = np.zeros((2 * n_one, 3))
    f[n_one:, 2] = -1.0
    A = mirrored(csr_array(K + sparse.diags_array(springs))[free][:, free])
    return A, f.ravel()[free], {**parts[0][2], "penalty": penalty, "touching": k, "friction": friction}


def soft_tissue(rng: np.random.Generator, n: int) -> Drawn:
    """A time step of soft tissue: inertia, and the tangent of a nearly incompressible solid with fibres, prestressed.

    Barbic and James, ACM Trans. Graph. 24 (2005); SOFA (Faure et al. 2012); Bonet and Wood (2008), chapter 6. Surgery
    simulation and animation, one solve a frame.
    """
    points, cells, drawn = tetrahedra(rng, max(27, n // 3))
    nodes, nu = len(points), float(rng.choice([0.45, 0.49, 0.499]))
    volume, G = gradients(points, cells)
    lam, mu = lame(np.exp(0.3 * rng.standard_normal(len(cells))), nu)
    tension = rng.uniform(0.0, 0.3) * np.abs(rng.standard_normal(len(cells))) * volume
    fibre = rng.standard_normal(3)
    fibre /= np.linalg.norm(fibre)
    along, stiff = G @ fibre, decades(rng, -1, 2) * volume

    def prestressed(a: np.ndarray, b: np.ndarray, p: int, q: int) -> np.ndarray:
        value = stiff[:, None] * along[:, a] * along[:, b] * (fibre[p] * fibre[q])
        return value + tension[:, None] * np.einsum("exd,exd->ex", G[:, a], G[:, b]) if p == q else value

    entry = total([isotropic(G, volume * lam, volume * mu), prestressed])
    K = assemble_blocks(cells, entry, 3, nodes)
    mass = np.bincount(cells.ravel(), np.repeat(volume / 4, 4), nodes)
    inertia = decades(rng, -3, 2)
    A = K + sparse.diags_array(np.repeat(mass * inertia, 3))
    if rng.random() < 0.3:  # pinned somewhere as well
        pinned = rng.choice(3 * nodes, max(3, nodes // 50), replace=False)
        free = np.ones(3 * nodes, dtype=bool)
        free[pinned] = False
        A = csr_array(A)[free][:, free]
    f = np.repeat(mass, 3)[: A.shape[0]] * rng.standard_normal(A.shape[0])
    return csr_array(A), f, {**drawn, "poisson": nu, "inertia": inertia}


def porous_stiffness(rng: np.random.Generator, n: int) -> Drawn:
    """Bone, foam or a design in topology optimisation: voxels of elasticity, most of them nearly void.

    Sigmund, Struct. Multidisc. Optim. 21 (2001), SIMP; van Rietbergen et al., J. Biomech. 28 (1995), voxels of bone.
    """
    d = int(rng.choice(np.array([2, 3])))
    shape = tuple(max(2, m - 1) for m in random_shape(rng, max(9, n // d), d, 3.0))
    field = np.log(lognormal_field(shape, s=1.0, correlation=decades(rng, -1.7, -0.7), seed=int(rng.integers(2**31))))
    full, void = rng.uniform(0.2, 0.7), decades(rng, -6, -2)
    design = 1.0 / (1.0 + np.exp(-decades(rng, 0, 1.5) * (field.ravel() - np.quantile(field, 1.0 - full))))
    young = void + (1.0 - void) * design**3
    cells, nodes = box_cells(shape)
    points = grid_points(nodes)
    K = assemble_blocks(cells, repeated(brick_matrix(np.ones(d), 0.3), young), d, len(points))
    held = points[:, 0] == 0.0
    free = np.flatnonzero(np.repeat(~held, d))
    f = np.zeros(points.shape)
    f[np.flatnonzero(points[:, 0] == points[:, 0].max())[-1 if rng.random() < 0.5 else slice(None)], d - 1] = -1.0
    return csr_array(K[free][:, free]), f.ravel()[free], {"elements": shape, "solid": full, "void": void}


FAMILIES = {
    "brick solid": SystemFamily(brick_solid, "structures", smallest=100, largest=500_000),
    "thin solid": SystemFamily(thin_solid, "structures", smallest=300, largest=300_000),
    "tetrahedral solid": SystemFamily(tetrahedral_solid, "structures", smallest=400, largest=300_000),
    "plane solid": SystemFamily(plane_solid, "structures", smallest=100, largest=500_000),
    "tied parts": SystemFamily(tied_parts, "structures", smallest=100, largest=100_000),
    "contact penalty": SystemFamily(contact_penalty, "structures", smallest=200, largest=200_000),
    "soft tissue": SystemFamily(soft_tissue, "soft bodies", smallest=200, largest=300_000),
    "porous stiffness": SystemFamily(porous_stiffness, "structures", smallest=100, largest=500_000),
}
