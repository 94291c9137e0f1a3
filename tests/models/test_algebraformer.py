"""Algebraformer: the paper's count of parameters, units, sizes, linearity, NumPy and torch."""

import numpy as np
import pytest

from nnla.errors import WeightsError
from nnla.models.algebraformer import AlgebraformerConfig, AlgebraformerEngine
from nnla.models.dense_tables import SKETCHES, measures, plain, scale_of
from nnla.models.transformer import initial_parameters
from nnla.problems.bvp import bvp_systems

SMALL = {"width": 8, "blocks": 2, "heads": 2}


def engine(output="operator", sizes=(6, 10), passes=1, seed=0):
    """Random networks with true tables."""
    config = AlgebraformerConfig(sizes=sizes, output=output, passes=passes, **SMALL)
    rng = np.random.default_rng(seed)
    parameters = initial_parameters(config.network_shapes(), rng, config.blocks)
    for n in sizes:
        systems = bvp_systems(200, n=n, seed=3)
        inverse = np.linalg.inv(systems.A)
        answers = inverse if output == "operator" else systems.x
        parameters |= {f"size{n}_mean": systems.A.mean(0), f"size{n}_deviation": systems.A.std(0)}
        parameters |= {f"size{n}_answer_mean": answers.mean(0), f"size{n}_answer_deviation": answers.std(0)}
        z = plain(parameters, systems.A).reshape(200, -1)
        R = rng.standard_normal((SKETCHES, n * n))
        R -= R @ np.linalg.pinv(z, 1e-10) @ z
        parameters[f"size{n}_sketch"] = R.reshape(SKETCHES, n, n)
        parameters[f"size{n}_far"] = [1.25 * values.max() + 1e-4 for values in measures(parameters, systems.A)]
        parameters[f"size{n}_far"] = np.array(parameters[f"size{n}_far"])
    return AlgebraformerEngine(config, parameters, {})


def test_the_papers_size():
    shapes = AlgebraformerConfig(sizes=(64,), width=256, blocks=12, heads=8).network_shapes()
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 9_511_169  # 9.5 M


def test_an_operator_is_linear_in_b():
    model, systems = engine(passes=2), bvp_systems(4, n=10, seed=1)
    b = np.random.default_rng(2).standard_normal((4, 10, 3))
    apply = model.operator(systems.A)
    np.testing.assert_allclose(apply(b) @ [1.0, -2.0, 0.5], (apply(b @ [[1.0], [-2.0], [0.5]]))[..., 0], rtol=1e-3)
    np.testing.assert_array_equal(model.answer(systems.A, b), apply(b))


@pytest.mark.parametrize("passes", [2, 3])
def test_further_passes_are_corrections_by_the_residual(passes):
    one, more = (engine(passes=count) for count in (1, passes))
    systems = bvp_systems(3, n=10, seed=1)
    G, A, b = one.operator(systems.A), systems.A, systems.b[..., None]
    x = G(b)
    for _ in range(passes - 1):
        x = x + G(b - A @ x)
    np.testing.assert_allclose(more.answer(A, b), x, rtol=1e-4, atol=1e-5 * np.abs(x).max())


@pytest.mark.parametrize("output", ["operator", "solution"])
@pytest.mark.parametrize(("a", "s"), [(4.0, 0.5), (-2.0, -8.0), (2.0**40, 2.0**-60)])
def test_units_of_both_sides(output, a, s):
    model, systems = engine(output), bvp_systems(3, n=6, seed=1)
    b = systems.b[..., None]
    np.testing.assert_allclose(model.answer(a * systems.A, s * b), model.answer(systems.A, b) * (s / a), rtol=1e-5)
    np.testing.assert_allclose(model.distances(a * systems.A), model.distances(systems.A), rtol=1e-5)


@pytest.mark.parametrize("output", ["operator", "solution"])
def test_torch_takes_the_same_way(output):
    torch = pytest.importorskip("torch")
    model, systems = engine(output), bvp_systems(3, n=10, seed=1)
    b = systems.b[..., None]
    x = model.answer(systems.A, b)
    y = model.answer(torch.from_numpy(systems.A), torch.from_numpy(b))
    np.testing.assert_allclose(y.numpy(), x, rtol=1e-4, atol=1e-4 * np.abs(x).max())


def test_sizes_share_the_network_and_not_the_slots():
    config = AlgebraformerConfig(sizes=(4, 10))
    assert config.slots(10).tolist() == list(range(10))
    slots = config.slots(4)
    assert slots[0] == 0
    assert slots[-1] == 9
    assert len(set(slots)) == 4
    for n in (6, 10):
        systems = bvp_systems(2, n=n, seed=1)
        assert engine().answer(systems.A, systems.b[..., None]).shape == (2, n, 1)


def test_distances_tell_other_matrices():
    model = engine()
    near = model.distances(bvp_systems(50, n=10, seed=9).A)
    far = model.distances(np.random.default_rng(0).standard_normal((5, 10, 10)))
    assert near.max() <= 1
    assert far.min() > 1.5
    other = bvp_systems(20, equation="reaction", n=10, seed=9)
    assert np.median(model.distances(other.A)) > 10  # entries as large as in training, and none of its matrices


def test_entries_that_cancel_have_a_scale():
    model = engine()
    p, A = model.parameters, bvp_systems(2, n=10, seed=1).A
    mean, deviation = p["size10_mean"], p["size10_deviation"]
    weight = mean / (mean**2 + deviation**2)
    A[0] -= (A[0] * weight).sum() / (weight**2).sum() * weight  # nothing of the mean matrix is left
    scale, own = scale_of(p, A), scale_of(p, bvp_systems(2, n=10, seed=1).A)
    assert 0.01 < abs(scale[0]) < 1
    assert scale[1] == own[1]
    np.testing.assert_allclose(scale_of(p, -2 * A), -2 * scale, rtol=1e-5)


def test_goes_through_a_file(tmp_path):
    model, systems = engine(), bvp_systems(2, n=10, seed=1)
    model.save(tmp_path / "m.safetensors")
    again = AlgebraformerEngine.from_file(tmp_path / "m.safetensors")
    assert again.config == model.config
    assert again.sizes == (6, 10)
    np.testing.assert_array_equal(
        again.answer(systems.A, systems.b[..., None]), model.answer(systems.A, systems.b[..., None])
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"sizes": ()},
        {"sizes": (10, 6)},
        {"sizes": (2, 6)},
        {"output": "matrix"},
        {"passes": 0},
        {"output": "solution", "passes": 2},
        {"heads": 3},
        {"width": 0},
    ],
)
def test_impossible_configs(wrong):
    with pytest.raises(WeightsError, match="impossible config"):
        AlgebraformerEngine(AlgebraformerConfig(**({"sizes": (6,), **SMALL} | wrong)), {}, {})
