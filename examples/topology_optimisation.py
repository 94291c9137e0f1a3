"""The lightest stiff cantilever: topology optimisation (SIMP), whose stiffness matrices a Solver meets one by one.

python examples/topology_optimisation.py [design.png]
"""

import sys

import numpy as np
from scipy.ndimage import convolve

import nnla

nx, ny, share = 60, 30, 0.4
element = nnla.problems.elasticity2d(1, 1, clamped=False).toarray()
nodes = np.arange((nx + 1) * (ny + 1)).reshape(nx + 1, ny + 1)
corners = np.stack([c.ravel() for c in (nodes[:-1, :-1], nodes[:-1, 1:], nodes[1:, :-1], nodes[1:, 1:])], axis=1)
dofs = (2 * corners[:, :, None] + [0, 1]).reshape(-1, 8)
clamped = 2 * (ny + 1)  # unknowns at x = 0 come first
f = np.zeros(2 * nodes.size - clamped)
f[2 * nodes[-1, ny // 2] + 1 - clamped] = -1.0

# densities are means over a neighbourhood, so that the design does not depend on the mesh
cone = np.maximum(0.0, 2.5 - np.hypot(*np.mgrid[-2:3, -2:3]))
near = convolve(np.ones((nx, ny)), cone, mode="constant")


def smooth(x):
    return convolve(x, cone, mode="constant") / near


solver = nnla.Solver(rtol=1e-8)
x = np.full((nx, ny), share)
for step in range(40):
    density = smooth(x)
    u, report = solver.solve(nnla.problems.elasticity2d(nx, ny, young=1e-6 + density**3), f)
    assert report.converged
    full = np.concatenate([np.zeros(clamped), u])[dofs]
    energy = np.einsum("ea,ab,eb->e", full, element, full).reshape(nx, ny)
    gain = convolve(3.0 * density**2 * energy / near, cone, mode="constant")
    lower, upper = 0.0, gain.max() * 10.0
    while upper - lower > 1e-4 * upper:  # the multiplier of the volume
        middle = 0.5 * (lower + upper)
        new = np.clip(x * np.sqrt(gain / middle), np.maximum(0.0, x - 0.2), np.minimum(1.0, x + 0.2))
        lower, upper = (middle, upper) if smooth(new).mean() > share else (lower, middle)
    moved, x = abs(new - x).max(), new
    if step % 8 == 0:
        print(f"step {step:2d}: compliance {f @ u:7.2f}, {report.method}, {report.iterations} iterations")
    if step == 0:
        first = f @ u
    if moved < 0.02:
        break

assert f @ u < 0.5 * first
r = solver.report
print(f"{r.solves} designs by {r.actions}, {r.seconds['total']:.2f} s; from nothing about {r.seconds['cold']:.2f} s")
for row in smooth(x).T[:: ny // 10]:
    print("".join(" .:+#"[min(4, int(5 * v))] for v in row))

if len(sys.argv) > 1:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3))
    figure.subplots().imshow(smooth(x).T, cmap="gray_r", origin="lower")
    figure.savefig(sys.argv[1], dpi=100)
