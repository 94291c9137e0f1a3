"""The command line's warm starts and evaluations of guesses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.io import mmwrite

import nnla
from nnla.cli import cli
from nnla.problems.frames import frame


def run(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("guesses")
    one = frame("mini", 20_000_002)
    mmwrite(path / "frame.mtx", one.A.tocoo())
    np.save(path / "b.npy", one.loads[:, 0])
    return path


@pytest.mark.parametrize("name", ["nsls", "nsls-plus", "nsls-plus-algebraic"])
def test_solve_with_a_warm_start(folder, name):
    common = ["solve", folder / "frame.mtx", "--rhs", folder / "b.npy", "--method", "jacobi", "--json"]
    zero, warm = (json.loads(run(*common, *more).stdout) for more in ([], ["--warm-start", name]))
    assert warm["converged"]
    assert warm["warm_start"]["used"]
    if name != "nsls":
        assert warm["iterations"] < zero["iterations"]


def test_the_report_is_shown(folder):
    shown = run("solve", folder / "frame.mtx", "--rhs", folder / "b.npy", "--warm-start", "nsls-plus")
    assert shown.exit_code == 0
    line = next(line for line in shown.stdout.splitlines() if line.startswith("warm start"))
    assert "nsls-plus-geometric, geometry recovered, deflated by" in line


def test_other_matrices_are_solved_without():
    shown = run("solve", "--warm-start", "nsls-plus")  # the built-in power grid
    assert shown.exit_code == 0
    assert "none: see fallback" in shown.stdout
    assert "has seen no matrix like this one" in shown.stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--warm-start", "nsls-minus"], "no model 'nsls-minus'"),
        (["--warm-start", "autospec-cg"], "no model of initial guesses"),
        (["--warm-start", "nsls", "--method", "direct"], "no effect"),
    ],
)
def test_bad_warm_starts(folder, more, message):
    result = run("solve", folder / "frame.mtx", *more)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_eval_of_guesses():
    done = run("eval", "nsls-plus-geometric", "--count", 3, "--json")
    assert done.exit_code == 0
    d = json.loads(done.stdout)
    assert d["count"] == 3
    assert 0 < d["delta"]["median"] < 0.2
    assert d["iterations"]["deflated"][-1] < d["iterations"]["zero"][-1]
    assert "in the A-norm" in run("eval", "nsls-plus-geometric", "--count", 2, "--on", "frames").stdout
    refused = run("eval", "autospec-cg", "--on", "frames")
    assert refused.exit_code == 2
    wrong = run("eval", "nsls-plus-geometric", "--on", "spectra")
    assert wrong.exit_code == 2
    assert "initial guesses" in wrong.stderr


def test_weights_list_them():
    listed = run("weights")
    assert listed.exit_code == 0
    for name in ("nsls-frames", "nsls-plus-algebraic", "nsls-plus-geometric"):
        assert name in listed.stdout
        assert nnla.load(name).task == "initial guesses"
        assert run("weights", name).exit_code == 0
