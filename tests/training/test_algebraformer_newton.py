"""Training of Newton steps: batched runs are those of `newton_lp`, batches are seeded, resume."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.extensions.lp_newton import newton_lp
from nnla.models.algebraformer_newton import NewtonStepConfig, NewtonStepEngine
from nnla.problems.lp_families import lp_problems
from nnla.training.algebraformer_newton import NewtonStepTask, _Runs, random_family
from nnla.training.batches import as_tensors
from nnla.training.config import load_recipe

torch = pytest.importorskip("torch")

SMALL = ["data.held_out=1", "data.follow=2", "optim.batch=2", "optim.log_every=2", "optim.checkpoint_every=4"]


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_batched_runs_are_the_runs_of_newton_lp(rng, p):
    given = list(lp_problems(3, m=120, n=8, p=p))
    parameters = {k: 0.1 * rng.standard_normal(v) for k, v in NewtonStepConfig().shapes().items()}
    engine = NewtonStepEngine(NewtonStepConfig(), parameters, {})
    batch = {
        "basis": given[0].design.basis,
        "target": np.array([q.target for q in given]),
        "eps": np.array([[q.eps] for q in given]),
        "p": np.array([p]),
    }
    run = _Runs(as_tensors(batch), 1)
    tensors = {k: torch.from_numpy(v) for k, v in parameters.items()}
    sizes = [run.size.numpy()[:, 0]]
    for _ in range(4):
        run.go(run.direction(tensors))
        sizes.append(run.size.numpy()[:, 0])
    for k, problem in enumerate(given):
        report = newton_lp(problem, step=engine, gtol=1e-12, maxiter=4).report
        count = min(len(report.gradients), 5)
        assert report.exact_steps == 0
        np.testing.assert_allclose([s[k] for s in sizes[:count]], report.gradients[:count], rtol=1e-5, atol=1e-11)


def test_batches_are_a_function_of_their_number():
    task = NewtonStepTask(load_recipe("algebraformer-newton", SMALL))
    one, two, other = task.batch(3), task.batch(3), task.batch(4)
    for key in one:
        np.testing.assert_array_equal(one[key], two[key])
    assert one["basis"].shape != other["basis"].shape or not np.array_equal(one["basis"], other["basis"])
    sizes = {q.shape for seed in range(20) for q in random_family(np.random.default_rng(seed), 1)}
    assert len(sizes) > 15
    assert all(m >= 5 * n for m, n in sizes)


def test_the_loss_falls_on_a_batch(descend):
    task = NewtonStepTask(load_recipe("algebraformer-newton", [*SMALL, "data.follow=1"]))
    losses = descend(task, 0, {"row", "common", "constant"}, 0.02)
    assert losses[-1] < losses[0] - 0.02


def test_an_interrupted_run_continues_to_the_same_weights(resumes):
    path = resumes(load_recipe("algebraformer-newton", [*SMALL, "optim.steps=8"]), 5)
    engine = NewtonStepEngine.from_file(path)
    assert engine.envelope["p"] == [1.2, 4.0]
