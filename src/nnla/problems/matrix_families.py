"""Families of small dense matrices that functions of matrices are studied on: seeded, by batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.errors import OptionError

__all__ = ["MATRIX_FAMILIES", "MatrixFamily", "matrix_family"]

LARGEST = 1024  # rows: these matrices come in batches
_MOST = 1e300  # of a scale: twice of it is a number still
_MOST_SQUARED = 1e145  # of one that is squared, and summed over n


@dataclass(frozen=True)
class MatrixFamily:
    """One row of `MATRIX_FAMILIES`.

    Attributes
    ----------
    draw : of a generator, a count, n, and the family's options by keyword
    symmetric : whether its matrices are, with the options left as they are
    about : one line
    """

    draw: Callable[..., np.ndarray]
    symmetric: bool
    about: str

    @property
    def options(self) -> dict[str, Any]:
        """Names of the options, and what they are unless given."""
        parameters = inspect.signature(self.draw).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def matrix_family(name: str, count: int, n: int, *, seed: Any = 0, **options: Any) -> np.ndarray:
    """Draw matrices of a family.

    Parameters
    ----------
    name : one of `MATRIX_FAMILIES`, which says what each is
    count, n : how many, and how many rows; n up to 1,024
    seed : of NumPy's generator, or a generator
    options : of the family. ``scale``: entries are uniform in [-scale, scale], or have that variance (wigner); rates
        and weights lie in [0, scale]. ``symmetric`` of orthogonal, toeplitz, stochastic, circulant and band. ``floor``
        (and ``condition``) of definite: the least eigenvalue (and at most so much more is the largest). ``gap`` of
        gapped: the least eigenvalue in magnitude over the largest. ``width`` of band: diagonals on either side.
        ``reversible`` of rate: detailed balance. ``density``, ``weighted``, ``directed`` of adjacency. ``proper`` of
        orthogonal: rotations alone.

    Returns
    -------
    (count, n, n) float64; symmetric ones are so exactly

    Raises
    ------
    OptionError
        An unknown family or option, counts or sizes that make no matrices, an option outside its range, no seed.

    Notes
    -----
    Cost: orthogonal, definite and gapped need a decomposition of n x n a matrix, the others O(n^2).

    Examples
    --------
    >>> matrix_family("symmetric", 2, 3, seed=1).shape
    (2, 3, 3)
    >>> Q = matrix_family("rate", 4, 3, reversible=True)
    >>> float(abs(Q.sum(axis=-1)).max()) < 1e-15
    True
    """
    if not isinstance(name, str) or name not in MATRIX_FAMILIES:
        raise OptionError(f"unknown family {name!r}: use one of {', '.join(MATRIX_FAMILIES)}")
    family = MATRIX_FAMILIES[name]
    unknown = sorted(set(options) - set(family.options))
    if unknown:
        known = ", ".join(family.options) or "none"
        raise OptionError(f"family {name!r} has no option {unknown[0]!r}; its options: {known}")
    if not (_whole(count) and _whole(n) and count >= 1 and 1 <= n <= LARGEST):
        raise OptionError(f"count={count!r} and n={n!r} make no matrices; give count >= 1 and n from 1 to {LARGEST}")
    for key, value in options.items():
        if isinstance(family.options[key], bool) and not isinstance(value, (bool, np.bool_)):
            raise OptionError(f"{key}={value!r} is neither True nor False; give one of them")
    try:
        rng = np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise OptionError(f"seed={seed!r} is no seed ({error}); give a whole number >= 0, or a generator") from error
    return family.draw(rng, int(count), int(n), **options)


def _whole(x: Any) -> bool:
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)


def _number(name: str, x: Any, low: float = 0.0, high: float = _MOST) -> float:
    """A number of (low, high]."""
    try:
        value = float(x)
    except (TypeError, ValueError):
        value = np.nan
    if not (np.isfinite(value) and low < value <= high):
        raise OptionError(f"{name}={x!r} is out of range; give a number above {low:g}, at most {high:g}")
    return value


def _mirrored(X: np.ndarray) -> np.ndarray:
    """The upper triangle, and its mirror image: exactly symmetric."""
    upper = np.triu(X)
    return upper + np.triu(X, 1).swapaxes(-1, -2)


def _haar(rng: np.random.Generator, count: int, n: int) -> np.ndarray:
    """Orthogonal matrices of the Haar measure: QR of Gaussian ones, R's diagonal made positive."""
    Q, R = np.linalg.qr(rng.standard_normal((count, n, n)))
    signs = np.where(np.diagonal(R, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return Q * signs[:, None, :]


def _with_spectrum(Q: np.ndarray, eigenvalues: np.ndarray) -> np.ndarray:
    return _mirrored((Q * eigenvalues[:, None, :]) @ Q.swapaxes(-1, -2))


def _general(rng: np.random.Generator, count: int, n: int, *, scale: float = 5.0) -> np.ndarray:
    scale = _number("scale", scale)
    return rng.uniform(-scale, scale, (count, n, n))


def _symmetric(rng: np.random.Generator, count: int, n: int, *, scale: float = 5.0) -> np.ndarray:
    return _mirrored(_general(rng, count, n, scale=scale))


def _wigner(rng: np.random.Generator, count: int, n: int, *, scale: float = 5.0) -> np.ndarray:
    deviation = _number("scale", scale) / np.sqrt(3.0)
    A = _mirrored(rng.normal(0.0, deviation, (count, n, n)))
    A[:, np.arange(n), np.arange(n)] *= np.sqrt(2.0)
    return A


def _orthogonal(
    rng: np.random.Generator, count: int, n: int, *, symmetric: bool = False, proper: bool = False
) -> np.ndarray:
    Q = _haar(rng, count, n)
    if symmetric:
        signs = rng.choice([-1.0, 1.0], (count, n))
        if proper:
            signs[:, 0] *= signs.prod(axis=-1)
        return _with_spectrum(Q, signs)
    if proper:
        Q[:, :, 0] *= np.where(np.linalg.det(Q) < 0, -1.0, 1.0)[:, None]
    return Q


def _toeplitz(
    rng: np.random.Generator, count: int, n: int, *, scale: float = 5.0, symmetric: bool = True
) -> np.ndarray:
    scale = _number("scale", scale)
    offset = np.arange(n)[:, None] - np.arange(n)
    diagonals = rng.uniform(-scale, scale, (count, 2 * n - 1))
    return diagonals[:, np.abs(offset) if symmetric else offset + n - 1]


def _hankel(rng: np.random.Generator, count: int, n: int, *, scale: float = 5.0) -> np.ndarray:
    scale = _number("scale", scale)
    return rng.uniform(-scale, scale, (count, 2 * n - 1))[:, np.arange(n)[:, None] + np.arange(n)]


def _circulant(
    rng: np.random.Generator, count: int, n: int, *, scale: float = 5.0, symmetric: bool = True
) -> np.ndarray:
    scale = _number("scale", scale)
    offset = (np.arange(n)[:, None] - np.arange(n)) % n
    return rng.uniform(-scale, scale, (count, n))[:, np.minimum(offset, (n - offset) % n) if symmetric else offset]


def _band(
    rng: np.random.Generator, count: int, n: int, *, scale: float = 5.0, width: int = 1, symmetric: bool = True
) -> np.ndarray:
    if not (_whole(width) and width >= 0):
        raise OptionError(f"width={width!r} is no number of diagonals; give a whole number >= 0")
    A = (_symmetric if symmetric else _general)(rng, count, n, scale=scale)
    return np.where(np.abs(np.arange(n)[:, None] - np.arange(n)) <= width, A, 0.0)


def _stochastic(rng: np.random.Generator, count: int, n: int, *, symmetric: bool = False) -> np.ndarray:
    P = rng.exponential(1.0, (count, n, n))
    P /= P.sum(axis=-1, keepdims=True)
    if symmetric:  # steps that both ends agree on, and staying put for the rest
        P = np.minimum(P, P.swapaxes(-1, -2))
        P[:, np.arange(n), np.arange(n)] = 0.0
        P[:, np.arange(n), np.arange(n)] = 1.0 - P.sum(axis=-1)
    return P


def _definite(
    rng: np.random.Generator,
    count: int,
    n: int,
    *,
    scale: float = 5.0,
    floor: float = 0.1,
    condition: float | None = None,
) -> np.ndarray:
    floor, scale = _number("floor", floor, high=_MOST_SQUARED), _number("scale", scale, high=_MOST_SQUARED)
    if condition is not None:
        condition = _number("condition", condition, np.nextafter(1.0, 0.0), _MOST_SQUARED)
        return _with_spectrum(_haar(rng, count, n), floor * condition ** rng.random((count, n)))
    X = _general(rng, count, n, scale=scale)
    return _mirrored(X @ X.swapaxes(-1, -2) / n) + floor * np.eye(n)


def _gapped(rng: np.random.Generator, count: int, n: int, *, scale: float = 5.0, gap: float = 0.1) -> np.ndarray:
    gap = _number("gap", gap, high=1.0)
    values, Q = np.linalg.eigh(_symmetric(rng, count, n, scale=scale))
    sizes = np.abs(values)
    sizes = gap * sizes.max(axis=-1, keepdims=True) + (1.0 - gap) * sizes
    return _with_spectrum(Q, np.where(values < 0, -sizes, sizes))


def _rate(rng: np.random.Generator, count: int, n: int, *, scale: float = 1.0, reversible: bool = False) -> np.ndarray:
    scale = _number("scale", scale)
    Q = rng.uniform(0.0, scale, (count, n, n))
    if reversible:  # pi_i q_ij = pi_j q_ji: exchange rates, times where one goes
        weights = rng.exponential(1.0, (count, 1, n))
        Q = _mirrored(Q) * (weights / weights.max(axis=-1, keepdims=True))
    Q[:, np.arange(n), np.arange(n)] = 0.0
    Q[:, np.arange(n), np.arange(n)] = -Q.sum(axis=-1)
    return Q


def _adjacency(
    rng: np.random.Generator,
    count: int,
    n: int,
    *,
    density: float = 0.5,
    weighted: bool = False,
    directed: bool = False,
    scale: float = 1.0,
) -> np.ndarray:
    density, scale = _number("density", density, high=1.0), _number("scale", scale)
    there = rng.random((count, n, n)) < density
    A = np.where(there, rng.uniform(0.0, scale, there.shape) if weighted else scale, 0.0)
    A[:, np.arange(n), np.arange(n)] = 0.0
    return A if directed else _mirrored(A)


#: Every family by name.
MATRIX_FAMILIES: dict[str, MatrixFamily] = {
    "symmetric": MatrixFamily(_symmetric, True, "independent entries, uniform in [-scale, scale], mirrored"),
    "general": MatrixFamily(_general, False, "independent entries, uniform in [-scale, scale]"),
    "wigner": MatrixFamily(_wigner, True, "Gaussian orthogonal ensemble: twice the variance on the diagonal"),
    "orthogonal": MatrixFamily(_orthogonal, False, "Haar measure; reflections where symmetric"),
    "toeplitz": MatrixFamily(_toeplitz, True, "constant along diagonals"),
    "hankel": MatrixFamily(_hankel, True, "constant along anti-diagonals"),
    "stochastic": MatrixFamily(_stochastic, False, "not negative, rows sum to one; rows uniform on the simplex"),
    "circulant": MatrixFamily(_circulant, True, "rows are the first one, turned"),
    "band": MatrixFamily(_band, True, "zero beyond `width` diagonals on either side"),
    "definite": MatrixFamily(_definite, True, "X X' / n + floor I; log-uniform eigenvalues where a condition is given"),
    "gapped": MatrixFamily(_gapped, True, "as symmetric, no eigenvalue nearer to 0 than gap times the largest"),
    "rate": MatrixFamily(_rate, False, "generators of Markov chains: off-diagonals >= 0, rows sum to zero"),
    "adjacency": MatrixFamily(_adjacency, True, "graphs: an edge with probability `density`, no loops"),
}
