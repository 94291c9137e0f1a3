"""Who lacks what: copies counted, ends, both ends, neighbours of a shift."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.eigen.missing import best_known, count_lacking
from nnla.eigen.wanted import Wanted


def test_copies_are_counted():
    assert count_lacking([0.0, 1.0, 1.0], [0.0, 1.0, 1.0], 1e-9) == 0
    assert count_lacking([0.0, 1.0, 2.0], [0.0, 1.0, 1.0], 1e-9) == 1
    assert count_lacking([1.0, 0.0], [0.0, 1.0, 1.0], 1e-9) == 1
    assert count_lacking([], [0.0, 0.0], 1e-9) == 2
    assert count_lacking([5.0], [], 1e-9) == 0
    assert count_lacking([1.0 + 1e-10, 1.0 - 1e-10], [1.0, 1.0], 1e-9) == 0


@pytest.mark.parametrize(
    "question",
    [
        ("SA",), ("LA",), ("LM",), ("SM",), ("BE",), ("LM", 0.3), ("SM", 0.3), ("SA", 0.3), ("LA", 0.3), ("BE", 0.3),
        ("LM", 0.3, "buckling"), ("LM", 0.3, "cayley"),
    ],
)  # fmt: skip
def test_the_best_of_all_answers(question):
    rng = np.random.default_rng(0)
    spectrum = np.repeat(np.sort(rng.standard_normal(12)), 2)  # every eigenvalue twice
    which, *shift = question
    wanted = Wanted(which, 6, *shift)
    complete = spectrum[wanted.choose(1 / spectrum if wanted.exchanged else spectrum)]
    values, copies = np.unique(complete, return_counts=True)
    assert np.any(copies == 2)
    for value in values[copies == 2]:
        rest = np.delete(spectrum, np.flatnonzero(spectrum == value)[0])  # what one sees who misses a copy
        lacking = rest[wanted.choose(1 / rest if wanted.exchanged else rest)]
        assert count_lacking(lacking, complete, 1e-6) == 1
        noise = 1e-12 * rng.standard_normal(6)
        for answers in ([lacking, complete], [complete, lacking], [complete, complete + noise, lacking]):
            np.testing.assert_allclose(best_known(answers, wanted, 1e-9), np.sort(complete), atol=1e-10)


def test_neighbours_on_both_sides_at_the_same_distance_are_two():
    left_first, right_first = np.array([0.5 - 1e-14, 1.5]), np.array([0.5, 1.5 - 1e-14])
    found = best_known([left_first, right_first], Wanted("LM", 2, 1.0), 1e-9)
    np.testing.assert_allclose(found, [0.5, 1.5])


def test_no_answer_or_too_few_values():
    assert best_known([np.empty(0)], Wanted("SA", 2), 0.0).size == 0
    assert best_known([np.array([3.0]), np.array([1.0])], Wanted("SA", 3), 0.0).tolist() == [1.0, 3.0]
