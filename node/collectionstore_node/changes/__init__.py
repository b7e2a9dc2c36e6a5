"""Changes as watches tell them. Pure: no loop, disk or clock; docs/reference/watch.md is its description.

- `tokens.py`     a place in the history as a text
- `shown.py`      one change, decoded and rendered once for all watches
- `events.py`     events, and how they are written
- `eyes.py`       what a caller sees of changes, by its rights
- `selection.py`  which changes a watch tells: scope, filter over the images, kinds, projection
- `recent.py`     the last commands in memory, for watches that are as far as the state
- `cursor.py`     the place of one watch, and its steps through the history

Invariants:
- a watch tells every change of its selection behind its place once, in the order of revisions and of positions in a
  command; all that it tells of a command is in one step;
- the token of an event is that of the place behind it: a watch from there on has no gap and tells nothing again;
- a watch whose place is not kept any more ends with `gone`, and never goes on behind a gap.
"""

from collectionstore_node.changes.cursor import Cursor, Initial, Step
from collectionstore_node.changes.events import ENDS, Event, Form, event, write
from collectionstore_node.changes.eyes import Eyes
from collectionstore_node.changes.recent import Recent
from collectionstore_node.changes.selection import Selection
from collectionstore_node.changes.shown import OPS, STORE, Command, Scope, Shown, commands
from collectionstore_node.changes.tokens import ALL, REVISION_MAX, Position, Tokens

__all__ = [
    "ALL",
    "ENDS",
    "OPS",
    "REVISION_MAX",
    "STORE",
    "Command",
    "Cursor",
    "Event",
    "Eyes",
    "Form",
    "Initial",
    "Position",
    "Recent",
    "Scope",
    "Selection",
    "Shown",
    "Step",
    "Tokens",
    "commands",
    "event",
    "write",
]
