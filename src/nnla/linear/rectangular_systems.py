"""One dense system or a batch of them, checked and in units of moderate size: what the regularisers work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from nnla.errors import DTypeError, NonFiniteError, NotConvergedError, OptionError, ShapeError
from nnla.operators.validation import asarray, require_real

__all__ = [
    "DenseSystems",
    "Regularised",
    "checked_solution",
    "dense_systems",
    "right_hand_sides",
    "row_numbers",
    "stacked_svd",
]

_WORK = 2**31  # operations of a chunk, about a second: between two chunks Ctrl-C is heard


@dataclass(frozen=True, eq=False)
class Regularised:
    """A regularised solution, or a batch of them, and the parameter that it was made with.

    Attributes
    ----------
    x : (n,) or (B, n) float64
    parameter : lambda of Tikhonov's method (inf for x = 0), k of the truncated ones (integers), for total least squares
        the smallest singular value of [A, weight b], in the units of A; a number, or (B,)
    method : "tikhonov", "tsvd", "tls" or "ttls"
    choice : "given" or a rule of `nnla.linear.parameter_choice.CHOICES`
    residual_norm : ||b - A x|| of this x; a number, or (B,)
    solution_norm : ||x||; a number, or (B,)
    attained : the rule has found what it looks for; a bool, or (B,). False: the noise level is below what any x
        reaches, the L-curve has no corner, or a solution of (truncated) total least squares does not exist and that
        of the next problem which has one is given
    """

    x: np.ndarray
    parameter: Any
    method: str
    choice: str
    residual_norm: Any
    solution_norm: Any
    attained: Any


@dataclass(frozen=True, eq=False)
class DenseSystems:
    """Matrices in units in which their largest entry lies in [1/2, 1).

    Attributes
    ----------
    A : (B, m, n)
    exponents : (B,) of the powers of two that A was divided by; 0 for a zero matrix
    single : one system, not a batch
    """

    A: np.ndarray
    exponents: np.ndarray
    single: bool

    def answer(
        self,
        b: np.ndarray,
        b_exponents: np.ndarray,
        x: np.ndarray,
        parameter: np.ndarray,
        attained: np.ndarray,
        method: str,
        choice: str,
    ) -> Regularised:
        """The result in the user's units; `parameter` is so already.

        Raises
        ------
        NonFiniteError
            The solution, or what is left of it, is beyond the range of float64.
        """
        shift = b_exponents - self.exponents
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            size = np.abs(x).max(axis=1)
            unscaled = np.ldexp(x, shift[:, None])
            reached = np.abs(unscaled).max(axis=1)
            if not np.all(np.isfinite(reached)) or np.any((size > 0) & (reached < np.finfo(float).tiny)):
                raise NonFiniteError(
                    "the solution leaves the range of float64 (2.2e-308 to 1.8e308): multiply A or b by a power of two"
                )
            safe = np.where(size > 0, size, 1.0)  # the squares of x may overflow in these units, too
            solution_norm = np.ldexp(np.linalg.norm(x / safe[:, None], axis=1) * safe, shift)
            residual = b - np.matmul(self.A, x[:, :, None])[:, :, 0]
            residual_norm = np.ldexp(np.linalg.norm(residual, axis=1), b_exponents)
        values = (unscaled, parameter, residual_norm, solution_norm, attained)
        if self.single:
            values = (unscaled[0], *(v[0].item() for v in values[1:]))
        return Regularised(values[0], values[1], method, choice, *values[2:])


def dense_systems(A: Any) -> DenseSystems:
    """A matrix (m, n) or a batch (B, m, n), checked and scaled; a copy.

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, GradientError
    """
    array = asarray(A, "A")
    require_real(array.dtype)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ShapeError(f"A has shape {array.shape}; pass one matrix (m, n) or a batch (B, m, n), not empty")
    array = _finite(array, "A")
    single = array.ndim == 2
    scaled, exponents = _scaled(array[None] if single else array)
    return DenseSystems(scaled, exponents, single)


def right_hand_sides(systems: DenseSystems, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """b as (B, m) in units in which its largest entry lies in [1/2, 1), and the exponents (B,) of these units.

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, GradientError
    """
    count, m, _ = systems.A.shape
    array = asarray(b, "b")
    if array.dtype.kind not in "iuf":
        raise DTypeError(f"b has dtype {array.dtype}; pass real numbers")
    if systems.single:
        if array.shape != (m,):
            raise ShapeError(
                f"b has shape {array.shape} but A is one matrix of {m} rows: pass ({m},), or A[None] for a batch"
            )
        array = array[None]
    elif array.ndim != 2 or array.shape[1] != m or array.shape[0] == 0 or (count not in (1, array.shape[0])):
        wanted = f"({'B' if count == 1 else count}, {m})"
        raise ShapeError(f"b has shape {array.shape} but A has shape {systems.A.shape}: pass b of shape {wanted}")
    return _scaled(_finite(array, "b"))


def checked_solution(x_true: Any, count: int, n: int, single: bool) -> np.ndarray:
    """The true solutions, (count, n).

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError, GradientError
    """
    array = asarray(x_true, "x_true")
    if array.dtype.kind not in "iuf":
        raise DTypeError(f"x_true has dtype {array.dtype}; pass real numbers")
    wanted = (n,) if single else (count, n)
    if array.shape != wanted:
        raise ShapeError(f"x_true has shape {array.shape}, the solutions have {wanted}")
    return _finite(array, "x_true").reshape(count, n)


def row_numbers(
    value: Any, name: str, count: int, *, whole_up_to: int | None = None, infinite: bool = False
) -> np.ndarray:
    """Numbers of at least 0, one for all systems or one for each, as (count,); integers up to `whole_up_to` if given.

    Raises
    ------
    OptionError, DTypeError, ShapeError, GradientError
    """
    array = asarray(value, name)
    kinds = "iu" if whole_up_to is not None else "iuf"
    if array.dtype.kind not in kinds:
        raise OptionError(f"{name} must be {'an integer' if kinds == 'iu' else 'a real number'}, got {str(value)[:60]}")
    if array.shape not in ((), (1,), (count,)):
        raise ShapeError(f"{name} has shape {array.shape}: pass one number, or {count}, one for each system")
    array = np.broadcast_to(array, (count,))
    top = whole_up_to if whole_up_to is not None else np.inf if infinite else np.finfo(float).max
    if not np.all((array >= 0) & (array <= top)):
        limits = (
            f"from 0 to {whole_up_to}" if whole_up_to is not None else "at least 0" + " and finite" * (not infinite)
        )
        raise OptionError(f"{name} must be {limits}, got {str(value)[:60]}")
    return array.astype(np.int64 if whole_up_to is not None else np.float64)


def stacked_svd(A: np.ndarray, full_rows: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular value decompositions of a batch: U (B, m, r), s (B, r), V' (B, r, n); V' square if `full_rows`.

    Raises
    ------
    NotConvergedError
        LAPACK's two algorithms both failed.
    """
    m, n = A.shape[1:]
    step = max(1, _WORK // (20 * max(m, n) * min(m, n) ** 2 + 1))
    square = full_rows and m < n

    def one_by_one(part: np.ndarray) -> list[tuple[Any, ...]]:
        try:
            return [scipy.linalg.svd(a, full_matrices=square, lapack_driver="gesvd") for a in part]
        except np.linalg.LinAlgError as error:
            raise NotConvergedError(
                f"the singular value decomposition failed ({error}); scale A's rows alike"
            ) from error

    parts: list[Any] = []
    for start in range(0, A.shape[0], step):
        part = A[start : start + step]
        try:
            parts.append(np.linalg.svd(part, full_matrices=square))
        except np.linalg.LinAlgError:  # rare, and not for good: QR iterations converge where divide and conquer did not
            parts.append(tuple(np.stack(which) for which in zip(*one_by_one(part), strict=True)))
    if len(parts) == 1:
        U, s, Vt = parts[0]
    else:
        U, s, Vt = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return U, s, Vt


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = np.asarray(array, dtype=np.float64)
    if not np.all(np.isfinite(array)):
        raise NonFiniteError(f"{name} contains NaN or Inf; repair it first")
    return array


def _scaled(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each item divided by a power of two: its largest entry lies in [1/2, 1); and the exponents."""
    size = np.abs(array).max(axis=tuple(range(1, array.ndim)))
    exponents = np.frexp(size)[1]
    with np.errstate(under="ignore"):
        return np.ldexp(array, -exponents.reshape(-1, *(1,) * (array.ndim - 1))), exponents
