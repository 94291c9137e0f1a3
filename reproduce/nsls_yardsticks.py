"""What `reproduce/nsls_tables.py` measures: systems, counting CG, the classical subspaces beside the network, seconds.

Nothing here is learned. The counting CG is the textbook's in float64, and knows the exact solution.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh, splu

import nnla
from nnla.errors import NNLAError
from nnla.guesses.fingerprints import outside
from nnla.guesses.guess import Guess, GuessReport, recovered_geometry
from nnla.models._graphs import Graphs
from nnla.models.nsls import NSLS, nsls_inputs
from nnla.models.nsls_coarse import coarse_levels, partition
from nnla.models.nsls_plus import NSLSPlus, damping, equilibrate, plus_features, rigid_outputs
from nnla.preconditioners.deflation import DeflationSpace
from nnla.preconditioners.galerkin import improve, split_columns
from nnla.preconditioners.krylov_basis import conjugate_gradients
from nnla.problems import read_matrix, read_vector, synthetic
from nnla.problems.frame_sets import make_structures, relative_errors
from nnla.problems.geometry import Geometry

TARGETS = (1e-2, 1e-3, 1e-4, 1e-5)
STYLES = {"stand": 0.7, "irregular": 0.3}
STEPS, PART, DEGREE, OUTPUTS = 14, 125, 8, 8  # the shipped recipes'; those of a model given take their place


@dataclass(frozen=True, eq=False)
class System:
    """A x = b with its solution: columns are load cases, ``case`` is the one that tables are about."""

    group: str
    name: str
    A: csr_array
    B: np.ndarray
    X: np.ndarray
    geometry: Geometry | None
    case: int = 0

    @property
    def b(self) -> np.ndarray:
        return self.B[:, self.case]

    @property
    def x(self) -> np.ndarray:
        return self.X[:, self.case]

    @property
    def n(self) -> int:
        return self.B.shape[0]


# -- systems --------------------------------------------------------------------------------------


def generated(size: str, count: int, *, variant: str = "loads") -> Iterator[System]:
    """Structures of the test part, which no training has seen; load case k % 10 of the k-th."""
    made = make_structures("test", count, seed=0, sizes={size: 1.0}, styles=STYLES, variant=variant)
    group = size if variant == "loads" else f"{size}, synthetic"
    for k, one in enumerate(made):
        yield System(group, f"{group} {k}", one.A, one.b, one.x, one.geometry, k % one.b.shape[1])


def real(folder: Path | None, limit: int | None, *, variant: str = "loads") -> Iterator[System]:
    """The StAnD systems of a folder, evenly chosen where there are more than ``limit``."""
    paths = sorted(folder.glob("stand_??.mtx.gz")) if folder else []
    if limit is not None and limit < len(paths):
        paths = [paths[int(k)] for k in np.linspace(0, len(paths) - 1, limit)]
    for seed, path in enumerate(paths):
        name = path.name.removesuffix(".mtx.gz")
        A = csr_array(read_matrix(path)).astype(np.float64)
        if variant == "synthetic":
            b, x = synthetic(A, 20_000_000 + seed, 1)
        else:
            b, x = (read_vector(path.with_name(f"{name}_{k}.mtx.gz"))[:, None] for k in "bx")
        yield System("real" if variant == "loads" else "real, synthetic", name, A, b, x, recovered_geometry(A))


def guess_for(model: Any, A: Any, b: np.ndarray, geometry: Geometry | None) -> Guess | None:
    """The model's guess, the guard off; None where it needs geometry and there is none."""
    wants = isinstance(model, NSLSPlus) and model.config.geometry
    if wants and geometry is None:
        return None
    return nnla.initial_guess(A, b, model=model, geometry=geometry if wants else None, guard=False)


def declined(model: Any, A: Any) -> bool:
    """Whether the guard would start from zero."""
    return bool(outside(A, model.card.get("matrices", {})))


# -- accuracy -------------------------------------------------------------------------------------


def classical_guesses(system: System, steps: int = STEPS) -> dict[str, np.ndarray]:
    """Guesses without a network: its own steps of CG, plain and with Jacobi preconditioning, and `_untrained`."""
    A, b, whole = system.A, system.b, np.array([0, system.n])
    scaled = equilibrate(A)
    plain = conjugate_gradients(A, b, whole, steps).iterates[:, -1]
    jacobi = scaled.scale * conjugate_gradients(scaled.A, scaled.scale * b, whole, steps).iterates[:, -1]
    return {f"{steps} CG steps": plain, f"{steps} Jacobi-PCG steps": jacobi} | _untrained(system, scaled, steps)


def _untrained(system: System, scaled: Any, steps: int) -> dict[str, np.ndarray]:
    """What `nsls-plus` guesses with other vectors in the place of its network's, parts overlapping."""
    part, right = partition(scaled.A, PART), scaled.scale * system.b
    cg = conjugate_gradients(scaled.A, right, np.array([0, system.n]), steps)
    chosen = {"random": _vectors(scaled, _gaussian(system.n, OUTPUTS), part, "both", DEGREE)}
    if system.geometry is not None:
        rigid = rigid_outputs(system.geometry, part, scaled.scale).astype(np.float64)
        chosen["rigid motions"] = _vectors(scaled, rigid, part, "last", DEGREE)
    return {
        f"nsls-plus, {name} for the network": scaled.scale * improve(scaled.A, right, W, cg)
        for name, W in chosen.items()
    }


def _gaussian(n: int, count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, count))


def accuracy(system: System, name: str, x: np.ndarray, model: Any = None, guess: Guess | None = None) -> dict:
    """A row of Table 1 for one system."""
    row = {"group": system.group, "system": system.name, "n": system.n, "model": name}
    row |= relative_errors(system.A, system.x, x)
    row["declined"] = model is not None and declined(model, system.A)
    row["shortened"] = guess is not None and guess.report.fallback is not None
    return row


# -- iterations -----------------------------------------------------------------------------------


def pcg(
    system: System, M: Callable | None = None, y: np.ndarray | None = None, space: Any = None, limit: int = 20_000
) -> tuple[list[float], list[float]]:
    """Iterations until |x_k - x| / |x| reaches each of TARGETS (inf: not within the limit), and the errors."""
    A, b, x = system.A, system.b, system.x
    y = np.zeros_like(b) if y is None else y.copy()
    r = b - A @ y
    if space is not None:
        y = y + space.solve(r)
        r = b - A @ y

    def correction(r):
        z = r if M is None else M(r)
        return z if space is None else space.precondition(r, z)

    size = np.linalg.norm(x)
    errors = [float(np.linalg.norm(y - x) / size)]
    p = z = correction(r)
    rho = r @ z
    while errors[-1] > TARGETS[-1] and len(errors) <= limit and rho > 0:
        q = A @ p
        alpha = rho / (p @ q)
        y, r = y + alpha * p, r - alpha * q
        errors.append(float(np.linalg.norm(y - x) / size))
        z = correction(r)
        new = r @ z
        p, rho = z + new / rho * p, new
    reached = [np.flatnonzero(np.array(errors) <= target) for target in TARGETS]
    return [float(k[0]) if k.size else np.inf for k in reached], errors


def rigid_space(system: System, part: np.ndarray, smoothing: str = "none", degree: int = DEGREE) -> DeflationSpace:
    """Six rigid motions of each part. Smoothing "first": the network's way, the polynomial in A, then the cuts;
    "last": cuts, then the polynomial, as in smoothed aggregation, with overlapping vectors."""
    assert system.geometry is not None
    scaled = equilibrate(system.A)
    V = rigid_outputs(system.geometry, part, scaled.scale).astype(np.float64)
    return _space(system, scaled, V, part, smoothing, degree)


def random_space(system: System, part: np.ndarray, count: int = OUTPUTS, degree: int = DEGREE) -> DeflationSpace:
    """What the network's polynomial and cuts make of Gaussian vectors: neither trained nor told the geometry."""
    return _space(system, equilibrate(system.A), _gaussian(system.n, count), part, "first", degree)


def _space(system: System, scaled: Any, V: np.ndarray, part: np.ndarray, smoothing: str, degree: int) -> DeflationSpace:
    W = _vectors(scaled, V, part, smoothing, degree)
    W.data = W.data * np.repeat(scaled.scale, np.diff(W.indptr))
    return DeflationSpace(system.A, W)


def _vectors(scaled: Any, V: np.ndarray, part: np.ndarray, smoothing: str, degree: int) -> csr_array:
    """V cut into parts, smoothed "first", "last" or "both", in the unknowns of the equilibrated system."""
    steps = damping(scaled.A, np.array([0, part.size]), degree)
    if smoothing in ("first", "both"):
        for step in steps:
            V = V - step * (scaled.A @ V)
    W = split_columns(V, part)
    if smoothing in ("last", "both"):
        for step in steps:
            W = csr_array(W - csr_array((scaled.A @ W).multiply(step)))
    return W


def oracle_spaces(system: System, counts: list[int]) -> dict[int, DeflationSpace]:
    """Eigenvectors of the Jacobi-scaled matrix to its so many smallest eigenvalues: the best there is, nearly."""
    scaled = equilibrate(system.A)
    most = min(max(counts), system.n - 2)
    values, V = eigsh(scaled.A.tocsc(), k=most, sigma=0, v0=np.ones(system.n))
    V = scaled.scale[:, None] * V[:, np.argsort(values)]
    return {k: DeflationSpace(system.A, V[:, :k]) for k in counts if k <= most}


def storeys(geometry: Geometry) -> np.ndarray:
    """The number of the level that each unknown lies on."""
    return np.unique(np.round(geometry.coordinates[:, 2], 4), return_inverse=True)[1].astype(np.int32)


def pyamg_cycle(system: System, geometry: Geometry | None) -> Callable | None:
    """A V-cycle of smoothed aggregation, told the rigid motions or not; None without PyAMG."""
    hierarchy = _hierarchy(system.A, geometry)
    return None if hierarchy is None else hierarchy.aspreconditioner().matvec


def _hierarchy(A: Any, geometry: Geometry | None) -> Any:
    try:
        import pyamg
    except ImportError:
        return None
    from scipy.sparse import csr_matrix

    csr = csr_matrix((A.data, A.indices, A.indptr), shape=A.shape)
    if geometry is None:
        return pyamg.smoothed_aggregation_solver(csr)
    modes = geometry.rigid_motions(np.zeros(A.shape[0], dtype=np.int32))
    return pyamg.smoothed_aggregation_solver(csr.tobsr((6, 6)), B=modes)


# -- products -------------------------------------------------------------------------------------


def products(name: str, A: Any, b: np.ndarray, models: dict[str, Any], rtol: float = 1e-8) -> list[dict]:
    """Products with A of Jacobi-CG through `nnla.solve`, with each model's warm start and without; guard on."""
    try:
        without = nnla.solve(A, b, method="jacobi", rtol=rtol).report
    except NNLAError:
        return []
    if without.status == "indefinite":
        return []
    rows = []
    for label, model in models.items():
        row = {"matrix": name, "n": without.n, "model": label, "without": without.products}
        row |= {"converged": without.converged, "used": None, "with": None, "network": 0, "note": None}
        try:
            report = nnla.solve(A, b, method="jacobi", rtol=rtol, warm_start=model).report
            start = report.warm_start or {}
            row |= {"used": bool(start.get("used")), "with": report.products}
            row |= {"network": start.get("network_products", 0), "converged": without.converged and report.converged}
            row["note"] = report.fallback
        except NNLAError as error:
            row["note"] = f"{type(error).__name__}: {str(error)[:100]}"
        rows.append(row)
    return rows


# -- seconds --------------------------------------------------------------------------------------


def clock(function: Callable) -> tuple[float, float, Any]:
    """Wall seconds, CPU seconds, and what came back."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    out = function()
    return time.perf_counter() - wall, time.process_time() - cpu, out


def rigid_guess(system: System) -> Guess:
    """The subspace of the smoothed rigid motions in the form that `nnla.solve` takes, its start at zero."""
    part = partition(equilibrate(system.A).A, PART)
    space = rigid_space(system, part, "first")
    report = GuessReport("rigid motions", True, None, "yardstick", system.n, 0.0, 1.0, 0, 0, space.rank, "given")
    return Guess(np.zeros(system.n), space, report)


def solvers(system: System, models: dict[str, Any]) -> dict[str, dict[str, Callable]]:
    """label -> way -> function(B, rtol) -> X. "one" is for a single column; "block" and "loop" are two ways to
    solve for many, of which a user takes the faster."""
    A, out = system.A, {}

    def classical(method):
        def one(B, rtol):
            return nnla.solve(A, B[:, 0], method=method, rtol=rtol).x[:, None]

        def loop(B, rtol):
            return np.stack([nnla.solve(A, b, method=method, rtol=rtol).x for b in B.T], axis=1)

        return {"one": one, "loop": loop, "block": lambda B, rtol: nnla.solve(A, B, method=method, rtol=rtol).x}

    def learned(method, model):
        def make(b):
            return rigid_guess(system) if model is None else guess_for(model, A, b, system.geometry)

        def loop(B, rtol):
            kept, X = None, []
            for b in B.T:
                kept = make(b) if kept is None or isinstance(model, NSLS) else kept
                X.append(nnla.solve(A, b, method=method, rtol=rtol, warm_start=kept).x)
            return np.stack(X, axis=1)

        def block(B, rtol):
            return nnla.solve(A, B, method=method, rtol=rtol, warm_start=make(B)).x

        return {"one": loop, "loop": loop, "block": block}

    def factored(B, rtol):
        return splu(A.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(B)

    def amg(geometry):
        def loop(B, rtol):
            hierarchy = _hierarchy(A, geometry)
            X = [hierarchy.solve(b, tol=rtol, accel="cg", maxiter=3000) for b in B.T]
            return np.stack(X, axis=1)

        return {"one": loop, "loop": loop}

    for method in ("cg", "jacobi", "ic", "direct", "autospec", "auto"):
        out[method] = classical(method)
    out["SciPy splu"] = {"one": factored, "block": factored}
    for method in ("jacobi", "ic"):
        for name, model in models.items():
            wants = isinstance(model, NSLSPlus) and model.config.geometry
            if not wants or system.geometry is not None:
                out[f"{method}, {name}"] = learned(method, model)
        if system.geometry is not None:
            out[f"{method}, rigid motions"] = learned(method, None)
    try:
        import pyamg  # noqa: F401
    except ImportError:
        return out
    out["PyAMG"] = amg(None)
    if system.geometry is not None:
        out["PyAMG, rigid motions"] = amg(system.geometry)
    return out


def timings(
    system: System, models: dict[str, Any], rtols: tuple[float, ...], repeats: int, many: int, patience: float = 4.0
) -> list[dict]:
    """Medians of interleaved repeats; a measurement that has taken ``patience`` seconds is not repeated again."""
    size = np.linalg.norm(system.B, axis=0)
    columns = system.B[:, size > 0]
    tasks = []
    for label, ways in solvers(system, models).items():
        for way, function in ways.items():
            B = columns[:, :1] if way == "one" else columns[:, :many]
            tasks += [(label, way, function, B, rtol) for rtol in rtols]
    walls: list[list[float]] = [[] for _ in tasks]
    cpus: list[list[float]] = [[] for _ in tasks]
    residuals = [0.0] * len(tasks)
    for repeat in range(repeats):
        for k, (_, _, function, B, rtol) in enumerate(tasks):
            if sum(walls[k]) > patience:
                continue
            if repeat == 0 and k % len(rtols) == 0:
                function(B[:, :1], 0.5)  # caches and imports are not what is measured
            wall, cpu, X = clock(lambda f=function, B=B, rtol=rtol: f(B, rtol))
            walls[k].append(wall)
            cpus[k].append(cpu)
            R = np.linalg.norm(B - system.A @ X, axis=0) / np.linalg.norm(B, axis=0)
            residuals[k] = float(R.max())
    rows = []
    for (label, way, _, B, rtol), wall, cpu, residual in zip(tasks, walls, cpus, residuals, strict=True):
        row = {"group": system.group, "system": system.name, "n": system.n, "solver": label, "rtol": rtol}
        row |= {"rhs": B.shape[1], "way": way, "residual": residual, "repeats": len(wall)}
        row |= {"wall": float(np.median(wall)) / B.shape[1], "cpu": float(np.median(cpu)) / B.shape[1]}
        rows.append(row)
    return rows


def network_seconds(system: System, name: str, model: Any, repeats: int) -> dict | None:
    """Where the seconds of a guess go; the features, which the report counts as network, are measured apart."""
    runs = []
    for _ in range(repeats):
        _, cpu, guess = clock(lambda: guess_for(model, system.A, system.b, system.geometry))
        if guess is None:
            return None
        features = clock(lambda: _features(model, system))[0]
        spent = guess.report.seconds
        network = max(spent["network"] - features, 0.0)
        known = features + network + spent["setup"]
        runs.append([features, network, spent["setup"], max(spent["total"] - known, 0.0), spent["total"], cpu])
    keys = ("features", "network", "setup", "checks", "total", "cpu")
    row = {"group": system.group, "system": system.name, "n": system.n, "model": name, "rank": guess.report.rank}
    row |= {"products": guess.report.products, "network_products": guess.report.network_products}
    row["declined"] = declined(model, system.A)
    row["recovery"] = (
        clock(lambda: recovered_geometry(system.A))[0] if getattr(model.config, "geometry", False) else 0.0
    )
    return row | dict(zip(keys, np.median(runs, axis=0).tolist(), strict=True))


def _features(model: Any, system: System) -> None:
    whole, A = np.array([0, system.n]), system.A
    if isinstance(model, NSLS):
        nsls_inputs(A, system.b, whole, model.config)
        return
    scaled = equilibrate(A, really=model.config.equilibrated)
    right = scaled.scale * system.b
    cg = conjugate_gradients(scaled.A, right, whole, model.config.steps)
    plus_features(scaled.A, scaled.size, right, whole, cg)
    Graphs(scaled.A.astype(np.float32), whole, coarse_levels(scaled.A, model.config.coarse))
    part = partition(scaled.A, model.config.part)
    if model.config.geometry:
        assert system.geometry is not None
        system.geometry.features()
        rigid_outputs(system.geometry, part, scaled.scale)


def to_error(system: System, error: float, repeats: int) -> list[dict]:
    """The paper's Table 3: seconds until CG has the relative error that a network has, by counted iterations."""
    rows = []
    inverse = 1.0 / system.A.diagonal()
    for label, method, M in (("CG", "cg", None), ("Jacobi-CG", "jacobi", lambda r: inverse * r)):
        errors = np.array(pcg(system, M)[1])
        steps = int(np.argmax(errors <= error))

        def go(method=method, steps=steps):
            return nnla.solve(system.A, system.b, method=method, rtol=1e-14, maxiter=max(steps, 1))

        go()
        runs = [clock(go)[:2] for _ in range(repeats)]
        wall, cpu = np.median(runs, axis=0)
        row = {"group": system.group, "system": system.name, "n": system.n, "solver": label, "iterations": steps}
        rows.append(row | {"wall": float(wall), "cpu": float(cpu), "error": error})
    return rows
