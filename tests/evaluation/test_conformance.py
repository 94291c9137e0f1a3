"""The public checks pass what is right and name what is wrong."""

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator

import nnla
from nnla import checks


def test_good_things_pass():
    A = nnla.problems.diffusion2d(nnla.problems.lognormal_field((12, 12), s=1.0))
    assert checks.check_operator(A) == []
    assert checks.check_preconditioner(nnla.preconditioner(A), A) == []
    assert checks.check_recurrence(nnla.Recurrence.chebyshev(0.1, 2.0, 11)) == []


@pytest.mark.parametrize("name", sorted(nnla.weights()))
def test_shipped_models_conform(name):
    assert checks.check_model(nnla.load(name)) == []


@pytest.mark.parametrize(
    ("product", "word"),
    [
        (lambda v: np.abs(v), "linear"),
        (lambda v: v + 1e-3 * np.random.default_rng().standard_normal(v.size), "deterministic"),
        (lambda v: np.cumsum(v), "symmetric"),
        (lambda v: v * np.where(np.arange(v.size) == 0, -900.0, 1.0), "definite"),
        (lambda v: np.where(v > 9, np.nan, v) * np.nan, "NonFinite"),
    ],
)
def test_bad_operators_are_named(product, word):
    messages = checks.check_operator(LinearOperator((30, 30), matvec=product, dtype=float))
    assert any(word in message for message in messages)


def test_bad_preconditioners_are_named():
    A = nnla.problems.poisson2d(8)
    assert any("definite" in m for m in checks.check_preconditioner(LinearOperator(A.shape, lambda r: -r, dtype=float)))
    assert any("linear" in m for m in checks.check_preconditioner(LinearOperator(A.shape, np.sign, dtype=float)))
    wrong = np.triu(np.ones(A.shape))
    assert any("symmetric" in m for m in checks.check_preconditioner(wrong))
    spread = np.diag(np.geomspace(1, 1e6, 64))
    assert any("worse" in m for m in checks.check_preconditioner(spread, A))


def test_bad_model_is_named():
    class Drifting:
        name, task, degree = "drifting", "polynomials", None
        card: dict = {}  # noqa: RUF012

        def recurrence(self, probe, *, degree):
            return nnla.classical.chebyshev(1e-3 * probe.lambda_max**0.5, probe.upper_bound, degree)

    assert any("scale" in m for m in checks.check_model(Drifting(), trials=3))
