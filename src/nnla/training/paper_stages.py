"""What the tasks of the paper's engines share: two stages in one run, and spectra with probes that are kept.

*Pre-training* feeds the backbone what only true eigenvalues can say; *post-training* freezes it and trains the
embedding that has to replace those by what a probe knows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nnla.models.paper_backbone import backbone
from nnla.training.chunks import cached_chunks
from nnla.training.config import option
from nnla.training.paper_layers import anchor_weights
from nnla.types import TrainingProgress

__all__ = ["BACKBONE", "EMBEDDING", "StagedTask"]

BACKBONE, EMBEDDING = ("W", "b"), ("W1", "W2", "W3", "W4")


class StagedTask:
    """Stages, stored data, and the loss as far as it is common; a subclass adds spectra, network and objective.

    Attributes
    ----------
    train, held : from `probe_spectra`
    """

    recipe: dict[str, Any]
    config: Any

    # -- for subclasses ---------------------------------------------------------------------------

    def probe_spectra(
        self, part: str, seed: int, count: int, probes: int, progress: TrainingProgress
    ) -> dict[str, np.ndarray]:
        """Spectra and what ``probes`` probes say of each, one spectrum in a row; a function of its arguments alone."""
        raise NotImplementedError

    def embedding(self, parameters: dict[str, Any], probes: Any) -> Any:
        """The network's embedding of probes."""
        raise NotImplementedError

    def objective(self, coefficients: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Losses of the coefficients (D, B, 5) that the network gives for a batch."""
        raise NotImplementedError

    def parameters(self, network: Any) -> dict[str, Any]:
        """The parameters as the engine has them."""
        return dict(network.named_parameters())

    # -- common -----------------------------------------------------------------------------------

    def prepare_probed(self, folder: Path, progress: TrainingProgress) -> None:
        """The spectra with probes, for post-training and for validation; kept in the folder."""
        data, seed = self.recipe["data"], self.recipe["seed"]
        self.train = self._probed(folder, "train", seed + 1, data["probed"], data["probes"], progress)
        self.held = self._probed(folder, "held", seed + 10_000, data["held_out"], 2, progress)

    def _probed(
        self, folder: Path, part: str, seed: int, count: int, probes: int, progress: TrainingProgress
    ) -> dict[str, np.ndarray]:
        def make(index: int, size: int) -> dict[str, np.ndarray]:
            return self.probe_spectra(part, seed, size, probes, progress)

        return cached_chunks(folder, part, count, count, make, progress)  # one chunk: all from one random stream

    def stage(self, number: int) -> tuple[bool, np.ndarray]:
        """Whether a batch belongs to pre-training, and the weights (D,) of the layers at its place in its stage."""
        optim, step = self.recipe["optim"], number // option(self.recipe, "accumulate")
        pretrain = step < optim["pretrain"]
        first, last = (0, optim["pretrain"]) if pretrain else (optim["pretrain"], optim["steps"])
        return pretrain, anchor_weights(step - first, last - first, self.config.layers).astype(np.float32)

    def loss(self, network: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """`objective` of a batch; the parameters of the other stage get no gradient at all."""
        parameters = self.parameters(network)
        if batch["pretrain"]:
            return self.objective(backbone(parameters, batch["inputs"]), batch)
        frozen = {key: parameters[key].detach() for key in BACKBONE}
        return self.objective(backbone(frozen, self.embedding(parameters, batch["inputs"])), batch)

    def finished(self, network: Any) -> dict[str, np.ndarray]:
        """What the engine is made of, in float64."""
        return {key: value.detach().cpu().double().numpy() for key, value in self.parameters(network).items()}
