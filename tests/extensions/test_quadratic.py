"""Polar factors: against the SVD, against Polar Express, in every dtype, and where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnla.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from nnla.extensions import polar
from nnla.extensions.polar_schedules import prism_coefficients


def matrix(rng, m, n, values):
    U = np.linalg.qr(rng.standard_normal((m, n)))[0]
    V = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (U * values) @ V.T


def reference(A):
    U, _, Vt = np.linalg.svd(A, full_matrices=False)
    return U @ Vt


CASES = {
    "gaussian": lambda rng: rng.standard_normal((70, 70)),
    "tall": lambda rng: rng.standard_normal((90, 40)),
    "wide": lambda rng: rng.standard_normal((30, 80)),
    "log-uniform": lambda rng: matrix(rng, 60, 60, np.geomspace(1e-6, 1, 60)),
    "outlier": lambda rng: matrix(rng, 60, 50, np.r_[1e4, rng.uniform(0.5, 1, 49)]),
    "one small": lambda rng: matrix(rng, 60, 50, np.r_[1e-4, rng.uniform(0.5, 1, 49)]),
    "orthogonal": lambda rng: matrix(rng, 50, 50, np.full(50, 3.0)),
    "column": lambda rng: rng.standard_normal((20, 1)),
    "huge": lambda rng: 1e200 * rng.standard_normal((30, 30)),
    "tiny": lambda rng: 1e-200 * rng.standard_normal((30, 30)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_polar_factor_is_that_of_the_svd(name, rng):
    A = CASES[name](rng)
    result = polar(A)
    report = result.report
    assert report.converged, report
    scale = np.abs(A).max()
    assert report.error <= report.error_bound <= 1e-10
    condition = np.linalg.cond(A)
    assert np.linalg.norm(result.U - reference(A), 2) < 1e-13 * condition + 1e-11
    U, H = result
    assert (
        np.linalg.norm(U @ (H / scale) - A / scale if A.shape[0] >= A.shape[1] else (H / scale) @ U - A / scale) < 1e-9
    )
    assert np.linalg.eigvalsh(H / scale).min() > -1e-10


@pytest.mark.parametrize("tol", [1e-2, 1e-6, 1e-10])
@pytest.mark.parametrize("name", ["gaussian", "tall", "log-uniform", "one small"])
def test_no_more_products_than_polar_express_on_the_exact_interval(name, tol, rng):
    A = CASES[name](rng)
    values = np.linalg.svd(A, compute_uv=False)
    ours = polar(A, rtol=tol).report
    theirs = polar(A, rtol=tol, method="polar-express", interval=(values[-1], values[0])).report
    assert ours.converged
    assert theirs.converged
    assert ours.products <= theirs.products


def test_the_report_counts_every_product(rng):
    A = matrix(rng, 40, 40, np.geomspace(1e-3, 1, 40))
    report = polar(A).report
    cost = {3: 2, 5: 3, 9: 4, 17: 5}
    assert report.products == sum(cost[d] for d in report.steps) + 1
    assert report.products_check == 1
    assert len(report.coefficients) == len(report.steps)
    assert len(report.error_history) == len(report.steps) + 1
    assert json.loads(report.to_json())["converged"] is True


@pytest.mark.parametrize("method", ["polar-express", "newton-schulz", "newton-schulz-3", "prism"])
def test_the_baselines_converge_to_the_same(method, rng):
    A = matrix(rng, 40, 30, np.geomspace(0.01, 1, 30))
    result = polar(A, method=method)
    assert result.report.converged
    assert result.report.method == method
    np.testing.assert_allclose(result.U, reference(A), atol=1e-10)


def test_muon_takes_five_steps_and_does_not_converge(rng):
    report = polar(rng.standard_normal((40, 40)), method="muon").report
    assert report.steps == [5] * 5
    assert not report.converged
    assert 0.1 < report.error < 1.0


def test_prism_fits_the_residual_better_than_taylor(rng):
    x = np.geomspace(0.1, 1, 200)
    a, b, c = prism_coefficients(np.diag(x**2), rng, sketch=200)
    fitted = x * (a + b * x**2 + c * x**4)
    taylor = x * (1.875 - 1.25 * x**2 + 0.375 * x**4)
    assert np.sum((1 - fitted**2) ** 2) < np.sum((1 - taylor**2) ** 2)


def test_single_precision_stays_single_precision(rng):
    A = rng.standard_normal((50, 40)).astype(np.float32)
    result = polar(A)
    assert result.U.dtype == np.float32
    assert result.report.converged
    assert result.report.dtype == "float32"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiny_singular_values_do_not_spoil_the_factor(dtype):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        A = matrix(rng, 45, 29, np.where(rng.random(29) < 0.5, 1.0, 10 ** -rng.uniform(4, 8))).astype(dtype)
        U, H = polar(A, seed=seed)
        assert np.linalg.norm(U @ H - A, 2) < 2e4 * np.finfo(dtype).eps
        assert np.linalg.eigvalsh(H.astype(float)).min() > -1e3 * np.finfo(dtype).eps


def test_the_same_seed_gives_the_same_bits(rng):
    A = rng.standard_normal((40, 40))
    before = A.copy()
    first, second = polar(A, seed=3), polar(A, seed=3)
    assert np.array_equal(first.U, second.U)
    assert first.report == second.report
    assert np.array_equal(A, before)


def test_an_interval_that_is_too_short_is_survived_and_reported(rng):
    A = matrix(rng, 40, 40, np.geomspace(0.01, 1, 40))
    result = polar(A, interval=(0.01, 0.4))
    assert result.report.converged
    assert "beyond the probed end" in result.report.fallback
    diverged = polar(A, method="polar-express", interval=(0.01, 0.2), maxsteps=20).report
    assert not diverged.converged


def test_rank_deficient_matrices_do_not_converge_and_say_so(rng):
    A = matrix(rng, 30, 30, np.r_[np.zeros(5), np.ones(25)])
    report = polar(A, maxsteps=12).report
    assert not report.converged
    assert report.status in ("maxiter", "stagnation")
    zero = polar(np.zeros((4, 3)))
    assert zero.report.status == "breakdown"
    assert "zero" in zero.report.fallback


def test_errors(rng):
    A = rng.standard_normal((5, 4))
    with pytest.raises(OptionError, match="method"):
        polar(A, method="magic")
    with pytest.raises(OptionError, match="rtol"):
        polar(A, rtol=0.0)
    with pytest.raises(OptionError, match="maxsteps"):
        polar(A, maxsteps=0)
    with pytest.raises(OptionError, match="interval"):
        polar(A, interval=(2.0, 1.0))
    with pytest.raises(OptionError, match="interval"):
        polar(A, interval=3.0)
    with pytest.raises(ShapeError, match="non-empty"):
        polar(np.zeros((0, 3)))
    with pytest.raises(ShapeError, match="matrix"):
        polar(np.ones(3))
    with pytest.raises(DTypeError, match="complex"):
        polar(A * 1j)
    with pytest.raises(NonFiniteError, match="NaN"):
        polar(np.full((3, 3), np.nan))


def test_torch_tensors_stay_torch_in_their_dtype(rng):
    torch = pytest.importorskip("torch")
    A = rng.standard_normal((60, 48))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        result = polar(torch.from_numpy(A).to(dtype))
        assert result.U.dtype == dtype
        assert result.report.converged, result.report
        U = result.U.double().numpy()
        assert np.linalg.norm(U.T @ U - np.eye(48), 2) <= 1.3 * result.report.rtol
        assert result.H.dtype == dtype
    with pytest.raises(DTypeError, match="sparse"):
        polar(torch.eye(3).to_sparse())
    with pytest.raises(DTypeError, match="floating"):
        polar(torch.eye(3, dtype=torch.int64))
