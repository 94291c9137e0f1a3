"""A spectrum that goes on above what the probe saw: the polynomial follows it instead of being given up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import nnla

N = 1500


def hidden(top: float) -> tuple[Any, np.ndarray]:
    """Eigenvalues from 1 to 100 and one at `top`, whose eigenvector the right-hand side hardly contains."""
    values = np.linspace(1.0, 100.0, N)
    values[-1] = top
    b = np.random.default_rng(3).standard_normal(N)
    b[-1] = 1e-14
    return sp.diags_array(values).tocsr(), b


def solve(A: Any, b: np.ndarray, method: str, steps: int) -> Any:
    solution = nnla.solve(A, b, method=method, scaling="none", probe_steps=steps, rtol=1e-10)
    assert np.linalg.norm(b - A @ solution.x) <= 1e-10 * np.linalg.norm(b) * (1 + 1e-9)
    return solution.report


@pytest.mark.parametrize("top", [200.0, 1000.0])
@pytest.mark.parametrize("method", ["chebyshev", "autospec"])
def test_the_interval_grows_to_what_a_second_look_finds(top, method):
    A, b = hidden(top)
    seen = nnla.probe(A, 10, start=b)
    assert seen.upper_bound < 0.6 * top  # else this test tests nothing
    report = solve(A, b, method, 10)
    assert report.method == "chebyshev" or report.method == method
    assert report.degree == 11
    assert top <= report.interval[1] <= 1.05 * top
    assert 0 < report.interval[0] < 10
    assert report.fallback is not None  # and it says so
    full = solve(A, b, method, 60)  # which sees everything
    assert full.fallback is None
    assert top <= full.interval[1] <= 1.05 * top
    # what it costs not to have known: the second look, and some steps of the first polynomial
    assert report.iterations <= full.iterations + 10
    assert report.products <= full.products + 120


def test_a_polynomial_without_a_lower_end_gives_way_to_cg():
    A, b = hidden(200.0)
    report = solve(A, b, "chebyshev4", 10)
    assert report.method == "cg"
    assert report.fallback is not None
    assert report.interval[1] < 120
    assert report.products < 300


def test_a_spectrum_that_was_seen_is_not_widened():
    A, b = hidden(100.0)
    report = solve(A, b, "chebyshev", 40)
    assert report.fallback is None
    assert report.interval[1] <= 102
