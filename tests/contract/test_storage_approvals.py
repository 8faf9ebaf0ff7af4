"""Approvals on both databases: one question, one vote per person, one decision, and what follows from it at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from services.facts import body_of, make_dispatch, make_result
from sqlalchemy import Connection, select, update

from schemas.policy.approval import ApprovalPolicy, Person, approval_id, code_of, digest_of
from schemas.result import Receipt, Result
from storage import approvals, claims, outbox, questions, results, runs
from storage.approvals import PEOPLE, Approval, Vote, Voted
from storage.claims import Claim
from storage.database import Database
from storage.rows import table
from storage.tables import (
    ApprovalRow,
    ApprovalStatus,
    ApprovalVote,
    OutboxRow,
    ResultRow,
    ResultStatus,
    RunRow,
    RunStatus,
)

ADA = Person("github:5", "member", connection="acme-github", name="ada")
BOB = Person("github:7", "member", connection="acme-github", name="bob")
CAT = Person("github:6", "owner", connection="acme-github")
ASKER = Person("github:99", "owner", connection="acme-github")


def wanted_of(run: str, held: Result | None, policy: ApprovalPolicy, call: str = "toolu_1") -> Approval:
    body = held.model_dump_json().encode() if held is not None else b'{"tool":"bash"}'
    digest = digest_of(body)
    id_ = approval_id(run, call, digest)
    return Approval(
        id=id_,
        run_id=run,
        rule="answer",
        conversation="github:acme-github:acme/checkout#12",
        call=call,
        name="comment",
        result_id=None if held is None else held.id,
        digest=digest,
        body=body if held is None else None,
        code=code_of(id_),
        what="The agent wants to comment.",
        policy=policy,
        asker=ASKER.key,
        home="acme-github",
        status=ApprovalStatus.ASKED,
        needed=policy.count,
        asked_at=0.0,
        expires_at=0.0,
    )


async def asked(database: Database, run: str = "run_1", *, tool: bool = False, **policy: Any) -> Approval:
    held = None if tool else make_result(run)
    wanted = wanted_of(run, held, ApprovalPolicy.model_validate(policy))
    question = make_result(run, slot=f"approval-{wanted.code}").model_copy(update={"output": "ask_approval"})
    return await database.write(approvals.ask, wanted, result=held, question=question)


async def vote(
    database: Database,
    found: Approval,
    person: Person,
    *,
    approve: bool = True,
    digest: str | None = None,
    reason: str | None = None,
) -> Voted:
    voted = await database.write(
        approvals.vote, found.id, person, approve=approve, digest=digest, reason=reason, evidence="evt_1"
    )
    assert voted is not None
    return voted


async def status_of(database: Database, found: Approval) -> ApprovalStatus:
    one = await database.read(approvals.approval, found.id)
    assert one is not None
    return one.status


async def result_row(database: Database, result_id: str) -> dict[str, Any]:
    rows = table(ResultRow)
    return await database.read(
        lambda c: dict(c.execute(select(rows).where(rows.c.id == result_id)).mappings().one())
    )


async def announced(database: Database) -> list[str]:
    rows = table(OutboxRow)
    return sorted(await database.read(lambda c: list(c.execute(select(rows.c.ref)).scalars())))


async def past(database: Database, found: Approval) -> None:
    """As if its time were over."""
    rows = table(ApprovalRow)
    await database.write(
        lambda c: c.execute(update(rows).where(rows.c.id == found.id).values(expires_at=1.0)).rowcount
    )


async def test_asking_twice_is_one_question_and_nothing_held_is_announced(
    database: Database, other_database: Database
) -> None:
    found = await asyncio.gather(*(asked(where) for where in [database, other_database] * 4))
    assert len({one.id for one in found}) == 1
    assert (await result_row(database, "run_1:comment:1"))["status"] == ResultStatus.HELD
    assert await announced(database) == [f"run_1:{found[0].ask}"]


async def test_what_is_held_is_posted_by_nobody_even_where_a_record_speaks_of_it(database: Database) -> None:
    await asked(database)
    held = make_result("run_1")
    await database.write(results.take_result, held, held.model_dump_json().encode())
    assert (await result_row(database, held.id))["status"] == ResultStatus.HELD
    claims = await database.write(results.claim_results, owner="p1", limit=10, lease=60.0)
    assert [claim.id for claim in claims] == []


async def test_a_yes_frees_exactly_what_was_asked_about(database: Database) -> None:
    found = await asked(database)
    before = (await result_row(database, "run_1:comment:1"))["body"]
    voted = await vote(database, found, ADA, digest=found.digest[:12])
    assert (voted.vote, voted.votes) == (Vote.DECIDED, 1)
    assert voted.approval.decided_by == "ada (github:5)"
    row = await result_row(database, "run_1:comment:1")
    assert (row["status"], row["body"]) == (ResultStatus.PENDING, before)
    assert digest_of(row["body"]) == found.digest
    assert "run_1:comment:1" in await announced(database)


async def test_a_no_refuses_it_with_the_person_and_the_reason(database: Database) -> None:
    found = await asked(database, count=3)
    await vote(database, found, ADA)
    voted = await vote(database, found, BOB, approve=False, reason="not on a Friday")
    assert voted.vote is Vote.DECIDED
    row = await result_row(database, "run_1:comment:1")
    assert (row["status"], row["clause"]) == (ResultStatus.REFUSED, "approval")
    assert row["error"] == "denied by bob (github:7): not on a Friday"
    assert await announced(database) == [f"run_1:{found.ask}"]


async def test_clicks_at_the_same_time_are_one_vote_and_one_decision(
    database: Database, other_database: Database
) -> None:
    found = await asked(database, count=2)
    twice = await asyncio.gather(*(vote(where, found, ADA) for where in [database, other_database] * 4))
    assert sorted(one.vote for one in twice) == ["counted", *["repeated"] * 7]
    assert await status_of(database, found) is ApprovalStatus.ASKED
    others = await asyncio.gather(
        vote(database, found, BOB), vote(other_database, found, CAT), vote(other_database, found, BOB)
    )
    assert [one.vote for one in others].count(Vote.DECIDED) == 1
    assert (await announced(database)).count("run_1:comment:1") == 1
    rows = table(ApprovalVote)
    voters = await database.read(lambda c: list(c.execute(select(rows.c.voter)).scalars()))
    assert len(voters) == len(set(voters))


async def test_whoever_said_yes_may_still_say_no(database: Database) -> None:
    found = await asked(database, count=2)
    await vote(database, found, ADA)
    voted = await vote(database, found, ADA, approve=False)
    assert (voted.vote, voted.votes) == (Vote.DECIDED, 0)
    assert await status_of(database, found) is ApprovalStatus.DENIED


@pytest.mark.parametrize("approve", [True, False])
async def test_people_whom_the_rule_does_not_name_change_nothing(
    database: Database, *, approve: bool
) -> None:
    found = await asked(database, by="owner")
    for person in (ADA, ASKER, Person("github:11", "outsider"), Person("github:8", "bot")):
        voted = await vote(database, found, person, approve=approve)
        assert voted.vote is Vote.REFUSED
        assert voted.text
    assert await status_of(database, found) is ApprovalStatus.ASKED
    assert await database.read(approvals.votes_of, found.id) == []


async def test_the_asker_may_where_the_rule_says_so(database: Database) -> None:
    found = await asked(database, not_asker=False)
    assert (await vote(database, found, ASKER)).vote is Vote.DECIDED


@pytest.mark.parametrize("digest", ["0" * 64, "0" * 12, "", "abc"])
async def test_another_content_is_not_approved(database: Database, digest: str) -> None:
    found = await asked(database)
    voted = await vote(database, found, ADA, digest=digest)
    assert (voted.vote, voted.text) == (Vote.REFUSED, approvals.CHANGED)
    assert await status_of(database, found) is ApprovalStatus.ASKED


async def test_the_beginning_of_a_hash_must_be_long_enough(database: Database) -> None:
    found = await asked(database)
    assert (await vote(database, found, ADA, digest=found.digest[:11])).vote is Vote.REFUSED
    assert (await vote(database, found, ADA, digest=found.digest[:12])).vote is Vote.DECIDED


async def test_a_stored_content_that_was_changed_afterwards_cannot_be_approved(database: Database) -> None:
    found = await asked(database)
    rows = table(ResultRow)
    changed = make_result("run_1").model_copy(update={"arguments": {"text": "Something else."}})
    await database.write(
        lambda c: (
            c.execute(
                update(rows)
                .where(rows.c.id == "run_1:comment:1")
                .values(body=changed.model_dump_json().encode())
            ).rowcount
        )
    )
    voted = await vote(database, found, ADA, digest=found.digest)
    assert (voted.vote, voted.text) == (Vote.REFUSED, approvals.CHANGED)
    assert (await result_row(database, "run_1:comment:1"))["status"] == ResultStatus.HELD


async def test_what_is_decided_stays_decided(database: Database) -> None:
    found = await asked(database)
    await vote(database, found, ADA)
    again = await vote(database, found, BOB, approve=False)
    assert (again.vote, again.text) == (Vote.REFUSED, "it is approved already")
    assert (await result_row(database, "run_1:comment:1"))["status"] == ResultStatus.PENDING
    assert await database.write(approvals.expire) == 0


async def test_a_vote_on_nothing_is_told_apart(database: Database) -> None:
    none = await database.write(
        approvals.vote, "apr_none", ADA, approve=True, digest=None, reason=None, evidence="evt_1"
    )
    assert none is None


async def test_after_its_time_a_yes_comes_too_late(database: Database) -> None:
    found = await asked(database)
    await past(database, found)
    voted = await vote(database, found, ADA)
    assert (voted.vote, voted.text) == (Vote.REFUSED, "it is expired already")
    row = await result_row(database, "run_1:comment:1")
    assert row["status"] == ResultStatus.REFUSED
    assert row["error"].startswith("nobody approved it in time")


async def test_what_is_over_is_closed_by_one_of_those_who_look(
    database: Database, other_database: Database
) -> None:
    found = await asked(database)
    assert await database.write(approvals.expire) == 0
    await past(database, found)
    closed = await asyncio.gather(database.write(approvals.expire), other_database.write(approvals.expire))
    assert sorted(closed) == [0, 1]
    assert await status_of(database, found) is ApprovalStatus.EXPIRED


async def test_the_end_of_a_run_takes_back_what_it_asked_for(database: Database) -> None:
    found, other = await asked(database), await asked(database, "run_2")
    assert await database.write(approvals.withdraw, "run_1", reason="the run ended") == 1
    assert await status_of(database, found) is ApprovalStatus.WITHDRAWN
    assert await status_of(database, other) is ApprovalStatus.ASKED
    assert (await vote(database, found, ADA)).vote is Vote.REFUSED
    assert (await result_row(database, "run_1:comment:1"))["status"] == ResultStatus.REFUSED


# ------------------------------------------------------------------------------------------------ the run that waits


async def running(database: Database, number: int = 1) -> Claim:
    dispatch = make_dispatch(number)
    await database.write(lambda c: runs.take_dispatch(c, dispatch, body_of(dispatch)))
    [claim] = await database.write(claims.claim_runs, owner="r1", limit=1, lease=60.0)

    def go(connection: Connection) -> None:
        assert runs.adopt_session(connection, claim, "sesn_1")
        assert runs.move_run(connection, claim, RunStatus.SENDING, RunStatus.RUNNING)

    await database.write(go)
    return claim


async def run_row(database: Database, run_id: str) -> dict[str, Any]:
    rows = table(RunRow)
    return await database.read(
        lambda c: dict(c.execute(select(rows).where(rows.c.id == run_id)).mappings().one())
    )


async def test_a_run_that_waits_for_people_is_due_when_they_have_decided(database: Database) -> None:
    claim = await running(database)
    found = await asked(database, claim.run_id, tool=True, expires="2h")
    assert await database.write(approvals.wait_for_people, claim, [found.id])
    row = await run_row(database, claim.run_id)
    assert (row["status"], row["lease_owner"], row["waits_for"]) == (RunStatus.WAITING, None, PEOPLE)
    assert row["due_at"] >= found.expires_at
    assert await database.write(claims.claim_runs, owner="r2", limit=1, lease=60.0) == []
    await vote(database, found, ADA)
    [again] = await database.write(claims.claim_runs, owner="r2", limit=1, lease=60.0)
    assert (again.run_id, again.status) == (claim.run_id, RunStatus.WAITING)


async def test_a_decision_between_looking_and_waiting_is_not_lost(database: Database) -> None:
    claim = await running(database)
    found = await asked(database, claim.run_id, tool=True)
    await vote(database, found, ADA, approve=False)
    assert await database.write(approvals.wait_for_people, claim, [found.id])
    [again] = await database.write(claims.claim_runs, owner="r2", limit=1, lease=60.0)
    assert again.run_id == claim.run_id


async def test_votes_and_waiting_at_the_same_time_never_leave_a_run_asleep(
    database: Database, other_database: Database
) -> None:
    claim = await running(database)
    found = await asked(database, claim.run_id, tool=True)
    await asyncio.gather(
        database.write(approvals.wait_for_people, claim, [found.id]), vote(other_database, found, ADA)
    )
    [again] = await database.write(claims.claim_runs, owner="r2", limit=1, lease=60.0)
    assert again.run_id == claim.run_id


async def test_whoever_lost_the_run_cannot_put_it_to_sleep(database: Database) -> None:
    claim = await running(database)
    found = await asked(database, claim.run_id, tool=True)
    assert not await database.write(
        approvals.wait_for_people, replace(claim, fence=claim.fence + 1), [found.id]
    )


# ---------------------------------------------------------------------------------------------- the posted question


async def post_question(database: Database, found: Approval) -> None:
    question = make_result(found.run_id, slot=str(found.ask)).model_copy(update={"output": "ask_approval"})
    await database.write(results.take_result, question, question.model_dump_json().encode())
    [claim] = await database.write(results.claim_results, owner="p1", limit=10, lease=60.0)
    assert await database.write(results.keep_receipt, claim, Receipt(artefact="comment:1"))


async def test_a_question_is_changed_when_it_is_posted_and_one_change_at_a_time(
    database: Database, other_database: Database
) -> None:
    found = await asked(database, count=2)
    await vote(database, found, ADA)
    assert await database.read(questions.to_tell) == [], "it is on its way still"
    await post_question(database, found)
    [told] = await database.read(questions.to_tell)
    change = make_result("run_1", slot=f"{found.ask}.1")
    noted = await asyncio.gather(
        *(where.write(questions.note_told, told, change) for where in (database, other_database))
    )
    assert sorted(noted) == [False, True]
    await vote(database, found, BOB)
    assert await database.read(questions.to_tell) == [], "the change before is on its way still"
    assert change.id in await announced(database)
    await database.write(outbox.settle, "triggerhub.results", change.id)
    await database.write(results.take_result, change, change.model_dump_json().encode())
    claims = await database.write(results.claim_results, owner="p1", limit=10, lease=60.0)
    [mine] = [claim for claim in claims if claim.id == change.id]
    assert await database.write(results.keep_receipt, mine, Receipt())
    [told] = await database.read(questions.to_tell)
    assert (told.status, told.told) == (ApprovalStatus.APPROVED, 1)
