"""The token transformer in use: f(A) as a sequence of number tokens, declined outside of what it was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from nnla.models.matrix_functions import HOMOGENEOUS, MatrixFunctionEngine
from nnla.models.token_network import TokenTransformerConfig, write
from nnla.operators.arrays import is_torch, namespace

__all__ = ["TokenTransformerEngine"]

_DEFINITE = ("log", "sqrt", "inv_sqrt")  # real for definite matrices
_BATCH = 1024  # matrices at once


class TokenTransformerEngine(MatrixFunctionEngine):
    """f(A) of symmetric matrices, read and written as tokens of three significant digits."""

    name = "matfun-tokens"
    label = "token transformer weights"
    config_type = TokenTransformerConfig
    # In float32 one answer in some hundreds depends on the rest of its batch: two numbers are about as likely.
    dtype = np.float64

    @staticmethod
    def possible(config: TokenTransformerConfig) -> bool:
        """Whether the sizes make sense."""
        return config.possible()

    def details(self) -> list[str]:
        """What `repr` says of the config."""
        config = self.config
        return [f"{config.f} of n = {', '.join(map(str, config.sizes))}", f"{config.input} to {config.output}"]

    @property
    def functions(self) -> tuple[str, ...]:  # type: ignore[override]
        """The one that it was trained for."""
        return (self.config.f,)

    @property
    def sizes(self) -> tuple[int, ...]:  # type: ignore[override]
        """Matrices that it was trained on."""
        return self.config.sizes

    def parameters_like(self, like: Any) -> Mapping[str, Any]:
        """The parameters as arrays of the kind and on the device of another.

        Cost: a copy to a device, once for each.
        """
        if not is_torch(like):
            return self._tables
        torch = namespace(like)
        known: dict[str, dict[str, Any]] = self.__dict__.setdefault("_tensors", {})
        device = str(like.device)
        if device not in known:
            known[device] = {key: torch.as_tensor(x, device=like.device) for key, x in self._tables.items()}
        return known[device]

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        """Parameters and features."""
        return self.parameters | {key: x.astype(self.dtype) for key, x in self.config.features.items()}

    def answer(self, A: Any, f: str) -> Any:
        """f(A) (B, n, n), NaN where it declines: matrices that are not symmetric or not finite, log and roots of those
        that are not definite, and entries beyond the range of its training; where f(c A) is a power of c times f(A),
        matrices are brought into that range.

        Cost: see `write`; NumPy and torch alike, in float64.
        """
        return self.written(A)

    def written(self, A: Any, *, constrained: bool = True) -> Any:
        """As `answer`; ``constrained`` as in `write`, and NaN for malformed answers.

        Cost: see `write`.
        """
        if is_torch(A):
            torch = namespace(A)
            with torch.no_grad():
                found = self._written(A.detach().to(torch.float64), constrained)
            return found.to(A.dtype) if A.is_floating_point() else found
        return self._written(A, constrained)

    def _written(self, A: Any, constrained: bool) -> Any:
        xp, p, n = namespace(A), self.parameters_like(A), A.shape[-1]
        unit, scale, fits = self._judged(A)
        answer = xp.full_like(A, float("nan"))
        some = xp.where(fits[:, None, None], unit, xp.zeros_like(A))
        for first in range(0, A.shape[0], _BATCH):
            part = slice(first, first + _BATCH)
            ids = write(p, self.config, self.config.reads.write(some[part]), n, constrained=constrained)
            answer[part] = self.config.writes.read(ids, n)
        power = HOMOGENEOUS.get(self.config.f, 0.0)
        answer = answer * (scale**power)[:, None, None] if power else answer
        return xp.where(fits[:, None, None], answer, xp.full_like(A, float("nan")))

    def _judged(self, A: Any) -> tuple[Any, Any, Any]:
        """Matrices in the unit of the training, their scales (B,), and which ones the network answers."""
        xp, B = namespace(A), A.shape[0]
        low, high = (float(v) for v in self.parameters["limits"])
        fits = xp.isfinite(A).reshape(B, -1).all(-1)
        A = xp.where(fits[:, None, None], A, xp.zeros_like(A))
        flat = abs(A).reshape(B, -1)
        size = flat.max(-1).values if is_torch(A) else flat.max(-1)
        outside = (size < low) | (size > high)
        scale = xp.ones_like(size)
        if self.config.f in HOMOGENEOUS:  # to the middle, by logarithms; 0 has no unit
            scale = xp.where(outside & (size > 0), size / math.sqrt(low * high), scale)
            outside = size == 0
        fits = fits & ~outside & xp.isfinite(scale) & (scale > 0)
        scale = xp.where(fits, scale, xp.ones_like(scale))
        unit = A / scale[:, None, None]
        skew = abs(unit - unit.swapaxes(-1, -2)).reshape(B, -1)
        skew = skew.max(-1).values if is_torch(A) else skew.max(-1)
        fits = fits & (skew <= 1e-6 * high)
        if self.config.f in _DEFINITE:
            safe = xp.where(fits[:, None, None], unit, xp.zeros_like(unit))
            fits = fits & (xp.linalg.eigvalsh(safe)[:, 0] > 0)
        return unit, scale, fits
