"""The queue's panel: what waits, in words and buttons; hidden where there is nothing to say."""

from sdgen.config import Settings
from sdgen.queue import QueuedJob, QueueView
from sdgen.ui import device_link, queue_panel
from tests.html_reader import read


def job(name: str, prompt: str = "a cat", **given: object) -> QueuedJob:
    fields: dict[str, object] = {"state": "waiting", "label": "", "group": "", "num_images": 1}
    return QueuedJob(id=name, prompt=prompt, created=0.0, **(fields | given))  # type: ignore[arg-type]


def test_nothing_waiting_is_no_panel() -> None:
    assert queue_panel.panel(QueueView()) == ""
    assert queue_panel.panel(QueueView((job("1", state="running"),))) == ""


def test_what_waits_is_counted_and_what_runs_is_not() -> None:
    jobs = (job("0", state="running"), job("1", others_ahead=5), job("2", others_ahead=9))
    view = QueueView(jobs)
    assert queue_panel.words(view) == "Yours: 2 waiting · 5 of others ahead"
    html = queue_panel.panel(view)
    assert html.count("<li ") == 2
    assert 'data-action="pause"' in html
    assert 'data-action="cancel_all"' in html


def test_a_held_queue_says_so_also_when_it_is_empty() -> None:
    for jobs in ((), (job("1"),)):
        html = queue_panel.panel(QueueView(jobs, paused=True))
        assert "Paused" in html
        assert 'data-action="resume"' in html


def test_the_first_cannot_go_up_nor_the_last_down() -> None:
    html = queue_panel.panel(QueueView((job("a"), job("b"), job("c"))))
    off = [piece.split(">")[0] for piece in html.split("<button ") if "aria-disabled" in piece]
    assert len(off) == 2
    assert 'data-action="earlier" data-name="a"' in off[0]
    assert 'data-action="later" data-name="c"' in off[1]


def test_prompts_are_text_and_buttons_are_named() -> None:
    nasty = '<script>alert(1)</script> ${x} {{y}} "'
    reader = read(queue_panel.panel(QueueView((job("1", nasty, num_images=4, label="Plain"),))))
    assert nasty in reader.text
    assert "script" not in reader.tags
    assert "Plain · 4 pictures" in reader.text
    assert {"Move 1 up", "Move 1 down", "Cancel 1"} <= set(reader.values)


def test_the_link_to_another_device_is_not_there_before_it_is_asked_for() -> None:
    closed = device_link.closed(Settings())
    assert "me=" not in closed
    assert 'data-action="link"' in closed
    shown = device_link.shown("http://here/?me=" + "7" * 32)
    assert shown.count("7" * 32) == 2
    assert "Whoever has the link sees these pictures" in shown
    assert "no link" in device_link.shown("")


def test_with_a_login_or_one_user_there_is_no_link() -> None:
    for settings, words in (
        (Settings(auth="me:secret"), "same name"),  # type: ignore[arg-type]
        (Settings(one_user=True), "shares one queue"),
    ):
        closed = device_link.closed(settings)
        assert words in closed
        assert "data-action" not in closed
