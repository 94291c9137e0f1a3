"""Values that travel between the stages: frozen, plain, JSON in and out."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from nnla._files import number_list, one_line, parsed_object
from nnla.errors import DTypeError, FileFormatError, NonFiniteError, OptionError, ShapeError
from nnla.report import Phase, Report, Status, library_versions, plain_json

__all__ = [
    "Kind",
    "Phase",
    "Problem",
    "Progress",
    "Report",
    "Solution",
    "SpectralProbe",
    "Status",
    "TrainingProgress",
    "library_versions",
    "number_pair",
    "plain_json",
    "real_array",
    "real_number",
    "ritz_margin",
]


# what everything that takes long calls: progress(what, done, total); data and training add a figure or ""
Progress = Callable[[str, int, int], None]
TrainingProgress = Callable[[str, int, int, str], None]


class Kind(enum.StrEnum):
    """What an object bound to an operator may be used for."""

    LINEAR_SPD = "linear-spd"  # may precondition CG
    LINEAR = "linear"  # flexible methods, filters
    NONLINEAR = "nonlinear"  # an initial guess, or inside a flexible solver


@dataclass(frozen=True, eq=False)
class Problem:
    """A linear system with a name: what benchmarks, training and tests pass around.

    Attributes
    ----------
    name : str
    A : matrix (n, n), any kind that `nnla.as_operator` takes
    b, x : arrays (n,) or (n, k), or None
    meta : free-form facts (recipe, seed, source)

    Examples
    --------
    >>> Problem("identity", np.eye(2)).b is None
    True
    """

    name: str
    A: Any
    b: Any = None
    x: Any = None
    meta: dict[str, Any] = field(default_factory=dict[str, Any])


def real_array(value: Any, name: str) -> np.ndarray:
    """A float64 copy of at least one dimension.

    Raises
    ------
    DTypeError
        What is no array of real numbers.

    >>> real_array(2, "x")
    array([2.])
    """
    try:
        array = np.array(value, ndmin=1)
        if array.dtype.kind not in "iufO" and array.size:
            raise TypeError(f"dtype {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DTypeError(f"{name} must be real numbers in one array ({error})") from error


def real_number(value: Any, name: str) -> float:
    """One finite real number as a float.

    Raises
    ------
    OptionError

    >>> real_number(np.float32(2), "x")
    2.0
    """
    scalar = isinstance(value, np.ndarray) and value.ndim == 0
    plain = value.item() if scalar or isinstance(value, np.generic) else value
    if not isinstance(plain, (int, float)) or isinstance(plain, bool) or not abs(plain) < 2**1023:
        raise OptionError(f"{name} must be a finite number, got {str(value)[:60]}")
    return float(plain)


def number_pair(value: Any, name: str) -> tuple[float, float]:
    """Two finite real numbers.

    Raises
    ------
    OptionError

    >>> number_pair([1, 2], "interval")
    (1.0, 2.0)
    """
    if not isinstance(value, (tuple, list, np.ndarray)) or (isinstance(value, np.ndarray) and value.ndim == 0):
        raise OptionError(f"{name} must be a pair of numbers, got {str(value)[:60]}")
    if len(value) != 2:
        raise OptionError(f"{name} must be a pair of numbers, got {len(value)} of them")
    return real_number(value[0], name), real_number(value[1], name)


def ritz_margin(residual: float, size: float) -> float:
    """How far beyond an extreme Ritz value the spectrum is taken to reach: min(residual + 0.005 size, 0.05 size).

    The constant is for eigenvalues that the start hardly contains: without it, one extreme spectrum in a hundred
    exceeds a + b, where an even residual polynomial makes P indefinite; with it, one in six hundred. It costs 0.3 % of
    the iterations.

    Parameters
    ----------
    residual : residual norm of the Ritz pair
    size : magnitude of the spectrum, not negative

    Examples
    --------
    >>> ritz_margin(0.0, 2.0), ritz_margin(1.0, 2.0)
    (0.01, 0.1)
    """
    return min(residual + 0.005 * size, 0.05 * size)


@dataclass(frozen=True, eq=False)
class SpectralProbe:
    """What a short Lanczos run knows of an operator's spectrum.

    Parameters
    ----------
    alpha, beta : (k,) Lanczos coefficients; ``beta[-1]`` couples to step k + 1, 0 if exhausted
    n : int, size of the operator
    scaling : "none", "jacobi" or "ic": which operator was probed, A or B A with B the scaling
    seed : int or None, seed of the random start; None when started from a right-hand side
    products : products with A that it cost
    reductions : (k,) or None: ||r_j|| / ||r_0|| of CG in the user's norm after each step. Where the operator
        is scaled this norm differs from the Krylov space's, and tells what the Gauss weights do not: how
        much of the right-hand side is left in modes that the scaling makes small

    Notes
    -----
    Cost: ``steps`` products where it was made; the Gauss rule, of a tridiagonal matrix, once when it is first asked
    for.

    The Gauss rule of the tridiagonal matrix: `ritz_values` with `ritz_weights` and `ritz_residuals`. No
    basis is stored and nothing is reorthogonalised, so multiple copies of converged extreme values
    can appear; they are harmless and carry the right total weight.

    References
    ----------
    Golub, Meurant, Matrices, Moments and Quadrature with Applications (2010), chapter 6 (the Gauss rule). Parlett, The
    Symmetric Eigenvalue Problem (1998), chapter 13 (residual norms |beta_k s_k|, copies).
    """

    alpha: np.ndarray
    beta: np.ndarray
    n: int
    scaling: str = "none"
    seed: int | None = None
    products: int = 0
    reductions: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("alpha", "beta") if self.reductions is None else ("alpha", "beta", "reductions"):
            value = real_array(getattr(self, name), name)
            if not np.all(np.isfinite(value)):
                raise NonFiniteError(f"the probe's {name} has NaN or Inf; check A for overflow, rescale it")
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        if self.alpha.shape != self.beta.shape or self.alpha.ndim != 1 or self.alpha.size == 0:
            raise ShapeError("a probe needs alpha and beta of one equal length of at least 1")
        if isinstance(self.n, bool) or not isinstance(self.n, (int, np.integer)) or self.n < 1:
            raise ShapeError(f"a probe needs the size n of its operator, a positive integer, got {self.n!r}")
        if not isinstance(self.scaling, str):
            raise DTypeError(f"a probe's scaling is a name such as 'none', got {type(self.scaling).__name__}")
        if self.reductions is not None and self.reductions.shape != self.alpha.shape:
            raise ShapeError("a probe's reductions need the length of alpha")

    @property
    def steps(self) -> int:
        """Lanczos steps k."""
        return self.alpha.size

    @cached_property
    def _gauss(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from scipy.linalg import eigh_tridiagonal

        theta, S = eigh_tridiagonal(self.alpha, self.beta[:-1])
        return theta, S[0] ** 2, np.abs(self.beta[-1] * S[-1])

    @property
    def ritz_values(self) -> np.ndarray:
        """(k,) Ritz values, increasing."""
        return self._gauss[0]

    @property
    def ritz_weights(self) -> np.ndarray:
        """(k,) Gauss weights; they sum to 1."""
        return self._gauss[1]

    @property
    def ritz_residuals(self) -> np.ndarray:
        """(k,) residual norms of the Ritz pairs: an eigenvalue lies within each of them."""
        return self._gauss[2]

    @cached_property
    def krylov_reductions(self) -> np.ndarray:
        """(k,) residual reductions of CG in the Krylov space's own norm, from T = L D L'."""
        pivot, total = float(self.alpha[0]), 0.0
        out = np.empty(self.steps)
        tiny = 1e-14 * abs(float(self.alpha[0]))
        for j in range(self.steps):
            total += np.log(max(float(self.beta[j]), 1e-300)) - np.log(max(abs(pivot), tiny, 1e-320))
            out[j] = total
            if j + 1 < self.steps:
                coupling = float(self.beta[j])
                pivot = float(self.alpha[j + 1]) - coupling * (coupling / max(abs(pivot), tiny, 1e-320))
        return np.exp(np.clip(out, -690.0, 690.0))

    @property
    def lambda_max(self) -> float:
        """Largest Ritz value, a lower bound of the largest eigenvalue."""
        return float(self.ritz_values[-1])

    @property
    def lambda_min(self) -> float:
        """Smallest Ritz value, an upper bound of the smallest eigenvalue."""
        return float(self.ritz_values[0])

    @property
    def upper_bound(self) -> float:
        """b = lambda_max + `ritz_margin`: covers the top that Lanczos has not reached."""
        top = self.lambda_max
        return top + ritz_margin(float(self.ritz_residuals[-1]), abs(top))

    @property
    def exhausted(self) -> bool:
        """Whether the Krylov space ended: the Ritz values are eigenvalues, and CG has converged."""
        return bool(self.beta[-1] <= 1e-13 * abs(self.lambda_max))

    @property
    def definite(self) -> bool:
        """Whether all Ritz values are positive, beyond what rounding explains."""
        return bool(self.lambda_min > -1e-13 * abs(self.lambda_max)) and self.lambda_max > 0

    def to_json(self) -> str:
        """JSON object with the coefficients and, for readers, the Gauss rule."""
        rule = {
            "ritz_values": self.ritz_values.tolist(),
            "ritz_weights": self.ritz_weights.tolist(),
            "ritz_residuals": self.ritz_residuals.tolist(),
        }
        data = {"alpha": self.alpha.tolist(), "beta": self.beta.tolist(), "n": self.n, "steps": self.steps}
        data |= {"scaling": self.scaling, "seed": self.seed, "products": self.products}
        data["reductions"] = None if self.reductions is None else self.reductions.tolist()
        data |= {"upper_bound": self.upper_bound, "definite": self.definite}
        return json.dumps({"format": "nnla-probe", "version": 1, **data, **rule})

    @classmethod
    def from_json(cls, text: str) -> SpectralProbe:
        """Inverse of `to_json`; a malformed text raises `FileFormatError`."""
        try:
            data = parsed_object(text)
            if data["format"] != "nnla-probe" or type(data["version"]) is not int or data["version"] != 1:
                raise FileFormatError("not an nnla probe of version 1; write one with to_json()")
            alpha, beta = number_list(data["alpha"]), number_list(data["beta"])
            # files written before the reductions were kept do not have them
            reductions = data.get("reductions")
            n, scaling, seed, products = (data[key] for key in ("n", "scaling", "seed", "products"))
            whole = [n, products] if seed is None else [n, products, seed]
            if not isinstance(scaling, str) or any(type(value) is not int or value < 0 for value in whole):
                raise ValueError("n, products, seed or scaling is of another type")
            found = None if reductions is None else np.array(number_list(reductions))
            return cls(np.array(alpha), np.array(beta), n, scaling, seed, products, found)
        except FileFormatError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"this is not a probe in JSON ({one_line(error)}); write one with to_json()"
            ) from error


@dataclass(frozen=True, eq=False)
class Solution:
    """x and the report on it; unpacks as ``x, report = nnla.solve(A, b)``."""

    x: Any
    report: Report

    def __iter__(self) -> Iterator[Any]:
        yield self.x
        yield self.report
