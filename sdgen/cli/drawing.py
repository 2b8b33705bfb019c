"""`sdgen generate` and `sdgen enhance`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from sdgen.cli.common import STOPPED, AsJson, DataDir, ending, open_studio, print_json
from sdgen.enhance import CHOICES, Choice, Draft
from sdgen.errors import InvalidRequest
from sdgen.grid import grid_from_texts
from sdgen.job import Failed, Job, Note, Saved, Stopped
from sdgen.request import SAMPLERS, SCALE_MAX, AdapterUse
from sdgen.studio import Studio, enhancement_of
from sdgen.terminal import Reporter, plain, report, reporter

Enhancers = Annotated[
    str, typer.Option("--enhancer", help="builtin, api, or auto: the API where there is one.")
]


def generate(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What the picture shows.")],
    seed: Annotated[
        int | None,
        typer.Option(help="0 to 18446744073709551615, the lower 32 bits count; -1: random."),
    ] = None,
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
    leave_out_prompt: Annotated[
        bool, typer.Option("--leave-out-prompt", help="No words of it go into the file.")
    ] = False,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:STRENGTH[:TEXT]]",
            help="A LoRA of `sdgen adapters` or a file; strengths for the picture and for the "
            "text, -10 to 10. Can be repeated.",
        ),
    ] = None,
    grid_x: Annotated[
        str,
        typer.Option(
            metavar="SETTING=VALUES",
            help="Draw a grid on one sheet, e.g. steps=4,8,12; guidance=1-9 [5]; "
            "prompt=robot,cat; adapter:NAME=0-1 [3].",
            show_default=False,
        ),
    ] = "",
    grid_y: Annotated[
        str, typer.Option(metavar="SETTING=VALUES", help="Its lines.", show_default=False)
    ] = "",
    enhance_it: Annotated[
        bool, typer.Option("--enhance", help="Draw a richer prompt; it is printed.")
    ] = False,
    enhancer: Enhancers = "auto",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Draw pictures and print their paths. Options left out are the model's defaults."""
    with ending(as_json), open_studio(context, model, data_dir) as studio:
        grid = grid_from_texts(grid_x, grid_y)
        if grid and count != 1:
            raise InvalidRequest("num_images", "Count must be 1 in a grid: each cell is a picture.")
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
            leave_out_prompt=leave_out_prompt,
            adapters=uses or None,
        )
        enhancement = enhancement_of(draft, draft.text) if draft else None
        job = studio.start(request, out, enhancement, grid)
        with reporter(quiet=as_json) as to:
            drawn = _follow(job, to)
        end = job.end
        if as_json and not isinstance(end, Failed):
            recipe = studio.recipe_of(drawn.pictures[0].path) if drawn.pictures else None
            print_json(
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
    with ending(as_json), open_studio(context, model, None) as studio:
        draft = studio.enhance(
            prompt, choice=_choice(enhancer), triggers=tuple(trigger or ()), again=again
        )
        if as_json:
            print_json(
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
