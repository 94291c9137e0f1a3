"""Where to put the shift of an inverse: just beyond the wanted end of a spectrum, or beside a given number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nnla.eigen.shifted import Shifted

__all__ = ["Ends", "Inverse", "beside", "better_shift", "beyond", "first_shift", "near_sigma"]

_SHIFTS = 8  # tried until one is beyond the spectrum
_FAR_SHIFTS = 40  # the same where nothing is known of the spectrum
_TOO_NEAR = 1e2  # times as far from the shift is the last wanted eigenvalue as the first, where that loses digits
_TOO_FAR = 8.0  # times the distance between them is the shift from the first
_EPS = float(np.finfo(np.float64).eps)
_LOSS = 100.0  # times its rounding is what a solve may lose


class Inverse(NamedTuple):
    """F M^-1, F = sign (A - sigma M)^-1 M, whose eigenvalues are theta = sign / (lambda - sigma)."""

    solve: Callable[[np.ndarray], np.ndarray]
    sigma: float
    sign: float

    def values(self, theta: np.ndarray) -> np.ndarray:
        """The eigenvalues lambda of the pencil; infinite where theta is 0."""
        with np.errstate(divide="ignore", over="ignore"):
            return self.sigma + self.sign / theta


class Ends(NamedTuple):
    """What a few steps of Lanczos know of o A, o = 1 or -1: its largest and least Ritz values, and how sure.

    Attributes
    ----------
    top, bottom : of them
    near : how far beyond the top the spectrum may reach
    """

    top: float
    bottom: float
    near: float

    def definite(self, o: float) -> bool:
        """Whether A is positive (semi)definite, as far as one can see, and its smallest eigenvalues are wanted."""
        return o < 0 and -0.2 * (self.top - self.bottom) < self.top < 0


def first_shift(shifted: Shifted, o: float, ends: Ends, scale: float | None) -> Inverse | None:
    """An inverse at a shift beyond the wanted end: the largest eigenvalues for o = 1, the least for o = -1.

    Parameters
    ----------
    scale : ||A|| / ||M|| where there is an M, whose eigenvalues the ends of A do not bound; None without
    """
    width = ends.top - ends.bottom
    if scale is None:
        near_zero = [0.0, 1e-7 * width, 1e-5 * width, 1e-3 * width]  # no shift is best
        inverse = _first(shifted, o, near_zero) if ends.definite(o) else None
        return inverse or beyond(shifted, o, ends.top, min(ends.near, 0.1 * width), width, first=True)
    if o < 0 and ends.top < 1e-10 * width:  # semidefinite, as far as one can see
        shifts = [0.0, *(1e-7 * scale * 4.0**j for j in range(_FAR_SHIFTS))]
    else:
        shifts = [scale * 4.0**j for j in range(_FAR_SHIFTS)]
    return _first(shifted, o, shifts)


def beyond(shifted: Shifted, o: float, top: float, near: float, width: float, *, first: bool) -> Inverse | None:
    """An inverse (s M - o A)^-1 for the least shift s tried that leaves it definite; None if none does.

    Parameters
    ----------
    top, near : the end of the spectrum of o A, about, and how far beyond it to begin
    width : length of the spectrum
    first : nothing is known of the end but Ritz values, which lie within the spectrum
    """
    least = 1e-6 * width if first else near
    shifts = [top + max(3.0**j * near, 4.0**j * least) for j in range(_SHIFTS if first else 2 * _SHIFTS)]
    return _first(shifted, o, [*shifts, top + 2.0 * width])


def _first(shifted: Shifted, o: float, shifts: list[float]) -> Inverse | None:
    for s in shifts:
        solve = shifted.definite(o * s + 0.0, -o)
        if solve is not None and (s != 0 or not shifted.singular(0.0, solve)):
            return Inverse(solve, o * s + 0.0, -o)  # no negative zero
    return None


def near_sigma(shifted: Shifted, sigma: float, scale: float) -> Inverse | None:
    """An inverse at sigma, or beside it where sigma is an eigenvalue as far as rounding tells.

    Parameters
    ----------
    scale : of the eigenvalues, ||A|| / ||M||
    """
    for off in (0.0, -1e-13, 1e-12, -1e-10, 1e-9, -1e-7, 1e-6):
        s = sigma + off * scale
        solve = shifted.definite(s, 1.0)
        if solve is None:
            solve = shifted.indefinite(s)
        if solve is not None and (off or not shifted.singular(s, solve)):
            return Inverse(solve, s, 1.0)
    return None


def better_shift(
    theta: np.ndarray, k: int, s: float, least: float, target: float, *, done: bool, lossy: bool
) -> tuple[float, float] | None:
    """The end of the spectrum of o A and the distance of a better shift from it; None if s serves.

    Solves leave errors of eps times the largest value of F = (s - o A)^-1 in all others, so that the wanted ones must
    not differ by too much; where they hardly differ, Lanczos takes long.

    Parameters
    ----------
    theta : Ritz values of F
    k : pairs wanted
    s : the shift
    least : distance from a shift to the spectrum
    target : error of an eigenvalue that is allowed
    done : the pairs have been found
    lossy : rounding has been met: pairs are not as good as Lanczos has it
    """
    if not np.all(np.isfinite(theta)) or theta.max() <= 0:
        return s, 1e9 * least
    if theta.min() < -1e-3 * theta.max():  # rounding took an indefinite matrix for a definite one
        off = -1.0 / float(theta.min())
        return s + off, max(least, off)
    theta = np.sort(theta[theta > 0])[::-1]
    nearest, last, next_one = (1.0 / float(theta[min(i, theta.size - 1)]) for i in (0, k - 1, k))
    rounding = _EPS * last * (last / nearest)  # of F, as one of A; infinite rather than an error
    if (rounding > target and not done) or (lossy and (last > _TOO_NEAR * nearest or _LOSS * rounding > target)):
        return s - nearest, max(0.1 * (last - nearest), least)
    spread = next_one - nearest
    if not done and nearest > _TOO_FAR * spread and nearest > 10 * least and math.isfinite(spread):
        return s - nearest, max(0.3 * spread, least)
    return None


def beside(
    theta: np.ndarray, k: int, sigma: float, least: float, target: float, *, lossy: bool
) -> tuple[float, float] | None:
    """sigma, and a distance from it of a shift whose factors lose less; None where they do not lose too much.

    The distance is small beside that of the last wanted eigenvalue: the order of all hardly changes.

    Parameters
    ----------
    theta, k, least, target, lossy : as of `better_shift`, theta leading ones first
    """
    theta = np.abs(theta[np.isfinite(theta)])
    if theta.size == 0 or not theta.max() > 0:
        return sigma, 1e3 * least
    last = 1.0 / float(theta[min(k, theta.size) - 1])
    if not _EPS * last * (last * theta.max()) > (target / _LOSS if lossy else target):
        return None
    return sigma, min(max(10 * _LOSS * _EPS * last * (last / target), 1e-3 * last, least), 0.1 * last)
