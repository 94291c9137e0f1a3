"""Generated systems of finite elements and volumes on meshes: diffusion, pressure, masses, edge elements."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.assembly import assemble
from nnla.problems.systems_elements import assemble_blocks, diffusion, gradients, quadratic_cells
from nnla.problems.systems_meshes import grid_points, random_shape, tetrahedra, triangles
from nnla.problems.systems_types import Drawn, SystemFamily, decades, loads, mirrored

__all__ = ["FAMILIES"]


def _mesh(rng: np.random.Generator, flat: int, solid: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """A plane mesh of about `flat` nodes or one in space of about `solid`."""
    if rng.random() < 0.5:
        points, cells, drawn = triangles(rng, max(16, flat), steepest=2.0)
    else:
        points, cells, drawn = tetrahedra(rng, max(27, solid))
    return points, cells, {**drawn, "dimension": points.shape[1]}


def _conductivity(rng: np.random.Generator, places: np.ndarray) -> tuple[float, np.ndarray]:
    contrast = float(rng.choice([1.0, decades(rng, 0.5, 5)]))
    if contrast == 1.0:
        return contrast, np.ones(len(places))
    if rng.random() < 0.5:
        parts = np.floor(places / np.ptp(places, axis=0) * int(rng.integers(2, 7))).sum(axis=1) % 2
        return contrast, np.where(parts == 1, contrast, 1.0)
    waves = places / np.ptp(places) @ rng.uniform(-30.0, 30.0, (places.shape[1], 5)) + rng.uniform(0.0, 6.0, 5)
    return contrast, contrast ** np.cos(waves).mean(axis=1)


def mesh_diffusion(rng: np.random.Generator, n: int) -> Drawn:
    """Heat conduction on an unstructured mesh in the plane or in space: linear or quadratic elements, materials.

    Zienkiewicz and Taylor (2000); what FEniCS, scikit-fem and deal.II tutorials assemble. Fixed or convective ends.
    """
    quadratic = bool(rng.random() < 0.3)
    points, cells, drawn = _mesh(rng, *((n // 4, n // 7) if quadratic else (n, n)))
    contrast, k = _conductivity(rng, points[cells].mean(axis=1))
    d = points.shape[1]
    volume, G = gradients(points, cells)
    if quadratic:
        points, cells = quadratic_cells(points, cells)
        a, b = np.triu_indices(d + 1, 1)
        s = 1.0 / 6.0 if d == 2 else (5.0 - 5.0**0.5) / 20.0
        A = csr_array((len(points), len(points)))
        for corner in range(d + 1):
            x = np.full(d + 1, s)
            x[corner] = 1.0 - d * s
            middle = 4.0 * (x[a][None, :, None] * G[:, b] + x[b][None, :, None] * G[:, a])
            H = np.concatenate([(4.0 * x - 1.0)[None, :, None] * G, middle], axis=1)
            A = A + assemble_blocks(cells, diffusion(H, k * volume / (d + 1)), 1, len(points))
    else:
        A = assemble_blocks(cells, diffusion(G, k * volume), 1, len(points))
    load, b = loads(rng, points)
    height = points[:, 0] - points[:, 0].min()
    fixed = height <= 0.02 * np.ptp(height)
    fixed[np.argmin(height)] = True
    drawn = {**drawn, "contrast": contrast, "degree": 1 + quadratic, "load": load}
    if rng.random() < 0.3:  # convection to a known temperature instead
        film = fixed * float(np.median(A.diagonal())) * decades(rng, -4, 0)
        return csr_array(A + sparse.diags_array(film)), b, {**drawn, "ends": "convective"}
    free = np.flatnonzero(~fixed)
    return csr_array(csr_array(A)[free][:, free]), b[free], {**drawn, "ends": "fixed"}


def mesh_time_step(rng: np.random.Generator, n: int) -> Drawn:
    """A time step on an unstructured mesh, M + step K, the mass consistent or lumped, the step over many decades.

    Thomee, Galerkin Finite Element Methods for Parabolic Problems (2006), chapter 1. b = M times the last state.
    """
    points, cells, drawn = _mesh(rng, n, n)
    contrast, k = _conductivity(rng, points[cells].mean(axis=1))
    volume, G = gradients(points, cells)
    K = assemble_blocks(cells, diffusion(G, k * volume), 1, len(points))
    M = _mass(cells, volume, len(points), len(cells[0]))
    lumped = bool(rng.random() < 0.5)
    if lumped:
        M = csr_array(sparse.diags_array(np.asarray(M.sum(axis=1)).ravel()))
    step = decades(rng, -3, 4) * float(np.median(M.diagonal()) / np.median(K.diagonal()))
    _, state = loads(rng, points)
    return csr_array(M + step * K), M @ state, {**drawn, "contrast": contrast, "step": step, "lumped": lumped}


def _mass(cells: np.ndarray, weight: np.ndarray, nodes: int, k: int) -> csr_array:
    unit = (np.eye(k) + 1.0) / (k * (k + 1.0))
    return assemble_blocks(cells, lambda a, b, p, q: weight[:, None] * unit[a, b], 1, nodes)


def mass_matrix(rng: np.random.Generator, n: int) -> Drawn:
    """The consistent mass matrix of linear or quadratic elements, densities and sizes of cells over decades.

    Wathen (1987); Hughes (1987), chapter 7. L2 projections and explicit dynamics; about 20 steps of Jacobi-CG.
    """
    quadratic = bool(rng.random() < 0.4)
    points, cells, drawn = _mesh(rng, *((n // 4, n // 7) if quadratic else (n, n)))
    d = points.shape[1]
    volume, _ = gradients(points, cells)
    weight = volume * decades(rng, 0, rng.uniform(0.0, 3.0), len(cells))
    if quadratic:
        points, cells = quadratic_cells(points, cells)
        unit = _quadratic_mass(d)
        A = assemble_blocks(cells, lambda a, b, p, q: weight[:, None] * unit[a, b], 1, len(points))
    else:
        A = _mass(cells, weight, len(points), d + 1)
    _, f = loads(rng, points)
    return (
        A,
        A @ f + 0.01 * float(np.median(A.diagonal())) * rng.standard_normal(len(f)),
        {**drawn, "degree": 1 + quadratic},
    )


def _quadratic_mass(d: int) -> np.ndarray:
    """Of a simplex of volume 1, from the integrals of barycentric monomials, d! prod(a_i!) / (d + sum a)!."""
    from itertools import product
    from math import factorial, prod

    a, b = np.triu_indices(d + 1, 1)
    shapes = [
        {tuple(2 * (i == c) for i in range(d + 1)): 2.0, tuple(int(i == c) for i in range(d + 1)): -1.0}
        for c in range(d + 1)
    ]
    shapes += [{tuple(int(i in (p, q)) for i in range(d + 1)): 4.0} for p, q in zip(a, b, strict=True)]
    M = np.zeros((len(shapes), len(shapes)))
    for (i, one), (j, other) in product(enumerate(shapes), repeat=2):
        for (u, x), (v, y) in product(one.items(), other.items()):
            power = [s + t for s, t in zip(u, v, strict=True)]
            M[i, j] += x * y * factorial(d) * prod(map(factorial, power)) / factorial(d + sum(power))
    return M


def eddy_current(rng: np.random.Generator, n: int) -> Drawn:
    """Edge elements: curl-curl plus conductivity over the step, on a mesh in the plane or in space.

    Nedelec (1980); Reitzinger and Schoeberl (2002); ML's Maxwell examples (Bochev et al. 2003). Gradients are nearly in
    the null space; also the edge mass alone, where the conductivity rules.
    """
    points, cells, drawn = _mesh(rng, n // 3, n // 7)
    d = points.shape[1]
    volume, G = gradients(points, cells)
    low, high = np.triu_indices(d + 1, 1)
    tail, head = cells[:, low], cells[:, high]
    sign = np.where(tail < head, 1.0, -1.0)
    nodes = len(points)
    keys, place = np.unique((np.minimum(tail, head) * nodes + np.maximum(tail, head)).ravel(), return_inverse=True)
    edge = place.reshape(tail.shape)
    if d == 3:
        curl = 2.0 * np.cross(G[:, low], G[:, high])
    else:
        curl = (2.0 * (G[:, low, 0] * G[:, high, 1] - G[:, low, 1] * G[:, high, 0]))[..., None]
    S = np.einsum("e,eac,ebc->eab", volume, curl, curl, optimize=True)
    inner = np.einsum("eac,ebc->eab", G, G)
    unit = (np.eye(d + 1) + 1.0) / ((d + 1.0) * (d + 2.0))
    M = np.zeros_like(S)
    for first, x in ((low, 1.0), (high, -1.0)):
        rest = high if first is low else low
        for second, y in ((low, 1.0), (high, -1.0)):
            other = high if second is low else low
            M += x * y * unit[first][:, second] * inner[:, rest][:, :, other]
    M *= volume[:, None, None]
    h2 = float(np.median(volume)) ** (2.0 / d)
    contrast, sigma = _conductivity(rng, points[cells].mean(axis=1))
    weight = decades(rng, -4.5, 2) / h2
    K = (S + weight * sigma[:, None, None] * M) * sign[:, :, None] * sign[:, None, :]
    A = assemble(edge, K, keys.size)
    b = np.bincount(edge.ravel(), (sign * np.repeat(volume[:, None], edge.shape[1], axis=1)).ravel(), keys.size)
    if rng.random() < 0.5:
        b = b * rng.standard_normal(keys.size)
    return A, b, {**drawn, "mass": weight * h2, "contrast": contrast}


def discontinuous_elements(rng: np.random.Generator, n: int) -> Drawn:
    """Interior-penalty discontinuous elements of order 1 on a grid: dense blocks, jumps penalised.

    Arnold, Brezzi, Cockburn, Marini, SIAM J. Numer. Anal. 39 (2002); SIPG with a penalty of 4 to 100.
    """
    shape = random_shape(rng, max(9, n // 4), 2, 4.0)
    penalty, contrast = decades(rng, 0.7, 2), decades(rng, 0, 4)
    k = np.where(rng.random(shape) < 0.5, 1.0, contrast) if rng.random() < 0.5 else np.ones(shape)
    # in one dimension: mass, stiffness, and the coupling over a face; a square is their tensor product
    mass = np.array([[2.0, 1.0], [1.0, 2.0]]) / 6.0
    stiff = np.array([[1.0, -1.0], [-1.0, 1.0]])
    number = np.arange(k.size).reshape(shape)
    rows, entries = [], []
    inside = np.kron(stiff, mass) + np.kron(mass, stiff)
    rows.append(4 * number.ravel()[:, None] + np.arange(4))
    entries.append(k.ravel()[:, None, None] * inside)
    jump = np.array([0.0, 1.0, -1.0, 0.0])  # of the left cell's right end and the right one's left end
    left, right = np.array([-1.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0, 1.0])
    for axis in (0, 1):
        low, high = np.delete(number, -1, axis=axis).ravel(), np.delete(number, 0, axis=axis).ravel()
        kl, kr = k.ravel()[low], k.ravel()[high]
        mean = 2.0 * kl * kr / (kl + kr)
        # harmonic weights of the fluxes, so that the penalty bounds them whatever the contrast (Ern et al. 2009)
        flux = (kr / (kl + kr) * kl)[:, None] * left + (kl / (kl + kr) * kr)[:, None] * right
        one = penalty * mean[:, None, None] * np.outer(jump, jump)
        one = one - flux[:, :, None] * jump - jump[:, None] * flux[:, None, :]
        # unknowns of a cell are (y, x) in {0, 1}^2: the face's own direction varies along the other axis
        block = np.einsum("eab,cd->eacbd", one, mass).reshape(-1, 8, 8)
        local = np.array([[p, q] for p in range(4) for q in range(2)])  # (end of the pair, place along the face)
        cell = np.where(local[:, 0] < 2, 0, 1)
        end = local[:, 0] % 2
        offset = np.where(axis == 0, 2 * end + local[:, 1], 2 * local[:, 1] + end)
        rows.append(4 * np.stack([low, high], axis=1)[:, cell] + offset)
        entries.append(block)
    A: Any = assemble(rows[0], entries[0], 4 * k.size)
    for dofs, block in zip(rows[1:], entries[1:], strict=True):
        A = A + assemble(dofs, block, 4 * k.size)
    held = np.zeros(4 * k.size)
    held[4 * number[0].ravel()] = held[4 * number[0].ravel() + 1] = penalty * contrast
    load, b = loads(rng, np.repeat(grid_points(shape), 4, axis=0))
    return (
        mirrored(A + sparse.diags_array(held)),
        b,
        {"shape": shape, "penalty": penalty, "contrast": contrast, "load": load},
    )


FAMILIES = {
    "mesh diffusion": SystemFamily(mesh_diffusion, "fields"),
    "mesh time step": SystemFamily(mesh_time_step, "fields"),
    "mass matrix": SystemFamily(mass_matrix, "mass"),
    "eddy current": SystemFamily(eddy_current, "electromagnetics", smallest=150),
    "discontinuous elements": SystemFamily(discontinuous_elements, "fields", largest=300_000),
}
