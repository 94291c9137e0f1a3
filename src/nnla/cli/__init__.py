"""The command ``nnla``: every command in one place, every failure in one line.

Exit codes: 0 done and converged, 1 ran but did not reach the tolerance, 2 bad input or usage, 130
interrupted.
Everything heavy is imported inside the commands, so that ``nnla --help`` is instant.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, NoReturn

import click

from nnla import __version__
from nnla.errors import NNLAError

__all__ = ["cli", "main"]


class _Commands(click.Group):
    """A group whose commands return their exit code and whose failures are one line on stderr."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        try:
            # what a library warns of is not for the user of a command, whose errors are single lines
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                code = super().main(*args, **(kwargs | {"standalone_mode": False}))
        except click.ClickException as error:
            code = _fail(error.format_message())
        except click.Abort:
            code = 130
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
            return code
        except (click.ClickException, click.exceptions.Exit):
            raise
        except KeyboardInterrupt:
            click.echo("nnla: interrupted", err=True)
            return 130
        except BrokenPipeError:
            _silence_stdout()
            return 141  # as if the signal had ended the process, which is what the reader asked for
        except Exception as error:
            if os.environ.get("NNLA_DEBUG"):
                raise
            return _fail(_explain(error))


def _explain(error: Exception) -> str:
    if isinstance(error, NNLAError):
        return str(error)
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return f"out of memory{detail}; use a smaller problem or a larger machine"
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EIO, errno.EPIPE) and error.filename is None:
            _silence_stdout()
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return f"unexpected {type(error).__name__}: {error} (NNLA_DEBUG=1 shows where; please report it)"


def _fail(message: str) -> int:
    click.echo("nnla: error: " + " ".join(message.split()), err=True)
    return 2


def _silence_stdout() -> None:
    """Nobody reads it any more: keep the interpreter's last flush from complaining."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="nnla")
@click.pass_context
def cli(ctx: click.Context) -> int:
    """Learned algorithms for large sparse linear systems, checked and beside their classical baselines.

    Exit codes: 0 done and converged, 1 ran but did not reach the tolerance, 2 bad input or usage.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return 0


def _register() -> None:
    from nnla.cli import eigen, functions, models, solving

    for command in (*solving.COMMANDS, *eigen.COMMANDS, *functions.COMMANDS, *models.COMMANDS):
        cli.add_command(command)


_register()


def main() -> NoReturn:
    """Entry point of the command ``nnla``."""
    cli.main(prog_name="nnla")
