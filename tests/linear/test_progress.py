"""What CG under way still has to do, by its residuals, its coefficients, and what was expected of it."""

from __future__ import annotations

import math

import pytest

from nnla.krylov.cg import CGResult
from nnla.linear.decision import Lognormal
from nnla.linear.progress import energy_left, iterations_left, left_after, left_at_rate, left_by_progress, steady


def test_iterations_left_at_a_steady_rate():
    norms = [0.5**k for k in range(20)]
    assert iterations_left(norms, 0.5**30) == pytest.approx(11, abs=1e-6)
    assert iterations_left(norms, 0.5**5) == 0.0
    assert iterations_left([1e-300 * v for v in norms[:9]], 0.0) >= 0.0


def test_iterations_left_counts_the_best_so_far_and_the_second_half_only():
    assert iterations_left([1.0] * 10 + [0.5**k for k in range(1, 11)], 0.5**20) == pytest.approx(10, abs=1e-6)
    zigzag = [0.5**k * (3.0 if k % 2 else 1.0) for k in range(20)]
    assert iterations_left(zigzag, 0.5**28) == pytest.approx(10, rel=0.3)


def test_iterations_left_without_progress_or_with_too_few():
    assert iterations_left([], 1e-8) == math.inf
    assert iterations_left([1.0, 0.1, 0.01], 1e-8) == math.inf
    assert iterations_left([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 1e-8) == math.inf
    assert iterations_left([1.0] * 8, 1e-8) == math.inf


def test_steady_is_a_rate_that_has_not_slowed_down():
    assert steady([0.5**k for k in range(9)])
    assert steady([0.5**k for k in range(5)] + [0.5**4 * 0.55**k for k in range(1, 5)])  # hardly slower
    assert not steady([0.5**k for k in range(5)] + [0.5**4 * 0.8**k for k in range(1, 5)])
    assert not steady([1.0 / (1 + k) for k in range(9)])  # a power of the steps
    assert not steady([1.0] * 9)
    assert not steady([1.0, 0.5, 0.25])  # too few to tell


def test_energy_left_sees_progress_that_the_residual_hides():
    """Steps in the energy norm shrink by a fixed factor; the 2-norm of the residual stays where it is."""
    result = CGResult(None, None)
    result.alpha = [1.0] * 40
    result.beta = [0.25] * 39  # alpha_k r_k'z_k falls by 4 a step: the error's norm by 2
    result.first = [1.0] * 40
    assert iterations_left(result.first, 1e-3) == math.inf
    assert energy_left(result, 2.0**-10) == pytest.approx(10, rel=0.01)
    result.beta = [1.0] * 39
    assert energy_left(result, 1e-3) == math.inf
    result.beta = [0.25] * 38 + [-1.0]
    assert energy_left(result, 1e-3) == math.inf


def test_what_is_left_of_a_prediction_after_some_iterations():
    predicted = Lognormal.of(100.0, 0.5)
    assert left_after(predicted, 0) == predicted
    found = [left_after(predicted, done).expected for done in (10, 50, 90)]
    assert found == sorted(found, reverse=True)
    late = left_after(predicted, 400)
    assert 20 < late.expected < 400  # it was wrong, and goes on for a while
    assert late.std > predicted.std
    assert left_after(Lognormal.of(100.0), 30).expected == pytest.approx(70.0)
    for done in (1, 10**3, 10**6, 10**9):
        for std in (0.0, 1e-7, 0.1, 3.0, 30.0):
            left = left_after(Lognormal.of(100.0, std), done)
            assert 0 < left.expected < math.inf
            assert 0 <= left.std < math.inf


def test_a_rate_is_believed_the_more_the_more_of_the_way_is_behind():
    predicted = Lognormal.of(100.0, 0.3)
    found = [left_at_rate(predicted, 20, 1000.0, share) for share in (0.0, 0.3, 0.6, 0.9)]
    assert [left.expected for left in found] == sorted(left.expected for left in found)
    assert found[0].expected < 150
    assert found[-1].expected == pytest.approx(1000.0, rel=0.3)
    assert all(left.std < 0.6 for left in found)


def test_progress_of_a_run():
    result = CGResult(None, None)
    result.iterations, result.first = 40, [0.5**k for k in range(1, 41)]
    left = left_by_progress(Lognormal.of(500.0, 0.5), result, 1.0, 0.5**60)
    assert 15 < left.expected < 90
    result.first = [1.0] * 40  # none at all
    assert 20 < left_by_progress(Lognormal.of(50.0, 0.5), result, 1.0, 1e-8).expected < 1e4
