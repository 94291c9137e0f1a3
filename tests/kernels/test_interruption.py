"""Limits of time, and signals, in everything that takes long."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest

import nnla
from nnla.errors import NNLAError, OptionError, TimeLimitError
from nnla.kernels.interruption import check, remaining, time_limit


def test_the_error_is_a_timeout():
    assert issubclass(TimeLimitError, NNLAError)
    assert issubclass(TimeLimitError, TimeoutError)


def test_none_is_no_limit():
    with time_limit(None):
        assert remaining() == math.inf
        check()


@pytest.mark.parametrize("bad", [-1.0, math.nan, -math.inf])
def test_limits_make_sense(bad):
    with pytest.raises(OptionError, match="seconds"):
        time_limit(bad)


@pytest.mark.parametrize(("outer", "inner"), [(0.0, 50.0), (50.0, 0.0), (0.0, None)])
def test_the_earlier_of_two_limits_counts(outer, inner):
    with time_limit(outer), time_limit(inner), pytest.raises(TimeLimitError):
        check()
    check()


def test_the_outer_limit_comes_back():
    limit = time_limit(100.0)
    with limit:
        with time_limit(0.0):
            assert remaining() == 0.0
        assert 90 < remaining() <= 100
        with limit:  # the same object within itself
            check()
        assert remaining() <= 100
    assert remaining() == math.inf


def test_a_limit_holds_for_its_own_thread():
    seen = []
    with time_limit(0.0):
        worker = threading.Thread(target=lambda: seen.append(remaining()))
        worker.start()
        worker.join()
    assert seen == [math.inf]


@pytest.mark.usefixtures("native_kernels")
@pytest.mark.parametrize("method", ["cg", "jacobi", "ic", "autospec"])
def test_an_iteration_ends_and_can_be_repeated(method):
    A = nnla.problems.poisson2d(300)
    b = np.random.default_rng(0).standard_normal(A.shape[0])
    alone = nnla.solve(A, b, method=method).x
    started = time.perf_counter()
    with pytest.raises(TimeLimitError), time_limit(0.05):
        nnla.solve(A, b, method=method, rtol=1e-300, maxiter=10**7)
    assert time.perf_counter() - started < 2.0  # some 0.06 s on a quiet machine
    assert np.array_equal(nnla.solve(A, b, method=method).x, alone)
