"""A membrane over an obstacle by an interior point method: two solves with each matrix, which stiffens.

Minimise u'Ku / 2 - f'u with u >= p: Newton's matrices are K + diag(s / (u - p)). Predictor, then corrector (Mehrotra).

python examples/interior_point.py
"""

import numpy as np
from scipy import sparse

import nnla

side = 90
K = nnla.problems.poisson2d(side)
n = K.shape[0]
places = np.linspace(-1.0, 1.0, side)
X, Y = np.meshgrid(places, places)
obstacle = (0.6 - 2.0 * (X**2 + Y**2)).ravel()
f = np.full(n, -2.0 / side**2)

solver = nnla.Solver(rtol=1e-8)
u, s = np.maximum(obstacle, 0.0) + 0.5, np.full(n, 1e-2)


def longest(v, dv):
    """The step up to which v stays positive."""
    down = dv < 0.0
    return min(1.0, 0.995 * np.min(-v[down] / dv[down], initial=2.0))


for step in range(40):
    gap = u - obstacle
    mu = gap @ s / n
    dual = f + s - K @ u
    if mu < 1e-12 and np.linalg.norm(dual) < 1e-9:
        break
    A = K + sparse.diags_array(s / gap)
    # predictor: straight for the solution
    du, _ = solver.solve(A, dual - s)
    ds = -s - s / gap * du
    length = min(longest(gap, du), longest(s, ds))
    aim = mu * ((gap + length * du) @ (s + length * ds) / n / mu) ** 3
    # corrector: the same matrix, which the solver finds out
    centre = aim - gap * s - du * ds
    du, report = solver.solve(A, dual + centre / gap)
    assert report.converged
    ds = (centre - s * du) / gap
    length = min(longest(gap, du), longest(s, ds))
    u, s = u + length * du, s + length * ds
    if step % 4 == 0:
        print(f"step {step:2d}: mu {mu:.1e}, {report.method}, {report.iterations} iterations")

touched = np.mean(u - obstacle < s)
print(f"{step} steps: the membrane lies on the obstacle on {100 * touched:.0f} % of its area")
assert step < 39
assert 0.02 < touched < 0.5
r = solver.report
print(f"{r.solves} solves, {r.changes}, by {r.actions}")
print(f"{r.seconds['total']:.3f} s; each from nothing about {r.seconds['cold']:.3f} s")
