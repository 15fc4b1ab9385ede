"""Reads a page of the report, and fails where it is not balanced."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "wbr", "line", "rect", "path"}


class Reader(HTMLParser):
    """Collects tags and fails on an end tag that does not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [v for k, v in attrs if k in ("src", "href") and v is not None]
        self.ids += [v for k, v in attrs if k == "id" and v is not None]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader
