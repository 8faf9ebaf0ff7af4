"""What stands in the outside world at the end, read from the sandbox's own state: artefacts, sessions, work.

Nothing here asks the hub.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectors.markers import read_marker

_SENTRY: Final = re.compile(r"^\[//\]: # \(triggerhub run=(\S+) slot=([^\s)]+)(?: [^)\n]*)?\)$", re.MULTILINE)
_RUN: Final = re.compile(r"^Run: (run_[0-9a-f]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Artefact:
    """One thing that carries our marker."""

    source: str
    kind: str
    """`pull`, `comment` or `message`."""
    where: str
    run: str
    slot: str
    part: int
    text: str

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What may exist once."""
        return self.source, self.run, self.slot, self.part


def artefacts(state: Mapping[str, Any]) -> list[Artefact]:
    """Everything of ours, of all four vendors."""
    return [
        *_github(state["github"]),
        *_jira(state["jira"]),
        *_sentry(state["sentry"]),
        *_slack(state["slack"]),
    ]


def twice(found: Sequence[Artefact]) -> list[str]:
    """Those that exist more than once, in words."""
    counted = Counter(one.key for one in found)
    return [
        f"{count} times {source} {run} {slot}"
        for (source, run, slot, _), count in counted.items()
        if count > 1
    ]


def work_by_run(work: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Which sessions each run's work was sent to."""
    found: dict[str, list[str]] = {}
    for item in work:
        match = _RUN.search(str(item["text"]))
        if match is not None:
            found.setdefault(match[1], []).append(str(item["session_id"]))
    return found


def _github(state: Mapping[str, Any]) -> Iterator[Artefact]:
    for repository in state["repos"].values():
        for issue in repository["issues"].values():
            where = f"{repository['name']}#{issue['number']}"
            if issue["pull"] is not None:
                yield from _marked("github", "pull", where, issue["body"] or "")
            for comment in issue["comments"]:
                yield from _marked("github", "comment", where, comment["body"])


def _marked(source: str, kind: str, where: str, text: str) -> Iterator[Artefact]:
    found = read_marker(text)
    if found is not None:
        yield Artefact(source, kind, where, found[0], found[1], 1, text)


def _jira(state: Mapping[str, Any]) -> Iterator[Artefact]:
    for key, issue in state["issues"].items():
        for comment in issue["comments"]:
            mark = comment["properties"].get("triggerhub.marker")
            if mark is not None:
                yield Artefact("jira", "comment", key, mark["run"], mark["slot"], 1, str(comment["body"]))


def _sentry(state: Mapping[str, Any]) -> Iterator[Artefact]:
    for issue_id, issue in state["issues"].items():
        for note in issue["notes"]:
            for run, slot in _SENTRY.findall(note["text"]):
                yield Artefact("sentry", "comment", issue_id, run, slot, 1, note["text"])


def _slack(state: Mapping[str, Any]) -> Iterator[Artefact]:
    for channel_id, channel in state["channels"].items():
        for message in channel["messages"].values():
            mark = ((message["metadata"] or {}).get("event_payload")) or {}
            if "run" in mark:
                where = f"{channel_id}/{message['thread_ts'] or message['ts']}"
                yield Artefact(
                    "slack", "message", where, mark["run"], mark["slot"], mark["part"], message["text"]
                )
