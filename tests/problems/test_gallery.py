"""Generators: exact symmetry, definiteness, and values known in closed form."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnla.errors import OptionError
from nnla.problems import gallery
from nnla.problems.finite_elements import q1_elasticity


def check_format(A):
    assert isinstance(A, csr_array)
    assert A.dtype == np.float64
    assert A.indices.dtype == np.int32
    assert A.indptr.dtype == np.int32
    for start, stop in zip(A.indptr[:-1], A.indptr[1:], strict=True):
        assert np.all(np.diff(A.indices[start:stop]) > 0)  # sorted, no duplicates
    dense = A.toarray()
    assert np.array_equal(dense, dense.T)
    return dense


def _mesh():
    return gallery.delaunay_mesh(150, holes=((0.5, 0.5, 0.2),), seed=3)


def _fixed_stiffness():
    mesh = _mesh()
    return gallery.eliminate(gallery.p1_stiffness(mesh.points, mesh.triangles), mesh.boundary)


SPD = {
    "poisson1d": lambda: gallery.poisson1d(17),
    "poisson2d": lambda: gallery.poisson2d(7, 5),
    "poisson3d": lambda: gallery.poisson3d(4, 3, 5),
    "wathen": lambda: gallery.wathen(4, 3),
    "diffusion2d": lambda: gallery.diffusion2d(gallery.lognormal_field((9, 8), s=2.0)),
    "diffusion3d": lambda: gallery.diffusion3d(gallery.lognormal_field((5, 4, 3), s=2.0)),
    "jumps": lambda: gallery.diffusion2d(gallery.checkerboard_field((9, 8), blocks=3)),
    "anisotropic": lambda: gallery.diffusion2d(np.ones((6, 7)), weights=(1.0, 100.0)),
    "grid_circuit": lambda: gallery.grid_circuit(9, 8),
    "power_grid": lambda: gallery.power_grid(10, 9),
    "p1_stiffness": _fixed_stiffness,
    "p1_mass": lambda: gallery.p1_mass(*_mesh()[:2]),
    "elasticity2d": lambda: gallery.elasticity2d(5, 4, young=np.linspace(1, 3, 20).reshape(5, 4)),
    "elasticity3d": lambda: gallery.elasticity3d(3, 2, 2),
}


@pytest.mark.parametrize("name", SPD)
def test_exactly_symmetric_and_positive_definite(name):
    dense = check_format(SPD[name]())
    assert np.linalg.eigvalsh(dense)[0] > 0
    np.linalg.cholesky(dense)


@pytest.mark.parametrize("name", SPD)
def test_deterministic(name):
    A, B = SPD[name](), SPD[name]()
    assert np.array_equal(A.indices, B.indices)
    assert np.array_equal(A.data, B.data)


def test_poisson_eigenvalues():
    def line(n):
        return 2 - 2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1))

    sums2 = np.add.outer(line(6), line(4)).ravel()
    np.testing.assert_allclose(np.linalg.eigvalsh(gallery.poisson1d(9).toarray()), line(9), atol=1e-13)
    np.testing.assert_allclose(np.linalg.eigvalsh(gallery.poisson2d(6, 4).toarray()), np.sort(sums2), atol=1e-13)
    sums3 = np.add.outer(sums2, line(3)).ravel()
    np.testing.assert_allclose(np.linalg.eigvalsh(gallery.poisson3d(6, 4, 3).toarray()), np.sort(sums3), atol=1e-13)


def test_poisson_numbers_along_x():
    A = gallery.poisson2d(4, 3)
    assert A[0, 1] == -1
    assert A[3, 4] == 0  # end of one line, start of the next
    assert A[0, 4] == -1


def test_wathen_element_and_size():
    E = 45 * gallery.WATHEN_ELEMENT
    np.testing.assert_allclose(E, E.T)
    np.testing.assert_allclose(E[0], [6, -6, 2, -8, 3, -8, 2, -6])
    np.testing.assert_allclose(E[1], [-6, 32, -6, 20, -8, 16, -8, 20])
    one = gallery.wathen(1, 1, density=[[45.0]]).toarray()
    assert sorted(np.linalg.eigvalsh(one)) == pytest.approx(sorted(np.linalg.eigvalsh(E)))
    A = gallery.wathen(30, 30)
    assert A.shape[0] == 3 * 900 + 4 * 30 + 1
    assert A.nnz == 42781  # as the published wathen_30_30
    # Wathen's bounds for the diagonally scaled matrix hold for every density.
    B = gallery.wathen(5, 6, seed=4).toarray()
    d = 1 / np.sqrt(np.diag(B))
    w = np.linalg.eigvalsh(d[:, None] * B * d)
    assert w[0] >= 0.25 - 1e-12
    assert w[-1] <= 4.5 + 1e-12


def test_diffusion_reduces_to_poisson_and_uses_harmonic_means():
    assert (gallery.diffusion2d(np.ones((5, 6))) - gallery.poisson2d(6, 5)).nnz == 0
    A = gallery.diffusion2d([[1.0, 3.0]]).toarray()
    np.testing.assert_allclose(A, [[1.5 + 1 + 2, -1.5], [-1.5, 1.5 + 3 + 6]])
    B = gallery.diffusion2d(np.full((4, 4), 2.0), weights=(1.0, 10.0))
    assert B[0, 1] == -20
    assert B[0, 4] == -2


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.array([[1.0, np.nan]]), np.ones(3), np.ones((0, 2))])
def test_diffusion_refuses(bad):
    with pytest.raises(OptionError):
        gallery.diffusion2d(bad)


def test_lognormal_field():
    k = gallery.lognormal_field((64, 48), s=1.5, correlation=0.05, seed=1)
    assert k.shape == (64, 48)
    assert np.log(k).mean() == pytest.approx(0, abs=1e-12)
    assert np.log(k).std() == pytest.approx(1.5)
    # At one correlation length the correlation is exp(-1/2), on average over seeds.
    logs = [np.log(gallery.lognormal_field((100, 100), correlation=0.05, seed=s)) for s in range(20)]
    at_length = np.mean([np.mean(g * np.roll(g, 5, axis=0)) for g in logs])
    assert at_length == pytest.approx(np.exp(-0.5), abs=0.05)
    assert np.array_equal(gallery.lognormal_field((4, 4), s=0.0), np.ones((4, 4)))


def test_circuits_row_sums():
    A = gallery.grid_circuit(12, 10, leak=0.5)
    np.testing.assert_allclose(A.sum(axis=1), 0.5, atol=1e-9)
    B = gallery.power_grid(24, 20, supply=100.0, supply_fraction=0.05)
    sums = B.sum(axis=1)
    supplied = sums > 1.0
    assert supplied.sum() == round(0.05 * B.shape[0])
    np.testing.assert_allclose(sums[supplied], 100.0)
    np.testing.assert_allclose(sums[~supplied], 0.0, atol=1e-9)
    assert (B.toarray()[~np.eye(B.shape[0], dtype=bool)] <= 0).all()


def test_p1_is_exact_for_linear_functions():
    mesh = _mesh()
    x, y = mesh.points.T
    K = gallery.p1_stiffness(mesh.points, mesh.triangles)
    np.testing.assert_allclose(K @ np.ones(len(x)), 0, atol=1e-12)
    u = 2 * x - 3 * y
    np.testing.assert_allclose((K @ u)[~mesh.boundary], 0, atol=1e-12)
    M = gallery.p1_mass(mesh.points, mesh.triangles)
    p = mesh.points[mesh.triangles]
    edges = p[:, 1:] - p[:, :1]
    area = 0.5 * np.abs(np.linalg.det(edges)).sum()
    assert M.sum() == pytest.approx(area)
    assert u @ (K @ u) == pytest.approx(13 * area)
    assert np.linalg.matrix_rank(K.toarray()) == len(x) - 1  # connected, no node left over


def test_mesh_covers_the_domain():
    full = gallery.delaunay_mesh(400, seed=5)
    assert gallery.p1_mass(full.points, full.triangles).sum() == pytest.approx(1.0)
    graded = gallery.delaunay_mesh(400, grading=1.5, seed=5)
    assert gallery.p1_mass(graded.points, graded.triangles).sum() == pytest.approx(1.0)
    holed = gallery.delaunay_mesh(2000, holes=((0.5, 0.5, 0.2),), seed=5)
    area = gallery.p1_mass(holed.points, holed.triangles).sum()
    assert area == pytest.approx(1 - np.pi * 0.04, rel=5e-3)
    assert not holed.boundary.all()
    # Euler: a domain with one hole has as many boundary edges as boundary nodes, 2 V - B triangles.
    assert len(holed.triangles) == 2 * len(holed.points) - holed.boundary.sum()


def test_lloyd_sweeps_improve_the_mesh():
    def worst_angle(sweeps):
        mesh = gallery.delaunay_mesh(800, sweeps=sweeps, seed=6)
        p = mesh.points[mesh.triangles]
        a, b = np.roll(p, -1, 1) - p, np.roll(p, 1, 1) - p
        cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        return np.percentile(np.degrees(np.arccos(cosine)).min(axis=1), 5)

    assert worst_angle(6) > worst_angle(0) + 5


def test_eliminate_keeps_symmetry_and_rows():
    A = gallery.poisson1d(5)
    fixed = np.array([True, False, False, True, False])
    small = gallery.eliminate(A, fixed)
    np.testing.assert_array_equal(small.toarray(), A.toarray()[~fixed][:, ~fixed])
    kept = gallery.eliminate(A, fixed, keep_rows=True)
    check_format(kept)
    assert kept[0, 0] == 1
    assert kept[[0], :].nnz == 1
    np.testing.assert_array_equal(kept.toarray()[~fixed][:, ~fixed], small.toarray())


@pytest.mark.parametrize("shape", [(3, 2), (2, 2, 1)])
def test_free_elasticity_has_the_rigid_motions_as_null_space(shape):
    d = len(shape)
    build = gallery.elasticity2d if d == 2 else gallery.elasticity3d
    K = build(*shape, clamped=False).toarray()
    nodes = np.stack([g.ravel() for g in np.indices(tuple(m + 1 for m in shape))], -1).astype(float)
    motions = [np.tile(row, len(nodes)) for row in np.eye(d)]
    for i in range(d):
        for j in range(i):
            u = np.zeros_like(nodes)
            u[:, i], u[:, j] = nodes[:, j], -nodes[:, i]
            motions.append(u.ravel())
    for motion in motions:
        np.testing.assert_allclose(K @ motion, 0, atol=1e-12)
    w = np.linalg.eigvalsh(K)
    assert np.sum(w < 1e-10) == len(motions)


def test_plane_stress_patch():
    """Uniform stretch of a distorted patch stores E e^2 / 2 / (1 - nu^2) an area."""
    points = np.array([[0, 0], [0, 1], [1, 0], [1.3, 1.1]], dtype=float)
    K = q1_elasticity(points, [[0, 1, 2, 3]], young=2.0, poisson=0.25)
    u = np.column_stack([points[:, 0], np.zeros(4)]).ravel()
    area = 0.5 * abs(np.cross([1.3, 1.1, 0], [1, -1, 0])[2])
    assert u @ (K @ u) == pytest.approx(2.0 / (1 - 0.25**2) * area)


def test_public_names_of_the_package():
    import nnla.problems as package

    assert set(package.__all__) == set(package._HOME)
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError):
        _ = package.no_such_name
