"""What models of dense matrix functions share: which functions and sizes they know, and arrays of any kind around them.

A network brings ``answer`` for batches of one size; everything between a caller and that is here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnla.errors import DTypeError, OptionError, ShapeError
from nnla.models.engine_base import EngineBase
from nnla.operators.arrays import is_torch, namespace
from nnla.operators.validation import asarray, dtype_error

__all__ = ["FUNCTION_NAMES", "HOMOGENEOUS", "MatrixFunctionEngine"]

#: f(c A) = c^p f(A) for c > 0: those functions, and p.
HOMOGENEOUS = {"sign": 0.0, "sqrt": 0.5, "inv_sqrt": -0.5, "inv": -1.0, "cube": 3.0}
_SKEW = 1e-6  # of entries that are meant to be equal, A in float32 too
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
        """f(A) (..., n, n) by the network alone, unchecked; NaN where it declines, and has to.

        No derivative comes with it: `nnla.matfun` gives that of f(A) itself.

        Parameters
        ----------
        A : (..., n, n) array, list or torch tensor, real, integers as float64; n one of ``sizes``
        f : one of ``functions``

        Raises
        ------
        OptionError
            It was not trained for f.
        ShapeError
            A is no batch of square matrices, or of another size.
        DTypeError
            Its entries are no real numbers.
        """
        if f not in self.functions:
            raise OptionError(f"{self.title} knows {', '.join(self.functions)}, not {f!r}; use method='schur'")
        A = _real_tensor(A) if is_torch(A) else _real_array(A)
        if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
            raise ShapeError(f"A has shape {tuple(A.shape)}; pass square matrices (..., n, n)")
        n = int(A.shape[-1])
        if n not in self.sizes:
            known = f"{self.sizes[0]} to {self.sizes[-1]}" if len(self.sizes) > 2 else " or ".join(map(str, self.sizes))
            raise ShapeError(f"{self.title} knows n = {known}, not {n}; use method='schur'")
        batch = A.reshape((-1, n, n))
        if batch.shape[0] == 0:
            return namespace(A).zeros_like(A)
        xp, found = namespace(A), self.answer(batch, f)
        if self.symmetric:  # no network's business what comes of others
            skew = abs(batch - batch.swapaxes(-1, -2)).sum((-1, -2)) <= _SKEW * abs(batch).sum((-1, -2))
            found = xp.where(skew[:, None, None], found, xp.full_like(found, float("nan")))
        return found.reshape(A.shape)


def _real_array(A: Any) -> np.ndarray:
    given = asarray(A, "A")
    if given.dtype.kind not in "iuf":
        raise dtype_error(given.dtype)
    return given.astype(np.float64)


def _real_tensor(A: Any) -> Any:
    torch = namespace(A)
    if A.layout != torch.strided:
        raise DTypeError("A is a sparse tensor; pass A.to_dense()")
    if A.is_complex() or A.dtype == torch.bool:
        raise dtype_error(A.dtype)
    return A.detach() if A.is_floating_point() else A.detach().to(torch.float64)
