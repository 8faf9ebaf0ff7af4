"""`runs approve` and `runs say`: deciding what a run waits for, and telling its session something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.operating import Json, Url, ask
from hub.commands.runs import RunId
from hub.commands.terminal import USAGE, CommandError, as_json, emit, honest, say

if TYPE_CHECKING:
    from hub.approval_models import SaidView, VotedView
    from hub.records import Records


@honest
def approve_run(
    run_id: RunId,
    *,
    deny: Annotated[bool, typer.Option("--deny", help="Say no instead.")] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why; the agent is told where it is denied.")
    ] = None,
    approval: Annotated[
        str | None,
        typer.Option("--approval", metavar="CODE", help="Which one, where the run waits for several."),
    ] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Approve what a run waits for, exactly as `approvals show` tells it."""
    if reason is not None and not reason.strip():
        raise CommandError("--reason: leave it out, or say something", code=USAGE)

    async def question(records: Records) -> VotedView:
        from hub.approval_models import VoteRequest  # noqa: PLC0415 - --help must not pay for it
        from storage.approval_tables import ApprovalStatus  # noqa: PLC0415 - the same

        found = await records.approvals(status=ApprovalStatus.ASKED, run=run_id, limit=50)
        wanted = [one for one in found.items if approval in {None, one.code, one.id}]
        if not wanted:
            named = f" called {approval}" if approval else ""
            raise CommandError(
                f"the run {run_id} waits for no approval{named}; see `triggerhub approvals list`"
            )
        if len(wanted) > 1:
            codes = ", ".join(f"{one.code} ({one.name})" for one in wanted)
            raise CommandError(f"the run {run_id} waits for several: name one with --approval: {codes}")
        decision = "deny" if deny else "approve"
        # The content that was just listed, and no other.
        asked = VoteRequest(decision=decision, digest=wanted[0].digest, reason=reason)
        return await records.vote(wanted[0].id, asked)

    voted = ask(url, question)
    if json:
        emit(as_json(voted))
        return
    say(f"{voted.approval.code}: {voted.text}")


@honest
def say_to_run(
    run_id: RunId,
    text: Annotated[str, typer.Argument(metavar="TEXT", show_default=False)],
    *,
    url: Url = None,
    json: Json = False,
) -> None:
    """Tell the session of a run something, as a follow-up. After the run's end it begins another turn."""
    if not text.strip():
        raise CommandError("TEXT: say something", code=USAGE)

    async def question(records: Records) -> SaidView:
        from hub.approval_models import SayRequest  # noqa: PLC0415 - --help must not pay for it

        return await records.say(run_id, SayRequest(text=text))

    said = ask(url, question)
    if json:
        emit(as_json(said))
        return
    say(f"{said.run_id} tells it to the session; `triggerhub runs show {said.run_id}` shows what came of it")
