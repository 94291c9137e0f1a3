"""Models of dense systems measured, shown, checked and described, on toys."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nnla
from nnla.cli.evaluations import show_dense_solutions
from nnla.errors import OptionError
from nnla.evaluation.cards import DENSE_SOLUTIONS
from nnla.evaluation.dense_models import LEVELS, evaluate_on_bvp, squared_errors
from nnla.problems.bvp import EQUATIONS, bvp_systems


@pytest.fixture(scope="module")
def matrices():
    return bvp_systems(40, n=12, seed=1).A


def test_figures_of_errors():
    exact = np.array([[3.0, 4.0], [0.0, 1.0]])
    found = squared_errors(exact + np.array([[0.0, 1.0], [2.0, 0.0]]), exact)
    assert found == {"mse": 1.25, "relative_mse": 5 / 26, "median": pytest.approx((1 / 25 + 4) / 2)}
    assert squared_errors(np.full((2, 2), np.nan), exact)["mse"] == np.inf
    assert squared_errors((exact + 1).astype(np.float32), exact)["mse"] == 1.0


def test_an_exact_model_has_no_error_and_needs_no_refinement(dense_engine, matrices):
    model = dense_engine("exact", matrices, envelope={"equations": "rough, advection"})
    found = nnla.evaluate.evaluate_model(model, count=8)
    assert (found["model"], found["family"], found["n"], found["count"]) == ("exact", "bvp", 12, 8)
    assert found["trained_on"] == ["rough", "advection"]
    assert list(found["equations"])[:2] == ["rough", "advection"]
    assert set(found["equations"]) == set(EQUATIONS)
    assert found["unsolved"] == 0
    for figures in found["equations"].values():
        assert figures["relative_mse"] < 1e-20
        assert figures["refined"]["count"] == figures["refined"]["verified"] == 8
        assert figures["refined"]["fallbacks"] == 0
        assert figures["outside"] is None
        assert 1e-16 < figures["lu_float32"] < 1e-4
    assert list(found["noise"]) == [f"{level:g}" for level in LEVELS]
    for figures in found["noise"].values():  # which is LU, too
        assert figures["model"] == pytest.approx(figures["lu"], rel=1e-6)
    assert list(found["sizes"]) == ["12"]
    json.dumps(found)


def test_the_same_seed_gives_the_same_figures(dense_engine, matrices):
    model = dense_engine("linear", matrices)
    one, again, other = (evaluate_on_bvp(model, count=6, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one["equations"]["diffusion"]["mse"] != other["equations"]["diffusion"]["mse"]
    assert one["trained_on"] == ["diffusion"]


def test_progress_is_told(dense_engine, matrices):
    said = []
    evaluate_on_bvp(dense_engine("linear", matrices), count=2, progress=lambda *step: said.append(step))
    assert [done for _, done, _ in said] == list(range(said[0][2]))


def test_options_without_effect_are_refused(dense_engine, matrices):
    model = dense_engine("linear", matrices)
    with pytest.raises(OptionError, match="degree has no effect"):
        nnla.evaluate.evaluate_model(model, degree=5)
    with pytest.raises(OptionError, match="'bvp'"):
        nnla.evaluate.evaluate_model(model, "suite")


def test_figures_are_shown_and_described(dense_engine, matrices, capsys):
    model = dense_engine("linear", matrices)
    found = nnla.evaluate.evaluate_model(model, count=4)
    show_dense_solutions(found | {"sizes": {"8": 0.25, "12": 0.5}, "unsolved": 2})
    text = capsys.readouterr().out
    for words in ("diffusion", "mapped", "LU float32", "by size: 8: 0.25", "0.001", "2 systems were not solved"):
        assert words in text
    card = {"measured": DENSE_SOLUTIONS.measure(model, 4, True)}
    text = "\n".join(DENSE_SOLUTIONS.lines(card))
    assert "| diffusion |" in text
    assert "| mapped (not trained on) |" in text
    assert "| unknown |" in text
    assert "| LU |" in text
    more = "\n".join(DENSE_SOLUTIONS.lines({"measured": card["measured"] | {"sizes": {"8": 0.25, "12": 0.5}}}))
    assert "| n | 8 | 12 |" in more


@pytest.mark.parametrize("kind", ["linear", "nonlinear", "exact"])
def test_sound_models_pass_the_check(dense_engine, matrices, kind):
    assert nnla.checks.check_model(dense_engine(kind, matrices), trials=5) == []


def test_the_check_finds_what_is_wrong(dense_engine, matrices):
    def wrong(answer, linear=False):
        model = dense_engine("linear" if linear else "nonlinear", matrices)
        type(model).answer = answer
        return nnla.checks.check_model(model, trials=2)

    rng = np.random.default_rng(0)
    assert "two calls differ" in wrong(lambda self, A, b: b * rng.random())
    assert any("linear is said" in message for message in wrong(lambda self, A, b: b * abs(b), linear=True))
    assert any("batch" in message for message in wrong(lambda self, A, b: b * len(b)))
