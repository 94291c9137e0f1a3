"""The project's own files say the same thing twice only where a test compares them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nnla

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def extra(name: str) -> set[str]:
    """Requirements of an extra, those of the extras that it names included."""
    out: set[str] = set()
    for requirement in PYPROJECT["project"]["optional-dependencies"][name]:
        own = re.fullmatch(r"nnla\[(.*)\]", requirement)
        out |= set().union(*map(extra, own[1].split(","))) if own else {requirement}
    return out


def test_the_dependency_group_for_tests_is_the_extra():
    assert set(PYPROJECT["dependency-groups"]["test"]) == extra("test")


def test_one_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert PYPROJECT["project"]["version"] == nnla.__version__
    assert f"\nversion: {nnla.__version__}\n" in citation


def test_types_are_shipped():
    assert (Path(nnla.__file__).parent / "py.typed").is_file()


def test_the_map_names_places_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = (ROOT, ROOT / "src" / "nnla", ROOT / "docs")
    named = set(re.findall(r"`([a-z_./]+(?:\.py|\.toml|\.md|/))`", text)) | set(re.findall(r"\]\(([^)#:]+)\)", text))
    missing = {name for name in named if not any((folder / name).exists() for folder in folders)}
    assert named
    assert not missing
