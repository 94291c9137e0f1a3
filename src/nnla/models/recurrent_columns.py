"""Bidirectional LSTM and GRU over the columns of a dense matrix: the baselines of Algebraformer.

Token i is the i-th column with the i-th entry of the right-hand side below, as Algebraformer's. Parameters have the
names and shapes of ``torch.nn.LSTM`` and ``torch.nn.GRU``, whose fused layers run in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnla.models.dense_tables import TabledEngine, standardised, table_shapes, unit_answers, unit_rhs
from nnla.models.engine_base import whole
from nnla.operators.arrays import namespace

__all__ = ["RecurrentColumnsConfig", "RecurrentColumnsEngine", "column_tokens", "recur"]

GATES = {"lstm": 4, "gru": 3}


@dataclass(frozen=True)
class RecurrentColumnsConfig:
    """Sizes of the network; written into the weights file.

    Attributes
    ----------
    n : of the matrices
    cell : "lstm" or "gru"
    width : units of a direction
    layers : one after the other
    """

    n: int = 64
    cell: str = "lstm"
    width: int = 384
    layers: int = 4

    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the recurrent layers' parameters."""
        found: dict[str, tuple[int, ...]] = {}
        rows = GATES[self.cell] * self.width
        for layer in range(self.layers):
            inputs = self.n + 1 if layer == 0 else 2 * self.width
            for end in (f"l{layer}", f"l{layer}_reverse"):
                found |= {f"weight_ih_{end}": (rows, inputs), f"weight_hh_{end}": (rows, self.width)}
                found |= {f"bias_ih_{end}": (rows,), f"bias_hh_{end}": (rows,)}
        return found

    def network_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what is trained."""
        return self.layer_shapes() | {"head_W": (2 * self.width, 1), "head_b": (1,)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all arrays."""
        return self.network_shapes() | table_shapes(self.n, linear=False)


def column_tokens(p: Mapping[str, Any], A: Any, b: Any) -> Any:
    """Tokens (B, n, n + 1), one a column, of unit-free matrices (B, n, n) and right-hand sides (B, n)."""
    return namespace(A).concatenate([standardised(p, A).swapaxes(-1, -2), b[..., None]], -1)


def recur(p: Mapping[str, Any], config: RecurrentColumnsConfig, tokens: Any) -> Any:
    """States (B, T, 2 width) after the last layer, those of both directions side by side.

    Notes
    -----
    Cost: 2 layers T times gates width (inputs + width) multiplications a system, one token after the other.

    References
    ----------
    Hochreiter, Schmidhuber, Neural Computation 9 (1997) 1735-1780; Cho et al., arXiv:1406.1078, in the form that
    torch.nn has them.
    """
    xp = namespace(tokens)
    step = _lstm if config.cell == "lstm" else _gru
    x = tokens
    for layer in range(config.layers):
        directions = []
        for end in (f"l{layer}", f"l{layer}_reverse"):
            inputs = x @ p[f"weight_ih_{end}"].T + p[f"bias_ih_{end}"]
            W, bias = p[f"weight_hh_{end}"].T, p[f"bias_hh_{end}"]
            order = range(x.shape[1])
            h = xp.zeros_like(inputs[:, 0, : config.width])
            cell, states = h, {}
            for t in reversed(order) if end.endswith("reverse") else order:
                h, cell = step(xp, inputs[:, t], h @ W + bias, h, cell)
                states[t] = h
            directions.append(xp.stack([states[t] for t in order], 1))
        x = xp.concatenate(directions, -1)
    return x


def _sigmoid(xp: Any, z: Any) -> Any:
    return 0.5 + 0.5 * xp.tanh(0.5 * z)


def _lstm(xp: Any, inputs: Any, states: Any, h: Any, cell: Any) -> tuple[Any, Any]:
    W = h.shape[-1]
    z = inputs + states
    enter, forget, leave = (_sigmoid(xp, z[:, k * W : (k + 1) * W]) for k in (0, 1, 3))
    cell = forget * cell + enter * xp.tanh(z[:, 2 * W : 3 * W])
    return leave * xp.tanh(cell), cell


def _gru(xp: Any, inputs: Any, states: Any, h: Any, cell: Any) -> tuple[Any, Any]:
    W = h.shape[-1]
    reset, update = (_sigmoid(xp, inputs[:, part] + states[:, part]) for part in (slice(W), slice(W, 2 * W)))
    new = xp.tanh(inputs[:, 2 * W :] + reset * states[:, 2 * W :])
    return new + update * (h - new), cell


class RecurrentColumnsEngine(TabledEngine):
    """Trained LSTM or GRU: arrays, a config and a card.

    References
    ----------
    Algebraformer, section 4 and table 1.
    """

    name = "recurrent-columns"
    label = "recurrent weights"
    config_type = RecurrentColumnsConfig

    @staticmethod
    def possible(config: RecurrentColumnsConfig) -> bool:
        """Whether the sizes make sense."""
        fits = whole(config.n, config.width, config.layers, 4 * config.width)
        return fits and config.cell in GATES and 3 <= config.n <= 1024 and config.layers <= 64

    def details(self) -> list[str]:
        """What `repr` says of the config."""
        return [*super().details(), self.config.cell.upper()]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Matrices that it was trained on."""
        return (self.config.n,)

    def solutions(self, p: Mapping[str, Any], A: Any, b: Any) -> Any:
        """x (B, n) for unit-free matrices (B, n, n) and right-hand sides (B, n), in the network's dtype."""
        unit, size = unit_rhs(b)
        out = recur(p, self.config, column_tokens(p, A, unit)) @ p["head_W"] + p["head_b"]
        return unit_answers(p, out[..., 0]) * size[..., None]
