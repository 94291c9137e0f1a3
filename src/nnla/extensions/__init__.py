"""The richer transitions of AutoSpec's appendix A.1, as options: quadratic, rational and gradient-driven.

* `polar`, `inverse_root`: dense matrices by products of matrices only, coefficients planned from a probe;
* `rational_function`: f(A) v by shifted solves;
* `minimise`: smooth convex functions from their gradients, momentum schedules learned;
* `newton_lp`: regression in the p-norm by Newton's method, exact steps or proposed ones inside a safeguard.

>>> import numpy as np
>>> from nnla.extensions import polar
>>> polar(np.diag([3.0, 0.5, 2.0])).report.converged
True
"""

from nnla.extensions._dense import MatrixReport
from nnla.extensions.gradient import Minimum, MinimumReport, minimise
from nnla.extensions.inverse_roots import InverseRoot, inverse_root
from nnla.extensions.lp_newton import newton_lp
from nnla.extensions.lp_report import LpMinimum, LpReport
from nnla.extensions.quadratic import Polar, polar
from nnla.extensions.rational import RationalFunction, RationalReport, rational_function

__all__ = [
    "InverseRoot",
    "LpMinimum",
    "LpReport",
    "MatrixReport",
    "Minimum",
    "MinimumReport",
    "Polar",
    "RationalFunction",
    "RationalReport",
    "inverse_root",
    "minimise",
    "newton_lp",
    "polar",
    "rational_function",
]
