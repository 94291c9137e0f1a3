"""What a learned loop is held to: classical methods with the errors that are known of them."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.evaluation.spd_models import check_spd_solutions, evaluate_on_spd, guarded_errors, spd_lines
from nnla.evaluation.spd_rivals import block_cg_errors, cg_errors, chebyshev_errors, products_to, rival_flops
from nnla.models.nlaformer_exact import ExactLoopConfig, initial_gates
from nnla.models.nlaformer_exact_engine import ExactLoopEngine
from nnla.problems.dense_spd import spd_systems


@pytest.fixture(scope="module")
def systems():
    return spd_systems(300, 20, sigma=1.2, seed=8)


@pytest.fixture(scope="module")
def model():
    config = ExactLoopConfig()
    return ExactLoopEngine(config, initial_gates(config, np.random.default_rng(0)), {})


def test_cg_has_the_errors_of_the_specification(systems):
    """Means at 5 and 10 iterations, measured with scikit-learn's matrices: 1.9e-2 and 3.3e-5, 1.2e-3 and 8.5e-7."""
    A, b, x = systems.A, systems.b, systems.x
    for jacobi, wanted in ((False, (1.9e-2, 3.3e-5)), (True, (1.2e-3, 8.5e-7))):
        found = cg_errors(A, b, x, 10, jacobi=jacobi).mean(1)
        assert found.shape == (11,)
        for t, value in zip((5, 10), wanted, strict=True):
            assert value / 4 < found[t] < 4 * value


def test_every_rival_converges_and_none_beats_galerkin_s_method_in_its_space(systems):
    A, b, x = (part[:40] for part in (systems.A, systems.b, systems.x))
    jacobi = cg_errors(A, b, x, 40, jacobi=True)
    exact, estimated = (chebyshev_errors(A, b, x, 40, exact=known) for known in (True, False))
    block = block_cg_errors(A, b, x, 40)
    for errors in (jacobi, exact, estimated, block):
        assert errors.shape == (41, 40)
        assert np.allclose(errors[0], 1)
    assert jacobi[20].max() < 1e-12
    assert block[20].max() < 1e-12
    assert exact[40].mean() < 1e-4
    assert estimated[40].mean() < 1e-3
    assert np.median(exact[10]) > np.median(jacobi[10])


def test_operations_of_rivals():
    assert rival_flops("jacobi", 100, 3) == 3 * (2e4 + 1100)
    assert products_to(np.array([[1.0, 1.0], [0.1, 1e-9]]), 1e-6).tolist() == [np.inf, 1.0]


def test_a_learned_loop_beside_them(model):
    found = evaluate_on_spd(model, count=16)
    row = found["products"]["40, 1.2"]
    assert row["learned"][2] < row["jacobi"][2] < row["cg"][2]
    assert found["inside"]["40, 1.2"] > 0.9
    assert found["solved"]["20, 1"]["converged"]
    assert any("cg" in line for line in spd_lines({"measured": found}))
    assert check_spd_solutions(model, 3, 0) == []


def test_loops_of_several_products_are_held_at_their_last_error(systems):
    config = ExactLoopConfig(channels=3)
    wide = ExactLoopEngine(config, initial_gates(config, np.random.default_rng(0)), {})
    errors = guarded_errors(wide, systems.A[:4], systems.b[:4], systems.x[:4], 7)
    assert errors.shape == (8, 4)
    assert np.array_equal(errors[3], errors[5])
    assert not np.array_equal(errors[2], errors[3])
