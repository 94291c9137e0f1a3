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
from nnla.types import TrainingProgress

__all__ = ["NSLSPlusTask", "NSLSTask", "cosine_losses"]

_TINY = 1e-12


def cosine_losses(y: Any, x: Any, Ay: Any, b: Any, starts: list[int]) -> tuple[Any, Any]:
    """L_cos and L_res (7, 8): means over the systems of 1 - cos(y, x) and of 1 - cos(A y, b), in torch.

    Parameters
    ----------
    y, x, Ay, b : (n,)
    starts : first row of each system, and n
    """
    import torch

    def distance(u, v):
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

    def network(self) -> Any:
        """The parameters as one module, seeded."""
        import torch

        rng = np.random.default_rng([self.recipe["seed"], 3])
        network = torch.nn.Module()
        for key, value in initial_parameters(self.config.shapes(), rng).items():
            network.register_parameter(key, torch.nn.Parameter(torch.from_numpy(value)))
        return network

    def _batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self.recipe["seed"], 4, step])
        return draw_batch(self.structures, rng, self.recipe["optim"]["batch"], mixed=self.recipe["data"]["mixed"])

    def _model(self, network: Any, card: dict[str, Any]) -> Any:
        raise NotImplementedError

    def _guess(self, model: Any, one: Structure, case: int) -> np.ndarray:
        raise NotImplementedError

    def validate(self, network: Any) -> dict[str, float]:
        """Errors of the finished model on held-out structures of each size, one load case each."""
        model = self._model(network, {})
        out = {}
        for size, structures in self.held.items():
            rows = []
            for k, one in enumerate(structures):
                case = k % one.b.shape[1]
                rows.append(relative_errors(one.A, one.x[:, case], self._guess(model, one, case)))
            for key in ("delta", "energy"):
                out |= {f"{key}_{size}_{name}": v for name, v in summary([row[key] for row in rows]).items()}
        return out

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the model with its envelope."""
        sizes = [one.A.indptr.size - 1 for one in self.structures]
        envelope = {
            "n": [min(sizes), max(sizes)],
            "family": "building frames",
            "styles": ", ".join(sorted(self.recipe["data"]["styles"])),
            "variant": self.recipe["data"]["variant"],
        }
        seen = ranges(one.A for one in self.structures)
        self._model(network, card | {"envelope": envelope, "matrices": seen}).save(path)


def _cut(V: Any, part: np.ndarray) -> Any:
    """`split_columns` for a torch tensor, dense."""
    import torch

    mask = torch.nn.functional.one_hot(torch.from_numpy(part).long()).to(V.dtype)
    return (mask[:, :, None] * V[:, None, :]).reshape(V.shape[0], -1)


def _rows_of(part: np.ndarray) -> Any:
    """The rows of each part, (parts, longest), filled up with n."""
    import torch

    counts = np.bincount(part)
    order = np.argsort(part, kind="stable")
    out = np.full((counts.size, counts.max()), part.size)
    out[np.arange(counts.max()) < counts[:, None]] = order
    return torch.from_numpy(out)


def _padded(F: Any, rows: Any) -> Any:
    """F[rows], zero where rows is n."""
    import torch

    return torch.cat([F, F.new_zeros(1, F.shape[1])])[rows]


def _arrays(network: Any) -> dict[str, np.ndarray]:
    return {key: value.detach().cpu().numpy().copy() for key, value in network.state_dict().items()}


class NSLSTask(_FrameTask):
    """The paper's model and losses; see `nnla.training.loop.Task`."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.config = NSLSConfig(**recipe["model"])

    def loss(self, network: Any, step: int) -> dict[str, Any]:
        """L_cos + residual * L_res (9) of step's batch."""
        import torch

        batch = self._batch(step)
        weights, F = nsls_inputs(batch.A, batch.b, batch.starts, self.config)
        graphs = Graphs(weights, batch.starts).torch()
        y = nsls_forward(dict(network.named_parameters()), graphs, torch.from_numpy(F))
        b = torch.from_numpy(F[:, 0])  # b and x only count by their directions: scaled, they fit float32
        largest = np.maximum.reduceat(np.abs(batch.x), batch.starts[:-1])
        x = torch.from_numpy((batch.x / np.repeat(largest, np.diff(batch.starts))).astype(np.float32))
        Ay = product(graphs.A, y[:, None])[:, 0]
        cosine, residual = cosine_losses(y, x, Ay, b, graphs.starts)
        return {"loss": cosine + self.recipe["optim"]["residual"] * residual, "cosine": cosine, "residual": residual}

    def _model(self, network: Any, card: dict[str, Any]) -> NSLS:
        return NSLS(self.config, _arrays(network), card)

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

    def loss(self, network: Any, step: int) -> dict[str, Any]:
        """Logarithm of the energy left, and minus that of the trace of the inverse on the subspace."""
        import torch

        c, optim = self.config, self.recipe["optim"]
        batch = self._batch(step)
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
        graphs = Graphs(A, starts, levels).torch()
        steps = [torch.from_numpy(step) for step in damping(A, starts, c.smoothing)]
        rigid = torch.from_numpy(np.concatenate([self.rigid[k] for k in batch.chosen])) if c.rigid else None
        V = plus_forward(dict(network.named_parameters()), graphs, torch.from_numpy(F), steps, rigid).double()
        total = segment_sum(x * b, starts)
        left, r = total, b
        if c.search == "krylov":
            left, r = total - segment_sum(cg.iterates[:, -1] * b, starts), cg.residual
        AP, curvatures, r = (torch.from_numpy(np.ascontiguousarray(v)) for v in (cg.products, cg.curvatures, r))
        shares, traces = [], []
        for k, (i, j) in enumerate(itertools.pairwise(graphs.starts)):
            # system by system: side by side they would all be as wide as the one with most parts
            own = Graphs(systems[k].A, np.array([0, j - i])).torch(dtype=torch.float64)
            part = self.parts[batch.chosen[k]]
            AW = product(own.A, _cut(V[i:j], part))
            # W' times something, part by part: W is mostly zeros
            rows = _rows_of(part)
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
            # in float32, as the parameters are
            "loss": (optim["energy"] * energy - optim["trace"] * trace).float(),
            "energy_error": (energy / 2).exp(),
            "log_trace": trace,
        }

    def _model(self, network: Any, card: dict[str, Any]) -> NSLSPlus:
        return NSLSPlus(self.config, _arrays(network), card)

    def _guess(self, model: NSLSPlus, one: Structure, case: int) -> np.ndarray:
        return model.guess(one.A, one.b[:, case], one.geometry if self.config.geometry else None)
