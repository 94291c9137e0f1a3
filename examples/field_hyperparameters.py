"""Range and noise of a Gaussian Markov random field by ascent of its likelihood: a Solver for a hundred solves.

The gradient needs the data's solve and traces of Q^-1 dQ, which a few random signs estimate (Hutchinson): blocks of
right-hand sides with one matrix, then the next matrix, which differs little.

python examples/field_hyperparameters.py
"""

import numpy as np
from scipy import sparse

import nnla

rng = np.random.default_rng(2)
side = 60
L = nnla.problems.poisson2d(side)
n = L.shape[0]
eye = sparse.eye_array(n, format="csr")


def prior(log_kappa):
    """Precision (kappa^2 + L)^2 of a Matern field on a lattice, and its derivative by log kappa."""
    kappa2 = np.exp(2.0 * log_kappa)
    K = kappa2 * eye + L
    return K @ K, 4.0 * kappa2 * K


# Data: a field of range sqrt(8) / 0.3, seen everywhere with noise of deviation 3
truth = np.log([0.3, 3.0])
x = nnla.solve(np.exp(2.0 * truth[0]) * eye + L, rng.standard_normal(n)).x
y = x + np.exp(truth[1]) * rng.standard_normal(n)

Z = rng.choice([-1.0, 1.0], (n, 6))  # the same signs all along, so that the ascent sees one function
solver, solver_of_prior = nnla.Solver(rtol=1e-8), nnla.Solver(rtol=1e-8)
theta, length = np.log([1.0, 1.0]), np.array([0.3, 0.3])
before = np.zeros(2)
for step in range(40):
    P, slope = prior(theta[0])
    weight = np.exp(-2.0 * theta[1])
    Q = P + weight * eye
    S, report = solver.solve(Q, np.column_stack([weight * y, Z]))  # posterior: the mean, and Q^-1 Z
    T, report_of_prior = solver_of_prior.solve(P, Z)
    assert report.converged
    assert report_of_prior.converged
    mean = S[:, 0]
    trace = np.mean(np.sum(Z * (slope @ (T - S[:, 1:])), axis=0))
    noise = weight * (np.mean(np.sum(Z * S[:, 1:], axis=0)) + np.sum((y - mean) ** 2)) - n
    gradient = np.array([0.5 * trace - 0.5 * mean @ (slope @ mean), noise])
    # each one's step is longer as long as its slope keeps its sign (Riedmiller and Braun's Rprop)
    length *= np.where(gradient * before > 0.0, 1.2, np.where(gradient * before < 0.0, 0.5, 1.0))
    theta, before = theta + length * np.sign(gradient), gradient
    if step % 5 == 0 or length.max() < 5e-3:
        print(f"step {step:2d}: kappa {np.exp(theta[0]):.3f}, noise {np.exp(theta[1]):.3f}")
    if length.max() < 5e-3:
        break

print(f"truth:   kappa {np.exp(truth[0]):.3f}, noise {np.exp(truth[1]):.3f}")
assert np.all(abs(theta - truth) < [0.3, 0.1])
for name, r in (("posterior", solver.report), ("prior", solver_of_prior.report)):
    print(
        f"{name}: {r.solves} blocks by {r.actions}, {r.seconds['total']:.2f} s; from nothing {r.seconds['cold']:.2f} s"
    )
