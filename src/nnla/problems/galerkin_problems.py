"""Hansen's test problems that Galerkin's method discretises: deriv2, phillips, baart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnla.problems.integral_equations import NODES, WEIGHTS, InverseProblem, cells, projection, require_example

__all__ = ["baart", "deriv2", "phillips"]


def deriv2(n: int, example: int = 1) -> InverseProblem:
    """The second derivative by its Green's function: mildly ill-posed, singular values about (pi i)^-2.

    K(s, t) = s (t - 1) for s < t and t (s - 1) else, on [0, 1]; A is symmetric and negative definite; Galerkin, exact.

    Parameters
    ----------
    n : size; even for example 3
    example : 1, f = t; 2, f = exp(t); 3, f = min(t, 1 - t)

    Returns
    -------
    InverseProblem
        b is the projection of g: (s^3 - s) / 6, exp(s) + (1 - e) s - 1, (4 s^3 - 3 s) / 24 mirrored at 1/2.

    Raises
    ------
    OptionError

    Notes
    -----
    Cost: O(n^2).

    References
    ----------
    Delves & Mohamed, Computational Methods for Integral Equations, 1985, p. 310; Hansen, Regularization Tools, Numer.
    Algorithms 6 (1994) 1-35.

    Examples
    --------
    >>> p = deriv2(100)
    >>> float(np.linalg.norm(p.A, 2) * np.pi**2).__round__(3)
    1.0
    """
    require_example(example)
    n, h, edges, t = cells(n, 0.0, 1.0, multiple=2 if example == 3 else 1)
    low, high = np.minimum(t[:, None], t), np.maximum(t[:, None], t)
    A = h * low * (high - 1.0)
    a = edges[:-1]
    np.fill_diagonal(A, h * ((a - 1.0) * (a + h / 3.0) + 2.0 * a * h / 3.0 + h * h / 4.0))
    solution, data = _DERIV2[example - 1]
    return InverseProblem(
        name=f"deriv2({example})",
        A=A,
        b=projection(data, edges),
        x=projection(solution, edges),
        kernel=lambda s, t: np.minimum(s, t) * (np.maximum(s, t) - 1.0),
        solution=solution,
        data=data,
        s=t,
        t=t,
        s_range=(0.0, 1.0),
        t_range=(0.0, 1.0),
        galerkin=True,
        consistent=False,
    )


def phillips(n: int) -> InverseProblem:
    """Phillips' "famous" problem, a convolution with a raised cosine: singular values fall like i^-3.

    With phi(x) = 1 + cos(pi x / 3) for |x| < 3 and 0 else: K(s, t) = phi(s - t), f = phi, on [-6, 6], and
    g(s) = (6 - |s|) (1 + cos(pi s / 3) / 2) + 9 / (2 pi) sin(pi |s| / 3); Galerkin, exact.

    Parameters
    ----------
    n : size, a multiple of 4, so that the ends of phi are ends of cells

    Returns
    -------
    InverseProblem
        b is the projection of g.

    Raises
    ------
    OptionError

    Notes
    -----
    Cost: O(n^2).

    References
    ----------
    Phillips, A technique for the numerical solution of certain integral equations of the first kind, J. ACM 9 (1962)
    84-97; Hansen, Regularization Tools, Numer. Algorithms 6 (1994) 1-35.

    Examples
    --------
    >>> p = phillips(64)
    >>> bool(np.linalg.norm(p.A @ p.x - p.b) < 1e-3 * np.linalg.norm(p.b))
    True
    """
    n, h, edges, t = cells(n, -6.0, 6.0, multiple=4)
    w = math.pi / 3.0
    # (1 / h) * integral of (h - |y|) phi(k h + y) over |y| < h, which for k = n/4 ends at y = 0
    spread = np.sinc(h / 6.0) ** 2
    column = np.zeros(n)
    column[: n // 4] = h * (1.0 + spread * np.cos(w * h * np.arange(n // 4)))
    column[n // 4] = 0.5 * h * (1.0 - spread)
    i = np.arange(n)
    return InverseProblem(
        name="phillips",
        A=column[np.abs(i[:, None] - i)],
        b=projection(_phillips_data, edges),
        x=projection(_raised_cosine, edges),
        kernel=lambda s, t: _raised_cosine(np.subtract(s, t)),
        solution=_raised_cosine,
        data=_phillips_data,
        s=t,
        t=t,
        s_range=(-6.0, 6.0),
        t_range=(-6.0, 6.0),
        galerkin=True,
        consistent=False,
    )


def baart(n: int) -> InverseProblem:
    """Baart's artificial problem: severely ill-posed, singular values fall faster than exponentially.

    K(s, t) = exp(s cos t) for s in [0, pi/2] and t in [0, pi], f = sin t, g = 2 sinh(s) / s; Galerkin, exact.

    Parameters
    ----------
    n : size

    Returns
    -------
    InverseProblem
        b is the projection of g (Regularization Tools take Simpson's rule in t; here it is exact to rounding).

    Raises
    ------
    OptionError

    Notes
    -----
    Cost: O(n^2).

    References
    ----------
    Baart, The use of auto-correlation for pseudo-rank determination in noisy ill-conditioned linear least-squares
    problems, IMA J. Numer. Anal. 2 (1982) 241-247; Hansen, Regularization Tools, Numer. Algorithms 6 (1994) 1-35.

    Examples
    --------
    >>> p = baart(32)
    >>> sigma = np.linalg.svd(p.A, compute_uv=False)
    >>> bool(sigma[8] < 1e-9 * sigma[0])
    True
    """
    n, width, edges, s = cells(n, 0.0, math.pi / 2)
    _, h, t_edges, t = cells(n, 0.0, math.pi)
    A = np.zeros((n, n))
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        c = np.cos(t + 0.5 * h * node)
        small = np.abs(c) < 1e-8  # then sinh(z) / z is 1 to rounding
        z = np.where(small, 1.0, 0.5 * width * c)
        A += weight * np.exp(s[:, None] * c) * np.where(small, 1.0, np.sinh(z) / z)
    A *= 0.5 * math.sqrt(h * width)
    return InverseProblem(
        name="baart",
        A=A,
        b=projection(_baart_data, edges),
        x=projection(np.sin, t_edges),
        kernel=lambda s, t: np.exp(np.multiply(s, np.cos(t))),
        solution=np.sin,
        data=_baart_data,
        s=s,
        t=t,
        s_range=(0.0, math.pi / 2),
        t_range=(0.0, math.pi),
        galerkin=True,
        consistent=False,
    )


# ------------------------------------------------------------------------------------------------------
# Solutions and data


def _deriv2_mirrored(s: ArrayLike) -> Any:
    r = np.minimum(s, np.subtract(1.0, s))
    return (4.0 * r**3 - 3.0 * r) / 24.0


_DERIV2: tuple[tuple[Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    (lambda t: np.asarray(t) * 1.0, lambda s: (np.asarray(s) ** 3 - s) / 6.0),
    (np.exp, lambda s: np.expm1(s) + (1.0 - math.e) * np.asarray(s)),
    (lambda t: np.minimum(t, np.subtract(1.0, t)), _deriv2_mirrored),
)


def _raised_cosine(x: ArrayLike) -> Any:
    return np.where(np.abs(x) < 3.0, 1.0 + np.cos(math.pi / 3.0 * np.asarray(x)), 0.0)


def _phillips_data(s: ArrayLike) -> Any:
    r = np.abs(s)
    w = math.pi / 3.0
    return (6.0 - r) * (1.0 + 0.5 * np.cos(w * r)) + 1.5 / w * np.sin(w * r)


def _baart_data(s: ArrayLike) -> Any:
    s = np.asarray(s)
    safe = np.where(s == 0.0, 1.0, s)
    return np.where(s == 0.0, 2.0, 2.0 * np.sinh(safe) / safe)
