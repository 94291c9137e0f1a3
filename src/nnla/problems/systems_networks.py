"""Generated systems of power networks, circuits and pipes: planar graphs with few cycles, hubs, many decades."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.assembly import graph_laplacian
from nnla.problems.gallery import power_grid
from nnla.problems.systems_graphs import edges_of_cells, simple_edges
from nnla.problems.systems_meshes import random_shape, triangles
from nnla.problems.systems_types import Drawn, SystemFamily, decades, mirrored, whole_decades

__all__ = ["FAMILIES", "transmission_network"]


def transmission_network(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Ends and reactances of the branches of a power network: regions, few cycles, short and long lines, transformers.

    Mean degree 2.4 to 3.2 and a decay of reactances over three decades, as Birchfield et al. (2017) measure.
    """
    leaves = float(rng.uniform(0.15, 0.4))
    core = max(12, int(n * (1.0 - leaves)))
    points, cells, _ = triangles(rng, core)
    core = len(points)
    i, j = edges_of_cells(cells)
    length = np.linalg.norm(points[i] - points[j], axis=1)
    graph = sparse.coo_array((length * rng.uniform(0.5, 1.5, length.size), (i, j)), shape=(core, core)).tocsr()
    tree = sparse.csgraph.minimum_spanning_tree(graph).tocoo()
    ring = float(rng.uniform(0.08, 0.3))
    kept = rng.random(len(i)) < ring
    far = rng.integers(0, core, (2, int(core * decades(rng, -3, -1.3))))  # ties between regions
    i, j = simple_edges(np.concatenate([tree.row, i[kept], far[0]]), np.concatenate([tree.col, j[kept], far[1]]))
    ends = rng.integers(0, core, max(1, n - core))  # generators and loads behind transformers
    i, j = np.concatenate([i, ends]), np.concatenate([j, core + np.arange(ends.size)])
    x = np.exp(rng.normal(np.log(0.03), rng.uniform(0.7, 1.6), i.size))
    x[rng.random(i.size) < rng.uniform(0.0, 0.05)] = decades(rng, -5, -3)  # bus couplers, short cables
    return i, j, x, {"leaves": leaves, "rings": ring}


def dc_power_flow(rng: np.random.Generator, n: int) -> Drawn:
    """DC power flow: the susceptance matrix of a transmission network without its slack bus; b balances injections.

    Stott, Jardim, Alsac, DC power flow revisited (IEEE Trans. Power Syst. 24, 2009); MATPOWER's makeBdc. Structure:
    Birchfield et al., IEEE Trans. Power Syst. 32 (2017).
    """
    i, j, x, drawn = transmission_network(rng, n)
    n = int(max(i.max(), j.max())) + 1
    ground = np.zeros(n)
    ground[rng.choice(n, 1 if rng.random() < 0.7 else max(1, n // 200), replace=False)] = 1.0 / np.median(x)
    A = graph_laplacian(i, j, 1.0 / x, ground)
    b = rng.gamma(0.5, 1.0, n) * np.where(rng.random(n) < 0.25, 3.0, -1.0)
    return A, b - b.mean(), drawn


def fast_decoupled(rng: np.random.Generator, n: int) -> Drawn:
    """Fast decoupled load flow: B'' of a network with shunts and line charging, voltage-controlled buses left out.

    Stott and Alsac, Fast decoupled load flow (IEEE Trans. PAS 93, 1974). b holds reactive mismatches.
    """
    i, j, x, drawn = transmission_network(rng, n)
    n = int(max(i.max(), j.max())) + 1
    shunt = np.abs(rng.standard_normal(n)) * decades(rng, -3, 0)
    held = rng.random(n) < rng.uniform(0.05, 0.3)
    held[0] = True
    A = graph_laplacian(i, j, 1.0 / x, shunt)[~held][:, ~held]
    return csr_array(A), 0.1 * rng.standard_normal(A.shape[0]), drawn


def distribution_network(rng: np.random.Generator, n: int) -> Drawn:
    """Radial feeders: trees with long branches and a few closed rings, conductances of cables over decades.

    Kersting, Distribution System Modeling and Analysis (2012); Baran and Wu (1989).
    """
    depth, rings = float(rng.uniform(0.3, 8.0)), float(rng.choice([0.0, decades(rng, -3, -1)]))
    node = np.arange(1, n)
    back = np.minimum(node, 1 + rng.exponential(1.0, n - 1) * n ** (1.0 / (1.0 + depth)))
    parent = (node - back).astype(np.int64)
    parent = np.where(rng.random(n - 1) < 0.5, node - 1, np.maximum(parent, 0))
    far = rng.integers(0, n, (2, int(rings * n)))
    i, j = simple_edges(np.concatenate([parent, far[0]]), np.concatenate([node, far[1]]))
    weights = decades(rng, -rng.uniform(0.5, 3.0), 0, i.size)
    ground = np.zeros(n)
    ground[0] = 10.0
    ground += rng.random(n) * float(rng.choice([0.0, decades(rng, -6, -2)]))
    return graph_laplacian(i, j, weights, ground), -rng.gamma(1.0, 1.0, n), {"depth": depth, "rings": rings}


def state_estimation(rng: np.random.Generator, n: int) -> Drawn:
    """State estimation: the gain matrix H^T W H of flows, injections and a few angles, weights over decades.

    Abur and Exposito, Power System State Estimation (2004), chapter 2; Schweppe and Wildes (1970). b = H^T W z.
    """
    i, j, x, drawn = transmission_network(rng, n)
    x = np.maximum(x, 2e-3)  # estimators take shorter branches together
    n = int(max(i.max(), j.max())) + 1
    m = len(i)
    flow = sparse.coo_array(
        (np.concatenate([1 / x, -1 / x]), (np.tile(np.arange(m), 2), np.concatenate([i, j]))), shape=(m, n)
    ).tocsr()
    laplacian = graph_laplacian(i, j, 1.0 / x, np.zeros(n))
    share = rng.uniform(0.4, 1.0, 2)
    flow, injected = flow[rng.random(m) < share[0]], laplacian[rng.random(n) < share[1]]
    angles = rng.choice(n, max(1, int(n * rng.uniform(0.001, 0.05))), replace=False)
    phasor = sparse.coo_array((np.ones(angles.size), (np.arange(angles.size), angles)), shape=(angles.size, n)).tocsr()
    # pseudo-measurements make every network observable
    rest = float(decades(rng, -1.5, 0.5)) * sparse.eye_array(n)
    H = csr_array(sparse.vstack([flow, injected, phasor, rest]))
    sigma = np.concatenate(
        [
            np.full(flow.shape[0], 0.008),
            np.where(rng.random(injected.shape[0]) < 0.2, 2e-3, 0.01),  # zero injections are trusted
            np.full(angles.size, 1e-3),
            np.ones(n),
        ]
    )
    w = (sigma / sigma.max()) ** -2
    theta = np.cumsum(rng.standard_normal(n)) / n**0.5 * 0.3
    z = H @ theta + sigma * rng.standard_normal(H.shape[0])
    return (
        mirrored(H.T @ sparse.diags_array(w) @ H),
        H.T @ (w * z),
        {**drawn, "flows": share[0], "injections": share[1]},
    )


def chip_supply(rng: np.random.Generator, n: int) -> Drawn:
    """The supply net of a chip: layers of wires, vias, pads to the supply; b draws current at the bottom.

    Nassif, Power grid analysis benchmarks (ASP-DAC 2008); Kozhaya, Nassif, Najm, IEEE Trans. CAD 21 (2002).
    """
    if rng.random() < 0.4:
        nx, ny = random_shape(rng, max(36, n // 2), 2, 3.0)
        A = power_grid(nx, ny, supply=decades(rng, 1, 5), cut=rng.uniform(0.0, 0.3), seed=int(rng.integers(2**31)))
        return A, rng.gamma(0.5, 1e-3, A.shape[0]), {"net": "layers", "shape": (nx, ny)}
    shape = random_shape(rng, n, 2, 3.0)
    number = np.arange(shape[0] * shape[1]).reshape(shape)
    n = number.size
    i = [number[:, :-1].ravel(), number[:-1].ravel()]
    j = [number[:, 1:].ravel(), number[1:].ravel()]
    spread = rng.uniform(0.2, 2.0)
    across = np.broadcast_to(decades(rng, -spread, spread, (shape[0], 1)), (shape[0], shape[1] - 1)).ravel()
    along = np.broadcast_to(decades(rng, -spread, spread, (1, shape[1])), (shape[0] - 1, shape[1])).ravel()
    far = rng.integers(0, n, (2, int(n * float(rng.choice([0.0, decades(rng, -3, -1)])))))
    i, j = np.concatenate([*i, far[0]]), np.concatenate([*j, far[1]])
    weights = np.concatenate([across, along, np.full(far.shape[1], 0.1)])
    apart = i != j
    pads = rng.choice(n, min(n, whole_decades(rng, 1, max(2, n // 50))), replace=False)
    ground = np.zeros(n)
    ground[pads] = decades(rng, 0, 4)
    drawn = {"net": "plane", "shape": shape, "pads": pads.size, "long": far.shape[1]}
    return graph_laplacian(i[apart], j[apart], weights[apart], ground), rng.gamma(0.5, 1e-3, n), drawn


def circuit_step(rng: np.random.Generator, n: int) -> Drawn:
    """A time step of a circuit of resistors and capacitors, C/h + G: wires with trees, and nets with many pins.

    Ho, Ruehli, Brennan, The modified nodal approach (1975); interconnect after Pillage and Rohrer (1990). Hubs as the
    supply and clock nets of SuiteSparse's circuits.
    """
    hubs = whole_decades(rng, 1, max(2.0, n**0.4))
    node = np.arange(hubs, n)
    parent = np.where(rng.random(node.size) < 0.8, node - 1, (node * rng.random(node.size)).astype(np.int64))
    pins = rng.choice(node, int(node.size * rng.uniform(0.02, 0.3)), replace=False)
    hub = (hubs * rng.random(pins.size) ** 2.5).astype(np.int64)
    near = rng.integers(1, 30, node.size // 4)
    couple = rng.choice(node, node.size // 4, replace=False)
    i = np.concatenate([node, pins, couple])
    j = np.concatenate([np.maximum(parent, 0), hub, np.maximum(couple - near, 0)])
    i, j = simple_edges(i, j)
    G = decades(rng, -rng.uniform(1, 4), 0, i.size)
    step = decades(rng, -3, 4)
    ground = decades(rng, -2, 0, n) / step + 1e-9
    return graph_laplacian(i, j, G, ground), ground * rng.standard_normal(n), {"hubs": hubs, "step": step}


def pipe_network(rng: np.random.Generator, n: int) -> Drawn:
    """Water pipes: a Newton step of the global gradient algorithm, weights by flow, over many decades.

    Todini and Pilati (1988), EPANET's method; Elhay and Simpson, J. Hydraul. Eng. 137 (2011). Reservoirs are known.
    """
    points, cells, _ = triangles(rng, n)
    n = len(points)
    i, j = edges_of_cells(cells)
    length = np.linalg.norm(points[i] - points[j], axis=1)
    graph = sparse.coo_array((length, (i, j)), shape=(n, n)).tocsr()
    tree = sparse.csgraph.minimum_spanning_tree(graph).tocoo()
    more = rng.random(len(i)) < rng.uniform(0.05, 0.4)
    i, j = simple_edges(np.concatenate([tree.row, i[more]]), np.concatenate([tree.col, j[more]]))
    diameter = rng.choice(np.array([0.1, 0.15, 0.2, 0.3, 0.5, 0.8]), i.size, p=[0.35, 0.25, 0.2, 0.1, 0.06, 0.04])
    velocity = decades(rng, -rng.uniform(1.0, 4.0), 0.3, i.size)
    metres = np.maximum(100.0 * np.linalg.norm(points[i] - points[j], axis=1), 1e-3)
    # dh/dq of Hazen and Williams' law
    slope = 10.67 * metres * 1.852 * (0.785 * diameter**2 * velocity) ** 0.852 / (130.0**1.852 * diameter**4.871)
    weights = 1.0 / np.maximum(slope, 1e-7)
    ground = np.zeros(n)
    tanks = rng.choice(n, whole_decades(rng, 1, max(2, n // 300)), replace=False)
    ground[tanks] = float(np.median(weights)) * 10.0
    return graph_laplacian(i, j, weights, ground), -rng.gamma(0.7, 1e-3, n), {"tanks": tanks.size}


FAMILIES = {
    "dc power flow": SystemFamily(dc_power_flow, "power networks"),
    "fast decoupled": SystemFamily(fast_decoupled, "power networks"),
    "distribution network": SystemFamily(distribution_network, "power networks"),
    "state estimation": SystemFamily(state_estimation, "power networks", largest=300_000),
    "chip supply": SystemFamily(chip_supply, "circuits"),
    "circuit step": SystemFamily(circuit_step, "circuits"),
    "pipe network": SystemFamily(pipe_network, "circuits"),
}
