"""What `nnla.extensions.newton_lp` returns: the minimiser, a report, and the steps where they were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnla.report import ReportBase, Status

__all__ = ["LpMinimum", "LpReport", "Trajectory"]


@dataclass(frozen=True, repr=False)
class LpReport(ReportBase):
    """What a minimisation of `newton_lp` did.

    Attributes
    ----------
    status : "converged", "maxiter" or "stagnation" (the accuracy limit of float64)
    converged : the gradient, computed anew from x, is within gtol
    method : "exact", "kept", "partial", "lbfgs", or the name of the model or function that proposed directions
    p, eps : exponent, and smoothing in the units of b
    value : the smoothed objective at x; Inf or 0 where that has no number in float64
    norm : its p-th root, in the units of b
    gradient_norm : ||Q's|| / ||s||, Q an orthonormal basis of the range of A, s the derivatives by the residuals: the
        cosine of the angle between s and the range, which no unit changes
    gtol : what was asked for
    iterations : steps
    exact_steps, learned_steps : of these, Newton's own, and proposed ones
    rejected : proposals that were not taken: no descent, not finite, or too little gained
    evaluations : of the objective, those of line searches included
    hessians : formed for exact steps
    history : objective (with the smoothing of the moment), relative to that at the start, before each step and at the
        end
    gradients : the same of the gradient's norm, as above
    times : seconds of the same
    seconds : {"total"}
    versions : versions of the libraries
    """

    _line = (
        ("method", "{}"),
        ("iterations", "{} steps"),
        ("exact_steps", "{} exact"),
        ("gradient_norm", "gradient {:.2g}"),
    )
    _table = ("value", "norm", "p", "eps", "gtol", "learned_steps", "rejected", "evaluations", *ReportBase._table)

    status: Status
    converged: bool
    method: str
    p: float
    eps: float
    value: float
    norm: float
    gradient_norm: float
    gtol: float
    iterations: int
    exact_steps: int
    learned_steps: int
    rejected: int
    evaluations: int
    hessians: int
    history: list[float] = field(default_factory=list[float])
    gradients: list[float] = field(default_factory=list[float])
    times: list[float] = field(default_factory=list[float], compare=False)
    seconds: dict[str, float] = field(default_factory=dict[str, float], compare=False)
    versions: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A run, step by step, in the coordinates of the scaled problem.

    Attributes
    ----------
    z : (K, k) iterates before each step
    gradients, moves : (K, k) there, and steps from there
    z_end : (k,) the minimiser
    eps : (K,) smoothing
    """

    z: np.ndarray
    gradients: np.ndarray
    moves: np.ndarray
    z_end: np.ndarray
    eps: np.ndarray


@dataclass(frozen=True, eq=False)
class LpMinimum:
    """`x` (n,) and the `report`; unpacks as ``x, report = newton_lp(...)``. ``trajectory`` where it was asked for."""

    x: np.ndarray
    report: LpReport
    trajectory: Trajectory | None = None

    def __iter__(self) -> Iterator[Any]:
        yield self.x
        yield self.report
