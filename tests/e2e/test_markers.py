"""What is posted carries a signed marker at every vendor, and what carries that on is one deeper."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from crash.stage import Stage, stage
from crash.webhooks import github_comment, jira_label, sentry_alert, slack_mention

from schemas.marker import Marker, markers_in, read_markers
from storage.lineage import marker_key
from storage.tables import DispatchRow

THREAD = "1795400001.000100"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Stage]:
    """A hub on the demo's configuration."""
    async with stage(tmp_path) as found:
        yield found


def hidden(state: Mapping[str, Any]) -> Iterator[tuple[str, Marker]]:
    """Vendor and marker of all that carries one, as it lies there."""
    for repository in state["github"]["repos"].values():
        for issue in repository["issues"].values():
            for body in (issue["body"], *(comment["body"] for comment in issue["comments"])):
                yield from (("github", one) for one in read_markers(body or ""))
    for issue in state["jira"]["issues"].values():
        for comment in issue["comments"]:
            value = comment["properties"].get("triggerhub.marker")
            if value is not None:
                yield "jira", _read(value)
    for issue in state["sentry"]["issues"].values():
        for note in issue["notes"]:
            yield from (("sentry", one) for one in read_markers(note["text"]))
    for channel in state["slack"]["channels"].values():
        for message in channel["messages"].values():
            payload = (message["metadata"] or {}).get("event_payload") or {}
            if "run" in payload:
                yield "slack", _read(payload)


def _read(value: Mapping[str, Any]) -> Marker:
    (found,) = read_markers(f"triggerhub run={value['run']} slot={value['slot']} {value.get('lineage')}")
    return found


async def test_every_post_is_signed_with_its_root_and_depth(running: Stage) -> None:
    began = {}
    for webhook in (
        sentry_alert(4),
        jira_label(7),
        slack_mention(THREAD),
        github_comment(31, 91, "@triggerhub where do we round the total?"),
    ):
        event = await running.accepted(webhook)
        run = await running.ended(event)
        began[run["id"]] = event
    key = await running.hub.database.read(marker_key)
    found = list(hidden(running.sandbox.world.state()))
    assert {vendor for vendor, _ in found} == {"github", "jira", "sentry", "slack"}
    for _, mark in found:
        assert mark.is_genuine(key), mark
        assert mark.lineage is not None
        assert (mark.lineage.root, mark.lineage.depth) == (began[mark.run], 0)


async def test_who_carries_our_words_on_is_heard_and_counted(running: Stage) -> None:
    """A comment with the whole of ours in it, hidden marker and all, in a person's name: by the third it ends."""
    event = await running.accepted(github_comment(31, 9100, "@triggerhub where do we round the total?"))
    outcomes = list[tuple[str, str | None]]()
    for number in range(9101, 9105):
        run = await running.ended(event)
        assert run["status"] == "succeeded"
        place = running.sandbox.world.github.ensure_repo("acme/checkout").issues[31]
        posted = place.comments[-1].body
        assert markers_in(posted) is not None
        event = await running.accepted(github_comment(31, number, f"{posted}\n\n@triggerhub and now?"))
        (verdict,) = [one for one in await running.routed(event) if one["rule"] == "github-mention-reply"]
        outcomes.append((verdict["outcome"], verdict["clause"]))
        if verdict["outcome"] != "matched":
            break
    assert [outcome for outcome, _ in outcomes] == ["matched", "matched", "suppressed"]
    assert outcomes[-1] == ("suppressed", "depth")
    depths = sorted(row["depth"] for row in await running.rows(DispatchRow))
    assert depths == [0, 1, 2]
    assert {row["root_event"] for row in await running.rows(DispatchRow)} == {
        row["event_id"] for row in await running.rows(DispatchRow) if row["depth"] == 0
    }
