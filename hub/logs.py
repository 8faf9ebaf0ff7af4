"""Log lines: for people on a terminal, JSON elsewhere. One place sets them up; secrets are kept out at their source,
and every known secret value is blotted out here once more."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, Final

import structlog

BLOT: Final = "[secret]"
MIN_SECRET: Final = 6
_secrets: set[str] = set()


def keep_secret(values: Iterable[str]) -> None:
    """From now on these values never appear in a log line, wherever they come from."""
    _secrets.update(value for value in values if len(value) >= MIN_SECRET)


def set_up_logs(level: str, *, style: str = "auto") -> None:
    """Configure structlog and the standard library's logging to one stream, standard error."""
    console = sys.stderr.isatty() if style == "auto" else style == "console"
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Formatted here for both styles: the console's own tracebacks would show local variables, bodies among them.
        structlog.processors.format_exc_info,
        _blot,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=True, pad_event_to=40)
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in (
        "aiokafka",
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "anthropic",
        "uvicorn",
        "faststream",
        "alembic",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # aiokafka repeats every refused connection on three lines; our own line says it once, with the remedy.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _blot(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if _secrets:
        for key, value in event.items():
            if isinstance(value, str) and any(secret in value for secret in _secrets):
                event[key] = _blotted(value)
    return event


def _blotted(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, BLOT)
    return text
