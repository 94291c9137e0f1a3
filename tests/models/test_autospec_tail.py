"""Engine B: used where it pays, guarded, reported; and better than the best interval on a lognormal field."""

import math

import numpy as np
import pytest

import nnla
from nnla.errors import OptionError, WeightsError
from nnla.krylov.cg import conjugate_gradients
from nnla.linear.preconditioner import PolynomialPreconditioner
from nnla.models.autospec_tail import TailConfig, TailEngine, forward, tail_candidates, tail_nodes
from nnla.polynomials.design import Design, design_polynomial
from nnla.polynomials.outlier_roots import spectral_tail
from nnla.polynomials.recurrence import chebyshev
from nnla.preconditioners.scalings import bind_scaling
from nnla.problems import diffusion3d, lognormal_field, poisson2d
from nnla.spectra.simulated_cg import simulate_probe
from nnla.types import SpectralProbe


def random_engine(seed=0, scale=1.0, **card):
    config = TailConfig(hidden=8, members=2)
    rng = np.random.default_rng(seed)
    E, F, H = config.members, config.features, config.hidden
    parameters = {
        "mean": rng.standard_normal(F),
        "std": np.full(F, 5.0),
        "W0": rng.standard_normal((E, F, H)),
        "b0": rng.standard_normal((E, 1, H)),
        "W1": rng.standard_normal((E, H, H)),
        "b1": rng.standard_normal((E, 1, H)),
        "W2": scale * rng.standard_normal((E, H, 1)),
        "b2": scale * rng.standard_normal((E, 1, 1)),
    }
    parameters = {key: value.astype(np.float32) for key, value in parameters.items()}
    return TailEngine(config, parameters, {"name": f"random-{seed}", **card})


def heavy(count=3, n=4000, steps=50, seed=0):
    """A probe of a spectrum with so many outliers, and the spectrum."""
    lam = np.concatenate([np.linspace(1e-4, 0.25, n), np.linspace(0.45, 1.0, count)])
    weight = np.random.default_rng(seed).chisquare(1, lam.size) + 1e-3
    alpha, beta, users = simulate_probe(lam, weight, weight, steps)
    return SpectralProbe(alpha, beta, lam.size, reductions=users), lam


@pytest.fixture(scope="module")
def lognormal():
    A = diffusion3d(lognormal_field((20,) * 3, s=1.5, correlation=0.001, seed=2))
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    return A, b / np.linalg.norm(b), nnla.probe(A, 50, start=b)


# -- what it says -------------------------------------------------------------------------------------


def test_beats_the_best_interval_on_a_lognormal_field(lognormal):
    A, b, probe = lognormal
    op, base = nnla.as_operator(A), bind_scaling(nnla.as_operator(A), "none")

    def outer(design, dtype=None) -> float:
        M = PolynomialPreconditioner(op, base, design, probe, dtype=dtype)
        options = {"x": np.zeros_like(b), "residual": b.copy(), "targets": np.array([1e-8]), "maxiter": 300}
        result = conjugate_gradients(op.matvec, b, M=M, **options)
        return result.iterations if result.status.value == "converged" else math.inf

    design = design_polynomial(probe)
    assert design.outliers
    assert design.weights == "autospec-tail"
    assert design.fallback is None
    top = probe.upper_bound
    grid = [Design(chebyshev(a, top, 11), "", (a, top)) for a in np.geomspace(0.01, 5.0, 12) / 144 * top]
    best = min(outer(d) for d in grid)
    assert outer(design) <= 0.92 * best
    assert outer(design, np.float32) <= 0.94 * best


def test_says_so_in_the_report(lognormal):
    A, b, _ = lognormal
    report = nnla.solve(A, b, method="autospec", scaling="none").report
    plain = nnla.solve(A, b, method="autospec", scaling="none", engine=nnla.load("autospec-cg")).report
    assert report.converged
    assert report.fallback is None
    assert report.weights == "autospec-tail"
    assert "on outliers" in report.chosen_because
    assert plain.weights == "autospec-cg"
    assert report.iterations < 0.95 * plain.iterations


def test_the_interval_stays_where_there_is_no_tail():
    probe = nnla.probe(poisson2d(60), 50)
    design = design_polynomial(probe)
    assert not design.outliers
    assert design.weights == "autospec-cg"
    assert design.fallback is None
    forced = design_polynomial(probe, method="autospec-tail")
    assert not forced.outliers
    assert "the interval stays" in forced.fallback
    assert forced.recurrence == design.recurrence


def test_the_interval_stays_where_little_is_gained():
    """One outlier 4 % above the rest: 2 % by formula, of which a root takes half."""
    lam = np.concatenate([np.linspace(1e-4, 0.96, 3000), [1.0]])
    weight = np.random.default_rng(0).chisquare(1, lam.size) + 1e-3
    alpha, beta, users = simulate_probe(lam, weight, weight, 120)
    probe = SpectralProbe(alpha, beta, lam.size, reductions=users)
    assert spectral_tail(probe).values.size >= 1
    assert not design_polynomial(probe).outliers


@pytest.mark.parametrize("degree", [4, 8, 11, 20, 32])
def test_positive_on_the_spectrum_whatever_the_weights(degree):
    probe, lam = heavy()
    for seed in range(6):
        design = design_polynomial(probe, method="autospec-tail", degree=degree, engine=random_engine(seed, 3.0))
        assert np.all(design.recurrence(lam) > 0)
        assert design.recurrence.degree == degree
        assert nnla.Recurrence.from_json(design.recurrence.to_json()) == design.recurrence


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_roots_on_the_outliers_that_a_probe_resolves(count):
    probe, lam = heavy(count)
    design = design_polynomial(probe)
    assert design.outliers
    for root in design.outliers:
        assert np.min(np.abs(lam[-count:] - root)) < 1e-8
    assert "fewer iterations predicted" in design.note


def test_scale_free():
    probe, _ = heavy()
    scaled = SpectralProbe(1e6 * probe.alpha, 1e6 * probe.beta, probe.n, reductions=probe.reductions)
    one, other = design_polynomial(probe), design_polynomial(scaled)
    np.testing.assert_allclose(np.array(other.outliers), 1e6 * np.array(one.outliers), rtol=1e-9)


def test_an_eigenvalue_that_the_start_does_not_contain_costs_a_fallback_not_the_solution():
    """A right-hand side without the second outlier: P is negative there, rounding finds out, CG goes on."""
    lam = np.concatenate([np.geomspace(1e-3, 0.25, 1500), [0.6, 1.0]])
    A = nnla.as_operator(np.diag(lam))
    b = np.random.default_rng(0).standard_normal(lam.size)
    b[-2] = 1e-13
    solution = nnla.solve(A, b, method="autospec-tail", scaling="none", probe_steps=40)
    assert solution.report.converged
    assert np.linalg.norm(b - lam * solution.x) <= 1e-8 * np.linalg.norm(b)


# -- the parts ----------------------------------------------------------------------------------------


def test_no_candidates_without_a_tail():
    probe = nnla.probe(poisson2d(40), 50)
    found = tail_candidates(probe, spectral_tail(probe), 0.01 * probe.upper_bound, 20.0, 12, 1e-8)
    assert found.a.size == 0
    assert found.features.shape[1] == TailConfig().features


def test_nodes_have_the_outliers_and_nothing_between():
    probe, lam = heavy(3)
    tail = spectral_tail(probe)
    nodes, weight = tail_nodes(probe, tail)
    assert np.all(np.diff(nodes) > 0)
    assert np.all(weight > 0)
    np.testing.assert_allclose(nodes[-3:] * probe.upper_bound, lam[-3:], atol=1e-8)
    assert np.sum(nodes > tail.rest) == tail.values.size


def test_numpy_and_torch_forward_agree():
    torch = pytest.importorskip("torch")
    engine = random_engine()
    x = np.random.default_rng(0).standard_normal((engine.config.members, 5, engine.config.features))
    tensors = {key: torch.from_numpy(value) for key, value in engine.parameters.items()}
    np.testing.assert_allclose(forward(tensors, torch.from_numpy(x)).numpy(), forward(engine.parameters, x), rtol=1e-12)


# -- files --------------------------------------------------------------------------------------------


def test_round_trip(tmp_path):
    engine, path = random_engine(), tmp_path / "b.safetensors"
    engine.save(path)
    again = nnla.load(str(path))
    assert isinstance(again, TailEngine)
    assert again.config == engine.config
    assert again.card == engine.card
    for key, value in engine.parameters.items():
        np.testing.assert_array_equal(again.parameters[key], value)


def test_bad_weights_are_refused():
    good = random_engine()
    for name, value in (("W1", np.zeros((2, 3, 3))), ("std", np.zeros(good.config.features)), ("b2", None)):
        parameters = {**good.parameters, name: value}
        if value is None:
            del parameters[name]
        with pytest.raises(WeightsError, match=name):
            TailEngine(good.config, parameters, {})
    with pytest.raises(WeightsError, match="NaN"):
        TailEngine(good.config, {**good.parameters, "b2": np.full((2, 1, 1), np.nan)}, {})
    with pytest.raises(WeightsError, match="config"):
        TailEngine(TailConfig(features=3), good.parameters, {})


def test_engines_of_another_kind_are_refused():
    probe, _ = heavy()
    with pytest.raises(OptionError, match="autospec-tail"):
        design_polynomial(probe, method="autospec", engine=random_engine())
    with pytest.raises(OptionError, match="method='autospec'"):
        design_polynomial(probe, method="autospec-tail", engine=nnla.load("autospec-cg"))


def test_damaged_weights_of_engine_b_leave_the_interval(monkeypatch):
    from nnla import registry

    real = registry.load

    def broken(name):
        if name == "autospec-tail":
            raise WeightsError("the weights of 'autospec-tail' do not match their checksum; reinstall nnla")
        return real(name)

    monkeypatch.setattr("nnla.registry.load", broken)
    probe, _ = heavy()
    design = design_polynomial(probe)
    assert not design.outliers
    assert design.weights == "autospec-cg"
    assert "checksum" in design.fallback


@pytest.mark.parametrize("values", [(1, 30), (1, 30, 500), (1, 1e3, 1e6), (1, 1e4)])
@pytest.mark.parametrize("n", [2, 3, 12, 1000])
def test_where_every_ritz_value_is_an_outlier(values, n):
    """It was an IndexError: nothing is left below the outliers for the density to be of."""
    A = np.diag(np.resize(np.array(values, dtype=float), n))
    for method in ("autospec", "autospec-tail"):
        M = nnla.preconditioner(A, method=method, scaling="none")
        z = M @ np.ones(n)
        assert np.all(np.isfinite(z))
        assert z.sum() > 0
    tail = spectral_tail(M.probe)
    lam, weight = tail_nodes(M.probe, tail)
    assert lam.shape == weight.shape
    assert np.all(np.diff(lam) > 0)
    assert np.all(weight > 0)
