"""Polar factors and roots of matrices of low rank, at every size: right on the row space, rounding taken to nothing."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import NonFiniteError
from nnla.extensions import inverse_root, polar
from nnla.extensions.minimax import odd_minimax
from nnla.extensions.numerical_rank import Images, tolerated, trust

TOL = {"float64": 1e-9, "float32": 5e-5, "bfloat16": 0.05, "float16": 0.01}
SHAPES = [(5, 4), (12, 12), (64, 48), (30, 100), (100, 3)]


def low_rank(m, n, r, seed):
    rng = np.random.default_rng([m, n, r, seed])
    return rng.standard_normal((m, r)) @ rng.standard_normal((r, n))


def cast(X, dtype):
    if dtype in ("float64", "float32"):
        return X.astype(dtype)
    torch = pytest.importorskip("torch")
    return torch.from_numpy(X).to(getattr(torch, dtype))


def plain(X):
    return X.astype(float) if isinstance(X, np.ndarray) else X.double().numpy()


def on_the_rows(A, U, r):
    """Singular values of U between the row and column spaces of A: 1 each."""
    left, _, right = np.linalg.svd(A, full_matrices=False)
    return np.linalg.svd(left[:, :r].T @ U @ right[:r].T, compute_uv=False)


@pytest.mark.parametrize("dtype", TOL)
@pytest.mark.parametrize("rank", [1, 2, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_low_rank_is_right_on_its_rows_and_nothing_else(shape, rank, dtype):
    if rank >= min(shape):
        return
    for seed in range(2):
        A = cast(low_rank(*shape, rank, seed), dtype)
        U, report = (result := polar(A, seed=seed)).U, result.report
        values = np.linalg.svd(plain(U), compute_uv=False)
        assert report.rank is not None
        # in bfloat16 a small one of these may itself be rounding; never more of them
        assert report.rank == rank or (dtype == "bfloat16" and report.rank < rank)
        np.testing.assert_allclose(on_the_rows(plain(A), plain(U), report.rank), 1, atol=TOL[dtype])
        assert values[report.rank :].max() ** 2 <= 1.1 * report.rtol
        assert not report.converged
        assert report.status == "stagnation"
        assert report.row_error <= report.rtol
        assert f"rank {rank}" in report.fallback or dtype == "bfloat16"
        assert report.backward_error < tolerated(
            2.0**-53 if dtype == "float64" else 2.0**-24 if dtype == "float32" else 0.01
        )
        assert 0 < report.smallest_trusted < np.linalg.norm(plain(A), 2)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_rule_knows_no_units(dtype):
    A = low_rank(20, 15, 4, 0)
    first = polar(cast(A, dtype)).report
    for c in (2.0**-100, 2.0**100) if dtype == "float32" else (2.0**-900, 2.0**-100, 2.0**900):
        report = polar(cast(A * c, dtype)).report
        assert report.rank == first.rank == 4
        assert report.products == first.products
        assert report.smallest_trusted == pytest.approx(c * first.smallest_trusted)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (12, 30), (20, 20)])
def test_full_rank_at_the_ends_of_the_range(shape, dtype):
    B = np.random.default_rng(1).standard_normal(shape)
    left, _, right = np.linalg.svd(B, full_matrices=False)
    powers = (-30, 30, 37, -40) if dtype == "float32" else (-250, 250, 305, -308)
    for power in powers:
        A = (B * 10.0**power).astype(dtype)
        result = polar(A)
        assert result.report.converged, power
        assert result.report.rank == min(shape)
        assert np.abs(result.U - left @ right).max() < (1e-4 if dtype == "float32" else 1e-9)
        assert np.isfinite(result.H).all()


def test_small_but_trusted_singular_values_count():
    rng = np.random.default_rng(0)
    left, right = np.linalg.qr(rng.standard_normal((40, 20)))[0], np.linalg.qr(rng.standard_normal((20, 20)))[0]
    for dtype, lowest in (("float64", 1e-13), ("float32", 1e-5)):
        A = ((left * np.geomspace(lowest, 1, 20)) @ right).astype(dtype)
        report = polar(A).report
        assert report.converged, (dtype, report)
        assert report.rank == 20
        assert report.smallest_trusted < lowest


@pytest.mark.parametrize("method", ["polar-express", "newton-schulz", "newton-schulz-3", "prism"])
def test_a_baseline_that_lifts_rounding_is_not_converged(method):
    for dtype in ("float64", "float32"):
        report = polar(low_rank(30, 20, 5, 0).astype(dtype), method=method, maxsteps=100).report
        assert not report.converged
        assert report.rank is None
        if report.status == "stagnation":
            assert "rounding" in report.fallback


def test_a_factor_that_lost_a_direction_shows():
    # 20 steps of a schedule whose polynomials swap singular values around: orthogonal, and not A's
    from nnla.extensions.numerical_rank import backward_error
    from nnla.extensions.transitions import Run

    rng = np.random.default_rng(0)
    A = rng.standard_normal((30, 20))
    U = polar(A).U
    Q = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    run = Run(A, None, 40, 0, "autospec")
    assert backward_error(run, A, U) < 1e-10
    assert backward_error(run, A, U @ Q) > 0.1
    turned = U.copy()
    turned[:, 0] = 0.0
    assert backward_error(run, A, turned) > 0.01


def test_zero_keeps_its_shape():
    for shape in ((2, 5), (5, 2), (1, 1)):
        U, H = result = polar(np.zeros(shape))
        assert U.shape == shape
        assert H.shape == (min(shape),) * 2
        assert result.report.rank == 0
        assert result.report.status == "breakdown"


def test_a_factor_beyond_the_range_is_an_error():
    result = polar(np.diag([1.0, 1.0, 1.0]) * 1e308 + 7e307)
    assert result.report.converged
    with pytest.raises(NonFiniteError, match="rescale"):
        polar(np.full((9, 1), 1.7e308)).H  # noqa: B018


def test_images_are_where_the_singular_values_are():
    values = np.geomspace(1e-5, 1, 20)
    X = np.diag(values)
    images = Images(X, 2.0**-53)
    assert images.trusted == pytest.approx(trust(2.0**-53) * 2.0**-53 * np.linalg.norm(values))
    for ratio in (1e-5, 1e-3, 0.1):
        p = odd_minimax(5, ratio)
        images.follow(p)
        values = p(values)
        assert images.lower <= values.min() * 1.01
    assert images.smallest(0.5) < 1e-2


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize("dtype", TOL)
def test_a_singular_matrix_has_no_inverse_root(p, dtype):
    from nnla.errors import NotPositiveDefiniteError

    for n, rank in ((3, 2), (12, 3), (12, 11)):
        for seed in range(2):
            G = low_rank(n, rank, rank, seed)
            try:
                report = inverse_root(cast(G @ G.T, dtype), p, rtol=0.5).report
            except NotPositiveDefiniteError:
                continue
            assert not report.converged, (n, rank, seed)


@pytest.mark.parametrize("p", [1, 2, 4])
def test_inverse_roots_at_the_ends_of_the_range(p):
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    values = np.geomspace(0.01, 1, 12)
    A, exact = (Q * values) @ Q.T, (Q * values ** (-1 / p)) @ Q.T
    A = 0.5 * (A + A.T)
    for dtype, powers in (("float64", (-300, -250, 250, 300)), ("float32", (-36, -30, 30, 35))):
        for power in powers:
            result = inverse_root((A * 10.0**power).astype(dtype), p)
            assert result.report.converged, (dtype, power)
            found = result.Z.astype(float) * 10.0 ** (power / p)
            assert np.abs(found - exact).max() < (1e-2 if dtype == "float32" else 1e-7) * np.abs(exact).max()
    # what has no inverse in the dtype is said to have none
    assert inverse_root(A * 1e-310, p).report.status == ("breakdown" if p == 1 else "converged")
