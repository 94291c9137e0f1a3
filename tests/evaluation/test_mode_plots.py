"""Pictures of modes: meshes keep their holes, sizes that do not fit are refused, a panel for each mode."""

from __future__ import annotations

import numpy as np
import pytest

import nnla
from nnla.errors import NonFiniteError, ShapeError
from nnla.evaluation.mode_plots import make_mesh, plot_modes, unknowns_per_node
from nnla.evaluation.plots import save_figure

pytest.importorskip("matplotlib")


def grid(*shape):
    return np.stack(np.indices(shape), axis=-1).reshape(-1, len(shape)).astype(float)


@pytest.mark.parametrize(("each", "d"), [(1, 2), (1, 3), (2, 2), (3, 3), (6, 3)])
def test_every_kind_of_mode_is_drawn(each, d, tmp_path):
    points = grid(5, 4) if d == 2 else grid(4, 3, 3)
    rng = np.random.default_rng(0)
    V = rng.standard_normal((each * len(points), 3))
    figure = plot_modes([-1.0, 4.0, 9.0], V, points, name="m", frequencies=True)
    assert len(figure.axes) == 3
    assert "λ = -1" in figure.axes[0].get_title()
    assert "√λ" not in figure.axes[0].get_title()
    assert figure.axes[1].get_title().endswith(f"{2 / (2 * np.pi):.4g}")
    save_figure(figure, tmp_path / "m.png")


def test_at_most_twelve_panels():
    points = grid(4, 4)
    figure = plot_modes(np.arange(14.0), np.eye(16)[:, :14], points)
    assert len(figure.axes) == 12
    assert "first 12 of 14" in figure.get_suptitle()


def test_holes_and_notches_stay_open():
    mesh = nnla.problems.delaunay_mesh(400, holes=((0.5, 0.5, 0.25),), seed=1)
    K = nnla.problems.p1_stiffness(mesh.points, mesh.triangles)
    found = make_mesh(mesh.points, K).triangles
    assert {frozenset(t) for t in found.tolist()} == {frozenset(t) for t in mesh.triangles.tolist()}
    centres = mesh.points[make_mesh(mesh.points).triangles].mean(axis=1)  # from the points alone
    assert np.linalg.norm(centres - 0.5, axis=1).min() > 0.2


def test_a_grid_without_diagonals_is_filled():
    A = nnla.problems.poisson2d(6)
    mesh = make_mesh(grid(6, 6), A)
    assert len(mesh.triangles) == 50
    assert len(mesh.edges) == 20  # the outline


def test_a_structure_of_bars_in_space(tmp_path):
    frame = nnla.problems.frame("mini", seed=3)
    points = frame.coordinates[::6]
    mesh = make_mesh(points, frame.A, 6)
    free = np.all(frame.unknown[frame.members] >= 0, axis=1)
    assert len(mesh.edges) == free.sum()
    w, V = nnla.eigsh(frame.A, 2, method="direct")
    save_figure(plot_modes(w, V, points, A=frame.A), tmp_path / "f.png")


@pytest.mark.parametrize("points", [[[0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [[1.0, 1.0]] * 4])
def test_degenerate_nodes(points, tmp_path):
    points = np.array(points)
    for each in (1, 2):
        V = np.ones((each * len(points), 1))
        save_figure(plot_modes([1.0], V, points), tmp_path / "d.png")
        save_figure(plot_modes([1.0], 0 * V, points), tmp_path / "d.png")


@pytest.mark.parametrize("unit", [1e-250, 1e250])
def test_units_of_places_and_vectors(unit, tmp_path):
    V = np.arange(40.0).reshape(40, 1) * unit
    save_figure(plot_modes([unit], V, unit * grid(5, 4), A=nnla.problems.elasticity2d(5, 3)), tmp_path / "u.png")


def test_sizes_that_do_not_go_together():
    for n, points in ((7, grid(2, 3)), (24, grid(2, 3)), (18, grid(2, 3)), (12, grid(2, 3, 1)), (36, grid(2, 3))):
        with pytest.raises(ShapeError, match="give"):
            unknowns_per_node(n, points)
    with pytest.raises(ShapeError):
        plot_modes([1.0, 2.0], np.ones((6, 1)), grid(2, 3))
    with pytest.raises(NonFiniteError):
        plot_modes([1.0], np.full((6, 1), np.nan), grid(2, 3))
