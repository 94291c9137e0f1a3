"""Random regressions: seeded, of unit norm, refused at once where they cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.problems.lp_families import LAWS, lp_problems


def test_problems_are_seeded_and_of_unit_norm():
    one, two = (list(lp_problems(3, m=50, n=4, seed=7)) for _ in range(2))
    assert one[0].design is one[2].design
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.design.columns, b.design.columns)
        np.testing.assert_array_equal(a.target, b.target)
        assert a.unit * np.linalg.norm(a.target) == pytest.approx(1.0)
    A = one[0].design.columns * one[0].design.norms * one[0].design.largest
    assert np.linalg.norm(A) == pytest.approx(1.0)
    assert not np.array_equal(one[0].target, one[1].target)
    shorter = next(iter(lp_problems(1, m=50, n=4, seed=7)))
    np.testing.assert_array_equal(shorter.target, one[0].target)
    other = list(lp_problems(2, m=50, n=4, fixed=False))
    assert not np.array_equal(other[0].design.columns, other[1].design.columns)
    for law in LAWS:
        assert all(np.isfinite(q.target).all() for q in lp_problems(2, m=50, n=4, law=law))


def test_a_generator_refuses_at_once():
    for options in ({"m": 3}, {"n": 0}, {"law": "other"}, {"seed": -1}, {"m": 2.5}, {"law": None}):
        with pytest.raises(OptionError):
            lp_problems(1, **options)
    with pytest.raises(OptionError, match="count"):
        lp_problems(-1)
