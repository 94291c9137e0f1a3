"""The module `nnla.matfun` as something to call: its type."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from nnla.functions.multiply import matfun

__all__ = ["CallableModule"]


class CallableModule(ModuleType):
    """A module that is called as `nnla.functions.matfun` is, f(A) of one symmetric matrix."""

    if TYPE_CHECKING:  # what the module holds, for type checkers and editors
        from nnla.matfun import entries as _entries
        from nnla.matfun.report import MatfunReport

        METHODS: tuple[str, ...]
        cosm = staticmethod(_entries.cosm)
        expm = staticmethod(_entries.expm)
        inv_sqrtm = staticmethod(_entries.inv_sqrtm)
        logm = staticmethod(_entries.logm)
        signm = staticmethod(_entries.signm)
        sinm = staticmethod(_entries.sinm)
        sqrtm = staticmethod(_entries.sqrtm)

    def __call__(self, A: Any, f: Any = "inv_sqrt") -> np.ndarray:
        """f(A) of one small symmetric matrix as a dense array, by an eigendecomposition: `nnla.functions.matfun`.

        Parameters
        ----------
        A : anything that `nnla.as_operator` takes, symmetric, (n, n)
        f : as in `nnla.funm_multiply`

        Raises
        ------
        The errors of `nnla.funm_multiply`.

        Notes
        -----
        Cost: O(n^3) time, O(n^2) memory. Batches, general matrices and a report: `expm`, `logm`, `sqrtm`, ...

        References
        ----------
        Higham, Functions of Matrices (2008), section 4.5.
        """
        return matfun(A, f)
