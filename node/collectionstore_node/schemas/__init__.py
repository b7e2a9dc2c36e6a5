"""JSON Schema 2020-12 for documents. Pure, and the same on every replica.

- `keywords.py`   the vocabulary that is allowed, and what may stand behind each keyword
- `tree.py`       a schema as the graph of its subschemas; refuses what is not allowed, with a pointer
- `costs.py`      what checking a document can take at most; refuses a schema for which that is not bounded
- `own.py`        two keywords that the validator has at an unbounded cost
- `compiled.py`   a checked schema, compiled by jsonschema-rs: documents against it, and what is wrong with one
- `defaults.py`   the defaults of a schema for a document
- `violations.py` what is wrong with a document, without anything of it but names

What these modules and jsonschema-rs decide is part of the log's meaning: a change of it, another version of
jsonschema-rs or of google-re2 included, needs a new feature level unless the answers are the same.
"""

from collectionstore_node.schemas.compiled import CompiledSchema, check_schema, compile_schema
from collectionstore_node.schemas.costs import WEIGHT_MAX
from collectionstore_node.schemas.defaults import DEFAULTS_BYTES_MAX, DefaultsTooLarge
from collectionstore_node.schemas.keywords import PATTERNS_MAX
from collectionstore_node.schemas.tree import NESTING_MAX, SCHEMA_BYTES_MAX, SUBSCHEMAS_MAX
from collectionstore_node.schemas.violations import VIOLATIONS_MAX, Violation

__all__ = [
    "DEFAULTS_BYTES_MAX",
    "NESTING_MAX",
    "PATTERNS_MAX",
    "SCHEMA_BYTES_MAX",
    "SUBSCHEMAS_MAX",
    "VIOLATIONS_MAX",
    "WEIGHT_MAX",
    "CompiledSchema",
    "DefaultsTooLarge",
    "Violation",
    "check_schema",
    "compile_schema",
]
