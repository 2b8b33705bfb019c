"""`sdgen adapters`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sdgen.adapters.hub import is_hub_id
from sdgen.adapters.show import family_title, report_fields, report_lines
from sdgen.cli.common import NO_MODEL, AsJson, DataDir, ending, open_studio, print_json
from sdgen.errors import AdapterUnavailable, InvalidRequest
from sdgen.studio import Studio
from sdgen.studio_adapters import AdapterCard
from sdgen.terminal import plain, reporter


def adapters(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="[NAME|FILE|HUB ID]", help="The one to examine.")
    ] = "",
    model: Annotated[
        str | None, typer.Option(help="The model to judge for, as in `generate`.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Fetch from the Hub without asking.")] = False,
    remove: Annotated[
        str, typer.Option(metavar="NAME", help="Delete one that was added.", show_default=False)
    ] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Examine a LoRA and say what of it applies to a model; without a name, list them."""
    with ending(as_json), open_studio(context, model, data_dir) as studio:
        if remove:
            _remove_adapter(studio, remove, target, as_json)
            return
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
            print_json(report_fields(card.report, card.verdict))
        else:
            typer.echo(plain("\n".join(report_lines(card.report, card.verdict))))
        if card.verdict and card.verdict.level == "refused":
            raise typer.Exit(NO_MODEL)


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


def _remove_adapter(studio: Studio, name: str, target: str, as_json: bool) -> None:
    if target:
        raise InvalidRequest("remove", "Name one LoRA to examine or one to remove, not both.")
    studio.remove_adapter(name)
    if as_json:
        print_json({"removed": name})
    else:
        typer.echo(plain(f"The LoRA '{name}' is removed."))


def _list_adapters(studio: Studio, as_json: bool) -> None:
    cards = studio.adapters(studio.default_model())
    broken = studio.broken_adapters()
    if as_json:
        print_json(
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
