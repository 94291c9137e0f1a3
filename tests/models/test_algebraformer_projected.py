"""Matrices of a linear family: cleaned without knowing the noise, solved, and how sure that is."""

import numpy as np
import pytest

from nnla.models.algebraformer_projected import ProjectedConfig, ProjectedEngine, mirrored
from nnla.models.family_matrices import estimate_matrices
from nnla.problems.bvp import bvp_systems
from nnla.problems.perturbations import perturbed
from nnla.training.family_components import family_components

EQUATIONS = ("rough", "reaction")
N = 12


@pytest.fixture(scope="module")
def engine():
    samples = [bvp_systems(300, equation=name, n=N, seed=[1, 2]).A for name in EQUATIONS]
    found, (leading, rank, width) = family_components(samples, [1, 3])
    config = ProjectedConfig((N,), (leading,), (rank,), (width,), len(EQUATIONS))
    arrays = {f"size{N}_{key}": value for key, value in found.items()}
    arrays |= {"stretch": np.zeros((1, 2)), "calibration": np.zeros(1), f"size{N}_far": np.array([0.4, 4.0])}
    return ProjectedEngine(config, arrays, {"name": "toy"})


@pytest.fixture(scope="module")
def rough():
    return bvp_systems(40, equation="rough", n=N, seed=[5, 6])


def relative(x, exact):
    return ((x[..., 0] - exact) ** 2).sum(axis=1) / (exact**2).sum(axis=1)


def test_the_span_is_found(engine):
    assert engine.config.ranks == (2 * N + 2,)  # kappa on n + 2 points and c on n


def test_clean_matrices_are_taken_as_they_are(engine, rough):
    found = engine.cleaned(rough.A)
    assert np.abs(found / rough.A - 1).max() < 1e-11
    assert (engine.distances(rough.A) < 1).all()
    assert relative(engine.answer(rough.A, rough.b[..., None]), rough.x).max() < 1e-20


@pytest.mark.parametrize(("law", "better"), [("entrywise", 100), ("heavy", 100), ("normwise", 3), ("coloured", 3)])
def test_noise_of_unknown_law_and_level_is_taken_out(engine, rough, law, better):
    A = perturbed(rough.A, law, 1e-3, seed=7)
    ours = relative(engine.answer(A, rough.b[..., None]), rough.x)
    plain = relative(np.linalg.solve(A, rough.b[..., None]), rough.x)
    assert np.median(ours) * better < np.median(plain)


@pytest.mark.parametrize("law", ["entrywise", "normwise"])
def test_level_of_the_noise_is_found(engine, rough, law):
    found = estimate_matrices(engine.prior(rough.A), perturbed(rough.A, law, 1e-3, seed=7))
    level = found.alpha if law == "entrywise" else found.beta
    other = found.beta if law == "entrywise" else found.alpha
    assert np.median(level) == pytest.approx(1e-3, rel=0.25) if law == "entrywise" else np.median(level) > 1e-4
    assert np.median(other) == 0


def test_units_and_signs_do_not_matter(engine, rough):
    A, b = perturbed(rough.A[:4], level=1e-2, seed=1), rough.b[:4, :, None]
    x = engine.answer(A, b)
    for unit in (2.0**-800, 2.0**800, -1.0):
        np.testing.assert_allclose(engine.answer(A * unit, b) * unit, x, rtol=1e-9)


def test_linear_in_b_and_through_solve(engine, rough):
    A = perturbed(rough.A[:5], level=1e-2, seed=1)
    apply = engine.operator(A)
    b, c = rough.b[:5, :, None], rough.b[5:10, :, None]
    np.testing.assert_allclose(apply(2 * b - c), 2 * apply(b) - apply(c), rtol=1e-9)
    x, report = engine.solve(A, rough.b[:5])
    np.testing.assert_allclose(x, apply(b)[..., 0], rtol=1e-9)
    assert report.uncertainty is not None
    x, report = engine.solve(rough.A[0], rough.b[0], refine=True)
    assert report.converged
    assert np.allclose(x, rough.x[0], rtol=1e-8)


@pytest.mark.parametrize("law", ["entrywise", "heavy"])
def test_spread_is_that_of_the_errors(engine, rough, law):
    A = perturbed(rough.A, law, 1e-2, seed=9)
    x = engine.answer(A, rough.b[..., None])
    ratio = relative(x, rough.x) / engine.spread(A, rough.b[..., None], x)[:, 0] ** 2
    assert 0.4 < ratio.mean() < 2.5
    inside = np.abs(x[..., 0] - rough.x) < 1.645 * engine.deviations(A, x[..., 0])
    assert 0.8 < inside.mean() < 0.98


def test_others_are_declined_and_solved_as_they_are(engine):
    rng = np.random.default_rng(0)
    hilbert = 1 / (np.arange(N)[:, None] + np.arange(N) + 1.0)
    A = np.stack([rng.standard_normal((N, N)), hilbert, np.eye(N)])
    b = rng.standard_normal((3, N, 1))
    assert (engine.distances(A) > 1).all()
    np.testing.assert_array_equal(engine.answer(A, b), np.linalg.solve(A, b))
    assert (engine.spread(A, b, b) == 1).all()


def test_singular_and_zero_matrices_do_not_harm_the_others(engine, rough):
    A = np.concatenate([np.zeros((1, N, N)), rough.A[:2]])
    with np.errstate(all="ignore"):
        x = engine.answer(A, rough.b[:3, :, None])
        far = engine.distances(A)
    assert np.isnan(x[0]).all()
    assert far[0] == np.inf
    np.testing.assert_allclose(x[1:, :, 0], np.linalg.solve(rough.A[:2], rough.b[1:3, :, None])[..., 0], rtol=1e-8)


def test_torch_gives_the_same(engine, rough):
    torch = pytest.importorskip("torch")
    A, b = perturbed(rough.A[:6], level=1e-2, seed=1), rough.b[:6, :, None]
    x = engine.answer(torch.from_numpy(A), torch.from_numpy(b))
    np.testing.assert_allclose(x.numpy(), engine.answer(A, b), rtol=1e-6)
    spread = engine.spread(torch.from_numpy(A), torch.from_numpy(b), x)
    np.testing.assert_allclose(spread.numpy(), engine.spread(A, b, x.numpy()), rtol=1e-6)


def test_file_keeps_every_number(engine, rough, tmp_path):
    engine.save(tmp_path / "toy.safetensors")
    again = ProjectedEngine.from_file(tmp_path / "toy.safetensors")
    for key, value in engine.parameters.items():
        np.testing.assert_array_equal(again.parameters[key], value)
    np.testing.assert_allclose(again.cleaned(rough.A[:2]), rough.A[:2], rtol=1e-12)


def test_odd_sizes_have_a_middle():
    half = np.array([[1.0, 2, 3, 4, 5], [1.0, 2, 3, 4, 0]])
    assert mirrored(half, np.array([1.0, -1.0]), 3)[1].tolist() == [1, 2, 3, 4, 0, -4, -3, -2, -1]


@pytest.mark.parametrize("change", [{"sizes": (0,)}, {"ranks": (10**6,)}, {"leading": (26,), "ranks": (26,)}])
def test_impossible_configs(change):
    good = {"sizes": (12,), "leading": (20,), "ranks": (26,), "widths": (24,), "equations": 2}
    assert ProjectedEngine.possible(ProjectedConfig(**good))
    assert not ProjectedEngine.possible(ProjectedConfig(**(good | change)))
