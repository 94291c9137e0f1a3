"""A polynomial bound to an operator: what preconditioners, filters and functions of a matrix apply."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from nnla.errors import DTypeError, ShapeError
from nnla.operators.arrays import alike
from nnla.operators.counter import Counter
from nnla.operators.operator import Operator
from nnla.operators.spaces import ScalingLike
from nnla.polynomials.recurrence import Recurrence
from nnla.types import Kind

__all__ = ["BoundPolynomial", "CallableOperator", "precision_of"]

_SMALL, _LARGE = 1e-15, 1e15  # norms of vectors whose images are in the range of float32 with room to spare


class CallableOperator(LinearOperator):
    """A symmetric float64 LinearOperator that is called: with (n,) and (n, k) arrays of its operator's kind."""

    def __call__(self, z: Any) -> Any:
        """The image of z."""
        raise NotImplementedError

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self(np.asarray(x, dtype=np.float64).reshape(-1))

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        return self(np.asarray(X, dtype=np.float64))

    def _adjoint(self) -> CallableOperator:
        return self

    def __matmul__(self, x: Any) -> Any:
        # SciPy would make an array of what the operator's space understands
        return super().__matmul__(x) if isinstance(x, (np.ndarray, LinearOperator)) or np.isscalar(x) else self(x)


class BoundPolynomial(CallableOperator):
    """P(A), or P(B A) B over a scaling B: a symmetric operator that counts.

    Parameters
    ----------
    operator : Operator, A
    recurrence : Recurrence, P
    scaling : B, symmetric positive definite, or None for the identity
    dtype : of the values and vectors inside: float64, float32 or "bfloat16"; what goes in and out is float64

    Attributes
    ----------
    kind : `Kind.LINEAR`; what is more says so
    operator, recurrence
    precision : name of the dtype inside
    native : what the native conjugate gradients take as their preconditioner, or None
    applies, products : counters of its use; products are counted by the operator, too

    Raises
    ------
    DTypeError, OptionError
        The dtype is none of the three, or the operator does not have it.

    Notes
    -----
    Cost of one application to a vector: ``recurrence.products`` products with A, as many solves with B and one more,
    about four vectors. It runs in the fused native kernels where the operator's space has them for this matrix,
    scaling and dtype.

    Examples
    --------
    >>> from nnla.operators import as_operator
    >>> P = Recurrence.chebyshev(1.0, 3.0, 4)
    >>> F = BoundPolynomial(as_operator(np.diag([1.0, 2.0])), P)
    >>> bool(np.allclose(F(np.ones(2)), P(np.array([1.0, 2.0])))), F.products
    (True, 4)
    """

    kind: Kind = Kind.LINEAR

    def __init__(
        self, operator: Operator, recurrence: Recurrence, scaling: ScalingLike | None = None, *, dtype: Any = None
    ) -> None:
        self.operator, self.recurrence = operator, recurrence
        self.precision = precision_of(dtype)
        self._applies = Counter()
        B = None if scaling is None or scaling.name == "none" else scaling
        self._apply, self.native = operator.space.polynomial(
            operator.matrix, operator.native, recurrence, B, self.precision
        )
        super().__init__(dtype=np.dtype(np.float64), shape=operator.shape)

    def __call__(self, z: Any) -> Any:
        """P z for (n,) or (n, k); arrays of another kind than the operator's are converted there and back."""
        own = self.operator.space.own(z)
        if own.ndim not in (1, 2) or own.shape[0] != self.shape[0]:
            raise ShapeError(f"an array of shape {tuple(own.shape)} does not fit a polynomial in a matrix {self.shape}")
        self.count(1 if own.ndim == 1 else int(own.shape[1]))
        y = self._apply(own) if self.precision == "float64" else self._apply_in_range(own)
        return y if type(y) is type(z) else alike(self.operator.space.host(y), z)

    def _apply_in_range(self, z: Any) -> Any:
        """P z where the vectors inside have the range of float32: what is far from 1 is scaled, exactly."""
        space = self.operator.space
        size = np.atleast_1d(space.norm(z))
        if np.all((size == 0) | ((size > _SMALL) & (size < _LARGE))):
            return self._apply(z)
        powers = np.where((size > 0) & np.isfinite(size), np.frexp(size)[1], 0)
        halves = [np.ldexp(1.0, part) for part in (powers // 2, powers - powers // 2)]  # one would leave the range
        for half in halves:
            z = z * space.row(1.0 / half, z)
        y = self._apply(z)
        for half in halves:
            y = y * space.row(half, y)
        return y

    def count(self, applies: int) -> None:
        """Add so many applications, with their products, to the counters: those of the native kernels come here."""
        self._applies.add(applies)
        self.operator.count(applies * self.recurrence.products)

    @property
    def applies(self) -> int:
        """Applications so far, of the thread that asks."""
        return self._applies.value

    @property
    def products(self) -> int:
        """Products with A in them."""
        return self._applies.value * self.recurrence.products


def precision_of(dtype: Any) -> str:
    """The name of the dtype asked for inside a polynomial, float64 by default.

    >>> precision_of(np.float32), precision_of(None)
    ('float32', 'float64')
    """
    try:
        name = "float64" if dtype is None else dtype if str(dtype) == "bfloat16" else np.dtype(dtype).name
    except TypeError as error:
        raise DTypeError(f"dtype must be float64, float32 or 'bfloat16', got {str(dtype)[:40]!r}") from error
    if name not in ("float64", "float32", "bfloat16"):
        raise DTypeError(f"dtype must be float64, float32 or 'bfloat16', got {name}")
    return name
