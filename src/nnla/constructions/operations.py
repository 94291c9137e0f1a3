"""The ten operations of the NLAFormer paper's Theorem 2.1, on the prompts of the paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnla.constructions.compiler import Algorithm
from nnla.constructions.expression_functions import outer, permute_columns
from nnla.constructions.expressions import keep
from nnla.constructions.program import Program
from nnla.errors import OptionError

__all__ = ["OPERATIONS", "operation"]


def _pointwise(of: Callable[[Any, Any], Any], one_unit: bool = False) -> Callable[[int], Algorithm]:
    def make(n: int) -> Algorithm:
        m = Algorithm(n)
        a = m.vector("a", across=True)
        b = m.vector("b", across=True, unit=a.unit if one_unit else None)  # only what has one unit has a sum
        m.output("d", of(a, b))
        return m

    return make


def _column_shift(n: int) -> Algorithm:
    m = Algorithm(2)
    X = m.matrix("X", rows=n)
    m.output("X", permute_columns(X, (1, 0)))
    return m


def _row_shift(n: int) -> Algorithm:
    m = Algorithm(n)
    a = m.vector("a", across=True)
    b = m.vector("b", across=True, unit=a.unit)
    m.output("a", b)
    m.output("b", a)
    return m


def _vector_transpose(n: int) -> Algorithm:
    m = Algorithm(n)
    m.output("y", m.vector("a", across=True).T)
    return m


def _two_rows(of: Callable[[Any, Any], Any]) -> Callable[[int], Algorithm]:
    def make(n: int) -> Algorithm:
        m = Algorithm(n)
        m.output("y", of(m.vector("a", across=True), m.vector("b", across=True)))
        return m

    return make


def _transpose(n: int) -> Algorithm:
    m = Algorithm(n)
    A = m.matrix("A")
    m.output("A", A.T)
    return m


def _two_matrices(of: Callable[[Any, Any], Any]) -> Callable[[int], Algorithm]:
    def make(n: int) -> Algorithm:
        m = Algorithm(n)
        m.output("Y", of(m.matrix("A"), m.matrix("B")))
        return m

    return make


def _matrix_vector(of: Callable[[Any, Any], Any]) -> Callable[[int], Algorithm]:
    def make(n: int) -> Algorithm:
        m = Algorithm(n)
        m.output("y", of(m.matrix("A"), m.vector("b", across=True)))
        return m

    return make


OPERATIONS: dict[str, Callable[[int], Algorithm]] = {
    "add": _pointwise(lambda a, b: a + b, one_unit=True),
    "subtract": _pointwise(lambda a, b: a - b, one_unit=True),
    "multiply": _pointwise(lambda a, b: a * b),
    "divide": _pointwise(lambda a, b: a / b),
    "column_shift": _column_shift,
    "row_shift": _row_shift,
    "vector_transpose": _vector_transpose,
    "inner": _two_rows(lambda a, b: a @ b),
    "outer": _two_rows(outer),
    "transpose": _transpose,
    "AtB": _two_matrices(lambda A, B: A.T @ B),
    "AB": _two_matrices(lambda A, B: keep(A.T).T @ B),
    "Ab": _matrix_vector(lambda A, b: A @ b.T),
    "AB_one_layer": _two_matrices(lambda A, B: A @ B),
    "Ab_one_layer": _matrix_vector(lambda A, b: A @ b),
}
"""Name -> algorithm for n. ``AB`` and ``Ab`` are the paper's, of two layers; attention can do both in one."""


def operation(name: str, n: int, **options: Any) -> Program:
    """A compiled operation of Theorem 2.1.

    Parameters
    ----------
    name : of `OPERATIONS`. Pointwise ones take vectors a, b and give d; ``column_shift`` swaps the two columns of X,
        (n, 2); ``row_shift`` swaps a and b; ``vector_transpose`` takes a row a, ``inner`` and ``outer`` rows a and b,
        ``transpose`` a matrix A, which it replaces, ``AtB`` and ``AB`` matrices A and B, ``Ab`` a matrix and a row b
    n : size
    **options : of `Algorithm.compile`

    Returns
    -------
    Program

    Raises
    ------
    OptionError : an unknown name

    Notes
    -----
    A bilinear term of attention is V (K' Q). Its values may be A itself, with positions as keys: A (E' B) = A B, so
    that no transposition, and no second layer, is needed (``AB_one_layer``, ``Ab_one_layer``).

    Cost: weights of heads * rows^2 numbers; rows = O(n).

    References
    ----------
    NLAFormer, Theorem 2.1, eqs. (2) to (11).

    Examples
    --------
    >>> import numpy as np
    >>> A, B = np.eye(3), np.arange(9.0).reshape(3, 3)
    >>> program = operation("AtB", 3)
    >>> print(program)
    pre 1 layer (2 heads); prompt 13 x 4
    >>> program.run(A=A, B=B)["Y"].round(6).tolist()
    [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]
    """
    if not isinstance(name, str) or name not in OPERATIONS:
        raise OptionError(f"no operation {name!r}; there are {', '.join(OPERATIONS)}")
    return OPERATIONS[name](n).compile(**options)
