"""For optimisers on torch: inverse roots and polar factors of batches, by products of matrices only.

* `inverse_root`: A^(-1/p), p = 1, 2 or 4, of matrices (..., n, n): Shampoo, SOAP, K-FAC;
* `polar`: the orthogonal factor of matrices (..., m, n): Muon;
* `inverse_root_plan`, `polar_plan`, `polar_plan_from`: which transitions run, made on the host once; `plan_for` reads
  the matrices for it; `flops` counts what a plan costs;
* `read_certificate`: what a certificate on the device says.

No call but `plan_for` and `read_certificate` waits for the device.

>>> import torch
>>> from nnla.interop.torch import inverse_root, polar
>>> G = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0))
>>> L = G @ G.mT + 0.1 * torch.eye(8)
>>> inverse_root(L, 4).shape, polar(G).shape
(torch.Size([3, 8, 8]), torch.Size([3, 8, 5]))
"""

from nnla.errors import MissingDependencyError

try:
    import torch as _torch  # noqa: F401
except ImportError as error:  # pragma: no cover
    raise MissingDependencyError("nnla.interop.torch needs torch: pip install nnla[torch]") from error

from nnla.interop.torch.certificates import Certificate, CertificateReport, read_certificate
from nnla.interop.torch.inverse_roots import inverse_root
from nnla.interop.torch.plans import (
    InverseRootPlan,
    PolarPlan,
    flops,
    inverse_root_plan,
    polar_plan,
    polar_plan_from,
)
from nnla.interop.torch.polar import polar
from nnla.interop.torch.probes import condition, plan_for, probe_cost

__all__ = [
    "Certificate",
    "CertificateReport",
    "InverseRootPlan",
    "PolarPlan",
    "condition",
    "flops",
    "inverse_root",
    "inverse_root_plan",
    "plan_for",
    "polar",
    "polar_plan",
    "polar_plan_from",
    "probe_cost",
    "read_certificate",
]
