"""``nnla eig``: output, files, exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner

import nnla
from nnla.cli import cli


@pytest.fixture
def matrix(tmp_path):
    path = tmp_path / "A.mtx"
    scipy.io.mmwrite(path, nnla.problems.poisson2d(20).tocoo(), symmetry="symmetric")
    return str(path)


def run(*args):
    return CliRunner().invoke(cli, args)


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
        ("eig", matrix, "--which", "LM"),
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
