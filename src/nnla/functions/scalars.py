"""The scalar functions behind f(A): their names, where they are defined, and how a user's own is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnla.errors import DTypeError, NonFiniteError, NotPositiveDefiniteError, OptionError, ShapeError

__all__ = ["FUNCTIONS", "ScalarFunction", "balanced", "rms", "scalar_function"]

_EPS = float(np.finfo(float).eps)
_ROUNDING = 64 * _EPS  # relative to the largest eigenvalue: zero, as far as float64 can tell
_LOG2 = float(np.log(2.0))
_FEWEST = -100_000  # exponent that stands for zero


@dataclass(frozen=True)
class ScalarFunction:
    """f on the real line, with its domain.

    Attributes
    ----------
    name : "inv_sqrt", ..., or the name of the user's function
    call : array (...,) -> array (...,)
    definite : whether f is defined for positive (or, with `zero`, non-negative) numbers only
    zero : whether f(0) is defined
    nonzero : whether f has no zero on its domain, so that errors are measured point by point relative to f
    jump : where f jumps from -1 to 1, or None
    clip : share of the largest eigenvalue by which rounding may have made a zero eigenvalue negative, see `rounded`
    """

    name: str
    call: Callable[[np.ndarray], Any]
    definite: bool = False
    zero: bool = True
    nonzero: bool = False
    jump: float | None = None
    clip: float = 0.0

    def rounded(self, n: int, eps: float) -> ScalarFunction:
        """The same for a matrix of size n that was computed in a precision of ``eps``.

        Forming a semidefinite matrix moves its eigenvalues by up to n eps ||A||: a covariance of float32 has negative
        ones of that size. Where f(0) is defined they count as zero.

        Parameters
        ----------
        n : size of the matrix
        eps : relative precision of its entries

        References
        ----------
        Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), section 3.5: |fl(XY) - XY| <=
        n eps |X||Y|.
        """
        return replace(self, clip=n * eps) if self.definite and self.zero else self

    @property
    def unbounded(self) -> bool:
        """Whether f may be so large beyond what a vector shows that components of 1e-16 count: exp, and unknown f."""
        return self == FUNCTIONS["exp"] or not (self.definite or self.jump is not None)

    @property
    def singular(self) -> bool:
        """Whether f or a derivative of it is singular at 0, so that eigenvalues next to it matter."""
        return self.definite or self.jump == 0.0

    def __call__(self, x: Any) -> np.ndarray:
        """f at an array of points inside the domain.

        Raises
        ------
        NonFiniteError, DTypeError, ShapeError, OptionError
            What f gives is not finite, not real, or of another shape, or f raises.
        """
        x = np.asarray(x, dtype=np.float64)
        value = self._called(x)
        bad = np.flatnonzero(~np.isfinite(value))
        if bad.size:
            at = float(x.ravel()[bad[0]])
            raise NonFiniteError(
                f"f = {self.name} is {float(value.ravel()[bad[0]])} at {at:.6g}, which is an eigenvalue of A or near "
                "one; f must be finite on the spectrum"
            )
        return value

    def _called(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            value = np.asarray(self.call(x.copy()))  # a copy: f may work in place
        if value.dtype.kind not in "biuf":
            raise DTypeError(
                f"f = {self.name} gives {value.dtype} for real arguments; nnla needs real values: return a float, or "
                "an array of floats"
            )
        if value.shape != x.shape:
            raise ShapeError(
                f"f = {self.name} gives shape {value.shape} for arguments of shape {x.shape}; return one value a point"
            )
        return value.astype(np.float64)

    def parts(self, theta: np.ndarray, largest: float) -> tuple[np.ndarray, np.ndarray]:
        """f at eigenvalues as m 2^e, m in [1/2, 1) or 0: exp never leaves the range of float64 so.

        Parameters
        ----------
        theta, largest : as of `on_spectrum`, whose errors it raises

        Returns
        -------
        m, e : (k,) floats and integers
        """
        if self != FUNCTIONS["exp"]:
            return _split(self.on_spectrum(theta, largest))
        if not np.all(np.isfinite(theta)):
            raise NonFiniteError("A has eigenvalues beyond the range of float64; rescale A")
        return _exponential(theta)

    def tried(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """f at points that may lie outside of its domain, as `parts`, and at which of them it is defined.

        Notes
        -----
        Cost: f at the points, one by one where it does not take all of them.
        """
        inside = np.isfinite(x)
        if self.definite:
            inside &= x >= 0.0 if self.zero else x > 0.0
        m, e = np.zeros(x.size), np.full(x.size, _FEWEST)
        if self == FUNCTIONS["exp"]:
            m[inside], e[inside] = _exponential(x[inside])
            return m, e, inside
        value = np.full(x.size, np.nan)
        try:
            value[inside] = self._called(x[inside])
        except (DTypeError, ShapeError, OptionError):  # math.log of a negative number, (-1.0) ** 0.5
            for k in np.flatnonzero(inside):
                try:
                    value[k] = self._called(x[k : k + 1])[0]
                except (DTypeError, ShapeError, OptionError):
                    continue
        infinite = inside & np.isinf(value)
        inside &= np.isfinite(value)
        m[inside], e[inside] = _split(value[inside])
        if np.count_nonzero(infinite) > 1:  # an overflow; a pole is hit once at most
            m[infinite], e[infinite] = np.copysign(0.5, value[infinite]), -_FEWEST
            inside = inside | infinite
        return m, e, inside

    def rounding(self, theta: np.ndarray, weights: np.ndarray) -> float:
        """Relative error of f(A) v that float64 leaves to any method: eigenvalues are known to eps ||A|| only.

        Parameters
        ----------
        theta, weights : (k,) eigenvalues or Ritz values and squared components of v
        """
        largest = float(np.abs(theta).max())
        radius = 4 * _EPS * largest
        exact, exponent = balanced(*self.parts(theta, largest))
        weights = weights / max(float(weights.max(initial=0.0)), 1e-300)
        size = rms(weights, exact)
        if not size > 0:
            return 0.0
        if self.jump is None:
            change = np.zeros_like(theta)
            for moved in (theta + radius, theta - radius):
                m, e, defined = self.tried(moved)
                there = np.ldexp(m, np.clip(e - exponent, -2000, 1000))
                change = np.maximum(change, np.where(defined, np.abs(there - exact), 0.0))
        else:  # an exact zero is no accident: on the jump itself f is what NumPy says
            close = (np.abs(theta - self.jump) <= radius) & (theta != self.jump)
            change = np.where(close, 2.0, 0.0)
        digits = 4 * _EPS
        if self != FUNCTIONS["exp"]:  # f itself is so small that float64 has fewer digits of it
            digits += 2.0 ** min(-1074 - exponent, 0)
        noise = digits * float(np.abs(exact).max()) * float(np.sqrt(weights.sum()))
        return rms(weights, change) / size + noise / size

    def on_spectrum(self, theta: np.ndarray, largest: float) -> np.ndarray:
        """f at eigenvalues or Ritz values; what rounding put outside the domain is put back.

        Parameters
        ----------
        theta : (k,) eigenvalues, exact up to rounding
        largest : the largest magnitude in the spectrum, the measure of rounding

        Raises
        ------
        NotPositiveDefiniteError
            A value outside the domain: A is indefinite, or singular where f has a pole.
        """
        if not self.definite:
            return self(theta)
        floor = _ROUNDING * largest
        low = float(theta.min())
        if low < -max(floor, self.clip * largest):
            raise NotPositiveDefiniteError(
                f"A has an eigenvalue at or below {low:.6g}: f = {self.name} needs a positive "
                f"{'semi' if self.zero else ''}definite A; shift A, or take a function defined there (sign, exp)"
            )
        if not self.zero and low <= floor:
            raise NotPositiveDefiniteError(
                f"A is singular to rounding: an eigenvalue is {low:.3g}, the largest {largest:.3g}; f = {self.name} "
                "has a pole at 0; add a ridge, A + lambda I"
            )
        return self(np.maximum(theta, 0.0))


FUNCTIONS: dict[str, ScalarFunction] = {
    "inv_sqrt": ScalarFunction("inv_sqrt", lambda x: 1 / np.sqrt(x), definite=True, zero=False, nonzero=True),
    "sqrt": ScalarFunction("sqrt", np.sqrt, definite=True),
    "inv": ScalarFunction("inv", lambda x: 1 / x, definite=True, zero=False, nonzero=True),
    "log": ScalarFunction("log", np.log, definite=True, zero=False),
    "sign": ScalarFunction("sign", np.sign, jump=0.0),
    "exp": ScalarFunction("exp", np.exp),
}


def scalar_function(f: Any) -> ScalarFunction:
    """A name of `FUNCTIONS`, or any real function of a real number.

    Parameters
    ----------
    f : str, `ScalarFunction` or callable
        A callable is given arrays; one that only takes single numbers is called for each.

    Raises
    ------
    OptionError
        An unknown name, or not callable.

    Examples
    --------
    >>> import math
    >>> scalar_function(lambda x: math.cos(x))(np.zeros(2))
    array([1., 1.])
    """
    if isinstance(f, ScalarFunction):
        return f
    if isinstance(f, str):
        if f not in FUNCTIONS:
            raise OptionError(f"unknown function {f!r}; choose from {', '.join(FUNCTIONS)}, or pass a callable")
        return FUNCTIONS[f]
    if not callable(f):
        raise OptionError(f"f must be a name ({', '.join(FUNCTIONS)}) or a callable, got {type(f).__name__}")
    name = getattr(f, "__name__", type(f).__name__)
    return ScalarFunction(str(name), _vectorised(f, str(name)))


def _vectorised(f: Callable[..., Any], name: str) -> Callable[[np.ndarray], Any]:
    def call(x: np.ndarray) -> Any:
        try:
            value = np.asarray(f(x.copy()))
            if value.shape == x.shape and value.dtype.kind in "biufc":
                return value
        except Exception:  # whatever: math.sqrt of an array, `if x > 0` on one, or a fault that comes up again below
            pass
        return np.array([_number(f, name, float(t)) for t in x.ravel()]).reshape(x.shape)

    return call


def _number(f: Callable[..., Any], name: str, t: float) -> Any:
    """f at one number, a real one."""
    try:
        value = f(t)
    except Exception as error:
        raise OptionError(
            f"f = {name} raises {type(error).__name__} at {t:.6g} ({error}), and does not take an array of points "
            "either; it must give one real number for each eigenvalue"
        ) from error
    if isinstance(value, (float, int, np.floating, np.integer, np.bool_)):
        return float(value)
    given = np.asarray(value)
    if given.size != 1:
        raise ShapeError(
            f"f = {name} gives shape {given.shape} for one number, and for an array of points not one value a point; "
            "it must give one real number for each eigenvalue"
        )
    if given.dtype.kind in "cbiuf":
        return given.reshape(())[()]
    try:
        return float(value)  # a Decimal, a Fraction, a number of many digits
    except (TypeError, ValueError, OverflowError) as error:
        kind = type(value).__name__
        raise DTypeError(f"f = {name} gives a {kind} at {t:.6g}; it must give a real number: return a float") from error


def _split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    m, e = np.frexp(values)
    return m, np.where(m == 0, _FEWEST, e).astype(np.int64)


def _exponential(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """exp(x) as m 2^e; to rounding of x."""
    x = np.clip(x, -6e4, 1e15)  # 2^-86000: as good as zero beside anything
    e = np.floor(x / _LOG2)
    m, more = np.frexp(np.exp(x - e * _LOG2))
    return m, e.astype(np.int64) + more


def balanced(m: np.ndarray, e: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers m 2^e as values of at most 1 and a common exponent of 2; zeros as zeros and 0.

    Examples
    --------
    >>> balanced(np.array([0.5, 0.5]), np.array([2001, 2000]))
    (array([0.5 , 0.25]), 2001)
    """
    common = int(e[m != 0].max()) if np.any(m != 0) else 0
    return np.ldexp(m, np.maximum(e - common, -2000)), common


def rms(weights: np.ndarray, values: np.ndarray) -> float:
    """sqrt(sum w x^2) without overflow or underflow of the squares.

    Examples
    --------
    >>> rms(np.array([0.5, 0.5]), np.array([1e-200, 1e-200]))
    1e-200
    """
    largest = float(np.abs(values).max(initial=0.0))
    if not 0 < largest < np.inf:
        return largest
    return largest * float(np.sqrt(weights @ (values / largest) ** 2))
