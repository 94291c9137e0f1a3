"""Hamiltonians: the real Si2 decoded, the published sizes and row lengths, levels that are known."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh

from nnla.errors import OptionError
from nnla.problems import hamiltonians
from nnla.problems.hamiltonians import STENCIL, Atom, grid_points, hamiltonian


def row_lengths(A):
    return np.diff(A.indptr)


def exactly_symmetric(A: csr_array):
    T = A.T.tocsr()
    T.sort_indices()
    return np.array_equal(A.indices, T.indices) and np.array_equal(A.data, T.data)


def to_and_fro(points):
    """PARSEC's numbering: along each grid line in turn forwards and backwards, the same for lines of a plane."""
    order: list = []
    for i, x in enumerate(np.unique(points[:, 0])):
        plane = points[:, 0] == x
        ys = np.unique(points[plane, 1])
        for y in ys[::-1] if i % 2 else ys:
            line = np.flatnonzero(plane & (points[:, 1] == y))
            order.append(line[::-1] if len(order) % 2 else line)
    return np.concatenate(order)


def in_parsec_order(A):
    points = grid_points(8.0, 0.7, offset=0.5)
    order = to_and_fro(points[(points > 0).all(axis=1)])
    return csr_array(A[order][:, order])


def test_grids_have_the_real_sizes():
    assert len(grid_points(8.0, 0.7, offset=0.5)) == 8 * 769
    assert len(grid_points(8.0, 0.75)) == 5041
    assert len(grid_points(10.0, 0.3)) == 155_331
    assert len(grid_points(15.0, 0.4)) == 221_119


def test_si2_like_has_the_row_lengths_of_si2(real_matrix):
    real, A = csr_array(real_matrix("Si2")), hamiltonians.si2_like()
    assert real.shape == A.shape
    assert real.nnz == A.nnz
    assert np.array_equal(np.sort(row_lengths(real)), np.sort(row_lengths(A)))
    assert np.array_equal(row_lengths(real), row_lengths(in_parsec_order(A)))
    # the pattern, entry by entry
    B = in_parsec_order(A)
    B.sort_indices()
    real.sort_indices()
    assert np.array_equal(real.indices, B.indices)


def test_the_finite_differences_are_those_of_si2(real_matrix):
    """The rest is a smooth diagonal and one rank-one block over 42 points."""
    empty = in_parsec_order(hamiltonian([], 8.0, 0.7, offset=0.5, parity=(1, 1, -1)))
    rest = real_matrix("Si2").toarray() - empty.toarray()
    potential = rest.diagonal().copy()
    np.fill_diagonal(rest, 0.0)
    core = np.flatnonzero((np.abs(rest) > 1e-9).any(axis=1))
    assert core.size == 42
    assert -3.2 < potential.min() < potential.max() < 0
    block = rest[np.ix_(core, core)]
    # Off-diagonal 2 x 2 minors of a rank-one block vanish, whatever its diagonal.
    minors = [
        block[a, c] * block[b, d] - block[a, d] * block[b, c]
        for a, b, c, d in np.random.default_rng(0).permuted(np.tile(np.arange(42), (200, 1)), axis=1)[:, :4]
    ]
    assert np.abs(minors).max() < 1e-12


def test_si2_like_ends_of_the_spectrum():
    values = np.linalg.eigvalsh(hamiltonians.si2_like().toarray())
    assert values[-1] == pytest.approx(41.381, abs=0.01)
    # the real Si2's lowest ones
    assert np.allclose(values[:6], [-0.384, 0.242, 0.316, 0.531, 0.852, 1.070], atol=0.08)


def test_sih4_like():
    A = hamiltonians.sih4_like()
    assert (A.shape[0], A.nnz, row_lengths(A).max()) == (5041, 171_903, 205)
    assert exactly_symmetric(A)
    h = 0.75
    outer = A.diagonal().max()
    assert outer == pytest.approx(-3 * STENCIL[0] / h**2, rel=1e-3)
    lone = row_lengths(A) <= 37
    off = A.tocoo()
    kept = (off.coords[0] != off.coords[1]) & lone[off.coords[0]]
    weights = -np.asarray(STENCIL[1:]) / h**2
    matched = np.isclose(off.data[kept][:, None], weights, rtol=1e-14, atol=0).any(axis=1)
    assert matched.mean() > 0.99
    start = np.random.default_rng(0).standard_normal(5041)
    values = np.sort(eigsh(A, k=5, which="SA", tol=1e-12, ncv=40, v0=start, return_eigenvectors=False))
    assert values[0] == pytest.approx(-0.996, abs=0.03)
    assert np.allclose(values[1:4], -0.62, atol=0.03)  # threefold
    top = eigsh(A, k=1, which="LA", tol=1e-4, v0=np.ones(5041), return_eigenvectors=False)[0]
    assert top == pytest.approx(36.8, abs=0.05)


def test_co_like_at_full_size():
    A = hamiltonians.co_like()
    assert (A.shape[0], A.nnz, row_lengths(A).max(), np.median(row_lengths(A))) == (221_119, 7_666_057, 313, 37)


def test_sio2_like_reduced():
    A = hamiltonians.sio2_like(0.05)
    assert A.shape[0] == pytest.approx(0.05 * 155_331, rel=0.01)
    assert exactly_symmetric(A)
    assert np.median(row_lengths(A)) > 30
    low = eigsh(A, k=1, which="SA", tol=1e-4, v0=np.ones(A.shape[0]), return_eigenvectors=False)[0]
    assert -2.0 < low < -1.0


def test_a_coarser_grid_keeps_the_low_levels():
    def lowest(scale):
        A = hamiltonians.co_like(scale)
        return eigsh(A, k=1, which="SA", tol=1e-4, v0=np.ones(A.shape[0]), return_eigenvectors=False)[0]

    assert lowest(0.1) == pytest.approx(lowest(0.2), rel=0.05)


def test_an_empty_sphere_has_the_levels_of_a_particle_in_it():
    """j_l zeros over R: pi, 4.4934 (three), 5.7635 (five); the staircase boundary costs a few per cent."""
    values = np.linalg.eigvalsh(hamiltonian([], 4.0, 0.52).toarray())
    exact = np.array([np.pi, *[4.4934] * 3, *[5.7635] * 5]) / 4.0
    assert np.allclose(values[:9], exact**2, rtol=0.08)
    assert np.ptp(values[1:4]) < 1e-10  # the grid keeps the threefold level


def test_parities_partition_the_spectrum():
    atoms = [Atom((x, 0.0, 0.0), 2.0, 1.5, core=1.4, projectors=((0, 1.0), (1, -0.5))) for x in (1.0, -1.0)]
    whole = np.linalg.eigvalsh(hamiltonian(atoms, 4.0, 0.9, offset=0.5).toarray())
    parts = [
        np.linalg.eigvalsh(hamiltonian(atoms, 4.0, 0.9, offset=0.5, parity=(a, b, c)).toarray())
        for a in (1, -1)
        for b in (1, -1)
        for c in (1, -1)
    ]
    assert np.allclose(np.sort(np.concatenate(parts)), whole, atol=1e-10)


def test_a_projector_is_a_rank_one_block_of_the_given_strength():
    bare = hamiltonian([Atom((0.0, 0.0, 0.0), 1.0, 1.0)], 4.0, 0.8)
    full = hamiltonian([Atom((0.0, 0.0, 0.0), 1.0, 1.0, core=2.0, projectors=((1, -1.5),))], 4.0, 0.8)
    values = np.linalg.eigvalsh((full - bare).toarray())
    assert np.allclose(values[:3], -1.5)
    assert np.abs(values[3:]).max() < 1e-12


def test_seeds():
    A, B = hamiltonians.sih4_like(seed=3), hamiltonians.sih4_like(seed=3)
    assert np.array_equal(A.data, B.data)
    assert not np.array_equal(A.data, hamiltonians.sih4_like(seed=4).data)
    assert exactly_symmetric(A)
    assert exactly_symmetric(hamiltonians.si2_like(seed=1))
    assert hamiltonians.sio2_like(0.02, seed=1).shape == hamiltonians.sio2_like(0.02).shape


@pytest.mark.parametrize(
    "call",
    [
        lambda: hamiltonian([], 1.0, 2.0),
        lambda: hamiltonian([], 1.0, float("nan")),
        lambda: hamiltonian([], 3.0, 0.5, offset=0.25),
        lambda: hamiltonian([], 3.0, 0.5, parity=(1, 1, 1)),
        lambda: hamiltonian([], 3.0, 0.5, offset=0.5, parity=(1, 1, 0)),
        lambda: hamiltonian([Atom((1.0, 0.0, 0.0), 1.0, 1.0)], 3.0, 0.5, offset=0.5, parity=(1, 1, 1)),
        lambda: hamiltonian([Atom((0.25, 0.25, 0.25), 1.0, 1.0, core=0.1, projectors=((0, 1.0),))], 3.0, 0.5),
        lambda: hamiltonian([Atom((0.0, 0.0, 0.0), 1.0, 1.0, core=1.0, projectors=((3, 1.0),))], 3.0, 0.5),
        lambda: hamiltonians.sio2_like(0.0),
        lambda: hamiltonians.co_like(float("nan")),
    ],
)
def test_refusals(call):
    with pytest.raises(OptionError):
        call()
