"""Registry of the shipped weights: name -> file, checksum, card; safe reading and atomic writing.

Weights are safetensors and nothing else: no code is ever loaded from a weights file.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nnla.errors import WeightsError

__all__ = ["load", "read_safetensors", "weights", "write_safetensors"]

_FOLDER = Path(__file__).parent / "weights"


def weights() -> dict[str, dict[str, Any]]:
    """The shipped models: name -> card (recipe, seed, data, envelope, measured figures, sha256).

    Examples
    --------
    >>> import nnla
    >>> "autospec-cg" in nnla.weights()
    True
    """
    with open(_FOLDER / "registry.json", encoding="utf-8") as stream:
        return json.load(stream)


@functools.lru_cache(maxsize=8)
def load(name: str) -> Any:
    """A shipped model by name, verified against its checksum; or any weights file by path.

    Parameters
    ----------
    name : str
        "autospec-cg", "autospec-cg-paper", or the path of a ``.safetensors`` file that
        ``nnla train`` wrote.

    Raises
    ------
    WeightsError
        Unknown name, missing or altered file.
    """
    registry = weights()
    if name in registry:
        entry = registry[name]
        path = _FOLDER / entry["file"]
        if not path.is_file():
            raise WeightsError(f"the weights of {name!r} are missing at {path}; reinstall nnla")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != entry["sha256"]:
            raise WeightsError(f"the weights of {name!r} do not match their checksum; reinstall nnla")
    else:
        path = Path(name)
        if path.suffix != ".safetensors" or not path.is_file():
            raise WeightsError(
                f"no model {name!r}: the shipped ones are {', '.join(sorted(registry))}; "
                "or give the path of a .safetensors file written by `nnla train`"
            )
    kind = _kind(path)
    if kind == "autospec-engine":
        from nnla.models.autospec import AutoSpecEngine

        return AutoSpecEngine.from_file(path)
    if kind == "autospec-paper":
        from nnla.models.autospec_paper import PaperEngine

        return PaperEngine.from_file(path)
    raise WeightsError(f"{path}: weights of kind {kind!r} are not known to this version of nnla")


def _kind(path: Path) -> str:
    _, metadata = read_safetensors(path, kind=None)
    return metadata.get("kind", "unknown")


def read_safetensors(path: str | Path, *, kind: str | None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors and metadata of a weights file.

    Raises
    ------
    WeightsError
        Not a safetensors file, truncated, or of another kind than asked for.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as stream:
            metadata = stream.metadata() or {}
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
    if kind is not None and metadata.get("kind") != kind:
        raise WeightsError(f"{path}: weights of kind {metadata.get('kind')!r}, expected {kind!r}")
    return tensors, metadata


def write_safetensors(path: str | Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a weights file atomically: a killed process leaves the old file or the new one."""
    from safetensors.numpy import save

    path = Path(path)
    data = save({key: np.ascontiguousarray(value) for key, value in tensors.items()}, metadata=dict(sorted(metadata.items())))
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, 0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
