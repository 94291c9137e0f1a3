"""Direct regression of matrix functions: shapes, units, what is declined, NumPy and torch, files."""

import numpy as np
import pytest

from nnla.errors import OptionError, ShapeError, WeightsError
from nnla.models.matrix_features import Directions
from nnla.models.matrix_regression import (
    MatrixRegressionConfig,
    MatrixRegressionEngine,
    answers,
    regression_features,
)
from nnla.models.transformer import initial_parameters
from nnla.problems import matrix_family

SMALL = {"width": 8, "blocks": 1, "heads": 2, "sizes": (2, 4)}
KINDS = [
    {},
    {"channels": "adjugates"},
    {"tokens": "entries"},
    {"channels": "entries", "spectral": "none", "read_out": "linear"},
    {"channels": "powers", "spectral": "eigenvalues", "tokens": "entries", "read_out": "linear"},
]


def engine(functions=("sign", "sqrt", "log"), family="symmetric", **options):
    """A random network with true tables."""
    config = MatrixRegressionConfig(functions=functions, **(SMALL | options))
    p = initial_parameters(config.network_shapes(), np.random.default_rng(0), 1)
    for n in config.sizes:
        z = regression_features(config, Directions(matrix_family(family, 2000, n, seed=n)))
        values = {"mean": z.mean(0), "deviation": z.std(0), "low": z.min(0), "high": z.max(0)}
        p |= {f"size{n}_{key}": value for key, value in values.items()}
    return MatrixRegressionEngine(config, p, {})


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("n", [2, 4])
def test_answers_are_symmetric_and_torch_takes_the_same_way(options, n):
    torch = pytest.importorskip("torch")
    model, A = engine(**options), matrix_family("symmetric", 5, n)
    Y = model.function(A.reshape(5, 1, n, n), "sign")
    assert Y.shape == (5, 1, n, n)
    assert np.array_equal(Y, Y.swapaxes(-1, -2))
    assert np.isfinite(Y).all()
    Z = model.function(torch.from_numpy(A), "sign")
    assert Z.dtype == torch.float64
    np.testing.assert_allclose(Z.numpy(), Y[:, 0], atol=1e-4 * np.abs(Y).max())
    assert model.function(torch.from_numpy(A).float(), "sign").dtype == torch.float32
    assert model.function(A[0], "sign").shape == (n, n)


@pytest.mark.parametrize(("f", "power"), [("sign", 0.0), ("sqrt", 0.5), ("inv", -1.0)])
@pytest.mark.parametrize("unit", [2.0**-800, 2.0**800])
def test_units(f, power, unit):
    model, A = engine(("sign", "sqrt", "inv"), "definite"), matrix_family("definite", 5, 4)
    np.testing.assert_allclose(model.function(unit * A, f), model.function(A, f) * unit**power, rtol=1e-5)


def test_functions_that_know_their_unit_see_it():
    model = engine(("exp",))
    A = matrix_family("symmetric", 5, 4, scale=3.0)
    assert not np.allclose(model.function(A, "exp"), model.function(0.9 * A, "exp"))
    assert np.isnan(model.function(100 * A, "exp")).all()  # no network extrapolates


def test_what_is_declined():
    model = engine()
    A = np.stack([np.diag([1.0, 2.0]), np.diag([-1.0, 2.0]), np.zeros((2, 2)), np.full((2, 2), np.nan)])
    assert np.isnan(model.function(A, "sqrt")).any(axis=(1, 2)).tolist() == [False, True, True, True]
    assert np.isnan(model.function(A, "sign")).any(axis=(1, 2)).tolist() == [False, False, True, True]
    narrow = engine(family="definite")  # of condition at most some hundred
    B = matrix_family("definite", 3, 4, floor=1e-9, condition=1e9, seed=3)
    assert np.isnan(narrow.function(B, "sqrt")).all()


def test_polish_is_a_step_of_newton_and_schulz():
    A = matrix_family("symmetric", 5, 4)
    S = engine().function(A, "sign")
    one, two = (engine(polish=k).function(A, "sign") for k in (1, 2))
    np.testing.assert_allclose(one, 1.5 * S - 0.5 * S @ S @ S, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(two, 1.5 * one - 0.5 * one @ one @ one, rtol=1e-4, atol=1e-5)
    B = matrix_family("definite", 5, 4)
    assert np.array_equal(engine().function(B, "sqrt"), engine(polish=2).function(B, "sqrt"), equal_nan=True)


def test_frames_average_over_signed_permutations():
    A = matrix_family("symmetric", 3, 4)
    assert not np.allclose(engine(frames=4).function(A, "sign"), engine().function(A, "sign"))
    P = np.diag([1.0, -1.0])[:, ::-1]
    wide = engine(frames=100)  # all eight of n = 2 by then, and nearly alike often
    A = matrix_family("symmetric", 3, 2)
    gap = np.abs(wide.function(P @ A @ P.T, "sign") - P @ wide.function(A, "sign") @ P.T).max()
    one = np.abs(engine().function(P @ A @ P.T, "sign") - P @ engine().function(A, "sign") @ P.T).max()
    assert gap < 0.4 * one


def test_what_it_does_not_know_is_refused():
    with pytest.raises(OptionError, match="schur"):
        engine().function(np.eye(2), "exp")
    with pytest.raises(ShapeError, match="schur"):
        engine().function(np.eye(3), "sign")


@pytest.mark.parametrize(
    "bad",
    [
        {"functions": ()},
        {"functions": ("exp", "exp")},
        {"functions": ("tan",)},
        {"sizes": ()},
        {"sizes": (4, 3)},
        {"sizes": (1, 2)},
        {"sizes": (3, 40)},
        {"tokens": "words"},
        {"channels": "none"},
        {"functions": ("sign", "exp"), "channels": "adjugates"},
        {"spectral": "all"},
        {"read_out": "cubic"},
        {"polish": -1},
        {"frames": 0},
        {"heads": 3},
    ],
)
def test_impossible_configs_are_refused(bad):
    with pytest.raises(WeightsError, match="impossible"):
        MatrixRegressionEngine(MatrixRegressionConfig(**(SMALL | bad)), {}, {})


def test_files(tmp_path):
    model, A = engine(), matrix_family("symmetric", 3, 4)
    model.save(tmp_path / "m.safetensors")
    again = MatrixRegressionEngine.from_file(tmp_path / "m.safetensors")
    assert again.config == model.config
    assert np.array_equal(again.function(A, "sign"), model.function(A, "sign"))
    assert "sign, sqrt, log" in repr(again)


def test_the_network_sees_no_row_beyond_the_matrix():
    model = engine()
    Y = answers(model.parameters, model.config, Directions(matrix_family("symmetric", 5, 2)))
    assert Y.shape == (5, 3, 2, 2)
