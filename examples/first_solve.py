"""Solve a linear system, look at the report, reuse the preconditioner for another right-hand side."""

import numpy as np

import nnla

A = nnla.problems.poisson3d(24)
rng = np.random.default_rng(0)
b = rng.standard_normal(A.shape[0])

x, report = nnla.solve(A, b, rtol=1e-10)
print(f"{report.method}: {report.status}, residual {report.relative_residual:.1e}, {report.products} products")
print("because", report.chosen_because)

# one probe and one design for many right-hand sides, several at a time
M = nnla.preconditioner(A)
B = rng.standard_normal((A.shape[0], 4))
X, report = nnla.solve(A, B, method="autospec", M=M, rtol=1e-10)
print(f"four at once: {report.status}, {report.iterations} iterations of {report.degree + 1} products each")
assert np.all(np.linalg.norm(B - A @ X, axis=0) <= 1e-10 * np.linalg.norm(B, axis=0))
