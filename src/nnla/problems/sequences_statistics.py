"""Sequences of statistics: the hyperparameters of a Gaussian Markov random field, the correlation of neighbours."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.finite_elements import delaunay_mesh, p1_mass, p1_stiffness
from nnla.problems.sequences_types import Sequence, SequenceFamily, answer, factor
from nnla.problems.systems_graphs import edges_of_cells
from nnla.problems.systems_meshes import triangles
from nnla.problems.systems_types import mirrored

__all__ = ["FAMILIES"]


def _log_determinant(lu: Any) -> float:
    return float(np.log(abs(lu.U.diagonal())).sum())


def random_field(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """The posterior precision of a Matern field while range and noise are fitted: differences, then a step downhill.

    Lindgren, Rue, Lindstrom, J. R. Stat. Soc. B 73 (2011); Rue, Martino, Chopin, J. R. Stat. Soc. B 71 (2009): INLA
    evaluates the same likelihood. (K C^-1 K) tau + A^T A / noise, b = A^T y / noise; a new data set when it stands.
    """
    mesh = delaunay_mesh(n, sweeps=1, seed=int(rng.integers(2**31)))
    points, cells, n = mesh.points, mesh.triangles, len(mesh.points)
    lumped = np.asarray(p1_mass(points, cells).sum(axis=1)).ravel()
    G, C, inverse = p1_stiffness(points, cells), sparse.diags_array(lumped), sparse.diags_array(1.0 / lumped)
    seen = np.zeros(n)
    seen[rng.choice(n, max(5, int(n * rng.uniform(0.05, 0.5))), replace=False)] = 1.0

    def prior(reach: float) -> csr_array:
        """K of a field of deviation one."""
        kappa = np.sqrt(8.0) / reach
        return csr_array((kappa**2 * C + G) * (1.0 / (np.sqrt(4.0 * np.pi) * kappa)))

    def data() -> np.ndarray:
        field = answer(prior(0.2), np.sqrt(lumped) * rng.standard_normal(n))
        return seen * (field + 0.3 * rng.standard_normal(n))

    def system(theta: np.ndarray) -> tuple[csr_array, np.ndarray, float]:
        K, weight = prior(float(np.exp(theta[0]))), float(np.exp(-theta[1]))
        Q = mirrored(K @ inverse @ K + sparse.diags_array(weight * seen))
        return Q, weight * y, 2.0 * _log_determinant(factor(K))

    def cost(Q: csr_array, b: np.ndarray, prior_part: float, theta: np.ndarray) -> float:
        lu = factor(Q)
        fit = float(np.exp(-theta[1])) * float(y @ y) - float(b @ lu.solve(b))
        return 0.5 * (_log_determinant(lu) - prior_part + theta[1] * float(seen.sum()) + fit)

    def start() -> np.ndarray:
        return np.log(rng.uniform([0.05, 0.3], [0.8, 3.0]))

    h = 1e-2
    y, theta, length, here, done = data(), start(), 0.5, None, 0
    while True:
        values = [] if here is None else [here]
        for shift in ([0.0, 0.0], [h, 0.0], [0.0, h])[len(values) :]:
            Q, b, part = system(theta + shift)
            yield Q, b
            done += 1
            if done == steps:
                return
            values.append(cost(Q, b, part, theta + shift))
        gradient = np.array([values[1] - values[0], values[2] - values[0]])
        direction, here = -gradient / max(float(np.linalg.norm(gradient)), 1e-300), None
        while length > 2.0 * h:
            trial = np.clip(theta + length * direction, np.log([0.01, 0.01]), np.log([3.0, 30.0]))
            Q, b, part = system(trial)
            yield Q, b
            done += 1
            if done == steps:
                return
            value = cost(Q, b, part, trial)
            if value < values[0]:
                theta, here, length = trial, value, min(1.0, 2.0 * length)
                break
            length *= 0.3
        else:
            y, theta, length = data(), start(), 0.5


def neighbour_correlation(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """Simultaneous autoregression: (I - rho W)^T (I - rho W) while golden sections find rho, response by response.

    LeSage and Pace, Introduction to Spatial Econometrics (2009), chapters 3 and 4; Ord (1975). b = (I - rho W)^T y. The
    changes of rho shrink from step to step, and start afresh with the next response.
    """
    points, cells, _ = triangles(rng, n)
    n = len(points)
    i, j = edges_of_cells(cells)
    W = csr_array(sparse.coo_array((np.ones(2 * i.size), (np.r_[i, j], np.r_[j, i])), shape=(n, n)))
    W = csr_array(sparse.diags_array(1.0 / np.asarray(W.sum(axis=1)).ravel()) @ W)
    eye, section, done = sparse.eye_array(n, format="csr"), 0.5 * (np.sqrt(5.0) - 1.0), 0
    while True:
        y = _unsymmetric(csr_array(eye - rng.uniform(0.3, 0.98) * W)).solve(rng.standard_normal(n))
        low, high = 0.0, 0.999
        left, right = high - section * (high - low), low + section * (high - low)
        known: dict[float, float] = {}
        while high - low > 1e-4:
            for rho in (left, right):
                if rho in known:
                    continue
                S = csr_array(eye - rho * W)
                yield mirrored(S.T @ S), S.T @ y
                done += 1
                if done == steps:
                    return
                known[rho] = 0.5 * n * float(np.log(np.mean((S @ y) ** 2))) - _log_determinant(_unsymmetric(S))
            if known[left] < known[right]:
                high, right = right, left
                left = high - section * (high - low)
            else:
                low, left = left, right
                right = low + section * (high - low)


def _unsymmetric(S: csr_array) -> Any:
    from scipy.sparse.linalg import splu

    return splu(S.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.01)  # rows sum to 1 - rho: dominant


FAMILIES = {
    "random field": SequenceFamily(random_field, "statistics", "both", largest=50_000),
    "neighbour correlation": SequenceFamily(neighbour_correlation, "statistics", "both", largest=50_000),
}
