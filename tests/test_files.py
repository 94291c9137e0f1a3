"""Files written whole or not at all, and JSON from untrusted texts."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import nnla
from nnla._files import atomic_file, parsed_object, write_atomic
from nnla.errors import FileFormatError, WeightsError
from nnla.registry import read_safetensors, write_safetensors


def test_the_target_changes_only_when_the_block_ends(tmp_path):
    path = tmp_path / "x"
    write_atomic(path, b"old")
    with atomic_file(path) as stream:
        stream.write(b"new")
        assert path.read_bytes() == b"old"
        assert os.path.dirname(stream.name) == str(tmp_path)
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_no_trace(tmp_path, error):
    def half():
        with atomic_file(tmp_path / "x") as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(error):
        half()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="links and modes")
def test_a_link_keeps_pointing_at_its_target_and_the_mode_is_the_users(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    old = os.umask(0o027)
    try:
        write_atomic(link, b"1")
    finally:
        os.umask(old)
    assert link.is_symlink()
    assert target.read_bytes() == b"1"
    assert target.stat().st_mode & 0o777 == 0o640


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "none" / "x", b"1")


# --- JSON

READERS = {
    "recurrence": (nnla.Recurrence, nnla.Recurrence.chebyshev(0.1, 2.0, 3)),
    "probe": (nnla.SpectralProbe, nnla.SpectralProbe(np.ones(2), np.ones(2), 5)),
    "report": (nnla.Report, nnla.solve(np.diag([1.0, 2.0]), np.ones(2)).report),
}
OTHERS = [None, True, -1, 1.5, 10**400, "1", [], ["1"], [True], [[1.0]], {}, {"a": 1}, [10**400], float("nan")]
TEXTS = ["", "[" * 100_000, '{"a":' * 100_000, "1" + "0" * 400, "[]", "null", '"x"', b"\xff", 3, None]


@pytest.mark.parametrize("name", READERS)
def test_every_field_of_every_other_type_is_refused_or_right(name):
    kind, value = READERS[name]
    fields, said = json.loads(value.to_json()), []
    assert kind.from_json(json.dumps(fields)).to_json() == value.to_json()
    for key in fields:
        for other in OTHERS:
            try:
                found = kind.from_json(json.dumps(fields | {key: other}))
            except FileFormatError as error:
                said.append(str(error))
            else:
                repr(found)
                found.to_json()
    assert said
    assert all(len(text) < 400 and "\n" not in text for text in said)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, '{"a":' * 100_000, "1" + "0" * 400, "[]", "null", '"x"', b"\xff", 3, None]
)
def test_texts_that_are_none(name, text):
    with pytest.raises(FileFormatError):
        READERS[name][0].from_json(text)


def test_texts_are_not_lists_and_true_is_no_version():
    fields = json.loads(READERS["recurrence"][1].to_json())
    for change in ({"rho": "1234"}, {"version": True}, {"domain": "01"}, {"shift": "0"}, {"scale": True}):
        with pytest.raises(FileFormatError):
            nnla.Recurrence.from_json(json.dumps(fields | change))


def test_integers_and_lengths_are_bounded(monkeypatch):
    assert parsed_object('{"a": -9223372036854775807}') == {"a": -(2**63) + 1}
    for text in ('{"a": 9223372036854775808}', '{"a": 1' + "0" * 5000 + "}"):
        with pytest.raises(ValueError, match="digits"):
            parsed_object(text)
    monkeypatch.setattr("nnla._files._LONGEST_TEXT", 10)
    with pytest.raises(ValueError, match="characters"):
        parsed_object('{"a": "bcdef"}')


@pytest.mark.parametrize("name", sorted(nnla.weights()))
def test_weights_with_another_config_or_card_are_refused_or_right(tmp_path, name):
    path = tmp_path / "w.safetensors"
    nnla.load(name).save(path)
    tensors, metadata = read_safetensors(path, kind=None)
    small = {key: value for key, value in tensors.items() if value.size < 10**5}
    said: list[str] = []
    cards = {"name": "x", "envelope": {}, "envelope_limit": 0.1, "matrices": {}}
    for part, fields in (("config", json.loads(metadata["config"])), ("card", cards)):
        for key in fields:
            for other in [*OTHERS, 2**40, {"a": [1, "2"]}]:
                changed = metadata | {part: json.dumps(json.loads(metadata[part]) | {key: other})}
                write_safetensors(path, small if part == "config" else tensors, changed)
                try:
                    found = nnla.load(path)
                except WeightsError as error:
                    said.append(str(error))
                else:
                    assert found.title
                    assert isinstance(found.envelope, dict)
                    repr(found)
    assert max(map(len, said)) < 700
