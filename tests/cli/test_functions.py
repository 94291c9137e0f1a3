"""``nnla fun``: output, files, exit codes."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from scipy.io import mmread, mmwrite

from nnla import problems
from nnla.cli import cli


def run(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("fun")
    A = problems.poisson2d(12)
    mmwrite(path / "A.mtx", A, symmetry="symmetric")
    mmwrite(path / "indefinite.mtx", sp.coo_array(A - 3 * sp.eye_array(144)), symmetry="symmetric")
    np.save(path / "v.npy", np.arange(144.0))
    return path


def test_json_and_file(folder):
    result = run("fun", folder / "A.mtx", "--f", "inv_sqrt", "--times", "random", "--json", "--out", folder / "y.npy")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["converged"]
    assert report["f"] == "inv_sqrt"
    assert report["n"] == 144
    A, v = problems.poisson2d(12).toarray(), np.random.default_rng(0).standard_normal(144)
    y = np.load(folder / "y.npy")
    w, Q = np.linalg.eigh(A)
    assert np.allclose(y, Q @ (w**-0.5 * (Q.T @ v)), rtol=1e-5)


def test_text_and_matrix_market_output(folder):
    result = run("fun", folder / "A.mtx", "--f", "exp", "--times", folder / "v.npy", "--out", folder / "y.mtx")
    assert result.exit_code == 0, result.output
    assert "converged: estimated relative error" in result.stdout
    assert mmread(folder / "y.mtx").shape == (144, 1)
    block = run("fun", folder / "A.mtx", "--columns", 3, "--method", "lanczos", "--json")
    assert json.loads(block.stdout)["columns"] == 3


def test_exit_code_1_where_the_tolerance_is_missed(folder):
    result = run("fun", folder / "A.mtx", "--method", "chebyshev", "--degree", 5, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "degree"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("A.mtx", "--f", "cosh"), "cosh"),
        (("missing.mtx",), "missing.mtx"),
        (("A.mtx", "--times", "missing.npy"), "missing.npy"),
        (("indefinite.mtx", "--f", "log"), "eigenvalue"),
        (("A.mtx", "--rtol", "0"), "rtol"),
        (("A.mtx", "--out", "y.txt"), "y.txt"),
        (("A.mtx", "--times", "ones", "--columns", "2"), "columns"),
        (("A.mtx", "--method", "magic"), "magic"),
    ],
)
def test_exit_code_2_for_bad_input(folder, arguments, word):
    resolved = [folder / a if a.endswith((".mtx", ".npy", ".txt")) else a for a in arguments]
    result = run("fun", *resolved)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("nnla: error: ")
    assert word in result.stderr
    assert result.stderr.count("\n") == 1


def test_indefinite_is_fine_for_sign(folder):
    assert run("fun", folder / "indefinite.mtx", "--f", "sign", "--times", "ones").exit_code == 0
