"""The layer is the paper's equation (1), in both dtypes, batched."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.constructions import Head, SoftmaxLayer, softmax
from nnla.errors import OptionError, ShapeError


def heads(rng, rows, count, dtype):
    return tuple(
        Head(*(rng.standard_normal(shape).astype(dtype) for shape in ((3, rows), (3, rows), (rows, rows))))
        for _ in range(count)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_layer_is_the_equation(dtype):
    rng = np.random.default_rng(0)
    layer = SoftmaxLayer(heads(rng, 5, 2, dtype), lambda U: np.maximum(U, 0))
    P = rng.standard_normal((4, 5, 3)).astype(dtype)
    out = layer(P)
    assert out.dtype == dtype
    for one, got in zip(P, out, strict=True):
        U = one.copy()
        for head in layer.heads:
            Z = one.T @ head.W_K.T @ head.W_Q @ one
            E = np.exp(Z - Z.max())
            U = U + head.W_V @ one @ (E / E.sum(axis=0))
        np.testing.assert_allclose(got, U + np.maximum(U, 0), rtol=0, atol=200 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shift", [False, True])
def test_columns_sum_to_one_and_nothing_overflows(dtype, shift):
    Z = np.array([[0.0, 1e4, -1e4, 3e2], [1.0, 1e4, -1e4, -3e2], [2.0, -1e4, 0.0, 0.0]], dtype)
    S = softmax(Z, shift=shift)
    np.testing.assert_allclose(S.sum(axis=-2), 1, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(S[:, 1], [0.5, 0.5, 0])


def test_small_scores_behind_a_sink_keep_their_digits_without_the_shift():
    z = 1.234567e-9
    Z = np.array([[36.0], [z], [-z]])
    kept, lost = (softmax(Z, shift=s) for s in (False, True))
    error = [abs((S[1, 0] - S[2, 0]) * np.exp(36.0) / (2 * z) - 1) for S in (kept, lost)]
    assert error[0] < 4e-7 < error[1]


def test_wrong_prompts_are_refused():
    layer = SoftmaxLayer(heads(np.random.default_rng(0), 5, 1, np.float64))
    with pytest.raises(ShapeError, match="5 rows"):
        layer(np.zeros((4, 3)))
    with pytest.raises(OptionError, match="float32"):
        layer(np.zeros((5, 3), np.float32))
