"""What the commands share: their options, their studio, and how they end."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sdgen.config import Settings, read_settings
from sdgen.engine import LocalEngine
from sdgen.errors import (
    AdapterUnavailable,
    DownloadNeeded,
    InvalidRequest,
    ModelUnavailable,
    SdgenError,
    SettingError,
)
from sdgen.studio import Studio
from sdgen.terminal import plain

FAILED, WRONG, NO_MODEL, STOPPED = 1, 2, 3, 130  # exit codes

MakeStudio = Callable[[Settings], Studio]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for programs.")]
DataDir = Annotated[Path | None, typer.Option(help="Where pictures are kept.", show_default=False)]


def local_studio(settings: Settings) -> Studio:
    """A studio that draws in this process. Costs little: the first request loads the weights."""
    return Studio(settings, LocalEngine(settings))


@contextmanager
def open_studio(
    context: typer.Context, model: str | None, data_dir: Path | None
) -> Iterator[Studio]:
    """The studio of one command, closed at its end. Raises SettingError and ModelUnavailable."""
    make_studio: MakeStudio = context.obj or local_studio
    studio = make_studio(read_settings(model=model, data_dir=data_dir))
    try:
        if studio.model_problem:
            raise ModelUnavailable(studio.model_problem)
        yield studio
    finally:
        studio.close()


@contextmanager
def ending(as_json: bool) -> Iterator[None]:
    """Errors of ours become a sentence, or a JSON object, and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None
    except SdgenError as error:
        if as_json:
            fields: dict[str, object] = {"error": str(error), "kind": type(error).__name__}
            if isinstance(error, InvalidRequest):
                fields["field"] = error.field
            print_json(fields)
        else:
            typer.secho(f"Error: {plain(str(error))}", fg="red", err=True)
            if isinstance(error, DownloadNeeded):
                typer.echo(f"To fetch it: sdgen download {plain(error.model)}", err=True)
        raise typer.Exit(_exit_code(error)) from error


def _exit_code(error: SdgenError) -> int:
    match error:
        case InvalidRequest() | SettingError():
            return WRONG
        case ModelUnavailable() | AdapterUnavailable():
            return NO_MODEL
        case _:
            return FAILED


def print_json(value: dict[str, object]) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
