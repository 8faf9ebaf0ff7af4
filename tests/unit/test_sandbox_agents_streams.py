"""Streams of the emulator through the SDK: cuts, lost frames, heartbeats, previews, threads, limits."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import httpx2
import pytest
from agents_service import (
    LOOKUP,
    Service,
    drain,
    eventually,
    first,
    idles,
    of,
    said,
    served,
    types,
)
from anthropic.types.beta import BetaManagedAgentsSession

from sandbox.managed_agents.settings import Settings


async def test_cut_after_frames_and_graceful_end(service: Service) -> None:
    session = await service.session()
    await service.knob("streams", cut_after=2)
    seen: list[Any] = []
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Work [sandbox: scenario=happy]")
        with pytest.raises(httpx2.RemoteProtocolError):
            await drain(stream, seen)
    assert types(seen) == ["session.status_running", "session.thread_status_running"]
    await service.idle(session.id)
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        assert (await service.knob("streams/act", do="end", session_id=session.id)) == {"streams": 1}
        assert [event async for event in stream] == []


async def test_dropped_frames_stay_in_the_history(service: Service) -> None:
    session = await service.session()
    await service.knob("streams", drop=["agent.message"], times=5, session_id=session.id)
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Work [sandbox: scenario=happy]")
        seen = []
        async for event in stream:
            seen.append(event.type)
            if event.type == "session.status_idle":
                break
    assert "agent.message" not in seen
    assert said(await service.history(session.id))


async def test_heartbeats_keep_a_silent_stream_alive_and_half_open_does_not(service: Service) -> None:
    session = await service.session()
    patient = httpx2.Timeout(0.5, connect=5)
    async with await service.client.beta.sessions.events.stream(session.id, timeout=patient) as stream:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(first(stream))
            await asyncio.sleep(0.8)
            assert not reading.done(), "pings are invisible and keep the connection"
            await service.say(session.id, "Work [sandbox: scenario=happy]")
        assert reading.result().type == "session.status_running"
    await service.knob("streams", half_open=True)
    async with await service.client.beta.sessions.events.stream(session.id, timeout=patient) as stream:
        with pytest.raises(httpx2.ReadTimeout):
            await anext(aiter(stream))


async def test_the_sdks_own_runner_answers_through_a_broken_stream(service: Service) -> None:
    asked: list[str] = []

    @anthropic.beta_async_tool
    async def lookup_issue(key: str) -> str:
        """Look an issue up."""
        asked.append(key)
        return f"{key} is open"

    session = await service.session(tools=[LOOKUP])
    await service.knob("streams", cut_after=6, session_id=session.id)
    await service.say(session.id, "Look [sandbox: scenario=parallel calls=7 pace=0.05]")
    runner = service.client.beta.sessions.events.tool_runner(session.id, tools=[lookup_issue], max_idle=0.2)
    async with asyncio.timeout(20):
        calls = [call async for call in runner]
    assert len(calls) == len(asked) == 7
    events = await service.history(session.id)
    assert len(of(events, "user.custom_tool_result")) == 7
    assert not any(answer.is_error for answer in of(events, "user.custom_tool_result"))
    assert idles(events)[-1].stop_reason.type == "end_turn"


async def test_error_frame(service: Service) -> None:
    session = await service.session()
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.knob("streams/act", do="error", session_id=session.id)
        with pytest.raises(anthropic.APIStatusError) as failed:
            await anext(aiter(stream))
    assert (failed.value.status_code, failed.value.type) == (200, "overloaded_error")


async def test_a_stream_begins_at_now_and_leaves_no_trace(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "One [sandbox: scenario=happy]")
    await service.idle(session.id)
    async with await service.client.beta.sessions.events.stream(session.id) as stream:
        await service.say(session.id, "Two [sandbox: scenario=happy]")
        async for event in stream:
            if event.type == "user.message":
                assert event.content[0].text.startswith("Two")
                break
    inner = service.state.sessions[session.id]
    await eventually(lambda: not inner.history.subscribers)


async def test_previews_on_request(service: Service) -> None:
    session = await service.session()
    events = service.client.beta.sessions.events
    async with await events.stream(session.id, event_deltas=["agent.message"]) as stream:
        await service.say(session.id, "Hi [sandbox: scenario=happy say=Hello]")
        seen = []
        async for event in stream:
            seen.append(event)
            if event.type == "session.status_idle":
                break
    starts, deltas = of(seen, "event_start"), of(seen, "event_delta")
    message = of(seen, "agent.message")[0]
    assert [start.event.id for start in starts] == [message.id]
    assert "".join(delta.delta.content.text for delta in deltas) == message.content[0].text == "Hello"
    assert not of(await service.history(session.id), "event_start")


async def test_thread_routes(service: Service) -> None:
    session = await service.session()
    await service.say(session.id, "Hi [sandbox: scenario=happy]")
    expected = types(await service.idle(session.id))
    threads = service.client.beta.sessions.threads
    thread = (await threads.list(session.id)).data[0]
    assert thread.parent_thread_id is None
    found = [event async for event in threads.events.list(thread.id, session_id=session.id)]
    assert types(found) == expected
    async with await threads.events.stream(thread.id, session_id=session.id) as stream:
        await service.say(session.id, "Again [sandbox: scenario=happy]")
        assert (await anext(aiter(stream))).type == "session.status_running"
    with pytest.raises(anthropic.NotFoundError):
        await threads.retrieve("sthr_nowhere", session_id=session.id)


async def test_limits_answer_429_with_retry_after() -> None:
    async with served(Settings(pace=0, creates_per_minute=3, reads_per_minute=40)) as service:
        session = await service.session()
        with pytest.raises(anthropic.RateLimitError) as refused:
            await service.session(agent=session.agent.id, environment_id=session.environment_id)
        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 20
        assert refused.value.type == "rate_limit_error"
        read = [service.client.beta.sessions.retrieve(session.id) for _ in range(60)]
        answers = await asyncio.gather(*read, return_exceptions=True)
        assert 30 <= sum(isinstance(answer, BetaManagedAgentsSession) for answer in answers) <= 45
        assert {type(answer) for answer in answers} == {BetaManagedAgentsSession, anthropic.RateLimitError}
