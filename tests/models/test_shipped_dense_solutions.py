"""The shipped models of dense systems, used as a person would."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.sparse.linalg import gmres

import nnla
from nnla.cli import cli
from nnla.errors import NNLAError, OptionError
from nnla.models.algebraformer_projected import ProjectedEngine
from nnla.problems.bvp import bvp_systems

NAMES = [name for name in sorted(nnla.weights()) if nnla.load(name).task == "dense solutions"]


def solves_exactly(model):
    """Matrices without noise, and those of no family, are taken as they are, and solved by LU."""
    return isinstance(model, ProjectedEngine)


def first_equation(model):
    return model.card["envelope"]["equations"].split(",")[0]


@pytest.fixture(params=NAMES)
def model(request):
    return nnla.load(request.param)


def test_they_keep_the_rules(model):
    assert nnla.checks.check_model(model, trials=min(4, len(model.sizes))) == []


def test_answers_are_verified_when_refined(model):
    n = model.sizes[-1]
    systems = bvp_systems(16, equation=first_equation(model), n=n, seed=20_261_127)
    b = systems.b[:, :, None]
    guess, report = model.solve(systems.A, b)
    assert report.outside <= 1
    assert report.status == ("converged" if solves_exactly(model) else "guessed")
    assert np.linalg.norm(guess[..., 0] - systems.x) < 0.2 * np.linalg.norm(systems.x)
    x, report = model.solve(systems.A, b, refine=True)
    assert report.converged
    assert report.fallbacks <= 2  # by LU
    assert np.median(report.iteration_counts) <= 18
    assert np.allclose(x[..., 0], systems.x, rtol=0, atol=1e-8)
    M = model.aspreconditioner(systems.A[0])
    counted = []
    x, info = gmres(
        systems.A[0], systems.b[0], x0=model.guess(systems.A[0], systems.b[0]), M=M, rtol=1e-8,
        callback=counted.append, callback_type="pr_norm",
    )  # fmt: skip
    assert info == 0
    assert len(counted) <= 40


def test_what_they_have_not_seen_is_said_and_solved(model):
    n = model.sizes[-1]
    rng = np.random.default_rng(0)
    A = np.stack([rng.standard_normal((n, n)), np.eye(n), -bvp_systems(1, n=n, seed=3).A[0]])
    b = rng.standard_normal((3, n))
    report = model.solve(A, b).report
    assert report.inside[0] is False
    assert report.verified == [solves_exactly(model)] * 3
    x, report = model.solve(A, b, refine=True)
    assert report.converged
    assert np.allclose(np.einsum("bij,bj->bi", A, x), b, atol=1e-8)
    singular = np.ones((n, n))
    assert model.solve(singular, b[0], refine=True).report.status == "singular"


def test_bad_input_is_named(model):
    n, absent = model.sizes[-1], next(k for k in range(2, 2000) if k not in model.sizes)
    A, b = np.eye(n), np.ones(n)
    with pytest.raises(OptionError, match=f"n = {absent}"):
        model.solve(np.eye(absent), np.ones(absent))
    for wrong in ((A * np.nan, b), (A * 1j, b), (A[:, 1:], b), (A, b[1:]), ([A, A[1:, 1:]], [b, b[1:]]), (A > 0, b)):
        with pytest.raises(NNLAError):
            model.solve(*wrong, refine=True)
    assert model.solve(A.astype(int), b.astype(int), refine=True).report.converged
    assert model.solve(A.astype(np.float16), b.astype(np.float16), refine=True).x.dtype == np.float32


def test_tensors(model):
    torch = pytest.importorskip("torch")
    systems = bvp_systems(3, n=model.sizes[0], seed=5)
    x, report = model.solve(torch.from_numpy(systems.A), torch.from_numpy(systems.b), refine=True)
    assert report.converged
    assert np.allclose(x.numpy(), systems.x, atol=1e-8)


@pytest.mark.parametrize("name", NAMES[:1])
def test_the_command(name):
    done = CliRunner().invoke(cli, ["eval", name, "--count", "2", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["unsolved"] == 0
    assert set(found["equations"]) >= {"diffusion", "rough"}
    shown = CliRunner().invoke(cli, ["eval", name, "--count", "1"])
    assert "relative MSE" in shown.stdout
