"""f(A) of dense matrices, one or a batch, with a check of each answer: ``nnla.matfun.expm(A)``, and its six sisters.

The module itself is callable: ``nnla.matfun(A, f)`` is f(A) of one symmetric matrix, without a report.

>>> import nnla
>>> X = nnla.matfun.sqrtm([[2.0, 1.0], [1.0, 2.0]])
>>> X.report.converged, bool(X.report.residual < 1e-14)
(True, True)
>>> nnla.matfun([[4.0, 0.0], [0.0, 9.0]], "sqrt").tolist()
[[2.0, 0.0], [0.0, 3.0]]
"""

from __future__ import annotations

import sys

from nnla.matfun.entries import cosm, expm, inv_sqrtm, logm, signm, sinm, sqrtm
from nnla.matfun.module import CallableModule
from nnla.matfun.options import METHODS
from nnla.matfun.report import MatfunReport

__all__ = ["METHODS", "MatfunReport", "cosm", "expm", "inv_sqrtm", "logm", "signm", "sinm", "sqrtm"]

sys.modules[__name__].__class__ = CallableModule
