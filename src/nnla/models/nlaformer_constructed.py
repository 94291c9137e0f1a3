"""NLAFormer from its construction: CG in softmax attention with explicit weights, whose few free numbers are trained.

The prompt matrix has one column for a sink, one for each column of A, and states in the last column; attention adds A d
by differences of heads behind the sink, and an exact pointwise map takes the step. At first it is CG, or nearly so.
What is learned: a scaling of the residual by a power of the diagonal, the step size, the heads' c, and probes that look
ahead: x_t + (about the next step), for which the product is not made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnla.constructions.difference_heads import default_sink, default_step, head_scheme
from nnla.errors import OptionError
from nnla.models.iterated_solutions import IteratedEngine, possible_sizes
from nnla.models.nlaformer import unit_systems
from nnla.operators.arrays import namespace, on_device

__all__ = ["ConstructedConfig", "ConstructedEngine", "constructed_iterates", "initial_numbers"]

SCHEME = head_scheme("four")  # sums of exp(t c z) that are z + O(c^4 z^5)
SINK = default_sink()
FEATURES = 4  # of a predicted Rayleigh quotient
_TINY = 1e-300


@dataclass(frozen=True)
class ConstructedConfig:
    """Sizes; written into the weights file.

    Attributes
    ----------
    n : of the matrices
    loops : iterations, and probes
    """

    n: int = 20
    loops: int = 10

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all arrays."""
        T = self.loops + 1
        return {"log_c": (1,), "step": (1,), "power": (1,), "shift": (1,), "gains": (T, 2), "quotient": (T, FEATURES)}

    def rows(self) -> dict[str, slice]:
        """Rows of the prompt by what they hold."""
        n, at, found = self.n, 0, {}
        sizes = {"a": n, "b": 1, "m": 1, "d": n, "x": n, "r": n, "y": n, "M": n, "past": 2, "e": n + 1}
        for name, size in sizes.items():
            found[name] = slice(at, at + size)
            at += size
        return found


def initial_numbers(config: ConstructedConfig) -> dict[str, np.ndarray]:
    """Numbers that make the loop CG: no scaling, CG's step, no look ahead.

    Examples
    --------
    >>> sorted(initial_numbers(ConstructedConfig(loops=2)))
    ['gains', 'log_c', 'power', 'quotient', 'shift', 'step']
    """
    found = {name: np.zeros(shape) for name, shape in config.shapes().items()}
    found["log_c"][:] = np.log(default_step(SCHEME))
    found["quotient"][:, 1] = 1.0  # of the diagonal's Rayleigh quotient, which the scaled matrix shares at first
    return found


def attention(P: Any, W_V: Any, W_K: Any, W_Q: Any, nodes: Any, weights: Any) -> Any:
    """sum_h w_h e^C W_V P softmax((W_K P)' (W_Q(t_h) P)), the last row of W_Q free of t_h.

    Parameters
    ----------
    P : (B, rows, n + 1) prompts
    W_V, W_K, W_Q : explicit weights; the last rows of W_K and W_Q give the sink its score C. Of W_V those rows that are
        not zero
    nodes, weights : t_h and w_h of the heads

    Returns
    -------
    (B, rows of W_V, n + 1) what is added to P there

    Notes
    -----
    The softmax takes no shift: behind a sink of score C it would round the small scores to C eps.

    References
    ----------
    NLAFormer, equations (1), (28) and (35).
    """
    xp = namespace(P)
    keys, queries = (W_K @ P).swapaxes(-1, -2), W_Q @ P
    sink = keys[..., -1:] @ queries[:, -1:]
    scores = keys[..., :-1] @ queries[:, :-1]
    added: Any = 0.0
    for t, w in zip(nodes, weights, strict=True):
        E = xp.exp(t * scores + sink)
        added = added + w * (E / E.sum(-2)[:, None])
    return (W_V @ P) @ (added * float(np.exp(SINK)))


_TARGETS = {"loop": "y", "b": "r", "m": "M"}  # rows that the heads write to


def _weights(config: ConstructedConfig) -> dict[str, np.ndarray]:
    """W_V, W_K, W_Q of the heads: A d, and b and the scaling into the last column."""
    rows = config.rows()
    places = rows["e"]
    E = np.eye(places.stop)
    ones, last = E[places].sum(0, keepdims=True), E[places.stop - 1 :]
    sink = SINK * E[places.start : places.start + 1]
    found = {"loop_Q": np.vstack([E[rows["d"]], ones]), "loop_K": np.vstack([E[rows["a"]], sink])}
    for name in ("b", "m"):
        found |= {f"{name}_Q": np.vstack([last, ones]), f"{name}_K": np.vstack([E[rows[name]], sink])}
    return found | {f"{name}_V": E[places.start + 1 : places.stop] for name in _TARGETS}


def _dot(u: Any, v: Any) -> Any:
    return (u * v).sum(-1)[:, None]


def constructed_iterates(
    p: Mapping[str, Any], config: ConstructedConfig, A: Any, b: Any, loops: int
) -> list[tuple[Any, Any, Any]]:
    """What the probes read after 0, 1, ..., loops iterations: x_t, r_t, d_t, (B, n) each.

    Parameters
    ----------
    p : numbers by name, `ConstructedConfig.shapes`
    A, b : (B, n, n), of Frobenius norm about one, and (B, n)
    loops : at most those of the config

    Notes
    -----
    Two pre-processing layers (four heads each: b and the diagonal into the last column) and a loop layer of four heads,
    whose pointwise map is exact: no ReLU network. Directions are normalised in the prompt.

    Cost: heads * (n + 1) (rows^2 + 2 n^2) multiplications a loop, rows = 6 n + 5, for one product with A.

    References
    ----------
    NLAFormer, lemma 3.2 and theorem 3.1.
    """
    xp, n, at = namespace(A), config.n, config.rows()
    W = {key: on_device(value, A) for key, value in _weights(config).items()}
    c = xp.exp(p["log_c"])
    nodes, weights = [t * c for t in SCHEME.nodes], [w / c for w in SCHEME.weights]

    def attend(P: Any, name: str) -> Any:
        added = attention(P, W[name + "_V"], W[name + "_K"], W[name + "_Q"], nodes, weights)
        rows = at[_TARGETS[name]]
        return xp.concatenate([P[:, : rows.start], P[:, rows] + added, P[:, rows.stop :]], 1)

    def read(P: Any, name: str) -> Any:
        return P[:, at[name], -1]

    def written(P: Any, values: Mapping[str, Any]) -> Any:
        """The pointwise map: other numbers in some rows of the last column."""
        column = [values.get(name, P[:, at[name], -1]) for name in at]
        return xp.concatenate([P[:, :, :-1], xp.concatenate(column, -1)[..., None]], -1)

    # the prompt, (33): a sink, then a_i, b_i; the pointwise map of the first layer takes the diagonal from a_i and e_i
    zero = xp.zeros_like(A)
    diagonal = A.diagonal(0, -2, -1)[:, None, :]
    m = (xp.abs(diagonal + p["shift"]) + _TINY) ** (-p["power"])
    given = {"a": A, "b": b[:, None, :], "m": m / m.mean(-1)[..., None]}
    body = xp.concatenate([given.get(name, zero[:, : at[name].stop - at[name].start]) for name in at if name != "e"], 1)
    body = xp.concatenate([xp.zeros_like(body[..., :1]), body], -1)
    P = xp.concatenate([body, xp.zeros_like(body[:, : n + 1]) + on_device(np.eye(n + 1), A)], 1)

    P = attend(attend(P, "b"), "m")
    r, M = read(P, "r"), read(P, "M")
    d = M * r
    P = written(P, {"d": d / (_dot(d, d) ** 0.5 + _TINY)})
    D = diagonal[:, 0]
    found = []
    for t in range(loops + 1):
        if t > 0:
            P = attend(P, "loop")
            x, r, d, y = (read(P, name) for name in ("x", "r", "d", "y"))
            curvature = _dot(d, y) + _TINY
            alpha = xp.exp(p["step"]) * _dot(r, d) / curvature
            x, r = x + alpha * d, r - alpha * y
            z = M * r
            beta = -_dot(z, y) / curvature
            new = z + beta * d
            size = _dot(new, new) ** 0.5 + _TINY
            past = xp.concatenate([xp.log(xp.abs(curvature) + _TINY), xp.log(xp.abs(beta) / size + 1e-30)], -1)
            P = written(P, {"x": x, "r": r, "d": new / size, "y": 0 * y, "past": past})
        x, r, d, past = (read(P, name) for name in ("x", "r", "d", "past"))
        of_d, z = _dot(d, D * d), M * r
        features = xp.concatenate([xp.ones_like(of_d), xp.log(xp.abs(of_d) + _TINY), past], -1)
        ahead = _dot(r, d) * xp.exp(-(features @ p["quotient"][t]))[:, None] * d
        along = _dot(r, z) / (_dot(z, D * z) + _TINY) * z
        found.append((x + p["gains"][t, 0] * ahead + p["gains"][t, 1] * along, r, d))
    return found


class ConstructedEngine(IteratedEngine):
    """Small dense positive definite systems by CG in softmax attention, with a few trained numbers.

    References
    ----------
    Ma, Gao, Ng, NLAFormer: transformers learn numerical linear algebra operations (2025), theorem 3.1.
    """

    name = "nlaformer-constructed"
    label = "NLAFormer numbers"
    config_type = ConstructedConfig

    @staticmethod
    def possible(config: ConstructedConfig) -> bool:
        """Whether the sizes make sense."""
        return possible_sizes(config)

    def details(self) -> list[str]:
        """What `repr` says of the config."""
        return [*super().details(), f"{self.config.loops} loops"]

    @property
    def loop_multiplications(self) -> int:
        """Multiplications of an iteration for one system: the whole layer, where the last column would do."""
        n = self.config.n
        return (n + 1) ** 2 * (2 * n + 1 + SCHEME.heads)

    def path(self, A: Any, b: Any, *, loops: int | None = None) -> list[Any]:
        """x_t (B, n), t = 0, ..., loops, for matrices (B, n, n) and right-hand sides (B, n) in any unit."""
        count = self.config.loops if loops is None else loops
        if not 0 <= count <= self.config.loops:
            raise OptionError(f"loops={loops}: there are probes for 0 to {self.config.loops}; train more (model.loops)")
        A, b, of_x, _ = unit_systems(A, b, "norm")
        n = self.config.n
        found = constructed_iterates(self.parameters_like(A), self.config, A / n, b, count)
        return [x * of_x / n for x, *_ in found]
