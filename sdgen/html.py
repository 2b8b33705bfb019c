"""HTML from templates: the one place where text of people becomes part of a page.

    render(TEMPLATES, "queue.html", "panel", words="...")    a macro of a template, with values

Every value that a template prints is escaped by itself (Jinja2's autoescape); nobody else does. The
text is safe in an element, in a quoted attribute, and also inside Gradio's HTML component, whose
template is read twice: as Handlebars ({{...}}) and as a JavaScript template string (${...}, `, \\).
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from markupsafe import escape as _escape_html

ALT_CHARS = 300  # of a prompt where it stands for a picture; pages get it with every step
_TEMPLATE_CHARACTERS = str.maketrans(
    {"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;", "\\": "&#92;"}
)


def render(folder: Path, template: str, macro: str, /, **values: object) -> str:
    """What a macro of a template makes of these values, as HTML.

    A markupsafe.Markup among them goes in as it is; all else is text.
    Raises jinja2.UndefinedError where the template asks for a value that nobody gave.
    """
    made: Callable[..., Markup] = getattr(_environment(folder).get_template(template).module, macro)
    return str(made(**values))


def escape(text: object) -> Markup:
    """`text` as HTML that shows exactly these characters; a Markup is HTML already."""
    if hasattr(text, "__html__"):
        return Markup(text)
    return Markup(str(_escape_html(str(text))).translate(_TEMPLATE_CHARACTERS))


def short(text: str, chars: int = ALT_CHARS) -> str:
    """A text's beginning, in one line; templates have it as a filter."""
    words = " ".join(text.split())
    return words if len(words) <= chars else f"{words[: chars - 1].rstrip()}…"


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=_Loader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=escape,
        auto_reload=False,
    )
    environment.filters["short"] = short
    return environment


class _Loader(FileSystemLoader):
    """Templates whose line breaks are for the eye: between tags they are no space."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Any]:
        source, name, uptodate = super().get_source(environment, template)
        joined = ""
        for line in (line.strip() for line in source.splitlines()):
            tight = not joined or joined.endswith((">", "}")) or line.startswith(("<", "{"))
            joined += line if tight else f" {line}"
        return joined, name, uptodate
