"""The console: a page for people, at `/console`, that is a client of the API like any other.

- `serving.py`  its routes
- `static/`     the page: HTML, CSS and scripts, as they are in the repository; nothing is built
"""

from collectionstore_node.api.console.serving import CONSOLE

__all__ = ["CONSOLE"]
