"""What was found in a picture file, as the readers of programs look at it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sdgen.errors import PictureUnreadable

JSON_CHARS_MAX = 1_000_000  # of all texts that are taken apart as JSON


@dataclass(frozen=True)
class Found:
    """The texts of a file by name, and those of them that are JSON objects, taken apart."""

    texts: Mapping[str, str]
    objects: Mapping[str, dict[str, object]]
    width: int  # pixels of the picture itself
    height: int  # pixels

    def plain(self) -> Iterator[tuple[str, str]]:
        """The texts that are no JSON."""
        return ((name, text) for name, text in self.texts.items() if name not in self.objects)


def made_by(program: str, why: str) -> PictureUnreadable:
    """A picture whose program is known and whose recipe cannot be read. why: "with a graph ..."."""
    return PictureUnreadable(f"This picture was made by {program} {why}.")
