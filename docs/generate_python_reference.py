"""Write docs/reference/python.md from the docstrings of the Python client, or check that it is current.

`python docs/generate_python_reference.py --write`. Classes, their public methods and errors come from the code, so that
the page says what `help()` says. The blocking classes are shown; those for asyncio have the same methods.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import collectionstore
from collectionstore import errors, testing
from collectionstore.settings.urls import PARAMETERS

PAGE = Path(__file__).parent / "reference" / "python.md"
COMMAND = "python docs/generate_python_reference.py --write"
CLASSES = (
    "Client",
    "Collection",
    "Cursor",
    "Watch",
    "Transaction",
    "TransactionCollection",
    "Bucket",
    "Lease",
    "Lock",
    "Session",
    "Document",
    "Found",
    "ChangeEvent",
    "Options",
    "Hooks",
    "CallEvent",
)
HEAD = """# Python client

<!-- Written by {command} from the docstrings of the code: change it there. -->

`Client` is for programs without an event loop, and for any number of threads; `AsyncClient` for asyncio: its classes
have `Async` before their names and the same methods, to be awaited. A tutorial: [in Python, in five
minutes](../start/python.md). For people who come [from MongoDB](../start/from-mongodb.md) and [from
etcd](../start/from-etcd.md).

## How calls are made

- **Members** are found by the seeds of the connection string and `GET /api/v1/cluster`, and looked up again every 10
  s and when one fails. Writes go to the leader, reads to the better one of two members that are drawn: the one with
  less to do and the lower latency. Stale reads go to read replicas, too. Behind one address, or through a
  port-forward, say `discovery=off`.
- **Streams.** Calls share one [stream](stream.md) to a member, and those of one turn of the event loop share a
  message. What streams do not have, and everything where WebSockets do not pass, is a plain request.
- **Attempts.** A call has one deadline, `timeout`. An attempt without an answer is made again at another member; of a
  write only with its idempotency key, which every write has unless `retries=off`. Refusals for overload are waited
  for as the store asks, within a budget of a thousand attempts that every tenth success adds to. What cannot succeed
  is raised at once.
- **Answers that were lost.** A write that was applied by an attempt whose answer was lost is answered again.
  Documents that it should return (`find_one_and_update`) are read from the history; `ImageNotKept` if that does not
  go back so far.
- **One loop, one process.** An `AsyncClient` belongs to the event loop of its first call; neither goes over a fork.
  Both are refused with `WrongEventLoop`.

## Connection strings

`collectionstore://user:password@host:7400,host/?timeout=5s`, or a plain URL. The port is 7400 unless it is there.
Credentials are sent by TLS only, or to a loopback address; no error has the string.

| parameter | is |
| --- | --- |
{parameters}

Without a string: `COLLECTIONSTORE_URL`; else the folder of a mounted Secret in `COLLECTIONSTORE_SECRET`, with `uri`,
and `ca.crt`, `tls.crt` and `tls.key`, `token`, or `username` and `password` where they are there; else the only local
cluster in `COLLECTIONSTORE_STATE_DIR` or `.collectionstore`; else `http://127.0.0.1:7400`.
"""


def page() -> str:
    """Return the page."""
    parameters = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in PARAMETERS.items())
    parts = [HEAD.format(command=COMMAND, parameters=parameters)]
    parts += [_class(_found(name)) for name in CLASSES]
    parts += [_errors(), _testing()]
    return "\n".join(parts)


def _found(name: str) -> type[Any]:
    if name == "TransactionCollection":
        from collectionstore.synchronous.transaction import TransactionCollection

        return TransactionCollection
    found: type[Any] = getattr(collectionstore, name)
    return found


def _class(shown: type[Any]) -> str:
    lines = [f"## {shown.__name__}\n", _text(shown), ""]
    for name, member in _members(shown):
        if isinstance(member, property):
            lines.append(f"- **`{name}`**: {_line(member)}")
        else:
            lines.append(f"- **`{name}{_signature(member)}`**: {_line(member)}")
    return "\n".join(lines) + "\n"


def _members(shown: type[Any]) -> list[tuple[str, Any]]:
    found: dict[str, Any] = {}
    for base in reversed(shown.__mro__):
        if base.__module__.startswith("collectionstore"):
            for name, member in vars(base).items():
                if not name.startswith("_"):
                    found[name] = member
    return [
        (name, member)
        for name, member in found.items()
        if isinstance(member, property | classmethod | staticmethod) or inspect.isfunction(member)
    ]


def _signature(member: Any) -> str:
    function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    words = []
    starred = False
    for name, parameter in list(inspect.signature(function).parameters.items()):
        if name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            words.append("*")
            starred = True
        word = {parameter.VAR_KEYWORD: f"**{name}", parameter.VAR_POSITIONAL: f"*{name}"}.get(parameter.kind, name)
        if parameter.default is not parameter.empty:
            word += f"={parameter.default!r}"
        words.append(word)
    return f"({', '.join(words)})"


def _line(member: Any) -> str:
    function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    text = inspect.getdoc(function) or ""
    return _escaped(re.sub(r"\s*\n\s*", " ", text))


def _text(shown: type[Any]) -> str:
    return _escaped(inspect.getdoc(shown) or "")


def _escaped(text: str) -> str:
    # A path within a docstring is from the top of the repository.
    text = re.sub(r"docs/reference/([a-z]+\.md)", r"[\1](\1)", text)
    return re.sub(r"docs/concepts/([a-z]+\.md)", r"[\1](../concepts/\1)", text)


def _errors() -> str:
    lines = ["## Errors\n", _escaped(inspect.getdoc(errors) or ""), ""]

    def show(kind: type[BaseException], depth: int) -> None:
        text = re.sub(r"\s+", " ", inspect.getdoc(kind) or "")
        lines.append(f"{'  ' * depth}- **`{kind.__name__}`**: {_escaped(text)}")
        for child in kind.__subclasses__():
            if child.__module__ == errors.__name__:
                show(child, depth + 1)

    show(errors.CollectionStoreError, 0)
    return "\n".join(lines) + "\n"


def _testing() -> str:
    lines = ["## collectionstore.testing\n", "```text", (inspect.getdoc(testing) or "").strip(), "```", ""]
    return "\n".join(lines)


def main() -> int:
    """Print, write or check the page; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--write", action="store_true", help="write the page")
    action.add_argument("--check", action="store_true", help="exit with 1 unless it is current")
    options = parser.parse_args()
    text = page()
    if options.write:
        PAGE.write_text(text)
    elif options.check:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.stderr.write(f"docs/reference/python.md is not current: {COMMAND}\n")
            return 1
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
