"""The paper's model: features by their definitions, invariances, the least-squares scale, files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnla.errors import NonFiniteError, NotSymmetricError, OptionError, ShapeError, WeightsError
from nnla.models._graphs import Graphs, block_diagonal
from nnla.models.nsls import NSLS, NSLSConfig, initial_parameters, nsls_forward, nsls_inputs, scale_to_system
from nnla.models.nsls_features import AUGMENTATIONS, arnoldi_steps, augment, jacobi_steps
from nnla.operators.operator import as_operator
from nnla.preconditioners.krylov_basis import conjugate_gradients
from nnla.problems.frames import frame

SMALL = {"inner": 8, "blocks": 3}


def model(seed=0, **config) -> NSLS:
    config = NSLSConfig(**{**SMALL, **config})
    return NSLS(config, initial_parameters(config.shapes(), np.random.default_rng(seed)), {"name": "random"})


@pytest.fixture
def system():
    one = frame("mini", 3)
    return one.A, one.loads[:, 1]


# -- features


def test_sixteen_features_and_44_thousand_numbers_as_in_the_paper():
    config = NSLSConfig()
    assert config.features == 16
    assert sum(np.prod(shape) for shape in config.shapes().values()) == 44193
    assert NSLSConfig(augmentation="cg+jacobi").features == 30
    assert NSLSConfig(augmentation="none").features == 2


def plain_cg(A, b, steps):
    x, r, p, out = np.zeros_like(b), b.copy(), b.copy(), []
    for _ in range(steps):
        alpha = (r @ r) / (p @ (A @ p))
        x = x + alpha * p
        new = r - alpha * (A @ p)
        p = new + (new @ new) / (r @ r) * p
        r = new
        out.append(x)
    return np.stack(out, axis=1)


def test_cg_features(system):
    A, b = system
    x = plain_cg(A, b, 14)
    F = augment(A, b, np.array([0, b.size]), augmentation="cg", steps=14)
    np.testing.assert_allclose(F[:, 0], b / abs(b).max())
    np.testing.assert_allclose(F[:, 1], A.diagonal() / abs(A).max())
    np.testing.assert_allclose(F[:, 2:], x / abs(x).max(axis=0), atol=1e-7)


def test_directions_are_conjugate_and_the_residual_is_true(system):
    A, b = system
    cg = conjugate_gradients(A, b, np.array([0, b.size]), 6)
    G = cg.directions.T @ cg.products
    assert np.abs(G - np.diag(G.diagonal())).max() < 1e-8 * G.diagonal().max()
    np.testing.assert_allclose(G.diagonal(), cg.curvatures[0])
    np.testing.assert_allclose(cg.residual, b - A @ cg.iterates[:, -1], atol=1e-8 * abs(b).max())
    np.testing.assert_allclose(cg.residuals[:, 2], b - A @ cg.iterates[:, 1], atol=1e-8 * abs(b).max())


def test_cg_stops_where_it_has_arrived_or_met_an_indefinite_system():
    A = block_diagonal([csr_array(np.diag([1.0, 2.0])), csr_array(np.diag([1.0, -3.0])), csr_array(np.eye(2))])
    b = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    cg = conjugate_gradients(A, b, np.array([0, 2, 4, 6]), 5)
    np.testing.assert_allclose(cg.iterates[:2, -1], [1, 0.5])
    assert np.all(np.isfinite(cg.iterates))
    np.testing.assert_array_equal(cg.iterates[2:], 0)
    np.testing.assert_array_equal(cg.curvatures[1:], 0)


def test_arnoldi_is_powers_of_a(system):
    A, b = system
    out, v = arnoldi_steps(A, b, np.array([0, b.size]), 3), b.astype(np.longdouble)
    for k in range(3):
        v = A.toarray().astype(np.longdouble) @ v
        np.testing.assert_allclose(out[:, k], (v / abs(v).max()).astype(float), atol=1e-12)


@pytest.mark.parametrize(("sign", "pull"), [("correct", -1.0), ("authors", 1.0)])
def test_jacobi_and_the_sign_of_the_authors(rng, sign, pull):
    n = 20
    M = rng.standard_normal((n, n))
    A = csr_array((M + M.T) / 2 + np.diag(8 + rng.random(n)))
    b, D = rng.standard_normal(n), A.diagonal()
    x, out = np.zeros(n), jacobi_steps(A, b, np.array([0, n]), 5, sign=sign)
    for k in range(5):
        x = (b + pull * (A @ x - D * x)) / D
        np.testing.assert_allclose(out[:, k], x / abs(x).max(), atol=1e-12)


def test_correct_jacobi_converges_to_the_direction_of_the_solution(rng):
    n = 20
    A = csr_array(np.diag(4 + rng.random(n)) + np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1))
    b = rng.standard_normal(n)
    x = np.linalg.solve(A.toarray(), b)
    starts = np.array([0, n])
    np.testing.assert_allclose(jacobi_steps(A, b, starts, 60)[:, -1], x / abs(x).max(), atol=1e-9)
    wrong = jacobi_steps(A, b, starts, 60, sign="authors")[:, -1]
    assert abs(wrong - x / abs(x).max()).max() > 0.1


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_every_augmentation_is_finite_and_at_most_one(augmentation):
    ones = [frame("mini", s, style="irregular") for s in range(3)]
    A, b = block_diagonal([o.A for o in ones]), np.concatenate([o.loads[:, 0] for o in ones])
    starts = np.cumsum([0, *(o.n for o in ones)])
    config = NSLSConfig(augmentation=augmentation)
    F = augment(A, b, starts, augmentation=augmentation, steps=14)
    assert F.shape == (b.size, config.features)
    assert np.all(np.isfinite(F))
    for i, j in itertools.pairwise(starts):
        assert np.all(np.abs(F[i:j]).max(axis=0)[[0, *range(2, F.shape[1])]] == pytest.approx(1))
    # what diverges stays finite for long
    assert np.all(np.isfinite(augment(A, b, starts, augmentation=augmentation, steps=400)))


# -- network


def test_a_batch_is_its_systems_one_by_one():
    ones = [frame("mini", s) for s in range(3)]
    m = model()
    A, b = block_diagonal([o.A for o in ones]), np.concatenate([o.loads[:, 2] for o in ones])
    starts = np.cumsum([0, *(o.n for o in ones)])
    weights, F = nsls_inputs(A, b, starts, m.config)
    y = nsls_forward(m.parameters, Graphs(weights, starts), F)
    for k, one in enumerate(ones):
        W, G = nsls_inputs(one.A, one.loads[:, 2], np.array([0, one.n]), m.config)
        alone = nsls_forward(m.parameters, Graphs(W, np.array([0, one.n])), G)
        np.testing.assert_allclose(y[starts[k] : starts[k + 1]], alone, atol=2e-5)


def test_torch_and_numpy_agree(system):
    torch = pytest.importorskip("torch")
    A, b = system
    m, starts = model(augmentation="cg+arnoldi"), np.array([0, b.size])
    W, F = nsls_inputs(A, b, starts, m.config)
    parameters = {k: torch.from_numpy(v) for k, v in m.parameters.items()}
    theirs = nsls_forward(parameters, Graphs(W, starts).torch(), torch.from_numpy(F))
    np.testing.assert_allclose(theirs.numpy(), nsls_forward(m.parameters, Graphs(W, starts), F), atol=2e-5)


def test_the_scale_minimises_the_residual(system, rng):
    A, b = system
    y = rng.standard_normal(b.size)
    x = scale_to_system(A, b, y)
    best = np.linalg.norm(b - A @ x)
    for factor in (0.99, 1.01, -1.0, 0.0):
        assert best <= np.linalg.norm(b - A @ (factor * x))


@pytest.mark.parametrize("augmentation", ["cg", "arnoldi", "cg+jacobi"])
def test_permuting_the_system_permutes_the_guess(system, augmentation, rng):
    A, b = system
    m, p = model(augmentation=augmentation), rng.permutation(b.size)
    x, turned = m.guess(A, b), m.guess(csr_array(A.toarray()[np.ix_(p, p)]), b[p])
    np.testing.assert_allclose(turned, x[p], atol=1e-5 * abs(x).max())


@pytest.mark.parametrize(("of_A", "of_b"), [(3.7e5, 1.0), (1.0, 2.3e-9), (1e-7, 1e4)])
def test_scaling_the_system_scales_the_guess(system, of_A, of_b):
    A, b = system
    m = model()
    x = m.guess(A, b)
    np.testing.assert_allclose(m.guess(of_A * A, of_b * b) * of_A / of_b, x, atol=1e-5 * abs(x).max())


def test_an_indefinite_system_has_a_guess(rng):
    M = rng.standard_normal((30, 30))
    x = model().guess(M + M.T, rng.standard_normal(30))
    assert np.all(np.isfinite(x))


def test_no_load_no_displacement(system):
    A, b = system
    np.testing.assert_array_equal(model().guess(A, 0 * b), 0)


@pytest.mark.parametrize(
    ("A", "b", "error"),
    [
        (np.ones((2, 3)), np.ones(2), ShapeError),
        (np.eye(3), np.ones(2), ShapeError),
        (np.zeros((3, 3)), np.ones(3), ShapeError),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), np.ones(2), NonFiniteError),
        (np.eye(2), np.array([1.0, np.inf]), NonFiniteError),
        (np.array([[1.0, 2.0], [0.0, 1.0]]), np.ones(2), NotSymmetricError),
    ],
)
def test_what_the_network_cannot_take(A, b, error):
    with pytest.raises(error):
        model().guess(A, b)


def test_what_is_symmetric_to_the_operator_is_symmetric_to_the_network():
    A = np.diag(np.arange(2.0, 8.0)) + 0.1
    A[1, 0] *= 1 + 2e-7  # as after a sum in float32
    single = A.astype(np.float32)
    as_operator(single)
    model().guess(single, np.ones(6))
    with pytest.raises(NotSymmetricError):  # as in the operator: float64 rounds less
        model().guess(A, np.ones(6))


def test_the_caller_keeps_his_matrix():
    A = csr_array((np.array([1.0, 1.0, 3.0]), np.array([0, 0, 1]), np.array([0, 2, 3])), shape=(2, 2))
    model().guess(A, np.ones(2))
    np.testing.assert_array_equal(A.data, [1, 1, 3])


@pytest.mark.parametrize(
    "bad", [{"inner": 0}, {"blocks": 1.5}, {"steps": True}, {"augmentation": "sor"}, {"jacobi_sign": "plus"}]
)
def test_bad_configs(bad):
    with pytest.raises(OptionError):
        NSLSConfig(**bad)


def test_files_keep_the_guess(tmp_path, system):
    m = model()
    m.save(tmp_path / "m.safetensors")
    back = NSLS.from_file(tmp_path / "m.safetensors")
    assert back.config == m.config
    assert back.card == m.card
    np.testing.assert_array_equal(back.guess(*system), m.guess(*system))


def test_weights_that_do_not_fit():
    m = model()
    for change in ({"encoder_bias": np.zeros(3)}, {"norm_alpha": np.full((3, 8), np.nan)}):
        with pytest.raises(WeightsError):
            NSLS(m.config, {**m.parameters, **change}, {})
    with pytest.raises(WeightsError, match="lack"):
        NSLS(m.config, {}, {})
