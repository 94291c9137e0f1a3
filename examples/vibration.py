"""How a building vibrates: K v = lambda M v with stiffness and lumped masses, a picture of the first modes.

python examples/vibration.py [modes.png]
"""

import sys

import numpy as np
import scipy.sparse as sp

import nnla

# A frame of beams and columns: its stiffness, its nodes, and the weight of each member per length.
building = nnla.problems.frame("mini", seed=5, grid=(3, 2, 5))
K = building.A

# Half of a member's mass goes to either end, and turns with it; the feet stand still.
ends = building.nodes[building.members]
length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
half = building.sections.weight / 9.80665 * length / 2
mass, inertia = np.zeros((2, len(building.nodes)))
for end in (0, 1):
    np.add.at(mass, building.members[:, end], half)
    np.add.at(inertia, building.members[:, end], half * length**2 / 12)
free = building.unknown >= 0
M = sp.diags_array(np.column_stack([mass[free]] * 3 + [inertia[free]] * 3).ravel())

w, V, report = nnla.eigsh(K, 8, M=M, return_report=True)
assert report.converged
print(
    f"n = {report.n}: {report.status}, verified: {report.verified}, {report.seconds['total']:.2f} s by {report.method}"
)
for j, frequency in enumerate(np.sqrt(w) / (2 * np.pi)):
    print(f"mode {j + 1}: {frequency:6.3f} Hz")

# Modes are orthogonal in the masses: how much of the building each one moves along x
along_x = np.tile([1.0, 0, 0, 0, 0, 0], report.n // 6)
share = (V.T @ (M @ along_x)) ** 2 / (along_x @ (M @ along_x))
print("shares of the mass that move along x:", np.round(share, 3))
assert np.allclose(V.T @ (M @ V), np.eye(8), atol=1e-8)

if len(sys.argv) > 1:
    from nnla.evaluation.mode_plots import plot_modes
    from nnla.evaluation.plots import save_figure

    picture = plot_modes(w, V, building.coordinates[::6], A=K, name="building", frequencies=True)
    save_figure(picture, sys.argv[1])
