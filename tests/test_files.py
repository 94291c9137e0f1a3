"""Files written whole or not at all."""

from __future__ import annotations

import os

import pytest

from nnla._files import atomic_file, write_atomic


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
