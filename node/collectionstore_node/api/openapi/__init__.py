"""The OpenAPI document of the client port, and the page that shows it.

- `document.py`    makes the document: routes and parameters from the URL table, bodies from the handlers' structs
- `operations.py`  what the URL table does not say: the body and the answers of each route
- `answers.py`     what answers look like
- `serving.py`     `/`, `/openapi.json` and `/docs`
- `page/`          the page: HTML, CSS and a script, without anything from another host
"""

from collectionstore_node.api.openapi.document import describe
from collectionstore_node.api.openapi.serving import described

__all__ = ["describe", "described"]
