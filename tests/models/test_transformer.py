"""The shared transformer: NumPy and torch agree with each other and with torch's own layers."""

import numpy as np
import pytest

from nnla.models.transformer import TransformerConfig, gelu, initial_parameters, layer_norm, transform

CONFIG = TransformerConfig(width=12, blocks=2, heads=3, expansion=2)


@pytest.fixture
def parameters():
    rng = np.random.default_rng(0)
    p = initial_parameters(CONFIG.shapes(), rng, CONFIG.blocks)
    # biases and norms that are not what they start from
    return {key: (value + 0.1 * rng.standard_normal(value.shape)).astype(np.float32) for key, value in p.items()}


def tokens(seed=1):
    return np.random.default_rng(seed).standard_normal((3, 7, 12)).astype(np.float32)


def test_torch_and_numpy_agree(parameters):
    torch = pytest.importorskip("torch")
    x = tokens()
    ours = transform(parameters, x, CONFIG)
    theirs = transform({key: torch.from_numpy(value) for key, value in parameters.items()}, torch.from_numpy(x), CONFIG)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=2e-5, atol=2e-5)


def test_a_block_is_that_of_torch(parameters):
    torch = pytest.importorskip("torch")
    layer = torch.nn.TransformerEncoderLayer(
        12, 3, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    stack = torch.nn.TransformerEncoder(layer, 2, norm=torch.nn.LayerNorm(12), enable_nested_tensor=False).eval()
    names = {
        "self_attn.in_proj_weight": "qkv_W",
        "self_attn.in_proj_bias": "qkv_b",
        "self_attn.out_proj.weight": "out_W",
        "self_attn.out_proj.bias": "out_b",
        "linear1.weight": "up_W",
        "linear1.bias": "up_b",
        "linear2.weight": "down_W",
        "linear2.bias": "down_b",
        "norm1.weight": "norm1_scale",
        "norm1.bias": "norm1_shift",
        "norm2.weight": "norm2_scale",
        "norm2.bias": "norm2_shift",
    }
    state = {
        f"layers.{i}.{theirs}": torch.from_numpy(parameters[f"block{i}_{ours}"].T.copy())
        for i in range(2)
        for theirs, ours in names.items()
    }
    state |= {
        f"norm.{a}": torch.from_numpy(parameters[f"norm_{b}"]) for a, b in (("weight", "scale"), ("bias", "shift"))
    }
    stack.load_state_dict(state)
    x = tokens()
    with torch.no_grad():
        expected = stack(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(transform(parameters, x, CONFIG), expected, rtol=1e-4, atol=1e-4)


def test_tokens_are_a_set_and_all_are_seen(parameters):
    x = tokens()
    order = np.random.default_rng(2).permutation(7)
    y = transform(parameters, x, CONFIG)
    np.testing.assert_allclose(transform(parameters, x[:, order], CONFIG), y[:, order], rtol=1e-4, atol=1e-5)
    x[:, -1] *= -1  # the first token sees the last one: no causal mask
    assert np.abs(transform(parameters, x, CONFIG)[:, 0] - y[:, 0]).max() > 1e-3


def test_large_scores_do_not_overflow(parameters):
    huge = {key: value * (100.0 if "qkv" in key else 1.0) for key, value in parameters.items()}
    huge = {key: value.astype(np.float32) for key, value in huge.items()}
    assert np.isfinite(transform(huge, 10 * tokens(), CONFIG)).all()


def test_norm_and_activation():
    x = tokens()
    y = layer_norm(x, np.ones(12, np.float32), np.zeros(12, np.float32))
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(-1), 1, rtol=1e-3)
    assert gelu(np.float32([0, -20, 20])).tolist() == [0, 0, 20]


@pytest.mark.parametrize("sizes", [(12, 2, 5, 4), (0, 1, 1, 1), (12, 2, 3, 10**6), (12.0, 2, 3, 2)])
def test_impossible_sizes(sizes):
    assert not TransformerConfig(*sizes).possible()


def test_starts_from_what_it_should():
    shapes = CONFIG.shapes()
    p = initial_parameters(shapes, np.random.default_rng(0), 2)
    assert {key: value.shape for key, value in p.items()} == shapes
    assert all(value.dtype == np.float32 for value in p.values())
    assert (p["block0_norm1_scale"] == 1).all()
    assert (p["block0_up_b"] == 0).all()
    assert p["block0_out_W"].std() == pytest.approx(p["block0_qkv_W"].std() / 2, rel=0.3)
