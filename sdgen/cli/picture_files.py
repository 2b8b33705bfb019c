"""`sdgen show`, `sdgen verify` and `sdgen rebuild`: pictures that are there already."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sdgen.cli.common import (
    FAILED,
    NO_MODEL,
    AsJson,
    DataDir,
    ending,
    open_studio,
    print_json,
)
from sdgen.config import read_settings
from sdgen.credentials import read_credentials
from sdgen.gallery import rebuild as rebuild_rows
from sdgen.metadata import Recipe, read_recipe
from sdgen.queue import AppLock
from sdgen.request import SAMPLERS
from sdgen.samplers import sampler_title
from sdgen.terminal import plain


def show(
    picture: Annotated[Path, typer.Argument(help="A picture of sdgen's, or of another program.")],
    as_json: AsJson = False,
) -> None:
    """Print the recipe inside a picture, and what its content credentials say."""
    with ending(as_json):
        recipe = read_recipe(picture)
        seal = read_credentials(picture.read_bytes())
        if as_json:
            told: dict[str, object] = {
                "recipe": recipe.model_dump(mode="json"),
                "credentials": asdict(seal),
            }
            print_json(told)
        else:
            typer.echo("\n".join([*_recipe_lines(recipe), f"{'credentials':<16} {seal.sentence}"]))


def verify(
    context: typer.Context,
    picture: Annotated[Path, typer.Argument(help="A picture of sdgen's, or of another program.")],
    model: Annotated[
        str | None, typer.Option(help="Its model, where that is a folder, a file or a Hub id.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Draw a picture's recipe again, exactly, and say whether it is the same picture.

    Exits with 0 where it is (to 1/255 a pixel), 1 where it is not, 3 where nobody can tell here.
    """
    with ending(as_json), open_studio(context, model, data_dir) as studio:
        found = studio.verify(picture)
        if as_json:
            print_json(asdict(found))
        else:
            typer.echo(plain(found.sentence))
        if found.answer not in ("identical", "nearly"):
            raise typer.Exit(NO_MODEL if found.answer == "impossible" else FAILED)


def rebuild(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Make the database anew from the pictures; queue and favourites are taken over.

    The pictures are the truth: nothing of them is changed. Not while an app runs on that folder.
    """
    with ending(as_json):
        settings = read_settings(data_dir=data_dir)
        with closing(AppLock(settings.data_dir)):
            found = rebuild_rows(settings.data_dir)
        if as_json:
            print_json(asdict(found))
            return
        typer.echo(f"{_counted(found.pictures, 'picture')} found.")
        typer.echo(
            f"Taken over: {_counted(found.jobs_kept, 'job')}, "
            f"{_counted(found.favourites_kept, 'favourite')}."
        )
        if found.unreadable:
            typer.echo(
                f"{_counted(found.unreadable, 'file')} could not be read or carried no recipe; "
                "left as found."
            )


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _class_of(noise_scheduler: str) -> str:
    """The class of a recipe's noise scheduler; its text as it is where it is none of ours."""
    try:
        return str(json.loads(noise_scheduler)["class"])
    except (ValueError, TypeError, KeyError):
        return noise_scheduler


def _recipe_lines(recipe: Recipe) -> Iterator[str]:
    """A recipe for people: one line a field, those that are not known left out."""
    sampler = recipe.sampler
    known = {"sampler": sampler_title(sampler)} if sampler in SAMPLERS else {}
    fields = recipe.model_dump(mode="json") | known
    fields["versions"] = ", ".join(f"{name} {version}" for name, version in recipe.versions)
    fields["notes"] = " ".join(recipe.notes)
    fields["noise_scheduler"] = _class_of(recipe.noise_scheduler)
    for name, value in fields.items():
        if value not in (None, "", False) and value != []:
            text = plain(str(value)).replace("\n", "\n" + " " * 17)
            yield f"{name.replace('_', ' '):<16} {text}"
