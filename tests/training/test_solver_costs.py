"""Training of the engine for the costs of solvers: rows to arrays, what is known of them, loss, resume, folds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnla.errors import FileFormatError, OptionError
from nnla.krylov.step_features import STEP_FEATURES
from nnla.models.solver_costs import FAILURES, TARGETS, SolverCostEngine
from nnla.operators.features import STRUCTURE_FEATURES
from nnla.training.config import load_recipe
from nnla.training.solver_cost_data import RTOLS, SolverRuns, fold_numbers, read_runs, runs_from_rows
from nnla.training.solver_cost_figures import area_under_curve, temperatures

torch = pytest.importorskip("torch")

SMALL = ["data.folds=2", "model.hidden=8", "model.members=2", "optim.batch=16", "optim.log_every=4"]


def row(i: int, **changes):
    """A line as reproduce/auto_data.py writes it, of costs that follow from the features."""
    rng = np.random.default_rng(i)
    x = rng.standard_normal(len(STRUCTURE_FEATURES))
    n = int(np.exp(8 + x[0]))
    base = np.exp(4 + 0.5 * x[1])
    counts = {str(rtol): int(base * np.log(2 / rtol)) for rtol in RTOLS}
    run = {"iterations": counts, "stopped": counts["1e-10"], "status": "converged", "failed": 0}
    run |= {"setup_seconds": 1e-8 * n, "step_seconds": 1e-9 * n}
    made = {
        "turn": 0, "family": f"family {i % 6}", "kind": f"kind {i % 6 // 2}", "n": n, "nnz": 5 * n,
        "features": [None if k == 30 else float(v) for k, v in enumerate(x)],
        "steps": {str(k): list(np.append(np.log(k), x[1 : len(STEP_FEATURES)])) for k in (4, 8, 16)[: 1 + i % 3]},
        "jacobi": dict(run), "ic": dict(run), "amg": {"failed": None},
        "autospec": run | {"iterations": {"1e-08": counts["1e-08"] // 10}},
        "direct": {"failed": 0, "flops": 50 * n, "entries": 9 * n, "complete": True, "order_seconds": 1e-7 * n,
                   "factor_seconds": 2e-8 * n, "substitution_seconds": 1e-8 * n},
    }  # fmt: skip
    return made | changes


def test_rows_become_what_is_known():
    stopped = {"1e-4": 0, "0.0001": 100, "1e-06": None, "1e-08": None, "1e-10": None}
    lines = [
        row(0, jacobi=row(0)["jacobi"] | {"iterations": stopped, "stopped": 500, "status": "maxiter"}),
        row(1, ic=row(1)["ic"] | {"iterations": stopped, "stopped": 500, "status": "stagnation", "failed": 1}),
        row(2, ic={"failed": 1, "why": "NotPositiveDefiniteError"}, direct={"failed": 1}),
        {"family": "family 3", "error": "MemoryError"},
    ]
    del lines[2]["autospec"]  # nobody would have tried
    runs = runs_from_rows(lines)
    assert np.isnan(runs.failed[2, :, FAILURES.index("autospec")]).all()
    assert len(runs) == 3
    jacobi, ic = (TARGETS.index(f"{m}.iterations") for m in ("jacobi", "ic"))
    np.testing.assert_allclose(runs.labels[0, :, jacobi], np.log([100, 500, 500, 500]))
    assert runs.capped[0, :, jacobi].tolist() == [False, True, True, True]
    assert runs.failed[0, :, FAILURES.index("jacobi")].tolist() == [0, 0, 0, 0]
    assert np.isfinite(runs.labels[1, :, ic]).tolist() == [True, False, False, False]
    assert runs.failed[1, :, FAILURES.index("ic")].tolist() == [0, 1, 1, 1]
    assert not runs.capped[1].any()
    assert np.all(runs.failed[2, :, FAILURES.index("ic")] == 1)
    assert np.isnan(runs.failed[:, :, FAILURES.index("amg")]).all()
    assert np.isnan(runs.labels[2, :, TARGETS.index("factor.seconds")]).all()
    assert np.isnan(runs.structure[:, 30]).all()
    assert np.isfinite(runs.steps).all(axis=2).sum(axis=1).tolist() == [1, 2, 3]
    # the polynomial ran to 1e-8 alone
    outer = runs.labels[1, :, TARGETS.index("autospec.iterations")]
    np.testing.assert_allclose(outer - outer[2], (runs.labels[1] - runs.labels[1, 2])[:, jacobi])


def test_kinds_stay_together():
    kinds = np.array(["a"] * 7 + ["b"] * 4 + ["c"] * 3 + ["d"])
    fold = fold_numbers(kinds, 2)
    assert all(len(set(fold[kinds == kind])) == 1 for kind in "abcd")
    assert sorted(np.bincount(fold)) == [7, 8]


def test_files_are_read_and_damage_is_named(tmp_path):
    lines = [json.dumps(row(i)) for i in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines[:2]) + '\n{"family": "cut o')
    (tmp_path / "b.jsonl").write_text("\n".join(lines[2:]))
    runs = read_runs(tmp_path)
    assert len(runs) == 4
    runs.save(tmp_path / "kept.npz")
    np.testing.assert_array_equal(SolverRuns.load(tmp_path / "kept.npz").labels, runs.labels)
    assert runs.take([2, 0]).sizes.tolist() == runs.sizes[[2, 0]].tolist()
    for text, error in (("{\n" + lines[0], "line 1"), ('{"family": 3}', "a line is not one"), ("", "has no runs")):
        (tmp_path / "c.jsonl").write_text(text)
        with pytest.raises((FileFormatError, OptionError), match=error):
            read_runs(tmp_path / "c.jsonl")
    with pytest.raises(OptionError, match="cannot be read"):
        read_runs(tmp_path / "nowhere.jsonl")


def test_the_loss_knows_lower_bounds_and_what_is_not_known():
    from nnla.training.solver_costs import cost_loss

    T, P = len(TARGETS), len(FAILURES)
    labels, capped = torch.full((1, T), torch.nan), torch.zeros(1, T)
    failed, offset = torch.full((1, P), torch.nan), torch.zeros(T)
    out = torch.zeros(1, 2 * T + P, requires_grad=True)

    def value():
        return float(cost_loss(out, labels, capped, failed, offset).detach())

    assert value() == 0.0
    labels[0, 0] = 2.0  # mean 0, sigma 1
    assert value() == pytest.approx(2.0)
    capped[0, 0] = 1.0  # more than two standard deviations above
    assert value() == pytest.approx(-np.log(0.0227501), rel=1e-5)
    failed[0, 1] = 1.0
    assert value() == pytest.approx(-np.log(0.0227501) + np.log(2), rel=1e-5)
    cost_loss(out, labels, capped, failed, offset).backward()
    assert out.grad is not None
    assert int((out.grad != 0).sum()) == 3  # its mean, its sigma, one logit


def test_the_spread_is_corrected_on_what_was_held_out():
    rng = np.random.default_rng(0)
    shape = (4000, len(TARGETS))
    found = {"mean": np.zeros(shape), "std": np.full(shape, 0.5), "capped": np.zeros(shape, dtype=bool)}
    factors = temperatures(found | {"labels": rng.standard_normal(shape)})
    np.testing.assert_allclose(factors, 2.0, rtol=0.05)
    assert area_under_curve(np.array([0.3, 0.1, 0.2, 0.4]), np.array([1.0, 0.0, 0.0, 0.0])) == pytest.approx(2 / 3)


def test_an_interrupted_run_continues_to_the_same_weights(resumes, tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row(i)) for i in range(90)))
    data = [f"data.path={tmp_path / 'rows.jsonl'}", "optim.checkpoint_every=4", "optim.steps=8"]
    path = resumes(load_recipe("auto-costs", [*SMALL, *data]), 5)
    engine = SolverCostEngine.from_file(path)
    assert engine.card["systems"] == 90
    assert engine.envelope["n"][0] >= 50
    # the linear part knows what follows from the features, on kinds that were held out
    assert engine.card["spread"]["graph"]["direct.flops"] < 0.5
    folds = json.loads((path.parent / "folds" / "folds.json").read_text())["folds"]
    assert sorted(folds) == [f"family {i}" for i in range(6)]
    held = SolverCostEngine.from_file(path.parent / "folds" / "fold-0.safetensors")
    assert not np.array_equal(held.parameters["a.skip"], engine.parameters["a.skip"])


def test_a_recipe_that_cannot_be_is_refused(tmp_path):
    from nnla.training.solver_costs import SolverCostTask

    with pytest.raises(OptionError, match=r"data\.folds"):
        SolverCostTask(load_recipe("auto-costs", ["data.folds=1"]))
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row(i)) for i in range(12)))
    task = SolverCostTask(load_recipe("auto-costs", [f"data.path={tmp_path / 'rows.jsonl'}", "data.folds=4"]))
    with pytest.raises(OptionError, match="too few"):
        task.prepare(tmp_path, lambda *_: None)
