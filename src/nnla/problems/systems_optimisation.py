"""Generated systems inside optimisers: ADMM steps of quadratic programs, normal equations of interior points."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.assembly import graph_laplacian
from nnla.problems.systems_graphs import simple_edges
from nnla.problems.systems_types import Drawn, SystemFamily, decades, mirrored, whole_decades

__all__ = ["FAMILIES", "sparse_rows"]


def sparse_rows(rng: np.random.Generator, m: int, n: int, per_row: float, values: str = "normal") -> csr_array:
    """(m, n) random sparse matrix with about `per_row` entries a row, at least one, duplicates summed."""
    count = np.maximum(1, rng.poisson(per_row, m))
    row = np.repeat(np.arange(m), count)
    col = rng.integers(0, n, row.size)
    data = rng.standard_normal(row.size) if values == "normal" else rng.choice(np.array([-1.0, 1.0]), row.size)
    data = np.where(data == 0.0, 1.0, data)
    A = sparse.coo_array((data, (row, col)), shape=(m, n)).tocsr()
    A.sum_duplicates()
    return A


def _step(rng: np.random.Generator, P: Any, A: Any, equal: np.ndarray) -> Drawn:
    """P + sigma I + A^T R A of OSQP: R is rho, and 1e3 rho for equality rows; b of one iteration."""
    n, m = P.shape[0], A.shape[0]
    rho = decades(rng, -3, 2)
    r = np.where(equal, 1e3 * rho, rho)
    scale = rng.random() < 0.5
    if scale:  # Ruiz equilibration leaves entries about 1; without, those of the model stay
        top = np.sqrt(np.maximum(abs(A).max(axis=1).toarray().ravel(), 1e-12))
        A = sparse.diags_array(1.0 / top) @ A
    K = P + 1e-6 * sparse.eye_array(n) + A.T @ sparse.diags_array(r) @ A
    x, z, y, q = (rng.standard_normal(k) for k in (n, m, m, n))
    b = 1e-6 * x + A.T @ (r * z - y) - q
    return mirrored(K), b, {"rho": rho, "equalities": float(equal.mean()) if m else 0.0, "scaled": bool(scale)}


def _with(drawn: Drawn, **more: Any) -> Drawn:
    return drawn[0], drawn[1], {**more, **drawn[2]}


def admm_random(rng: np.random.Generator, n: int) -> Drawn:
    """OSQP's step of a random sparse quadratic program, with or without equality rows.

    Stellato et al., OSQP (Math. Prog. Comp. 12, 2020), section 5 and appendix A.1-A.2.
    """
    p, q = rng.uniform(1.0, 4.0), rng.uniform(1.0, 4.0)
    M = sparse_rows(rng, n, n, p)
    A = sparse_rows(rng, int(n * rng.uniform(0.3, 1.5)), n, q)
    equal = rng.random(A.shape[0]) < float(rng.choice([0.0, 1.0, rng.random()]))
    P = M @ M.T * float(rng.choice([0.0, 1.0])) + decades(rng, -2, 0) * sparse.eye_array(n)
    return _with(_step(rng, P, A, equal), row=q)


def admm_portfolio(rng: np.random.Generator, n: int) -> Drawn:
    """OSQP's step of portfolio optimisation with factors: assets, factors, one budget row.

    Stellato et al. (2020), appendix A.4; Boyd et al. (2017). A few dense rows and columns.
    """
    k = max(1, int(n * rng.uniform(0.005, 0.05)))
    assets = n - k
    F = sparse_rows(rng, k, assets, min(assets, rng.uniform(0.05, 0.4) * min(assets, 400)))
    risk = decades(rng, -1, 1)
    P = sparse.block_diag([sparse.diags_array(risk * rng.random(assets) * k**0.5), risk * sparse.eye_array(k)])
    budget = assets <= 1500 and rng.random() < 0.7  # larger ones split it by sectors
    sector = np.zeros(assets, dtype=int) if budget else (np.arange(assets) // whole_decades(rng, 20, 200))
    B = sparse.coo_array((np.ones(assets), (sector, np.arange(assets))), shape=(int(sector.max()) + 1, assets))
    top = sparse.hstack([B, sparse.csr_array((B.shape[0], k))])
    A = sparse.vstack([top, sparse.hstack([F, -sparse.eye_array(k)]), sparse.eye_array(assets, n)])
    equal = np.arange(A.shape[0]) < B.shape[0] + k
    return _with(_step(rng, P, csr_array(A), equal), factors=k, budget=budget)


def admm_regression(rng: np.random.Generator, n: int) -> Drawn:
    """OSQP's step of lasso, Huber fitting or a support vector machine: data rows, slacks, bounds.

    Stellato et al. (2020), appendices A.5-A.7.
    """
    kind = str(rng.choice(np.array(["lasso", "huber", "svm"])))
    features = max(4, int(n * rng.uniform(0.02, 0.3)))
    samples = max(4, n - (2 * features if kind == "lasso" else features))
    samples = max(4, samples // (3 if kind == "huber" else 1))
    D = sparse_rows(rng, samples, features, rng.uniform(2.0, 8.0))
    eye_s, eye_f = sparse.eye_array(samples), sparse.eye_array(features)
    none = sparse.csr_array
    if kind == "lasso":
        P = sparse.block_diag([none((features, features)), eye_s, none((features, features))])
        rows = [
            sparse.hstack([D, -eye_s, none((samples, features))]),
            sparse.hstack([eye_f, none((features, samples)), -eye_f]),
            sparse.hstack([eye_f, none((features, samples)), eye_f]),
        ]
        equal = np.arange(samples + 2 * features) < samples
    elif kind == "huber":
        P = sparse.block_diag([none((features, features)), eye_s, none((2 * samples, 2 * samples))])
        wide = none((2 * samples, features + samples))
        rows = [sparse.hstack([D, -eye_s, -eye_s, eye_s]), sparse.hstack([wide, sparse.eye_array(2 * samples)])]
        equal = np.arange(3 * samples) < samples
    else:
        P = sparse.block_diag([eye_f, none((samples, samples))])
        signed = sparse.diags_array(rng.choice(np.array([-1.0, 1.0]), samples)) @ D
        rows = [sparse.hstack([signed, -eye_s]), sparse.hstack([none((samples, features)), eye_s])]
        equal = np.zeros(2 * samples, dtype=bool)
    return _with(_step(rng, csr_array(P), csr_array(sparse.vstack(rows)), equal), problem=kind, features=features)


def admm_control(rng: np.random.Generator, n: int) -> Drawn:
    """OSQP's step of model predictive control: states and inputs over a horizon, dynamics as equalities.

    Stellato et al. (2020), appendix A.3; Wang and Boyd, Fast model predictive control (2010). Block tridiagonal.
    """
    nx = min(whole_decades(rng, 2, 40), max(2, n // 20))
    nu = max(1, nx // int(rng.integers(2, 5)))
    horizon = max(2, n // (nx + nu))
    dynamics = sparse.eye_array(nx) + 0.1 * sparse_rows(rng, nx, nx, rng.uniform(1.0, 5.0))
    inputs = sparse_rows(rng, nx, nu, 1.0)
    steps = sparse.eye_array(horizon)
    later = sparse.diags_array([1.0], offsets=[-1], shape=(horizon, horizon))
    A = sparse.hstack(
        [sparse.kron(later, dynamics) - sparse.kron(steps, sparse.eye_array(nx)), sparse.kron(steps, inputs)]
    )
    total = horizon * (nx + nu)
    cost = decades(rng, -1, 1, nx) * (rng.random(nx) < 0.7)
    P = sparse.diags_array(np.concatenate([np.tile(cost, horizon), np.full(horizon * nu, decades(rng, -2, 0))]))
    rows = csr_array(sparse.vstack([A, sparse.eye_array(total)]))
    equal = np.arange(rows.shape[0]) < horizon * nx
    K, b, drawn = _step(rng, P, rows, equal)
    # stage by stage, as codes for control keep them
    stage = np.concatenate([np.repeat(np.arange(horizon), nx), np.repeat(np.arange(horizon), nu)])
    old = np.argsort(stage, kind="stable")
    return csr_array(K)[old][:, old], b[old], {**drawn, "states": nx, "inputs": nu, "horizon": horizon}


def interior_point(rng: np.random.Generator, n: int) -> Drawn:
    """Normal equations A D A^T of an interior point of a linear program, D over many decades, dual regularisation.

    Wright, Primal-Dual Interior-Point Methods (1997), chapter 11; Altman and Gondzio (1999) on the regularisation.
    Columns are random, or staircase of stages, or blocks with linking rows.
    """
    kind = str(rng.choice(np.array(["random", "staircase", "blocks"])))
    columns = int(n * rng.uniform(1.2, 4.0))
    count = np.maximum(1, rng.poisson(rng.uniform(0.8, 3.0), columns)) + 1
    col = np.repeat(np.arange(columns), count)
    if kind == "random":
        row = rng.integers(0, n, col.size)
    else:
        width = max(3, min(n // 3, whole_decades(rng, 10, 300)))
        start = col * (n - width) // columns
        row = start + rng.integers(0, width, col.size)
        if kind == "blocks":
            row = np.minimum(row // width * width + rng.integers(0, width, col.size), n - 1)
            links = max(1, min(n // 50, 60))
            linked = rng.random(col.size) < rng.uniform(0.01, 0.1)
            row = np.where(linked, n - 1 - rng.integers(0, links, col.size), row)
    A = sparse.coo_array((rng.standard_normal(col.size), (row, col)), shape=(n, columns)).tocsr()
    near = rng.uniform(0.0, 4.0)  # how near the solution: basic variables are large, the others small
    D = np.where(
        rng.random(columns) < n / columns * 0.9, decades(rng, 0, near, columns), decades(rng, -near, 0, columns)
    )
    slack = np.where(rng.random(n) < 0.5, decades(rng, -near, near, n), 0.0)
    regular = decades(rng, -8, -3)
    K = A @ sparse.diags_array(D) @ A.T + sparse.diags_array(slack + regular)
    b = A @ (D * rng.standard_normal(columns)) + rng.standard_normal(n)
    return mirrored(K), b, {"structure": kind, "near": near, "regularisation": regular}


def network_flow(rng: np.random.Generator, n: int) -> Drawn:
    """Normal equations of min-cost flow: a Laplacian of the arcs, weights over many decades, one node left out.

    Resende and Veiga, An implementation of the dual affine scaling algorithm for minimum-cost flow (SIAM J. Optim. 3,
    1993); NETGEN-like and transportation networks.
    """
    if rng.random() < 0.4:  # transportation: suppliers and customers
        left = max(2, int(n * rng.uniform(0.1, 0.5)))
        degree = int(rng.integers(2, 10))
        i = np.repeat(np.arange(left, n), degree)
        j, kind = rng.integers(0, left, i.size), "transport"
    else:
        degree = int(rng.integers(2, 8))
        i, kind = np.repeat(np.arange(n), degree), "network"
        j = np.where(rng.random(i.size) < 0.7, i + rng.integers(-30, 31, i.size), rng.integers(0, n, i.size))
        j = np.clip(j, 0, n - 1)
    chain = np.arange(n - 1)
    i, j = simple_edges(np.concatenate([i, chain]), np.concatenate([j, chain + 1]))
    near = rng.uniform(0.5, 4.0)
    tree = rng.random(i.size) < n / i.size * 0.8
    weights = np.where(tree, decades(rng, 0, near, i.size), decades(rng, -near, 0, i.size))
    ground = np.zeros(n)
    ground[int(rng.integers(n))] = 1.0
    b = rng.standard_normal(n) * (rng.random(n) < 0.3)
    b[0] += 1.0
    return graph_laplacian(i, j, weights, ground), b, {"network": kind, "near": near, "degree": degree}


def separable_hessian(rng: np.random.Generator, n: int) -> Drawn:
    """A regularised Newton step of a partially separable function: chained, banded, arrow or random groups.

    Griewank and Toint (1982); the CUTEst collection (Gould, Orban, Toint 2015), as its chained Rosenbrock and broyden
    functions.
    """
    kind = str(rng.choice(np.array(["chained", "arrow", "groups"])))
    size = int(rng.integers(2, 7))
    group = np.arange(n)[:, None]
    if kind == "groups":
        nodes = np.concatenate([group, rng.integers(0, n, (n, size - 1))], axis=1)
    else:
        nodes = (group + np.arange(size)) % n
        if kind == "arrow":
            nodes[:, -1] = n - 1 - rng.integers(0, max(1, min(5, n // 50)), n)
    rank = int(rng.integers(1, size + 1))
    rows = np.repeat(np.arange(n * rank), size)
    J = sparse.coo_array(
        (rng.standard_normal(rows.size), (rows, np.repeat(nodes, rank, axis=0).ravel())), shape=(n * rank, n)
    ).tocsr()
    spread = rng.uniform(0.0, 3.0)
    shift = decades(rng, -6, 0)
    H = J.T @ sparse.diags_array(decades(rng, -spread, 0, n * rank)) @ J + shift * sparse.eye_array(n)
    return mirrored(H), -(J.T @ rng.standard_normal(n * rank)), {"groups": kind, "size": size, "shift": shift}


FAMILIES = {
    "admm random": SystemFamily(admm_random, "optimisation", largest=100_000),
    "admm portfolio": SystemFamily(admm_portfolio, "optimisation", largest=30_000),
    "admm regression": SystemFamily(admm_regression, "optimisation", largest=300_000),
    "admm control": SystemFamily(admm_control, "optimisation", largest=300_000),
    "interior point": SystemFamily(interior_point, "optimisation", largest=200_000),
    "network flow": SystemFamily(network_flow, "optimisation"),
    "separable hessian": SystemFamily(separable_hessian, "optimisation", largest=300_000),
}
