"""The page of the generated families of systems, from their own docstrings.

python reproduce/system_families.py          # docs/system_families.md
"""

from __future__ import annotations

from pathlib import Path

from nnla.problems import SYSTEM_FAMILIES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "system_families.md"


def page() -> str:
    kinds: dict[str, list[str]] = {}
    for name, family in SYSTEM_FAMILIES.items():
        line = f"| {name} | {family.smallest:,} to {family.largest:,} | {family.about} {family.source} |"
        kinds.setdefault(family.kind, []).append(line.replace("\n", " "))
    lines = [
        "# Families of systems",
        "",
        f"{len(SYSTEM_FAMILIES)} families of symmetric positive definite systems in {len(kinds)} kinds, each with the",
        "source of its structure: `nnla.problems.linear_system(family, n, seed=...)` draws one, all of it from the",
        "seed. They are what [`auto`](auto.md) learns from. Written by `python reproduce/system_families.py`.",
    ]
    for kind in sorted(kinds):
        lines += [
            "",
            f"## {kind.capitalize()}",
            "",
            "| family | n | what it is, and where it comes from |",
            "|---|---|---|",
        ]
        lines += kinds[kind]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
