"""The looped network: units, sizes, the two blocks, what a gated one expresses exactly, and CG by construction."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.errors import OptionError, WeightsError
from nnla.krylov.dense_iterates import conjugate_gradients, relative_errors
from nnla.models.gated_block import gated_block
from nnla.models.nlaformer import NLAFormerConfig, NLAFormerEngine, iterates, unit_systems
from nnla.models.nlaformer_constructed import ConstructedConfig, ConstructedEngine, attention, initial_numbers
from nnla.models.transformer import initial_parameters
from nnla.problems.dense_spd import spd_systems

N = 6


def engine(block="softmax", **options):
    config = NLAFormerConfig(n=N, block=block, width=16, loops=3, **options)
    arrays = initial_parameters(config.shapes(), np.random.default_rng(0), 1)
    return NLAFormerEngine(config, arrays, {})


def constructed(n=N, loops=8, **numbers):
    config = ConstructedConfig(n=n, loops=loops)
    arrays = initial_numbers(config)
    for name, value in numbers.items():
        arrays[name][:] = value
    return ConstructedEngine(config, arrays, {})


MODELS = {
    "softmax": engine,
    "injected": lambda: engine(injection=True, scaling="jacobi"),
    "gated": lambda: engine("gated"),
    "gated, jacobi": lambda: engine("gated", scaling="jacobi"),
    "constructed": lambda: constructed(loops=3, power=0.9, gains=0.3),
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_answers_in_any_unit(name):
    model, systems = MODELS[name](), spd_systems(4, N, seed=1)
    A, b = systems.A, systems.b[..., None]
    x = model.guess(A, b)
    assert np.isfinite(x).all()
    assert np.abs(x).max() > 0
    # 2^-830 and 2^830, near 1e-250 and 1e250
    np.testing.assert_array_equal(model.guess(A * 2.0**-830, b * 2.0**-830), x)
    np.testing.assert_array_equal(model.guess(A, b * 2.0**400), x * 2.0**400)
    np.testing.assert_array_equal(model.guess(A * 2.0**400, b), x * 2.0**-400)
    np.testing.assert_allclose(model.guess(1e250 * A, b) * 1e250, x, rtol=1e-3, atol=1e-4 * np.abs(x).max())
    np.testing.assert_allclose(model.guess(A, -3 * b), -3 * x, rtol=1e-3, atol=1e-4 * np.abs(x).max())


@pytest.mark.parametrize("name", ["gated, jacobi", "injected"])
def test_jacobi_scaling_takes_units_of_every_row(name):
    model, systems = MODELS[name](), spd_systems(3, N, seed=1)
    units = 2.0 ** np.arange(N)[None]
    x = model.path(systems.A, systems.b)[-1]
    scaled = model.path(systems.A * units[:, :, None] * units[:, None, :], systems.b * units)[-1]
    np.testing.assert_allclose(scaled * units, x, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_torch_takes_the_same_function(name):
    torch = pytest.importorskip("torch")
    model, systems = MODELS[name](), spd_systems(3, N, seed=2)
    found = model.path(torch.from_numpy(systems.A), torch.from_numpy(systems.b))
    for mine, theirs in zip(found, model.path(systems.A, systems.b), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_other_sizes_and_matrices_that_are_not_symmetric(name):
    model, systems = MODELS[name](), spd_systems(1, N, seed=2)
    with pytest.raises(OptionError, match=r"n = 7, and .* was trained for n = 6"):
        model.guess(np.eye(N + 1), np.ones(N + 1))
    upper = np.triu(systems.A[0])
    assert not model.guess(upper, systems.b[0]).any()
    assert not model.guess(-systems.A[0], systems.b[0]).any()
    solution = model.solve(upper, systems.b[0], refine=True)
    assert solution.report.converged
    np.testing.assert_allclose(upper @ solution.x, systems.b[0], rtol=1e-8)
    assert not model.solve(systems.A[0], systems.b[0]).report.converged or name == "constructed"
    start = nnla.solve(systems.A[0], systems.b[0], x0=model.guess(systems.A[0], systems.b[0]), method="cg")
    assert start.report.converged


@pytest.mark.parametrize("name", sorted(MODELS))
def test_saved_checked_and_measured(name, tmp_path):
    model = MODELS[name]()
    path = tmp_path / "m.safetensors"
    model.save(path)
    again, systems = nnla.load(str(path)), spd_systems(2, N, seed=3)
    np.testing.assert_array_equal(
        again.guess(systems.A, systems.b[..., None]), model.guess(systems.A, systems.b[..., None])
    )
    nnla.checks.check_model(again, trials=3)
    found = nnla.evaluate.evaluate_model(again, count=20)
    assert set(found["sigmas"]) == {"1", "1.2", "1.4", "none"}
    assert len(found["sigmas"]["1"]["model"]) == len(found["sigmas"]["1"]["cg"]) == model.loops + 1
    assert found["loop_multiplications"] > N * N


@pytest.mark.parametrize(
    "change",
    [
        {"block": "linear"},
        {"scaling": "rows"},
        {"heads": 3},
        {"n": 1},
        {"loops": 0},
        {"loops": 2000},
        {"injection": 1},
        {"block": "gated", "width": 2, "heads": 1, "n": 200},
    ],
)
def test_impossible_configs(change):
    with pytest.raises(WeightsError):
        NLAFormerEngine(NLAFormerConfig(**change), {}, {})


def test_blocks_have_as_many_parameters():
    for width in (64, 256):
        sizes = [
            sum(int(np.prod(s)) for s in NLAFormerConfig(block=block, width=width).stage_shapes("loop").values())
            for block in ("softmax", "gated")
        ]
        assert sizes[1] == pytest.approx(sizes[0], rel=0.02)


def test_truncations_share_their_iterations():
    """NLAF^t is the beginning of NLAF^T, but for the last iteration, which is the post-processing block's."""
    model, systems = engine(), spd_systems(2, N, seed=4)
    A, b, *_ = unit_systems(systems.A, systems.b, "norm")
    long, short = (iterates(model.parameters, model.config, A, b, loops) for loops in (3, 2))
    for t in (0, 1):
        np.testing.assert_array_equal(long[t][1], short[t][1])
    assert np.abs(long[2][1] - short[2][1]).max() > 1e-6
    last = iterates(model.parameters, model.config, A, b, 3, all_of_them=False)
    assert len(last) == 1
    np.testing.assert_array_equal(last[0][1], long[3][1])


def test_a_gated_block_multiplies_by_a(rng):
    """z = (a_i; v_i): n gates whose mixing matrices bring v_j to every token make A v exactly."""
    A, v = rng.standard_normal((2, N, N)), rng.standard_normal((2, N))
    z = np.concatenate([A, v[..., None], np.zeros((2, N, 1))], -1)
    gate, value, out = np.eye(N + 2, N), np.zeros((N + 2, N)), np.zeros((N, N + 2))
    value[N], out[:, N + 1] = 1.0, 1.0
    mix = np.zeros((N, N, N))
    mix[np.arange(N), :, np.arange(N)] = 1.0
    p = {"l_gate_W": gate, "l_gate_b": np.zeros(N), "l_value_W": value, "l_mix": mix, "l_mix_b": np.zeros(N)}
    p |= {"l_out_W": out, "l_out_b": np.zeros(N + 2)}
    np.testing.assert_allclose(gated_block(p, "l_", z)[..., N + 1], (A @ v[..., None])[..., 0], rtol=1e-13)


# -- the construction ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("power", "teacher"), [(0.0, "cg"), (1.0, "pcg")])
def test_the_construction_is_cg(power, teacher):
    systems = spd_systems(50, 20, seed=5)
    model = constructed(20, 20, power=power)
    found = np.stack(model.path(systems.A, systems.b), 1)
    exact = conjugate_gradients(systems.A, systems.b, 20, teacher=teacher).x
    np.testing.assert_allclose(found[:, :6], exact[:, :6], atol=1e-6 * np.abs(exact).max())
    ours, theirs = (relative_errors(path, systems.x).mean(0) for path in (found, exact))
    assert (ours <= 10 * theirs + 1e-15).all()  # CG forgets its directions sooner


def test_the_loop_is_the_compiled_one():
    """`nnla.constructions` compiles the same loop from a program of CG."""
    from nnla.constructions import conjugate_gradients as program

    systems = spd_systems(6, 12, seed=6)
    compiled = program(12).compile(heads="four")
    model = constructed(12, 8)
    for A, b, mine in zip(systems.A, systems.b, np.stack(model.path(systems.A, systems.b), 1), strict=True):
        theirs = compiled.run(8, A=A, b=b)["x"]
        np.testing.assert_allclose(mine[8], np.ravel(theirs), atol=1e-6 * np.abs(theirs).max())


def test_attention_makes_the_product(rng):
    """A d behind a sink, with an error of order four in c."""
    n = 5
    A, d = rng.standard_normal((1, n, n)) / n, rng.standard_normal(n)
    d /= np.linalg.norm(d)
    rows = 3 * n + 1  # A, d, room for A d, e: positions (n + 1) in the place of n
    P = np.zeros((1, rows + n, n + 1))
    P[0, :n, 1:], P[0, n : 2 * n, -1], P[0, -n - 1 :] = A[0], d, np.eye(n + 1)
    W_K, W_Q, W_V = np.zeros((n + 1, rows + n)), np.zeros((n + 1, rows + n)), np.zeros((n, rows + n))
    W_K[:n, :n], W_K[n, -n - 1] = np.eye(n), 36.0
    W_Q[:n, n : 2 * n], W_Q[n, -n - 1 :] = np.eye(n), 1.0
    W_V[:, -n:] = np.eye(n)
    errors = []
    for c in (0.4, 0.2, 0.1):
        weights = np.array([2 / 3, -2 / 3, -1 / 12, 1 / 12]) / c
        out = attention(P, W_V, W_K, W_Q, np.array([1.0, -1.0, 2.0, -2.0]) * c, weights)
        errors.append(np.abs(out[0, :, -1] - A[0].T @ d).max())
        assert np.abs(out[0, :, :-1]).max() < 1e-10  # no other column changes
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.3)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(4, abs=0.3)


def test_probes_that_look_ahead_change_no_state():
    systems = spd_systems(5, N, seed=5)
    plain, ahead = constructed().path(systems.A, systems.b), constructed(gains=0.5).path(systems.A, systems.b)
    errors = [relative_errors(np.stack(path, 1), systems.x).mean(0) for path in (plain, ahead)]
    with pytest.raises(OptionError, match="probes for 0 to 8"):
        constructed().path(systems.A, systems.b, loops=9)
    assert errors[1][0] < errors[0][0]  # x_0 is zero without
    assert errors[1][-1] < 1e-9  # the iteration itself converges all the same
