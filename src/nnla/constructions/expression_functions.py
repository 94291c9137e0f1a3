"""Functions of symbolic matrices and vectors."""

from __future__ import annotations

from fractions import Fraction

from nnla.constructions.expressions import LAST, ONES, Expression, bilinear, dot, local, moved, units
from nnla.errors import OptionError, ShapeError

__all__ = ["diag", "norm", "outer", "permute_columns", "row_sums", "sqrt", "within"]


def norm(a: Expression) -> Expression:
    """Euclidean norm of a vector."""
    return sqrt(dot(a, a))


def sqrt(a: Expression) -> Expression:
    """Square root, entry by entry; zero of what is not positive."""
    return local("sqrt", (a,), a, a.unit ** Fraction(1, 2))


def outer(a: Expression, b: Expression) -> Expression:
    """a b', a matrix.

    Raises
    ------
    ShapeError : arguments that are no vectors
    """
    if a.kind != "vector" or b.kind != "vector":
        raise ShapeError(f"{a!r} and {b!r} have no outer product; give two vectors")
    b = moved(b, "across")
    if a.place == "last":
        return bilinear(a, LAST, b, "matrix", b.length, "across")
    if a.length != b.length:
        raise ShapeError(f"{a!r} and {b!r} lie across the same tokens and must be as long")
    return bilinear(units(a.length), a, b, "matrix", b.length, "across")


def diag(A: Expression) -> Expression:
    """Diagonal of a square matrix, across the tokens: local, as each token knows its position.

    Raises
    ------
    ShapeError : a matrix that is not square
    """
    if A.kind != "matrix" or A.rows != A.length:
        raise ShapeError(f"{A!r} has no diagonal; give a square matrix")
    return Expression("diag", (A,), "vector", 1, A.length, "across", A.unit)


def row_sums(A: Expression) -> Expression:
    """Sum of a matrix's columns, a vector in the last token: all scores are one, so that the sum is as exact for any A.

    Raises
    ------
    ShapeError : no matrix
    """
    if A.kind != "matrix":
        raise ShapeError(f"{A!r} has no rows to sum; give a matrix")
    return bilinear(A, ONES, LAST, "vector", A.rows, "last")


def permute_columns(A: Expression, order: tuple[int, ...]) -> Expression:
    """Columns of a matrix in another order, ``A[:, order]``; of a vector across the tokens, its entries.

    Raises
    ------
    OptionError : an order that is no permutation
    """
    if sorted(order) != list(range(A.length)) or A.place != "across":
        raise OptionError(f"order={order!r} permutes no {A.length} columns; give each of 0..{A.length - 1} once")
    moved = units(A.length, tuple(int(i) for i in order))
    return bilinear(A, units(A.length), moved, A.kind, A.length, "across")


def within(a: Expression, largest: float, smallest: float | None = None) -> Expression:
    """The same, with a promise on its entries, in the prompt's units: what real ReLU networks are made for.

    Parameters
    ----------
    a : of one token: not a product that attention computes, of which the rows' own bound is known
    largest : no entry is larger in modulus
    smallest : as a denominator, it is positive and not smaller; `ReLUDomain` otherwise

    Notes
    -----
    Exact pointwise maps leave it out of account. Networks follow bounds through all operations; where an algorithm
    guarantees more than its formulas show (residuals that do not grow), this is the place to say so.
    """
    for value in (largest, smallest):
        if value is not None and not (isinstance(value, (int, float)) and 0 < value < 1e100):
            raise OptionError(f"{value!r} bounds nothing; give positive numbers")
    return Expression("within", (a,), a.kind, a.rows, a.length, a.place, a.unit, (float(largest), smallest))
