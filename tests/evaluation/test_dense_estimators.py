"""Yardsticks of dense systems: each against what it must be where that is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import NonFiniteError, OptionError, ShapeError
from nnla.evaluation.dense_estimators import (
    LU,
    QR,
    SVD,
    AffineMap,
    MeanOperator,
    Noisy,
    Ridge,
    check_training,
    noisy_copies,
    relative_errors,
    solve_each,
)
from nnla.evaluation.dense_features import BilinearMap, FeatureMap
from nnla.evaluation.dense_network import PCANetwork
from nnla.evaluation.dense_projections import (
    BayesLU,
    FamilySpace,
    PosteriorLU,
    ProjectedLU,
    Safeguard,
    WeightedProjectedLU,
    family_spaces,
)
from nnla.problems import bvp_systems, perturbed

ALL = (LU, QR, SVD, AffineMap, MeanOperator, ProjectedLU, WeightedProjectedLU, PosteriorLU, BayesLU, FeatureMap)


@pytest.fixture(scope="module")
def training():
    return bvp_systems(400, equation="rough", n=12, seed=1)


@pytest.fixture(scope="module")
def test():
    return bvp_systems(60, equation="rough", n=12, seed=2)


@pytest.fixture(scope="module")
def spaces(training):
    return family_spaces(training.A)


def known(systems, law="entrywise", level=0.01, part="A"):
    return systems.A, systems.b, systems.x, noisy_copies(systems, law, level, part=part, seed=3)


def error(estimator, systems, exact) -> float:
    return float(np.mean(relative_errors(estimator.solve(systems.A, systems.b), exact.x)))


@pytest.mark.parametrize("method", [LU, QR, SVD])
def test_exact_solves(method, test):
    assert error(method.fit(test.A, test.b, test.x), test, test) < 1e-18


def test_a_singular_matrix_does_not_spoil_the_others():
    A = np.stack([np.eye(3), np.diag([1.0, 2.0, 0.0]), 2 * np.eye(3)])
    expected = [[1, 1, 1], [1, 0.5, 0], [0.5, 0.5, 0.5]]
    for found in (solve_each(A, np.ones((3, 3))), QR().solve(A, np.ones((3, 3))), SVD().solve(A, np.ones((3, 3)))):
        np.testing.assert_allclose(found, expected, atol=1e-14)


def test_ridge_finds_an_affine_map_and_shrinks_noise(rng):
    F, W = rng.standard_normal((300, 5)), rng.standard_normal((5, 3))
    exact = Ridge.fit(F, F @ W + 2)
    np.testing.assert_allclose(exact.predict(np.eye(5)), W + 2, atol=1e-9)
    many = rng.standard_normal((60, 50))
    noisy = Ridge.fit(many, many[:, :1] + 3 * rng.standard_normal((60, 1)))
    assert noisy.ridge > 1e-3
    constant = Ridge.fit(np.ones((20, 2)), np.arange(20.0)[:, None])
    np.testing.assert_allclose(constant.predict(np.ones((1, 2))), [[9.5]])


def test_the_affine_map_is_exact_for_one_operator(rng):
    A = np.broadcast_to(np.eye(4) + 0.1 * rng.standard_normal((4, 4)), (50, 4, 4))
    b = rng.standard_normal((50, 4))
    x = solve_each(A, b)
    for method in (AffineMap, MeanOperator):
        np.testing.assert_allclose(method.fit(A, b, x).solve(A, b), x, atol=1e-9)


def test_the_affine_map_is_the_textbooks_under_noise(rng):
    """x = b without noise, unit variances: the best factor is 1 / (1 + level^2)."""
    x = rng.standard_normal((4000, 20))
    A = np.broadcast_to(np.eye(20), (4000, 20, 20))
    noisy = Noisy(A, x + 0.5 * rng.standard_normal(x.shape), "normwise", 0.5, "b")
    np.testing.assert_allclose(AffineMap.fit(A, x, x, noisy).regression.weight, np.eye(20) / 1.25, atol=0.06)


def test_the_space_is_the_familys(training, test, spaces):
    for space in spaces:
        assert space.rank == 14  # A is linear in the 14 values of kappa
        np.testing.assert_allclose(space.basis.T @ space.basis, np.eye(14), atol=1e-12)
        Z = space.coordinates(test.A)
        np.testing.assert_allclose(space.matrices(Z @ space.basis.T), test.A, atol=1e-9 * np.abs(test.A).max())
        assert space.outside < 1e-10
        spread = space.coordinates(training.A).std(axis=0)
        np.testing.assert_allclose(spread / space.deviations, 1, rtol=0.3)
        assert np.array_equal(space.first(3).basis, space.basis[:, :3])


def test_the_posterior_is_conditional_expectation(rng):
    """A Gaussian family with known covariance: shrinkage s^2 / (s^2 + noise^2) along each axis."""
    n, count = 3, 4000
    scale = np.linspace(0.5, 2, n * n)
    A = 10 * np.eye(n) + (scale * rng.standard_normal((count, n * n))).reshape(count, n, n)
    space = FamilySpace.fit(A, weighted=False)
    noisy = Noisy(A, A[:, 0], "normwise", 0.3)
    seen = perturbed(A[:1], "normwise", 0.3, seed=1)
    c, rest = space.posterior(seen, noisy)
    found = space.matrices(c @ space.basis.T + rest)
    # the level is relative to the clean matrix, whose size is estimated from the noisy one
    size = np.mean(np.square(seen)) / 1.09
    expected = A.mean(axis=0) + (seen - A.mean(axis=0)) * (scale**2 / (scale**2 + 0.09 * size)).reshape(n, n)
    assert np.abs(found - expected).max() < 0.15
    assert np.abs(rest).max() < 1e-12


def test_cleaning_pays_in_the_order_of_what_is_known(training, test, spaces):
    seen = perturbed(test, "entrywise", 0.01, seed=5)
    args = known(training)
    lu = error(LU(), seen, test)
    plain, weighted, posterior, bayes = (
        error(method.fit(*args, spaces), seen, test)
        for method in (ProjectedLU, WeightedProjectedLU, PosteriorLU, BayesLU)
    )
    assert plain < 0.3 * lu
    assert weighted < 0.5 * plain
    assert posterior < 1.1 * weighted
    assert bayes < 0.8 * posterior


def test_reweighting_is_the_direct_solution(training, test, spaces):
    """Conjugate gradients against the normal equations of each system."""
    noisy = noisy_copies(training, "entrywise", 0.05, seed=3)
    bayes = BayesLU.fit(training.A, training.b, training.x, noisy, spaces)
    space, A = bayes.space, perturbed(test.A[:5], "entrywise", 0.05, seed=1)
    c, _ = space.posterior(A, noisy)
    Z = space.whitened(A)
    for _ in range(bayes.rounds):
        relative = np.abs(space.matrices(c @ space.basis.T) / space.unit).reshape(5, -1)
        W = 1 / (0.05 * np.maximum(relative, 0.1)) ** 2
        P, prior = space.basis, np.diag(1 / space.deviations**2)
        c = np.stack(
            [np.linalg.solve(P.T @ (w[:, None] * P) + prior, P.T @ (w * z)) for w, z in zip(W, Z, strict=True)]
        )
    expected = space.matrices(c @ space.basis.T)
    change = np.abs(expected - PosteriorLU(space, noisy, bayes.guard).matrices(A)).max()
    assert np.abs(bayes.matrices(A) - expected).max() < 0.05 * change


def test_normwise_noise_has_nothing_to_reweight(training, test, spaces):
    args = known(training, "normwise", 1e-4)
    seen = perturbed(test.A, "normwise", 1e-4, seed=5)
    np.testing.assert_array_equal(
        BayesLU.fit(*args, spaces).matrices(seen), PosteriorLU.fit(*args, spaces).matrices(seen)
    )


def test_what_lies_outside_of_the_space_is_kept_where_noise_is_small():
    """As many directions as there are: a projection loses what LU keeps, the posterior loses nothing."""
    training = bvp_systems(120, equation="mapped", n=16, seed=1)
    test = bvp_systems(40, equation="mapped", n=16, seed=2)
    args = known(training, level=1e-9)
    seen = perturbed(test, "entrywise", 1e-9, seed=5)
    lu, posterior = (error(method.fit(*args), seen, test) for method in (LU, PosteriorLU))
    assert error(ProjectedLU.fit(*args), seen, test) > 1e6 * lu
    assert posterior < 2 * lu


def test_the_safeguard_replaces_what_is_too_large(training):
    guard = Safeguard.fit(training.A, training.b, training.x)
    plain = training.b @ np.linalg.inv(training.A.mean(axis=0)).T
    x = training.x.copy()
    assert np.array_equal(guard(x, training.b), x)
    x[3] *= 1e9
    x[4] = np.nan
    found = guard(x, training.b)
    np.testing.assert_allclose(found[3:5], plain[3:5])
    assert np.array_equal(found[5:], x[5:])


def test_products_describe_what_sums_do_not(training, test, spaces):
    args = known(training, level=1e-6)
    affine, both, products = (
        error(method.fit(*args, *([spaces] if method is not AffineMap else [])), test, test)
        for method in (AffineMap, FeatureMap, BilinearMap)
    )
    assert both < affine
    assert products < affine


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.__name__)
def test_noise_in_b_is_taken(method, training, test):
    args = known(training, level=0.05, part="b")
    seen = perturbed(test, "entrywise", 0.05, part="b", seed=5)
    assert np.isfinite(method.fit(*args).solve(seen.A, seen.b)).all()
    assert error(method.fit(*args), seen, test) < 1


@pytest.mark.parametrize("method", ALL[3:], ids=lambda method: method.__name__)
def test_bad_training_sets(method, training):
    A, b, x, noisy = known(training)
    with pytest.raises(ShapeError, match="training systems"):
        method.fit(A, b[:, :3], x, noisy)
    with pytest.raises(ShapeError, match="noisy copies"):
        method.fit(A, b, x, Noisy(A[:5], b[:5]))
    with pytest.raises(NonFiniteError, match="NaN"):
        method.fit(A, b, np.full_like(x, np.nan), noisy)
    with pytest.raises(OptionError, match="too few"):
        method.fit(A[:5], b[:5], x[:5])


def test_without_copies_the_systems_themselves_are_seen(training):
    assert check_training(training.A, training.b, training.x, None).level == 0


def test_right_hand_sides_have_to_differ(training):
    b = np.ones_like(training.b)
    with pytest.raises(OptionError, match="the same"):
        FeatureMap.fit(training.A, b, training.x)


def test_network_learns_and_knows_the_level(training, test, spaces):
    pytest.importorskip("torch")
    A, b, x, noisy = known(training, level=1e-3)
    network = PCANetwork.fit(A, b, x, noisy, spaces, levels=(1e-4, 1e-1), seconds=2.0, seed=1)
    assert network.steps > 20
    assert error(network, test, test) < 0.5 * error(MeanOperator.fit(A, b, x), test, test)
    other = network.at(noisy_copies(training, "entrywise", 0.1))
    assert not np.array_equal(other.solve(test.A, test.b), network.solve(test.A, test.b))
    assert other.layers is network.layers


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0}, {"seconds": np.nan}, {"levels": (0.1, 0.01)}, {"levels": (0.0, 1.0)}]
)
def test_impossible_trainings(wrong, training, spaces):
    with pytest.raises(OptionError):
        PCANetwork.fit(*known(training), spaces, **wrong)
