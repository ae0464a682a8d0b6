"""Reads pages as a browser does: elements, texts, and the numbers that scripts draw."""

import json
from collections import Counter
from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """What a page comes to: counts of `tags`, `texts` outside of scripts, and its `data`."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.data: dict[str, Any] = {}
        self._script: str | None = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs
        if tag in ("script", "style"):
            self._script = dict(attrs).get("type", tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._script = None

    def handle_data(self, data):
        if self._script == "application/json":
            self.data = json.loads(data)
        elif self._script is None and data.strip():
            self.texts.append(data.strip())

    def values(self, table: str, title: str) -> list[Any]:
        """Returns a column of a table."""
        return next(one["values"] for one in self.data[table] if one["title"] == title)
