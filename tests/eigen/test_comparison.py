"""The comparison with SciPy: one judge for all, and nobody waits for ever."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.eigen.comparison import compare_eigensolvers


def test_every_row_is_judged_alike():
    A = nnla.problems.poisson2d(24)
    rows = {row.method: row for row in compare_eigensolvers(A, 3, which="SA")}
    assert {"autospec", "power", "plain", "direct", "auto", "arpack", "lobpcg"} <= set(rows)
    for name in ("autospec", "direct", "auto", "arpack", "arpack, same residual"):
        assert rows[name].converged, name
        assert rows[name].residual <= 1.5e-10
        assert rows[name].products > 0
        assert rows[name].to_dict()["method"] == name


def test_a_solver_that_takes_too_long_is_stopped():
    A = nnla.problems.poisson2d(60)
    rows = compare_eigensolvers(A, 6, methods=["direct", "arpack"], patience=0.2)
    assert not rows[1].converged
    assert "stopped" in rows[1].note
    assert np.isnan(rows[1].residual)


def test_largest_eigenvalues_of_an_operator_known_by_products():
    from scipy.sparse.linalg import LinearOperator

    A = nnla.problems.poisson2d(15)
    black = LinearOperator(A.shape, matvec=lambda v: A @ v, dtype=np.float64)
    rows = compare_eigensolvers(black, 2, which="LA", methods=["autospec", "direct", "arpack"])
    assert [row.method for row in rows] == ["autospec", "arpack"]  # direct needs entries
    assert all(row.converged for row in rows)


def test_progress_is_told():
    told = []
    compare_eigensolvers(
        nnla.problems.poisson2d(10), 1, methods=["direct", "plain"], progress=lambda *event: told.append(event)
    )
    assert told == [("direct", 0, 2), ("plain", 1, 2)]


@pytest.mark.parametrize("tol", [1e-6, 1e-10])
def test_the_tolerance_reaches_everyone(tol):
    rows = compare_eigensolvers(nnla.problems.poisson2d(20), 2, tol=tol, methods=["autospec", "arpack, same residual"])
    for row in rows:
        assert row.residual <= 1.5 * tol
