"""The command line of training: `python -m lora`. A skin over lora.train, like the page.

stdout has the results (tables, paths, or with --json one JSON object), stderr all the rest.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer
from rich.console import Console

from lora.config import InvalidRecipe, TrainingRecipe
from lora.runs import RunFolder, Status, new_run_folder, write_whole
from sdgen.config import read_settings
from sdgen.errors import ModelUnavailable, SdgenError, SettingError

EXIT_CODES = """Exit codes: 0 done, or stopped with a checkpoint; 1 failed; 2 wrong usage, or a
recipe out of bounds; 3 the base model cannot be had, or needs a download first."""
FAILED, WRONG, NO_MODEL = 1, 2, 3
ENVIRONMENT = MappingProxyType(
    {
        "DIFFUSERS_DISABLE_REMOTE_CODE": "1",  # no code out of model repositories, ever
        "TRANSFORMERS_VERBOSITY": "error",  # its hints on import are not for who trains
        "DIFFUSERS_VERBOSITY": "error",
    }
)

app = typer.Typer(
    help="Train an adapter (LoRA) from a handful of photos.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
errors = Console(stderr=True, highlight=False)
RecipeFile = Annotated[Path, typer.Argument(help="The recipe, a JSON file.", exists=True)]
RunPath = Annotated[Path, typer.Argument(help="The folder of a run.", exists=True)]
AsJson = Annotated[bool, typer.Option("--json", help="The end as one JSON object.")]
Export = Annotated[bool, typer.Option(help="Choose a checkpoint at the end and write its files.")]
DataDir = Annotated[Path | None, typer.Option(help="Where runs and adapters are kept.")]


def main() -> None:
    """Run the command line."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    app()


@app.command(epilog=EXIT_CODES)
def train(
    recipe: RecipeFile,
    data_dir: DataDir = None,
    folder: Annotated[Path | None, typer.Option(help="Of the run; default: a new one.")] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    export: Export = True,
    as_json: AsJson = False,
) -> None:
    """Train a recipe to its end: prepare, train, choose the best checkpoint, export, verify.

    Ctrl+C stops after the running step and keeps a checkpoint; `resume` goes on from there.
    """
    with _sentences():
        wanted = TrainingRecipe.read(recipe)
        if steps is not None:
            wanted = wanted.with_fields(steps=steps)
        settings = read_settings(data_dir=data_dir)
        run = RunFolder(folder) if folder else new_run_folder(settings.data_dir, wanted.name)
        write_whole(run.recipe, wanted.to_json().encode())
        errors.print(f"The run's folder: {run.path}")
        _train(run, as_json, data_dir, export)


@app.command(epilog=EXIT_CODES)
def resume(
    folder: RunPath,
    data_dir: DataDir = None,
    steps: Annotated[int | None, typer.Option(help="Train to so many in all.")] = None,
    export: Export = True,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped or killed, exactly as if it had not been."""
    with _sentences():
        _train(RunFolder(folder), as_json, data_dir, export, steps)


@app.command("_run", hidden=True)
def run_folder(folder: RunPath) -> None:
    """What the page starts: train or go on with the run in `folder`."""
    with _sentences():
        from lora.train import train as to_the_end

        to_the_end(RunFolder(folder))


def _train(
    run: RunFolder, as_json: bool, data_dir: Path | None, export: bool, steps: int | None = None
) -> None:
    """Train in this process, with progress on stderr; the end on stdout."""
    from lora.train import resume as go_on

    settings = read_settings(data_dir=data_dir)
    done = go_on(run, steps, _reporter(), settings, export=export)
    status = done.status
    if as_json:
        print(json.dumps({"folder": str(run.path), **status.model_dump()}))  # noqa: T201
        return
    if done.state == "stopped":
        errors.print(f"Stopped at step {done.step}. Go on: python -m lora resume {run.path}")
        return
    errors.print(status.reason or status.message)
    for path in status.files:
        print(path)  # noqa: T201


def _reporter() -> Callable[[Status, object], None]:
    """Prints how far it is: in place on a terminal, else a line every twentieth."""
    terminal = sys.stderr.isatty()

    def tell(status: Status, step: object) -> None:
        every = max(status.steps // 20, 1)
        if not terminal and status.step % every:
            return
        left = "" if status.seconds_left is None else f", {status.seconds_left / 60:.1f} min left"
        loss = getattr(step, "loss", 0.0)
        text = f"step {status.step} of {status.steps}, loss {loss:.4f}{left}"
        errors.print(text, end="\r" if terminal and status.step < status.steps else "\n")

    return tell


@contextmanager
def _sentences() -> Iterator[None]:
    """Errors as sentences on stderr with the exit code that fits."""
    try:
        yield
    except (InvalidRecipe, SettingError) as error:
        errors.print(str(error), markup=False)
        raise typer.Exit(WRONG) from error
    except ModelUnavailable as error:
        errors.print(str(error), markup=False)
        raise typer.Exit(NO_MODEL) from error
    except SdgenError as error:
        errors.print(str(error), markup=False)
        raise typer.Exit(FAILED) from error


if __name__ == "__main__":
    main()
