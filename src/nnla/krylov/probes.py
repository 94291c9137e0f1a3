"""Spectral probes: short Lanczos runs, by themselves or as the first steps of CG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from nnla.errors import NonFiniteError, OptionError
from nnla.operators.operator import as_operator
from nnla.operators.spaces import Space
from nnla.preconditioners.scalings import bind_scaling
from nnla.spectra.lanczos import Step, lanczos, tridiagonal
from nnla.types import SpectralProbe

__all__ = ["probe"]


def probe(A: Any, steps: int = 50, *, seed: int | None = 0, start: Any = None, scaling: Any = "none") -> SpectralProbe:
    """What a short Lanczos run sees of the spectrum of A.

    Parameters
    ----------
    A : anything that `nnla.as_operator` takes, (n, n), symmetric
    steps : Lanczos steps, at least 1; fewer are done when the Krylov space ends
    seed : of the random start vector
    start : (n,) start vector instead of a random one, e.g. the right-hand side
    scaling : "none", "jacobi" (probe D^-1/2 A D^-1/2), "ic" (incomplete Cholesky), or an SPD operator

    Returns
    -------
    SpectralProbe

    Raises
    ------
    The errors of `nnla.as_operator`; OptionError for a bad option.

    Notes
    -----
    Cost: ``steps`` products with A (and as many solves with the scaling), four vectors stored; no basis
    is kept and nothing is reorthogonalised. The operator need not be definite: look at
    `SpectralProbe.definite`.

    References
    ----------
    Lanczos (1950); Golub, Meurant, Matrices, Moments and Quadrature (2010); AutoSpec section 5.1.

    Examples
    --------
    >>> import nnla, scipy.sparse as sp
    >>> A = sp.diags_array([1.0] * 9 + [4.0])
    >>> p = nnla.probe(A)
    >>> p.steps, p.exhausted, [round(float(v), 6) for v in p.ritz_values]
    (2, True, [1.0, 4.0])
    """
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise OptionError(f"steps must be a positive integer, got {steps!r}")
    op = as_operator(A)
    before = op.products
    base = bind_scaling(op, scaling)
    if start is None:
        v = op.as_vector(np.random.default_rng(seed).standard_normal(op.n))
    else:
        v, seed = op.as_vector(start, "start"), None
        if v.ndim != 1:
            v = v[:, 0]
    alpha, beta, sizes = _lanczos(op.space, op.matvec, base.solve, v, int(min(steps, op.n)))
    probe = SpectralProbe(alpha, beta, op.n, base.name, seed, op.products - before)
    if base.name == "none" or not probe.definite:
        return probe
    # CG's residuals are the Lanczos vectors, as long as T says, in the user's norm
    return replace(probe, reductions=probe.krylov_reductions * sizes)


def _lanczos(space: Space, matvec: Any, solve: Any, r: Any, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lanczos of B A in the inner product of B^-1, from r: its coefficients, and the vectors in the user's norm.

    The third result is the 2-norm of each next vector v, relative to the first one's.
    """
    length = space.norm(r)
    if not length > 0:
        raise NonFiniteError("the start vector of the probe is zero; pass another one")
    v = r / length
    z = solve(v)
    size = space.inner(v, z)
    if not size > 0:
        raise NonFiniteError("v'Bv is not positive for the start vector v: the scaling B is not positive definite")
    root = float(np.sqrt(size))
    v, z = v / root, z / root
    start = space.norm(v)
    sizes: list[Any] = []

    def process() -> Iterator[Step]:
        for step in lanczos(matvec, v, space, solve=solve, image=z):
            sizes.append(space.norm(step.following) / start)
            yield step

    alpha, beta = tridiagonal(process(), steps)
    sizes[-1] *= bool(beta[-1])
    return alpha, beta, np.array(sizes)
