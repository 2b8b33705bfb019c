"""One picture on the page: opened, checked, taken back into the form, thrown away; by its owner."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sdgen.history import PictureRow
from sdgen.studio import Studio
from sdgen.ui.form import Form
from sdgen.ui.page import AskedGrid, Page
from sdgen.ui.viewing import NOT_YOURS, Viewing
from tests.watchers import ME, OTHER, pictures_of, settled

FORM = Form(prompt="a <b>red</b> robot", seed="7", steps=3, width=64, height=64)


@pytest.fixture
def viewing(studio: Studio) -> Viewing:
    return Viewing(studio)


@pytest.fixture
def draw(studio: Studio) -> Callable[..., PictureRow]:
    """Draws a form; its newest picture."""

    def drawn(form: Form = FORM) -> PictureRow:
        Page(studio, most=9).generate(form, ME)
        settled(studio)
        return pictures_of(studio)[0]

    return drawn


Draw = Callable[..., PictureRow]


def test_an_opened_picture_tells_its_recipe_and_its_neighbours(
    viewing: Viewing, draw: Draw
) -> None:
    older, newer = draw(), draw(FORM._replace(seed="8"))
    dialog, notice = viewing.open(newer.id, ME)
    assert notice == ""
    for text in ("<dt>Seed</dt><dd>8</dd>", "<dt>Steps</dt><dd>3</dd>", "Use these settings"):
        assert text in dialog
    assert f'data-action="open" data-name="{older.id}" aria-label="Older picture"' in dialog
    assert 'data-action="open" data-name="" aria-label="Newer picture" disabled' in dialog
    assert f'href="sdgen/picture/{newer.id}?download=1"' in dialog
    assert "<b>red" not in dialog


def test_another_s_picture_is_as_none(viewing: Viewing, draw: Draw) -> None:
    mine = draw()
    for name in (mine.id, "../../etc/passwd", "", "0" * 26):
        opened = viewing.open(name, OTHER)
        assert opened.dialog == ""
        assert "not here any more" in opened.notice
        assert viewing.reuse(name, OTHER).fields == {}
        assert list(viewing.verify(name, OTHER)) == [opened]
        assert viewing.star(name, OTHER) == opened
        assert "not here any more" in viewing.discard(name, OTHER)
        filled, linked = viewing.linked(name, OTHER)
        assert (filled.fields, linked.dialog) == ({}, "")
        assert NOT_YOURS in filled.notice
    assert viewing.open(mine.id, ME).dialog


def test_a_picture_is_verified_where_it_is_open(viewing: Viewing, draw: Draw) -> None:
    waiting, said = viewing.verify(draw().id, ME)
    assert "being drawn again" in waiting.dialog
    assert "Bit-identical" in said.dialog
    assert (waiting.notice, said.notice) == ("", "")


def test_settings_of_a_picture_come_back_into_the_form(viewing: Viewing, draw: Draw) -> None:
    form = FORM._replace(negative_prompt="blurry", sampler="euler", exact=True)
    filled = viewing.reuse(draw(form).id, ME)
    assert filled.fields["prompt"] == FORM.prompt
    assert filled.fields["negative_prompt"] == "blurry"
    assert (filled.fields["seed"], filled.fields["sampler"]) == (7, "euler")
    assert filled.fields["exact"] is True
    assert filled.fields["several"] is False, "this one prompt, whatever braces it has"


def test_a_link_fills_the_form_and_opens_the_picture(viewing: Viewing, draw: Draw) -> None:
    mine = draw()
    filled, opened = viewing.linked(mine.id, ME)
    assert filled.fields["prompt"] == FORM.prompt
    assert mine.id in opened.dialog


def test_a_favourite_is_pressed_and_pressed_again_is_none(viewing: Viewing, draw: Draw) -> None:
    mine = draw()
    assert 'aria-pressed="true"' in viewing.star(mine.id, ME).dialog
    assert 'aria-pressed="false"' in viewing.star(mine.id, ME).dialog


def test_a_deleted_picture_comes_back(viewing: Viewing, studio: Studio, draw: Draw) -> None:
    mine = draw()
    assert f'data-action="restore" data-name="{mine.id}"' in viewing.discard(mine.id, ME)
    assert pictures_of(studio) == ()
    assert "not here any more" in viewing.restore(mine.id, OTHER)
    assert "is back" in viewing.restore(mine.id, ME)
    assert pictures_of(studio)[0].id == mine.id


def test_a_sheet_tells_its_axes(viewing: Viewing, studio: Studio) -> None:
    Page(studio, most=9).draw_grid(FORM, ME, AskedGrid("steps", "1, 2", "", "seed", "4-5", ""))
    settled(studio)
    (sheet,) = pictures_of(studio)
    assert "<dt>Grid</dt><dd>Steps 1, 2 × Seed 4, 5</dd>" in viewing.open(sheet.id, ME).dialog


def test_a_prompt_that_was_left_out_is_not_in_the_file(
    viewing: Viewing, studio: Studio, draw: Draw
) -> None:
    mine = draw(FORM._replace(prompt="confidential", leave_out_prompt=True))
    assert b"confidential" not in studio.gallery.path(mine).read_bytes()
    assert "left out of this file" in viewing.open(mine.id, ME).dialog


def test_a_dropped_file_without_recipe_is_a_sentence(viewing: Viewing, tmp_path: Path) -> None:
    plain, broken = tmp_path / "plain.png", tmp_path / "broken.png"
    Image.new("RGB", (8, 8)).save(plain)
    broken.write_bytes(b"no picture")
    for path in (plain, broken, tmp_path / "gone.png"):
        filled = viewing.read_file(path)
        assert filled.fields == {}
        assert 'role="alert"' in filled.notice
