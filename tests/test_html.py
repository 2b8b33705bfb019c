"""No text of anybody becomes markup: templates escape, and nothing else makes HTML."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from lora.tab.curves import curves
from sdgen.gallery import Found, Search
from sdgen.html import render
from sdgen.metadata import Recipe, RecipeAdapter
from sdgen.queue import QueueView
from sdgen.ui import (
    adapter_rows,
    device_link,
    fetching,
    gallery_compare,
    gallery_parts,
    gallery_tiles,
    messages,
    queue_panel,
    tiles,
)
from sdgen.ui.enhancing import difference_html
from sdgen.ui.form import ChosenAdapter
from sdgen.ui.forming import Forming
from sdgen.ui.gallery_search import Shown
from tests.history_rows import picture
from tests.html_reader import read
from tests.test_ui_queue_panel import job

ROOT = Path(__file__).parent.parent
# Breaks out of an element, of either kind of quotes, of Handlebars and of a template string.
NASTY = '<u-bad onload="x">\'"><u-bad> {{u}} ${u} `u` \\u'
PLAIN = picture("p1", prompt=NASTY)
FLAGGED = picture("p2", prompt=NASTY, flagged=NASTY)
RECIPE = Recipe(
    app="sdgen 0",
    prompt=NASTY,
    negative_prompt=NASTY,
    original_prompt=NASTY,
    enhanced_by="api",
    enhancer_model=NASTY,
    sampler=NASTY,
    model=NASTY,
    model_hash=NASTY,
    device=NASTY,
    adapters=(RecipeAdapter(name=NASTY),),
    notes=(NASTY,),
    created=NASTY,
)
FORMING = Forming(NASTY, NASTY, 5, "1/1", previews=("", ""), saved=(None, PLAIN), words=NASTY)
BESIDE = Forming(
    "j", NASTY, 5, "1/1", group=NASTY, label=NASTY, previews=("",), saved=(FLAGGED,), ended=True
)
OTHER = Forming("k", "a", 5, "1/1", group=NASTY, label=NASTY, previews=("",), saved=(None,))
SEARCHES = (Search(words=NASTY), Search(bin=True), Search(favourites=True), Search())

# Every text that the page shows and that somebody else than us may have written.
SHOWN: dict[str, Callable[[], str]] = {
    "alert": lambda: messages.alert(NASTY),
    "notes": lambda: messages.notes((NASTY,)),
    "undo": lambda: messages.undo(NASTY, "restore", NASTY),
    "hint": lambda: messages.hint((NASTY,), 3, 75, NASTY),
    "facts": lambda: messages.facts([(NASTY, NASTY)]),
    "status": lambda: messages.status(NASTY, "sd-status"),
    "stage": lambda: tiles.stage([FORMING, BESIDE, OTHER]),
    "stage withheld": lambda: tiles.stage([BESIDE], withhold=True),
    "earlier": lambda: tiles.earlier([PLAIN, FLAGGED]),
    "opened": lambda: tiles.opened(PLAIN, RECIPE, NASTY, NASTY, NASTY),
    "opened withheld": lambda: tiles.opened(FLAGGED, RECIPE, "", "", NASTY, withheld=True),
    "gallery form": lambda: gallery_parts.form([NASTY, "b"], [NASTY]),
    "toast": lambda: gallery_parts.toast(NASTY, gallery_parts.Undo("restore", [NASTY], NASTY)),
    "zip": lambda: gallery_parts.toast(NASTY, download=gallery_parts.Download(NASTY, NASTY)),
    "framed": lambda: gallery_parts.framed(messages.alert(NASTY)),
    "compared": lambda: gallery_compare.compared(
        (PLAIN, FLAGGED), (RECIPE, Recipe(app="", prompt=""))
    ),
    "queue": lambda: queue_panel.panel(QueueView((job(NASTY, NASTY, label=NASTY),))),
    "device link": lambda: device_link.shown(NASTY),
    "download": lambda: fetching.bar(NASTY, 0.5),
    "broken adapters": lambda: adapter_rows.broken([(NASTY, NASTY)]),
    "gone adapter": lambda: adapter_rows.rows([ChosenAdapter(NASTY)], [], NASTY),
    "difference": lambda: difference_html("a robot", f"a red robot {NASTY}"),
    "curves": lambda: curves({1: 0.5, 2: 0.4}, {1: 0.6}, best=1),
    **{
        f"gallery {number}": lambda search=search, rows=rows: gallery_tiles.section(  # type: ignore[misc]
            Found(rows, len(rows)), Shown(search), bin_days=30, withhold=False, now=200.0
        )
        for number, (search, rows) in enumerate(
            (search, rows) for search in SEARCHES for rows in ((), (PLAIN, FLAGGED))
        )
    },
}


@pytest.mark.parametrize("name", SHOWN)
def test_markup_in_a_text_is_text(name: str) -> None:
    html = SHOWN[name]()
    reader = read(html)
    assert reader.tags, html
    assert "u-bad" not in reader.tags
    assert not re.search(r"\{\{u|\$\{u|`u|\\u", html), "Gradio would read it as a template"
    if name in ("stage", "opened", "toast", "queue", "hint", "compared", "gallery form"):
        assert NASTY in reader.text or NASTY in reader.values, "it is shown as it is"


def test_a_value_that_a_template_asks_for_and_nobody_gave_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("{% macro one(x) %}<p>{{ x }}{{ y }}</p>{% endmacro %}")
    with pytest.raises(UndefinedError, match="'y' is undefined"):
        render(tmp_path, "a.html", "one", x=1)


def test_line_breaks_between_tags_are_no_space(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        "{% macro one(x) %}\n<p>\n  two\n  words {{ x }}\n</p>\n<i></i>\n{% endmacro %}\n"
    )
    assert render(tmp_path, "a.html", "one", x="&") == "<p>two words &amp;</p><i></i>"
    assert render(tmp_path, "a.html", "one", x=Markup("<b>&</b>")) == (
        "<p>two words <b>&</b></p><i></i>"
    )


# --- nobody else makes HTML

_TAG = re.compile(r"</?[a-z][a-z0-9]*[\s/>]")


def product_files() -> Iterator[Path]:
    for folder in ("sdgen/ui", "sdgen/web", "lora/tab"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_no_other_file_puts_values_into_tags() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in product_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.JoinedStr)
        and any(
            isinstance(part, ast.Constant) and _TAG.search(str(part.value)) for part in node.values
        )
    ]
    assert found == []


def test_no_other_file_escapes_html() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in product_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if (
            isinstance(node, ast.ImportFrom)
            and node.module in ("html", "markupsafe", "sdgen.html")
            and any(alias.name == "escape" for alias in node.names)
        )
        or (isinstance(node, ast.Import) and any(alias.name == "html" for alias in node.names))
    ]
    assert found == []


def test_every_template_is_shipped() -> None:
    """pip installs what pyproject.toml names; a template it forgets is an error on the page."""
    text = (ROOT / "pyproject.toml").read_text()
    assert '"**/templates/*.html"' in text
    assert '"tab/templates/*.html"' in text
    folders = {path.parent for path in ROOT.glob("[sl]*/**/*.html")}
    assert {str(folder.relative_to(ROOT)) for folder in folders} <= {
        "sdgen/ui/templates",
        "sdgen/web/templates",
        "lora/tab/templates",
    }
