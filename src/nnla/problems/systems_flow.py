"""Generated systems of flow: pressure corrections on stretched and unstructured cells, reservoirs, free surfaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.assembly import graph_laplacian
from nnla.problems.gallery import diffusion3d
from nnla.problems.systems_meshes import grid_points, random_shape, tetrahedra, triangles
from nnla.problems.systems_types import Drawn, SystemFamily, decades

__all__ = ["FAMILIES"]


def boundary_layer(rng: np.random.Generator, n: int) -> Drawn:
    """Pressure correction on cells that flatten towards a wall: aspect ratios to 10^4, Neumann but for an outlet.

    Ferziger and Peric, Computational Methods for Fluid Dynamics (2002), chapters 7-8; Patankar (1980), SIMPLE. Body-
    fitted and Cartesian grids of OpenFOAM cases; b is the divergence of a velocity.
    """
    d = int(rng.choice(np.array([2, 3])))
    shape = random_shape(rng, n, d, 4.0)
    growth = rng.uniform(1.02, 1.0 + min(0.35, 9.0 / shape[0]) if shape[0] > 26 else 1.35)
    sizes = [np.ones(m) for m in shape]
    sizes[0] = growth ** np.arange(shape[0]) / decades(rng, 0, 2)
    if rng.random() < 0.5:
        wave = 1.0 + rng.uniform(0.0, 0.9) * np.cos(np.arange(shape[-1]) / shape[-1] * 2 * np.pi * rng.integers(1, 4))
        sizes[-1] = sizes[-1] * wave
    number = np.arange(int(np.prod(shape))).reshape(shape)
    volume = np.ones(shape)
    for axis, h in enumerate(sizes):
        volume = volume * h.reshape([-1 if a == axis else 1 for a in range(d)])
    i, j, w = [], [], []
    # 1 / a_P of the momentum equation varies from cell to cell
    mobility = np.exp(rng.uniform(0.0, 1.5) * np.cos(grid_points(shape) / max(shape) @ rng.uniform(-12.0, 12.0, d)))
    wide = np.ones(shape)
    for axis, h in enumerate(sizes):
        low, high = np.delete(number, -1, axis=axis).ravel(), np.delete(number, 0, axis=axis).ravel()
        width = (wide * h.reshape([-1 if a == axis else 1 for a in range(d)])).ravel()
        area = volume.ravel() / width
        i.append(low)
        j.append(high)
        w.append(
            0.5 * (area[low] + area[high]) / (0.5 * (width[low] + width[high])) * 0.5 * (mobility[low] + mobility[high])
        )
    ground = np.zeros(number.size)
    outlet = np.take(number, -1, axis=int(rng.integers(d))).ravel()
    ground[outlet if rng.random() < 0.7 else outlet[:1]] = float(np.median(w[-1]))
    A = graph_laplacian(np.concatenate(i), np.concatenate(j), np.concatenate(w), ground)
    flux = [x * rng.standard_normal(x.size) for x in w[-1:]]
    b = np.zeros(number.size)
    np.add.at(b, i[-1], flux[0])
    np.add.at(b, j[-1], -flux[0])
    return A, b, {"shape": shape, "growth": growth}


def polygonal_pressure(rng: np.random.Generator, n: int) -> Drawn:
    """Pressure correction on the cells of an unstructured mesh: two-point fluxes through the faces of simplices.

    Jasak, Error Analysis and Estimation for the Finite Volume Method (1996); OpenFOAM's Gauss linear Laplacian. Every
    unknown is a cell and has three or four neighbours.
    """
    d = int(rng.choice(np.array([2, 3])))
    points, cells, drawn = triangles(rng, max(30, n // 2), steepest=2.5) if d == 2 else tetrahedra(rng, max(27, n // 5))
    k = d + 1
    faces = np.concatenate([np.sort(np.delete(cells, c, axis=1), axis=1) for c in range(k)])
    owner = np.tile(np.arange(len(cells)), k)
    keys = np.zeros(len(faces), dtype=np.int64)
    for c in range(d):
        keys = keys * len(points) + faces[:, c]
    order = np.argsort(keys, kind="stable")
    pair = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    i, j = owner[order[pair]], owner[order[pair + 1]]
    face = faces[order[pair]]
    corner = points[face]
    area = np.linalg.norm(corner[:, 1] - corner[:, 0], axis=1)
    if d == 3:
        area = 0.5 * np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    centre = points[cells].mean(axis=1)
    w = area / np.maximum(np.linalg.norm(centre[i] - centre[j], axis=1), 1e-12)
    used = np.unique(np.concatenate([i, j]))
    new = np.full(len(cells), -1)
    new[used] = np.arange(used.size)
    ground = np.zeros(used.size)
    place = centre[used, 0]
    ground[place >= np.quantile(place, 1.0 - decades(rng, -3, -1.5))] = float(np.median(w))
    ground[np.argmax(place)] = float(np.median(w))
    graph = sparse.coo_array((np.ones(i.size, dtype=np.int8), (new[i], new[j])), shape=(used.size, used.size))
    label = np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1])
    lonely = np.ones(label.max() + 1, dtype=bool)
    lonely[label[ground > 0]] = False
    ground += float(np.median(w)) * lonely[label]
    A = graph_laplacian(new[i], new[j], w, ground)
    flux = w * rng.standard_normal(w.size)
    return A, np.bincount(new[i], flux, used.size) - np.bincount(new[j], flux, used.size), drawn


def reservoir(rng: np.random.Generator, n: int) -> Drawn:
    """A reservoir in flat layers: permeability by layers and channels over decades, strong vertical contrast, wells.

    Aziz and Settari, Petroleum Reservoir Simulation (1979); the SPE10 benchmark (Christie and Blunt 2001). A step of
    the pressure equation; wells join a column of cells and make long rows.
    """
    flat = random_shape(rng, max(16, n // 10), 2, 3.0)
    layers = max(2, n // (flat[0] * flat[1]))
    shape = (layers, *flat)
    k = decades(rng, -rng.uniform(0.0, 2.0), rng.uniform(0.0, 2.0), layers)[:, None, None] * np.ones(shape)
    k *= np.exp(
        rng.uniform(0.0, 2.0) * np.cos(grid_points(shape) / max(flat) @ rng.uniform(-20.0, 20.0, 3)).reshape(shape)
    )
    channel = np.abs(np.sin(np.arange(flat[0]) / flat[0] * rng.uniform(2, 9)) * flat[1] * 0.4 + flat[1] / 2)[:, None]
    k[:, np.abs(np.arange(flat[1])[None, :] - channel) < flat[1] * 0.08 + 1] *= decades(rng, 0, 3)
    A: Any = diffusion3d(k, weights=(decades(rng, -1, 3), 1.0, 1.0))
    # no flow through the boundary, and a little storage
    store = decades(rng, -7, -2) * float(np.median(A.diagonal()))
    A = A - sparse.diags_array(A @ np.ones(k.size) - store)
    number = np.arange(k.size).reshape(shape)
    b = np.zeros(k.size)
    for well in range(int(rng.integers(1, 6))):
        cells = number[:, int(rng.integers(flat[0])), int(rng.integers(flat[1]))]
        b[cells] += (1.0 if well % 2 else -1.0) * k.ravel()[cells]
        if rng.random() < 0.3:  # a well held at one pressure
            held = np.zeros(k.size)
            held[cells] = 10.0 * k.ravel()[cells]
            A = A + sparse.diags_array(held)
    return csr_array(A), b + store * rng.random(k.size), {"shape": shape}


def level_set(rng: np.random.Generator, n: int) -> Drawn:
    """Two-phase flow: pressure with densities in a ratio to 1000 across drops, walls all around, one point held.

    Sussman, Smereka, Osher, J. Comput. Phys. 114 (1994); Bridson, Fluid Simulation for Computer Graphics (2015), with
    air cells left out of the system.
    """
    d = int(rng.choice(np.array([2, 3])))
    shape = random_shape(rng, int(n * 1.2), d, 2.0)
    ratio, air = decades(rng, 0.5, 3), bool(rng.random() < 0.5)
    places = grid_points(shape)
    phase = np.zeros(len(places), dtype=bool)
    for _ in range(int(rng.integers(1, 10))):
        phase |= ((places - rng.random(d) * shape) ** 2).sum(axis=1) < (rng.uniform(0.05, 0.2) * max(shape)) ** 2
    if phase.mean() > 0.5:
        phase = ~phase
    k = np.where(phase, ratio, 1.0)
    number = np.arange(k.size).reshape(shape)
    i = np.concatenate([np.delete(number, -1, axis=a).ravel() for a in range(d)])
    j = np.concatenate([np.delete(number, 0, axis=a).ravel() for a in range(d)])
    w = 2.0 * k[i] * k[j] / (k[i] + k[j])
    ground = np.zeros(k.size)
    if air:  # cells of air have pressure zero: only water is left
        ground += np.bincount(i, phase[j] * w, k.size) + np.bincount(j, phase[i] * w, k.size)
        inner = ~phase[i] & ~phase[j]
        i, j, w = i[inner], j[inner], w[inner]
        kept = ~phase
    else:
        kept = np.ones(k.size, dtype=bool)
        ground[int(rng.integers(k.size))] = 1.0
    new = np.cumsum(kept) - 1
    i, j, ground = new[i], new[j], ground[kept]
    graph = sparse.coo_array((np.ones(i.size, dtype=np.int8), (i, j)), shape=2 * (ground.size,))
    label = np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1])
    floating = np.bincount(label, ground) == 0  # water shut in by walls
    first = np.unique(label, return_index=True)[1]
    ground[first[floating]] = 1.0
    flux = rng.standard_normal(i.size)
    b = np.bincount(i, flux, ground.size) - np.bincount(j, flux, ground.size)
    return graph_laplacian(i, j, w, ground), b, {"shape": shape, "ratio": ratio, "free surface": air}


FAMILIES = {
    "boundary layer": SystemFamily(boundary_layer, "flow"),
    "polygonal pressure": SystemFamily(polygonal_pressure, "flow", smallest=400),
    "reservoir": SystemFamily(reservoir, "flow", smallest=100),
    "level set": SystemFamily(level_set, "flow"),
}
