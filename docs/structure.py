"""Measure the structure of the code from its imports: rooms, arrows between rooms, cycles, modules per room.

A room is a package directory. Where a package has rooms inside, each module beside them (`errors`, `app`) is a room of
its own, as it is a layer of its own in the contracts. Tests do not count. An arrow is an import of a module in another
room; imports inside functions and those for type checking count too. A cycle is a set of rooms that reach each other.

Examples:
  python docs/structure.py                     print the tables of this checkout
  python docs/structure.py --root OTHER        of another checkout, such as a git worktree of an older commit
  python docs/structure.py --write             write them into docs/architecture.md
  python docs/structure.py --check             exit with 1 unless docs/architecture.md is current and free of cycles
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PAGE: Final = REPOSITORY / "docs" / "architecture.md"
BEGIN: Final = "<!-- structure: begin; python docs/structure.py --write -->"
END: Final = "<!-- structure: end -->"
PREFIX: Final = "collectionstore"
MODULES_MAX: Final = 15
"""More in one room needs a reason, which the room's `__init__` docstring gives."""

Arrows = Mapping[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """Return every module of the project's packages by its dotted name, without tests."""
    found: dict[str, Path] = {}
    packages = (one for one in root.glob(f"[!.]*/{PREFIX}*/") if one.name.isidentifier())
    for package in sorted(packages):
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            if "tests" not in parts:
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules of the project that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                if submodule in known:
                    yield submodule
                elif node.module in known:
                    yield node.module


def rooms(known: Mapping[str, Path]) -> dict[str, str]:
    """Return the room of each module: its package, or the module itself where the package has rooms inside."""
    divided = {parent for folder in {path.parent for path in known.values()} for parent in folder.parents}
    found = {}
    for module, path in known.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        found[module] = module if path.parent in divided else package
    return found


def arrows_between_rooms(known: Mapping[str, Path]) -> Arrows:
    """Return, for each room, the other rooms that its modules import."""
    arrows: dict[str, set[str]] = defaultdict(set)
    room_of = rooms(known)
    for module, path in known.items():
        room = room_of[module]
        arrows[room] |= {room_of[other] for other in imported(path, known)} - {room}
    return arrows


def cycles(arrows: Arrows) -> list[list[str]]:
    """Return the sets of rooms that reach each other.

    Source: Tarjan, Depth-first search and linear graph algorithms (1972).
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(room: str) -> None:
        index[room] = low[room] = len(index)
        stack.append(room)
        for other in sorted(arrows.get(room, ())):
            if other not in index:
                visit(other)
                low[room] = min(low[room], low[other])
            elif other in stack:
                low[room] = min(low[room], index[other])
        if low[room] == index[room]:
            component = stack[stack.index(room) :]
            del stack[stack.index(room) :]
            if len(component) > 1:
                found.append(sorted(component))

    for room in sorted(arrows):
        if room not in index:
            visit(room)
    return found


def modules_per_room(known: Mapping[str, Path]) -> dict[str, int]:
    """Return how many modules each package directory holds, beside its `__init__`."""
    counts: dict[str, int] = defaultdict(int)
    for module, path in known.items():
        if path.name != "__init__.py":
            counts[module.rpartition(".")[0]] += 1
    return dict(sorted(counts.items()))


def tables(root: Path) -> str:
    """Return the summary and the table of rooms as Markdown."""
    known = modules(root)
    arrows, counts = arrows_between_rooms(known), modules_per_room(known)
    found = cycles(arrows)
    lines = [
        f"{len(arrows)} rooms, {sum(map(len, arrows.values()))} arrows between rooms, {len(found)} cycles, "
        f"{sum(counts.values())} modules; the largest directory holds {max(counts.values())}.",
        "",
        *(f"Cycle: {', '.join(one)}.\n" for one in found),
        "| directory | modules | imports |",
        "| --- | --- | --- |",
    ]
    for room, count in counts.items():
        package = room.partition(".")[0]
        own = {one for one in arrows if one == room or (one.rpartition(".")[0] == room and one not in counts)}
        reached = {other for one in own for other in arrows[one]} - own
        others = sorted(other.removeprefix(f"{package}.") for other in reached)
        lines.append(f"| `{room}` | {count} | {' '.join(f'`{other}`' for other in others)} |")
    return "\n".join(lines) + "\n"


def page_with(text: str) -> str:
    """Return docs/architecture.md with `text` between its markers."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{text}{END}{after}"


def unexplained(root: Path) -> list[str]:
    """Return the rooms above `MODULES_MAX` whose `__init__` docstring does not say why they are large."""
    known = modules(root)
    large = [room for room, count in modules_per_room(known).items() if count > MODULES_MAX]
    return [room for room in large if "modules" not in (ast.get_docstring(ast.parse(known[room].read_text())) or "")]


def main() -> int:
    """Print, write or check the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the checkout to measure; default: this one")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="write the tables into docs/architecture.md")
    action.add_argument("--check", action="store_true", help="exit with 1 unless the page is current, without cycles")
    options = parser.parse_args()
    text = tables(options.root)
    if options.write:
        PAGE.write_text(page_with(text))
    elif options.check:
        faults = [f"cycle: {', '.join(one)}" for one in cycles(arrows_between_rooms(modules(options.root)))]
        faults += [f"{room} is large; its __init__ docstring must say why" for room in unexplained(options.root)]
        if PAGE.read_text() != page_with(text):
            faults.append(f"{PAGE.relative_to(REPOSITORY)} is not current: python docs/structure.py --write")
        print(*faults, sep="\n", file=sys.stderr)
        return 1 if faults else 0
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
