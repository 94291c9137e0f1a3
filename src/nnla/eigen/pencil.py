"""The pencil A v = lambda M v of one call: in good units, with A and M exchanged for buckling, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.eigen.iteration import multiply
from nnla.eigen.units import in_good_units, unscaled_values
from nnla.eigen.wanted import Wanted
from nnla.errors import NNLAError, NonFiniteError, OptionError, ShapeError
from nnla.operators.numpy_space import Products
from nnla.operators.operator import Operator, as_operator
from nnla.operators.validation import asarray

__all__ = ["Apply", "Pencil", "inverse", "make_pencil", "mass_operator"]

_NEAR = 40  # the largest entries of A and M are between 2 to this power and its inverse

Apply = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pencil:
    """``op v = x mass v``: that of the user in other units and, for buckling, with A and M exchanged.

    Attributes
    ----------
    op, mass : A and M, or M and A if ``exchanged``; ``mass`` is definite, or None for the identity
    wanted : which x, sigma in these units
    units : even e and f; A is 2^e times the operator here, M 2^f times
    solve : the inverse of ``op - shift mass``, if the user has given one
    mass_solve : that of ``mass``, if so
    """

    op: Operator
    mass: Operator | None
    wanted: Wanted
    units: tuple[int, int]
    solve: Apply | None = None
    mass_solve: Apply | None = None

    @property
    def exchanged(self) -> bool:
        return self.wanted.exchanged

    @property
    def stored(self) -> bool:
        """Whether the entries of both are there to be factored."""
        return self.op.csr is not None and (self.mass is None or self.mass.csr is not None)

    @property
    def indefinite(self) -> str:
        """What an indefinite ``mass`` is refused with."""
        if self.exchanged:
            return "mode='buckling' needs a positive definite A, and this one is indefinite; use mode='normal'"
        return "M is indefinite; where A is definite, mode='buckling' with a sigma takes it, else there is no way here"

    def mass_times(self, V: np.ndarray) -> np.ndarray:
        """M V, for vectors or blocks. Cost: a product with M a column."""
        return V if self.mass is None else multiply(self.mass, V)

    def residuals(self, x: np.ndarray, V: np.ndarray) -> np.ndarray:
        """``||op v - x mass v||_2 / ||v||_2`` of each pair. Cost: a product with either a column."""
        V = np.ascontiguousarray(V)
        R = multiply(self.op, V) - x * self.mass_times(V)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.linalg.norm(R, axis=0) / np.linalg.norm(V, axis=0)

    def as_given(self, x: np.ndarray, V: np.ndarray, residuals: np.ndarray) -> tuple[np.ndarray, ...]:
        """The pairs of A v = lambda M v in the user's units, by increasing lambda; residuals in units of 2^e.

        Raises
        ------
        NonFiniteError
            An eigenvalue is beyond float64.
        OptionError
            An eigenvalue is infinite: there are fewer than k that are not.
        """
        e, f = self.units
        if not self.exchanged:
            w = unscaled_values(x, e - f)
            # what the values lose where float64 ends is missing from the pairs
            lost = np.abs(np.ldexp(w, f - e) - x) if e != f else np.zeros(x.shape)
            scale = 0 if self.mass is None else f // 2
            return w, np.ldexp(V, -scale) if scale else V, residuals + lost
        infinite = np.abs(x) <= 4 * np.finfo(np.float64).eps * np.abs(x).max(initial=0.0)
        if infinite.any():
            raise OptionError(
                f"only {np.count_nonzero(~infinite)} of the {x.size} eigenvalues asked for are finite: M is singular; "
                "ask for fewer, k=, or for others by which="
            )
        inner = 1.0 / x
        order = np.argsort(inner, kind="stable")
        w = unscaled_values(inner[order], e - f)
        return w, np.ldexp(V[:, order], -(e // 2)), (residuals * np.abs(inner))[order]


def mass_operator(M: Any, n: int) -> Operator:
    """M as an `Operator` of order n, not yet known to be definite.

    Raises
    ------
    The errors of `nnla.as_operator`, that say they are of M; ShapeError for another order.
    """
    try:
        mass = as_operator(M, definite=False)
    except NNLAError as error:
        raise type(error)(f"the mass matrix M, here A: {error}") from error
    if mass.n != n:
        raise ShapeError(f"M has shape {mass.shape}, and A is {n}x{n}; both must have the same order")
    return mass


def inverse(given: Any, n: int, name: str) -> Apply:
    """A user's inverse (matrix, array, ``LinearOperator``, anything with ``@``) as a function of vectors and blocks.

    Raises
    ------
    ShapeError, DTypeError
        It is no (n, n) operator of real numbers; the function raises NonFiniteError for NaN or Inf in a result.
    """
    if not sp.issparse(given) and not all(hasattr(given, part) for part in ("shape", "__matmul__")):
        given = asarray(given, name)
    elif isinstance(given, np.ndarray):
        given = np.asarray(asarray(given, name))
    shape = tuple(given.shape)
    if shape != (n, n):
        raise ShapeError(f"{name} has shape {shape}, and A is {n}x{n}; pass a matrix or an operator of that shape")
    products = Products(given, n, name)

    def solve(b: np.ndarray) -> np.ndarray:
        x = products @ b
        if not np.all(np.isfinite(x)):
            raise NonFiniteError(f"{name} @ b contains NaN or Inf for a finite b; is A - sigma M singular?")
        return x

    return solve


def make_pencil(A: Operator, M: Operator | None, wanted: Wanted, OPinv: Any, Minv: Any) -> Pencil:
    """The pencil in units in which both matrices are about 1, where that is not so already.

    Raises
    ------
    OptionError
        A sigma that these units cannot hold.
    """
    if M is None:
        (op, e), mass, f = in_good_units(A), None, 0
    else:  # the eigenvalues have the unit of a quotient, and their inverses are squared
        (op, e), (mass, f) = in_good_units(A, _NEAR), in_good_units(M, _NEAR)
    if wanted.exchanged and mass is None:
        mass = as_operator(sp.eye_array(A.n, format="csr"), definite=False)
    if e or f:
        wanted = _in_units(wanted, f - e)
    solve = mass_solve = None
    if OPinv is not None:
        # (2^-e A - 2^(f-e) sigma 2^-f M)^-1 = 2^e OPinv, and (M - A / s)^-1 = -s (A - s M)^-1
        factor = -float(wanted.sigma or 0.0) if wanted.exchanged else 1.0
        solve = _times(inverse(OPinv, A.n, "OPinv"), factor, e)
    if Minv is not None:
        mass_solve = _times(inverse(Minv, A.n, "Minv"), 1.0, f)
    if wanted.exchanged:
        op, mass = mass, op
        assert op is not None
    return Pencil(op, mass, wanted, (e, f), solve, mass_solve)


def _in_units(wanted: Wanted, power: int) -> Wanted:
    if not wanted.sigma:
        return wanted
    try:
        sigma = math.ldexp(wanted.sigma, power)
    except OverflowError:
        sigma = math.inf
    if not 1e-300 < abs(sigma) < 1e300:
        raise OptionError(
            f"sigma = {wanted.sigma:.3g} is beyond comparison with A; use which='SA' or 'LA' without sigma, or sigma=0"
        )
    return Wanted(wanted.which, wanted.k, sigma, wanted.mode)


def _times(solve: Apply, factor: float, power: int) -> Apply:
    if factor == 1.0 and power == 0:
        return solve
    return lambda b: np.ldexp(factor * solve(b), power)
