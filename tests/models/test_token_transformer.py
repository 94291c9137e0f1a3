"""The transformer on tokens: caches change nothing, NumPy is torch, answers are well-formed, ranges and units."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import OptionError, ShapeError, WeightsError
from nnla.models.matrix_tokens import BOS, ENCODINGS
from nnla.models.token_network import (
    TokenTransformerConfig,
    decode,
    encode,
    logits,
    write,
)
from nnla.models.token_transformer import TokenTransformerEngine
from nnla.problems.matrix_families import matrix_family
from nnla.registry import load

PAIRS = [("P10", "FP15"), ("P1000", "P10"), ("B1999", "P1000"), ("FP15", "B1999")]


def engine(reads="B1999", writes="P1000", f="exp", limits=(0.5, 5.0), size=1.0, **options):
    options = {"width": 16, "encoder": 2, "decoder": 2, "heads": 2, "sizes": (2, 3)} | options
    config = TokenTransformerConfig(
        f=f,
        input=reads,
        input_lowest=-6,
        input_exponents=8,
        output=writes,
        output_lowest=-3,
        output_exponents=5,
        **options,
    )
    rng = np.random.default_rng(0)
    arrays = {key: size * rng.standard_normal(shape).astype(np.float32) for key, shape in config.shapes().items()}
    for key in arrays:  # what all tokens have in common is small, so that answers differ
        arrays[key] *= 0.1 if key.endswith(("_b", "shift", "scale")) else 1.0
        arrays[key] += 1.0 if key.endswith("scale") else 0.0
    return TokenTransformerEngine(config, arrays | {"limits": np.array(limits)}, {})


A = matrix_family("symmetric", 12, 3, seed=0)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("embedding", ["plain", "smooth"])
@pytest.mark.parametrize("pair", PAIRS)
def test_cached_is_uncached_and_torch_is_numpy(pair, embedding, norm):
    torch = pytest.importorskip("torch")
    model = engine(*pair, norm=norm, embedding=embedding)
    p, config = model.parameters_like(A), model.config
    ids = config.reads.write(A)
    found = write(p, config, ids, 3)
    assert len(np.unique(found, axis=0)) >= 4
    assert max(len(np.unique(found[:, place])) for place in range(2, found.shape[1])) >= 3
    np.testing.assert_array_equal(write(p, config, ids, 3, cached=False), found)
    tensors = model.parameters_like(torch.from_numpy(A))
    np.testing.assert_array_equal(write(tensors, config, torch.from_numpy(ids), 3).numpy(), found)
    # what follows a whole sequence at once, the causal mask, is what follows step by step
    before = np.concatenate([np.full((len(A), 1), BOS), found[:, :-1]], 1)
    memories, past, steps = encode(p, config, ids), None, []
    for t in range(before.shape[1]):
        x, past = decode(p, config, memories, before[:, t : t + 1], past)
        steps.append(logits(p, x))
    whole = logits(p, decode(p, config, memories, before)[0])
    np.testing.assert_allclose(np.concatenate(steps, 1), whole, rtol=1e-9, atol=1e-9 * np.abs(whole).max())
    read, so_far = torch.from_numpy(ids), torch.from_numpy(before)
    same = logits(tensors, decode(tensors, config, encode(tensors, config, read), so_far)[0])
    np.testing.assert_allclose(same.numpy(), whole, rtol=1e-9, atol=1e-9 * np.abs(whole).max())


@pytest.mark.parametrize("triangle", [False, True])
@pytest.mark.parametrize("writes", sorted(ENCODINGS))
def test_constrained_answers_are_never_malformed(writes, triangle):
    for n, size in ((2, 0.5), (3, 3.0)):
        model = engine("FP15", writes, triangle=triangle, size=size)
        matrices = matrix_family("symmetric", 40, n, seed=1)
        found = model.answer(matrices, "exp")
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found, found.swapaxes(-1, -2))
        free = model.written(matrices, constrained=False)  # random weights know no grammar
        assert np.isnan(free).any()


def test_shapes_and_refusals():
    model = engine()
    assert model.function(A.tolist(), "exp").shape == (12, 3, 3)
    assert model.function(A.reshape(3, 4, 3, 3), "exp").shape == (3, 4, 3, 3)
    assert model.function(np.zeros((0, 3, 3)), "exp").shape == (0, 3, 3)
    with pytest.raises(OptionError, match="knows exp"):
        model.function(A, "sign")
    with pytest.raises(ShapeError):
        model.function(np.zeros((2, 4, 4)), "exp")
    assert "exp of n = 2, 3" in repr(model)


def test_it_declines_what_it_has_not_seen():
    model = engine(f="exp")
    bad = A[:6].copy()
    bad[0] *= 1e3
    bad[1] *= 1e-3
    bad[2, 0, 1] = np.nan
    bad[3, 1, 0] += 0.1
    bad[4] = 0.0
    found = model.answer(bad, "exp")
    assert np.isnan(found[:5]).all()
    np.testing.assert_array_equal(found[5], model.answer(A[5:6], "exp")[0])
    definite = matrix_family("definite", 6, 3, seed=2, scale=2.0)
    definite[0] -= 3 * np.linalg.eigvalsh(definite[0])[0] * np.eye(3)
    found = engine(f="log", limits=(1e-3, 50.0)).answer(definite, "log")
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1:]).all()


@pytest.mark.parametrize(("f", "power"), [("sign", 0), ("inv", -1), ("cube", 3)])
def test_units_of_homogeneous_functions(f, power):
    torch = pytest.importorskip("torch")
    model = engine(f=f)
    x, y = model.answer(1e-80 * A, f), model.answer(1e80 * A, f)
    assert np.isfinite(x).all()
    np.testing.assert_allclose(x * 1e80**power, y * 1e-80**power, rtol=1e-12)
    np.testing.assert_allclose(model.answer(torch.from_numpy(1e80 * A), f).numpy(), y, rtol=1e-12)
    assert np.isfinite(model.answer(1e-250 * A, f)).all() == (f != "cube" or True)
    assert np.isnan(model.answer(0 * A, f)).all()


def test_torch_keeps_its_dtype():
    torch = pytest.importorskip("torch")
    found = engine().function(torch.from_numpy(A).float(), "exp")
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), engine().function(A.astype(np.float32), "exp"), rtol=1e-6)


def test_files(tmp_path):
    model = engine(embedding="smooth", norm="pre", input_scale=2.5)
    model.save(tmp_path / "m.safetensors")
    again = load(str(tmp_path / "m.safetensors"))
    assert again.config == model.config
    np.testing.assert_array_equal(again.answer(A, "exp"), model.answer(A, "exp"))


def test_impossible_configs():
    wrong = [{"f": "tan"}, {"input": "P7"}, {"norm": "none"}, {"embedding": "x"}, {"sizes": (3, 2)}, {"sizes": (9,)},
             {"width": 15}, {"width": 2.5}, {"output_exponents": 500}, {"input_scale": 0.0}, {"sizes": ()}]  # fmt: skip
    for change in wrong:
        with pytest.raises(WeightsError, match="impossible config"):
            TokenTransformerEngine(TokenTransformerConfig(**{"width": 16, "heads": 2} | change), {}, {})
