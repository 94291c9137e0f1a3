"""The scalar functions behind f(A): their names, where they are defined, and how a user's own is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import DTypeError, NonFiniteError, NotPositiveDefiniteError, OptionError, ShapeError

__all__ = ["FUNCTIONS", "ScalarFunction", "scalar_function"]

_ROUNDING = 64 * np.finfo(float).eps  # relative to the largest eigenvalue: zero, as far as float64 can tell


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
    """

    name: str
    call: Callable[[np.ndarray], Any]
    definite: bool = False
    zero: bool = True
    nonzero: bool = False
    jump: float | None = None

    @property
    def singular(self) -> bool:
        """Whether f or a derivative of it is singular at 0, so that eigenvalues next to it matter."""
        return self.definite or self.jump == 0.0

    def __call__(self, x: Any) -> np.ndarray:
        """f at an array of points inside the domain.

        Raises
        ------
        NonFiniteError, DTypeError, ShapeError
            What f gives is not finite, not real, or of another shape.
        """
        x = np.asarray(x, dtype=np.float64)
        with np.errstate(all="ignore"):
            value = np.asarray(self.call(x))
        if value.dtype.kind not in "biuf":
            raise DTypeError(f"f = {self.name} gives {value.dtype} for real arguments; nnla needs real values")
        if value.shape != x.shape:
            raise ShapeError(f"f = {self.name} gives shape {value.shape} for arguments of shape {x.shape}")
        value = value.astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(value))
        if bad.size:
            at = float(x.ravel()[bad[0]])
            raise NonFiniteError(
                f"f = {self.name} is {float(value.ravel()[bad[0]])} at {at:.6g}, which is an eigenvalue of A or near "
                "one; f must be finite on the spectrum"
            )
        return value

    def unresolved(self, theta: np.ndarray, weights: np.ndarray, residuals: np.ndarray) -> float:
        """Share of ||v|| that may lie on the other side of a jump: there no change warns of what Lanczos has not seen.

        Parameters
        ----------
        theta, weights, residuals : (k,) Gauss rule and residual norms
        """
        if self.jump is None:
            return 0.0
        return 2.0 * float(np.sqrt(weights[np.abs(theta - self.jump) < residuals].sum()))

    def rounding(self, theta: np.ndarray, weights: np.ndarray) -> float:
        """Relative error of f(A) v that float64 leaves to any method: eigenvalues are known to eps ||A|| only.

        Parameters
        ----------
        theta, weights : (k,) eigenvalues or Ritz values and squared components of v
        """
        largest = float(np.abs(theta).max())
        exact = self.on_spectrum(theta, largest)
        moved = theta + 4 * np.finfo(float).eps * largest
        change = self.on_spectrum(moved, largest) - exact if self.jump is None else np.zeros_like(theta)
        size = float(np.sqrt(weights @ exact**2))
        if not size > 0:
            return 0.0
        largest_value = float(np.abs(exact).max()) * float(np.sqrt(weights.sum()))
        return float(np.sqrt(weights @ change**2)) / size + 4 * np.finfo(float).eps * largest_value / size

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
        if low < -floor:
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
    return ScalarFunction(name, _vectorised(f))


def _vectorised(f: Callable[..., Any]) -> Callable[[np.ndarray], Any]:
    def call(x: np.ndarray) -> Any:
        try:
            value = np.asarray(f(x))
            if value.shape == x.shape:
                return value
        except (TypeError, ValueError):  # math.sqrt of an array, or `if x > 0` on one
            pass
        return np.array([f(float(t)) for t in x.ravel()]).reshape(x.shape)

    return call
