"""Log lines: JSON for machines, one plain line for people, both naming Stack, digest and step."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from ocistate.text import plain, plain_json

_FIELDS: Final = ("stack", "target", "digest", "step", "reason", "objects")

CONTEXT: ContextVar[Mapping[str, str]] = ContextVar("context", default={})  # noqa: B039 - never changed in place
"""What every line logged just now is about: ``stack``, ``target``, ``digest``, ``step``."""


def _with_context(record: logging.LogRecord) -> bool:
    for name, value in CONTEXT.get().items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        value: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        value |= {
            name: field if isinstance(field := getattr(record, name), int) else str(field)
            for name in _FIELDS
            if hasattr(record, name)
        }
        if record.exc_info:
            value["traceback"] = self.formatException(record.exc_info)
        return plain_json(json.dumps(value, ensure_ascii=False))


class TextFormatter(logging.Formatter):
    """One line for a person: time, level, Stack, reason, message."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [time.strftime("%H:%M:%S", time.localtime(record.created)), record.levelname]
        parts += [
            str(getattr(record, name))
            for name in ("stack", "target", "reason")
            if hasattr(record, name)
        ]
        line = plain(" ".join([*parts, record.getMessage()]))
        if not record.exc_info:
            return line
        # Indented, so that no line of it looks like one of the log.
        trace = plain(self.formatException(record.exc_info), lines=True)
        return "\n    ".join([line, *trace.split("\n")])


def set_up(style: str, level: int = logging.INFO) -> None:
    """Log to stderr in a style, ``json`` or ``text``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_with_context)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Their request lines name every URL; at this level only their troubles are of interest.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
