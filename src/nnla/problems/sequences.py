"""Generated sequences of symmetric positive definite systems as their users meet them: a table of families, and one.

Each is the loop of a method that is in use (time steps, Newton, an optimiser, a sampler ...), run with plain solvers of
SciPy; what it yields are its systems in their order.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from nnla.errors import OptionError
from nnla.problems import (
    sequences_fields,
    sequences_networks,
    sequences_optimisation,
    sequences_solids,
    sequences_statistics,
)
from nnla.problems.sequences_types import Sequence, SequenceFamily

__all__ = ["SEQUENCE_FAMILIES", "SequenceFamily", "system_sequence"]

_HOMES = (sequences_fields, sequences_solids, sequences_statistics, sequences_networks, sequences_optimisation)

#: name -> the family; its docstring and source say what it is.
SEQUENCE_FAMILIES: Mapping[str, SequenceFamily] = MappingProxyType(
    {name: family for home in _HOMES for name, family in home.FAMILIES.items()}
)


def system_sequence(family: str, n: int, steps: int, *, seed: int = 0) -> Sequence:
    """The systems of one run of a family, one after the other.

    Parameters
    ----------
    family : one of `SEQUENCE_FAMILIES`, which says what each is and where it is described
    n : unknowns wanted, within the family's `smallest` and `largest`; met to some 30 %, small ones
        to a factor of two; where n grows along the sequence, that of the last system
    steps : systems wanted, at least 1; one that converges earlier starts afresh with other data
    seed : whole number >= 0; everything but the size is drawn from it

    Returns
    -------
    iterator of (A, b)
        A is a csr_array (n, n), exactly symmetric and positive definite by construction, float64, rows sorted, int32
        indices; b has shape (n,). The same object A comes again where the matrix is the same, and nothing that was
        yielded is changed later.

    Raises
    ------
    OptionError
        An unknown family, an n outside its range, no number of steps, no seed.

    Notes
    -----
    Cost: where a system depends on the solution of the one before, one solve by SuperLU (by CG for heat) a step.

    Validity: a function of the arguments on one machine and version of SciPy; elsewhere up to rounding, which the
    steps of an optimiser may enlarge.

    Examples
    --------
    >>> run = list(system_sequence("drift 2d", 400, 3, seed=1))
    >>> len(run), bool(run[0][0].nnz == run[1][0].nnz), bool((run[0][0].data == run[1][0].data).all())
    (3, True, False)
    """
    if not isinstance(family, str) or family not in SEQUENCE_FAMILIES:
        raise OptionError(f"unknown family {family!r}: use one of {', '.join(SEQUENCE_FAMILIES)}")
    row = SEQUENCE_FAMILIES[family]
    if not _whole(n) or not row.smallest <= n <= row.largest:
        raise OptionError(f"n={n!r} is out of range for {family!r}: give {row.smallest} to {row.largest}")
    if not _whole(steps) or steps < 1:
        raise OptionError(f"steps={steps!r} is no number of systems: give a whole number >= 1")
    if not _whole(seed) or seed < 0:
        raise OptionError(f"seed={seed!r} is no seed: give a whole number >= 0")
    rng = np.random.default_rng([int(seed), zlib.crc32(f"sequence {family}".encode())])
    return itertools.islice(row.draw(rng, int(n), int(steps)), int(steps))


def _whole(x: object) -> bool:
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)
