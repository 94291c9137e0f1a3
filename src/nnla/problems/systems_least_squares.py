"""Generated normal equations: bundle adjustment, pose graphs, regression, rays, splines, mixed effects."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.systems_meshes import grid_points, random_shape
from nnla.problems.systems_optimisation import sparse_rows
from nnla.problems.systems_types import Drawn, SystemFamily, decades, mirrored, whole_decades

__all__ = ["FAMILIES"]


def _damped(J: csr_array, damping: float) -> csr_array:
    """J^T J with its diagonal raised by a part of it (Marquardt), and by a little where it is zero."""
    K = csr_array(J.T @ J)
    d = K.diagonal()
    return mirrored(K + sparse.diags_array(damping * d + 1e-9 * float(d.max())))


def _pairs(rows: np.ndarray, first: np.ndarray, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triplets of dense blocks (m, r, c): rows (m,) r-fold, first column of each block."""
    m, r, c = blocks.shape
    i = np.broadcast_to((r * rows)[:, None, None] + np.arange(r)[:, None], (m, r, c))
    j = np.broadcast_to(first[:, None, None] + np.arange(c), (m, r, c))
    return i.ravel(), j.ravel(), blocks.ravel()


def _stacked(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], m: int, n: int) -> csr_array:
    i, j, v = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return csr_array(sparse.coo_array((v, (i, j)), shape=(m, n)))


def bundle_adjustment(rng: np.random.Generator, n: int) -> Drawn:
    """A Levenberg-Marquardt step of bundle adjustment: cameras of 6 to 9 unknowns, points of 3, observations between.

    Agarwal et al., Bundle adjustment in the large (ECCV 2010); Triggs et al. (2000). The whole matrix, or the Schur
    complement on the cameras that Ceres and g2o solve.
    """
    c, reduced = int(rng.choice(np.array([6, 7, 9]))), bool(rng.random() < 0.4) and n <= 20_000
    cameras = max(4, n // c if reduced else int(n * rng.uniform(0.02, 0.1) / c))
    points = max(8, cameras * int(rng.integers(4, 12)) if reduced else (n - c * cameras) // 3)
    seen = rng.integers(2, 9, points)
    point = np.repeat(np.arange(points), seen)
    reach = max(4.0, cameras * decades(rng, -2, 0)) if rng.random() < 0.7 else float(cameras)  # a street, or a square
    place = np.sort(rng.integers(0, cameras, points))
    camera = (
        place[point] + np.round(rng.normal(0.0, min(reach, 30.0 if n <= 5_000 else 6.0) / 3, point.size)).astype(int)
    ) % cameras
    keys = np.unique(point.astype(np.int64) * cameras + camera)
    point, camera = keys // cameras, keys % cameras
    m = keys.size
    spread = rng.uniform(0.0, 2.0)  # angles, lengths and focal lengths have unlike units
    unit = 10.0 ** rng.uniform(-spread, spread, c)
    Jc, Jp = rng.standard_normal((m, 2, c)) * unit, rng.standard_normal((m, 2, 3))
    Jp *= decades(rng, -0.7, 0.3, points)[point][:, None, None]  # far points move the image less
    size = c * cameras + 3 * points
    rows = np.arange(m)
    J = _stacked([_pairs(rows, c * camera, Jc), _pairs(rows, c * cameras + 3 * point, Jp)], 2 * m, size)
    damping = decades(rng, -7, -1)
    r = rng.standard_normal(2 * m)
    A, b = _damped(J, damping), J.T @ r
    drawn = {"cameras": cameras, "points": points, "camera unknowns": c, "reduced": reduced, "damping": damping}
    if not reduced:
        return A, b, drawn
    k = c * cameras
    # the block of the points is block diagonal: its inverse, three by three
    B, E = csr_array(A[:k][:, :k]), csr_array(A[:k][:, k:])
    small = np.zeros((points, 3, 3))
    C = sparse.coo_array(A[k:][:, k:])
    small[C.coords[0] // 3, C.coords[0] % 3, C.coords[1] % 3] = C.data
    small = np.linalg.inv(small + 1e-12 * np.trace(small, axis1=1, axis2=2)[:, None, None] * np.eye(3))
    inverse = _stacked([_pairs(np.arange(points), 3 * np.arange(points), small)], 3 * points, 3 * points)
    S = B - E @ inverse @ E.T
    return mirrored(S + sparse.diags_array(1e-3 * damping * B.diagonal())), b[:k] - E @ (inverse @ b[k:]), drawn


def pose_graph(rng: np.random.Generator, n: int) -> Drawn:
    """A Gauss-Newton step of a pose graph: poses of 3 or 6 unknowns in a chain, closed by loops; the first one held.

    Grisetti et al., A tutorial on graph-based SLAM (2010); Dellaert and Kaess (2006). Information matrices of the
    measurements over decades.
    """
    d = int(rng.choice(np.array([3, 6])))
    poses = max(6, n // d)
    loops = rng.integers(0, poses, int(poses * decades(rng, -2, 0.3)))
    lag = np.maximum(2, rng.exponential(poses * decades(rng, -2, -0.3), loops.size)).astype(int)
    i = np.concatenate([np.arange(poses - 1), loops])
    j = np.concatenate([np.arange(1, poses), (loops + lag) % poses])
    kept = i != j
    i, j = i[kept], j[kept]
    m = i.size
    root = 10.0 ** rng.uniform(0.0, rng.uniform(0.1, 1.5), (1, d, 1))  # square root of the information
    skew = np.eye(d) + 0.3 * rng.standard_normal((m, d, d))
    Ji = -root * skew
    Jj = root * (np.eye(d) + 0.3 * rng.standard_normal((m, d, d)) * (rng.random() < 0.5))
    hold = (np.array([m]), np.array([0]), 1e1 * np.eye(d)[None])
    rows = np.arange(m)
    J = _stacked([_pairs(rows, d * i, Ji), _pairs(rows, d * j, Jj), _pairs(*hold)], d * (m + 1), d * poses)
    damping = float(rng.choice([1e-8, decades(rng, -6, -2)]))
    return _damped(J, damping), J.T @ rng.standard_normal(d * (m + 1)), {"unknowns": d, "loops": loops.size}


def sparse_regression(rng: np.random.Generator, n: int) -> Drawn:
    """Ridge regression on sparse features: X^T X + lambda I, common and rare features, rows of a few entries.

    Hoerl and Kennard (1970); documents and one-hot features (Zipf's law), as libsvm's sets and scikit-learn's Ridge.
    """
    rows = int(n * decades(rng, 0, 0.8))
    count = np.maximum(1, rng.poisson(rng.uniform(1.5, 6.0), rows))
    row = np.repeat(np.arange(rows), count)
    skew = float(rng.choice([1.0, rng.uniform(1.0, 2.5)]))
    col = np.minimum((n * rng.random(row.size) ** skew).astype(np.int64), n - 1)
    value = np.ones(row.size) if rng.random() < 0.5 else rng.standard_normal(row.size)
    X = csr_array(sparse.coo_array((value, (row, rng.permutation(n)[col])), shape=(rows, n)))
    if rng.random() < 0.4:  # columns in units of their own
        X = csr_array(X @ sparse.diags_array(decades(rng, -1.5, 1.5, n)))
    ridge = decades(rng, -5, 1)
    A = X.T @ X + ridge * sparse.eye_array(n)
    return mirrored(A), X.T @ rng.standard_normal(rows), {"rows": rows, "skew": skew, "ridge": ridge}


def ray_tomography(rng: np.random.Generator, n: int) -> Drawn:
    """Travel-time tomography: R^T R + lambda times a smoothness, R the lengths of short rays in the cells.

    Nolet, A Breviary of Seismic Tomography (2008); Kak and Slaney (1988). Rays of some hundred cells would fill the
    matrix: these are those of local surveys.
    """
    shape = random_shape(rng, n, 2, 3.0)
    rays, steps = max(4, int(n * rng.uniform(0.3, 1.5))), int(rng.integers(3, 13))
    start, angle = rng.random((rays, 2)) * shape, rng.uniform(0.0, 2 * np.pi, rays)
    way = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    path = start[:, None] + way[:, None] * (0.8 * np.arange(steps))[None, :, None]
    inside = ((path >= 0) & (path < np.array(shape))).all(axis=2)
    cell = (np.floor(path[..., 0]) * shape[1] + np.floor(path[..., 1])).astype(np.int64)
    row = np.broadcast_to(np.arange(rays)[:, None], cell.shape)
    R = csr_array(
        sparse.coo_array(
            (np.full(int(inside.sum()), 0.8), (row[inside], cell[inside])), shape=(rays, shape[0] * shape[1])
        )
    )
    weight, order = decades(rng, -4, 1), int(rng.integers(0, 3))
    smooth = sparse.eye_array(R.shape[1])
    if order:
        D = [sparse.diags_array([-1.0, 1.0], offsets=[0, 1], shape=(m - 1, m)) for m in shape]
        G = sparse.vstack(
            [sparse.kron(D[0], sparse.eye_array(shape[1])), sparse.kron(sparse.eye_array(shape[0]), D[1])]
        )
        smooth = G.T @ G + 1e-4 * smooth
        smooth = smooth @ smooth if order == 2 else smooth
    field = np.cos(grid_points(shape) / max(shape) @ rng.uniform(-15.0, 15.0, 2))
    b = R.T @ (R @ field + 0.01 * rng.standard_normal(rays))
    return mirrored(R.T @ R + weight * smooth), b, {"shape": shape, "rays": rays, "weight": weight, "order": order}


def spline_smoothing(rng: np.random.Generator, n: int) -> Drawn:
    """Smoothing with B-splines in one or two dimensions: B^T W B plus a penalty on differences of coefficients.

    Eilers and Marx, Flexible smoothing with B-splines and penalties (1996); de Boor (1978). R's mgcv, scattered data.
    """
    d, degree = int(rng.choice(np.array([1, 2]))), int(rng.integers(1, 4))
    shape = (n,) if d == 1 else random_shape(rng, n, 2, 3.0)
    data = int(n * rng.uniform(0.5, 4.0))
    where = rng.random((data, d)) ** float(rng.choice([1.0, rng.uniform(1.0, 2.0)]))
    index, weight = np.zeros((data, 1), dtype=np.int64), np.ones((data, 1))
    for axis, m in enumerate(shape):
        knots = max(1, m - degree)
        t = where[:, axis] * knots
        cell = np.minimum(t.astype(np.int64), knots - 1)
        value = _uniform_splines(t - cell, degree)
        index = (index[:, :, None] * m + (cell[:, None] + np.arange(degree + 1))[:, None, :]).reshape(data, -1)
        weight = (weight[:, :, None] * value[:, None, :]).reshape(data, -1)
    row = np.repeat(np.arange(data), index.shape[1])
    size = int(np.prod(shape))
    B = csr_array(sparse.coo_array((weight.ravel(), (row, index.ravel())), shape=(data, size)))
    W = decades(rng, -rng.uniform(0.0, 2.0), 0, data)
    order, strength = int(rng.integers(1, 4)), decades(rng, -3, 3)
    penalty = None
    for axis, m in enumerate(shape):
        D = sparse.eye_array(m)
        for _ in range(min(order, m - 1)):
            D = sparse.diags_array([-1.0, 1.0], offsets=[0, 1], shape=(D.shape[0] - 1, D.shape[0])) @ D
        P = D.T @ D
        if d == 2:
            P = sparse.kron(P, sparse.eye_array(shape[1])) if axis == 0 else sparse.kron(sparse.eye_array(shape[0]), P)
        penalty = P if penalty is None else penalty + P
    A = B.T @ sparse.diags_array(W) @ B + strength * penalty + 1e-6 * min(1.0, strength) * sparse.eye_array(size)
    y = np.sin(9 * where).sum(axis=1) + 0.2 * rng.standard_normal(data)
    return mirrored(A), B.T @ (W * y), {"dimension": d, "degree": degree, "order": order, "strength": strength}


def _uniform_splines(t: np.ndarray, degree: int) -> np.ndarray:
    """(m, degree + 1) values of the uniform B-splines at places t of a unit cell."""
    values = np.ones((t.size, 1))
    for k in range(1, degree + 1):
        out = np.zeros((t.size, k + 1))
        for j in range(k):  # each of order k is a blend of two of order k - 1, shifted
            out[:, j] += values[:, j] * (j + 1.0 - t) / k
            out[:, j + 1] += values[:, j] * (k - 1.0 - j + t) / k
        values = out
    return values


def mixed_effects(rng: np.random.Generator, n: int) -> Drawn:
    """Crossed random effects: Z^T Z plus a ridge by factor, a few covariates as dense rows; levels by Zipf's law.

    Bates et al., Fitting linear mixed-effects models using lme4 (2015); Gao and Owen (2017). Ratings of items by users.
    """
    factors = int(rng.integers(2, 5))
    share = rng.dirichlet(np.full(factors, 0.7))
    levels = np.maximum(2, (share * n).astype(int))
    records = int(n * rng.uniform(1.0, 5.0))
    dense = int(rng.integers(0, 4))
    start = np.concatenate([[0], np.cumsum(levels)])
    size = int(start[-1]) + dense
    row, col, value = [], [], []
    for k, count in enumerate(levels):
        skew = rng.uniform(1.0, 2.5)
        col.append(start[k] + (count * rng.random(records) ** skew).astype(np.int64))
        row.append(np.arange(records))
        value.append(np.ones(records))
    for k in range(dense):
        col.append(np.full(records, start[-1] + k))
        row.append(np.arange(records))
        value.append(rng.standard_normal(records))
    Z = csr_array(
        sparse.coo_array((np.concatenate(value), (np.concatenate(row), np.concatenate(col))), shape=(records, size))
    )
    ridge = np.concatenate([np.repeat(decades(rng, -1, 2, factors), levels), np.full(dense, 1e-2)])
    return (
        mirrored(Z.T @ Z + sparse.diags_array(ridge)),
        Z.T @ rng.standard_normal(records),
        {"factors": factors, "dense": dense},
    )


def survey_network(rng: np.random.Generator, n: int) -> Drawn:
    """Adjustment of a survey: heights or coordinates from differences between near marks, a few marks held.

    Strang and Borre, Linear Algebra, Geodesy, and GPS (1997), chapters 8-12. Weights by the length of a line.
    """
    from scipy.spatial import cKDTree

    d = int(rng.choice(np.array([1, 2, 3])))
    marks = max(8, n // d)
    places = rng.random((marks, 2))
    near = cKDTree(places).query(places, k=min(marks, int(rng.integers(3, 7))))[1][:, 1:]
    i, j = np.repeat(np.arange(marks), near.shape[1]), near.ravel()
    kept = rng.random(i.size) < rng.uniform(0.4, 1.0)
    i, j = np.concatenate([i[kept], np.arange(marks - 1)]), np.concatenate([j[kept], np.arange(1, marks)])
    m = i.size
    length = np.linalg.norm(places[i] - places[j], axis=1) * marks**0.5
    root = 1.0 / np.maximum(length, 0.05) ** rng.uniform(0.5, 1.0)
    cross = np.eye(d) + rng.uniform(0.0, 0.5) * rng.standard_normal((m, d, d))
    blocks = root[:, None, None] * cross
    held = rng.choice(marks, whole_decades(rng, 1, max(2.0, marks / 50)), replace=False)
    strong = np.broadcast_to(10.0 * np.eye(d), (held.size, d, d))
    rows = np.arange(m)
    J = _stacked(
        [_pairs(rows, d * i, -blocks), _pairs(rows, d * j, blocks), _pairs(m + np.arange(held.size), d * held, strong)],
        d * (m + held.size),
        d * marks,
    )
    return mirrored(J.T @ J), J.T @ rng.standard_normal(J.shape[0]), {"dimension": d, "held": held.size}


def random_least_squares(rng: np.random.Generator, n: int) -> Drawn:
    """Normal equations of a random sparse matrix with weights over decades and a little regularisation.

    Paige and Saunders, LSQR (1982), section 8; iteratively reweighted least squares (Huber 1981).
    """
    per_row = rng.uniform(1.5, 4.0)
    X = sparse_rows(rng, int(n * rng.uniform(1.1, 3.0)), n, per_row)
    spread, ridge = rng.uniform(0.0, 4.0), decades(rng, -8, -1)
    w = decades(rng, -spread, 0, X.shape[0])
    A = X.T @ sparse.diags_array(w) @ X + ridge * sparse.eye_array(n)
    return mirrored(A), X.T @ (w * rng.standard_normal(X.shape[0])), {"row": per_row, "spread": spread, "ridge": ridge}


FAMILIES = {
    "bundle adjustment": SystemFamily(bundle_adjustment, "normal equations", smallest=150, largest=200_000),
    "pose graph": SystemFamily(pose_graph, "normal equations", largest=300_000),
    "sparse regression": SystemFamily(sparse_regression, "normal equations", largest=100_000),
    "ray tomography": SystemFamily(ray_tomography, "normal equations", largest=200_000),
    "spline smoothing": SystemFamily(spline_smoothing, "normal equations", largest=300_000),
    "mixed effects": SystemFamily(mixed_effects, "normal equations", smallest=100, largest=100_000),
    "survey network": SystemFamily(survey_network, "normal equations", largest=300_000),
    "random least squares": SystemFamily(random_least_squares, "normal equations", largest=100_000),
}
