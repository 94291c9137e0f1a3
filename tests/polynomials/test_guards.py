"""Guards: they must catch what is indefinite, and pass what is proven."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnla
from nnla import classical
from nnla.polynomials.guards import check_polynomial, check_probe
from nnla.types import SpectralProbe


def test_a_narrow_dip_is_found():
    """Two roots of P close together: a dip narrower than the distance of the roots of that degree."""
    for centre in (0.02, 0.3, 0.71, 0.99, 1.015):
        for width in (3e-2, 1e-2):
            c = np.polynomial.chebyshev.chebinterpolate(
                lambda t, c=centre, w=width: (0.5 + 0.5 * t - c) ** 2 - (w * c) ** 2, 11
            )
            r = nnla.Recurrence.from_chebyshev(c, 0.0, 1.0)
            assert r(centre) < 0
            assert not check_polynomial(r, 1.0).ok
            above = nnla.Recurrence.from_chebyshev(c + np.eye(12)[0] * 2 * (width * centre) ** 2, 0.0, 1.0)
            assert check_polynomial(above, 1.0).ok


@given(st.floats(-10, -0.3), st.integers(1, 32))
@settings(max_examples=100, deadline=None)
def test_chebyshev_passes(log_ratio, degree):
    r = classical.chebyshev(10.0**log_ratio, 1.0, degree)
    assert check_polynomial(r, 1.0, margin=1.0).ok


def test_negative_and_overflowing_polynomials_fail():
    assert not check_polynomial(nnla.Recurrence.from_chebyshev([-1.0], 0, 1), 1.0).ok
    assert not check_polynomial(nnla.Recurrence.from_roots(np.full(400, 1e-3)), 1.0).ok
    assert not check_polynomial(classical.chebyshev(0.1, 1.0, 3), np.nan).ok


def test_probe_verdicts():
    good = SpectralProbe([2.0, 2.0], [1.0, 1.0], 10)
    bad = SpectralProbe([2.0, -2.0], [1.0, 1.0], 10)
    assert check_probe(good).ok
    assert not check_probe(bad).ok
    assert "negative" in check_probe(bad).reason
    assert not check_probe(SpectralProbe([-1.0], [0.0], 10)).ok


@pytest.mark.parametrize("method", ["gmres", "least-squares", "richardson", "dos", "rule", "chebyshev4", "autospec"])
def test_every_design_is_positive_on_the_true_spectrum(method):
    from nnla.polynomials.design import design_polynomial

    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((14, 14), s=1.5))
    lam = np.linalg.eigvalsh(A.toarray())
    for steps in (20, 40, 80):
        design = design_polynomial(nnla.probe(A, steps), method=method, degree=11)
        assert np.all(design.recurrence(lam) > 0), (steps, design.fallback)
