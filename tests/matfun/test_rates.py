"""Rate matrices: found out, and exponentiated entry by entry."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from nnla.matfun import expm
from nnla.matfun.options import read_batch
from nnla.matfun.rates import rate_matrices


def rates(n, seed, *, reversible=True, sparse=1.0):
    """A rate matrix of mean rate one, with its stationary distribution where it is reversible."""
    rng = np.random.default_rng(seed)
    pi = rng.dirichlet(np.ones(n))
    R = rng.gamma(0.5, 1.0, (n, n)) * (rng.random((n, n)) < sparse)
    Q = (R + R.T if reversible else R) * pi
    Q[np.arange(n), (np.arange(n) + 1) % n] += 1e-3
    if reversible:
        Q[(np.arange(n) + 1) % n, np.arange(n)] += 1e-3 * pi / np.roll(pi, -1)
    np.fill_diagonal(Q, 0.0)
    np.fill_diagonal(Q, -Q.sum(1))
    return Q / -(pi @ np.diag(Q)), pi


def exact(Q, digits=50):
    """e^Q in that many digits."""
    with mpmath.workdps(digits):
        halvings = 10 + int(np.log2(1 + np.abs(Q).max()))
        B, X = mpmath.matrix(Q.tolist()) / 2**halvings, mpmath.eye(len(Q))
        term = mpmath.eye(len(Q))
        for k in range(1, 13):
            term = term * B / k
            X += term
        for _ in range(halvings):
            X = X * X
        return np.array(X.tolist(), dtype=float)


@pytest.mark.parametrize("t", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("reversible", [True, False])
def test_each_entry_is_right(t, reversible):
    Q, pi = rates(8, 0, reversible=reversible, sparse=0.5)
    P = expm(t * Q)
    E = exact(t * Q)
    assert P.report.rates == 1
    assert P.report.converged
    assert P.report.row_sum_error < 1e-12
    assert (P >= 0).all()
    assert np.abs(P / E - 1).max() < 1e-12  # entries down to 1e-10 have all their digits
    if reversible:
        np.testing.assert_allclose(pi @ P, pi, rtol=1e-12)


def test_large_times_reach_the_stationary_distribution():
    Q, pi = rates(61, 1, sparse=0.1)
    P = expm(np.array([1e2, 1e4])[:, None, None] * Q)
    assert P.report.rates == 2
    np.testing.assert_allclose(P[1], np.broadcast_to(pi, P[1].shape), rtol=1e-9)
    assert P.report.row_sum_error < 1e-10


def test_what_is_a_rate_matrix():
    Q, _ = rates(5, 2)
    narrow = Q.astype(np.float32)
    assert rate_matrices(read_batch(Q, "exp")).all()
    assert rate_matrices(read_batch(1e-200 * Q, "exp")).all()
    assert rate_matrices(read_batch(narrow, "exp")).all()
    assert expm(narrow).dtype == np.float32
    for other in (-Q, Q.T, Q + 1e-3 * np.eye(5), np.zeros((3, 3)), np.ones((3, 3))):
        assert not rate_matrices(read_batch(other, "exp")).any()


def test_drift_of_row_sums_is_said():
    """Rows that lose their sums by squaring are not put right in silence."""
    Q, _ = rates(5, 3)
    report = expm(1e14 * Q).report
    assert report.row_sum_error > 1e-6
    assert not report.converged
