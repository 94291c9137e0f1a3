"""The picture of a boundary value problem has its parts."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.errors import OptionError
from nnla.problems import bvp_figure, bvp_systems
from nnla.problems.bvp import BOUNDARIES, EQUATIONS


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("equation", EQUATIONS)
def test_figure_shows_the_system(equation, boundary):
    pytest.importorskip("matplotlib")
    systems = bvp_systems(3, equation=equation, n=16, boundary=boundary, seed=2)
    figure = bvp_figure(systems, -1)
    coefficients, source, solution, matrix = figure.axes[:4]
    np.testing.assert_array_equal(coefficients.lines[0].get_ydata(), systems.kappa[2])
    np.testing.assert_array_equal(source.lines[0].get_ydata(), systems.f[2])
    drawn = solution.lines[0].get_ydata()
    np.testing.assert_allclose(drawn[1:-1], systems.x[2] if boundary == "interior" else systems.x[2, 1:-1])
    np.testing.assert_allclose(drawn[[0, -1]], 0, atol=1e-12)
    assert matrix.images[0].get_array().shape == (16, 16)
    assert equation in figure.get_suptitle()


def test_figure_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    figure = bvp_figure(bvp_systems(1, equation="reaction"), title="mine")
    figure.savefig(tmp_path / "a.png", dpi=50)
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert figure.get_suptitle() == "mine"


@pytest.mark.parametrize("index", [3, -4, 1.0, True, None])
def test_index(index):
    with pytest.raises(OptionError, match="index"):
        bvp_figure(bvp_systems(3, n=4), index)
