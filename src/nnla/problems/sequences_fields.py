"""Sequences of fields: many sources in one medium, media that change, two fluids in a reservoir, heat in time."""

# SciPy has no stubs: what is inferred of its sparse arrays is wrong (shapes that are None, offsets of one number).
# pyright: reportOptionalSubscript=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportCallIssue=false

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from nnla.problems.assembly import graph_laplacian, with_int32_indices
from nnla.problems.gallery import diffusion2d, diffusion3d, lognormal_field
from nnla.problems.sequences_types import Sequence, SequenceFamily, answer
from nnla.problems.systems_meshes import grid_points, random_shape
from nnla.problems.systems_types import decades, loads

__all__ = ["FAMILIES"]


def _diffusion(k: np.ndarray) -> csr_array:
    return diffusion2d(k) if k.ndim == 2 else diffusion3d(k)


def _log_field(rng: np.random.Generator, shape: tuple[int, ...], correlation: float) -> np.ndarray:
    """A Gaussian field of deviation 1."""
    return np.log(lognormal_field(shape, s=1.0, correlation=correlation, seed=int(rng.integers(2**31))))


def _loads(rng: np.random.Generator, n: int, steps: int, d: int) -> Sequence:
    shape = random_shape(rng, n, d, 2.0)
    A = _diffusion(np.exp(rng.uniform(0.0, 2.0) * _log_field(rng, shape, 0.1)))
    for _ in range(steps):
        b = np.zeros(A.shape[0])
        ends = rng.choice(b.size, 2, replace=False)
        b[ends] = decades(rng, -1, 1) * np.array([1.0, -1.0])
        yield A, b


def loads_2d(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """One plane medium, current through one pair of electrodes after the other: the same A, other right-hand sides.

    Rucker, Guenther, Spitzer, Geophys. J. Int. 166 (2006), resistivity surveys. Load cases, Green's functions, sources
    of seismics and of tomography.
    """
    return _loads(rng, n, steps, 2)


def loads_3d(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """One body, current through one pair of electrodes after the other: the same A, other right-hand sides.

    As the plane one: Rucker, Guenther, Spitzer (2006).
    """
    return _loads(rng, n, steps, 3)


def _drift(rng: np.random.Generator, n: int, steps: int, d: int) -> Sequence:
    shape, s, correlation = random_shape(rng, n, d, 2.0), rng.uniform(0.5, 1.5), decades(rng, -1.3, -0.7)
    f, g = (s * _log_field(rng, shape, correlation) for _ in range(2))
    speed = decades(rng, -2.0, -1.3)
    b = loads(rng, grid_points(shape))[1]
    for k in range(steps):
        yield _diffusion(np.exp(np.cos(speed * k) * f + np.sin(speed * k) * g)), b.copy()


def drift_2d(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """A plane porous medium that changes smoothly, along an ellipse through two lognormal fields; one load.

    Murray, Adams, MacKay, Elliptical slice sampling (AISTATS 2010); parametric studies and continuation in general.
    """
    return _drift(rng, n, steps, 2)


def drift_3d(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """A porous body that changes smoothly, along an ellipse through two lognormal fields; one load.

    As the plane one: Murray, Adams, MacKay (2010).
    """
    return _drift(rng, n, steps, 3)


def permeability_chain(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """A Markov chain over permeabilities: each a mean of the one before and of a fresh draw; the same wells.

    Cotter, Roberts, Stuart, White, MCMC methods for functions (Stat. Sci. 28, 2013), the preconditioned Crank-Nicolson
    proposal; Bayesian inversion of groundwater flow. Some proposals are refused: then the next starts where they did.
    """
    shape, s, correlation = random_shape(rng, n, int(rng.choice([2, 3])), 2.0), rng.uniform(0.5, 1.5), 0.1
    beta = decades(rng, -1.5, -0.5)
    b = np.zeros(int(np.prod(shape)))
    wells = rng.choice(b.size, 5, replace=False)
    b[wells] = rng.uniform(0.5, 2.0, 5) * np.array([1.0, 1.0, -1.0, -1.0, 1.0])
    f = s * _log_field(rng, shape, correlation)
    for _ in range(steps):
        proposal = np.sqrt(1.0 - beta**2) * f + beta * s * _log_field(rng, shape, correlation)
        yield _diffusion(np.exp(proposal)), b.copy()
        if rng.random() < 0.5:
            f = proposal


def reservoir(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """Water drives oil out of a plane reservoir: the pressure of each step, mobilities by the saturation (IMPES).

    Aziz and Settari, Petroleum Reservoir Simulation (1979), chapter 5; Aarnes, Gimse, Lie (2007). A quarter of a five
    spot: an injector in one corner, a producer of known pressure in the other.
    """
    shape = random_shape(rng, n, 2, 2.0)
    n, number = shape[0] * shape[1], np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    k = np.exp(rng.uniform(0.3, 1.2) * _log_field(rng, shape, decades(rng, -1.5, -0.8))).ravel()
    i = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    j = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    ratio, injected = decades(rng, 0.0, 1.0), rng.uniform(0.003, 0.02) * n  # oil / water viscosity; volume a step
    b, ground, saturation = np.zeros(n), np.zeros(n), np.zeros(n)
    b[0] = 1.0
    for _ in range(steps):
        mobility = k * (saturation**2 + (1.0 - saturation) ** 2 / ratio)
        T = 2.0 / (1.0 / mobility[i] + 1.0 / mobility[j])
        ground[-1] = 10.0 * float(k[-1])
        A = graph_laplacian(i, j, T, ground)
        yield A, b.copy()
        p = answer(A, b)
        flux = T * (p[i] - p[j])
        outflow = np.bincount(i, np.maximum(flux, 0.0), n) + np.bincount(j, np.maximum(-flux, 0.0), n)
        outflow[-1] += ground[-1] * p[-1]
        substeps = min(200, 1 + int(3.0 * injected * outflow.max()))  # the fractional flow is at most that steep
        time = min(injected / substeps, 1.0 / (3.0 * float(outflow.max())))
        upstream = np.where(flux > 0.0, i, j)
        for _ in range(substeps):
            water = saturation**2
            fraction = water / (water + (1.0 - saturation) ** 2 / ratio)
            carried = flux * fraction[upstream]
            gain = np.bincount(j, carried, n) - np.bincount(i, carried, n)
            gain[0] += 1.0
            gain[-1] -= ground[-1] * p[-1] * fraction[-1]
            saturation = np.clip(saturation + time * gain, 0.0, 1.0)


def heat_steps(rng: np.random.Generator, n: int, steps: int) -> Sequence:
    """A hot body cools: implicit Euler steps I + dt K, the step by what changed, at once or by doubling and halving.

    Hairer and Wanner, Solving ODEs II (1996), section IV.8; with doubling, several steps share one matrix, as in
    codes that keep their factor (Shampine 1980). A heater goes on and off.
    """
    shape = random_shape(rng, n, int(rng.choice([2, 3])), 2.0)
    K = _diffusion(np.exp(rng.uniform(0.0, 1.5) * _log_field(rng, shape, 0.1)))
    doubling, wanted = bool(rng.random() < 0.5), rng.uniform(0.02, 0.1)
    heater = np.zeros(K.shape[0])
    heater[rng.choice(heater.size, max(1, heater.size // 50), replace=False)] = decades(rng, -3, -1)
    period = int(rng.integers(8, 20))
    u, step, used = np.ones(K.shape[0]), decades(rng, -1, 1), 0.0
    eye = sparse.eye_array(K.shape[0], format="csr")
    A = K
    for k in range(steps):
        if step != used:
            A, used = with_int32_indices(csr_array(eye + step * K)), step
        b = u + step * heater * ((k // period) % 2)
        yield A, b
        following = _stepped(A, b, u)
        change = float(np.linalg.norm(following - u) / np.linalg.norm(following))
        factor = wanted / max(change, 1e-12)
        if doubling:
            step *= 2.0 if factor > 2.0 else 0.5 if factor < 0.5 else 1.0
        else:
            step *= float(np.clip(0.9 * factor, 0.5, 2.0))
        step = min(step, 1e4)
        u = following


def _stepped(A: csr_array, b: np.ndarray, u: np.ndarray) -> np.ndarray:
    """One step in time, by CG: its factor would be dear in 3-D."""
    from scipy.sparse.linalg import cg

    return cg(A, b, x0=u, rtol=1e-10, maxiter=5000, M=sparse.diags_array(1.0 / A.diagonal()))[0]


FAMILIES = {
    "loads 2d": SequenceFamily(loads_2d, "geophysics", "right-hand side"),
    "loads 3d": SequenceFamily(loads_3d, "geophysics", "right-hand side"),
    "drift 2d": SequenceFamily(drift_2d, "porous media", "values"),
    "drift 3d": SequenceFamily(drift_3d, "porous media", "values"),
    "permeability chain": SequenceFamily(permeability_chain, "porous media", "values"),
    "reservoir": SequenceFamily(reservoir, "porous media", "values", largest=200_000),
    "heat steps": SequenceFamily(heat_steps, "heat", "both", largest=300_000),
}
