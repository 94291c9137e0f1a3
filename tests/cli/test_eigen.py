"""``nnla eig``: output, files, exit codes."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import scipy.io
import scipy.linalg
from click.testing import CliRunner

import nnla
from nnla.cli import cli


@pytest.fixture
def matrix(tmp_path):
    path = tmp_path / "A.mtx"
    scipy.io.mmwrite(path, nnla.problems.poisson2d(20).tocoo(), symmetry="symmetric")
    return str(path)


def run(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


def test_a_table_for_people(matrix):
    result = run("eig", matrix, "-k", "3", "--method", "autospec")
    assert result.exit_code == 0
    assert "eigenvalue" in result.stdout
    assert "converged" in result.stdout
    assert "restarts" in result.stdout


def test_json_is_one_object(matrix, tmp_path):
    out = tmp_path / "V.npy"
    result = run("eig", matrix, "-k", "4", "--which", "LA", "--json", "--out", str(out))
    data = json.loads(result.stdout)
    assert data["converged"] is True
    A = nnla.problems.poisson2d(20).toarray()
    np.testing.assert_allclose(data["eigenvalues"], np.linalg.eigvalsh(A)[-4:], rtol=1e-9)
    V = np.load(out)
    assert V.shape == (400, 4)
    np.testing.assert_allclose(A @ V, V * data["eigenvalues"], atol=1e-7)


def test_a_comparison(matrix):
    data = json.loads(run("eig", matrix, "-k", "2", "--compare", "--json").stdout)
    assert {"autospec", "arpack", "power"} <= {row["method"] for row in data["comparison"]}
    assert "products" in run("eig", matrix, "-k", "2", "--compare").stdout


def test_exit_codes(matrix, tmp_path):
    assert run("eig", matrix, "-k", "3", "--method", "plain", "--maxiter", "1").exit_code == 1
    for bad in (
        ("eig", matrix, "-k", "4000"),
        ("eig", matrix, "--which", "smallest"),
        ("eig", matrix, "--mode", "buckling"),
        ("eig", matrix, "--sigma", "nan"),
        ("eig", matrix, "--mass", str(tmp_path / "none.mtx")),
        ("eig", matrix, "--method", "magic"),
        ("eig", str(tmp_path / "none.mtx")),
        ("eig", matrix, "--out", str(tmp_path / "V.txt")),
        ("eig", matrix, "--tol", "-1"),
    ):
        result = run(*bad)
        assert result.exit_code == 2, bad
        assert "Traceback" not in result.output


def test_an_indefinite_matrix_is_fine_and_an_unsymmetric_one_is_not(tmp_path):
    path = tmp_path / "B.mtx"
    scipy.io.mmwrite(path, np.diag([-2.0, 0.0, 1.0, 5.0]))
    assert json.loads(run("eig", str(path), "-k", "2", "--json").stdout)["eigenvalues"] == pytest.approx([-2.0, 0.0])
    scipy.io.mmwrite(path, np.array([[1.0, 2.0], [0.0, 1.0]]))
    assert run("eig", str(path), "-k", "1").exit_code == 2


@pytest.fixture
def nodes(tmp_path):
    path = tmp_path / "nodes.txt"
    np.savetxt(path, np.stack(np.indices((20, 20)), axis=-1).reshape(-1, 2))
    return str(path)


def test_pictures(matrix, nodes, tmp_path):
    pytest.importorskip("matplotlib")
    plot, modes = tmp_path / "s.png", tmp_path / "m.svg"
    result = run("eig", matrix, "-k", "4", "--plot", plot, "--modes", modes, "--coordinates", nodes, "--json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert (data["plot"], data["modes"]) == (str(plot), str(modes))
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in modes.read_bytes()
    assert str(plot) in run("eig", matrix, "-k", "1", "--plot", plot).stdout


def test_pictures_that_cannot_be_drawn_are_refused_before_any_work(matrix, nodes, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("computed before the options were checked")

    monkeypatch.setattr("nnla.eigen.eigsh", never)
    few, square, picture = tmp_path / "few.npy", tmp_path / "square.npy", str(tmp_path / "m.png")
    np.save(few, np.ones((399, 2)))
    np.save(square, np.ones((3, 3)))
    for bad in (
        ("--modes", picture),
        ("--coordinates", nodes),
        ("--modes", picture, "--coordinates", str(few)),
        ("--modes", str(tmp_path / "m.txt"), "--coordinates", nodes),
        ("--modes", picture, "--plot", picture, "--coordinates", nodes),
        ("--plot", str(tmp_path / "none" / "s.png")),
        ("--mass", str(few)),
        ("--mass", str(square)),
    ):
        result = run("eig", matrix, *bad)
        assert result.exit_code == 2, bad
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("nnla: error: ")
    assert not (tmp_path / "m.png").exists()


def test_pictures_without_matplotlib(matrix, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("eig", matrix, "--plot", str(tmp_path / "s.png"))
    assert result.exit_code == 2
    assert "nnla[plot]" in result.stderr


@pytest.fixture
def vibration(tmp_path):
    """Files of K, M and the nodes of a small membrane."""
    mesh = nnla.problems.delaunay_mesh(60)
    matrices = {
        "K": nnla.problems.p1_stiffness(mesh.points, mesh.triangles),
        "M": nnla.problems.p1_mass(mesh.points, mesh.triangles),
    }
    for name, A in matrices.items():
        scipy.io.mmwrite(tmp_path / f"{name}.mtx", A.tocoo(), symmetry="symmetric", precision=17)
    np.save(tmp_path / "nodes.npy", mesh.points)
    w = scipy.linalg.eigh(matrices["K"].toarray(), matrices["M"].toarray(), eigvals_only=True)
    return tmp_path / "K.mtx", tmp_path / "M.mtx", tmp_path / "nodes.npy", w


def test_mass_and_shift(vibration, tmp_path):
    K, M, nodes, w = vibration
    data = json.loads(run("eig", K, "--mass", M, "-k", "4", "--json").stdout)
    np.testing.assert_allclose(data["eigenvalues"], w[:4], rtol=1e-8, atol=1e-8)
    assert data["mass"] == str(M)
    shown = run("eig", K, "--mass", M, "-k", "3", "--sigma", "50").stdout
    assert "LM, shift 50" in shown
    assert "sqrt(l) / 2 pi" in shown
    data = json.loads(run("eig", K, "--mass", M, "-k", "3", "--sigma", "50", "--json").stdout)
    nearest = w[np.sort(np.argsort(np.abs(w - 50))[:3])]
    np.testing.assert_allclose(data["eigenvalues"], nearest, rtol=1e-8)
    pytest.importorskip("matplotlib")
    pictures = tmp_path / "s.png", tmp_path / "m.png"
    options = ("--plot", pictures[0], "--modes", pictures[1], "--coordinates", nodes)
    assert run("eig", K, "--mass", M, "-k", "3", *options).exit_code == 0
    assert all(path.stat().st_size > 1000 for path in pictures)


def test_which_and_mode(matrix, vibration):
    w = np.linalg.eigvalsh(nnla.problems.poisson2d(20).toarray())
    data = json.loads(run("eig", matrix, "--which", "BE", "-k", "3", "--json").stdout)
    np.testing.assert_allclose(data["eigenvalues"], w[[0, -2, -1]], rtol=1e-9)
    K, M, _, w = vibration
    # the mass matrix, which is definite, in the part of the stiffness of a buckling problem
    data = json.loads(run("eig", M, "--mass", K, "--mode", "buckling", "--sigma", "0.02", "-k", "2", "--json").stdout)
    x = 1 / w[1:]
    wanted = np.argsort(np.abs(x / (x - 0.02)))[-2:]
    np.testing.assert_allclose(data["eigenvalues"], np.sort(x[wanted]), rtol=1e-8)


def test_what_does_not_go_together_is_one_line(matrix, vibration):
    K, M, *_ = vibration
    for bad in (
        (matrix, "--sigma", "1", "--method", "plain"),
        (matrix, "--sigma", "1", "--degree", "5"),
        (matrix, "--mass", M),
        (K, "--mass", K, "--sigma", "1"),
        (K, "--mass", M, "--mode", "cayley", "--sigma", "0"),
    ):
        result = run("eig", *bad, "-k", "2")
        assert result.exit_code == 2, bad
        assert result.stderr.count("\n") == 1
    assert run("eig", K, "--mass", M, "--compare", "-k", "2").exit_code == 0
