"""What a method works on top of: nothing, the diagonal, an incomplete factorisation, or the user's M.

A scaling B is SPD; polynomials are then applied as P(B A) B, which needs products with A and
solves with B only, and is symmetric positive definite when P > 0 on the spectrum of B A.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import matmul
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from nnla.errors import NonFiniteError, OptionError, ShapeError
from nnla.operators.bound_polynomial import CallableOperator
from nnla.operators.gradients import refuse_gradient
from nnla.operators.kinds import is_torch, namespace
from nnla.operators.numpy_space import Products
from nnla.operators.operator import Operator
from nnla.operators.spaces import Space
from nnla.operators.validation import asarray
from nnla.types import Kind

__all__ = ["SCALINGS", "Scaling", "bind_amg", "bind_scaling", "declared_kind", "kind_of"]

SCALINGS = ("none", "jacobi", "ic")


@dataclass(frozen=True)
class Scaling:
    """A bound scaling.

    Attributes
    ----------
    name : "none", "jacobi", "ic", "amg" or "user"
    solve : callable r -> B r for (n,) and (n, k)
    seconds : set-up time
    cost : work of one solve in products with A, roughly
    inverse : (n,) the diagonal of B where B is diagonal, for the native kernels; else None
    native : B as a native preconditioner, or None
    note : what the report should say of it
    shift : what had to be added to the diagonal, relative to it, for an incomplete factorisation to exist
    kind : what B may be used for; what a user's M does not say is assumed, `Kind.LINEAR_SPD`
    source : a given M that counts its applications, and the products of an operator of its own; else None
    """

    name: str
    solve: Callable[[Any], Any]
    seconds: float = 0.0
    cost: float = 0.0
    inverse: np.ndarray | None = None
    native: Any = None
    note: str = ""
    shift: float = 0.0
    kind: Kind = Kind.LINEAR_SPD
    source: CallableOperator | None = None

    def __call__(self, r: Any) -> Any:
        """B r."""
        return self.solve(r)

    @property
    def operator(self) -> Operator | None:
        """What a given M multiplies by."""
        return getattr(self.source, "operator", None)

    @property
    def applies(self) -> int:
        """Of a given M that counts them."""
        return getattr(self.source, "applies", 0)

    def count(self, applies: int) -> None:
        """Scalings are not counted."""


def bind_scaling(op: Operator, scaling: str | Any = "none") -> Scaling:
    """Build a scaling for an operator.

    Parameters
    ----------
    op : Operator
    scaling : "none", "jacobi", "ic", or an SPD preconditioner (LinearOperator, matrix, callable)

    Raises
    ------
    OptionError
        Unknown name, or the operator does not offer what the scaling needs.
    NotPositiveDefiniteError
        The incomplete factorisation breaks down even with shifts.

    Notes
    -----
    Cost: "none": nothing; "jacobi": n divisions; "ic": the time of some ten products
    (`nnla.preconditioners.incomplete_cholesky.ic0`); no products with A.

    References
    ----------
    Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., sections 10.2 and 10.3.
    """
    if not isinstance(scaling, str):
        return _user(op, scaling)
    if scaling == "none":
        return Scaling("none", lambda r: r)
    if scaling == "jacobi":
        return _jacobi(op)
    if scaling == "ic":
        if op.csr is None:
            raise OptionError("incomplete Cholesky needs a SciPy sparse matrix; use scaling='jacobi' or 'none'")
        from nnla.preconditioners.incomplete_cholesky import ic0

        started = time.perf_counter()
        # A factor rounded to float32 is still symmetric positive definite, and as good.
        factor = ic0(op.definite(), shift="auto", modified="auto", dtype=np.float32, triangle="upper")
        cost = 1.0 if factor.native is not None else 2.5
        return Scaling("ic", factor.solve, time.perf_counter() - started, cost, None, factor.native, "", factor.shift)
    raise OptionError(f"unknown scaling {scaling!r}; choose from {', '.join(SCALINGS)}")


def bind_amg(op: Operator) -> Scaling:
    """A multigrid V-cycle over PyAMG's coarsening.

    Raises
    ------
    OptionError, MissingDependencyError, NotPositiveDefiniteError
        No entries, no PyAMG, or no hierarchy for this matrix.

    Notes
    -----
    Cost: a set-up of some ten to fifty products; `Multigrid.work` products' worth an application.

    References
    ----------
    As `nnla.preconditioners.multigrid.multigrid`.
    """
    from nnla.preconditioners.multigrid import multigrid

    if op.csr is None:
        raise OptionError("method='amg' needs a SciPy sparse matrix")
    cycle = multigrid(op.definite())
    return Scaling("amg", cycle.solve, cycle.seconds, cycle.work, None, cycle.native, cycle.describe())


def _jacobi(op: Operator) -> Scaling:
    diagonal = op.scaling_diagonal()
    if diagonal is None:
        raise OptionError("Jacobi scaling needs the diagonal, which this operator does not offer; use 'none'")
    inverse = 1.0 / diagonal
    column = inverse[:, None]

    def solve(r: Any) -> Any:
        return r * (inverse if r.ndim == 1 else column)

    return Scaling("jacobi", solve, 0.0, 0.1, None if op.native is None else inverse)


def _user(op: Operator, M: Any) -> Scaling:
    space = op.space
    apply: Callable[[Any], Any]
    if isinstance(M, LinearOperator) or hasattr(M, "shape"):
        if tuple(M.shape) != op.shape:
            raise ShapeError(f"M has shape {tuple(M.shape)} but A is {op.n}x{op.n}")
        apply = _multiplication(space, M, op.n)
    elif callable(M):
        apply = M
    else:
        raise OptionError("M must be a LinearOperator, a matrix or a callable r -> M r")

    def solve(r: Any) -> Any:
        # copies both ways: M may work in its argument, or return a buffer of its own that it will use again
        z = apply(space.copy(r))
        refuse_gradient(z, "M r")
        z = space.own(z)
        if tuple(z.shape) not in (tuple(r.shape), (*r.shape, 1)):
            raise ShapeError(f"M r has shape {tuple(z.shape)} for r of shape {tuple(r.shape)}; it must keep the shape")
        return space.copy(z).reshape(r.shape)

    source = M if isinstance(M, CallableOperator) else None
    return Scaling("user", solve, 0.0, 1.0, kind=kind_of(M), source=source)


def _multiplication(space: Space, M: Any, n: int) -> Callable[[Any], Any]:
    """r -> M r for an M with a shape: of the vectors' own kind where it can be, else by way of the host.

    Raises
    ------
    DTypeError, NonFiniteError, GradientError
    """
    if isinstance(M, CallableOperator):  # which takes every kind
        return partial(matmul, M)
    refuse_gradient(M, "M")
    if isinstance(M, np.ndarray) or is_torch(M):
        own = space.own(M if is_torch(M) else asarray(M, "M"))
        if not space.finite(_stored(own) if is_torch(own) else own):
            raise NonFiniteError("M contains NaN or Inf; repair it first")
        return partial(matmul, own)
    if space.name == "numpy" and not isinstance(M, LinearOperator):
        return partial(matmul, M)
    on_host = Products(M, n, "M")  # a LinearOperator may know vectors only
    return partial(matmul, on_host) if space.name == "numpy" else lambda r: on_host @ space.host(r)


def _stored(M: Any) -> Any:
    """The entries of a tensor that it stores."""
    if M.is_sparse:
        return M.coalesce().values()
    return M if M.layout == namespace(M).strided else M.values()


def declared_kind(M: Any) -> Kind | None:
    """What an operator says that it may be used for; None where it says nothing of it.

    >>> declared_kind(np.eye(2)) is None
    True
    """
    kind = getattr(M, "kind", None)  # other libraries' objects may have a kind of their own
    return Kind(kind) if isinstance(kind, str) and kind in tuple(Kind) else None


def kind_of(M: Any) -> Kind:
    """The same, and linear and SPD for what says nothing.

    >>> kind_of(np.eye(2)).value
    'linear-spd'
    """
    return declared_kind(M) or Kind.LINEAR_SPD
