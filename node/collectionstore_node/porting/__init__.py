"""Documents as lines of JSON (NDJSON) and as rows of CSV (RFC 4180), for export and import. Pure.

- `records.py`  bytes that arrive, cut into lines or into CSV records
- `ndjson.py`   a document with its ID as a line, and the other way
- `cells.py`    a value as the text of a cell, and the other way
- `tables.py`   a document as a row below a header, and the other way
- `tally.py`    number and hash of what was exported: the trailer
"""
