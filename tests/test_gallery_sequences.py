"""Whatever is done in whatever order, the gallery shows what a plain list of pictures would."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sdgen.gallery import Search, rebuild
from tests.galleries import NOON, Pictures

OWNERS = st.sampled_from(["me", "you"])
SOME = st.lists(st.integers(0, 99), max_size=4)  # numbers of pictures, over and over


@dataclass
class Known:
    """A picture as it should be."""

    owner: str
    favourite: bool = False
    binned: bool = False


@dataclass
class Model:
    pictures: dict[str, Known] = field(default_factory=dict)

    def of(self, owner: str, ids: list[str], binned: bool) -> set[str]:
        return {
            name
            for name in ids
            if (known := self.pictures.get(name)) and (known.owner, known.binned) == (owner, binned)
        }


class GallerySequences(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.shelf = Pictures(Path(self.folder.name))
        self.known = Model()
        self.names: list[str] = []

    def some(self, numbers: list[int]) -> list[str]:
        """Ids of pictures, also of such as are gone."""
        return [self.names[number % len(self.names)] for number in numbers if self.names]

    def teardown(self) -> None:
        self.shelf.close()
        self.folder.cleanup()

    @rule(owner=OWNERS, recorded=st.booleans())
    def draw(self, owner: str, recorded: bool) -> None:
        _, row = self.shelf.write(owner, NOON + len(self.names) * 40_000)
        if recorded:
            self.shelf.gallery.record(row)
        else:  # as after kill -9
            assert self.shelf.gallery.synchronise() == 1
        self.known.pictures[row.id] = Known(owner)
        self.names.append(row.id)

    @rule(owner=OWNERS, some=SOME, on=st.booleans())
    def favourite(self, owner: str, some: list[int], on: bool) -> None:
        ids = self.some(some)
        mine = self.known.of(owner, ids, False) | self.known.of(owner, ids, True)
        assert self.shelf.gallery.favourite(owner, ids, on) == len(mine)
        for name in mine:
            self.known.pictures[name].favourite = on

    @rule(owner=OWNERS, some=SOME)
    def delete(self, owner: str, some: list[int]) -> None:
        ids = self.some(some)
        mine = self.known.of(owner, ids, False)
        assert set(self.shelf.gallery.delete(owner, ids)) == mine
        for name in mine:
            self.known.pictures[name].binned = True

    @rule(owner=OWNERS, some=SOME)
    def restore(self, owner: str, some: list[int]) -> None:
        ids = self.some(some)
        mine = self.known.of(owner, ids, True)
        assert set(self.shelf.gallery.restore(owner, ids)) == mine
        for name in mine:
            self.known.pictures[name].binned = False

    @rule(owner=OWNERS, some=SOME)
    def erase(self, owner: str, some: list[int]) -> None:
        ids = self.some(some)
        mine = self.known.of(owner, ids, True)
        assert self.shelf.gallery.erase(owner, ids) == len(mine)
        for name in mine:
            del self.known.pictures[name]

    @rule(owner=OWNERS)
    def empty_bin(self, owner: str) -> None:
        mine = self.known.of(owner, list(self.known.pictures), True)
        assert self.shelf.gallery.empty_bin(owner) == len(mine)
        for name in mine:
            del self.known.pictures[name]

    @rule(some=SOME)
    def lose_files(self, some: list[int]) -> None:
        for name in set(self.some(some)) & self.known.pictures.keys():
            row = self.shelf.history.picture(name)
            assert row is not None
            self.shelf.gallery.path(row).unlink()
            assert self.shelf.gallery.synchronise() == 1
            del self.known.pictures[name]

    @rule()
    def synchronise(self) -> None:
        assert self.shelf.gallery.synchronise() == 0
        assert self.shelf.gallery.tidy() == 0

    @rule(anew=st.booleans())
    def start_again(self, anew: bool) -> None:
        self.shelf.close()
        if anew:
            assert rebuild(self.shelf.data_dir).pictures == len(self.known.pictures)
        self.shelf.open()

    @invariant()
    def agrees(self) -> None:
        assert self.shelf.agrees()
        for owner in ("me", "you"):
            for binned in (False, True):
                found = self.shelf.gallery.search(owner, Search(bin=binned), limit=1000)
                expected = [
                    (name, known.favourite)
                    for name, known in reversed(self.known.pictures.items())
                    if (known.owner, known.binned) == (owner, binned)
                ]
                assert [(row.id, row.favourite) for row in found.rows] == expected
                assert found.total == len(expected)
                assert all((row.deleted is not None) == binned for row in found.rows)


class LongSequences(GallerySequences):
    """The same, for longer."""


GallerySequences.TestCase.settings = settings(max_examples=8, stateful_step_count=20)
LongSequences.TestCase.settings = settings(max_examples=30, stateful_step_count=30)
TestGallerySequences = GallerySequences.TestCase
TestLongSequences = pytest.mark.slow(LongSequences.TestCase)
