"""The loop with exact products: Galerkin whatever the weights, equivariant, one code for NumPy and torch."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.models.nlaformer_exact import FEATURES, PLAIN, ExactLoop, ExactLoopConfig, flops, initial_gates
from nnla.problems.dense_spd import spd_systems


def random_gates(config, seed=0):
    rng = np.random.default_rng(seed)
    return {key: 0.3 * rng.standard_normal(shape) for key, shape in config.shapes().items()}


def loop_for(A, b, config=None, parameters=None, outside=None):
    config = config or ExactLoopConfig()
    parameters = parameters or random_gates(config)
    return ExactLoop(parameters, config, lambda V: A @ V, np.einsum("bii->bi", A), b, outside)


@pytest.fixture(scope="module")
def systems():
    return spd_systems(6, 24, seed=31)


def relative(y, x):
    return ((y - x) ** 2).sum(-1) / (x * x).sum(-1)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_loop_is_galerkin_s_method_whatever_the_weights(systems, channels):
    config = ExactLoopConfig(channels=channels)
    loop = loop_for(systems.A, systems.b, config)
    energy = np.full(6, np.inf)
    for t in range(1, 7):
        loop.advance()
        P, S = np.stack(loop._P, -1), np.stack(loop._S, -1)
        assert P.shape[-1] == channels * t
        assert np.allclose(P.swapaxes(1, 2) @ S, np.eye(channels * t), atol=1e-10)
        assert np.allclose(S, systems.A @ P, atol=1e-9)
        residual = systems.b - np.einsum("bij,bj->bi", systems.A, loop.x)
        assert np.allclose(residual, loop.r, atol=1e-9 * np.abs(systems.b).max())
        e = loop.x - systems.x
        now = np.einsum("bi,bij,bj->b", e, systems.A, e)
        assert np.all(now <= energy)
        energy = now


def test_it_ends_at_the_solution_to_rounding(systems):
    loop = loop_for(systems.A, systems.b)
    for _ in range(30):
        loop.advance()
    assert relative(loop.x, systems.x).max() < 1e-24
    assert relative(loop.answer(), systems.x).max() < 1e-24
    assert not loop.indefinite.any()


def test_gates_of_one_are_conjugate_gradients(systems):
    from nnla.evaluation.spd_rivals import cg_errors

    loop, errors = loop_for(systems.A, systems.b), cg_errors(systems.A, systems.b, systems.x, 8)
    for t in range(8):
        loop.advance(np.ones((6, 24, 1)))
        assert np.allclose(relative(loop.x, systems.x), errors[t + 1], rtol=1e-6)


def test_matrices_of_other_families_begin_as_conjugate_gradients(systems):
    outside = np.array([True, False, True, False, False, True])
    plain, learned = loop_for(systems.A, systems.b), loop_for(systems.A, systems.b)
    mixed = loop_for(systems.A, systems.b, outside=outside)
    for _ in range(PLAIN):
        plain.advance(np.ones((6, 24, 1)))
        learned.advance()
        mixed.advance()
    assert np.allclose(mixed.x[outside], plain.x[outside], rtol=1e-9)
    assert np.allclose(mixed.x[~outside], learned.x[~outside], rtol=1e-9)
    assert np.array_equal(mixed.answer()[outside], mixed.x[outside])
    assert not np.allclose(mixed.answer()[~outside], mixed.x[~outside])


@pytest.mark.parametrize("channels", [1, 2])
def test_it_knows_no_order_and_no_units(systems, channels):
    config, order = ExactLoopConfig(channels=channels), np.random.default_rng(3).permutation(24)
    one = loop_for(systems.A, systems.b, config)
    moved = loop_for(systems.A[:, order][:, :, order], systems.b[:, order], config)
    scaled = loop_for(systems.A * 3.7, systems.b * 11.0, config)
    for _ in range(5):
        for loop in (one, moved, scaled):
            loop.advance()
    assert np.allclose(moved.answer(), one.answer()[:, order], rtol=1e-8, atol=1e-8)
    assert np.allclose(scaled.answer() * 3.7 / 11.0, one.answer(), rtol=1e-8, atol=1e-8)
    assert one.features().shape == (6, 24, FEATURES)


def test_columns_are_directions_to_begin_with(systems):
    units = np.zeros((6, 24, 3))
    units[:, [3, 8, 11], [0, 1, 2]] = 1
    units[5] = 0  # a matrix of another family
    config = ExactLoopConfig()
    columns = (units, systems.A @ units)
    diagonal = np.einsum("bii->bi", systems.A)
    loop = ExactLoop(random_gates(config), config, lambda V: systems.A @ V, diagonal, systems.b, columns=columns)
    assert loop.loops == 0
    assert np.abs(loop.r[:5][:, [3, 8, 11]]).max() < 1e-9 * np.abs(systems.b).max()  # Galerkin's equations
    assert np.array_equal(loop.r[5], systems.b[5])
    without = loop_for(systems.A, systems.b, config)
    assert np.array_equal(loop.features()[5], without.features()[5])
    for _ in range(25):
        loop.advance()
    assert relative(loop.x, systems.x).max() < 1e-24


def test_torch_computes_the_same(systems):
    torch = pytest.importorskip("torch")
    config = ExactLoopConfig(channels=2)
    parameters = random_gates(config)
    outside = np.array([True] + 5 * [False])
    one = loop_for(systems.A, systems.b, config, parameters, outside)
    A, b = torch.as_tensor(systems.A), torch.as_tensor(systems.b)
    tensors = {key: torch.as_tensor(value) for key, value in parameters.items()}
    other = ExactLoop(tensors, config, lambda V: A @ V, A.diagonal(dim1=1, dim2=2), b, torch.as_tensor(outside))
    for _ in range(3):
        one.advance()
        other.advance()
    assert np.allclose(other.answer().numpy(), one.answer(), rtol=1e-10, atol=1e-10)
    ours, theirs = one.verify(), other.verify()
    for mine, its in zip(ours, theirs, strict=True):
        assert np.allclose(its.numpy(), mine, atol=1e-9)


def test_a_product_that_verifies_is_not_lost(systems):
    loop, other = loop_for(systems.A, systems.b), loop_for(systems.A, systems.b)
    for _ in range(3):
        loop.advance()
        other.advance()
    answer = loop.answer()
    found, residual = loop.verify()
    assert np.array_equal(found, answer)
    assert np.allclose(residual, systems.b - np.einsum("bij,bj->bi", systems.A, answer), atol=1e-12)
    assert loop.loops == 4
    # Galerkin's step along the same direction is no farther in the A-norm
    for y in (answer, other.x):
        e, f = loop.x - systems.x, y - systems.x
        assert np.all(
            np.einsum("bi,bij,bj->b", e, systems.A, e) <= np.einsum("bi,bij,bj->b", f, systems.A, f) * (1 + 1e-9)
        )


def test_some_go_on_without_the_others(systems):
    whole, part = loop_for(systems.A, systems.b), loop_for(systems.A, systems.b)
    which = np.array([4, 1])
    for _ in range(2):
        whole.advance()
        part.advance()
    part.keep(which)
    part.product = lambda V: systems.A[which] @ V
    whole.advance()
    part.advance()
    assert np.allclose(part.answer(), whole.answer()[which], rtol=1e-12, atol=1e-12)


def test_zero_right_hand_sides_and_indefinite_matrices():
    A = np.stack([np.eye(5), np.diag([1.0, 1, 1, 1, 1]) - 0.9 * np.ones((5, 5))])
    A[1][np.arange(5), np.arange(5)] = 1.0
    b = np.stack([np.zeros(5), np.ones(5)])
    loop = loop_for(A, b)
    for _ in range(3):
        loop.advance()
    assert loop.indefinite.tolist() == [False, True]
    assert np.array_equal(loop.answer()[0], np.zeros(5))


def test_the_first_gates_divide_by_what_is_left_of_the_diagonal(systems):
    config = ExactLoopConfig(channels=3)
    parameters = initial_gates(config, np.random.default_rng(0))
    parameters["out_W"] *= 0
    loop = loop_for(systems.A, systems.b, config, parameters)
    diagonal = np.einsum("bii->bi", systems.A)
    loop.advance()
    gates = loop.gates()
    left = np.clip(1 - loop._explained / diagonal, 0, 1) + 1e-3
    assert np.allclose(gates[..., 0] * left * diagonal, 1)
    for k, wanted in ((1, 1 / diagonal), (2, np.ones_like(diagonal))):
        ratio = gates[..., k] / wanted
        assert np.allclose(ratio, ratio[:, :1], rtol=1e-9)


def test_operations_are_counted():
    config = ExactLoopConfig()
    assert flops(config, 40, 5) > 5 * 2 * 40**2
    assert flops(config, 40, 5, product=0.0) == flops(config, 40, 5) - 5 * 2 * 40**2
    assert flops(ExactLoopConfig(channels=4), 40, 5) > 4 * 5 * 2 * 40**2
