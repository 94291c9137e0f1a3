"""Sequences of networks: a power grid that loses one branch after the other, and the hours of a water supply."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

import numpy as np
from scipy import sparse

from nnla.problems.assembly import graph_laplacian
from nnla.problems.sequences_types import Sequence, SequenceFamily, answer
from nnla.problems.systems_graphs import edges_of_cells, simple_edges
from nnla.problems.systems_meshes import triangles
from nnla.problems.systems_networks import transmission_network

__all__ = ["FAMILIES"]


def contingencies(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """Screening of outages: DC power flow with one branch out, another one in each step; one dispatch.

    Alsac, Stott, Tinney, Sparsity-oriented compensation methods for modified network solutions (IEEE Trans. PAS 102,
    1983); Stott, Jardim, Alsac (2009). By chance the two entries of a branch that is out stay as zeros, or go.
    """
    i, j, x, _ = transmission_network(rng, n)
    n, m = int(max(i.max(), j.max())) + 1, i.size
    ground = np.zeros(n)
    ground[int(rng.integers(n))] = 1.0 / float(np.median(x))
    b = rng.gamma(0.5, 1.0, n) * np.where(rng.random(n) < 0.25, 3.0, -1.0)
    b -= b.mean()
    zeros_stay, order, k = bool(rng.random() < 0.5), rng.permutation(m), 0
    for done in range(steps):
        while done:  # the base case comes first; what would cut the network in two is no case
            out = order[k % m]
            k += 1
            kept = np.arange(m) != out
            whole = sparse.coo_array((np.ones(m - 1), (i[kept], j[kept])), shape=(n, n))
            if sparse.csgraph.connected_components(whole, directed=False)[0] == 1:
                break
        else:
            yield graph_laplacian(i, j, 1.0 / x, ground), b.copy()
            continue
        if zeros_stay:
            yield graph_laplacian(i, j, np.where(kept, 1.0 / x, 0.0), ground), b.copy()
        else:
            yield graph_laplacian(i[kept], j[kept], 1.0 / x[kept], ground), b.copy()


def water_hours(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """The hours of a water supply: Newton steps of the global gradient algorithm, demands by the time of the day.

    Todini and Pilati (1988); Rossman et al., EPANET 2.2 (2020), chapter 12: Hazen and Williams' friction, hours that
    start from the flows of the hour before, three to six steps each.
    """
    points, cells, _ = triangles(rng, n)
    n = len(points)
    i, j = edges_of_cells(cells)
    length = 100.0 * np.linalg.norm(points[i] - points[j], axis=1)
    graph = sparse.coo_array((length, (i, j)), shape=(n, n)).tocsr()
    tree = sparse.csgraph.minimum_spanning_tree(graph).tocoo()
    more = rng.random(len(i)) < rng.uniform(0.1, 0.5)
    i, j = simple_edges(np.concatenate([tree.row, i[more]]), np.concatenate([tree.col, j[more]]))
    metres = np.maximum(100.0 * np.linalg.norm(points[i] - points[j], axis=1), 1.0)
    tanks = rng.choice(n, max(1, n // 200), replace=False)
    diameter = rng.choice(np.array([0.1, 0.15, 0.2, 0.3, 0.5]), i.size, p=[0.35, 0.25, 0.2, 0.15, 0.05])
    # the last pipes lead from each tank, of known level, to its junction
    resistance = (
        10.67 / 130.0**1.852 * np.concatenate([metres / diameter**4.871, np.full(tanks.size, 50.0 / 0.6**4.871)])
    )
    level = rng.uniform(50.0, 60.0, tanks.size)
    B = sparse.coo_array(
        (np.repeat([1.0, -1.0], i.size), (np.tile(np.arange(i.size), 2), np.r_[i, j])), shape=(i.size, n)
    )
    to_tank = sparse.coo_array((np.full(tanks.size, -1.0), (np.arange(tanks.size), tanks)), shape=(tanks.size, n))
    B = sparse.csr_array(sparse.vstack([B, to_tank]))
    demand = rng.gamma(0.7, 1.0, n)
    demand *= 0.1 * tanks.size / demand.sum()
    q, hour, iteration = np.full(resistance.size, 1e-3), 0, 0
    for _ in range(steps):
        slope = np.maximum(1.852 * resistance * abs(q) ** 0.852, 1e-7)
        pull = q - resistance * q * abs(q) ** 0.852 / slope
        lifted = pull.copy()
        lifted[i.size :] += level / slope[i.size :]
        hours = 1.0 + 0.6 * np.sin(2.0 * np.pi * (hour - 7.0) / 24.0) + 0.3 * np.sin(4.0 * np.pi * (hour - 7.0) / 24.0)
        ground = np.zeros(n)
        np.add.at(ground, tanks, 1.0 / slope[i.size :])
        A, b = graph_laplacian(i, j, 1.0 / slope[: i.size], ground), -hours * demand - B.T @ lifted
        yield A, b
        heads = answer(A, b)
        new = lifted + (B @ heads) / slope
        moved, q, iteration = float(abs(new - q).sum() / abs(new).sum()), new, iteration + 1
        if moved < 1e-3 or iteration == 12:
            hour, iteration = hour + 1, 0


FAMILIES = {
    "contingencies": SequenceFamily(contingencies, "power networks", "pattern", largest=300_000),
    "water hours": SequenceFamily(water_hours, "pipes", "both", largest=100_000),
}
