"""The engine for matrix functions: what holds for any weights, and what the shipped ones have to reach."""

import numpy as np
import pytest

from nnla.errors import OptionError, WeightsError
from nnla.functions.design import design_function, mean_square
from nnla.functions.polynomials import RULE_MARGINS, Margins, adapted, check_points, deviation, interpolant, zones_of
from nnla.functions.scalars import FUNCTIONS
from nnla.models.autospec_fun import CANDIDATES, FunConfig, FunctionEngine, fun_features
from nnla.models.engine_base import ensemble
from nnla.problems.covariances import sample_covariance
from nnla.registry import load
from nnla.spectra.simulated_cg import simulate_lanczos
from nnla.training.autospec_fun import whitening_error
from nnla.types import SpectralProbe

F = FUNCTIONS["inv_sqrt"]


def engine(seed=0, **card):
    config, rng = FunConfig(hidden=8, members=2), np.random.default_rng(seed)
    parameters = {key: rng.standard_normal(shape) / 4 for key, shape in config.shapes().items()}
    n = config.features
    parameters |= {"std": np.full(n, 5.0), "low": np.full(n, -1e3), "high": np.full(n, 1e3)}
    parameters = {key: value.astype(np.float32).astype(float) for key, value in parameters.items()}
    return FunctionEngine(config, parameters, {"name": "test", **card})


def probes(count, seed, steps=50):
    rng = np.random.default_rng(seed)
    while count:
        s = sample_covariance(rng)
        alpha, beta = simulate_lanczos(s.lam, s.weight, min(steps, s.n))
        probe = SpectralProbe(alpha, beta, s.n)
        if probe.definite and probe.steps > 3:
            count -= 1
            yield s, probe


def test_a_file_holds_the_engine(tmp_path):
    own = engine()
    own.save(tmp_path / "e.safetensors")
    again = load(tmp_path / "e.safetensors")
    _, probe = next(probes(1, 0))
    assert again.margins(probe).margins == own.margins(probe).margins
    assert np.array_equal(again.margins(probe).regret, own.margins(probe).regret)
    with pytest.raises(OptionError, match="matrix functions"):
        design_function(probe, F, method="autospec", rtol=1e-6, engine=load("autospec-cg"))


def test_broken_weights_are_refused():
    own = engine()
    for key in own.parameters:
        for change in (lambda v: v * np.nan, lambda v: v[..., :-1]):
            with pytest.raises(WeightsError, match=key):
                FunctionEngine(own.config, own.parameters | {key: change(own.parameters[key])}, {})
    with pytest.raises(WeightsError, match="candidates"):
        FunctionEngine(FunConfig(candidates=3), own.parameters, {})


def test_numpy_and_torch_agree():
    torch = pytest.importorskip("torch")
    own = engine()
    x = np.random.default_rng(0).standard_normal((4, own.config.features))
    tensors = {key: torch.from_numpy(value) for key, value in own.parameters.items()}
    assert np.allclose(ensemble(own.parameters, x), ensemble(tensors, torch.from_numpy(x)).numpy())


def test_features_do_not_depend_on_the_scale():
    _, probe = next(probes(1, 1))
    scaled = SpectralProbe(1e12 * probe.alpha, 1e12 * probe.beta, probe.n)
    config = FunConfig()
    assert np.allclose(
        fun_features(probe, degree=21, config=config), fun_features(scaled, degree=21, config=config), atol=1e-6
    )


def test_outside_of_the_envelope_the_rule_decides():
    own = engine()
    own.parameters["high"] = own.parameters["high"] * 0 - 100
    _, probe = next(probes(1, 2))
    choice = own.margins(probe)
    assert choice.margins == RULE_MARGINS
    assert not choice.inside
    assert "envelope" in choice.reason
    indefinite = SpectralProbe([0.0, 1.0], [1.0, 0.5], 9)
    assert own.margins(indefinite).margins == RULE_MARGINS


@pytest.mark.parametrize("seed", range(3))
def test_any_weights_are_guarded(seed):
    """Whatever a network says, on the probed spectrum the answer is no worse than interpolation."""
    own = engine(seed)
    for spectrum, probe in probes(12, 10 + seed, steps=40):
        design = design_function(probe, F, method="autospec", rtol=1e-6, degree=21, engine=own)
        a, b = zones_of(probe, F, Margins(1.0, 1.0, 1.0)).hull
        x, scale = check_points(zones_of(probe, F, Margins(0.0, 1.0, 1.0)), 21), mean_square(probe, F)
        classical = deviation(interpolant(F, a, b, 21), F, x, scale)
        assert deviation(design.recurrence, F, x, scale) <= 1.001 * classical
        assert np.isfinite(whitening_error(design.recurrence, spectrum.lam))


def test_shipped_weights_beat_the_rule_and_interpolation():
    shipped, ratios, rule = load("autospec-invsqrt"), [], []
    for spectrum, probe in probes(60, 77):
        classical = whitening_error(interpolant(F, probe.lambda_min, probe.upper_bound, 21), spectrum.lam)
        if classical < 1e-10:
            continue
        design = design_function(probe, F, method="autospec", rtol=1e-6, degree=21, engine=shipped)
        own = max(whitening_error(design.recurrence, spectrum.lam), 1e-12)
        fixed = max(
            whitening_error(adapted(F, zones_of(probe, F, RULE_MARGINS), 21, RULE_MARGINS.gap), spectrum.lam), 1e-12
        )
        ratios.append(np.log(own / classical))
        rule.append(np.log(own / fixed))
    assert np.exp(np.mean(ratios)) < 0.4
    assert np.exp(np.mean(rule)) < 0.9
    assert np.mean(np.array(ratios) > 0.01) < 0.1


def test_the_candidates_span_what_they_should():
    assert len(set(CANDIDATES)) == len(CANDIDATES)
    assert {c.gap for c in CANDIDATES} == {1.0, 1e-5, 1e-10}
