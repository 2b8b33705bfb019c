"""The JSON text at the begin of a safetensors file, read as a stream.

A header may have 100 MB, most of it words that trainers and editors left there. What is kept of
it is bounded whatever it holds: names and places of tensors, and words that are not too long.
"""

import json
import re
from collections.abc import Mapping
from typing import BinaryIO

CHUNK = 65_536  # bytes read at once
TENSORS_MAX = 20_000  # an SDXL LoHa with all its extras has some 8,000
ENTRY_BYTES_MAX = 4_096  # of one tensor's entry; real ones have 100
NAME_BYTES_MAX = 4_096
WORDS_MAX = 10_000  # entries of the metadata; kohya writes some 60
WORD_BYTES_MAX = 2_000_000  # of one value that is kept; longer ones are passed over
WORDS_BYTES_MAX = 16_000_000  # of all that are kept

_SPACE = re.compile(rb"[ \t\r\n]*")
_INSIDE = re.compile(rb'(?:[^"\\]+|\\.)*', re.DOTALL)  # of a string, as far as it is there
_NUMBER_OR_WORD = re.compile(rb"[-+.0-9A-Za-z]+")  # number, true, false, null


class BadHeader(ValueError):
    """The text is no header of a safetensors file; the message is a sentence for users, or ""."""


def read_header_text(
    file: BinaryIO, length: int
) -> tuple[dict[str, Mapping[str, object]], dict[str, str]]:
    """(entries of the tensors, metadata) of the `length` bytes that come next in `file`.

    Of the metadata only texts are kept, and of these none above WORD_BYTES_MAX. Raises BadHeader,
    OSError.
    """
    text = _Text(file, length)
    entries: dict[str, Mapping[str, object]] = {}
    words: dict[str, str] | None = None
    for name in text.members():
        if name == "__metadata__":
            if words is not None:
                raise BadHeader
            words = _words(text)
        elif name in entries:
            raise BadHeader
        elif len(entries) == TENSORS_MAX:
            raise BadHeader(f"The file holds more than {TENSORS_MAX:,} tensors.")
        else:
            entries[name] = text.entry()
    text.end()
    return entries, words or {}


def _words(text: "_Text") -> dict[str, str]:
    seen: set[str] = set()
    found: dict[str, str] = {}
    room = WORDS_BYTES_MAX
    for name in text.members():
        if name in seen:
            raise BadHeader
        if len(seen) == WORDS_MAX:
            raise BadHeader(f"The file has more than {WORDS_MAX:,} entries of metadata.")
        seen.add(name)
        if text.peek() != b'"':
            text.skip()  # other tools refuse the file; it changes nothing here
            continue
        value = text.string(min(WORD_BYTES_MAX, room))
        if value is not None:
            found[name] = value
            room -= len(value)
    return found


class _Text:
    """A window on the text that moves on; all that has been read of it is gone."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file = file
        self._left = length  # bytes that are not in the window yet
        self._window = b""
        self._at = 0

    def peek(self) -> bytes:
        """The next character that is no space; b"" at the end."""
        while True:
            space = _SPACE.match(self._window, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._window):
                return self._window[self._at : self._at + 1]
            if not self._more():
                return b""

    def take(self, *wanted: bytes) -> bytes:
        """The next character, one of those. Raises BadHeader."""
        found = self.peek()
        if found not in wanted:
            raise BadHeader
        self._at += 1
        return found

    def members(self) -> "_Members":
        """The names of an object, one after the other; the caller reads each value."""
        self.take(b"{")
        return _Members(self)

    def string(self, keep: int) -> str | None:
        """A string; None when it has more than `keep` bytes, which are passed over."""
        self.take(b'"')
        pieces: list[bytes] = []
        size = 0
        while True:
            inside = _INSIDE.match(self._window, self._at)
            assert inside is not None  # it matches nothing at all, too
            size += inside.end() - self._at
            if size <= keep:
                pieces.append(inside[0])
            self._at = inside.end()
            if self._window[self._at : self._at + 1] == b'"':
                self._at += 1
                break
            if not self._more():  # a backslash at the window's end stays and is read again
                raise BadHeader
        if size > keep:
            return None
        try:
            return str(json.loads(f'"{b"".join(pieces).decode("utf-8")}"'))
        except ValueError as error:
            raise BadHeader from error

    def entry(self) -> Mapping[str, object]:
        """The object of one tensor, which holds no other object. Raises BadHeader."""
        self.take(b"{")
        while (end := self._window.find(b"}", self._at, self._at + ENTRY_BYTES_MAX)) < 0:
            if len(self._window) - self._at >= ENTRY_BYTES_MAX or not self._more():
                raise BadHeader
        raw = self._window[self._at : end + 1]
        self._at = end + 1
        try:
            found = _ENTRY.decode("{" + raw.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise BadHeader from error
        if not isinstance(found, dict):
            raise BadHeader
        return found

    def skip(self) -> None:
        """Pass over a value that is no string."""
        depth = 0
        while True:
            first = self.peek()
            if first == b'"':
                self.string(0)
            elif first in (b"{", b"["):
                depth += 1
                self._at += 1
            elif first in (b"}", b"]") and depth:
                depth -= 1
                self._at += 1
            elif first in (b",", b":") and depth:
                self._at += 1
            else:
                self._skip_number_or_word()
            if depth == 0:
                return

    def _skip_number_or_word(self) -> None:
        plain = _NUMBER_OR_WORD.match(self._window, self._at)
        if plain is None:
            raise BadHeader
        while plain is not None:  # it may go on in the next window
            self._at = plain.end()
            if self._at < len(self._window) or not self._more():
                return
            plain = _NUMBER_OR_WORD.match(self._window, self._at)

    def end(self) -> None:
        """Nothing but spaces may follow. Raises BadHeader."""
        if self.peek():
            raise BadHeader

    def _more(self) -> bool:
        """Move the window on; False at the end of the text."""
        read = self._file.read(min(CHUNK, self._left))
        if not read:
            if self._left:
                raise BadHeader
            return False
        self._left -= len(read)
        self._window = self._window[self._at :] + read
        self._at = 0
        return True


class _Members:
    """Iterates over the names of an object; between two of them the value must be read."""

    def __init__(self, text: _Text) -> None:
        self._text = text
        self._first = True

    def __iter__(self) -> "_Members":
        return self

    def __next__(self) -> str:
        text = self._text
        if self._first:
            if text.peek() == b"}":
                text.take(b"}")
                raise StopIteration
        elif text.take(b",", b"}") == b"}":
            raise StopIteration
        self._first = False
        name = text.string(NAME_BYTES_MAX)
        if name is None:
            raise BadHeader
        text.take(b":")
        return name


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


_ENTRY = json.JSONDecoder(object_pairs_hook=_each_once)  # made once: there are thousands to read
