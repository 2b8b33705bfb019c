"""The command line: `sdgen` or `python -m sdgen`. A skin over sdgen.studio, like the page.

stdout has the results (paths, tables, or with --json one JSON object), stderr all the rest.
common.py: what the commands share. drawing.py, base_models.py, adapter_files.py,
picture_files.py: the commands.
"""

import os
from types import MappingProxyType

import typer

from sdgen.cli.adapter_files import adapters
from sdgen.cli.base_models import download, models
from sdgen.cli.common import MakeStudio, local_studio
from sdgen.cli.drawing import enhance, generate
from sdgen.cli.picture_files import rebuild, show, verify

__all__ = ["app", "main"]

EXIT_CODES = """Exit codes: 0 done; 1 failed; 2 wrong usage, or a request out of bounds;
3 the model or a LoRA cannot be had or used, or needs a download first; 130 stopped by Ctrl+C
(finished pictures are kept)."""
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
for command in (generate, enhance, models, download, adapters, show, verify, rebuild):
    app.command(epilog=EXIT_CODES)(command)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
def serve(context: typer.Context) -> None:
    """Open the page, with the options of app.py (`sdgen serve --help` lists them)."""
    from sdgen.launch import main as serve_page

    raise typer.Exit(serve_page(context.args))


def main(make_studio: MakeStudio = local_studio) -> None:
    """Run the command line. make_studio: what the commands call, for tests."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    app(obj=make_studio)
