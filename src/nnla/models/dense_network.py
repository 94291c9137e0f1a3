"""A model of dense systems bound to matrices: asked for any residuals, and as a preconditioner."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from nnla.errors import ShapeError
from nnla.linear.dense_systems import DenseBatch, exponents_of, shifted
from nnla.operators.arrays import alike, is_torch, namespace, to_numpy
from nnla.types import Kind

__all__ = [
    "Bound",
    "DensePreconditioner",
    "bound_network",
    "bound_preconditioner",
    "in_network_units",
    "where_needed",
    "without_gradients",
]


class Bound:
    """What is about A^-1 for some matrices: r -> A^-1 r for residuals of any size; zero where it has no answer.

    Parameters
    ----------
    apply : (B, n, k) -> (B, n, k) of right-hand sides whose largest |entry| is in [1, 2)
    name : what error messages call it
    count : matrices
    width : right-hand sides that go in at a time

    Attributes
    ----------
    failed : (B,) whether an answer was not finite
    calls, seconds : of ``apply``
    """

    def __init__(self, apply: Callable[[Any], Any], name: str, count: int, width: int) -> None:
        self._apply, self._name, self._width = apply, name, width
        self.failed = np.zeros(count, dtype=bool)
        self.calls, self.seconds = 0, 0.0

    def __call__(self, r: Any) -> Any:
        started = time.perf_counter()
        xp = namespace(r)
        scaled, exponents = in_network_units(r)
        k, width = r.shape[-1], max(1, self._width // len(r))
        answers = [self._asked(scaled[:, :, at : at + width]) for at in range(0, k, width)]
        x = answers[0] if len(answers) == 1 else xp.concatenate(answers, -1)
        usable = xp.isfinite(x).all(1)
        self.failed |= to_numpy(~usable).any(axis=1)
        use = usable & (scaled != 0).any(1)
        x = xp.where(use[:, None, :], shifted(x, exponents[:, None, :]), xp.zeros_like(x))
        self.seconds += time.perf_counter() - started
        return x

    def _asked(self, b: Any) -> Any:
        self.calls += 1
        x = self._apply(b)
        if tuple(x.shape) != tuple(b.shape):
            raise ShapeError(f"{self._name} gave shape {tuple(x.shape)} for b of shape {tuple(b.shape)}")
        return alike(x, b)


def bound_network(model: Any, A: Any, width: int) -> Bound:
    """The network of a `nnla.models.dense_solutions.DenseSystemEngine`, bound to matrices in its units.

    Cost: of a model that is linear in b, its network.
    """
    started = time.perf_counter()
    apply = model.operator(A) if model.linear else partial(where_needed, model.answer, A)
    bound = Bound(apply, f"{type(model).__name__}.answer", len(A), width)
    bound.seconds = time.perf_counter() - started
    return bound


def bound_preconditioner(model: Any, A: Any, width: int) -> Bound | None:
    """What the model has to precondition with beside its network; None where that is all.

    Cost: that of the model's.
    """
    apply = model.preconditioner(A)
    return None if apply is None else Bound(apply, f"{type(model).__name__}.preconditioner", len(A), width)


def in_network_units(b: Any) -> tuple[Any, Any]:
    """b with the largest |entry| of each column in [1, 2), and the exponents (B, k) that were taken off.

    Cost: three passes over b.

    >>> b, exponents = in_network_units(np.array([[[0.0], [-12.0]]]))
    >>> b.ravel().tolist(), exponents.tolist()
    ([0.0, -1.5], [[3]])
    """
    xp = namespace(b)
    exponents = exponents_of(xp.amax(xp.abs(b), 1))
    return shifted(b, -exponents[:, None, :]), exponents


def where_needed(answer: Callable[[Any, Any], Any], A: Any, b: Any) -> Any:
    """The answers for systems whose b is not zero; zero for the others.

    Cost: that of ``answer`` for the former, and a copy of their A where these are not all.
    """
    xp = namespace(b)
    some = to_numpy((b != 0).any(1)).any(axis=1)
    if some.all():
        return answer(A, b)
    out = xp.zeros_like(b)
    which = np.flatnonzero(some)
    if len(which):
        out[which] = alike(answer(A[which], b[which]), b)
    return out


class DensePreconditioner(LinearOperator):
    """About A^-1, linear in what it is applied to, by a model of dense systems.

    Made by `DenseSystemEngine.aspreconditioner`. ``dtype`` is float64; a torch model works where A is, the vectors are
    NumPy's.

    Parameters
    ----------
    bound : to A in the units of the batch
    systems : one matrix

    Attributes
    ----------
    kind : `Kind.LINEAR`: not symmetric, so no preconditioner of CG
    """

    kind = Kind.LINEAR

    def __init__(self, bound: Bound, systems: DenseBatch) -> None:
        n = systems.A.shape[-1]
        self._systems, self._bound = systems, bound
        super().__init__(np.dtype(np.float64), (n, n))

    def _matmat(self, X: Any) -> np.ndarray:
        r = np.ascontiguousarray(X, dtype=np.float64)
        with without_gradients(self._systems.A), np.errstate(all="ignore"):
            z = self._bound(alike(r, self._systems.A)[None])[0]
            return to_numpy(shifted(z, -self._systems.size))

    def _matvec(self, x: Any) -> np.ndarray:
        return self._matmat(np.reshape(x, (-1, 1)))[:, 0]


def without_gradients(A: Any) -> Any:
    """A context in which torch records nothing, where A is its tensor.

    Cost: none.
    """
    return sys.modules["torch"].no_grad() if is_torch(A) else contextlib.nullcontext()
