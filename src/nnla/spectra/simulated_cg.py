"""Preconditioned CG on a weighted spectrum: what a large solve will cost, in milliseconds.

CG sees an operator only through its spectral measure: the eigenvalues and the weights of the
right-hand side in their eigenvectors. A few hundred weighted nodes therefore stand for a matrix of
any size. Labels of training, the DOS simulation baseline and the tests all use this one function.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from nnla.spectra.lanczos import lanczos

__all__ = [
    "candidate_residuals",
    "compress_quantiles",
    "quick_cost",
    "simulate_curve",
    "simulate_lanczos",
    "simulate_outer_iterations",
    "simulate_probe",
]


def candidate_residuals(lam: np.ndarray, a: np.ndarray, b: float, m: int) -> np.ndarray:
    """Chebyshev residual polynomials R_m on [a_j, b] at all nodes.

    Parameters
    ----------
    lam : (K,) non-negative nodes
    a : (C,) lower ends, 0 < a < b
    b : float
    m : int, degree of R

    Returns
    -------
    (C, K) array of R_m = T_m(t(lam)) / T_m(t(0)), finite for any node.

    Notes
    -----
    Cost: one arc cosine and one cosine for each of C x K entries.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., section 12.3.2.
    """
    a = np.asarray(a, dtype=np.float64)[:, None]
    t = (b + a - 2 * lam) / (b - a)
    growth = 2 * np.arcsinh(np.sqrt(a / (b - a)))
    phase = np.cos(m * np.arccos(np.clip(t, -1.0, 1.0)))
    inside = phase / np.cosh(np.minimum(m * growth, 700.0))
    low = t > 1
    if np.any(low):
        g = np.arccosh(np.where(low, t, 1.0))
        outside = np.exp(m * (g - growth)) * (1 + np.exp(-2 * m * g)) / (1 + np.exp(-2 * m * growth))
        inside = np.where(low, outside, inside)
    high = t < -1
    if np.any(high):
        g = np.arccosh(np.where(high, -t, 1.0))
        sign = -1.0 if m % 2 else 1.0
        scale = (1 + np.exp(-2 * m * g)) / (1 + np.exp(-2 * m * growth))
        inside = np.where(high, sign * np.exp(np.minimum(m * (g - growth), 300.0)) * scale, inside)
    return inside


def simulate_outer_iterations(
    lam: np.ndarray,
    weight: np.ndarray,
    mu: np.ndarray,
    rtols: tuple[float, ...] = (1e-6, 1e-8, 1e-10),
    *,
    measure: np.ndarray | None = None,
    maxiter: int = 2000,
    patience: float = 2.5,
    extrapolate: bool = False,
) -> np.ndarray:
    """Outer iterations of CG with the preconditioner P for many P at once.

    Parameters
    ----------
    lam : (K,) positive nodes
    weight : (K,) squared components of the right-hand side, as CG sees it
    mu : (C, K) values lam P(lam) = 1 - R(lam) of C candidates
    rtols : decreasing tolerances on the relative residual 2-norm
    measure : (K,) squared components in the norm that the tolerance is in; default ``weight``
    maxiter : cap
    patience : a candidate is dropped once the best one needed 1 / patience of its iterations
    extrapolate : where ``maxiter`` ends the simulation, go on at the mean rate of the error's energy
        norm, which falls steadily where the residual does not

    Returns
    -------
    (C, len(rtols)) fractional iteration counts (the crossing is interpolated in log residual); inf
    where a candidate is indefinite, or was dropped before it got there.

    Notes
    -----
    Cost: about ten passes over C x K numbers an iteration; 1-20 ms for a typical spectrum.

    References
    ----------
    Greenbaum, Strakos, Predicting the behavior of finite precision Lanczos and conjugate gradient computations, SIAM J.
    Matrix Anal. Appl. 13 (1992) 121-137. Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., algorithm 9.1.
    """
    C = mu.shape[0]
    counts = np.full((C, len(rtols)), np.inf)
    active = np.flatnonzero(np.all(mu > 0, axis=1))
    if active.size == 0:
        return counts
    # M = P(A) = mu / lam; variables scaled so that CG runs on diag(mu) with z = r * (mu / lam).
    pre = mu[active] / lam
    r = np.broadcast_to(np.sqrt(weight), pre.shape).copy()
    ratio = None if measure is None else measure / weight
    # squared relative residuals are compared with squared tolerances: no logarithm until one is reached
    norm0 = float((weight if measure is None else measure).sum())
    targets = np.array(rtols) ** 2 * norm0
    reached = np.zeros((active.size, len(rtols)), dtype=bool)
    best = np.full(active.size, norm0)  # smallest squared residual so far
    z = pre * r
    p = z.copy()
    rz = np.einsum("ij,ij->i", r, z)
    limit: float = maxiter
    next_target = targets[0]  # the loosest that some candidate has yet to reach
    q = np.empty_like(p)
    energy0 = float(np.sum(weight / lam))
    k, dropping = 0, False
    while k < limit:
        k += 1
        np.multiply(p, lam, out=q)
        alpha = rz / np.einsum("ij,ij->i", p, q)
        q *= alpha[:, None]
        r -= q
        square = np.einsum("ij,ij->i", r, r) if ratio is None else np.multiply(r, r, out=q) @ ratio
        if square.min() <= next_target:
            for j, target in enumerate(targets):
                hit = ~reached[:, j] & (square <= target)
                if hit.any():
                    span = np.log(best[hit] / np.maximum(square[hit], 1e-300))
                    part = np.log(best[hit] / target) / np.maximum(span, 1e-12)
                    counts[active[hit], j] = k - 1 + part
                    reached[hit, j] = True
            next_target = targets[np.argmin(reached.all(axis=0))]
            np.minimum(square, best, out=best)
            done = reached[:, -1]
            if done.all():
                break
            if not dropping and done.any():
                limit = min(patience * k + 3, maxiter)
                dropping = True
            if done.sum() >= 0.2 * done.size:
                keep = ~done
                active, pre, r, p = active[keep], pre[keep], r[keep], p[keep]
                rz, reached, best = rz[keep], reached[keep], best[keep]
                z, q = np.empty_like(p), np.empty_like(p)
        else:
            np.minimum(square, best, out=best)
        np.multiply(pre, r, out=z)
        new = np.einsum("ij,ij->i", r, z)
        p *= (new / rz)[:, None]
        p += z
        rz = new
    if extrapolate and not dropping and not reached[:, -1].any():
        energy = np.maximum(np.sqrt((r * r) @ (1 / lam) / energy0), 1e-300)
        rate = np.minimum(np.log(energy), -1e-6) / k
        for j in range(len(rtols)):
            ahead = ~reached[:, j]
            counts[active[ahead], j] = np.maximum(np.log(rtols[j]) / rate[ahead], k + 1)
    return counts


def simulate_curve(
    lam: np.ndarray,
    weight: np.ndarray,
    ratios: np.ndarray,
    m: int,
    rtols: tuple[float, ...],
    *,
    stride: int = 1,
    around: int = 0,
    patience: float = 1.6,
    maxiter: int = 500,
    measure: np.ndarray | None = None,
) -> np.ndarray:
    """Outer iterations as a function of the lower end of a Chebyshev interval.

    Parameters
    ----------
    lam, weight, measure : (K,) nodes relative to the upper end of the interval, which is 1; see
        `simulate_outer_iterations`
    ratios : (C,) increasing candidates a / b
    m : residual degree
    rtols : decreasing tolerances
    stride : simulate every ``stride``-th candidate, then
    around : all within this many of the best, unless ``maxiter`` was not enough to see it; the others are
        interpolated in the logarithm
    patience, maxiter : as `simulate_outer_iterations` has them; beyond ``maxiter`` the rate is
        extrapolated

    Returns
    -------
    (C, len(rtols)) counts, finite where any candidate was definite; what was dropped as too far from the best counts as
    twice ``patience`` times the best.

    Notes
    -----
    Cost: that of `simulate_outer_iterations` for about C / stride + 2 around candidates. No products.

    References
    ----------
    As `simulate_outer_iterations` and `candidate_residuals`.
    """
    C = ratios.size
    log_counts = np.full((C, len(rtols)), np.nan)
    options: dict[str, Any] = {"measure": measure, "patience": patience, "extrapolate": True}

    def run(index: np.ndarray) -> None:
        mu = 1 - candidate_residuals(lam, ratios[index], 1.0, m)
        counts = simulate_outer_iterations(lam, weight, mu, rtols, maxiter=maxiter, **options)
        ceiling = 2 * patience * counts.min(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_counts[index] = np.log(np.minimum(counts, ceiling))

    coarse = np.unique(np.append(np.arange(0, C, stride), C - 1))
    run(coarse)
    if around and stride > 1 and log_counts[coarse].min() < np.log(0.8 * maxiter):
        best = coarse[np.argmin(log_counts[coarse], axis=0)]
        near = np.flatnonzero(np.any(np.abs(np.arange(C)[:, None] - best) <= around, axis=1))
        near = np.setdiff1d(near, coarse)
        if near.size:
            run(near)
    done = np.flatnonzero(np.isfinite(log_counts[:, 0]))
    if done.size == 0:
        return np.full((C, len(rtols)), np.inf)
    if done.size == C:
        return np.exp(log_counts)
    from scipy.interpolate import Akima1DInterpolator  # importing it takes longer than all of nnla

    # straight lines would lie above a convex curve, and pull its minimum to the simulated candidates
    return np.exp(Akima1DInterpolator(done, log_counts[done], method="makima")(np.arange(C)))


def quick_cost(
    lam: np.ndarray,
    weight: np.ndarray,
    ratios: np.ndarray,
    m: int,
    rtol: float,
    *,
    maxiter: int,
    measure: np.ndarray | None = None,
) -> float:
    """About the least outer iterations to ``rtol``, from three candidates in the middle of ``ratios``.

    Tells how many nodes a simulation needs: CG exhausts few nodes before it has converged. Parameters as
    `simulate_curve` has them.

    Cost: that of `simulate_outer_iterations` for three candidates.

    References
    ----------
    As `simulate_outer_iterations`.
    """
    few = ratios[[ratios.size // 3, ratios.size // 2, 2 * ratios.size // 3]]
    return float(simulate_curve(lam, weight, few, m, (rtol,), maxiter=maxiter, measure=measure).min())


def simulate_probe(
    lam: np.ndarray, weight: np.ndarray, measure: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The probe that a solve would run: Lanczos coefficients, and CG's residual in the user's norm.

    Parameters
    ----------
    lam, weight, measure : (K,) as in `nnla.problems.spectra.VirtualSpectrum`
    steps : CG steps; fewer when the Krylov space is exhausted

    Returns
    -------
    alpha, beta, reductions : (k,) arrays as `nnla.types.SpectralProbe` has them

    Notes
    -----
    Cost: some twenty passes over K numbers a step; 2 ms for 50 steps on 400 nodes.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., algorithms 6.15 (Lanczos) and 6.18 (CG).
    """
    alpha, beta = simulate_lanczos(lam, weight, steps)
    ratio = measure / weight
    r = np.sqrt(weight)
    p = r.copy()
    rr = r @ r
    start = np.sqrt(measure.sum())
    out = np.empty(alpha.size)
    for j in range(alpha.size):
        q = lam * p
        r = r - (rr / (p @ q)) * q  # lines 3 and 5 of algorithm 6.18
        new = r @ r
        p = r + (new / rr) * p  # lines 6 and 7
        rr = new
        out[j] = np.sqrt((r * r) @ ratio) / start
        if not rr > 1e-280:
            out[j:] = out[j]
            break
    return alpha, beta, out


class _ByBlas:
    """BLAS's sums: training data were made with them, and weights are to come out as they did."""

    def inner(self, x: np.ndarray, y: np.ndarray) -> float:
        return np.dot(x, y)

    def norm(self, x: np.ndarray) -> float:
        return float(np.sqrt(x @ x))

    def row(self, values: np.ndarray, like: np.ndarray) -> np.ndarray:
        return values


def simulate_lanczos(lam: np.ndarray, weight: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Lanczos on diag(lam) from sqrt(weight), without reorthogonalisation: (alpha, beta).

    ``beta[-1]`` couples to the next step. Stops early when the Krylov space is exhausted.

    Cost: some six passes over K numbers a step; 1 ms for 50 steps on 400 nodes.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., algorithm 6.15.
    """
    alpha, beta = np.zeros(steps), np.zeros(steps)
    process = lanczos(lambda v: lam * v, np.sqrt(weight / weight.sum()), _ByBlas())
    for j, step in enumerate(islice(process, steps)):
        alpha[j], beta[j] = step.alpha, step.beta
        if step.beta <= 1e-13 * lam[-1]:
            return alpha[: j + 1], beta[: j + 1]
    return alpha, beta


def compress_quantiles(
    u: np.ndarray, quantile: np.ndarray, n: int, nodes: int, low: int, high: int
) -> tuple[np.ndarray, np.ndarray]:
    """Group n eigenvalue indices into nodes: single at both ends, in between as CG resolves them.

    Every eigenvalue below the interval costs CG about one outer iteration, so as many as there are
    iterations have to stay single at the low end. Beyond, CG of total degree N tells eigenvalues apart
    that differ by about pi / N in the angle ``2 arcsin(sqrt(lam))``; the groups are equal steps in a mix of
    that angle, the logarithm and the index.

    Parameters
    ----------
    u : (Q,) increasing quantiles in (0, 1)
    quantile : (Q,) increasing eigenvalues there
    n : number of eigenvalues
    nodes : groups to aim at
    low, high : eigenvalues kept single at either end

    Returns
    -------
    middle : (K,) quantile of the middle of every group
    multiplicity : (K,) eigenvalues in it

    Notes
    -----
    Cost: linear in the quantiles and the groups, some repetitions included.
    """
    if n <= nodes:
        return (np.arange(n) + 0.5) / n, np.ones(n)
    x = np.maximum(quantile / quantile[-1], 1e-14)
    log = np.log(x)
    measure = 2 / np.pi * np.arcsin(np.sqrt(np.minimum(x, 1.0))) + (log - log[0]) / max(-log[0], 1e-3)
    measure = measure + 0.2 * u + 1e-9 * np.arange(u.size)
    first, last = np.interp([low / n, 1 - high / n], u, measure)
    cells = float(nodes - low - high)
    while True:  # cells that hold no eigenvalue vanish; ask for more until enough are left
        at = np.interp(np.linspace(first, last, int(cells)), measure, u)
        inner = np.unique(np.clip(np.round(at * n), low, n - high))
        if inner.size >= 0.9 * (nodes - low - high) or cells > 20 * nodes:
            break
        cells *= 1.3
    bounds = np.unique(np.concatenate([np.arange(low + 1), inner, n - high + np.arange(high + 1)]))
    return (bounds[1:] + bounds[:-1]) / 2 / n, np.diff(bounds)
