"""Commands in the router: done with the event's own transaction, once, by people whom the rule lets in, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from router_samples import event, rule, rule_set
from services.facts import make_delivery
from sqlalchemy import select, update

from hub.broker import Taken
from router.subscriber import Router, Rules
from schemas.event import Actor, Event
from schemas.policy.approval import ApprovalPolicy, approval_id, code_of, digest_of
from storage import approvals, queries, runs
from storage.approvals import Approval
from storage.conversations import run_id_of
from storage.database import Database
from storage.deliveries import store_deliveries
from storage.rows import table
from storage.tables import ApprovalStatus, ConversationRow, DispatchRow, ResultRow, RunRow

BUGS = rule(name="bugs", match={"source": "github", "kind": "issue.opened"}, who=["member", "owner"])
TALK = rule(name="talk", match={"source": "github", "kind": "comment.created"}, who=["member", "owner"])


class Desk:
    """A router over a database, with an issue that the rule `bugs` works on."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.announced: list[Any] = []
        self._router = Router(Rules(rule_set(BUGS, TALK)), database, announce=self.announced.extend)
        self._number = 0
        self.run = ""

    async def take(self, found: Event, *, delivered: bool = True) -> list[tuple[str, str, str | None, str]]:
        """Route it; the verdicts."""
        if delivered:
            incoming = make_delivery(found.id, found)
            await self.database.write(store_deliveries, [incoming])
        body = found.model_dump_json().encode()
        await self._router.take([Taken(Event.model_validate_json(body), body)])
        rows = await self.database.read(queries.verdict_rows, found.id)
        return [(row["rule"], row["outcome"], row["clause"], row["reason"]) for row in rows]

    def said(
        self,
        text: str,
        *,
        kind: str = "comment.created",
        actor: str = "8",
        trust: str = "member",
        **data: Any,
    ) -> Event:
        self._number += 1
        first = event()
        person = Actor.model_validate({"id": actor, "login": f"p{actor}", "trust": trust})
        changed = first.data.model_copy(update={"kind": kind, "text": text, "actor": person, **data})
        return first.model_copy(
            update={"id": f"evt_said_{self._number}", "type": f"github.{kind}", "data": changed}
        )

    async def open(self) -> None:
        """The issue is opened, and its run waits for a runner."""
        assert [one[:2] for one in await self.take(event())] == [("bugs", "matched")]
        (row,) = await self.rows(DispatchRow)
        self.run = run_id_of(row["id"])
        dispatch = self.announced[0][1]
        body = dispatch.model_dump_json().encode()
        await self.database.write(lambda connection: runs.take_dispatch(connection, dispatch, body))

    async def ask(self, **policy: Any) -> Approval:
        """The run waits for people."""
        written = ApprovalPolicy.model_validate(policy)
        body = b'{"tool":"bash"}'
        id_ = approval_id(self.run, "sevt_1", digest_of(body))
        (row,) = await self.rows(RunRow, id=self.run)
        wanted = Approval(
            id=id_,
            run_id=self.run,
            rule="bugs",
            conversation=row["conversation"],
            call="sevt_1",
            name="bash",
            result_id=None,
            digest=digest_of(body),
            code=code_of(id_),
            what="The agent wants to use bash.",
            policy=written,
            home="acme-github",
            asker="github:7",
            status=ApprovalStatus.ASKED,
            needed=written.count,
            asked_at=0.0,
            expires_at=0.0,
            body=body,
        )
        return await self.database.write(approvals.ask, wanted, result=None, question=None)

    async def rows(self, model: Any, **equal: Any) -> list[dict[str, Any]]:
        rows = table(model)
        query = select(rows).where(*(rows.c[name] == value for name, value in equal.items()))
        return await self.database.read(
            lambda connection: [dict(row) for row in connection.execute(query).mappings()]
        )

    async def status(self) -> str:
        (row,) = await self.rows(RunRow, id=self.run)
        return str(row["status"])

    async def answers(self) -> list[str]:
        """What is to be said in the thread."""
        made = [one for message, one in self.announced if message.topic.endswith("results")]
        assert len(made) == len(await self.rows(ResultRow))
        return [str(one.arguments["text"]) for one in made]


@pytest.fixture
async def desk(database: Database) -> Desk:
    made = Desk(database)
    await made.open()
    return made


async def test_a_command_reaches_no_rule_and_no_session(desk: Desk) -> None:
    (verdict,) = await desk.take(desk.said("/triggerhub status"))
    assert verdict == ("bugs", "suppressed", "command", "told how it stands")
    assert len(await desk.rows(DispatchRow)) == 1
    (answer,) = await desk.answers()
    assert answer.startswith(f"Run `{desk.run}` is queued since ")


async def test_the_same_words_to_the_agent_are_a_follow_up(desk: Desk) -> None:
    found = {one[0]: one[1:3] for one in await desk.take(desk.said("What is the status?"))}
    assert found["bugs"] == ("matched", "follow_up")


async def test_stop_ends_what_is_queued(desk: Desk) -> None:
    await desk.take(desk.said("/triggerhub stop"))
    assert await desk.status() == "cancelled"
    (verdict,) = await desk.take(desk.said("/triggerhub stop"))
    assert verdict[3] == "nothing was at work"


@pytest.mark.parametrize("trust", ["outsider", "collaborator", "bot", "unknown", "system"])
async def test_whom_the_rule_does_not_let_in_stops_nothing_and_is_told_once(desk: Desk, trust: str) -> None:
    for _ in range(3):
        (verdict,) = await desk.take(desk.said("/triggerhub stop", trust=trust))
        assert verdict[3] == f"the rule takes no command from trust '{trust}'"
    assert await desk.status() == "queued"
    assert len(await desk.answers()) == 1
    await desk.take(desk.said("/triggerhub stop", actor="9", trust=trust))
    assert len(await desk.answers()) == 2, "another person is told too"


async def test_somebody_without_an_identifier_commands_nothing(desk: Desk) -> None:
    nobody = desk.said("/triggerhub stop")
    actor = nobody.data.actor.model_copy(update={"id": None})
    nobody = nobody.model_copy(update={"data": nobody.data.model_copy(update={"actor": actor})})
    assert (await desk.take(nobody))[0][3] == "nobody is known to have said it"
    ourselves = desk.said("/triggerhub stop")
    actor = ourselves.data.actor.model_copy(update={"is_self": True})
    ourselves = ourselves.model_copy(update={"data": ourselves.data.model_copy(update={"actor": actor})})
    await desk.take(ourselves)
    assert await desk.status() == "queued"
    assert await desk.answers() == []


@pytest.mark.parametrize("text", ["/triggerhub stop", "/triggerhub approve {code}"])
async def test_an_event_of_another_program_proves_nobody(desk: Desk, text: str) -> None:
    found = await desk.ask()
    forged = desk.said(text.format(code=found.code), actor="1", trust="owner")
    (verdict,) = await desk.take(forged, delivered=False)
    assert verdict[2] == "command"
    assert "another program proves nobody" in verdict[3]
    assert await desk.status() == "queued"
    one = await desk.database.read(approvals.approval, found.id)
    assert one is not None
    assert one.is_open


async def test_a_message_that_comes_twice_is_one_vote_and_one_answer(desk: Desk) -> None:
    found = await desk.ask(count=2)
    vote = desk.said(f"/triggerhub approve {found.code}")
    await desk.take(vote)
    await desk.take(vote)
    assert await desk.answers() == [f"`{found.code}`: 1 of 2 have approved."]
    votes = await desk.database.read(approvals.votes_of, found.id)
    assert [(one["voter"], one["evidence"]) for one in votes] == [("github:8", vote.id)]


async def test_a_vote_names_whom_it_came_from_and_the_asker_is_refused(desk: Desk) -> None:
    found = await desk.ask()
    (own,) = await desk.take(desk.said(f"/triggerhub approve {found.code}", actor="7"))
    assert own[3] == "p7 (github:7): whoever asked for it may not approve it"
    (no,) = await desk.take(desk.said(f"/triggerhub deny {found.code} too risky"))
    assert no[3] == "p8 (github:8): denied by p8 (github:8): too risky"
    one = await desk.database.read(approvals.approval, found.id)
    assert one is not None
    assert one.status is ApprovalStatus.DENIED


@pytest.mark.parametrize(("taint", "goes_on"), [("public", False), ("private", True)])
async def test_a_reason_given_in_private_is_not_told_to_a_session_that_speaks_in_public(
    desk: Desk,
    taint: str,
    goes_on: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The denial counts all the same, and who denied learns what became of the reason."""
    rows = table(ConversationRow)
    await desk.database.write(lambda c: c.execute(update(rows).values(taint=taint)).rowcount)
    found = await desk.ask()
    await desk.take(desk.said(f"/triggerhub deny {found.code} Hooli leaves us", visibility="private"))
    one = await desk.database.read(approvals.approval, found.id)
    assert one is not None
    assert one.status is ApprovalStatus.DENIED
    assert one.reason == (
        "denied by p8 (github:8): Hooli leaves us" if goes_on else "denied by p8 (github:8)"
    )
    (answer,) = await desk.answers()
    assert ("was not passed on" in answer) is not goes_on


@pytest.mark.parametrize("value", ["{id}", "{id}:", "{id}:000000000000", "apr_other:{digest}", ""])
async def test_a_button_without_the_content_it_stood_for_counts_for_nothing(desk: Desk, value: str) -> None:
    found = await desk.ask()
    written = value.format(id=found.id, digest=found.digest[:12])
    changed = {"action": {"to": "triggerhub.approve"}, "value": {"to": written}}
    await desk.take(desk.said("Approve", kind="action.clicked", changed=changed))
    one = await desk.database.read(approvals.approval, found.id)
    assert one is not None
    assert one.is_open
    changed = {"action": {"to": "triggerhub.approve"}, "value": {"to": f"{found.id}:{found.digest[:12]}"}}
    await desk.take(desk.said("Approve", kind="action.clicked", changed=changed))
    one = await desk.database.read(approvals.approval, found.id)
    assert one is not None
    assert one.status is ApprovalStatus.APPROVED


async def test_an_edit_into_a_command_is_none(desk: Desk) -> None:
    found = await desk.ask()
    (verdict,) = await desk.take(desk.said(f"/triggerhub approve {found.code}", kind="comment.edited"))
    assert verdict[2:] == ("command", "a command in an edited comment does not count")
    one = await desk.database.read(approvals.approval, found.id)
    assert one is not None
    assert one.is_open


async def test_retry_is_for_what_did_not_work_out(desk: Desk) -> None:
    (busy,) = await desk.take(desk.said("/triggerhub retry"))
    assert busy[3] == "something is at work"
    await desk.take(desk.said("/triggerhub stop"))
    again = desk.said("/triggerhub retry")
    (verdict,) = await desk.take(again)
    assert verdict[:3] == ("bugs", "matched", "command")
    (row,) = await desk.rows(DispatchRow, event_id=again.id)
    await desk.take(again)
    assert len(await desk.rows(DispatchRow, event_id=again.id)) == 1
    dispatch = next(one for message, one in desk.announced if one.id == row["id"])
    assert dispatch.follow_up
    assert dispatch.event.id == "evt_0001", "what it was to do, and not the command"


async def test_a_run_is_named_where_it_belongs(desk: Desk) -> None:
    (verdict,) = await desk.take(desk.said(f"/triggerhub status {desk.run}"))
    assert verdict[3] == "told how it stands"
    elsewhere = desk.said(f"/triggerhub stop {desk.run}")
    subject = elsewhere.data.subject.model_copy(update={"key": "acme/checkout#99"})
    data = elsewhere.data.model_copy(update={"subject": subject})
    elsewhere = elsewhere.model_copy(update={"subject": subject.key, "data": data})
    (verdict,) = await desk.take(elsewhere)
    assert verdict[:3] == ("*", "suppressed", "command")
    assert await desk.status() == "queued"


async def test_where_nothing_of_ours_is_nobody_is_answered(desk: Desk) -> None:
    lost = desk.said("/triggerhub status")
    subject = lost.data.subject.model_copy(update={"key": "acme/checkout#99"})
    lost = lost.model_copy(
        update={"subject": subject.key, "data": lost.data.model_copy(update={"subject": subject})}
    )
    assert (await desk.take(lost))[0][:3] == ("*", "suppressed", "command")
    assert await desk.answers() == []
