"""What is measured of models of dense matrix functions, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import nnla
from nnla.cli.evaluations import show_matrix_functions
from nnla.evaluation.cards import card_text
from nnla.evaluation.matrix_function_models import errors, evaluate_matrix_functions, matrix_function_lines
from nnla.models.matrix_functions import MatrixFunctionEngine
from nnla.problems import function_reference
from nnla.tasks import resolve, task_of


@dataclass(frozen=True)
class Nothing:
    number: int = 1

    def shapes(self):
        return {"factor": (self.number,)}


class Exact(MatrixFunctionEngine):
    """The function itself, times a factor."""

    name, functions, sizes, symmetric, equivariant = "exact", ("exp", "sign", "sqrt"), (2, 3), True, True

    def answer(self, A, f):
        return self.parameters["factor"][0] * function_reference(A, f)


class Fixed(Exact):
    """Does not turn with its matrix, and answers by chance."""

    name = "fixed"

    def answer(self, A, f):
        noise = np.random.default_rng().random(A.shape)
        return Exact.answer(self, A, f) * (1 + 0.01 * np.arange(A.shape[-1]) + noise)


def model(kind=Exact, factor=1.0, **card):
    return kind(Nothing(), {"factor": np.array([factor])}, card)


def test_shares_medians_and_gaps():
    found = nnla.evaluate.evaluate_model(model(factor=1.015), count=40)
    row = found["functions"]["exp"]["3"]["wigner"]
    assert row["within"] == [1.0, 1.0, 0.0, 0.0]
    assert row["median"] == pytest.approx(0.015, rel=1e-6)
    assert found["equivariance"] < 1e-10
    gaps = found["functions"]["sign"]["3"]["gapped"]["by_gap"]
    assert gaps[0] == [0.1, 40, 1.0]
    assert sum(some for _, some, _ in found["functions"]["sign"]["2"]["symmetric"]["by_gap"]) == 40
    assert found == nnla.evaluate.evaluate_model(model(factor=1.015), count=40) | {
        "microseconds": found["microseconds"]
    }


def test_the_family_of_the_training_comes_first(capsys):
    drawn = {"exp": {"family": "wigner", "scale": 1.0}, "sqrt": {"family": "definite", "floor": 0.5, "scale": 2.0}}
    found = evaluate_matrix_functions(model(drawn=drawn), count=5)
    assert next(iter(found["functions"]["exp"]["2"])) == "wigner, as trained"
    assert next(iter(found["functions"]["sqrt"]["2"])) == "definite, as trained"
    text = "\n".join(matrix_function_lines({"measured": found}))
    assert "definite, as trained" in text
    show_matrix_functions({"model": "exact", **found})
    assert "by the gap" in capsys.readouterr().out


def test_answers_that_are_declined_count_as_wrong():
    found = errors(np.full((2, 2, 2), np.nan), np.ones((2, 2, 2)))
    assert np.isinf(found).all()


def test_what_is_asked_of_a_model():
    assert nnla.checks.check_model(model(), trials=6) == []
    assert nnla.checks.check_model(model(factor=1.5), trials=3) == []  # wrong, and found out by nnla.matfun
    said = nnla.checks.check_model(model(Fixed), trials=3)
    assert "two calls differ" in said
    assert "the answer does not turn with A" in said


def test_the_card():
    found = evaluate_matrix_functions(model(), count=3)
    card = {"command": "c", "cpu_seconds": 1, "hardware": "h", "date": "d"}
    card["measured"] = found | {"command": "c", "date": "d"}
    section = resolve(task_of(model()).card or "")
    text = card_text("exact", {"file": "f", "sha256": "s", "card": card}, 10, section)
    assert "| sqrt | 3 | definite |" in text


def test_a_model_of_general_matrices_sees_general_families():
    general = model()
    general.symmetric = general.equivariant = False
    found = evaluate_matrix_functions(general, count=3)
    assert "rate" in found["functions"]["exp"]["3"]
    assert found["equivariance"] is None
