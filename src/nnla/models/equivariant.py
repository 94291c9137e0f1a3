"""The equivariant surrogate: a small network reads invariants of a symmetric matrix and says how short a program does.

f(A) is a polynomial, or a composition of polynomials, in A itself, so the answer turns with its matrix. A bound on the
eigenvalues that always holds comes from traces of powers; what cannot be bounded from these, and costs products, is
predicted: for sign and roots how close to zero an eigenvalue lies, for exp how far below its bound the largest one is.
A program for a wrong prediction is noticed, by X^2 = I and its like, and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.models.engine_base import whole
from nnla.models.equivariant_functions import exponentials, logarithms, roots, signs, trigonometric
from nnla.models.equivariant_invariants import FEATURES
from nnla.models.equivariant_layout import layout_of
from nnla.models.matrix_functions import MatrixFunctionEngine
from nnla.operators.arrays import is_torch, namespace

__all__ = ["HEADS", "EquivariantConfig", "EquivariantEngine", "forward"]

HEADS = ("exp", "sign", "definite")
_ON_A_DEVICE = 1 << 26  # entries of matrices that are worked on at a time where that is not a matter of caches
_UNASKED = {"exp": 0.0, "sign": float(np.log(1 / 300)), "definite": float(np.log(1e-4))}
_WORK = {"exp": exponentials, "sign": signs, "log": logarithms, "sin": trigonometric, "cos": trigonometric}


@dataclass(frozen=True)
class EquivariantConfig:
    """Sizes of the surrogate; written into the weights file.

    Attributes
    ----------
    hidden : width of the two hidden layers of each head
    largest : rows of a matrix
    """

    hidden: int = 16
    largest: int = 32

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters."""
        H, one = self.hidden, {}
        for head in HEADS:
            one |= {f"{head}.W0": (FEATURES, H), f"{head}.b0": (H,), f"{head}.W1": (H, H), f"{head}.b1": (H,)}
            one |= {f"{head}.W2": (H, 1), f"{head}.b2": (1,), f"{head}.low": (FEATURES,), f"{head}.high": (FEATURES,)}
        return one


def forward(p: dict[str, Any], head: str, x: Any) -> Any:
    """(B,) what a head says of features (B, F): written once for NumPy arrays and torch tensors.

    Cost: F H + H^2 multiplications a matrix.
    """
    xp = namespace(x)
    z = xp.clip(x, -8.0, 8.0)
    for layer in "01":
        z = z @ p[f"{head}.W{layer}"] + p[f"{head}.b{layer}"]
        z = xp.clip(z, 0.0, None)
    return (z @ p[f"{head}.W2"] + p[f"{head}.b2"])[:, 0]


class EquivariantEngine(MatrixFunctionEngine):
    """Predicts from invariants which short polynomial, or composition of polynomials, of a matrix is f of it."""

    name = "matfun-equivariant"
    functions = ("exp", "log", "sign", "sqrt", "inv_sqrt", "sin", "cos")
    symmetric = True
    equivariant = True
    config_type = EquivariantConfig
    network_from = 7  # rows; measured: docs/matrix_functions_surrogate.md

    @staticmethod
    def possible(config: EquivariantConfig) -> bool:
        """Whether the sizes make sense."""
        return whole(config.hidden, config.largest)

    @property
    def sizes(self) -> tuple[int, ...]:  # type: ignore[override]
        """1 to the largest."""
        return tuple(range(1, self.config.largest + 1))

    def predicted(self, head: str, features: Any) -> Any:
        """(B,) natural logarithms: "sign" of the smallest |eigenvalue| over the bound of the largest, "definite" of the
        smallest eigenvalue over that bound, "exp" of 1 less the largest eigenvalue over its bound; all to the side that
        costs products, not accuracy. Features outside of those seen in training count as their ends. Matrices of fewer
        rows than ``network_from`` get one answer for all: there a product costs less than the question.
        """
        if len(features) and float(features[0, 0]) < np.log(self.network_from):
            return 0.0 * features[:, 0] + _UNASKED[head]
        p = self.parameters if not is_torch(features) else _tensors(self.parameters, features)
        x = namespace(features).clip(features, p[f"{head}.low"], p[f"{head}.high"])
        return forward(p, head, x)

    def answer(self, A: Any, f: str) -> Any:
        """f(A), NaN where the check fails to the end: eigenvalues too close to 0, or of the wrong sign.

        Cost: the products that `counted` counts.
        """
        return self.counted(A, f)[0]

    def counted(self, A: Any, f: str) -> tuple[Any, np.ndarray]:
        """f(A) (B, n, n) and the products of matrices (B,) that each took, checks included."""
        X, products, n = namespace(A).empty_like(A), np.zeros(len(A)), A.shape[-1]
        L, work = layout_of(A), _WORK.get(f, roots)
        cached = not is_torch(A) or A.device.type == "cpu"
        step = max(16, (L.at_a_time if cached else _ON_A_DEVICE) // (n * n))
        with np.errstate(all="ignore"):
            for start in range(0, len(A), step):
                part = slice(start, start + step)
                found, products[part] = work(L, self.predicted, L.into(A[part]), f)
                X[part] = L.back(found)
        return X, products


def _tensors(parameters: dict[str, np.ndarray], like: Any) -> dict[str, Any]:
    return {key: like.new_tensor(value) for key, value in parameters.items()}
