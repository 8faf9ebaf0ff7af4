"""`runs list`, `runs show`, `runs cancel` and `runs budget`. `runs approve` and `runs say` are in `steering`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.commands.operating import Json, Limit, OfConnection, OfSubject, Url, ask, gather
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
    from hub.api_models import BudgetView, CancelView, GraphView, LinkView, ResultView, RunDetail, RunSummary
    from hub.presence_views import PresenceView
    from hub.records import Records

app = typer.Typer(name="runs", help="What the rules started.", no_args_is_help=True)
RunId = Annotated[
    str,
    typer.Argument(metavar="RUN_ID", help="The id, or an unmistakable beginning of it.", show_default=False),
]


@app.command("list")
@honest
def list_runs(
    *,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only these: queued, running, succeeded, failed, …")
    ] = None,
    rule: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this rule.")] = None,
    connection: OfConnection = None,
    subject: OfSubject = None,
    limit: Limit = 20,
    url: Url = None,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    from hub.run_views import RunFilter  # noqa: PLC0415 - --help must not pay for it

    _check_status(status)
    wanted = RunFilter(status=status, rule=rule, connection=connection, subject=subject)

    async def question(records: Records) -> list[RunSummary]:
        return await gather(lambda size, at: records.runs(wanted, limit=size, cursor=at), limit)

    found = ask(url, question)
    if json:
        emit(as_json(found))
        return
    table(
        ("run", "made", "rule", "status", "cost", "conversation", "session"),
        [
            (
                brief_id(one.id),
                brief_moment(one.created_at),
                one.rule,
                one.status,
                cost(one),
                one.conversation,
                brief_id(one.session_id),
            )
            for one in found
        ],
        states="status",
    )


@app.command("show")
@honest
def show_run(run_id: RunId, *, url: Url = None, json: Json = False) -> None:
    """Show one run: its state, session, cost, and every result with its address or error."""

    async def question(records: Records) -> RunDetail:
        return await records.run(run_id)

    found = ask(url, question)
    if json:
        emit(as_json(found))
        return
    fields: dict[str, Any] = {
        "run": found.id,
        "status": found.status,
        "error": found.error,
        "stopped by": found.stop_reason,
        "rule": found.rule,
        "team": found.team,
        "agent": f"{found.agent} (version {found.agent_version})" if found.agent_version else found.agent,
        "event": found.event_id,
        "came of": f"{found.root_event_id}, {found.depth} deep" if found.depth else None,
        "follow-up": found.follow_up,
        "held": held(found),
        "waits for": waits(found.waits_for),
        "broken": broken(found.broken_credentials),
        "told with": found.joined_to,
        "also told": ", ".join(found.told) or None,
        "conversation": found.conversation,
        "session": found.session_id,
        "outcome": judged(found.evaluation) if found.evaluation else None,
        "cost": cost(found),
        "made": moment(found.created_at),
        "started": moment(found.started_at),
        "deadline": moment(found.deadline_at),
        "ended": moment(found.ended_at),
        "attempts": found.attempts or None,
    }
    for name, value in fields.items():
        if value is not None and value != "-":
            say(f"{name:<12}  {value}")
    say()
    if not found.results:
        say("no results")
    for result in found.results:
        say(told(result))
        if result.shown is not None:
            say(staged(result.shown))
    for sign in found.presence:
        say(shows(sign))
    if found.graph is not None:
        for line in drawn(found.graph):
            say(line)
    if found.final_text:
        say("\nthe agent's last message:\n" + found.final_text)


def waits(waits_for: Sequence[str]) -> str | None:
    """For what a run waits, and what lets it go on."""
    if not waits_for:
        return None
    if waits_for == ("budget",):
        return "a larger budget: triggerhub runs budget ID --usd N"
    return f"approval of {', '.join(waits_for)}: triggerhub approvals show CODE"


def broken(credentials: Sequence[str]) -> str | None:
    """Credentials that the run has and the service cannot renew."""
    if not credentials:
        return None
    return f"{', '.join(credentials)} can no longer be renewed: give the vault new ones"


@app.command("cancel")
@honest
def cancel_run(run_id: RunId, *, url: Url = None, json: Json = False) -> None:
    """Stop a run. One that waits ends at once; one at work is interrupted by its runner."""

    async def question(records: Records) -> CancelView:
        return await records.cancel(run_id)

    asked = ask(url, question)
    if json:
        emit(as_json(asked))
    elif asked.status_before == "queued":
        say(f"{asked.id} was waiting and is cancelled")
    else:
        say(f"{asked.id} was {asked.status_before}; its runner interrupts the session and cancels it")


def drawn(graph: GraphView) -> list[str]:
    """A conversation's graph: each subject, how it came to belong, and what is named there."""
    lines = ["", f"conversation ({graph.visibility}; told of {graph.taint} at the narrowest)"]
    at: dict[tuple[str, str], list[LinkView]] = {}
    for link in graph.links:
        at.setdefault((link.connection, link.subject), []).append(link)
    for one in graph.subjects:
        by = f" by {one.reference}" if one.reference else ""
        lines.append(f"  {one.connection} {one.subject}  ({one.how}{by})")
        for link in at.pop((one.connection, one.subject), []):
            standing = "" if link.proven else ", claimed: routes nothing"
            lines.append(f"    -> {link.reference}  ({link.how} by {link.by}{standing})")
    for (connection, subject), links in at.items():
        lines.append(f"  {connection} {subject}  (named something)")
        lines += [f"    -> {link.reference}  ({link.how} by {link.by})" for link in links]
    return lines


@app.command("budget")
@honest
def raise_budget(
    run_id: RunId,
    *,
    usd: Annotated[
        str, typer.Option("--usd", metavar="N", help="What the run may spend in all, in US dollars.")
    ],
    url: Url = None,
    json: Json = False,
) -> None:
    """Raise what a run may spend. One that waits at its budget goes on."""
    from pydantic import ValidationError  # noqa: PLC0415 - --help must not pay for it

    from hub.api_requests import BudgetRequest  # noqa: PLC0415 - the same

    try:
        asked = BudgetRequest.model_validate({"usd": usd})
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]["msg"]
        msg = f"--usd: {usd!r} is not an amount of US dollars, such as 7.50 ({problem[:1].lower()}{problem[1:]})"
        raise CommandError(msg, code=USAGE) from None

    async def question(records: Records) -> BudgetView:
        return await records.raise_budget(run_id, asked)

    found = ask(url, question)
    if json:
        emit(as_json(found))
        return
    say(f"{found.id} may spend ${found.budget_usd:.2f} now, up from ${found.budget_usd_before:.2f}")
    if found.status == "waiting":
        say("it waited at its budget and goes on")


def held(run: RunDetail) -> str | None:
    """By what a run is held back, or was before it started."""
    if run.held is None or run.held_at is None:
        return None
    since = moment(run.held_at)
    return f"by {run.held}, since {since}" if run.status == "queued" else f"by {run.held} once, from {since}"


def cost(run: RunSummary) -> str:
    """List price of a run's share of its session."""
    return "-" if run.cost_usd is None else f"${run.cost_usd:.2f}"


def judged(evaluation: dict[str, Any]) -> str:
    """What the grader said last."""
    iteration = evaluation.get("iteration")
    times = f" (iteration {iteration + 1})" if isinstance(iteration, int) else ""
    explanation = evaluation.get("explanation")
    return f"{evaluation.get('result')}{times}{f': {explanation}' if explanation else ''}"


def told(result: ResultView) -> str:
    """One result in one line: what, where to, what became of it."""
    line = f"{result.output} ({result.slot}) to {result.connection}: {result.status}"
    if result.url:
        line += f", {result.url}"
    if result.note:
        line += f", {result.note}"
    if result.error and result.status != "posted":
        line += f" ({result.clause})" if result.clause else ""
        line += f": {result.error}"
    if result.attempts > 1:
        line += f" ({result.attempts} attempts)"
    return line


def shows(sign: PresenceView) -> str:
    """One sign in one line."""
    line = f"presence ({sign.kind}): {sign.status}"
    if sign.url:
        line += f", {sign.url}"
    return f"{line}: {sign.error}" if sign.error else line


def staged(shown: Mapping[str, Any]) -> str:
    """What would have been posted, field by field."""
    lines: list[str] = []
    for name, value in shown.items():
        text = value if isinstance(value, str) else as_json(value)
        first, *rest = text.splitlines() or [""]
        lines += [f"    {name}: {first}", *(f"      {line}" for line in rest)]
    return "\n".join(lines)


def _check_status(status: str | None) -> None:
    from router.problems import unknown  # noqa: PLC0415 - --help must not pay for it
    from storage.tables import RunStatus  # noqa: PLC0415 - the same

    known = [one.value for one in RunStatus]
    if status is not None and status not in known:
        raise CommandError(f"--status: {unknown('status', status, known)}", code=USAGE)
