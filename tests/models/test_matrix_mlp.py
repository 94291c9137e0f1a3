"""Perceptrons from entries to entries: shapes, range, NumPy and torch."""

import numpy as np
import pytest

from nnla.errors import WeightsError
from nnla.models.matrix_mlp import MatrixMLPConfig, MatrixMLPEngine


def engine(**options):
    config = MatrixMLPConfig(**({"functions": ("exp", "sign"), "n": 2, "width": 8} | options))
    rng = np.random.default_rng(0)
    p = {name: rng.standard_normal(shape) for name, shape in config.shapes().items()}
    p |= {"low": np.full((config.n, config.n), -2.0), "high": np.full((config.n, config.n), 2.0)}
    return MatrixMLPEngine(config, p, {})


@pytest.mark.parametrize("n", [1, 2])
def test_numpy_torch_and_the_range(n):
    torch = pytest.importorskip("torch")
    model = engine(n=n)
    A = np.random.default_rng(1).uniform(-1, 1, (4, n, n))
    A = A + A.swapaxes(-1, -2)
    Y = model.function(A, "sign")
    assert np.isfinite(Y).all()
    assert not np.allclose(Y, model.function(A, "exp"))
    np.testing.assert_allclose(model.function(torch.from_numpy(A), "sign").numpy(), Y, rtol=1e-4, atol=1e-4)
    A[1, 0, 0] = 2.1
    assert np.isnan(model.function(A, "sign")).all(axis=(1, 2)).tolist() == [False, True, False, False]


@pytest.mark.parametrize("bad", [{"functions": ("tan",)}, {"n": 0}, {"layers": 65}, {"width": 0}])
def test_impossible_configs_are_refused(bad):
    with pytest.raises(WeightsError, match="impossible"):
        engine(**bad)
