"""The equivariant surrogate: right for any weights where it answers at all; programs, layouts, rotations, units."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

import nnla
from nnla.models.equivariant import EquivariantConfig, EquivariantEngine
from nnla.models.equivariant_invariants import described
from nnla.models.equivariant_layout import ENTRIES, MATRICES
from nnla.models.equivariant_plans import (
    cosine_program,
    exponential_program,
    log_program,
    radius_class,
    radius_of,
    ratio_class,
    stage_program,
)
from nnla.problems import function_reference, matrix_family

DOMAIN = dict.fromkeys(("exp", "sin", "cos"), ("symmetric", {}))
DOMAIN |= dict.fromkeys(("sqrt", "inv_sqrt", "log"), ("definite", {"floor": 0.1, "condition": 300.0}))
DOMAIN |= {"sign": ("gapped", {"gap": 0.02})}


class Told(EquivariantEngine):
    """Predicts what it is told."""

    told: ClassVar[dict[str, float]] = {"exp": 0.9, "sign": 0.01, "definite": 1e-3}

    def predicted(self, head, features):
        value = np.full(len(features), np.log(self.told[head]))
        return torch.from_numpy(value) if isinstance(features, torch.Tensor) else value


def engine(**told):
    config = EquivariantConfig(hidden=4)
    parameters = {name: np.zeros(shape) for name, shape in config.shapes().items()}
    return type("Other", (Told,), {"told": Told.told | told})(config, parameters, {})


def error(X, exact):
    return (np.linalg.norm(X - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))).max()


@pytest.mark.parametrize("n", [1, 2, 5, 7, 32])
@pytest.mark.parametrize("f", EquivariantEngine.functions)
def test_answers_are_right_to_a_millionth(f, n):
    family, options = DOMAIN[f]
    A = matrix_family(family, 30, n, seed=n, **options)
    kept = A.copy()
    X, products = engine().counted(A, f)
    assert np.array_equal(A, kept)
    assert (products >= 2).all()
    assert error(X, function_reference(A, f)) < (3e-6 if n == 1 and f in ("sin", "cos", "log") else 1e-6)


@pytest.mark.parametrize("f", ["sign", "sqrt", "inv_sqrt"])
def test_a_wrong_prediction_is_noticed_and_mended(f):
    family, options = DOMAIN[f]
    A = matrix_family(family, 30, 4, seed=0, **options)
    right, _ = engine().counted(A, f)
    for wrong in (1.0, 0.3):
        X, more = engine(sign=wrong, definite=wrong).counted(A, f)
        assert error(X, right) < 1e-5
        assert more.mean() > 0
    hard = np.array([np.diag([1.0, 0.0, 2.0]), np.diag([1.0, -1.0, 2.0])])
    X = engine().function(hard[:1] if f == "sign" else hard[1:], f)
    assert np.isnan(X).all()


def test_torch_and_both_layouts_agree():
    for f, (family, options) in DOMAIN.items():
        A = matrix_family(family, 20, 5, seed=3, **options)
        X = engine().function(A, f)
        Y = engine().function(torch.from_numpy(A), f)
        assert isinstance(Y, torch.Tensor)
        np.testing.assert_allclose(Y.numpy(), X, atol=1e-7 * np.abs(X).max())
    M, N = np.random.default_rng(0).standard_normal((2, 7, 4, 4))
    m, k = ENTRIES.into(M), ENTRIES.into(N)
    np.testing.assert_allclose(ENTRIES.back(ENTRIES.product(m, k)), MATRICES.product(M, N), atol=1e-14)
    for name in ("dot", "trace", "largest"):
        arguments = (M, N) if name == "dot" else (M,)
        other = (m, k) if name == "dot" else (m,)
        np.testing.assert_allclose(getattr(ENTRIES, name)(*other), getattr(MATRICES, name)(*arguments), atol=1e-13)


def test_turns_with_its_matrix_and_knows_no_units():
    rng = np.random.default_rng(0)
    for f, (family, options) in DOMAIN.items():
        A = matrix_family(family, 10, 6, seed=4, **options)
        Q = np.linalg.qr(rng.standard_normal(A.shape))[0]
        B = Q @ A @ Q.swapaxes(-1, -2)
        X, Y = engine().function(A, f), engine().function((B + B.swapaxes(-1, -2)) / 2, f)
        assert np.abs(Y - Q @ X @ Q.swapaxes(-1, -2)).max() < 1e-5 * np.abs(X).max()
    unit = 4.0**200
    S, P = matrix_family("gapped", 5, 3, seed=0, gap=0.05), matrix_family("definite", 5, 3, seed=0)
    np.testing.assert_allclose(engine().function(unit * S, "sign"), engine().function(S, "sign"), atol=1e-12)
    root = engine().function(unit * P, "sqrt") / 2.0**200
    np.testing.assert_allclose(root, engine().function(P, "sqrt"), rtol=1e-10)


def test_bounds_hold():
    rng = np.random.default_rng(1)
    for n in (1, 2, 3, 10):
        w = np.concatenate([rng.standard_normal((50, n)), np.ones((1, n)), np.eye(n)[:1], -np.eye(n)[:1] + 1.0])
        w = w / np.abs(w).max(-1, keepdims=True, initial=0.1)
        for head in ("exp", "sign", "definite"):
            v = w - w.mean(-1, keepdims=True) if head == "exp" else np.abs(w) if head == "definite" else w
            powers = [(v**k).sum(-1) for k in (1, 2, 3, 4, 5, 6, 8)]
            bound, features = described(head, n, powers[:4] if head == "definite" else powers)
            assert (bound >= np.abs(v).max(-1)).all()
            assert np.isfinite(features).all()


def test_programs_reach_their_tolerance():
    x = np.linspace(-1, 1, 1001)
    for r, slack in ((0.1, 0), (3.0, 2), (40.0, 3), (300.0, 0)):
        index = int(radius_class(np.array([r]))[0])
        degree, squares = exponential_program(index, slack).kind
        radius = float(radius_of(np.array(index)))
        assert radius >= r
        value = np.polynomial.polynomial.polyval(x, exponential_program(index, slack).coefficients) ** (2**squares)
        assert np.abs(value - np.exp(radius * (x - 1))).max() < 2e-7 * np.exp(-slack)
        terms, doublings = cosine_program(index).kind
        value = np.polynomial.polynomial.polyval(x * x, cosine_program(index).coefficients)
        for _ in range(doublings):
            value = 2 * value**2 - 1
        assert np.abs(value - np.cos(radius * x)).max() < 2e-7
        assert degree > 4
        assert terms >= 2
    assert ratio_class(np.array([1.0, 0.1, 0.099])).tolist() == [0, 4, 5]
    assert stage_program(8, True).products > stage_program(8, False).products > stage_program(0, False).products
    *c, a = log_program(3).coefficients
    y = a + (1 - a) * (x + 1) / 2
    assert np.abs(np.polynomial.polynomial.polyval(x, c) - np.log(y)).max() < 1e-6


def test_files_and_checks(tmp_path):
    config = EquivariantConfig(hidden=4, largest=6)
    rng = np.random.default_rng(0)
    parameters = {name: rng.standard_normal(shape) for name, shape in config.shapes().items()}
    for head in ("exp", "sign", "definite"):
        parameters |= {f"{head}.low": np.full(8, -10.0), f"{head}.high": np.full(8, 10.0)}
    EquivariantEngine(config, parameters, {"name": "random"}).save(tmp_path / "e.safetensors")
    model = nnla.load(tmp_path / "e.safetensors")
    assert model.sizes == tuple(range(1, 7))
    assert nnla.checks.check_model(model, trials=7) == []
    A = matrix_family("gapped", 20, 4, seed=0, gap=0.1)
    X = nnla.matfun.signm(A, method="equivariant", engine=model)  # whatever the weights
    assert X.report.converged
    assert X.report.method == "equivariant"
