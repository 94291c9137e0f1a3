"""The learned preconditioner inside SciPy's own CG, beside plain CG."""

import numpy as np
from scipy.sparse.linalg import cg

import nnla

A = nnla.problems.grid_circuit(60, 60, seed=1)
b = np.random.default_rng(0).standard_normal(A.shape[0])

for name, M in (("plain", None), ("learned", nnla.preconditioner(A))):
    count = 0

    def counted(_):
        global count
        count += 1

    x, info = cg(A, b, M=M, rtol=1e-8, maxiter=20_000, callback=counted)
    residual = np.linalg.norm(b - A @ x) / np.linalg.norm(b)
    print(f"{name:8s} {count:5d} iterations, residual {residual:.1e}")
    assert info == 0
