"""The richer transitions of AutoSpec's appendix A.1, as options: quadratic, rational and gradient-driven.

>>> import numpy as np
>>> from nnla.extensions import polar
>>> polar(np.diag([3.0, 0.5, 2.0])).report.converged
True
"""

from nnla.extensions.inverse_roots import InverseRoot, inverse_root
from nnla.extensions.quadratic import Polar, polar

__all__ = ["InverseRoot", "Polar", "inverse_root", "polar"]
