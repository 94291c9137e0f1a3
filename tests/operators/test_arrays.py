"""The helpers that treat NumPy arrays and torch tensors alike."""

import subprocess
import sys

import numpy as np
import pytest

from nnla.kernels import native
from nnla.operators.arrays import inner, is_torch, namespace, norm, to_numpy, zeros_like

KINDS = ["numpy", "torch"]


@pytest.fixture(params=KINDS)
def convert(request):
    if request.param == "numpy":
        return np.array
    return pytest.importorskip("torch").tensor


def test_namespace_and_kind(convert):
    x = convert([1.0, 2.0])
    assert namespace(x).__name__ == ("torch" if is_torch(x) else "numpy")
    assert namespace(x).sqrt(x)[0] == 1.0
    assert not is_torch([1.0])


def test_to_numpy(convert):
    x = to_numpy(convert([[1.0, 2.0]]))
    assert type(x) is np.ndarray
    assert x.shape == (1, 2)


def test_to_numpy_detaches():
    torch = pytest.importorskip("torch")
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    np.testing.assert_array_equal(to_numpy(x), [1.0, 1.0])


def test_zeros_like(convert):
    x = convert([[1.0, 2.0]])
    z = zeros_like(x)
    assert type(z) is type(x)
    assert z.dtype == x.dtype
    np.testing.assert_array_equal(to_numpy(z), np.zeros((1, 2)))


def test_zeros_like_a_transposed_block_is_c_contiguous():
    assert zeros_like(np.ones((3, 2)).T).flags.c_contiguous


@pytest.mark.parametrize("shape", [(7,), (7, 1), (7, 3)])
def test_inner_and_norm_against_numpy(convert, shape):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, *shape))
    product, length = inner(convert(x), convert(y)), norm(convert(x))
    expected_type = float if len(shape) == 1 else np.ndarray
    assert type(product) is expected_type
    assert type(length) is expected_type
    if len(shape) == 2:
        assert product.shape == length.shape == shape[1:]
        assert product.dtype == length.dtype == np.float64
    np.testing.assert_allclose(product, (x * y).sum(axis=0), rtol=1e-13)
    np.testing.assert_allclose(length, np.linalg.norm(x, axis=0), rtol=1e-13)


def test_inner_of_strided_views():
    x = np.arange(24.0).reshape(4, 6)[:, ::2]
    np.testing.assert_allclose(inner(x, x), (x * x).sum(axis=0))


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_norm_neither_overflows_nor_underflows(convert, scale):
    x = np.array([3.0, 4.0]) * scale
    assert norm(convert(x)) == pytest.approx(5.0 * scale, rel=1e-14)
    block = norm(convert(np.stack([x, [1.0, 0.0]], axis=1)))
    np.testing.assert_allclose(block, [5.0 * scale, 1.0], rtol=1e-14)


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 1000, 16_384, 16_385, 50_001])
def test_inner_of_any_length(n, rng):
    x, y = rng.standard_normal((2, n))
    assert inner(x, y) == pytest.approx(float(x @ y), rel=1e-12, abs=1e-12 * max(n, 1) ** 0.5)
    assert norm(x) == pytest.approx(float(np.sqrt(x @ x)), rel=1e-14)


def test_inner_does_not_depend_on_the_threads_nor_on_the_alignment(rng):
    if native is None:
        pytest.skip("the native kernels are not there")
    x, y = rng.standard_normal((2, 100_003))
    try:
        found = []
        for threads in (1, 2, 3, 7):
            native.set_threads(threads)
            found += [inner(x, y), inner(np.append(0.0, x)[1:], np.append([0.0] * 3, y)[3:])]
    finally:
        native.set_threads(0)
    assert len(set(found)) == 1


def test_what_native_code_cannot_take_goes_another_way(rng, monkeypatch):
    x, y = rng.standard_normal((2, 101))
    expected = float(x @ y)
    twice = np.repeat(x, 2)
    assert inner(twice[::2], y) == pytest.approx(expected, rel=1e-13)  # strided
    assert inner(x[::-1], y[::-1]) == pytest.approx(expected, rel=1e-13)
    assert inner(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(expected, rel=1e-4)
    assert inner(x.astype(np.float32), y) == pytest.approx(expected, rel=1e-4)
    assert norm(twice[::2]) == pytest.approx(norm(x), rel=1e-14)
    assert norm(x.astype(np.float32)) == pytest.approx(norm(x), rel=1e-5)
    frozen = x.copy()
    frozen.flags.writeable = False
    assert inner(frozen, y) == pytest.approx(expected, rel=1e-13)
    monkeypatch.setattr("nnla.operators.numpy_space.native", None)
    assert inner(x, y) == pytest.approx(expected, rel=1e-13)
    assert norm(1e200 * x) == pytest.approx(1e200 * norm(x), rel=1e-13)


def test_native_inner_refuses_different_lengths():
    if native is None:
        pytest.skip("the native kernels are not there")
    with pytest.raises(ValueError, match="lengths"):
        native.dot(np.ones(3), np.ones(4))


def test_norm_of_zero_and_of_non_finite(convert):
    assert norm(convert([0.0, 0.0])) == 0.0
    assert norm(convert([1.0, np.inf])) == np.inf
    assert np.isnan(norm(convert([1.0, np.nan])))
    np.testing.assert_array_equal(norm(convert([[0.0, np.inf], [0.0, 1.0]])), [0.0, np.inf])


def test_torch_is_never_imported():
    code = (
        "import sys, numpy as np, scipy.sparse as sp\n"
        "from nnla.operators.operator import as_operator\n"
        "from nnla.operators.arrays import norm\n"
        "norm(as_operator(sp.eye_array(3)) @ np.ones(3))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
