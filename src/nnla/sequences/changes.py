"""What has changed between one system of a sequence and the next: nothing, the values, or the pattern.

An object is never trusted for being the same one: its arrays may have been changed in place.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from nnla.errors import OptionError
from nnla.kernels.fingerprints import fingerprint

__all__ = ["Change", "Marks", "change_between", "declared_change", "marks_of"]

# where the arrays of each format lie: those of the pattern, and that of the values
_ARRAYS = {
    "csr": (("indptr", "indices"), "data"),
    "csc": (("indptr", "indices"), "data"),
    "bsr": (("indptr", "indices"), "data"),
    "coo": (("row", "col"), "data"),
    "dia": (("offsets",), "data"),
}


class Change(StrEnum):
    """What a matrix is to the one before it."""

    FIRST = "first"  # there was none, or nothing of it is kept
    SAME = "same"  # the same entries
    VALUES = "values"  # other values in the same places
    PATTERN = "pattern"  # other places, or another size


class Marks(NamedTuple):
    """What a matrix is known again by.

    Attributes
    ----------
    kind : format and shape
    pattern : fingerprints of the arrays that say where the entries are
    values : fingerprint of the entries
    """

    kind: tuple[Any, ...]
    pattern: tuple[int, ...]
    values: int


def marks_of(A: Any) -> Marks | None:
    """The marks of a matrix; None where its entries cannot be looked at, or not without a conversion.

    Cost: a pass over its arrays, less than a product takes.

    Examples
    --------
    >>> A = sp.csr_array(np.eye(3))
    >>> before = marks_of(A)
    >>> A.data[1] = 2.0
    >>> change_between(before, marks_of(A)).value
    'values'
    """
    if type(A) is np.ndarray:
        if A.dtype.kind not in "iuf":
            return None
        return Marks(("dense", A.shape, A.dtype.str), (), fingerprint(A))
    if not sp.issparse(A) or A.format not in _ARRAYS:
        return None
    names, data = _ARRAYS[A.format]
    places = [getattr(A, name) for name in names]
    values = getattr(A, data)
    if not all(type(array) is np.ndarray for array in (*places, values)) or values.dtype.kind not in "iuf":
        return None
    kind = (A.format, A.shape, values.shape, values.dtype.str)
    return Marks(kind, tuple([fingerprint(array) for array in places]), fingerprint(values))


def change_between(before: Marks | None, now: Marks | None) -> Change:
    """What has changed from one matrix to the next; what cannot be compared counts as another pattern.

    Examples
    --------
    >>> A = sp.csr_array(np.eye(3))
    >>> change_between(None, marks_of(A)).value, change_between(marks_of(A), marks_of(A.copy())).value
    ('first', 'same')
    """
    if before is None:
        return Change.FIRST
    if now is None or before.kind != now.kind or before.pattern != now.pattern:
        return Change.PATTERN
    return Change.SAME if before.values == now.values else Change.VALUES


def declared_change(same: Any) -> Change | None:
    """What a caller says has changed: ``same=`` True for nothing, "pattern" for the values, False for everything.

    Raises
    ------
    OptionError

    Examples
    --------
    >>> declared_change("pattern").value, declared_change(None) is None
    ('values', True)
    """
    if same is None:
        return None
    if isinstance(same, (bool, np.bool_)):
        return Change.SAME if same else Change.PATTERN
    if isinstance(same, str) and same == "pattern":
        return Change.VALUES
    raise OptionError(f'same must be True, "pattern", False or None to find out, got {same!r}')
