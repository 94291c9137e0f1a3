"""Numbers and matrices as tokens: exact round trips, rounding, the ends of the range, tables, the grammar."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnla.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from nnla.models.matrix_tokens import ENCODINGS, EOS, MatrixTokens, NumberEncoding, encoding_table
from nnla.models.number_features import number_features

NAMES = sorted(ENCODINGS)


def three_digits(x: float) -> float:
    """Three significant digits by decimal arithmetic."""
    if x == 0:
        return 0.0
    d = Decimal(x)
    return float(d.quantize(Decimal(1).scaleb(d.adjusted() - 2), rounding=ROUND_HALF_EVEN))


@pytest.mark.parametrize("name", NAMES)
@given(x=st.lists(st.floats(-9e7, 9e7).filter(lambda v: v == 0 or abs(v) > 1e-8), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_numbers_come_back_in_three_digits(name, x):
    encoding = NumberEncoding(name)
    ids = encoding.encode(np.array(x))
    assert ids.shape == (len(x), encoding.tokens)
    found = encoding.decode(ids)
    assert found.tolist() == [three_digits(v) for v in x]
    np.testing.assert_array_equal(encoding.encode(found), ids)
    np.testing.assert_array_equal(encoding.encode(-np.array(x)), encoding.encode(-found))


@pytest.mark.parametrize("name", NAMES)
def test_every_number_that_can_be_written(name):
    encoding = NumberEncoding(name, -7, 9)
    m, k = np.meshgrid(np.r_[-999:-99, 0, 100:1000], np.arange(-7, 2))
    exact = np.array([float(f"{a}e{b}") for a, b in zip(m.ravel(), k.ravel(), strict=True)])
    found = encoding.decode(encoding.encode(exact))
    np.testing.assert_array_equal(found, exact)
    assert not np.signbit(found[exact == 0]).any()


@pytest.mark.parametrize("name", NAMES)
def test_ends_and_halves(name):
    encoding = NumberEncoding(name, -3, 5)

    def through(*x):
        return encoding.decode(encoding.encode(np.array(x))).tolist()

    assert through(100.5, 101.5, -100.5) == [100.0, 102.0, -100.0]  # halves to even
    assert through(999.5, 0.9995, 0.99949) == [1000.0, 1.0, 0.999]  # carried
    assert (encoding.smallest, encoding.largest) == (0.1, 9990.0)
    assert through(0.1, 0.06, 0.05, 1e-300, -0.04, -0.0) == [0.1, 0.1, 0.0, 0.0, 0.0, 0.0]
    assert through(9994.9) == [9990.0]
    assert encoding.holds(np.array([9994.9, 9995.0, np.inf, np.nan])).tolist() == [True, False, False, False]
    with pytest.raises(OptionError, match="holds numbers up to 9"):
        encoding.encode(np.array([1.0, 9995.0]))
    for bad in (np.nan, np.inf):
        with pytest.raises(NonFiniteError, match="remove"):
            encoding.encode(np.array([1.0, bad]))


@pytest.mark.parametrize("name", ["P10", "P1000", "B1999"])
def test_powers_of_ten_beyond_exact_ones(name):
    encoding = NumberEncoding(name)
    x = np.array([1.23e-95, -4.56e99, 9.99e102, 1e-98, 7.89e-40])
    ids = encoding.encode(x)
    np.testing.assert_allclose(encoding.decode(ids), x, rtol=4e-16)
    np.testing.assert_array_equal(encoding.encode(encoding.decode(ids)), ids)


def test_impossible_encodings():
    for arguments in (("P100",), ("FP15", 0, 300), ("FP15", -300, 16), ("B1999", 190, 20)):
        with pytest.raises(OptionError):
            NumberEncoding(*arguments)


def test_tables():
    rows = {row["encoding"]: row for row in encoding_table((3, 5, 8))}
    assert {name: row["tokens"] for name, row in rows.items()} == {"P10": 5, "P1000": 3, "B1999": 2, "FP15": 1}
    assert rows["FP15"]["symbols"] == 10 + 1 + 16 * 1800
    assert rows["P1000"]["n=3"] == (30, 21)
    assert rows["P10"]["n=8"] == (3 + 5 * 64, 3 + 5 * 36)


@pytest.mark.parametrize("triangle", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_matrices_come_back_and_sequences_keep_to_the_grammar(name, triangle):
    text = MatrixTokens(NumberEncoding(name), triangle)
    rng = np.random.default_rng(0)
    for n in (1, 3, 8):
        A = rng.normal(size=(4, n, n))
        A = A + A.swapaxes(-1, -2) if triangle else A
        ids = text.write(A)
        assert ids.shape == (4, text.length(n))
        assert (ids[:, :2] == n + 1).all()
        assert (ids[:, -1] == EOS).all()
        np.testing.assert_array_equal(text.read(ids, n), text.encoding.decode(text.encoding.encode(A)))
        runs = np.array(text.grammar(n))
        assert ((ids >= runs[:, 0]) & (ids < runs[:, 1])).all()
        for place in range(text.length(n)):  # another kind at any place is malformed
            for wrong in (0, runs[place, 1]):
                other = ids.copy()
                other[1, place] = wrong
                found = text.read(other, n)
                assert np.isnan(found[1]).all()
                assert np.isfinite(found[[0, 2, 3]]).all()
    with pytest.raises(ShapeError):
        text.write(np.zeros((1, 9, 9)))


def test_mirrors():
    text = MatrixTokens(NumberEncoding("P1000"))
    mirrors = text.mirrors(3)
    assert len(mirrors) == text.length(3)
    A = np.arange(9.0).reshape(1, 3, 3)
    ids = text.write(A + A.swapaxes(-1, -2))[0]
    np.testing.assert_array_equal(ids, ids[mirrors])
    assert sum(source < place for place, source in enumerate(mirrors)) == 3 * 3
    assert MatrixTokens(NumberEncoding("P1000"), triangle=True).mirrors(2) == list(range(12))


def test_torch_as_numpy():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    A = rng.normal(size=(50, 3, 3)) * 10.0 ** rng.integers(-6, 6, (50, 1, 1))
    A = A + A.swapaxes(-1, -2)
    A[0] = 0.0
    for name in NAMES:
        for triangle in (False, True):
            text = MatrixTokens(NumberEncoding(name), triangle)
            ids = text.write(A)
            found = text.write(torch.from_numpy(A))
            np.testing.assert_array_equal(found.numpy(), ids)
            np.testing.assert_array_equal(text.read(found, 3).numpy(), text.read(ids, 3))


@pytest.mark.parametrize("name", NAMES)
def test_features_tell_all_symbols_apart(name):
    text = MatrixTokens(NumberEncoding(name, -4, 6))
    x = number_features(text, 5.0)
    assert x.shape[0] == text.vocabulary
    assert np.abs(x).max() <= 1.0
    assert len(np.unique(x, axis=0)) == len(x)


def test_what_are_no_real_numbers_or_ids_is_refused():
    one, text = NumberEncoding("FP15"), MatrixTokens(NumberEncoding("FP15"))
    with pytest.raises(DTypeError, match="complex"):
        one.encode(np.array([1j]))
    with pytest.raises(DTypeError):
        one.encode(["x"])
    with pytest.raises(DTypeError, match="integers"):
        one.decode(np.ones((2, 1)))
    with pytest.raises(ShapeError, match="last axis"):
        one.decode(np.zeros((2, 0), dtype=int))
    with pytest.raises(ShapeError, match=r"\(B, n, n\)"):
        text.write(np.eye(2))
    with pytest.raises(ShapeError, match="n = 3"):
        text.read(text.write(np.zeros((1, 2, 2))), 3)
    wrong: Any = "a"
    with pytest.raises(OptionError, match="whole numbers"):
        NumberEncoding("FP15", wrong, 3)


def test_lists_single_precision_and_empty_batches():
    assert (
        NumberEncoding("B1999").encode(np.array([1.5], np.float32)).tolist()
        == NumberEncoding("B1999").encode([1.5]).tolist()
    )
    text = MatrixTokens(NumberEncoding("P10"))
    assert text.read(text.write(np.zeros((0, 2, 2))), 2).shape == (0, 2, 2)
