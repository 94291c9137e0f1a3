"""Coordinates from files: columns of text and arrays; what is wrong ends in one line."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io

from nnla.errors import FileFormatError, NNLAError, NonFiniteError, ShapeError
from nnla.problems.node_coordinates import read_coordinates


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("m", [1, 5])
def test_all_formats_agree(m, d, tmp_path):
    points = np.random.default_rng(0).standard_normal((m, d))
    np.save(tmp_path / "c.npy", points)
    scipy.io.mmwrite(tmp_path / "c.mtx", points, precision=17)
    np.savetxt(tmp_path / "c.txt", points, header="x y", comments="% ")
    for name in ("c.npy", "c.mtx", "c.txt"):
        found = read_coordinates(tmp_path / name)
        assert found.shape == (m, d)
        np.testing.assert_allclose(found, points, rtol=1e-15)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", FileFormatError),
        ("% nothing\n\n", FileFormatError),
        ("1 2\n3\n", FileFormatError),
        ("1 2\n3 x\n", FileFormatError),
        ("1,2\n3,4\n", NNLAError),
        ("1\n2\n3\n4\n", ShapeError),
        ("1 2 3 4\n", ShapeError),
        ("1 2\nnan 3\n", NonFiniteError),
        ("1 2\n1e999 3\n", NonFiniteError),
    ],
)
def test_bad_texts(text, error, tmp_path):
    path = tmp_path / "c.txt"
    path.write_text(text)
    with pytest.raises(error) as caught:
        read_coordinates(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_arrays(tmp_path):
    np.save(tmp_path / "c.npy", np.ones((4, 5)))
    with pytest.raises(ShapeError, match="2 or 3"):
        read_coordinates(tmp_path / "c.npy")
    with pytest.raises(FileFormatError):
        read_coordinates(tmp_path / "none.txt")
