"""The system that ``nnla solve`` runs when it is given no file."""

from __future__ import annotations

import numpy as np

from nnla.problems.gallery import power_grid
from nnla.problems.spd import Problem

__all__ = ["demo"]

_PALETTE = ((58.8, 70), (29.4, 10), (392.2, 2), (235.3, 4), (130.7, 4), (90.5, 4), (36.8, 6))


def demo() -> Problem:
    """An on-chip power grid of about 40 000 nodes: find the voltage drop under random loads.

    Returns
    -------
    Problem
        A: SPD, wires over a plane grid with supply nodes (`nnla.problems.gallery.power_grid`), as in the real
        G2_circuit; b: current drawn at one node in twenty. Plain CG takes about 1200
        iterations to 1e-8.

    Notes
    -----
    Cost: some 20 ms.

    References
    ----------
    As `nnla.problems.gallery.power_grid`.

    Examples
    --------
    >>> p = demo()
    >>> p.A.shape == (p.b.size, p.b.size)
    True
    """
    # Milder than G2_circuit, for which plain CG takes several thousand iterations at this size.
    A = power_grid(200, 120, wires=(29.4,) * 4, vias=(10.0,) * 4, supply=200.0, palette=_PALETTE, seed=2024)
    rng = np.random.default_rng(2024)
    n = len(A.indptr) - 1
    b = np.where(rng.random(n) < 0.05, rng.exponential(1e-3, n), 0.0)
    return Problem("demo: power grid", A, b, meta={"kind": "demo", "seed": 2024})
