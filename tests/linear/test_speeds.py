"""Speeds of this machine: calibration and cache, corrections by solves, and none of it where no clock may decide."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import pytest

from nnla.linear.calibration import REFERENCE_SECONDS, factors_of, measure
from nnla.linear.speeds import KERNELS, NUMPY, Machine, Speeds, cache_file, read_speeds, write_speeds


def test_without_a_calibration_every_factor_is_one(tmp_path):
    for path in (None, tmp_path / "none.json"):
        speeds = Machine(path).speeds()
        assert speeds.factors == dict.fromkeys(KERNELS, 1.0)
        assert speeds.spread > 0.3
    plain = Machine(None).speeds(native=False)
    assert plain.factors == pytest.approx(NUMPY.factors)


def test_a_calibration_is_kept_and_read(tmp_path):
    path = tmp_path / "deep" / "speeds.json"
    write_speeds(path, dict.fromkeys(KERNELS, 2.0) | {"ic": 0.5}, {"ic": 1.0})
    speeds = Machine(path).speeds()
    assert (speeds.factors["order"], speeds.factors["ic"]) == (2.0, 0.5)
    assert speeds.spread < Machine(None).speeds().spread
    assert speeds.of("ic") == pytest.approx(math.log(0.5))
    assert [file.name for file in path.parent.iterdir()] == ["speeds.json"]


BAD = ["", "[]", "{}", '{"factors": 3}', '{"factors": {"ic": "fast"}}', '{"factors": {"ic": 0}}']
BAD += ['{"factors": {"ic": NaN}}', '{"factors": {"ic": 1e9}}', "\x00\xff"]


@pytest.mark.parametrize("text", BAD)
def test_what_cannot_be_read_is_no_calibration(tmp_path, text):
    path = tmp_path / "speeds.json"
    path.write_bytes(text.encode("latin-1"))
    assert read_speeds(path) is None
    assert Machine(path).speeds().factors["ic"] == 1.0
    assert read_speeds(tmp_path) is None  # a folder


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("NNLA_CACHE", str(tmp_path))
    assert cache_file() == tmp_path / "speeds.json"
    monkeypatch.delenv("NNLA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_file() == tmp_path / "nnla" / "speeds.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", lambda self: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache_file() is None


def test_corrections_converge_and_are_bounded():
    machine = Machine(None)
    for _ in range(200):
        machine.learn("ic", measured=3.0, predicted=machine.speeds().factors["ic"])
    assert machine.speeds().factors["ic"] == pytest.approx(3.0, rel=0.05)
    assert machine.speeds().factors["factor"] == 1.0
    for _ in range(1000):
        machine.learn("ic", measured=1e9, predicted=1.0)
    assert 3.9 < machine.speeds().factors["ic"] <= 4.0
    machine.learn("ic", measured=1e-9, predicted=1.0)  # one that was wrong does not move it
    assert machine.speeds().factors["ic"] > 3.9
    for measured, predicted in ((0.0, 1.0), (1.0, 0.0), (math.inf, 1.0), (1.0, math.inf), (math.nan, 1.0), (-1.0, 1.0)):
        before = machine.speeds().factors["ic"]
        machine.learn("ic", measured=measured, predicted=predicted)
        assert machine.speeds().factors["ic"] == before
    machine.forget()
    assert machine.speeds().factors["ic"] == 1.0


def test_threads_may_learn_together():
    machine = Machine(None)
    work = [threading.Thread(target=lambda: [machine.learn("ic", measured=1.01, predicted=1.0) for _ in range(500)])
            for _ in range(4)]  # fmt: skip
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert 1.0 < machine.speeds().factors["ic"] <= 4.0
    assert machine._solves["ic"] == 2000  # none is lost


def test_a_clock_that_is_wrong_now_and_then_changes_nothing():
    """Other programs ran: every third solve took ten times as long."""
    machine = Machine(None)
    for k in range(40):
        machine.learn("factor", measured=10.0 if k % 3 == 1 else 1.0, predicted=machine.speeds().factors["factor"])
        assert 0.5 < machine.speeds().factors["factor"] < 2.2
    assert machine.speeds().factors["factor"] == pytest.approx(1.0, rel=0.05)


def test_the_measurement_is_of_all_kernels_there_are(monkeypatch):
    monkeypatch.setattr("nnla.linear.calibration._REPEATS", 1)
    monkeypatch.setattr("nnla.linear.calibration._PLANE", 30)
    monkeypatch.setattr("nnla.linear.calibration._SPACE", 8)
    seconds = measure()
    assert set(seconds) <= set(KERNELS)
    assert {"product", "ic"} <= set(seconds)
    assert all(0 < value < 1 for value in seconds.values())
    assert factors_of(REFERENCE_SECONDS) == dict.fromkeys(KERNELS, 1.0)
    assert json.loads(json.dumps(factors_of(seconds)))
    assert Speeds(factors_of(seconds)).of("amg") is not None
