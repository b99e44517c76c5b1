"""Draws which packages of `app/` import which, from the imports themselves, into docs/architecture.md.

    make diagram

Arrows that follow from others are left out: from `tools` to `vision`, for example, if `tools` also imports `models` and
`models` imports `vision`. What everything else uses is one box without arrows.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Dict, Iterator, Set

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- begin diagram: written by `make diagram` -->\n", "<!-- end diagram -->\n"
USED_BY_ALL = {"channel_state", "credentials", "errors", "files", "look", "reasons", "settings", "text", "types"}
ENTRY_POINTS = {"__init__", "__main__"}


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}{diagram()}{END}{after}", encoding="utf-8")
    sys.stdout.write(f"==> {PAGE.relative_to(ROOT)}\n")


def diagram() -> str:
    """A Mermaid flowchart."""
    graph = reduced(imports())
    used_by_all = sorted(USED_BY_ALL & {package_of(path) for path in modules()})
    lines = ["flowchart TD"]
    lines += [f"    {name}" for name in sorted(graph)]
    lines += [f"    {name} --> {below}" for name in sorted(graph) for below in sorted(graph[name])]
    lines += [f'    used_by_all["{", ".join(used_by_all)}<br>(used by all of the above)"]']
    lines += [f"    {name} ~~~ used_by_all" for name in sorted(graph) if not graph[name]]
    return "\n".join(["```mermaid", *lines, "```", ""])


def modules() -> Iterator[Path]:
    yield from sorted((ROOT / "app").rglob("*.py"))


def package_of(path: Path) -> str:
    """The package of `app`, or the module directly in it."""
    return path.relative_to(ROOT / "app").parts[0].replace(".py", "")


def imports() -> Dict[str, Set[str]]:
    """For each package those that it imports, without the ones that all use."""
    graph: Dict[str, Set[str]] = {}
    for path in modules():
        own = graph.setdefault(package_of(path), set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "app":
                inside = (node.module or "").split(".")[1:2]
                own.update(inside or [alias.name for alias in node.names])
            elif isinstance(node, ast.Import):
                own.update(name.split(".")[1] for name in (a.name for a in node.names) if name.startswith("app."))
    shown = set(graph) - USED_BY_ALL - ENTRY_POINTS
    return {name: (graph[name] & shown) - {name} for name in shown}


def reduced(graph: Dict[str, Set[str]]) -> Dict[str, Set[str]]:
    """The same graph without the edges that follow from others. It must have no circles."""
    reach: Dict[str, Set[str]] = {}

    def below(name: str) -> Set[str]:
        if name not in reach:
            reach[name] = set().union(graph[name], *(below(other) for other in graph[name]))
        return reach[name]

    return {
        name: {one for one in direct if not any(one in below(other) for other in direct)}
        for name, direct in graph.items()
    }


if __name__ == "__main__":
    main()
