"""`approvals list` and `approvals show`; the vote itself is `runs approve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.operating import Json, Url, ask
from hub.commands.terminal import (
    USAGE,
    CommandError,
    as_json,
    brief_id,
    brief_moment,
    emit,
    honest,
    moment,
    say,
    table,
)

if TYPE_CHECKING:
    from hub.approval_models import ApprovalDetail, ApprovalList
    from hub.records import Records

app = typer.Typer(name="approvals", help="What people are asked to approve.", no_args_is_help=True)


@app.command("list")
@honest
def list_approvals(
    *,
    status: Annotated[
        str, typer.Option(metavar="STATUS", help="asked, approved, denied, expired, withdrawn, or all.")
    ] = "asked",
    run: Annotated[str | None, typer.Option("--run", metavar="RUN_ID", help="Only of this run.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most items, newest first.")] = 50,
    url: Url = None,
    json: Json = False,
) -> None:
    """List what waits for people; with --status also what was decided."""
    from router.problems import unknown  # noqa: PLC0415 - --help must not pay for it
    from storage.approval_tables import ApprovalStatus  # noqa: PLC0415 - the same

    known = [one.value for one in ApprovalStatus]
    if status != "all" and status not in known:
        raise CommandError(f"--status: {unknown('status', status, [*known, 'all'])}", code=USAGE)
    wanted = None if status == "all" else ApprovalStatus(status)

    async def question(records: Records) -> ApprovalList:
        return await records.approvals(status=wanted, run=run, limit=limit)

    found = ask(url, question).items
    if json:
        emit(as_json(list(found)))
        return
    table(
        ("code", "asked", "status", "votes", "expires", "run", "what"),
        [
            (
                one.code,
                brief_moment(one.asked_at),
                one.status,
                f"{one.votes}/{one.needed}",
                brief_moment(one.expires_at),
                brief_id(one.run_id),
                one.what,
            )
            for one in found
        ],
        states="status",
    )


@app.command("show")
@honest
def show_approval(
    given: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="The code, the id, or an unmistakable beginning of it.", show_default=False
        ),
    ],
    *,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show one: exactly what is approved, until when, and who said what."""

    async def question(records: Records) -> ApprovalDetail:
        return await records.approval(given)

    found = ask(url, question)
    if json:
        emit(as_json(found))
        return
    from hub.commands.runs import staged  # noqa: PLC0415 - the same words for the same thing

    fields = {
        "approval": found.id,
        "code": found.code,
        "what": found.what,
        "status": found.status,
        "votes": f"{found.votes} of {found.needed}",
        "decided by": found.decided_by,
        "reason": found.reason,
        "run": found.run_id,
        "asked at": found.question,
        "asked": moment(found.asked_at),
        "expires": moment(found.expires_at),
        "decided": moment(found.decided_at) if found.decided_at else None,
        "content": found.digest,
    }
    for name, value in fields.items():
        if value is not None:
            say(f"{name:<12}  {value}")
    say(staged(found.content))
    for one in found.said:
        word = "approved" if one.approve else "denied"
        say(f"{moment(one.at)}  {word} by {one.name or one.voter} ({one.voter}, {one.trust}), {one.evidence}")
