"""Sequences of optimisers: interior points of a linear program, and a robot's map that grows as it drives."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.sequences_types import Sequence, SequenceFamily, answer
from nnla.problems.systems_types import decades, mirrored, whole_decades

__all__ = ["FAMILIES"]


def _stages(rng: np.random.Generator, n: int) -> csr_array:
    """(n, columns) staircase: the activities of each period use what the period before left, and a few link all."""
    columns, width = int(n * rng.uniform(1.5, 2.5)), min(n // 3, whole_decades(rng, 20, 60))
    count = 2 + rng.poisson(1.5, columns)
    col = np.repeat(np.arange(columns), count)
    row = np.minimum(col * (n - width) // columns + rng.integers(0, width, col.size), n - 1)
    links = rng.random(col.size) < 0.005
    row = np.where(links, n - 1 - rng.integers(0, max(1, min(20, n // 50)), col.size), row)
    A = sparse.coo_array((rng.choice(np.array([-1.0, 1.0, 1.0, 2.0]), col.size), (row, col)), shape=(n, columns))
    return csr_array(sparse.hstack([A.tocsr(), sparse.eye_array(n)]))  # with slacks, of full rank


def interior_point(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """Mehrotra's interior point method for a production plan over periods: predictor, then corrector by the same A.

    Wright, Primal-Dual Interior-Point Methods (1997), chapters 10 and 11; Altman and Gondzio (1999), regularisation.
    A D A^T spreads as the method converges; then the next plan starts, with other prices.
    """
    A = _stages(rng, n)
    m, columns = A.shape
    done = 0
    while True:
        x, y, s = decades(rng, -0.5, 0.5, columns), rng.standard_normal(m), decades(rng, -0.5, 0.5, columns)
        right, prices = A @ x, A.T @ y + s
        x, y, s = rng.uniform(0.5, 1.5, columns), np.zeros(m), rng.uniform(0.5, 1.5, columns)
        for _ in range(40):
            mu = float(x @ s) / columns
            if mu < 1e-7:
                break
            d = x / s
            S = mirrored(A @ sparse.diags_array(d) @ A.T + 1e-8 * sparse.eye_array(m))
            primal, dual = right - A @ x, prices - A.T @ y - s
            centre = -x * s
            for phase in (0, 1):
                b = primal + A @ (d * dual - centre / s)
                yield S, b
                done += 1
                if done == steps:
                    return
                dy = answer(S, b)
                ds = dual - A.T @ dy
                dx = (centre - x * ds) / s
                lengths = [_length(x, dx), _length(s, ds)]
                if phase == 0:
                    after = float((x + lengths[0] * dx) @ (s + lengths[1] * ds)) / columns
                    centre = (after / mu) ** 3 * mu - x * s - dx * ds
            x, y, s = x + 0.99 * lengths[0] * dx, y + 0.99 * lengths[1] * dy, s + 0.99 * lengths[1] * ds


def _length(x: np.ndarray, dx: np.ndarray) -> float:
    """The step up to which x stays positive, at most 1."""
    return float(min(1.0, np.min(np.where(dx < 0.0, -x / np.minimum(dx, -1e-300), np.inf))))


def growing_map(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """A robot's poses while it drives through streets: every step adds poses and loops, then one Gauss-Newton step.

    Olson, Leonard, Teller, Fast iterative alignment of pose graphs (ICRA 2006), the Manhattan world; Kaess et al.,
    iSAM (IEEE Trans. Robotics 24, 2008). n grows with every step up to the n that is asked for; 3 unknowns a pose.
    """
    total, block = max(8, n // 3), 4.0
    heading = np.zeros(total)
    place = np.zeros((total, 2))
    for k in range(1, total):
        turn = rng.choice([0.0, 0.5 * np.pi, -0.5 * np.pi], p=[0.5, 0.25, 0.25]) if k % int(block) == 0 else 0.0
        half = 0.5 * block * max(4.0, total**0.5 / 2.0)
        ahead = place[k - 1] + np.array([np.cos(heading[k - 1] + turn), np.sin(heading[k - 1] + turn)])
        turn = turn if abs(ahead).max() <= half else turn + 0.5 * np.pi  # the town ends
        heading[k] = heading[k - 1] + turn
        place[k] = place[k - 1] + [np.cos(heading[k]), np.sin(heading[k])]
    first, second = _loops(rng, place)
    sigma = np.array([0.05, 0.05, 0.02])
    c, s = np.cos(heading[first]), np.sin(heading[first])
    d = place[second] - place[first]
    seen = np.stack([c * d[:, 0] + s * d[:, 1], c * d[:, 1] - s * d[:, 0], heading[second] - heading[first]], axis=1)
    seen += sigma * rng.standard_normal(seen.shape)
    pose = np.zeros((total, 3))
    known = 1
    for step in range(steps):
        count = max(min(4, total), round(total * (step + 1) / steps))
        for k in range(known, count):  # dead reckoning
            c0, s0 = np.cos(pose[k - 1, 2]), np.sin(pose[k - 1, 2])
            u, v, turn = seen[k - 1]
            pose[k] = pose[k - 1] + [c0 * u - s0 * v, s0 * u + c0 * v, turn]
        known = count
        now = second < count
        J, r = _linearised(pose[:count], first[now], second[now], seen[now], sigma)
        prior = np.zeros(3 * count)
        prior[:3] = 1e4
        A = mirrored(J.T @ J + sparse.diags_array(prior + decades(rng, -6, -5)))
        b = -(J.T @ r)
        yield A, b
        move = answer(A, b).reshape(count, 3)
        pose[:count] += move * min(1.0, 1.0 / max(float(abs(move[:, 2]).max()), 1e-12))


def _loops(rng: np.random.Generator, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of all measurements: the chain first, then loops to poses of long ago that lie near."""
    from scipy.spatial import cKDTree

    total = len(place)
    pairs = cKDTree(place).query_pairs(1.5, output_type="ndarray")
    pairs = np.sort(pairs[np.abs(pairs[:, 0] - pairs[:, 1]) > 10], axis=1)
    pairs = pairs[np.argsort(pairs[:, 1] * total + pairs[:, 0])]
    pairs = pairs[rng.random(len(pairs)) < min(1.0, 0.6 * total / max(1, len(pairs)))]
    chain = np.arange(total - 1)
    return np.concatenate([chain, pairs[:, 0]]), np.concatenate([chain + 1, pairs[:, 1]])


def _linearised(
    pose: np.ndarray, first: np.ndarray, second: np.ndarray, seen: np.ndarray, sigma: np.ndarray
) -> tuple[csr_array, np.ndarray]:
    """Jacobian and residuals of the relative poses, in units of their deviations."""
    c, s = np.cos(pose[first, 2]), np.sin(pose[first, 2])
    d = pose[second, :2] - pose[first, :2]
    there = np.stack([c * d[:, 0] + s * d[:, 1], c * d[:, 1] - s * d[:, 0]], axis=1)
    turn = pose[second, 2] - pose[first, 2] - seen[:, 2]
    r = np.concatenate([there - seen[:, :2], np.mod(turn + np.pi, 2.0 * np.pi)[:, None] - np.pi], axis=1) / sigma
    zero, one = np.zeros(len(c)), np.ones(len(c))
    to_first = np.stack([-c, -s, there[:, 1], s, -c, -there[:, 0], zero, zero, -one], axis=1).reshape(-1, 3, 3)
    to_second = np.stack([c, s, zero, -s, c, zero, zero, zero, one], axis=1).reshape(-1, 3, 3)
    blocks = np.concatenate([to_first, to_second], axis=2) / sigma[None, :, None]
    column = np.concatenate([3 * first[:, None] + np.arange(3), 3 * second[:, None] + np.arange(3)], axis=1)
    row = np.arange(3 * len(c)).reshape(-1, 3, 1)
    J = sparse.coo_array(
        (blocks.ravel(), (np.broadcast_to(row, blocks.shape).ravel(), np.repeat(column, 3, axis=0).ravel())),
        shape=(3 * len(c), 3 * len(pose)),
    )
    return csr_array(J.tocsr()), r.ravel()


FAMILIES = {
    "interior point": SequenceFamily(interior_point, "optimisation", "both", largest=50_000),
    "growing map": SequenceFamily(growing_map, "robotics", "pattern", largest=100_000),
}
