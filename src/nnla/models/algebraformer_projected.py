"""Dense systems of families that are linear in few unknowns: the matrix is cleaned, then solved exactly.

Where a family's matrices are a combination of a few fixed ones, however rough the coefficients, no network that puts
out x comes near this: 4,096 measured entries for 131 unknowns. The answer is linear in b by construction, takes clean
matrices as they are, needs neither law nor level of the noise, and says how sure it is.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np

from nnla.models.dense_solutions import DenseSystemEngine
from nnla.models.engine_base import whole
from nnla.models.family_matrices import FamilyPrior, MatrixEstimate, estimate_matrices
from nnla.operators.arrays import is_torch, namespace, on_device

__all__ = ["ProjectedConfig", "ProjectedEngine", "family_prior", "mirrored", "relative_spread"]

LINES = 8.0  # of `MatrixEstimate.lines`: more is not noise but another equation
PATTERN = 0.9  # of `MatrixEstimate.pattern`: the same
EVEN = 2.0  # of them; noise that is less even than that is known worse than its size says
CHUNK = 2**22  # numbers of a weighted basis at a time: 32 MB, of which a few are in use


@dataclass(frozen=True)
class ProjectedConfig:
    """Sizes of the arrays; written into the weights file.

    Attributes
    ----------
    sizes : of matrices, the largest last
    leading : of each size, components in full precision; the others, which are small in the family, in single
    ranks : of each size, components in all
    widths : of each size, columns of the equations' factors
    equations : number of them
    """

    sizes: tuple[int, ...] = (64,)
    leading: tuple[int, ...] = (64,)
    ranks: tuple[int, ...] = (131,)
    widths: tuple[int, ...] = (80,)
    equations: int = 4

    def __post_init__(self) -> None:
        for name in ("sizes", "leading", "ranks", "widths"):  # lists in files
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all arrays."""
        E = self.equations
        found: dict[str, tuple[int, ...]] = {"stretch": (len(self.sizes), E), "calibration": (len(self.sizes),)}
        for n, leading, rank, width in zip(self.sizes, self.leading, self.ranks, self.widths, strict=True):
            half = (n * n + 1) // 2
            found |= {f"size{n}_basis": (leading, half), f"size{n}_rest": (rank - leading, half)}
            found |= {f"size{n}_parity": (rank,), f"size{n}_unit": (half,), f"size{n}_anchor": (half,)}
            found |= {f"size{n}_means": (E, rank), f"size{n}_factors": (E, rank, width)}
            found |= {f"size{n}_tail": (1,), f"size{n}_far": (2,)}
        return found


def mirrored(half: Any, parity: Any, n: int) -> Any:
    """Rows (..., n^2) that are even (1) or odd (-1) under reflection of rows and columns, from their first halves.

    Examples
    --------
    >>> mirrored(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, -1.0]), 2).tolist()
    [[1.0, 2.0, 2.0, 1.0], [3.0, 4.0, -4.0, -3.0]]
    """
    other = half[..., : n * n // 2][..., np.arange(n * n // 2 - 1, -1, -1)]
    return namespace(half).concatenate([half, other * parity[..., None]], -1)


def family_prior(p: Any, config: ProjectedConfig, n: int) -> FamilyPrior:
    """The prior of a size from the parameters, arrays of any library."""
    at = config.sizes.index(n)
    half = namespace(p["stretch"]).concatenate([p[f"size{n}_basis"], p[f"size{n}_rest"]], 0)
    even = p[f"size{n}_parity"][:1] * 0 + 1
    stretch = namespace(p["stretch"]).exp(p["stretch"][at])
    return FamilyPrior(
        basis=mirrored(half, p[f"size{n}_parity"], n),
        unit=mirrored(p[f"size{n}_unit"][None], even, n)[0],
        anchor=mirrored(p[f"size{n}_anchor"][None], even, n)[0],
        means=p[f"size{n}_means"],
        factors=p[f"size{n}_factors"] * stretch[:, None, None],
        tail=float(p[f"size{n}_tail"][0]),
    )


def deviations(prior: FamilyPrior, found: MatrixEstimate, x: Any) -> Any:
    """(B, n) standard deviations of x (B, n) of the estimated matrices, before calibration.

    Notes
    -----
    dx = -A^-1 dA x for the posterior of the coordinates, and for what was kept outside of the span. Where residuals
    are uneven over rows, columns and diagonals, entries are not independent, and the variance grows by that.

    Cost: 2 r n^2 + r m n multiplications and an inverse, a system.
    """
    xp, n = namespace(x), x.shape[-1]
    inverse = _solved(found.matrices, xp.zeros_like(found.matrices) + on_device(np.eye(n), x))
    turned = (prior.basis * prior.unit).reshape(-1, n, n)
    products = (turned[None] @ x[:, None, :, None])[..., 0]
    moved = inverse @ (products.swapaxes(-1, -2) @ found.roots)
    left = (found.left * prior.unit).reshape(-1, n, n) ** 2 @ (x * x)[..., None]
    square = (moved * moved).sum(-1) + ((inverse * inverse) @ left)[..., 0]
    return (square * xp.clip(found.lines / EVEN, 1.0, None)[:, None]) ** 0.5


def relative_spread(prior: FamilyPrior, found: MatrixEstimate, x: Any) -> Any:
    """(B,) root mean square error of x (B, n) by its own norm, before calibration."""
    s = deviations(prior, found, x)
    return (s * s).sum(-1) ** 0.5 / ((x * x).sum(-1) ** 0.5 + 1e-300)


class ProjectedEngine(DenseSystemEngine):
    """Dense systems of families that are linear in few unknowns: A is cleaned of noise, law and level unknown; LU."""

    name = "algebraformer-bvp"
    label = "projected Algebraformer weights"
    config_type = ProjectedConfig
    _known: list[tuple[slice, MatrixEstimate, Any]] | None = None  # of the matrices that it is `on`

    @staticmethod
    def possible(config: ProjectedConfig) -> bool:
        """Whether the sizes make sense."""
        c = config
        same = len(c.sizes) == len(c.leading) == len(c.ranks) == len(c.widths) > 0
        if not same or not whole(*c.sizes, *c.leading, *c.ranks, *c.widths, c.equations):
            return False
        rising = all(a < b for a, b in pairwise(c.sizes)) and c.sizes[0] >= 3 and c.sizes[-1] <= 1024
        fits = all(a < r <= n * n for n, a, r in zip(c.sizes, c.leading, c.ranks, strict=True))
        return rising and fits

    @property
    def sizes(self) -> tuple[int, ...]:
        """Matrices that it knows."""
        return self.config.sizes

    @property
    def linear(self) -> bool:
        """x is linear in b."""
        return True

    def prior(self, like: Any) -> FamilyPrior:
        """Of the size of matrices (B, n, n), arrays of their library and device; made once for each."""
        n = like.shape[-1]
        key = (n, str(like.device) if is_torch(like) else "numpy")
        known: dict[Any, FamilyPrior] = self.__dict__.setdefault("_priors", {})
        if key not in known:
            known[key] = family_prior(self.parameters_like(like), self.config, n)
        return known[key]

    def on(self, A: Any) -> Self:
        """The model with its estimates of matrices (B, n, n), which distances, operator and spread all need."""
        known = self.estimates(A)
        model = copy(self)
        model._known = known
        return model

    def estimates(self, A: Any) -> list[tuple[slice, MatrixEstimate, Any]]:
        """Of each chunk of matrices (B, n, n): where it lies, its estimate, and its distances.

        Matrices that are unlike those of the training are taken as they are.
        """
        if self._known is not None:
            return self._known
        n = A.shape[-1]
        xp, prior = namespace(A), self.prior(A)
        step = max(1, CHUNK // (n * n * len(prior.basis)))
        far = self.parameters[f"size{n}_far"]
        out: list[tuple[slice, MatrixEstimate, Any]] = []
        for at in range(0, len(A), step):
            part = slice(at, at + step)
            found = _found(prior, A[part])
            level = (found.alpha**2 + found.beta**2) ** 0.5 / far[0]
            away = xp.maximum(level, found.length / far[1])
            away = xp.maximum(away, xp.maximum(found.lines / LINES, found.pattern / PATTERN))
            away = xp.where(xp.isfinite(away), away, xp.full_like(away, np.inf))
            usable = (away <= 1) & xp.isfinite(found.matrices).all(-1).all(-1)
            matrices = xp.where(usable[:, None, None], found.matrices, A[part])
            out.append((part, _with(found, matrices), away))
        return out

    def distances(self, A: Any) -> Any:
        """(B,) how far matrices (B, n, n) are from those of the training: by their noise, and by what they are."""
        return namespace(A).concatenate([away for _, _, away in self.estimates(A)])

    def cleaned(self, A: Any) -> Any:
        """Matrices (B, n, n) without noise, as far as can be."""
        return namespace(A).concatenate([found.matrices for _, found, _ in self.estimates(A)])

    def operator(self, A: Any) -> Callable[[Any], Any]:
        """b (B, n, k) -> x (B, n, k) for matrices (B, n, n), which are cleaned once.

        Notes
        -----
        Cost: see `nnla.models.family_matrices.estimate_matrices`; then LU, 2/3 n^3 operations, for each call.
        """
        matrices = self.cleaned(A)
        return lambda b: _solved(matrices, b)

    def answer(self, A: Any, b: Any) -> Any:
        """x (B, n, k) for matrices (B, n, n) and right-hand sides (B, n, k)."""
        return self.operator(A)(b)

    def spread(self, A: Any, b: Any, x: Any) -> Any:
        """(B, k) root mean square errors of x by its norm; 1 for matrices that are unlike those of the training."""
        xp, prior = namespace(A), self.prior(A)
        factor = float(np.exp(self.parameters["calibration"][self.sizes.index(A.shape[-1])]))
        parts: list[Any] = []
        for part, found, away in self.estimates(A):
            columns = [factor * relative_spread(prior, found, x[part, :, i]) for i in range(x.shape[-1])]
            spread = xp.stack(columns, -1)
            trusted = (away <= 1)[:, None] & xp.isfinite(spread)
            parts.append(xp.where(trusted, xp.clip(spread, None, 1.0), xp.ones_like(spread)))
        return xp.concatenate(parts)

    def deviations(self, A: Any, x: Any) -> Any:
        """(B, n) standard deviations of the entries of x (B, n), calibrated; NaN outside of the training's matrices."""
        xp, prior = namespace(A), self.prior(A)
        factor = float(np.exp(self.parameters["calibration"][self.sizes.index(A.shape[-1])]))
        parts = [
            xp.where((away <= 1)[:, None], factor * deviations(prior, found, x[part]), x[part] * np.nan)
            for part, found, away in self.estimates(A)
        ]
        return xp.concatenate(parts)


def _found(prior: FamilyPrior, A: Any) -> MatrixEstimate:
    """The estimate; where a factorisation of one matrix fails, the others do not suffer."""
    xp = namespace(A)
    try:
        with np.errstate(all="ignore"):
            return estimate_matrices(prior, A)
    except (np.linalg.LinAlgError, RuntimeError):  # the latter is torch's
        if len(A) == 1:
            B, N, r = 1, A.shape[-1] ** 2, len(prior.basis)
            nothing = xp.zeros_like(A[:, 0, 0])
            zeros = xp.zeros_like(A.reshape(B, N))
            beyond = xp.full_like(nothing, np.inf)
            roots = xp.zeros_like(prior.basis[:, :1])[None]
            odds = xp.zeros_like(prior.means[:, 0])[None]
            assert roots.shape == (B, r, 1)
            return MatrixEstimate(A, roots, zeros, beyond, beyond, beyond, odds, nothing, zeros[:, :2], beyond, beyond)
        parts = [_found(prior, A[i : i + 1]) for i in range(len(A))]
        columns = max(part.roots.shape[-1] for part in parts)
        joined: dict[str, Any] = {
            name: xp.concatenate([getattr(part, name) for part in parts])
            for name in MatrixEstimate.__dataclass_fields__
            if name != "roots"
        }
        wide = [
            xp.concatenate([part.roots] + [part.roots[..., :1] * 0] * (columns - part.roots.shape[-1]), -1)
            for part in parts
        ]
        return MatrixEstimate(roots=xp.concatenate(wide), **joined)


def _with(found: MatrixEstimate, matrices: Any) -> MatrixEstimate:
    return replace(found, matrices=matrices)


def _solved(A: Any, b: Any) -> Any:
    """x (B, n, k) by LU; NaN for matrices that are singular."""
    xp = namespace(A)
    b = b.to(A.dtype) if is_torch(b) else b.astype(A.dtype, copy=False)
    try:
        return xp.linalg.solve(A, b)
    except (np.linalg.LinAlgError, RuntimeError):
        if len(A) == 1:
            return b * np.nan
        return xp.concatenate([_solved(A[i : i + 1], b[i : i + 1]) for i in range(len(A))])
