"""Generated symmetric positive definite systems of the fields that solve them: a table of families, and one draw.

Every parameter of a system (geometry, contrast, order of the unknowns, weights, load ...) comes from its seed, so that
two seeds are different systems of the same field. They are what the choice of a method is learned from.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from nnla.errors import OptionError
from nnla.problems import (
    systems_fields,
    systems_flow,
    systems_frames,
    systems_graphics,
    systems_graphs,
    systems_grids,
    systems_least_squares,
    systems_networks,
    systems_optimisation,
    systems_patterns,
    systems_solids,
    systems_statistics,
)
from nnla.problems.systems_types import LinearSystem, SystemFamily, draw_order, mirrored, reordered

__all__ = ["SYSTEM_FAMILIES", "LinearSystem", "SystemFamily", "linear_system"]

_HOMES = (
    systems_grids,
    systems_least_squares,
    systems_networks,
    systems_optimisation,
    systems_patterns,
    systems_solids,
    systems_statistics,
    systems_fields,
    systems_flow,
    systems_frames,
    systems_graphics,
    systems_graphs,
)

#: name -> the family; its docstring and source say what it is.
SYSTEM_FAMILIES: Mapping[str, SystemFamily] = MappingProxyType(
    {name: family for home in _HOMES for name, family in home.FAMILIES.items()}
)


def linear_system(family: str, n: int, *, seed: int = 0) -> LinearSystem:
    """Draw a symmetric positive definite system of a family.

    Parameters
    ----------
    family : one of `SYSTEM_FAMILIES`, which says what each is and where its structure is described
    n : unknowns wanted, within the family's `smallest` and `largest`; met to some 30 %, small ones
        of elements to a factor of two
    seed : whole number >= 0; everything but the size is drawn from it

    Returns
    -------
    LinearSystem
        A is exactly symmetric and positive definite by construction, float64, rows sorted, int32 indices.

    Raises
    ------
    OptionError
        An unknown family, an n outside its range, no seed.

    Notes
    -----
    Cost: some 1 to 10 microseconds an unknown, 40 on tetrahedra, and a few times the memory of A.

    Validity: definite as long as rounding is smaller than what makes it so; condition numbers reach 10^12, as those of
    real systems do.

    Examples
    --------
    >>> system = linear_system("dc power flow", 300, seed=1)
    >>> bool(abs(system.A - system.A.T).max() == 0), system.b.shape == (system.A.shape[0],)
    (True, True)
    """
    if not isinstance(family, str) or family not in SYSTEM_FAMILIES:
        raise OptionError(f"unknown family {family!r}: use one of {', '.join(SYSTEM_FAMILIES)}")
    row = SYSTEM_FAMILIES[family]
    if not _whole(n) or not row.smallest <= n <= row.largest:
        raise OptionError(f"n={n!r} is out of range for {family!r}: give {row.smallest} to {row.largest}")
    if not _whole(seed) or seed < 0:
        raise OptionError(f"seed={seed!r} is no seed: give a whole number >= 0")
    rng = np.random.default_rng([int(seed), zlib.crc32(family.encode())])
    order = draw_order(rng, row.orders)
    drawn, b, parameters = row.draw(rng, int(n))
    A, b = reordered(mirrored(drawn), np.asarray(b, dtype=np.float64), order, rng)
    return LinearSystem(A, b, family, {**parameters, "order": order})


def _whole(x: object) -> bool:
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)
