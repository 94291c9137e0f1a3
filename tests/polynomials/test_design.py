"""Designs: each method does what its name says, falls back when it has to, and says so."""

import dataclasses

import numpy as np
import pytest

import nnla
from nnla.errors import NotPositiveDefiniteError, OptionError
from nnla.polynomials.design import POLYNOMIAL_METHODS, design_polynomial
from nnla.types import SpectralProbe


@pytest.fixture(scope="module")
def probe():
    return nnla.probe(nnla.problems.poisson2d(40), 40)


@pytest.mark.parametrize("method", POLYNOMIAL_METHODS)
def test_every_method_solves(method):
    if method == "autospec-paper" and method.replace("autospec", "autospec-cg") not in nnla.weights():
        pytest.skip("the paper's engine is not among the shipped weights")
    A = nnla.problems.poisson2d(40)
    b = np.random.default_rng(0).standard_normal(1600)
    _, report = nnla.solve(A, b, method=method, rtol=1e-9)
    assert report.converged
    assert report.degree == 11 or report.fallback


def test_learned_interval_is_better_than_the_ritz_interval():
    """Where rigid modes are nearly free, Chebyshev down to the smallest Ritz value is a waste."""
    system = nnla.problems.problem("elasticity3d", "full")
    # float32 inside takes 59 outer iterations, not 50: rounding vectors, not values, costs them
    options = {"scaling": "jacobi", "rtol": 1e-10, "probe_steps": 50, "dtype": np.float64}
    count = {}
    for method in ("autospec", "chebyshev"):
        count[method] = nnla.solve(system.A, system.b, method=method, **options).report.iterations
    assert count["autospec"] < 0.7 * count["chebyshev"]


def test_scale_invariance(probe):
    # powers of two are exact; other factors round, and the simulated curve behind the engine has steps
    for factor, rel in ((2.0**-43, 1e-9), (2.0**40, 1e-9), (1e-13, 0.05), (1e12, 0.05)):
        scaled = SpectralProbe(probe.alpha * factor, probe.beta * factor, probe.n)
        one, other = design_polynomial(probe), design_polynomial(scaled)
        assert other.interval[0] / factor == pytest.approx(one.interval[0], rel=rel)
        assert other.interval[1] / factor == pytest.approx(one.interval[1], rel=1e-12)


def test_outside_the_envelope_falls_back_and_says_so(probe):
    design = design_polynomial(probe, degree=64)
    assert design.method == "chebyshev"
    assert "degree 64" in design.fallback
    assert design.weights is None


def test_indefinite_polynomial_of_an_engine_is_refused(probe):
    class Rogue:
        name, task = "rogue", "polynomials"
        card: dict = {}  # noqa: RUF012

        def recurrence(self, probe, *, degree):
            return nnla.polynomials.recurrence.chebyshev(0.1, 0.4 * probe.lambda_max, degree)

    design = design_polynomial(probe, method="autospec-paper", engine=Rogue())
    assert design.method == "chebyshev"
    assert "not positive" in design.fallback


def test_refusals(probe):
    with pytest.raises(OptionError):
        design_polynomial(probe, method="magic")
    for degree in (0, -3, 513, 2.5, True):
        with pytest.raises(OptionError):
            design_polynomial(probe, degree=degree)
    bad = SpectralProbe([2.0, -2.0], [1.0, 1.0], 10)
    with pytest.raises(NotPositiveDefiniteError):
        design_polynomial(bad)


def test_design_is_frozen(probe):
    design = design_polynomial(probe)
    with pytest.raises(dataclasses.FrozenInstanceError):
        design.method = "x"
