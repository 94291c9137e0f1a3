"""Symbolic matrices, vectors and scalars: what an algorithm is written in before it becomes a transformer.

An expression knows its size, the place where a prompt holds it, and its unit. Two kinds of operation follow from what a
layer can do: *bilinear* ones, V (K' Q), which attention computes across tokens, and *local* ones, which its network
computes within each token.

Places: ``"across"``: a row of the prompt, one entry in each token (a matrix: one column in each token); ``"last"``: a
column within the last token; ``"constant"``: a number that is part of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from nnla.errors import OptionError, ShapeError

__all__ = ["LAST", "ONES", "Expression", "Unit", "bilinear", "dot", "keep", "leaf", "local", "moved", "units"]

Kind = Literal["matrix", "vector", "scalar"]
Place = Literal["across", "last", "constant"]


@dataclass(frozen=True)
class Unit:
    """A product of powers of inputs' units.

    Examples
    --------
    >>> b, A = Unit((("b", Fraction(1)),)), Unit((("A", Fraction(1)),))
    >>> str(b / A), str((b * b) ** Fraction(1, 2)), str(A / A)
    ('A^-1 b', 'b', '1')
    """

    powers: tuple[tuple[str, Fraction], ...] = ()

    def __mul__(self, other: Unit) -> Unit:
        powers = dict(self.powers)
        for name, power in other.powers:
            powers[name] = powers.get(name, Fraction(0)) + power
        return Unit(tuple(sorted((name, power) for name, power in powers.items() if power)))

    def __pow__(self, power: Fraction | int) -> Unit:
        return Unit(tuple((name, p * power) for name, p in self.powers if p * power))

    def __truediv__(self, other: Unit) -> Unit:
        return self * other**-1

    def __str__(self) -> str:
        return " ".join(name + ("" if p == 1 else f"^{p}") for name, p in self.powers) or "1"


@dataclass(frozen=True, eq=False, repr=False)
class Expression:
    """A node of the graph that an algorithm is compiled from. Made by an `Algorithm` and by operators, not directly.

    ``+ - * /`` act entry by entry (a scalar times anything is allowed), ``@`` is every product, ``.T`` the transpose:
    of a vector, it moves it between a row across the tokens and a column in the last token.

    Attributes
    ----------
    op, args, data : what makes it, of what, and with which numbers
    kind : "matrix", "vector" or "scalar"
    rows, length : rows of a prompt that hold it; entries of a vector, columns of a matrix, or 1
    place, unit : where it lies, and in which unit
    """

    op: str
    args: tuple[Expression, ...]
    kind: Kind
    rows: int
    length: int
    place: Place
    unit: Unit = field(default_factory=Unit)
    data: Any = None

    __array_ufunc__ = None  # so that a NumPy scalar leaves the product to us

    def __repr__(self) -> str:
        size = {"matrix": f"{self.rows} x {self.length}", "vector": str(self.length), "scalar": ""}[self.kind]
        return f"<{self.kind} {size} {self.place}, {self.op}>".replace("  ", " ")

    # ------------------------------------------------------------------------------------------ entry by entry
    def __add__(self, other: Any) -> Expression:
        return _add(self, _expression(other))

    def __radd__(self, other: Any) -> Expression:
        return _add(_expression(other), self)

    def __neg__(self) -> Expression:
        return scaled(self, -1.0)

    def __sub__(self, other: Any) -> Expression:
        return _add(self, -_expression(other))

    def __rsub__(self, other: Any) -> Expression:
        return _add(_expression(other), -self)

    def __mul__(self, other: Any) -> Expression:
        return _times("mul", self, _expression(other))

    def __rmul__(self, other: Any) -> Expression:
        return _times("mul", _expression(other), self)

    def __truediv__(self, other: Any) -> Expression:
        return _times("div", self, _expression(other))

    def __rtruediv__(self, other: Any) -> Expression:
        return _times("div", _expression(other), self)

    # ------------------------------------------------------------------------------------------------- products
    def __matmul__(self, other: Any) -> Expression:
        return _product(self, other)

    @property
    def T(self) -> Expression:
        """Transpose of a matrix; a vector in the other place."""
        if self.op in ("bilinear", "transpose") and self.data is not None:
            return self.data  # what this is the transpose of
        if self.kind == "matrix":
            if self.rows != self.length:  # no value on these tokens, but products with it are
                return Expression("transpose", (self,), "matrix", self.length, self.rows, "across", self.unit, self)
            return bilinear(
                units(self.length), self, units(self.length), "matrix", self.length, "across", transpose=self
            )
        if self.kind == "vector" and self.place == "across":
            return bilinear(units(self.length), self, LAST, "vector", self.length, "last", transpose=self)
        if self.kind == "vector":
            return bilinear(LAST, self, units(self.length), "vector", self.length, "across", transpose=self)
        return self


def leaf(op: str, kind: Kind, rows: int, length: int, place: Place, unit: Unit, data: Any = None) -> Expression:
    """An expression that others are made of."""
    return Expression(op, (), kind, rows, length, place, unit, data)


def units(tokens: int, order: tuple[int, ...] | None = None) -> Expression:
    """The unit vectors e_2, ..., e_{n+1} of the position rows, one in each token but the sink, in order or permuted."""
    return leaf("units", "matrix", tokens, tokens, "across", Unit(), order)


LAST = leaf("last", "scalar", 1, 1, "last", Unit())  # one in the last token, zero elsewhere
ONES = leaf("ones", "scalar", 1, 1, "across", Unit())  # one in every token but the sink


def _expression(value: Any) -> Expression:
    if isinstance(value, Expression):
        return value
    try:
        number = float(value) if not isinstance(value, (bool, str, bytes)) else float("nan")
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"{type(value).__name__} is no part of an algorithm; give expressions and numbers") from None
    if not abs(number) < float("inf"):
        raise OptionError(f"{number} cannot be a weight; give finite numbers")
    return leaf("constant", "scalar", 1, 1, "constant", Unit(), number)


def scaled(a: Expression, factor: float) -> Expression:
    """factor * a."""
    if a.op == "constant":
        return _expression(factor * a.data)
    if a.op == "scale":
        return scaled(a.args[0], factor * a.data)
    if factor == 1.0:
        return a
    return Expression("scale", (a,), a.kind, a.rows, a.length, a.place, a.unit, factor)


def moved(a: Expression, place: Place) -> Expression:
    """The same vector or scalar at a place."""
    if a.place in (place, "constant"):
        return a
    if a.kind == "vector":
        return a.T
    if place == "last":  # a scalar in every token: the last one has it
        return Expression("mask", (a,), "scalar", 1, 1, "last", a.unit)
    return bilinear(a, LAST, ONES, "scalar", 1, "across")


def local(op: str, args: tuple[Expression, ...], like: Expression, unit: Unit) -> Expression:
    """A node within each token, of another's shape."""
    return Expression(op, args, like.kind, like.rows, like.length, like.place, unit)


def _together(a: Expression, b: Expression) -> tuple[Expression, Expression]:
    """Both at one place, the last token where they differ."""
    if a.place != b.place and "constant" not in (a.place, b.place):
        return moved(a, "last"), moved(b, "last")
    return a, b


def _add(a: Expression, b: Expression) -> Expression:
    if a.place == b.place == "constant":
        return _expression(a.data + b.data)
    for x, y in ((a, b), (b, a)):
        if x.op == "constant" and x.data == 0.0:
            return y  # zero has every unit and shape
    constant = "constant" in (a.place, b.place)
    if not constant and (a.kind != b.kind or a.length != b.length or (a.kind == "matrix" and a.rows != b.rows)):
        raise ShapeError(f"{a!r} and {b!r} have no sum; bring them to one shape")
    if a.unit != b.unit:
        raise OptionError(
            f"a sum of units {a.unit} and {b.unit}: declare an input with unit=..., so that both sides scale alike"
        )
    a, b = _together(a, b)
    return local("add", (a, b), b if a.place == "constant" else a, a.unit)


def _times(op: str, a: Expression, b: Expression) -> Expression:
    unit = a.unit * b.unit if op == "mul" else a.unit / b.unit
    if a.op == "constant" and b.op == "constant":
        if op == "div" and b.data == 0:
            raise OptionError("a division by the constant zero")
        return _expression(a.data * b.data if op == "mul" else a.data / b.data)
    if b.op == "constant":
        if b.data == 0 and op == "div":
            raise OptionError("a division by the constant zero")
        return scaled(a, b.data if op == "mul" else 1.0 / b.data)
    if a.op == "constant" and op == "mul":
        return scaled(b, a.data)
    if a.kind == b.kind:
        if a.length != b.length or (a.kind == "matrix" and a.rows != b.rows):
            raise ShapeError(f"{a!r} and {b!r} have no product entry by entry; for matrix products write @")
        a, b = _together(a, b)
        return local(op, (a, b), b if a.place == "constant" else a, unit)
    if b.kind == "scalar":
        return local(op, (a, moved(b, a.place)), a, unit)
    if a.kind == "scalar":
        return local(op, (moved(a, b.place), b), b, unit)
    raise ShapeError(f"{a!r} and {b!r} have no product entry by entry; for matrix products write @")


def bilinear(
    V: Expression,
    K: Expression,
    Q: Expression,
    kind: Kind,
    length: int,
    place: Place,
    transpose: Expression | None = None,
) -> Expression:
    """V (K' Q): column j is sum_k v_k (k_k . q_j), over the tokens k but the sink."""
    if K.rows != Q.rows:
        raise ShapeError(f"keys {K!r} and queries {Q!r} have {K.rows} and {Q.rows} entries a token; they must agree")
    return Expression("bilinear", (V, K, Q), kind, V.rows, length, place, V.unit * K.unit * Q.unit, transpose)


def _is_transpose(a: Expression) -> bool:
    return a.op in ("bilinear", "transpose") and a.data is not None and a.kind == "matrix"


def _symmetric(a: Expression) -> bool:
    return a.op == "input" and bool(a.data[1])


def _product(a: Expression, b: Any) -> Expression:
    if not isinstance(b, Expression):
        raise OptionError(f"{type(b).__name__} is no part of an algorithm; declare it as an input")
    if "scalar" in (a.kind, b.kind):
        raise ShapeError(f"{a!r} @ {b!r}: for products with scalars write *")
    if a.kind == "vector" and b.kind == "vector":
        return dot(a, b)
    if a.kind == "vector":
        return _matrix_vector(b.data if _is_transpose(b) else b, a, not _is_transpose(b))
    if b.kind == "vector":
        return _matrix_vector(a.data if _is_transpose(a) else a, b, _is_transpose(a))
    return _matrix_matrix(a, b)


def _matrix_vector(A: Expression, v: Expression, transposed: bool) -> Expression:
    """A v or A' v, in one layer wherever the vector lies."""
    inner = A.rows if transposed else A.length
    if v.length != inner:
        raise ShapeError(f"{A!r} {'transposed ' if transposed else ''}and {v!r}: {inner} entries are needed")
    last = v.place == "last"
    if transposed:
        if last:
            return bilinear(units(A.length), A, v, "vector", A.length, "last")
        if A.rows != A.length:
            raise ShapeError(
                f"{v!r} lies across {v.length} tokens, but is a column of {A!r}; declare it with across=False"
            )
        return bilinear(v, units(A.length), A, "vector", A.length, "across")
    if last and _symmetric(A):
        return bilinear(units(A.length), A, v, "vector", A.length, "last")  # the paper's: one value an entry
    return (
        bilinear(A, units(A.length), v, "vector", A.rows, "last")
        if last
        else bilinear(A, v, LAST, "vector", A.rows, "last")
    )


def _matrix_matrix(a: Expression, b: Expression) -> Expression:
    if _is_transpose(a) and _is_transpose(b):
        a = keep(a)  # A' B' = (A') B': the first is made, in a layer of its own
    if _is_transpose(a):
        A = a.data
        if A.rows != b.rows:
            raise ShapeError(f"{A!r} transposed and {b!r}: both need the same rows")
        return bilinear(units(A.length), A, b, "matrix", b.length, "across")
    if _is_transpose(b):
        B = b.data
        if a.length != B.length or B.rows != B.length:
            raise ShapeError(f"{a!r} and {B!r} transposed: the second must be square, of as many columns as the first")
        return bilinear(a, B, units(B.length), "matrix", B.rows, "across")
    if a.length != b.rows:
        raise ShapeError(f"{a!r} and {b!r}: the second needs {a.length} rows")
    return bilinear(a, units(a.length), b, "matrix", b.length, "across")


def dot(a: Expression, b: Expression) -> Expression:
    """a' b: within the last token where both lie there, else by attention.

    Raises
    ------
    ShapeError : vectors of different lengths
    """
    if a.kind != "vector" or b.kind != "vector" or a.length != b.length:
        raise ShapeError(f"{a!r} and {b!r} have no inner product; give two vectors of one length")
    if a.place == b.place == "last":
        return Expression("dot", (a, b), "scalar", 1, 1, "last", a.unit * b.unit)
    if a.place == b.place:
        return bilinear(b, a, LAST, "scalar", 1, "last")
    across, last = (a, b) if a.place == "across" else (b, a)
    return bilinear(across, units(a.length), last, "scalar", 1, "last")


def keep(a: Expression) -> Expression:
    """The same, stored in rows of its own before anything uses it: what follows takes another layer."""
    return Expression("keep", (a,), a.kind, a.rows, a.length, a.place, a.unit)
