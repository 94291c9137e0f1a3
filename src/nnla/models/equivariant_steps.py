"""The equivariant surrogate at work: programs applied to batches of symmetric matrices.

Every function takes matrices of one kind of program in a layout L, and the coefficients c of each, a list of (B,).
Products of matrices are counted in `nnla.models.equivariant_plans`.
"""

from __future__ import annotations

from typing import Any

from nnla.models.equivariant_layout import Matrices
from nnla.operators.arrays import namespace

__all__ = ["cosine", "even_polynomial", "exponential", "polynomial", "residual", "root_pair", "sign"]

_LENGTH = {3: 2, 5: 3, 9: 5}  # coefficients of a transition of that degree


def residual(L: Matrices, M: Any, n: int) -> Any:
    """||M - I||_F / sqrt(n), (B,), to 1e-8."""
    xp = namespace(M)
    return xp.sqrt(xp.abs(L.dot(M, M) - 2 * L.trace(M) + n) / n)


def sign(L: Matrices, X: Any, kind: tuple[int, ...], c: list[Any], squared: Any = None, fourth: Any = None) -> Any:
    """X by transitions X c(X^2), one after the other.

    Parameters
    ----------
    X : matrices with eigenvalues in the program's interval or its mirror image
    squared, fourth : X^2 and X^4, where they are known
    """
    at = 0
    for degree in kind:
        own, at = c[at : at + _LENGTH[degree]], at + _LENGTH[degree]
        M = L.product(X, X) if squared is None else squared
        X = L.product(X, _factor(L, M, degree, own, fourth))
        squared = fourth = None
    return X


def root_pair(L: Matrices, M: Any, kind: tuple[int, ...], c: list[Any], squared: Any = None) -> tuple[Any, Any]:
    """(M^1/2, M^-1/2) by coupled transitions.

    Parameters
    ----------
    M : matrices, square roots of their eigenvalues in the program's interval
    squared : M^2, where it is known

    References
    ----------
    Higham, Functions of Matrices (2008), theorem 6.9 (every iteration for the sign has a coupled one for roots).
    """
    Y, Z, at = M, None, 0
    for degree in kind:
        own, at = c[at : at + _LENGTH[degree]], at + _LENGTH[degree]
        if Z is not None:
            M = L.product(Z, Y)
        W = _factor(L, M, degree, own, squared)
        Y, Z = L.product(Y, W), W if Z is None else L.product(W, Z)
        squared = None
    return Y, Z


def _factor(L: Matrices, M: Any, degree: int, c: list[Any], squared: Any = None) -> Any:
    """c(M) of one transition, by Paterson and Stockmeyer for degree 9."""
    if degree == 3:
        return L.weighted(c, [M])
    if degree == 5 and squared is None:  # one pass over the entries less
        return L.add_identity(L.product(M, L.weighted(c[1:], [M])), c[0])
    M2 = L.product(M, M) if squared is None else squared
    if degree == 5:
        return L.weighted(c, [M, M2])
    high = L.product(M2, L.weighted(c[2:], [M, M2]))
    high += L.weighted(c[:2], [M])
    return high


def polynomial(L: Matrices, X: Any, X2: Any, X4: Any, degree: int, c: list[Any]) -> Any:
    """Sum of c_k X^k: 5 with one product, a multiple of 4 by Horner's rule in X^4 with degree / 4."""
    if degree == 5:
        total = L.product(X, L.weighted([c[1], c[3], c[5]], [X2, X4]))
        total += L.weighted([c[0], c[2], c[4]], [X2, X4])
        return total
    X3 = L.product(X, X2)
    total = L.weighted([*c[degree - 4 :]], [X, X2, X3, X4])
    for low in range(degree - 8, -1, -4):
        total = L.product(X4, total)
        total += L.weighted(c[low : low + 4], [X, X2, X3])
    return total


def even_polynomial(L: Matrices, Y: Any, Y2: Any, terms: int, c: list[Any]) -> Any:
    """Sum of c_k Y^k of an even degree, by Horner's rule in Y^2: terms / 2 - 1 products."""
    total = L.weighted(c[terms - 2 :], [Y, Y2])
    for low in range(terms - 4, -1, -2):
        total = L.product(Y2, total)
        total += L.weighted(c[low : low + 2], [Y])
    return total


def exponential(L: Matrices, X: Any, X2: Any, X4: Any, kind: tuple[int, ...], c: list[Any]) -> Any:
    """The polynomial, squared as often as the kind says."""
    degree, squares = kind
    E = polynomial(L, X, X2, X4, degree, c)
    for _ in range(squares):
        E = L.product(E, E)
    return E


def cosine(L: Matrices, Y: Any, Y2: Any, kind: tuple[int, ...], c: list[Any]) -> Any:
    """The polynomial in Y = X^2, and double angles, 2 C^2 - I, as often as the kind says."""
    terms, doublings = kind
    C = even_polynomial(L, Y, Y2, terms, c)
    for _ in range(doublings):
        C = L.product(C, C)
        C *= 2.0
        C = L.add_identity(C, -1.0)
    return C
