"""NSLS-plus: its guarantee for any weights, invariances, the subspace, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnla.errors import NotPositiveDefiniteError, OptionError, ShapeError
from nnla.models._graphs import Graphs
from nnla.models.nsls import initial_parameters
from nnla.models.nsls_coarse import coarse_levels, partition
from nnla.models.nsls_plus import NSLSPlus, NSLSPlusConfig, damping, equilibrate, plus_features, plus_forward
from nnla.preconditioners.galerkin import improve, split_columns, without_directions
from nnla.preconditioners.krylov_basis import conjugate_gradients
from nnla.problems import poisson2d, random_matrix
from nnla.problems.frames import frame
from nnla.problems.geometry import Geometry

SMALL = {"inner": 8, "blocks": 2, "outputs": 5}


def model(seed=0, size=1.0, **config) -> NSLSPlus:
    config = NSLSPlusConfig(**{**SMALL, **config})
    parameters = initial_parameters(config.shapes(), np.random.default_rng(seed))
    return NSLSPlus(config, {k: size * v for k, v in parameters.items()}, {"name": "random"})


def energy(A, b, x):
    """x'Ax / 2 - b'x: half the square of the A-norm of the error, but for a constant."""
    return x @ (A @ x) / 2 - b @ x


def jacobi_pcg(A, b, steps):
    s = 1 / np.sqrt(A.diagonal())
    scaled = csr_array(s[:, None] * A.toarray() * s)
    return s * conjugate_gradients(scaled, s * b, np.array([0, b.size]), steps).iterates[:, -1]


def systems():
    yield "frame", frame("mini", 2, style="irregular").A
    yield "poisson", csr_array(poisson2d(15))
    yield "badly scaled", csr_array(random_matrix("badly_scaled_spd", 80, 1))
    yield "diagonal", csr_array(np.diag(np.geomspace(1, 1e8, 40)))
    yield "tiny", csr_array(np.array([[2.0, 1.0], [1.0, 2.0]]))
    yield "one", csr_array(np.array([[4.0]]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [0.0, 1.0, 30.0])
def test_never_worse_than_its_own_cg_steps(seed, size):
    """Whatever the weights: random, zero, or so large that the outputs overflow their meaning."""
    m, rng = model(seed, size), np.random.default_rng(seed)
    for name, A in systems():
        n = A.shape[0]
        b = rng.standard_normal(n)
        x = m.guess(A, b)
        theirs = jacobi_pcg(A, b, m.config.steps)
        best = -energy(A, b, np.linalg.solve(A.toarray(), b))
        assert energy(A, b, x) <= energy(A, b, theirs) + 1e-10 * best, name


@pytest.mark.parametrize("name", ["stand_02", "nos3", "bcsstk14", "662_bus", "lund_a", "1138_bus"])
def test_never_worse_on_real_matrices(real_matrix, name):
    A = csr_array(real_matrix(name)).astype(float)
    b = A @ np.random.default_rng(0).standard_normal(A.shape[0])
    x, theirs = model(1).guess(A, b), jacobi_pcg(A, b, 14)
    assert energy(A, b, x) <= energy(A, b, theirs) * (1 - 1e-9)  # energies are negative
    assert np.all(np.isfinite(x))


def test_a_subspace_that_holds_the_solution_finds_it():
    one = frame("mini", 1)
    b, x = one.loads[:, 1], one.solve()[:, 1]
    system = equilibrate(one.A)
    right, starts = system.scale * b, np.array([0, one.n])
    V = np.random.default_rng(0).standard_normal((one.n, 4))
    V[:, 2] = x / system.scale + 1e-3 * V[:, 0] * abs(x / system.scale).max()
    for cg in (None, conjugate_gradients(system.A, right, starts, 6)):
        y = system.scale * improve(system.A, right, V, cg)
        assert np.linalg.norm(y - x) < 1e-6 * np.linalg.norm(x)


def test_improve_equals_the_dense_least_squares_in_the_a_norm(rng):
    A = csr_array(random_spd(rng, 40))
    b, V = rng.standard_normal(40), rng.standard_normal((40, 3))
    cg = conjugate_gradients(A, b, np.array([0, 40]), 4)
    Z = np.concatenate([V, cg.directions], axis=1)
    best = Z @ np.linalg.solve(Z.T @ (A @ Z), Z.T @ b)
    np.testing.assert_allclose(improve(A, b, V, cg), best, atol=1e-7 * abs(best).max())


def random_spd(rng, n):
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (Q * np.geomspace(1e-2, 1, n)) @ Q.T


def test_improve_survives_what_networks_put_out(rng):
    A, b = csr_array(random_spd(rng, 30)), rng.standard_normal(30)
    cg = conjugate_gradients(A, b, np.array([0, 30]), 5)
    plain = cg.iterates[:, -1]
    inside = cg.directions[:, :2]
    for V in (
        np.zeros((30, 2)),
        np.full((30, 2), np.nan),
        np.full((30, 3), 1e30),
        np.stack([b, b, b + 1e-9], axis=1),
        inside,
        np.zeros((30, 0)),
    ):
        x = improve(A, b, V, cg)
        assert np.all(np.isfinite(x))
        assert energy(A, b, x) <= energy(A, b, plain) + 1e-12


def test_torch_gains_are_those_of_improve(rng):
    torch = pytest.importorskip("torch")
    from nnla.preconditioners.galerkin import galerkin_gain, inverse_trace

    A, b, V = random_spd(rng, 30), rng.standard_normal(30), rng.standard_normal((30, 3))
    cg = conjugate_gradients(csr_array(A), b, np.array([0, 30]), 4)
    E = V.T @ A @ V
    G = without_directions(E, (A @ V).T @ cg.directions, cg.curvatures[0])
    gain = galerkin_gain(torch.from_numpy(G), torch.from_numpy(V.T @ cg.residual), 0.0)
    # E(x) = x'Ax / 2 - b'x falls by half of r' W (W'AW)^-1 W' r
    fall = energy(A, b, cg.iterates[:, -1]) - energy(A, b, improve(A, b, V, cg))
    assert float(gain) / 2 == pytest.approx(fall, rel=1e-6)
    trace = inverse_trace(torch.from_numpy(E), torch.from_numpy(V.T @ V), 0.0)
    assert float(trace) == pytest.approx(np.trace(np.linalg.solve(E, V.T @ V)), rel=1e-9)


# -- parts


def test_parts_cover_the_matrix_and_hang_together():
    from scipy.sparse.csgraph import connected_components

    A = frame("small", 3).A
    part = partition(A, 125)
    counts = np.bincount(part)
    assert counts.size == round(A.shape[0] / 125)
    assert counts.min() > 0
    for k in range(counts.size):
        mine = np.nonzero(part == k)[0]
        assert connected_components(A[mine][:, mine])[0] == 1
    assert not np.any(partition(A, 0))
    assert partition(csr_array(np.eye(70_00)), 1).max() == 63  # one row each, but no more parts than allowed


def test_parts_permute_with_the_matrix(rng):
    A = frame("mini", 6, style="irregular").A
    order = rng.permutation(A.shape[0])
    np.testing.assert_array_equal(partition(csr_array(A[order][:, order]), 60), partition(A, 60)[order])


def test_split_columns_is_what_its_parts_are(rng):
    V, part = rng.standard_normal((9, 2)), np.array([2, 0, 0, 1, 1, 2, 2, 0, 1])
    W = split_columns(V, part).toarray()
    assert W.shape == (9, 6)
    for k in range(3):
        np.testing.assert_array_equal(W[:, 2 * k : 2 * k + 2], V * (part == k)[:, None])


def test_overlap_smooths_the_cuts():
    """Vectors cut and then smoothed hold more of the smallest eigenvectors than vectors that were only cut."""
    one = frame("mini", 4)
    geometry, b = Geometry(one.dof, one.coordinates), one.loads[:, 1]
    x = one.solve()[:, 1]
    errors = []
    for overlap in (0, 8):
        m = model(3, geometry=True, rigid=True, part=60, overlap=overlap, outputs=8, search="outputs")
        proposal = m.propose(one.A, b, geometry)
        e = proposal.x - x
        errors.append(e @ (one.A @ e) / (b @ x))
        assert proposal.network_products >= m.config.network_products + 8 * overlap
    assert errors[1] < 0.9 * errors[0]


def test_full_and_sparse_subspaces_give_the_same(rng):
    A, b = csr_array(random_spd(rng, 60)), rng.standard_normal(60)
    cg = conjugate_gradients(A, b, np.array([0, 60]), 5)
    W = split_columns(rng.standard_normal((60, 2)), np.arange(60) // 3)  # 5 % stored
    np.testing.assert_allclose(improve(A, b, W, cg), improve(A, b, W.toarray(), cg), atol=1e-9 * abs(b).max())


def test_rigid_motions_leave_a_free_beam_alone():
    """Of a structure without supports they are the null space: here, of members cut out of a frame."""
    one = frame("mini", 4)
    geometry = Geometry(one.dof, one.coordinates)
    R = geometry.rigid_motions(np.zeros(one.n, dtype=int))
    inner = np.nonzero(np.abs(one.A @ R).max(axis=1) <= 1e-6 * np.abs(one.A).max())[0]
    foot = one.coordinates[:, 2].min()
    free = one.coordinates[:, 2] > foot + 1e-6  # the lowest nodes hang on the feet, which were eliminated
    assert np.all(np.isin(np.nonzero(free)[0], inner))
    assert free.any()


# -- invariances


def cases():
    one = frame("mini", 5, style="irregular")
    return one, one.loads[:, 1], Geometry(one.dof, one.coordinates)


@pytest.mark.parametrize("geometric", [False, True])
@pytest.mark.parametrize("part", [0, 60])
def test_permuting_the_system_permutes_the_guess(geometric, part):
    one, b, geometry = cases()
    m, p = model(geometry=geometric, rigid=geometric, part=part), np.random.default_rng(0).permutation(one.n)
    turned = Geometry(geometry.dof[p], geometry.coordinates[p])
    one_way = m.propose(one.A, b, geometry if geometric else None)
    other = m.propose(csr_array(one.A.toarray()[np.ix_(p, p)]), b[p], turned if geometric else None)
    x, W = one_way.x, one_way.W.toarray()
    np.testing.assert_allclose(other.x, x[p], atol=1e-5 * abs(x).max())
    np.testing.assert_allclose(other.W.toarray(), W[p], atol=1e-4 * abs(W).max())


@pytest.mark.parametrize(
    "config", [{}, {"part": 60}, {"part": 60, "overlap": 5}, {"part": 60, "geometry": True, "rigid": True}]
)
def test_proposals_come_with_their_products(config):
    one, b, geometry = cases()
    m = model(**config)
    proposal = m.propose(one.A, b, geometry if m.config.geometry else None)
    AW = one.A @ proposal.W
    np.testing.assert_allclose(proposal.AW.toarray(), AW.toarray(), atol=1e-12 * abs(AW).max())


@pytest.mark.parametrize(("of_A", "of_b"), [(3.7e5, 1.0), (1.0, 2.3e-9), (1e-7, 1e4)])
def test_scaling_the_system_scales_the_guess(of_A, of_b):
    one, b, _ = cases()
    m = model()
    x = m.guess(one.A, b)
    np.testing.assert_allclose(m.guess(of_A * one.A, of_b * b) * of_A / of_b, x, atol=1e-5 * abs(x).max())


def test_diagonal_scaling_of_the_system_changes_little_but_the_size_feature(rng):
    one, _, _ = cases()
    S = np.exp(rng.standard_normal(one.n))
    plain, scaled = equilibrate(one.A), equilibrate(csr_array(S[:, None] * one.A.toarray() * S))
    np.testing.assert_allclose(plain.A.toarray(), scaled.A.toarray(), atol=1e-12)
    np.testing.assert_allclose(equilibrate(one.A).A.diagonal(), 1)


def test_moving_and_magnifying_the_building_changes_no_feature():
    _, _, geometry = cases()
    moved = Geometry(geometry.dof, 2.5 * geometry.coordinates + [10, -20, 3])
    np.testing.assert_allclose(moved.features(), geometry.features(), atol=1e-12)


def test_torch_and_numpy_agree():
    torch = pytest.importorskip("torch")
    one, b, _ = cases()
    m, starts, system = model(smoothing=3), np.array([0, one.n]), equilibrate(one.A)
    right = system.scale * b
    cg = conjugate_gradients(system.A, right, starts, m.config.steps)
    F = plus_features(system.A, system.size, right, starts, cg)
    graphs = Graphs(system.A.astype(np.float32), starts, coarse_levels(system.A, 3))
    parameters = {k: torch.from_numpy(v) for k, v in m.parameters.items()}
    steps = damping(system.A, starts, 3)
    theirs = plus_forward(parameters, graphs.torch(), torch.from_numpy(F), [torch.from_numpy(s) for s in steps])
    np.testing.assert_allclose(theirs.numpy(), plus_forward(m.parameters, graphs, F, steps), atol=5e-5)


def test_smoothing_leaves_the_small_eigenvalues():
    one, _, _ = cases()
    A = equilibrate(one.A).A
    w, Q = np.linalg.eigh(A.toarray())
    V = Q.copy()
    for step in damping(A, np.array([0, one.n]), 8):
        V = V - step * (A @ V)
    factor = np.abs(np.sum(Q * V, axis=0))
    assert np.all(factor[w < 1e-3] > 0.9)
    assert np.all(factor[w > 4 / 81 * 4] < 0.35)


# -- every part can be left out


@pytest.mark.parametrize(
    "config",
    [
        {"coarse": 0},
        {"smoothing": 0},
        {"outputs": 1},
        {"equilibrated": False},
        {"search": "outputs"},
        {"steps": 3},
        {"part": 50},
    ],
)
def test_ablations_run_and_stay_below_zero(config):
    one, b, _ = cases()
    x = model(**config).guess(one.A, b)
    assert energy(one.A, b, x) < 0  # better than x = 0


def test_files_keep_the_guess(tmp_path):
    one, b, _ = cases()
    m = model(coarse=1)
    m.save(tmp_path / "m.safetensors")
    back = NSLSPlus.from_file(tmp_path / "m.safetensors")
    assert back.config == m.config
    np.testing.assert_array_equal(back.guess(one.A, b), m.guess(one.A, b))


def test_no_load_no_displacement():
    one, b, _ = cases()
    proposal = model().propose(one.A, 0 * b)
    assert not np.any(proposal.x)
    assert proposal.W.shape == (one.n, 0)


def test_geometry_is_asked_for_and_checked():
    one, b, geometry = cases()
    with pytest.raises(OptionError, match="with geometry"):
        model(geometry=True).guess(one.A, b)
    with pytest.raises(OptionError, match="without geometry"):
        model().guess(one.A, b, geometry)
    with pytest.raises(ShapeError):
        model(geometry=True).guess(one.A, b, Geometry(geometry.dof[1:], geometry.coordinates))
    with pytest.raises(OptionError, match="0 to 5"):
        model(geometry=True).guess(one.A, b, Geometry(geometry.dof + 1, geometry.coordinates))


def test_indefinite_diagonals_are_refused():
    with pytest.raises(NotPositiveDefiniteError, match="row 1"):
        model().guess(np.diag([1.0, -1.0]), np.ones(2))


@pytest.mark.parametrize(
    "bad",
    [
        {"outputs": 0},
        {"coarse": 4},
        {"coarse": -1},
        {"geometry": 1},
        {"search": "best"},
        {"inner": 2.0},
        {"rigid": True},
    ],
)
def test_bad_configs(bad):
    with pytest.raises(OptionError):
        NSLSPlusConfig(**bad)
