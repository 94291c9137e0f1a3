"""Direct regression of matrix functions: a transformer whose tokens are the rows, or the entries, of a matrix.

It sees the matrix in a unit of its own, with powers of it beside the entries and invariants of its spectrum
(`nnla.models.matrix_features`), and says the entries of f(A), for several f at once and n of several sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from nnla.models.engine_base import whole
from nnla.models.matrix_features import (
    CHANNELS,
    SPECTRAL,
    Directions,
    channel_count,
    channels_of,
    feature_count,
    features_of,
    restored,
)
from nnla.models.matrix_functions import FUNCTION_NAMES, MatrixFunctionEngine
from nnla.models.transformer import TransformerConfig, transform
from nnla.operators.arrays import is_torch, namespace

__all__ = ["MatrixRegressionConfig", "MatrixRegressionEngine", "answers", "declined", "regression_features"]

TOKENS = ("rows", "entries")
READ_OUTS = ("linear", "coefficients")
SIZED = {"exp", "sin", "cos"}  # of the others f(c A) is known from f(A)
DEFINITE = {"log", "sqrt", "inv_sqrt"}
_LIMIT = 6.0  # standard deviations at which features are cut


@dataclass(frozen=True)
class MatrixRegressionConfig:
    """Sizes of the network; written into the weights file.

    Attributes
    ----------
    functions : that it answers
    sizes : of matrices, rising
    tokens : "rows", or "entries" of the upper triangle with 2-D positions
    channels, spectral : what is seen of a matrix, see `nnla.models.matrix_features`
    read_out : "linear": entries from tokens; "coefficients": tokens say as well how much of each channel is in theirs
    polish : steps S <- (3 S - S^3) / 2 after the network, of the sign
    frames : signed permutations P that answers P' f(P A P') P are the mean over, in use
    width, blocks, heads, expansion : of the transformer
    """

    functions: tuple[str, ...] = ("exp",)
    sizes: tuple[int, ...] = (3, 4, 5)
    tokens: str = "rows"
    channels: str = "powers"
    spectral: str = "invariants"
    read_out: str = "coefficients"
    polish: int = 0
    frames: int = 1
    width: int = 64
    blocks: int = 3
    heads: int = 4
    expansion: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))  # lists in files
        object.__setattr__(self, "functions", tuple(self.functions))

    @property
    def transformer(self) -> TransformerConfig:
        """The stack of blocks."""
        return TransformerConfig(self.width, self.blocks, self.heads, self.expansion)

    @property
    def sized(self) -> bool:
        """Whether a function depends on the size of A, and not its direction alone."""
        return not SIZED.isdisjoint(self.functions)

    def features(self, n: int) -> int:
        """Numbers beside the entries."""
        return feature_count(n, self.spectral, sized=self.sized)

    def network_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what is trained."""
        L, W, F = self.sizes[-1], self.width, len(self.functions)
        C = channel_count(self.channels, L)
        rows = self.tokens == "rows"
        place = (C, L) if rows else (C,)
        found: dict[str, tuple[int, ...]] = {"encode_W": (*place, W), "encode_b": (W,), "rows_at": (L, W)}
        if not rows:
            found |= {"columns_at": (L, W), "diagonal_at": (W,)}
        for n in self.sizes:
            found |= {f"size{n}_at": (W,)}
            if self.features(n):
                found |= {f"size{n}_feature_W": (self.features(n), W)}
        found |= self.transformer.shapes()
        outputs = (F, L) if rows else (F,)
        if self.read_out == "coefficients":
            found |= {"mix_W": (W, F * C), "mix_b": (F * C,)}
        return found | {"head_W": (W, *outputs), "head_b": outputs}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all arrays."""
        found = self.network_shapes()
        for n in self.sizes:
            found |= {f"size{n}_{part}": (self.features(n),) for part in ("mean", "deviation", "low", "high")}
        return found


def regression_features(config: MatrixRegressionConfig, d: Directions) -> Any:
    """(B, F) features beside the entries, as they are."""
    return features_of(d, config.spectral, sized=config.sized)


def _like(x: Any, like: Any) -> Any:
    return x.to(like.dtype) if is_torch(x) else x.astype(like.dtype, copy=False)


def answers(p: Mapping[str, Any], config: MatrixRegressionConfig, d: Directions) -> Any:
    """(B, functions, n, n): what the network says of the functions of matrices, symmetric, in the network's dtype.

    Parameters
    ----------
    p : parameters by name
    config : sizes
    d : the matrices

    Notes
    -----
    See `nnla.models.matrix_features.restored` for f(A). Cost: the transformer on n tokens, or n (n + 1) / 2.
    """
    xp, n = namespace(d.unit), d.unit.shape[-1]
    one = p["encode_b"]
    X = _like(channels_of(d, config.channels, sized=config.sized), one)  # (B, n, n, C)
    C, F = X.shape[-1], len(config.functions)
    rows = config.tokens == "rows"
    x = one + p[f"size{n}_at"]
    if config.features(n):
        z = _like(regression_features(config, d), one) - p[f"size{n}_mean"]
        z = xp.clip(z / p[f"size{n}_deviation"], -_LIMIT, _LIMIT)
        x = x + (z @ p[f"size{n}_feature_W"])[:, None, :]
    i, j = np.triu_indices(n)
    if rows:  # (B, n, C, n): a token's entries last
        X = X.swapaxes(-1, -2)
        W = p["encode_W"][:C, :n].reshape((C * n, -1))
        x = x + X.reshape((X.shape[0], n, C * n)) @ W + p["rows_at"][:n]
    else:  # (B, T, C, 1)
        X = X[:, i, j][..., None]
        diagonal = _like(xp.asarray(i == j, device=one.device) if is_torch(one) else i == j, one)
        x = x + X[..., 0] @ p["encode_W"][:C] + p["rows_at"][i] + p["columns_at"][j]
        x = x + diagonal[:, None] * p["diagonal_at"]
    x = transform(p, x, config.transformer)
    heads = [p[name][..., :n] if rows else p[name][..., None] for name in ("head_W", "head_b")]
    Y = x @ heads[0].reshape((config.width, -1)) + heads[1].reshape((-1,))
    Y = Y.reshape((*x.shape[:2], F, -1))  # (B, T, F, n or 1)
    if config.read_out == "coefficients":
        mix = (x @ p["mix_W"] + p["mix_b"]).reshape((*x.shape[:2], F, -1))[..., :C]
        Y = Y + mix @ X
    if rows:
        Y = Y.swapaxes(1, 2)
    else:
        place = np.zeros((n, n), dtype=np.int64)
        place[i, j] = place[j, i] = np.arange(len(i))
        Y = Y[..., 0].swapaxes(1, 2)[..., place]
    Y = 0.5 * (Y + Y.swapaxes(-1, -2))
    if config.polish and "sign" in config.functions:
        k = config.functions.index("sign")
        S = Y[:, k]
        for _ in range(config.polish):
            S = 1.5 * S - 0.5 * S @ (S @ S)
        Y = xp.concatenate([Y[:, :k], S[:, None], Y[:, k + 1 :]], 1)
    return Y


def declined(p: Mapping[str, Any], config: MatrixRegressionConfig, d: Directions, f: str) -> Any:
    """(B,) where matrices are unlike those of the training: a feature beyond its range there, or not definite where f
    asks for that.

    Notes
    -----
    Symmetry is not looked at: answers are those of symmetric matrices. Without spectral features only definiteness, and
    the size where functions depend on it, is looked at.
    """
    xp, n = namespace(d.unit), d.unit.shape[-1]
    bad = ~xp.isfinite(d.size) | ((d.unit * d.unit).sum((-1, -2)) < 0.5)  # NaN, or the zero matrix
    if f in DEFINITE:
        bad = bad | ~d.definite
    if config.features(n):
        z = _like(regression_features(config, d), p[f"size{n}_low"])
        bad = bad | ~((z >= p[f"size{n}_low"]) & (z <= p[f"size{n}_high"])).all(-1)
    return bad


def _signed_permutations(n: int, count: int) -> np.ndarray:
    """(count, n, n), the first the identity, the others at random but always the same."""
    rng = np.random.default_rng(n)
    found = np.zeros((count, n, n))
    for P in found:
        P[np.arange(n), rng.permutation(n)] = rng.choice([-1.0, 1.0], n)
    found[0] = np.eye(n)
    return found


class MatrixRegressionEngine(MatrixFunctionEngine):
    """Functions of small symmetric matrices by a transformer over their rows or entries."""

    name = "matrix-regression"
    label = "matrix regression weights"
    config_type = MatrixRegressionConfig
    dtype = np.float32

    @staticmethod
    def possible(config: MatrixRegressionConfig) -> bool:
        """Whether the sizes make sense."""
        c = config
        rising = all(a < b for a, b in pairwise(c.sizes))
        fits = len(c.sizes) > 0 and whole(*c.sizes) and rising and c.sizes[0] >= 2 and c.sizes[-1] <= 16
        known = 0 < len(c.functions) == len(set(c.functions)) and set(c.functions) <= set(FUNCTION_NAMES)
        words = c.tokens in TOKENS and c.channels in CHANNELS and c.spectral in SPECTRAL and c.read_out in READ_OUTS
        steps = isinstance(c.polish, int) and 0 <= c.polish <= 8 and whole(c.frames)
        fits = fits and not (c.sized and c.channels == "adjugates")  # which know no unit
        return fits and known and words and steps and c.transformer.possible()

    def details(self) -> list[str]:
        """What `repr` says of the config."""
        c = self.config
        return [", ".join(c.functions), f"n = {c.sizes[0]} to {c.sizes[-1]}", f"tokens are {c.tokens}"]

    @property
    def functions(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Functions that it was trained for."""
        return self.config.functions

    @property
    def sizes(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Matrices that it was trained on."""
        return self.config.sizes

    def parameters_like(self, like: Any) -> Mapping[str, Any]:
        """The parameters as arrays of the kind and on the device of another; copied once for each."""
        if not is_torch(like):
            return self.parameters
        import torch

        known: dict[str, dict[str, Any]] = self.__dict__.setdefault("_tensors", {})
        device = str(like.device)
        if device not in known:
            known[device] = {key: torch.as_tensor(value, device=like.device) for key, value in self.parameters.items()}
        return known[device]

    def answer(self, A: Any, f: str) -> Any:
        """f(A) (B, n, n), NaN outside of what it saw; see `nnla.models.matrix_functions.MatrixFunctionEngine.answer`.

        Cost: ``frames`` passes of the network on n tokens (rows) or n (n + 1) / 2 (entries), and n - 1 products.
        """
        xp, n = namespace(A), A.shape[-1]
        p, k = self.parameters_like(A), self.functions.index(f)
        wide = A.to(xp.float64) if is_torch(A) else A
        with np.errstate(all="ignore"):
            whole_A = Directions(wide)
            bad = declined(p, self.config, whole_A, f)
            total: Any = 0.0
            for P in _signed_permutations(n, self.config.frames):
                P = xp.asarray(P, dtype=wide.dtype, device=wide.device) if is_torch(A) else P
                d = whole_A if self.config.frames == 1 else Directions(P @ wide @ P.T)
                Y = answers(p, self.config, d)[:, k]
                total = total + P.T @ _like(Y, wide) @ P
            Y = restored(whole_A, f, total / self.config.frames)
        return _like(xp.where(bad[:, None, None], xp.nan + xp.zeros_like(Y), Y), A)
