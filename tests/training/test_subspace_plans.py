"""Training of the engine for plans of the subspace method: runs on virtual spectra, examples, resume."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.eigen.filtered_subspace import SubspacePlan, solve_subspace
from nnla.models.subspace_plans import PLANS, SubspacePlanConfig, SubspacePlanEngine
from nnla.operators.operator import as_operator
from nnla.problems import poisson3d
from nnla.training.config import load_recipe
from nnla.training.subspace_plans import plan_counts, plan_examples

torch = pytest.importorskip("torch")


def test_a_run_on_weighted_nodes_takes_what_the_operator_takes():
    """The spectrum of a grid, its far part in bins of many eigenvalues, against the grid itself."""
    A, k = poisson3d(9, 10, 11), 5
    lam = np.sort(np.add.outer(np.add.outer(*(_line(m) for m in (9, 10))), _line(11)).ravel())
    width, edge = lam[-1] - lam[0], lam[0]
    bins = [part.mean() for part in np.array_split(lam[90:], 120)]
    nodes = (np.concatenate([lam[:90], bins]) - edge) / width
    weight = np.concatenate([np.ones(90), np.full(120, 900 / 120)])
    for plan in (SubspacePlan(), SubspacePlan(4, 300.0, 40)):
        logs, ended = plan_counts(nodes, weight, k, 1e-9, plan, 0)
        found = solve_subspace(
            as_operator(A), k, -1.0, 1e-9 * width, np.random.default_rng(0), floor=1e-9 * width, plan=plan
        )
        assert ended
        assert found.converged
        true = np.array([found.products / (k + 1), found.filterings, found.flops / (990 * (k + 1))])
        assert np.abs(logs - np.log(true)).max() < 0.35


def _line(m):
    return 2 - 2 * np.cos(np.pi * np.arange(1, m + 1) / (m + 1))


def test_examples_are_a_function_of_their_arguments():
    first, second = (plan_examples(3, 0, 2, every=False) for _ in range(2))
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    config = SubspacePlanConfig()
    rows = len(first["n"])
    assert 2 <= rows <= 2 * 5 * 6
    assert first["features"].shape == first["first"].shape == (rows, config.features)
    assert first["labels"].shape == first["first_labels"].shape == (rows, 3)
    assert all(np.all(np.isfinite(value)) for value in first.values())


def test_an_interrupted_run_continues_to_the_same_weights(resumes):
    small = ["data.spectra=3", "data.held_out=1", "optim.batch=8", "optim.log_every=2", "optim.checkpoint_every=4"]
    path = resumes(load_recipe("subspace-plans", [*small, "optim.steps=8"]), 5)
    assert SubspacePlanEngine.from_file(path).envelope["k"][0] >= 2


def test_the_usual_plan_is_among_the_plans():
    assert PLANS.index(SubspacePlan()) >= 0
    assert len(set(PLANS)) == len(PLANS)
