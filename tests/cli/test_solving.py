"""The command line: every command, every exit code, one line for every failure, no partial files."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from scipy.io import mmread, mmwrite

import nnla
from nnla.cli import cli
from nnla.problems import read_matrix
from nnla.types import Report


def run(*args, env=None):
    return CliRunner().invoke(cli, [str(arg) for arg in args], env=env)


def fails(*args):
    """Exit code 2, nothing on stdout, one line on stderr."""
    result = run(*args)
    assert result.exit_code == 2, (args, result.output)
    assert result.stdout == ""
    assert result.stderr.startswith("nnla: error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    A = sp.coo_array(nnla.problems.problem("checkerboard2d", "small").A)
    mmwrite(path / "a.mtx", A)
    with open(path / "a.mtx", "rb") as plain, gzip.open(path / "a.mtx.gz", "wb") as packed:
        packed.write(plain.read())
    np.save(path / "b.npy", np.arange(1.0, A.shape[0] + 1))
    np.save(path / "short.npy", np.ones(3))
    np.save(path / "nan.npy", np.full(A.shape[0], np.nan))
    return path


# -- solve ----------------------------------------------------------------------------------------------


def test_json_has_every_field_of_the_report(folder):
    result = run("solve", folder / "a.mtx.gz", "--method", "autospec", "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    data = json.loads(result.stdout)
    assert {field.name for field in dataclasses.fields(Report)} <= set(data)
    assert (data["converged"], data["method"], data["matrix"], data["seed"]) == (
        True,
        "autospec",
        "a.mtx.gz",
        0,
    )
    assert data["relative_residual"] <= 1e-8
    assert data["out"] is None
    assert "comparison" not in data
    assert Report.from_json(result.stdout).converged


def test_comparison_in_json_and_as_a_table(folder):
    args = (
        "solve",
        folder / "a.mtx",
        "--compare",
        "--method",
        "gmres",
        "--rtol",
        "1e-6",
        "--scaling",
        "none",
    )
    data = json.loads(run(*args, "--json").stdout)
    methods = [row["method"] for row in data["comparison"]]
    assert methods[0] == "gmres"  # the one asked for is in the table whatever the default is
    assert {"cg", "jacobi", "ic", "chebyshev", "rule", "dos", "autospec", "auto"} <= set(methods)
    text = run(*args).stdout
    assert "autospec" in text
    assert "reductions" in text
    assert "…" not in text  # columns are not cut


def test_out_is_the_solution(folder, tmp_path):
    A = read_matrix(folder / "a.mtx")
    b = np.load(folder / "b.npy")
    for name, read in (("x.npy", np.load), ("x.mtx", lambda p: mmread(p).ravel())):
        result = run("solve", folder / "a.mtx", "--rhs", folder / "b.npy", "--out", tmp_path / name)
        assert result.exit_code == 0
        x = read(tmp_path / name)
        assert np.linalg.norm(b - A @ x) <= 1e-8 * np.linalg.norm(b)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.mtx", "x.npy"]


def test_right_hand_sides(folder):
    def residuals(*args):
        data = json.loads(run("solve", folder / "a.mtx", "--method", "jacobi", "--json", *args).stdout)
        return data["residual_history"], data["seed"]

    default, seed = residuals()
    assert seed == 0
    assert residuals("--rhs", "random", "--seed", "0")[0] == default
    assert residuals("--seed", "1")[0] != default
    ones, seed = residuals("--rhs", "ones")
    assert ones != default
    assert seed is None


def test_not_converged_is_exit_code_1_and_still_writes(folder, tmp_path):
    args = ("--method", "jacobi", "--maxiter", "3", "--out", tmp_path / "x.npy")
    result = run("solve", folder / "a.mtx", *args)
    assert result.exit_code == 1
    assert "maxiter" in result.stdout
    assert (tmp_path / "x.npy").exists()
    assert json.loads(run("solve", folder / "a.mtx", *args, "--json").stdout)["converged"] is False


def test_indefinite_is_exit_code_1(tmp_path):
    A = sp.diags_array([np.linspace(1, 5, 50), np.full(49, 3.0), np.full(49, 3.0)], offsets=[0, 1, -1])
    mmwrite(tmp_path / "a.mtx", sp.coo_array(A))
    result = run("solve", tmp_path / "a.mtx", "--method", "cg")
    assert result.exit_code == 1
    assert "indefinite" in result.stdout


def test_plot(folder, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "c.png"
    assert run("solve", folder / "a.mtx", "--compare", "--plot", path).exit_code == 0
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    assert [p.name for p in tmp_path.iterdir()] == ["c.png"]


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("missing.mtx", None, "no such file"),
        ("empty.mtx", b"", ""),
        ("noise.mtx", b"\x00\xff\x13 not a matrix", "format"),
        ("cut.mtx", b"%%MatrixMarket matrix coordinate real general\n2 2 4\n1 1 1.0\n", ""),
        ("rect.mtx", b"%%MatrixMarket matrix coordinate real general\n2 3 1\n1 1 1.0\n", "square"),
        ("complex.mtx", b"%%MatrixMarket matrix coordinate complex general\n1 1 1\n1 1 1.0 2.0\n", "complex"),
        ("nan.mtx", b"%%MatrixMarket matrix coordinate real general\n1 1 1\n1 1 nan\n", "nan"),
        ("asym.mtx", b"%%MatrixMarket matrix array real general\n2 2\n2.0\n1.0\n0.0\n2.0\n", "symmetric"),
        ("neg.mtx", b"%%MatrixMarket matrix array real general\n2 2\n-2.0\n0.0\n0.0\n2.0\n", "definite"),
        ("huge.mtx", b"%%MatrixMarket matrix array real general\n999999999 999999999\n1.0\n", ""),
    ],
)
@pytest.mark.parametrize("command", ["solve", "probe"])
def test_bad_matrix_files(command, name, content, word, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert word in fails(command, path).lower()


def test_truncated_gzip_and_directory(folder, tmp_path):
    (tmp_path / "cut.mtx.gz").write_bytes((folder / "a.mtx.gz").read_bytes()[:500])
    fails("solve", tmp_path / "cut.mtx.gz")
    assert "directory" in fails("solve", tmp_path)


def test_bad_right_hand_sides(folder, tmp_path):
    assert "shape" in fails("solve", folder / "a.mtx", "--rhs", folder / "short.npy")
    assert "nan" in fails("solve", folder / "a.mtx", "--rhs", folder / "nan.npy")
    assert "no such file" in fails("solve", folder / "a.mtx", "--rhs", "nowhere.npy")


def test_out_is_checked_before_solving(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("nnla.linear.solve.solve", lambda *a, **k: pytest.fail("solved first"))
    a = folder / "a.mtx"
    assert "no folder" in fails("solve", a, "--out", tmp_path / "no" / "x.npy")
    assert "no folder" in fails("solve", a, "--plot", tmp_path / "no" / "c.png")
    assert "format" in fails("solve", a, "--out", tmp_path / "x.txt")
    assert "format" in fails("solve", a, "--plot", tmp_path / "c.txt")
    (tmp_path / "x.npy").mkdir()
    assert "regular file" in fails("solve", a, "--out", tmp_path / "x.npy")
    assert "is the input" in fails("solve", a, "--out", a)
    assert "is the input" in fails("solve", a, "--rhs", folder / "b.npy", "--out", folder / "b.npy")
    assert "cannot be written" in fails("solve", a, "--out", tmp_path / ("x" * 251 + ".npy"))
    if os.path.isdir("/proc/self"):
        assert "cannot be written" in fails("solve", a, "--out", "/proc/self/x.npy")


def test_failures_leave_no_files(folder, tmp_path):
    fails("solve", folder / "a.mtx", "--rhs", folder / "nan.npy", "--out", tmp_path / "x.npy")
    assert list(tmp_path.iterdir()) == []


def test_usage_errors(folder):
    a = folder / "a.mtx"
    assert "unknown method" in fails("solve", a, "--method", "magic")
    assert "--scaling" in fails("solve", a, "--scaling", "magic")
    assert "or method='ic'" in fails("solve", a, "--method", "cg", "--scaling", "ic")
    assert "no effect" in fails("solve", a, "--scaling", "ic")
    assert "no effect" in fails("solve", a, "--method", "cg", "--degree", "7")
    assert "rtol" in fails("solve", a, "--rtol", "nan")
    assert "rtol" in fails("solve", a, "--rtol", "-1")
    fails("solve", a, "--rtol", "small")
    fails("solve", a, "--maxiter", "-1")
    fails("solve", a, "--degree", "0")
    fails("solve", a, "extra.mtx")
    fails("solve", "--nonsense")
    fails("nonsense")
    fails("--nonsense")
    fails("probe")
    fails("probe", a, "--steps", "0")


def test_amg_without_pyamg(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyamg", None)
    assert "pip install 'nnla[amg]'" in fails("solve", folder / "a.mtx", "--method", "amg")


def test_plot_without_matplotlib(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "nnla[plot]" in fails("solve", folder / "a.mtx", "--plot", tmp_path / "c.png")
    assert "nnla[plot]" in fails("probe", folder / "a.mtx", "--plot", tmp_path / "c.png")


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (MemoryError(), "out of memory"),
        (OSError(5, "Input/output error", "a.mtx"), "Input/output error"),
        (ZeroDivisionError("line one\nline two"), "unexpected ZeroDivisionError"),
    ],
)
def test_unexpected_exceptions_are_one_line(folder, monkeypatch, error, word):
    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr("nnla.linear.solve.solve", broken)
    assert word in fails("solve", folder / "a.mtx")
    if isinstance(error, ZeroDivisionError):
        result = run("solve", folder / "a.mtx", env={"NNLA_DEBUG": "1"})
        assert isinstance(result.exception, ZeroDivisionError)


def test_interrupt_is_130(folder, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnla.linear.solve.solve", interrupted)
    result = run("solve", folder / "a.mtx")
    assert (result.exit_code, result.stderr) == (130, "nnla: interrupted\n")


# -- the other commands ---------------------------------------------------------------------------------


def test_probe(folder, tmp_path):
    data = json.loads(run("probe", folder / "a.mtx", "--steps", "30", "--json").stdout)
    assert data["steps"] == 30
    assert data["definite"]
    assert set(data["choices"]) == {"autospec", "rule"}
    assert 0 < data["choices"]["autospec"]["interval"][0] < data["upper_bound"] * 1.0001
    assert nnla.SpectralProbe.from_json(json.dumps(data)).steps == 30
    text = run("probe", folder / "a.mtx", "--scaling", "none").stdout
    assert "ritz values" in text
    assert "rule" in text
    pytest.importorskip("matplotlib")
    assert run("probe", folder / "a.mtx", "--plot", tmp_path / "s.png").exit_code == 0
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_probe_of_an_indefinite_matrix(tmp_path):
    mmwrite(tmp_path / "a.mtx", sp.coo_array(np.array([[1.0, 3.0], [3.0, 1.0]])))
    result = run("probe", tmp_path / "a.mtx")
    assert result.exit_code == 0
    assert "a Ritz value is negative" in result.stdout
    assert json.loads(run("probe", tmp_path / "a.mtx", "--json").stdout)["choices"] == {}


def test_weights():
    assert "autospec-cg" in run("weights").stdout
    assert "sha256" in run("weights", "autospec-cg").stdout
    assert json.loads(run("weights", "--json").stdout)["autospec-cg"]["sha256"]
    assert json.loads(run("weights", "autospec-cg", "--json").stdout)["name"] == "autospec-cg"
    assert "no model" in fails("weights", "nonsense")


def test_doctor():
    result = run("doctor", "--json")
    data = json.loads(result.stdout)
    assert result.exit_code == 0
    assert data["ok"]
    assert data["self_test"]["residual"] <= 1.01e-8
    assert data["weights"]["autospec-cg"] == "ok"
    text = run("doctor").stdout
    assert "all is well" in text
    assert "numpy" in text


def test_doctor_calibrates(monkeypatch, tmp_path):
    from nnla.linear import calibration

    monkeypatch.setattr(calibration, "measure", lambda: {"product": 2 * calibration.REFERENCE_SECONDS["product"]})
    monkeypatch.setenv("NNLA_CACHE", str(tmp_path / "cache"))
    result = run("doctor", "--calibrate", "--json")
    data = json.loads(result.stdout)
    assert (result.exit_code, data["factors"]) == (0, {"product": 2.0})
    assert json.loads((tmp_path / "cache" / "speeds.json").read_text())["factors"] == {"product": 2.0}
    assert "kept in" in run("doctor", "--calibrate").stdout
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NNLA_CACHE", str(tmp_path / "file" / "below"))
    result = run("doctor", "--calibrate")
    assert result.exit_code == 1
    assert "not kept" in result.stdout


def test_doctor_on_the_kernels(monkeypatch):
    from nnla import kernels

    if kernels.native is not None:
        facts = json.loads(run("doctor", "--json").stdout)["kernels"]
        assert facts["native kernels"] == "yes"
        assert facts["instruction set"] == kernels.native.isa()
        assert facts["kernel threads"] >= 1
    monkeypatch.setattr(kernels, "native", None)
    monkeypatch.setattr(kernels, "why_not", "the moon is full")
    result = run("doctor")
    assert result.exit_code == 0
    assert "no, NumPy and SciPy: the moon is full" in result.stdout
    assert "instruction set" not in result.stdout
    assert "caches" in result.stdout


def test_doctor_finds_broken_weights(monkeypatch):
    from nnla.errors import WeightsError

    def broken(name):
        raise WeightsError("the weights do not match their checksum")

    monkeypatch.setattr("nnla.registry.load", broken)
    result = run("doctor")
    assert result.exit_code == 1
    assert "checksum" in result.stdout
    assert "something is wrong" in result.stdout


def test_eval():
    result = run("eval", "autospec-cg", "--on", "spectra", "--count", "6", "--json")
    assert result.exit_code in (0, 1)
    assert json.loads(result.stdout)["count"] == 6
    assert "hindsight" in run("eval", "autospec-cg", "--on", "spectra", "--count", "3").stdout
    text = run("eval", "autospec-cg").stdout
    assert "poisson2d" in text
    assert "geometric mean" in text
    assert "no model" in fails("eval", "nonsense")
    fails("eval", "autospec-cg", "--on", "nonsense")


def test_train_resume_and_use(tmp_path):
    pytest.importorskip("torch")
    out = tmp_path / "run"
    small = (
        "data.spectra=8",
        "data.held_out=4",
        "optim.batch=4",
        "optim.log_every=1",
        "optim.checkpoint_every=2",
    )
    args = ["train", "autospec-cg", "--out", out]
    for item in (*small, "optim.steps=2"):
        args += ["--set", item]
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""  # progress is for terminals
    path = result.stdout.strip()
    assert path.endswith("autospec-cg.safetensors")
    assert run("eval", path, "--on", "spectra", "--count", "2", "--json").exit_code in (0, 1)
    assert "--resume" in fails(*args)
    assert run(*args, "--resume").exit_code == 0
    assert "has no key" in fails("train", "autospec-cg", "--set", "optim.magic=1", "--out", out)
    assert "no recipe" in fails("train", "nonsense")
    (tmp_path / "r.toml").write_text('name = "x"\n')
    assert "lacks" in fails("train", tmp_path / "r.toml")


def test_train_refuses_in_one_line(tmp_path):
    pytest.importorskip("torch")
    out = tmp_path / "run"
    assert "no run to resume" in fails("train", "autospec-cg", "--out", out, "--resume")
    assert "separators" in fails("train", "autospec-cg", "--set", "name=../escape", "--out", out)
    assert "no key 'optim.magic'" in fails("train", "autospec-cg", "--set", "optim.magic=1", "--out", out)
    assert ">= 1" in fails("train", "autospec-cg", "--set", "optim.steps=0", "--out", out)
    full = resources.files("nnla.training").joinpath("recipes/autospec-cg.toml").read_text()
    for key, name in (("seed", "seed"), ("steps", "optim.steps"), ("spectra", "data.spectra")):
        lines = [line for line in full.splitlines() if not line.startswith(f"{key} =")]
        (tmp_path / f"{key}.toml").write_text("\n".join(lines))
        message = fails("train", tmp_path / f"{key}.toml", "--out", tmp_path / f"run-{key}")
        assert "lacks" in message
        assert name in message
    assert not out.exists()


def test_interrupted_training_says_how_to_go_on(tmp_path, monkeypatch):
    pytest.importorskip("torch")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnla.training.loop.train", interrupted)
    result = run("train", "autospec-cg", "--set", "optim.steps=3", "--out", tmp_path)
    assert result.exit_code == 130
    assert result.stderr == (
        f"nnla: interrupted; continue with: nnla train autospec-cg --set optim.steps=3 --out {tmp_path} --resume\n"
    )


# -- as a process ---------------------------------------------------------------------------------------


def process(*args, **kwargs):
    command = [sys.executable, "-m", "nnla", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **kwargs)


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys; from nnla.cli import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit as e: assert e.code == 0\n"
        "heavy = {'numpy', 'scipy', 'torch', 'rich', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "doctor" in done.stdout
    assert nnla.__version__ in run("--version").stdout
    bare = run()
    assert bare.exit_code == 0
    assert "Usage" in bare.stdout


def test_demo_as_a_process():
    done = process("solve", "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    data = json.loads(done.stdout)
    assert data["matrix"].startswith("demo")
    assert data["converged"]
    assert data["seed"] == 2024  # its right-hand side is drawn, too


def test_failure_as_a_process():
    done = process("solve", "nowhere.mtx")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "nnla: error: nowhere.mtx: no such file; check the path\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_and_closed_pipe():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "nnla", "weights"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "nnla: error: No space left on device\n"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141


def test_solve_with_own_weights(folder, tmp_path, make_engine):
    path = tmp_path / "own.safetensors"
    make_engine(3, name="own", envelope_limit=1e3).save(path)
    result = run("solve", folder / "a.mtx", "--method", "autospec", "--degree", "8", "--engine", path, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["weights"] == "own"
    assert "engine is for polynomial methods" in fails("solve", folder / "a.mtx", "--method", "cg", "--engine", path)
    assert "none.safetensors" in fails("solve", folder / "a.mtx", "--engine", tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes()[:200])
    fails("solve", folder / "a.mtx", "--engine", path)
