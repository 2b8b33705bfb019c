"""`sdgen models` and `sdgen download`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sdgen.cli.common import AsJson, DataDir, ending, open_studio, print_json
from sdgen.errors import DownloadNeeded
from sdgen.studio import ModelCard
from sdgen.terminal import reporter


def models(context: typer.Context, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the models: what they cost to fetch, their licence and native size."""
    with ending(as_json), open_studio(context, None, data_dir) as studio:
        cards = studio.models()
        if as_json:
            print_json({"models": [_card_fields(card) for card in cards]})
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


def download(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name of `sdgen models`, or a Hub id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a model, after saying how much that is."""
    with ending(as_json), open_studio(context, name, None) as studio:
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
            print_json(_card_fields(studio.model(card.name)))
        else:
            typer.echo(f"{card.title} is on this machine.", err=True)


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
