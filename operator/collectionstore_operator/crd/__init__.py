"""The CustomResourceDefinitions, generated from the structs of the parser.

- `openapi.py`      msgspec types -> the structural schema of OpenAPI v3
- `transitions.py`  immutability: rules that compare with the old object, which only the API server sees
- `definition.py`   the whole object: names, printer columns, subresources
- `backups.py`      the definitions of backups and schedules
- `access.py`       those of users and roles
- `__main__.py`     writes `crds/` and checks that it is up to date: `python -m collectionstore_operator.crd --help`
"""

from collectionstore_operator.crd.definition import definition, definitions, text, texts

__all__ = ["definition", "definitions", "text", "texts"]
