"""One building, many load cases: a learned subspace found once, used for all of them.

python examples/many_loads.py
"""

import numpy as np

import nnla

# A frame that no training has seen; in practice your own stiffness matrix, from any program.
building = nnla.problems.frame("mini", seed=20_000_007)
A, loads = building.A, building.loads  # ten load cases: self weight, slabs, snow, wind

# The network sees the first load. Types and places of the unknowns are read off the matrix.
guess = nnla.initial_guess(A, loads[:, 0], model="nsls-plus")
r = guess.report
print(f"{r.model}: geometry {r.geometry}, {r.rank} vectors, {r.products} products with A, {r.seconds['total']:.3f} s")

print("load  iterations: zero start  deflated   both to 1e-8, checked")
for case in range(3):
    zero = nnla.solve(A, loads[:, case], method="jacobi")
    warm = nnla.solve(A, loads[:, case], method="jacobi", warm_start=guess)
    assert warm.report.converged
    assert np.allclose(zero.x, warm.x, rtol=1e-4, atol=1e-6 * abs(zero.x).max())
    print(f"{case:4d}  {zero.report.iterations:22d}  {warm.report.iterations:8d}")
