"""What a method may do with the vectors of an operator: one `Space` per backend, and nothing else asks which it is.

A method that takes inner products, norms and new vectors from ``op.space`` and products from ``op`` runs on every
backend. A new one is one class here: the abstract methods, and where it has something faster, the others.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from nnla.errors import DTypeError, NonFiniteError, OptionError
from nnla.kernels.sparse import sound
from nnla.kernels.system import NativeSystem
from nnla.operators.gradients import refuse_gradient
from nnla.operators.kinds import is_torch, namespace
from nnla.operators.validation import asarray, require_vector
from nnla.polynomials.recurrence import Recurrence

__all__ = ["Apply", "ScalingLike", "Space"]

# Squares outside of these bounds have lost digits to underflow or overflow.
_SQUARE_MIN, _SQUARE_MAX = 1e-280, 1e300

Apply = Callable[[Any], Any]


class ScalingLike(Protocol):
    """What a polynomial needs of the SPD operator B that it works on top of."""

    @property
    def name(self) -> str: ...

    @property
    def solve(self) -> Apply: ...


class Space(ABC):
    """The vectors of one backend, (n,), and blocks of them, (n, k), with ``+``, ``*``, ``ndim`` and ``shape``.

    Numbers come back to the host: a ``float`` for a vector, a float64 NumPy array with one entry per column for a
    block. Subclasses need the abstract methods; what stands here is written with those.

    Attributes
    ----------
    name : of the backend
    device : where the vectors are, None for the host
    dtype : float64 as the backend calls it
    """

    name: str = "numpy"
    device: Any = None
    dtype: Any = np.float64

    # -- numbers of vectors -----------------------------------------------------------------------------

    @abstractmethod
    def inner(self, x: Any, y: Any) -> Any:
        """Dot product of two vectors, or of two blocks column by column.

        Cost: one pass over `x` and `y`, one synchronisation.
        """

    def norm(self, x: Any) -> Any:
        """Euclidean norm of a vector, or of each column of a block; safe from overflow and underflow.

        Cost: one pass over `x`; three where the squares leave the range of float64.
        """
        square = self._square(x)
        if x.ndim == 1:
            if _SQUARE_MIN < square < _SQUARE_MAX:
                return math.sqrt(square)
            largest = float(abs(x).max()) if x.shape[0] else 0.0
            if not 0.0 < largest < math.inf:  # zero, Inf or NaN: nothing to rescale
                return largest
            scaled = x / largest
            return largest * math.sqrt(self.inner(scaled, scaled))
        result = np.sqrt(square)
        for j in np.flatnonzero(~((square > _SQUARE_MIN) & (square < _SQUARE_MAX))):
            result[j] = self.norm(x[:, j])
        return result

    def _square(self, x: Any) -> Any:
        """The inner product of x with itself; an overflow is dealt with by the caller and must not warn."""
        return self.inner(x, x)

    @abstractmethod
    def finite(self, x: Any) -> bool:
        """Whether no entry is NaN or Inf."""

    # -- new vectors, and other forms of them ------------------------------------------------------------

    @abstractmethod
    def zeros_like(self, x: Any) -> Any:
        """New zeros of the shape and device of `x`, contiguous."""

    def copy(self, x: Any) -> Any:
        """A copy of `x`."""
        return x * 1.0

    @abstractmethod
    def row(self, values: np.ndarray, like: Any) -> Any:
        """Per-column numbers (k,) in a form that broadcasts over `like`, (n,) or (n, k)."""

    @abstractmethod
    def host(self, x: Any) -> np.ndarray:
        """`x` as a NumPy array (shared memory where that is possible)."""

    @abstractmethod
    def own(self, x: Any) -> Any:
        """`x`, a NumPy array, a tensor or of the space's kind, as a float64 one of that kind; itself where it is so."""

    def as_vector(self, b: Any, n: int, name: str = "b") -> Any:
        """A user's `b` as a new contiguous float64 vector or block of the space, shape preserved.

        Parameters
        ----------
        b
            (n,), (n, 1) or (n, k): array, list, SciPy sparse (densified) or tensor, of any real dtype.
        n
            Rows that it must have.
        name
            What error messages call it.

        Raises
        ------
        ShapeError, DTypeError, NonFiniteError
        GradientError
            A tensor that requires a gradient, outside of ``torch.no_grad()``.
        """
        tensor = is_torch(b)
        refuse_gradient(b, name)
        given: Any = b.detach() if tensor else b if sp.issparse(b) else asarray(b, name)
        if given.is_complex() if tensor else given.dtype.kind not in "biuf":
            raise DTypeError(f"{name} has dtype {given.dtype}; nnla needs real numbers")
        require_vector(tuple(given.shape), n, name)  # before a sparse `b` of the wrong size is densified
        if sp.issparse(given) and given.ndim == 2:
            given = sound(given, name)
        if tensor:
            torch = namespace(b)
            dense = given if given.layout == torch.strided else given.to_dense()
            x = self.own(dense.to(torch.float64, copy=True, memory_format=torch.contiguous_format))
        else:
            with np.errstate(over="ignore"):
                dense = given.toarray() if sp.issparse(given) else given
                x = self.own(np.array(dense, dtype=np.float64, order="C"))
        if not self.finite(x):
            host = self.host(x)
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
            index = where[0] if len(where) == 1 else where
            raise NonFiniteError(f"{name} contains {float(host[where])} at index {index}; repair it before solving")
        return x

    # -- columns of blocks; `which` is a mask over them or their numbers, and a vector (n,) is one column ---------

    def take(self, x: Any, which: np.ndarray) -> Any:
        """These columns of a block, contiguous; `x` itself where a mask leaves none out."""
        whole = which.dtype == bool and which.all()
        return x if whole else self._contiguous(x[:, _numbers(which)])

    def assign(self, x: Any, which: np.ndarray, values: Any, of: np.ndarray | None = None) -> None:
        """Columns `of` of `values`, by default the same ones, into these columns of `x`, in place."""
        if x.ndim == 2:
            x[:, _numbers(which)] = values[:, _numbers(which if of is None else of)]
        elif _numbers(which):
            x[:] = values

    def clear(self, x: Any, which: np.ndarray) -> None:
        """Zeros in these columns, in place (for NaN too, which a product with zero would keep)."""
        if x.ndim == 2:
            x[:, _numbers(which)] = 0.0
        elif _numbers(which):
            x[:] = 0.0

    def choose(self, which: np.ndarray, yes: Any, no: Any) -> Any:
        """These columns of `yes`, the others of `no`; a new block."""
        if no.ndim == 1:
            return yes if _numbers(which) else no
        out = self.copy(no)
        self.assign(out, which, yes)
        return out

    def _contiguous(self, x: Any) -> Any:
        return x

    # -- operators ---------------------------------------------------------------------------------------

    def product(self, matrix: Any, x: Any) -> Any:
        """``matrix @ x`` as a new vector or block."""
        return matrix @ x

    def diagonal(self, matrix: Any) -> Any:
        """The diagonal as a new vector, None where only products are known."""
        return None

    def dense(self, matrix: Any) -> np.ndarray | None:
        """The entries as a NumPy array, perhaps the matrix's own; None where only products are known."""
        return None

    def scaled(self, matrix: Any, exponents: np.ndarray) -> Any:
        """S A S with S = diag(2^exponents) as a new matrix of the same kind, None where there is none."""
        return None

    def rounding(self, matrix: Any, x: Any) -> Any:
        """``|A| @ |x|``, which bounds what A x may lose to rounding; None where entries are unknown."""
        return None

    def native(self, matrix: Any, diagonal: Callable[[], Any]) -> NativeSystem | None:
        """The matrix for the native kernels, nothing of it laid out yet; None where they cannot take it."""
        return None

    def quickest_precision(self, forms: NativeSystem | None, scaling: ScalingLike) -> str:
        """The dtype in which a polynomial over the scaling is applied fastest."""
        return "float64"

    def polynomial(
        self,
        matrix: Any,
        forms: NativeSystem | None,
        recurrence: Recurrence,
        scaling: ScalingLike | None,
        precision: str,
    ) -> tuple[Apply, Any]:
        """z -> P(A) z, or P(B A) B z with a scaling B: products are not counted here.

        Parameters
        ----------
        matrix, forms : the operator's, with what `native` made of it
        recurrence : P
        scaling : B, or None for the identity
        precision : dtype of the values and vectors inside; the result is float64

        Returns
        -------
        The function, and the same for the native conjugate gradients or None.

        Raises
        ------
        OptionError
            The backend does not have this precision for this matrix.
        """
        if precision == "bfloat16":
            raise OptionError("dtype='bfloat16' needs the native kernels and a SciPy sparse matrix; see `nnla doctor`")
        if precision != "float64":
            raise OptionError(f"dtype={precision} needs a SciPy sparse matrix")
        multiply = partial(self.product, matrix)
        return over_scaling(recurrence, multiply, None if scaling is None else scaling.solve), None


def over_scaling(recurrence: Recurrence, multiply: Apply, solve: Apply | None) -> Apply:
    """z -> P(A) z, or P(B A) B z with ``solve`` for B, by the recurrence as it stands."""
    if solve is None:
        return partial(recurrence.apply, multiply)

    def scaled(v: Any) -> Any:
        return solve(multiply(v))

    return lambda z: recurrence.apply(scaled, solve(z))


def _numbers(which: np.ndarray) -> list[int]:
    return (np.flatnonzero(which) if which.dtype == bool else which).tolist()
