"""Scenarios in which a turn goes wrong: failures, silence, interrupts, and frames that are lost, late or unknown."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import httpx2
import pytest
from agents_service import (
    LOOKUP,
    REPOSITORY,
    TEXT,
    TOOLSET,
    Service,
    drain,
    idles,
    of,
    said,
    tool,
    types,
)


async def test_transient_failure(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=transient times=2]")
    events = await service.idle(session.id)
    kinds = types(events)
    first = kinds.index("session.error")
    assert kinds[first : first + 5] == [
        "session.error",
        "session.thread_status_rescheduled",
        "session.status_rescheduled",
        "session.status_running",
        "session.thread_status_running",
    ]
    assert [event.error.retry_status.type for event in of(events, "session.error")] == ["retrying"] * 2
    assert idles(events)[-1].stop_reason.type == "end_turn"
    assert said(events)


async def test_exhausted_flushes_the_queue_and_stays_usable(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=exhausted pace=0.05]")
    await service.say(session.id, "queued behind it")
    events = await service.idle(session.id)
    assert [event.error.retry_status.type for event in of(events, "session.error")] == [
        "retrying",
        "retrying",
        "exhausted",
    ]
    assert idles(events)[-1].stop_reason.type == "retries_exhausted"
    assert not said(events)
    await service.say(session.id, "Again [sandbox: scenario=happy]")
    assert said(await service.idle(session.id, count=2)) == ["Done: Again [sandbox: scenario=happy]"]


async def test_terminal_ends_the_stream_and_the_session(service: Service) -> None:
    session = await service.session()
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Work [sandbox: scenario=terminal]")
        seen = [event async for event in stream]
    assert types(seen)[-3:] == [
        "session.error",
        "session.thread_status_terminated",
        "session.status_terminated",
    ]
    assert (await service.client.beta.sessions.retrieve(session.id)).status == "terminated"
    with pytest.raises(anthropic.BadRequestError, match="terminated"):
        await service.say(session.id, "More")
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        assert [event async for event in stream] == []


async def test_repository_failure_goes_on_without_it(service: Service) -> None:
    session = await service.session(
        tools=[TOOLSET, tool("open_pull_request", title=TEXT)], resources=[REPOSITORY]
    )
    await service.say(session.id, "Fix [sandbox: scenario=repository_failure]")
    events = await service.idle(session.id)
    error = of(events, "session.error")[0].error
    assert (error.type, error.retry_status.type) == ("repository_authentication_error", "retrying")
    assert error.repository_url == "https://github.com/acme/checkout"
    assert idles(events)[-1].stop_reason.type == "end_turn"
    assert service.world.github.pushes == []


async def test_duplicate_and_late_frames(service: Service) -> None:
    session = await service.session()
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        sent = (await service.say(session.id, "Hi [sandbox: scenario=duplicate]")).data[0]
        mine = []
        async for event in stream:
            if event.id == sent.id:
                mine.append(event.processed_at is None)
            if event.type == "session.status_idle":
                break
    assert mine == [False, True, False]
    assert len(of(await service.history(session.id), "user.message")) == 1


async def test_silent_never_ends_until_interrupted(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=silent]")
    await service.until(session.id, lambda events: bool(of(events, "span.model_request_start")))
    await asyncio.sleep(0.1)
    assert (await service.client.beta.sessions.retrieve(session.id)).status == "running"
    sent = await service.send(session.id, {"type": "user.interrupt"})
    assert sent.data[0].processed_at is None
    events = await service.idle(session.id)
    assert types(events)[-5:] == [
        "user.interrupt",
        "span.model_request_end",
        "session.thread_status_idle",
        "session.usage",
        "session.status_idle",
    ]
    assert events[-1].stop_reason.type == "end_turn"


async def test_stuck_takes_no_interrupt(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=stuck]")
    await asyncio.sleep(0.03)
    await service.send(session.id, {"type": "user.interrupt"})
    await asyncio.sleep(0.05)
    assert (await service.client.beta.sessions.retrieve(session.id)).status == "running"
    with pytest.raises(anthropic.BadRequestError, match="cannot be archived"):
        await service.client.beta.sessions.archive(session.id)


async def test_interrupt_closes_pending_calls_and_redirects(service: Service) -> None:
    session = await service.session(tools=[LOOKUP])
    await service.say(session.id, "Look [sandbox: scenario=parallel calls=2]")
    calls = [event.id for event in of(await service.idle(session.id), "agent.custom_tool_use")]
    message = {
        "type": "user.message",
        "content": [{"type": "text", "text": "Stop [sandbox: scenario=happy]"}],
    }
    await service.send(session.id, {"type": "user.interrupt"}, message)
    events = await service.idle(session.id, count=3)
    closed = of(events, "user.custom_tool_result")
    assert [(event.custom_tool_use_id, event.is_error) for event in closed] == [
        (call, True) for call in calls
    ]
    assert [event.stop_reason.type for event in idles(events)] == ["requires_action", "end_turn", "end_turn"]
    assert said(events) == ["Done: Stop [sandbox: scenario=happy]"]
    with pytest.raises(anthropic.BadRequestError, match="already been answered"):
        await service.answer(session.id, calls[0])


async def test_interrupt_when_idle_does_nothing(service: Service) -> None:
    session = await service.session()
    await service.send(session.id, {"type": "user.interrupt"})
    assert types(await service.history(session.id)) == ["user.interrupt"]
    assert (await service.client.beta.sessions.retrieve(session.id)).status == "idle"


async def test_unknown_frames_deserialize_with_their_own_type(service: Service) -> None:
    session = await service.session()
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Work [sandbox: scenario=unknown_event]")
        seen = []
        async for event in stream:
            seen.append(event)
            if event.type == "session.status_idle":
                break
    strange: list[str] = [kind for kind in types(seen) if kind in {"agent.mood", "future_frame"}]
    assert strange == ["agent.mood", "future_frame"]


async def test_forget_ends_without_a_message(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=forget]")
    events = await service.idle(session.id)
    assert idles(events)[0].stop_reason.type == "end_turn"
    assert said(events) == []


async def test_lost_gap_is_only_in_the_history(service: Service) -> None:
    session = await service.session(tools=[LOOKUP])
    seen: list[Any] = []
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Work [sandbox: scenario=lost_gap]")
        with pytest.raises(httpx2.RemoteProtocolError):
            await drain(stream, seen)
    assert "agent.custom_tool_use" not in types(seen)
    events = await service.idle(session.id)
    call = of(events, "agent.custom_tool_use")[0]
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.answer(session.id, call.id)
        async for event in stream:
            assert event.type != "agent.custom_tool_use", "a stream never replays"
            if event.type == "session.status_idle":
                break


async def test_status_lags_behind_the_stream(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Work [sandbox: scenario=lag seconds=0.3]")
    await service.idle(session.id)
    assert (await service.client.beta.sessions.retrieve(session.id)).status == "running"
    with pytest.raises(anthropic.BadRequestError, match="cannot be archived"):
        await service.client.beta.sessions.archive(session.id)
    await asyncio.sleep(0.35)
    assert (await service.client.beta.sessions.archive(session.id)).status == "terminated"
