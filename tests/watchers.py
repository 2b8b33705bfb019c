"""What an open page sees, without a page: for tests of the queue and the pictures on it."""

import time
from collections.abc import Callable

from sdgen.gallery import Search
from sdgen.history import PictureRow
from sdgen.owners import Visitor, owner_of_token
from sdgen.studio import Studio
from sdgen.ui.live import OwnersView, Parts

ME = Visitor(owner_of_token("m" * 32), "me")
OTHER = Visitor(owner_of_token("o" * 32), "other")
PATIENCE = 20.0  # seconds


class Watcher:
    """One page's view, looked at again and again. `seen` keeps each stage that was another one."""

    def __init__(self, studio: Studio, visitor: Visitor = ME, withhold: bool = False) -> None:
        self._view = OwnersView(studio, visitor.owner, withhold)
        self.parts: Parts = {}
        self.seen: list[str] = []

    def look(self) -> Parts:
        self.parts = self._view.look()
        if "stage" in self.parts and self.parts["stage"] not in self.seen[-1:]:
            self.seen.append(self.parts["stage"])
        return self.parts

    def wait(self, until: Callable[[Parts], bool]) -> Parts:
        """Look until it is so."""
        deadline = time.monotonic() + PATIENCE
        while not until(self.look()):
            assert time.monotonic() < deadline, self.parts
            time.sleep(0.005)
        return self.parts


def settled(studio: Studio, visitor: Visitor = ME, watcher: Watcher | None = None) -> Parts:
    """The page's parts once nothing of the visitor's waits or runs any more."""
    watcher = watcher or Watcher(studio, visitor)
    watcher.wait(lambda parts: not studio.queue(visitor.owner).jobs)
    return watcher.look()


def pictures_of(studio: Studio, visitor: Visitor = ME) -> tuple[PictureRow, ...]:
    """The visitor's pictures, newest first."""
    return studio.gallery.search(visitor.owner, Search()).rows
