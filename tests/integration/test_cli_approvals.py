"""`approvals`, `runs approve` and `runs say`: the same from the database and through a running hub's API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import hub_story as story
import pytest
from api_service import TOKEN, served
from command_line import Ran, triggerhub
from services.facts import make_result

from schemas.policy.approval import ApprovalPolicy, approval_id, code_of, digest_of
from storage import approvals, queries
from storage.approvals import Approval
from storage.conversations import run_id_of
from storage.database import Database
from storage.tables import ApprovalStatus

RUN = story.QUEUED_RUN


class Operator:
    """Commands against a database, or through its API."""

    def __init__(self, folder: Path, database_url: str, url: str) -> None:
        self._folder = folder
        self.url = url
        self._stored = {"TRIGGERHUB_DATABASE_URL": database_url}
        self._remote = {"TRIGGERHUB_URL": url, "TRIGGERHUB_API_TOKEN": TOKEN}

    async def run(self, *arguments: str, remote: bool) -> Ran:
        env = self._remote if remote else self._stored
        ran = await asyncio.to_thread(triggerhub, *arguments, folder=self._folder, env=env)
        assert ran.calm
        return ran

    async def both(self, *arguments: str) -> Ran:
        stored, remote = await asyncio.gather(
            self.run(*arguments, remote=False), self.run(*arguments, remote=True)
        )
        assert stored == remote
        return stored


@pytest.fixture
async def operator(database: Database, database_url: str, tmp_path: Path) -> AsyncIterator[Operator]:
    await database.write(story.tell)
    async with served(database) as url:
        yield Operator(tmp_path, database_url, url)


async def hold(database: Database, slot: str = "say:1", *, text: str = "Shall I?", **policy: Any) -> Approval:
    held = make_result(RUN, slot=slot).model_copy(update={"arguments": {"text": text}})
    digest = digest_of(held.model_dump_json().encode())
    id_ = approval_id(RUN, slot, digest)
    written = ApprovalPolicy.model_validate(policy)
    wanted = Approval(
        id=id_,
        run_id=RUN,
        rule="answer",
        conversation=held.conversation,
        call=slot,
        name="say",
        result_id=held.id,
        digest=digest,
        code=code_of(id_),
        what="The agent wants to comment.",
        policy=written,
        asker="github:5",
        home="acme-github",
        status=ApprovalStatus.ASKED,
        needed=written.count,
        asked_at=0.0,
        expires_at=0.0,
    )
    return await database.write(approvals.ask, wanted, result=held, question=None)


async def status_of(database: Database, found: Approval) -> str:
    one = await database.read(approvals.approval, found.id)
    assert one is not None
    return one.status


async def test_what_waits_is_listed_and_shown_exactly(operator: Operator, database: Database) -> None:
    assert "code" not in (await operator.both("approvals", "list")).out
    found = await hold(database, count=2)
    listed = await operator.both("approvals", "list")
    assert found.code in listed.out
    assert "0/2" in listed.out
    assert (await operator.both("approvals", "list", "--status", "denied", "--json")).json() == []
    shown = await operator.both("approvals", "show", found.code)
    assert "Shall I?" in shown.out
    assert found.digest in shown.out
    detail = (await operator.both("approvals", "show", found.id[:12], "--json")).json()
    assert detail["content"]["text"] == "Shall I?"
    assert (detail["digest"], detail["said"]) == (found.digest, [])
    wrong = await operator.both("approvals", "list", "--status", "asking")
    assert (wrong.code, "asked" in wrong.err) == (2, True)
    run = await operator.both("runs", "show", RUN)
    assert f"approval of {found.code}: triggerhub approvals show CODE" in run.out
    assert (await operator.both("runs", "show", RUN, "--json")).json()["waits_for"] == [found.code]
    assert (detail["question"], "asked at" in shown.out) == (None, False)
    none = await operator.both("approvals", "show", "apr_none")
    assert (none.code, "triggerhub approvals list" in none.err) == (1, True)


async def test_a_run_is_approved(operator: Operator, database: Database, *, remote: bool) -> None:
    found = await hold(database)
    ran = await operator.run("runs", "approve", RUN, remote=remote)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"{found.code}: approved by ")
    assert await status_of(database, found) == "approved"
    late = await operator.run("runs", "approve", RUN, remote=remote)
    assert (late.code, "waits for no approval" in late.err) == (1, True)


async def test_a_run_is_denied_with_a_reason(operator: Operator, database: Database, *, remote: bool) -> None:
    found = await hold(database)
    ran = await operator.run("runs", "approve", RUN, "--deny", "--reason", "not today", remote=remote)
    assert ran.code == 0, ran.err
    one = await database.read(approvals.approval, found.id)
    assert one is not None
    assert (one.status, str(one.reason).endswith(": not today")) == ("denied", True)
    shown = await operator.both("approvals", "show", found.code)
    assert "denied by operator:" in shown.out


async def test_of_several_one_is_named(operator: Operator, database: Database) -> None:
    first, second = await hold(database), await hold(database, "say:2", text="And this?")
    ran = await operator.both("runs", "approve", RUN)
    assert ran.code == 1
    assert first.code in ran.err
    assert second.code in ran.err
    assert (await operator.run("runs", "approve", RUN, "--approval", second.code, remote=True)).code == 0
    assert (await status_of(database, first), await status_of(database, second)) == ("asked", "approved")


async def test_an_operator_approves_only_where_the_rule_says_so(
    operator: Operator, database: Database
) -> None:
    found = await hold(database, by="owner")
    ran = await operator.both("runs", "approve", RUN)
    assert ran.code == 1
    assert "the rule lets owner approve, and not trust 'operator'" in ran.err
    assert await status_of(database, found) == "asked"


async def test_the_api_binds_a_vote_to_the_content_that_was_looked_at(
    operator: Operator, database: Database
) -> None:
    found = await hold(database)
    async with httpx.AsyncClient(
        base_url=f"{operator.url}/api/v1", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as client:
        other = await client.post(f"/approvals/{found.id}", json={"decision": "approve", "digest": "0" * 64})
        assert other.status_code == 409
        assert "not what was asked about" in other.json()["error"]
        assert await status_of(database, found) == "asked"
        bare = await client.post(f"/approvals/{found.id}", json={"decision": "perhaps"})
        assert bare.status_code == 422
        unknown = await client.post("/approvals/apr_none", json={"decision": "approve"})
        assert unknown.status_code == 404
        done = await client.post(
            f"/approvals/{found.code}", json={"decision": "approve", "digest": found.digest}
        )
        assert (done.status_code, done.json()["vote"]) == (200, "decided")
        again = await client.post(f"/approvals/{found.code}", json={"decision": "deny"})
        assert again.status_code == 409
    async with httpx.AsyncClient(base_url=f"{operator.url}/api/v1") as stranger:
        refused = await stranger.post(f"/approvals/{found.code}", json={"decision": "approve"})
        assert refused.status_code == 401


async def test_words_to_a_session_are_a_follow_up_of_its_conversation(
    operator: Operator, database: Database, *, remote: bool
) -> None:
    ran = await operator.run("runs", "say", RUN, "Mind the tests.", "--json", remote=remote)
    assert ran.code == 0, ran.err
    said = ran.json()
    assert said["run_id"] != RUN
    (verdict,) = await database.read(queries.verdict_rows, said["event_id"])
    assert (verdict["outcome"], verdict["clause"]) == ("matched", "follow_up")
    listed = await operator.both("events", "show", said["event_id"], "--json")
    assert listed.json()["subject"] == "acme/checkout#7"
    assert said["run_id"].startswith("run_")
    assert said["run_id"] != run_id_of("dsp_none")
    empty = await operator.run("runs", "say", RUN, "  ", remote=remote)
    assert empty.code == 2
    gone = await operator.run("runs", "say", "run_zz", "Hello", remote=remote)
    assert gone.code == 1
