"""Reads a report back: links, sources, tables, captions, tags."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.words = ""
        self._cell: list[str] | None = None
        self._caption: list[str] | None = None
        self._skip = False
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.add(tag)
        for key in named:
            assert not key.startswith("on"), f"event handler {key} on <{tag}>"
        if "src" in named:
            self.sources.append(named["src"])
        if "href" in named:
            self.links.append(named["href"])
        if tag == "img":
            self.alts.append(named["alt"])
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self._cell = []
        if tag == "figcaption" or named.get("class") == "caption":
            self._caption = []
        self._skip = tag in ("style", "title")

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append("".join(self._cell))
            self._cell = None
        if tag in ("figcaption", "p") and self._caption is not None:
            self.captions.append("".join(self._caption))
            self._caption = None
        self._skip = False

    def handle_data(self, data):
        if self._skip:
            return
        self.words += data
        if self._cell is not None:
            self._cell.append(data)
        if self._caption is not None:
            self._caption.append(data)
