"""The ends of float64: right, or a named error, never "converged" beside a wrong number."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

import nnla
from nnla.errors import NNLAError, NonFiniteError
from nnla.linear.units import Units, comfortable
from nnla.operators.numpy_space import NUMPY
from nnla.operators.operator import as_operator

POLYNOMIALS = ("autospec", "chebyshev", "gmres", "least-squares")


@pytest.fixture(scope="module")
def system():
    A = nnla.problems.poisson2d(12)
    return A, np.ones(144), np.linalg.solve(A.toarray(), np.ones(144))


@pytest.mark.parametrize("scale", [1e-310, 1e-300, 1e-200, 1e-155, 1e155, 1e200, 1e300])
@pytest.mark.parametrize("method", ["auto", "direct", "ic", "jacobi", "cg", "fcg", *POLYNOMIALS])
def test_units_of_A(system, scale, method):
    A, b, right = system
    options = {"scaling": "none"} if method in POLYNOMIALS else {}
    load = b * min(scale * 1e10, 1.0)  # the solution has to be in the range of float64, too
    x, report = nnla.solve(A * scale, load, method=method, **options)
    assert report.converged
    size = scale / load[0]
    assert np.linalg.norm(x * size - right) < 1e-4 * np.linalg.norm(right)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
@pytest.mark.parametrize("method", ["auto", "jacobi", "autospec", "direct", "ic"])
def test_prepare_in_extreme_units(system, scale, method):
    A, b, right = system
    P = nnla.prepare(A * scale, method=method)
    x, report = P.solve(b)
    assert report.converged
    assert np.linalg.norm(x * scale - right) < 1e-5 * np.linalg.norm(right)
    z = P.aspreconditioner() @ b
    assert np.isfinite(z).all()
    assert (z * scale) @ b > 0


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_polynomial_preconditioner_in_extreme_units(system, scale):
    A, b, _ = system
    M, usual = nnla.preconditioner(A * scale), nnla.preconditioner(A)
    assert np.allclose((M @ b) * scale, usual @ b, rtol=1e-9)
    report = nnla.solve(A * scale, b, M=M).report
    assert report.converged
    assert report.method == "autospec"


def test_a_float32_polynomial_takes_vectors_of_any_size(system):
    A, b, _ = system
    M = nnla.prepare(A, method="autospec").aspreconditioner()
    for size in (1e-300, 1e-60, 1e60, 1e300):
        assert np.allclose((M @ (b * size)) / size, M @ b, rtol=1e-6)


def test_an_operator_known_by_products_in_extreme_units(system):
    A, b, right = system
    for scale in (1e-200, 1e200):
        op = LinearOperator(A.shape, matvec=lambda v, s=scale: (A * s) @ v, dtype=float)
        for method in ("cg", "autospec"):
            x, report = nnla.solve(op, b, method=method)
            assert report.converged
            assert np.linalg.norm(x * scale - right) < 1e-5 * np.linalg.norm(right)


def test_norms_beyond_float64(system):
    b = np.full(4, 1.7e308)
    x, report = nnla.solve(np.eye(4), b, method="cg")
    assert report.converged
    assert np.array_equal(x, b)
    A, one, right = system
    B = np.stack([one, one * 1.7e308, 0 * one], axis=1)
    x, report = nnla.solve(A * 1e3, B, method="cg")
    assert report.converged
    assert np.allclose(x[:, 1] / 1.7e308 * 1e3, right, rtol=1e-6)


@pytest.mark.parametrize("method", ["auto", "cg", "direct"])
def test_solutions_beyond_float64_are_errors(system, method):
    A, b, _ = system
    with pytest.raises(NonFiniteError, match="range of float64"):
        nnla.solve(A * 1e-200, b * 1e200, method=method)
    with pytest.raises(NonFiniteError, match="range of float64"):
        nnla.solve(A, b * 1e308, method=method)


def test_what_underflows_on_the_way_out_is_not_converged(system):
    A, b, _ = system
    x, report = nnla.solve(np.eye(4) * 1e200, np.full(4, 1e-200))
    assert not report.converged
    assert report.status == "rounding"
    assert report.relative_residual == 1.0
    rng = np.random.default_rng(0)
    small = rng.standard_normal(b.size) * 1e-316
    x, report = nnla.solve(A, small, method="cg")
    true = np.linalg.norm((small - A @ x) * 1e300) / np.linalg.norm(small * 1e300)
    assert report.converged == (true <= 1e-8)
    assert report.relative_residual == pytest.approx(true, rel=1e-6)


def test_starts_of_any_size(system):
    A, b, right = system
    for x0 in (b * 1e308, b * 1e-308, b * 1e160):
        x, report = nnla.solve(A, b * 1e-10, x0=x0, method="cg")
        assert report.converged
        assert np.linalg.norm(x * 1e10 - right) < 1e-5 * np.linalg.norm(right)


@pytest.mark.parametrize("method", ["auto", "jacobi", "ic", "autospec", "direct"])
def test_a_diagonal_over_three_hundred_decades(method):
    rng = np.random.default_rng(0)
    d = 10.0 ** rng.uniform(-150, 150, 144)
    A = sp.csr_array(sp.diags_array(d) @ nnla.problems.poisson2d(12) @ sp.diags_array(d))
    A = sp.csr_array(sp.triu(A) + sp.triu(A, 1).T)
    x, report = nnla.solve(A, d, method=method)
    assert report.converged
    right = np.linalg.solve(nnla.problems.poisson2d(12).toarray(), np.ones(144))
    assert np.linalg.norm(x * d - right) < 1e-5 * np.linalg.norm(right)  # every row, not the heavy ones alone


def test_moderate_matrices_are_left_alone():
    op = as_operator(nnla.problems.poisson2d(5) * 1e20)
    assert comfortable(op) == (op, None)
    inner, exponents = comfortable(as_operator(nnla.problems.poisson2d(5) * 1e200))
    assert np.ptp(exponents) == 0
    assert np.allclose(inner.csr.toarray(), np.ldexp(nnla.problems.poisson2d(5).toarray() * 1e200, 2 * exponents[0]))


def test_there_and_back_is_exact():
    rng = np.random.default_rng(0)
    b = rng.standard_normal((6, 3)) * [1e-310, 1.0, 1e308]
    for rows in (None, rng.integers(-20, 20, 6)):
        units, inside, size = Units.of(NUMPY, b, rows)
        assert np.all((size >= 1) & (size < 2))
        shift = np.zeros(6, dtype=int) if rows is None else rows
        assert np.array_equal(np.ldexp(inside, units.columns - shift[:, None]), b)
        x, stands_for = Units(NUMPY, np.array([3, -40, 900]), rows).solution(inside)
        assert np.array_equal(stands_for, inside)
        assert np.array_equal(x, np.ldexp(inside, shift[:, None] + np.array([3, -40, 900])))


def test_random_systems_are_right_or_refused():
    """Any method, any form, any units: what is called converged is, to the last bit of a higher precision."""
    high = np.longdouble
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 30))
        G = rng.standard_normal((n, n)) * (rng.random((n, n)) < 0.4)
        A = (G @ G.T + np.diag(10.0 ** rng.uniform(-3, 1, n))) * 10.0 ** rng.choice([0, rng.uniform(-250, 250)])
        if seed % 3 == 0:
            A = A + np.diag(np.where(rng.random(n) < 0.3, 10.0 ** rng.uniform(0, 30), 0.0) * A.max())
        b = [np.ones(n), rng.standard_normal(n), A @ np.ones(n), A.diagonal()][seed % 4]
        with np.errstate(over="ignore"):
            b = b * 10.0 ** rng.choice([0, rng.uniform(-290, 290)])
        if not np.isfinite(b).all():
            continue
        form = [sp.csr_array, np.array, sp.csc_array][int(rng.integers(3))]
        method = str(rng.choice(["auto", "autospec", "chebyshev", "gmres", "jacobi", "cg", "fcg", "direct"]))
        try:
            x, report = nnla.solve(form(A), b, method=method)
        except NNLAError:
            continue
        assert np.isfinite(x).all()
        if report.converged:
            left = b.astype(high) - A.astype(high) @ x.astype(high)
            floor = np.abs(A).astype(high) @ np.abs(x).astype(high) * 1e-15
            size = np.sqrt(np.sum(b.astype(high) ** 2))
            assert np.sqrt(np.sum(left**2)) <= 1.000001e-8 * size + np.sqrt(np.sum(floor**2)), (seed, method)
