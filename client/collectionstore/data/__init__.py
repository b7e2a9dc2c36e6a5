"""The commands on data: documents, queries, indexes, schemas, imports and exports, users and rights.

Many modules, one for each group of commands: what one asks and prints is of no use to another.
"""
