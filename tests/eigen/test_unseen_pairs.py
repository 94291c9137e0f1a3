"""Looking for eigenpairs beside those found: `nnla.eigen.unseen_pairs`."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from nnla.eigen.filtered_subspace import solve_subspace
from nnla.eigen.unseen_pairs import unseen_pairs
from nnla.errors import ShapeError
from nnla.operators.operator import as_operator
from nnla.problems import poisson2d, poisson3d

TOL = 1e-9


def look(A, rows, level, orientation=-1.0, cut=None, seed=1, **options):
    op = as_operator(A, definite=False)
    w = np.linalg.eigvalsh(A.toarray() if sp.issparse(A) else A)
    beyond = w[-1] if orientation < 0 else w[0]
    cut = level - orientation * 0.05 * (w[-1] - w[0]) if cut is None else cut
    seen = unseen_pairs(
        op, rows, level, orientation, TOL, np.random.default_rng(seed), cut=cut, far=beyond, floor=1e-13, **options
    )
    assert seen.products == op.products
    return seen


def eigen(A, orientation=-1.0):
    """All pairs, wanted ones first, vectors as rows."""
    w, Q = np.linalg.eigh(A.toarray() if sp.issparse(A) else A)
    return (w, Q.T) if orientation < 0 else (w[::-1], Q.T[::-1])


@pytest.mark.parametrize("orientation", [-1.0, 1.0])
@pytest.mark.parametrize("k", [1, 5, 12])
def test_nothing_is_missing(orientation, k):
    A = poisson3d(7, 8, 9)
    w, Q = eigen(A, orientation)
    seen = look(A, Q[:k], w[k - 1], orientation)
    assert seen.settled
    assert seen.better == 0
    assert np.abs(seen.values - np.sort(w[:k])).max() < TOL
    assert abs(seen.next_value - w[k]) < 0.1 * abs(w[k] - w[k - 1]) + TOL


@pytest.mark.parametrize("orientation", [-1.0, 1.0])
@pytest.mark.parametrize("missing", [[0], [3], [1, 2, 4]])
def test_what_is_missing_comes_up(orientation, missing):
    A = poisson3d(7, 8, 9)
    w, Q = eigen(A, orientation)
    rows = np.delete(np.arange(10), missing)
    seen = look(A, Q[rows], w[9], orientation)
    assert seen.better > 0
    assert seen.residuals.max() < TOL
    assert np.abs(seen.values - np.sort(w[: len(rows)])).max() < TOL


def test_copies_that_a_krylov_space_does_not_hold():
    """Eight identical components, of each eigenvalue some copies only."""
    A = sp.csr_array(sp.block_diag([poisson2d(9, 10)] * 8))
    op = as_operator(A)
    w, Q = eigen(A)
    seen = unseen_pairs(op, Q[[0, 1, 2, 8, 9]], w[9], -1.0, TOL, np.random.default_rng(0), cut=w[20], far=w[-1])
    assert seen.better > 0
    assert np.abs(seen.values - w[0]).max() < TOL


def test_a_level_within_a_multiplet():
    """One copy of a threefold eigenvalue was wanted: the others are not better, and that takes all digits to tell."""
    A = poisson3d(8)
    w, Q = eigen(A)
    assert w[3] - w[1] < 1e-12
    seen = look(A, Q[:2], w[1])
    assert seen.settled
    assert seen.better == 0
    assert abs(seen.next_value - w[1]) < TOL


@pytest.mark.parametrize("seed", range(5))
def test_after_a_search(seed):
    A = poisson3d(9)
    op, rng = as_operator(A), np.random.default_rng(seed)
    found = solve_subspace(op, 10, -1.0, TOL, rng)
    cut, far = found.interval
    seen = unseen_pairs(op, found.vectors.T, found.values[-1], -1.0, TOL, rng, cut=cut, far=far)
    assert seen.settled
    assert seen.better == 0
    assert seen.products < 0.7 * found.products


@pytest.mark.parametrize("n", [2, 9, 30])
def test_small_matrices(n):
    A = np.diag(np.arange(1.0, n + 1)) + 0.1
    w, Q = eigen(A)
    for j in {1, n // 2, n - 1}:
        seen = look(A, Q[:j], w[j - 1])
        assert seen.settled
        assert seen.better == 0
        missed = look(A, Q[1 : j + 1], w[j])
        assert missed.better == 1
        assert np.abs(missed.values - w[:j]).max() < TOL


def test_it_ends_where_it_may_not_go_on():
    A = poisson3d(9)
    w, Q = eigen(A)
    seen = look(A, Q[:4], w[3], cut=w[5], maxiter=1)
    assert seen.filterings == 1
    assert not seen.settled


def test_no_room():
    with pytest.raises(ShapeError, match="nothing to look for"):
        look(np.eye(3), np.eye(3), 1.0, cut=2.0)
