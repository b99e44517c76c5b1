"""XML from devices that nobody has checked: limited in size, number and depth, and without entities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, Iterator, List, Optional
from xml.parsers import expat

MAX_BYTES = 1_000_000
MAX_ELEMENTS = 20_000
MAX_DEPTH = 60


class MarkupError(ValueError):
    """What is no XML, or more than is read."""


@dataclass
class Element:
    """Names are without their namespaces: devices mix up versions of them."""

    name: str
    attributes: Dict[str, str] = field(default_factory=dict)
    children: List[Element] = field(default_factory=list)
    text: str = ""

    def all(self, name: str) -> Iterator[Element]:
        """The elements of this name inside this one, at any depth, in order."""
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.all(name)

    def first(self, *path: str) -> Optional[Element]:
        """The first element of the first name, in that the first of the second name, and so on."""
        found: Optional[Element] = self
        for name in path:
            found = None if found is None else next(found.all(name), None)
        return found

    def said(self, *path: str) -> str:
        """The text of that element; empty where there is none."""
        found = self.first(*path)
        return "" if found is None else found.text.strip()


def parse(data: bytes) -> Element:
    """The outermost element. Raises MarkupError."""
    if len(data) > MAX_BYTES:
        raise MarkupError(f"more than {MAX_BYTES / 1e6:g} MB of XML")
    root = Element("")
    opened = [root]
    count = 0

    def start(name: str, attributes: Dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS or len(opened) > MAX_DEPTH:
            raise MarkupError("XML of too many elements")
        element = Element(_local(name), {_local(key): value for key, value in attributes.items()})
        opened[-1].children.append(element)
        opened.append(element)

    def end(name: str) -> None:
        opened.pop()

    def characters(text: str) -> None:
        opened[-1].text += text

    def refuse(*_: object) -> None:
        # Entities can be declared nowhere else.
        raise MarkupError("XML with a document type")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, characters
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, UnicodeError) as error:
        raise MarkupError(f"no XML: {error}") from error
    return root.children[0]


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
