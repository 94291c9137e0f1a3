"""The benchmarks: a run on two tiny systems, and the arithmetic of what they claim."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.io import mmwrite

import nnla
import nnla.kernels

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def test_time_to_solution_on_two_systems(tmp_path, monkeypatch):
    from time_to_solution import main

    monkeypatch.setenv("PYTHONPATH", str(Path(nnla.__file__).parents[1]))
    systems = {"grid": nnla.problems.poisson2d(8), "line": nnla.problems.poisson1d(30)}
    systems["indefinite"] = systems["line"] - 2.0 * nnla.problems.poisson1d(30).trace() / 30 * np.eye(30)
    for name, A in systems.items():
        with gzip.open(tmp_path / f"{name}.mtx.gz", "wb") as stream:
            mmwrite(stream, A, symmetry="symmetric")
    with gzip.open(tmp_path / "line_b.mtx.gz", "wb") as stream:
        mmwrite(stream, np.column_stack([np.ones(30), np.zeros(30)]))
    more = tmp_path / "more"
    more.mkdir()
    with gzip.open(more / "other.mtx.gz", "wb") as stream:
        mmwrite(stream, nnla.problems.poisson1d(12), symmetry="symmetric")
    words = ("--matrices", f"old={tmp_path}", "--matrices", more, "--no-generated", "--budget", 0.01, "--samples", 1)
    words += ("--solvers", "scipy-jacobi,nnla-auto", "--yardstick", f"rule={Path(nnla.__file__).parents[1]}")
    words += ("--cache", tmp_path / "cache", "--out", tmp_path / "out")
    main(list(map(str, words)))
    data = json.loads((tmp_path / "out" / "time_to_solution.json").read_text())
    assert {name: facts["group"] for name, facts in data["systems"].items()} == {
        "grid": "old", "line": "old", "indefinite": "old", "other": "more",
    }  # fmt: skip
    assert data["systems"]["indefinite"]["excluded"]
    assert np.array_equal(np.load(tmp_path / "cache" / "line" / "b.npy"), np.ones(30))
    for name in ("grid", "line"):
        assert set(data["medians"][name]) == {"scipy-jacobi", "nnla-auto", "auto:rule"}
        for solver in data["medians"][name].values():
            assert solver["ok"]
            assert solver["residual"] <= 1.001e-8
            assert solver["wall"] > 0
    assert set(data["summary"]["peers"]) == {"old", "more", "all", "n < 10^4"}
    assert set(data["summary"]["own"]["more"]) == {"auto", "rule"}
    assert data["judged"][0]["rules"]["rule"]["ok"]
    page = (tmp_path / "out" / "time_to_solution.md").read_text()
    assert "nnla-auto" in page
    assert "| more | rule |" in page
    assert str(tmp_path) not in page
    lines = (tmp_path / "out" / "time_to_solution.partial.jsonl").read_text()
    main([*map(str, words), "--no-plots", "--sets", "old"])
    data = json.loads((tmp_path / "out" / "time_to_solution.json").read_text())
    assert set(data["systems"]) == {"grid", "line", "indefinite"}
    assert (tmp_path / "out" / "time_to_solution.partial.jsonl").read_text() == lines, "nothing new to measure"


class FakeWorker:
    """Solvers whose time and accuracy are known."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def run(self, solver, folder, setting, inner, limit):
        self.asked.append((solver, setting, limit))
        return self.answers(solver, setting)


class FakePool:
    def __init__(self, answers, version="1"):
        from tts.solvers import LIBRARIES

        self.worker, self.absent, self.version = FakeWorker(answers), {}, version
        self.libraries = LIBRARIES | {"auto:rule": "nnla:rule"}
        self.workers = dict.fromkeys(self.libraries.values(), self.worker)

    def key(self, library):
        return self.version if library == "nnla" else "peer"


def measure(answers, solvers, old=(), version="1", label="now", **options):
    from tts.measure import Plan, Session

    pool, records = FakePool(answers, version), list(old)
    Session("m", Path("nowhere"), pool, Plan(**options), records.append, label, old=list(old)).measure(solvers)
    return records[len(old) :], pool.worker.asked


def sample(seconds, residual=1e-9, **facts):
    return {"wall": seconds, "cpu": seconds, "residual": residual, "facts": facts}


def test_a_peer_that_misses_the_residual_is_tightened_until_it_meets_it():
    records, _ = measure(lambda solver, setting: sample(0.05, 30 * setting), ["pyamg-sa"])
    assert [r["ok"] for r in records] == [False] + (1 + 9) * [True], "the first is not counted"
    assert records[0]["residual"] == pytest.approx(3e-7)
    assert records[1]["setting"] < 1e-8 / 30
    assert not records[0]["final"], "only the time of the setting that succeeds counts"


def test_a_peer_that_cannot_meet_the_residual_fails_with_the_reason():
    records, _ = measure(lambda solver, setting: sample(1.0, 1e-6), ["pyamg-sa"])
    assert records[-1]["final"]
    assert not records[-1]["ok"]
    assert "1.0e-06" in records[-1]["reason"]
    assert len(records) == 2, "a tighter tolerance that changes nothing ends it"


def test_repeats_interleave_and_a_slow_solver_gets_few():
    times = {"scipy-jacobi": 0.5, "petsc-icc": 0.4, "cholmod": 20.0}
    _, asked = measure(lambda solver, setting: sample(times[solver]), list(times))
    order = [solver for solver, _, _ in asked]
    assert order[:3] == ["petsc-icc", "cholmod", "scipy-jacobi"]
    assert order.count("cholmod") == 1
    assert order.count("petsc-icc") == order.count("scipy-jacobi") == 3
    assert order[3:] != sorted(order[3:])
    limits = {solver: limit for solver, _, limit in asked}
    assert limits["cholmod"] == pytest.approx(15 * 0.4)


def test_a_new_version_of_nnla_is_measured_again_with_its_rivals():
    times = {"scipy-jacobi": 3.0, "petsc-icc": 1.0, "pyamg-rs": 1.5, "pyamg-sa": 9.0, "nnla-auto": 1.0}
    first, _ = measure(lambda solver, setting: sample(times[solver]), list(times), label="first")
    _, asked = measure(lambda solver, setting: sample(times[solver]), list(times), first, label="second")
    assert not asked, "everything is cached"
    again, asked = measure(lambda s, _: sample(times[s]), list(times), first, version="2", label="third")
    assert {solver for solver, _, _ in asked} == {"nnla-auto", "petsc-icc", "pyamg-rs"}
    from tts.summary import digest

    keys = {s: "2" if s.startswith("nnla") else "peer" for s in times}
    medians = digest(first + again, rtol=1e-8, threads=1, keys=keys)["m"]
    assert set(medians) == set(times)
    assert digest(first, rtol=1e-8, threads=1, keys=keys)["m"].keys() == set(times) - {"nnla-auto"}


def test_kept_methods_count_in_any_version_and_the_best_of_each_kind_are_measured_again():
    times = {"nnla-auto": 0.2, "nnla-direct": 0.1, "nnla-ic": 0.15, "nnla-amg": 0.5, "petsc-icc": 3.0, "cholmod": 9.0}
    first, _ = measure(lambda solver, setting: sample(times[solver]), list(times), label="first", factor=1e3)
    again, asked = measure(
        lambda s, _: sample(times[s]), list(times), first, version="2", label="second", keep=("nnla-[!a]*", "nnla-am*")
    )
    assert {solver for solver, _, _ in asked} == {"nnla-auto", "nnla-direct", "nnla-ic", "petsc-icc"}
    from tts.summary import digest

    medians = digest(first + again, rtol=1e-8, threads=1, keys={"nnla-auto": "2"})["m"]
    assert {s for s, v in medians.items() if v["session"] == "first"} == {"nnla-amg", "cholmod"}


def test_what_a_former_page_found_far_behind_is_left_out():
    from tts.summary import far_behind

    seconds = {"nnla-auto": 1.0, "nnla-direct": 9.0, "petsc-icc": 1.0, "petsc-jacobi": 1.4, "cholmod": 3.1}
    page = {"medians": {"m": {s: {"ok": True, "cpu": t} for s, t in seconds.items()}}}
    page["medians"]["m"]["pyamg-sa"] = {"ok": False, "cpu": 0.5}
    assert far_behind(page, "cpu", 1.5) == {"m": {"cholmod", "cholmod-amd", "cholmod-metis", "pyamg-sa"}}
    assert far_behind(page, "cpu", 2.0) == {"m": {"cholmod", "pyamg-sa"}}, "another ordering may be near"


def test_judge_counts_failures_against_auto():
    from tts.summary import against_peers, judge

    good = {"ok": True, "wall": 2.0}
    bad = {"ok": False, "wall": 50.0, "reason": "stopped after 50 s"}
    broken = {"ok": False, "wall": 1.0, "reason": "a breakdown"}
    won = judge("won", {"nnla-auto": {"ok": True, "wall": 1.0}, "petsc-icc": good, "scipy-jacobi": bad}, "wall")
    assert won["ratio"] == 0.5
    assert won["jacobi_ratio"] == 50.0
    assert won["jacobi_stopped"]
    lost = judge("lost", {"nnla-auto": bad, "petsc-icc": good}, "wall")
    assert math.isinf(lost["ratio"])
    alone = judge("alone", {"nnla-auto": good, "petsc-icc": broken}, "wall")
    assert alone["ratio"] == 0.0
    figures = against_peers([won, lost, alone])
    assert figures["within 1.25"] == pytest.approx(2 / 3)
    assert figures["worst"] == [math.inf, "lost"]
    assert figures["geometric mean"] == 0.5
    all_stopped = judge("slow", {"nnla-auto": good, "petsc-icc": bad, "cholmod": bad | {"wall": 8.0}}, "wall")
    assert (all_stopped["ratio"], all_stopped["best_peer"]) == (0.25, "cholmod")
    assert all_stopped["peers_stopped"]


def test_rules_are_judged_by_the_best_own_method():
    from tts.summary import ALWAYS_DIRECT, TABLE, against_own, judge, summarise

    def took(seconds, **more):
        return {"ok": True, "cpu": seconds} | more

    slow = {"ok": False, "cpu": 8.0, "reason": "stopped after 8 s"}
    broken = {"ok": False, "cpu": 0.1, "reason": "BreakdownError"}
    solvers = {"nnla-auto": took(1.2, facts={"method": "ic", "regret": 1.1}), "nnla-ic": took(1.0), "nnla-direct": slow,
               "auto:hand": took(3.0, facts={"method": "amg"}), "nnla-amg": broken, "petsc-icc": took(2.0)}  # fmt: skip
    first = judge("first", solvers, "cpu", "amg")
    assert first["best_own_time"] == 1.0, "a yardstick is no method of nnla"
    assert first["best_peer_time"] == 2.0, "nor a peer"
    assert first["regret"] == 1.1
    assert {rule: v["method"] for rule, v in first["rules"].items()} == {
        "auto": "ic", "hand": "amg", ALWAYS_DIRECT: "direct", TABLE: "amg"
    }  # fmt: skip
    tiny = {"nnla-auto": took(3e-4), "nnla-direct": took(1e-4), "auto:hand": took(9e-4), "cholmod": took(2e-4)}
    second = judge("second", tiny, "cpu", "direct")
    auto, direct, table = (against_own([first, second], rule) for rule in ("auto", ALWAYS_DIRECT, TABLE))
    assert auto["geometric mean"] == pytest.approx(math.sqrt(1.2 * 3.0))
    assert auto["beyond 2, above 1 ms"] == 0, "a fraction of a millisecond is not held against a choice"
    assert auto["/ best peer"] == pytest.approx(math.sqrt(0.6 * 1.5))
    assert (direct["within 1.25"], direct["beyond 2, above 1 ms"], direct["failed"]) == (0.5, 1, 0)
    assert (table["failed"], table["worst"]) == (1, [math.inf, "first"])
    facts = {"first": {"n": 100_000, "group": "large"}, "second": {"n": 10, "group": "small"}}
    figures = summarise([first, second], facts)
    assert set(figures["peers"]) == {"large", "small", "all", "n < 10^4", "10^5 to 10^6"}
    assert figures["short"]["all"] == {"systems": 1, "geometric mean": pytest.approx(1.5), "within 1.2": 0.0,
                                       "worst": [pytest.approx(1.5), "second"]}  # fmt: skip


def test_the_table_names_the_fastest_method_of_a_cell_and_failures_count_against_one(tmp_path):
    from tts import table_rule

    rows = [(1000, 5000, {"direct": 1.0, "ic": 2.0}), (1100, 5500, {"direct": 1.0, "ic": 1.5})]
    rows += [(100_000, 5_000_000, {"direct": 1.0, "ic": 1.2}), (101_000, 5_000_000, {"ic": 1.0})]
    table = table_rule.fit(rows)
    assert table.method(1050, 5100) == "direct"
    assert table.method(10, 20) == "direct", "the nearest cell"
    assert table.method(90_000, 4_500_000) == "ic", "a method that fails on one of two is not worth a gain of a fifth"
    with pytest.raises(ValueError, match=r"\*.jsonl"):
        table_rule.fit(table_rule.read(tmp_path))
    direct = {"failed": 0, "order_seconds": 1.0, "factor_seconds": 2.0, "substitution_seconds": 0.5}
    ic = {"iterations": {"1e-08": 10, "1e-10": None}, "setup_seconds": 1.0, "step_seconds": 0.1}
    amg = {"iterations": {"1e-08": None}, "setup_seconds": 1.0, "step_seconds": 0.1}
    row = {"n": 5, "nnz": 25, "direct": direct, "ic": ic, "amg": amg, "jacobi": {"failed": 1}}
    lines = [json.dumps(row), json.dumps({"error": "a family"}), json.dumps(row)[:50]]
    (tmp_path / "facts.jsonl").write_text("\n".join(lines))
    assert table_rule.read(tmp_path) == [(5, 25, {"direct": 3.5, "ic": pytest.approx(2.0)})]


def test_the_catalogue_is_symmetric_positive_definite():
    from tts.cases import not_spd
    from tts.catalogue import CATALOGUE, QUICK

    assert len(CATALOGUE) >= 20
    assert set(QUICK) <= set(CATALOGUE)
    for name in (
        "circuit_pads_60",
        "scale_free_2000",
        "wendland_3000",
        "biharmonic_32",
        "fem3d_5000",
        "truss_6",
        "small_bar_4",
    ):
        assert not_spd(CATALOGUE[name].build()) is None
    assert not_spd(nnla.problems.poisson2d(9) - 0.5 * sparse.eye_array(81)) == "a pivot is not positive"


@pytest.mark.parametrize("order", ["natural", "random", "RCM"])
def test_kernels_of_one_small_system(order):
    from kernel_tables import markdown

    from kernels import ordered, rows_of

    A = nnla.problems.poisson2d(24)
    B = ordered(A, order)
    assert np.allclose(np.linalg.eigvalsh(B.toarray()), np.linalg.eigvalsh(A.toarray()))
    rows = rows_of("grid", order, B, threads=1, rounds=2, stream_size=1000)
    kernels = {row["kernel"] for row in rows}
    assert {"NumPy recurrence", "SciPy product", "triad"} <= kernels
    if nnla.kernels.native is not None:
        assert {"fused float64", "blocked float32", "product bfloat16", "cg sliced, Jacobi"} <= kernels
        assert all(row["speedup"] > 0 for row in rows if row["kernel"].startswith(("fused", "blocked")))
    assert all(row["ms"] > 0 and row["gbs"] > 0 for row in rows)
    meta = {"command": "x", "date": "d", "hardware": "h", "isa": "i", "load": None, "rounds": 2, "degree": 11}
    page = markdown(rows, meta, "kernels")
    assert all(f"| {row['kernel']} |" in page for row in rows)


# -- eigsh ---------------------------------------------------------------------------------------------------------


def test_known_spectra_are_those_of_lapack():
    from eigen.spectra_known import KNOWN

    for index, (name, make) in enumerate(KNOWN.items()):
        for n in (1, 3, 40):
            A, exact = make(np.random.default_rng([index, n]), n)
            assert abs(A - A.T).max() == 0, name
            assert np.allclose(np.sort(exact), np.linalg.eigvalsh(A.toarray()), rtol=0, atol=1e-12 * max(1, n)), name


def test_pencils_have_a_definite_mass_and_the_spectrum_they_say():
    from eigen.structures import PENCILS, STRUCTURES
    from scipy.linalg import eigvalsh

    for index, (name, make) in enumerate(PENCILS.items()):
        K, M, exact = make(np.random.default_rng(index), 60)
        values = eigvalsh(K.toarray(), M.toarray())
        assert exact is None or np.allclose(np.sort(exact), values, rtol=0, atol=1e-11 * abs(values).max()), name
    for index, (name, make) in enumerate(STRUCTURES.items()):
        A, _ = make(np.random.default_rng(index), 60)
        assert abs(A - A.T).max() == 0, name


def test_completeness_runs_and_writes_every_case(tmp_path, capsys):
    from eigen_completeness import main

    main(["--cases", "8", "--out", str(tmp_path / "rows.json")])
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["case"] for row in rows] == list(range(8))
    assert "not vouched for" in capsys.readouterr().out
    main(["--case", str(rows[0]["case"])])
    assert rows[0]["outcome"] in capsys.readouterr().out


def test_a_missing_copy_is_told_from_a_wrong_pair_and_from_a_right_answer():
    from types import SimpleNamespace

    from eigen.completeness_cases import EigenCase
    from eigen_completeness import judge

    A = sparse.csr_array(sparse.diags_array([1.0, 1.0, 2.0, 5.0]))
    case = EigenCase(0, "toy", 2, A, None, np.array([1.0, 1.0, 2.0, 5.0]), 0, 0, "csr", {"which": "SA", "tol": 1e-10})
    sure, unsure = (SimpleNamespace(converged=c, verified=c, status="?") for c in (True, False))
    E = np.eye(4)
    assert judge(case, np.array([1.0, 1.0]), E[:, :2], sure)[0] == "right"
    assert judge(case, np.array([1.0, 2.0]), E[:, [0, 2]], sure)[0] == "MISSING"
    assert judge(case, np.array([1.0, 2.0]), E[:, [0, 2]], unsure)[0] == "honest"
    assert judge(case, np.array([1.0, 1.0]), E[:, :2], unsure)[0] == "unverified"
    assert judge(case, np.array([1.0, 1.1]), E[:, :2], sure)[0] == "WRONG"
    assert judge(case, np.array([1.0, 1.0]), E[:, [0, 0]], sure)[0] == "WRONG"
    assert judge(case, np.array([1.0]), E[:, :1], sure)[0] == "WRONG"


def test_a_case_is_wanted_by_what_which_says():
    from eigen.completeness_cases import EigenCase

    exact = np.array([-3.0, -1.0, 0.5, 2.0, 4.0])
    case = EigenCase(0, "toy", 3, sparse.csr_array(np.diag(exact)), None, exact, 0, 0, "csr")
    for which, wanted in (("SA", [-3, -1, 0.5]), ("LA", [-4, -2, -0.5]), ("LM", [-4, -3, -2]), ("SM", [0.5, 1, 2]),
                          ("BE", [-3, 2, 4])):  # fmt: skip
        case.options = {"which": which}
        assert np.array_equal(case.wanted(), wanted), which
    case.options = {"which": "LM", "sigma": 1.0}
    assert np.array_equal(case.wanted(), [0.5, 1.0, 2.0])


@pytest.mark.skipif(not nnla.kernels.native, reason="the reference counts with the native factor")
def test_peers_on_a_tiny_grid(tmp_path, monkeypatch):
    from eigsh_peers import main

    monkeypatch.setenv("PYTHONPATH", str(Path(nnla.__file__).parents[1]))
    words = ["--quick", "--only", "tiny", "--k", "4", "--solvers", "auto,arpack"]
    main([*words, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "peers.md")])
    data = json.loads((tmp_path / "peers.json").read_text())
    verdicts = {row["solver"]: row["verdict"] for row in data["rows"]}
    assert verdicts["auto"] == "right"
    assert verdicts["arpack"] == "right" or verdicts["arpack"].startswith("missing")
    assert "below" in data["facts"]["references"]["tiny grid"]
    page = (tmp_path / "peers.md").read_text()
    assert "tiny grid" in page
    assert str(tmp_path) not in page


@pytest.mark.skipif(not nnla.kernels.native, reason="the reference counts with the native factor")
def test_a_reference_counts_copies_in_a_gap_and_in_a_cluster():
    from eigen.peer_reference import establish

    A = sparse.csr_array(sparse.diags_array(np.concatenate([np.repeat([1.0, 2.0], 3), np.arange(3.0, 60.0)])))
    found = establish(A, None, 4)
    assert found.counted
    assert np.allclose(found.values[:4], [1, 1, 1, 2], rtol=0, atol=1e-10)
    searched = establish(A, None, 4, most=1.0)
    assert searched.counted.startswith("not counted")
    assert np.allclose(searched.values, [1, 1, 1, 2], rtol=0, atol=1e-10)
    many = sparse.csr_array(sparse.diags_array(np.concatenate([np.full(40, 1.0), np.arange(2.0, 60.0)])))
    found = establish(many, None, 4)
    assert "at it" in found.counted
    assert np.allclose(found.values[:4], 1, rtol=0, atol=1e-10)


def test_peers_are_judged_by_copies_residuals_and_what_they_say():
    from eigen.peer_report import judge, verdicts

    known = {"values": [1.0, 1.0, 2.0], "error": 0.0, "norm": 10.0, "mass": 1.0}
    row = {"values": [1.0, 1.0], "residuals": [1e-12, 1e-12], "angle": 0.0, "note": "", "cpu": 1.0}
    assert judge(row, known, 2, 1e-10) == "right"
    assert judge(row | {"values": [1.0, 2.0]}, known, 2, 1e-10).startswith("missing: value 2")
    assert judge(row | {"values": [1.0]}, known, 2, 1e-10) == "1 of 2 pairs"
    assert judge(row | {"residuals": [1e-12, 1e-7]}, known, 2, 1e-10).startswith("residual")
    assert judge(row | {"note": "direct: unverified"}, known, 2, 1e-10).startswith("not verified")
    assert judge({"failed": "stopped"}, known, 2, 1e-10) == "stopped"
    base = {"problem": "p", "group": "g", "k": 2, "note": ""}
    seconds = {"auto": (1.0, "right"), "a": (0.5, "missing"), "b": (2.0, "right"), "c": (4.0, "right")}
    (one,) = verdicts([base | {"solver": s, "cpu": t, "verdict": v} for s, (t, v) in seconds.items()])
    assert (one["best"], one["ratio"]) == ("b", 0.5)


def test_float32_operators_beside_scipy(capsys, monkeypatch):
    import eigsh_float32

    monkeypatch.setattr(eigsh_float32, "problems", lambda quick: {"grid": nnla.problems.poisson2d(18)})
    eigsh_float32.main(["--k", "3", "--methods", "auto"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[3].strip() for line in lines[2:]] == ["scipy", "auto"]
    assert float(lines[-1].split("|")[5]) < 1e-5


# -- dense systems -------------------------------------------------------------------------------------------------


def test_latencies_of_dense_systems():
    pytest.importorskip("torch")
    import dense_latency

    rows = dense_latency.measure([], n=8, batches=(1, 4), rounds=2)
    assert all(row["us"] > 0 for row in rows)
    table = dense_latency.markdown([row | {"us": 2.0 + 2.0 * ("torch" in row["method"])} for row in rows])
    assert table[0].count("|") == 5
    assert next(line for line in table if "torch.linalg.solve, float32" in line).endswith("| 2 / 2 |")
