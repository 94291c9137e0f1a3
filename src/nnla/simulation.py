"""Preconditioned CG on a weighted spectrum: what a large solve will cost, in milliseconds.

CG sees an operator only through its spectral measure: the eigenvalues and the weights of the
right-hand side in their eigenvectors. A few hundred weighted nodes therefore stand for a matrix of
any size. Labels of training, the DOS simulation baseline and the tests all use this one function.
"""

from __future__ import annotations

import numpy as np

__all__ = ["candidate_residuals", "simulate_lanczos", "simulate_outer_iterations", "simulate_probe"]


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
        inside = np.where(high, sign * np.exp(np.minimum(m * (g - growth), 300.0)), inside)
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
    norm0 = float(np.sqrt((weight if measure is None else measure).sum()))
    targets = np.log(np.array(rtols))
    reached = np.zeros((active.size, len(rtols)), dtype=bool)
    best_log = np.zeros(active.size)  # log of the smallest relative residual so far
    z = pre * r
    p = z.copy()
    rz = np.einsum("ij,ij->i", r, z)
    limit = np.inf
    q = np.empty_like(p)
    energy0 = float(np.sum(weight / lam))
    for k in range(1, maxiter + 1):
        np.multiply(p, lam, out=q)
        alpha = rz / np.einsum("ij,ij->i", p, q)
        q *= alpha[:, None]
        r -= q
        np.multiply(r, r, out=q)
        square = q.sum(axis=1) if ratio is None else q @ ratio
        now = np.log(np.maximum(np.sqrt(square) / norm0, 1e-300))
        better = now < best_log
        for j, target in enumerate(targets):
            hit = ~reached[:, j] & (now <= target)
            if hit.any():
                span = np.maximum(best_log[hit] - now[hit], 1e-12)
                counts[active[hit], j] = k - 1 + (best_log[hit] - target) / span
                reached[hit, j] = True
        best_log = np.where(better, now, best_log)
        if limit == np.inf and reached[:, -1].any():
            limit = patience * k + 3
        keep = ~reached[:, -1]
        if not keep.any() or k >= limit:
            break
        if keep.sum() <= 0.8 * keep.size:
            active, pre, r, p = active[keep], pre[keep], r[keep], p[keep]
            rz, reached, best_log = rz[keep], reached[keep], best_log[keep]
            z, q = np.empty_like(p), np.empty_like(p)
        np.multiply(pre, r, out=z)
        new = np.einsum("ij,ij->i", r, z)
        p *= (new / rz)[:, None]
        p += z
        rz = new
    if extrapolate and k >= maxiter and limit == np.inf:
        energy = np.maximum(np.sqrt((r * r) @ (1 / lam) / energy0), 1e-300)
        rate = np.minimum(np.log(energy), -1e-6) / k
        for j, target in enumerate(targets):
            ahead = ~reached[:, j]
            counts[active[ahead], j] = np.maximum(target / rate[ahead], k + 1)
    return counts


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
        r = r - (rr / (p @ q)) * q
        new = r @ r
        p = r + (new / rr) * p
        rr = new
        out[j] = np.sqrt((r * r) @ ratio) / start
        if not rr > 1e-280:
            out[j:] = out[j]
            break
    return alpha, beta, out


def simulate_lanczos(
    lam: np.ndarray, weight: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Lanczos on diag(lam) from sqrt(weight), without reorthogonalisation: (alpha, beta).

    ``beta[-1]`` couples to the next step. Stops early when the Krylov space is exhausted.
    """
    v = np.sqrt(weight / weight.sum())
    old = np.zeros_like(v)
    alpha, beta = np.zeros(steps), np.zeros(steps)
    b = 0.0
    top = float(lam[-1])
    for j in range(steps):
        w = lam * v
        w -= b * old
        alpha[j] = v @ w
        w -= alpha[j] * v
        b = float(np.sqrt(w @ w))
        beta[j] = b
        if b <= 1e-13 * top:
            return alpha[: j + 1], beta[: j + 1]
        old, v = v, w / b
    return alpha, beta
