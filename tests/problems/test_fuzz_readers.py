"""A fixed part of the fuzz of all readers: its seeds, and some hundred changes of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from nnla.errors import FileFormatError

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def fuzz():
    if not FOLDER.is_dir():
        pytest.skip("the benchmarks are not here")
    sys.path.insert(0, str(FOLDER))
    try:
        import fuzz_readers
    finally:
        sys.path.remove(str(FOLDER))
    return fuzz_readers


@pytest.fixture(scope="module")
def files(fuzz):
    return fuzz.seeds()


def test_all_seeds_are_read(fuzz, files, tmp_path):
    judge = fuzz.Judge(str(tmp_path))
    outcomes = [(judge(kind, data), kind, data[:60]) for kind, data in files]
    assert all(outcome == "read" for outcome, _, _ in outcomes), [o for o in outcomes if o[0] != "read"]


def test_five_hundred_cases(fuzz, files, tmp_path):
    judge = fuzz.Judge(str(tmp_path))
    outcomes = {judge(*fuzz.case(files, 0, number)) for number in range(500)}
    assert {"read", "FileFormatError", "WeightsError"} <= outcomes


def test_the_judge_sees_what_is_wrong(fuzz, tmp_path):
    judge = fuzz.Judge(str(tmp_path))

    def raising(error):
        def read(path):
            raise error

        return read

    for error in (ValueError("raw"), FileFormatError(""), FileFormatError("x" * 2000)):
        judge.readers["vector"] = raising(error)
        with pytest.raises((AssertionError, ValueError)):
            judge("vector", b"")
    judge.readers["vector"] = lambda path: np.ones(3, dtype=np.float32)
    with pytest.raises(AssertionError):
        judge("vector", b"")
