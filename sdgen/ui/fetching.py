"""Something large on its way to this machine, as a bar that moves."""

import queue
import threading
from collections.abc import Callable, Iterator

from sdgen.errors import SdgenError
from sdgen.html import render
from sdgen.ui import TEMPLATES, messages
from sdgen.ui.api.wrong_events import MISFITS

TICK = 0.25  # seconds between two reports
OnProgress = Callable[[int, int], None]  # bytes here, bytes in all (0: not known)


class GivenUp(Exception):
    """The window that asked is gone."""


def progress(fetch: Callable[[OnProgress], object], name: str) -> Iterator[str]:
    """Run `fetch` in a thread; yields HTML of how far it is, at least every TICK, then "".

    An SdgenError of it becomes the last HTML; another error is raised here. Closing the generator
    gives it up; what was fetched is kept for the next try.
    """
    reports: queue.Queue[tuple[int, int] | BaseException | None] = queue.Queue()
    given_up = threading.Event()

    def report(done: int, total: int) -> None:
        if given_up.is_set():
            raise GivenUp
        reports.put((done, total))

    def work() -> None:
        try:
            fetch(report)
            reports.put(None)
        except GivenUp:
            reports.put(None)
        except MISFITS as error:
            reports.put(error)

    thread = threading.Thread(target=work, name=f"download-{name}", daemon=True)
    thread.start()
    shown = bar("Starting the download", None)
    try:
        yield shown
        while thread.is_alive() or not reports.empty():
            newest: tuple[int, int] | BaseException | None = (-1, 0)
            try:
                newest = reports.get(timeout=TICK)
                while not reports.empty():
                    newest = reports.get_nowait()
            except queue.Empty:
                pass
            if newest is None:
                break
            if isinstance(newest, SdgenError):
                yield messages.alert(str(newest))
                return
            if isinstance(newest, BaseException):
                raise newest
            if newest[0] >= 0:
                shown = bar(*_progress(*newest))
            yield shown
    finally:
        given_up.set()
    yield ""


def _progress(done: int, total: int) -> tuple[str, float | None]:
    if total <= 0:
        return f"{messages.size(done)} fetched", None
    return f"{messages.size(done)} of {messages.size(total)}", min(done / total, 1.0)


def bar(words: str, fraction: float | None) -> str:
    """How far it is, 0 to 1; None: not known."""
    return render(TEMPLATES, "models.html", "download", words=words, fraction=fraction)
