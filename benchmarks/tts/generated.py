"""Matrices that `nnla.problems` has no generator for: 27-point stencils, circuits with pads, meshes of tetrahedra,
trusses, graphs, radial functions, bands. All symmetric positive definite, all from a seed."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems import eliminate
from nnla.problems.assembly import assemble, graph_laplacian, symmetric_csr


def permuted(A: csr_array, seed: int = 0) -> csr_array:
    """The same matrix in a random order: what a mesh generator without locality hands over."""
    n = A.shape[0]
    new = np.random.default_rng(seed).permutation(n).astype(np.int32)
    C = A.tocoo()
    return csr_array((C.data, (new[C.row], new[C.col])), shape=(n, n))


def stencil27(m: int) -> csr_array:
    """The 27-point operator of HPCG on an m x m x m grid: 26 on the diagonal, -1 to all neighbours."""
    E = sparse.diags_array([np.ones(m - 1), np.ones(m), np.ones(m - 1)], offsets=[-1, 0, 1])
    near = sparse.kron(sparse.kron(E, E), E)
    return csr_array(27.0 * sparse.eye_array(m**3) - near)


def circuit_with_pads(nx: int, ny: int, *, extra: float = 0.05, pads: int = 64, seed: int = 0) -> csr_array:
    """A resistor grid with conductances over three decades, long-range resistors, and a few pads to ground."""
    rng = np.random.default_rng(seed)
    number = np.arange(nx * ny).reshape(ny, nx)
    pairs = [(number[:, :-1], number[:, 1:]), (number[:-1], number[1:])]
    i = np.concatenate([a.ravel() for a, _ in pairs])
    j = np.concatenate([b.ravel() for _, b in pairs])
    n = nx * ny
    far = rng.integers(0, n, (int(extra * n), 2))
    far = far[far[:, 0] != far[:, 1]]
    weights = 10.0 ** rng.uniform(-1.5, 1.5, i.size)
    ground = np.zeros(n)
    ground[rng.choice(n, pads, replace=False)] = 100.0
    ends = np.concatenate([i, far[:, 0]]), np.concatenate([j, far[:, 1]])
    return graph_laplacian(*ends, np.concatenate([weights, np.full(len(far), 0.1)]), ground)


def tetrahedral_stiffness(n: int, *, contrast: float = 1.0, seed: int = 0) -> csr_array:
    """Linear elements on a Delaunay mesh of about n jittered points in a cube, fixed on two faces.

    `contrast` is the ratio of the conductivities of the two materials, in eighths of the cube.
    """
    from scipy.spatial import Delaunay

    rng = np.random.default_rng(seed)
    m = round(n ** (1 / 3))
    grid = np.stack(np.meshgrid(*3 * [np.arange(m)], indexing="ij"), -1).reshape(-1, 3).astype(float)
    inner = ((grid > 0) & (grid < m - 1)).all(axis=1)
    grid[inner] += rng.uniform(-0.3, 0.3, (inner.sum(), 3))
    # points of a face stay in it, or flat elements of no volume would line the boundary
    points = grid + np.where((grid > 0) & (grid < m - 1), rng.uniform(-1e-3, 1e-3, grid.shape), 0.0)
    cells = Delaunay(points).simplices
    edges = points[cells[:, 1:]] - points[cells[:, :1]]
    volume = np.abs(np.linalg.det(edges)) / 6
    cells, edges, volume = (a[volume > 1e-4] for a in (cells, edges, volume))
    gradients = np.linalg.inv(edges).transpose(0, 2, 1)
    gradients = np.concatenate([-gradients.sum(axis=1, keepdims=True), gradients], axis=1)
    odd = (points[cells].mean(axis=1) // (m / 2)).sum(axis=1) % 2
    K = np.einsum("eik,ejk->eij", gradients, gradients) * (volume * np.where(odd > 0, contrast, 1.0))[:, None, None]
    A = assemble(cells, K, len(points))
    return eliminate(A, (points[:, 0] < 1e-9) | (points[:, 0] > m - 1 - 1e-9) | (A.diagonal() <= 0))


def truss(nx: int, ny: int, nz: int, *, seed: int = 0) -> csr_array:
    """A space truss: bars along edges and face diagonals of a lattice, three unknowns a node, clamped at its foot."""
    rng = np.random.default_rng(seed)
    points = np.stack(np.meshgrid(np.arange(nx), np.arange(ny), np.arange(nz), indexing="ij"), -1)
    number = np.arange(nx * ny * nz).reshape(nx, ny, nz)
    starts, ends = [], []
    for step in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, -1, 0), (1, 0, -1), (0, 1, -1)):
        low = tuple(slice(max(0, -s), m - max(0, s)) for s, m in zip(step, number.shape, strict=True))
        high = tuple(slice(max(0, s), m - max(0, -s)) for s, m in zip(step, number.shape, strict=True))
        starts.append(number[low].ravel())
        ends.append(number[high].ravel())
    i, j = np.concatenate(starts), np.concatenate(ends)
    flat = points.reshape(-1, 3)
    d = (flat[j] - flat[i]).astype(float)
    length = np.linalg.norm(d, axis=1, keepdims=True)
    area = 10.0 ** rng.uniform(-1, 1, (len(d), 1))
    v = np.concatenate([-d, d], axis=1) / length * np.sqrt(area / length)
    dofs = (3 * np.stack([i, j], 1)[:, :, None] + np.arange(3)).reshape(-1, 6)
    A = assemble(dofs, v[:, :, None] * v[:, None, :], 3 * len(flat))
    return eliminate(A, np.repeat(flat[:, 2] == 0, 3))


def scale_free_laplacian(n: int, *, links: int = 4, shift: float = 1e-2, seed: int = 0) -> csr_array:
    """Laplacian of a graph with hubs (an approximation of preferential attachment) plus a shift."""
    rng = np.random.default_rng(seed)
    node = np.repeat(np.arange(1, n), links)
    target = (node * rng.random(node.size) ** 3).astype(np.int64)
    pairs = np.unique(np.stack([node, target], 1), axis=0)
    return graph_laplacian(pairs[:, 0], pairs[:, 1], rng.uniform(0.5, 1.5, len(pairs)), np.full(n, shift))


def geometric_laplacian(n: int, *, degree: float = 10.0, shift: float = 1e-4, dim: int = 2, seed: int = 0) -> csr_array:
    """Laplacian of a random geometric graph in the unit square or cube plus a shift; points in random order."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    points = rng.random((n, dim))
    ball = np.pi if dim == 2 else 4 / 3 * np.pi
    pairs = cKDTree(points).query_pairs((degree / n / ball) ** (1 / dim), output_type="ndarray")
    return graph_laplacian(pairs[:, 0], pairs[:, 1], rng.uniform(0.5, 1.5, len(pairs)), np.full(n, shift))


def wendland(n: int, *, neighbours: float = 60.0, nugget: float = 1e-3, seed: int = 0) -> csr_array:
    """Covariance of n random points in the square, Wendland's C2 function, plus a nugget: a kernel matrix."""
    from scipy.spatial import cKDTree

    points = np.random.default_rng(seed).random((n, 2))
    radius = (neighbours / n / np.pi) ** 0.5
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    r = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1) / radius
    nodes = np.arange(n)
    return symmetric_csr(
        np.concatenate([pairs.max(axis=1), nodes]).astype(np.int32),
        np.concatenate([pairs.min(axis=1), nodes]).astype(np.int32),
        np.concatenate([(1 - r) ** 4 * (4 * r + 1), np.full(n, 1 + nugget)]),
        n,
    )


def banded(n: int, *, half: int = 24, seed: int = 0) -> csr_array:
    """A dense band: an exponential-times-taper kernel on a line with random scales of rows and columns."""
    k = np.arange(half + 1)
    values = np.exp(-k / 6.0) * (1 - k / (half + 1)) + 1e-3 * (k == 0)
    scale = 10.0 ** np.random.default_rng(seed).uniform(-1, 1, n)
    A = sparse.diags_array([np.full(n - abs(d), values[abs(d)]) for d in range(-half, half + 1)],
                           offsets=list(range(-half, half + 1)))  # fmt: skip
    D = sparse.diags_array(scale)
    A = csr_array(D @ A @ D)
    return csr_array((A + A.T) / 2)  # the products above round differently in the two triangles


def biharmonic(m: int) -> csr_array:
    """The square of the 2-D Laplacian on an m x m grid (a simply supported plate): condition number of n^2."""
    from nnla.problems import poisson2d

    L = poisson2d(m)
    return csr_array(L @ L)
