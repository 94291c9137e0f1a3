"""Newton's method in scikit-fem with a Solver: the tangents share their pattern, and resemble each other more and more.

pip install scikit-fem; python examples/newton_scikit_fem.py
"""

import sys

import numpy as np

import nnla

try:
    import skfem
    from skfem.helpers import dot, grad
except ImportError:
    print("this example needs scikit-fem: pip install scikit-fem")
    sys.exit()


# A membrane that gets stiffer as it is stretched: minimise the integral of (|grad u|^2 + |grad u|^4) / 2 - load u.
@skfem.BilinearForm
def tangent(u, v, w):
    g = grad(w["u"])
    return (1.0 + 2.0 * dot(g, g)) * dot(grad(u), grad(v)) + 4.0 * dot(g, grad(u)) * dot(g, grad(v))


@skfem.LinearForm
def residual(v, w):
    g = grad(w["u"])
    return w["load"] * v - (1.0 + 2.0 * dot(g, g)) * dot(g, grad(v))


mesh = skfem.MeshTri.init_lshaped().refined(5)
basis = skfem.Basis(mesh, skfem.ElementTriP1())
rim = basis.get_dofs()
solver = nnla.Solver(rtol=1e-9)


def linear(A, b, **_):
    """What scikit-fem takes as a solver."""
    x, report = solver.solve(A, b)
    assert report.converged
    return x


u = basis.zeros()
for load in (1.0, 4.0, 16.0, 64.0):
    for step in range(30):
        state = {"u": basis.interpolate(u)}
        r = residual.assemble(basis, load=load, **state)
        free = np.setdiff1d(np.arange(r.size), rim.all())
        size = np.linalg.norm(r[free])
        if step == 0:
            start = size
        if size < 1e-8 * load * start:
            break
        u += skfem.solve(*skfem.condense(tangent.assemble(basis, **state), r, D=rim), solver=linear)
    print(f"load {load:5.1f}: {step} Newton steps, |r| = {size:.1e}, top of the membrane {u.max():.4f}")

r = solver.report
print(f"{r.solves} systems of {r.steps[-1].method}, {r.changes}, done by {r.actions}")
print(f"{r.seconds['total']:.3f} s; each from nothing about {r.seconds['cold']:.3f} s")
