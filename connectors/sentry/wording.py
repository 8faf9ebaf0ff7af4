"""Putting an issue, an event or an alert into a few readable lines: what `event.text` holds.

Only words that the payload carries; the whole payload travels beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from connectors.body import get, id_at, text_at
from connectors.clip import clip

MAX_TEXT: Final = 20_000
"""Characters of `event.text`; a stack trace's message can be a megabyte."""
MAX_LINE: Final = 4_000
MAX_STEPS: Final = 20


def lines(parts: Iterable[str | None]) -> str:
    """The parts that say something new, one per line, within MAX_TEXT."""
    said: list[str] = []
    for part in parts:
        words = clip(part.replace("\x00", "").strip(), MAX_LINE) if part is not None else ""
        if words and words not in said:
            said.append(words)
    return clip("\n".join(said), MAX_TEXT)


def issue_text(issue: object) -> str:
    """Title, culprit, and what the metadata says of the error (or of a user's feedback)."""
    return lines([*_head(issue), *_metadata(issue)])


def event_text(event: object, *, rule: str | None) -> str:
    """Title, culprit, the exception that was thrown last with its crash site, and the alert rule's name."""
    return lines(
        [
            *_head(event),
            *(_exception(event) or _metadata(event)),
            text_at(event, "message") or text_at(event, "logentry", "formatted"),
            f"Alert rule: {rule}" if rule else None,
        ]
    )


def metric_text(data: object) -> str:
    """The title and description of a metric alert, and the rule behind it."""
    rule = get(data, "metric_alert", "alert_rule")
    query = text_at(rule, "query")
    name = text_at(rule, "name")
    return lines(
        [
            text_at(data, "description_title") or text_at(data, "metric_alert", "title"),
            text_at(data, "description_text"),
            f"Alert rule: {name}" if name else None,
            f"Query: {query}" if query else None,
        ]
    )


def seer_text(data: object) -> str:
    """What Seer found out: the cause, why, how to reproduce it, the plan, the pull requests."""
    cause, solution = get(data, "root_cause"), get(data, "solution")
    return lines(
        [
            text_at(cause, "one_line_description"),
            *_listed(get(cause, "five_whys")),
            *_listed(get(cause, "reproduction_steps")),
            text_at(solution, "one_line_summary"),
            *_listed(get(solution, "steps")),
            *pull_requests(data),
        ]
    )


def activity_text(data: object) -> str:
    """What happened on the issue, and the issue itself."""
    activity = get(data, "activity")
    summary = text_at(activity, "details", "summary") or text_at(activity, "details", "text")
    kind = text_at(activity, "type")
    return lines([*_head(get(data, "issue")), kind.replace("_", " ") if kind else None, summary])


def pull_requests(data: object) -> list[str]:
    """Addresses of the pull requests that Seer opened."""
    entries = get(data, "pull_requests")
    found = (
        [text_at(entry, "pull_request", "pr_url") for entry in entries] if isinstance(entries, list) else []
    )
    return [address for address in found if address is not None][:MAX_STEPS]


def _head(thing: object) -> list[str | None]:
    culprit = text_at(thing, "culprit")
    return [text_at(thing, "title"), f"in {culprit}" if culprit else None]


def _metadata(thing: object) -> list[str | None]:
    metadata = get(thing, "metadata")
    kind, value = text_at(metadata, "type"), text_at(metadata, "value")
    error = f"{kind}: {value}" if kind and value else kind or value
    return [error, text_at(metadata, "message"), _place(metadata)]


def _exception(event: object) -> list[str | None]:
    """The last exception is the one that was thrown; its last frame is the crash site (webhooks reference
    §3.1)."""
    thrown = get(event, "exception", "values", -1)
    kind, value = text_at(thrown, "type"), text_at(thrown, "value")
    if kind is None and value is None:
        return []
    error = f"{kind}: {value}" if kind and value else kind or value
    return [error, _place(get(thrown, "stacktrace", "frames", -1))]


def _place(frame: object) -> str | None:
    function = text_at(frame, "function")
    file = text_at(frame, "filename") or text_at(frame, "abs_path") or text_at(frame, "module")
    line = id_at(frame, "lineno") or id_at(frame, "lineNo")
    where = f"{file}:{line}" if file and line else file
    if function and where:
        return f"at {function} ({where})"
    return f"at {function or where}" if function or where else None


def _listed(entries: Any) -> list[str | None]:
    if not isinstance(entries, list):
        return []
    words = [
        entry if isinstance(entry, str) else text_at(entry, "title") or text_at(entry, "description")
        for entry in entries
    ]
    return [f"- {word}" for word in words[:MAX_STEPS] if word]
