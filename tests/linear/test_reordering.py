"""A solve that reorders its unknowns gives and takes everything in the user's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import nnla

pytestmark = pytest.mark.usefixtures("native_kernels")

METHODS = ("ic", "autospec", "chebyshev", "auto: ic", "auto: autospec")


@pytest.fixture(scope="module")
def scattered() -> tuple[Any, np.ndarray, np.ndarray]:
    """A grid numbered at random, a right-hand side, and a start from where a few digits are left to gain."""
    rng = np.random.default_rng(5)
    order = rng.permutation(16_384)
    A = sp.csr_array(sp.csr_array(nnla.problems.poisson2d(128))[order][:, order])
    b = rng.standard_normal(A.shape[0])
    near = nnla.solve(A, b, method="direct").x
    return A, b, near * (1 + 1e-4 * rng.standard_normal(A.shape[0]))


@pytest.fixture
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, prices: Callable[..., None]) -> str:
    """A method that reorders on any machine; "auto" is told prices under which it takes the one named after it."""
    monkeypatch.setattr("nnla.kernels.reordering.cache_sizes", lambda: {2: 1 << 18})
    name, _, cheapest = request.param.partition(": ")
    if cheapest:
        prices(**{cheapest: 1.0})
        monkeypatch.setattr("nnla.linear.auto._WORTH_REORDERING", 0)
    return name


@pytest.mark.parametrize("method", METHODS, indirect=True)
@pytest.mark.parametrize("started", [False, True])
def test_what_is_reordered_inside_comes_back_in_order(scattered, method, started):
    A, b, near = scattered
    size = float(np.linalg.norm(b))
    seen: list[float] = []
    solution = nnla.solve(
        A,
        b,
        method=method,
        x0=near if started else None,
        callback=lambda x: seen.append(float(np.linalg.norm(b - A @ x)) / size),
    )
    report = solution.report
    assert "reordered" in report.to_json()  # else this test tests nothing
    assert report.converged
    assert float(np.linalg.norm(b - A @ solution.x)) <= 1e-8 * size
    # every iterate that the callback saw has the residual that the history tells of it
    assert len(seen) == len(report.residual_history) == report.iterations + report.probe_iterations > 0
    np.testing.assert_allclose(seen, report.residual_history, rtol=1e-3)
    if started:  # it went on from x0, not from x0 in another order
        assert seen[0] < 0.1
