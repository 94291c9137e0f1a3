"""Polynomials for f(A): series, interpolation, and the fit to what a probe leaves open."""

import numpy as np
import pytest

import nnla
from nnla.errors import OptionError
from nnla.functions.design import design_function
from nnla.functions.polynomials import (
    Margins,
    Zones,
    adapted,
    check_points,
    deviation,
    interpolant,
    neumann_series,
    zones_of,
)
from nnla.functions.scalars import FUNCTIONS, scalar_function

F = FUNCTIONS["inv_sqrt"]


def test_the_series_is_taylors():
    x = np.linspace(0.3, 1.0, 50)
    # 1 + y/2 + 3 y^2/8 + 5 y^3/16 with y = 1 - x
    y = 1 - x
    assert np.allclose(neumann_series(F, 1.0, 1.0, 3)(x), 1 + y / 2 + 3 * y**2 / 8 + 5 * y**3 / 16)
    assert np.allclose(neumann_series(FUNCTIONS["inv"], 2.0, 2.0, 60)(x + 1), 1 / (x + 1))
    with pytest.raises(OptionError, match="chebyshev"):
        neumann_series(FUNCTIONS["exp"], 1.0, 1.0, 3)

    def inv(x):  # a user's own function may have any name
        return x

    with pytest.raises(OptionError, match="chebyshev"):
        neumann_series(scalar_function(inv), 1.0, 1.0, 3)


def test_interpolation_converges_and_constants_are_exact():
    x = np.linspace(0.5, 2.0, 40)
    assert np.allclose(interpolant(scalar_function("log"), 0.5, 2.0, 30)(x), np.log(x), atol=1e-12)
    assert interpolant(F, 4.0, 4.0, 5)(4.0) == 0.5


def test_a_fit_uses_the_gaps():
    zones = Zones(np.array([[1e-4, 1e-4], [0.3, 0.5], [1.0, 1.0]]))
    x = check_points(zones, 21)
    fit = deviation(adapted(F, zones, 21, 1e-10), F, x, 1.0)
    assert fit < 1e-4
    assert deviation(interpolant(F, 1e-4, 1.0, 21), F, x, 1.0) > 0.5
    # ... unless it is told that they are no gaps
    assert deviation(adapted(F, zones, 21, 1.0), F, x, 1.0) > 0.3


def test_a_fit_on_one_zone_is_the_minimax_polynomial():
    """As good as interpolation and equioscillating, to a few per cent."""
    zones = Zones(np.array([[0.01, 1.0]]))
    x = np.geomspace(0.01, 1.0, 20_000)
    error = 1 - adapted(F, zones, 12, 1.0)(x) * np.sqrt(x)
    classical = 1 - interpolant(F, 0.01, 1.0, 12)(x) * np.sqrt(x)
    assert np.abs(error).max() < np.abs(classical).max()
    bends = np.flatnonzero(np.diff(np.sign(np.diff(error)))) + 1
    heights = np.abs(np.concatenate([error[[0]], error[bends], error[[-1]]]))
    assert heights.size == 14
    assert heights.min() > 0.8 * heights.max()


def test_zones_follow_the_probe(rng):
    w = np.concatenate([[1e-3], rng.uniform(0.3, 0.5, 245), [0.6, 0.7, 0.8, 1.0]])
    Q = np.linalg.qr(rng.standard_normal((250, 250)))[0]
    A = (Q * w) @ Q.T
    for steps in (30, 50, 80):  # copies that rounding makes do not fill the gaps
        zones = zones_of(nnla.probe((A + A.T) / 2, steps), F, Margins())
        assert zones.contain(w).all()
        assert len(zones.ends) >= 6
        assert not zones.contain(np.array([0.01, 0.1, 0.65, 0.9])).any()
        assert zones.hull[0] > 0


def test_the_design_is_never_worse_than_interpolation_on_the_probed_spectrum(rng):
    for _ in range(20):
        w = np.sort(np.concatenate([10 ** rng.uniform(-3, 0, 40), rng.uniform(0.5, 1, 100)]))
        probe = nnla.probe(np.diag(w), 30, seed=int(rng.integers(1000)))
        own, other = (design_function(probe, F, method=m, rtol=1e-6, degree=21) for m in ("autospec", "chebyshev"))
        theta = probe.ritz_values[probe.ritz_weights > 1e-10]
        assert deviation(own.recurrence, F, theta, 1.0) <= 1.001 * deviation(other.recurrence, F, theta, 1.0)
        if own.method == "chebyshev":
            assert "interpolation" in own.fallback


def test_the_least_degree_is_found():
    probe = nnla.probe(np.diag(np.linspace(0.1, 1.0, 200)), 60)
    loose, tight = (design_function(probe, F, method="chebyshev", rtol=rtol) for rtol in (1e-3, 1e-9))
    assert loose.recurrence.degree < tight.recurrence.degree < 60
    assert loose.expected <= 1e-3
    assert tight.expected <= 1e-9
    less = design_function(probe, F, method="chebyshev", rtol=1e-9, degree=int(0.75 * tight.recurrence.degree))
    assert less.expected > 0.5e-9


def test_shipped_weights_missing_or_broken_leave_the_rule(monkeypatch):
    from nnla import registry
    from nnla.errors import WeightsError

    def missing(name):
        raise WeightsError("gone")

    monkeypatch.setattr(registry, "load", missing)
    probe = nnla.probe(np.diag(np.append(np.linspace(0.5, 1.0, 200), 9.0)), 40)
    design = design_function(probe, F, method="autospec", rtol=1e-6, degree=12)
    assert design.method == "autospec"
    assert "by rule" in design.fallback
    assert design.weights is None
    with pytest.raises(WeightsError):
        design_function(probe, F, method="autospec", rtol=1e-6, degree=12, engine="nowhere.safetensors")
