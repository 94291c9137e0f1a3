"""What ``method="auto"`` chooses for systems of every kind, on a machine that is as fast as the reference.

Nothing is timed (``deterministic=True``), so the choices are the same on every machine. Whoever trains the costs anew,
or changes a constant of the policy, may have to change this table, and should then look at what changed in it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla import problems
from nnla.kernels import native

pytestmark = pytest.mark.usefixtures("native_kernels")


def _graph(n: int) -> Any:
    """The Laplacian of a random graph, with a little on its diagonal."""
    B = sp.random_array((n, n), density=4 / n, rng=np.random.default_rng(0))
    B = sp.csr_array(B + B.T)
    B.setdiag(0)
    B.eliminate_zeros()
    return sp.csr_array(sp.diags_array(np.asarray(B.sum(axis=1)).ravel() + 1e-4) - B)


def _dense(n: int) -> np.ndarray:
    Q = np.random.default_rng(0).standard_normal((n, n))
    return Q @ Q.T / n + 0.01 * np.eye(n)


# name: (the choice, right-hand sides, the system)
CHOICES: dict[str, tuple[str, int, Callable[[], Any]]] = {
    "tiny": ("direct", 1, lambda: problems.poisson2d(9)),
    "line": ("direct", 1, lambda: problems.poisson1d(3000)),
    "small grid": ("direct", 1, lambda: problems.poisson2d(50)),
    "grid": ("direct", 1, lambda: problems.poisson2d(160)),
    "large grid": ("amg", 1, lambda: problems.poisson2d(420)),
    "grid, 8 right-hand sides": ("direct", 8, lambda: problems.poisson2d(100)),
    "small grid in space": ("ic", 1, lambda: problems.poisson3d(14)),
    "grid in space": ("ic", 1, lambda: problems.poisson3d(30)),
    "well conditioned": ("ic", 1, lambda: sp.csr_array(problems.poisson2d(150) + 0.5 * sp.eye_array(22_500))),
    "graph": ("jacobi", 1, lambda: _graph(4000)),
    "small solid": ("direct", 1, lambda: problems.elasticity3d(7, 7, 7)),
    "solid": ("ic", 1, lambda: problems.elasticity3d(14, 14, 14)),
    "plate": ("direct", 1, lambda: problems.elasticity2d(70, 70)),
    "biquadratic elements": ("direct", 1, problems.dubcova2_like),
    "frame": ("direct", 1, lambda: problems.frame("mini", 1).A),
    "dense": ("direct", 1, lambda: _dense(500)),
}


@pytest.fixture
def reference_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread of the machine that the constants are of, whatever iterations take here."""
    native.set_threads(1)
    monkeypatch.setattr("nnla.kernels.reordering.cache_sizes", lambda: {2: 1 << 19})


@pytest.mark.usefixtures("reference_machine")
@pytest.mark.parametrize("name", CHOICES)
def test_what_auto_chooses(name):
    choice, columns, make = CHOICES[name]
    if choice == "amg" and find_spec("pyamg") is None:
        pytest.skip("needs PyAMG")
    A = make()
    b = np.random.default_rng(1).standard_normal((A.shape[0], columns) if columns > 1 else A.shape[0])
    report = nnla.solve(A, b, maxiter=1, deterministic=True).report  # the choice is all that is wanted
    assert report.method == choice, report.predicted_seconds
