"""Polynomials in low precision: hardly more iterations, the same residual, and back to float64 where they stall."""

import numpy as np
import pytest
import scipy.sparse as sp

import nnla
from nnla.kernels import native
from nnla.linear import polynomial
from nnla.linear.preconditioner import PolynomialPreconditioner, quick_dtype
from nnla.linear.state import Run
from nnla.preconditioners.scalings import bind_scaling
from nnla.problems import problem
from nnla.types import Status

needs_native = pytest.mark.skipif(native is None, reason="the native kernels are not there")


@pytest.fixture(scope="module")
def system():
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((48, 48), s=1.0))
    return A, np.random.default_rng(5).standard_normal(A.shape[0])


def relative(A, x, b):
    return np.linalg.norm(b - A @ x) / np.linalg.norm(b)


# Small eigenvalues outside of the polynomial's interval: CG finds each of them once in float64, and where float32 has
# rounded the preconditioned residuals it finds some of them again.
OUTLYING = ("checkerboard2d", "circuit_palette", "circuit_supply", "fem_variable", "elasticity2d", "elasticity3d")


@pytest.mark.parametrize("scaling", ["none", "jacobi"])
def test_single_precision_takes_hardly_more_iterations(scaling):
    ratios = {}
    for name in nnla.problems.SUITE:
        system = problem(name, "small")
        counts = []
        for dtype in (np.float64, np.float32):
            options = {"method": "chebyshev", "scaling": scaling, "rtol": 1e-10, "dtype": dtype}
            x, report = nnla.solve(system.A, system.b, **options)
            if not report.converged or report.iterations < 5 or report.fallback:
                break
            assert report.precision == np.dtype(dtype).name
            assert relative(system.A, x, system.b) <= 1e-10
            counts.append(report.iterations)
        if len(counts) == 2:
            ratios[name] = counts[1] / counts[0]
    assert len(ratios) >= 8
    usual = [ratio for name, ratio in ratios.items() if name not in OUTLYING]
    assert len(usual) >= 4
    assert np.exp(np.mean(np.log(usual))) <= 1.02
    assert np.exp(np.mean(np.log(list(ratios.values())))) <= 1.08
    assert max(ratios.values()) <= 1.4


@pytest.mark.parametrize(("name", "rtol"), [("bcsstk18", 1e-8), ("ex15", 1e-8), ("t2dah_e", 1e-8)])
def test_real_systems_reach_the_residual_of_float64(real_matrix, name, rtol):
    A = real_matrix(name)
    b = A @ np.random.default_rng(0).standard_normal(A.shape[0])
    x, report = nnla.solve(A, b, method="autospec", rtol=rtol)
    double = nnla.solve(A, b, method="autospec", rtol=rtol, dtype=np.float64).report
    assert report.converged == double.converged
    if report.converged:
        assert relative(A, x, b) <= rtol
    else:
        assert report.relative_residual <= 2 * double.relative_residual


@needs_native
def test_single_precision_is_the_default_of_sparse_matrices_only(system):
    A, b = system
    assert nnla.solve(A, b, method="autospec").report.precision == "float32"
    assert nnla.solve(A, b, method="autospec", scaling="ic", probe_steps=5).report.precision == "float64"
    assert nnla.solve(A.toarray(), b, method="autospec").report.precision == "float64"
    assert nnla.solve(A, b, method="autospec", dtype=np.float64).report.precision == "float64"
    assert nnla.solve(A, b, method="autospec", dtype="bfloat16").report.precision == "bfloat16"
    assert nnla.solve(A, b, method="jacobi").report.precision is None


@needs_native
def test_entries_beyond_single_precision_are_kept_in_float64(system):
    A, b = system
    for factor in (1e-25, 1e25):
        op = nnla.as_operator(factor * A)
        assert quick_dtype(op, bind_scaling(op, "none")) == "float64"
        assert quick_dtype(op, bind_scaling(op, "jacobi")) == "float32"  # entries of at most 1
        for scaling in ("none", "jacobi"):
            x, report = nnla.solve(op, b, method="autospec", scaling=scaling)
            assert report.converged
            assert relative(factor * A, x, b) <= 1e-8


class Early(polynomial.PolynomialPreconditioner):
    """Fails in single precision after three applications, in a way that CG calls this or that."""

    sign = 1.0

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.native = None  # CG in Python calls it

    def __call__(self, r):
        z = super().__call__(r)
        return z if self.precision != "float32" or self.applies <= 3 else self.sign * z

    def in_precision(self, dtype):
        return type(self)(self.operator, self.base, self.design, self.probe, dtype=dtype)


@needs_native
@pytest.mark.parametrize(("sign", "status"), [(-1.0, Status.BREAKDOWN), (np.nan, Status.BREAKDOWN)])
def test_what_stops_in_single_precision_goes_on_in_double(system, monkeypatch, sign, status):
    A, b = system
    monkeypatch.setattr(Early, "sign", sign)
    monkeypatch.setattr(polynomial, "PolynomialPreconditioner", Early)
    monkeypatch.setattr(polynomial, "_wider", lambda run, M: None)  # nothing is wrong with the interval
    x, report = nnla.solve(A, b, method="autospec", rtol=1e-9, dtype=None)
    single, double = [phase for phase in report.phases if phase.degree is not None]
    assert (single.precision, double.precision) == ("float32", "float64")
    assert (single.status, single.iterations) == (status, 3)
    assert f"CG with the polynomial in float32 ended in {status.value}; float64 instead" in single.failure
    assert report.fallback == single.failure
    assert report.converged
    assert report.precision == "float64"
    assert len(report.residual_history) == report.iterations + report.probe_iterations
    after = report.residual_history[report.probe_iterations + 2 :]
    assert after[1] < 3 * after[0]  # from where it stopped
    assert report.iterations <= report.preconditioner_applies <= report.iterations + 1  # one cut short
    assert relative(A, x, b) <= 1e-9


@needs_native
def test_rounding_that_breaks_a_polynomial_does_not_break_a_solve(system, monkeypatch):
    """A float32 polynomial with noise beyond its rounding: no CG can go on with it."""
    A, b = system
    rng = np.random.default_rng(0)

    class Noisy(PolynomialPreconditioner):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.native = None if self.precision == "float32" else self.native

        def __call__(self, r):
            z = super().__call__(r)
            return z if self.precision != "float32" else z * rng.uniform(-0.5, 1.5, z.shape)

        def in_precision(self, dtype):
            return Noisy(self.operator, self.base, self.design, self.probe, dtype=dtype)

    monkeypatch.setattr(polynomial, "PolynomialPreconditioner", Noisy)
    x, report = nnla.solve(A, b, method="chebyshev", rtol=1e-9)
    assert report.converged
    assert relative(A, x, b) <= 1e-9
    assert "float64 instead" in (report.fallback or "")


def test_a_dtype_that_was_asked_for_is_kept(system, monkeypatch):
    A, b = system
    monkeypatch.setattr(Early, "sign", -1.0)
    monkeypatch.setattr(polynomial, "PolynomialPreconditioner", Early)
    monkeypatch.setattr(polynomial, "_wider", lambda run, M: None)
    _, report = nnla.solve(A, b, method="chebyshev", rtol=1e-9, dtype=np.float32)
    assert report.precision == "float32"
    assert "float64 instead" not in report.fallback
    assert report.converged  # by Jacobi from there
    assert report.method == "jacobi"
    assert [phase.instead for phase in report.phases] == [False, False, True]


def test_stretches_are_advanced_by_their_caller(system):
    """That is how auto leaves a polynomial that falls behind: it advances it no further."""
    A, b = system
    M = nnla.preconditioner(A, method="chebyshev", dtype=np.float64)
    op = nnla.as_operator(A)
    run = Run(op, op.as_vector(b), 1e-12, 0.0, None, None, "chebyshev", 0, 0.0)
    run.start(None)
    counts = []
    for stretch in polynomial.polynomial_stretches(run, M):
        counts.append(stretch.advance(4).iterations)
        assert stretch.goes_on
        counts.append(stretch.advance(5).iterations)
    assert counts == [4, 9]
    assert [(phase.iterations, phase.status) for phase in run.phases] == [(9, Status.MAXITER)]


@pytest.mark.parametrize("method", ["chebyshev", "autospec"])
def test_every_product_is_counted_and_none_is_wasted(system, method):
    """The probe's steps, degree + 1 an iteration, and one to check the answer."""
    A, b = system
    report = nnla.solve(A, b, method=method).report
    assert report.converged
    assert report.fallback is None
    assert report.products == report.probe_iterations + (report.degree + 1) * report.iterations + 1
    assert report.products == sum(phase.products for phase in report.phases)
    assert report.products_probe == report.probe_iterations


def test_only_the_engine_asks_for_a_longer_probe():
    from nnla.problems.demo import demo

    A, b = demo().A, demo().b
    assert nnla.solve(A, b, method="autospec", maxiter=1).report.probe_iterations > 50
    assert nnla.solve(A, b, method="autospec", maxiter=1, probe_steps=40).report.probe_iterations == 40
    for method in ("chebyshev", "rule"):
        assert nnla.solve(A, b, method=method, maxiter=1).report.probe_iterations == 50


@pytest.mark.parametrize("degree", [24, 32])
def test_a_polynomial_that_float32_would_lose_runs_in_float64(degree):
    """A probe of three steps says nothing of what lies between: P is 1e12 there, where there are no eigenvalues."""
    rng = np.random.default_rng(0)
    n = 23
    A = np.eye(n)
    A[0, 1:] = A[1:, 0] = 0.9 / np.sqrt(n - 1)
    P = nnla.prepare(sp.csr_array(A), "autospec", degree=degree, probe_steps=11, dtype=np.float32)
    M = P.aspreconditioner()
    u, v = rng.standard_normal((2, n))
    assert abs(u @ (M @ v) - v @ (M @ u)) < 1e-3 * np.linalg.norm(M @ u) * np.linalg.norm(v)
