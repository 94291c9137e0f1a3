"""What models of dense matrix functions share: which functions and sizes they know, and arrays of any kind around them.

A network brings ``answer`` for batches of one size; everything between a caller and that is here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.errors import OptionError, ShapeError
from nnla.models.engine_base import EngineBase
from nnla.operators.arrays import is_torch, namespace
from nnla.operators.validation import dtype_error

__all__ = ["FUNCTION_NAMES", "MatrixFunctionEngine"]

_SKEW = 1e-5  # of the largest entry, by which a symmetric matrix of float32 may be off
FUNCTION_NAMES = ("exp", "log", "sign", "sqrt", "inv_sqrt", "inv", "sin", "cos", "cube")


class MatrixFunctionEngine(EngineBase):
    """A network that answers f(A) for dense matrices of the sizes, and the functions, that it was trained for.

    A model brings ``functions``, ``sizes`` and ``answer``. One that works on symmetric matrices alone says so by
    ``symmetric``, one whose answer turns with its matrix, f(Q A Q') = Q f(A) Q', by ``equivariant``.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Terms:
    ...     terms: int
    ...
    ...     def shapes(self):
    ...         return {"coefficients": (self.terms,)}
    >>> class Series(MatrixFunctionEngine):
    ...     name, functions, sizes, symmetric, equivariant = "series", ("exp",), (1, 2), False, True
    ...
    ...     def answer(self, A, f):
    ...         power, total = np.eye(A.shape[-1]) + 0 * A, 0.0
    ...         for c in self.parameters["coefficients"]:
    ...             total, power = total + c * power, power @ A
    ...         return total
    >>> model = Series(Terms(3), {"coefficients": np.array([1.0, 1.0, 0.5])}, {})
    >>> model.function([[0.0, 1.0], [0.0, 0.0]], "exp").tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """

    task = "matrix functions"
    functions: tuple[str, ...]
    sizes: tuple[int, ...]
    symmetric: bool = True
    equivariant: bool = False

    def answer(self, A: Any, f: str) -> Any:
        """f(A) (B, n, n) for matrices (B, n, n), NumPy or torch; NaN where the network declines (outside what it saw).

        Cost: see the model.
        """
        raise NotImplementedError

    def function(self, A: Any, f: str) -> Any:
        """f(A) (..., n, n) by the network alone, unchecked; NaN where it declines, for matrices that are not finite,
        or not symmetric where it needs that.

        Parameters
        ----------
        A : (..., n, n) array, list or torch tensor, real; n one of ``sizes``
        f : one of ``functions``

        Raises
        ------
        OptionError
            It was not trained for f.
        ShapeError
            A is no batch of square matrices, or of another size.
        DTypeError
            A is not real.
        """
        if f not in self.functions:
            raise OptionError(f"{self.title} knows {', '.join(self.functions)}, not {f!r}; use method='schur'")
        A = _real(A)
        if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
            raise ShapeError(f"A has shape {tuple(A.shape)}; pass square matrices (..., n, n)")
        n = int(A.shape[-1])
        if n not in self.sizes:
            known = f"{self.sizes[0]} to {self.sizes[-1]}" if len(self.sizes) > 2 else " or ".join(map(str, self.sizes))
            raise ShapeError(f"{self.title} knows n = {known}, not {n}; use method='schur'")
        batch = A.reshape((-1, n, n))
        if batch.shape[0] == 0:
            return namespace(A).zeros_like(A)
        bad = ~namespace(A).isfinite(batch).reshape(len(batch), -1).all(-1)
        if self.symmetric:
            skew = abs(batch - batch.swapaxes(-1, -2)).reshape(len(batch), -1)
            largest = abs(batch).reshape(len(batch), -1)
            skew, largest = (M.amax(-1) if is_torch(M) else M.max(-1) for M in (skew, largest))
            bad = bad | ~(skew <= _SKEW * largest)
        if not bool(bad.any()):
            return self.answer(batch, f).reshape(A.shape)
        batch = namespace(A).where(bad[:, None, None], namespace(A).ones_like(batch[:1]), batch)
        answer = self.answer(batch, f)
        return namespace(A).where(bad[:, None, None], namespace(A).nan, answer).reshape(A.shape)


def _real(A: Any) -> Any:
    """Real matrices in floating point; DTypeError for others."""
    if is_torch(A):
        if A.is_complex() or str(A.dtype) == "torch.bool":
            raise dtype_error(A.dtype)
        return A if A.is_floating_point() else A.double()
    try:
        given = np.asarray(A)
    except ValueError as error:
        raise ShapeError("A is a ragged list; pass square matrices (..., n, n)") from error
    if given.dtype.kind not in "iuf":
        raise dtype_error(given.dtype)
    return given.astype(np.float64, copy=False)
