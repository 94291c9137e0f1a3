"""Weights files: whatever is wrong with one is a `WeightsError`; writing is all or nothing."""

import hashlib
import importlib
import json
import os
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from nnla import registry
from nnla._files import write_atomic
from nnla.errors import WeightsError
from nnla.models.autospec import AutoSpecEngine
from nnla.models.autospec_paper import PaperConfig, PaperEngine
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


def engine_file(path, make_engine, *, drop=None, **metadata):
    """An engine's file with a tensor left out, or with other metadata."""
    engine = make_engine()
    engine.save(path)
    tensors, found = read_safetensors(path, kind=None)
    tensors = {key: value for key, value in tensors.items() if key != drop}
    path.write_bytes(save(tensors, metadata=found | metadata))
    return path


READERS = {
    "another package": "os:system",
    "nnla itself": "nnla.registry:load",
    "the package of the models": "nnla.models:EngineBase",
    "a module within a module": "nnla.models.autospec.__init__:AutoSpecEngine",
    "the package by its file": "nnla.models.__init__:X",
    "a relative path": "nnla.models...os:system",
    "a longer name": "nnla.models.autospec:AutoSpecEngine.from_file",
    "a line more": "nnla.models.autospec:AutoSpecEngine\n",
    "no class": "nnla.models.autospec",
    "a function": "nnla.models.autospec:forward",
    "a class that is no engine": "nnla.models.autospec:EngineConfig",
    "an engine of another module": "nnla.models.autospec:EngineBase",
    "the base of all engines": "nnla.models.engine_base:EngineBase",
    "a module that is not there": "nnla.models.nothing:Engine",
    "a class that is not there": "nnla.models.autospec:Engine",
    "letters of another script": "nnla.models.autospec:AutoSpec\u00c9ngine",
}


@pytest.mark.parametrize("name", READERS)
def test_files_name_readers_among_the_models_only(tmp_path, make_engine, monkeypatch, name):
    asked = []
    real = importlib.import_module
    path = engine_file(tmp_path / "r.safetensors", make_engine, reader=READERS[name])
    monkeypatch.setattr(importlib, "import_module", lambda module: asked.append(module) or real(module))
    with pytest.raises(WeightsError, match=r"r\.safetensors") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert all(module.startswith("nnla.models.") and module.count(".") == 2 for module in asked)


def test_an_old_kind_with_another_reader_is_refused(tmp_path, make_engine):
    path = engine_file(tmp_path / "r.safetensors", make_engine, reader="nnla.models.autospec_tail:TailEngine")
    with pytest.raises(WeightsError, match="expected 'autospec-tail'"):
        load(path)


def test_new_models_name_their_reader_and_old_ones_do_not(tmp_path, make_engine):
    class Newer(AutoSpecEngine):
        kind = ""

    engine = make_engine()
    engine.save(tmp_path / "old.safetensors")
    assert "reader" not in read_safetensors(tmp_path / "old.safetensors", kind="autospec-engine")[1]
    newer = Newer(engine.config, engine.parameters, {})
    newer.save(tmp_path / "new.safetensors")
    metadata = read_safetensors(tmp_path / "new.safetensors", kind="Newer")[1]
    assert metadata["reader"].endswith("Newer")
    assert Newer.from_file(tmp_path / "new.safetensors").config == engine.config
    with pytest.raises(WeightsError, match="leave them"):  # it does not lie in nnla.models
        load(tmp_path / "new.safetensors")


def test_nothing_of_a_construction_in_float64_is_lost(tmp_path, rng):
    config = PaperConfig(degree=5)
    parameters = {key: rng.standard_normal(shape) for key, shape in config.shapes().items()}
    PaperEngine(config, parameters, {}).save(tmp_path / "p.safetensors")
    stored, _ = read_safetensors(tmp_path / "p.safetensors", kind="autospec-paper")
    again = load(tmp_path / "p.safetensors")
    for key, value in parameters.items():
        assert stored[key].dtype == np.float64
        np.testing.assert_array_equal(again.parameters[key], value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["W1", "std", "high"])
def test_nan_weights(tmp_path, make_engine, key, bad):
    engine = make_engine()
    engine.parameters[key].flat[0] = bad
    engine.save(tmp_path / "e.safetensors")
    with pytest.raises(WeightsError, match="NaN or Inf"):
        load(tmp_path / "e.safetensors")


@pytest.mark.parametrize("key", ["W0", "b2", "mean", "low"])
def test_missing_tensor_is_named(tmp_path, make_engine, key):
    with pytest.raises(WeightsError, match=key):
        load(engine_file(tmp_path / "e.safetensors", make_engine, drop=key))


@pytest.mark.parametrize(
    "config", ["", "[]", "null", "{", '{"hidden": 7}', '{"members": "many"}', '{"__class__": "os"}', "[" * 100_000]
)
def test_bad_config(tmp_path, make_engine, config):
    with pytest.raises(WeightsError):
        load(engine_file(tmp_path / "e.safetensors", make_engine, config=config))


@pytest.mark.parametrize(
    "name", ["nonsense", "", ".", "/", "a\0b.safetensors", "missing.safetensors", "x.pt", "x" * 5000 + ".safetensors"]
)
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


@pytest.mark.parametrize("name", sorted(registry.weights()))
def test_shipped_models_are_read_by_whom_the_list_says_and_written_as_they_are(tmp_path, name):
    model, entry = load(name), registry.weights()[name]
    assert entry["reader"] == f"{type(model).__module__}:{type(model).__qualname__}"
    assert entry["purpose"]
    shipped = registry._FOLDER / entry["file"]
    assert type(load(shipped)) is type(model)
    model.save(tmp_path / "again.safetensors")
    old, new = (read_safetensors(path, kind=None) for path in (shipped, tmp_path / "again.safetensors"))
    bits = [{key: (v.dtype, v.shape, v.tobytes()) for key, v in tensors.items()} for tensors, _ in (old, new)]
    assert bits[0] == bits[1]
    assert new[1] == old[1] or "config" not in old[1]  # the schedules have their facts as texts


def test_all_shipped_models_stay_in_memory():
    models = [load(name) for name in registry.weights()]
    assert all(load(name) is model for name, model in zip(registry.weights(), models, strict=True))


def test_every_file_of_weights_is_listed():
    listed = {entry["file"] for entry in registry.weights().values()}
    assert listed == {path.name for path in registry._FOLDER.glob("*.safetensors")}


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
