"""Logging of the operator: structlog events as JSON lines on stderr, or readable ones on a terminal.

Events are `noun.past_verb`, constant text, values as keys. Secrets, keys and documents are never logged. Lines of
libraries that use the standard library's logging come out in the same format.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog

from collectionstore_operator.tracing.active import add_ids


def configure(*, output: TextIO | None = None, style: Literal["json", "console"] = "json", level: str = "info") -> None:
    """Set up logging for the process, to `output` or stderr."""
    stream = output or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_ids,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor
    if style == "json":
        # Local variables in tracebacks would carry keys into the log.
        transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shared.append(structlog.processors.ExceptionRenderer(transformer))
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def bind(**values: str) -> None:
    """Put `values` on every following line of this task and its children: namespace, name and the like."""
    structlog.contextvars.bind_contextvars(**values)
