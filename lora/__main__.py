"""The command line of training: `python -m lora`. A skin over lora.train, like the page.

stdout has the results (tables, paths, or with --json one JSON object), stderr all the rest.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lora.config import InvalidRecipe, TrainingRecipe
from lora.runs import RunFolder, Status, new_run_folder, write_whole
from sdgen.config import read_settings
from sdgen.errors import ModelUnavailable, SdgenError, SettingError

if TYPE_CHECKING:
    from lora.evaluate import Choice

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
errors = Console(stderr=True, highlight=False, soft_wrap=True)
RecipeFile = Annotated[Path, typer.Argument(help="The recipe, a JSON file.", exists=True)]
RunPath = Annotated[Path, typer.Argument(help="The folder of a run.", exists=True)]
RunOrFile = Annotated[
    Path, typer.Argument(help="The folder of a run, or an adapter's file.", exists=True)
]
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
    what: RunOrFile,
    data_dir: DataDir = None,
    steps: Annotated[int | None, typer.Option(help="Of a run: in all. From a file: more.")] = None,
    photos: Annotated[str, typer.Option(help="For a file: the folder or zip of photos.")] = "",
    base: Annotated[str | None, typer.Option(help="For a file: its base model.")] = None,
    export: Export = True,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped or killed, exactly as if it had not been.

    With an adapter's file that sdgen trained: a new run, with the recipe inside the file, that
    begins with its weights.
    """
    with _sentences():
        if what.is_dir():
            _train(RunFolder(what), as_json, data_dir, export, steps)
            return
        if not photos:
            raise InvalidRecipe(
                "photos", "An adapter's file holds no photos: name them (--photos)."
            )
        from lora.train import start_from_file

        run = new_run_folder(read_settings(data_dir=data_dir).data_dir, what.stem)
        start_from_file(what, run, str(Path(photos).expanduser().resolve()), steps, base)
        errors.print(f"The run's folder: {run.path}")
        _train(run, as_json, data_dir, export)


@app.command(epilog=EXIT_CODES)
def check(
    photos: Annotated[Path, typer.Argument(help="A folder or zip of photos.", exists=True)],
    trigger: Annotated[str, typer.Option(help="The word that calls the subject.")],
    class_word: Annotated[str, typer.Option(help="What it is: man, dog, vase.")] = "",
    resolution: Annotated[int, typer.Option(help="Pixels; 256 for picturebook.")] = 512,
    as_json: AsJson = False,
) -> None:
    """Look at photos before they are trained on: what is used, what is left out and why."""
    from lora.dataset import check as look
    from lora.dataset import print_report, report_json

    with _sentences(), tempfile.TemporaryDirectory() as work:
        report = look(photos, Path(work), trigger, class_word, resolution)
        if as_json:
            print(report_json(report))  # noqa: T201
        else:
            print_report(report)
        if not report.used:
            raise typer.Exit(FAILED)


@app.command(epilog=EXIT_CODES)
def evaluate(folder: RunPath, as_json: AsJson = False) -> None:
    """Measure the checkpoints of a run again and choose one."""
    with _sentences():
        from lora.evaluate import evaluate as measure
        from lora.evaluate import table

        pick = measure(RunFolder(folder), on_progress=lambda text: errors.print(text, markup=False))
        run = RunFolder(folder)
        chosen = {"best_step": pick.step, "best_strength": pick.strength, "reason": pick.reason}
        run.read_status().changed(**chosen).write(run.status)
        if as_json:
            print(pick.scores.model_dump_json())  # noqa: T201
            return
        print(table(pick.scores))  # noqa: T201


@app.command(epilog=EXIT_CODES)
def export(
    folder: RunPath,
    data_dir: DataDir = None,
    step: Annotated[int | None, typer.Option(help="Default: the chosen one.")] = None,
    strength: Annotated[float | None, typer.Option(help="Default: the chosen one.")] = None,
    captions: Annotated[bool, typer.Option(help="Put the captions into the file.")] = False,
) -> None:
    """Write a checkpoint as files for this app, diffusers and kohya's tools, each proven."""
    with _sentences():
        from lora.export import export as write

        run = RunFolder(folder)
        choice = _choice(run, step, strength)
        data = read_settings(data_dir=data_dir).data_dir
        done = write(run, choice.step, choice.strength, data, captions=captions)
        files = [str(path) for path in done.paths]
        run.read_status().changed(
            state="done",
            best_step=choice.step,
            best_strength=choice.strength,
            reason=choice.reason,
            message=done.sentence(),
            files=files,
        ).write(run.status)
        errors.print(done.sentence(), markup=False)
        for path in files:
            print(path)  # noqa: T201


def _choice(run: RunFolder, step: int | None, strength: float | None) -> "Choice":
    """What to export: what was measured, overruled by what is given; with both given, nothing
    need be measured. Raises EvaluationFailed."""
    from lora.evaluate import EvaluationFailed, by_hand, choose, read_scores

    try:
        choice = read_scores(run).choice
    except EvaluationFailed as error:
        if step is None or strength is None:
            raise EvaluationFailed(
                f"{error} To export all the same, give both --step and --strength."
            ) from error
        return by_hand(run, step, strength)
    if step is None and strength is None:
        return choice
    step = choice.step if step is None else step
    strength = choice.strength if strength is None else strength
    return choose(run, step, strength).scores.choice


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
