"""Rules of sending events to emulated sessions, and the admin routes."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from agents_service import (
    Service,
    result,
    types,
)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"type": "user.message", "content": []}, "content"),
        (
            {"type": "user.message", "content": [{"type": "text"}]},
            "events.0.user.message.content.0.text.text",
        ),
        (
            {"type": "user.message", "content": [{"type": "text", "text": "x"}], "id": "mine"},
            "id: Extra inputs",
        ),
        (
            {"type": "user.message", "content": [{"type": "text", "text": "x"}], "processed_at": None},
            "processed_at",
        ),
        ({"type": "user.wave"}, "events.0"),
        (result("sevt_nowhere"), "does not match any"),
        ({**result("sevt_nowhere"), "session_thread_id": "sthr_1"}, "session_thread_id"),
        (
            {"type": "user.tool_confirmation", "tool_use_id": "toolu_1", "result": "allow"},
            "does not match any",
        ),
        ({"type": "user.tool_confirmation", "tool_use_id": "toolu_1", "result": "maybe"}, "result"),
        ({"type": "user.tool_result", "tool_use_id": "sevt_1"}, "self_hosted"),
        ({"type": "system.message", "content": [{"type": "text", "text": "x"}]}, "does not support"),
        (
            {
                "type": "user.define_outcome",
                "description": "d",
                "rubric": {"type": "text", "content": "r"},
                "max_iterations": 21,
            },
            "max_iterations",
        ),
    ],
)
async def test_rules_of_events(service: Service, event: dict[str, Any], reason: str) -> None:
    session = await service.session()
    with pytest.raises(anthropic.BadRequestError, match=reason):
        await service.send(session.id, event)
    assert await service.history(session.id) == []


async def test_a_request_counts_whole_or_not_at_all(service: Service) -> None:
    session = await service.session()
    good = {"type": "user.message", "content": [{"type": "text", "text": "x"}]}
    with pytest.raises(anthropic.BadRequestError):
        await service.send(session.id, good, result("sevt_nowhere"))
    with pytest.raises(anthropic.BadRequestError, match="at least 1 item"):
        await service.send(session.id)
    with pytest.raises(anthropic.NotFoundError):
        await service.send(session.id, {"type": "user.interrupt", "session_thread_id": "sthr_other"})
    with pytest.raises(anthropic.NotFoundError):
        await service.send("sesn_nowhere", good)
    assert await service.history(session.id) == []
    assert service.state.work == []


async def test_system_messages_stand_last_and_need_the_model(service: Service) -> None:
    session = await service.session()
    system = {"type": "system.message", "content": [{"type": "text", "text": "Be terse"}]}
    message = {"type": "user.message", "content": [{"type": "text", "text": "Hi [sandbox: scenario=happy]"}]}
    with pytest.raises(anthropic.BadRequestError) as refused:
        await service.send(session.id, message, system)
    assert refused.value.error_code == "model_does_not_support_mid_conversation_system"
    able = await service.session(agent=(await service.agent(model="claude-opus-5-5")).id)
    for wrong in ([system], [system, message]):
        with pytest.raises(anthropic.BadRequestError, match="last of the request"):
            await service.send(able.id, *wrong)
    await service.send(able.id, message, system)
    events = await service.idle(able.id)
    assert types(events)[2:4] == ["user.message", "system.message"]


# The admin routes.


async def test_settings_are_read_changed_and_checked(service: Service) -> None:
    changed = await service.knob("settings", pace=0.5, heartbeat=9)
    assert (changed["pace"], changed["heartbeat"]) == (0.5, 9.0)
    assert service.state.settings.pace == 0.5
    for bad in ({"pace": -1}, {"tempo": 1}, {"heartbeat": 0}):
        answer = await service.admin.post("/_emu/settings", json=bad)
        assert answer.status_code == 400
    assert service.state.settings.pace == 0.5


async def test_the_work_log_says_who_got_what(service: Service) -> None:
    busy, empty = await service.session(metadata={"job": "7"}), await service.session()
    await service.say(busy.id, "Hi [sandbox: scenario=happy]", data="{}")
    work = (await service.admin.get("/_emu/work")).json()["data"]
    assert [(item["session_id"], item["documents"], item["metadata"]) for item in work] == [
        (busy.id, 1, {"job": "7"})
    ]
    state = (await service.admin.get("/_emu/state")).json()
    assert state["sessions_with_work"] == 1
    assert {one["id"] for one in state["sessions"]} == {busy.id, empty.id}
    assert set((await service.admin.get("/_emu/scenarios")).json()["data"]) >= {"work", "happy", "lost_gap"}


async def test_reset_forgets_and_ends_streams(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Go [sandbox: scenario=silent]")
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.knob("reset")
        assert [event async for event in stream] == []
    with pytest.raises(anthropic.NotFoundError):
        await service.client.beta.sessions.retrieve(session.id)
    assert (await service.session()).status == "idle"
