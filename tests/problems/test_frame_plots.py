"""Pictures of frames: the curves are those of the nodes, the figure has its parts."""

from __future__ import annotations

import numpy as np
import pytest

from nnla.problems.frame_plots import frame_figure, member_curves
from nnla.problems.frames import frame


def test_curves_end_at_the_nodes():
    one = frame("mini", 2, loads=1)
    x = one.solve()[:, 0]
    curves, u = member_curves(one, x), one.displacements(x)[:, :3]
    scale = np.abs(u).max()
    np.testing.assert_allclose(curves[:, 0], u[one.members[:, 0]], atol=1e-12 * scale)
    np.testing.assert_allclose(curves[:, -1], u[one.members[:, 1]], atol=1e-12 * scale)


def test_a_rigid_motion_bends_nothing(rng):
    one = frame("mini", 2, loads=1)
    shift, turn = rng.standard_normal((2, 3))
    motion = np.concatenate([shift + np.cross(turn, one.nodes), np.broadcast_to(turn, one.nodes.shape)], axis=1)
    free = one.unknown >= 0
    inner = np.all(free[one.members], axis=1)
    curves = member_curves(one, motion[free].ravel(), points=5)[inner]
    straight = np.linspace(curves[:, 0], curves[:, -1], 5, axis=1)
    np.testing.assert_allclose(curves, straight, atol=1e-10)


def test_figure_has_members_and_scale(tmp_path):
    pytest.importorskip("matplotlib")
    one = frame("mini", 0, loads=1, grid=(2, 2, 2))
    frame_figure(one, one.solve()[:, 0]).savefig(tmp_path / "a.png", dpi=40)
    plain = frame_figure(one, title="plain")
    plain.savefig(tmp_path / "b.png", dpi=40)
    assert (tmp_path / "a.png").stat().st_size > 5000
    assert plain.axes[0].get_title() == "plain"
