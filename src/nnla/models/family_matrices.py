"""Matrices of a family that is linear in few unknowns, estimated from noisy ones: law and level of the noise unknown.

A family spans r of the n^2 dimensions, and each of its equations has a Gaussian prior there. A measured matrix is
scale * (that + noise); noise has the deviation alpha |A_ij| or beta s, or both, light or heavy tails, and may be
correlated along rows and columns: all of it is estimated from what the matrix itself has outside of the span.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.operators.arrays import namespace

__all__ = ["FamilyPrior", "MatrixEstimate", "estimate_matrices", "posterior", "variances"]

ROUNDS = 3  # of weights from the estimate, estimate from weights
FREE = 0.5  # prior deviation of the logarithm of the scale: a scale is known by the matrix alone
FLOOR = 1e-4  # of an entry, relative to what it usually is: a weight without bound would trust one with everything
EVIDENCE = 10.0  # log likelihood that a second kind of noise has to bring
CORRELATED = 0.1  # correlation of neighbours that is more than chance
STUDENT = 4.0  # degrees of freedom of heavy tails
CLIPPED = 16.0  # of a squared standardised residual: single entries are no line


@dataclass(frozen=True, eq=False)
class FamilyPrior:
    """What is known of a family's matrices of one size; arrays of one library and device, float64.

    Attributes
    ----------
    basis : (r, n^2) orthonormal rows, of matrices in units of `unit`
    unit : (n^2,) root mean square of each entry
    anchor : (n^2,) linear functional, about 1 on the family: the first scale
    means : (E, r) of each equation
    factors : (E, r, q) of covariances, factors factors'
    tail : deviation of what lies outside of the span, in units of `unit`
    """

    basis: Any
    unit: Any
    anchor: Any
    means: Any
    factors: Any
    tail: float

    @property
    def usual(self) -> Any:
        """(n^2,) deviation at beta = 1, in units of `unit`: the root mean square of all entries."""
        return (self.unit * self.unit).mean() ** 0.5 / self.unit


@dataclass(frozen=True, eq=False)
class MatrixEstimate:
    """Matrices without noise, as far as can be, and how sure that is.

    Attributes
    ----------
    matrices : (B, n, n)
    roots : (B, r, m) of the covariance of the coordinates, roots roots', in the matrices' own scale
    left : (B, n^2) deviation of what is kept of each entry outside of the span, in units of `unit` and that scale
    alpha, beta : (B,) level of noise relative to each entry, and to the root mean square of all
    length : (B,) root mean square of the coordinates in units of their prior
    odds : (B, E) of the equations
    scale : (B,)
    correlations : (B, 2) of neighbours along columns and along rows
    lines : (B,) largest mean square that a row, column or diagonal of the standardised residual has, by that of all
        entries; about 2 for independent noise, up to 4 for correlated, 7 for gains of whole rows and columns
    pattern : (B,) share of the largest singular value in that residual's sum of squares; about 4 / n for independent
        noise
    """

    matrices: Any
    roots: Any
    left: Any
    alpha: Any
    beta: Any
    length: Any
    odds: Any
    scale: Any
    correlations: Any
    lines: Any
    pattern: Any


def estimate_matrices(prior: FamilyPrior, A: Any, *, rounds: int = ROUNDS) -> MatrixEstimate:
    """Posterior means of matrices (B, n, n) float64, and their covariance.

    Notes
    -----
    1. The noise is taken for one of three kinds by the likelihood of what three plain projections leave.
    2. Each entry's variance: tail^2 + alpha^2 A_ij^2 + beta^2 s^2, alpha and beta of greatest likelihood by Fisher's
       scoring; a second kind of noise has to bring log likelihood. Heavy tails: Student's weights. Correlated
       neighbours: rows and columns are whitened as autoregressions of first order.
    3. The posterior mean by generalised least squares, for each equation; these by the evidence. Then 2 again.

    What lies outside of the span stays by the share tail^2 / (variance): matrices without noise come back as they are.

    Cost: r^2 n^2 multiplications a matrix and round; r n^2 numbers are stored for each.

    References
    ----------
    MacKay, Bayesian interpolation (1992), for evidence; Lange, Little, Taylor (1989) for Student's weights.
    """
    xp = namespace(A)
    B, n = A.shape[0], A.shape[-1]
    N, P, w2, tail2 = n * n, prior.basis, prior.usual**2, prior.tail**2
    flat = A.reshape(B, N)
    scale = (flat * prior.anchor).sum(-1)
    z = flat / scale[:, None] / prior.unit
    kind, r, least = _first(prior, z)
    clean = (least <= 9 * tail2)[:, None]  # no more is left than without any noise: nothing to take away
    h2 = xp.where((kind == 0)[:, None], z * z, (z - r) ** 2) + FLOOR**2
    # the measured entries are better weights than a first fit, but for noise that drowns the small ones
    robust = xp.quantile(r * r / xp.clip(h2, 0.05, None), 0.5, 1) / 0.455
    alpha2, beta2 = _levels(r * r, h2, w2, tail2, 1.0)
    alpha2 = xp.where(kind == 0, robust, alpha2)
    beta2 = xp.where(kind == 0, beta2 * 0, beta2)
    rho = xp.zeros_like(z[:, :2])
    for number in range(rounds):
        v = tail2 + alpha2[:, None] * h2 + beta2[:, None] * w2
        weight = 1 / v
        if number:
            heavy = _log_density(r * r / v, STUDENT).sum(1) > _log_density(r * r / v, None).sum(1)
            student = (STUDENT + 1) / (v * (STUDENT - 2) + r * r)
            weight = xp.where(heavy[:, None], student, weight)
        root = weight**0.5
        relative = alpha2 * h2.mean(1) > beta2 * w2.mean()
        fit = z - r
        root = xp.where((relative[:, None]) & (fit < 0), -root, root)
        if number:
            rho = _correlations(r / v**0.5 * xp.where(root < 0, -xp.ones_like(root), xp.ones_like(root)), n)
        c, spread, length, odds, grown = posterior(prior, z, root, rho, n)
        scale, z, c, spread = scale * grown, z / grown[:, None], c / grown[:, None], spread / grown[:, None, None]
        r = z - c @ P
        if number + 1 < rounds:
            h2 = (z - r) ** 2 + FLOOR**2
            alpha2, beta2 = _levels(r * r, h2, w2, tail2, N / (N - len(P) / 2))
    kept = xp.where(clean, xp.ones_like(v), tail2 / v)
    cleaned = xp.where(clean, flat, (z - r * (1 - kept)) * prior.unit * scale[:, None])
    left = (kept * xp.where(clean, v, v - tail2)) ** 0.5 * xp.abs(scale)[:, None]
    roots = spread * xp.abs(scale)[:, None, None]
    u = r / v**0.5 * xp.where(z < r, -xp.ones_like(r), xp.ones_like(r))  # errors relative to the entries, as of gains
    u = xp.clip(u, -(CLIPPED**0.5), CLIPPED**0.5).reshape(B, n, n)
    lines, pattern = (xp.where(clean[:, 0], scale * 0, found) for found in (_lines(u * u), _pattern(u)))
    alpha, beta, matrices = alpha2**0.5, beta2**0.5, cleaned.reshape(B, n, n)
    return MatrixEstimate(matrices, roots, left, alpha, beta, length, odds, scale, rho, lines, pattern)


def variances(prior: FamilyPrior, h: Any, alpha: Any, beta: Any) -> Any:
    """(B, n^2) of noise and tail for entries h of matrices, in units of `unit`, and levels (B,)."""
    return prior.tail**2 + (alpha**2)[:, None] * (h * h + FLOOR**2) + (beta**2)[:, None] * prior.usual**2


def _first(prior: FamilyPrior, z: Any) -> tuple[Any, Any, Any]:
    """(B,) kind of noise: 0 relative to entries, 1 the same for all, 2 both; what its projection leaves (B, N),
    and the mean square (B,) of what any projection has to leave."""
    xp, P = namespace(z), prior.basis
    found: list[tuple[Any, Any]] = []
    for v in (xp.ones_like(prior.unit), prior.usual**2, 1 + prior.usual**2 * 1e-2):
        X = P / v
        c = xp.linalg.solve(X @ P.T, X @ z.T).T
        r = z - c @ P
        square = xp.clip((r * r / v).mean(1), 1e-300, None)
        found.append((r, -0.5 * len(v) * xp.log(square) - 0.5 * xp.log(v).sum()))
    likely = xp.stack([found[0][1], found[1][1], found[2][1]])
    kind = xp.argmax(likely, 0)
    r = xp.where((kind == 1)[:, None], found[1][0], found[0][0])
    return kind, xp.where((kind == 2)[:, None], found[2][0], r), (found[0][0] ** 2).mean(1)


def _levels(r2: Any, h2: Any, w2: Any, tail2: float, dof: float) -> tuple[Any, Any]:
    """alpha^2, beta^2 (B,) of greatest likelihood: one of them, or both where that brings enough."""
    xp = namespace(r2)
    r2 = r2 * dof
    one = [_level(r2, shape, tail2) for shape in (h2, w2)]
    a, b = one[0] / 2, one[1] / 2
    for _ in range(8):
        q = 1 / (tail2 + a[:, None] * h2 + b[:, None] * w2)
        hq, wq, miss = h2 * q, w2 * q, r2 * q - 1
        s11, s12, s22 = (hq * hq).sum(1), (hq * wq).sum(1), (wq * wq).sum(1)
        t1, t2 = (hq * miss).sum(1), (wq * miss).sum(1)
        det = s11 * s22 - s12 * s12
        det = xp.where(det > 1e-12 * s11 * s22, det, 1e-12 * s11 * s22)
        a, b = (
            xp.where(new < 0.2 * old, 0.2 * old, xp.where(new > 5 * old, 5 * old, new))
            for new, old in ((a + (t1 * s22 - t2 * s12) / det, a), (b + (t2 * s11 - t1 * s12) / det, b))
        )
    shapes = (one[0][:, None] * h2, one[1][:, None] * w2, a[:, None] * h2 + b[:, None] * w2)
    likely = [-0.5 * (xp.log(tail2 + v) + r2 / (tail2 + v)).sum(1) for v in shapes]
    first = likely[0] >= likely[1]
    both = likely[2] > xp.where(first, likely[0], likely[1]) + EVIDENCE
    zero = a * 0
    return (
        xp.where(both, a, xp.where(first, one[0], zero)),
        xp.where(both, b, xp.where(first, zero, one[1])),
    )


def _level(r2: Any, shape: Any, tail2: float) -> Any:
    """Factor (B,) of greatest likelihood of the variance tail^2 + factor shape."""
    xp = namespace(r2)
    a = (r2 / shape).mean(1)
    for _ in range(6):
        q = shape / (tail2 + xp.clip(a, 1e-300, None)[:, None] * shape)
        a = xp.clip((q * q * ((r2 - tail2) / shape)).sum(1) / (q * q).sum(1), 0.0, None)
    return a


def _log_density(u2: Any, freedom: float | None) -> Any:
    """Of unit variance: normal, or Student's of four degrees."""
    xp = namespace(u2)
    if freedom is None:
        return -0.5 * u2 - 0.5 * np.log(2 * np.pi)
    return np.log(0.75 / np.sqrt(freedom - 2)) - 0.5 * (freedom + 1) * xp.log1p(u2 / (freedom - 2))


def _correlations(u: Any, n: int) -> Any:
    """(B, 2) of neighbours along columns and along rows of standardised residuals (B, n^2); 0 where by chance."""
    xp = namespace(u)
    u = u.reshape(len(u), n, n)
    square = (u * u).sum((1, 2))
    down, along = (u[:, 1:] * u[:, :-1]).sum((1, 2)), (u[:, :, 1:] * u[:, :, :-1]).sum((1, 2))
    rho = xp.stack([down / square, along / square], -1) * (n / (n - 1))
    return xp.where(xp.abs(rho) > CORRELATED, xp.clip(rho, -0.98, 0.98), rho * 0)


def _lines(u2: Any) -> Any:
    """(B,) largest mean of a row, column or diagonal (of n/2 entries or more) of (B, n, n), by the mean of all.

    Noise is spread over a matrix; what another equation adds lies on its diagonals.
    """
    xp, n = namespace(u2), u2.shape[-1]
    half = (n + 1) // 2
    long = np.arange(half - 1, 2 * n - half)
    diagonals = _diagonal_sums(u2)[:, long] / _diagonal_sums(xp.ones_like(u2[:1]))[:, long]
    lines = xp.concatenate([u2.mean(1), u2.mean(2), diagonals], -1)
    return xp.amax(lines, 1) / xp.clip(u2.mean((1, 2)), 1e-300, None)


def _pattern(u: Any) -> Any:
    """(B,) share of the largest singular value of matrices (B, n, n) in their sum of squares: near 1 for one product of
    two vectors, which a smooth error is and noise is not."""
    xp = namespace(u)
    square = (u * u).sum((1, 2))
    usable = xp.isfinite(square) & (square > 0)
    u = xp.where(usable[:, None, None], u, xp.zeros_like(u))
    return xp.amax(xp.linalg.eigvalsh(u @ u.swapaxes(-1, -2)), 1) / xp.where(usable, square, xp.ones_like(square))


def _diagonal_sums(u: Any) -> Any:
    """(B, 2 n - 1) from (B, n, n): rows of 2 n numbers, read as if of 2 n - 1, each move by one place."""
    xp, (B, n) = namespace(u), u.shape[:2]
    padded = xp.concatenate([u[:, :, np.arange(n - 1, -1, -1)], xp.zeros_like(u)], -1)
    return padded.reshape(B, -1)[:, : n * (2 * n - 1)].reshape(B, n, 2 * n - 1).sum(1)


def _whitened(y: Any, rho: Any, n: int) -> Any:
    """(B, m, n^2) with neighbours' correlations rho (B, 2) taken out, along columns and along rows."""
    if not bool((rho != 0).any()):
        return y
    xp = namespace(y)
    shape = y.shape
    y = y.reshape(*shape[:-1], n, n)
    s = rho[:, :, None, None, None]
    y = xp.concatenate([y[..., :1, :], (y[..., 1:, :] - s[:, 0] * y[..., :-1, :]) / (1 - s[:, 0] ** 2) ** 0.5], -2)
    y = xp.concatenate([y[..., :1], (y[..., 1:] - s[:, 1] * y[..., :-1]) / (1 - s[:, 1] ** 2) ** 0.5], -1)
    return y.reshape(shape)


def posterior(prior: FamilyPrior, z: Any, root: Any, rho: Any, n: int) -> tuple[Any, ...]:
    """Coordinates (B, r), root of their covariance (B, r, m), length (B,), odds (B, E), and the factor (B,) that the
    scale lacked."""
    xp, P = namespace(z), prior.basis
    L = xp.concatenate([prior.factors, FREE * prior.means[:, :, None]], -1)
    X = _whitened(P * root[:, None, :], rho, n)
    G = X @ X.swapaxes(-1, -2)
    q = L.shape[-1]
    M = L.swapaxes(-1, -2) @ (G[:, None] @ L)
    diagonal = np.arange(q)
    M[..., diagonal, diagonal] += 1.0
    half = xp.linalg.inv(xp.linalg.cholesky(M))
    y = xp.zeros_like(M[..., 0])
    c: Any = prior.means
    rest: Any = z[:, None]
    for step in range(3):
        c = prior.means + (L @ y[..., None])[..., 0]
        rest = _whitened((z[:, None] - c @ P) * root[:, None, :], rho, n)
        if step < 2:  # the second step takes out what rounding left
            g = ((rest @ X.swapaxes(-1, -2))[..., None, :] @ L)[..., 0, :] - y
            y = y + (half.swapaxes(-1, -2) @ (half @ g[..., None]))[..., 0]
    likely = -0.5 * ((rest * rest).sum(-1) + (y * y).sum(-1)) + xp.log(half[..., diagonal, diagonal]).sum(-1)
    odds = xp.exp(likely - xp.amax(likely, 1)[:, None])
    odds = odds / odds.sum(1)[:, None]
    mean = (odds[..., None] * c).sum(1)
    grown = xp.clip((odds * (1 + FREE * y[..., -1])).sum(1), 0.1, None)
    own = L @ half.swapaxes(-1, -2)
    apart = (c - mean[:, None])[..., None]
    roots = (odds + 1e-30)[..., None, None] ** 0.5 * xp.concatenate([own, apart], -1)
    roots = xp.moveaxis(roots, 1, 2).reshape(len(z), len(P), -1)
    length = (odds * (y[..., :-1] ** 2).mean(-1)).sum(1) ** 0.5
    return mean, roots, length, odds, grown
