"""What a browser makes of a piece of HTML."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """The text and the attribute values of a piece of HTML, as a browser would read them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.tags: list[str] = []
        self.values: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [value for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    """A piece of HTML, read to its end."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader
