"""What is kept between the systems of a sequence: an analysis, a set-up with its age, old solutions; by bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.kernels.cholesky import Cholesky
from nnla.preconditioners.scalings import Scaling
from nnla.sequences.guess import SolutionSpace

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
    M : as CG takes it
    order : of its rows, None for the user's
    sparse : the native factorisation of "direct", None for a dense one
    nbytes : roughly
    seconds, solves : spent on it and on solves with it, and how many these were
    iterations : of a solve with it when it was new, by logarithm of the residual's reduction
    """

    method: str
    number: int
    diagonal: np.ndarray
    M: Any
    order: np.ndarray | None = None
    sparse: Cholesky | None = None
    nbytes: int = 0
    seconds: float = 0.0
    solves: int = 0
    iterations: float = 0.0

    @property
    def average(self) -> float:
        """Seconds a solve, the set-up included."""
        return self.seconds / self.solves if self.solves else math.inf


@dataclass
class Kept:
    """All that is kept.

    Attributes
    ----------
    analysis : a native factorisation whose analysis serves the pattern
    pattern : of it
    set_up : the present set-up, None for none
    space : old solutions, None for none
    space_number : of the matrix that they are A-orthonormal for
    """

    analysis: Cholesky | None = None
    pattern: tuple[int, ...] = ()
    set_up: SetUp | None = None
    space: SolutionSpace | None = None
    space_number: int = -1

    @property
    def nbytes(self) -> int:
        """Memory of it, roughly."""
        size = 0 if self.space is None else self.space.nbytes
        if self.set_up is not None:
            size += self.set_up.nbytes + self.set_up.diagonal.nbytes
        if self.analysis is not None and (self.set_up is None or self.set_up.sparse is not self.analysis):
            size += self.analysis.nbytes
        return size

    def within(self, most: float) -> None:
        """Drop old solutions, then the set-up, until it takes no more bytes than these."""
        while self.nbytes > most and self.space is not None and len(self.space):
            self.space.drop()
        if self.nbytes > most and self.set_up is not None:
            self.set_up = None
        if self.nbytes > most:
            self.analysis, self.pattern = None, ()


def bytes_of(method: str, M: Any, n: int, nnz: int) -> int:
    """Memory of a set-up that is no factor, roughly."""
    if isinstance(M, Scaling):
        return _SET_UP_BYTES.get(method, 0) * nnz + (0 if M.inverse is None else M.inverse.nbytes)
    return 12 * nnz + 8 * n
