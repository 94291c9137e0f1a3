"""What networks of matrix functions see of a symmetric matrix: its direction, its powers, its invariants; and how f(A)
follows from the answer for the direction.

f(c A) is known from f(A) for the sign, powers, roots, and the logarithm: such networks see A / ||A|| alone, and their
answers are right in every unit as soon as they are in one. Nothing here is an eigenvalue unless it is asked for: traces
and products of n x n matrices are what it takes.
"""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np

from nnla.models.matrix_functions import HOMOGENEOUS
from nnla.operators.arrays import namespace

__all__ = [
    "CHANNELS",
    "POWERS",
    "SPECTRAL",
    "Directions",
    "channel_count",
    "channels_of",
    "feature_count",
    "features_of",
    "restored",
    "target_size",
]

CHANNELS = ("entries", "powers", "adjugates")
SPECTRAL = ("none", "invariants", "eigenvalues")
_TINY = 1e-300
POWERS = 4  # of a matrix that a network sees


class Directions:
    """Symmetric matrices (B, n, n), float64, taken apart.

    Attributes
    ----------
    size : (B,) ||A||_F, 1 where A = 0
    unit : (B, n, n) A / size
    e : list of n + 1 (B,): elementary symmetric polynomials of the unit's eigenvalues, e_0 = 1
    B : list of n (B, n, n): the matrices of Faddeev and LeVerrier, I first, the unit's adjugate last

    Notes
    -----
    Cost: n - 1 products of n x n matrices.

    References
    ----------
    Faddeev and Faddeeva, Computational methods of linear algebra (1963), section 47.

    Examples
    --------
    >>> d = Directions(np.diag([3.0, 4.0])[None])
    >>> [float(e[0].round(4)) for e in d.e], d.B[-1][0].round(4).tolist(), bool(d.definite[0])
    ([1.0, 1.4, 0.48], [[0.8, 0.0], [0.0, 0.6]], True)
    """

    def __init__(self, A: Any) -> None:
        xp, n = namespace(A), A.shape[-1]
        largest = xp.abs(A).reshape((A.shape[0], -1)).max(-1)
        largest = largest if xp is np else largest.values
        largest = xp.where(largest > 0, largest, xp.ones_like(largest))
        self._powers: list[Any] | None = None
        A = A / largest[:, None, None]  # squares cannot leave the range now
        relative = (A * A).sum((-1, -2)) ** 0.5
        relative = xp.where(relative > 0, relative, xp.ones_like(relative))
        self.unit = A / relative[:, None, None]
        self.size = relative * largest
        eye = xp.eye(n, dtype=A.dtype) if xp is np else xp.eye(n, dtype=A.dtype, device=A.device)
        self.e, self.B = [xp.ones_like(relative)], [eye + xp.zeros_like(A)]
        for k in range(1, n + 1):
            product = self.unit @ self.B[-1]
            self.e.append(product.diagonal(0, -2, -1).sum(-1) / k)
            if k < n:
                self.B.append(self.e[-1][:, None, None] * eye - product)

    def powers(self) -> list[Any]:
        """A^k / k!, k = 0 ... `POWERS`; computed once."""
        if self._powers is None:
            self._powers = _powers(self.unit * self.size[:, None, None], self.B[0], factorial=True)
        return self._powers

    @property
    def definite(self) -> Any:
        """(B,) whether all eigenvalues are positive: they are real, and so Descartes' rule of signs is exact."""
        found = self.e[1] > 0
        for e in self.e[2:]:
            found = found & (e > 0)
        return found

    @property
    def inverse_trace(self) -> Any:
        """(B,) tr(unit^-1) = e_{n-1} / e_n."""
        xp = namespace(self.unit)
        last = self.e[-1]
        return self.e[-2] / xp.where(xp.abs(last) > _TINY, last, _TINY + xp.zeros_like(last))


def feature_count(n: int, spectral: str, *, sized: bool) -> int:
    """How many numbers `Directions` become for a network: see `features_of`.

    Examples
    --------
    >>> feature_count(3, "invariants", sized=False), feature_count(3, "invariants", sized=True)
    (5, 9)
    """
    invariants = 2 * POWERS + 1 if sized else 2 * n - 1
    return {"none": 1 if sized else 0, "invariants": invariants, "eigenvalues": n}[spectral]


def features_of(d: Directions, spectral: str, *, sized: bool) -> Any:
    """(B, F): invariants, or eigenvalues, of the unit or, where functions depend on the size, of A itself.

    Notes
    -----
    Invariants of the unit: e_1 ... e_n, each by the largest that it can be, and the cube roots of the ratios
    e_k / e_{k-1}, which are near the eigenvalues where these are far apart, and change their sign with them. Those of
    A: its norm, and tr(A^k) / k!, k = 1 ... 8. Of A, "none" still has the norm: who knows no size can decline none.

    Cost: none for invariants; eigenvalues are most of what f(A) costs by itself.
    """
    xp, n = namespace(d.unit), d.unit.shape[-1]
    rows = []
    if sized and spectral != "eigenvalues":
        rows = [d.size]
    if spectral == "eigenvalues":
        values = xp.linalg.eigvalsh(d.unit) * (d.size[:, None] if sized else 1.0)
        rows = [values[:, k] for k in range(n)]
    elif spectral == "invariants" and sized:
        powers = d.powers()
        for k in range(1, 2 * POWERS + 1):
            product = powers[k // 2] * powers[k - k // 2]
            rows.append(product.sum((-1, -2)) / comb(k, k // 2))
    elif spectral == "invariants":
        rows = [d.e[k] * float(n) ** (k / 2) for k in range(1, n + 1)]
        for k in range(2, n + 1):
            ratio = d.e[k] * d.e[k - 1] / (d.e[k - 1] ** 2 + 1e-4 * d.e[k - 2] ** 2 + 1e-12)
            rows.append(xp.sign(ratio) * xp.abs(ratio) ** (1 / 3))
    return xp.stack(rows, -1) if rows else d.unit[:, 0, :0]


def channel_count(channels: str, largest: int) -> int:
    """How many matrices a network sees, of n up to the largest.

    Examples
    --------
    >>> channel_count("adjugates", 5), channel_count("entries", 5)
    (5, 1)
    """
    return {"entries": 1, "powers": POWERS + 1, "adjugates": largest}[channels]


def channels_of(d: Directions, channels: str, *, sized: bool) -> Any:
    """(B, n, n, C): matrices whose entries a network sees.

    Notes
    -----
    "entries": the unit, or A where functions depend on the size. "powers": A^k / k! (of the unit: unit^k), k = 0 ... 4.
    "adjugates": I, the unit, and the matrices of Faddeev and LeVerrier, each of norm 1, of which the last is the
    inverse but for a factor; f(A) is a combination of these for every f.

    Cost: 3 products for the powers, none for the others.
    """
    xp = namespace(d.unit)
    A = d.unit * d.size[:, None, None] if sized else d.unit
    if channels == "entries":
        return A[..., None]
    if channels == "powers":
        return xp.stack(d.powers() if sized else _powers(A, d.B[0], factorial=False), -1)
    found = [d.B[0], d.unit, *d.B[2:]]
    sizes = [(X * X).sum((-1, -2), keepdims=True) ** 0.5 + 1e-30 for X in found]
    return xp.stack([X / size for X, size in zip(found, sizes, strict=True)], -1)


def _powers(A: Any, eye: Any, *, factorial: bool) -> list[Any]:
    """A^k, by k! where asked, k = 0 ... `POWERS`."""
    found = [eye, A]
    for k in range(2, POWERS + 1):
        found.append(found[-1] @ A / (k if factorial else 1))
    return found


def target_size(d: Directions, f: str) -> Any:
    """(B,) about the size of f(unit), or of f(A) where f depends on the size: what a network's answer is a multiple of.

    Notes
    -----
    The trace of the inverse is known (`Directions.inverse_trace`), so that of the inverse the direction is left.
    """
    xp = namespace(d.unit)
    if f == "inv":
        return xp.abs(d.inverse_trace)
    if f == "inv_sqrt":
        return xp.abs(d.inverse_trace) ** 0.5
    return xp.ones_like(d.size)


def restored(d: Directions, f: str, answer: Any) -> Any:
    """f(A) (B, n, n) from what a network says, f(unit) or f(A) by `target_size`."""
    Y = answer * target_size(d, f)[:, None, None]
    if f == "log":
        return Y + namespace(Y).log(d.size)[:, None, None] * d.B[0]
    return Y * d.size[:, None, None] ** HOMOGENEOUS[f] if f in HOMOGENEOUS else Y
