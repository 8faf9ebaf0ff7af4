"""The poster against the sandbox's Jira, which checks what Jira checks: documents, transitions, labels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from connectors.jira.connector import CONNECTOR
from connectors.jira.outputs import OUTPUTS
from connectors.jira.settings import JiraSettings
from connectors.poster import Post, Poster
from sandbox.server import serve
from schemas.event import Subject
from schemas.result import Origin


@pytest.fixture(params=["cloud", "datacenter"])
async def jira(request: pytest.FixtureRequest) -> AsyncIterator[Poster]:
    async with serve(port=0) as server, httpx.AsyncClient() as http:
        server.world.jira.ensure_issue("SHOP-17", labels=("agent-fix",))
        settings = JiraSettings(
            api_url=server.url + "/jira",
            webhook_secrets=("env:JIRA_WEBHOOK_SECRET",),
            deployment=request.param,
            email="bot@acme.example" if request.param == "cloud" else None,
        )
        yield CONNECTOR.poster(settings, token="an-invented-token", http=http, files={})


def post(output: str, slot: str, arguments: dict[str, Any], target: dict[str, Any] | None = None) -> Post:
    return Post(
        run="run_01",
        slot=slot,
        output=output,
        target=OUTPUTS[output].target.model_validate(target or {}),
        arguments=OUTPUTS[output].arguments.model_validate(arguments),
        origin=Origin(
            connection="acme-jira",
            event_id="evt_1",
            kind="issue.labeled",
            subject=Subject(kind="issue", key="SHOP-17"),
        ),
        to_origin=True,
    )


@pytest.mark.parametrize(
    "text",
    [
        "Done: **all**.\n\n- a\n  1. b\n\n|a|b|\n|-|-|\n|1||\n\n> q\n\n```python\nx = 1\n```",
        "- **b**\n" * 20_000,
    ],
    ids=["rich", "long"],
)
async def test_comment_is_made_once_and_found(jira: Poster, text: str) -> None:
    first, second = post("comment", "comment.1", {"text": text}), post("comment", "comment.2", {"text": text})
    assert await jira.find(first) is None
    made, other = await jira.create(first), await jira.create(second)
    assert made.artefact != other.artefact
    for what, receipt in ((first, made), (second, other)):
        found = await jira.find(what)
        assert found is not None
        assert (found.artefact, found.url) == (receipt.artefact, receipt.url)


async def test_issue_is_moved_and_moving_again_is_success(jira: Poster) -> None:
    what = post("transition", "transition.1", {}, {"category": "done"})
    assert await jira.find(what) is None
    moved = await jira.create(what)
    assert "moved" in moved.note
    found = await jira.find(what)
    assert found is not None
    assert "already" in found.note
    assert "already" in (await jira.create(what)).note


async def test_labels_and_links_may_be_repeated(jira: Poster) -> None:
    link = {"url": "https://github.com/acme/checkout/pull/7", "title": "acme/checkout#7"}
    for output, arguments in (
        ("add_label", {"label": "agent-done"}),
        ("remove_label", {"label": "agent-fix"}),
        ("add_remote_link", link),
    ):
        first = await jira.create(post(output, f"{output}.1", arguments))
        again = await jira.create(post(output, f"{output}.1", arguments))
        assert first.artefact == again.artefact


async def test_who_we_are(jira: Poster) -> None:
    assert (await jira.identify()).actor_ids
