"""``method="auto"``: what it chooses at which prices, how it switches, falls back and says so."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

import nnla
from nnla.errors import NNLAError, NotPositiveDefiniteError, WeightsError
from nnla.kernels.cholesky import Cholesky
from nnla.linear import auto
from nnla.linear.decision import Lognormal
from nnla.linear.estimates import Estimates


@pytest.fixture(scope="module")
def system():
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((64, 64), s=1.0))
    return A, np.random.default_rng(5).standard_normal(A.shape[0])


def meets(A, b, solution, rtol=1e-8):
    true = np.linalg.norm(b - A @ solution.x, axis=0) / np.linalg.norm(b, axis=0)
    return solution.report.converged and np.max(true) <= rtol * (1 + 1e-9)


# -- what is chosen at which prices ------------------------------------------------------------------------------


def test_tiny_systems_are_factored_at_once(no_weights, monkeypatch):
    monkeypatch.setattr(auto, "Probing", None)  # not even looked at
    A = nnla.problems.poisson2d(10)
    solution = nnla.solve(A, np.ones(100))
    assert (solution.report.method, solution.report.fallback) == ("direct", None)
    assert "small" in solution.report.chosen_because
    assert solution.report.probe_iterations == 0
    assert meets(A, np.ones(100), solution)


def test_a_direct_solution_that_is_cheapest_is_not_preceded_by_first_steps(system, prices):
    prices(direct=1e-4, plain=1.0)
    solution = nnla.solve(*system)
    assert (solution.report.method, solution.report.probe_iterations) == ("direct", 0)
    assert meets(*system, solution)


def test_an_easy_system_is_left_to_its_first_steps():
    A = nnla.problems.poisson2d(50) + sp.diags_array(np.linspace(2e3, 3e3, 2500))  # dominated by its diagonal
    b = np.ones(2500)
    solution = nnla.solve(A, b, probe_steps=20)
    report = solution.report
    assert report.method == "jacobi"
    assert "easy" in report.chosen_because
    assert report.iterations == 0 < report.probe_iterations < 20
    assert meets(A, b, solution)


def test_first_steps_go_on_as_the_method_itself(monkeypatch):
    """What they were the beginning of keeps their Krylov space: as many iterations as without stopping to think."""
    A = sp.csr_array(nnla.problems.poisson2d(150) + 0.5 * sp.eye_array(22_500))
    b = np.random.default_rng(2).standard_normal(22_500)
    monkeypatch.setattr(auto, "ways_of", lambda op, columns=1: ("plain",))
    report = nnla.solve(A, b, deterministic=True).report
    assert report.method == "cg"
    assert report.probe_iterations == auto.FIRST_STEPS
    plain = nnla.solve(A, b, method="cg").report
    assert abs(report.probe_iterations + report.iterations - plain.iterations) <= 2
    assert len(report.residual_history) == report.probe_iterations + report.iterations
    assert report.products >= len(report.residual_history)
    probe, rest = report.phases
    assert (probe.probing, rest.probing) == (True, False)
    assert nnla.solve(A, b, deterministic=True, maxiter=3).report.iterations == 3


@pytest.mark.parametrize("cheapest", ["plain", "ic", "direct", "amg", "autospec"])
def test_the_cheapest_runs(system, prices, cheapest):
    if cheapest == "amg":
        pytest.importorskip("pyamg")
    prices(**{cheapest: 0.1})
    solution = nnla.solve(*system)
    report = solution.report
    assert report.method == {"plain": "jacobi"}.get(cheapest, cheapest)
    assert report.fallback is None
    assert meets(*system, solution)
    assert report.method in report.chosen_because
    assert set(report.predicted_seconds) >= {"jacobi", "ic"}
    assert set(report.predicted_spread) == set(report.predicted_seconds)
    assert "predicted" in report.chosen_because
    if cheapest == "autospec":
        assert report.degree == 11
        assert report.probe_iterations >= 50
        assert report.weights is not None
    else:
        assert min(report.predicted_seconds, key=report.predicted_seconds.get) == report.method


def test_predicted_seconds_are_positive_and_in_the_report(system):
    A, b = system
    report = nnla.solve(A, b).report
    assert report.predicted_seconds
    assert all(s > 0 for s in report.predicted_seconds.values())
    assert all(factor >= 1 for factor in report.predicted_spread.values())
    assert 0 < report.regret < np.inf
    again = nnla.types.Report.from_json(report.to_json())
    assert set(again.predicted_seconds) == set(report.predicted_seconds)
    assert again.regret == pytest.approx(report.regret)
    asked = nnla.solve(A, b, method="jacobi").report
    assert asked.predicted_seconds is asked.predicted_spread is asked.regret is None


# -- switching ----------------------------------------------------------------------------------------------------


@pytest.fixture
def too_hopeful(prices, monkeypatch):
    """Jacobi-CG is said to take no time, but every iteration takes 1 ms, and a factorisation 30 ms."""
    prices(direct=0.03, plain=1e-5)
    monkeypatch.setattr(Estimates, "of", lambda self, name: Lognormal.of(10.0, 0.3))
    monkeypatch.setattr(Estimates, "alone", lambda self, name: 0.03)


@pytest.mark.usefixtures("too_hopeful")
def test_what_falls_behind_its_prediction_is_stopped_and_the_direct_method_goes_on(system):
    A, b = system
    solution = nnla.solve(A, b, deterministic=True)
    report = solution.report
    assert report.method == "direct"
    assert "switched from jacobi to direct" in report.chosen_because
    assert meets(A, b, solution)
    history = np.array(report.residual_history)
    plain = nnla.solve(A, b, method="jacobi").report
    assert 8 <= len(history) < len(plain.residual_history)  # it was stopped
    assert history[:8] == pytest.approx(plain.residual_history[:8], rel=1e-6)


@pytest.mark.usefixtures("too_hopeful")
def test_switching_keeps_the_iterate(system, monkeypatch):
    seen = []
    real = auto.run_direct

    def spy(run, factor=None, **reason):
        seen.append(float(np.linalg.norm(run.residual)) / float(np.max(run.size)))
        real(run, factor, **reason)

    monkeypatch.setattr(auto, "run_direct", spy)
    report = nnla.solve(*system, deterministic=True).report
    assert report.converged
    assert seen == [pytest.approx(min(report.residual_history), rel=10)]
    assert seen[0] < 1.0


@pytest.mark.usefixtures("too_hopeful")
def test_maxiter_holds_across_switches(system):
    for maxiter in (0, 1, 7, 25):
        report = nnla.solve(*system, maxiter=maxiter, rtol=1e-13, deterministic=True).report
        assert report.iterations <= max(maxiter, 1)  # a direct solution counts its refinement
        if report.method != "direct":
            assert not report.converged
            assert report.status == "maxiter"


# -- falling back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["ic", "amg", "direct"])
def test_what_fails_is_reported_and_the_next_goes_on(system, prices, monkeypatch, what):
    if what == "amg":
        pytest.importorskip("pyamg")
    prices(**{what: 0.1}, plain=10.0)

    def fails(*args, **kwargs):
        raise NotPositiveDefiniteError("no luck")

    if what == "ic":
        real = auto.bind_scaling
        monkeypatch.setattr(auto, "bind_scaling", lambda op, s: fails() if s == "ic" else real(op, s))
    elif what == "amg":
        monkeypatch.setattr(auto, "bind_amg", fails)
    else:  # the ordering finds that it would take far more than expected
        if not Cholesky.available():
            pytest.skip("without the native kernels nothing is known beforehand")
        monkeypatch.setattr(Estimates, "worth_ordering", 10.0)
        monkeypatch.setattr(auto, "MOST_FLOPS", 10.0)
    solution = nnla.solve(*system)
    assert solution.report.fallback.startswith(f"{what}: ")
    assert ("no luck" in solution.report.fallback) == (what != "direct")
    assert solution.report.method != what
    assert meets(*system, solution)


def test_what_was_given_up_first_is_not_forgotten(system, prices, no_weights, monkeypatch):
    """The weights are missing, then IC breaks down: both reasons are in the report."""
    prices(ic=0.1, plain=5.0)
    real = auto.bind_scaling

    def no_ic(op, scaling):
        if scaling == "ic":
            raise NotPositiveDefiniteError("no factor")
        return real(op, scaling)

    monkeypatch.setattr(auto, "bind_scaling", no_ic)
    solution = nnla.solve(*system, probe_steps=30)
    assert "checksum" in solution.report.fallback
    assert "ic: no factor" in solution.report.fallback
    assert meets(*system, solution)


def test_an_indefinite_matrix_ends_in_a_direct_solution_or_says_so(rng):
    Q, _ = np.linalg.qr(rng.standard_normal((150, 150)))
    A = (Q * np.append([-1.0, -0.3], np.linspace(1, 2, 148))) @ Q.T
    A = (A + A.T) / 2
    b = rng.standard_normal(150)
    solution = nnla.solve(A, b)
    assert solution.report.converged == bool(np.linalg.norm(b - A @ solution.x) <= 1.0001e-8 * np.linalg.norm(b))
    assert solution.report.converged or solution.report.status == "indefinite"


# -- the engine and its weights -----------------------------------------------------------------------------------


def test_without_weights_auto_takes_the_classical_interval(system, prices, no_weights):
    prices(autospec=0.1, plain=5.0)
    solution = nnla.solve(*system)
    report = solution.report
    assert report.method == "chebyshev"
    assert report.fallback.startswith("autospec: the weights of 'autospec-cg' do not match their checksum")
    assert report.fallback.count("checksum") == 1
    assert "chebyshev" in report.chosen_because
    assert report.weights is None
    assert meets(*system, solution)


def test_without_weights_autospec_takes_the_classical_interval(system, no_weights):
    A, b = system
    report = nnla.solve(A, b, method="autospec").report
    assert report.converged
    assert "Chebyshev on [theta_min, b]" in report.fallback
    assert report.fallback.count("checksum") == 1
    assert report.method == "chebyshev"
    assert report.iterations == nnla.solve(A, b, method="chebyshev").report.iterations


def test_preconditioner_without_weights(system, no_weights):
    M = nnla.preconditioner(system[0])
    assert M.report["method"] == "chebyshev"
    assert "checksum" in M.report["fallback"]


@pytest.mark.parametrize("method", ["auto", "autospec"])
def test_the_users_own_weights_must_be_good(system, tmp_path, method):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="mine"):
        nnla.solve(*system, method=method, engine=path)
    with pytest.raises(WeightsError, match="no model"):
        nnla.solve(*system, method=method, engine=str(tmp_path / "missing.safetensors"))
    with pytest.raises(WeightsError):
        nnla.preconditioner(system[0], engine=str(path))


def test_an_engine_may_be_given_as_a_file(system, tmp_path, make_engine):
    engine = make_engine()
    engine.save(tmp_path / "e.safetensors")
    A, b = system
    one = nnla.solve(A, b, method="autospec", engine=engine).report
    other = nnla.solve(A, b, method="autospec", engine=tmp_path / "e.safetensors").report
    assert one.weights == other.weights == "random-0"
    assert one.interval == pytest.approx(other.interval)


def test_auto_asks_the_engine_that_it_is_given(system, prices, make_engine, monkeypatch):
    prices(autospec=0.1, plain=5.0)
    engine = make_engine()
    asked = []
    choose = engine.choose
    monkeypatch.setattr(engine, "choose", lambda *a, **k: asked.append(k["degree"]) or choose(*a, **k))
    report = nnla.solve(*system, engine=engine, degree=7).report
    assert report.converged
    assert asked[0] == 7


# -- what can be passed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 5, 30, 120])
def test_probe_steps_are_what_was_asked_for(system, prices, steps):
    prices(autospec=0.1, direct=0.2, plain=5.0)
    solution = nnla.solve(*system, probe_steps=steps)
    assert solution.report.probe_iterations == steps
    assert solution.report.products_probe >= steps
    assert meets(*system, solution)


def test_blocks_operators_and_tensors(system):
    A, b = system
    B = np.stack([b, b[::-1], A @ np.ones_like(b)], axis=1)
    assert meets(A, B, nnla.solve(A, B))
    assert meets(A, b[:, None], nnla.solve(A, b[:, None]))
    solution = nnla.solve(aslinearoperator(A), b)
    assert solution.report.method in ("cg", "autospec")
    assert meets(A, b, solution)
    torch = pytest.importorskip("torch")
    tensor = nnla.solve(torch.from_numpy(A.toarray()), torch.from_numpy(b))
    assert tensor.report.converged
    assert np.linalg.norm(b - A @ tensor.x.numpy()) <= 1.0001e-8 * np.linalg.norm(b)


@pytest.mark.parametrize("size", [3, 11, 30, 75, 160])
@pytest.mark.parametrize("pattern", ["poisson", "lognormal"])
def test_any_size_at_real_prices(size, pattern):
    A = nnla.problems.poisson2d(size)
    if pattern == "lognormal":
        A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((size, size), s=2.0))
    b = np.random.default_rng(size).standard_normal(A.shape[0])
    for rtol in (1e-3, 1e-8, 1e-11):
        assert meets(A, b, nnla.solve(A, b, rtol=rtol), rtol)


def test_errors_are_named(system):
    A, b = system
    with pytest.raises(NNLAError):
        nnla.solve(A, b[:-1])
