"""The CustomResourceDefinition, generated from the structs that the operator itself parses with.

- `openapi.py`      msgspec types -> the structural schema of OpenAPI v3
- `transitions.py`  what may not change once it is set: rules the operator never sees, since they compare with the past
- `definition.py`   names, columns, subresources: the whole object
- `__main__.py`     writes `crds/` and checks that it is current: `python -m collectionstore_operator.crd --help`
"""

from collectionstore_operator.crd.definition import definition, text

__all__ = ["definition", "text"]
