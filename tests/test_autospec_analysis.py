"""The analysis script: every section on small problems, and the page that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "reproduce"


def test_sections_write_numbers_pictures_and_a_page(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(FOLDER))
    from autospec_analysis import SECTIONS, main

    few = ["figure_11", "figure_13", "figure_14"]
    main(["--quick", "--out", str(tmp_path), "--only", *few])
    data = json.loads((tmp_path / "autospec_analysis.json").read_text())
    assert list(data["results"]) == few
    prefixes = data["results"]["figure_11"]["prefixes"]
    assert [row["degree"] for row in prefixes] == list(range(2, 31))
    assert all(row["median"] > 1 for row in prefixes)
    page = (tmp_path / "autospec_analysis.md").read_text()
    for key in few:
        title, picture = SECTIONS[key]
        assert title in page
        assert (tmp_path / picture).stat().st_size > 5000
    main(["--quick", "--out", str(tmp_path), "--only", "figure_14"])  # the others stay
    assert list(json.loads((tmp_path / "autospec_analysis.json").read_text())["results"]) == few
    with pytest.raises(SystemExit):
        main(["--quick"])
