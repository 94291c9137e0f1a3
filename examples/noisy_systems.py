"""A family of ill-conditioned systems, noise on the matrix, and what an exact solve makes of it.

python examples/noisy_systems.py [system.png]
"""

import sys

import numpy as np

import nnla

# -(kappa u')' = f in spectral form: 200 matrices of 64 x 64, conditions of 1e5 and more.
systems = nnla.problems.bvp_systems(200, equation="diffusion", n=64, seed=1)
print(f"condition of A: {np.median(np.linalg.cond(systems.A)):.1e} (median)")

for level in (0.0, 1e-6, 1e-4, 1e-2):
    noisy = nnla.problems.perturbed(systems, "entrywise", level, seed=2)
    x = np.linalg.solve(noisy.A, noisy.b[..., None])[..., 0]
    error = np.linalg.norm(x - systems.x, axis=1) / np.linalg.norm(systems.x, axis=1)
    print(f"noise {level:7.0e} on the entries of A: relative error of the exact solve {np.median(error):.1e} (median)")

# Many systems of a family tell which matrices there are at all: 64 x 64 entries, a dozen directions.
training = nnla.problems.bvp_systems(1000, equation="diffusion", n=64, seed=3).A.reshape(1000, -1)
mean = training.mean(axis=0)
directions = np.linalg.svd(training - mean, full_matrices=False)[2][:12]
cleaned = mean + (noisy.A.reshape(200, -1) - mean) @ directions.T @ directions
x = np.linalg.solve(cleaned.reshape(200, 64, 64), noisy.b[..., None])[..., 0]
error = np.linalg.norm(x - systems.x, axis=1) / np.linalg.norm(systems.x, axis=1)
print(f"noise {level:7.0e}, A projected on twelve directions first: {np.median(error):.1e} (median)")

if len(sys.argv) > 1:
    nnla.problems.bvp_figure(systems, 0).savefig(sys.argv[1], dpi=100)
