"""Multilayer perceptrons from the entries of a matrix to those of f(A): the plainest baseline, for one size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.models.engine_base import whole
from nnla.models.matrix_functions import FUNCTION_NAMES, MatrixFunctionEngine
from nnla.operators.arrays import is_torch, namespace

__all__ = ["MatrixMLPConfig", "MatrixMLPEngine", "perceptron"]


@dataclass(frozen=True)
class MatrixMLPConfig:
    """Sizes of the network; written into the weights file.

    Attributes
    ----------
    functions : that it answers
    n : rows of the matrices
    width : of the hidden layers
    layers : hidden ones, with rectifiers between them
    """

    functions: tuple[str, ...] = ("exp",)
    n: int = 2
    width: int = 128
    layers: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "functions", tuple(self.functions))  # lists in files

    def network_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what is trained."""
        entries = self.n * self.n
        sides = [entries] + [self.width] * self.layers + [entries * len(self.functions)]
        found: dict[str, tuple[int, ...]] = {}
        for k in range(self.layers + 1):
            found |= {f"layer{k}_W": (sides[k], sides[k + 1]), f"layer{k}_b": (sides[k + 1],)}
        return found

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all arrays."""
        entries = (self.n, self.n)
        answers = (len(self.functions), *entries)
        found = {"entry_mean": entries, "entry_deviation": entries, "low": entries, "high": entries}
        return self.network_shapes() | found | {"answer_mean": answers, "answer_deviation": answers}


def perceptron(p: Mapping[str, Any], config: MatrixMLPConfig, A: Any) -> Any:
    """f(A) (B, functions, n, n) for matrices (B, n, n), in the network's dtype.

    Notes
    -----
    Cost: 2 n^2 width + (layers - 1) width^2 multiplications, about.
    """
    one = p["layer0_b"]
    A = A.to(one.dtype) if is_torch(A) else A.astype(one.dtype, copy=False)
    x = ((A - p["entry_mean"]) / p["entry_deviation"]).reshape((A.shape[0], -1))
    for k in range(config.layers + 1):
        x = x @ p[f"layer{k}_W"] + p[f"layer{k}_b"]
        if k < config.layers:
            x = namespace(x).clip(x, 0.0, None)
    Y = x.reshape((A.shape[0], len(config.functions), config.n, config.n))
    return Y * p["answer_deviation"] + p["answer_mean"]


class MatrixMLPEngine(MatrixFunctionEngine):
    """Functions of matrices of one size by a perceptron over the entries."""

    name = "matrix-mlp"
    label = "matrix MLP weights"
    config_type = MatrixMLPConfig
    dtype = np.float32

    @staticmethod
    def possible(config: MatrixMLPConfig) -> bool:
        """Whether the sizes make sense."""
        known = 0 < len(config.functions) == len(set(config.functions)) and set(config.functions) <= set(FUNCTION_NAMES)
        return known and whole(config.n, config.width, config.layers) and config.n <= 16 and config.layers <= 64

    def details(self) -> list[str]:
        """What `repr` says of the config."""
        return [", ".join(self.config.functions), f"n = {self.config.n}"]

    @property
    def functions(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Functions that it was trained for."""
        return self.config.functions

    @property
    def sizes(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Matrices that it was trained on."""
        return (self.config.n,)

    def answer(self, A: Any, f: str) -> Any:
        """f(A) (B, n, n), NaN where an entry lies outside of the range of the training.

        Cost: as of `perceptron`.
        """
        p: Mapping[str, Any] = self.parameters
        xp = namespace(A)
        if is_torch(A):
            p = {key: xp.as_tensor(value, device=A.device) for key, value in p.items()}
        with np.errstate(all="ignore"):
            Y = perceptron(p, self.config, A)[:, self.functions.index(f)]
        inside = ((p["low"] <= A) & (p["high"] >= A)).all(-1).all(-1)[:, None, None]
        Y = Y.to(A.dtype) if is_torch(A) else Y.astype(A.dtype, copy=False)
        return xp.where(inside, Y, xp.nan + xp.zeros_like(Y))
