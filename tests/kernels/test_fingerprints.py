"""Whether an array has changed: every change is seen, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import DTypeError, TimeLimitError
from nnla.kernels import fingerprints, native
from nnla.kernels.fingerprints import fingerprint, same_values
from nnla.kernels.interruption import time_limit


@pytest.fixture(params=["native", "NumPy"], autouse=True)
def kernels(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(fingerprints, "native", None)
    elif native is None:
        pytest.skip("the native kernels are not there")


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 63, 64, 65, 200])
def test_every_bit_counts(n, rng):
    x = rng.integers(0, 256, n).astype(np.uint8)
    seen = {fingerprint(x)}
    for i in range(n):
        for bit in range(8):
            y = x.copy()
            y[i] ^= 1 << bit
            assert not same_values(x, y)
            seen.add(fingerprint(y))
    assert len(seen) == 8 * n + 1


def test_exchanges_shifts_and_zeros_are_seen(rng):
    x = rng.standard_normal(1000)
    others = [np.roll(x, k) for k in (1, 8, 64, 500)] + [x[::-1], np.zeros(1000), np.zeros(999), np.zeros(1001)]
    exchanged = x.copy()
    exchanged[[3, 11]] = exchanged[[11, 3]]  # words of one lane
    twice = x.copy()
    twice[[5, 13]] = np.nextafter(twice[[5, 13]], np.inf)
    prints = [fingerprint(y) for y in [x, exchanged, twice, *others]]
    assert len(set(prints)) == len(prints)


def test_type_and_shape_belong_to_it():
    x = np.zeros(12)
    variants = [x, x.reshape(3, 4), x.reshape(4, 3), x.view(np.int64), x.view(np.uint8), x[:0], np.zeros(0, np.int32)]
    assert len({fingerprint(v) for v in variants}) == len(variants)
    for i, v in enumerate(variants):
        for j, w in enumerate(variants):
            assert same_values(v, w) == (i == j)


def test_the_layout_does_not(rng):
    x = rng.standard_normal((6, 8))
    for y in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x[::-1].copy()[::-1]):
        assert fingerprint(y) == fingerprint(x)
        assert same_values(x, y)


def test_bits_not_values():
    x = np.array([0.0, np.nan, 1.0])
    assert same_values(x, x.copy())
    assert not same_values(x, np.array([-0.0, np.nan, 1.0]))
    assert fingerprint(x) != fingerprint(np.array([-0.0, np.nan, 1.0]))


def test_there_are_as_many_ones_as_zeros():
    bits = sum(bin(fingerprint(np.array([k]))).count("1") for k in range(2000))
    assert abs(bits / 2000 - 32) < 0.5  # six standard deviations


def test_objects_are_refused():
    with pytest.raises(DTypeError, match="give numbers"):
        fingerprint(np.array([None, 1]))
    with pytest.raises(DTypeError, match="give numbers"):
        same_values(np.array([None, 1]), np.array([None, 1]))


def test_a_limit_of_time_is_heard():
    if fingerprints.native is None:
        pytest.skip("hashing by the standard library")
    x = np.zeros(10**6)
    for call in (lambda: fingerprint(x), lambda: same_values(x, x.copy())):
        with pytest.raises(TimeLimitError), time_limit(0.0):
            [call() for _ in range(20)]
        call()
