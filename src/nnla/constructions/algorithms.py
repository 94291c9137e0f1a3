"""Iterations written in symbols: conjugate gradients, Jacobi, Richardson, Chebyshev, power iteration."""

from __future__ import annotations

from nnla.constructions.compiler import Algorithm
from nnla.constructions.expression_functions import norm, row_sums, within
from nnla.constructions.expressions import dot

# What real networks of conjugate gradients are made for, in units of the norms of A and b: residuals, and curvatures
# d'Ad of a d of norm one. Exact pointwise maps need no such bounds.
_GROWTH, _CURVATURE = 4.0, 2.0**-10

__all__ = ["chebyshev", "conjugate_gradients", "jacobi", "power_iteration", "richardson"]


def conjugate_gradients(n: int, *, normalised: bool = True, residual: float = 2.0**-20) -> Algorithm:
    """Conjugate gradients from x: inputs A, b (and x); states x, r, d.

    Parameters
    ----------
    n : unknowns
    normalised : d is kept at norm one; products of a direction that shrinks as the residual does would drown in
        rounding, as the step c of the heads does not shrink. Without it, the paper's formulas as they stand
    residual : the smallest, relative to b, that real networks are made for; exact maps need no such bound

    Notes
    -----
    With u = d / ||d||, and r'd = r'r as always in CG: alpha d = (r'u / u'Au) u, and
    beta d = (||r_new||^2 / r'u) u. So the norm of d is needed nowhere.

    References
    ----------
    NLAFormer, eq. (25), Lemma 3.2, Theorem 3.1.

    Examples
    --------
    >>> print(conjugate_gradients(20).compile())
    pre 1 layer (4 heads), loop 1 layer (2 heads); prompt 122 x 21
    """
    m = Algorithm(n)
    A = m.matrix("A", symmetric=True)
    b = m.vector("b", across=True)
    x = m.state("x", m.vector("x", unit=b.unit / A.unit))
    start = b.T - A @ x
    r = m.state("r", start)
    d = m.state("d", start / norm(start) if normalised else start)
    w = A @ d
    if normalised:
        along = within(dot(r, d), _GROWTH, residual)
        alpha = along / within(dot(d, w), 1.0, _CURVATURE)
        left = within(r - alpha * w, _GROWTH)
        beta = within(within(dot(left, left), _GROWTH**2) / along, _GROWTH**2)
        direction = left + beta * d
        direction = direction / within(norm(direction), _GROWTH**2, residual)
    else:
        alpha = dot(r, r) / dot(d, w)
        left = r - alpha * w
        direction = left + (dot(left, left) / dot(r, r)) * d
    m.update(x, x + alpha * d)
    m.update(r, left)
    m.update(d, direction)
    return m


def jacobi(n: int) -> Algorithm:
    """Jacobi's iteration, x + D^-1 (b - A x): inputs A, b (and x); states x, r, direction and the inverse diagonal.

    The inverse diagonal is I / A entry by entry, within the tokens, where zero over anything is zero; its sum over the
    tokens moves it to the last one: a stack ``pre`` of two layers. Attention sees a step of norm one.

    Examples
    --------
    >>> print(jacobi(20).compile())
    pre 2 layers (2 + 2 heads), loop 1 layer (2 heads); prompt 181 x 21
    """
    m = Algorithm(n)
    A, b = m.matrix("A", symmetric=True), m.vector("b")
    x = m.state("x", m.vector("x", unit=b.unit / A.unit))
    first, start = row_sums(m.identity() / A), b - A @ x
    inverse = m.state("inverse_diagonal", first)
    r = m.state("r", start)
    u = m.state("direction", first * start / norm(first * start))
    step = inverse * r
    left = r - norm(step) * (A @ u)
    following = inverse * left
    m.update(x, x + step)
    m.update(r, left)
    m.update(u, following / norm(following))
    return m


def richardson(n: int) -> Algorithm:
    """Richardson's iteration, x + omega (b - A x): inputs A, b, omega (and x); states x, r, and r's direction.

    Examples
    --------
    >>> print(richardson(20).compile())
    pre 1 layer (2 heads), loop 1 layer (2 heads); prompt 142 x 21
    """
    m = Algorithm(n)
    A, b = m.matrix("A", symmetric=True), m.vector("b")
    omega = m.scalar("omega", unit=A.unit**-1)
    x = m.state("x", m.vector("x", unit=b.unit / A.unit))
    start = b - A @ x
    r = m.state("r", start)
    u = m.state("direction", start / norm(start))
    left = r - omega * norm(r) * (A @ u)
    m.update(x, x + omega * r)
    m.update(r, left)
    m.update(u, left / norm(left))
    return m


def chebyshev(n: int) -> Algorithm:
    """The Chebyshev semi-iteration on an interval [theta - delta, theta + delta]: inputs A, b, theta, delta (and x).

    States are x, r, the step d and its direction, and the scalar of the recurrence.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, Algorithm 12.1.

    Examples
    --------
    >>> print(chebyshev(20).compile())
    pre 1 layer (2 heads), loop 1 layer (2 heads); prompt 164 x 21
    """
    m = Algorithm(n)
    A, b = m.matrix("A", symmetric=True), m.vector("b")
    theta, delta = m.scalar("theta", unit=A.unit), m.scalar("delta", unit=A.unit)
    x = m.state("x", m.vector("x", unit=b.unit / A.unit))
    start = b - A @ x
    r = m.state("r", start)
    d = m.state("d", start / theta)
    u = m.state("direction", start / norm(start))
    rho = m.state("rho", delta / theta)
    left = r - norm(d) * (A @ u)
    following = 1 / (2 * theta / delta - rho)
    step = following * rho * d + (2 * following / delta) * left
    m.update(x, x + d)
    m.update(r, left)
    m.update(d, step)
    m.update(u, step / norm(step))
    m.update(rho, following)
    return m


def power_iteration(n: int) -> Algorithm:
    """Power iteration: inputs A and v; states v of norm one and its Rayleigh quotient, of the vector before.

    Examples
    --------
    >>> print(power_iteration(20).compile())
    pre 1 layer (2 heads), loop 1 layer (2 heads); prompt 102 x 21
    """
    m = Algorithm(n)
    A = m.matrix("A", symmetric=True)
    start = m.vector("start")
    v = m.state("v", start / norm(start))
    quotient = m.state("quotient", dot(start, A @ start) / dot(start, start))
    w = A @ v
    m.update(v, w / norm(w))
    m.update(quotient, dot(v, w))
    return m
