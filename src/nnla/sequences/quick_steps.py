"""Systems that one native call solves whole: nothing is made in Python but the report.

Two calls there are: `nnla.linear.quick` for a small system that stands alone, and `RepeatedCholesky` for matrices of
one pattern, whose analysis takes less than one of the former.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from nnla.errors import NNLAError
from nnla.kernels import native
from nnla.kernels.cholesky import Cholesky
from nnla.kernels.fingerprints import fingerprint
from nnla.linear.quick import QUICK_METHODS, solve_quickly
from nnla.sequences.changes import Change
from nnla.sequences.direct_steps import direct_answer, direct_report
from nnla.sequences.kept import Kept
from nnla.sequences.policy import Action
from nnla.types import Solution

__all__ = ["QuickSteps", "Quickly"]

_MATRICES = (sp.csr_array, sp.csr_matrix)
_VALUE = np.dtype(np.float64)
_MOST = 0 if native is None else int(native.MOST_QUICK_ENTRIES)  # entries that the call for single systems takes
_ANALYSIS = 0.5  # time of an analysis, by that of such a call
_REPEATED = 0.6  # time of a factorisation and solution with it
_PREFIX = 1.12  # what may have been spent when an analysis has been made, by what such calls take alone
_DEAR = 8e-3  # seconds of such a call from which the ordinary way, which weighs more and takes 4 ms, is worth its time
_FOR_GOOD = 1 << 30  # systems: for ever
_NEW, _SAME = "factored with the kept analysis", "the factor was kept"
_ALONE = "a small system, solved in one native call"


class Quickly(NamedTuple):
    """A solution with what is to be said of the step."""

    solution: Solution
    change: Change
    action: Action
    reason: str


class QuickSteps:
    """The native calls, and which of them.

    Parameters
    ----------
    kept : of the sequence; the analysis is kept there
    rtol, atol, method : as in `nnla.solve`
    deterministic : for the reports

    Attributes
    ----------
    repeats : matrices of the pattern that is kept are factored, whatever the policy would weigh
    small : systems may be solved by the call for small ones
    """

    def __init__(self, kept: Kept, rtol: float, atol: float, method: str, deterministic: bool) -> None:
        self.kept, self.rtol, self.atol, self.method, self.deterministic = kept, rtol, atol, method, deterministic
        self.repeats = False
        self.small = method in QUICK_METHODS and type(rtol) is type(atol) is float and rtol < 1.0
        self._places = (-1, -1)  # rows and entries of the matrix before
        self._values = 0  # fingerprint of its entries
        self._factors = False  # whether the last one was factored
        self._alike = 0  # systems in a row with so many
        self._missed = 0  # matrices of another pattern since the analysis
        self._declined = 0  # systems in a row that the call for small ones has declined
        self._skip = 0
        self._dear = 0  # systems in a row that have taken long
        self._spent = 0.0  # seconds of CG on one matrix
        self._factoring = math.inf  # seconds that a factorisation of it is expected to take

    def solve(self, A: Any, b: Any, started: float) -> Quickly | None:
        """x by a native call; None where the ordinary way has to be gone.

        Cost: some ten microseconds beside the call; where it declines, a microsecond or a look at the matrix.
        """
        if type(A) not in _MATRICES or type(b) is not np.ndarray or b.ndim not in (1, 2) or b.dtype != _VALUE:
            return None
        indices, data = A.indices, A.data
        n = A.shape[0]
        if type(data) is not np.ndarray or data.dtype != _VALUE or n != b.shape[0] or A.shape[1] != n or not b.size:
            return None
        repeated = self.kept.repeated
        if self.repeats and repeated is not None and repeated.n == n:
            found = repeated.solve(A, b, self.rtol, self.atol)
            if type(found) is not int:
                return self._answered(found, n, indices.size, started)
            self._missed += 1
        if not self.small or indices.size > _MOST or b.ndim != 1:
            return None
        if self._skip:
            self._skip -= 1
            return None
        return self._alone(A, b, n, indices.size, started)

    def change(self, A: Any) -> Change:
        """What a matrix is to the one that was solved with here, as far as that is known."""
        repeated = self.kept.repeated
        if (
            repeated is None
            or type(A) not in _MATRICES
            or A.data.dtype != _VALUE
            or A.shape != (repeated.n, repeated.n)
        ):
            return Change.SAME if self._values == _fingerprint_of(A) else Change.PATTERN
        return (Change.SAME, Change.VALUES, Change.PATTERN)[repeated.change(A)]

    def _alone(self, A: Any, b: np.ndarray, n: int, entries: int, started: float) -> Quickly | None:
        """A small system, alone or as the first one of its pattern to be analysed."""
        alike = (n, entries) == self._places
        self._alike = self._alike + 1 if alike else 0
        self._places = n, entries
        values, before = fingerprint(A.data), self._values
        self._values = values
        same = alike and values == before
        if (alike and self._worth_analysing()) or (same and self._worth_factoring()):
            found = self._analyse(A, b, started)
            if found is not None:
                return found._replace(change=Change.SAME) if same else found
        solution = solve_quickly(A, b, self.rtol, self.atol, started, self.method)
        if not isinstance(solution, Solution):
            self._declined += 1
            self._skip = min(2**self._declined, 1000) if self._declined > 1 else 0
            return None
        self._declined = 0
        report = solution.report
        self._dear = self._dear + 1 if report.seconds["solve"] > _DEAR else 0
        if self._dear > 1 and not self.deterministic:  # once may be what else ran on the machine
            self._skip = _FOR_GOOD
        self._factors = report.method == "direct"  # else CG is faster, or was asked for
        self._spent = report.seconds["total"] + (self._spent if same else 0.0)
        self._factoring = (report.predicted_seconds or {}).get("direct", math.inf)
        change = Change.PATTERN if not alike else Change.SAME if same else Change.VALUES
        return Quickly(solution, change, Action.COLD, _ALONE)

    def _worth_analysing(self) -> bool:
        """Whether so many systems were alike that an analysis costs little beside them, and the last one served."""
        spent = self._alike + _ANALYSIS + _REPEATED
        return self._factors and self._alike >= 2**self._missed - 1 and spent <= _PREFIX * (self._alike + 1)

    def _worth_factoring(self) -> bool:
        """Whether CG has been paid for one matrix so often that a factorisation adds little to it."""
        asked = self.method != "auto" or self.deterministic
        return not asked and self._factoring <= (_PREFIX - 1.0) * self._spent

    def _analyse(self, A: Any, b: np.ndarray, started: float) -> Quickly | None:
        if not Cholesky.available():
            return None
        try:
            repeated = self.kept.analyse(A, ())
        except (NNLAError, MemoryError):
            self._missed += 1
            return None
        found = repeated.solve(A, b, self.rtol, self.atol)
        self.repeats = True
        return None if type(found) is int else self._answered(found, A.shape[0], A.indices.size, started)

    def _answered(self, found: Any, n: int, entries: int, started: float) -> Quickly:
        factored, answer = found.factored, direct_answer(found)
        why = _NEW if factored else _SAME
        solution = direct_report(n, entries, answer, self.rtol, started, why, self.deterministic)
        if factored:
            return Quickly(solution, Change.VALUES, Action.REFRESH, why)
        return Quickly(solution, Change.SAME, Action.KEEP, why)


def _fingerprint_of(A: Any) -> int | None:
    """Of the entries of a matrix as the calls here take it."""
    return fingerprint(A.data) if type(A) in _MATRICES and type(A.data) is np.ndarray else None
