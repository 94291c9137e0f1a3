"""Learned Newton steps for l_p regression: a quasi-inverse of the Hessian whose weights are learned.

In an orthonormal basis Q the Hessian is Q' diag(w) Q. A direction wants no derivatives at the iterate but averages of
them along the step: with weights (s(r + dr) - s(r)) / dr it would arrive at once. Of each of the n rows with the
largest weights the model is told where its residual stands and where a step by the mean weight would take it, and
says the weight of the row; all other rows share one. The operator that this gives is symmetric positive definite
whatever the model says, and is applied to the gradient: the direction descends.

The paper's own tokens, (A'b)_i and x_i, cannot say the step: two targets b with the same A'b have the same tokens and
other gradients. What they can is measured in `docs/algebraformer_newton.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.extensions.lp_steps import NewtonState, largest_weights, partial_direction
from nnla.models.engine_base import EngineBase, whole
from nnla.operators.arrays import namespace

__all__ = ["COMMON", "ROW", "NewtonStepConfig", "NewtonStepEngine", "common_values", "row_features", "row_weights"]

ROW, COMMON = 2, 5  # features of a row, and of the iterate
_LEAST_ROWS = 3  # by the columns
_OWN, _REST = 4.0, 1.0  # bounds of the logarithms of what weights are multiplied by


@dataclass(frozen=True)
class NewtonStepConfig:
    """Sizes of the engine; written into the weights file.

    Attributes
    ----------
    rows : rows with weights of their own, by the columns of A
    """

    rows: int = 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters: of the rows' own weights, and (second column) of that of the others."""
        return {"row": (ROW,), "common": (COMMON, 2), "constant": (2,)}


def row_features(r: Any, s: Any, w: Any, shift: Any, eps: Any, p: float) -> tuple[Any, Any]:
    """What the model is told of each row, ROW arrays (..., k); NumPy or torch.

    Parameters
    ----------
    r, s, w : (..., k) residuals, first and second derivatives of the objective by them
    shift : (..., k) what a step along the gradient, by the mean weight, would add to r
    eps : (..., 1) smoothing
    p : exponent

    Notes
    -----
    The shift in units of the residual, with its sign; and the averaged weight along the shift, by the weight. No
    feature has a unit. The residual in units of eps and the weight itself were tried: their powers came out as zero.

    Cost: some twenty operations on each row.
    """
    xp = namespace(r)
    away = r + xp.copysign(eps, r)
    ratio = shift / away
    end = r + shift
    after = (end * end + eps * eps) ** (p / 2 - 1) * (p * end)
    moved = xp.abs(ratio) > 1e-6  # else the difference is rounding
    average = xp.where(moved, (after - s) / (w * xp.where(moved, shift, away)), 1.0)
    return xp.arcsinh(ratio), xp.log(average.clip(1e-3, 1e3))


def common_values(rest: float, mean: float, size: float, later: bool, p: float) -> list[float]:
    """What the network is told of the iterate, COMMON numbers.

    Parameters
    ----------
    rest, mean : mean weight of the other rows, and of all
    size : relative norm of the gradient
    later : whether a last step is known
    p : exponent
    """
    return [3 * math.log(rest / mean), math.log(size) / 5, float(later), p - 1.5, (p - 1.5) ** 2]


def row_weights(parameters: dict[str, Any], rows: tuple[Any, ...], common: Any) -> tuple[Any, Any]:
    """Logarithms of what the weights of rows (..., k), and of the others together (..., 1), are multiplied by.

    Parameters
    ----------
    parameters : as of `NewtonStepConfig.shapes`
    rows, common : ROW arrays (..., k) from `row_features`, (..., COMMON) from `common_values`

    Notes
    -----
    A product of powers of the features, bounded. Two hidden layers of 16 took no fewer steps on generated problems,
    and several times as long.

    Cost: ten operations on each row.
    """
    p = parameters
    level = common @ p["common"] + p["constant"]
    own = p["row"][0] * rows[0] + p["row"][1] * rows[1] + level[..., :1]
    return own.clip(-_OWN, _OWN), level[..., 1:].clip(-_REST, _REST)


class NewtonStepEngine(EngineBase):
    """Trained engine for steps of `nnla.extensions.newton_lp`: NumPy arrays, a config and a card.

    Parameters
    ----------
    config : NewtonStepConfig
    parameters : dict of arrays as `row_weights` takes them
    card : facts about the training, as JSON-able values
    """

    name = kind = "algebraformer-newton"
    task = "newton steps"
    config_type = NewtonStepConfig

    @staticmethod
    def possible(config: NewtonStepConfig) -> bool:
        return whole(config.rows)

    def direction(self, state: NewtonState) -> np.ndarray | None:
        """A direction (n,) in the coordinates of the state, or None where the problem is unlike those of the training.

        Notes
        -----
        Cost: about that of `nnla.extensions.lp_steps.partial_direction` with k = n, and some operations on n rows.

        Validity: learned, the weights; guaranteed, a direction of descent, up to rounding. That a step along it gains
        anything is for the caller to check, as `nnla.extensions.newton_lp` does.
        """
        problem = state.problem
        basis, p = problem.design.basis, problem.p
        m, n = basis.shape
        if not self.inside(m, n, p):
            return None
        top, rest = largest_weights(state.w, min(self.config.rows * n, m // 2))
        mean = float(state.w.sum()) / m
        if not (rest > 0 and 0 < state.size < math.inf):
            return None
        own, w = basis[top], state.w[top]
        shift = own @ (state.gradient / -mean)
        common = common_values(rest, mean, state.size, state.move is not None, p)
        with np.errstate(over="ignore"):
            rows = row_features(state.r[top], state.s[top], w, shift, state.eps, p)
            scale, others = row_weights(self.parameters, rows, np.array(common))
        return partial_direction(state, own, w * np.exp(scale), rest * math.exp(float(others[0])))

    __call__ = direction

    def inside(self, m: int, n: int, p: float) -> bool:
        """Whether a problem is like those of the training: its exponent, and rows enough. No feature knows the size."""
        low, high = self.envelope.get("p", (1.0, math.inf))
        return low <= p <= high and m >= _LEAST_ROWS * n > 0
