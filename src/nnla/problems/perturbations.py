"""Noise of known level on dense systems, in batches: laws to train with and laws to be surprised by.

==============  =================================================================  =======================
``law``                                                                            entry's deviation
==============  =================================================================  =======================
``entrywise``   A_ij (1 + level xi_ij), xi standard normal                         level |A_ij|
``normwise``    A_ij + level s xi_ij, s the root mean square of the entries        level s
``coloured``    as entrywise, xi correlated along rows and columns                 level |A_ij|
``heavy``       as entrywise, xi Student t of 3 degrees, unit variance             level |A_ij|
``gain``        A_ij (1 + level p_i) (1 + level q_j), p and q of variance 1/2      level |A_ij|, about
``quantised``   rounded to multiples of a fixed step                               level s, about
``digits``      rounded to a fixed number of significant digits, a fraction of     level |A_ij|, on average
                one allowed
==============  =================================================================  =======================

For a square A of n unknowns s is ||A||_F / n.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from nnla.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from nnla.problems.bvp import BVPSystems

__all__ = ["LAWS", "PARTS", "noise_deviation", "perturbed"]

LAWS = ("entrywise", "normwise", "coloured", "heavy", "gain", "quantised", "digits")
PARTS = ("A", "b", "both")
CORRELATION = 0.9  # of neighbours, "coloured"; it falls to 1/e within ten entries
FREEDOM = 3  # of Student's t: the least whole number with a variance
# Root mean square of 1/m for a mantissa m in [1, 10) whose logarithm is uniform: rounding m to multiples of a step q
# has the relative deviation q / sqrt(12) times this.
MANTISSA = math.sqrt(0.99 / (2 * math.log(10)))


@overload
def perturbed(
    systems: BVPSystems, law: str = ..., level: ArrayLike = ..., *, part: str = ..., seed: Any = ...
) -> BVPSystems: ...
@overload
def perturbed(
    systems: ArrayLike, law: str = ..., level: ArrayLike = ..., *, part: str = ..., seed: Any = ...
) -> np.ndarray: ...
def perturbed(
    systems: BVPSystems | ArrayLike,
    law: str = "entrywise",
    level: ArrayLike = 1e-2,
    *,
    part: str = "A",
    seed: int | list[int] | np.random.Generator = 0,
) -> BVPSystems | np.ndarray:
    """Systems, or matrices, with noise.

    Parameters
    ----------
    systems : `BVPSystems`, or matrices (..., m, n); a right-hand side is a matrix of one column
    law : one of `LAWS`, see the table above
    level : relative, >= 0; one, or one for each system (B,)
    part : of `BVPSystems`, what is perturbed: "A", "b" or "both"; b is a matrix of one column
    seed : of NumPy's generator, or one. With the same seed and law another level scales the same draw

    Returns
    -------
    A new `BVPSystems`, whose x is still the solution *without* noise, or an array; float32 stays float32, integers
    become float64. ``level=0`` gives back equal numbers.

    Raises
    ------
    OptionError, ShapeError, DTypeError, NonFiniteError
        An unknown name, a level that is no level, something else than a batch of real, finite matrices.

    Notes
    -----
    Cost: one pass for the entries and one for the draw; "coloured" (m + n) operations an entry.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.arange(1.0, 5.0).reshape(2, 2)
    >>> perturbed(A, "digits", 0.1).round(3).tolist()
    [[0.747, 2.241], [2.989, 3.736]]
    >>> noisy = perturbed(np.ones((1000, 8, 8)), "heavy", 0.01)
    >>> bool(0.008 < noisy.std() < 0.012)
    True
    """
    for name, value, known in (("law", law, LAWS), ("part", part, PARTS)):
        if value not in known:
            raise OptionError(f"{name}={value!r} is not known; use {' or '.join(map(repr, known))}")
    rng = np.random.default_rng(seed)
    if not isinstance(systems, BVPSystems):
        A = _matrices(systems)
        return _noisy(A, law, _levels(level, A.shape[:-2]), rng)
    levels = _levels(level, (len(systems),))
    changed = {}
    if part != "b":
        changed["A"] = _noisy(_matrices(systems.A), law, levels, rng)
    if part != "A":
        changed["b"] = _noisy(_matrices(systems.b[..., None]), law, levels, rng)[..., 0]
    return dataclasses.replace(systems, **changed)


def noise_deviation(A: ArrayLike, law: str, level: ArrayLike) -> np.ndarray:
    """Standard deviation of the noise in every entry, (..., m, n), by the table above.

    Parameters
    ----------
    A : (..., m, n) without noise; a noisy one gives an estimate
    law : one of `LAWS`
    level : >= 0, one or one for each matrix

    Raises
    ------
    OptionError, ShapeError, DTypeError, NonFiniteError
        As `perturbed`.

    Examples
    --------
    >>> noise_deviation([[3.0, 4.0], [0.0, 0.0]], "normwise", 0.1).tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    if law not in LAWS:
        raise OptionError(f"law={law!r} is not known; use {' or '.join(map(repr, LAWS))}")
    A = _matrices(A)
    size = np.broadcast_to(_root_mean_square(A), A.shape) if law in ("normwise", "quantised") else np.abs(A)
    return _levels(level, A.shape[:-2]).astype(A.dtype) * size


def _noisy(A: np.ndarray, law: str, level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    m, n = A.shape[-2:]
    # Drawn in float64 for every type: the same seed means the same noise.
    match law:
        case "quantised":
            out = _rounded(A, math.sqrt(12) * level * _root_mean_square(A))
        case "digits":
            exponent = np.floor(np.log10(np.abs(A, dtype=np.float64), where=A != 0, out=np.zeros(A.shape)))
            out = _rounded(A, math.sqrt(12) / MANTISSA * level * 10.0**exponent)
        case "normwise":
            out = A + level * _root_mean_square(A) * rng.standard_normal(A.shape)
        case "gain":
            p = rng.standard_normal((*A.shape[:-1], 1))
            q = rng.standard_normal((*A.shape[:-2], 1, n))
            out = A * (1 + level / math.sqrt(2) * p) * (1 + level / math.sqrt(2) * q)
        case _:
            if law == "heavy":
                xi = rng.standard_t(FREEDOM, A.shape) / math.sqrt(FREEDOM / (FREEDOM - 2))
            else:
                xi = rng.standard_normal(A.shape)
            if law == "coloured":
                xi = _correlation_root(m) @ xi @ _correlation_root(n).T
            out = A * (1 + level * xi)
    return out.astype(A.dtype)


def _correlation_root(n: int) -> np.ndarray:
    """L with L L' = CORRELATION^|i - j|: row i is the first draw carried on, and what is new since."""
    gap = np.subtract.outer(np.arange(n), np.arange(n))
    L = np.tril(CORRELATION ** np.abs(gap)) * math.sqrt(1 - CORRELATION**2)
    L[:, 0] = CORRELATION ** np.arange(n)
    return L


def _rounded(A: np.ndarray, step: np.ndarray) -> np.ndarray:
    step = np.broadcast_to(step, A.shape)
    some = step > 0
    return np.where(some, np.rint(A / np.where(some, step, 1.0)) * step, A)


def _root_mean_square(A: np.ndarray) -> np.ndarray:
    """Of the entries of each matrix, (..., 1, 1), whatever its unit."""
    largest = np.abs(A).max(axis=(-2, -1), keepdims=True, initial=0.0)
    unit = np.where(largest > 0, largest, 1)
    return largest * np.sqrt(np.mean(np.square(A / unit, dtype=np.float64), axis=(-2, -1), keepdims=True)).astype(
        A.dtype
    )


def _matrices(A: ArrayLike) -> np.ndarray:
    """As an array of float32 or float64."""
    try:
        array = np.asarray(A)
    except ValueError as error:  # lists of different lengths
        raise ShapeError("matrices of one batch have to be of one size; give one batch for each size") from error
    if array.dtype.kind not in "fiu" or (array.dtype.kind == "f" and array.dtype.itemsize not in (2, 4, 8)):
        raise DTypeError(f"dtype {array.dtype} is not supported; give real numbers as float64 or float32")
    if array.dtype == np.float16:
        raise DTypeError("float16 has less digits than most noise; convert with A.astype('float32')")
    if array.ndim < 2 or 0 in array.shape[-2:]:
        raise ShapeError(f"shape {array.shape} is no batch of matrices (..., m, n); a vector b goes in as b[..., None]")
    array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if not np.isfinite(array).all():
        raise NonFiniteError("NaN or Inf among the entries; remove such systems first")
    return array


def _levels(level: ArrayLike, batch: tuple[int, ...]) -> np.ndarray:
    """(..., 1, 1), float64."""
    try:
        values = np.asarray(level)
    except ValueError as error:
        raise OptionError("level has to be a number or an array of them, one for each system") from error
    if values.dtype.kind not in "fiu" or not (np.isfinite(values).all() and (values >= 0).all()):
        raise OptionError(f"level={level!r} has to be a finite number >= 0, or one for each system")
    if values.ndim and values.shape != batch:
        raise ShapeError(f"{values.shape} levels do not go with a batch of {batch}; give one, or one for each system")
    return values.astype(np.float64)[..., None, None]
