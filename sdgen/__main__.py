"""The command line: `sdgen` or `python -m sdgen`. A skin over sdgen.studio, like the page.

stdout has the results (paths, tables, or with --json one JSON object), stderr all the rest.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sdgen.adapters.hub import is_hub_id
from sdgen.adapters.show import family_title, report_fields, report_lines
from sdgen.config import Settings, read_settings
from sdgen.credentials import read_credentials
from sdgen.engine import LocalEngine
from sdgen.enhance import CHOICES, Choice, Draft
from sdgen.errors import (
    AdapterUnavailable,
    DownloadNeeded,
    InvalidRequest,
    ModelUnavailable,
    SdgenError,
    SettingError,
)
from sdgen.job import Failed, Job, Note, Saved, Stopped
from sdgen.metadata import Recipe, read_recipe
from sdgen.request import SAMPLERS, SCALE_MAX, AdapterUse
from sdgen.samplers import sampler_title
from sdgen.studio import ModelCard, Studio, enhancement_of
from sdgen.studio_adapters import AdapterCard
from sdgen.terminal import Reporter, plain, report, reporter

EXIT_CODES = """Exit codes: 0 done; 1 failed; 2 wrong usage, or a request out of bounds;
3 the model or a LoRA cannot be had or used, or needs a download first; 130 stopped by Ctrl+C
(finished pictures are kept)."""
FAILED, WRONG, NO_MODEL, STOPPED = 1, 2, 3, 130
ENVIRONMENT = MappingProxyType(
    {
        "DIFFUSERS_DISABLE_REMOTE_CODE": "1",  # no code out of model repositories, ever
        "TRANSFORMERS_VERBOSITY": "error",  # its hints on import are not for who wants a picture
    }
)

app = typer.Typer(
    help="A sentence becomes a picture.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they would print local variables, prompts among them
    add_completion=False,
)
MakeStudio = Callable[[Settings], Studio]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for programs.")]
Enhancers = Annotated[
    str, typer.Option("--enhancer", help="builtin, api, or auto: the API where there is one.")
]
DataDir = Annotated[Path | None, typer.Option(help="Where pictures are kept.", show_default=False)]


def local_studio(settings: Settings) -> Studio:
    """A studio that draws in this process. Costs little: the first request loads the weights."""
    return Studio(settings, LocalEngine(settings))


def main(make_studio: MakeStudio = local_studio) -> None:
    """Run the command line. make_studio: what the commands call, for tests."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    app(obj=make_studio)


@app.command(epilog=EXIT_CODES)
def generate(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What the picture shows.")],
    seed: Annotated[int | None, typer.Option(help="0 to 4294967295; default: random.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    count: Annotated[
        int, typer.Option("-n", "--count", help="How many; picture i has seed + i.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder; default: in the data folder.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A name of `sdgen models`, a Hub id, a folder or a file.")
    ] = None,
    negative: Annotated[str | None, typer.Option(help="What the picture must not show.")] = None,
    guidance: Annotated[float | None, typer.Option(help="1 is off.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels, a multiple of 8.")] = None,
    sampler: Annotated[str | None, typer.Option(help=", ".join(SAMPLERS))] = None,
    clip_skip: Annotated[int | None, typer.Option(help="Layers to leave out; 0 is none.")] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Repeat bit for bit on this machine.")
    ] = False,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:STRENGTH[:TEXT]]",
            help="A LoRA of `sdgen adapters` or a file; strengths for the picture and for the "
            "text, -2 to 2. Can be repeated.",
        ),
    ] = None,
    enhance_it: Annotated[
        bool, typer.Option("--enhance", help="Draw a richer prompt; it is printed.")
    ] = False,
    enhancer: Enhancers = "auto",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Draw pictures and print their paths. Options left out are the model's defaults."""
    with _ending(as_json), _studio(context, model, data_dir) as studio:
        uses = tuple(_adapter_use(studio, text) for text in adapter or ())
        draft = None
        if enhance_it:
            names = tuple(use.name for use in uses)
            draft = studio.enhance(prompt, choice=_choice(enhancer), adapters=names)
        if draft is not None:
            _tell(draft)
        request = studio.request(
            prompt=draft.text if draft else prompt,
            seed=seed,
            steps=steps,
            num_images=count,
            negative_prompt=negative,
            guidance_scale=guidance,
            width=width,
            height=height,
            sampler=sampler,
            clip_skip=clip_skip,
            exact=exact,
            adapters=uses or None,
        )
        enhancement = enhancement_of(draft, draft.text) if draft else None
        job = studio.start(request, out, enhancement)
        with reporter(quiet=as_json) as to:
            drawn = _follow(job, to)
        end = job.end
        if as_json and not isinstance(end, Failed):
            recipe = studio.recipe_of(drawn.pictures[0].path) if drawn.pictures else None
            _print_json(
                {
                    "paths": [str(picture.path) for picture in drawn.pictures],
                    "seeds": [picture.seed for picture in drawn.pictures],
                    "flagged": [picture.flagged for picture in drawn.pictures],
                    "recipe": recipe.model_dump(mode="json") if recipe else None,
                    "notes": drawn.notes,
                    "seconds": round(end.result.seconds, 3) if end else None,
                    "stopped": isinstance(end, Stopped),
                }
            )
        if isinstance(end, Failed):
            raise end.error
        if isinstance(end, Stopped):
            raise typer.Exit(STOPPED)


@app.command(epilog=EXIT_CODES)
def enhance(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What the picture shows, in few words.")],
    model: Annotated[
        str | None, typer.Option(help="The model that would draw it; it decides what fits.")
    ] = None,
    enhancer: Enhancers = "auto",
    trigger: Annotated[
        list[str] | None, typer.Option(help="A word that must be in it; can be repeated.")
    ] = None,
    again: Annotated[int, typer.Option(min=0, help="1, 2, ...: other drafts.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print a richer prompt; nothing is drawn. A key for the API is read from OPENAI_API_KEY."""
    with _ending(as_json), _studio(context, model, None) as studio:
        draft = studio.enhance(
            prompt, choice=_choice(enhancer), triggers=tuple(trigger or ()), again=again
        )
        if as_json:
            _print_json(
                {
                    "text": draft.text,
                    "added": draft.added,
                    "dropped": draft.dropped,
                    "engine": draft.engine,
                    "model": draft.model,
                    "note": draft.note,
                }
            )
        else:
            if draft.note:
                typer.echo(plain(draft.note), err=True)
            typer.echo(plain(draft.text))


@app.command(epilog=EXIT_CODES)
def models(context: typer.Context, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the models: what they cost to fetch, their licence and native size."""
    with _ending(as_json), _studio(context, None, data_dir) as studio:
        cards = studio.models()
        if as_json:
            _print_json({"models": [_card_fields(card) for card in cards]})
            return
        table = Table(box=None, pad_edge=False)
        for title in ("Name", "Model", "On this machine", "Download", "Pixels", "Licence"):
            table.add_column(title, overflow="fold")
        for card in cards:
            table.add_row(
                card.name,
                card.title,
                "yes" if card.local else "no",
                "" if card.local else _gigabytes(card.download_bytes),
                f"{card.width}x{card.height}",
                card.licence,
            )
        Console().print(table)


@app.command(epilog=EXIT_CODES)
def download(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name of `sdgen models`, or a Hub id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a model, after saying how much that is."""
    with _ending(as_json), _studio(context, name, None) as studio:
        card = studio.model(studio.default_model())
        if not card.local:
            size = studio.download_size(card.name)
            question = f"Download {card.title}: {_gigabytes(size)}, licence {card.licence}?"
            if not yes and (as_json or not typer.confirm(question, err=True)):
                raise DownloadNeeded(card.name, size)
            with reporter(quiet=as_json) as to:
                studio.download(
                    card.name,
                    lambda done, total: to.step(
                        f"Downloading {card.name} (MB)", _mb(done), _mb(total)
                    ),
                )
        if as_json:
            _print_json(_card_fields(studio.model(card.name)))
        else:
            typer.echo(f"{card.title} is on this machine.", err=True)


@app.command(epilog=EXIT_CODES)
def adapters(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="[NAME|FILE|HUB ID]", help="The one to examine.")
    ] = "",
    model: Annotated[
        str | None, typer.Option(help="The model to judge for, as in `generate`.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Fetch from the Hub without asking.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Examine a LoRA and say what of it applies to a model; without a name, list them."""
    with _ending(as_json), _studio(context, model, data_dir) as studio:
        if not target:
            _list_adapters(studio, as_json)
            return
        card = _adapter_card(studio, target, yes=yes, as_json=as_json)
        if card.report is None:
            raise AdapterUnavailable(
                f"'{card.name}' is not on this machine for that model; to fetch it: "
                f"sdgen adapters {card.hub_id}"
            )
        if as_json:
            _print_json(report_fields(card.report, card.verdict))
        else:
            typer.echo(plain("\n".join(report_lines(card.report, card.verdict))))
        if card.verdict and card.verdict.level == "refused":
            raise typer.Exit(NO_MODEL)


@app.command(epilog=EXIT_CODES)
def show(
    picture: Annotated[Path, typer.Argument(help="A PNG of sdgen's, or by A1111 and its kin.")],
    as_json: AsJson = False,
) -> None:
    """Print the recipe inside a picture, and what its content credentials say."""
    with _ending(as_json):
        recipe = read_recipe(picture)
        seal = read_credentials(picture.read_bytes())
        if as_json:
            told: dict[str, object] = {
                "recipe": recipe.model_dump(mode="json"),
                "credentials": asdict(seal),
            }
            _print_json(told)
        else:
            typer.echo("\n".join([*_recipe_lines(recipe), f"{'credentials':<16} {seal.sentence}"]))


@app.command(epilog=EXIT_CODES)
def verify(
    context: typer.Context,
    picture: Annotated[Path, typer.Argument(help="A PNG of sdgen's, or by A1111 and its kin.")],
    model: Annotated[
        str | None, typer.Option(help="Its model, where that is a folder, a file or a Hub id.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Draw a picture's recipe again, exactly, and say whether it is the same picture.

    Exits with 0 where it is (to 1/255 a pixel), 1 where it is not, 3 where nobody can tell here.
    """
    with _ending(as_json), _studio(context, model, data_dir) as studio:
        found = studio.verify(picture)
        if as_json:
            _print_json(asdict(found))
        else:
            typer.echo(plain(found.sentence))
        if found.answer not in ("identical", "nearly"):
            raise typer.Exit(NO_MODEL if found.answer == "impossible" else FAILED)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
def serve(context: typer.Context) -> None:
    """Open the page, with the options of app.py (`sdgen serve --help` lists them)."""
    from sdgen.launch import main as serve_page

    raise typer.Exit(serve_page(context.args))


def _adapter_use(studio: Studio, text: str) -> AdapterUse:
    """One --adapter: a name, file or Hub id, then up to two strengths. Raises InvalidRequest."""
    name, *strengths = re.split(r":(?=\s*[-+.\d][\d.eE+-]*\s*(?::|\Z))", text)
    try:
        scales = [float(strength) for strength in strengths]
    except ValueError:
        raise InvalidRequest(
            "adapters", f"'{text[:120]}' has a strength that is no number."
        ) from None
    if not name or len(scales) > 2:
        raise InvalidRequest("adapters", "Give an adapter as NAME, NAME:0.8 or NAME:0.8:0.5.")
    if Path(name).expanduser().is_file():
        name = studio.use_adapter_file(Path(name)).name
    fields = dict(zip(("scale", "text_scale"), scales, strict=False))
    try:
        return AdapterUse(name=name, **fields)
    except ValidationError as error:
        raise InvalidRequest(
            "adapters", f"A strength must be from {-SCALE_MAX:g} to {SCALE_MAX:g}."
        ) from error


def _adapter_card(studio: Studio, target: str, *, yes: bool, as_json: bool) -> AdapterCard:
    """The card of a file, a Hub id (fetched once the user agreed) or a name."""
    model = studio.default_model()
    if Path(target).expanduser().is_file() or target.lower().endswith((".safetensors", ".pt")):
        return studio.inspect_adapter_file(Path(target).expanduser(), model)
    if is_hub_id(target):
        size = studio.adapter_download_size(target)
        if size:
            question = f"Download {target} from the Hub: {size / 1e6:.1f} MB?"
            if not yes and (as_json or not typer.confirm(question, err=True)):
                raise AdapterUnavailable(
                    f"'{target}' needs a download of {size / 1e6:.1f} MB; nothing was fetched."
                )
            with reporter(quiet=as_json) as to:
                studio.fetch_adapter(
                    target, lambda done, total: to.step(f"Downloading {target}", done, total)
                )
    return studio.inspect_adapter(target, model)


def _list_adapters(studio: Studio, as_json: bool) -> None:
    cards = studio.adapters(studio.default_model())
    broken = studio.broken_adapters()
    if as_json:
        _print_json(
            {
                "adapters": [_adapter_fields(card) for card in cards],
                "broken": [{"name": name, "why": why} for name, why in broken],
            }
        )
        return
    table = Table(box=None, pad_edge=False)
    for title in ("Name", "LoRA", "Made for", "Trigger", f"With {studio.default_model()}"):
        table.add_column(title, overflow="fold")
    for card in cards:
        report, judged = card.report, card.verdict
        table.add_row(
            escape(plain(card.name)),
            escape(plain(card.title)),
            escape(plain(family_title(report))) if report else "",
            escape(plain(", ".join(report.triggers))) if report else "",
            escape(plain(judged.sentence)) if judged else f"not here: sdgen adapters {card.hub_id}",
        )
    Console().print(table)
    for name, why in broken:
        typer.echo(f"{plain(name)} cannot be used. {why}", err=True)


def _adapter_fields(card: AdapterCard) -> dict[str, object]:
    told = {"name": card.name, "title": card.title, "local": card.local, "source": card.source}
    return told if card.report is None else {**report_fields(card.report, card.verdict), **told}


def _choice(enhancer: str) -> Choice:
    for choice in CHOICES:
        if enhancer == choice:
            return choice
    raise InvalidRequest("enhancer", f"Enhancer must be one of {', '.join(CHOICES)}.")


def _tell(draft: Draft) -> None:
    """What will be drawn in place of the user's words, on stderr."""
    if draft.note:
        typer.echo(plain(draft.note), err=True)
    typer.echo(f"Prompt: {plain(draft.text)}", err=True)


@dataclass(frozen=True)
class Drawn:
    """What a job left behind: its pictures in order, and what was said about them."""

    pictures: tuple[Saved, ...]
    notes: tuple[str, ...]


def _follow(job: Job, to: Reporter) -> Drawn:
    """Watch a job to its end, printing paths as they come. Ctrl+C stops it, twice leaves it."""
    saved: dict[int, Saved] = {}
    notes: list[str] = []
    while True:
        try:
            for event in job.events():
                match event:
                    case Saved(index, _, path) if index not in saved:
                        saved[index] = event
                        to.result(str(path))
                    case Note(text) if text in notes:
                        continue
                    case Note(text):
                        notes.append(text)
                report(event, to)
            return Drawn(tuple(saved[index] for index in sorted(saved)), tuple(notes))
        except KeyboardInterrupt:
            if job.cancelled:
                raise
            to.say("Stopping; finished pictures are kept.")
            job.cancel()


@contextmanager
def _studio(context: typer.Context, model: str | None, data_dir: Path | None) -> Iterator[Studio]:
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
def _ending(as_json: bool) -> Iterator[None]:
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
            _print_json(fields)
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


def _recipe_lines(recipe: Recipe) -> Iterator[str]:
    """A recipe for people: one line a field, those that are not known left out."""
    sampler = recipe.sampler
    known = {"sampler": sampler_title(sampler)} if sampler in SAMPLERS else {}
    fields = recipe.model_dump(mode="json") | known
    fields["versions"] = ", ".join(f"{name} {version}" for name, version in recipe.versions)
    fields["notes"] = " ".join(recipe.notes)
    if recipe.noise_scheduler:
        fields["noise_scheduler"] = json.loads(recipe.noise_scheduler).get("class", "")
    for name, value in fields.items():
        if value not in (None, "", False) and value != []:
            text = plain(str(value)).replace("\n", "\n" + " " * 17)
            yield f"{name.replace('_', ' '):<16} {text}"


def _card_fields(card: ModelCard) -> dict[str, object]:
    """A card for programs, without its word lists."""
    return {
        "name": card.name,
        "title": card.title,
        "local": card.local,
        "download_bytes": card.download_bytes,
        "licence": card.licence,
        "width": card.width,
        "height": card.height,
        "steps": card.steps,
        "guidance_scale": card.guidance_scale,
        "sampler": card.sampler,
        "ignores": sorted(card.ignores),
    }


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count else "size not known"


def _mb(count: int) -> int:
    return count // 1_000_000


def _print_json(value: dict[str, object]) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


if __name__ == "__main__":
    main()
