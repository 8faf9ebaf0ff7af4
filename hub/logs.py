"""Log lines: for people on a terminal, JSON elsewhere. One place sets them up; secrets are kept out at their source,
and every known secret value is blotted out here once more."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from schemas.redaction import keep_secret, without_secrets

__all__ = ["keep_secret", "set_up_logs"]


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
    for key, value in event.items():
        event[key] = _clean(value)
    return event


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {key: _clean(one) for key, one in value.items()}
    return value if value is None or isinstance(value, bool | int | float) else without_secrets(str(value))
