"""What the answer of an engine owes to its probe: length of the probe, residual features."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from nnla.errors import NNLAError
from nnla.types import SpectralProbe

__all__ = ["probe_robustness", "without_residuals"]


def without_residuals(probe: SpectralProbe) -> SpectralProbe:
    """The same Ritz values with residuals 0: the ablation of Figures 5 and 13.

    The upper bound shrinks with the residual of the largest Ritz value, as it is part of what is left out.

    Notes
    -----
    Cost: none: a copy of the coefficients.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 5.5; Figures 5 and 13.

    Examples
    --------
    >>> import nnla
    >>> p = nnla.probe(np.diag(np.linspace(1, 2, 50)), 10)
    >>> float(without_residuals(p).ritz_residuals.max())
    0.0
    """
    beta = probe.beta.copy()
    beta[-1] = 0.0
    return SpectralProbe(probe.alpha, beta, probe.n, probe.scaling, probe.seed, probe.products, probe.reductions)


def probe_robustness(
    A: Any,
    steps: Iterable[int] = (10, 25, 50, 75, 100, 150, 200, 300),
    *,
    method: str = "autospec",
    degree: int = 11,
    scaling: Any = "none",
    rtol: float = 1e-10,
    maxiter: int = 5000,
    seed: int = 0,
) -> dict[int, float]:
    """Outer iterations of CG against the length of the probe (Figure 10).

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes, symmetric positive definite
    steps : lengths of the Lanczos probe, started from the right-hand side
    method, degree : of the preconditioner; see `nnla.preconditioner`
    scaling : "none", "jacobi", "ic" or an SPD operator
    rtol : tolerance on the relative residual, from a zero start
    maxiter : cap
    seed : of the Gaussian right-hand side

    Returns
    -------
    dict
        steps -> iterations; inf where CG does not get there or the preconditioner cannot be made.

    Notes
    -----
    Cost: for every length, the probe and ``degree + 1`` products per iteration.

    References
    ----------
    AutoSpec (arXiv:2602.09530), section 5.5; Figure 10.

    Examples
    --------
    >>> import nnla
    >>> counts = probe_robustness(nnla.problems.poisson2d(20), (25, 50), method="chebyshev", rtol=1e-6)
    >>> sorted(counts), all(v < 20 for v in counts.values())
    ([25, 50], True)
    """
    import nnla
    from nnla.krylov.cg import conjugate_gradients

    op = nnla.as_operator(A)
    b = np.random.default_rng(seed).standard_normal(op.n)
    b /= np.linalg.norm(b)
    counts: dict[int, float] = {}
    for k in steps:
        probe = nnla.probe(op, int(k), start=b, scaling=scaling)
        try:
            M = nnla.preconditioner(op, method=method, degree=degree, probe=probe, scaling=scaling, rtol=rtol)
        except NNLAError:
            counts[int(k)] = math.inf
            continue
        options: dict[str, Any] = {"targets": np.array([rtol]), "maxiter": maxiter}
        with np.errstate(all="ignore"):
            result = conjugate_gradients(op.matvec, b, x=np.zeros(op.n), residual=b.copy(), M=M, **options)
        counts[int(k)] = float(result.iterations) if result.status.value == "converged" else math.inf
    return counts
