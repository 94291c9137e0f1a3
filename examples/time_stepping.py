"""Implicit time steps of adaptive length: I + dt K changes with dt, and a Solver keeps what still serves.

python examples/time_stepping.py
"""

import numpy as np
from scipy import sparse

import nnla

# A plate of random conductivity, hot at first, cools through its rim; a heater goes on and off.
K = nnla.problems.diffusion2d(nnla.problems.lognormal_field((70, 70), s=1.0, seed=3))
eye = sparse.eye_array(K.shape[0], format="csr")
heater = np.zeros(K.shape[0])
heater[:: K.shape[0] // 23] = 0.05

solver = nnla.Solver(rtol=1e-9)
u, time, dt = np.ones(K.shape[0]), 0.0, 0.5
for step in range(30):
    A, b = eye + dt * K, u + dt * heater * (step // 8 % 2)
    new, report = solver.solve(A, b, x0=u)  # the last state is a guess, the old solutions make it better
    assert report.converged
    change = np.linalg.norm(new - u) / np.linalg.norm(new)
    u, time = new, time + dt
    if step % 6 == 0:
        print(f"t = {time:8.2f}  dt = {dt:7.2f}  {report.method:8s} {report.iterations:3d} iterations")
    # a step is doubled or halved, so that some steps share a matrix
    dt *= 2.0 if change < 0.02 else 0.5 if change > 0.1 else 1.0

r = solver.report
print(f"{r.solves} steps, {r.changes}, done by {r.actions}; kept: {', '.join(r.kept)}")
print(f"{r.seconds['total']:.3f} s; each from nothing about {r.seconds['cold']:.3f} s")
