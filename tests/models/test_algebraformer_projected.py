"""Matrices of a linear family: cleaned without knowing the noise, solved, and how sure that is."""

import numpy as np
import pytest

from nnla.models.algebraformer_projected import ProjectedConfig, ProjectedEngine, mirrored
from nnla.models.family_matrices import _lines, _pattern, estimate_matrices
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


def test_a_clean_matrix_of_another_equation_is_no_noisy_one_of_the_family():
    """What a reaction term adds lies on the diagonal; noise is spread."""
    samples = [bvp_systems(300, equation=name, n=32, seed=[1, 2]).A for name in ("rough", "diffusion")]
    found, (leading, rank, width) = family_components(samples, [1, 3])
    arrays = {f"size32_{key}": value for key, value in found.items()}
    arrays |= {"stretch": np.zeros((1, 2)), "calibration": np.zeros(1), "size32_far": np.array([0.4, 4.0])}
    engine = ProjectedEngine(ProjectedConfig((32,), (leading,), (rank,), (width,), 2), arrays, {"name": "toy"})
    other = bvp_systems(20, equation="reaction", n=32, seed=8)
    reacts = np.abs(other.c[:, 1:-1]).max(axis=1) > 0
    for level in (0.0, 1e-6, 1e-5):
        A = perturbed(other.A, level=level, seed=2)
        assert (engine.distances(A[reacts]) > 1).all()
        np.testing.assert_array_equal(engine.cleaned(A[reacts]), A[reacts])
    own = bvp_systems(20, equation="rough", n=32, seed=8).A
    for law in ("entrywise", "normwise", "coloured", "heavy", "gain", "digits"):
        assert (engine.distances(perturbed(own, law, 1e-4, seed=3)) < 1).all(), law


def test_uneven_noise_widens_what_is_said_of_errors(engine, rough):
    """Gains of whole rows and columns are not independent from entry to entry."""
    even = estimate_matrices(engine.prior(rough.A), perturbed(rough.A, "entrywise", 1e-3, seed=7)).lines
    gains = estimate_matrices(engine.prior(rough.A), perturbed(rough.A, "gain", 1e-3, seed=7)).lines
    assert np.median(even) < 2.2 < 2.5 < np.median(gains)


def test_lines_are_rows_columns_and_diagonals():
    u = np.zeros((4, 6, 6))
    u[0, 2] = u[1, :, 3] = 1.0
    u[2, np.arange(4), np.arange(4) + 2] = 1.0
    u[3] = 1.0
    assert _lines(u) == pytest.approx([6.0, 6.0, 9.0, 1.0])


def test_pattern_is_the_share_of_one_product_of_vectors():
    rng = np.random.default_rng(0)
    smooth = np.outer(np.linspace(1, 2, 9), np.linspace(3, -1, 9))
    found = _pattern(
        np.stack([smooth, np.eye(9), np.zeros((9, 9)), np.full((9, 9), np.nan), rng.standard_normal((9, 9))])
    )
    assert found[:4] == pytest.approx([1.0, 1 / 9, 0.0, 0.0])
    assert 1 / 9 < found[4] < 0.6


def test_uncertainty_of_a_batch_with_a_singular_matrix(engine, rough):
    A = np.concatenate([np.zeros((1, N, N)), rough.A[1:2]])
    x, report = engine.solve(A, rough.b[:2])
    assert report.uncertainty[0] == [1.0]
    assert report.uncertainty[1][0] < 1e-6
    assert np.allclose(x[1], rough.x[1], rtol=1e-8)
