"""Node features of neural sparse linear solvers: a few steps of a classical iteration, normalised.

All in float64 NumPy, for many systems at once: a block-diagonal A, and b laid end to end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from nnla.errors import NonFiniteError, OptionError, ShapeError
from nnla.operators.operator import as_operator
from nnla.preconditioners.krylov_basis import conjugate_gradients

__all__ = ["AUGMENTATIONS", "arnoldi_steps", "augment", "check_system", "divide_by_largest", "jacobi_steps"]

AUGMENTATIONS = ("none", "cg", "arnoldi", "jacobi", "cg+arnoldi", "cg+jacobi")


def check_system(A: Any, b: Any) -> tuple[csr_array, np.ndarray]:
    """A as a float64 CSR matrix and b as (n,), after the checks that a network cannot do without.

    Symmetric is what `nnla.as_operator` takes for it; an `Operator` has passed that already.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, NotSymmetricError
    OptionError
        No entries of A are known.

    Notes
    -----
    Cost: that of `nnla.as_operator`.
    """
    op = as_operator(A, definite=False)
    entries = op.entries()
    if entries is None:
        raise OptionError("a network needs the entries of A as a NumPy or SciPy matrix")
    b = np.asarray(b, dtype=np.float64)
    if b.shape != (op.n,):
        raise ShapeError(f"b has shape {b.shape}, A is {op.n} x {op.n}; give one right-hand side of shape ({op.n},)")
    if not np.all(np.isfinite(b)):
        raise NonFiniteError("b has NaN or Inf; check how it was computed")
    if not np.any(entries.data):
        raise ShapeError("A holds no entry other than zero; there is no graph to work on")
    return entries, b


def divide_by_largest(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Each column of each graph divided by its largest magnitude; zero columns stay zero.

    Notes
    -----
    Cost: three passes over the values.

    References
    ----------
    Grementieri & Galeone (arXiv:2203.06944), section 4.1.

    Examples
    --------
    >>> divide_by_largest(np.array([[1.0], [-2.0], [0.0]]), np.array([0, 2, 3])).ravel()
    array([ 0.5, -1. ,  0. ])
    """
    largest = np.maximum.reduceat(np.abs(values), starts[:-1], axis=0)
    factor = np.divide(1.0, largest, out=np.zeros_like(largest), where=largest > 0)
    return values * np.repeat(factor, np.diff(starts), axis=0)


def arnoldi_steps(A: Any, b: np.ndarray, starts: np.ndarray, steps: int) -> np.ndarray:
    """A b, A^2 b, ... each divided by its largest entry: (n, steps); v = b / |b|, then v <- A v / |A v|_inf.

    Cost: ``steps`` products with A.

    References
    ----------
    Grementieri & Galeone (arXiv:2203.06944), section 4.1, "Arnoldi augmentation".
    """
    out = np.empty((b.size, steps))
    v = divide_by_largest(b[:, None], starts)[:, 0]
    for k in range(steps):
        v = divide_by_largest((A @ v)[:, None], starts)[:, 0]
        out[:, k] = v
    return out


def jacobi_steps(A: Any, b: np.ndarray, starts: np.ndarray, steps: int, *, sign: str = "correct") -> np.ndarray:
    """Jacobi iterates x <- D^-1 (b - M x), M = A - D, from zero: (n, steps), each divided by its largest entry.

    Parameters
    ----------
    sign : "correct", or "authors" for x <- D^-1 (b + M x), as the published code computes it

    Notes
    -----
    Cost: ``steps`` products with A.

    The iteration diverges for most matrices of the paper. Its direction is all that is used, so b is scaled
    along with x before either can overflow. Rows without a diagonal entry get 0.

    References
    ----------
    Grementieri & Galeone (arXiv:2203.06944), section 4.1, "Jacobi augmentation".
    """
    if sign not in ("correct", "authors"):
        raise OptionError(f"the sign of the Jacobi augmentation is 'correct' or 'authors', got {sign!r}")
    D = A.diagonal()
    inverse = np.divide(1.0, D, out=np.zeros_like(D), where=D != 0)
    pull = -1.0 if sign == "correct" else 1.0
    out = np.empty((b.size, steps))
    x, scale = np.zeros(b.size), np.ones(starts.size - 1)
    for k in range(steps):
        M_x = A @ x - D * x
        x = inverse * (np.repeat(scale, np.diff(starts)) * b + pull * M_x)
        largest = np.maximum.reduceat(np.abs(x), starts[:-1])
        shrink = np.divide(1.0, largest, out=np.ones_like(largest), where=largest > 0)
        x, scale = x * np.repeat(shrink, np.diff(starts)), scale * shrink
        out[:, k] = x
    return out


def augment(
    A: Any, b: np.ndarray, starts: np.ndarray, *, augmentation: str, steps: int, jacobi_sign: str = "correct"
) -> np.ndarray:
    """The feature matrix of section 4.1: b, diag(A), and the augmentations, each divided by its largest entry.

    Parameters
    ----------
    A : (n, n) block-diagonal, unscaled
    b : (n,)
    starts : (G + 1,)
    augmentation : one of `AUGMENTATIONS`
    steps : m of each iteration
    jacobi_sign : see `jacobi_steps`

    Returns
    -------
    (n, 2 + m) or, for two iterations, (n, 2 + 2 m). Diagonals are divided by the largest entry of A.

    Notes
    -----
    Cost: ``steps`` products with A for each iteration named.

    References
    ----------
    Grementieri & Galeone, Towards Neural Sparse Linear Solvers, section 4.1.
    """
    if augmentation not in AUGMENTATIONS:
        raise OptionError(f"no augmentation {augmentation!r}; choose one of {', '.join(AUGMENTATIONS)}")
    largest = np.maximum.reduceat(np.abs(A.data), A.indptr[starts[:-1]]) if A.nnz else np.ones(1)
    columns = [divide_by_largest(b[:, None], starts), (A.diagonal() / np.repeat(largest, np.diff(starts)))[:, None]]
    for name in augmentation.split("+"):
        if name == "cg":
            columns.append(divide_by_largest(conjugate_gradients(A, b, starts, steps).iterates, starts))
        elif name == "arnoldi":
            columns.append(arnoldi_steps(A, b, starts, steps))
        elif name == "jacobi":
            columns.append(jacobi_steps(A, b, starts, steps, sign=jacobi_sign))
    return np.concatenate(columns, axis=1)
