"""Polynomials as recurrences: classical and learned ones behind one interface."""

import numpy as np

import nnla

A = nnla.problems.poisson2d(50)
probe = nnla.probe(A, steps=50)
print(f"spectrum about [{probe.lambda_min:.2e}, {probe.upper_bound:.2e}]")

learned = nnla.load("autospec-cg").choose(probe, degree=11, rtol=1e-8)
P = nnla.Recurrence.chebyshev(learned.a, learned.b, 11)
lam = np.linspace(learned.a, learned.b, 6)
print("lam P(lam), about 1 on the interval:", np.round(lam * P(lam), 3))

v = np.random.default_rng(0).standard_normal(A.shape[0])
again = nnla.Recurrence.from_json(P.to_json())
assert np.array_equal(P.apply(A, v), again.apply(A, v))
