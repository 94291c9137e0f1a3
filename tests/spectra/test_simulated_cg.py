"""Simulated CG is CG: on a diagonal matrix, iteration by iteration; on nodes that stand for many values."""

import numpy as np
import pytest

from nnla.krylov.cg import conjugate_gradients
from nnla.polynomials.recurrence import chebyshev
from nnla.spectra.simulated_cg import (
    candidate_residuals,
    simulate_lanczos,
    simulate_outer_iterations,
    simulate_probe,
)


@pytest.fixture(scope="module")
def nodes():
    rng = np.random.default_rng(8)
    lam = np.sort(rng.uniform(0.05, 1.0, 120) ** 2)
    return 0.999 * lam / lam[-1], rng.lognormal(size=120)


def real_cg(lam, start, recurrence, steps):
    """Relative residual norms of preconditioned CG on diag(lam)."""
    targets = np.array([1e-14 * np.linalg.norm(start)])
    result = conjugate_gradients(
        lambda v: lam * v,
        start,
        x=np.zeros_like(start),
        residual=start.copy(),
        targets=targets,
        maxiter=steps,
        M=None if recurrence is None else lambda r: recurrence(lam) * r,
    )
    return np.array(result.history) / np.linalg.norm(start)


def crossing(history, rtol):
    """Fractional iteration at which log residual crosses log rtol, from the best residual so far."""
    logs = np.minimum.accumulate(np.concatenate([[0.0], np.log(history)]))
    k = int(np.argmax(logs <= np.log(rtol)))
    return k - 1 + (logs[k - 1] - np.log(rtol)) / (logs[k - 1] - logs[k])


@pytest.mark.parametrize("m", [1, 2, 7, 12])
def test_residual_polynomials_are_those_of_the_recurrence(m):
    lam = np.concatenate([[0.0], np.geomspace(1e-6, 1.0, 60), [1.05, 1.3]])  # the upper end, and beyond it
    a = np.array([1e-3, 0.02, 0.3])
    expected = candidate_residuals(lam, a, 1.0, m)
    assert expected[:, 0] == pytest.approx(1.0)
    for row, low in zip(expected, a, strict=True):
        if m == 1:
            assert row == pytest.approx(1 - 2 * lam / (1 + low), abs=1e-12)
            continue
        assert row == pytest.approx(1 - lam * chebyshev(low, 1.0, m - 1)(lam), abs=1e-9, rel=1e-7)


def test_residual_polynomials_are_finite_far_outside():
    values = candidate_residuals(np.array([0.0, 1e-300, 1.0, 1e6]), np.array([1e-8, 0.59]), 1.0, 500)
    assert np.all(np.isfinite(values))


def test_counts_are_those_of_real_cg(nodes):
    lam, weight = nodes
    a = np.array([1e-3, 5e-3, 0.03])
    mu = 1 - candidate_residuals(lam, a, 1.0, 8)
    rtols = (1e-3, 1e-6, 1e-9)
    counts = simulate_outer_iterations(lam, weight, mu, rtols, patience=50.0)
    for row, low in zip(counts, a, strict=True):
        history = real_cg(lam, np.sqrt(weight), chebyshev(low, 1.0, 7), 400)
        for count, rtol in zip(row, rtols, strict=True):
            assert count == pytest.approx(crossing(history, rtol), abs=0.02)


def test_plain_cg_is_the_candidate_one(nodes):
    lam, weight = nodes
    count = simulate_outer_iterations(lam, weight, lam[None, :], (1e-5,), patience=50.0)[0, 0]
    # 69 iterations into finite precision: sums in another order shift the curve by some hundredths
    assert count == pytest.approx(crossing(real_cg(lam, np.sqrt(weight), None, 2000), 1e-5), abs=0.2)


def test_a_node_of_weight_k_is_k_equal_eigenvalues(nodes):
    lam, weight = nodes
    lam, weight = lam[::4], weight[::4]
    copies = np.arange(lam.size) % 3 + 1
    mu = 1 - candidate_residuals(lam, np.array([1e-3, 0.02]), 1.0, 6)
    grouped = simulate_outer_iterations(lam, copies * weight, mu, (1e-4, 1e-8), patience=9.0)
    apart = simulate_outer_iterations(
        np.repeat(lam, copies),
        np.repeat(weight, copies),
        np.repeat(mu, copies, axis=1),
        (1e-4, 1e-8),
        patience=9.0,
    )
    assert apart == pytest.approx(grouped, rel=1e-9)


def test_the_scale_of_weights_and_of_lambda_does_not_matter(nodes):
    lam, weight = nodes
    mu = 1 - candidate_residuals(lam, np.array([1e-3, 0.02]), 1.0, 6)
    one = simulate_outer_iterations(lam, weight, mu)
    assert simulate_outer_iterations(lam, 1e6 * weight, mu) == pytest.approx(one, rel=1e-9)
    c = 2.0**30
    scaled = 1 - candidate_residuals(c * lam, c * np.array([1e-3, 0.02]), c, 6)
    assert simulate_outer_iterations(c * lam, weight, scaled) == pytest.approx(one, rel=1e-6)


def test_the_tolerance_may_be_in_the_users_norm(nodes):
    """CG over a scaling D: it works on D^-1/2 A D^-1/2, and the user looks at ||b - A x||."""
    lam, weight = nodes
    d = np.random.default_rng(3).lognormal(0, 1, lam.size) / lam
    mu = 1 - candidate_residuals(lam, np.array([0.01]), 1.0, 5)
    count = simulate_outer_iterations(lam, weight, mu, (1e-6,), measure=d * weight, patience=50.0)[0, 0]
    P = chebyshev(0.01, 1.0, 4)
    matrix, start = d * lam, np.sqrt(d * weight)  # the user's system: eigenvalues d lam, and b
    result = conjugate_gradients(
        lambda v: matrix * v,
        start,
        x=np.zeros_like(start),
        residual=start.copy(),
        targets=np.array([1e-14]),
        maxiter=300,
        M=lambda r: P(lam) * r / d,
    )
    history = np.array(result.history) / np.linalg.norm(start)
    assert count == pytest.approx(crossing(history, 1e-6), abs=0.05)
    assert count != pytest.approx(simulate_outer_iterations(lam, weight, mu, (1e-6,), patience=50.0)[0, 0], abs=0.3)
    same = simulate_outer_iterations(lam, weight, mu, (1e-6,), measure=weight, patience=50.0)
    assert same == pytest.approx(simulate_outer_iterations(lam, weight, mu, (1e-6,), patience=50.0))


def test_indefinite_candidates_cost_infinitely_much(nodes):
    lam, weight = nodes
    mu = 1 - candidate_residuals(lam, np.array([0.01, 0.02]), 1.0, 6)
    bad = mu.copy()
    bad[0, 5] = -1e-6
    counts = simulate_outer_iterations(lam, weight, bad)
    assert np.all(np.isinf(counts[0]))
    assert np.all(np.isfinite(counts[1]))
    assert np.all(np.isinf(simulate_outer_iterations(lam, weight, -mu)))


def test_patience_drops_what_is_hopeless_and_nothing_else(nodes):
    lam, weight = nodes
    mu = np.stack([lam, *(1 - candidate_residuals(lam, np.array([2e-3, 4e-3]), 1.0, 12))])
    every = simulate_outer_iterations(lam, weight, mu, (1e-6,), patience=1e3)[:, 0]
    some = simulate_outer_iterations(lam, weight, mu, (1e-6,), patience=1.5)[:, 0]
    best = every.min()
    assert every[0] > 2.5 * best  # plain CG against degree 11
    assert np.isinf(some[0])
    kept = every <= 1.5 * best
    assert some[kept] == pytest.approx(every[kept])


def test_extrapolation_goes_on_at_the_rate_seen(nodes):
    lam, weight = nodes
    mu = 1 - candidate_residuals(lam, np.array([2e-4, 1e-3]), 1.0, 3)
    true = simulate_outer_iterations(lam, weight, mu, (1e-8,), patience=1e3)[:, 0]
    cap = int(0.6 * true.min())
    assert np.all(np.isinf(simulate_outer_iterations(lam, weight, mu, (1e-8,), maxiter=cap)))
    guess = simulate_outer_iterations(lam, weight, mu, (1e-8,), maxiter=cap, extrapolate=True)[:, 0]
    assert np.all(guess > cap)
    assert np.all(np.abs(np.log(guess / true)) < np.log(2.5))
    enough = simulate_outer_iterations(lam, weight, mu, (1e-8,), patience=1e3, extrapolate=True)[:, 0]
    assert enough == pytest.approx(true)  # nothing is extrapolated that was reached


def test_lanczos_finds_the_moments_and_stops_when_exhausted(nodes):
    lam, weight = nodes
    alpha, beta = simulate_lanczos(lam, weight, 5)
    T = np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1)
    for power in range(1, 10):
        moment = np.sum(weight * lam**power) / weight.sum()
        assert np.linalg.matrix_power(T, power)[0, 0] == pytest.approx(moment, rel=1e-9)
    alpha, beta = simulate_lanczos(np.array([0.2, 1.0]), np.array([1.0, 3.0]), 30)
    assert alpha.size == 2
    assert beta[-1] <= 1e-13


def test_a_simulated_probe_is_the_probe_of_a_solve(nodes):
    lam, weight = nodes
    alpha, beta, users = simulate_probe(lam, weight, weight, 15)
    assert users == pytest.approx(real_cg(lam, np.sqrt(weight), None, 15), rel=1e-8)
    again = simulate_lanczos(lam, weight, 15)
    assert np.array_equal(alpha, again[0])
    assert np.array_equal(beta, again[1])
