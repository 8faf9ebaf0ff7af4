"""A question at every vendor: posted once, found again by its marker, and changed in place when it is decided."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from vendor_places import VENDORS, Place, furnish, place_at

from connectors.own_posts import ASK, EDIT, edit
from connectors.poster import Post, PostGoneError, PostRefusedError
from sandbox.server import serve

VALUE = "apr_0123456789abcdef0123456789abcdef:0123456789ab"
TEXT = "**Approval needed.** The agent wants to comment.\n\n```\ntext: Hello.\n```\n\nTo approve: type it."


@pytest.fixture(params=VENDORS)
async def there(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with serve() as sandbox, httpx.AsyncClient() as http:
        furnish(sandbox)
        yield place_at(request.param, sandbox, http)


def question(there: Place, text: str = TEXT, *, slot: str = "approval-x") -> Post:
    spec = there.connector.own_outputs[ASK]
    arguments = spec.arguments.model_validate({"text": text, "value": VALUE})
    return replace(there.comment(text, slot=slot), output=ASK, arguments=arguments)


def change(there: Place, artefact: str | None, text: str, *, value: str | None = None) -> Post:
    spec = there.connector.own_outputs[EDIT]
    written = {"text": text, "artefact": artefact or "comment:none", "slot": "approval-x", "value": value}
    return replace(
        there.comment(text, slot="approval-x.1"),
        output=EDIT,
        arguments=spec.arguments.model_validate(written),
    )


async def test_a_question_is_found_again(there: Place) -> None:
    post = question(there)
    assert await there.poster.find(post) is None
    receipt = await there.poster.create(post)
    assert receipt.artefact is not None
    found = await there.poster.find(post)
    assert found is not None
    assert found.artefact == receipt.artefact
    assert len(there.texts()) == 1


async def test_a_decision_changes_the_question_and_nothing_else(there: Place) -> None:
    receipt = await there.poster.create(question(there))
    spec = there.connector.own_outputs[ASK]
    for _ in range(2):  # an answer that was lost is asked for again
        changed = await edit(there.poster, change(there, receipt.artefact, "**Approved by ada.**"), spec)
        assert changed.artefact is None
    (text,) = there.texts()
    assert "Approved by ada" in text
    assert "Approval needed" not in text
    assert await there.poster.find(question(there)) is not None, "its marker stays"


async def test_what_is_no_question_of_ours_is_not_changed(there: Place) -> None:
    spec = there.connector.own_outputs[ASK]
    with pytest.raises(PostRefusedError):
        await edit(there.poster, change(there, "pull:12", "x"), spec)
    receipt = await there.poster.create(question(there))
    there.remove()
    with pytest.raises(PostGoneError):
        await edit(there.poster, change(there, receipt.artefact, "x"), spec)
    assert there.texts() == []


def test_no_rule_can_grant_them(there: Place) -> None:
    assert not set(there.connector.own_outputs) & set(there.connector.outputs)


@pytest.mark.parametrize("there", ["slack"], indirect=True)
async def test_slack_shows_buttons_until_it_is_decided(there: Place) -> None:
    receipt = await there.poster.create(question(there))
    (message,) = [one for one in there.sandbox.world.slack.channels["C1"].messages.values() if one.bot]
    buttons = message.blocks[1]["elements"]
    assert [(one["action_id"], one["value"]) for one in buttons] == [
        ("triggerhub.approve", VALUE),
        ("triggerhub.deny", VALUE),
    ]
    spec = there.connector.own_outputs[ASK]
    await edit(there.poster, change(there, receipt.artefact, "1 of 2 have approved.", value=VALUE), spec)
    assert [block["type"] for block in message.blocks] == ["section", "actions"], "it can still be decided"
    await edit(there.poster, change(there, receipt.artefact, "**Approved by ada.**"), spec)
    assert [block["type"] for block in message.blocks] == ["section"]
    assert "Approved by ada" in message.blocks[0]["text"]["text"]


@pytest.mark.parametrize("there", ["slack"], indirect=True)
async def test_a_question_of_any_length_fits_a_block_of_slack(there: Place) -> None:
    await there.poster.create(question(there, "long words " * 8_000))
    (message,) = [one for one in there.sandbox.world.slack.channels["C1"].messages.values() if one.bot]
    assert len(message.blocks[0]["text"]["text"]) <= 3_000
    assert message.blocks[1]["type"] == "actions"
