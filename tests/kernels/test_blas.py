"""One BLAS thread inside, what was before outside, whoever leaves last."""

import threading

import pytest

from nnla.kernels import blas


def counts():
    return [get() for get, _ in blas._libraries()]


def test_the_threads_are_restored_after_nesting_and_errors():
    before = counts()
    with blas.one_blas_thread():
        with blas.one_blas_thread():
            assert counts() == [1] * len(before)
        assert counts() == [1] * len(before)
    assert counts() == before
    with pytest.raises(ZeroDivisionError), blas.one_blas_thread():
        raise ZeroDivisionError
    assert counts() == before
    with blas.one_blas_thread(small=False):
        assert counts() == before


def test_threads_that_leave_in_another_order_restore_what_the_first_found():
    before, entered, leave = counts(), threading.Event(), threading.Event()

    def other():
        with blas.one_blas_thread():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with blas.one_blas_thread():
        thread.start()
        assert entered.wait(10)
    assert counts() == [1] * len(before)
    leave.set()
    thread.join()
    assert counts() == before
