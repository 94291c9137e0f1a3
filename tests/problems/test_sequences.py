"""The generated sequences: definite, exactly symmetric, a function of the seed, and what each of them claims to be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.linalg import cholesky

from nnla.errors import OptionError
from nnla.problems import SEQUENCE_FAMILIES, system_sequence
from nnla.problems.sequences_types import answer

N = 150


def run(family: str, steps: int = 6, seed: int = 0, n: int = N) -> list:
    return list(system_sequence(family, n, steps, seed=seed))


@pytest.mark.parametrize("family", SEQUENCE_FAMILIES)
def test_definite_canonical_and_of_about_the_size(family: str):
    systems = run(family, 7)
    assert len(systems) == 7
    for A, b in systems:
        assert A.has_canonical_format
        assert A.dtype == b.dtype == np.float64
        assert A.indices.dtype == A.indptr.dtype == np.int32
        assert b.shape == (A.shape[0],)
        assert np.all(np.isfinite(b))
        assert b.any()
        dense = A.toarray()
        assert np.array_equal(dense, dense.T)
        scale = 1.0 / np.sqrt(dense.diagonal())
        cholesky(dense * scale[:, None] * scale)
        assert np.linalg.norm(b - A @ answer(A, b)) <= 1e-9 * np.linalg.norm(b)
    assert N / 2 <= systems[-1][0].shape[0] <= 2 * N


@pytest.mark.parametrize("family", SEQUENCE_FAMILIES)
def test_a_function_of_the_seed_and_nothing_is_changed_later(family: str):
    kept = [(A, b, A.data.copy(), b.copy()) for A, b in system_sequence(family, N, 4, seed=2)]
    for A, b, values, right in kept:
        assert np.array_equal(A.data, values)
        assert np.array_equal(b, right)
    again, other = run(family, 4, 2), run(family, 4, 3)
    assert all(
        np.array_equal(A.data, C.data) and np.array_equal(b, d) for (A, b, *_), (C, d) in zip(kept, again, strict=True)
    )
    first, second = kept[-1][0], other[-1][0]
    assert first.shape != second.shape or first.nnz != second.nnz or np.any(first.data != second.data)


@pytest.mark.parametrize("family", SEQUENCE_FAMILIES)
def test_what_changes_is_what_the_table_says(family: str):
    systems = run(family, 8, seed=1)
    pairs = list(itertools.pairwise(systems))
    changes = SEQUENCE_FAMILIES[family].changes
    same = [A is C for (A, _), (C, _) in pairs]
    pattern = [A.nnz == C.nnz and np.array_equal(A.indices, C.indices) for (A, _), (C, _) in pairs]
    right = [np.array_equal(b, d) for (_, b), (_, d) in pairs]
    assert all(same) == (changes == "right-hand side")
    assert changes == "pattern" or all(pattern)
    assert all(right) == (changes == "values") or family == "contingencies"
    assert not any(np.array_equal(A.data, C.data) for k, ((A, _), (C, _)) in enumerate(pairs) if not same[k])


def test_every_family_says_what_it_is_and_where_from():
    for name, family in SEQUENCE_FAMILIES.items():
        assert min(len(family.about), len(family.source)) > 20, name
        assert family.kind
        assert 50 <= family.smallest < family.largest <= 1_000_000


def test_newton_converges():
    norms = [float(np.linalg.norm(b)) for _, b in run("newton duct", 6)]
    last = int(np.argmin(norms))
    assert last >= 2
    assert norms[last] < 1e-3 * norms[0]


def test_a_design_gets_stiffer():
    compliance = [float(b @ answer(K, b)) for K, b in run("topology optimisation", 8)]
    assert compliance[-1] < 0.8 * compliance[1]


def test_water_hours_converge_and_go_on():
    heads = [answer(A, b) for A, b in run("water hours", 30)]
    moved = np.array([np.linalg.norm(u - v) / np.linalg.norm(v) for u, v in itertools.pairwise(heads)])
    assert moved[3:].min() < 1e-3
    assert moved[3:].max() > 10 * moved[3:].min()


def test_an_outage_is_one_branch():
    base, *cases = (A for A, _ in run("contingencies", 5))
    for A in cases:
        assert np.count_nonzero((base - A).toarray()) == 4


def test_golden_sections_narrow():
    def rho(A):  # the entries outside the diagonal of (I - rho W)'(I - rho W) are -rho (W + W') and more: rows sum so
        return 1.0 - float(np.sqrt(A.sum() / A.shape[0]))

    places = [rho(A) for A, _ in run("neighbour correlation", 18)]
    assert abs(places[-1] - places[-2]) < 1e-3 < abs(places[1] - places[0])


def test_the_map_grows_and_the_interior_point_solves_twice():
    sizes = [A.shape[0] for A, _ in run("growing map", 6)]
    assert sizes == sorted(set(sizes))
    systems = run("interior point", 12)
    assert [A is C for (A, _), (C, _) in itertools.pairwise(systems)] == [True, False] * 5 + [True]
    first, last = systems[0][0].diagonal(), systems[-1][0].diagonal()
    assert last.max() / last.min() > 100 * first.max() / first.min()


def test_water_reaches_the_producer():
    systems = run("reservoir", 60)
    assert np.linalg.norm(systems[0][0].data - systems[-1][0].data) > 0.1 * np.linalg.norm(systems[0][0].data)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing", 100, 3, 0), "unknown family"),
        ((["loads 2d"], 100, 3, 0), "unknown family"),
        (("loads 2d", 2, 3, 0), "out of range"),
        (("loads 2d", 1e3, 3, 0), "out of range"),
        (("loads 2d", 100, 0, 0), "steps"),
        (("loads 2d", 100, True, 0), "steps"),
        (("loads 2d", 100, 3, -1), "seed"),
        (("loads 2d", 100, 3, 0.5), "seed"),
    ],
)
def test_bad_input_is_named(arguments: tuple, words: str):
    family, n, steps, seed = arguments
    with pytest.raises(OptionError, match=words):
        system_sequence(family, n, steps, seed=seed)
