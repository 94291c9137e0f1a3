"""What a sparse matrix looks like: gathered in the pass that validates it, asked by everything that chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.kernels import native

__all__ = ["Structure", "structure_of", "verified_structure"]

_SLICE = 16  # rows of a slice of the sliced format
_INDEX_TYPES = frozenset({np.dtype(np.int32), np.dtype(np.int64)})


@dataclass(frozen=True, eq=False)
class Structure:
    """Facts on the stored entries of a canonical CSR matrix.

    Attributes
    ----------
    diagonal : float64 (n,), read-only, 0 where no entry is stored
    nnz : stored entries
    bandwidth : largest \\|i - j\\| of a stored entry
    shortest_row, longest_row : stored entries of a row
    slots : entries of slices of 16 rows, each padded to its longest row; ``slots / nnz`` is what a sliced
        format would pay
    constant_diagonal : all diagonal entries are equal
    nonpositive_off_diagonal : no entry off the diagonal is positive, as in an M-matrix
    exactly_symmetric : True if a_ij == a_ji bit by bit, None if that was not looked at
    """

    diagonal: np.ndarray
    nnz: int
    bandwidth: int
    shortest_row: int
    longest_row: int
    slots: int
    constant_diagonal: bool
    nonpositive_off_diagonal: bool
    exactly_symmetric: bool | None = None

    @property
    def mean_row(self) -> float:
        """Stored entries a row."""
        return self.nnz / max(1, self.diagonal.size)


def verified_structure(indptr: Any, indices: Any, data: Any, rtol: float | None) -> Structure | None:
    """The structure of a CSR matrix if it passes every check of `nnla.as_operator`, else None: look closer.

    With `rtol` None its values are not checked, and only the pattern must be canonical. None does not mean
    wrong: without the native kernels, and for matrices with stored zeros on one side only, it is the answer,
    too. Arrays need not be valid in any way, only one-dimensional.

    Cost: about two products with SciPy's CSR.
    """
    if native is None or not _plain(indptr, indices, data):
        return None
    if rtol is None:
        return _described(indptr, indices, data)
    facts = native.check_spd(indptr, indices, data, rtol)
    return None if facts is None else _structure(facts)


def structure_of(csr: Any) -> Structure:
    """The structure of a canonical CSR matrix, whatever its values.

    Cost: about a product; some ten without the native kernels.
    """
    if native is not None and _plain(csr.indptr, csr.indices, csr.data):
        structure = _described(csr.indptr, csr.indices, csr.data)
        if structure is not None:
            return structure
    n, lengths = len(csr.indptr) - 1, np.diff(csr.indptr).astype(np.int64)
    rows = np.repeat(np.arange(n), lengths)
    off = csr.indices != rows
    diagonal = csr.diagonal()
    padded = np.zeros(-(-n // _SLICE) * _SLICE, dtype=np.int64)
    padded[:n] = lengths
    return _structure(
        (
            diagonal,
            int(csr.nnz),
            int(np.abs(csr.indices - rows).max(initial=0)),
            int(lengths.min(initial=csr.nnz)),
            int(lengths.max(initial=0)),
            int(_SLICE * padded.reshape(-1, _SLICE).max(axis=1).sum()),
            bool(np.all(diagonal == diagonal[:1])),
            bool(np.all(csr.data[off] <= 0)),
        )
    )


def _described(indptr: Any, indices: Any, data: Any) -> Structure | None:
    facts = native.describe_csr(indptr, indices, data)
    return None if facts is None else _structure(facts[:-1])  # the last is on symmetry, which it did not look at


def _structure(facts: Any) -> Structure:
    facts[0].flags.writeable = False
    return Structure(*facts)


def _plain(indptr: Any, indices: Any, data: Any) -> bool:
    # What native code takes: anything else would be converted on the way, behind the checks' back.
    return (
        all(isinstance(part, np.ndarray) for part in (indptr, indices, data))
        and indptr.dtype == indices.dtype
        and indptr.dtype in _INDEX_TYPES
        and data.dtype == np.float64
        and all(part.ndim == 1 and part.flags.c_contiguous and part.flags.aligned for part in (indptr, indices, data))
    )
