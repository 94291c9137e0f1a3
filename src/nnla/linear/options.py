"""The options of `nnla.solve`: what they may be, and which of them a method can use at all.

One place, so that the function, the command line and the comparison refuse the same things: an option
that would have no effect is an error, not a silence.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.linear.preconditioner import DEFAULT_DEGREE, PolynomialPreconditioner, precision_of
from nnla.polynomials.design import POLYNOMIAL_METHODS, check_degree, check_engine
from nnla.preconditioners.scalings import SCALINGS
from nnla.registry import load
from nnla.types import Kind

__all__ = ["METHODS", "Options", "check_numbers", "check_usable", "usable"]

METHODS = ("auto", *POLYNOMIAL_METHODS, "jacobi", "cg", "fcg", "ic", "amg", "direct")
_LEARNED = ("auto", "autospec", "autospec-tail", "autospec-paper")
_TAKE_M = ("auto", "cg", "fcg", *POLYNOMIAL_METHODS)


@dataclass(frozen=True)
class Options:
    """What a solve was asked for, checked.

    Attributes
    ----------
    method, M, scaling, probe_steps, engine : as in `nnla.solve`, the engine loaded
    degree : of the polynomial
    precision : name of the dtype inside a polynomial, None for the best
    kind : of M, once that is known
    deterministic : no clock may decide anything
    """

    method: str
    M: Any = None
    degree: int = DEFAULT_DEGREE
    scaling: Any = "auto"
    probe_steps: int | None = None
    engine: Any = None
    precision: str | None = None
    kind: Kind = Kind.LINEAR_SPD
    deterministic: bool = False

    @property
    def iteration(self) -> str:
        """The method; where "auto" is to work with an M, the CG that its kind asks for."""
        if self.method != "auto" or self.M is None:
            return self.method
        return "cg" if self.kind is Kind.LINEAR_SPD else "fcg"

    @classmethod
    def checked(
        cls,
        method: str,
        *,
        M: Any,
        degree: Any,
        scaling: Any,
        probe_steps: Any,
        engine: Any,
        dtype: Any,
        deterministic: Any = False,
    ) -> Options:
        """The options as they were given, or the error that names what is wrong with them.

        Raises
        ------
        OptionError, WeightsError
        """
        if not isinstance(method, str):
            raise OptionError(f"method must be one of {', '.join(METHODS)}, got a {type(method).__name__}")
        if isinstance(engine, (str, os.PathLike)):
            engine = load(engine)  # the user's own weights: a bad file is an error, needed or not
        given: dict[str, Any] = {"degree": degree, "scaling": scaling, "probe_steps": probe_steps}
        given |= {"engine": engine, "dtype": dtype}
        check_usable(method, **given, M=M, made=isinstance(M, PolynomialPreconditioner))
        if not isinstance(deterministic, (bool, np.bool_)):
            raise OptionError(f"deterministic must be True or False, got {deterministic!r}")
        degree = DEFAULT_DEGREE if degree is None else int(degree)
        steps = None if probe_steps is None else int(probe_steps)
        precision = None if dtype is None else precision_of(dtype)
        return cls(method, M, degree, scaling, steps, engine, precision, deterministic=bool(deterministic))


def check_numbers(rtol: Any, atol: Any = 0.0, maxiter: Any = None, timeout: Any = None, callback: Any = None) -> None:
    """Tolerances and limits of a solve, and whom it calls.

    Raises
    ------
    OptionError
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        plain = value.item() if isinstance(value, np.generic) else value  # float32 cannot be compared with the limit
        if not number or not 0 <= plain <= sys.float_info.max:
            raise OptionError(f"{name} must be a finite number >= 0, got {value!r}")
    if maxiter is not None and (not _whole(maxiter) or maxiter < 0):
        raise OptionError(f"maxiter must be a non-negative integer or None, got {maxiter!r}")
    number = isinstance(timeout, (int, float, np.integer, np.floating)) and not isinstance(timeout, bool)
    if timeout is not None and not (number and timeout >= 0 and (timeout <= 1e9 or timeout == np.inf)):
        raise OptionError(f"timeout must be a number of seconds >= 0 or None, got {timeout!r}")
    if callback is not None and not callable(callback):
        raise OptionError(f"callback must be a function of the iterate or None, got a {type(callback).__name__}")


def check_usable(
    method: str,
    *,
    degree: Any = None,
    scaling: Any = "auto",
    probe_steps: Any = None,
    engine: Any = None,
    dtype: Any = None,
    M: Any = None,
    made: bool = False,
) -> None:
    """Refuse unknown methods, values out of range, and options that this method would ignore.

    Parameters
    ----------
    method, degree, scaling, probe_steps, engine, dtype, M : as in `nnla.solve`, the engine loaded
    made : M is a `nnla.preconditioner`, which has its own polynomial, scaling and probe

    Raises
    ------
    OptionError
        With what to leave out or to use instead.
    """
    if method not in METHODS:
        raise OptionError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
    if degree is not None:
        check_degree(degree)
    if isinstance(scaling, str) and scaling not in ("auto", *SCALINGS):
        raise OptionError(f"unknown scaling {scaling!r}; choose from auto, {', '.join(SCALINGS)}")
    if probe_steps is not None and (not _whole(probe_steps) or probe_steps < 1):
        raise OptionError(f"probe_steps must be a positive integer, got {probe_steps!r}")
    if M is not None and method not in _TAKE_M:
        raise OptionError(f"M has no effect on method={method!r}; leave it out, or use method='cg' with M")
    given = {"degree": degree, "scaling": scaling, "probe_steps": probe_steps, "engine": engine, "dtype": dtype}
    polynomial = method in POLYNOMIAL_METHODS and not made
    chooses = method == "auto" and M is None
    for name, value in given.items():
        if value is None or (name == "scaling" and isinstance(value, str) and value == "auto"):
            continue
        shown = f"{name}={value!r}" if isinstance(value, (str, int)) else name
        if made:
            raise OptionError(f"{shown} has no effect beside a given nnla.preconditioner; pass it to that instead")
        if name == "scaling" and chooses:
            raise OptionError(
                f"{shown} has no effect on method='auto', which chooses its own scaling; leave it out, or "
                "name a polynomial method such as 'autospec'"
            )
        if not (polynomial or chooses):
            also = f" or method={value!r}" if name == "scaling" and value in ("jacobi", "ic") else ""
            raise OptionError(
                f"{shown} is for polynomial methods and has no effect on method={method!r}; leave it out, or "
                f"use method='autospec'{also}"
            )
        if name == "scaling" and M is not None:
            raise OptionError(f"{shown} has no effect beside M, which takes its place; leave one of them out")
        if name == "engine" and method not in _LEARNED:
            raise OptionError(f"engine has no effect on method={method!r}; leave it out, or use method='autospec'")
        if name == "engine":
            check_engine(engine, method)


def usable(method: str, *, degree: Any = None, scaling: Any = "auto") -> dict[str, Any]:
    """Those of the options meant for a whole comparison that this one method can use.

    Examples
    --------
    >>> usable("cg", degree=7, scaling="ic"), usable("auto", degree=7, scaling="ic")
    ({}, {'degree': 7})
    """
    if method in POLYNOMIAL_METHODS:
        return {"degree": degree, "scaling": scaling}
    return {"degree": degree} if method == "auto" else {}


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
