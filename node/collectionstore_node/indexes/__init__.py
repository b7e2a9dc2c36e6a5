"""Secondary indexes: what one is, and which entries a document has in it. Pure, and deterministic on every replica.

- `definition.py`  fields, options and bounds of an index; the checks of a request
- `encoding.py`    values as bytes in the order of values, bounded in length; ranges of them
- `folding.py`     text in one case, by a table that no version of Python changes
- `entries.py`     the entries of a document, and the document that an entry stands for

What these modules compute is stored by every replica: a change of it needs a new feature level.
"""

from collectionstore_node.indexes.definition import Definition, IndexField, parse_definition
from collectionstore_node.indexes.entries import Entries, TooManyEntries, entries_of

__all__ = ["Definition", "Entries", "IndexField", "TooManyEntries", "entries_of", "parse_definition"]
