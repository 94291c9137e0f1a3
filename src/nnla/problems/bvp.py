"""Boundary value problems in spectral form: families of dense, ill-conditioned systems for learning, in batches.

On (-1, 1) with u(-1) = u(1) = 0:

==============  ==================================  ====================================================
``equation``                                        what varies
==============  ==================================  ====================================================
``diffusion``   -(kappa u')' = f                    kappa = 1 + a sin(omega pi x)
``reaction``    -(kappa u')' + c(x) u = f           and c, constant in an interval, else 0
``advection``   -(kappa u')' + v u' = f             and v, constant, of either sign
``rough``       -(kappa u')' = f                    kappa = exp of a Gaussian process of 30 modes and more
``mapped``      -(kappa u')' = f                    the same, and the points: x = x(xi), dx/dxi = g > 0 random
==============  ==================================  ====================================================

The first three are those of the Algebraformer paper, which gives the form of kappa and f but not the laws of their
parameters; those here are stated in `bvp_systems`. In ``rough`` a few principal components do not describe A, but A is
linear in kappa still: 66 numbers do. In ``mapped`` it is linear in nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Self

import numpy as np

from nnla.errors import OptionError

__all__ = ["EQUATIONS", "BVPSystems", "bvp_systems", "chebyshev_points", "differentiation_matrix"]

EQUATIONS = ("diffusion", "reaction", "advection", "rough", "mapped")
BOUNDARIES = ("interior", "rows")
LARGEST = 1024  # unknowns; conditions of 1e10 and more lie beyond

# Laws of the parameters. The frequency is any real number: a network that is right there is right at whole ones.
AMPLITUDE = (0.0, 0.9)
FREQUENCY = (0.5, 5.5)
REACTION = (0.0, 20.0)
VELOCITY = (-10.0, 10.0)
SOURCE_LENGTH = (0.15, 0.6)  # of the field in f, of an interval of length 2
SOURCE_DEVIATION = (0.2, 1.0)
ROUGH_LENGTH = 0.15
ROUGH_DEVIATION = 0.5
MODES = 64  # of a field, of each parity


@dataclass(frozen=True, eq=False)
class BVPSystems:
    """A batch of systems A x = b and what they were made of.

    Attributes
    ----------
    A : (B, n, n) float64
    b, x : (B, n) right-hand sides and solutions (LU in float64)
    points : (n,) where x lives
    equation, boundary : as asked for
    kappa : (B, p) on all points of the grid, ends included, `grid`
    f, c : (B, p) source and reaction coefficient there
    v : (B,) velocity
    g : (B, p) derivative of the place with respect to the coordinate that the grid is one of; 1 but for "mapped"
    grid : (p,) points from 1 down to -1
    """

    A: np.ndarray
    b: np.ndarray
    x: np.ndarray
    points: np.ndarray
    equation: str
    boundary: str
    kappa: np.ndarray
    f: np.ndarray
    c: np.ndarray
    v: np.ndarray
    g: np.ndarray
    grid: np.ndarray

    @property
    def n(self) -> int:
        """Unknowns."""
        return self.A.shape[-1]

    def __len__(self) -> int:
        return len(self.A)

    def __getitem__(self, part: slice | np.ndarray) -> Self:
        """Some of the systems, as a batch."""
        batched = {"A", "b", "x", "kappa", "f", "c", "v", "g"}
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(**{name: value[part] if name in batched else value for name, value in values.items()})


def chebyshev_points(N: int) -> np.ndarray:
    """The N + 1 Chebyshev-Gauss-Lobatto points cos(j pi / N), from 1 down to -1.

    Examples
    --------
    >>> chebyshev_points(2).round(12).tolist()
    [1.0, 0.0, -1.0]
    """
    return np.sin(np.pi * np.arange(N, -N - 1, -2) / (2 * N))  # symmetric to the last bit


@lru_cache(maxsize=128)
def differentiation_matrix(N: int) -> np.ndarray:
    """D, (N + 1, N + 1): derivatives at the Chebyshev points of the polynomial through values there; read-only.

    Notes
    -----
    The diagonal is the negative sum of the other entries of a row, so that constants have derivative 0 to rounding.

    Cost: N^2 operations, once in a process.

    References
    ----------
    Trefethen, Spectral Methods in MATLAB (2000), chapter 6; Algebraformer, appendix C.

    Examples
    --------
    >>> x = chebyshev_points(8)
    >>> bool(np.allclose(differentiation_matrix(8) @ x**3, 3 * x**2))
    True
    """
    x = chebyshev_points(N)
    c = np.ones(N + 1)
    c[[0, -1]] = 2.0
    c *= (-1.0) ** np.arange(N + 1)
    # differences of cosines as products of sines: no cancellation
    angle = np.pi * np.arange(N + 1) / (2 * N)
    gaps = 2 * np.sin(angle[:, None] + angle) * np.sin(angle - angle[:, None])
    np.fill_diagonal(gaps, 1.0)
    D = np.outer(c, 1 / c) / gaps
    np.fill_diagonal(D, 0.0)
    np.fill_diagonal(D, -D.sum(axis=1))
    assert x.shape == (N + 1,)
    D.setflags(write=False)
    return D


def bvp_systems(
    count: int,
    *,
    equation: str = "diffusion",
    n: int = 64,
    boundary: str = "interior",
    seed: int | list[int] | np.random.Generator = 0,
) -> BVPSystems:
    """``count`` random systems of a family.

    Parameters
    ----------
    count : systems
    equation : "diffusion", "reaction", "advection", "rough" or "mapped"
    n : unknowns
    boundary : "interior": the n interior points of a grid of n + 2. "rows": all n points of the grid, the first and
        the last row of A replaced by those of the identity, b = 0 there; worse conditioned by an order of magnitude
    seed : of NumPy's generator, or one; the first systems of a larger count are not those of a smaller one

    Returns
    -------
    BVPSystems

    Raises
    ------
    OptionError
        Impossible sizes or an unknown name.

    Notes
    -----
    * kappa = 1 + a sin(omega pi x), a ~ U(0, .9), omega ~ U(.5, 5.5), real. "rough": log kappa is a Gaussian process of
      mean 0, standard deviation .5, Matern 3/2 with length .15. "mapped": log g as well, g scaled to mean 1.
    * f = (1 - s) + s w, s ~ U(0, 1), w = exp(h) / mean(exp(h)) with h a squared-exponential process of length
      U(.15, .6) and deviation U(.2, 1): unit mean over the points.
    * c = c0 ~ U(0, 20) between two uniform points, else 0. v ~ U(-10, 10).
    * A = -diag(1 / g) D diag(kappa / g) D + diag(c) + v D, as the collocation method has it.
      The condition is about 4e5 at n = 64 ("interior").

    Cost: 3 n^3 operations a system: about 50 microseconds at n = 64.

    References
    ----------
    Algebraformer, equations (5) to (7) and appendices C to E.

    Examples
    --------
    >>> systems = bvp_systems(3, equation="advection", n=16)
    >>> systems.A.shape, bool(np.allclose(np.einsum("bij,bj->bi", systems.A, systems.x), systems.b))
    ((3, 16, 16), True)
    """
    _check(count, equation, n, boundary)
    rng = np.random.default_rng(seed)
    N = n + 1 if boundary == "interior" else n - 1
    D, grid = differentiation_matrix(N), chebyshev_points(N)
    g = np.ones((count, N + 1))
    if equation in ("rough", "mapped"):
        kappa = _rough(rng, grid, count)
        if equation == "mapped":
            g = _rough(rng, grid, count)
            g /= g.mean(axis=1, keepdims=True)
    else:
        a, omega = rng.uniform(*AMPLITUDE, (count, 1)), rng.uniform(*FREQUENCY, (count, 1))
        kappa = 1 + a * np.sin(omega * np.pi * grid)
    h = _field(rng, grid, rng.uniform(*SOURCE_LENGTH, count)) * rng.uniform(*SOURCE_DEVIATION, (count, 1))
    field = np.exp(h)
    share = rng.random((count, 1))
    f = (1 - share) + share * field / field.mean(axis=1, keepdims=True)
    c, v = np.zeros_like(kappa), np.zeros(count)
    if equation == "reaction":
        ends = np.sort(rng.uniform(-1, 1, (count, 2, 1)), axis=1)
        c = rng.uniform(*REACTION, (count, 1)) * ((grid >= ends[:, 0]) & (grid <= ends[:, 1]))
    if equation == "advection":
        v = rng.uniform(*VELOCITY, count)

    A = (D * (-kappa / g)[:, None, :]) @ D / g[:, :, None] + v[:, None, None] * D
    diagonal = np.arange(N + 1)
    A[:, diagonal, diagonal] += c
    if boundary == "interior":
        inner = slice(1, -1)
        A, b = np.ascontiguousarray(A[:, inner, inner]), f[:, inner].copy()
    else:
        inner = slice(None)
        A[:, [0, -1]] = np.eye(N + 1)[[0, -1]]
        b = f.copy()
        b[:, [0, -1]] = 0.0
    x = np.linalg.solve(A, b[..., None])[..., 0]
    return BVPSystems(A, b, x, grid[inner], equation, boundary, kappa, f, c, v, g, grid)


def _rough(rng: np.random.Generator, grid: np.ndarray, count: int) -> np.ndarray:
    """Positive random fields of many modes, (count, p)."""
    return np.exp(ROUGH_DEVIATION * _field(rng, grid, np.full(count, ROUGH_LENGTH), matern=True))


def _field(rng: np.random.Generator, grid: np.ndarray, length: np.ndarray, *, matern: bool = False) -> np.ndarray:
    """Gaussian processes of unit variance and given lengths (B,) at points of [-1, 1], (B, p): the sum of the waves of
    an interval of length 4, so that the ends of this one do not know of each other."""
    frequency = np.arange(MODES + 1) * np.pi / 2
    scaled = frequency * length[:, None]
    weight = (3 + scaled**2) ** -2 if matern else np.exp(-(scaled**2) / 2)
    weight[:, 0] /= 2
    weight = np.sqrt(weight / weight.sum(axis=1, keepdims=True))
    even, odd = rng.standard_normal((2, *weight.shape)) * weight
    return even @ np.cos(frequency[:, None] * grid) + odd @ np.sin(frequency[:, None] * grid)


def _check(count: Any, equation: Any, n: Any, boundary: Any) -> None:
    for name, value, least, most in (("count", count, 1, 10**7), ("n", n, 3, LARGEST)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
            raise OptionError(f"{name}={value!r} has to be a whole number from {least} to {most}")
    for name, value, known in (("equation", equation, EQUATIONS), ("boundary", boundary, BOUNDARIES)):
        if value not in known:
            raise OptionError(f"{name}={value!r} is not known; use {' or '.join(map(repr, known))}")
