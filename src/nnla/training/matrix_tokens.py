"""Training task of the token transformer: fresh matrices, their functions as tokens, teacher forcing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import OptionError
from nnla.models.matrix_tokens import BOS
from nnla.models.token_network import (
    TokenTransformerConfig,
    decode,
    decoder_block,
    encode,
    encoder_block,
    logits,
    write,
)
from nnla.models.token_transformer import TokenTransformerEngine
from nnla.models.transformer import initial_parameters
from nnla.operators.arrays import namespace, to_numpy
from nnla.problems.matrix_families import MATRIX_FAMILIES, matrix_family
from nnla.training.jacobi_eigen import symmetric_function
from nnla.training.loop import learning_rate
from nnla.training.networks import arrays, module, named_tensors
from nnla.types import TrainingProgress

__all__ = ["TOLERANCES", "MatrixTokensTask", "Parts", "cross_entropy", "entrywise_error", "example", "within"]

TOLERANCES = (0.05, 0.02, 0.01, 0.005)
_SAMPLES = 20_000  # matrices whose entries say what range the network sees
_MARGIN = 1.01
_DEFINITE = ("log", "sqrt", "inv_sqrt")


def entrywise_error(found: Any, exact: Any) -> Any:
    """d1 (B,) = sum |found - exact| / sum |exact| of matrices (B, n, n); infinite where a matrix is NaN.

    Examples
    --------
    >>> entrywise_error(np.full((1, 2, 2), 1.1), np.ones((1, 2, 2))).round(3).tolist()
    [0.1]
    """
    xp = namespace(found)
    error = abs(found - exact).sum((-2, -1)) / abs(exact).sum((-2, -1))
    return xp.where(xp.isfinite(error), error, xp.full_like(error, float("inf")))


def within(errors: np.ndarray) -> dict[str, float]:
    """Shares of errors below each of `TOLERANCES`, by their names in percent.

    Examples
    --------
    >>> within(np.array([0.001, 0.03]))
    {'within_5': 1.0, 'within_2': 0.5, 'within_1': 0.5, 'within_0.5': 0.5}
    """
    return {f"within_{100 * tau:g}": float(np.mean(errors < tau)) for tau in TOLERANCES}


def example(config: TokenTransformerConfig, A: Any) -> dict[str, Any]:
    """Sequences of matrices (B, n, n) and of their functions, (B, S) and (B, T).

    Notes
    -----
    The function is that of the matrix as it is read, in three digits.
    """
    read = config.reads.write(A)
    exact = symmetric_function(config.reads.read(read, A.shape[-1]), config.f)
    return {"read": read, "write": config.writes.write(exact)}


def cross_entropy(p: dict[str, Any], x: Any, target: Any) -> Any:
    """Mean of -log of what the head gives tokens (N, W) for ids (N,)."""
    import torch

    return torch.nn.functional.cross_entropy(logits(p, x), target)


@dataclass(frozen=True)
class Parts:
    """The functions that a loss is made of; compiled ones may take their places."""

    encoder: Callable[..., Any] = encoder_block
    decoder: Callable[..., Any] = decoder_block
    entropy: Callable[..., Any] = cross_entropy


class MatrixTokensTask:
    """Data, network and loss of the token transformer; see `nnla.training.task.Task`.

    Notes
    -----
    The recipe's data: ``families`` with their shares and one ``scale`` for all that have one, ``floor`` of definite
    ones; every batch is fresh, of one size. ``model.embedding`` is "plain" or "smooth" (`number_features`).
    ``objective.structure`` trains what the grammar forces (sizes and end) on one in so many matrices.
    ``optim.method`` is "muon" or "adam", ``optim.schedule`` "cosine" or "constant" (after the warm-up, the paper's).
    """

    figure = "loss"

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        model, data, optim = dict(recipe["model"]), recipe["data"], recipe["optim"]
        self.config = TokenTransformerConfig(**model)
        if not TokenTransformerEngine.possible(self.config):
            raise OptionError(f"the recipe's [model] is impossible: {self.config}")
        self.families: dict[str, float] = dict(data["families"])
        for name, share in self.families.items():
            if name not in MATRIX_FAMILIES or not MATRIX_FAMILIES[name].symmetric or not share > 0:
                raise OptionError(f"data.families.{name} is no symmetric family with a share above 0")
        if not self.families:
            raise OptionError("data.families has to name at least one")
        if self.config.f in _DEFINITE and set(self.families) != {"definite"}:
            raise OptionError(f"{self.config.f} is real for definite matrices: data.families must be definite alone")
        for key, known in (("method", ("muon", "adam")), ("schedule", ("cosine", "constant"))):
            if optim[key] not in known:
                raise OptionError(f"optim.{key}={optim[key]!r} is not known; use {' or '.join(map(repr, known))}")

    def matrices(self, count: int, n: int, seed: Any) -> np.ndarray:
        """Matrices of the families, by their shares."""
        rng = np.random.default_rng(seed)
        shares = np.array(list(self.families.values()))
        counts = rng.multinomial(count, shares / shares.sum())
        parts = []
        for name, some in zip(self.families, counts.tolist(), strict=True):
            if some:
                parts.append(matrix_family(name, some, n, seed=rng, **self.options(name)))
        return np.concatenate(parts)

    def options(self, name: str) -> dict[str, float]:
        """Those of the recipe that a family has."""
        known = MATRIX_FAMILIES[name].options
        return {key: self.recipe["data"][key] for key in ("scale", "floor") if key in known}

    def prepare(self, folder: Path, progress: TrainingProgress) -> None:
        """Held-out matrices, the range of entries, and the features of numbers."""
        data, seed, config = self.recipe["data"], self.recipe["seed"], self.config
        self.held = {n: self.matrices(data["held_out"], n, [seed, 10_001, n]) for n in config.sizes}
        sizes = [np.abs(self.matrices(_SAMPLES, n, [seed, 10_002, n])).max((-2, -1)) for n in config.sizes]
        self.limits = np.array([min(x.min() for x in sizes) / _MARGIN, max(x.max() for x in sizes) * _MARGIN])
        if config.embedding == "smooth":
            A = self.matrices(1000, config.sizes[-1], [seed, 10_003])
            ends = {"input_scale": A, "output_scale": symmetric_function(A, config.f)}
            scales = {key: float(np.quantile(np.abs(x), 0.99).clip(1e-4, 6e4).round(6)) for key, x in ends.items()}
            self.config = replace(config, **scales)
        progress("data", 1, 1, "held-out matrices")

    def network(self) -> Any:
        """Random parameters: blocks as GPT-2's, features' weights of their number, a small head."""
        config, rng = self.config, np.random.default_rng([self.recipe["seed"], 3])
        made = initial_parameters(config.block_shapes(), rng, config.encoder + config.decoder)
        made |= initial_parameters(config.end_shapes(), rng, 1)
        if config.features:
            for name in ("embed_in", "embed_out"):
                made[name] *= np.float32(50 / np.sqrt(made[name].shape[0]))  # from deviation .02
        return module(made, config.features, stored=False)

    def optimizer(self, parameters: Iterable[Any]) -> Any:
        """`nnla.training.muon.Muon` with the blocks' matrices apart, or Adam."""
        import torch

        from nnla.training.muon import Muon

        optim = self.recipe["optim"]
        given = list(parameters)
        if optim["method"] == "adam":
            return torch.optim.AdamW(given, lr=optim["lr"], weight_decay=optim["weight_decay"])
        names = [name for name, _ in self.network().named_parameters()]
        hidden = [p for name, p in zip(names, given, strict=True) if name[:3] in ("enc", "dec") and name[-2:] == "_W"]
        some = {id(p) for p in hidden}
        others = [p for p in given if id(p) not in some]
        return Muon(hidden, others, lr=optim["lr"], weight_decay=optim["weight_decay"])

    def schedule(self, step: int) -> float:
        """Share of the peak that the learning rate has at a step."""
        optim = self.recipe["optim"]
        if optim["schedule"] == "constant":
            return min(1.0, (step + 1) / max(1, int(optim["steps"] * optim["warmup"])))
        return learning_rate(step, optim["steps"], 1.0, optim["warmup"])

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Sequences that are read and written, of matrices of one size."""
        seed = self.recipe["seed"]
        n = int(np.random.default_rng([seed, 4, step]).choice(self.config.sizes))
        return example(self.config, self.matrices(self.recipe["optim"]["batch"], n, [seed, 5, step]))

    def loss(self, network: Any, batch: Any, parts: Parts = Parts()) -> dict[str, Any]:
        """Cross-entropy of the next token, the ones before it given; its mean over tokens."""
        import torch

        p, config = named_tensors(network), self.config
        read, target = batch["read"], batch["write"]
        before = torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], 1)
        x, _ = decode(p, config, encode(p, config, read, parts.encoder), before, None, parts.decoder)
        every = self.recipe["objective"]["structure"]
        if every > 1:
            some = -(-len(target) // every)
            ends = [0, 1, target.shape[1] - 1]
            x = torch.cat([x[:, 2:-1].reshape(-1, x.shape[-1]), x[:some, ends].reshape(-1, x.shape[-1])])
            target = torch.cat([target[:, 2:-1].reshape(-1), target[:some, ends].reshape(-1)])
        with torch.autocast(x.device.type, enabled=False):  # logits of 8 bits would not tell neighbours apart
            some = {key: p[key] for key in ("head", "head_b", "features_out") if key in p}
            return {"loss": parts.entropy(some, x.float().flatten(0, -2), target.flatten())}

    def errors(self, network: Any, A: Any, *, constrained: bool = True) -> np.ndarray:
        """`entrywise_error` (B,) of the network's answers to matrices (B, n, n)."""
        import torch

        p, config, n = named_tensors(network), self.config, A.shape[-1]
        device, found = p["head_b"].device, []
        with torch.no_grad():
            for part in np.array_split(A, -(-len(A) // 1024)):
                read = torch.as_tensor(config.reads.write(part), device=device)
                ids = write(p, config, read, n, constrained=constrained)
                found.append(to_numpy(config.writes.read(ids, n)))
        return entrywise_error(np.concatenate(found), symmetric_function(A, config.f))

    def validate(self, network: Any) -> dict[str, float]:
        """Loss, shares within 5, 2, 1 and .5 %, median error, and malformed answers of greedy decoding without grammar.

        Notes
        -----
        Exact is the function of the matrix itself, before its entries were rounded.
        """
        import torch

        figures: dict[str, float] = {}
        for n, A in self.held.items():
            device = next(iter(network.parameters())).device
            batch = {key: torch.as_tensor(ids, device=device) for key, ids in example(self.config, A).items()}
            found = {"loss": float(self.loss(network, batch)["loss"])}
            errors = self.errors(network, A)
            found |= within(errors) | {"median_error": float(np.median(errors))}
            found["malformed"] = float(np.mean(np.isinf(self.errors(network, A, constrained=False))))
            last = n == self.config.sizes[-1]
            figures |= {key if last else f"{key}_n{n}": value for key, value in found.items()}
        return figures

    def export(self, network: Any, path: Path, card: dict[str, Any]) -> None:
        """Write the engine."""
        self.engine(arrays(network), card).save(path)

    def engine(self, state: dict[str, np.ndarray], card: dict[str, Any]) -> TokenTransformerEngine:
        """The model in use, of trained arrays."""
        envelope = {"n": [self.config.sizes[0], self.config.sizes[-1]], "entry": [float(v) for v in self.limits]}
        state = state | {"limits": self.limits.astype(np.float32)}
        main = max(self.families, key=self.families.__getitem__)
        drawn = {self.config.f: {"family": main, **self.options(main)}}
        return TokenTransformerEngine(self.config, state, card | {"envelope": envelope, "drawn": drawn})
