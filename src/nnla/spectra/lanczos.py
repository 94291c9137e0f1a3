"""The Lanczos process, once: the three-term recurrence behind probes, functions of matrices and estimates of spectra.

What restarts and locks (`nnla.eigen.thick_restart`) keeps a basis of its own, and has no three-term recurrence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any, NamedTuple, Protocol

import numpy as np

from nnla.errors import NonFiniteError

__all__ = ["Step", "Vectors", "lanczos", "tridiagonal"]


class Vectors(Protocol):
    """What the process does with vectors; every `nnla.operators.spaces.Space` can."""

    def inner(self, x: Any, y: Any) -> Any:
        """Dot product, or those of the columns."""
        ...

    def norm(self, x: Any) -> Any:
        """Euclidean norm, or those of the columns."""
        ...

    def row(self, values: Any, like: Any) -> Any:
        """Per-column numbers that broadcast over a block."""
        ...


class Step(NamedTuple):
    """One step; numbers for a vector, (k,) arrays for a block of k columns.

    Attributes
    ----------
    vector : what A was applied to, (n,) or (n, k)
    alpha, beta : of the tridiagonal matrix; ``beta`` couples to the next step
    following : the next Lanczos vector (of A B in the scaled process); zero where ``beta`` is
    """

    vector: Any
    alpha: Any
    beta: Any
    following: Any


def lanczos(
    matvec: Callable[[Any], Any],
    start: Any,
    space: Vectors,
    *,
    solve: Callable[[Any], Any] | None = None,
    image: Any = None,
    basis: Any = None,
) -> Iterator[Step]:
    """The Lanczos process of a symmetric A from a unit vector, or from every column of a block side by side.

    Parameters
    ----------
    matvec : products with A, for arrays of the start's shape
    start : (n,) or (n, k) with columns of norm 1 (or 0: such a column stays 0)
    space : of the vectors
    solve : products with an SPD scaling B; the process is then that of B A in the inner product of B^-1
    image : B start, where ``solve`` is given; start'B start is 1 then
    basis : (m, n) array of the start's kind that receives the first m vectors; every next one is orthogonalised twice
        against them. None: nothing is reorthogonalised

    Yields
    ------
    Step
        Without end: when to stop, and which ``beta`` is as good as zero, is the caller's to judge.

    Raises
    ------
    NonFiniteError
        A product overflowed.

    Notes
    -----
    Cost of a step: one product with A (and with B), two vectors stored beside the one worked on; with a basis of j
    vectors 8 n j operations more.

    References
    ----------
    Lanczos (1950); Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., algorithm 6.15, in its preconditioned
    form.

    Examples
    --------
    >>> from nnla.operators.numpy_space import NUMPY
    >>> d = np.array([1.0, 2.0, 4.0])
    >>> steps = lanczos(lambda v: d * v, np.full(3, 3**-0.5), NUMPY)
    >>> step = next(steps)
    >>> round(step.alpha, 12), round(step.beta**2, 12)
    (2.333333333333, 1.555555555556)
    """

    vector = start.ndim == 1  # its numbers are floats: NumPy's functions would cost more than a short product

    def row(values: Any) -> Any:
        return values if vector else space.row(values, start)

    v, z = start, start if solve is None else image
    old = beta = None
    for j in count():
        w = matvec(z)
        if old is not None:
            w = w - row(beta) * old  # line 3 of algorithm 6.15
        alpha = space.inner(w, z)  # line 4
        w = w - row(alpha) * v  # line 5
        if basis is not None:
            basis[j] = v
            for _ in range(2):
                w = w - (basis[: j + 1] @ w) @ basis[: j + 1]
        y = w if solve is None else solve(w)
        beta = space.norm(w) if solve is None else math.sqrt(max(space.inner(w, y), 0.0))  # line 6
        if not (math.isfinite(alpha + beta) if vector else np.all(np.isfinite(alpha + beta))):
            raise NonFiniteError("a product with A overflowed in the Lanczos process; rescale A")
        unit = beta or 1.0 if vector else row(np.where(beta > 0, beta, 1.0))
        following = w / unit  # line 7
        yield Step(z, alpha, beta, following)
        old, v, z = v, following, following if solve is None else y / unit


def tridiagonal(process: Iterator[Step], steps: int, *, exhausted: float = 1e-13) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of a vector's process.

    Parameters
    ----------
    process : of `lanczos`
    steps : how many; fewer where the Krylov space ends
    exhausted : share of the largest |alpha| + beta up to which a ``beta`` is zero

    Returns
    -------
    alpha, beta : (k,) arrays; ``beta[-1]`` couples to step k + 1, 0 where the space has ended

    Notes
    -----
    Cost: that of ``steps`` steps of the process; two numbers a step are kept.

    References
    ----------
    Lanczos (1950); Saad, Iterative Methods for Sparse Linear Systems, 2nd ed., algorithm 6.15.

    Examples
    --------
    >>> from nnla.operators.numpy_space import NUMPY
    >>> tridiagonal(lanczos(lambda v: 3.0 * v, np.array([0.6, 0.8]), NUMPY), 5)
    (array([3.]), array([0.]))
    """
    top = 0.0
    alpha: list[Any] = []
    beta: list[Any] = []
    for step in islice(process, steps):
        top = max(top, abs(step.alpha) + step.beta)
        alpha.append(step.alpha)
        beta.append(step.beta if step.beta > exhausted * top else 0.0)
        if not beta[-1]:
            break
    return np.array(alpha), np.array(beta)
