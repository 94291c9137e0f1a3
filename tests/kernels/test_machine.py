"""Cache sizes from a made-up sysfs: all of it, part of it, nonsense, none."""

import sys

import pytest

from nnla.kernels.machine import cache_sizes


def write(folder, index, **files):
    entry = folder / f"index{index}"
    entry.mkdir()
    for name, text in files.items():
        (entry / name).write_text(text + "\n")


def test_data_caches_by_level(tmp_path):
    write(tmp_path, 0, level="1", type="Data", size="48K")
    write(tmp_path, 1, level="1", type="Instruction", size="32K")
    write(tmp_path, 2, level="2", type="Unified", size="1024K")
    write(tmp_path, 3, level="3", type="Unified", size="32M")
    assert cache_sizes(tmp_path) == {1: 48 << 10, 2: 1 << 20, 3: 32 << 20}


def test_what_cannot_be_read_is_left_out(tmp_path):
    write(tmp_path, 0, level="1", type="Data")
    write(tmp_path, 1, level="two", type="Unified", size="1K")
    write(tmp_path, 2, level="3", type="Unified", size="0K")
    write(tmp_path, 3, level="4", type="Unified", size="")
    write(tmp_path, 4, level="2", type="Unified", size="512")
    assert cache_sizes(tmp_path) == {2: 512}


def test_without_sysfs_nothing_is_known(tmp_path):
    assert cache_sizes(tmp_path / "absent") == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads sysfs")
def test_this_machine():
    sizes = list(cache_sizes().values())
    assert sizes == sorted(sizes)
