"""Registry of the shipped weights: name -> file, checksum, card; safe reading and atomic writing.

Weights are safetensors and nothing else: no code is ever loaded from a weights file.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import json
import os
import re
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nnla._files import one_line, parsed_object, write_atomic
from nnla.errors import WeightsError
from nnla.report import from_fields

__all__ = ["load", "read_model", "read_safetensors", "save_model", "weights", "write_safetensors"]

Config = TypeVar("Config")

_LARGEST = 2**16  # of numbers in a config, which are sizes and rates

_FOLDER = Path(__file__).parent / "weights"


def weights() -> dict[str, dict[str, Any]]:
    """The shipped models: name -> file, sha256, reader, purpose, and card (recipe, seed, envelope, measured figures).

    Notes
    -----
    Cost: one small JSON file read.

    Examples
    --------
    >>> import nnla
    >>> "autospec-cg" in nnla.weights()
    True
    """
    try:
        return json.loads((_FOLDER / "registry.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"the list of the shipped weights cannot be read ({error}); reinstall nnla") from error


def load(name: str | os.PathLike[str]) -> Any:
    """A shipped model by name, verified against its checksum; or any weights file by path.

    Parameters
    ----------
    name : str or path
        "autospec-cg", "nsls-plus-geometric", ... (`weights` lists them), or the path of a ``.safetensors`` file
        that ``nnla train`` wrote. Files name the class that reads them; only those of `nnla.models` do.

    Raises
    ------
    WeightsError
        Unknown name; missing, altered or malformed file; one that names another reader.

    Notes
    -----
    Cost: the file read once, and its SHA-256 for a shipped model.

    A shipped model is read once; a file is read anew at every call, as it may have been trained further.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise WeightsError(f"a model is loaded by name or path, got {type(name).__name__}")
    name = os.fspath(name)
    if name in _names():
        return _shipped(name)
    path = Path(name)
    if path.suffix != ".safetensors" or not _is_file(path):
        raise WeightsError(
            f"no model {one_line(repr(name))}: the shipped ones are {', '.join(sorted(_names()))}; "
            "or give the path of a .safetensors file written by `nnla train`"
        )
    return _engine(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


@functools.lru_cache(maxsize=1)
def _names() -> tuple[str, ...]:
    return tuple(weights())


@functools.cache
def _shipped(name: str) -> Any:
    entry = weights()[name]
    path = _FOLDER / entry["file"]
    if not path.is_file():
        raise WeightsError(f"the weights of {name!r} are missing at {path}; reinstall nnla")
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise WeightsError(f"the weights of {name!r} do not match their checksum; reinstall nnla")
    return _engine(path, entry.get("reader"))


# what reads the files that were written before these named their reader
_READERS = {
    "autospec-engine": "nnla.models.autospec:AutoSpecEngine",
    "autospec-paper": "nnla.models.autospec_paper:PaperEngine",
    "autospec-tail": "nnla.models.autospec_tail:TailEngine",
    "autospec-eig": "nnla.models.autospec_eig:AutoSpecEigEngine",
    "autospec-eig-paper": "nnla.models.autospec_eig_paper:EigPaperEngine",
    "autospec-funm-paper": "nnla.models.autospec_funm_paper:FunmPaperEngine",
    "autospec-function": "nnla.models.autospec_fun:FunctionEngine",
    "momentum-schedules": "nnla.models.schedules:MomentumEngine",
    "nsls": "nnla.models.nsls:NSLS",
    "nsls-plus": "nnla.models.nsls_plus:NSLSPlus",
    "quadratic-transitions": "nnla.models.schedules:TransitionTable",
}
_BASE = "nnla.models.engine_base:EngineBase"
_READER = re.compile(r"nnla\.models\.([a-z][a-z0-9_]*):([A-Z][A-Za-z0-9]*)", re.ASCII)


def _engine(path: Path, reader: str | None = None) -> Any:
    if reader is None:
        _, metadata = read_safetensors(path, kind=None)
        kind = metadata.get("kind", "unknown")
        reader = metadata.get("reader") or _READERS.get(kind)
        if reader is None:
            raise WeightsError(f"{path}: weights of kind {one_line(repr(kind))} are not known to this version of nnla")
    return _reader(path, reader).from_file(path)


def _reader(path: Path, reader: Any) -> Any:
    """The class that a file names, looked for among nnla's models and nowhere else."""
    match = _READER.fullmatch(reader) if isinstance(reader, str) else None
    if match is None:
        raise WeightsError(
            f"{path}: weights are read by a class of nnla.models, and these name {one_line(repr(reader))}; leave them"
        )
    name, found = f"nnla.models.{match[1]}", None
    try:
        found = vars(importlib.import_module(name)).get(match[2])
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and lacks something itself
            raise
    # an engine by its ancestors' names: this file stands below the models, and imports none by itself
    ancestors = {f"{base.__module__}:{base.__name__}" for base in found.__mro__[1:]} if isinstance(found, type) else ()
    if _BASE not in ancestors or found.__module__ != name:
        raise WeightsError(
            f"{path}: this version of nnla has no {one_line(repr(reader))}, which reads these weights; "
            "install a newer one"
        )
    return found


def save_model(
    path: str | Path,
    *,
    kind: str,
    config: Any,
    parameters: dict[str, np.ndarray],
    card: dict[str, Any],
    reader: str | None = None,
) -> None:
    """Write a model's tensors, with its config (a dataclass), card and reader in the metadata, atomically.

    Parameters
    ----------
    kind : of the file, see `read_model`
    reader : "nnla.models.MODULE:CLASS" that reads it; None for the class of that kind

    Notes
    -----
    Cost: that of `write_safetensors`.

    A tensor is written in float32 where that holds all its numbers, as it does those of most trained networks,
    else as it is: nothing is lost.
    """
    tensors = {key: _narrowed(value) for key, value in parameters.items()}
    metadata = {"kind": kind, "config": json.dumps(dataclasses.asdict(config)), "card": json.dumps(card)}
    if reader is not None and reader != _READERS.get(kind):
        metadata["reader"] = reader
    write_safetensors(path, tensors, metadata)


def _narrowed(value: np.ndarray) -> np.ndarray:
    if value.dtype != np.float64:
        return value
    with np.errstate(over="ignore"):
        single = value.astype(np.float32)
    return single if np.array_equal(single, value, equal_nan=True) else value


def read_model(
    path: str | Path, *, kind: str, config: type[Config]
) -> tuple[Config, dict[str, np.ndarray], dict[str, Any]]:
    """Config, tensors and card of a weights file that `save_model` wrote.

    Raises
    ------
    WeightsError
        Anything malformed, or of another kind.

    Notes
    -----
    Cost: that of `read_safetensors`.
    """
    tensors, metadata = read_safetensors(path, kind=kind)
    try:
        return _config(config, parsed_object(metadata["config"])), tensors, parsed_object(metadata["card"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: the metadata of the weights cannot be read ({one_line(error)})") from error


def _config(kind: type[Config], fields: dict[str, Any]) -> Config:
    """A config whose fields have their types, and numbers that a network can be of."""
    unknown = fields.keys() - {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"no field {min(unknown)[:80]!r} is known")
    for name, value in fields.items():
        if isinstance(value, (int, float)) and not abs(value) <= _LARGEST:
            raise ValueError(f"{name} is too large or not finite")
    return from_fields(kind, fields)


def read_safetensors(path: str | Path, *, kind: str | None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors and metadata of a weights file.

    Raises
    ------
    WeightsError
        Not a safetensors file, truncated, or of another kind than asked for.

    Notes
    -----
    Cost: the file read once; memory of its tensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as stream:
            tensors, metadata = _contents(stream)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        # the last two: dtypes that NumPy does not have
        raise WeightsError(f"{path}: not a readable safetensors file ({one_line(error)})") from error
    if kind is not None and metadata.get("kind") != kind:
        raise WeightsError(f"{path}: weights of kind {one_line(repr(metadata.get('kind')))}, expected {kind!r}")
    return tensors, metadata


def _contents(stream: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    return {key: stream.get_tensor(key) for key in stream.keys()}, stream.metadata() or {}  # noqa: SIM118


def write_safetensors(path: str | Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a weights file atomically; the same contents give the same bytes.

    Cost: one copy of the tensors in memory, then of the bytes.
    """
    from safetensors.numpy import save

    data = save({key: np.ascontiguousarray(value) for key, value in tensors.items()}, metadata=metadata)
    # the library writes the metadata in an order that changes from call to call
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    if metadata:
        header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors stay aligned
    write_atomic(path, len(text).to_bytes(8, "little") + text + data[end:])
