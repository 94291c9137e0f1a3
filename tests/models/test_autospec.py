"""The shipped engine's architecture, for any weights: scale-free, finite, positive, the same in torch."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnla
from nnla.errors import OptionError
from nnla.models.autospec import AutoSpecEngine, EngineConfig, candidate_grid, forward, probe_features
from nnla.polynomials.design import design_polynomial
from nnla.polynomials.guards import check_polynomial
from nnla.polynomials.recurrence import chebyshev
from nnla.spectra.simulated_cg import simulate_probe
from nnla.types import SpectralProbe


def make_probe(steps=40, n=3000, low=1e-4, scale=1.0):
    lam = np.geomspace(low, 1.0, 400)
    weight = np.random.default_rng(1).lognormal(size=400)
    alpha, beta, users = simulate_probe(lam, weight, weight / lam, steps)
    return SpectralProbe(scale * alpha, scale * beta, n, reductions=users)


@pytest.fixture
def engine(make_engine):
    return make_engine()


def positive(a, b, degree):
    return check_polynomial(chebyshev(a, b, degree), b, margin=1.0).ok


# -- forward ------------------------------------------------------------------------------------------


def test_numpy_and_torch_forward_agree(engine):
    torch = pytest.importorskip("torch")
    C, F = engine.config.candidates, engine.config.features
    for shape in ((7, F), (engine.config.members, 5, F)):  # one batch for all members, or one each
        x = 3 * np.random.default_rng(0).standard_normal(shape)
        ours = forward(engine.parameters, x)
        tensors = {key: torch.from_numpy(value) for key, value in engine.parameters.items()}
        theirs = forward(tensors, torch.from_numpy(x))
        assert ours.shape == (engine.config.members, shape[-2], C + 1)
        assert theirs.dtype == torch.float64
        np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-12, atol=1e-12)


def test_members_are_independent(engine):
    x = np.random.default_rng(0).standard_normal((3, engine.config.features))
    out = forward(engine.parameters, x)
    changed = {key: value.copy() for key, value in engine.parameters.items()}
    changed["W1"][0] *= 2
    other = forward(changed, x)
    assert not np.allclose(other[0], out[0])
    np.testing.assert_array_equal(other[1:], out[1:])


def test_forward_is_differentiable(engine):
    torch = pytest.importorskip("torch")
    tensors = {key: torch.from_numpy(value).requires_grad_() for key, value in engine.parameters.items()}
    forward(tensors, torch.ones(2, engine.config.features, dtype=torch.float64)).square().sum().backward()
    for key in ("W0", "b0", "W1", "b1", "W2", "b2"):
        assert torch.isfinite(tensors[key].grad).all()
        assert tensors[key].grad.abs().sum() > 0


# -- features -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 13, 40, 100])
@pytest.mark.parametrize("m", [2, 12, 65])
def test_features_are_finite_for_any_number_of_steps(steps, m):
    config = EngineConfig()
    (x,), b = probe_features(make_probe(steps), m=m, rtols=(1e-8,), config=config)
    assert x.shape == (config.features,)
    assert np.all(np.isfinite(x))
    assert b > 0


def test_features_do_not_depend_on_the_scale():
    config = EngineConfig()
    (x,), b = probe_features(make_probe(), m=12, rtols=(1e-8,), config=config)
    for power in (-200, -40, 40, 200):
        (y,), c = probe_features(make_probe(scale=2.0**power), m=12, rtols=(1e-8,), config=config)
        np.testing.assert_allclose(y, x, rtol=1e-6, atol=1e-6)
        assert c == pytest.approx(2.0**power * b)


def test_candidates_rise_and_stay_below_b():
    config = EngineConfig()
    for m in (1, 2, 12, 513):
        grid = candidate_grid(config, m)
        assert np.all(grid > 0)
        assert np.all(np.diff(grid) >= 0)
        assert grid[-1] < 1


# -- choice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", range(1, 65))
def test_every_degree_gives_a_positive_polynomial(engine, degree):
    choice = engine.choose(make_probe(), degree=degree)
    assert 0 < choice.a < choice.b
    assert choice.predicted_iterations > 0
    assert positive(choice.a, choice.b, degree)
    assert choice.inside == (4 <= degree <= 32)
    assert choice.inside or str(degree) in choice.reason


# Scaling by a power of two is exact; other factors round, and the simulated curve has steps.
@pytest.mark.parametrize(("scale", "rel"), [(2.0**-43, 1e-9), (2.0**40, 1e-9), (1e-13, 0.05), (3e12, 0.05)])
def test_the_interval_scales_with_the_operator(engine, scale, rel):
    one, other = engine.choose(make_probe()), engine.choose(make_probe(scale=scale))
    assert other.a == pytest.approx(scale * one.a, rel=rel)
    assert other.b == pytest.approx(scale * one.b, rel=1e-12)
    assert other.predicted_iterations == pytest.approx(one.predicted_iterations, rel=rel)
    A = nnla.problems.poisson2d(25)
    one, other = (engine.choose(nnla.probe(matrix, 30)) for matrix in (A, scale * A))
    assert other.a / other.b == pytest.approx(one.a / one.b, rel=rel)


@given(
    log_alpha=st.lists(st.floats(-12, 12), min_size=1, max_size=60),
    share=st.lists(st.floats(0, 1), min_size=60, max_size=60),
    more=st.integers(0, 10**8),
    degree=st.integers(1, 64),
    rtol=st.floats(1e-15, 0.5),
    users=st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_any_probe_gives_a_positive_polynomial(log_alpha, share, more, degree, rtol, users):
    """Every tridiagonal L L' is a probe of some positive definite operator: 0 < a < b for all of them."""
    pivots = 10.0 ** np.array(log_alpha)
    k = pivots.size
    couplings = np.array(share[:k]) * np.sqrt(pivots)
    alpha = pivots + np.append(0.0, couplings[:-1]) ** 2
    beta = couplings * np.sqrt(pivots)
    probe = SpectralProbe(alpha, beta, k + more, reductions=np.array(share[:k]) if users else None)
    if not probe.definite:  # rounding may make it so
        return
    choice = ENGINE.choose(probe, degree=degree, rtol=rtol)
    assert np.isfinite(choice.a)
    assert 0 < choice.a < choice.b
    assert choice.b >= probe.lambda_max
    assert np.all(np.isfinite(choice.curve))
    assert positive(choice.a, choice.b, degree)
    design = design_polynomial(probe, degree=degree, rtol=rtol, engine=ENGINE)
    assert check_polynomial(design.recurrence, probe.upper_bound, margin=1.0).ok


def test_degree_below_one_is_refused(engine):
    with pytest.raises(OptionError):
        engine.choose(make_probe(), degree=0)


def test_outside_the_envelope_is_flagged_and_not_used(make_engine):
    engine = make_engine(envelope_limit=0.05)
    (x,), _ = probe_features(make_probe(), m=12, rtols=(1e-8,), config=engine.config)
    engine.parameters["low"], engine.parameters["high"] = x - 1e-6, x + 1e-6
    assert engine.choose(make_probe()).inside
    strange = make_probe(steps=12, n=10, low=0.3)
    choice = engine.choose(strange)
    assert not choice.inside
    assert "envelope" in choice.reason
    strange = make_probe(steps=9, n=10**7, low=1e-9)
    design = design_polynomial(strange, engine=engine)
    assert design.method == "chebyshev"
    assert "envelope" in design.fallback


# -- files --------------------------------------------------------------------------------------------


def test_save_and_load(tmp_path, engine):
    path = tmp_path / "e.safetensors"
    engine.save(path)
    for again in (AutoSpecEngine.from_file(path), nnla.load(str(path))):
        assert again.config == engine.config
        assert again.card == engine.card
        for key, value in engine.parameters.items():
            np.testing.assert_array_equal(again.parameters[key], value)
        one, other = engine.choose(make_probe()), again.choose(make_probe())
        assert dataclasses.astuple(one)[:3] == dataclasses.astuple(other)[:3]
    assert "random-0" in repr(engine)


def test_envelope_is_the_cards(make_engine):
    engine = make_engine(envelope={"n": [10, 20]})
    assert engine.envelope == {"n": [10, 20]}
    engine.envelope["n"] = None
    assert engine.envelope == {"n": [10, 20]}


def _engine_for_hypothesis():
    # function-scoped fixtures and @given do not go together
    config = EngineConfig(hidden=16, members=2)
    rng = np.random.default_rng(4)
    E, F, H, C = config.members, config.features, config.hidden, config.candidates
    shapes = {
        "W0": (E, F, H),
        "b0": (E, 1, H),
        "W1": (E, H, H),
        "b1": (E, 1, H),
        "W2": (E, H, C + 1),
        "b2": (E, 1, C + 1),
    }
    parameters = {key: rng.standard_normal(shape) / shape[1] ** 0.5 for key, shape in shapes.items()}
    parameters |= {"mean": np.zeros(F), "std": np.ones(F), "low": np.full(F, -1e3), "high": np.full(F, 1e3)}
    return AutoSpecEngine(config, parameters, {"name": "random"})


ENGINE = _engine_for_hypothesis()
