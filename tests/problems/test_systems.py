"""The generated families: definite, exactly symmetric, a function of the seed, and different for another one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import cholesky

from nnla.errors import OptionError
from nnla.problems import SYSTEM_FAMILIES, LinearSystem, linear_system


def sizes(family: str) -> int:
    return max(120, SYSTEM_FAMILIES[family].smallest)


@pytest.mark.parametrize("family", SYSTEM_FAMILIES)
def test_definite_canonical_and_of_about_the_size(family: str):
    n = sizes(family)
    for seed in (0, 1):
        system = linear_system(family, n, seed=seed)
        A, b = system.A, system.b
        assert isinstance(system, LinearSystem)
        assert system.family == family
        assert A.has_canonical_format
        assert A.dtype == np.float64
        assert A.indices.dtype == A.indptr.dtype == np.int32
        assert n / 3 <= A.shape[0] <= 3 * n
        assert b.shape == (A.shape[0],)
        assert b.dtype == np.float64
        assert np.all(np.isfinite(b))
        assert b.any()
        dense = A.toarray()
        assert np.array_equal(dense, dense.T)
        scale = 1.0 / np.sqrt(dense.diagonal())
        cholesky(dense * scale[:, None] * scale)
        assert abs(b).max() < 1e100
        assert system.parameters["order"] in SYSTEM_FAMILIES[family].orders


@pytest.mark.parametrize("family", SYSTEM_FAMILIES)
def test_a_function_of_the_seed(family: str):
    first, again, other = (linear_system(family, sizes(family), seed=seed) for seed in (2, 2, 3))
    assert np.array_equal(first.A.indices, again.A.indices)
    assert np.array_equal(first.A.data, again.A.data)
    assert np.array_equal(first.b, again.b)
    assert first.parameters == again.parameters
    assert first.A.shape != other.A.shape or first.A.nnz != other.A.nnz or np.any(first.A.data != other.A.data)


def test_every_family_says_what_it_is_and_where_from():
    for name, family in SYSTEM_FAMILIES.items():
        assert min(len(family.about), len(family.source)) > 20, name
        assert family.kind
        assert 50 <= family.smallest < family.largest <= 1_000_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing", 100, 0), "unknown family"),
        ((3, 100, 0), "unknown family"),
        (("line", 2, 0), "out of range"),
        (("line", 1e3, 0), "out of range"),
        (("line", 10**9, 0), "out of range"),
        (("line", 100, -1), "seed"),
        (("line", 100, True), "seed"),
        (("line", 100, 0.5), "seed"),
    ],
)
def test_bad_input_is_named(arguments: tuple, words: str):
    family, n, seed = arguments
    with pytest.raises(OptionError, match=words):
        linear_system(family, n, seed=seed)
