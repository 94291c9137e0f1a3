"""Fixtures shared by the tests: matrices small enough to know everything about."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

_SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "matrices"


def _matrix_folder() -> Path:
    return Path(os.environ.get("NNLA_TEST_MATRICES", _SHARED))


@pytest.fixture(scope="session")
def real_matrix():
    """Read a real matrix by name; skips where the data folder is absent (NNLA_TEST_MATRICES points to one)."""

    def read(name: str):
        from nnla.problems import read_matrix

        path = _matrix_folder() / f"{name}.mtx.gz"
        if not path.is_file():
            pytest.skip(f"{path.name} is not here; set NNLA_TEST_MATRICES to a folder of SuiteSparse matrices")
        return read_matrix(path)

    return read


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1234)
