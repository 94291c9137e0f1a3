"""The shipped models of dense systems against figures that they have to reach, on systems that no training has drawn.

Bars are looser than the cards' figures (docs/models) by what few systems and another machine's rounding can shift.
"""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.problems import bvp_systems, perturbed

SEED = [20_261_127, 99]


def errors(x, systems):
    return ((x - systems.x) ** 2).sum(axis=1) / (systems.x**2).sum(axis=1)


@pytest.mark.parametrize(("name", "bar"), [("algebraformer-columns", 3e-4), ("algebraformer-operator", 8e-5)])
def test_diffusion(name, bar):
    systems = bvp_systems(200, equation="diffusion", seed=SEED)
    x, report = nnla.load(name).solve(systems.A, systems.b)
    assert ((x - systems.x) ** 2).sum() / (systems.x**2).sum() < bar
    assert np.mean(report.inside) > 0.98


def test_a_network_under_noise_where_nothing_linear_helps():
    systems = bvp_systems(200, equation="mapped", seed=SEED)
    noisy = perturbed(systems.A, "entrywise", 1e-2, seed=SEED)
    x, _ = nnla.load("algebraformer-mapped").solve(noisy, systems.b)
    assert errors(x, systems).mean() < 2.2e-2
    assert errors(np.linalg.solve(noisy, systems.b[..., None])[..., 0], systems).mean() > 0.5


@pytest.mark.parametrize("equation", ["rough", "diffusion", "advection"])
def test_clean_matrices_of_the_projected_families_are_solved_as_they_are(equation):
    systems = bvp_systems(20, equation=equation, seed=SEED)
    x, report = nnla.load("algebraformer-bvp").solve(systems.A, systems.b)
    assert errors(x, systems).max() < 1e-20
    assert all(report.inside)


@pytest.mark.parametrize(
    ("law", "level", "mean"),
    [("entrywise", 1e-2, 1.2e-7), ("entrywise", 1e-1, 1.2e-5), ("heavy", 1e-2, 1.2e-7), ("coloured", 1e-2, 3e-5)],
)
@pytest.mark.parametrize("equation", ["rough", "diffusion", "advection"])
def test_noise_is_taken_out_and_errors_are_as_said(equation, law, level, mean):
    systems = bvp_systems(30, equation=equation, seed=SEED)
    x, report = nnla.load("algebraformer-bvp").solve(perturbed(systems.A, law, level, seed=SEED), systems.b)
    found = errors(x, systems)
    assert all(report.inside)
    assert found.mean() < mean
    ratio = found**0.5 / np.ravel(report.uncertainty)
    assert 0.3 < np.median(ratio) < 1.0
    assert np.mean(ratio < 2.58) > 0.85


def test_another_equation_is_none_of_theirs():
    systems = bvp_systems(40, equation="reaction", seed=SEED)
    reacts = np.abs(systems.c[:, 1:-1]).max(axis=1) > 0
    _, report = nnla.load("algebraformer-bvp").solve(systems.A, systems.b)
    assert not np.asarray(report.inside)[reacts].any()
    _, report = nnla.load("algebraformer-operator").solve(systems.A, systems.b)
    assert np.mean(report.inside) < 0.3


@pytest.mark.parametrize("level", [0.0, 1e-2])
def test_never_sure_and_wrong_on_points_of_another_grid(level):
    """Their errors relative to the nearest of the family are smooth; noise is not."""
    systems = bvp_systems(150, equation="mapped", seed=SEED)
    x, report = nnla.load("algebraformer-bvp").solve(perturbed(systems.A, level=level, seed=SEED), systems.b)
    assert np.mean(report.inside) < 0.03
    with np.errstate(all="ignore"):
        wrong = errors(x, systems) ** 0.5 > 5 * np.ravel(report.uncertainty)
    assert not (wrong & (np.ravel(report.uncertainty) < 1)).any()


def test_sizes_of_the_operators():
    for n in (16, 32, 48, 64):
        systems = bvp_systems(50, equation="diffusion", n=n, seed=SEED)
        x, _ = nnla.load("algebraformer-operator").solve(systems.A, systems.b)
        assert errors(x, systems).mean() < 5e-4, n


@pytest.mark.parametrize("n", [16, 23, 37, 50, 61])
def test_every_size_between_the_ends(n):
    systems = bvp_systems(100, equation="diffusion", n=n, seed=SEED)
    model = nnla.load("algebraformer-sizes")
    x, report = model.solve(systems.A, systems.b)
    assert ((x - systems.x) ** 2).sum() / (systems.x**2).sum() < 1e-2
    assert np.mean(report.inside) > 0.97
    assert model.solve(systems.A[:9], systems.b[:9], refine=True).report.converged
