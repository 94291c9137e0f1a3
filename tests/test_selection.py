"""``method="auto"`` and damaged weights: fall back, say so, and believe the user's own files."""

import numpy as np
import pytest

import nnla
from nnla.errors import WeightsError


@pytest.fixture(scope="module")
def system():
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((64, 64), s=1.0))
    return A, np.random.default_rng(5).standard_normal(A.shape[0])


@pytest.mark.parametrize("method", ["auto", "autospec"])
def test_without_weights_the_classical_interval_is_used_and_the_reason_reported(system, no_weights, method):
    A, b = system
    report = nnla.solve(A, b, method=method).report
    assert report.converged
    assert report.fallback.startswith("autospec: the weights of 'autospec-cg' do not match their checksum")
    assert "Chebyshev on [theta_min, b]" in report.fallback
    assert report.fallback.count("checksum") == 1
    assert report.weights is None
    if method == "autospec":
        assert report.method == "chebyshev"
        classical = nnla.solve(A, b, method="chebyshev").report
        assert report.iterations == classical.iterations
    else:
        assert "predicted" in report.chosen_because
        assert "chebyshev" in report.chosen_because


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


def test_auto_asks_the_engine_that_it_is_given(system, make_engine, monkeypatch):
    A, b = system
    engine = make_engine()
    asked = []
    choose = engine.choose
    monkeypatch.setattr(engine, "choose", lambda *a, **k: asked.append(k["degree"]) or choose(*a, **k))
    report = nnla.solve(A, b, engine=engine, degree=7).report
    assert report.converged
    assert asked[0] == 7


def test_small_systems_are_factored_without_reading_weights(no_weights):
    A = nnla.problems.poisson2d(20)
    report = nnla.solve(A, np.ones(400)).report
    assert (report.method, report.fallback) == ("direct", None)


def test_what_was_given_up_first_is_not_forgotten(system, no_weights, monkeypatch):
    """IC breaks down, then the weights are missing: both reasons are in the report."""
    from nnla import selection

    monkeypatch.setattr(
        selection, "predict_costs", lambda run, base, polynomial, *a: ({f"{polynomial}+ic": 0.0}, 100.0)
    )
    real = selection.bind_scaling

    def no_ic(op, scaling):
        if scaling == "ic":
            raise nnla.errors.NotPositiveDefiniteError("no factor")
        return real(op, scaling)

    monkeypatch.setattr(selection, "bind_scaling", no_ic)
    report = nnla.solve(*system).report
    assert report.converged
    assert "checksum" in report.fallback
    assert "ic: no factor" in report.fallback
