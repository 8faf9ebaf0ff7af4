"""The hidden marker at Jira: a comment property on Cloud, an anchor in the text on Data Center. Pure.

Jira shows neither. A property cannot be imitated by any text; webhooks of Cloud do not carry it unless they are asked to.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote, unquote

from connectors.body import get, text_at
from schemas.marker import Marker, markers_in

PROPERTY: Final = "triggerhub.marker"
"""Changing this breaks the finding of earlier comments."""
_ANCHOR: Final = re.compile(
    r"\{anchor:triggerhub\.(?P<run>[A-Za-z0-9_-]{1,64})\.(?P<slot>[A-Za-z0-9_.%-]{1,160})"
    r"(?:!(?P<root>[A-Za-z0-9_.:~-]{1,128})!(?P<depth>\d{1,3})!(?P<signature>[0-9a-f]{32}))?\}"
)
MAX_READ: Final = 8


def property_of(marker: Marker) -> dict[str, Any]:
    """The comment property."""
    value = {"run": marker.run, "slot": marker.slot}
    if marker.lineage is not None:
        value["lineage"] = marker.lineage.words
    return {"key": PROPERTY, "value": value}


def anchor_of(marker: Marker) -> str:
    """The anchor macro."""
    lineage = marker.lineage
    told = "" if lineage is None else f"!{lineage.root}!{lineage.depth}!{lineage.signature}"
    return f"{_opening(marker.run, marker.slot or '')}{told}}}"


def carries(comment: object, *, run: str, slot: str, cloud: bool) -> bool:
    """Whether a comment as Jira's API gives it is the one of this run and slot, signed or not."""
    if not cloud:
        body, begun = text_at(comment, "body") or "", _opening(run, slot)
        return f"{begun}}}" in body or f"{begun}!" in body
    return any(
        text_at(value, "run") == run and text_at(value, "slot") == slot for value in _properties(comment)
    )


def without_marks(comment: object, text: str) -> tuple[str, str | None]:
    """The text of a webhook's comment as Jira shows it, and the words of our markers in the comment, if any."""
    told = []
    for found in list(_ANCHOR.finditer(text))[:MAX_READ]:
        mark = f"triggerhub run={found['run']} slot={unquote(found['slot'])}"
        if found["root"] is not None:
            mark += f" root={found['root']} depth={found['depth']} sig={found['signature']}"
        told.append(mark)
    for value in _properties(comment):
        run, slot, lineage = (text_at(value, name) for name in ("run", "slot", "lineage"))
        told.append(f"triggerhub run={run} slot={slot} {lineage}")
    if not told:
        return text, None
    return _ANCHOR.sub("", text).rstrip(), markers_in("\n".join(told))


def _opening(run: str, slot: str) -> str:
    """Changing this breaks the finding of earlier comments."""
    return f"{{anchor:triggerhub.{quote(run, safe='')}.{quote(slot, safe='')}"


def _properties(comment: object) -> list[object]:
    """Values of our property."""
    entries = get(comment, "properties")
    if not isinstance(entries, list):
        return []
    return [get(entry, "value") for entry in entries[:100] if text_at(entry, "key") == PROPERTY]
