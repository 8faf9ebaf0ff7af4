"""Messages between versions: what 0.1.0 wrote is read by today's consumers, what today writes fits 0.1.0's readers, and
what a newer version wrote goes to the dead letters with a reason that says what to do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from crash.stage import Stage, stage
from crash.webhooks import github_comment
from services import records
from upgrades.messages_of_0_1_0 import EVENTS as SOURCES
from upgrades.messages_of_0_1_0 import decoded, raw, schema

from schemas.dispatch import Dispatch
from schemas.event import Event
from schemas.result import Result
from schemas.topics import DISPATCHES, EVENTS, RESULTS, TOPICS
from schemas.version import SCHEMA_VERSION
from storage.tables import DeadLetterRow, DispatchRow, EventRow, ResultRow, RunRow


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Stage]:
    """A hub of today on the demo's configuration."""
    async with stage(tmp_path) as found:
        yield found


async def write(running: Stage, topic: str, *values: bytes, headers: Any = None) -> None:
    """Records as another process writes them, whatever its version."""
    where = running.hub.broker._bootstrap  # noqa: SLF001 - another program would be told the address
    await records.write(where, topic, *(("k", value) for value in values), headers=headers)


async def letters(running: Stage, count: int) -> dict[str, str]:
    """Reason by the id inside, once there are so many dead letters."""

    async def dead() -> list[dict[str, Any]] | None:
        rows = await running.rows(DeadLetterRow)
        return rows if len(rows) >= count else None

    found = await running.until(dead)
    return {json.loads(row["value"])["id"]: row["reason"] for row in found}


def test_messages_of_0_1_0_say_no_version_or_one() -> None:
    for source in SOURCES:
        assert "schemaversion" not in decoded(f"event.{source}")
        assert Event.model_validate_json(raw(f"event.{source}")).schemaversion == 1
    assert Dispatch.model_validate_json(raw("dispatch.github")).version == 1
    assert Result.model_validate_json(raw("result.github")).version == 1


async def test_today_s_consumers_take_what_0_1_0_wrote(running: Stage) -> None:
    """Events of every source, a dispatch and a result, each by its own way through Kafka, to the post at its end."""
    dispatch, result = decoded("dispatch.github"), decoded("result.github")
    await write(running, EVENTS.name, *(raw(f"event.{source}") for source in SOURCES if source != "github"))
    await write(running, DISPATCHES.name, raw("dispatch.github"))
    await write(running, RESULTS.name, raw("result.github"))
    for source in SOURCES:
        run = await running.ended(decoded(f"event.{source}")["id"])
        assert run["status"] == "succeeded", (source, run["error"])

    async def posted() -> bool:
        return [row["status"] for row in await running.rows(ResultRow, id=result["id"])] == ["posted"]

    await running.until(posted)
    made = running.made("run_" + dispatch["id"].removeprefix("dsp_"))
    assert result["arguments"]["text"] in "\n".join(one.text for one in made)
    assert await running.rows(DeadLetterRow) == []


async def test_the_same_dispatch_from_two_versions_is_one_run(running: Stage) -> None:
    """During a roll-out the old router's dispatch and the new one's may both arrive."""
    await write(running, DISPATCHES.name, raw("dispatch.github"))
    await write(running, EVENTS.name, raw("event.github"))
    run = await running.ended(decoded("event.github")["id"])
    assert run["status"] == "succeeded"
    assert len(await running.rows(RunRow)) == 1
    assert len(running.agents.work) == 1


async def test_a_newer_version_is_a_dead_letter_that_says_what_to_do(running: Stage) -> None:
    newer = SCHEMA_VERSION + 1
    event, dispatch, result = decoded("event.github"), decoded("dispatch.github"), decoded("result.github")
    shapeless = {"id": "evt_shapeless", "schemaversion": newer, "actors": []}
    inside = dispatch | {"id": "dsp_inside", "event": event | {"schemaversion": newer}}
    await write(running, EVENTS.name, *map(_bytes, (event | {"schemaversion": newer}, shapeless)))
    await write(running, EVENTS.name, raw("event.jira"), headers=[("triggerhub-schema", str(newer).encode())])
    await write(running, DISPATCHES.name, *map(_bytes, (dispatch | {"version": newer}, inside)))
    await write(running, RESULTS.name, _bytes(result | {"version": newer}))
    found = await letters(running, 6)
    assert set(found) == {
        event["id"],
        "evt_shapeless",
        decoded("event.jira")["id"],
        dispatch["id"],
        "dsp_inside",
        result["id"],
    }
    for reason in found.values():
        assert reason == (
            f"written in schema version {newer}, and this triggerhub reads up to {SCHEMA_VERSION}: "
            "upgrade it, then retry this message"
        )
    assert await running.rows(EventRow) == []
    assert await running.rows(RunRow) == []
    assert await running.rows(ResultRow) == []


async def test_fields_that_nobody_knows_are_ignored(running: Stage) -> None:
    event = decoded("event.github") | {"sampledrate": 7}
    event["data"] |= {"mood": "calm"}
    event["data"]["actor"] |= {"pronouns": "they"}
    await write(running, EVENTS.name, _bytes(event), headers=[("triggerhub-schema", b"soon")])
    assert (await running.ended(event["id"]))["status"] == "succeeded"


async def test_what_today_writes_fits_the_readers_of_0_1_0(running: Stage) -> None:
    """Against the JSON Schemas of 0.1.0's own models: an old process beside a new one can read it."""
    event_id = await running.accepted(github_comment(51, 5_100, "@triggerhub where do we round?"))
    await running.ended(event_id)
    for name, row in (("event", EventRow), ("dispatch", DispatchRow), ("result", ResultRow)):
        reader = jsonschema_rs.validator_for(schema(name))
        rows = await running.rows(row)
        assert rows
        for one in rows:
            reader.validate(json.loads(one["body"]))
            assert not reader.is_valid({"id": 5})


async def test_every_record_says_its_version(running: Stage) -> None:
    event_id = await running.accepted(github_comment(52, 5_200, "@triggerhub where do we round?"))
    await running.ended(event_id)
    where = running.hub.broker._bootstrap  # noqa: SLF001 - another program would be told the address
    for spec in TOPICS:
        [record, *_] = await records.read_all(where, spec.name, count=1)
        assert dict(record.headers)["triggerhub-schema"] == str(SCHEMA_VERSION).encode()
        value = json.loads(record.value)
        assert value["schemaversion" if spec is EVENTS else "version"] == SCHEMA_VERSION


def _bytes(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()
