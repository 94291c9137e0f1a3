"""What k Lanczos steps leave open, and what f would make of it: an error estimate that sees what Lanczos has not.

After k steps from v the orthonormal polynomials p_0, ..., p_k of v's spectral measure are known, and with them the
largest mass that the measure can have at any point x: the Christoffel function 1 / sum_j p_j(x)^2. An approximation
P(A) v of f(A) v can therefore be wrong by |f(x) - P(x)| / sqrt(sum_j p_j(x)^2) at an eigenvalue x that no Ritz value
shows yet, and by no more. Between two Ritz values lies about the mass of one of them, so the largest such error of
every gap, all gaps together, is the error to be expected: where f is zero at all Ritz values and not between them, it
says so, which no change from step to step does.
"""

from __future__ import annotations

import numpy as np

from nnla.functions.scalars import ScalarFunction

__all__ = ["Measure", "gap_points", "tail_points"]

_EPS = float(np.finfo(float).eps)
_NOISE = 8 * _EPS  # radius of a converged Ritz value, relative to ||A||
_IN_GAP = (1 - np.cos(np.pi * (np.arange(5) + 0.5) / 5)) / 2
_IN_RADII = np.array([0.5, 1.0, 2.0])
_BIG, _LARGE, _SHIFT = 1e100, 1e60, 200  # where the polynomials are looked at, scaled down, and by which power of 2


class Measure:
    """The spectral measure of a vector, as far as a Jacobi matrix tells.

    Parameters
    ----------
    alpha, beta : (k,) Lanczos coefficients; ``beta[-1]`` couples to step k + 1, 0 where the Krylov space ended
    theta, last : (k,) Ritz values, and the last components of the eigenvectors of the Jacobi matrix

    Attributes
    ----------
    theta : (k,) Ritz values, increasing
    radii : (k,) residual norms of the Ritz pairs, at least the rounding of ||A||

    References
    ----------
    Szego, Orthogonal Polynomials (1939), sections 3.1 and 3.41 (Christoffel function, separation of masses). Golub,
    Meurant, Matrices, Moments and Quadrature with Applications (2010), chapters 2 and 7.
    """

    def __init__(self, alpha: np.ndarray, beta: np.ndarray, theta: np.ndarray, last: np.ndarray) -> None:
        self.theta = theta
        top = max(float(np.abs(alpha).max()), float(beta.max()), float(np.abs(theta).max()))
        self._unit = int(np.frexp(top)[1]) if top > 0 else 0
        self._alpha = np.ldexp(alpha, -self._unit)
        # where a coupling is zero to rounding, so is what v may have behind it
        self._beta = np.maximum(np.ldexp(beta, -self._unit), _EPS)
        self.radii = np.maximum(np.abs(last) * beta[-1], _NOISE * top)

    def room(self, x: np.ndarray) -> np.ndarray:
        """(m,) square roots of the largest masses at the points: 1 / sqrt(p_0^2 + ... + p_k^2)."""
        total, _, exponent = self._polynomials(x, None)
        return np.ldexp(1.0 / np.sqrt(total), -np.minimum(exponent, 1060))

    def errors(
        self,
        x: np.ndarray,
        f: ScalarFunction,
        unit: int,
        *,
        coefficients: np.ndarray | None = None,
        values: np.ndarray | None = None,
    ) -> np.ndarray:
        """Errors that an eigenvalue at each of the points would mean, in units of 2^unit ||v||.

        Parameters
        ----------
        x : (m,) points
        f : ScalarFunction; points where it is not defined count as harmless
        unit : exponent of 2
        coefficients : (k,) of the approximation in the orthonormal polynomials, divided by 2^unit
        values : or (m,) values of another polynomial at the points, divided by 2^unit

        Returns
        -------
        (m,) array

        Notes
        -----
        Cost: k operations on arrays of m numbers, and f at the points; no products.
        """
        m, e, defined = f.tried(x)
        total, combined, exponent = self._polynomials(x, coefficients)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            exact = np.ldexp(m, np.clip(e - unit - exponent, -2000, 2000))
            if values is not None:
                combined = np.ldexp(values, -np.minimum(exponent, 2000))
            errors = np.abs(exact - combined) / np.sqrt(total)
        return np.where(defined, np.where(np.isnan(errors), np.inf, errors), 0.0)

    def _polynomials(self, x: np.ndarray, c: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """sum p_j^2 and sum c_j p_j at the points, divided by 4^exponent and 2^exponent."""
        x = np.ldexp(x, -self._unit)
        alpha, beta = self._alpha, self._beta
        before, p, work = np.zeros(x.size), np.ones(x.size), np.empty(x.size)
        total, combined = np.zeros(x.size), np.zeros(x.size)
        exponent = np.zeros(x.size, dtype=np.int64)
        reach, bound, coupling = float(np.abs(x).max(initial=0.0)), 1.0, 0.0
        for j in range(alpha.size):
            total += np.multiply(p, p, out=work)
            if c is not None:
                combined += np.multiply(p, c[j], out=work)
            np.subtract(x, alpha[j], out=work)
            work *= p
            before *= coupling
            work -= before
            work *= 1.0 / beta[j]
            before, p, work = p, work, before
            bound *= (reach + abs(alpha[j]) + coupling) / beta[j]  # of p: most steps need no look at it
            coupling = beta[j]
            if bound > _BIG:
                large = np.abs(p) > _LARGE
                down = np.where(large, 2.0**-_SHIFT, 1.0)
                for array in (p, before, combined, total, total):
                    array *= down
                exponent += np.where(large, _SHIFT, 0)
                bound = max(1.0, float(np.abs(p).max(initial=0.0)), float(np.abs(before).max(initial=0.0)))
        return total + p * p, combined, exponent


def gap_points(theta: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points between neighbours, denser next to them where they have converged, and the number of the gap of each.

    >>> x, gap = gap_points(np.array([0.0, 1.0]), np.array([1e-3, 1e-3]))
    >>> x.size, bool(x.min() > 0), bool(x.max() < 1), set(gap.tolist())
    (11, True, True, {0})
    """
    low, high, width = theta[:-1], theta[1:], np.diff(theta)
    x, gap = [(low[:, None] + width[:, None] * _IN_GAP).ravel()], [np.repeat(np.arange(width.size), _IN_GAP.size)]
    for radius, start, sign in ((radii[:-1], low, 1.0), (radii[1:], high, -1.0)):
        near = np.flatnonzero(radius < width / 8)
        x.append((start[near, None] + sign * radius[near, None] * _IN_RADII).ravel())
        gap.append(np.repeat(near, _IN_RADII.size))
    return np.concatenate(x), np.concatenate(gap)


def tail_points(end: float, radius: float, limit: float) -> np.ndarray:
    """Points from an extreme Ritz value on to a limit beyond it, dense next to it.

    >>> float(tail_points(1.0, 1e-3, 2.0).max())
    2.0
    """
    length = abs(limit - end)
    if not length > 0:
        return np.zeros(0)
    first = min(radius / 4, length / 2) if radius > 0 else 1e-8 * length
    steps = np.concatenate([np.geomspace(first, length, 24), length * np.linspace(0.1, 0.9, 9)])
    steps[23] = length
    return end + np.copysign(steps, limit - end)
