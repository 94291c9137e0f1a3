"""Dense, ill-conditioned systems with noise: what elimination makes of them, and what regularisation does."""

import numpy as np

from nnla.linear.regularisation import (
    singular_system,
    tikhonov,
    total_least_squares,
    truncated_svd,
    truncated_total_least_squares,
)
from nnla.problems import inverse_problem

rng = np.random.default_rng(0)


def error(x, p):
    return np.linalg.norm(x - p.x) / np.linalg.norm(p.x)


print("relative error of x, 0.1 % noise in b")
print(f"{'problem':>10} {'elimination':>12} {'Tikhonov':>9} {'TSVD':>9} {'Tikhonov, in hindsight':>23}")
for name in ("shaw", "gravity", "phillips", "heat", "deriv2"):
    p = inverse_problem(name, 64)
    noise = rng.standard_normal(64)
    noise *= 1e-3 * np.linalg.norm(p.b) / np.linalg.norm(noise)
    b = p.A @ p.x + noise
    S = singular_system(p.A)  # decomposed once for all that follows
    chosen = tikhonov(S, b, "discrepancy", noise_norm=np.linalg.norm(noise))
    truncated = truncated_svd(S, b, "modified-gcv")  # needs no noise level
    best = tikhonov(S, b, "hindsight", x_true=p.x)
    errors = [error(x, p) for x in (np.linalg.solve(p.A, b), chosen.x, truncated.x, best.x)]
    print("{:>10} {:>12.1e} {:>9.3f} {:>9.3f} {:>23.3f}".format(name, *errors))
    assert errors[1] < 0.01 * errors[0] or name == "deriv2"

# noise in A: twenty measured matrices at a time
p = inverse_problem("gravity", 64)
E = 1e-3 * np.abs(p.A).max() * rng.standard_normal((20, 64, 64))
A, b = p.A + E, np.tile(p.A @ p.x, (20, 1))
exact = total_least_squares(A, b)  # of a square system: the exact solve
truncated = truncated_total_least_squares(A, b, "discrepancy", noise_norm=np.linalg.norm(E, axis=(1, 2)))
full, cut = (np.median([error(x, p) for x in answer.x]) for answer in (exact, truncated))
print(f"\ngravity, 0.1 % noise in A, median of 20: total least squares {full:.1e}, truncated {cut:.3f}")
assert cut < 0.1 < full
