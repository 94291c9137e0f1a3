"""Sequences of finite elements: Newton's method for a fluid that thins, and topology optimisation."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

import numpy as np
from scipy import sparse

from nnla.problems.assembly import assemble
from nnla.problems.finite_elements import delaunay_mesh, eliminate, q1_elasticity
from nnla.problems.sequences_types import Sequence, SequenceFamily, answer
from nnla.problems.systems_types import decades

__all__ = ["FAMILIES"]


def newton_duct(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """Newton steps for the flow of a shear-thinning fluid through a duct, one pressure gradient after the other.

    Bird, Armstrong, Hassager, Dynamics of Polymeric Liquids (1987), section 4.1, Carreau's viscosity; Glowinski and
    Marrocco (1975) for its p-Laplacian limit. Nonlinear diffusion -div(mu(|grad u|) grad u) = G, linear triangles; its
    tangent is symmetric as the fluid has an energy, which each step has to lower.
    """
    mesh = delaunay_mesh(n, sweeps=1, seed=int(rng.integers(2**31)))
    points, cells = mesh.points, mesh.triangles
    edge = np.roll(points[cells], -2, axis=1) - np.roll(points[cells], -1, axis=1)
    twice = edge[:, 0, 0] * edge[:, 1, 1] - edge[:, 0, 1] * edge[:, 1, 0]
    slopes, area = np.stack([-edge[:, :, 1], edge[:, :, 0]], axis=-1) / twice[:, None, None], 0.5 * np.abs(twice)
    free = np.flatnonzero(~mesh.boundary)
    weight = np.bincount(cells.ravel(), np.repeat(area / 3.0, 3), len(points))
    power, low = rng.uniform(0.2, 0.6), decades(rng, -4, -2)

    def viscosity(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        g = np.einsum("eai,ea->ei", slopes, u[cells])
        square = 1.0 + (g**2).sum(axis=1)
        mu = low + (1.0 - low) * square ** ((power - 1.0) / 2.0)
        return g, mu, (1.0 - low) * (power - 1.0) * square ** ((power - 3.0) / 2.0)

    def energy(u: np.ndarray, G: float) -> float:
        square = 1.0 + (np.einsum("eai,ea->ei", slopes, u[cells]) ** 2).sum(axis=1)
        stored = 0.5 * low * square + (1.0 - low) * square ** ((power + 1.0) / 2.0) / (power + 1.0)
        return float(area @ stored - G * (weight @ u))

    u, G, done = np.zeros(len(points)), decades(rng, 0.0, 1.0), 0
    while done < steps:
        for _ in range(12):
            g, mu, slope = viscosity(u)
            D = mu[:, None, None] * np.eye(2) + slope[:, None, None] * (g[:, :, None] * g[:, None, :])
            H = assemble(cells, area[:, None, None] * (slopes @ D @ slopes.transpose(0, 2, 1)), len(points))
            force = np.einsum("e,ei,eai->ea", area * mu, g, slopes)
            r = (G * weight - np.bincount(cells.ravel(), force.ravel(), len(points)))[free]
            if np.linalg.norm(r) <= 1e-9 * G * np.linalg.norm(weight[free]):
                break
            A = eliminate(H, mesh.boundary)
            yield A, r
            done += 1
            if done == steps:
                return
            move, length, before = answer(A, r), 1.0, energy(u, G)
            while length > 1e-3:
                new = u.copy()
                new[free] += length * move
                if energy(new, G) <= before - 1e-4 * length * float(r @ move):
                    break
                length *= 0.5
            u[free] += length * move
        G *= 1.5


def topology_optimisation(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """Topology optimisation: the stiffness of a cantilever, half of a beam or a bridge while its design is found.

    Andreassen et al., Efficient topology optimization in MATLAB using 88 lines of code (Struct. Multidisc. Optim. 43,
    2011): SIMP with penalty 3, a density filter, the optimality criteria. A fresh start when the design stands still.
    """
    aspect = rng.uniform(1.0, 3.0)
    ny = max(3, round((n / (2.0 * aspect)) ** 0.5))
    nx = max(3, round(n / (2.0 * ny)))
    number = np.arange((nx + 1) * (ny + 1)).reshape(nx + 1, ny + 1)
    corners = [number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]]
    nodes = np.stack([c.ravel() for c in corners], axis=1)
    dofs = (2 * nodes[:, :, None] + np.arange(2)).reshape(len(nodes), 8)
    element = q1_elasticity([[0, 0], [0, 1], [1, 0], [1, 1]], [[0, 1, 2, 3]]).toarray()
    fixed, f = np.zeros(2 * number.size, dtype=bool), np.zeros(2 * number.size)
    kind = str(rng.choice(np.array(["cantilever", "half beam", "bridge"])))
    if kind == "cantilever":
        fixed[2 * number[0]] = fixed[2 * number[0] + 1] = True
        f[2 * number[-1, ny // 2] + 1] = -1.0
    elif kind == "half beam":
        fixed[2 * number[0]] = fixed[2 * number[-1, 0] + 1] = True
        f[2 * number[0, -1] + 1] = -1.0
    else:
        fixed[2 * number[[0, -1], 0]] = fixed[2 * number[[0, -1], 0] + 1] = True
        f[2 * number[:, -1] + 1] = -1.0 / (nx + 1)
    share, floor = rng.uniform(0.3, 0.6), 10.0 ** float(rng.choice([-9, -6, -4]))
    smooth = _filter(nx, ny, rng.uniform(1.5, 3.5))
    inside, x = ~fixed, np.full(nx * ny, share)
    for _ in range(steps):
        dense = smooth @ x
        K = eliminate(assemble(dofs, (floor + dense**3 * (1.0 - floor))[:, None, None] * element, f.size), fixed)
        yield K, f[inside]
        u = np.zeros(f.size)
        u[inside] = answer(K, f[inside])
        energy = np.einsum("ea,ab,eb->e", u[dofs], element, u[dofs])
        gain = smooth.T @ (3.0 * (1.0 - floor) * dense**2 * energy)
        cost = smooth.T @ np.ones(x.size)
        lower, upper, new = 0.0, float((gain / cost).max()), x
        while upper - lower > 1e-6 * upper:  # the multiplier of the volume, by bisection
            middle = 0.5 * (lower + upper)
            new = np.clip(x * np.sqrt(gain / (cost * middle)), np.maximum(0.0, x - 0.2), np.minimum(1.0, x + 0.2))
            lower, upper = (middle, upper) if float((smooth @ new).mean()) > share else (lower, middle)
        x = np.full(x.size, share) if float(abs(new - x).max()) < 0.01 else new


def _filter(nx: int, ny: int, radius: float) -> sparse.csr_array:
    """Cone-weighted means over the elements within a radius."""
    total = sparse.csr_array((nx * ny, nx * ny))
    reach = int(radius)
    for dx in range(-reach, reach + 1):
        for dy in range(-reach, reach + 1):
            weight = radius - float(np.hypot(dx, dy))
            if weight > 0.0 and abs(dx) < nx and abs(dy) < ny:
                shift = [sparse.eye_array(m, k=d) for m, d in ((nx, dx), (ny, dy))]
                total = total + weight * sparse.kron(*shift)
    return sparse.csr_array(sparse.diags_array(1.0 / np.asarray(total.sum(axis=1)).ravel()) @ total)


FAMILIES = {
    "newton duct": SequenceFamily(newton_duct, "fluid mechanics", "both", largest=200_000),
    "topology optimisation": SequenceFamily(topology_optimisation, "structures", "values", largest=100_000),
}
