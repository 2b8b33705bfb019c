"""Words and HTML of the page: user text arrives exactly, and nothing of it is ever read as code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdgen.html import escape
from sdgen.ui import messages
from tests.html_reader import read


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r")))
def test_escaped_text_is_read_as_itself(text: str) -> None:
    escaped = escape(text)
    assert not set("<>{}$`\\\"'") & set(escaped)
    assert read(f"<p>{escaped}</p>").text == text
    assert read(f'<p title="{escaped}"></p>').values == [text]


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "{{constructor}}", "${alert(1)}", "`+alert(1)+`", "\\`", '" x="'],
)
def test_no_message_lets_code_through(text: str) -> None:
    for html in (
        messages.alert(text),
        messages.notes((text, text)),
        messages.hint((text,), 3, 75),
    ):
        reader = read(html)
        assert text in reader.text
        assert set(reader.tags) <= {"div", "p", "span"}
        assert "${" not in html
        assert "{{" not in html


def test_an_alert_is_spoken_at_once_and_an_empty_one_is_nothing() -> None:
    assert 'role="alert"' in messages.alert("The disk is full.")
    assert messages.alert("") == ""
    assert messages.notes(()) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 s"),
        (3.4, "3 s"),
        (99, "99 s"),
        (240, "4 min"),
        (7200, "2.0 h"),
        (float("nan"), "1 s"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert messages.duration(seconds) == words


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "an unknown size"),
        (180_200, "180 kB"),
        (35_000_000, "35 MB"),
        (999_000_000, "1.0 GB"),
        (2.75e9, "2.8 GB"),
    ],
)
def test_sizes_in_words(size_bytes: int, words: str) -> None:
    assert messages.size(size_bytes) == words


def test_progress_in_words() -> None:
    assert messages.step_words(5, 12, 3.2) == "Step 5 of 12 · about 3 s left"
    assert messages.step_words(12, 12, 0.0) == "Step 12 of 12"
    assert messages.step_words(1, 12, None) == "Step 1 of 12"
    assert messages.queue_words(0) == "Next in line"
    assert messages.queue_words(1) == "Waiting: 1 request ahead"
    assert messages.queue_words(3) == "Waiting: 3 requests ahead"
    assert messages.finished_words(1, 2.04) == "1 picture in 2.0 s"
    assert messages.stopped_words(0) == "Stopped"
    assert messages.stopped_words(2) == "Stopped. 2 pictures kept"


def test_unknown_words_are_named_and_many_are_counted() -> None:
    assert messages.unknown_words(()) == ""
    assert messages.unknown_words(("dragon",)) == "This model does not know “dragon”."
    many = tuple(f"w{i}" for i in range(9))
    assert messages.unknown_words(many).endswith("“w5” and 3 more.")


def test_the_hint_marks_a_prompt_that_is_too_long() -> None:
    assert "sd-over" not in messages.hint((), 75, 75)
    assert "sd-over" in messages.hint((), 76, 75)
    assert "tokens" not in messages.hint((), None, 75)
