"""Sparse Cholesky factorisation by the native kernels: what it would cost, the factor, solutions with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnla.errors import DTypeError, NotPositiveDefiniteError, NotSymmetricError, OptionError, ShapeError
from nnla.kernels import native, why_not
from nnla.kernels.arrays import csr_arrays, plain
from nnla.kernels.limits import INDEX_MAX

__all__ = ["FILL", "Cholesky", "level_structure"]

FILL = 60.0  # operations of a factorisation by the cubed width of the graph (rows by levels), to a factor of five


class Cholesky:
    """The factorisation P A P^T = L L^T of a sparse symmetric positive definite matrix.

    Parameters
    ----------
    A : ``csr_array`` (n, n), float64, both triangles stored
        Rows sorted and without duplicates; the entries of one triangle are read.
    max_flops : the analysis gives up (`complete` is False) when factoring would take more operations than this

    Attributes
    ----------
    n : order of A
    complete : whether the analysis came to its end
    flops : sum of the squared column counts of L, which factoring costs; a lower bound when given up
    nnz : entries of L; a lower bound when given up
    nbytes : memory that `factor` will take; each thread beyond the first may add a part of what is not the factor

    Raises
    ------
    NotSymmetricError
        The pattern is not symmetric.
    OptionError
        The native kernels are not there, or more than 2^31 - 1 entries.

    Notes
    -----
    Making one orders the unknowns by approximate minimum degree and finds the structure of L, which takes a
    small part of the time of factoring and no look at the values. The same object factors any number of
    matrices of the same pattern. Results are bitwise the same in every run and for every number of threads.

    References
    ----------
    Amestoy, Davis, Duff, SIAM J. Matrix Anal. Appl. 17 (1996) 886-905 (ordering).
    Liu, SIAM Review 34 (1992) 82-109 (multifrontal factorisation).

    Examples
    --------
    >>> from nnla.problems import poisson2d
    >>> A = poisson2d(30)
    >>> factor = Cholesky(A).factor()
    >>> x = factor.solve(np.ones(900))
    >>> bool(np.linalg.norm(A @ x - 1) < 1e-10)
    True
    """

    def __init__(self, A: Any, *, max_flops: float = math.inf) -> None:
        if native is None:
            raise OptionError(f"the native Cholesky factorisation is not available: {why_not}")
        indptr, indices = _pattern(A)
        if not max_flops >= 0:
            raise OptionError(f"max_flops must not be negative, got {max_flops}")
        self.n = int(A.shape[0])
        self._data = plain(A.data[: A.nnz])
        self._factored: np.ndarray | None = None  # the entries of the last factor
        try:
            self._native: Any = native.Cholesky(indptr, indices, float(max_flops))
        except ShapeError:
            raise
        except ValueError as error:  # std::invalid_argument, std::length_error
            raise NotSymmetricError(f"this pattern cannot be factored: {error}") from None

    def __repr__(self) -> str:
        state = "factored" if self._native.factored else "analysed" if self.complete else "given up"
        return f"<Cholesky n={self.n}, nnz={self.nnz:.3g}, flops={self.flops:.3g}, {state}>"

    @staticmethod
    def available() -> bool:
        """Whether the native kernels are there."""
        return native is not None

    @property
    def complete(self) -> bool:
        return self._native.complete

    @property
    def flops(self) -> float:
        return self._native.flops

    @property
    def nnz(self) -> int:
        return int(self._native.nnz)

    @property
    def nbytes(self) -> int:
        return int(self._native.bytes)

    @property
    def native(self) -> Any:
        """The object of the native module."""
        return self._native

    def is_factor_of(self, data: np.ndarray) -> bool:
        """Whether the last factor is that of this array, in the same place; what is in it may have changed since.

        Cost: none.
        """
        known = self._factored
        return (
            known is not None
            and known.shape == data.shape
            and known.dtype == data.dtype
            and known.__array_interface__["data"] == data.__array_interface__["data"]
        )

    @property
    def negative(self) -> int:
        """Negative pivots of the last factorisation: as many eigenvalues are negative (Sylvester's law of inertia)."""
        return int(self._native.negative)

    @property
    def order(self) -> np.ndarray:
        """The unknowns in the order of elimination, (n,) int32: row k of L belongs to row order[k] of A."""
        return self._native.order()

    @property
    def pivots(self) -> np.ndarray:
        """The pivots of the last factor, (n,), each at the row of A that it is of. Cost: a pass over them."""
        if not self._native.factored:
            raise OptionError("there is no factor yet; call factor() first")
        return self._native.pivots()

    @property
    def growth(self) -> float:
        """The largest diagonal entry of ``|L| |D| |L|^T`` by the largest one of ``|A|``: at least 1, and 1 if definite.

        The factor is that of A + E with ``|E| <= c eps |L| |D| |L|^T``, c of the order of the entries in a row of L
        and in practice a few: no entry of E is much beyond ``eps * growth`` times the largest one of A. Large where
        a pivot was tiny beside what it eliminated, infinite where that overflowed. It is a bound: a large growth may do
        no harm, and a residual says what it did.

        Cost: a pass over L, a half of a solve.

        References
        ----------
        Higham, Accuracy and Stability of Numerical Algorithms (2002), sections 10.1 and 11.1.
        """
        if not self._native.factored:
            raise OptionError("there is no factor yet; call factor() first")
        return self._native.growth()

    def factor(
        self, data: np.ndarray | None = None, *, max_bytes: float = math.inf, indefinite: bool = False
    ) -> Cholesky:
        """Compute L; returns the object itself.

        Parameters
        ----------
        data : (nnz,) entries in the order of A's; those of A by default
        max_bytes : limit of the memory to take
        indefinite : pivots may be negative, too: L D L^T with D of +1 and -1, see `negative`. Nothing is exchanged
            for stability, so that the factor of an indefinite matrix may be far from exact: look at a residual, and
            at `growth`. It takes as long as a definite factor, whatever the signs

        Raises
        ------
        NotPositiveDefiniteError
            A pivot is not positive (with ``indefinite``: is zero); the message names its row.
        MemoryError
            `nbytes` is more than `max_bytes`, or than there is.
        OptionError
            The analysis was given up.

        Notes
        -----
        Threads may factor and solve with one object. A factor that is there stays in use until the new one is made,
        where `max_bytes` allows for both; after a matrix that is not positive definite there is none.

        Cost: `flops` multiplications and as many additions, `nbytes`.
        """
        if not self.complete:
            raise OptionError("the analysis was given up for its cost; make the object with a larger max_flops")
        if self.nbytes > max_bytes:
            raise MemoryError(f"the Cholesky factor needs {self.nbytes:.3g} bytes, more than {max_bytes:.3g}")
        values = plain(self._data if data is None else data)
        if values.dtype != np.float64:
            raise DTypeError(f"entries to factor are float64, not {values.dtype}")
        if values.shape != self._data.shape:
            raise ShapeError(f"there are {self._data.size} entries to factor, not {values.shape}")
        # The factor that is there serves other threads until the new one is, if memory allows.
        row = self._native.factor(values, indefinite, in_place=2 * self.nbytes > max_bytes)
        self._factored = None if row >= 0 or indefinite else values
        if row >= 0 and indefinite:
            raise NotPositiveDefiniteError(f"the pivot of row {row} is zero: no L D L^T without exchanges")
        if row >= 0:
            raise NotPositiveDefiniteError(f"not positive definite: the pivot of row {row} is not positive")
        return self

    def solve(self, b: np.ndarray) -> np.ndarray:
        """A^-1 b for b of shape (n,) or (n, k), as a new float64 array.

        A column is bitwise the same alone and in any block, whatever the others hold.

        Cost: 4 `nnz` operations a column. L is read twice for up to eight columns together, which takes as long as
        two or three columns do alone.
        """
        b = plain(b, np.float64)
        if b.ndim not in (1, 2) or b.shape[0] != self.n:
            raise ShapeError(f"a right-hand side of shape {b.shape} does not fit a matrix of order {self.n}")
        if not self._native.factored:
            raise OptionError("there is no factor yet; call factor() first")
        if b.size == 0:
            return np.empty(b.shape)
        columns = 1 if b.ndim == 1 else b.shape[1]
        return self._native.solve(b.ravel(), columns).reshape(b.shape)

    def preconditioner(self) -> Any:
        """A^-1 of the matrix that was factored last, as the M of `nnla.krylov.native_cg`, whatever is factored later.

        Cost: none; it keeps the factor.
        """
        if not self._native.factored:
            raise OptionError("there is no factor yet; call factor() first")
        return self._native.preconditioner()


def _pattern(A: Any) -> tuple[np.ndarray, np.ndarray]:
    if A.ndim != 2 or A.shape[0] != A.shape[1]:
        raise ShapeError(f"a matrix to factor is square, not of shape {A.shape}")
    if A.nnz > INDEX_MAX:
        raise OptionError(f"{A.nnz} stored entries are too many to factor; use an iterative method")
    indptr, indices = csr_arrays(A, values=False)
    return indptr, indices


def level_structure(csr: Any) -> tuple[int, float]:
    """Levels of a breadth-first search of the graph of A, and its width (rows by levels) cubed, summed over components.

    `FILL` times the latter predicts the operations of a factorisation before anything is ordered.

    Cost: about a product.

    References
    ----------
    George, Liu, Computer Solution of Large Sparse Positive Definite Systems (1981), chapter 4.
    """
    _, levels, cubed_width = native.level_structure(*csr_arrays(csr, values=False))
    return int(levels), float(cubed_width)
