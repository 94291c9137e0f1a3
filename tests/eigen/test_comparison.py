"""The comparison with others: one judge for all, and nobody waits for ever."""

from __future__ import annotations

import importlib.util
import sys
import types

import numpy as np
import pytest
from scipy.sparse.linalg import eigsh as arpack

import nnla
from nnla.eigen.comparison import PEERS, compare_eigensolvers
from nnla.errors import NotPositiveDefiniteError, OptionError, ShapeError


def by_name(A, k, **options):
    return {row.method: row for row in compare_eigensolvers(A, k, **options)}


def test_every_row_is_judged_alike():
    rows = by_name(nnla.problems.poisson2d(24), 3, which="SA")
    assert list(rows)[:2] == ["scipy sigma, symmetric ordering", "scipy sigma"]
    ours = {"auto", "direct", "autospec", "power", "plain"}
    assert ours | {"arpack", "arpack, same residual", "lobpcg"} <= set(rows)
    for name in (*ours, "arpack", "arpack, same residual", "scipy sigma", "scipy sigma, symmetric ordering"):
        row = rows[name]
        assert row.converged, name
        assert row.residual <= 1.5e-10
        assert row.products > 0 or row.solves > 0
        assert row.missing == 0 or name.startswith("arpack")  # which may well miss copies
        assert 0 < row.asked < 1e-2
        assert row.to_dict()["method"] == name
    assert "counted by inertia" in rows["direct"].note
    assert "sigma = 0" in rows["scipy sigma"].note


def test_who_misses_copies_is_told():
    """A start vector with the symmetry of the problem never sees the odd modes, as a solver may lack copies."""
    A = nnla.problems.poisson2d(12)
    package = types.ModuleType("primme")

    def lacking(A, k, **_):
        w, V = np.linalg.eigh(np.column_stack([A @ e for e in np.eye(144)]))
        kept = [0, 1, *range(3, 144)][:k]  # the second and third eigenvalues are equal
        return w[kept], V[:, kept]

    package.eigsh = lacking
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "primme", package)
        rows = by_name(A, 5, methods=["direct", "primme", "scipy sigma"])
    assert rows["primme"].converged
    assert rows["primme"].missing == 1
    assert rows["direct"].missing == rows["scipy sigma"].missing == 0


def test_a_package_is_asked_for_what_it_understands():
    A = nnla.problems.poisson2d(12)
    package, asked = types.ModuleType("primme"), []

    def eigsh(operator, k, **options):
        asked.append(options)
        return arpack(A, k=k, sigma=0)

    package.eigsh = eigsh
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "primme", package)
        rows = by_name(A, 3, methods=["direct", "primme", "primme, amg"])
        assert rows["primme"].converged
        by_name(A, 3, which="LA", methods=["primme"])
        patch.setattr(package, "eigsh", lambda *_, **__: 1 / 0)
        failed = by_name(A, 3, methods=["primme"])["primme"]
    assert asked[0]["which"] == "SA"
    assert asked[0]["tol"] == 1e-10
    assert "OPinv" not in asked[0]
    if importlib.util.find_spec("pyamg") is not None:
        assert asked[1]["OPinv"].shape == A.shape
    assert asked[-1]["which"] == "LA"
    assert not failed.converged
    assert "division" in failed.note


def test_ctrl_c_in_a_callback_is_not_swallowed():
    A = nnla.problems.poisson2d(12)
    package = types.ModuleType("primme")

    def eigsh(operator, k, **_):
        def interrupt(*_):
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr("nnla.eigen.peers.multiply", interrupt)
            try:
                operator @ np.ones(144)
            except BaseException:  # as a library in C does
                raise RuntimeError("a callback failed") from None

    package.eigsh = eigsh
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "primme", package)
        with pytest.raises(KeyboardInterrupt):
            compare_eigensolvers(A, 2, methods=["direct", "primme"])


def test_without_the_packages_their_rows_are_absent(monkeypatch):
    for name in ("pyamg", "primme", "slepc4py"):
        monkeypatch.setitem(sys.modules, name, None)
    rows = by_name(nnla.problems.poisson2d(10), 2, methods=PEERS)
    assert set(rows) == {
        "scipy sigma, symmetric ordering", "scipy sigma", "arpack", "arpack, same residual", "lobpcg"
    }  # fmt: skip


def test_multigrid_makes_lobpcg_quick():
    pytest.importorskip("pyamg")
    rows = by_name(nnla.problems.poisson2d(40), 4, methods=["direct", "lobpcg, amg", "lobpcg"])
    assert rows["lobpcg, amg"].residual < 1e-9
    assert rows["lobpcg, amg"].missing == 0
    assert 3 * rows["lobpcg, amg"].products < rows["lobpcg"].products


def test_a_singular_matrix_is_shifted_a_little_below_zero():
    A = nnla.problems.elasticity2d(8, 5, clamped=False)
    rows = by_name(A, 5, methods=["direct", "scipy sigma"])
    assert "sigma = -" in rows["scipy sigma"].note
    assert rows["scipy sigma"].converged
    assert rows["scipy sigma"].missing == 0


def test_an_indefinite_matrix_has_no_shift_that_one_would_know():
    A = nnla.problems.poisson2d(10) - 3.0 * np.eye(100)
    assert "scipy sigma" not in by_name(A, 3)


def test_a_solver_that_takes_too_long_is_stopped():
    A = nnla.problems.poisson2d(60)
    rows = compare_eigensolvers(A, 6, methods=["direct", "arpack"], patience=0.2)
    assert not rows[1].converged
    assert "stopped" in rows[1].note
    assert np.isnan(rows[1].residual)
    assert rows[1].missing is None


def test_a_factor_that_would_take_too_long_is_left_out(monkeypatch):
    monkeypatch.setattr("nnla.eigen.peers._SPEED", 1.0)
    monkeypatch.setattr("nnla.eigen.comparison._definite", lambda *_: True)
    rows = by_name(nnla.problems.poisson2d(20), 2, methods=["direct", "scipy sigma, symmetric ordering"])
    row = rows["scipy sigma, symmetric ordering"]
    assert not row.converged
    assert "left out" in row.note


def test_largest_eigenvalues_of_an_operator_known_by_products():
    from scipy.sparse.linalg import LinearOperator

    A = nnla.problems.poisson2d(15)
    black = LinearOperator(A.shape, matvec=lambda v: A @ v, dtype=np.float64)
    rows = compare_eigensolvers(black, 2, which="LA", methods=["autospec", "direct", "arpack", "scipy sigma"])
    assert [row.method for row in rows] == ["autospec", "arpack"]  # the others need entries
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


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_any_unit(unit):
    rows = by_name(unit * nnla.problems.poisson2d(12), 3, methods=["direct", "scipy sigma", "arpack"])
    assert rows["direct"].converged
    assert rows["direct"].missing == 0


@pytest.fixture(scope="module")
def pencil():
    mesh = nnla.problems.delaunay_mesh(60)
    K = nnla.problems.p1_stiffness(mesh.points, mesh.triangles)
    M = nnla.problems.p1_mass(mesh.points, mesh.triangles)
    return K, M


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"sigma": 50.0},
        {"sigma": 50.0, "which": "LA"},
        {"sigma": 50.0, "which": "BE"},
        {"sigma": -1.0},
        {"which": "LA"},
        {"sigma": 50.0, "mode": "cayley"},
    ],
)
def test_pencils(pencil, question):
    K, M = pencil
    rows = by_name(K, 3, M=M, **question)
    assert {"auto", "direct"} <= set(rows)
    assert ("scipy sigma" in rows) == (question != {"which": "LA"})
    assert ("lobpcg" in rows) == (question in ({}, {"which": "LA"}, {"sigma": -1.0}))
    for name in ("auto", "scipy sigma"):
        if name in rows:
            assert rows[name].missing == 0, name
            assert rows[name].residual < 1e-8
    assert rows["auto"].converged


@pytest.mark.parametrize("question", [{"which": "BE"}, {"which": "LM"}, {"which": "SM"}, {"sigma": 2.0}])
def test_other_ends_and_shifts(question):
    rows = by_name(nnla.problems.poisson2d(9), 3, **question)
    for name in ("auto", "arpack", "scipy sigma"):
        if name in rows:
            assert rows[name].converged, name
            assert rows[name].missing == 0 or name == "arpack"
    assert ("scipy sigma" in rows) == ("sigma" in question or question["which"] == "SM")


def test_buckling(pencil):
    K, M = pencil
    rows = by_name(M, 2, M=K, sigma=0.02, mode="buckling", methods=["auto", "scipy sigma"])
    assert rows["scipy sigma"].missing == rows["auto"].missing == 0
    assert rows["scipy sigma"].converged


def test_a_bad_question_is_an_error_and_no_table(pencil):
    K, M = pencil
    for bad, error in (
        ({"M": np.eye(3)}, ShapeError),
        ({"sigma": np.nan}, OptionError),
        ({"which": "smallest"}, OptionError),
        ({"methods": ["magic"]}, OptionError),
        ({"M": -M}, NotPositiveDefiniteError),
    ):
        with pytest.raises(error):
            compare_eigensolvers(K, 2, **bad)
