"""What models of initial guesses share: what they say of themselves, and the form of a proposal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from nnla.errors import OptionError
from nnla.models.engine_base import EngineBase
from nnla.problems.geometry import Geometry

__all__ = ["GuessBase", "Proposal"]


@dataclass(frozen=True, eq=False)
class Proposal:
    """What the network has to say about a system.

    Attributes
    ----------
    x : (n,) float64 approximate solution; zeros for b = 0
    W : csr_array (n, k), in the units of x, the subspace that x was found in beside the Krylov space, before its parts
        were made to overlap: to deflate a solver of A by, for this and other right-hand sides
    AW : csr_array (n, k), A W
    network_products : products of A with a vector inside the network, and what the products with the overlapping
        vectors amount to by their stored entries
    """

    x: np.ndarray
    W: csr_array
    AW: csr_array
    network_products: int


class GuessBase(EngineBase):
    """A trained model of initial guesses; see `nnla.tasks.InitialGuesses` for what it has to offer.

    Attributes
    ----------
    takes_geometry : whether it was trained with geometry, and needs it
    subspace : whether it makes a `Proposal` by ``propose``; else ``guess`` is asked for each right-hand side
    """

    task = "initial guesses"
    takes_geometry: bool = False
    subspace: bool = False

    def check_geometry(self, geometry: Geometry | None) -> None:
        """Raise `OptionError` for geometry without need, or none where it is needed."""
        if (geometry is not None) != self.takes_geometry:
            raise OptionError(
                "this model was trained with geometry: give dof and coordinates"
                if self.takes_geometry
                else "this model was trained without geometry; leave it out, or load the geometric weights"
            )
