"""Logging through structlog, to standard error: text for people, JSON lines for machines."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from .terminal import one_line


def configure(*, log_format: str, verbose: int) -> FilteringBoundLogger:
    """Set up structlog for this process and return its logger. ``verbose``: 0 for the essentials, more for details."""
    renderer: Processor = structlog.processors.JSONRenderer()
    if log_format == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if log_format == "json" else "%H:%M:%S"),
            _as_text,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def _as_text(_: object, __: str, event: EventDict) -> EventDict:
    """Keep untrusted names from adding lines to the log or moving the cursor."""
    return {name: one_line(value) if isinstance(value, str) else value for name, value in event.items()}
