"""Polynomials in low precision: hardly more iterations, the same residual, and back to float64 where they stall."""

import numpy as np
import pytest

import nnla
from nnla.kernels import native
from nnla.linear import phases
from nnla.linear.preconditioner import PolynomialPreconditioner, quick_dtype
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


@needs_native
@pytest.mark.parametrize("status", [Status.STAGNATION, Status.BREAKDOWN, Status.INDEFINITE])
def test_what_stops_in_single_precision_goes_on_in_double(system, monkeypatch, status):
    A, b = system
    real = phases._iterate
    monkeypatch.setattr(phases, "_wider", lambda run, M: None)  # nothing is wrong with the interval
    used = []

    def stops_early(run, M, **watch):
        used.append(M.precision)
        if M.precision == "float32":
            real(run, M, limit=3)
            run.status = status
            used.append(float(np.linalg.norm(run.residual)))
        else:
            used.append(float(np.linalg.norm(run.residual)))
            real(run, M, **watch)

    monkeypatch.setattr(phases, "_iterate", stops_early)
    x, report = nnla.solve(A, b, method="autospec", rtol=1e-9)
    assert used[::2] == ["float32", "float64"]
    assert used[1] == used[3]  # from where it stopped
    assert report.converged
    assert report.precision == "float64"
    assert f"CG with the polynomial in float32 ended in {status.value}; float64 instead" in report.fallback
    assert report.iterations > 3
    assert len(report.residual_history) == report.iterations + report.probe_iterations
    assert report.iterations <= report.preconditioner_applies <= report.iterations + 1  # one cut short
    assert relative(A, x, b) <= 1e-9


@needs_native
def test_rounding_that_breaks_a_polynomial_does_not_break_a_solve(system, monkeypatch):
    """A float32 polynomial with noise beyond its rounding: no CG can go on with it."""
    A, b = system
    rng = np.random.default_rng(0)
    native_form = PolynomialPreconditioner.native

    class Noisy(PolynomialPreconditioner):
        @property
        def native(self):
            return None if self.precision == "float32" else native_form.fget(self)  # type: ignore[attr-defined]

        def __call__(self, r):
            z = super().__call__(r)
            return z if self.precision != "float32" else z * rng.uniform(-0.5, 1.5, z.shape)

        def in_precision(self, dtype):
            return Noisy(self.operator, self.base, self.design, self.probe, dtype=dtype)

    monkeypatch.setattr(phases, "PolynomialPreconditioner", Noisy)
    x, report = nnla.solve(A, b, method="chebyshev", rtol=1e-9)
    assert report.converged
    assert relative(A, x, b) <= 1e-9
    assert "float64 instead" in (report.fallback or "")


def test_a_dtype_that_was_asked_for_is_kept(system, monkeypatch):
    A, b = system
    real = phases._iterate

    def stops_early(run, M, **watch):
        real(run, M, limit=3)
        run.status = Status.STAGNATION

    monkeypatch.setattr(phases, "_iterate", stops_early)
    _, report = nnla.solve(A, b, method="chebyshev", rtol=1e-9, dtype=np.float32)
    assert report.precision == "float32"
    assert "float64 instead" not in report.fallback
    assert report.converged  # by Jacobi from there
    assert report.method == "jacobi"


def test_the_watch_of_a_caller_stops_a_polynomial(system):
    """`limit` and `extend` reach CG: that is how auto leaves one that falls behind."""
    A, b = system
    asked = []
    real = phases.run_polynomial

    def watched(run, M, **watch):
        real(run, M, limit=4, extend=lambda result: asked.append(result.iterations) or (9 if len(asked) == 1 else 0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phases, "run_polynomial", watched)
        report = nnla.solve(A, b, method="autospec", rtol=1e-12).report
    assert asked == [4, 9]
    assert report.iterations == 9
    assert report.status == "maxiter"
