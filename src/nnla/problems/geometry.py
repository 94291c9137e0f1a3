"""Where the unknowns of a structure lie and what they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnla.errors import OptionError, ShapeError

__all__ = ["DOFS", "Geometry"]

DOFS = 6  # degrees of freedom of a node: displacements along and rotations about x, y, z


@dataclass(frozen=True, eq=False)
class Geometry:
    """What each unknown is, and where.

    Attributes
    ----------
    dof : (n,) integers 0 to 5: displacements along and rotations about x, y, z
    coordinates : (n, 3)
    """

    dof: np.ndarray
    coordinates: np.ndarray

    def check(self, n: int) -> None:
        """Raise `ShapeError` or `OptionError` unless this is the geometry of n unknowns."""
        dof, places = np.asarray(self.dof), np.asarray(self.coordinates)
        if dof.shape != (n,) or places.shape != (n, 3):
            raise ShapeError(
                f"geometry of {n} unknowns is dof ({n},), coordinates ({n}, 3); got {dof.shape}, {places.shape}"
            )
        if dof.dtype.kind not in "iu" or dof.min() < 0 or dof.max() >= DOFS or not np.all(np.isfinite(places)):
            raise OptionError("dof must be integers from 0 to 5, and coordinates finite numbers")

    def features(self) -> np.ndarray:
        """(n, 28): type, position in the bounding box, and their products, as rigid motions are made of."""
        places = np.asarray(self.coordinates, dtype=np.float64)
        low, high = places.min(axis=0), places.max(axis=0)
        plan = max(float((high - low)[:2].max()), 1e-300)
        tall = max(float(high[2] - low[2]), 1e-300)
        x, y = ((places[:, k] - (low[k] + high[k]) / 2) / plan for k in (0, 1))
        z = (places[:, 2] - low[2]) / tall
        kind = np.eye(DOFS)[np.asarray(self.dof)]
        base = np.stack([x, y, z, np.full(x.size, np.log(tall / plan))], axis=1)
        return np.concatenate([base, kind, *(kind * v[:, None] for v in (x, y, z))], axis=1)

    def rigid_motions(self, part: np.ndarray) -> np.ndarray:
        """Translations along and rotations about x, y, z of each part, (n, 6), each at most 1 in every part."""
        dof, places = np.asarray(self.dof), np.asarray(self.coordinates, dtype=np.float64)
        counts = np.bincount(part)[:, None]
        centres = np.stack([np.bincount(part, weights=v) for v in places.T], axis=1) / counts
        arm = places - centres[part]
        out = np.zeros((dof.size, DOFS))
        out[np.arange(dof.size), dof] = 1.0  # displacements of translations, turns of rotations
        for axis in range(3):
            moved = np.cross(np.eye(3)[axis], arm)
            rows = np.nonzero(dof < 3)[0]
            out[rows, 3 + axis] = moved[rows, dof[rows]]
        return out
