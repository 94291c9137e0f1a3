"""What the commands share: output files checked beforehand, tables, JSON, progress on terminals only."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from nnla.errors import OptionError
from nnla.report import plain_json

__all__ = ["check_target", "emit_json", "number", "progress", "say", "show_pairs", "show_table"]


def check_target(path: str | None, suffixes: Sequence[str], inputs: Iterable[str | None] = ()) -> None:
    """Refuse, before any work, a file that could not be written in the end.

    Raises
    ------
    OptionError
        Wrong suffix, no such folder, not writable, not a regular file, or one of the inputs.
    """
    if path is None:
        return
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        raise OptionError(f"{path}: cannot write this format; use a name that ends in {' or '.join(suffixes)}")
    real = Path(os.path.realpath(target))
    if not real.parent.is_dir():
        raise OptionError(f"{path}: there is no folder {target.parent}; make it first")
    if real.exists() and not real.is_file():
        raise OptionError(f"{path}: is not a regular file; choose another name")
    for source in inputs:
        if source is not None and real.exists() and os.path.exists(source) and os.path.samefile(real, source):
            raise OptionError(f"{path}: is the input, which would be overwritten; choose another name")
    try:
        # the name's length counts too: the partial file is called .NAME.<12 digits>.partial
        with tempfile.NamedTemporaryFile(dir=real.parent, prefix=f".{real.name}.", suffix=".partial"):
            pass
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def emit_json(data: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(plain_json(data), allow_nan=False))


def say(text: str = "", end: str = "\n") -> None:
    """A line on stdout."""
    click.echo(text + end, nl=False)


def number(value: Any, digits: int = 3) -> str:
    """A number for people; nothing for None."""
    if value is None:
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) else f"{value}"


def show_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Name and value, aligned; empty values are left out."""
    kept = [(name, value) for name, value in pairs if value != ""]
    width = max((len(name) for name, _ in kept), default=0)
    for name, value in kept:
        say(f"{name:<{width}}  {value}")


def show_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, strong: str = "") -> None:
    """A table with ``left`` left-aligned columns; never wrapped, so that it can be piped.

    ``strong`` is the first cell of the row to print bold on a terminal.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row), style="bold" if strong and row[0] == strong else None)
    # as wide as the table needs: a terminal may wrap it, a file must not lose columns
    console = Console(file=sys.stdout, width=400, highlight=False)
    with console.capture() as captured:  # rich would take a closed pipe for a reason to exit
        console.print(table)
    say(captured.get(), end="")


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr if that is a terminal, else nothing.

    Yields a function ``report(text, done, total)``.
    """
    if not sys.stderr.isatty():
        yield lambda text, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)

        def report(text: str, done: int, total: int) -> None:
            bar.update(task, description=f"{label} {text}".strip(), completed=done, total=total)

        yield report
