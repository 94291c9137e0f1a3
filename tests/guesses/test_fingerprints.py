"""Fingerprints: what they do not depend on, and what they tell apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array, diags_array

import nnla
from nnla.guesses.fingerprints import fingerprint, outside, ranges
from nnla.problems.frames import frame


def test_neither_order_nor_units_of_the_whole_matter(rng):
    A = frame("mini", 3).A
    order = rng.permutation(A.shape[0])
    for B in (csr_array(A[order][:, order]), csr_array(1e-9 * A)):
        assert fingerprint(B) == pytest.approx(fingerprint(A), rel=1e-9)


def test_frames_are_within_the_ranges_of_frames_and_others_are_not():
    known = ranges(frame(size, seed, style=style).A for size in ("mini", "small") for seed in range(6)
                   for style in ("stand", "irregular"))  # fmt: skip
    assert outside(frame("mini", 77).A, known) == []
    assert outside(frame("small", 77, style="irregular").A, known) == []
    for A in (
        nnla.problems.poisson2d(30),
        nnla.problems.poisson3d(10),
        nnla.problems.elasticity3d(6, 6, 6),
        diags_array(np.arange(1.0, 900.0)).tocsr(),
    ):
        assert outside(csr_array(A), known)
