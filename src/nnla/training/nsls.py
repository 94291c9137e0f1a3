"""Training tasks of the graph networks for linear systems: the paper's NSLS and NSLS-plus, on frames."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from nnla.guesses.fingerprints import ranges
from nnla.models._graphs import Graphs, block_diagonal, product
from nnla.models.nsls import NSLS, NSLSConfig, initial_parameters, nsls_forward, nsls_inputs
from nnla.models.nsls_coarse import coarse_levels, partition
from nnla.models.nsls_plus import (
    NSLSPlus,
    NSLSPlusConfig,
    damping,
    equilibrate,
    plus_features,
    plus_forward,
    rigid_outputs,
)
from nnla.operators.arrays import segment_sum
from nnla.preconditioners.galerkin import galerkin_gain, inverse_trace, without_directions
from nnla.preconditioners.krylov_basis import conjugate_gradients
from nnla.problems.frame_sets import Structure, make_structures, relative_errors, summary
from nnla.training.frame_data import Batch, draw_batch
from nnla.training.networks import arrays, module
from nnla.types import TrainingProgress

__all__ = ["NSLSPlusTask", "NSLSTask", "cosine_losses"]

_TINY = 1e-12


def cosine_losses(y: Any, x: Any, Ay: Any, b: Any, starts: list[int]) -> tuple[Any, Any]:
    """L_cos and L_res (7, 8): means over the systems of 1 - cos(y, x) and of 1 - cos(A y, b), in torch.

    Parameters
    ----------
    y, x, Ay, b : (n,)
    starts : first row of each system, and n

    Notes
    -----
    Cost: some six passes over n numbers.

    References
    ----------
    Grementieri & Galeone (arXiv:2203.06944), equations (7) and (8).
    """
    import torch

    def distance(u: Any, v: Any) -> Any:
        cosines = [
            (u[i:j] @ v[i:j]) / (u[i:j].norm() * v[i:j].norm()).clamp_min(_TINY) for i, j in itertools.pairwise(starts)
        ]
        return 1 - torch.stack(cosines).mean()

    return distance(y, x), distance(Ay, b)


class _FrameTask:
    """What the two tasks share: data, a module of parameters, figures on held-out structures."""

    config: Any
    recipe: dict[str, Any]

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Make and solve the structures."""
        data, seed = self.recipe["data"], self.recipe["seed"]
        options: dict[str, Any] = {"seed": seed, "loads": data["loads"], "variant": data["variant"]}
        styles = dict(data["styles"])
        self.structures = make_structures(
            "train", data["structures"], sizes=dict(data["sizes"]), styles=styles, progress=progress, **options
        )
        # two sizes apart, so that the log tells generalisation to larger structures
        self.held = {
            size: make_structures("validation", data["held_out"], sizes={size: 1.0}, styles=styles, **options)
            for size in data["sizes"]
        }

    @property
    def figure(self) -> str:
        """The error in the energy norm, on structures of the recipe's first size."""
        return f"energy_{next(iter(self.recipe['data']['sizes']))}_mean"

    def network(self) -> Any:
        """The parameters as one module, seeded."""
        return module(initial_parameters(self.config.shapes(), np.random.default_rng([self.recipe["seed"], 3])))

    def draw(self, step: int) -> Batch:
        """The systems of a batch."""
        rng = np.random.default_rng([self.recipe["seed"], 4, step])
        return draw_batch(self.structures, rng, self.recipe["optim"]["batch"], mixed=self.recipe["data"]["mixed"])

    def _model(self, network: Any, card: dict[str, Any]) -> Any:
        raise NotImplementedError

    def _guess(self, model: Any, one: Structure, case: int) -> np.ndarray:
        raise NotImplementedError

    def validate(self, network: Any) -> dict[str, float]:
        """Errors of the finished model on held-out structures of each size, one load case each."""
        model = self._model(network, {})
        out: dict[str, float] = {}
        for size, structures in self.held.items():
            rows: list[dict[str, float]] = []
            for k, one in enumerate(structures):
                case = k % one.b.shape[1]
                rows.append(relative_errors(one.A, one.x[:, case], self._guess(model, one, case)))
            for key in ("delta", "energy"):
                out |= {f"{key}_{size}_{name}": v for name, v in summary([row[key] for row in rows]).items()}
        return out

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the model with its envelope."""
        sizes = [len(one.b) for one in self.structures]
        envelope = {
            "n": [min(sizes), max(sizes)],
            "family": "building frames",
            "styles": ", ".join(sorted(self.recipe["data"]["styles"])),
            "variant": self.recipe["data"]["variant"],
        }
        seen = ranges(one.A for one in self.structures)
        self._model(network, card | {"envelope": envelope, "matrices": seen}).save(path)


def _own(A: Any) -> Any:
    """A system apart, for `product` in float64."""
    import torch

    return Graphs(A, np.array([0, A.indptr.size - 1])).torch(dtype=torch.float64).A


def _cut(V: Any, part: Any) -> Any:
    """`split_columns` for a torch tensor, dense."""
    import torch

    mask = torch.nn.functional.one_hot(part.long()).to(V.dtype)
    return (mask[:, :, None] * V[:, None, :]).reshape(V.shape[0], -1)


def _rows_of(part: np.ndarray) -> np.ndarray:
    """The rows of each part, (parts, longest), filled up with n."""
    counts = np.bincount(part)
    order = np.argsort(part, kind="stable")
    out = np.full((counts.size, counts.max()), part.size)
    out[np.arange(counts.max()) < counts[:, None]] = order
    return out


def _padded(F: Any, rows: Any) -> Any:
    """F[rows], zero where rows is n."""
    import torch

    return torch.cat([F, F.new_zeros(1, F.shape[1])])[rows]


class NSLSTask(_FrameTask):
    """The paper's model and losses; see `nnla.training.task.Task`."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.config = NSLSConfig(**recipe["model"])

    def batch(self, step: int) -> dict[str, Any]:
        """Graphs, features, and solutions up to scale."""
        batch = self.draw(step)
        weights, F = nsls_inputs(batch.A, batch.b, batch.starts, self.config)
        largest = np.maximum.reduceat(np.abs(batch.x), batch.starts[:-1])
        # b and x only count by their directions: scaled, they fit float32
        x = (batch.x / np.repeat(largest, np.diff(batch.starts))).astype(np.float32)
        return {"graphs": Graphs(weights, batch.starts).torch(), "features": F, "x": x}

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """L_cos + residual * L_res (9)."""
        graphs, F = batch["graphs"], batch["features"]
        y = nsls_forward(dict(network.named_parameters()), graphs, F)
        Ay = product(graphs.A, y[:, None])[:, 0]
        cosine, residual = cosine_losses(y, batch["x"], Ay, F[:, 0], graphs.starts)
        return {"loss": cosine + self.recipe["optim"]["residual"] * residual, "cosine": cosine, "residual": residual}

    def _model(self, network: Any, card: dict[str, Any]) -> NSLS:
        return NSLS(self.config, arrays(network), card)

    def _guess(self, model: NSLS, one: Structure, case: int) -> np.ndarray:
        return model.guess(one.A, one.b[:, case])


class NSLSPlusTask(_FrameTask):
    """NSLS-plus: what its best vector leaves of the energy, and how good its subspace is."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.config = NSLSPlusConfig(**recipe["model"])

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Structures, and what depends on their matrices alone."""
        super().prepare(folder, progress)
        self.systems = [equilibrate(one.A, really=self.config.equilibrated) for one in self.structures]
        self.parts = [partition(system.A, self.config.part) for system in self.systems]
        self.coarse = [coarse_levels(system.A, self.config.coarse) for system in self.systems]
        self.geometry, self.rigid = [], []
        if self.config.geometry:
            self.geometry = [one.geometry.features().astype(np.float32) for one in self.structures]
        if self.config.rigid:
            known = zip(self.structures, self.parts, self.systems, strict=True)
            self.rigid = [rigid_outputs(one.geometry, part, system.scale) for one, part, system in known]

    def batch(self, step: int) -> dict[str, Any]:
        """Graphs and features of the network; energies, and each system apart, in float64."""
        c, batch = self.config, self.draw(step)
        starts, counts = batch.starts, np.diff(batch.starts)
        systems = [self.systems[k] for k in batch.chosen]
        A, scale = block_diagonal([s.A for s in systems]), np.concatenate([s.scale for s in systems])
        b, x = scale * batch.b, batch.x / scale
        largest = np.repeat(np.maximum.reduceat(np.abs(b), starts[:-1]), counts)
        b, x = b / largest, x / largest
        cg = conjugate_gradients(A, b, starts, c.steps)
        F = plus_features(A, np.concatenate([s.size for s in systems]), b, starts, cg)
        if c.geometry:
            F = np.concatenate([F, np.concatenate([self.geometry[k] for k in batch.chosen])], axis=1)
        levels: list[tuple[Any, Any, Any]] = []
        for level in range(c.coarse):
            R, P, A_c = zip(*(self.coarse[k][level] for k in batch.chosen), strict=True)
            levels.append((block_diagonal(R), block_diagonal(P), block_diagonal(A_c)))
        total = segment_sum(x * b, starts)
        left, r = total, b
        if c.search == "krylov":
            left, r = total - segment_sum(cg.iterates[:, -1] * b, starts), cg.residual
        return {
            "graphs": Graphs(A, starts, levels).torch(),
            "features": F,
            "smoothing": damping(A, starts, c.smoothing),
            "rigid": np.concatenate([self.rigid[k] for k in batch.chosen]) if c.rigid else None,
            "total": total,
            "left": left,
            "residual": r,
            "directions": cg.products,
            "curvatures": cg.curvatures,
            "own": [_own(s.A) for s in systems],
            "parts": [self.parts[k] for k in batch.chosen],
            "rows": [_rows_of(self.parts[k]) for k in batch.chosen],
        }

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Logarithm of the energy left, and minus that of the trace of the inverse on the subspace."""
        import torch

        c, optim, graphs = self.config, self.recipe["optim"], batch["graphs"]
        parameters = dict(network.named_parameters())
        outputs = plus_forward(parameters, graphs, batch["features"], batch["smoothing"], batch["rigid"])
        V, AP, curvatures, r, left, total = (
            v.double()
            for v in (outputs, *(batch[key] for key in ("directions", "curvatures", "residual", "left", "total")))
        )
        shares: list[Any] = []
        traces: list[Any] = []
        for k, (i, j) in enumerate(itertools.pairwise(graphs.starts)):
            # system by system: side by side they would all be as wide as the one with most parts
            AW = product([M.double() for M in batch["own"][k]], _cut(V[i:j], batch["parts"][k]))
            # W' times something, part by part: W is mostly zeros
            rows = batch["rows"][k]
            bundle = torch.cat([AW, V[i:j], AP[i:j], r[i:j, None]], dim=1)
            inner = _padded(V[i:j], rows).mT @ _padded(bundle, rows)
            E, M, C, right = inner.split([AW.shape[1], c.outputs, c.steps, 1], dim=2)
            E, C, right = (v.flatten(end_dim=1) for v in (E, C, right))
            G = without_directions(E, C, curvatures[k]) if c.search == "krylov" else E
            shares.append((left[k] - galerkin_gain(G, right[:, 0], optim["ridge"])) / total[k])
            traces.append(inverse_trace(E, torch.block_diag(*M), optim["ridge"]))
        energy = torch.stack(shares).clamp_min(1e-10).log().mean()
        trace = torch.stack(traces).log().mean()
        return {
            # in the parameters' precision
            "loss": (optim["energy"] * energy - optim["trace"] * trace).to(outputs.dtype),
            "energy_error": (energy / 2).exp(),
            "log_trace": trace,
        }

    def _model(self, network: Any, card: dict[str, Any]) -> NSLSPlus:
        return NSLSPlus(self.config, arrays(network), card)

    def _guess(self, model: NSLSPlus, one: Structure, case: int) -> np.ndarray:
        return model.guess(one.A, one.b[:, case], one.geometry if self.config.geometry else None)
