"""Frames read off their matrices: our own, the real StAnD systems (made by OpenSees), and what is no frame."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from nnla.errors import OptionError, ShapeError
from nnla.problems import poisson2d, read_vector
from nnla.problems.frame_elements import uniform_loads
from nnla.problems.frame_recovery import recover_frame
from nnla.problems.frames import frame

BRACED = next(
    one.A for one in (frame("mini", seed, style="irregular", loads=1) for seed in range(50)) if "braces" in one.meta
)


@pytest.mark.parametrize("style", ["stand", "regular"])
@pytest.mark.parametrize("seed", range(4))
def test_our_own_frames_come_back(style, seed):
    one = frame("mini", seed, style=style, loads=1)
    back = recover_frame(one.A)
    assert back.mismatch < 1e-12
    assert pytest.approx(one.sections.E[0]) == back.E
    assert back.width * back.height == pytest.approx(one.sections.area[0])
    np.testing.assert_array_equal(back.dof, one.dof)
    np.testing.assert_allclose(back.coordinates[:, 2], one.coordinates[:, 2])


@pytest.mark.parametrize("name", ["stand_02", "stand_04", "stand_15"])
def test_real_stand_matrices_are_ours_entry_by_entry(real_matrix, name):
    A = real_matrix(name)
    back = recover_frame(A)
    assert back.mismatch < 1e-13
    assert 0.2 < back.width < 0.4 < back.height < 0.6  # the ranges of the generator
    assert 2.5e10 < back.E < 4.3e10
    lengths = np.linalg.norm(np.diff(back.nodes[back.members], axis=1)[:, 0], axis=1)
    assert np.all((lengths > 3) & (lengths < 6))


def test_the_load_of_a_real_stand_system_is_self_weight(real_matrix, matrix_folder):
    """b of stand_04 is our own weight case up to the density, moments included."""
    A, path = real_matrix("stand_04"), matrix_folder / "stand_04_b.mtx.gz"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    b = read_vector(path)
    back = recover_frame(A)
    q = np.zeros((len(back.members), 3))
    q[:, 2] = -1.0
    ours = uniform_loads(back.nodes, back.members, q)[back.unknown >= 0].ravel()
    factor = (ours @ b) / (ours @ ours)
    assert np.linalg.norm(b - factor * ours) < 1e-12 * np.linalg.norm(b)
    assert 2000 < factor / (9.80665 * back.width * back.height) < 2600  # the density


@pytest.mark.parametrize(
    "A",
    [
        csr_array(poisson2d(6)),
        csr_array(np.eye(12)),
        csr_array(np.ones((6, 6))),
        BRACED,
    ],
)
def test_what_is_no_such_frame(A):
    with pytest.raises(OptionError, match="six unknowns per node"):
        recover_frame(A)


def test_sizes_that_no_frame_has():
    with pytest.raises(ShapeError, match="six"):
        recover_frame(csr_array(np.eye(5)))
