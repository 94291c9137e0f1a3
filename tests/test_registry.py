"""Weights files: whatever is wrong with one is a `WeightsError`; writing is all or nothing."""

import hashlib
import json
import os
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from nnla import registry
from nnla._files import write_atomic
from nnla.errors import WeightsError
from nnla.registry import load, read_safetensors, write_safetensors


def header(tensors: dict, body: bytes = b"", metadata: dict | None = None) -> bytes:
    """A hand-made safetensors file."""
    text = json.dumps(tensors | ({"__metadata__": metadata} if metadata else {})).encode()
    return struct.pack("<Q", len(text)) + text + body


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
MALICIOUS = {
    "empty": b"",
    "text": b"hello, I am a pickle",
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    "huge header": struct.pack("<Q", 2**62) + b"{}",
    "header longer than the file": struct.pack("<Q", 5000) + b"{}",
    "not JSON": struct.pack("<Q", 4) + b"{{{{",
    "JSON of another kind": struct.pack("<Q", 4) + b"[1] ",
    "tensor beyond the end": header({"W0": ENTRY | {"data_offsets": [0, 8000]}}, b"\0" * 8),
    "negative offset": header({"W0": ENTRY | {"data_offsets": [-8, 0]}}, b"\0" * 8),
    "overlap": header({"W0": ENTRY, "W1": ENTRY}, b"\0" * 8),
    "shape that is not the size": header({"W0": ENTRY | {"shape": [3]}}, b"\0" * 8),
    "overflowing shape": header({"W0": ENTRY | {"shape": [2**40, 2**40]}}, b"\0" * 8),
    "unknown dtype": header({"W0": ENTRY | {"dtype": "PY_OBJECT"}}, b"\0" * 8),
    "dtype that NumPy lacks": header({"W0": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
    "trailing bytes": header({"W0": ENTRY}, b"\0" * 99),
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_files(tmp_path, name):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(MALICIOUS[name])
    with pytest.raises(WeightsError) as caught:
        load(str(path))
    assert "bad.safetensors" in str(caught.value)


def test_every_truncation_is_noticed(tmp_path, make_engine):
    path = tmp_path / "e.safetensors"
    make_engine().save(path)
    data = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(WeightsError):
            load(path)
    path.write_bytes(data)
    assert load(path).config == make_engine().config


@pytest.mark.parametrize("kind", ["checkpoint", "unknown", None])
def test_wrong_kind(tmp_path, kind):
    path = tmp_path / "k.safetensors"
    metadata = {} if kind is None else {"kind": kind}
    write_safetensors(path, {"x": np.ones(2)}, metadata)
    with pytest.raises(WeightsError, match="kind"):
        load(path)
    with pytest.raises(WeightsError, match="expected 'autospec-engine'"):
        read_safetensors(path, kind="autospec-engine")
    assert read_safetensors(path, kind=None)[1] == metadata


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["W1", "std", "high"])
def test_nan_weights(tmp_path, make_engine, key, bad):
    engine = make_engine()
    engine.parameters[key].flat[0] = bad
    engine.save(tmp_path / "e.safetensors")
    with pytest.raises(WeightsError, match="NaN or Inf"):
        load(tmp_path / "e.safetensors")


def engine_file(path, make_engine, *, drop=None, **metadata):
    """An engine's file with a tensor left out, or with other metadata."""
    engine = make_engine()
    engine.save(path)
    tensors, found = read_safetensors(path, kind=None)
    tensors = {key: value for key, value in tensors.items() if key != drop}
    path.write_bytes(save(tensors, metadata=found | metadata))
    return path


@pytest.mark.parametrize("key", ["W0", "b2", "mean", "low"])
def test_missing_tensor_is_named(tmp_path, make_engine, key):
    with pytest.raises(WeightsError, match=key):
        load(engine_file(tmp_path / "e.safetensors", make_engine, drop=key))


@pytest.mark.parametrize(
    "config", ["", "[]", "null", "{", '{"hidden": 7}', '{"members": "many"}', '{"__class__": "os"}']
)
def test_bad_config(tmp_path, make_engine, config):
    with pytest.raises(WeightsError):
        load(engine_file(tmp_path / "e.safetensors", make_engine, config=config))


@pytest.mark.parametrize("name", ["nonsense", "", ".", "/", "a\0b.safetensors", "missing.safetensors", "x.pt"])
def test_unknown_names(name):
    with pytest.raises(WeightsError, match="no model"):
        load(name)


def test_things_that_are_no_names():
    for thing in (None, 3, [1], b"autospec-cg"):
        with pytest.raises(WeightsError):
            load(thing)


# -- the shipped ones -------------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path, monkeypatch, make_engine):
    """A folder of one shipped model, in place of the real one."""
    make_engine().save(tmp_path / "m.safetensors")
    digest = hashlib.sha256((tmp_path / "m.safetensors").read_bytes()).hexdigest()
    (tmp_path / "registry.json").write_text(json.dumps({"m": {"file": "m.safetensors", "sha256": digest, "card": {}}}))
    monkeypatch.setattr(registry, "_FOLDER", tmp_path)
    for cache in (registry._names, registry._shipped):
        cache.cache_clear()
    yield tmp_path
    for cache in (registry._names, registry._shipped):
        cache.cache_clear()


def test_shipped_model_is_read_once(shipped):
    assert load("m") is load("m")
    with pytest.raises(WeightsError, match="the shipped ones are m;"):
        load("other")


def test_wrong_checksum(shipped):
    path = shipped / "m.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # still a well-formed file, of finite numbers
    path.write_bytes(data)
    assert load(path) is not None
    with pytest.raises(WeightsError, match="checksum"):
        load("m")


def test_missing_file(shipped):
    (shipped / "m.safetensors").unlink()
    with pytest.raises(WeightsError, match="missing"):
        load("m")


@pytest.mark.parametrize("text", [None, "", "not JSON", "\xff"])
def test_damaged_list(shipped, text):
    if text is None:
        (shipped / "registry.json").unlink()
    else:
        (shipped / "registry.json").write_text(text, encoding="latin-1")
    for call in (registry.weights, lambda: load("m")):
        with pytest.raises(WeightsError, match="reinstall"):
            call()


def test_every_shipped_file_has_its_checksum():
    for name, entry in registry.weights().items():
        data = (registry._FOLDER / entry["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"], name


# -- files of the user ------------------------------------------------------------------------------


def test_a_file_trained_further_is_read_anew(tmp_path, make_engine):
    path = tmp_path / "e.safetensors"
    for seed in (1, 2):
        make_engine(seed).save(path)
        assert load(str(path)).card["name"] == f"random-{seed}"


def test_writing_is_reproducible_and_readable_by_others(tmp_path):
    tensors = {"b": np.arange(6.0).reshape(2, 3)[:, ::2], "a": np.float32([[1]])}
    for name in ("one", "two"):
        write_safetensors(tmp_path / name, tensors, {"y": "2", "x": "1"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found, metadata = read_safetensors(tmp_path / "one", kind=None)
    assert np.array_equal(found["b"], tensors["b"])
    assert metadata == {"x": "1", "y": "2"}
    if os.name == "posix":
        assert (tmp_path / "one").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "w"
    write_atomic(path, b"old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry.os, "replace", full)
    with pytest.raises(OSError, match="space"):
        write_atomic(path, b"new")
    monkeypatch.setattr(registry.os, "fdopen", full)
    with pytest.raises(OSError, match="space"):
        write_safetensors(path, {"x": np.ones(3)}, {})
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["w"]
