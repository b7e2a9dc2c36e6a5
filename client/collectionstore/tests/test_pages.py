"""The Python of the pages, run as a reader would run it, against the engine in memory."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from collectionstore.testing import running_memory_store

DOCS = Path(__file__).parents[3] / "docs"
PAGES = ("start/python.md", "start/from-mongodb.md", "start/from-etcd.md")
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_python_of_a_page(page: str) -> None:
    blocks = "\n".join(BLOCK.findall((DOCS / page).read_text()))
    # Where another test of this process has configured logs, they would be in the output.
    with capture_logs(), running_memory_store() as store:
        text = blocks.replace("http://127.0.0.1:7400", store.url)
        test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
        assert len(test.examples) > 5
        told: list[str] = []
        result = doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    assert result.failed == 0, "".join(told)
