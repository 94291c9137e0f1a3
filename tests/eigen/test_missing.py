"""Who lacks what: copies counted, ends, both ends, neighbours of a shift."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.eigen.missing import best_known, count_missing, ranks


def test_copies_are_counted():
    assert count_missing([0.0, 1.0, 1.0], [0.0, 1.0, 1.0], 1e-9) == 0
    assert count_missing([0.0, 1.0, 2.0], [0.0, 1.0, 1.0], 1e-9) == 1
    assert count_missing([1.0, 0.0], [0.0, 1.0, 1.0], 1e-9) == 1
    assert count_missing([], [0.0, 0.0], 1e-9) == 2
    assert count_missing([5.0], [], 1e-9) == 0
    assert count_missing([1.0 + 1e-10, 1.0 - 1e-10], [1.0, 1.0], 1e-9) == 0


@pytest.mark.parametrize(
    ("which", "sigma", "mode"),
    [
        ("SA", None, "normal"),
        ("LA", None, "normal"),
        ("LM", None, "normal"),
        ("SM", None, "normal"),
        ("BE", None, "normal"),
        ("LM", 0.3, "normal"),
        ("SM", 0.3, "normal"),
        ("LM", 0.3, "buckling"),
        ("LM", 0.3, "cayley"),
    ],
)
def test_the_complete_answer_is_the_best(which, sigma, mode):
    rng = np.random.default_rng(0)
    spectrum = np.repeat(rng.standard_normal(12), 2)  # every eigenvalue twice
    k = 6
    if which == "BE":
        ordered = np.sort(spectrum)
        complete, lacking = np.r_[ordered[:3], ordered[-3:]], np.r_[ordered[:3], ordered[-4:-1]]
    else:
        order = np.argsort(ranks(spectrum, which, sigma, mode), kind="stable")
        complete, lacking = spectrum[order[:k]], spectrum[np.r_[order[: k - 1], order[k + 1]]]
    noise = 1e-12 * rng.standard_normal(k)
    for answers in ([lacking, complete], [complete, lacking], [complete, complete + noise, lacking]):
        np.testing.assert_allclose(best_known(answers, k, which, sigma, mode), np.sort(complete), atol=1e-10)
    assert count_missing(lacking, complete, 1e-6) == 1


def test_neighbours_on_both_sides_at_the_same_distance_are_two():
    left_first, right_first = np.array([0.5 - 1e-14, 1.5]), np.array([0.5, 1.5 - 1e-14])
    assert best_known([left_first, right_first], 2, "LM", 1.0).tolist() == left_first.tolist()
