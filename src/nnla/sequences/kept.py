"""What is kept between the systems of a sequence: an analysis, a set-up with its age, old solutions; by bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from nnla.kernels.cholesky import Cholesky
from nnla.kernels.repeated import RepeatedCholesky
from nnla.krylov.deflated_cg import DeflationBasis
from nnla.krylov.solution_space import SolutionSpace
from nnla.linear.direct import Factor
from nnla.preconditioners.scalings import Scaling

__all__ = ["Kept", "SetUp", "bytes_of"]

_SET_UP_BYTES = {"ic": 12, "amg": 40, "jacobi": 0, "cg": 0}  # for each stored entry of A, roughly


@dataclass
class SetUp:
    """What solves systems with one matrix, and preconditions CG for later ones.

    Attributes
    ----------
    method : "direct", "ic", "amg", "jacobi", "cg" or that of a polynomial
    number : of the matrix that it is of
    diagonal : of that matrix
    M : as CG takes it; None for a factor that is in `Kept.repeated`, until it is asked for
    order : of its rows, None for the user's
    factor : of "direct", where it is not in `Kept.repeated`
    nbytes : roughly
    seconds, solves : spent on it and on solves with it, and how many these were
    """

    method: str
    number: int
    diagonal: np.ndarray
    M: Any = None
    order: np.ndarray | None = None
    factor: Factor | None = None
    nbytes: int = 0
    seconds: float = 0.0
    solves: int = 0

    @property
    def average(self) -> float:
        """Seconds a solve, the set-up included."""
        return self.seconds / self.solves if self.solves else math.inf


@dataclass
class Kept:
    """All that is kept.

    Attributes
    ----------
    repeated : an analysis of a pattern, with the factor of the last matrix that had it
    pattern : fingerprints of that pattern, () where it is not that of any one matrix
    places : its ``indptr`` and ``indices``, in copies
    set_up : the present set-up, None for none
    space : old solutions, None for none
    space_number : of the matrix that they are A-orthonormal for
    basis, basis_number : to deflate CG by, None for none; of the matrix that it is A-orthonormal for
    """

    repeated: RepeatedCholesky | None = None
    pattern: tuple[int, ...] = ()
    places: tuple[np.ndarray, np.ndarray] | None = None
    set_up: SetUp | None = None
    space: SolutionSpace | None = None
    space_number: int = -1
    basis: DeflationBasis | None = None
    basis_number: int = -1

    def analyse(self, csr: Any, pattern: tuple[int, ...], analysed: Cholesky | None = None) -> RepeatedCholesky:
        """The analysis of a matrix, kept in the place of the one before. Cost: an ordering, unless it was analysed."""
        self.repeated, self.set_up = None, None
        made = RepeatedCholesky(csr, analysed=analysed)
        self.places = csr.indptr.copy(), csr.indices.copy()
        self.repeated, self.pattern = made, pattern
        return made

    def matrix_of_places(self, n: int) -> Any:
        """The kept pattern as a matrix, None without one of this order."""
        if self.places is None or self.places[0].size != n + 1:
            return None
        indptr, indices = self.places
        matrix = sp.csr_array((np.empty(indices.size), indices, indptr), shape=(n, n))
        matrix.has_canonical_format = True
        return matrix

    @property
    def nbytes(self) -> int:
        """Memory of it, roughly."""
        size = 0 if self.space is None else self.space.nbytes
        size += 0 if self.basis is None else self.basis.nbytes
        if self.set_up is not None:
            size += self.set_up.nbytes + self.set_up.diagonal.nbytes
        if self.repeated is not None:
            size += self.repeated.nbytes
        if self.places is not None:
            size += self.places[0].nbytes + self.places[1].nbytes
        return size

    def within(self, most: float) -> None:
        """Drop old solutions, then the set-up, then the analysis, until they take no more bytes than these."""
        while self.nbytes > most and self.space is not None and len(self.space):
            self.space.drop()
        if self.nbytes > most:
            self.basis = None
        if self.nbytes > most:
            self.set_up = None
        if self.nbytes > most:
            self.repeated, self.places, self.pattern = None, None, ()


def bytes_of(method: str, M: Any, n: int, nnz: int) -> int:
    """Memory of a set-up that is no factor, roughly."""
    if isinstance(M, Scaling):
        return _SET_UP_BYTES.get(method, 0) * nnz + (0 if M.inverse is None else M.inverse.nbytes)
    return 12 * nnz + 8 * n
