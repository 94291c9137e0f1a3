"""From a model's answers to verified solutions of dense systems: iterations with the model inside, then LU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.krylov.fgmres import flexible_gmres, stationary
from nnla.linear.dense_direct import direct_solutions, singular
from nnla.linear.dense_measures import Measures, measured
from nnla.linear.dense_systems import DenseBatch, column_norms
from nnla.operators.arrays import namespace, on_device, to_numpy

__all__ = ["METHODS", "Refined", "refined"]

METHODS: dict[str, Callable[..., Any]] = {"gmres": flexible_gmres, "iterative": stationary}

_SAFETY = 0.5  # of the targets: the residual is judged anew, and the rows with it
_ASTRAY = 1e3  # relative residual of an answer that is no start. A times a small error may well be larger than b
_UNEVEN = 1e-6  # rows so much smaller than b that the 2-norm of the residual hardly sees them are left to LU


@dataclass(frozen=True, eq=False)
class Refined:
    """What became of the systems of a batch.

    Attributes
    ----------
    y : (B, n, k) in the units of the batch
    measures : of y
    iterations : (B, k)
    direct, singular, uneven : (B,) whether LU was asked, found a singular matrix, was asked at once for its uneven rows
    seconds : of LU
    """

    y: Any
    measures: Measures
    iterations: np.ndarray
    direct: np.ndarray
    singular: np.ndarray
    uneven: np.ndarray
    seconds: float


def refined(
    systems: DenseBatch,
    y: Any,
    M: Callable[[Any], Any],
    *,
    method: str,
    rtol: float,
    maxiter: int,
    doubtful: np.ndarray,
) -> Refined:
    """Solutions that meet the tolerance as far as float64 lets them.

    Parameters
    ----------
    systems : what to solve
    y : (B, n, k) finite start; columns that are far worse than zero start from zero
    M : about A^-1 with the user's rows, (B, n, k) -> (B, n, k)
    method : of `METHODS`, before LU
    rtol, maxiter : of that
    doubtful : (B,) matrices that LU is asked about whether they are singular even where the tolerance is met

    Notes
    -----
    Cost: that of the method; LU for the systems that it does not solve.
    """
    xp = namespace(y)
    targets, uneven = _targets(systems, y, rtol)
    near = measured(systems, y).residual <= _ASTRAY
    y = xp.where(on_device(near, y)[:, None, :], y, xp.zeros_like(y))
    b = systems.in_user_rows(systems.b)
    found = METHODS[method](
        lambda z: systems.in_user_rows(systems.A @ z), M, column_norms, b, y, targets=targets, maxiter=maxiter
    )
    y = found.x
    measures = measured(systems, y)
    started = time.perf_counter()
    met = measures.met(rtol).all(axis=1)
    lost = np.zeros(len(systems), dtype=bool)
    asked = np.flatnonzero(met & doubtful)
    if len(asked):
        lost[asked] = singular(systems[asked])
    direct = ~met | lost
    which = np.flatnonzero(direct)
    if len(which):
        y, measures, lost[which] = _by_lu(systems[which], which, y, measures, rtol)
    return Refined(y, measures, found.iterations, direct, lost, uneven, time.perf_counter() - started)


def _targets(systems: DenseBatch, y: Any, rtol: float) -> tuple[np.ndarray, np.ndarray]:
    """(B, k) residual norms to reach so that small rows are solved too, and (B,) where that asks too much of a norm."""
    xp = namespace(y)
    with np.errstate(all="ignore"):
        whole = column_norms(systems.in_user_rows(systems.b))
        entries = systems.in_user_rows(xp.sqrt((systems.A * systems.A).sum(2))[:, :, None])
        least = whole / xp.sqrt((entries * entries).sum(1))  # ||b|| / ||A|| <= ||x||
        length = xp.maximum(column_norms(y), least)
        scale = entries * length[:, None, :] + xp.abs(systems.in_user_rows(systems.b))
        share = to_numpy(xp.amin(scale, 1) / whole)
    share = np.where(np.isnan(share), 1.0, np.minimum(share, 1.0))
    uneven = share.min(axis=1) < _UNEVEN
    targets = _SAFETY * rtol * share * to_numpy(whole)
    targets[uneven] = np.inf
    return targets, uneven


def _by_lu(
    systems: DenseBatch, which: np.ndarray, y: Any, measures: Measures, rtol: float
) -> tuple[Any, Measures, np.ndarray]:
    """y and its measures with what LU makes better, and which of these systems are singular."""
    xp = namespace(y)
    found = direct_solutions(systems)
    solution = xp.where(xp.isfinite(found.y).all(1)[:, None, :], found.y, xp.zeros_like(found.y))
    new = measured(systems, solution)
    old = Measures(*(part[which] for part in (measures.residual, measures.row, measures.backward, measures.rounded)))
    better = new.met(rtol) | found.singular[:, None]
    better |= ~old.met(rtol) & (new.rounded | (new.residual <= old.residual))
    keep = on_device(better, y)[:, None, :]
    y = y.copy() if xp is np else y.clone()
    y[which] = xp.where(keep, solution, y[which])
    parts: list[np.ndarray] = []
    for name in ("residual", "row", "backward", "rounded"):
        part = getattr(measures, name).copy()
        part[which] = np.where(better, getattr(new, name), getattr(old, name))
        parts.append(part)
    return y, Measures(*parts), found.singular
