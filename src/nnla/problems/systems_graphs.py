"""Generated graph Laplacians: webs, social and road networks, communities, neighbours; and their right-hand sides."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.assembly import graph_laplacian, symmetric_csr
from nnla.problems.systems_meshes import triangles
from nnla.problems.systems_types import Drawn, SystemFamily, decades, whole_decades

__all__ = ["FAMILIES", "edges_of_cells", "grounded", "simple_edges"]


def simple_edges(i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each undirected edge once, loops left out."""
    low, high = np.minimum(i, j).astype(np.int64), np.maximum(i, j).astype(np.int64)
    base = int(high.max(initial=0)) + 1
    keys = np.unique(low[low < high] * base + high[low < high])
    return keys // base, keys % base


def edges_of_cells(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edges of triangles or tetrahedra."""
    a, b = np.triu_indices(cells.shape[1], 1)
    return simple_edges(cells[:, a].ravel(), cells[:, b].ravel())


def _weights(rng: np.random.Generator, m: int) -> tuple[str, np.ndarray]:
    kind = str(rng.choice(np.array(["one", "uniform", "decades"]), p=[0.5, 0.3, 0.2]))
    if kind == "one":
        return kind, np.ones(m)
    if kind == "uniform":
        return kind, rng.uniform(0.2, 2.0, m)
    return kind, decades(rng, -rng.uniform(1, 3), 0, m)


def grounded(rng: np.random.Generator, i: np.ndarray, j: np.ndarray, n: int) -> Drawn:
    """The Laplacian of a weighted graph, made definite, and b of a resistance, a ranking or a spread.

    Every component gets one grounded node, or all nodes a leak; isolated nodes are left out.
    """
    from scipy.sparse.csgraph import connected_components

    used, ends = np.unique(np.concatenate([i, j]), return_inverse=True)
    i, j = ends[: len(i)], ends[len(i) :]
    n = len(used)
    graph = sparse.coo_array((np.ones(len(i), dtype=np.int8), (i, j)), shape=(n, n))
    count, label = connected_components(graph, directed=False)
    kind, weights = _weights(rng, len(i))
    ground, leak = np.zeros(n), 0.0
    if rng.random() < 0.5:  # ground one node of each component
        order = rng.permutation(n)
        first = np.full(count, -1)
        first[label[order[::-1]]] = order[::-1]
        ground[first] = float(weights.mean())
    else:
        leak = decades(rng, -6, 0)
        ground += leak * float(weights.mean())
    use = str(rng.choice(np.array(["resistance", "spread", "ranking"])))
    b = np.zeros(n)
    if use == "resistance":
        pair = rng.choice(n, 2, replace=False)
        b[pair] = 1.0, -1.0
    elif use == "spread":
        b[rng.choice(n, max(1, n // whole_decades(rng, 5, 500)), replace=False)] = 1.0
    else:
        b = rng.standard_normal(n)
    A = graph_laplacian(i, j, weights, ground)
    return A, b, {"weights": kind, "leak": leak, "components": int(count), "use": use}


def _with(drawn: Drawn, **more: Any) -> Drawn:
    return drawn[0], drawn[1], {**more, **drawn[2]}


def preferential_attachment(rng: np.random.Generator, n: int) -> Drawn:
    """A scale-free graph: every new node links to old ones in proportion to their degree, or with less preference.

    Barabasi and Albert, Science 286 (1999); Krapivsky, Redner, Leyvraz (2000). Social and citation networks: effective
    resistance, spectral sparsification (Spielman and Srivastava 2011).
    """
    links, power = int(rng.integers(1, 9)), float(rng.uniform(1.3, 3.5))
    node = np.repeat(np.arange(1, n), links)
    target = (node * rng.random(node.size) ** power).astype(np.int64)
    return _with(grounded(rng, *simple_edges(node, target), n), links=links, power=power)


def web_graph(rng: np.random.Generator, n: int) -> Drawn:
    """A web: pages copy the links of a page of their site, hubs gather links, and half the pages are leaves.

    Kumar et al., Stochastic models for the web graph (FOCS 2000); Kleinberg et al. (1999). Ranking and effective
    resistance.
    """
    copied, leaves = float(rng.uniform(0.3, 0.8)), float(rng.uniform(0.2, 0.7))
    mean = int(rng.integers(3, 12))
    degree = np.where(
        rng.random(n) < leaves, 1, np.minimum(1 + rng.zipf(rng.uniform(1.8, 2.6), n) * mean // 2, n // 8 + 2)
    )
    degree = np.minimum(degree, 40 * mean)
    node = np.repeat(np.arange(n), degree)
    site = whole_decades(rng, 20, max(21, n // 20))
    near = node - node % site + rng.integers(0, site, node.size)
    hub = (n * rng.random(node.size) ** rng.uniform(3.0, 8.0)).astype(np.int64)
    target = np.where(rng.random(node.size) < copied, np.minimum(near, n - 1), hub)
    return _with(grounded(rng, *simple_edges(node, target), n), copied=copied, leaves=leaves, site=site)


def kronecker_graph(rng: np.random.Generator, n: int) -> Drawn:
    """A recursive (R-MAT) graph: edges drawn by quadrants with unequal chances.

    Chakrabarti, Zhan, Faloutsos, R-MAT (SDM 2004); the Graph500 generator. Graph analytics.
    """
    scale, degree = max(3, round(np.log2(n))), int(rng.integers(2, 13))
    m = degree << scale
    a = float(rng.uniform(0.45, 0.6))
    b = (1.0 - a) * rng.uniform(0.3, 0.42)
    i, j = np.zeros(m, dtype=np.int64), np.zeros(m, dtype=np.int64)
    for _ in range(scale):
        draw = rng.random(m)
        i = 2 * i + (draw >= a + b)
        j = 2 * j + (((draw >= a) & (draw < a + b)) | (draw >= a + 2 * b))
    label = rng.permutation(1 << scale)
    return _with(grounded(rng, *simple_edges(label[i], label[j]), 1 << scale), degree=degree, a=a)


def random_graph(rng: np.random.Generator, n: int) -> Drawn:
    """Erdos and Renyi's graph: every pair alike, of a small mean degree.

    Erdos and Renyi (1959). Expanders: few iterations, and a factor that fills up.
    """
    degree = float(rng.uniform(1.5, 14.0))
    ends = rng.integers(0, n, (2, max(8, int(degree * n / 2))))
    return _with(grounded(rng, *simple_edges(ends[0], ends[1]), n), degree=degree)


def communities(rng: np.random.Generator, n: int) -> Drawn:
    """Stochastic blocks: dense communities of unequal size, sparsely joined.

    Holland, Laskey, Leinhardt (1983); Lancichinetti, Fortunato, Radicchi (2008). Clustering and label propagation.
    """
    size, inside = whole_decades(rng, 8, max(9, n // 8)), float(rng.uniform(3.0, 14.0))
    between = inside * decades(rng, -2.5, -0.3)
    block = np.sort((rng.random(n) ** rng.uniform(1.0, 2.5) * max(1, n // size)).astype(np.int64))
    start = np.searchsorted(block, block, side="left")
    count = np.searchsorted(block, block, side="right") - start
    node = np.repeat(np.arange(n), max(1, int(inside / 2)))
    near = start[node] + (rng.random(node.size) * count[node]).astype(np.int64)
    far = rng.integers(0, n, (2, max(2, int(between * n / 2))))
    i, j = np.concatenate([node, far[0]]), np.concatenate([near, far[1]])
    return _with(grounded(rng, *simple_edges(i, j), n), size=size, inside=inside, between=between)


def small_world(rng: np.random.Generator, n: int) -> Drawn:
    """Watts and Strogatz's small world: a ring of neighbours, some links rewired.

    Watts and Strogatz, Nature 393 (1998). Power grids, neural and contact networks.
    """
    reach, rewired = int(rng.integers(1, 6)), decades(rng, -3.5, -0.3)
    node = np.tile(np.arange(n), reach)
    target = (node + np.repeat(np.arange(1, reach + 1), n)) % n
    moved = rng.random(node.size) < rewired
    target = np.where(moved, rng.integers(0, n, node.size), target)
    return _with(grounded(rng, *simple_edges(node, target), n), reach=reach, rewired=rewired)


def road_network(rng: np.random.Generator, n: int) -> Drawn:
    """A road network: planar, mean degree 2 to 3, long chains between junctions.

    Barthelemy, Spatial networks, Physics Reports 499 (2011); DIMACS shortest-path challenge. Traffic and electrical
    analogies of it (Christiano et al. 2011).
    """
    chain = int(rng.integers(1, 5))
    points, cells, _ = triangles(rng, max(20, n // (1 + chain)))
    i, j = edges_of_cells(cells)
    length = np.linalg.norm(points[i] - points[j], axis=1)
    # the shortest tree keeps it connected, and some of the other edges close its rings
    graph = sparse.coo_array((length, (i, j)), shape=(len(points), len(points))).tocsr()
    tree = sparse.csgraph.minimum_spanning_tree(graph).tocoo()
    more = rng.random(len(i)) < rng.uniform(0.1, 0.35)
    i, j = simple_edges(np.concatenate([tree.row, i[more]]), np.concatenate([tree.col, j[more]]))
    pieces = rng.integers(1, 2 * chain + 1, len(i))
    first = len(points) + np.concatenate([[0], np.cumsum(pieces - 1)])[:-1]
    edge = np.repeat(np.arange(len(i)), pieces)
    step = np.arange(edge.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    left = np.where(step == 0, i[edge], first[edge] + step - 1)
    right = np.where(step == pieces[edge] - 1, j[edge], first[edge] + step)
    total = len(points) + int((pieces - 1).sum())
    return _with(grounded(rng, left, right, total), chain=chain)


def geometric_graph(rng: np.random.Generator, n: int) -> Drawn:
    """A random geometric graph in the square or the cube: points nearer than a radius are joined.

    Penrose, Random Geometric Graphs (2003). Sensor networks, particles, point clouds.
    """
    from scipy.spatial import cKDTree

    d, degree = int(rng.choice(np.array([2, 3]))), float(rng.uniform(5.0, 16.0))
    points = rng.random((n, d))
    if rng.random() < 0.3:  # clustered
        points = points ** rng.uniform(1.2, 2.0)
    ball = np.pi if d == 2 else 4 / 3 * np.pi
    pairs = cKDTree(points).query_pairs((degree / n / ball) ** (1 / d), output_type="ndarray")
    if len(pairs) < n:
        pairs = np.concatenate([pairs, np.column_stack([np.arange(n - 1), np.arange(1, n)])])
    return _with(grounded(rng, *simple_edges(pairs[:, 0], pairs[:, 1]), n), dimension=d, degree=degree)


def label_spreading(rng: np.random.Generator, n: int) -> Drawn:
    """Label spreading: I - alpha S of the graph of nearest neighbours of clustered data, S scaled by the degrees.

    Zhou et al., Learning with local and global consistency (NIPS 2004); scikit-learn's LabelSpreading. b marks the
    few labelled points of one class.
    """
    from scipy.spatial import cKDTree

    d, neighbours = int(rng.integers(2, 6)), int(rng.integers(5, 16))
    classes, alpha = int(rng.integers(2, 12)), 1.0 - decades(rng, -3, -0.5)
    own = rng.integers(0, classes, n)
    centres = rng.standard_normal((classes, d))
    points = centres[own] + rng.uniform(0.1, 0.8) * rng.standard_normal((n, d))
    distance, near = cKDTree(points).query(points, k=min(n, neighbours + 1))
    i, j = np.repeat(np.arange(n), near.shape[1] - 1), near[:, 1:].ravel()
    w = np.ones(i.size) if rng.random() < 0.5 else np.exp(-((distance[:, 1:] / distance[:, -1].mean()) ** 2)).ravel()
    W = sparse.coo_array((w, (i, j)), shape=(n, n)).tocsr()
    W = csr_array(W + W.T) * 0.5
    scale = 1.0 / np.sqrt(np.asarray(W.sum(axis=1)).ravel())
    C = W.tocoo()
    row, col = C.coords
    A = symmetric_csr(
        np.concatenate([row, np.arange(n)]),
        np.concatenate([col, np.arange(n)]),
        np.concatenate([-alpha * C.data * scale[row] * scale[col], np.ones(n)]),
        n,
    )
    b = np.zeros(n)
    labelled = rng.choice(n, max(2, n // whole_decades(rng, 10, 300)), replace=False)
    b[labelled] = own[labelled] == own[labelled[0]]
    return A, b, {"neighbours": neighbours, "dimension": d, "alpha": alpha}


FAMILIES = {
    "preferential attachment": SystemFamily(preferential_attachment, "graphs"),
    "web graph": SystemFamily(web_graph, "graphs", smallest=200),
    "kronecker graph": SystemFamily(kronecker_graph, "graphs"),
    "random graph": SystemFamily(random_graph, "graphs"),
    "communities": SystemFamily(communities, "graphs", smallest=100),
    "small world": SystemFamily(small_world, "graphs"),
    "road network": SystemFamily(road_network, "graphs", smallest=100),
    "geometric graph": SystemFamily(geometric_graph, "graphs"),
    "label spreading": SystemFamily(label_spreading, "graphs", largest=300_000),
}
