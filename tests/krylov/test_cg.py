"""CG: textbook iterates, blocks equal to columns, honest statuses, Lanczos coefficients."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import cg as scipy_cg

import nnla
from nnla.krylov.cg import conjugate_gradients, lanczos_from_cg
from nnla.types import Status


def run(A, b, **options):
    x = np.zeros_like(b)
    size = np.linalg.norm(b, axis=0)
    options = {"targets": 1e-10 * size, "maxiter": 2000, **options}
    return conjugate_gradients(lambda v: A @ v, b, x=x, residual=b.copy(), **options)


@pytest.fixture
def system(rng):
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((24, 24), s=1.0))
    return A, rng.standard_normal(A.shape[0])


@pytest.mark.parametrize("one_reduction", [False, True])
@pytest.mark.parametrize("preconditioned", [False, True])
def test_iterates_are_scipys(system, one_reduction, preconditioned):
    A, b = system
    d = A.diagonal()
    M = (lambda r: r / (d if r.ndim == 1 else d[:, None])) if preconditioned else None
    operator = sp.diags_array(1 / d) if preconditioned else None
    for steps in (1, 5, 20):
        expected, _ = scipy_cg(A, b, rtol=0.0, atol=0.0, maxiter=steps, M=operator)
        got = run(A, b, maxiter=steps, M=M, one_reduction=one_reduction)
        assert got.status is Status.MAXITER
        assert got.iterations == steps == len(got.history)
        assert np.linalg.norm(got.x - expected) <= 1e-10 * np.linalg.norm(expected)
        assert got.reductions == (steps if one_reduction else 2 * steps)


@pytest.mark.parametrize("one_reduction", [False, True])
def test_block_is_its_columns(system, rng, one_reduction):
    A, _ = system
    B = rng.standard_normal((A.shape[0], 4))
    B[:, 2] = A @ np.ones(A.shape[0])  # an easier one, which leaves early
    block = run(A, B.copy(), one_reduction=one_reduction)
    assert block.status is Status.CONVERGED
    for j in range(4):
        single = run(A, B[:, j].copy(), one_reduction=one_reduction)
        assert np.linalg.norm(block.x[:, j] - single.x) <= 1e-7 * np.linalg.norm(single.x)
        assert np.linalg.norm(B[:, j] - A @ block.x[:, j]) <= 1e-10 * np.linalg.norm(B[:, j])


def test_lanczos_coefficients(system):
    A, b = system
    result = run(A, b, maxiter=25, one_reduction=True)
    alpha, beta = lanczos_from_cg(result.alpha, result.beta, result.last_beta)
    probe = nnla.probe(A, 25, start=b)
    assert np.allclose(alpha, probe.alpha, rtol=1e-6)
    assert np.allclose(beta, probe.beta, rtol=1e-6)


def test_indefinite_matrix_is_reported(rng):
    A = np.diag(np.concatenate([[-1.0], np.linspace(1, 2, 30)]))
    for one_reduction in (False, True):
        result = run(A, rng.standard_normal(31), one_reduction=one_reduction)
        assert result.status is Status.INDEFINITE
        assert np.all(np.isfinite(result.x))


def test_indefinite_preconditioner_is_a_breakdown(system):
    A, b = system
    result = run(A, b, M=lambda r: -r)
    assert result.status is Status.BREAKDOWN
    assert result.iterations == 0
    assert not result.x.any()


def test_nan_in_one_column_spares_the_others(system, rng):
    A, _ = system
    B = rng.standard_normal((A.shape[0], 2))
    calls = 0

    def poisoned(v):
        nonlocal calls
        calls += 1
        w = A @ v
        if calls == 5:
            w[:, 0] = np.nan
        return w

    x = np.zeros_like(B)
    with np.errstate(invalid="ignore"):
        result = conjugate_gradients(
            poisoned, B, x=x, residual=B.copy(), targets=1e-10 * np.linalg.norm(B, axis=0), maxiter=2000
        )
    assert result.status is Status.BREAKDOWN
    assert np.linalg.norm(B[:, 1] - A @ result.x[:, 1]) <= 1e-10 * np.linalg.norm(B[:, 1])


def test_impossible_tolerance_stagnates(system):
    A, b = system
    result = run(A, b, targets=np.array([1e-18 * np.linalg.norm(b)]), stall=200)
    assert result.status is Status.STAGNATION
    assert np.linalg.norm(b - A @ result.x) <= 1e-11 * np.linalg.norm(b)


def test_residual_gap_is_seen():
    """Where the recursive residual parts from the true one, CG must not claim success."""
    lam = np.geomspace(1e-13, 1, 60)
    Q, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((60, 60)))
    A = (Q * lam) @ Q.T
    A = (A + A.T) / 2
    b = np.ones(60)
    result = run(A, b, targets=np.array([1e-12]), stall=300)
    true = np.linalg.norm(b - A @ result.x)
    assert result.status is not Status.CONVERGED or true <= 1e-12


def test_callback_sees_every_iterate(system):
    A, b = system
    seen = []
    result = run(A, b, maxiter=7, callback=lambda x: seen.append(np.linalg.norm(b - A @ x)))
    assert np.allclose(seen, result.history, rtol=1e-9)
