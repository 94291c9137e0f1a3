"""Flexible CG against theory: CG for linear M, and a step of steepest descent at worst for any other."""

import numpy as np
import pytest

import nnla
from nnla.krylov.cg import conjugate_gradients
from nnla.krylov.fcg import MEMORY, FlexibleConjugateGradients
from nnla.types import Status


@pytest.fixture(scope="module")
def system():
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((16, 16), s=1.0)).toarray()
    return A, np.random.default_rng(3).standard_normal(A.shape[0])


def start(A, b, M=None, **options):
    targets = 1e-10 * np.linalg.norm(b, axis=0)
    return FlexibleConjugateGradients(
        lambda v: A @ v, b, x=np.zeros_like(b), residual=b.copy(), targets=targets, M=M, **options
    )


def energy(A, e):
    return float(np.sqrt(e @ (A @ e)))


@pytest.mark.parametrize("memory", [1, MEMORY])
@pytest.mark.parametrize("scaled", [False, True])
def test_with_a_linear_spd_preconditioner_it_is_cg(system, memory, scaled):
    A, b = system
    M = (lambda r: r / A.diagonal()) if scaled else None
    targets = np.array([1e-10 * np.linalg.norm(b)])
    expected = conjugate_gradients(
        lambda v: A @ v, b, x=np.zeros_like(b), residual=b.copy(), targets=targets, maxiter=999, M=M
    )
    cg = start(A, b, M, memory=memory)
    first = cg.advance(20).x.copy()
    twenty = conjugate_gradients(
        lambda v: A @ v, b, x=np.zeros_like(b), residual=b.copy(), targets=targets, maxiter=20, M=M
    )
    assert first == pytest.approx(twenty.x, rel=1e-8, abs=1e-10 * np.abs(twenty.x).max())
    got = cg.advance(999)
    assert got.status is expected.status is Status.CONVERGED
    assert abs(got.iterations - expected.iterations) <= 3  # it rounds otherwise


def wild(rng):
    """Neither linear nor symmetric, and another at every call."""
    return lambda r: rng.uniform(0.1, 3.0, r.shape) * r + 0.3 * np.abs(r) * rng.standard_normal(r.shape)


@pytest.mark.parametrize("memory", [0, 1, MEMORY])
def test_each_step_gains_at_least_what_steepest_descent_along_its_residual_does(system, memory):
    """||e_{k+1}||_A <= sin(angle) ||e_k||_A, the angle that of z_k = M r_k and e_k in the A-inner product."""
    A, b = system
    exact = np.linalg.solve(A, b)
    seen = []
    noise = wild(np.random.default_rng(0))
    cg = start(A, b, lambda r: seen.append(noise(r)) or seen[-1], memory=memory)
    error = energy(A, exact)
    for k in range(40):
        before = exact - cg.result.x
        cg.advance(1)
        z = seen[k]
        cosine = (z @ (A @ before)) / (energy(A, z) * energy(A, before))
        after = energy(A, exact - cg.result.x)
        assert after <= np.sqrt(1 - cosine**2) * error * (1 + 1e-10)
        error = after


def test_directions_are_orthogonal_to_as_many_as_are_kept(system):
    A, b = system
    cg = start(A, b, wild(np.random.default_rng(1)), memory=4)
    directions = []
    for _ in range(12):
        cg.advance(1)
        p = cg._p.copy()
        for other in directions[-4:]:
            assert abs(p @ (A @ other)) <= 1e-10 * energy(A, p) * energy(A, other)
        directions.append(p)


def test_what_breaks_cg_does_not_break_it(system):
    A, b = system
    noise = wild(np.random.default_rng(2))
    got = start(A, b, noise).advance(3000)
    assert got.status is Status.CONVERGED
    assert np.linalg.norm(b - A @ got.x) <= 1e-10 * np.linalg.norm(b)
    negative = start(A, b, lambda r: -r / A.diagonal()).advance(999)  # any sign, as the step has one, too
    assert negative.status is Status.CONVERGED


def test_blocks_are_their_columns(system, rng):
    A, b = system
    B = np.stack([b, A @ np.ones_like(b), rng.standard_normal(b.size)], axis=1)
    M = lambda r: r / (1.0 + np.abs(r))  # noqa: E731 - non-linear, entry by entry
    block = start(A, B, M).advance(3000)
    assert block.status is Status.CONVERGED
    for j in range(3):
        assert np.linalg.norm(B[:, j] - A @ block.x[:, j]) <= 1e-10 * np.linalg.norm(B[:, j])
        single = start(A, B[:, j].copy(), M).advance(3000)
        assert block.x[:, j] == pytest.approx(single.x, abs=1e-7 * np.abs(single.x).max())


@pytest.mark.parametrize(("M", "status"), [(lambda r: 0 * r, "breakdown"), (lambda r: np.nan * r, "breakdown")])
def test_an_m_that_gives_no_direction_is_a_breakdown(system, M, status):
    A, b = system
    got = start(A, b, M).advance(50)
    assert got.status.value == status
    assert not got.x.any()


def test_an_indefinite_matrix_is_seen(rng):
    A = np.diag(np.append(-1.0, np.linspace(1, 2, 30)))
    got = start(A, rng.standard_normal(31)).advance(99)
    assert got.status is Status.INDEFINITE
